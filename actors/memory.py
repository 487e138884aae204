"""What an actor hands over from one life to the next: the one shape of all actors that remember.

Such an actor's state has a field `memory`, a frozen struct of its own. It is replaced as a whole when anything in it changes, and the
shell keeps it then, before the wishes that follow from it leave. Knows no actor and no store.
"""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from protocol import codec

M = TypeVar("M", bound=msgspec.Struct)
S = TypeVar("S", bound=msgspec.Struct)


def recalled(kind: type[M], kept: bytes | None) -> M:
    """What an earlier life kept, or an empty memory on a first start. Raises msgspec.DecodeError on foreign bytes."""
    return kind() if kept is None else msgspec.json.decode(kept, type=kind)


def remember(state: S, **changes: object) -> S:
    """State with some of its memory replaced."""
    memory: Any = state.memory  # type: ignore[attr-defined]  # by the shape every such state has
    return msgspec.structs.replace(state, memory=msgspec.structs.replace(memory, **changes))


def durable(state: Any) -> bytes:
    """The memory as bytes for `recalled`."""
    return codec.encode(state.memory)


def remembered(state: Any) -> object:
    """The piece of state `durable` is made of."""
    return state.memory

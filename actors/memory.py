"""What an actor hands over from one life to the next: the one shape of all actors that remember.

Such an actor's state has a field `memory`, a frozen struct of its own. It is replaced as a whole when anything in it changes, and the
shell keeps it then, before the wishes that follow from it leave. Knows no actor and no store.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Any, Final, TypeVar

import msgspec

from protocol import codec
from protocol.ports import JournalFailed

SEAL_BYTES: Final = 16
SEAL_CHARS: Final = 2 * SEAL_BYTES

M = TypeVar("M", bound=msgspec.Struct)
S = TypeVar("S", bound=msgspec.Struct)


class MemoryCorrupt(JournalFailed):
    """What was kept is not what was written: the store was damaged, or edited."""


def sealed(actor: str, memory: bytes) -> bytes:
    """A memory as it is kept: a hash over it and whose it is, then the memory."""
    return _seal(actor, memory) + memory


def unsealed(actor: str, kept: bytes | None) -> bytes | None:
    """The memory in what was kept. Raises MemoryCorrupt when a byte has changed or it is another actor's."""
    if kept is None or kept.startswith(b"{"):
        return kept  # as versions before the seal kept it
    seal, memory = kept[:SEAL_CHARS], kept[SEAL_CHARS:]
    if seal != _seal(actor, memory):
        raise MemoryCorrupt(f"what {actor} remembers is damaged in the store")
    return memory


def _seal(actor: str, memory: bytes) -> bytes:
    return blake2b(memory, digest_size=SEAL_BYTES, key=actor.encode()).hexdigest().encode()


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

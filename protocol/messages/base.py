"""The envelope every message carries. Knows no message type."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from protocol.ids import derive, named


class Message(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """`id` names the event, `cause` the message that led to it (empty at the edge), `at` is microseconds UTC."""

    id: str
    cause: str
    at: int


M = TypeVar("M", bound=Message)


def follow(cause: Message, kind: type[M], key: str | int = "", /, **fields: Any) -> M:
    """A message of `kind` that follows from `cause`: same moment, id derived from the cause and `key`.

    `key` tells apart several messages of one kind from one cause (a symbol, a leg).
    """
    before = cause.id
    name = named(f"{kind.__name__}\x1f{before}\x1f{key}")
    fields["id"], fields["cause"], fields["at"] = name, before, cause.at
    return kind(**fields)


def from_edge(kind: type[M], at: int, /, *key: str | int, **fields: Any) -> M:
    """A message that enters the system at an edge at `at`: id derived from its kind and `key`, no cause."""
    fields["id"], fields["cause"], fields["at"] = derive(kind.__name__, *key), "", at
    return kind(**fields)

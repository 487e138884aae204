"""Messages to bytes and back: the journal's form, and the form digests are taken over."""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce
from hashlib import blake2b
from operator import or_
from typing import Any

import msgspec

from protocol.messages import control, futures, signal, spot
from protocol.messages.base import Message


def message_types() -> tuple[type[Message], ...]:
    """Every message type, by module and then in the order it is written there."""
    return tuple(
        value
        for module in (spot, signal, futures, control)
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Message) and value is not Message
    )


BY_NAME: dict[str, type[Message]] = {kind.__name__: kind for kind in message_types()}

_encoder = msgspec.json.Encoder(decimal_format="string", order="deterministic")
_decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(reduce(or_, message_types()))


def encode(value: Message | msgspec.Struct) -> bytes:
    """Canonical JSON: the same value gives the same bytes in every process."""
    return _encoder.encode(value)


def decode(data: bytes | str) -> Message:
    """The message written by `encode`. Raises msgspec.ValidationError when it is none of ours."""
    message: Message = _decoder.decode(data)
    return message


def digest(messages: Iterable[Message]) -> str:
    """One hash over the canonical forms in order: equal digests mean equal histories."""
    hasher = blake2b(digest_size=16)
    for message in messages:
        hasher.update(encode(message))
    return hasher.hexdigest()

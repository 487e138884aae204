"""Journal pages: a run of steps as sealed, compressed bytes, and back. Pure; knows no database.

One page holds what one flush writes. A mark price goes to four actors a second and symbol: kept as rows that would
swamp the disk. Here a message is written once a page, by whoever said it or, at the edge, first received it; each
further delivery is its place in the page. Every page is sealed over the seal before it, so an edit, a cut or a swap
anywhere shows at the next `journal check`.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from functools import reduce
from hashlib import sha256
from operator import or_
from typing import Any, Final, NamedTuple

import msgspec

from protocol.codec import message_types
from protocol.messages.base import Message

NO_SEAL: Final = "0" * 64
COMPRESSION: Final = 1
"""The fastest level: pages of mark prices shrink to a sixth by it; the slower default gains another fifth."""


class Step(NamedTuple):
    """One actor received `message` and said `answers`. `seq` counts steps over all runs."""

    seq: int
    actor: str
    message: Message
    answers: tuple[Message, ...]


Record = tuple[str, Message, Sequence[Message]]

DAMAGED: Final = (zlib.error, msgspec.MsgspecError, UnicodeDecodeError, IndexError)
"""What a page that is not whole may raise."""
_encoder = msgspec.msgpack.Encoder(decimal_format="string", order="deterministic")
_any_message: Any = reduce(or_, message_types())
_rows: Any = list[tuple[str, _any_message | int, list[_any_message]]]
_decoder = msgspec.msgpack.Decoder(_rows)
_decoder_of_json = msgspec.json.Decoder(_rows)
JSON_BEGINS: Final = b"["
"""How a page begins that was written before 2026-11-24, and none since."""


def pack(records: Sequence[Record]) -> bytes:
    """The records as bytes, compressed."""
    return zlib.compress(written(records), COMPRESSION)


def written(records: Sequence[Record]) -> bytes:
    """The records as MessagePack; each message in full once, after that by its place (one object is one message)."""
    places: dict[int, int] = {}
    count = 0
    rows: list[tuple[str, Message | int, Sequence[Message]]] = []
    for actor, message, answers in records:
        place = places.get(id(message))
        if place is None:
            places[id(message)] = count
            count += 1
        rows.append((actor, message if place is None else place, answers))
        for answer in answers:
            places[id(answer)] = count
            count += 1
    return _encoder.encode(rows)


def unpack(data: bytes, first_seq: int) -> Iterator[Step]:
    """The steps of a page, in order. Raises one of DAMAGED when it is damaged."""
    written: list[Message] = []
    text = zlib.decompress(data)
    rows = _decoder_of_json.decode(text) if text.startswith(JSON_BEGINS) else _decoder.decode(text)
    for seq, (actor, received, answers) in enumerate(rows, first_seq):
        if isinstance(received, int):
            message = written[received]
        else:
            message = received
            written.append(message)
        written.extend(answers)
        yield Step(seq, actor, message, tuple(answers))


def seal(before: str, run: int, first_seq: int, last_seq: int, records: bytes) -> str:
    """The seal of a page: SHA-256 over the seal before it, its place and its bytes."""
    hasher = sha256(f"{before}:{run}:{first_seq}:{last_seq}:".encode())
    hasher.update(records)
    return hasher.hexdigest()

"""Payloads spoilt on purpose: members replaced, removed and moved, bytes flipped, cut and repeated. A seed gives the same ones again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from decimal import Decimal
from typing import Any, Final

import msgspec
import numpy as np

from protocol.kraken.wire import encode

JUNK: Final[tuple[Any, ...]] = (
    None, True, False, -1, 0, 1, 10**25, -(2**63), 2**64, 1.5, -0.0, 1e308, Decimal("1E+400"), Decimal("1E-400"), "", " ", "NaN",
    "-Infinity", "1e999999", "0x10", "1_000", "١٢٣", "\x00", "\ud7ff", "x" * 5000, "2026-01-05T00:00:00Z", "9999999999999999999999Z",
    "+292278994-08-17T07:12:55.807Z", "2026-01-05T00:00:00+25:00", [], {}, [None], [[]], [{}], [[[[[[]]]]]], {"": None}, {"a": {"a": {}}},
)  # fmt: skip
BYTES: Final = (b"\x00", b"\xff", b"\xed\xa0\x80", b"{", b"}", b"[", b"]", b'"', b",", b":", b"\\u0000", b"\\", b"-", b"1e9999999", b"NaN", b"<html>", b"[" * 3000)  # fmt: skip
Path = tuple[Any, ...]


def paths(value: object, prefix: Path = ()) -> list[Path]:
    """Where something in a payload can be replaced."""
    items: list[tuple[Any, Any]]
    if isinstance(value, dict):
        items = list(value.items())
    elif isinstance(value, list):
        items = list(enumerate(value))
    else:
        return []
    return [path for key, inner in items for path in ((*prefix, key), *paths(inner, (*prefix, key)))]


def replaced(value: Any, path: Path, junk: object) -> Any:
    """The payload with the member at `path` replaced; `...` removes it."""
    key, *rest = path
    copy = dict(value) if isinstance(value, dict) else list(value)
    if rest:
        copy[key] = replaced(value[key], tuple(rest), junk)
    elif junk is ...:
        del copy[key]
    else:
        copy[key] = junk
    return copy


def mutations(payload: dict[str, object], seed: int) -> Iterator[bytes]:
    """Spoilt copies of `payload`, without end: most with one member wrong, some with two, the rest with wrong bytes."""
    rng = np.random.default_rng(seed)
    whole = encode(payload)
    plain = msgspec.json.decode(whole)
    places = paths(plain)
    while True:
        draws: list[int] = rng.integers(0, 2**31, size=(1024, 8)).tolist()
        for draw in draws:
            kind = draw[0] % 10
            if kind < 7 and places:
                yield encode(_spoilt(plain, places, draw))
            else:
                yield _mangled(whole, kind, draw)


def _spoilt(plain: Any, places: list[Path], draw: list[int]) -> Any:
    first = places[draw[1] % len(places)]
    value = replaced(plain, first, _junk(plain, places, draw[2]))
    if draw[0] % 10 < 2:
        second = places[draw[3] % len(places)]
        with suppress(LookupError, TypeError):  # the first may have taken its place away
            value = replaced(value, second, _junk(plain, places, draw[4]))
    return value


def _junk(plain: Any, places: list[Path], number: int) -> object:
    choice = number % (len(JUNK) + 2)
    if choice == len(JUNK):
        return ...
    if choice > len(JUNK):  # another part of the same payload
        value = plain
        for key in places[number // 64 % len(places)]:
            value = value[key]
        return value
    return JUNK[choice]


def _mangled(whole: bytes, kind: int, draw: list[int]) -> bytes:
    start, end = sorted((draw[1] % (len(whole) + 1), draw[2] % (len(whole) + 1)))
    if kind == 7:
        return whole[:start] + BYTES[draw[3] % len(BYTES)] + whole[start:]
    if kind == 8:
        return whole[:start] + whole[end:] if draw[3] % 2 else whole[:end] + whole[start:]
    spot = min(start, len(whole) - 1)
    return whole[:spot] + bytes([draw[3] % 256]) + whole[spot + 1 :]

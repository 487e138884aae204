"""What fills say is held while the exchange's lists may not show it yet (fault-catalogue 20). Pure; knows no order and no latch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal

import msgspec
from msgspec.structs import replace

from protocol.messages.futures import LIST_LAG_US, ExchangeSnapshot, Fill


class Booked(msgspec.Struct, frozen=True, kw_only=True):
    """Signed contracts of one symbol. `size`: as last listed, and what was filled since. `enlarged`: when a fill that made it larger was
    told, None: none that a list might not show. `untold`: what a list that came at `listed_at` showed and no fill had told. Times in microseconds.
    """

    size: Decimal = Decimal(0)
    enlarged: int | None = None
    untold: Decimal = Decimal(0)
    listed_at: int = 0


Books = Mapping[str, Booked]


def book(books: Books, fill: Fill, at: int, *, reduces: bool) -> Books:
    """The books with one more fill. One that only `reduces` opens nothing, nor does one that was listed before it was told."""
    before = books.get(fill.symbol, Booked())
    signed = fill.signed_size
    known = _part(signed, before.untold) if fill.time <= before.listed_at else Decimal(0)
    size = before.size + signed - known
    larger = not reduces and abs(size) > abs(before.size)
    enlarged = at if larger else before.enlarged
    return {**books, fill.symbol: replace(before, size=size, enlarged=enlarged, untold=before.untold - known)}


def _part(signed: Decimal, untold: Decimal) -> Decimal:
    """What of a signed size is `untold`."""
    return min(signed, untold, key=abs) if signed * untold > 0 else Decimal(0)


def listed(books: Books, truth: ExchangeSnapshot) -> Books:
    """The books after a list, which is believed where it proves something and no fill is so new that it may lack it."""
    sizes = {position.symbol: position.size for position in truth.positions}
    after = dict(books)
    for symbol in dict.fromkeys((*books, *sizes)):
        before, size = books.get(symbol, Booked()), sizes.get(symbol, Decimal(0))
        if size != before.size and symbol not in truth.unproved and not _may_lack(before, truth.began_at):
            untold = before.untold + size - before.size
            after[symbol] = Booked(size=size, untold=untold, listed_at=truth.at)
    return after


def unlisted(books: Books, began_at: int, unproved: Sequence[str] = ()) -> dict[str, Decimal]:
    """What is held by symbol, signed, though a list that began at `began_at` may not show it, or proves nothing of it."""
    return {
        symbol: booked.size
        for symbol, booked in books.items()
        if booked.size and (symbol in unproved or _may_lack(booked, began_at))
    }


def _may_lack(booked: Booked, began_at: int) -> bool:
    return booked.enlarged is not None and began_at <= booked.enlarged + LIST_LAG_US

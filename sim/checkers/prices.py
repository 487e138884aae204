"""Invariant 21: the prices that orders rest on, as frames of the streams have shown them to the daemon."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from decimal import Decimal
from typing import Final, TypeVar

import msgspec

from sim.checkers.evidence import Bounds, Evidence
from sim.checkers.invariant import Invariant
from sim.checkers.sent import Sent

HUNDRED: Final = Decimal(100)
GARBLES: Final = frozenset({"md.garble"})
"""Of a frame that holds nonsense nobody can say what the daemon reads in it."""


class Ticker(msgspec.Struct, frozen=True, kw_only=True):
    """A futures ticker: the best prices and the mark."""

    moment: int = msgspec.field(name="time")
    bid: Decimal
    ask: Decimal
    mark: Decimal = msgspec.field(name="markPrice")


class Candle(msgspec.Struct, frozen=True, kw_only=True):
    """A running spot candle: when it began, as the exchange writes it."""

    moment: str = msgspec.field(name="interval_begin")
    close: Decimal


class Candles(msgspec.Struct, frozen=True):
    """A frame of one."""

    data: tuple[Candle]


T = TypeVar("T", Ticker, Candle)


class MarkRules(Invariant):
    """21: every stop on the wire names the mark; no entry leaves on one that stands still while trades go elsewhere, on a crossed or wide
    book, or where spot and mark part.
    """

    number, name = 21, "mark rules"

    def __init__(self, evidence: Evidence) -> None:
        super().__init__(evidence)
        self._spot_of = {pair.futures: pair.spot for pair in evidence.settings.symbols}

    def sent(self, sent: Sent) -> None:
        if sent.op == "send" and sent.order_type in ("stp", "take_profit") and sent.trigger != "mark":
            self.fail(f"{sent.symbol} {sent.order_type} triggers on {sent.trigger or 'nothing'}")
        if not sent.is_entry:
            return
        frozen_at = self.e.frozen(sent.symbol)
        if frozen_at is not None and sent.at - frozen_at > Bounds.HALT:
            self.fail(f"{sent.symbol} entry on a mark that stands still while trades go elsewhere")
        if not (self.e.hindered() or self.e.in_force("stream", GARBLES)):
            self._look_at_the_market(sent)

    def _look_at_the_market(self, sent: Sent) -> None:
        """What was so for as long as a halt may take was known; one good price in that time excuses an entry."""
        risk, since = self.e.settings.risk, sent.at - Bounds.HALT
        tickers = standing(self._read(sent.symbol, ticker_of), since)
        if tickers and all(_is_bad(ticker, risk.spread_max_pct) for ticker in tickers):
            self.fail(f"{sent.symbol} entry on a book of {tickers[-1].bid} to {tickers[-1].ask}")
        candles = standing(self._read(self._spot_of[sent.symbol], candle_of), since)
        parts = [abs(candle.close - ticker.mark) / candle.close for candle in candles for ticker in tickers]
        if parts and min(parts) * HUNDRED > risk.basis_max_pct:
            self.fail(f"{sent.symbol} entry with spot at {candles[-1].close} and the mark at {tickers[-1].mark}")

    def _read(self, market: str, parse: Callable[[str], T]) -> list[tuple[int, T]]:
        """Frames that hold nonsense are nobody's word."""
        read = list[tuple[int, T]]()
        for at, text in self.e.feeds.shown(market):
            with suppress(msgspec.DecodeError):
                read.append((at, parse(text)))
        return read


def ticker_of(text: str) -> Ticker:
    """What a frame of tickers says."""
    return msgspec.json.decode(text, type=Ticker)


def candle_of(text: str) -> Candle:
    """What a frame of candles says, which holds one."""
    return msgspec.json.decode(text, type=Candles).data[0]


def standing(frames: Sequence[tuple[int, T]], since: int) -> Sequence[T]:
    """What was newest at `since` by its own time, and whatever took its place until now; nothing when nobody knows what was."""
    found: list[T] = []
    for at, said in frames:
        if found and said.moment < found[-1].moment:
            continue
        if at <= since:
            found.clear()
        found.append(said)
    return found if frames and frames[0][0] <= since else ()


def _is_bad(ticker: Ticker, spread_max_pct: Decimal) -> bool:
    return not 0 < ticker.bid <= ticker.ask or (ticker.ask - ticker.bid) / ticker.mark * HUNDRED > spread_max_pct

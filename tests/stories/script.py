"""A market that goes where a story sends it: flat until told, then straight to a price. Spot and mark are one."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Final

from protocol.messages.base import from_edge
from protocol.messages.spot import CandleSeen
from protocol.units import DAY_US, SECOND_US, TIMEFRAME_MS, Timeframe
from sim.market.tick import Tick
from sim.venue.schedule import CANDLE_US

START: Final = 1_767_571_200_000_000
"""2026-01-05T00:00:00Z."""
BTC, XBT = "BTC/USD", "PF_XBTUSD"
ETH, ETH_PERP = "ETH/USD", "PF_ETHUSD"
ROWS: Final = 60
"""Candles of history in each timeframe: too few for the strategy to find anything by itself."""


class Script:
    """`legs` of the bitcoin price: (from when, from where, to where, dollars a second). Ether stands still."""

    end_us = START + DAY_US

    def __init__(self) -> None:
        self.legs: list[tuple[int, float, float, float]] = [(START, 60_000.0, 60_000.0, 0.0)]

    def go(self, at: int, price: float, per_s: float = 50.0) -> int:
        """From the first full second at or after `at` on move to `price`; answers that second."""
        at += -at % SECOND_US
        self.legs.append((at, self.spot_price(BTC, at), price, per_s))
        return at

    def spot_price(self, symbol: str, at_us: int) -> float:
        """Dollars, changing each second."""
        if symbol in (ETH, ETH_PERP):
            return 3_000.0
        began, start, end, per_s = next((leg for leg in reversed(self.legs) if leg[0] <= at_us), self.legs[0])
        gone = per_s * max(0, (at_us - began) // SECOND_US)
        return min(start + gone, end) if end > start else max(start - gone, end)

    def candles(self, symbol: str, timeframe: Timeframe, since_ms: int | None, until_us: int) -> Sequence[CandleSeen]:
        """The newest closed candles."""
        step = TIMEFRAME_MS[timeframe]
        end = until_us // 1000 - until_us // 1000 % step
        first = max(end - ROWS * step, -(-(since_ms or 0) // step) * step)
        return [self._candle(symbol, timeframe, open_ms, open_ms + step, True) for open_ms in range(first, end, step)]

    def running(self, symbol: str, at_us: int) -> CandleSeen:
        """The 15m candle as it stands."""
        open_us = (at_us - 1) - (at_us - 1) % CANDLE_US
        return self._candle(symbol, "15m", open_us // 1000, at_us // 1000, False)

    def tick(self, symbol: str, at_us: int) -> Tick:
        """Bid and ask lie a dollar off the mark."""
        mark = Decimal(round(self.spot_price(symbol, at_us)))
        prices = {"mark": mark, "index": mark, "bid": mark - 1, "ask": mark + 1, "last": mark}
        return Tick(at=at_us, symbol=symbol, funding_rate=Decimal(0), **prices)

    def _candle(self, symbol: str, timeframe: Timeframe, open_ms: int, until_ms: int, final: bool) -> CandleSeen:
        moments = [open_ms * 1000, until_ms * 1000]
        for began, start, end, per_s in self.legs:
            arrived = began + round(abs(end - start) / per_s) * SECOND_US if per_s else began
            moments += [turn for turn in (began, arrived) if open_ms * 1000 < turn < until_ms * 1000]
        prices = [self.spot_price(symbol, moment) for moment in moments]
        return from_edge(
            CandleSeen,
            until_ms * 1000,
            symbol,
            timeframe,
            open_ms,
            symbol=symbol,
            timeframe=timeframe,
            open_time_ms=open_ms,
            open=prices[0],
            high=max(prices),
            low=min(prices),
            close=prices[1],
            volume=(until_ms - open_ms) / 1000,
            final=final,
        )

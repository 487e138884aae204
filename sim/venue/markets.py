"""What the venue needs of a market, and spot candles as Kraken shows them. Knows no socket and no order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Final, Protocol

from msgspec.structs import replace

from protocol.messages.base import from_edge
from protocol.messages.spot import CandleSeen
from protocol.units import TIMEFRAME_MS, Timeframe, round_ceiling, round_floor
from sim.market.tick import Tick
from sim.venue.schedule import CANDLE_US

ROWS_MOST: Final = 720
"""Kraken gives no more candles than this, the running one included, however far back one asks."""
SNAPSHOT_CANDLES: Final = 10
SNAPSHOT_LOOK: Final = 96
"""They are looked for among so many: in some nothing may have been traded."""


class Market(Protocol):
    """`sim.market.tape.Tape` as the venue sees it."""

    @property
    def end_us(self) -> int: ...

    def candles(
        self, spot_symbol: str, timeframe: Timeframe, since_ms: int | None, until_us: int
    ) -> Sequence[CandleSeen]: ...

    def running(self, spot_symbol: str, at_us: int) -> CandleSeen | None: ...

    def spot_price(self, spot_symbol: str, at_us: int) -> float: ...

    def tick(self, futures_symbol: str, at_us: int) -> Tick: ...


class WithInverse:
    """A market whose inverse contracts follow the linear ones: `twins` is inverse symbol -> (linear symbol, tick)."""

    def __init__(self, market: Market, twins: Mapping[str, tuple[str, Decimal]]) -> None:
        self._market = market
        self._twins = twins
        self.candles, self.running, self.spot_price = market.candles, market.running, market.spot_price

    @property
    def end_us(self) -> int:
        """Where the market ends."""
        return self._market.end_us

    def tick(self, futures_symbol: str, at_us: int) -> Tick:
        """The prices of a contract; an inverse one has those of its twin, on its own tick."""
        twin = self._twins.get(futures_symbol)
        if twin is None:
            return self._market.tick(futures_symbol, at_us)
        linear, step = twin
        tick = self._market.tick(linear, at_us)
        return replace(
            tick,
            symbol=futures_symbol,
            mark=round_floor(tick.mark, step),
            bid=round_floor(tick.bid, step),
            ask=round_ceiling(tick.ask, step),
            last=round_floor(tick.last, step),
        )


def updates(market: Market, symbol: str, grid_us: int, step_us: int) -> list[CandleSeen]:
    """What the stream says at a grid moment: the running candle; at its end the whole candle and the first of the next.

    A candle in which nothing was traded is never shown, as no trade would cause a frame.
    """
    shown = market.running(symbol, grid_us)
    candles = [shown] if shown is not None and shown.volume > 0 else []
    if grid_us % CANDLE_US == 0:
        coming = market.running(symbol, grid_us + step_us)
        if coming is not None and coming.volume > 0:
            candles.append(_opened(market, symbol, grid_us))
    return candles


def snapshot(market: Market, symbol: str, at: int) -> list[CandleSeen]:
    """The newest candles and the running one, oldest first: the first frame of a subscription."""
    return rows(market, symbol, "15m", None, at, SNAPSHOT_LOOK)[-SNAPSHOT_CANDLES:]


def rows(
    market: Market, symbol: str, timeframe: Timeframe, since_ms: int | None, at: int, most: int = ROWS_MOST
) -> list[CandleSeen]:
    """Closed candles from `since_ms` on and the running one, oldest first, at most so many."""
    first_ms = at // 1000 - most * TIMEFRAME_MS[timeframe]
    closed = market.candles(symbol, timeframe, max(since_ms or 0, first_ms), at)[1 - most :]
    return [*closed, _running(market, symbol, timeframe, at)]


def _running(market: Market, symbol: str, timeframe: Timeframe, at: int) -> CandleSeen:
    begun_us = at - at % CANDLE_US
    quarter = market.running(symbol, at)
    if quarter is None or quarter.open_time_ms * 1000 != begun_us:  # until its first step a market shows the one before
        quarter = _opened(market, symbol, begun_us)
    if timeframe == "15m":
        return quarter
    start_ms = at // 1000 - at // 1000 % TIMEFRAME_MS[timeframe]
    parts = [*market.candles(symbol, "15m", start_ms, at), quarter]
    return replace(
        quarter,
        timeframe=timeframe,
        open_time_ms=start_ms,
        open=parts[0].open,
        high=max(part.high for part in parts),
        low=min(part.low for part in parts),
        volume=sum(part.volume for part in parts),
    )


def _opened(market: Market, symbol: str, at: int) -> CandleSeen:
    """The candle that begins at `at`, before anything but its first price is known."""
    price = market.spot_price(symbol, at)
    return from_edge(
        CandleSeen,
        at,
        symbol,
        at,
        symbol=symbol,
        timeframe="15m",
        open_time_ms=at // 1000,
        open=price,
        high=price,
        low=price,
        close=price,
        volume=0.0,
        final=False,
    )

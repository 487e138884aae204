"""What makes a candle believable by itself (smc-spec section 0), and fetched history whole. Knows no series, no order of arrival and no policy."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite

from msgspec.structs import replace

from protocol.ids import derive
from protocol.messages.base import Message, from_edge
from protocol.messages.spot import CandleSeen, HistorySeen
from protocol.units import TIMEFRAME_MS, Timeframe, close_time_us


def complete(
    candles: Sequence[CandleSeen], symbol: str, timeframe: Timeframe, at: int, proven_ms: int | None = None
) -> list[Message]:
    """Fetched history, then the word that these are all there are at `at` (microseconds UTC).

    `proven_ms`: up to which open time that holds, when it does not hold to the end.
    """
    newest = proven_ms if proven_ms is not None or not candles else candles[-1].open_time_ms
    end = from_edge(
        HistorySeen, at, symbol, timeframe, at, symbol=symbol, timeframe=timeframe, newest_open_time_ms=newest
    )
    return [*candles, end]


def malformed(candle: CandleSeen) -> str | None:
    """Why no exchange can have meant this candle, or None."""
    prices = (candle.open, candle.high, candle.low, candle.close)
    if not (all(map(isfinite, prices)) and isfinite(candle.volume)):
        return "a value is not finite"
    if min(prices) <= 0 or candle.volume < 0:
        return "a price is not positive or the volume is negative"
    if candle.high < max(prices) or candle.low > min(prices):
        return "open or close lies outside low and high"
    if candle.open_time_ms % TIMEFRAME_MS[candle.timeframe]:
        return "the open time is off the UTC grid"
    return None


def premature(candle: CandleSeen, settle_us: int) -> str | None:
    """Why the candle cannot be what it claims at the moment it was seen, or None. `settle_us` is the clock's tolerance."""
    if candle.final and candle.at < close_time_us(candle.open_time_ms, candle.timeframe) - settle_us:
        return "called final before its end"
    if candle.at < candle.open_time_ms * 1000 - settle_us:
        return "seen before its beginning"
    return None


def same_values(one: CandleSeen, other: CandleSeen) -> bool:
    """Whether both say the same of the market."""
    return (one.open, one.high, one.low, one.close, one.volume) == (
        other.open,
        other.high,
        other.low,
        other.close,
        other.volume,
    )


def untraded(previous: CandleSeen, until_ms: int) -> list[CandleSeen]:
    """The flat candles after `previous` up to the open time `until_ms`, as the exchange itself would show them."""
    step = TIMEFRAME_MS[previous.timeframe]
    opens = range(previous.open_time_ms + step, until_ms, step)
    return [
        replace(flat(previous, opened), id=derive("CandleSeen", "untraded", previous.id, opened)) for opened in opens
    ]


def flat(previous: CandleSeen, open_time_ms: int) -> CandleSeen:
    """The candle of an interval without trades: the previous close, no volume."""
    close = previous.close
    return CandleSeen(
        id=previous.id,
        cause=previous.cause,
        at=previous.at,
        symbol=previous.symbol,
        timeframe=previous.timeframe,
        open_time_ms=open_time_ms,
        open=close,
        high=close,
        low=close,
        close=close,
        volume=0.0,
        final=True,
    )

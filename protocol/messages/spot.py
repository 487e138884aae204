"""Facts about the spot market: all that the strategy may ever see. Knows nothing of futures."""

from __future__ import annotations

from protocol.messages.base import Message
from protocol.units import Timeframe


class CandleSeen(Message, frozen=True, kw_only=True):
    """Edge -> spot_feed: a candle as the exchange shows it, running or finished.

    `final`: the source itself says that it is over (REST row at or before `last`); a stream never says so.
    """

    symbol: str
    timeframe: Timeframe
    open_time_ms: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    final: bool


class HistorySeen(Message, frozen=True, kw_only=True):
    """Edge -> spot_feed: back-fill of one series is complete; what was missing is on the way or not to be had."""

    symbol: str
    timeframe: Timeframe
    newest_open_time_ms: int | None


class CandleClosed(Message, frozen=True, kw_only=True):
    """spot_feed -> strategy: one closed candle, once, in order.

    `timeframe` 15m is the base feed; longer ones are native exchange candles that only seed history older than it.
    `synthetic`: flat, made by `gap_policy` for an interval without trades. `at` is when it was known.
    """

    symbol: str
    timeframe: Timeframe
    open_time_ms: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    synthetic: bool = False


class SpotPrice(Message, frozen=True, kw_only=True):
    """spot_feed -> risk: the latest spot price, for the basis guard. Conflates: only the newest counts."""

    symbol: str
    price: float


class SpotFault(Message, frozen=True, kw_only=True):
    """spot_feed -> journal: a candle was refused or is missing. `code` as in smc-spec section 4, A1."""

    symbol: str
    timeframe: Timeframe
    code: str
    detail: str


class RequestHistory(Message, frozen=True, kw_only=True):
    """spot_feed -> spot exchange: closed candles from `since_ms` on (None: all it has); they come back as `CandleSeen`."""

    symbol: str
    timeframe: Timeframe
    since_ms: int | None

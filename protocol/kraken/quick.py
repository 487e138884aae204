"""The frames that nearly all traffic is made of, read in one go: ticker, heartbeat, running candle.

Whoever gets None reads the frame the general way, which alone refuses and sets aside: only what that way would take as it stands is
taken here. Knows JSON and no message.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Final, Literal

import msgspec
from msgspec import UNSET, Raw, UnsetType

from protocol.kraken.wire import EXPONENT_MAX, EXPONENT_MIN, WHOLE_LIMIT, Json, sensible

LEAST, MOST = Decimal(1).scaleb(EXPONENT_MIN), Decimal(1).scaleb(EXPONENT_MAX + 1)
LEAST_FLOAT, MOST_FLOAT = float(LEAST), float(MOST)
TEXT: Final = (str, bytes)
YEAR_9999_MS: Final = 253_402_300_799_999


class Ticker(msgspec.Struct, tag_field="feed", tag="ticker", frozen=True, kw_only=True):
    """A futures ticker: prices and sizes above zero, magnitudes bounded, `time` in milliseconds UTC."""

    product_id: str
    mark: Decimal = msgspec.field(name="markPrice")
    index: Decimal
    bid: Decimal
    ask: Decimal
    last: Decimal
    funding_rate: Decimal | None = msgspec.field(name="relative_funding_rate", default=None)
    absolute: Raw | UnsetType = msgspec.field(name="funding_rate", default=UNSET)
    next_funding: Raw | UnsetType = msgspec.field(name="next_funding_rate_time", default=UNSET)
    suspended: bool = False
    post_only: bool = False
    time: int
    bid_size: Decimal | None = None
    ask_size: Decimal | None = None
    event: Raw | UnsetType = UNSET


class Heartbeat(msgspec.Struct, tag_field="feed", tag="heartbeat", frozen=True, kw_only=True):
    """A futures heartbeat, `time` in milliseconds UTC."""

    time: int
    event: Raw | UnsetType = UNSET


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A running candle, every number above zero."""

    symbol: str
    open: float
    high: float
    low: float
    close: float
    volume: float
    interval_begin: str
    interval: int


class Ohlc(msgspec.Struct, frozen=True, kw_only=True):
    """An update of candles."""

    channel: Literal["ohlc"]
    type: Literal["update"]
    timestamp: str | None = None
    data: tuple[Row, ...]
    method: Raw | UnsetType = UNSET
    error: Raw | UnsetType = msgspec.field(name="Error", default=UNSET)


_futures: Final = msgspec.json.Decoder(Ticker | Heartbeat)
_spot: Final = msgspec.json.Decoder(Ohlc)


def futures(data: Json) -> Ticker | Heartbeat | None:
    """The usual futures frame; None for any other."""
    if not isinstance(data, TEXT):
        return None
    try:
        frame: Ticker | Heartbeat = _futures.decode(data)
        if frame.event is not UNSET:
            return None
        if isinstance(frame, Heartbeat):
            return frame if 0 <= frame.time < WHOLE_LIMIT else None
        if frame.funding_rate is None and frame.next_funding is not UNSET:
            return None  # perhaps a rate of zero, which is not written
        bid_size, ask_size, rate = frame.bid_size, frame.ask_size, frame.funding_rate
        numbers = (
            frame.mark, frame.index, frame.bid, frame.ask, frame.last,
            LEAST if bid_size is None else bid_size, LEAST if ask_size is None else ask_size,
        )  # fmt: skip
        usual = (
            min(numbers) >= LEAST
            and max(numbers) < MOST
            and (rate is None or (rate.is_finite() and sensible(rate)))
            and frame.product_id
            and 0 <= frame.time <= YEAR_9999_MS
        )
    except (msgspec.DecodeError, UnicodeDecodeError, ArithmeticError, RecursionError):
        return None
    return frame if usual else None


def spot(data: Json) -> Ohlc | None:
    """The usual spot frame; None for any other."""
    if not isinstance(data, TEXT):
        return None
    try:
        frame: Ohlc = _spot.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    usual = frame.method is UNSET and frame.error is UNSET and frame.data
    return frame if usual and all(map(_sound, frame.data)) else None


def _sound(row: Row) -> bool:
    numbers = row.open, row.high, row.low, row.close, row.volume
    return bool(row.symbol) and min(numbers) > LEAST_FLOAT and max(numbers) < MOST_FLOAT

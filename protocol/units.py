"""Times, timeframes and decimal rounding: the units every other file speaks in.

Times are integer microseconds UTC (`at`, `*_us`) or, for candles, integer milliseconds (`*_ms`), as exchanges
send them. Money, prices and sizes are `Decimal` from the order boundary on; candles are float64.
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import ROUND_CEILING, ROUND_DOWN, ROUND_FLOOR, Decimal
from functools import lru_cache
from typing import Final, Literal

Side = Literal["long", "short"]
OrderSide = Literal["buy", "sell"]
Timeframe = Literal["15m", "1h", "4h", "1d"]

MILLISECOND_US: Final = 1_000
SECOND_US: Final = 1_000_000
MINUTE_US: Final = 60 * SECOND_US
HOUR_US: Final = 60 * MINUTE_US
DAY_US: Final = 24 * HOUR_US
BEHIND_S: Final = 1e-6
"""What leaves behind another at one moment starts so long after it: time, and not the scheduler, says which is first."""

TIMEFRAME_MS: Final[dict[Timeframe, int]] = {
    "15m": 900_000,
    "1h": 3_600_000,
    "4h": 14_400_000,
    "1d": 86_400_000,
}

ENTRY_SIDE: Final[dict[Side, OrderSide]] = {"long": "buy", "short": "sell"}
EXIT_SIDE: Final[dict[Side, OrderSide]] = {"long": "sell", "short": "buy"}
SIGN: Final[dict[Side, int]] = {"long": 1, "short": -1}


def seconds_us(seconds: float) -> int:
    """Seconds as integer microseconds."""
    return round(seconds * SECOND_US)


def close_time_us(open_time_ms: int, timeframe: Timeframe) -> int:
    """The moment a candle is over, in microseconds UTC."""
    return (open_time_ms + TIMEFRAME_MS[timeframe]) * 1000


def day_start_us(at: int) -> int:
    """00:00 UTC of the day `at` lies in."""
    return at - at % DAY_US


def round_down(value: Decimal, step: Decimal) -> Decimal:
    """The multiple of `step` next to `value` towards zero (sizes)."""
    return (value / step).to_integral_value(ROUND_DOWN) * step


def round_floor(value: Decimal, step: Decimal) -> Decimal:
    """The highest multiple of `step` not above `value`."""
    return (value / step).to_integral_value(ROUND_FLOOR) * step


def round_ceiling(value: Decimal, step: Decimal) -> Decimal:
    """The lowest multiple of `step` not below `value`."""
    return (value / step).to_integral_value(ROUND_CEILING) * step


def decimal(value: float | int | str) -> Decimal:
    """A float as the decimal it prints as (shortest round trip), never its binary expansion."""
    return Decimal(repr(value)) if isinstance(value, float) else Decimal(value)


@lru_cache(maxsize=64)
def moment(at: int) -> str:
    """Microseconds UTC for a person, to the second."""
    return datetime.fromtimestamp(at // SECOND_US, UTC).strftime("%Y-%m-%d %H:%M:%S")

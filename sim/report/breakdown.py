"""Results cut by symbol, side, timeframe, exit, month, and the falls of equity. Pure; money stays Decimal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Final

import msgspec

from protocol.units import DAY_US, SECOND_US
from sim.report.account import TradeAccount

ZERO: Final = Decimal(0)

Points = Sequence[tuple[int, float]]
"""(moment, equity in USD), in time order."""


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """The closed trades that share something. Ratios None: not to be had from these."""

    trades: int
    gross_usd: Decimal
    slippage_usd: Decimal
    fees_usd: Decimal
    funding_usd: Decimal
    net_usd: Decimal
    win_rate_pct: float | None
    profit_factor: float | None
    expectancy_r: float | None


class Fall(msgspec.Struct, frozen=True, kw_only=True):
    """A stretch of equity below its highest point so far. `recovered_at` None: not by the end; `days` then counts to the end."""

    peak_at: int
    bottom_at: int
    recovered_at: int | None
    depth_pct: float
    days: float


def month_of(at: int) -> str:
    """`2024-03`, UTC."""
    return _month_of_day(at // DAY_US)


@lru_cache(maxsize=4096)
def _month_of_day(day: int) -> str:
    return datetime.fromtimestamp(day * DAY_US // SECOND_US, UTC).strftime("%Y-%m")


def group(trades: Sequence[TradeAccount]) -> Group:
    """The sums of some trades; profit and loss here are net, funding included."""

    def total(name: str) -> Decimal:
        return sum((getattr(trade, name) for trade in trades), ZERO)

    wins = sum((trade.net_usd for trade in trades if trade.net_usd > 0), ZERO)
    losses = -sum((trade.net_usd for trade in trades if trade.net_usd < 0), ZERO)
    multiples = [trade.net_r for trade in trades if trade.net_r is not None]
    return Group(
        trades=len(trades),
        gross_usd=total("gross_usd"),
        slippage_usd=total("slippage_usd"),
        fees_usd=total("fees_usd"),
        funding_usd=total("funding_usd"),
        net_usd=total("net_usd"),
        win_rate_pct=100 * sum(trade.net_usd > 0 for trade in trades) / len(trades) if trades else None,
        profit_factor=float(wins / losses) if losses else None,
        expectancy_r=sum(multiples) / len(multiples) if multiples else None,
    )


CUTS: Final[dict[str, Callable[[TradeAccount], str]]] = {
    "symbol": lambda trade: trade.symbol,
    "side": lambda trade: trade.side,
    "timeframe": lambda trade: trade.timeframe,
    "exit": lambda trade: trade.reason,
    "year": lambda trade: month_of(trade.closed_at or 0)[:4],
    "symbol and year": lambda trade: f"{trade.symbol} {month_of(trade.closed_at or 0)[:4]}",
    "month": lambda trade: month_of(trade.closed_at or 0),
}
"""What a closed trade is filed under."""


def cut(trades: Sequence[TradeAccount]) -> dict[str, dict[str, Group]]:
    """Closed trades by each of CUTS, names in order."""
    closed = [trade for trade in trades if trade.closed_at is not None]
    return {
        by: {name: group([t for t in closed if key(t) == name]) for name in sorted({key(t) for t in closed})}
        for by, key in CUTS.items()
    }


def monthly_returns(equity: Points) -> dict[str, float]:
    """Percent of equity gained in each month, from the last point of the month before (the first: from the start)."""
    last: dict[str, tuple[int, float]] = {}
    # A month ends at a midnight or with the run; 00:00 of the first belongs to the month that ends there.
    for at, usd in [*(point for point in equity[1:] if point[0] % DAY_US == 0), *equity[1:][-1:]]:
        last[month_of(at - 1)] = (at, usd)
    ends = list(last.items())
    if not ends:
        return {}
    first = equity[0][1]
    befores = [first, *(usd for _, (_, usd) in ends[:-1])]
    return {
        month: (usd / before - 1) * 100 for (month, (_, usd)), before in zip(ends, befores, strict=True) if before > 0
    }


def falls(equity: Points) -> list[Fall]:
    """All falls in time order."""
    found: list[Fall] = []
    if not equity:
        return found
    peak = bottom = equity[0]
    for at, usd in equity:
        if usd >= peak[1]:
            if bottom[1] < peak[1]:
                found.append(_fall(peak, bottom, at, at))
            peak = bottom = at, usd
        elif usd < bottom[1]:
            bottom = at, usd
    if bottom[1] < peak[1]:
        found.append(_fall(peak, bottom, None, equity[-1][0]))
    return found


def _fall(peak: tuple[int, float], bottom: tuple[int, float], recovered_at: int | None, until: int) -> Fall:
    return Fall(
        peak_at=peak[0],
        bottom_at=bottom[0],
        recovered_at=recovered_at,
        depth_pct=(peak[1] - bottom[1]) / peak[1] * 100,
        days=(until - peak[0]) / DAY_US,
    )

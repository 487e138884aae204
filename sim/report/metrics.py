"""What a run was worth: the usual figures, each defined once. What cannot be known is None, never zero.

Knows no market: it reads the accounts of closed trades, the curve of equity and the account's books.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal
from typing import Final

import msgspec
import numpy as np

from protocol.units import DAY_US, decimal
from sim.curve import Curve
from sim.report.account import TradeAccount
from sim.report.breakdown import group

CENTS: Final = 2
DAYS_A_YEAR: Final = 365
"""Crypto trades every day."""
CAGR_DAYS: Final = 30
"""A shorter span says nothing of a year."""


class Metrics(msgspec.Struct, frozen=True, kw_only=True):
    """Money in USD, ratios as plain numbers, percentages in percent. None: not to be had from this run."""

    days: float | None
    """Between the first and the last equity point."""
    trades: int
    """Closed trades; the ratios below are of these."""
    start_equity_usd: Decimal | None
    end_equity_usd: Decimal | None
    net_usd: Decimal | None
    """Change of equity, open positions at their marks included."""
    return_pct: float | None
    cagr_pct: float | None
    """Growth a year, compounded; None for spans under 30 days."""
    trades_net_usd: Decimal
    """Sum over closed trades, after fees and funding."""
    fees_usd: Decimal
    funding_usd: Decimal
    """Paid; below zero it was received."""
    win_rate_pct: float | None
    """Trades with a profit after fees and funding, of all closed trades."""
    profit_factor: float | None
    """Sum of profits / sum of losses; None without a losing trade."""
    expectancy_usd: Decimal | None
    """Mean result of a trade, after fees and funding."""
    expectancy_r: float | None
    """Mean of that in multiples of what is lost at the first stop, before costs; trades without a stop have none."""
    max_drawdown_pct: float | None
    """Deepest fall of equity below its highest point so far, of that point."""
    max_drawdown_usd: Decimal | None
    """Deepest such fall in money; not always the same one."""
    sharpe: float | None
    """Mean / standard deviation (n - 1) of daily returns, a year, riskless rate 0; days end at 00:00 UTC."""
    sortino: float | None
    """The same over the downside deviation: root of the mean square of daily losses, gains counted as 0."""
    exposure_pct: float | None
    """Share of the time with at least one trade open."""


def measure(
    trades: Sequence[TradeAccount],
    curve: Curve,
    *,
    start_usd: Decimal,
    end_usd: Decimal,
    fees_usd: Decimal,
    funding_usd: Decimal,
    open_since_us: Sequence[int] = (),
) -> Metrics:
    """All figures. `start_usd`, `end_usd`: the curve's ends, exactly; `open_since_us`: when trades began that are still open."""
    at_us = curve.at_us.tolist()
    known = bool(at_us)
    days = (at_us[-1] - at_us[0]) / DAY_US if known and at_us[-1] > at_us[0] else None
    growth = float(end_usd / start_usd) if days and start_usd > 0 else None
    sums = group(trades)
    fall_pct, fall_usd = drawdown(curve)
    returns = daily_returns(curve)
    return Metrics(
        days=days,
        trades=len(trades),
        start_equity_usd=start_usd if known else None,
        end_equity_usd=end_usd if known else None,
        net_usd=end_usd - start_usd if known else None,
        return_pct=(growth - 1) * 100 if growth is not None else None,
        cagr_pct=_cagr_pct(growth, days),
        trades_net_usd=sums.net_usd,
        fees_usd=fees_usd,
        funding_usd=funding_usd,
        win_rate_pct=sums.win_rate_pct,
        profit_factor=sums.profit_factor,
        expectancy_usd=sums.net_usd / len(trades) if trades else None,
        expectancy_r=sums.expectancy_r,
        max_drawdown_pct=fall_pct,
        max_drawdown_usd=fall_usd,
        sharpe=sharpe(returns),
        sortino=sortino(returns),
        exposure_pct=_exposure_pct(trades, at_us, open_since_us),
    )


def drawdown(curve: Curve) -> tuple[float | None, Decimal | None]:
    """The deepest fall below the running maximum, in percent of that maximum and in USD; None without points."""
    if not len(curve):
        return None, None
    peaks = np.maximum.accumulate(curve.equity_usd)
    falls = peaks - curve.equity_usd
    worth = peaks > 0
    deepest = float((falls[worth] / peaks[worth]).max()) * 100 if worth.any() else None
    return deepest, round(decimal(float(falls.max())), CENTS)


def daily_returns(curve: Curve) -> list[float]:
    """Returns between consecutive 00:00 UTC points; none from an equity that is not above zero."""
    midnights = curve.equity_usd[curve.at_us % DAY_US == 0]
    before, after = midnights[:-1], midnights[1:]
    returns: list[float] = (after[before > 0] / before[before > 0] - 1.0).tolist()
    return returns


def sharpe(returns: Sequence[float]) -> float | None:
    """Annualised; None for fewer than two returns or when they do not vary."""
    if len(returns) < 2:
        return None
    mean = math.fsum(returns) / len(returns)
    deviation = math.sqrt(math.fsum((r - mean) ** 2 for r in returns) / (len(returns) - 1))
    return mean / deviation * math.sqrt(DAYS_A_YEAR) if deviation > 0 else None


def sortino(returns: Sequence[float]) -> float | None:
    """Annualised; None for fewer than two returns or without a losing day."""
    if len(returns) < 2:
        return None
    downside = math.sqrt(math.fsum(min(r, 0.0) ** 2 for r in returns) / len(returns))
    return math.fsum(returns) / len(returns) / downside * math.sqrt(DAYS_A_YEAR) if downside > 0 else None


def _cagr_pct(growth: float | None, days: float | None) -> float | None:
    if growth is None or days is None or days < CAGR_DAYS or growth <= 0:
        return None
    return float((growth ** (DAYS_A_YEAR / days) - 1) * 100)


def _exposure_pct(trades: Sequence[TradeAccount], at_us: Sequence[int], open_since_us: Sequence[int]) -> float | None:
    """Length of the union of all holding times, of the time between the first and the last point."""
    if len(at_us) < 2:
        return None
    begin, end = at_us[0], at_us[-1]
    spans = [(trade.opened_at, trade.closed_at or end) for trade in trades] + [(since, end) for since in open_since_us]
    covered, reached = 0, begin
    for opened, closed in sorted(spans):
        closed = min(closed, end)  # noqa: PLW2901  the span cut to the run
        covered += max(0, closed - max(opened, reached))
        reached = max(reached, closed)
    return 100 * covered / (end - begin)

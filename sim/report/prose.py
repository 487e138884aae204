"""What a report says in words: how each figure is defined, and what the run assumed. Pure; knows no page."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

from protocol.units import SECOND_US
from sim.report.bootstrap import BLOCK_DAYS

DEFINITIONS: Final = {
    "days": "Between the first and the last equity point.",
    "start_equity_usd": "Equity at the first point.",
    "end_equity_usd": "Equity at the last point, open positions at their marks, accrued funding included.",
    "net_usd": "End equity less start equity.",
    "return_pct": "Net / start equity.",
    "cagr_pct": "Growth a year, compounded over 365 days; none for spans under 30 days.",
    "trade_count": "Closed trades; the ratios below are of these.",
    "trades_net_usd": "Sum over closed trades, after fees and funding.",
    "fees_usd": "Paid to the exchange, open trades included.",
    "funding_usd": "Paid (below zero: received), realised by the last full hour.",
    "win_rate_pct": "Trades with a profit after fees and funding, of all closed trades.",
    "profit_factor": "Sum of profits / sum of losses, after fees and funding; none without a loss.",
    "expectancy_usd": "Mean result of a closed trade, after fees and funding.",
    "expectancy_r": "Mean result in R after fees and funding; R is what the trade loses at its first stop, before costs.",
    "max_drawdown_pct": "Deepest fall of equity below its highest point so far, of that point; equity is read each 15 minutes.",
    "max_drawdown_usd": "Deepest such fall in money; not always the same one.",
    "sharpe": "Mean / standard deviation (n - 1) of daily returns x root of 365; riskless rate 0, days end at 00:00 UTC.",
    "sortino": "The same over the downside deviation: root of the mean square of daily losses, gains counted as 0.",
    "exposure_pct": "Share of the time with at least one position open.",
    "leverage_max_x": "Highest notional / equity at a 15m boundary.",
    "liquidation_distance_min_pct": "Least distance a mark, moving alone, had to go against its position until liquidation, percent of the mark.",
}
"""Every figure of the metrics table, in its order."""


def assumed_text(document: Mapping[str, Any]) -> str:
    """One plain paragraph, in which every assumption of the document is said."""
    a, filled = document["assumed"], document["filled"]
    gaps = [f"{symbol} {span}" for symbol, spans in filled.items() for span in spans]
    depth = "endlessly deep" if a["depth_usd"] == "endless" else f"{Decimal(a['depth_usd']):,} USD deep at each price"
    said = [
        f"Entries and exits are market orders: every fill pays half of a spread of {a['spread']} and slippage beyond it ({a['slippage']}); the book is "
        f"{depth}. Fees are {a['fees']} of the value. A resting limit fills {LIMITS[a['limit_fills']]}.",
        f"A candle is acted on {int(a['settle_ms']):,} ms after its end and an order is at the exchange {int(a['latency_ms']):,} ms after it was decided on.",
        f"Within a candle the price goes {a['path']}. {INTRABAR[a['intrabar']]} {a['triggers'].capitalize()}; a price that opens beyond one fills there.",
        f"Basis between futures and spot: {a['basis']}; a line from close to close, so a wick of the perpetual alone fires nothing. Funding: {a['funding']}. Native candles from before: {a.get('history', 'none')}.",
        f"The account is cross-margined and liquidated on the mark below its maintenance margin (initial / maintenance: {a['margin']}).",
        f"{GAPS[a['gap_policy']]}: " + ("; ".join(gaps) if gaps else "there were none") + ".",
        f"Gross is what trades made at the marks of their fills; intervals resample trades, or days in blocks of {BLOCK_DAYS}. The exchange never fails.",
    ]
    return " ".join(said)


def day(at: int) -> str:
    """The day of a moment, UTC."""
    return datetime.fromtimestamp(at // SECOND_US, UTC).strftime("%Y-%m-%d")


def span(period: Mapping[str, int]) -> str:
    """The first and the last day of a run."""
    return f"{day(period['start'])} to {day(period['end'] - 1)}"


def course(decisions: Mapping[str, Any]) -> str:
    """When a run began to trade and when it ceased to."""
    first, last, latched = (decisions[name] for name in ("first_signal_at", "last_entry_at", "latched"))
    if first is None:
        return "no signal was given"
    entered = "no entry was made" if last is None else f"the last entry was made on {day(last)}"
    ended = (
        f"; the kill switch latched on {day(latched['at'])} ({latched['reason']}) and nothing was entered after it"
        if latched
        else ""
    )
    return f"the first signal came on {day(first)}, {entered}{ended}"


def decided(decisions: Mapping[str, Any]) -> str:
    """What became of the signals; who was approved may still be kept in by the door."""
    told = f"{decisions['signals']} signals, {decisions['approved']} approved, {decisions['refused']} refused"
    return told + (f"; {decisions['blocked']} of the approved kept in" if decisions["blocked"] else "")


INTRABAR: Final = {
    "pessimistic": "A candle, or finer candle where there is one, that reaches the stop and the target of a position gives the stop.",
    "path": "Of a stop and a target in one candle the one that the path meets first is given.",
}
LIMITS: Final = {
    "through": "only when the market goes beyond its price",
    "touch": "when the market touches its price",
}
GAPS: Final = {
    "fill": "Candles the source lacks are flat, without entries",
    "reset": "After candles that the source lacks the strategy starts anew",
    "halt": "A source that lacks candles is refused",
}

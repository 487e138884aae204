"""The result of a backtest as plain data: what `--json` prints and what the HTML report shows, one and the same.

Times are microseconds UTC, money decimal text, ratios numbers. What cannot be known is null.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec

from config.settings import Settings
from protocol.messages.futures import EnterPosition, EntryBlocked, SignalRefused, TradeClosed
from protocol.messages.signal import Signal
from protocol.units import DAY_US, TIMEFRAME_MS
from sim.engine.state import Books
from sim.loop import Result
from sim.report.account import TradeAccount, accounts
from sim.report.bootstrap import BLOCK_DAYS, LEVEL_PCT, RESAMPLES, SEED, intervals
from sim.report.breakdown import cut, falls, group, monthly_returns
from sim.report.exposure import Exposure, exposure
from sim.report.metrics import daily_returns, measure
from sim.tape import Tape


class Findings(msgspec.Struct, frozen=True, kw_only=True):
    """The document and what the report draws besides."""

    document: dict[str, Any]
    trades: tuple[TradeAccount, ...]
    exposure: Exposure


def find(settings: Settings, tape: Tape, result: Result, books: Books) -> Findings:
    """Everything that can be said of a run."""
    told: list[TradeClosed] = result.of(TradeClosed)
    trades = accounts(result.messages, tape, settings.spot_of, settings.risk.taker_fee_pct)
    closed = [trade for trade in trades if trade.closed_at is not None]
    still_open = [trade for trade in trades if trade.closed_at is None]
    metrics = measure(
        told,
        result.equity,
        fees_usd=books.fees_usd,
        funding_usd=books.funding_usd,
        open_since_us=[trade.opened_at for trade in still_open],
    )
    stakes = exposure(trades, result.equity, tape)
    drops = falls(result.equity)
    sure = intervals(
        [float(trade.net_usd) for trade in closed],
        [trade.net_r for trade in closed if trade.net_r is not None],
        daily_returns(result.equity),
    )
    document = {
        **msgspec.to_builtins(metrics),
        "trades": [_row(trade, one) for trade, one in zip(closed, told, strict=True)],
        "open_trades": [_plain(trade) for trade in still_open],
        "trade_count": len(closed),
        "costs": msgspec.to_builtins(group(trades)),
        "by": msgspec.to_builtins(cut(trades)),
        "monthly_returns_pct": monthly_returns(result.equity),
        "drawdowns": {
            "deepest": msgspec.to_builtins(max(drops, key=lambda fall: fall.depth_pct, default=None)),
            "longest": msgspec.to_builtins(max(drops, key=lambda fall: fall.days, default=None)),
        },
        "confidence": {
            "level_pct": LEVEL_PCT, "resamples": RESAMPLES, "block_days": BLOCK_DAYS, "seed": SEED, "intervals": sure,
        },
        "leverage_max_x": float(stakes.leverage_x.max()) if len(stakes.at) else None,
        "liquidation_distance_min_pct": float(stakes.liquidation_pct.min()) if len(stakes.at) else None,
        "decisions": _decisions(result),
        "equity_daily": [(at, str(usd)) for at, usd in result.equity if at % DAY_US == 0],
        "candles": len(settings.symbols) * (tape.end_us - tape.start_us) // (TIMEFRAME_MS["15m"] * 1000),
        "filled_spans": {symbol: len(spans) for symbol, spans in tape.filled.items()},
        "filled": {symbol: [str(span) for span in spans] for symbol, spans in tape.filled.items()},
        "period": {"start": tape.start_us, "end": tape.end_us},
        "profile": settings.profile,
        "assumed": assumptions(settings, tape),
        "digest": result.digest(),
    }  # fmt: skip
    return Findings(document=document, trades=tuple(trades), exposure=stakes)


def _plain(trade: TradeAccount) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(trade)
    plain["fills"] = len(trade.fills)
    return plain


def _row(trade: TradeAccount, told: TradeClosed) -> dict[str, Any]:
    """A closed trade as it was told, with its own account beside."""
    return {**_plain(trade), **msgspec.to_builtins(told)}


def _decisions(result: Result) -> dict[str, Any]:
    """What became of the signals, by reason code; a refusal with several reasons counts under each."""
    refused: Sequence[SignalRefused] = result.of(SignalRefused)
    blocked: Sequence[EntryBlocked] = result.of(EntryBlocked)
    return {
        "signals": len(result.of(Signal)),
        "approved": len(result.of(EnterPosition)),
        "refused": len(refused),
        "refused_by": dict(Counter(reason for one in refused for reason in one.reasons).most_common()),
        "blocked_by": dict(Counter(reason for one in blocked for reason in one.reasons).most_common()),
    }


def assumptions(settings: Settings, tape: Tape) -> dict[str, str]:
    """What the run took for granted, by name."""
    has_basis = any(track.basis.any() for track in tape.tracks.values())
    has_funding = any(track.funding_us for track in tape.tracks.values())
    return {
        "taker_fee_pct": str(settings.risk.taker_fee_pct),
        "slippage_pct": str(settings.market.slippage_pct),
        "spread_pct": str(settings.market.spread_pct),
        "path": "open, extreme against the candle, other extreme, close; marks each second on it while anything is open",
        "basis": "from perpetual candles or the synthetic market" if has_basis else "none: futures trade at spot",
        "funding": "hourly, from the rates given or the synthetic market" if has_funding else "none is paid",
    }

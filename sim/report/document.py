"""The result of a backtest as plain data: what `--json` prints and what the HTML report shows, one and the same.

Times are microseconds UTC, money decimal text, ratios numbers. What cannot be known is null.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

import msgspec
import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from config.settings import Settings
from protocol.messages.control import Latch
from protocol.messages.futures import EnterPosition, EntryBlocked, Instrument, SignalRefused, TradeClosed
from protocol.messages.signal import Signal
from protocol.units import DAY_US, TIMEFRAME_MS
from sim.curve import Curve, Floats
from sim.engine.fees import KRAKEN
from sim.loop import Result
from sim.market import slippage
from sim.market.tape import Tape
from sim.report.account import TradeAccount, accounts
from sim.report.bootstrap import BLOCK_DAYS, LEVEL_PCT, RESAMPLES, SEED, intervals
from sim.report.breakdown import cut, falls, group, monthly_returns
from sim.report.metrics import daily_returns, measure

SETTINGS: Final = {"strategy", "risk", "execution", "feeds", "market"}
"""Sections that a result depends on. The others say where things are kept, and may hold a password."""


class Findings(msgspec.Struct, frozen=True, kw_only=True):
    """The document and what the report draws besides."""

    document: dict[str, Any]
    trades: tuple[TradeAccount, ...]


def find(settings: Settings, tape: Tape, result: Result, sources: Mapping[str, str]) -> Findings:
    """Everything that can be said of a run. `sources`: where basis and funding come from, in words."""
    trades = accounts(result.messages, tape, settings.spot_of, result.fees_usd)
    closed = [trade for trade in trades if trade.closed_at is not None]
    told = [_booked(one, trade) for one, trade in zip(result.of(TradeClosed), closed, strict=True)]
    still_open = [trade for trade in trades if trade.closed_at is None]
    metrics = measure(
        closed,
        result.curve,
        start_usd=result.books.start,
        end_usd=result.equity_usd,
        fees_usd=result.books.fees,
        funding_usd=result.books.funding,
        open_since_us=[trade.opened_at for trade in still_open],
    )
    curve = result.curve
    is_midnight = curve.at_us % DAY_US == 0
    drops = falls(_points(curve, _turns(curve.equity_usd)))
    is_open = curve.notional_usd > 0
    sure = intervals(
        [float(trade.net_usd) for trade in closed],
        [trade.net_r for trade in closed if trade.net_r is not None],
        daily_returns(curve),
    )
    document = {
        **msgspec.to_builtins(metrics),
        "trades": [_row(trade, one) for trade, one in zip(closed, told, strict=True)],
        "open_trades": [_plain(trade) for trade in still_open],
        "trade_count": len(closed),
        "costs": msgspec.to_builtins(group(trades)),
        "by": msgspec.to_builtins(cut(trades)),
        "monthly_returns_pct": monthly_returns(_points(curve, is_midnight | _ends(curve))),
        "drawdowns": {
            "deepest": msgspec.to_builtins(max(drops, key=lambda fall: fall.depth_pct, default=None)),
            "longest": msgspec.to_builtins(max(drops, key=lambda fall: fall.days, default=None)),
        },
        "confidence": {
            "level_pct": LEVEL_PCT, "resamples": RESAMPLES, "block_days": BLOCK_DAYS, "seed": SEED, "intervals": sure,
        },
        "leverage_max_x": _most(curve.notional_usd[is_open] / curve.equity_usd[is_open]),
        "liquidation_distance_min_pct": _least(curve.liquidation_pct[is_open]),
        "decisions": _decisions(result, trades),
        "equity_daily": [(at, round(usd, 6)) for at, usd in _points(curve, is_midnight)],
        "candles": len(settings.symbols) * (tape.end_us - tape.start_us) // (TIMEFRAME_MS["15m"] * 1000),
        "filled_spans": {symbol: len(spans) for symbol, spans in tape.filled.items()},
        "filled": {symbol: [str(span) for span in spans] for symbol, spans in tape.filled.items()},
        "period": {"start": tape.start_us, "end": tape.end_us},
        "profile": settings.profile,
        "settings": settings.model_dump(mode="json", include=SETTINGS),
        "assumed": assumptions(settings, tape) | dict(sources),
        "digest": result.digest(),
    }  # fmt: skip
    return Findings(document=document, trades=tuple(trades))


def _points(curve: Curve, where: NDArray[np.bool_]) -> list[tuple[int, float]]:
    return list(zip(curve.at_us[where].tolist(), curve.equity_usd[where].tolist(), strict=True))


def _ends(curve: Curve) -> NDArray[np.bool_]:
    ends = np.zeros(len(curve), np.bool_)
    ends[:1] = ends[-1:] = True
    return ends


def _turns(equity: Floats) -> NDArray[np.bool_]:
    """All but what lies within a stretch of equal equity: its first and its last point stand for it."""
    inner = np.zeros(len(equity), np.bool_)
    inner[1:-1] = (equity[1:-1] == equity[:-2]) & (equity[1:-1] == equity[2:])
    return ~inner


def _booked(told: TradeClosed, trade: TradeAccount) -> TradeClosed:
    """A trade with the fees that the exchange booked, where those it was told with were an estimate that missed."""
    if told.fees_usd == trade.fees_usd:
        return told
    pnl = told.pnl_usd + told.fees_usd - trade.fees_usd
    multiple = told.r_multiple * pnl / told.pnl_usd if told.pnl_usd else told.r_multiple
    return replace(told, fees_usd=trade.fees_usd, pnl_usd=pnl, r_multiple=multiple)


def _most(values: Floats) -> float | None:
    return float(values.max()) if len(values) else None


def _least(values: Floats) -> float | None:
    return float(np.nanmin(values)) if not np.isnan(values).all() else None


def _plain(trade: TradeAccount) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(trade)
    plain["fills"] = len(trade.fills)
    return plain


def _row(trade: TradeAccount, told: TradeClosed) -> dict[str, Any]:
    """A closed trade as it was told, with its own account beside."""
    return {**_plain(trade), **msgspec.to_builtins(told)}


def _decisions(result: Result, trades: Sequence[TradeAccount]) -> dict[str, Any]:
    """What became of the signals, by reason code; a refusal with several reasons counts under each. `latched`: when the kill switch
    ended all trading, and why.
    """
    refused: Sequence[SignalRefused] = result.of(SignalRefused)
    blocked: Sequence[EntryBlocked] = result.of(EntryBlocked)
    signals: Sequence[Signal] = result.of(Signal)
    latches: Sequence[Latch] = result.of(Latch)
    return {
        "signals": len(signals),
        "first_signal_at": signals[0].at if signals else None,
        "last_entry_at": max((trade.opened_at for trade in trades), default=None),
        "latched": {"at": latches[0].at, "reason": latches[0].reason} if latches else None,
        "approved": len(result.of(EnterPosition)),
        "refused": len(refused),
        "blocked": len(blocked),
        "refused_by": dict(Counter(reason for one in refused for reason in one.reasons).most_common()),
        "blocked_by": dict(Counter(reason for one in blocked for reason in one.reasons).most_common()),
    }


def assumptions(settings: Settings, tape: Tape) -> dict[str, str]:
    """What the run took for granted, by name."""
    market = settings.market
    return {
        "fees": _fees(settings),
        "slippage": slippage.told(market),
        "spread": f"{market.spread_pct} %"
        + (f" and {market.spread_range_share} of the last closed candle's range" if market.spread_range_share else ""),
        "latency_ms": str(market.latency_ms),
        "depth_usd": "endless" if market.depth_usd is None else str(market.depth_usd),
        "limit_fills": market.limit_fills,
        "intrabar": market.intrabar,
        "gap_policy": settings.strategy.gap_policy,
        "settle_ms": str(settings.feeds.settle_ms),
        "triggers": "stops and targets rest on the exchange and act on the mark price",
        "margin": _margins(tape.instruments),
    }


def _fees(settings: Settings) -> str:
    """Maker and taker fees, with their tiers."""
    if settings.market.fee_schedule == "flat":
        return f"{settings.risk.maker_fee_pct} % as maker, {settings.risk.taker_fee_pct} % as taker"
    rows = (f"{one.maker_pct} / {one.taker_pct} % from {one.from_usd:,} USD" for one in KRAKEN)
    return f"Kraken's tiers of maker / taker by the volume of the 30 days before, {', '.join(rows)}"


def _margins(instruments: Sequence[Instrument]) -> str:
    """Initial and maintenance margin by notional, contracts of the same levels together."""
    named: dict[str, list[str]] = {}
    for one in instruments:
        rows = (f"{_percent(im)} / {_percent(mm)} from {start:,}" for start, im, mm in one.margin_levels)
        named.setdefault(", ".join(rows), []).append(one.symbol)
    return "; ".join(f"{', '.join(symbols)} {levels} USD" for levels, symbols in named.items())


def _percent(fraction: Decimal) -> str:
    return f"{(fraction * 100).normalize():f} %"

"""A chart for each trade: the structure the strategy saw on the signal's timeframe, entry, stop, target and exit. Pure."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence

import numpy as np
import plotly.graph_objects as go

from actors.strategy.analyze import analyze
from actors.strategy.series import Candles as Columns
from config.strategy import StrategyParams
from protocol.units import SIGN, TIMEFRAME_MS, Timeframe
from sim.market.files import Candles
from sim.market.longer import aggregate
from sim.market.tape import Tape
from sim.report.account import TradeAccount
from sim.report.chart import Trade, View, at, draw, price
from sim.report.structure import Event, read_structure
from sim.stage import HISTORY_ROWS

BEFORE, AFTER = 110, 24
"""Candles shown before the entry and after the exit."""


def trade_charts(trades: Sequence[TradeAccount], tape: Tape, params: StrategyParams) -> Iterator[tuple[str, go.Figure]]:
    """(trade id, chart). Candles and zones are spot, the strategy's; entry, stop, target and exit are futures prices."""
    known: dict[tuple[str, str], tuple[Candles, list[Event]]] = {}
    for trade in trades:
        key = (trade.spot_symbol, trade.timeframe)
        if key not in known:
            known[key] = _series(tape, *key, params)
        yield trade.trade_id, draw(_view(trade, *known[key], params))


def _series(tape: Tape, spot_symbol: str, timeframe: str, params: StrategyParams) -> tuple[Candles, list[Event]]:
    """A series as the strategy had it, from its anchor: so many candles before the start as a feed is given."""
    base, tf = tape.tracks[spot_symbol].candles, _timeframe(timeframe)
    whole = base if tf == "15m" else aggregate(base, tf)
    first = max(0, int(np.searchsorted(whole.time, tape.start_us // 1000)) - HISTORY_ROWS)
    c = whole.between(int(whole.time[first]), None)
    columns = Columns(c.time, np.column_stack((c.open, c.high, c.low, c.close, c.volume)))
    return c, analyze(columns, params, TIMEFRAME_MS[tf])["events"]


def _timeframe(text: str) -> Timeframe:
    return next(name for name in TIMEFRAME_MS if name == text)


def _view(trade: TradeAccount, candles: Candles, events: Sequence[Event], params: StrategyParams) -> View:
    tf_ms = TIMEFRAME_MS[_timeframe(trade.timeframe)]
    opened, closed = trade.opened_at / 1000, None if trade.closed_at is None else trade.closed_at / 1000
    last = candles.time[-1] if closed is None else closed
    shown = candles.between(int(opened) - BEFORE * tf_ms, int(last) + (AFTER + 1) * tf_ms)
    stop, target = trade.stop_price or trade.entry_price, trade.target_price or trade.entry_price
    d = SIGN[trade.side]
    start_ms, end_ms = int(shown.time[0]), int(shown.time[-1])
    oldest_ms = start_ms - 2 * max(params.liq_max_age, params.ob_max_age, params.fvg_max_age) * tf_ms
    first, after = (bisect_left(events, moment, key=lambda event: event["time"]) for moment in (oldest_ms, end_ms + 1))
    return View(
        title=trade.trade_id,
        subtitle="",
        candles=shown,
        tf_ms=tf_ms,
        structure=read_structure(events[first:after], tf_ms, params.ob_mitigation, start_ms, end_ms),
        trades=(
            Trade(
                side=trade.side,
                entry_ms=round(opened),
                entry=float(trade.entry_price),
                stop=float(stop),
                target=float(target),
                exit_ms=None if closed is None else round(closed),
                exit=None if closed is None else float(trade.exit_price),
                entry_text=(
                    f"{trade.side} {trade.size} {trade.symbol} at {price(float(trade.entry_price))}, {at(round(opened))}",
                    f"in {trade.zone_id}",
                    f"stop {price(float(stop))}, target {price(float(target))}"
                    f" ({float((target - trade.entry_price) * d / abs(trade.entry_price - stop)):.1f} R)"
                    if stop != trade.entry_price
                    else "never protected",
                ),
                exit_text=()
                if closed is None
                else (
                    f"{trade.reason} at {price(float(trade.exit_price))}, {at(round(closed))}",
                    f"net {float(trade.net_usd):+,.2f} USD"
                    + (f", {trade.net_r:+.2f} R" if trade.net_r is not None else ""),
                ),
            ),
        ),
    )

"""A whole history decided at once: one row per closed execution candle, for the `decide` command and for research.

Drives the functions of `decide` over candles in memory; there is no second set of rules. Knows no position: with `exits` it
follows every signal by section 5 as if it had been entered at its close.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from actors.strategy.decide import LOST, absorb, enter_or_expire, initial, read_structure, resolve
from actors.strategy.exits import Trade, enter, follow_bar
from actors.strategy.rules import View, judge
from actors.strategy.series import Candles
from config.strategy import StrategyParams
from protocol.messages.base import from_edge
from protocol.messages.signal import Held, Signal, StructureRead
from protocol.messages.spot import CandleClosed
from protocol.units import TIMEFRAME_MS

BASE_MS = TIMEFRAME_MS["15m"]


@dataclass
class OpenTrade:
    """A signal being followed on its own series, and the row its end is written to."""

    trade: Trade
    timeframe: str
    row: dict[str, Any]

    def follow(self, view: View, read: StructureRead) -> bool:
        """Take the next candle of any series; whether the trade is still open after it."""
        if view.timeframe != self.timeframe:
            return True
        self.trade, ended = follow_bar(self.trade, read, view.candle.open, view.params)
        if ended is None:
            return True
        self.row |= {
            "code": ended.code,
            "exit_time": ended.candle_time_ms,
            "exit_price": ended.price,
            "bars_held": ended.bars_held,
            "last_stop": ended.stop,
        }
        return False


def decide_history(
    symbol_candles: Mapping[str, Candles], params: StrategyParams, *, exits: bool = False
) -> list[dict[str, Any]]:
    """Rows of all symbols in the order given, then by time: `symbol, time` (ms), `tf, side, primary_reason, fails`.

    A signal's row also has `entry, stop, tp, zone_id, tp_source, id`; with `exits` also `code, exit_time, exit_price,
    bars_held, last_stop`, null while it is still open at the end. `symbol_candles`: 15m candles in order. A gap follows
    `gap_policy`: `fill` makes flat candles without entries, `reset` starts over, `halt` holds with data.gap from there on.
    """
    rows: list[dict[str, Any]] = []
    for symbol, candles in symbol_candles.items():
        rows += _one_symbol(symbol, candles, params, exits)
    return rows


def _one_symbol(symbol: str, candles: Candles, params: StrategyParams, exits: bool) -> list[dict[str, Any]]:
    state = initial(params, [symbol])
    rows: list[dict[str, Any]] = []
    open_trades: list[OpenTrade] = []
    for message in closed_candles(symbol, candles, params.gap_policy == "fill"):
        market, answers = absorb(state, message)
        rows += [_held_row(answer) for answer in answers if isinstance(answer, Held)]
        if market is None:
            continue
        for view, reason in resolve(params, market):
            if exits:
                read = read_structure(market, message, view)
                open_trades = [open_trade for open_trade in open_trades if open_trade.follow(view, read)]
            row = _row(symbol, view, reason)
            rows.append(row)
            if reason is not None:
                continue
            signal = enter_or_expire(state, market, message, view)
            if isinstance(signal, Signal):
                row |= _entry(signal, view)
                if exits:
                    row |= dict.fromkeys(("code", "exit_time", "exit_price", "bars_held", "last_stop"))
                    open_trades.append(OpenTrade(enter(signal), view.timeframe, row))
    return rows


def closed_candles(symbol: str, candles: Candles, fill: bool) -> Iterator[CandleClosed]:
    """The messages of a 15m history, each known at the moment it ends; with `fill`, flat synthetic ones for missing candles."""
    previous_ms, previous_close = -1, 0.0
    for time, (o, h, low, c, v) in zip(candles.times.tolist(), np.asarray(candles.values).tolist(), strict=True):
        while fill and 0 <= previous_ms < time - BASE_MS:
            previous_ms += BASE_MS
            flat = (previous_close,) * 4
            yield closed_candle(symbol, previous_ms, *flat, 0.0, synthetic=True)
        yield closed_candle(symbol, time, o, h, low, c, v, synthetic=False)
        previous_ms, previous_close = time, c


def closed_candle(
    symbol: str, time: int, o: float, h: float, low: float, c: float, v: float, *, synthetic: bool
) -> CandleClosed:
    """A 15m candle as the message of the moment it ends; `time` is its open time in ms."""
    return from_edge(
        CandleClosed,
        (time + BASE_MS) * 1000,
        symbol,
        time,
        symbol=symbol,
        timeframe="15m",
        open_time_ms=time,
        open=o,
        high=h,
        low=low,
        close=c,
        volume=v,
        synthetic=synthetic,
    )


def _row(symbol: str, view: View, reason: str | None) -> dict[str, Any]:
    side = "hold" if reason is not None else ("long" if view.side > 0 else "short")
    fails = [reason] if reason == LOST else [r.code for _, r in judge(view) if r.passed is False]
    return {
        "symbol": symbol,
        "time": view.candle.open_time_ms,
        "tf": view.timeframe,
        "side": side,
        "primary_reason": reason or f"signal.{side}",
        "fails": fails,
    }


def _held_row(held: Held) -> dict[str, Any]:
    return {
        "symbol": held.symbol,
        "time": held.candle_time_ms,
        "tf": held.timeframe,
        "side": "hold",
        "primary_reason": held.reason,
        "fails": [held.reason],
    }


def _entry(signal: Signal, view: View) -> dict[str, Any]:
    source = "fallback_r"
    if view.targets:
        source = "liquidity" if view.targets[0].members else "prev_day"
    return {
        "entry": signal.entry,
        "stop": signal.stop,
        "tp": signal.take_profit,
        "zone_id": signal.zone_id,
        "tp_source": source,
        "id": signal.id,
    }

"""The exit rules of smc-spec section 5 at signal level: what closed execution candles say about a trade that was entered.

Pure: `follow_bar` is asked once per candle after the entry candle. It knows one trade's terms and one candle's readings; who
really holds a position, and at what prices the exchange filled it, is not its business.
"""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec.structs import replace

from actors.strategy.snapshot import exit_id
from config.strategy import StrategyParams
from protocol.messages.signal import Signal, StructureRead
from protocol.units import SIGN

ExitCode = Literal["exit.stop", "exit.target", "exit.choch", "exit.bias", "exit.time"]


class Trade(msgspec.Struct, frozen=True, kw_only=True):
    """A signal being followed. `stop` is the one in force for the next bar; it only ever tightens."""

    id: str
    direction: int  # +1 long, -1 short
    entry: float
    initial_stop: float
    stop: float
    target: float
    best_close: float  # highest of a long, lowest of a short, the entry candle included
    bars_held: int = 0
    is_trailing: bool = False

    @property
    def risk(self) -> float:
        """R: the initial distance from entry to stop."""
        return abs(self.entry - self.initial_stop)


class Exit(msgspec.Struct, frozen=True, kw_only=True):
    """The end of a trade at candle `candle_time_ms`. `stop`: the one in force when it ended."""

    id: str
    code: ExitCode
    candle_time_ms: int
    price: float
    bars_held: int
    stop: float


def enter(signal: Signal) -> Trade:
    """The trade of a signal, entered at the signal candle's close."""
    return Trade(
        id=signal.id,
        direction=SIGN[signal.side],
        entry=signal.entry,
        initial_stop=signal.stop,
        stop=signal.stop,
        target=signal.take_profit,
        best_close=signal.entry,
    )


def follow_bar(
    trade: Trade, read: StructureRead, open_price: float, params: StrategyParams
) -> tuple[Trade, Exit | None]:
    """What the next closed candle does to a trade: the first rule that hits ends it, otherwise the stop may tighten."""
    d = trade.direction
    held = replace(
        trade,
        bars_held=trade.bars_held + 1,
        best_close=max(trade.best_close, read.close) if d > 0 else min(trade.best_close, read.close),
    )
    hit = _first_hit(held, read, open_price, params)
    if hit is not None:
        code, price = hit
        return held, Exit(
            id=exit_id(read.candle_time_ms, code, trade.id),
            code=code,
            candle_time_ms=read.candle_time_ms,
            price=price,
            bars_held=held.bars_held,
            stop=trade.stop,
        )
    return _tightened(held, read, params), None


def _first_hit(
    trade: Trade, read: StructureRead, open_price: float, params: StrategyParams
) -> tuple[ExitCode, float] | None:
    d = trade.direction
    against, towards = (read.low, read.high) if d > 0 else (read.high, read.low)
    choch = {"exec": read.choch, "4h": read.choch_4h, "off": 0}[params.exit_on_choch]
    if d * against <= d * trade.stop:
        # Opened beyond the stop: the open is the first price there was.
        return "exit.stop", open_price if d * open_price < d * trade.stop else trade.stop
    if d * towards >= d * trade.target:
        return "exit.target", trade.target
    if choch == -d:
        return "exit.choch", read.close
    if params.exit_on_bias and read.bias == -d:
        return "exit.bias", read.close
    if 0 < params.max_hold_bars <= trade.bars_held:
        return "exit.time", read.close
    return None


def _tightened(trade: Trade, read: StructureRead, params: StrategyParams) -> Trade:
    """The stop of the next bar."""
    d, gained = trade.direction, trade.direction * (read.close - trade.entry)
    is_trailing = trade.is_trailing or gained >= params.trail_start_r * trade.risk
    candidates: list[float] = []
    structure = read.trail_long if d > 0 else read.trail_short
    if is_trailing and params.trail_mode == "structure" and structure is not None:
        candidates.append(structure)
    if is_trailing and params.trail_mode == "atr" and read.atr is not None:
        candidates.append(trade.best_close - d * params.trail_atr * read.atr)
    if 0 < params.breakeven_at_r * trade.risk <= gained:
        candidates.append(trade.entry)
    stop = trade.stop
    for candidate in candidates:
        if d * stop < d * candidate < d * read.close:
            stop = candidate
    return replace(trade, stop=stop, is_trailing=is_trailing)

"""When the executor would next do something for a trade that is whole: prices are its orders', candles are found here. Pure.

For a driver that skips what is of no consequence: a steady trade is moved on over many candles at once, with the same result as
`decide.on_structure` on each.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Protocol, TypeVar

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from actors.executor.duties import at_rest, next_look, perform
from actors.executor.exits import Plan, Policy, Trail
from actors.executor.state import Memory, State, desk_of, leftovers
from actors.executor.trade import Trade
from protocol.messages.futures import MarkPrice
from protocol.units import SIGN, TIMEFRAME_MS

NEAR: Final = 1e-9
"""Relative: where float and Decimal might disagree the candle is looked at in full."""
Floats = NDArray[np.float64]
F = TypeVar("F", float, Floats)


class Columns(Protocol):
    """What closed candles of one series said (`StructureRead`), oldest first, NaN where nothing was known."""

    @property
    def close_ms(self) -> NDArray[np.int64]: ...
    @property
    def close(self) -> Floats: ...
    @property
    def atr(self) -> Floats: ...
    @property
    def trail_long(self) -> Floats: ...
    @property
    def trail_short(self) -> Floats: ...
    @property
    def choch(self) -> NDArray[np.int8]: ...
    @property
    def choch_4h(self) -> NDArray[np.int8]: ...
    @property
    def bias(self) -> NDArray[np.int8]: ...


def steady(state: State, before: Memory | None = None) -> bool:
    """Whether every trade is as it should be: marks and time alone change nothing until an order of its own is met.

    `before`: a memory that was found so; what is still the same object in it still is.
    """
    memory = state.memory
    if not state.reconciled or ((before is None or memory.ended is not before.ended) and leftovers(memory)):
        return False
    for symbol, trade in memory.trades.items():
        if before is not None and before.trades.get(symbol) is trade:
            continue
        mark = state.marks.get(symbol)
        if mark is None or trade.opened_at is None or trade.through_since is not None:
            return False
        desk = desk_of(state, mark, symbol)
        if at_rest(desk, trade):
            continue
        after, said = perform(desk, trade)
        if said or after is not trade or trade.working("target") is None or next_look(desk, trade) is not None:
            return False
    return True


def price_told(state: State, mark: MarkPrice) -> State:
    """The state after a mark that meets nothing."""
    return replace(state, marks={**state.marks, mark.symbol: mark})


def woken(state: State, symbol: str) -> State:
    """The state after a timer that found nothing to do."""
    return replace(state, wakes={name: due for name, due in state.wakes.items() if name != symbol})


def acts_at(trade: Trade, policy: Policy, reads: Columns, rows: slice) -> int | None:
    """The first of `rows` at which the trade would leave or move its stop; None when at none."""
    first = _first_after_entry(trade.plan, reads, rows)
    if first >= rows.stop:
        return None
    rows = slice(first, rows.stop)
    found = [*_exits(trade.plan, policy, reads, rows), *_moves(trade, policy, reads, rows)]
    return first + min(found) if found else None


def passed(state: State, symbol: str, reads: Columns, rows: slice) -> State:
    """The state after candles at which the trade of `symbol` did nothing: what trailing remembers."""
    trade = state.memory.trades[symbol]
    first = _first_after_entry(trade.plan, reads, rows)
    if first >= rows.stop:
        return state
    rows = slice(first, rows.stop)
    trail = _followed(trade, state.policy, reads.close[rows])
    if trail == trade.trail:
        return state
    trades = {**state.memory.trades, symbol: replace(trade, trail=trail)}
    return replace(state, memory=replace(state.memory, trades=trades))


def _first_after_entry(plan: Plan, reads: Columns, rows: slice) -> int:
    """Nothing counts on the entry candle."""
    first: int = rows.start
    ended_ms = plan.entry_bar_ms + TIMEFRAME_MS[plan.timeframe]
    if first >= rows.stop or reads.close_ms.item(first) > ended_ms:
        return first
    return max(first, int(reads.close_ms.searchsorted(ended_ms, side="right")))


def _exits(plan: Plan, policy: Policy, reads: Columns, rows: slice) -> Iterator[int]:
    """Rules 3 to 5 of section 5, as `exits.EXITS`: the first candle, counted within `rows`, at which each leaves. They are a few:
    plain numbers.
    """
    against = -SIGN[plan.side]
    flips = {"exec": reads.choch, "4h": reads.choch_4h}.get(plan.exit_on_choch)
    for column in (flips, reads.bias if policy.exit_on_bias else None):
        if column is not None and against in (told := column[rows].tolist()):
            yield told.index(against)
    if plan.max_hold_bars > 0:
        held_until = plan.entry_bar_ms + (1 + plan.max_hold_bars) * TIMEFRAME_MS[plan.timeframe]
        ended = int(reads.close_ms[rows].searchsorted(held_until))
        if ended < rows.stop - rows.start:
            yield ended


def _followed(trade: Trade, policy: Policy, close: Floats) -> Trail:
    """What trailing remembers after candles: the best close alone tells."""
    sign, best = SIGN[trade.plan.side], trade.trail.best_close
    found = (max if sign > 0 else min)(close.tolist())
    armed = trade.trail.armed or _gained_r(trade.plan, found) >= policy.trail_start_r
    return Trail(best_close=max(found * sign, best * sign) * sign, armed=armed)


def _gained_r(plan: Plan, close: F) -> F:
    """How far a close lies on the trade's side of entry, in units of what is risked."""
    entry = float(plan.spot_entry)
    return (close - entry) * SIGN[plan.side] / (entry * float(plan.stop_pct))


def _moves(trade: Trade, policy: Policy, reads: Columns, rows: slice) -> Iterator[int]:
    """The first candle, counted within `rows`, at which rule 6, if it is on, may move the stop: never wrongly none."""
    plan, close = trade.plan, reads.close[rows]
    trails = policy.trail_mode != "off" and _followed(trade, policy, close).armed
    if not trails and policy.breakeven_at_r <= 0:
        return
    sign, entry, gained_r = SIGN[plan.side], float(plan.spot_entry), _gained_r(plan, close)
    level = np.full(len(close), -np.inf)  # times sign: the higher the tighter
    if policy.breakeven_at_r > 0:
        level = np.where((policy.breakeven_at_r <= gained_r) & (entry * sign < close * sign), entry * sign, level)
    if trails:
        if policy.trail_mode == "structure":
            found = (reads.trail_long if plan.side == "long" else reads.trail_short)[rows] * sign
        else:
            best = np.maximum.accumulate(np.maximum(close * sign, trade.trail.best_close * sign))
            found = best - policy.trail_atr * reads.atr[rows]
        armed = trade.trail.armed | np.logical_or.accumulate(gained_r >= policy.trail_start_r)
        usable = armed & (found < close * sign)  # a NaN is not
        level = np.where(usable, np.fmax(level, found), level)
    ratio = float(plan.reference) / entry
    stop, tick = float(trade.stop_price), float(plan.tick)
    # A level is rounded to the tick, away from profit: less than a whole tick better moves nothing.
    moves = level * ratio >= stop * sign + tick - abs(stop) * NEAR
    if moves.any():
        yield int(moves.argmax())

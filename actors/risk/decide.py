"""Risk: turns a signal into a sized entry or a refusal, and holds entries back while the account or the market is unfit. Pure.

Knows what is held, what it costs and what was lost. Must not know orders, candles or why a signal was given.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any, Final

import msgspec

from actors.memory import remember
from actors.risk.approval import on_signal, retry
from actors.risk.entries import on_filled, on_gone, on_refused, on_unknown, settle
from actors.risk.figures import daily_loss_pct, held_size, with_rate
from actors.risk.guards import DRAWDOWN, LIQUIDATION
from actors.risk.state import NONE, Answers, State, roll_day, told_account, told_positions
from actors.risk.watch import kill_near_liquidation, watch_account, watch_symbol
from protocol.messages.base import Message, follow
from protocol.messages.control import Drift, KillRequested, PersonAsked, Started, WakeAt, Woken
from protocol.messages.futures import (
    LIST_LAG_US,
    AccountChanged,
    EntryBlocked,
    ExchangeSnapshot,
    Filled,
    InstrumentsListed,
    MarkPrice,
    OrderGone,
    OrderRejected,
    OrderUnknown,
    Position,
    PositionChanged,
    flat,
)
from protocol.messages.signal import Signal
from protocol.messages.spot import SpotPrice
from protocol.units import DAY_US, day_start_us


def step(state: State, message: Message) -> Answers:
    """One decision. A message nobody here cares about changes nothing."""
    handler = HANDLERS.get(type(message))
    return (state, NONE) if handler is None else handler(state, message)


# --- time ----------------------------------------------------------------------------------------------------


def on_started(state: State, message: Started) -> Answers:
    """Arm the timers. After a restart every halt is said anew, as the gate may still hold one that is over."""
    state = msgspec.structs.replace(state, restarted=message.restarted, halts={})
    if not message.restarted:
        state = remember(state, life_began_at=message.at)
    state = roll_day(state, message.at)
    wakes = [day_wake(message)]
    if message.at < state.memory.cooldown_until:
        wakes.append(follow(message, WakeAt, "cooldown", key="cooldown", due=state.memory.cooldown_until))
    state, said = watch_account(state, message)
    return state, (*wakes, *said)


def on_woken(state: State, message: Woken) -> Answers:
    """A new day, or the end of a cool-down."""
    state = roll_day(state, message.at)
    state, said = watch_account(state, message)
    return state, ((day_wake(message), *said) if message.key == "day" else said)


def day_wake(cause: Message) -> WakeAt:
    """Wake at the next 00:00 UTC."""
    return follow(cause, WakeAt, "day", key="day", due=day_start_us(cause.at) + DAY_US)


# --- a person ------------------------------------------------------------------------------------------------


def on_asked(state: State, message: PersonAsked) -> Answers:
    """Who ends the halt of a drawdown accepts it: the highest equity is counted anew from here. Flat, nothing else would ever end it."""
    accepted = message.ask == "resume" and message.key == DRAWDOWN and not message.dry_run
    if not accepted or state.account is None:
        return state, NONE
    return watch_account(remember(state, peak_equity_usd=state.account.equity_usd), message)


# --- facts ---------------------------------------------------------------------------------------------------


def on_instruments(state: State, message: InstrumentsListed) -> Answers:
    """The rules of the contracts, replaced as a whole."""
    listed = {instrument.symbol: instrument for instrument in message.instruments}
    return msgspec.structs.replace(state, instruments=listed), NONE


def on_mark(state: State, message: MarkPrice) -> Answers:
    """A newer mark. One older than the last is not news, and what is no price is no mark: the last one ages instead."""
    last = state.marks.get(message.symbol)
    if last is not None and message.mark_time < last.mark_time:
        return state, NONE
    if not (message.mark.is_finite() and message.mark > 0):
        return state, NONE
    state = msgspec.structs.replace(state, marks={**state.marks, message.symbol: message})
    state, said = watch_symbol(with_rate(state, message), message, message.symbol)
    if state.halts.get(f"{LIQUIDATION}:{message.symbol}"):
        state, more = kill_near_liquidation(state, message, message.symbol)
        said = (*said, *more)
    if state.memory.delayed:
        state, more = retry(state, message, message.symbol)
        said = (*said, *more)
    if state.account is None or not held_size(state, message.symbol):
        return state, said  # the mark of what is not held moves no figure of the account
    state, more = watch_account(state, message)
    return state, (*said, *more)


def on_spot(state: State, message: SpotPrice) -> Answers:
    """A newer spot price. What is no price is ignored: the last one ages instead."""
    if not (math.isfinite(message.price) and message.price > 0):
        return state, NONE
    state = msgspec.structs.replace(state, spots={**state.spots, message.symbol: message})
    symbol = state.futures_of.get(message.symbol)
    if symbol is None:
        return state, NONE
    state, said = watch_symbol(state, message, symbol)
    if not state.memory.delayed:
        return state, said
    state, more = retry(state, message, symbol)
    return state, (*said, *more)


def on_account(state: State, message: AccountChanged) -> Answers:
    """Equity: the day's first, the highest, and whether too much of either is gone."""
    state = told_account(state, message.at, message.account)
    lost = daily_loss_pct(state)
    if not state.memory.daily_loss_hit and lost is not None and lost >= state.settings.risk.daily_loss_max_pct:
        state = remember(state, daily_loss_hit=True)
        state, said = watch_account(state, message)
        return state, (*said, *kill_for_daily_loss(state, message, lost))
    return watch_account(state, message)


def kill_for_daily_loss(state: State, cause: AccountChanged, lost_pct: Decimal) -> Sequence[Message]:
    """The kill switch, at the moment the limit is reached, if settings ask for more than a halt."""
    if state.settings.risk.daily_loss_action != "kill":
        return NONE
    reason = f"DAILY_LOSS: {lost_pct:.2f} % of equity at 00:00 UTC"
    return (follow(cause, KillRequested, "DAILY_LOSS", reason=reason, by="risk"),)


def on_position(state: State, message: PositionChanged) -> Answers:
    """The exchange's word on what is held."""
    return hold(state, message, (message.position,), message.at)


def hold(state: State, cause: Message, positions: Sequence[Position], at: int) -> Answers:
    """Take over positions, then look at their symbols and the account again."""
    state = told_positions(state, at, positions)
    said: list[Message] = []
    for position in positions:
        state, more = watch_symbol(state, cause, position.symbol)
        said += more
        state, more = kill_near_liquidation(state, cause, position.symbol)
        said += more
    state, more = watch_account(state, cause)
    return state, (*said, *more)


def on_snapshot(state: State, message: ExchangeSnapshot) -> Answers:
    """The whole truth as of a moment that may lie before our last fills, as lists trail: it is set against older words only, and of what
    it does not prove the last word stands.

    What it does not list is flat, a book that disagrees is dropped, and an entry of unknown outcome whose time was over is settled: it
    never was, or is among the positions. What else of a list is to be believed the futures feed tells as `PositionChanged`.
    """
    since, unproved = message.began_at - LIST_LAG_US, message.unproved
    listed = {position.symbol: position for position in message.positions}
    truth = {symbol: listed.get(symbol, flat(symbol)) for symbol in sorted({*listed, *state.positions})}
    book = {
        symbol: holding
        for symbol, holding in state.memory.book.items()
        if symbol in unproved or holding.at > since or holding.size == listed.get(symbol, flat(symbol)).size
    }
    pending = tuple(
        entry
        for entry in state.memory.pending
        if not entry.unknown or entry.expires > since or entry.symbol in unproved
    )
    believed = [
        position
        for symbol, position in truth.items()
        if symbol not in unproved and last_word_at(state, symbol) <= since
    ]
    if book != state.memory.book or pending != state.memory.pending:
        state = remember(state, book=book, pending=pending)
    return hold(state, message, believed, message.began_at)


def last_word_at(state: State, symbol: str) -> int:
    """When a position was last told of by anything that does not trail; long ago for one this life knows nothing of."""
    if symbol not in state.positions:
        return 0
    holding = state.memory.book.get(symbol)
    return max(state.positions[symbol].at, holding.at if holding else 0)


def on_drift(state: State, message: Drift) -> Answers:
    """The reconciler found us wrong about a symbol. A missing order is evidence that a pending entry never was."""
    state = msgspec.structs.replace(state, drifts={**state.drifts, message.symbol: message.at})
    if message.kind == "missing_order" and message.client_order_id is not None:
        state = settle(state, message.client_order_id)
    return state, NONE


HANDLERS: Final[dict[type[Message], Callable[[State, Any], Answers]]] = {
    Started: on_started,
    Woken: on_woken,
    PersonAsked: on_asked,
    InstrumentsListed: on_instruments,
    MarkPrice: on_mark,
    SpotPrice: on_spot,
    AccountChanged: on_account,
    PositionChanged: on_position,
    ExchangeSnapshot: on_snapshot,
    Drift: on_drift,
    OrderRejected: on_refused,
    EntryBlocked: on_refused,
    OrderGone: on_gone,
    OrderUnknown: on_unknown,
    Filled: on_filled,
    Signal: on_signal,
}

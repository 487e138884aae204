"""Executor: carries an approved entry from order to flat, protected on the exchange all the while. Pure.

Messages change what is known of a trade; then its duties (`duties`) say what is lacking. Knows no candle, no equity, no limit; must never
act on a position that no entry of ours opened. After a restart it sends nothing until one reconciliation is complete.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from msgspec.structs import replace

from actors.executor import exits
from actors.executor.answers import on_accepted, on_gone, on_rejected, on_unknown
from actors.executor.closing import on_close
from actors.executor.drifts import on_drift
from actors.executor.duties import ABSENT_PASSES, covered
from actors.executor.entries import on_blocked, on_enter
from actors.executor.fills import on_filled, on_position
from actors.executor.lost import SWEEP_EVERY_US, dismiss
from actors.executor.orders import LEAVING, PROTECTION, Order, advance, forget_wishes
from actors.executor.state import NOTHING, Answers, State, carry_on, leftovers
from actors.executor.trade import Trade, called_flat, update
from actors.executor.wishes import cancel, leave
from actors.memory import remember
from protocol.messages.base import Message
from protocol.messages.control import CloseRequested, Drift, Reconciled, Started, Woken
from protocol.messages.futures import (
    LIST_LAG_US,
    EnterPosition,
    EntryBlocked,
    Filled,
    InstrumentsListed,
    MarkPrice,
    OrderAccepted,
    OrderGone,
    OrderRejected,
    OrderUnknown,
    PositionChanged,
)
from protocol.messages.signal import StructureRead
from protocol.units import EXIT_SIDE, SECOND_US

HEARD_WITHIN_US: Final = 2 * SECOND_US
"""So long the stream's word on an edit or a cancel may take: one pass after the other asked again each time, up to three times a second (storm 62460)."""
ANSWER_MOST_US: Final = 30 * SECOND_US
"""So long the answer to a target may take to reach us: it may die with a feed, too."""
TAKEN_FOR_US: Final = 15 * SECOND_US
"""So long a target that somebody else took off the book stays off: the kill switch takes it just before it flattens."""


def step(state: State, message: Message) -> Answers:
    """One decision. A message nobody here cares about changes nothing."""
    handler = HANDLERS.get(type(message))
    return (state, NOTHING) if handler is None else handler(state, message)


# --- life ----------------------------------------------------------------------------------------------------


def on_started(state: State, message: Started) -> Answers:
    """A later life waits for the truth, remembered trades or not."""
    return (replace(state, reconciled=False) if message.restarted else state), NOTHING


def on_reconciled(state: State, message: Reconciled) -> Answers:
    """A complete pass: everything that had been filled before it began has been told. Makes every trade whole."""
    state, ended = replace(state, reconciled=True), state.memory.ended
    said: list[Message] = []
    for symbol in sorted(state.memory.trades):
        trade = after_pass(state.memory.trades[symbol], message)
        state, more = carry_on(state, message, trade)
        said += more
    state, swept = sweep(state, message, ended)
    state, dismissed = dismiss(state, message)
    return state, (*said, *swept, *dismissed)


def sweep(state: State, message: Reconciled, before: Sequence[Trade]) -> Answers:
    """Ask again about orders left from trades that were over `before` this pass ended: a crash may have swallowed their end, and nobody else
    knows them.
    """
    said: list[Message] = []
    ended: list[Trade] = []
    if not leftovers(state.memory):
        return state, said
    for trade in state.memory.ended:
        after = trade
        for order in trade.orders if any(trade is known for known in before) else ():
            if not order.live or order.role == "entry" or order.at >= message.began_at or serves(state, trade, order):
                continue
            if order.state == "triggered":
                # Its market order found nothing left to reduce: it must not bar the next entry for ever.
                after = update(after, advance(order, "gone", message.at))
            elif not order.leaving or order.at + SWEEP_EVERY_US <= message.began_at:
                after = update(after, replace(order, leaving=True, at=message.at))
                said.append(cancel(message, trade.plan.symbol, order.client_order_id))
        ended.append(after)
    return (remember(state, ended=tuple(ended)) if tuple(ended) != state.memory.ended else state), said


def serves(state: State, trade: Trade, order: Order) -> bool:
    """Whether a stop left over from a trade is all that protects what was taken over in its market since (storm 521600)."""
    now = state.memory.trades.get(trade.plan.symbol)
    if now is None or not now.cover or order.role != "stop" or order.side != EXIT_SIDE[now.plan.side]:
        return False
    return not covered(now, now.working("stop"))


def after_pass(trade: Trade, message: Reconciled) -> Trade:
    """What a complete pass proves about a trade."""
    if (
        trade.position is None
        and trade.held <= 0
        and trade.opened_at is not None
        and message.began_at >= trade.filled_at
    ):
        # Closed while we were down: a position would have been told before the pass was.
        trade = called_flat(trade, message.began_at)
    if trade.position_fresh and message.began_at >= trade.position_at:
        trade = replace(trade, position_at=0)
    for order in trade.orders:
        if order.resting and order.at + HEARD_WITHIN_US <= message.began_at:
            trade = update(trade, forget_wishes(order))
        elif order.taken and order.at + TAKEN_FOR_US <= message.began_at:
            trade = update(trade, replace(order, taken=False))
        elif order.role in LEAVING and order.state == "unknown" and order.at < message.began_at:
            # The exchange can be read again, and what is still held needs another: asked again this one may be refused as known.
            trade = update(trade, replace(order, stuck=True))
        elif order.role == "target" and order.state == "pending" and order.at + ANSWER_MOST_US < message.began_at:
            # Its answer died with a feed. A stop does not wait for that: the position is naked, and closed.
            trade = update(trade, advance(order, "unanswered", message.at))
        elif order.role in PROTECTION and lost(order, message.began_at):
            # A stop too many is cancelled when it shows, one too few is a naked position.
            trade = update(trade, advance(order, "missing", message.at))
    trade = budget_back(trade, message)
    entry = trade.entry
    if entry is None or entry.filled or message.began_at < trade.entry_until:
        return trade
    # Gone because it filled, and the fill was lost with an earlier life: it must not bar its symbol for ever.
    untold = entry.state == "filled" and trade.opened_at is None and entry.at + LIST_LAG_US <= message.began_at
    if not (entry.live or untold):
        return trade
    passes = trade.absent_passes + 1
    if passes >= ABSENT_PASSES:
        trade = update(trade, advance(entry, "missing", message.at))
    return replace(trade, absent_passes=passes)


def budget_back(trade: Trade, message: Reconciled) -> Trade:
    """A stop that rested as it should before a clean pass began is a new beginning: what was lost and refused until then counts no more."""
    stop, before = trade.working("stop"), trade.attempts.get("stop", 1) - 1
    sound = stop is not None and stop.resting and not stop.stuck and stop.at < message.began_at
    if not (message.clean and sound and trade.cover and covered(trade, stop)) or trade.stops_before == before:
        return trade
    return replace(trade, stops_before=before)


def lost(order: Order, began_at: int) -> bool:
    """Whether an order that a complete pass begun then did not list is to be taken for gone: it had rested, or its resend did not help.

    One that was never confirmed is sent again under its id first, which cannot double it. Where the doubt was heard late, the resend left later than
    `order.at`, and only what was read after its answer tells of it: a target can wait for that (storm 420088), a stop cannot.
    """
    if order.state != "unknown" or not (order.resting_size is not None or order.resent):
        return False
    answer_us = ANSWER_MOST_US if order.awaited and order.role == "target" else 0
    return order.at + answer_us < began_at


def on_woken(state: State, message: Woken) -> Answers:
    """Time has passed; look again."""
    trade = state.memory.trades.get(message.key)
    wakes = {symbol: due for symbol, due in state.wakes.items() if symbol != message.key}
    state = replace(state, wakes=wakes)
    return (state, NOTHING) if trade is None else carry_on(state, message, trade)


# --- the market ----------------------------------------------------------------------------------------------


def on_instruments(state: State, message: InstrumentsListed) -> Answers:
    """The rules of the contracts, replaced as a whole."""
    return replace(state, instruments={listed.symbol: listed for listed in message.instruments}), NOTHING


def on_mark(state: State, message: MarkPrice) -> Answers:
    """The mark: is a stop late, is a target reached that does not rest, has a market opened again?"""
    symbol = message.symbol
    before = state.marks.get(symbol)
    state = replace(state, marks={**state.marks, symbol: message})
    trade = state.memory.trades.get(symbol)
    if trade is None or trade.cover == 0:
        return state, NOTHING
    watched = through(trade, message)
    opened = before is not None and (before.suspended or before.post_only)
    waits = watched.closing or watched.mend_due is not None
    if waits and opened and not (message.suspended or message.post_only):
        watched = replace(watched, exit_due=None, mend_due=None)
    unchanged = watched is trade and trade.working("target") is not None
    return (state, NOTHING) if unchanged else carry_on(state, message, watched)


def through(trade: Trade, message: MarkPrice) -> Trade:
    """Since when the mark has been beyond the stop. A triggered stop does not recover with the mark."""
    beyond = exits.beyond(trade.plan.side, message.mark, trade.stop_price)
    stop = trade.working("stop")
    if beyond and trade.through_since is None:
        return replace(trade, through_since=message.at)
    recovered = not beyond and trade.through_since is not None and (stop is None or stop.state != "triggered")
    return replace(trade, through_since=None) if recovered else trade


def on_structure(state: State, message: StructureRead) -> Answers:
    """A closed candle of the trade's own series: leave, or let the stop follow."""
    symbol = state.futures_of.get(message.symbol)
    trade = state.memory.trades.get(symbol) if symbol else None
    if trade is None or trade.opened_at is None or trade.closing or message.timeframe != trade.plan.timeframe:
        return state, NOTHING
    if exits.bars_held(trade.plan, message) <= 0:
        return state, NOTHING
    code = exits.exit_code(trade.plan, state.policy, message)
    if code is not None:
        return carry_on(state, message, leave(trade, code))
    trail, candidate = exits.follow_price(trade.plan, state.policy, trade.trail, message)
    stop = trade.stop_price if candidate is None else exits.tightened(trade.plan.side, trade.stop_price, candidate)
    mark = state.marks.get(trade.plan.symbol)
    if mark is not None and exits.beyond(trade.plan.side, mark.mark, stop):
        # Spot allows it but the mark is already there: such a stop would fire at once.
        stop = trade.stop_price
    if stop != trade.stop_price:
        trade = asked_anew(trade)
    return carry_on(state, message, replace(trade, trail=trail, stop_price=stop))


def asked_anew(trade: Trade) -> Trade:
    """A stop that refused an edit and protects as it is may be asked for another price: those terms were not refused."""
    stop = trade.working("stop")
    if stop is None or not stop.stuck or not covered(trade, stop):
        return trade
    return update(trade, replace(forget_wishes(stop), stuck=False))


HANDLERS: Final[dict[type[Message], Callable[[State, Any], Answers]]] = {
    Started: on_started,
    Reconciled: on_reconciled,
    Woken: on_woken,
    InstrumentsListed: on_instruments,
    MarkPrice: on_mark,
    StructureRead: on_structure,
    EnterPosition: on_enter,
    EntryBlocked: on_blocked,
    OrderAccepted: on_accepted,
    OrderRejected: on_rejected,
    OrderUnknown: on_unknown,
    OrderGone: on_gone,
    Filled: on_filled,
    PositionChanged: on_position,
    Drift: on_drift,
    CloseRequested: on_close,
}

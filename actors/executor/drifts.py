"""What reconciliation found us wrong about, one answer a kind. Pure; the exchange is right."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Final

from msgspec.structs import replace

from actors.executor.fills import told_position
from actors.executor.foreign import taken_over
from actors.executor.lost import claim, forget
from actors.executor.orders import advance
from actors.executor.state import NOTHING, Answers, State, carry_on, trade_of, update_ended
from actors.executor.trade import called_flat, update
from actors.executor.wishes import alert, cancel
from protocol import ids
from protocol.messages.base import Message, follow
from protocol.messages.control import Drift
from protocol.messages.futures import TradeOpened
from protocol.units import seconds_us


def on_drift(state: State, message: Drift) -> Answers:
    """The reconciler read the truth and it is not what we think."""
    handler = DRIFTS.get(message.kind)
    return (state, NOTHING) if handler is None else handler(state, message)


def drift_missing(state: State, message: Drift) -> Answers:
    """An order we count on is not there. Its absence is proved."""
    found = trade_of(state, message.client_order_id)
    if found is None:
        state = forget(state, message.client_order_id)
        gone = update_ended(state, message.client_order_id, lambda order: advance(order, "missing", message.at))
        return gone, NOTHING
    trade, order = found
    if order.role == "target" and order.state == "unknown":
        # Read before its resend or after it? The end of that pass, which follows, says when it began.
        return state, NOTHING
    trade = update(trade, advance(order, "missing", message.at))
    said: list[Message] = []
    if order.role == "stop" and order.live and trade.cover:
        text = f"stop at {order.stop_price} is not on the exchange"
        said.append(alert(message, "STOP_LOST", "critical", message.symbol, text))
    return carry_on(state, message, trade, said)


def drift_missing_stop(state: State, message: Drift) -> Answers:
    """The exchange shows no stop for all of it. One just sent may be on its way; one that rested is doubted and replaced."""
    trade = state.memory.trades.get(message.symbol)
    stop = trade.working("stop") if trade else None
    if trade is None:
        # By the account's books it is ours, and no trade knows it: protected first, whoever brought it about.
        return take_over(state, message) if message.policy == "correct" else (state, NOTHING)
    if stop is None:
        return carry_on(state, message, trade)
    settled = message.at - stop.at > seconds_us(state.execution.protect_within_s)
    if settled and stop.resting:
        trade = update(trade, replace(stop, stuck=True, resting_size=None, resting_price=None, at=message.at))
    return carry_on(state, message, trade)


def drift_orphan(state: State, message: Drift) -> Answers:
    """An order of ours rests for no position. Cancelled, unless it is what protects a trade."""
    if not ids.is_ours(message.client_order_id):
        return state, NOTHING
    found = trade_of(state, message.client_order_id)
    if found is not None and found[0].cover and found[1].live:
        return state, NOTHING
    return state, (cancel(message, message.symbol, message.client_order_id, message.order_id),)


def drift_position(state: State, message: Drift) -> Answers:
    """The position differs after every fill was told: taken over at once."""
    try:
        size = Decimal(message.theirs)
    except InvalidOperation:
        # Said in words, not in contracts: the next PositionChanged will say it in contracts.
        return state, NOTHING
    return told_position(state, message, message.symbol, size, 0)


def drift_foreign(state: State, message: Drift) -> Answers:
    """A position no entry of ours opened: left alone, or taken over, as settings say. Who found it has told the person, once."""
    state, said = over_beside(state, message)
    if message.symbol in state.memory.trades or message.policy not in ("adopt", "flatten"):
        return state, said
    state, more = take_over(state, message)
    return state, (*said, *more)


def over_beside(state: State, message: Drift) -> Answers:
    """A trade of which by every fill nothing is left is over, although the account was never flat: what is held is a stranger's (storm 480092)."""
    trade = state.memory.trades.get(message.symbol)
    if trade is None or trade.opened_at is None or trade.held > 0:
        return state, NOTHING
    return carry_on(state, message, replace(called_flat(trade, trade.position_at), beside=True))


def take_over(state: State, message: Drift) -> Answers:
    """Make a position a trade of ours. Without a mark and the rules no stop can be placed: the next pass tries again."""
    symbol = message.symbol
    mark, instrument = state.marks.get(symbol), state.instruments.get(symbol)
    if mark is None or instrument is None:
        return state, NOTHING
    size, stop_pct = Decimal(message.theirs), state.execution.adopt_stop_pct
    trade = taken_over(message, size, mark.mark, stop_pct, instrument, state.memory.stops.get(symbol))
    if message.kind == "missing_stop" and Decimal(message.ours):
        state, trade = claim(state, trade, message.at)
    said = follow(
        message,
        TradeOpened,
        trade.plan.trade_id,
        trade_id=trade.plan.trade_id,
        symbol=symbol,
        side=trade.plan.side,
        size=trade.plan.size,
        price=mark.mark,
    )
    return carry_on(state, message, trade, (said,))


def drift_foreign_order(state: State, message: Drift) -> Answers:
    """An order not of our making: cancelled if settings say so."""
    if message.policy != "flatten":
        return state, NOTHING
    return state, (cancel(message, message.symbol, None, message.order_id),)


DRIFTS: Final[dict[str, Callable[[State, Drift], Answers]]] = {
    "missing_order": drift_missing,
    "missing_stop": drift_missing_stop,
    "orphan_order": drift_orphan,
    "ghost_position": drift_position,
    "size_mismatch": drift_position,
    "side_mismatch": drift_position,
    "foreign_position": drift_foreign,
    "foreign_order": drift_foreign_order,
}

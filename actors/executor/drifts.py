"""What reconciliation found us wrong about, one answer a kind. Pure; the exchange is right."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Final

from msgspec.structs import replace

from actors.executor.fills import told_position
from actors.executor.orders import advance
from actors.executor.state import NOTHING, Answers, State, carry_on, trade_of, update_ended
from actors.executor.trade import update
from actors.executor.wishes import alert, cancel
from protocol import ids
from protocol.messages.base import Message
from protocol.messages.control import Drift
from protocol.units import seconds_us


def on_drift(state: State, message: Drift) -> Answers:
    """The reconciler read the truth and it is not what we think."""
    handler = DRIFTS.get(message.kind)
    return (state, NOTHING) if handler is None else handler(state, message)


def drift_missing(state: State, message: Drift) -> Answers:
    """An order we count on is not there. Its absence is proved."""
    found = trade_of(state, message.client_order_id)
    if found is None:
        gone = update_ended(state, message.client_order_id, lambda order: advance(order, "missing", message.at))
        return gone, NOTHING
    trade, order = found
    trade = update(trade, advance(order, "missing", message.at))
    said: list[Message] = []
    if order.role == "stop" and order.live and trade.cover:
        text = f"stop at {order.stop_price} is not on the exchange"
        said.append(alert(message, "STOP_LOST", "critical", message.symbol, text))
    return carry_on(state, message, trade, said)


def drift_unprotected(state: State, message: Drift) -> Answers:
    """The exchange shows no stop for all of it. One just sent may be on its way; one that rested is doubted and replaced."""
    trade = state.memory.trades.get(message.symbol)
    stop = trade.working("stop") if trade else None
    if trade is None or stop is None:
        return (state, NOTHING) if trade is None else carry_on(state, message, trade)
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
    """A position no entry of ours opened: not ours to manage."""
    if message.symbol in state.memory.trades:
        return state, NOTHING
    text = f"{message.theirs} held and no trade of ours; not managed here"
    return state, (alert(message, "FOREIGN_POSITION", "critical", message.symbol, text),)


DRIFTS: Final[dict[str, Callable[[State, Drift], Answers]]] = {
    "missing_order": drift_missing,
    "unprotected": drift_unprotected,
    "orphan_order": drift_orphan,
    "position": drift_position,
    "foreign_position": drift_foreign,
}

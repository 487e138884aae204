"""What the exchange said of our orders, as events of their life cycle. Pure; concludes nothing from silence."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from msgspec.structs import replace

from actors.executor import exits
from actors.executor.duties import STOP_AGAIN_US, covered
from actors.executor.foreign import note_stop
from actors.executor.lost import forget, looked_up, unclaimed
from actors.executor.orders import (
    ALREADY_EXISTS,
    GONE_EVENT,
    LEAVING,
    NOT_FOUND,
    PROTECTION,
    WOULD_NOT_REDUCE,
    Order,
    advance,
    confirm,
    forget_wishes,
)
from actors.executor.state import NOTHING, Answers, State, carry_on, desk_of, trade_of, update_ended
from actors.executor.trade import Trade, called_flat, update
from actors.executor.wishes import Desk, Result, alert, cancel, leave
from actors.memory import remember
from protocol.kraken.faults import judge
from protocol.messages.base import Message
from protocol.messages.control import Severity
from protocol.messages.futures import OpenOrder, OrderAccepted, OrderGone, OrderRejected, OrderUnknown
from protocol.units import SECOND_US

ASKED_ALREADY_US: Final = 10 * SECOND_US
"""After somebody else was refused by a closed market: twice as long as he waits himself."""
CLOSED_AGAIN_US: Final = 10 * SECOND_US
"""A stop that protects as it is can wait so long for a market that does not say that it is closed."""


def on_accepted(state: State, message: OrderAccepted) -> Answers:
    """An order rests, or its terms changed."""
    listed = message.order

    def confirmed(order: Order, given_up: bool = False) -> Order:
        return confirm(order, listed.size, listed.filled, listed.stop_price, message.at, given_up)

    size = listed.size + listed.filled
    state, found, news = looked_up(
        state, message, listed.symbol, listed.client_order_id, size, listed.stop_price, message.at
    )
    if found is None:
        known = update_ended(state, listed.client_order_id, confirmed)
        return (unclaimed(note_stop(state, listed), listed) if known is state else known), NOTHING
    trade, order = found
    given_up = order.state in {"cancelled", "rejected"} and order.role in PROTECTION
    all_there_is = order.role == "stop" and trade.cover and not covered(trade, trade.working("stop"))
    if given_up and not all_there_is:
        # Listed though we gave it up: a late frame, or alive and beside its replacement. A cancel is right in both cases.
        wish = cancel(message, listed.symbol, order.client_order_id)
        return carry_on(state, message, update(trade, confirmed(order)), (*news, wish))
    # One that we gave up and that is all there is goes when another one rests (storm 80015).
    asked = order.stop_price, order.placed_price
    trade = update(trade, confirmed(order, given_up))
    trade, said = as_near_as_listed(desk_of(state, message, listed.symbol), trade, listed, asked)
    return carry_on(state, message, trade, (*news, *said))


def as_near_as_listed(desk: Desk, trade: Trade, listed: OpenOrder, asked: tuple[Decimal | None, ...]) -> Result:
    """A stop that rests nearer than ours was moved by a person, or by a life of ours that was forgotten: it is the trade's from now on, as a stop
    is never widened. What was `asked` of it is ours, on the grid of then, and never nearer than what we want now: a late frame changes nothing.
    """
    order, price, ours = trade.find(listed.client_order_id), listed.stop_price, desk.stop_price(trade)
    if order is None or order.role != "stop" or not order.resting or price is None:
        return trade, NOTHING
    if exits.tightened(trade.plan.side, ours, price) == ours:
        return trade, NOTHING
    # What was asked of it last is wider: not to be asked again.
    trade = replace(update(trade, replace(order, stop_price=price)), stop_price=price)
    if price in asked:
        return trade, NOTHING
    text = f"the stop rests at {price}, nearer than our {ours}: it stays there, as a stop is never widened"
    return trade, (alert(desk.cause, "STOP_TIGHTENED", "info", listed.symbol, text),)


def on_rejected(state: State, message: OrderRejected) -> Answers:
    """A refusal is definitive for the wish it answers, and evidence about the order in what it says."""
    found = trade_of(state, message.client_order_id)
    if found is None:
        state = update_ended(state, message.client_order_id, lambda order: refused(order, message))
        return asked_already(state, message), NOTHING
    trade, order = found
    changed = refused(order, message)
    trade = update(trade, changed)
    said: list[Message] = []
    if message.wish == "place" and changed.state == "rejected":
        severity: Severity = "critical" if order.role == "stop" else "warning"
        text = f"{order.role} refused: {message.status}"
        said.append(alert(message, "ORDER_REJECTED", severity, message.symbol, text))
        trade, more = after_refusal(trade, order, message)
        said += more
    elif message.wish == "edit" and changed.resting and passing(message):
        trade = after_passing(desk_of(state, message, message.symbol), trade, message)
    return carry_on(state, message, trade, said)


def asked_already(state: State, message: OrderRejected) -> State:
    """A market that refuses somebody else because it is closed need not be asked by us too: the kill switch asks every five seconds (storm 70583)."""
    trade = state.memory.trades.get(message.symbol)
    if trade is None or not trade.closing or message.wish != "place" or judge(message.status).kind != "mode":
        return state
    trade = replace(trade, exit_due=max(trade.exit_due or 0, message.at + ASKED_ALREADY_US))
    return remember(state, trades={**state.memory.trades, message.symbol: trade})


def refused(order: Order, message: OrderRejected) -> Order:
    """An order after a refused wish about it."""
    if message.status in ALREADY_EXISTS:
        return advance(order, "accepted", message.at)
    if message.wish == "place":
        # The refusal of a resend proves nothing about the first: unknown until evidence, or until time is up. One to leave by is followed by
        # another in any case, and both only reduce.
        unproved = order.resent and order.role not in LEAVING
        return replace(order, awaited=False) if unproved else advance(order, "rejected", message.at)
    if message.status in NOT_FOUND:
        return advance(order, "missing", message.at)
    if message.status == "filled":
        return advance(order, "done", message.at)
    if message.wish != "edit":
        return order
    # What passes by itself is asked again; other terms than these the exchange would have to be asked for by another order.
    return replace(forget_wishes(order), at=message.at) if passing(message) else replace(order, stuck=True)


def passing(message: OrderRejected) -> bool:
    """Whether the market or the rate of our requests was at fault, and not the order."""
    return message.limited or judge(message.status).kind in ("mode", "rate")


def after_passing(desk: Desk, trade: Trade, message: OrderRejected) -> Trade:
    """When to try again to change a stop or target: soon after too many requests, with an open market after a closed one."""
    wait_us = STOP_AGAIN_US if message.limited or judge(message.status).kind == "rate" else CLOSED_AGAIN_US
    return replace(trade, mend_due=max(message.at + wait_us, desk.closed_until or 0))


def after_refusal(trade: Trade, order: Order, message: OrderRejected) -> Result:
    """A refused stop leaves the position naked: out at once, unless only the rate of our requests was at fault, or another one is there
    to be replaced: then the next is tried soon, until the time without protection is up. "Would not reduce" says that there is none.
    """
    refused_to_reduce = message.status in WOULD_NOT_REDUCE
    if order.role == "stop":
        if refused_to_reduce:
            return make_room(trade, message)
        other = trade.working("stop")
        again = message.limited or other is not None
        if judge(message.status).kind == "mode" and other is not None and covered(trade, other):
            return replace(trade, mend_due=message.at + CLOSED_AGAIN_US), NOTHING
        due = message.at + STOP_AGAIN_US
        return replace(trade, stop_due=due) if again else leave(trade, "flatten.stop_rejected"), NOTHING
    told_flat = not trade.position or not trade.position_fresh
    if refused_to_reduce and order.role in LEAVING and told_flat and trade.working("target") is None:
        trade = called_flat(trade, message.at)
    return trade, NOTHING


def make_room(trade: Trade, message: OrderRejected) -> Result:
    """A stop found nothing to reduce. A target for all of it may be in its way and goes (fault-catalogue 48). Else the position is gone, or not
    there yet: what is told meanwhile decides, and the same is asked again ever later.
    """
    target = trade.working("target")
    if target is not None and target.resting and not target.leaving and trade.working("stop") is None:
        trade = update(trade, replace(target, leaving=True))
        return trade, (cancel(message, message.symbol, target.client_order_id),)
    wait_us = STOP_AGAIN_US << trade.stops_spent - 1
    return replace(trade, stop_due=message.at + wait_us), NOTHING


def on_unknown(state: State, message: OrderUnknown) -> Answers:
    """We asked and were not answered. Nothing is concluded; reduce-only orders may be sent again under the same id."""
    found = trade_of(state, message.client_order_id)
    if found is None:
        if message.wish != "place":
            return state, NOTHING
        text = f"{message.client_order_id}, of no trade that is open: outcome unknown"
        state = update_ended(state, message.client_order_id, lambda order: advance(order, "unanswered", message.at))
        return state, (alert(message, "ORDER_UNKNOWN", "warning", message.symbol, text),)
    trade, order = found
    if message.wish == "edit" and not order.resent:
        return carry_on(state, message, update(trade, replace(forget_wishes(order), resent=True)))
    if message.wish != "place":
        return state, NOTHING
    trade = update(trade, replace(advance(order, "unanswered", message.at), doubted=True, awaited=False))
    if order.role == "entry":
        trade = replace(trade, unknown_since=trade.unknown_since or message.at)
    if order.doubted:
        return carry_on(state, message, trade)  # asked again, and said before
    text = f"{order.role} {order.client_order_id} of {order.placed_size}: outcome unknown"
    return carry_on(state, message, trade, (alert(message, "ORDER_UNKNOWN", "warning", message.symbol, text),))


def on_gone(state: State, message: OrderGone) -> Answers:
    """An order left the book. Why decides: filled, triggered, or lost."""
    event = GONE_EVENT.get(message.reason, "gone")
    found = trade_of(state, message.client_order_id)
    if found is None:
        state = forget(state, message.client_order_id)
        return update_ended(state, message.client_order_id, lambda order: advance(order, event, message.at)), NOTHING
    trade, order = found
    trade = update(trade, replace(advance(order, event, message.at), taken=event == "gone" and not order.leaving))
    said: list[Message] = []
    if order.role == "stop" and event == "triggered" and trade.through_since is None:
        trade = replace(trade, through_since=message.at)
    if order.role == "stop" and event == "gone" and trade.cover and trade.working("stop") is None:
        text = f"stop at {order.stop_price} is gone: {message.reason}"
        said.append(alert(message, "STOP_LOST", "critical", message.symbol, text))
    return carry_on(state, message, trade, said)

"""Orders of ours that a life sent and the store has lost: known again by their names, which are derived, and never asked for on other terms. Pure.

A life whose memory is older than what was done is told fills and lists before it sends anything. What belongs to a trade that it knows is
that trade's; what rests for a position without a trade is kept for whoever takes the position over.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Final

from msgspec.structs import replace

from actors.executor import exits
from actors.executor.duties import covered
from actors.executor.orders import LEAVING, PROTECTION, Order, confirm
from actors.executor.state import NOTHING, Answers, State, carry_on, trade_of
from actors.executor.trade import ZERO, Trade, add
from actors.executor.wishes import ORDER_TYPES, alert, cancel
from actors.memory import remember
from protocol import ids
from protocol.messages.base import Message
from protocol.messages.control import Reconciled
from protocol.messages.futures import OpenOrder, Role
from protocol.protection import is_stop_of
from protocol.units import EXIT_SIDE, SECOND_US

AHEAD: Final = 16
"""So many orders of one role a lost life may have sent more than we remember."""
SWEEP_EVERY_US: Final = 15 * SECOND_US
"""An order left from a trade that is over is asked about so often, however many passes there are: each question may wait for a time-out."""


def looked_up(
    state: State, cause: Message, symbol: str, name: str | None, size: Decimal, stop_price: Decimal | None, at: int
) -> tuple[State, tuple[Trade, Order] | None, Sequence[Message]]:
    """The open trade and the order that a fill or a list names. One that a lost life placed for a trade becomes the trade's, and a person hears
    of it: intents are durable before anything leaves, so the store has lost something.
    """
    found = trade_of(state, name)
    if found is not None:
        return state, found, NOTHING
    state = recalled(state, symbol, name, size, stop_price, at)
    found = trade_of(state, name)
    if found is None:
        return state, None, NOTHING
    text = f"the store does not know our {found[1].role} {name}: it is older than what was done; taken up again"
    return state, found, (alert(cause, "JOURNAL_BEHIND", "critical", symbol, text),)


def recalled(state: State, symbol: str, name: str | None, size: Decimal, stop_price: Decimal | None, at: int) -> State:
    """The state in which an order under one of the next names of a trade is the trade's."""
    trade = state.memory.trades.get(symbol)
    found = None if trade is None else next_name(trade, name)
    if trade is None or name is None or found is None:
        return state
    role, attempt = found
    trade = replace(trade, attempts={**trade.attempts, role: attempt})
    trade = add(trade, known_again(trade, name, role, size, stop_price, at))
    return remember(state, trades={**state.memory.trades, symbol: trade})


def known_again(trade: Trade, name: str, role: Role, size: Decimal, stop_price: Decimal | None, at: int) -> Order:
    """An order of the trade that this life did not place: with what terms is not known, `placed_size` zero."""
    return Order(
        client_order_id=name,
        role=role,
        side=EXIT_SIDE[trade.plan.side],
        order_type=ORDER_TYPES[role],
        size=size,
        stop_price=stop_price,
        placed_size=ZERO,
        at=at,
    )


def next_name(trade: Trade, name: str | None) -> tuple[Role, int] | None:
    """Role and attempt of an order that the trade has not placed yet, as far as it knows."""
    if not ids.is_ours(name):
        return None
    for role in (*PROTECTION, *LEAVING):
        first = trade.attempts.get(role, 0)
        for attempt in range(first, first + AHEAD):
            if ids.client_order_id(trade.plan.trade_id, role, attempt) == name:
                return role, attempt
    return None


def unclaimed(state: State, order: OpenOrder) -> State:
    """Remember for this life an order of ours that rests and that no trade knows."""
    name = order.client_order_id
    if name is None or not (order.reduce_only and ids.is_ours(name)):
        return state
    return replace(state, unclaimed={**state.unclaimed, name: order})


def forget(state: State, name: str | None) -> State:
    """It rests no more."""
    if name not in state.unclaimed:
        return state
    return replace(
        state,
        unclaimed={known: order for known, order in state.unclaimed.items() if known != name},
        dismissed={known: at for known, at in state.dismissed.items() if known != name},
    )


def claim(state: State, trade: Trade, at: int) -> tuple[State, Trade]:
    """A trade that takes over a position without a trade, with the stop and target that rest for it: a second stop would never go."""
    for name, listed in state.unclaimed.items():
        stop = is_stop_of(listed, trade.held if trade.plan.side == "long" else -trade.held)
        target = listed.order_type == ORDER_TYPES["target"] and listed.side == EXIT_SIDE[trade.plan.side]
        if listed.symbol != trade.plan.symbol or not (stop or target):
            continue
        order = known_again(trade, name, "stop" if stop else "target", listed.size, listed.stop_price, at)
        trade = add(trade, confirm(order, listed.size, listed.filled, listed.stop_price, at))
        if target and listed.stop_price is not None:
            trade = replace(trade, target_price=listed.stop_price)
        state = forget(state, name)
    return state, trade


def dismiss(state: State, cause: Reconciled) -> Answers:
    """Orders of a trade that is forgotten, shown after its position was taken over: they go once what the trade has placed itself serves."""
    said: list[Message] = []
    for name, listed in state.unclaimed.items():
        trade = state.memory.trades.get(listed.symbol)
        own = None if trade is None or not trade.cover else stands_in(trade, listed)
        if trade is None or own is None:
            continue
        price = listed.stop_price
        if (
            own.role == "stop"
            and price is not None
            and exits.tightened(trade.plan.side, trade.stop_price, price) == price
        ):
            # Not further away than ours is wanted: ours comes there first, as a stop is never widened.
            trade = replace(trade, stop_price=price)
            state, more = carry_on(state, cause, trade)
            said += more
            if own.resting_price != price:
                continue
        asked_at = state.dismissed.get(name)
        if asked_at is None or asked_at + SWEEP_EVERY_US <= cause.began_at:
            state = replace(state, dismissed={**state.dismissed, name: cause.at})
            said.append(cancel(cause, listed.symbol, name))
    return state, said


def stands_in(trade: Trade, listed: OpenOrder) -> Order | None:
    """The trade's own order that serves in place of one that is listed; None: nothing rests that does."""
    stop, target = trade.working("stop"), trade.working("target")
    if is_stop_of(listed, trade.cover if trade.plan.side == "long" else -trade.cover):
        return stop if covered(trade, stop) else None
    is_target = listed.order_type == ORDER_TYPES["target"] and listed.side == EXIT_SIDE[trade.plan.side]
    return target if is_target and target is not None and target.resting else None

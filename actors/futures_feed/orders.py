"""Orders as the futures feed tells them: each event once, what is gone stays gone, refusals and doubts. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from msgspec.structs import replace

from actors.futures_feed.standing import ALREADY_THERE
from actors.futures_feed.state import Answer, State, newest
from protocol.kraken.faults import judge
from protocol.messages.base import Message, follow
from protocol.messages.control import Alert
from protocol.messages.futures import (
    CommandAnswered,
    OpenOrder,
    OrderAccepted,
    OrderGone,
    OrderRejected,
    OrderUnknown,
)

ORDERS_KEPT: Final = 1_024
"""Orders remembered as gone, and orders whose client id is remembered."""


def learn(state: State, pairs: Iterable[tuple[str | None, str | None]]) -> State:
    """Remember which client id belongs to which order."""
    new = {order_id: name for order_id, name in pairs if order_id and name and state.names.get(order_id) != name}
    return replace(state, names=newest({**state.names, **new}, ORDERS_KEPT)) if new else state


def tell_order(state: State, cause: Message, order: OpenOrder, *, is_open: bool, reason: str = "") -> Answer:
    """An event of one order. Ids are never used twice, so an order that is gone stays gone."""
    key = order.order_id
    if key in state.gone:
        return state, []
    known = state.orders[key][0] if key in state.orders else None
    if order.client_order_id is None:
        order = replace(order, client_order_id=state.names.get(key))
    if is_open:
        state = replace(state, orders={**state.orders, key: (order, cause.at)})
        return state, [] if known == order else [follow(cause, OrderAccepted, key, order=order)]
    return tell_gone(state, cause, key, order.client_order_id, order.symbol or (known.symbol if known else ""), reason)


def tell_gone(state: State, cause: Message, key: str, name: str | None, symbol: str, reason: str) -> Answer:
    """The end of an order, by its id and the name we gave it."""
    orders = {k: v for k, v in state.orders.items() if k != key}
    gone = follow(cause, OrderGone, key, client_order_id=name, order_id=key, symbol=symbol, reason=reason)
    return replace(state, orders=orders, gone=newest({**state.gone, key: cause.at}, ORDERS_KEPT)), [gone]


def ended_at_once(state: State, answer: CommandAnswered) -> Answer:
    """The end of an order that never rests and did not get all it asked for: told by its answer, as the stream names it by an id that
    nobody was shown (storm 410425).
    """
    key = answer.order_id
    if answer.wish != "place" or answer.outcome != "cancelled" or key is None or key in state.gone:
        return state, []
    return tell_gone(state, answer, key, answer.client_order_id, answer.symbol, answer.status)


def answered(answer: CommandAnswered) -> list[Message]:
    """Refusals and doubts. What did happen is told by the events themselves, not by the word of the answer."""
    rejected = answer.outcome in {"rejected", "not_found"}
    unknown = answer.outcome == "unknown" or (rejected and answer.status in ALREADY_THERE)
    if not (rejected or unknown):
        return []
    if answer.client_order_id is None:
        code = "ORDER_UNKNOWN" if unknown else "ORDER_REJECTED"
        text = f"{answer.symbol}: {answer.wish} of order {answer.order_id}: {answer.outcome}, {answer.status}"
        return [follow(answer, Alert, code=code, severity="warning", text=text)]
    if unknown:
        return [
            follow(answer, OrderUnknown, client_order_id=answer.client_order_id, symbol=answer.symbol, wish=answer.wish)
        ]
    return [
        follow(
            answer,
            OrderRejected,
            client_order_id=answer.client_order_id,
            symbol=answer.symbol,
            wish=answer.wish,
            status=answer.status,
            limited=answer.action == "retry" or judge(answer.status).kind == "rate",
        )
    ]


def untold(state: State, answers: Sequence[Message]) -> State:
    """Whoever hears that an order is in doubt waits for evidence: it is told anew when it shows, whatever was told before (storm 32448)."""
    doubted = [answer.client_order_id for answer in answers if isinstance(answer, OrderUnknown)]
    if not doubted:
        return state
    return replace(state, orders={k: v for k, v in state.orders.items() if v[0].client_order_id not in doubted})

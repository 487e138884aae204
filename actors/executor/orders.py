"""The life of one order, as one table. Everything that moves an order from state to state is in this file.

An order is what we asked for and what is known of its fate. `unknown` (a time-out, a crash between sending and hearing) is left by
evidence alone: no clock and no wish of ours is in its row. Pure; knows no trade, no price, no message.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Final, Literal

import msgspec

from protocol.messages.futures import OrderType, Role
from protocol.units import OrderSide

OrderState = Literal["pending", "submitted", "partial", "triggered", "filled", "cancelled", "rejected", "unknown"]
OrderEvent = Literal[
    "accepted",  # the exchange lists it, or says that its client order id is taken
    "relisted",  # the exchange lists it although it was given up, and nothing stands in its place
    "part_filled",
    "fully_filled",
    "done",  # gone from the book because it filled; the fills are told apart from this
    "triggered",  # gone from the book because its trigger was reached, or filled in part; a market order took its place
    "gone",  # gone from the book for any other reason
    "rejected",  # refused, or blocked before it left
    "unanswered",  # asked, and the outcome is not known
    "missing",  # proved absent by exchange truth
    "restarted",  # we died and live again
]

TRANSITIONS: Final[dict[OrderState, dict[OrderEvent, OrderState]]] = {
    "pending": {
        "accepted": "submitted",
        "relisted": "submitted",
        "part_filled": "partial",
        "fully_filled": "filled",
        "done": "filled",
        "triggered": "triggered",
        "gone": "cancelled",
        "rejected": "rejected",
        "unanswered": "unknown",
        "missing": "cancelled",
        "restarted": "unknown",
    },
    "submitted": {
        "accepted": "submitted",
        "relisted": "submitted",
        "part_filled": "partial",
        "fully_filled": "filled",
        "done": "filled",
        "triggered": "triggered",
        "gone": "cancelled",
        "rejected": "submitted",  # a resend was refused; the first one rests
        "unanswered": "submitted",
        "missing": "cancelled",
        "restarted": "unknown",
    },
    "partial": {
        "accepted": "partial",
        "relisted": "partial",
        "part_filled": "partial",
        "fully_filled": "filled",
        "done": "filled",
        "triggered": "triggered",
        "gone": "cancelled",
        "rejected": "partial",
        "unanswered": "partial",
        "missing": "cancelled",
        "restarted": "unknown",
    },
    "triggered": {
        "accepted": "triggered",
        "relisted": "triggered",
        "part_filled": "triggered",
        "fully_filled": "filled",
        "done": "filled",
        "triggered": "triggered",
        "gone": "cancelled",
        "rejected": "triggered",
        "unanswered": "triggered",
        "missing": "triggered",  # a triggered order is listed no more; its fills decide, or the watchdog
        "restarted": "triggered",
    },
    "unknown": {
        "accepted": "submitted",
        "relisted": "submitted",
        "part_filled": "partial",
        "fully_filled": "filled",
        "done": "filled",
        "triggered": "triggered",
        "gone": "cancelled",
        "rejected": "rejected",
        "unanswered": "unknown",
        "missing": "cancelled",
        "restarted": "unknown",
    },
    # The terminal states. Frames out of order do not revive an order, unless nothing else protects (storm 80015); a fill always counts (invariant 12).
    "filled": dict.fromkeys(OrderEvent.__args__, "filled"),  # type: ignore[attr-defined]
    "cancelled": {**dict.fromkeys(OrderEvent.__args__, "cancelled"), "fully_filled": "filled", "relisted": "submitted"},  # type: ignore[attr-defined]
    "rejected": {**dict.fromkeys(OrderEvent.__args__, "rejected"), "fully_filled": "filled", "relisted": "submitted"},  # type: ignore[attr-defined]
}

PROTECTION: Final[tuple[Role, ...]] = ("stop", "target")
LEAVING: Final[tuple[Role, ...]] = ("exit", "flatten")

TERMINAL: Final[tuple[OrderState, ...]] = ("filled", "cancelled", "rejected")

GONE_EVENT: Final[dict[str, OrderEvent]] = {
    "full_fill": "done",
    "partial_fill": "done",
    "stop_order_triggered": "triggered",
    "limit_order_from_stop": "triggered",
}
"""The exchange's reasons for leaving the book that are no cancel (fault-catalogue 33); any other is `gone`."""

ALREADY_EXISTS: Final = ("clientOrderIdAlreadyExist",)
NOT_FOUND: Final = ("notFound", "orderForEditNotFound", "order_for_edit_not_found")
WOULD_NOT_REDUCE: Final = ("wouldNotReducePosition", "would_not_reduce_position")


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """One order of ours. `placed_*` are the terms it was sent with, and a resend repeats them, size zero where a lost life sent it; `size` and `stop_price` the terms
    last asked for; `resting_*` those the exchange confirmed.

    `size` is the total, filled part included. `at`: the last thing we heard or did. `resent`: the one resend of what was last asked is spent; `awaited`: its answer has not been heard.
    `stuck`: an edit was refused for good, or it was not heard of until the exchange could be read again: only a replacement helps. `leaving`: its cancel is on the way. `taken`: somebody else took it off
    the book not long ago. `doubted`: in this life it was said that its outcome is unknown. `cut`: the exchange lists it for less than it did, and nothing was asked since.
    """

    client_order_id: str
    role: Role
    side: OrderSide
    order_type: OrderType
    size: Decimal
    stop_price: Decimal | None = None
    placed_size: Decimal
    placed_price: Decimal | None = None
    process_before: int | None = None
    state: OrderState = "pending"
    filled: Decimal = Decimal(0)
    resting_size: Decimal | None = None
    resting_price: Decimal | None = None
    at: int
    resent: bool = False
    awaited: bool = False
    stuck: bool = False
    leaving: bool = False
    taken: bool = False
    doubted: bool = False
    cut: bool = False

    @property
    def live(self) -> bool:
        """Whether it may still fill."""
        return self.state not in TERMINAL

    @property
    def resting(self) -> bool:
        """Whether the exchange is known to hold it."""
        return self.state in {"submitted", "partial"}


def advance(order: Order, event: OrderEvent, at: int) -> Order:
    """The order after `event`."""
    return msgspec.structs.replace(order, state=TRANSITIONS[order.state][event], at=at)


def fill(order: Order, size: Decimal, at: int) -> Order:
    """The order after an execution of `size`. Of one that waits for its trigger a part is proof that it fired: with no limit price, nothing of it rests."""
    filled = order.filled + size
    part: OrderEvent = "triggered" if order.role in PROTECTION else "part_filled"
    order = advance(order, "fully_filled" if filled >= order.size else part, at)
    return msgspec.structs.replace(order, filled=filled)


def confirm(
    order: Order, open_size: Decimal, filled: Decimal, stop_price: Decimal | None, at: int, given_up: bool = False
) -> Order:
    """The order as the exchange lists it: `open_size` is what is still open there.

    After a silence, and of an order that was `given_up`, we do not know which of our edits arrived: what is listed is then also what was last
    asked for.
    """
    size, before = open_size + filled, order.resting_size
    cut = before is not None and (size < before or (size == before and order.cut))
    listed = {"resting_size": size, "resting_price": stop_price, "resent": False, "awaited": False, "cut": cut}
    if given_up or order.state == "unknown":
        listed |= {"size": size, "stop_price": stop_price}
    if given_up:
        listed |= {"leaving": False, "stuck": False, "taken": False}
    return msgspec.structs.replace(advance(order, "relisted" if given_up else "accepted", at), **listed)


def forget_wishes(order: Order) -> Order:
    """The order as if what is not confirmed, edit or cancel, had never been asked for: it will be asked for again."""
    if order.resting_size is None:
        return order
    return msgspec.structs.replace(order, size=order.resting_size, stop_price=order.resting_price, leaving=False)

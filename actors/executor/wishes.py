"""The words the executor says to the exchange and to the person, made from a trade. Pure; decides nothing."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Final

import msgspec
from msgspec.structs import replace

from actors.executor.exits import away
from actors.executor.orders import Order
from actors.executor.trade import Trade, add, update
from config.settings import ExecutionSettings
from protocol import ids
from protocol.messages.base import Message, follow
from protocol.messages.control import Alert, Severity
from protocol.messages.futures import CancelOrder, EditOrder, Instrument, MarkPrice, OrderType, PlaceOrder, Role
from protocol.units import ENTRY_SIDE, EXIT_SIDE, SECOND_US, round_ceiling, round_floor

ANSWER_MARGIN_US: Final = 2 * SECOND_US
"""After `process_before` an entry is refused by the exchange; its answer may take so long to reach us."""
CLOSED_FOR_US: Final = 30 * SECOND_US
"""So long the last word that a market is closed counts: the stream that would call it open may have died."""

ORDER_TYPES: Final[dict[Role, OrderType]] = {
    "entry": "mkt",
    "stop": "stp",
    "target": "take_profit",
    "exit": "mkt",
    "flatten": "mkt",
}
"""Stops and targets carry no limit price: once triggered they are market orders, which a gap cannot leave behind."""


class Desk(msgspec.Struct, frozen=True, kw_only=True):
    """What a duty may look at besides the trade. `instrument`: the contract's rules of now, which may not be those of the entry."""

    cause: Message
    execution: ExecutionSettings
    mark: MarkPrice | None
    instrument: Instrument | None = None

    @property
    def at(self) -> int:
        """Now."""
        return self.cause.at

    @property
    def closed_until(self) -> int | None:
        """How long a market order is not even tried unless the market is told open, microseconds; None: try, the exchange will say."""
        mark = self.mark
        if mark is None or not (mark.suspended or mark.post_only):
            return None
        until = mark.at + CLOSED_FOR_US
        return until if self.at < until else None

    def lots(self, size: Decimal) -> Decimal:
        """At least `size` in whole lots, for orders that can only reduce: what is too much the exchange cuts away."""
        lot = self.instrument.lot if self.instrument else None
        return round_ceiling(size, lot) if lot and size % lot else size

    def fits(self, order: Order) -> bool:
        """Whether the order as it was placed is known, and on the lots and the grid of now."""
        rules, price = self.instrument, order.placed_price
        if not order.placed_size:
            return False
        return rules is None or not (order.placed_size % rules.lot or (price is not None and price % rules.tick))

    def stop_price(self, trade: Trade) -> Decimal:
        """The trade's stop on the grid of now: where that changed, towards profit, as a stop is never widened."""
        tick, price = (self.instrument.tick if self.instrument else None), trade.stop_price
        if not tick or not price % tick:
            return price
        return round_ceiling(price, tick) if trade.plan.side == "long" else round_floor(price, tick)

    def target_price(self, trade: Trade) -> Decimal:
        """The trade's target on the grid of now: where that changed, towards entry."""
        tick, price = (self.instrument.tick if self.instrument else None), trade.target_price
        return away(trade.plan.side, price, tick) if tick and price % tick else price


Result = tuple[Trade, Sequence[Message]]
NOTHING: Final[Sequence[Message]] = ()


def alert(cause: Message, code: str, severity: Severity, symbol: str, text: str) -> Alert:
    """Something worth a line."""
    return follow(cause, Alert, f"{code}:{symbol}", code=code, severity=severity, text=f"{symbol}: {text}")


def place(desk: Desk, trade: Trade, role: Role, size: Decimal, stop: Decimal | None = None) -> Result:
    """A new order with a new id: reduce-only unless it is the entry."""
    plan = trade.plan
    entry = role == "entry"
    order = Order(
        client_order_id=ids.client_order_id(plan.trade_id, role, trade.attempts.get(role, 0)),
        role=role,
        side=ENTRY_SIDE[plan.side] if entry else EXIT_SIDE[plan.side],
        order_type=ORDER_TYPES[role],
        size=size,
        stop_price=stop,
        placed_size=size,
        placed_price=stop,
        process_before=trade.entry_until - ANSWER_MARGIN_US if entry else None,
        at=desk.at,
    )
    return add(trade, order), (wish(desk, trade, order),)


def wish(desk: Desk, trade: Trade, order: Order, again: bool = False) -> PlaceOrder:
    """The wish an order stands for: equal terms under an equal id, however often it is said."""
    return follow(
        desk.cause,
        PlaceOrder,
        order.client_order_id,
        client_order_id=order.client_order_id,
        signal_id=trade.plan.trade_id,
        role=order.role,
        symbol=trade.plan.symbol,
        side=order.side,
        order_type=order.order_type,
        size=order.placed_size,
        stop_price=order.placed_price,
        reduce_only=order.role != "entry",
        process_before=order.process_before,
        again=again,
    )


def resend(desk: Desk, trade: Trade, order: Order) -> Result:
    """The same order under the same id, once: the exchange refuses it if the first one arrived.

    Where the contract's rules have changed since, or nobody knows what it was placed with, the terms would be others, and an id stands for one set of terms: a stop is placed
    under a new id (one too many is cancelled when it shows), a target waits for evidence.
    """
    if desk.fits(order):
        order = replace(order, resent=True, awaited=True, at=desk.at)
        return update(trade, order), (wish(desk, trade, order, again=True),)
    trade = update(trade, replace(order, resent=True))
    if order.role != "stop":
        return trade, NOTHING
    return place(desk, trade, "stop", desk.lots(trade.cover), desk.stop_price(trade))


def edit(desk: Desk, trade: Trade, order: Order, size: Decimal, stop: Decimal) -> Result:
    """New terms for a resting order."""
    order = replace(order, size=size, stop_price=stop, at=desk.at, cut=False)
    message = follow(
        desk.cause,
        EditOrder,
        order.client_order_id,
        client_order_id=order.client_order_id,
        role=order.role,
        symbol=trade.plan.symbol,
        size=size,
        stop_price=stop,
    )
    return update(trade, order), (message,)


def cancel(cause: Message, symbol: str, client_order_id: str | None, order_id: str | None = None) -> CancelOrder:
    """Take an order off the book."""
    return follow(
        cause,
        CancelOrder,
        client_order_id or order_id or "",
        symbol=symbol,
        client_order_id=client_order_id,
        order_id=None if client_order_id else order_id,
    )


def leave(trade: Trade, reason: str) -> Trade:
    """Decide to leave; the first reason stands."""
    return trade if trade.closing else replace(trade, closing=reason, exit_due=None)

"""What to send so that the account ends flat with no working order, protected on the way. Pure.

Used by the kill switch on every snapshot, and by the emergency command on the exchange itself when the daemon is down.
Each call plans from one reading of the exchange; whatever is left shows in the next reading, and is planned again.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from protocol.ids import client_order_id, derive, is_ours
from protocol.messages.base import Message, follow
from protocol.messages.futures import CancelOrder, OpenOrder, PlaceOrder, Position, Readable
from protocol.protection import is_stop, is_stop_of


def kill_id(reason: str, at: int) -> str:
    """The name of one latching, in place of a signal id: the same in every life while the latch holds."""
    return derive("kill", reason, at)


def plan(
    cause: Message, kill: str, reading: int, orders: Sequence[OpenOrder], positions: Sequence[Position]
) -> list[CancelOrder | PlaceOrder]:
    """Cancels, entries first, then one reduce-only market order per open position.

    The stop of an open position stays until its symbol is flat: a flatten may fill in part or not at all. `reading` is
    when the truth was read (microseconds): a new reading is a new attempt with its own order ids.
    """
    sizes = {position.symbol: position.size for position in positions if position.size}
    exposed = [order for order in orders if not is_stop_of(order, sizes.get(order.symbol, Decimal(0)))]
    cancels = [_cancel(cause, order) for order in sorted(exposed, key=_urgency)]
    return [*cancels, *(_flatten(cause, kill, reading, symbol, size) for symbol, size in sorted(sizes.items()))]


def plan_of_part(cause: Message, kill: str, part: Readable) -> list[CancelOrder | PlaceOrder]:
    """The same of what could be read of it. Every stop stays: a position that is not shown may be held."""
    orders = [order for order in part.orders if not is_stop(order)]
    return plan(cause, kill, part.began_at, orders, part.positions)


def _urgency(order: OpenOrder) -> tuple[bool, str, str]:
    """What can add exposure goes first; then a fixed order."""
    return order.reduce_only, order.symbol, order.order_id


def _cancel(cause: Message, order: OpenOrder) -> CancelOrder:
    if is_ours(order.client_order_id):
        return follow(cause, CancelOrder, order.order_id, symbol=order.symbol, client_order_id=order.client_order_id)
    return follow(cause, CancelOrder, order.order_id, symbol=order.symbol, order_id=order.order_id)


def _flatten(cause: Message, kill: str, reading: int, symbol: str, size: Decimal) -> PlaceOrder:
    return follow(
        cause,
        PlaceOrder,
        symbol,
        client_order_id=client_order_id(kill, f"kill:{symbol}:{reading}"),
        signal_id=kill,
        role="flatten",
        symbol=symbol,
        side="sell" if size > 0 else "buy",
        order_type="mkt",
        size=abs(size),
        reduce_only=True,
    )

"""What counts as the protection of a position. One definition, for everybody who keeps it, checks it or may not remove it."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from protocol.messages.futures import OpenOrder

STOP_TYPES: Final = ("stp", "stop")
"""A stop is sent as the first and listed by the exchange as the second."""


def is_stop(order: OpenOrder) -> bool:
    """Whether the order is a stop that can only reduce, whatever is held."""
    return order.reduce_only and order.order_type in STOP_TYPES


def is_stop_of(order: OpenOrder, size: Decimal) -> bool:
    """Whether the order is a stop that can only reduce a position of this signed size, whatever price triggers it."""
    closes = (size > 0 and order.side == "sell") or (size < 0 and order.side == "buy")
    return closes and is_stop(order)


def covers(order: OpenOrder, size: Decimal) -> bool:
    """Whether it also protects as the rules demand: mark is the sole reference."""
    return is_stop_of(order, size) and order.trigger == "mark"

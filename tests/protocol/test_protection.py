"""What counts as the protection of a position."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from protocol.messages.futures import OpenOrder
from protocol.protection import covers, is_stop_of


def stop(**values: Any) -> OpenOrder:
    """The stop of a long."""
    fields: dict[str, Any] = {
        "order_id": "o1",
        "client_order_id": None,
        "symbol": "PF_XBTUSD",
        "side": "sell",
        "order_type": "stp",
        "size": Decimal(1),
        "filled": Decimal(0),
        "limit_price": None,
        "stop_price": Decimal(90),
        "reduce_only": True,
        "trigger": "mark",
    }
    return OpenOrder(**(fields | values))


@pytest.mark.parametrize(
    ("order", "size", "expected"),
    [
        (stop(), 1, (True, True)),
        (stop(order_type="stop"), 1, (True, True)),
        (stop(side="buy"), -1, (True, True)),
        (stop(trigger="last"), 1, (True, False)),
        (stop(side="buy"), 1, (False, False)),
        (stop(), 0, (False, False)),
        (stop(reduce_only=False), 1, (False, False)),
        (stop(order_type="take_profit"), 1, (False, False)),
    ],
)
def test_only_a_reducing_stop_on_the_other_side_protects(
    order: OpenOrder, size: int, expected: tuple[bool, bool]
) -> None:
    """A stop on another trigger may not be removed from an open position, but is no cover either."""
    assert (is_stop_of(order, Decimal(size)), covers(order, Decimal(size))) == expected

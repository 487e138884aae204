"""A trade said to be at rest owes nothing: held against every duty."""

from __future__ import annotations

from decimal import Decimal as D
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from actors.executor.duties import at_rest, next_look, over, perform
from actors.executor.state import desk_of
from protocol.messages.base import from_edge
from protocol.messages.control import Woken
from protocol.units import HOUR_US
from tests.actors.executor.executor_room import NOW, protected
from tests.fakes.facts import XBT

ROOM = protected()
TRADE = ROOM.trade
OF_TRADE: dict[str, tuple[Any, ...]] = {
    "closing": (None, "exit.target"),
    "naked_since": (None, NOW),
    "through_since": (None, NOW),
    "unknown_since": (None, NOW),
    "stop_due": (None, NOW),
    "mend_due": (None, NOW),
    "told": (TRADE.told, None, (D(2), D(49_000), D(54_999))),
    "position": (D(2), D(1), D(3), D(0), D(-2), None),
    "position_fresh": (True, False),
    "entry_size": (D(2), D(3), D("2.00005")),
    "exit_size": (D(0), D(1), D(2)),
    "stop_price": (TRADE.stop_price, TRADE.stop_price + 1, TRADE.stop_price + D("0.3")),
    "opened_at": (TRADE.opened_at, None),
}
OF_ORDER: dict[str, tuple[Any, ...]] = {
    "state": ("submitted", "pending", "unknown", "partial", "triggered", "cancelled", "rejected", "filled"),
    "size": (D(2), D(1)),
    "filled": (D(0), D(1)),
    "resting_size": (D(2), D(1), None),
    "resting_price": (D(49_000), D(55_000), None),
    "stuck": (False, True),
    "cut": (False, True),
    "role": ("stop", "target", "entry"),
}


@given(
    st.dictionaries(st.sampled_from(sorted(OF_TRADE)), st.integers(0, 5), max_size=3),
    st.dictionaries(st.tuples(st.integers(0, 2), st.sampled_from(sorted(OF_ORDER))), st.integers(0, 7), max_size=3),
    st.integers(0, 48),
)
def test_a_trade_at_rest_owes_nothing_now_or_later(
    of_trade: dict[str, int], of_orders: dict[tuple[int, str], int], hours: int
) -> None:
    """Whatever is changed about a protected trade: if it is said to be at rest no duty has a word, and no time is waited for."""
    orders = list(TRADE.orders)
    for (place, name), choice in of_orders.items():
        orders[place] = replace(orders[place], **{name: OF_ORDER[name][choice % len(OF_ORDER[name])]})
    changes = {name: OF_TRADE[name][choice % len(OF_TRADE[name])] for name, choice in of_trade.items()}
    trade = replace(TRADE, orders=tuple(orders), **changes)
    at = NOW + hours * HOUR_US
    desk = desk_of(ROOM.state, from_edge(Woken, at, XBT, key=XBT), XBT)
    if at_rest(desk, trade):
        after, said = perform(desk, trade)
        assert after is trade
        assert not said
        assert next_look(desk, trade) is None
        assert not over(trade)


def test_a_protected_trade_is_at_rest() -> None:
    """What is open, protected in full and told so rests; nothing is lost of the speed it is for."""
    assert at_rest(desk_of(ROOM.state, from_edge(Woken, NOW, XBT, key=XBT), XBT), TRADE)

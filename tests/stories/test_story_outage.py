"""The network is gone, all of it: what rests on the exchange works on, and what was missed is made up for afterwards."""

from __future__ import annotations

import pytest
from house import House
from trio.testing import MockClock

from actors.tree import LEASES
from protocol.messages.control import Alert
from protocol.messages.futures import SignalRefused, TradeClosed


async def back_again(house: House) -> None:
    """The network returns and the gate opens, or shows the latch."""
    house.cut(False)
    await house.until(lambda: house.gate.closed_by() in ((), ("gate.latched",)), 120)


@pytest.mark.parametrize("price", [59_600, 60_700])
async def test_a_position_looks_after_itself_through_an_outage(
    house: House, autojump_clock: MockClock, price: float
) -> None:
    """Stop or target fires unheard during two minutes without network; then one closed trade, no order, no child lost."""
    await house.open_position()
    house.cut()
    house.go(price)
    await house.settle(120)
    assert house.position == 0
    assert set(house.gate.closed_by()) >= {f"gate.lease:{feed}" for feed in LEASES}
    house.signal("in the dark")
    await house.until(lambda: bool(house.heard(SignalRefused)))

    await back_again(house)
    await house.until(lambda: bool(house.heard(TradeClosed)) and not house.orders)
    (closed,) = house.heard(TradeClosed)
    assert closed.reason == ("exit.stop" if price < 60_000 else "exit.target")
    assert set(house.world.lives.values()) == {1}
    await house.settle()
    await house.open_position("second")
    assert len(house.entry_fills) == 2


async def test_a_position_that_outlives_an_outage_is_left_as_it_was(house: House, autojump_clock: MockClock) -> None:
    """Nothing happened to it: the same stop, the same target, no order sent."""
    await house.open_position()
    before, sent = (house.position, house.orders), len(house.sent)
    house.cut()
    await house.settle(120)
    await back_again(house)
    await house.settle()
    assert (house.position, house.orders) == before
    assert len(house.sent) == sent


async def test_a_kill_switch_without_network_flattens_when_it_is_back(house: House, autojump_clock: MockClock) -> None:
    """The latch is written at once; that it could not flatten is said; it does as soon as it can."""
    await house.open_position()
    house.cut()
    await house.settle(10)
    house.kill_switch()
    await house.settle(60)
    assert house.latch.read().latched
    assert house.position != 0
    assert "KILL_STUCK" in {alert.code for alert in house.heard(Alert)}

    await back_again(house)
    await house.until(lambda: house.position == 0 and not house.orders, 30)


async def test_a_structure_exit_without_network_leaves_when_it_is_back(house: House, autojump_clock: MockClock) -> None:
    """The decision to leave stands: it is tried until it is done, and sells once."""
    await house.open_position()
    size = house.position
    house.cut()
    await house.settle(10)
    house.change_of_character()
    await house.settle(60)
    assert house.position == size
    await back_again(house)
    await house.until(lambda: house.position == 0 and not house.orders, 60)
    await house.settle()
    assert sum(fill.size for fill in house.engine.state.fills if fill.side == "sell") == size
    assert [trade.reason for trade in house.heard(TradeClosed)] == ["exit.choch"]

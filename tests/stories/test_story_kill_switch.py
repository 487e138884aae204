"""The kill switch on the whole daemon: flat, no working orders, and latched until a person says otherwise."""

from __future__ import annotations

from decimal import Decimal

import pytest
from house import House, open_house
from script import XBT
from trio.testing import MockClock

from protocol.messages.base import from_edge
from protocol.messages.control import KillProgress
from protocol.messages.futures import EntryBlocked, PlaceOrder, TradeClosed
from protocol.units import SECOND_US
from sim.faults.plan import plan_of


def rest_a_stranger(house: House, name: str = "stranger") -> None:
    """A limit order rests that this system never sent."""
    now = house.clock.now_us()
    terms = {"signal_id": "", "role": "entry", "symbol": XBT, "side": "buy", "order_type": "lmt"}
    prices = {"size": Decimal("0.1"), "limit_price": Decimal(50_000)}
    house.venue.carry_out(from_edge(PlaceOrder, now, name, client_order_id=name, **terms, **prices))


def done(house: House) -> bool:
    """Whether the exchange shows nothing of ours or anybody's."""
    return house.position == 0 and not house.orders


@pytest.mark.parametrize("dead", [None, "spot_feed", "futures_feed", "executor", "risk", "reconciler"])
async def test_the_kill_switch_flattens_and_latches(house: House, autojump_clock: MockClock, dead: str | None) -> None:
    """Position, stop, target and a stranger's order: all gone, with any one child dying at that moment; then no entry."""
    await house.open_position()
    rest_a_stranger(house)
    if dead is not None:
        house.crash(dead)
    house.kill_switch()
    await house.until(lambda: done(house), 15)
    assert house.latch.read().latched

    await house.until(lambda: house.gate.closed_by() == ("gate.latched",))
    await house.settle(60)
    house.signal("later")
    await house.until(lambda: bool(house.heard(EntryBlocked)))
    assert house.heard(EntryBlocked)[0].reasons == ("gate.latched",)
    await house.settle()
    assert done(house)
    assert any(said.flat and not said.working_orders for said in house.heard(KillProgress))
    assert len(house.heard(TradeClosed)) == 1


async def test_many_orders_do_not_keep_the_kill_switch_from_reading(house: House, autojump_clock: MockClock) -> None:
    """With the points for reading spent, the account is flat as fast as ever."""
    await house.open_position()
    for number in range(30):
        rest_a_stranger(house, f"stranger{number}")
    asked = house.clock.now_us()
    house.kill_switch()
    await house.until(lambda: any(said.flat and not said.working_orders for said in house.heard(KillProgress)), 15)
    assert house.clock.now_us() - asked < 2 * SECOND_US


@pytest.mark.parametrize("kind", ["missing", "unknown"])
@pytest.mark.parametrize("endpoint", ["orders", "positions"])
async def test_a_row_that_cannot_be_read_holds_no_kill_up(autojump_clock: MockClock, endpoint: str, kind: str) -> None:
    """The position is closed by what can be read and what was told, long before the exchange writes its rows as it used to (fault-catalogue 24)."""
    row = {"fault": "rest.schema", "endpoint": endpoint, "kind": kind, "after": "position.opened", "for_s": 600.0}
    async with open_house(plan=plan_of({"seed": 24, "faults": [row]})) as house:
        await house.open_position()
        await house.settle(20)
        asked = house.clock.now_us()
        house.kill_switch()
        await house.until(lambda: house.position == 0, 15)
        assert house.clock.now_us() - asked < 2 * SECOND_US


async def test_a_restart_while_latched_stays_latched(house: House, autojump_clock: MockClock) -> None:
    """The latch is on disk before anything is sent: the next life reads it first and lets no entry out."""
    await house.open_position()
    house.kill_switch()
    await house.until(lambda: done(house), 15)
    await house.die()
    await house.start()
    await house.settle(60)
    house.signal("later")
    await house.until(lambda: bool(house.heard(EntryBlocked)))
    assert house.gate.closed_by() == ("gate.latched",)
    await house.settle()
    assert done(house)
    assert len(house.entry_fills) == 1


async def test_a_kill_switch_that_dies_half_way_is_finished_by_the_next_life(
    house: House, autojump_clock: MockClock
) -> None:
    """The process dies before the flattening order leaves; the next life resumes from the latch and ends flat."""
    await house.open_position()
    house.strikes_at, house.strike = ("leaving", "flatten"), house.end_life
    house.kill_switch()
    await house.dead()
    assert house.position != 0
    house.begin()
    await house.until(lambda: done(house), 15)
    assert house.latch.read().latched

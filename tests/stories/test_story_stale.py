"""A list shows the past: what was bought or placed since is there all the same, whoever looks at the list (fault-catalogue 20)."""

from __future__ import annotations

import pytest
import trio
from house import House, open_house
from script import XBT
from trio.testing import MockClock

from protocol.messages.control import Drift, KillProgress
from protocol.messages.futures import ExchangeSnapshot, Filled, PlaceOrder, SnapshotSeen, TradeClosed
from protocol.units import SECOND_US
from sim.faults.plan import plan_of

STALE = {"fault": "rest.stale", "endpoint": "positions", "for_s": 28.0}
MUTE = {"fault": "ws.drop", "feed": "open_positions", "p": 1.0, "for_s": 28.0}


async def stays_protected(house: House, seconds: int) -> None:
    """Looked at five times a second: held, and its stop rests."""
    for _ in range(seconds * 5):
        await trio.sleep(0.2)
        assert house.position
        assert house.protected


async def entered(house: House) -> None:
    """The list is read before the entry, and shows that from now on."""
    await house.world.futures.snapshot()
    house.signal()
    await house.until(lambda: house.protected, 1)


async def test_a_stale_list_shows_what_was_before_it_became_stale(autojump_clock: MockClock) -> None:
    """A list that goes stale the moment a position opens does not show it: the simulation once showed the first list read afterwards."""
    late = {**STALE, "for_s": 10.0, "after": "position.opened"}
    async with open_house(plan=plan_of({"seed": 1, "faults": [late]})) as house:
        await entered(house)
        seen = await house.world.futures.snapshot()
        assert house.position
        assert isinstance(seen, SnapshotSeen)
        assert seen.positions == ()


@pytest.mark.parametrize("faults", [(STALE,), (STALE, MUTE)], ids=["stream", "fills"])
async def test_a_list_from_before_the_entry_takes_no_stop(
    autojump_clock: MockClock, faults: tuple[dict[str, object], ...]
) -> None:
    """By the stream's word, or where that is lost by our own fill, it is held: the stop rests all the while, and afterwards nothing has happened."""
    async with open_house(plan=plan_of({"seed": 1, "faults": list(faults)})) as house:
        await entered(house)
        await stays_protected(house, 60)
        assert not house.heard(TradeClosed)
        kinds = {drift.kind for drift in house.heard(Drift)}
        assert not kinds & {"ghost_position", "foreign_position", "orphan_order"}
        assert house.gate.closed_by() == ()


@pytest.mark.parametrize("mute", [(), ({**MUTE, "feed": "open_orders"},)], ids=["stream", "answers"])
async def test_a_list_from_before_the_stop_doubles_nothing(
    autojump_clock: MockClock, mute: tuple[dict[str, object], ...]
) -> None:
    """Orders that only the stream told of, or only the answers to their placement: one stop and one target rest all the while."""
    stale = {**STALE, "endpoint": "orders"}
    async with open_house(plan=plan_of({"seed": 1, "faults": [stale, *mute]})) as house:
        await entered(house)
        await trio.sleep(2)
        resting = house.orders
        assert sorted(resting) == ["stp", "take_profit"]
        for _ in range(300):
            await trio.sleep(0.2)
            assert house.orders == resting
        assert not house.heard(Drift)
        assert house.gate.closed_by() == ()


@pytest.mark.parametrize("faults", [(STALE,), (STALE, MUTE)], ids=["stream", "fills"])
async def test_a_kill_flattens_what_its_reading_does_not_show_yet(
    autojump_clock: MockClock, faults: tuple[dict[str, object], ...]
) -> None:
    """The stream told of the position, or our fill alone: its stop rests until it is flat, and nobody is told that all is done before."""
    async with open_house(plan=plan_of({"seed": 1, "faults": list(faults)})) as house:
        await entered(house)
        await trio.sleep(2)
        house.kill_switch()
        while house.position:
            assert house.protected
            assert not any(told.flat for told in house.heard(KillProgress))
            await trio.sleep(0.01)
            assert len(house.heard(KillProgress)) < 15
        await house.until(lambda: not house.orders, 15)


SLOW = {"fault": "rest.delay_request", "op": "send", "d_s": 3.0, "times": 1}
UNSAID = {"fault": "rest.drop_reply", "op": "send", "times": 1}
UNHEARD = {**MUTE, "feed": "fills"}
OLD_FILLS = {**STALE, "endpoint": "fills", "for_s": 15.0}


@pytest.mark.parametrize(
    "faults", [(), (UNSAID, UNHEARD), (UNSAID, UNHEARD, OLD_FILLS)], ids=["answer", "list", "late list"]
)
async def test_an_entry_that_fills_after_a_kill_was_over_is_flattened(
    autojump_clock: MockClock, faults: tuple[dict[str, object], ...]
) -> None:
    """It was on its way, and no list shows its position yet: by its fill alone it is known, its stop rests until it is flat."""
    plan = plan_of({"seed": 1, "faults": [STALE, MUTE, SLOW, *faults]})
    async with open_house(plan=plan) as house:
        await house.world.futures.snapshot()
        house.signal()
        await trio.sleep(0.5)
        house.kill_switch()
        await house.until(lambda: any(told.flat for told in house.heard(KillProgress)), 2)
        await house.until(lambda: bool(house.heard(Filled)), 25)
        began, rested = house.clock.now_us(), False
        while house.position:
            assert "stp" in house.orders or not rested
            rested = "stp" in house.orders
            await trio.sleep(0.01)
            assert house.clock.now_us() < began + 5 * SECOND_US
        await house.until(lambda: not house.orders, 15)
        await house.until(lambda: bool(house.heard(TradeClosed)), 60)
        await house.settle(60)
        assert (house.position, house.orders) == (0, {})
        assert len(house.heard(TradeClosed)) == 1


async def test_a_fill_told_after_its_position_was_flattened_closes_nothing_twice(autojump_clock: MockClock) -> None:
    """The stream told of the position, nobody of the fill until the kill was over: one trade closed, one flatten, nothing begun anew."""
    faults = [UNSAID, {**UNHEARD, "for_s": 20.0}, {**OLD_FILLS, "for_s": 20.0}]
    async with open_house(plan=plan_of({"seed": 1, "faults": faults})) as house:
        await house.world.futures.snapshot()
        house.signal()
        await trio.sleep(0.5)
        house.kill_switch()
        await house.until(lambda: not (house.position or house.orders), 5)
        await house.until(lambda: len(house.heard(Filled)) == 2, 60)
        await house.settle(30)
        (closed,) = house.heard(TradeClosed)
        assert closed.size == house.entry_fills[0].size
        assert [wish.role for wish in house.sent if isinstance(wish, PlaceOrder)].count("flatten") == 1


FORGET = {"fault": "rest.forget", "endpoint": "positions", "after": "position.opened", "at_s": 35.0}
LATER_MUTE = {**MUTE, "for_s": 90.0, "after": "position.opened", "at_s": 30.0}


@pytest.mark.parametrize("mute", [(), (LATER_MUTE,)], ids=["stream", "mute"])
async def test_one_list_without_a_held_position_takes_no_stop(
    autojump_clock: MockClock, mute: tuple[dict[str, object], ...]
) -> None:
    """Long after the entry one list leaves the row out, whether the stream says otherwise or nobody does: the stop rests all the while."""
    async with open_house(plan=plan_of({"seed": 4, "faults": [{**FORGET, "times": 1}, *mute]})) as house:
        await entered(house)
        await stays_protected(house, 60)
        assert [truth.unproved for truth in house.heard(ExchangeSnapshot) if truth.unproved] == [(XBT,)]
        assert not house.heard(TradeClosed)
        assert not house.heard(Drift)


@pytest.mark.parametrize("mute", [(), (LATER_MUTE,)], ids=["stream", "mute"])
async def test_a_position_that_lists_forget_half_of_the_time_stays_protected(
    autojump_clock: MockClock, mute: tuple[dict[str, object], ...]
) -> None:
    """For a minute several lists in a row lack it, and the account uses margin for it all the same: nothing is closed, nobody is killed."""
    async with open_house(plan=plan_of({"seed": 4, "faults": [{**FORGET, "for_s": 60.0}, *mute]})) as house:
        await entered(house)
        await stays_protected(house, 120)
        assert len([truth for truth in house.heard(ExchangeSnapshot) if truth.unproved]) > 2
        assert not house.heard(TradeClosed)
        assert not house.heard(KillProgress)

"""What cannot be done now, and who tries again: not in one breath, not for ever, and soon after it can be done."""

from __future__ import annotations

from collections import Counter

import pytest
from house import open_house
from trio.testing import MockClock

from protocol.messages.control import Alert
from protocol.messages.futures import PlaceOrder, TradeClosed
from protocol.units import SECOND_US
from sim.faults.plan import plan_of


async def test_a_stop_that_finds_nothing_to_reduce_is_not_asked_in_one_breath(autojump_clock: MockClock) -> None:
    """The exchange refuses it for three seconds after the fill: asked at the first, the second and the fourth second, and then it rests."""
    refused = {"fault": "rest.reject", "op": "send", "status": "wouldNotReducePosition", "for_s": 2.5}
    async with open_house(plan=plan_of({"seed": 1, "faults": [{**refused, "after": "position.opened"}]})) as house:
        house.signal()
        await house.until(lambda: "stp" in house.orders, 4)
        await house.settle(30)
        stops = [wish.at for wish in house.sent if isinstance(wish, PlaceOrder) and wish.role == "stop"]
        assert [round((at - stops[0]) / SECOND_US) for at in stops] == [0, 1, 3]
        assert house.orders["stp"].size == house.position
        assert not house.heard(TradeClosed)


async def test_a_target_makes_room_for_the_stop_alone_allowed(autojump_clock: MockClock) -> None:
    """The exchange takes one reduce-only trigger order and loses the stop: the next one takes the target's place, and nothing is closed."""
    faults = [
        {"fault": "ex.ro_stack", "mode": "refuse", "after": "target.accepted", "at_s": 5.0, "for_s": 60.0},
        {"fault": "ex.kill_order", "role": "stop", "after": "target.accepted", "at_s": 10.0},
    ]
    async with open_house(plan=plan_of({"seed": 1, "faults": faults})) as house:
        await house.open_position()
        lost = house.orders["stp"]
        await house.until(lambda: "take_profit" not in house.orders, 15)
        await house.until(lambda: "stp" in house.orders, 1)
        await house.settle(30)
        (stop,) = house.orders.values()
        assert stop.order_id != lost.order_id
        assert stop.size == house.position
        assert not house.heard(TradeClosed)


async def test_a_stream_that_died_in_a_closed_market_holds_no_exit_back(autojump_clock: MockClock) -> None:
    """Its last word was "suspended". The market opens unheard, and who must leave asks the exchange itself."""
    closed = {"fault": "ex.mode", "mode": "suspended", "sym": "PF_XBTUSD", "after": "position.opened", "at_s": 5.0}
    async with open_house(plan=plan_of({"seed": 1, "faults": [{**closed, "for_s": 20.0}]})) as house:
        await house.open_position()
        await house.settle(8)
        house.futures_line.cut = True
        house.change_of_character()
        await house.settle(10)
        assert house.position
        await house.until(lambda: not house.position, 60)
        await house.settle(5)
        assert [wish.role for wish in house.sent if isinstance(wish, PlaceOrder)].count("exit") == 1


@pytest.mark.parametrize("how", ["refused", "silent"])
async def test_an_exit_in_a_long_outage_is_one_order(autojump_clock: MockClock, how: str) -> None:
    """Ten minutes in which no request is answered and the stream goes on: one id in doubt, said a few times, and with the network it leaves, once."""
    gone = {"fault": "net.part", "set": "rest", "how": how, "after": "position.opened", "at_s": 5.0, "for_s": 600.0}
    async with open_house(plan=plan_of({"seed": 1, "faults": [gone]})) as house:
        await house.open_position()
        size = house.position
        await house.settle(8)
        before = len(house.said)
        house.change_of_character()
        await house.settle(590)
        assert (
            len({wish.client_order_id for wish in house.sent if isinstance(wish, PlaceOrder) and wish.role == "exit"})
            == 1
        )
        await house.until(lambda: not (house.position or house.orders), 60)
        await house.settle(60)
        told = Counter(alert.code for _, alert in house.said[before:] if isinstance(alert, Alert))
        assert max(told.values()) <= 3, told
        assert sum(fill.size for fill in house.engine.state.fills if fill.side == "sell") == size
        assert len(house.heard(TradeClosed)) == 1

"""Replies that never come and signals that come twice: an order is never doubled, and every doubt is settled by evidence."""

from __future__ import annotations

import pytest
from house import House, open_house
from trio.testing import MockClock

from protocol.messages.control import Alert
from protocol.messages.futures import CancelOrder, EntryBlocked, OrderUnknown, Protected, SignalRefused, TradeClosed
from sim.faults.plan import plan_of

LOOK_UP = "cliOrdIds="


def lose(house: House, what: str, marker: str, times: int = 1, *, deaf: bool = False) -> None:
    """Lose the `request` or the `reply` of the next orders whose form holds `marker`; `deaf`: of every look-up too."""
    left = [times]

    def lost(form: str) -> str | None:
        if deaf and form.startswith(LOOK_UP):
            return what
        if marker not in form or not left[0]:
            return None
        left[0] -= 1
        return what

    house.post.lost = lost


@pytest.mark.parametrize("stream", ["heard", "silent"])
async def test_an_entry_whose_reply_is_lost_is_settled_and_not_doubled(
    house: House, autojump_clock: MockClock, stream: str
) -> None:
    """It filled and nobody answered: the stream tells of it, or the next reading of the truth; then it is protected."""
    lose(house, "reply", "orderType=mkt", deaf=True)
    house.futures_line.silent = stream == "silent"
    house.signal()
    await house.until(lambda: bool(house.heard(OrderUnknown)))
    await house.until(lambda: house.protected)
    house.futures_line.silent = False
    await house.settle(60)
    assert len(house.entry_fills) == 1
    assert house.protected
    assert sum(wish.role == "entry" for wish in house.sent if hasattr(wish, "role")) == 1


async def test_an_entry_whose_reply_is_lost_is_looked_up(house: House, autojump_clock: MockClock) -> None:
    """The exchange knows the client order id: no doubt arises, and the fill is protected."""
    lose(house, "reply", "orderType=mkt")
    house.signal()
    await house.until(lambda: house.protected)
    await house.settle(60)
    assert house.heard(OrderUnknown) == []
    assert len(house.entry_fills) == 1


async def test_an_entry_that_never_arrived_is_proved_absent(house: House, autojump_clock: MockClock) -> None:
    """Unknown counts as exposure until the truth has been read twice without it; then another signal may trade."""
    lose(house, "request", "orderType=mkt")
    house.signal()
    await house.until(lambda: bool(house.heard(OrderUnknown)))
    house.signal("too early")
    await house.until(lambda: bool(house.heard(SignalRefused)))
    assert house.heard(SignalRefused)[0].reasons == ("position.pending",)

    await house.settle(90)
    assert not house.entry_fills
    await house.open_position("second")
    assert len(house.entry_fills) == 1


@pytest.mark.parametrize("what", ["reply", "request"])
@pytest.mark.parametrize("order_type", ["stp", "take_profit"])
async def test_a_stop_or_target_in_doubt_is_there_once(
    house: House, autojump_clock: MockClock, order_type: str, what: str
) -> None:
    """Sent again under the same id: the exchange has exactly one of each, or the position is closed, never doubled."""
    lose(house, what, f"orderType={order_type}")
    house.signal()
    await house.until(lambda: house.position != 0)
    await house.settle(60)
    assert len(house.entry_fills) == 1
    assert house.protected or not (house.position or house.orders)


async def test_the_same_signal_twice_is_one_order(house: House, autojump_clock: MockClock) -> None:
    """Twice in a row, once more while it is held: one entry, the others refused as seen."""
    house.signal()
    house.signal()
    await house.until(lambda: bool(house.heard(Protected)))
    house.signal()
    await house.until(lambda: len(house.heard(SignalRefused)) == 2)
    await house.settle()
    assert len(house.entry_fills) == 1
    assert not house.heard(EntryBlocked)


async def test_the_same_entry_twice_is_one_order(house: House, autojump_clock: MockClock) -> None:
    """Should risk ever approve one twice, the executor takes it once."""
    house.enter("first")
    house.enter("first")
    await house.until(lambda: bool(house.heard(Protected)))
    await house.settle()
    assert len(house.entry_fills) == 1
    assert [a.code for a in house.heard(Alert) if a.severity == "critical"] == []


@pytest.mark.parametrize("stream", ["heard", "mute"])
async def test_a_list_from_before_the_entry_takes_no_stop_away(autojump_clock: MockClock, stream: str) -> None:
    """For half a minute REST shows no position yet, as it was before the fill (fault-catalogue 20): the trade goes on, protected."""
    faults = [{"fault": "rest.stale", "endpoint": "positions", "for_s": 29.0}]
    if stream == "mute":
        faults.append({"fault": "ws.drop", "feed": "open_positions", "for_s": 29.0})
    async with open_house(plan=plan_of({"seed": 20, "faults": faults})) as house:
        await house.settle(15)  # a reading, which is shown from now on
        house.signal()
        await house.until(lambda: house.protected)
        await house.settle(60)
        assert house.protected
        assert house.heard(TradeClosed) == []
        assert [wish for wish in house.sent if isinstance(wish, CancelOrder)] == []
        assert not [alert for alert in house.heard(Alert) if "orphan_order" in alert.text]


@pytest.mark.parametrize("dies", ["the process", "executor", "futures_feed"])
async def test_nor_does_it_after_a_crash(autojump_clock: MockClock, dies: str) -> None:
    """The next life begins with such a list, and knows what was bought before it."""
    faults = [{"fault": "rest.stale", "endpoint": "positions", "for_s": 29.0}]
    async with open_house(plan=plan_of({"seed": 20, "faults": faults})) as house:
        await house.settle(15)
        house.signal()
        await house.until(lambda: house.protected)
        await house.settle(2)
        if dies == "the process":
            await house.die()
            await house.start()
        else:
            house.crash(dies)
        await house.settle(60)
        assert house.protected
        assert house.heard(TradeClosed) == []

"""The exchange announces maintenance: entries wait from a quarter of an hour before it, exits go on, and nobody has to be there."""

from __future__ import annotations

import pytest
from house import House, open_house
from trio.testing import MockClock

from protocol.messages.control import Alert
from protocol.messages.futures import EntryBlocked, TradeClosed
from sim.faults.plan import plan_of

HALT = "gate.halt:futures.maintenance"
LEAD_S, DOWN_S, READ_S = 1800, 300, 300
"""How long before it the maintenance is announced, how long it takes, and how long a reading may wait."""


def announced() -> dict[str, object]:
    return {"seed": 37, "faults": [{"fault": "ex.maint", "lead_s": float(LEAD_S), "for_s": float(LEAD_S + DOWN_S)}]}


def told(house: House) -> list[str]:
    """What the person heard of maintenance."""
    return [alert.text for alert in house.heard(Alert) if alert.code == "VENUE_MAINT"]


async def test_no_entry_leaves_shortly_before_maintenance(autojump_clock: MockClock) -> None:
    """Told once; a position opened before goes on and its exit leaves; after the end the gate is open again by itself."""
    async with open_house(plan=plan_of(announced())) as house:
        await house.settle(READ_S + 10)
        assert len(told(house)) == 1
        assert house.gate.closed_by() == ()
        await house.open_position()

        await house.settle(LEAD_S - 900 - READ_S)
        assert house.gate.closed_by() == (HALT,)
        house.change_of_character()
        await house.until(lambda: bool(house.heard(TradeClosed)), 30)
        house.signal("second")
        await house.settle(20)
        assert {reason for blocked in house.heard(EntryBlocked) for reason in blocked.reasons} <= {HALT}
        assert house.position == 0

        await house.settle(900 + DOWN_S + 30)
        assert house.gate.closed_by() == ()
        await house.open_position("third")
        assert house.protected
        assert len(told(house)) == 1


@pytest.mark.parametrize("end", ["crash", "child"])
async def test_a_new_life_keeps_entries_in_although_it_can_read_nothing(autojump_clock: MockClock, end: str) -> None:
    """What was announced is remembered by process and child; that notices cannot be read is told once."""
    async with open_house(plan=plan_of(announced())) as house:
        await house.settle(LEAD_S - 800)
        house.world.journal.flush()
        house.post.cut = True
        if end == "crash":
            await house.die()
            house.begin()
        else:
            house.crash("futures_feed")
        await house.settle(120)
        assert HALT in house.gate.closed_by()
        assert [text.partition(":")[0] for text in told(house)[1:]] == ["the exchange's notices could not be read"]
        house.post.cut = False
        await house.until(lambda: house.gate.closed_by() == (HALT,), 120)

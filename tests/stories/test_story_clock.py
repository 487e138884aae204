"""A clock that is wrong, and a host that stood still: entries wait, a person hears of it, and it ends by itself."""

from __future__ import annotations

import trio
from house import open_house
from trio.testing import MockClock

from actors.pulse import Look
from protocol.messages.control import Alert, Reconciled
from protocol.units import SECOND_US
from sim.faults.plan import plan_of

HALT = "gate.halt:futures.clock"


async def test_a_clock_beside_the_exchanges_halts_entries_within_a_minute(autojump_clock: MockClock) -> None:
    """A minute of five seconds ahead: told once; set right it is slow until it is, and then entries go on."""
    skew = {"fault": "clock.skew", "d_s": 5.0, "at_s": 10.0, "for_s": 60.0}
    async with open_house(plan=plan_of({"seed": 1, "faults": [skew]})) as house:
        await house.until(lambda: HALT in house.gate.closed_by(), 60)
        assert [alert.severity for alert in house.heard(Alert) if alert.code == "CLOCK_SKEW"] == ["warning"]
        await house.until(lambda: house.gate.closed_by() == (), 120)


async def test_who_stood_still_looks_before_anything_leaves(autojump_clock: MockClock) -> None:
    """Thirty seconds in which nothing ran: a person is told, and entries wait for a reading begun afterwards."""
    async with open_house() as house:
        now = house.world.look()
        house.world.notice(Look(now.at - 31 * SECOND_US, now.steady_us - 31 * SECOND_US), 1)
        assert house.gate.closed_by() == ("gate.not_reconciled",)
        assert [alert.code for alert in house.heard(Alert) if alert.severity == "critical"] == ["LOOP_BLOCKED"]
        await house.until(lambda: house.gate.closed_by() == (), 5)
        assert house.heard(Reconciled)[-1].began_at >= now.at


async def test_a_host_that_slept_while_its_loop_stood_is_told_as_both(autojump_clock: MockClock) -> None:
    """Two alerts of their own codes, as the cause is another; the exchange is asked once, from now on."""
    async with open_house() as house:
        now = house.world.look()
        house.world.notice(Look(now.at - 640 * SECOND_US, now.steady_us - 22 * SECOND_US), 1)
        told = [alert.code for alert in house.heard(Alert) if alert.severity == "critical"]
        assert told == ["CLOCK_STEP", "LOOP_BLOCKED"]
        assert house.gate.closed_by() == ("gate.not_reconciled",)
        await house.until(lambda: house.gate.closed_by() == (), 5)
        assert house.heard(Reconciled)[-1].began_at >= now.at


async def test_time_that_passes_as_it_should_is_not_spoken_of(autojump_clock: MockClock) -> None:
    """A second is a second."""
    async with open_house() as house:
        before = house.world.look()
        await trio.sleep(1)
        house.world.notice(before, 1)
        assert not [alert for alert in house.heard(Alert) if alert.code in ("LOOP_BLOCKED", "CLOCK_STEP")]
        assert house.gate.closed_by() == ()

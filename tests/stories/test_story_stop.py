"""The daemon is asked to stop in the middle of an entry: it goes once what it bought is protected, and soon in any case."""

from __future__ import annotations

import pytest
import trio
from house import House
from trio.testing import MockClock

from actors.modes.daemon import stop_entering

MOMENTS = [
    (moment, role, lost) for role in ("entry", "stop") for moment in ("leaving", "arrived") for lost in ("", "reply")
]


@pytest.mark.parametrize(("moment", "role", "lost"), [*MOMENTS, ("leaving", "entry", "request")])
async def test_nothing_is_left_naked_by_a_stop(
    house: House, autojump_clock: MockClock, moment: str, role: str, lost: str
) -> None:
    """Entry or stop are on the way, their replies lost or not: what is held after the last word of this life has its stop."""

    async def stop() -> None:
        asked_at = trio.current_time()
        await stop_entering(house.world)
        assert trio.current_time() - asked_at <= 2 * house.settings.execution.request_timeout_s
        house.end_life()

    house.strikes_at, house.strike = (moment, role), lambda: house.nursery.start_soon(stop)
    house.post.lost = lambda form: lost or None if "mkt" in form else None
    house.signal()
    await house.dead()
    assert house.position == 0 or house.orders["stp"].size == house.position
    assert (house.position == 0) == (lost == "request")


async def test_a_stop_waits_for_nobody_when_no_order_is_out(house: House, autojump_clock: MockClock) -> None:
    """Protected and at rest: at once; and no entry leaves any more."""
    await house.open_position()
    await house.settle()
    asked_at = trio.current_time()
    await stop_entering(house.world)
    assert trio.current_time() == asked_at
    assert "gate.halt:stopping" in house.gate.closed_by()

"""One child dies in the middle of an entry: whoever it is and whenever, the position ends protected or flat, entered once."""

from __future__ import annotations

from functools import partial

import pytest
from house import House
from trio.testing import MockClock

from actors.tree import CHILDREN
from protocol.messages.futures import TradeClosed

MOMENTS = [(moment, role) for role in ("entry", "stop", "target") for moment in ("leaving", "arrived")]


@pytest.mark.parametrize("moment", MOMENTS, ids=" ".join)
@pytest.mark.parametrize("child", [spec.name for spec in CHILDREN])
async def test_a_child_dies_in_the_middle_of_an_entry(
    house: House, autojump_clock: MockClock, child: str, moment: tuple[str, str]
) -> None:
    """Never two entries, never naked beyond the limit, the gate open again, and the trade ends in one record."""
    house.strikes_at, house.strike = moment, partial(house.crash, child)
    house.signal()
    await house.until(lambda: house.strikes_at is None)
    limit_s = house.settings.execution.protect_within_s
    await house.until(lambda: house.protected or house.position == 0, limit_s + 1)
    await house.until(lambda: house.gate.closed_by() == ())
    await house.settle()
    assert len(house.entry_fills) <= 1
    if house.position:
        assert house.protected
        house.go(60_700)
        await house.until(lambda: house.position == 0)
    await house.settle()
    assert not house.orders
    assert len(house.heard(TradeClosed)) == len(house.entry_fills)
    assert house.world.lives[child] == 2

    entries = len(house.entry_fills)
    await house.open_position("second")
    assert len(house.entry_fills) == entries + 1

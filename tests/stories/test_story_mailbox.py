"""A child dies with unread messages: what must not be lost comes back, what is of a past moment does not."""

from __future__ import annotations

import pytest
from house import open_house
from trio.testing import MockClock

pytestmark = pytest.mark.slow


async def test_an_entry_lost_with_a_mailbox_is_dropped_and_entries_go_on(autojump_clock: MockClock) -> None:
    """The approved entry dies unread: no order, no position; the next signal is traded and protected."""
    async with open_house() as house:
        await house.start()
        house.supervisor.crash("executor", RuntimeError("planted"))
        house.enter("lost")  # into the mailbox of a life that reads no more
        await house.until(lambda: house.world.lives["executor"] == 2 and house.gate.closed_by() == (), 60)
        assert [c for c in house.sent if getattr(c, "role", "") == "entry"] == []
        house.enter("next")
        await house.until(lambda: bool(house.position) and len(house.orders) == 2, 30)


async def test_fills_lost_with_a_mailbox_are_told_again(autojump_clock: MockClock) -> None:
    """The executor dies just as its entry fills: its next life learns of the position and protects it."""
    async with open_house() as house:
        await house.start()
        house.strikes_at = ("arrived", "entry")
        house.strike = lambda: house.supervisor.crash("executor", RuntimeError("planted"))
        house.enter("first")
        await house.until(lambda: bool(house.position) and len(house.orders) == 2, 60)
        entries = [c for c in house.sent if getattr(c, "role", "") == "entry"]
        assert len(entries) == 1, "sent once, whatever was heard of it"

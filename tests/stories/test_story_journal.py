"""The disk fills up with a position open: no entry leaves any more, and the position is closed without a record."""

from __future__ import annotations

import pytest
from house import Disk, House, Life, open_house
from trio.testing import MockClock

from protocol.ports import JournalFailed

pytestmark = pytest.mark.slow


class Full(Life):
    """A journal whose disk is full as soon as the story says so."""

    full = False

    def flush(self) -> None:
        if self.full:
            raise JournalFailed("no space left on device")
        super().flush()


async def test_exits_leave_with_a_failed_journal_and_entries_do_not(autojump_clock: MockClock) -> None:
    """The next order's flush fails: entries are halted, the kill switch latches and flattens, nothing dies of it."""
    journal = Full(Disk())
    async with open_house(journal=journal) as house:
        await house.start()
        house.signal()
        await house.until(lambda: bool(house.position) and len(house.orders) == 2)
        journal.full = True
        house.change_of_character()
        await house.until(lambda: not house.position and not house.orders, 30)
        assert house.latch.read().latched, "a person must look at the disk first"
        assert "gate.halt:journal" in house.gate.closed_by()
        assert alerts(house) >= {"JOURNAL_WRITE", "KILL_LATCHED"}
        assert set(house.world.lives.values()) == {1}, "no child died of it"
        entries = len(house.sent)
        house.enter("second")
        await house.until(lambda: any(code == "ORDER_REJECTED" for code in alerts(house)) or bool(blocked(house)), 10)
        assert [c for c in house.sent[entries:] if getattr(c, "role", "") == "entry"] == []


def alerts(house: House) -> set[str]:
    """Codes of everything said."""
    return {message.code for _, message in house.said if hasattr(message, "severity")}


def blocked(house: House) -> list[object]:
    """Entries the door kept in."""
    return [message for _, message in house.said if type(message).__name__ == "EntryBlocked"]

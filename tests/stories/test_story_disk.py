"""The journal fails while a position is held or about to be: what protects still leaves, nothing is entered, and all is closed."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from house import Disk, House, Life, open_house
from trio.testing import MockClock

from protocol.messages.base import Message
from protocol.messages.control import Alert
from protocol.ports import JournalFailed


class Failing(Life):
    """A journal whose disk is full from the `fails_at`th flush on, and every call after it raises."""

    def __init__(self, fails_at: int) -> None:
        super().__init__(Disk())
        self.left = fails_at

    def record(self, actor: str, message: Message, answers: Sequence[Message]) -> None:
        self._must_be_well()
        super().record(actor, message, answers)

    def flush(self) -> None:
        self.left -= 1
        self._must_be_well()
        super().flush()

    def _must_be_well(self) -> None:
        if self.left < 0:
            raise JournalFailed("no space left on device")


@pytest.mark.parametrize("flushes", [1, 2, 3])
async def test_a_full_disk_leaves_no_naked_position(autojump_clock: MockClock, flushes: int) -> None:
    """The disk fills up after the entry, the stop or the target left: within seconds all is closed, latched and told."""
    journal = Failing(flushes)
    async with open_house(journal=journal) as house:
        house.signal()
        await house.until(lambda: bool(house.entry_fills))
        await house.until(lambda: journal.left < 0 or house.protected)
        journal.left = min(journal.left, 0)
        house.world.journal.flush()
        await house.until(lambda: flat(house), 20)
        assert house.latch.read().latched
        assert [a.severity for a in house.heard(Alert) if a.code == "JOURNAL_WRITE"] == ["critical"]
        assert set(house.world.lives.values()) == {1}
        house.signal("second")
        await house.settle()
        assert len(house.entry_fills) == 1


def flat(house: House) -> bool:
    """No position and no order."""
    return not house.position and not house.orders


async def test_an_entry_does_not_leave_without_its_record(autojump_clock: MockClock) -> None:
    """The disk is full before the intent is durable: the entry stays in."""
    async with open_house(journal=Failing(0)) as house:
        house.signal()
        await house.settle()
        assert not house.entry_fills
        assert house.latch.read().latched

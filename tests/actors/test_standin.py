"""A journal that fails costs the record, never the protection of a position."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from actors.standin import StandIn
from protocol.messages.base import Message, from_edge
from protocol.messages.control import Started
from protocol.ports import JournalFailed
from tests.fakes.ports import FakeJournal

START = from_edge(Started, 1)


class Broken(FakeJournal):
    """Fails from the first flush on."""

    failed = False

    def flush(self) -> None:
        self.failed = True
        raise JournalFailed("no space left on device")

    def record(self, actor: str, message: Message, answers: object) -> None:
        if self.failed:
            raise JournalFailed("no space left on device")
        super().record(actor, message, ())


def test_a_journal_that_works_is_used_as_it_is() -> None:
    """Everything goes through, and nobody is told of a failure."""
    journal, told = FakeJournal(), list[str]()
    stand_in = StandIn(journal, told.append)
    stand_in.record("risk", START, ())
    stand_in.keep("risk", lambda: b"1")
    stand_in.flush()
    assert (journal.flushed, stand_in.memory("risk"), told) == (1, b"1", [])
    assert StandIn(journal, told.append).memory("risk") == b"1"


@pytest.mark.parametrize("damage", [lambda kept: kept[:-1] + b"0", lambda kept: b"0" + kept[1:], lambda kept: kept[:5]])
def test_a_damaged_memory_is_told_and_not_used(damage: Callable[[bytes], bytes]) -> None:
    """A byte that turned, in the memory or in its seal, or a cut: the actor starts without, and a person hears of it."""
    journal, told = FakeJournal(), list[str]()
    StandIn(journal, told.append).keep("risk", lambda: b'{"streak":1}')
    journal.memories["risk"] = damage(journal.memories["risk"])
    reader = StandIn(journal, lambda text: None, told.append)
    assert reader.memory("risk") is None
    assert reader.damaged == {"risk"}
    assert told == ["what risk remembers is damaged in the store"]


def test_a_memory_in_anothers_place_is_damage() -> None:
    """What one actor remembers is never taken for another's."""
    journal, told = FakeJournal(), list[str]()
    StandIn(journal, told.append).keep("risk", lambda: b"{}")
    journal.memories["executor"] = journal.memories["risk"]
    assert StandIn(journal, lambda text: None, told.append).memory("executor") is None
    assert len(told) == 1


def test_the_first_failure_is_told_once_and_nothing_raises() -> None:
    """Later calls are dropped, and what actors remember stays in this process for their next lives."""
    told: list[str] = []
    stand_in = StandIn(Broken(), told.append)
    stand_in.record("risk", START, ())
    stand_in.flush()
    stand_in.record("risk", START, ())
    stand_in.keep("risk", lambda: b"2")
    stand_in.flush()
    assert told == ["no space left on device"]
    assert stand_in.failure == "no space left on device"
    assert stand_in.memory("risk") == b"2"


def test_what_cannot_be_read_is_not_invented() -> None:
    """A memory that was never kept in this process comes from the journal, errors and all."""

    class Unreadable(FakeJournal):
        def memory(self, actor: str) -> bytes | None:
            raise JournalFailed("unreadable")

    with pytest.raises(JournalFailed):
        StandIn(Unreadable(), lambda why: None).memory("risk")

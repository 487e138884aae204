"""Old pages may go: what is asked of the ledger, what lives on, and the seals of what stays are untouched."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from ledger_stories import AT, Step, noise, one_trade
from sqlalchemy import delete, update

from actors.ledger import tables
from actors.ledger.journal import Ledger, open_ledger, open_reader
from actors.ledger.project import ROUTINE
from protocol.messages.base import from_edge
from protocol.messages.control import Latch
from protocol.units import DAY_US

MONTH_US = 30 * DAY_US
OLD, NEW = one_trade(), [noise(AT + 3 * MONTH_US)[1], noise(AT + 4 * MONTH_US)[1]]


def written(url: str, *stories: Sequence[Step]) -> None:
    """Each step a page of its own."""
    with open_ledger(url) as ledger:
        for step in (step for story in stories for step in story):
            ledger.record(*step)
            ledger.settle()


def answers(ledger: Ledger) -> tuple[object, ...]:
    """What a person can ask of it, and what lives on."""
    reader = ledger.reader()
    asked = (reader.trades(), reader.orders(), reader.fills(), reader.signals(), reader.equity(), reader.runs())
    told = [
        each.message for each in reader.explain(reader.trades()[0]["trade_id"]) if type(each.message) not in ROUTINE
    ]
    assert told
    return *asked, told, ledger.memory("executor"), ledger.read()


def test_pages_beyond_the_age_go_and_nothing_else(url: str) -> None:
    """Tables, memories and the latch answer as before; the seals of what stays hold from there on, under the same head."""
    written(url, OLD, NEW)
    with open_ledger(url) as ledger:
        ledger.keep("executor", lambda: b"what it holds")
        ledger.latch(from_edge(Latch, AT, reason="drill", by="ann"))
        ledger.settle()
        before, head = answers(ledger), ledger.reader().verify().head
        gone = ledger.prune(2 * MONTH_US)
        assert gone is not None
        assert (gone.steps, gone.last_seq, gone.to_at) == (len(OLD), len(OLD), max(step[1].at for step in OLD))
        assert answers(ledger) == before
        assert [step.message for step in ledger.reader().steps()] == [step[1] for step in NEW]
        verdict = ledger.reader().verify()
        assert (verdict.steps, verdict.head, verdict.fault) == (len(OLD) + len(NEW), head, "")


def test_the_record_goes_on_where_it_was(url: str) -> None:
    """A later life numbers and seals on, and may prune again; with nothing old enough nothing happens."""
    written(url, OLD, NEW)
    with open_ledger(url) as ledger:
        assert ledger.prune(2 * MONTH_US) is not None
        assert ledger.prune(2 * MONTH_US) is None
    later = [noise(AT + 6 * MONTH_US)[1]]
    written(url, later)
    with open_ledger(url) as ledger:
        gone = ledger.prune(MONTH_US)
        assert gone is not None
        assert (gone.steps, gone.last_seq) == (len(NEW), len(OLD) + len(NEW))
        assert [step.message for step in ledger.reader().steps()] == [step[1] for step in later]
        assert ledger.reader().verify().fault == ""


def test_the_newest_page_never_goes(url: str) -> None:
    """The next one is sealed over it."""
    written(url, OLD)
    with open_ledger(url) as ledger:
        ledger.prune(1)
        assert [step.message for step in ledger.reader().steps()][-1:] == [OLD[-1][1]]
        assert ledger.reader().verify().fault == ""


@pytest.mark.parametrize("damage", ["edited", "cut"])
def test_what_is_touched_afterwards_is_found(url: str, damage: str) -> None:
    """What was let go in order is no excuse for what is missing or changed behind it."""
    written(url, OLD, NEW)
    journal = tables.journal
    with open_ledger(url) as ledger:
        ledger.prune(2 * MONTH_US)
        first = journal.c.first_seq == len(OLD) + 1
        with ledger._engine.begin() as connection:
            connection.execute(
                delete(journal).where(first) if damage == "cut" else update(journal).where(first).values(records=b"x")
            )
    with open_reader(url) as reader:
        assert f"steps {len(OLD) + 1} to {len(OLD) + 1} are" in reader.verify().fault


def test_nothing_is_let_go_of_an_empty_ledger(url: str) -> None:
    """There is no newest page to reckon from."""
    with open_ledger(url) as ledger:
        assert ledger.prune(1) is None


def test_what_would_go_can_be_asked_without_the_pen(url: str) -> None:
    """The same figures, and nothing is changed."""
    written(url, OLD, NEW)
    with open_reader(url) as reader:
        would = reader.prunable(2 * MONTH_US)
        assert len(list(reader.steps())) == len(OLD) + len(NEW)
    with open_ledger(url) as ledger:
        assert ledger.prune(2 * MONTH_US) == would

"""A person's requests: each is answered once, and a halt lasts until a person ends it."""

from __future__ import annotations

from typing import Any

from actors.memory import durable
from actors.person import decide
from config.settings import Settings
from protocol.messages.base import Message, from_edge
from protocol.messages.control import CloseRequested, HaltEntries, PersonAnswered, PersonAsked, ResumeEntries, Started
from tests.fakes.facts import XBT

SETTINGS = Settings()


def asked(ask: str, **fields: Any) -> PersonAsked:
    """A request by ann."""
    return from_edge(PersonAsked, 1, ask, request="r1", ask=ask, **({"by": "ann", "reason": "news"} | fields))


def said(*messages: Message, memory: bytes | None = None) -> tuple[decide.State, list[Message]]:
    """Everything said to the messages, one after another."""
    state, answers = decide.initial(SETTINGS, memory), list[Message]()
    for message in messages:
        state, more = decide.step(state, message)
        answers += more
    return state, answers


def test_a_halt_names_who_and_why_and_is_answered() -> None:
    """The gate learns the person's reason, the person learns that it is done."""
    _, (halt, answer) = said(asked("halt"))
    assert isinstance(halt, HaltEntries)
    assert (halt.key, halt.reason, halt.symbol) == ("person", "ann: news", "")
    assert isinstance(answer, PersonAnswered)
    assert (answer.request, answer.done) == ("r1", True)


def test_a_halt_outlives_the_process() -> None:
    """A new life says the remembered halts again, those of one market too; once resumed it says none."""
    state, _ = said(asked("halt"), asked("halt", symbol=XBT))
    _, again = said(from_edge(Started, 2), memory=durable(state))
    assert [(m.key, m.symbol) for m in again if isinstance(m, HaltEntries)] == [("person", ""), (f"person:{XBT}", XBT)]
    state, _ = said(asked("resume"), asked("resume", symbol=XBT), memory=durable(state))
    assert said(from_edge(Started, 3), memory=durable(state))[1] == []


def test_a_halt_of_another_cause_is_ended_by_its_key() -> None:
    """What only a person may end is named by the key that `status` shows."""
    _, (resumed, _) = said(asked("resume", key="spot.revised"))
    assert isinstance(resumed, ResumeEntries)
    assert resumed.key == "spot.revised"


def test_a_dry_run_changes_nothing() -> None:
    """Only an answer comes of it."""
    state, answers = said(asked("halt", dry_run=True), asked("resume", dry_run=True))
    assert [type(m) for m in answers] == [PersonAnswered, PersonAnswered]
    assert state.memory.halts == {}


def test_closing_is_passed_to_whoever_holds_the_trade() -> None:
    """With the person's name and reason; a market that is not traded is answered at once."""
    _, (passed,) = said(asked("close", symbol=XBT))
    assert isinstance(passed, CloseRequested)
    assert (passed.symbol, passed.by, passed.reason) == (XBT, "ann", "news")
    _, (answer,) = said(asked("close", symbol="PF_NOPE"))
    assert isinstance(answer, PersonAnswered)
    assert not answer.done

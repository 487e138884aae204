"""Announced maintenance keeps entries in from a quarter of an hour before it to its end, once told, across lives."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from actors.futures_feed import decide
from actors.futures_feed.notices import LEAD_US, MAINTENANCE, UNSAID_US
from actors.futures_feed.state import State
from config.settings import Settings
from protocol.messages.base import Message, from_edge
from protocol.messages.control import Alert, HaltEntries, ResumeEntries, Started, WakeAt, Woken
from protocol.messages.futures import Maintenance, NoticesSeen
from protocol.units import HOUR_US, MINUTE_US

T = 1_767_571_200_000_000
PLANNED = Maintenance(begins=T + HOUR_US, ends=T + HOUR_US + 10 * MINUTE_US, text="Planned.")
FIRST, END = T + HOUR_US - LEAD_US, T + HOUR_US + 10 * MINUTE_US


def fresh(memory: bytes | None = None) -> State:
    """A feed at the beginning of a life."""
    return decide.initial(Settings(), memory)


def seen(at: int, *maintenance: Maintenance) -> NoticesSeen:
    """What is announced, as it is read at a moment."""
    return from_edge(NoticesSeen, at, at, maintenance=maintenance)


def woken(at: int) -> Woken:
    """The call that was asked for."""
    return from_edge(Woken, at, at, key=MAINTENANCE)


def run(state: State, *messages: Message) -> tuple[State, list[str]]:
    """The state after the messages, and in words what was said."""
    said: list[str] = []
    for message in messages:
        state, answers = decide.step(state, message)
        said += in_words(answers)
    return state, said


def in_words(answers: Sequence[Message]) -> list[str]:
    """Halt, resume, an alert's severity, or how many minutes after T a call is due."""
    words = []
    for answer in answers:
        match answer:
            case HaltEntries(key=key) | ResumeEntries(key=key):
                assert key == MAINTENANCE
                words.append("halt" if isinstance(answer, HaltEntries) else "resume")
            case Alert(code=code, severity=severity):
                assert (code, severity) == ("VENUE_MAINT", "warning")
                words.append("told")
            case WakeAt(key=key, due=due):
                assert key == MAINTENANCE
                words.append(f"call at {(due - T) // MINUTE_US}")
            case _:
                raise AssertionError(answer)
    return words


def test_entries_are_halted_from_a_quarter_before_to_the_end() -> None:
    """Told when it is announced, once; halted and let go at the calls, which a reading in between asks for anew."""
    state, said = run(fresh(), seen(T, PLANNED), seen(T + 5 * MINUTE_US, PLANNED))
    assert said == ["told", "call at 45", "call at 45"]
    state, said = run(state, woken(FIRST), seen(FIRST + MINUTE_US, PLANNED), woken(END))
    assert said == ["halt", "call at 70", "call at 70", "resume"]
    _, said = run(state, seen(END + 1, PLANNED), seen(END + 2))
    assert said == []  # over, listed or not


def test_maintenance_that_is_told_late_halts_at_once() -> None:
    """What is left of the quarter, or of the maintenance itself."""
    assert run(fresh(), seen(FIRST + 1, PLANNED))[1] == ["told", "halt", "call at 70"]
    assert run(fresh(), seen(END - 1, PLANNED))[1] == ["told", "halt", "call at 70"]
    assert run(fresh(), seen(END, PLANNED))[1] == []


def test_what_is_taken_back_halts_nobody_and_what_has_begun_lasts() -> None:
    """A list may leave out what goes on; before it begins that means it will not be."""
    state, _ = run(fresh(), seen(FIRST, PLANNED))
    assert run(state, seen(PLANNED.begins - 1))[1] == ["told", "resume"]  # type: ignore[operator]
    state, said = run(state, seen(PLANNED.begins))  # type: ignore[arg-type]
    assert said == ["call at 70"]
    assert run(state, woken(END))[1] == ["resume"]


def test_maintenance_that_moves_is_told_again() -> None:
    """The new time counts, the old one no longer."""
    later = Maintenance(begins=T + 2 * HOUR_US, ends=None, text="Later.")
    state, said = run(fresh(), seen(T, PLANNED), seen(T + 1, later))
    assert said == ["told", "call at 45", "told", "told", "call at 105"]
    _, said = run(state, woken(FIRST), woken(T + 2 * HOUR_US - LEAD_US), woken(T + 2 * HOUR_US + UNSAID_US))
    assert said == ["call at 105", "halt", "call at 180", "resume"]


def test_maintenance_without_a_time_is_told_and_halts_nobody() -> None:
    """A person must look when it is."""
    some_day = Maintenance(begins=None, ends=None, text="Some day.")
    state, answers = decide.step(fresh(), seen(T, some_day))
    (alert,) = answers
    assert isinstance(alert, Alert)
    assert alert.text == (
        'the exchange announces maintenance at a time it does not say ("Some day."): look when it is, entries go on'
    )
    assert run(state, seen(T + HOUR_US, some_day))[1] == []


def test_a_person_is_told_when_it_is_and_what_follows() -> None:
    """In one line."""
    _, answers = decide.step(fresh(), seen(T, PLANNED))
    assert [a.text for a in answers if isinstance(a, Alert)] == [
        'the exchange announces maintenance at 2026-01-05 01:00:00 UTC for 10 min ("Planned."): entries are halted from '
        "2026-01-05 00:45:00 UTC to 2026-01-05 01:10:00 UTC, stops stay on the exchange"
    ]


@pytest.mark.parametrize(("at", "halted"), [(T + 1, False), (FIRST, True), (END, False)])
def test_the_next_life_knows(at: int, halted: bool) -> None:
    """No reading is needed: what was announced is remembered; a halt of the life before ends where its time has passed."""
    state, _ = run(fresh(), seen(T, PLANNED))
    _, answers = decide.step(fresh(decide.durable(state)), from_edge(Started, at, restarted=True))
    last = [a for a in answers if isinstance(a, HaltEntries | ResumeEntries) and a.key == MAINTENANCE][-1]
    assert isinstance(last, HaltEntries) == halted

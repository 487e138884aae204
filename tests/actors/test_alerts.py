"""How often a person is told: once a code and minute, and of everything in the end."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from actors.alerts import Flow, due, take
from protocol.messages.base import from_edge
from protocol.messages.control import Alert, Severity
from protocol.units import MINUTE_US, SECOND_US


def alert(at: int, code: str = "FOREIGN_ORDER", severity: Severity = "critical", text: str = "an order") -> Alert:
    """An alert that somebody says."""
    return from_edge(Alert, at, at, code, severity, text, code=code, severity=severity, text=text)


def test_a_flood_is_one_alert_and_one_with_a_count() -> None:
    """Of thirty within a minute the first is told at once and the others together when the minute is over."""
    flow: Flow = {}
    told: list[Alert] = []
    for second in range(30):
        flow, now = take(flow, alert(second * SECOND_US, text=f"order {second}"), second * SECOND_US)
        told += now
    assert [one.text for one in told] == ["order 0"]
    flow, rest = due(flow, MINUTE_US)
    assert [one.count for one in rest] == [29]
    assert rest[0].text == "29 within a minute: order 1; order 2; order 3"
    assert due(flow, 2 * MINUTE_US) == ({}, ())


def test_a_critical_alert_does_not_wait_behind_warnings() -> None:
    """An order of unknown outcome is a warning, and critical a while later: both are told at once."""
    flow, first = take({}, alert(0, "ORDER_UNKNOWN", "warning"), 0)
    _, second = take(flow, alert(SECOND_US, "ORDER_UNKNOWN", "critical"), SECOND_US)
    assert [one.severity for one in (*first, *second)] == ["warning", "critical"]


def test_what_is_for_the_journal_alone_is_not_counted() -> None:
    """Notes pass as they are, however many."""
    flow: Flow = {}
    for second in range(5):
        flow, told = take(flow, alert(second, severity="info"), second)
        assert len(told) == 1
    assert flow == {}


def test_a_clock_that_goes_back_holds_nothing_back_for_long() -> None:
    """Where the minute began in the future it is over."""
    flow, _ = take({}, alert(0), 3600 * SECOND_US)
    flow, _ = take(flow, alert(1), 3600 * SECOND_US)
    _, told = due(flow, 0)
    assert [one.text for one in told] == ["an order"]


@given(
    st.lists(
        st.tuples(
            st.integers(0, 40), st.sampled_from("ABC"), st.sampled_from(["warning", "critical"]), st.text(max_size=2)
        ),
        max_size=60,
    )
)
def test_nothing_is_lost_and_nothing_told_too_often(rows: list[tuple[int, str, Severity, str]]) -> None:
    """Whatever is said when: all is counted in what is told, and no code of a severity is told twice within a minute."""
    flow: Flow = {}
    now, told, said = 0, list[tuple[int, Alert]](), Counter[str]()
    for wait_s, code, severity, text in [*rows, *[(40, "D", "warning", "")] * 4]:
        for _ in range(int(wait_s)):
            now += SECOND_US
            flow, out = due(flow, now)
            told += [(now, one) for one in out]
        said[code] += 1
        flow, out = take(flow, alert(now, code, severity, text), now)
        told += [(now, one) for one in out]
    counted = Counter[str]()
    for _, one in told:
        counted[one.code] += one.count
    assert all(counted[code] == said[code] for code in "ABC")
    moments: dict[tuple[str, str], list[int]] = {}
    for at, one in told:
        moments.setdefault((one.code, one.severity), []).append(at)
    assert all(later - before >= MINUTE_US for ats in moments.values() for before, later in pairwise(ats))

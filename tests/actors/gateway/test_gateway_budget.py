"""The rate budget: what may be spent, what is kept for safety, and how long the rest waits."""

from __future__ import annotations

import copy
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.gateway.budget import Budget, Priority
from actors.gateway.secret import Secret
from protocol.units import SECOND_US


def test_reading_stops_at_the_reserve_and_cancelling_does_not() -> None:
    """350 of 500 points for all, the last 150 for what protects."""
    budget = Budget()
    for _ in range(35):
        assert budget.take(10, 0, "enter") == 0

    assert budget.take(2, 0, "enter") > 0
    for _ in range(15):
        assert budget.take(10, 0, "protect") == 0
    assert budget.take(10, 0, "protect") == SECOND_US // 5


def test_the_wait_that_is_named_is_enough() -> None:
    """Asking again after the wait succeeds, and not before."""
    budget = Budget()
    budget.refused(0)
    wait = budget.take(10, 0, "protect")

    assert budget.take(10, wait - 1, "protect") == 1000  # the least wait there is
    assert budget.take(10, wait, "protect") == 0


def test_each_refusal_in_a_row_pauses_twice_as_long() -> None:
    """Up to a minute; an answer ends the row. What protects does not pause at the first and a second at the others."""
    budget = Budget(points=1_000_000, window_s=1)
    pauses, protecting = list[int](), list[int]()
    for second in range(0, 800, 100):
        now = second * SECOND_US
        budget.refused(now)
        pauses.append(budget.take(1, now, "read") // SECOND_US)
        protecting.append(budget.take(1, now + 1000, "protect"))
        assert budget.take(1, now + SECOND_US, "protect") == 0
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60]
    assert protecting == [0, *[SECOND_US - 1000] * 7]
    budget.served()
    budget.refused(10_000 * SECOND_US)
    assert budget.take(1, 10_000 * SECOND_US, "enter") == SECOND_US


def test_a_clock_that_is_set_back_ends_a_pause() -> None:
    """It would last for as long as the clock was wrong."""
    budget = Budget()
    for _ in range(2):
        budget.refused(3600 * SECOND_US)

    assert budget.take(0, 0, "read") == 0
    assert budget.take(10, SECOND_US, "protect") == 0
    assert budget.take(2, 6 * SECOND_US, "read") == 0


def test_reading_stops_before_entries_do() -> None:
    """Half the points are not for reading: orders never starve behind it."""
    budget = Budget()
    assert [budget.take(50, 0, "read") for _ in range(5)] == [0] * 5
    assert budget.take(2, 0, "read") > 0
    assert [budget.take(50, 0, "enter") for _ in range(2)] == [0] * 2
    assert budget.take(10, 0, "enter") > 0


def test_public_calls_cost_nothing() -> None:
    """They pass an empty bucket."""
    budget = Budget()
    budget.refused(0)

    assert budget.take(0, 0, "enter") == 0


@given(
    st.lists(
        st.tuples(
            st.integers(0, 400_000), st.sampled_from([1, 2, 10, 25]), st.sampled_from(["protect", "enter", "read"])
        ),
        max_size=200,
    )
)
def test_no_more_than_full_plus_refill_is_ever_spent(calls: list[tuple[int, int, Priority]]) -> None:
    """Over any run from the start: at most 500 points and 50 for every second passed."""
    budget, now, spent = Budget(), 0, 0
    for pause, cost, priority in calls:
        now += pause
        if budget.take(cost, now, priority) == 0:
            spent += cost
        assert spent * SECOND_US <= 500 * SECOND_US + 50 * now


def test_a_secret_does_not_show() -> None:
    """Not printed, not formatted, not written down."""
    secret = Secret("hush")

    assert (str(secret), repr(secret), f"{secret}", repr([secret])) == ("***", "***", "***", "[***]")
    assert secret.reveal() == "hush"
    with pytest.raises(TypeError, match="not written down"):
        pickle.dumps(secret)
    with pytest.raises(TypeError, match="not written down"):
        copy.copy(secret)

"""The rate budget: what may be spent, what is kept for safety, and how long the rest waits."""

from __future__ import annotations

import copy
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.gateway.budget import Budget
from actors.gateway.secret import Secret
from protocol.units import SECOND_US


def test_reading_stops_at_the_reserve_and_cancelling_does_not() -> None:
    """350 of 500 points for all, the last 150 for what protects."""
    budget = Budget()
    for _ in range(35):
        assert budget.take(10, 0, urgent=False) == 0

    assert budget.take(2, 0, urgent=False) > 0
    for _ in range(15):
        assert budget.take(10, 0, urgent=True) == 0
    assert budget.take(10, 0, urgent=True) == SECOND_US // 5


def test_the_wait_that_is_named_is_enough() -> None:
    """Asking again after the wait succeeds, and not before."""
    budget = Budget()
    budget.drain(0)
    wait = budget.take(10, 0, urgent=False)

    assert budget.take(10, wait - 1, urgent=False) == 1000  # the least wait there is
    assert budget.take(10, wait, urgent=False) == 0


def test_public_calls_cost_nothing() -> None:
    """They pass an empty bucket."""
    budget = Budget()
    budget.drain(0)

    assert budget.take(0, 0, urgent=False) == 0


@given(st.lists(st.tuples(st.integers(0, 400_000), st.sampled_from([1, 2, 10, 25]), st.booleans()), max_size=200))
def test_no_more_than_full_plus_refill_is_ever_spent(calls: list[tuple[int, int, bool]]) -> None:
    """Over any run from the start: at most 500 points and 50 for every second passed."""
    budget, now, spent = Budget(), 0, 0
    for pause, cost, urgent in calls:
        now += pause
        if budget.take(cost, now, urgent=urgent) == 0:
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

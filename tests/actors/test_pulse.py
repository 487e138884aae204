"""How time passed between two looks, and what a person is told when it did not as it should."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.pulse import Look, noticed
from protocol.units import SECOND_US

BEGAN = Look(1_767_571_200 * SECOND_US, 77)


def after(seconds: float, set_ahead_s: float = 0, pace: float = 1) -> list[tuple[str, str]]:
    """What is noticed of a second's wait that took `seconds`, in which the clock was set."""
    steady_us = round(seconds * SECOND_US)
    then = Look(BEGAN.at + steady_us + round(set_ahead_s * SECOND_US), BEGAN.steady_us + steady_us)
    return noticed(BEGAN, then, SECOND_US, pace)


@pytest.mark.parametrize(
    ("seconds", "set_ahead_s", "codes"),
    [
        (1.0, 0, []),
        (5.9, 0, []),
        (6.1, 0, ["LOOP_BLOCKED"]),
        (1.0, 1.9, []),
        (1.0, 2.1, ["CLOCK_STEP"]),
        (1.0, 600, ["CLOCK_STEP"]),
        (31.0, 0, ["LOOP_BLOCKED"]),
        (22.1, 617.7, ["CLOCK_STEP", "LOOP_BLOCKED"]),
        (1.0, -600, []),
    ],
)
def test_what_is_noticed(seconds: float, set_ahead_s: float, codes: list[str]) -> None:
    """More than five seconds late the loop stood still; two seconds more by the clock than by the steady one, it was set. Set back it is
    read as slow, and told as what it differs from the exchange's. A host that slept while its loop stood is both: the sleep would hide
    a disk that is too slow (storm 460102).
    """
    assert [code for code, _ in after(seconds, set_ahead_s)] == codes


def test_the_words_say_how_long() -> None:
    """A person reads how far, and what may have done it."""
    assert after(31.0) == [("LOOP_BLOCKED", "nothing ran for 30.0 s: the host is too busy, or its disk too slow")]
    assert after(1, 600) == [("CLOCK_STEP", "this host's clock leapt 600.0 s ahead: it was set, or the host slept")]


@given(seconds=st.floats(0, 3600), set_ahead_s=st.floats(-600, 3600), pace=st.floats(1, 1e6))
def test_a_market_at_a_pace_is_judged_in_real_seconds(seconds: float, set_ahead_s: float, pace: float) -> None:
    """A thousand times as fast, a thousand times as much is still nothing."""
    assert after(seconds, set_ahead_s, pace=1e7) == []
    assert set(after(seconds, set_ahead_s, pace)) <= set(after(seconds, set_ahead_s))

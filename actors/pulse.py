"""Whether time passed as it should between two looks: a loop that stood still, a host that slept, a clock that was set. Pure.

Knows no actor and no clock of its own.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from protocol.units import SECOND_US

BLOCKED_US: Final = 5 * SECOND_US
"""A loop that comes so much too late stood still (fault catalogue, 52)."""
STEPPED_US: Final = 2 * SECOND_US
"""Two clocks of one host that part by so much between two looks: one was set, or stood while the host slept (53, 66)."""


class Look(NamedTuple):
    """A moment as both clocks have it, microseconds: `at` UTC, `steady_us` since whenever."""

    at: int
    steady_us: int


def noticed(before: Look, after: Look, expected_us: float, pace: float = 1.0) -> list[tuple[str, str]]:
    """What is wrong with the time between two looks that should lie `expected_us` apart, each the alert's code and its words.

    `pace`: seconds of these clocks in a real second.
    """
    passed_us = after.steady_us - before.steady_us
    stepped_us = after.at - before.at - passed_us
    found = []
    if stepped_us > STEPPED_US * pace:
        text = f"this host's clock leapt {stepped_us / SECOND_US:.1f} s ahead: it was set, or the host slept"
        found.append(("CLOCK_STEP", text))
    late_us = passed_us - expected_us
    if late_us > BLOCKED_US * pace:
        text = f"nothing ran for {late_us / SECOND_US:.1f} s: the host is too busy, or its disk too slow"
        found.append(("LOOP_BLOCKED", text))
    return found

"""How fast we may ask: points as a token bucket, the last of them kept for what protects. Time is an argument."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil
from typing import Final, Literal

import trio

from protocol.kraken.endpoints import COST_BUDGET, COST_WINDOW_S
from protocol.ports import Clock
from protocol.units import SECOND_US

Priority = Literal["protect", "enter", "read"]

KEPT: Final[Mapping[Priority, float]] = {"protect": 0.0, "enter": 0.3, "read": 0.5}
"""The part each may not touch: reading slows down before entries do, and entries before safety does."""
WAIT_LEAST_US: Final = 1000
"""Shorter waits might not move a clock that runs fast."""
PAUSE_FIRST_S: Final = 1
PAUSE_MOST_S: Final = 60
PAUSE_PROTECT_S: Final = 1
"""Of what protects, from the second refusal in a row on: five a second into a ban serve nobody (storm 70204)."""


class Budget:
    """`points` a window of `window_s`, refilled evenly: safe whether Kraken's own window is fixed or slides.

    Counts in whole millionths of a point, so that no rounding can make a wait that never ends.
    """

    def __init__(self, points: int = COST_BUDGET, window_s: int = COST_WINDOW_S) -> None:
        self._full = points * SECOND_US
        self._refill = points / window_s  # points a second are millionths of a point a microsecond
        self._left = self._full
        self._counted_at: int | None = None
        self._refusals = 0
        self._paused_until = 0
        self._protect_paused_until = 0

    def take(self, points: int, now_us: int, priority: Priority) -> int:
        """Take `points` and answer 0, or take nothing and answer the microseconds to wait before asking again."""
        self._count(now_us)
        paused_until = self._protect_paused_until if priority == "protect" else self._paused_until
        if points and now_us < paused_until:
            return max(WAIT_LEAST_US, paused_until - now_us)
        need = points * SECOND_US + round(self._full * KEPT[priority])
        if need > self._left and points:
            return max(WAIT_LEAST_US, ceil((need - self._left) / self._refill))
        self._left -= points * SECOND_US
        return 0

    def refused(self, now_us: int) -> None:
        """The exchange says that the limit is reached: believe it, and pause twice as long as the last time."""
        self._count(now_us)
        self._left = 0
        pause_s = min(PAUSE_FIRST_S * 2**self._refusals, PAUSE_MOST_S)
        if self._refusals:
            self._protect_paused_until = now_us + PAUSE_PROTECT_S * SECOND_US
        self._refusals = min(self._refusals + 1, PAUSE_MOST_S)
        self._paused_until = max(self._paused_until, now_us + pause_s * SECOND_US)

    def served(self) -> None:
        """A request was answered: the next refusal pauses for the shortest time again."""
        self._refusals = 0

    def _count(self, now_us: int) -> None:
        passed = 0 if self._counted_at is None else now_us - self._counted_at
        if passed < 0:  # a clock that was set back must not make a pause of an hour
            passed = self._paused_until = self._protect_paused_until = 0
        self._left = min(self._full, self._left + int(passed * self._refill))
        self._counted_at = now_us


async def spend(budget: Budget, points: int, clock: Clock, priority: Priority) -> None:
    """Take `points`, waiting for as long as that needs: who cannot wait sets a deadline around it."""
    # Waiting for time, not for an event.
    while wait_us := budget.take(points, clock.now_us(), priority):  # noqa: ASYNC110
        await trio.sleep(wait_us / SECOND_US)

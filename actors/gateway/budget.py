"""How fast we may ask: Kraken's points as a token bucket, part of it kept for what protects. Time is an argument."""

from __future__ import annotations

from typing import Final

from protocol.kraken.endpoints import COST_BUDGET, COST_WINDOW_S
from protocol.units import SECOND_US

RESERVE: Final = 0.3
"""The part that only cancellations and reduce-only orders may use: reading slows down before safety does."""
WAIT_LEAST_US: Final = 1000
"""Shorter waits might not move a clock that runs fast."""


class Budget:
    """`points` a window of `window_s`, refilled evenly: safe whether Kraken's own window is fixed or slides.

    Counts in whole millionths of a point, so that no rounding can make a wait that never ends.
    """

    def __init__(self, points: int = COST_BUDGET, window_s: int = COST_WINDOW_S, reserve: float = RESERVE) -> None:
        self._full = points * SECOND_US
        self._reserve = round(self._full * reserve)
        self._refill = points // window_s  # points a second are millionths of a point a microsecond
        self._left = self._full
        self._counted_at: int | None = None

    def take(self, points: int, now_us: int, *, urgent: bool) -> int:
        """Take `points` and answer 0, or take nothing and answer the microseconds to wait before asking again."""
        self._count(now_us)
        need = points * SECOND_US + (0 if urgent else self._reserve)
        if need > self._left and points:
            return max(WAIT_LEAST_US, -(-(need - self._left) // self._refill))
        self._left -= points * SECOND_US
        return 0

    def drain(self, now_us: int) -> None:
        """The exchange says that the limit is reached: believe it."""
        self._count(now_us)
        self._left = 0

    def _count(self, now_us: int) -> None:
        passed = 0 if self._counted_at is None else max(0, now_us - self._counted_at)
        self._left = min(self._full, self._left + passed * self._refill)
        self._counted_at = now_us

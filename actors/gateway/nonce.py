"""Numbers that only rise: from the clock, above everything promised to an earlier life. Knows no request."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from protocol.units import SECOND_US

AHEAD_US: Final = 60 * SECOND_US
"""What is written down lies this far ahead, so that it is written once a minute and not for every request."""


class Nonces:
    """Microseconds UTC, at least one above the last. `floor` was written down by an earlier life, `keep` writes the next one durably.

    Nothing at or above what was kept is ever given out: a restart after a clock that stepped back cannot repeat a number.
    """

    def __init__(
        self, now_us: Callable[[], int], floor: int, keep: Callable[[int], None], ahead_us: int = AHEAD_US
    ) -> None:
        self._now_us = now_us
        self._keep = keep
        self._ahead_us = ahead_us
        self._last = floor
        self._kept = floor

    def next(self) -> int:
        """The next number; concurrent callers get different ones, as nothing here waits."""
        self._last = max(self._last + 1, self._now_us())
        if self._last >= self._kept:
            self._kept = self._last + self._ahead_us
            self._keep(self._kept)
        return self._last

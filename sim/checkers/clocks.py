"""What a person must be told of time: a clock that is off, one that was set, a host that slept, a loop that stood; with invariant 28."""

from __future__ import annotations

from typing import Final

from protocol.units import MINUTE_US, SECOND_US
from sim.checkers.evidence import CLOCK_MOST_US, Bounds, Evidence

RIGHT_AFTER_US: Final = 3 * MINUTE_US
"""So long after the host's clock was wrong its minutes are not measured."""
STEPS: Final = ("clock.skew", "clock.step")
STOOD_S: Final = 7
"""A loop that stands for so long is told of: five seconds, and up to one until somebody looks."""


class Clocks:
    """Looked at once a second. Codes that somebody must be told in time come as (code, of what)."""

    def __init__(self, evidence: Evidence) -> None:
        self.e = evidence
        self._wrong_at = -RIGHT_AFTER_US
        self._steps = set[int]()
        self.began()

    def began(self) -> None:
        """A life begins: it knows nothing yet."""
        self._off_told, self._off_from = False, 0
        """Whether a person knows that the clock is off, and how long it was when that was last thought to be over."""
        self._looks_from = self.e.now + Bounds.HALT
        """In its first moment nobody looks at time yet."""

    def off_told(self) -> None:
        """A person is told that the clock is off."""
        self._off_told = True

    def off_over(self) -> None:
        """The daemon takes it for right again."""
        self._off_told, self._off_from = False, self.e.off_reach_us

    @property
    def right(self) -> bool:
        """Whether the host's clock has been right for long enough; it may be set right while the host sleeps (storms 40163, 50102)."""
        return self.e.now - max(self._wrong_at, self.e.leapt_wrong_at) > RIGHT_AFTER_US

    @property
    def spare_us(self) -> int:
        """A minute of a clock that is wrong may be longer."""
        return 0 if self.right else MINUTE_US

    def leapt(self, seconds: float, *, asleep: bool) -> tuple[str, str] | None:
        """Time passed in which nothing ran."""
        passed_us = round(seconds * SECOND_US)
        if not self._looks_since(self.e.now - passed_us):
            self._looks_from += passed_us  # its first moment is still to come (storm 460102)
            return None
        if not self.right:
            return None
        if asleep:
            return "CLOCK_STEP", f"a sleep of {seconds:.1f} s"
        return ("LOOP_BLOCKED", f"a loop that stood for {seconds:.1f} s") if seconds > STOOD_S else None

    def look(self) -> list[tuple[str, str]]:
        """Steps that began since somebody last looked."""
        found = [] if self.e.faults.calm else self._steps_begun()
        self.note()
        return found

    def note(self) -> None:
        """Whether it is wrong now."""
        if self.e.faults.active("clock") or self.e.clock_off_us():
            self._wrong_at = self.e.now

    def untold(self) -> str:
        """By how much the clock has been off for a minute in which nobody was told; empty when all is well."""
        self._off_from = min(self._off_from, self.e.off_reach_us)
        if self.e.off_reach_us - self._off_from <= MINUTE_US or self._off_told or self.e.hindered():
            return ""
        return f"{self.e.clock_off_us() / SECOND_US:.1f} s"

    def _looks_since(self, at: int) -> bool:
        """Whether a life was under way then."""
        return bool(self.e.life) and self._looks_from < at

    def _steps_begun(self) -> list[tuple[str, str]]:
        found = []
        active_now = self.e.faults.active("clock")
        for active in active_now:
            if active.place in self._steps:
                continue
            self._steps.add(active.place)
            alone = len(active_now) == 1 and active.kind in STEPS and self.right
            ahead = alone and active.number("d_s") * SECOND_US > CLOCK_MOST_US
            if ahead and self._looks_since(active.began_us):
                found.append(("CLOCK_STEP", f"a clock set {active.number('d_s'):.1f} s ahead"))
        return found

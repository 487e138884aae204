"""Where `at` comes from: simulated time over trio's clock, a trio clock that jumps at a chosen pace, and the system clock.

The one file of the project that may read the machine's clocks. Knows no market and no actor.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from math import inf

import trio

from protocol.units import SECOND_US

CATCH_UP_S = 0.05
"""Real seconds of computation or oversleep a `PacedClock` makes up for; what is beyond that is let go."""


class SimulatedClock:
    """`protocol.ports.Clock` over trio's time: `epoch_us` (microseconds UTC) is the moment at which trio said `started`.

    Works with any trio clock; `PacedClock` and `trio.testing.MockClock` start at 0. Only valid inside a trio run, unless `time` is
    given: the trio clock itself.
    """

    def __init__(self, epoch_us: int, started: float = 0.0, time: Callable[[], float] = trio.current_time) -> None:
        self._epoch_us = epoch_us
        self._started = started
        self._time = time
        self._asked: float | None = None
        self._now_us = epoch_us

    def now_us(self) -> int:
        """Microseconds UTC; as monotonic as the trio clock below it."""
        now = self._time()
        if now != self._asked:  # it is asked dozens of times at one moment
            self._asked, self._now_us = now, self._epoch_us + round((now - self._started) * SECOND_US)
        return self._now_us

    def steady_us(self) -> int:
        """The same: nobody sets it."""
        return self.now_us()

    def trio_time(self, at_us: int) -> float:
        """The trio time of `at_us`, to sleep until."""
        return self._started + (at_us - self._epoch_us) / SECOND_US


class Onward:
    """Microseconds that never go back: where a clock is set back they go on at half the pace until it has caught up, so that ages and
    timers go on too.
    """

    def __init__(self, at_us: int = 0, steady_us: int = 0) -> None:
        self._at_us, self._steady_us = at_us, steady_us

    def follow(self, told_us: int, steady_us: int) -> int:
        """The time when a clock that may be set says `told_us`, and one that nobody sets, with any beginning, says `steady_us`."""
        slow_us = self._at_us + (steady_us - self._steady_us) // 2
        if told_us < slow_us:
            return slow_us
        self._at_us, self._steady_us = told_us, steady_us
        return told_us


class ExchangeClock:
    """`protocol.ports.Clock` that follows an exchange with a time of its own: `hear` what it says, between two sayings trio's time runs on.

    Slow while the exchange is behind it, so that it never goes back. Only valid inside a trio run.
    """

    def __init__(self, epoch_us: int) -> None:
        self._ahead_us = epoch_us - self._trio_us()
        self._onward = Onward(epoch_us, self._trio_us())

    def hear(self, exchange_us: int) -> None:
        """The exchange says that it is `exchange_us` (microseconds UTC) there."""
        self._ahead_us = exchange_us - self._trio_us()

    def now_us(self) -> int:
        """Microseconds UTC by the exchange's clock; never below an earlier answer."""
        trio_us = self._trio_us()
        return self._onward.follow(trio_us + self._ahead_us, trio_us)

    def steady_us(self) -> int:
        """Trio's time."""
        return self._trio_us()

    @staticmethod
    def _trio_us() -> int:
        return round(trio.current_time() * SECOND_US)


class SystemClock:
    """`protocol.ports.Clock` of live trading: the system's UTC, slow while the system has stepped back."""

    def __init__(self) -> None:
        self._onward = Onward()

    def now_us(self) -> int:
        """Microseconds UTC; never below an earlier answer of this object."""
        told_us = time.time_ns() // 1000  # noqa: TID251  this is the edge where time enters
        return self._onward.follow(told_us, self.steady_us())

    def steady_us(self) -> int:
        """The system's monotonic clock, which stands while the host sleeps."""
        return time.monotonic_ns() // 1000  # noqa: TID251  the same edge


class PacedClock(trio.abc.Clock):
    """A trio clock in seconds from 0 whose time passes only while every task is blocked, `speed` times as fast as real time.

    A wait for a deadline `d` seconds ahead takes at most `d / speed` real seconds, and none at speed `inf`. Computation takes no
    simulated time, so it never ages data. The real wait is the run loop's own wait for I/O: sockets and
    signals end it at once, and then only the part that was really waited has passed.

    It needs no hook: trio asks `deadline_to_sleep_time` only when nothing is runnable, and its next question after the
    wait is `current_time`. (`trio.testing.MockClock` is final, and its rate runs on during computation.) At speed `inf` a task in
    `trio.testing.wait_all_tasks_blocked` is woken only when no deadline is pending.
    """

    def __init__(self, speed: float = inf) -> None:
        if not speed > 0:
            raise ValueError(f"speed must be above 0, not {speed}")
        self._speed = speed
        self._now = 0.0
        self._due_real = 0.0  # the real moment at which `_now` was to be reached
        self._wait: tuple[float, float] | None = None  # (deadline, real moment of its beginning)

    def start_clock(self) -> None:
        """Called once by trio when the run begins."""
        self._due_real = _real()

    def current_time(self) -> float:
        """Simulated seconds since the beginning of the run."""
        if self._wait is not None:
            deadline, began = self._wait
            self._wait = None
            self._end_wait(deadline, began)
        return self._now

    def deadline_to_sleep_time(self, deadline: float) -> float:
        """Real seconds that the run loop may wait for I/O before `deadline`; called by trio when nothing is runnable."""
        if deadline <= self._now:
            return 0.0
        real = _real()
        self._due_real = max(self._due_real, real - CATCH_UP_S)
        self._wait = (deadline, real)
        if self._speed == inf:
            return inf if deadline == inf else 0.0
        return max(0.0, self._due_real + (deadline - self._now) / self._speed - real)

    def _end_wait(self, deadline: float, began: float) -> None:
        """Let the time pass that was waited: to the deadline, or less when I/O made a task runnable before it."""
        interrupted = trio.lowlevel.current_statistics().tasks_runnable > 0
        if self._speed == inf:
            if not interrupted and deadline < inf:
                self._now = deadline
            return
        real = _real()
        waited = real - (began if interrupted else self._due_real)
        passed = max(0.0, waited) * self._speed
        if passed < deadline - self._now:
            self._now += passed
            self._due_real = real
        else:
            self._due_real += (deadline - self._now) / self._speed
            self._now = deadline


def _real() -> float:
    return time.perf_counter()  # noqa: TID251  the pace of the simulation is kept against real time here only


def stopwatch() -> Callable[[], float]:
    """Real seconds since this call, for reports on speed; no decision may depend on it."""
    began = _real()
    return lambda: _real() - began


def work_meter() -> Callable[[], float]:
    """Processor seconds of this process since this call: what a computation took, whatever else the machine is doing."""
    began = time.process_time()
    return lambda: time.process_time() - began

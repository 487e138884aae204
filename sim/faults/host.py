"""The host that a daemon runs on: what its disk keeps, how its process dies, what its clock says.

A life writes through a `Book`; what it has not flushed dies with it. `Killed` is raised at the very point at which the
process dies and passes every handler of the daemon's own. Knows the ports and nothing of the actors.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from math import inf
from typing import NamedTuple

import trio

from protocol.messages.base import Message
from protocol.messages.control import Latch
from protocol.ports import Clock, JournalFailed, LatchState
from protocol.units import HOUR_US, SECOND_US
from sim.clock import Onward
from sim.faults.timeline import Faults

Record = tuple[str, Message, tuple[Message, ...]]


class Killed(BaseException):
    """The process dies here: no handler runs, nothing is flushed."""


class Kept(NamedTuple):
    """What lies on the disk where somebody's memory should be, and whose it is; nobody's, once bits of it are wrong."""

    owner: str
    body: bytes


class DiskFailed(JournalFailed):
    """The disk refuses."""


@dataclass
class Disk:
    """What is durable, over all lives. The records themselves go to whoever listens: a storm may last for weeks."""

    memories: dict[str, Kept] = field(default_factory=dict)
    state: LatchState = field(default_factory=lambda: LatchState(latched=False))
    lost: int = 0
    """Records that died with their process."""
    copies: list[tuple[int, dict[str, Kept]]] = field(default_factory=list)
    """(microseconds UTC, what actors remembered from then on)."""

    @property
    def damaged(self) -> bool:
        """Whether anything lies where it was not written."""
        return any(kept.owner != actor for actor, kept in self.memories.items())

    def copy(self, at: int) -> None:
        """Somebody's copy of what is remembered at `at`; the newest of the last hour are kept."""
        self.copies.append((at, dict(self.memories)))
        if self.copies[0][0] < at - 2 * HOUR_US:
            self.copies = [copy for copy in self.copies if copy[0] >= at - HOUR_US]

    def roll_back(self, to_us: int) -> None:
        """What actors remember is what it was at `to_us`. The latch stays: it is looked at by other hands too."""
        self.copies = [copy for copy in self.copies if copy[0] <= to_us]
        self.memories = dict(self.copies[-1][1]) if self.copies else {}

    # protocol.ports.LatchStore: durable before each call returns.

    def read(self) -> LatchState:
        """The kill switch as written down."""
        return self.state

    def latch(self, latch: Latch) -> None:
        """The first cause stays."""
        if not self.state.latched:
            self.state = LatchState(latched=True, reason=latch.reason, by=latch.by, at=latch.at)

    def acknowledge(self, by: str, reason: str, at: int) -> None:
        """A person clears it."""
        self.state = LatchState(latched=False, reason=reason, by=by, at=at)


class Process:
    """One life's hold on the host. `life` counts from 1; `dead` from the moment of its death on."""

    def __init__(self, life: int, faults: Faults) -> None:
        self.life = life
        self.dead = False
        self._faults = faults

    def at(self, hook: str) -> None:
        """A named point at which the process may die. Raises Killed."""
        if self.dead:
            raise Killed
        if self._faults.calm:
            return
        for active in self._faults.active("process"):
            if active.kind != "proc.crash" or active.text("hook") != hook or active.memory.get("done"):
                continue
            seen = int(str(active.memory.get("seen", 0))) + 1
            active.memory["seen"] = seen
            if seen >= active.number("nth"):
                active.memory["done"] = True
                self._faults.strikes(active)
                self.die()

    def die(self) -> None:
        """Raises Killed; whatever else of this process still runs finds itself dead."""
        self.dead = True
        raise Killed


class Book:
    """protocol.ports.Journal and LatchStore of one life on a disk. `wrote` hears each flush's records."""

    def __init__(self, disk: Disk, process: Process, faults: Faults, wrote: Callable[[Sequence[Record]], None]) -> None:
        self._disk = disk
        self._process = process
        self._faults = faults
        self._wrote = wrote
        self._records: list[Record] = []
        self._memories: dict[str, Callable[[], bytes]] = {}
        self.failed = ""
        """Why nothing can be written any more."""

    def record(self, actor: str, message: Message, answers: Sequence[Message]) -> None:
        """Note one step. Raises DiskFailed after a failed flush."""
        if not self._faults.calm or self._process.dead:
            self._process.at("append")
        if self.failed:
            raise DiskFailed(self.failed)
        self._records.append((actor, message, tuple(answers)))

    def keep(self, actor: str, memory: Callable[[], bytes]) -> None:
        """Replace what `actor` remembers, with the next flush."""
        self._memories[actor] = memory

    def memory(self, actor: str) -> bytes | None:
        """What `actor` last asked to keep."""
        if actor in self._memories:
            return self._memories[actor]()
        kept = self._disk.memories.get(actor)
        return None if kept is None else kept.body

    def flush(self) -> None:
        """All or nothing. Raises DiskFailed, for good: a handle whose flush failed is dead."""
        self._process.at("flush")
        self._must_be_well()
        for active in self._faults.active("disk"):
            if active.kind == "disk.torn" and self._records and not active.struck:
                self._faults.strikes(active)
                self._process.die()
            once = active.kind == "disk.fsync" and active.struck
            if active.kind in ("disk.full", "disk.fsync") and not once and self._faults.strikes(active):
                self.failed = f"{active.kind}: no space left on device"
        self._must_be_well()
        records, self._records = self._records, []
        if self._memories:
            self._disk.memories |= {actor: Kept(actor, memory()) for actor, memory in self._memories.items()}
            self._disk.copy(self._faults.now_us())
            self._memories = {}
        self._wrote(records)
        self._process.at("flushed")

    def lose(self) -> int:
        """The process is gone, and so many records with it."""
        lost = len(self._records)
        self._disk.lost += lost
        self._records, self._memories = [], {}
        return lost

    def _must_be_well(self) -> None:
        if self.failed:
            raise DiskFailed(self.failed)

    # protocol.ports.LatchStore

    def read(self) -> LatchState:
        """The kill switch as written down."""
        return self._disk.read()

    def latch(self, latch: Latch) -> None:
        """Durable when it returns; it has a handle of its own."""
        if self._process.dead:
            raise Killed
        self._disk.latch(latch)
        self._faults.reached("kill.latched")

    def acknowledge(self, by: str, reason: str, at: int) -> None:
        """A person clears it."""
        self._disk.acknowledge(by, reason, at)


class HostClock:
    """The daemon's clock: the true one, and what is wrong with it. Never goes back within a life, as the port promises."""

    def __init__(self, true: Clock, faults: Faults) -> None:
        self._true = true
        self._faults = faults
        self._onward = Onward()
        self._asked_us = self._told_us = -1
        self.off_us = 0
        """By how much its last answer was wrong."""
        self.slept_us = 0
        """How long the host has slept in this life."""

    def now_us(self) -> int:
        """Microseconds UTC as the host believes them."""
        true_us = now = self._true.now_us()
        if true_us == self._asked_us and self._faults.calm:
            return self._told_us  # it is asked several times at one moment
        for active in () if self._faults.calm else self._faults.active("clock"):
            if active.kind in ("clock.skew", "clock.step"):
                now += round(active.number("d_s") * SECOND_US)
            elif active.kind == "clock.drift":
                now += round((now - active.began_us) * active.number("ppm") / 1_000_000)
        now = self._onward.follow(now, true_us)
        self.off_us = now - true_us
        self._asked_us, self._told_us = true_us, now
        return now

    def steady_us(self) -> int:
        """Microseconds in which the host was awake."""
        return self._true.now_us() - self.slept_us


class LeapingClock(trio.abc.Clock):
    """The clock of a simulation: time goes straight to the next deadline once every task waits, and it may leap.

    A `PacedClock` without a pace: nothing here ever waits for a real file or socket, so there is nothing to measure. What wakes every
    second waits by `sleep_until`: a fifth of what `trio.sleep` costs, which ends by being cancelled.
    """

    def __init__(self) -> None:
        self._now = 0.0
        self._alarms: list[tuple[float, int, trio.lowlevel.Task]] = []
        self._count = 0

    def start_clock(self) -> None:
        """Called once by trio when the run begins."""

    def current_time(self) -> float:
        """Simulated seconds since the beginning of the run."""
        return self._now

    def deadline_to_sleep_time(self, deadline: float) -> float:
        """Called by trio when nothing is runnable: then it is `deadline`, or the first alarm."""
        alarms = self._alarms
        due = min(deadline, alarms[0][0]) if alarms else deadline
        if due == inf:
            return inf
        self._now = max(self._now, due)
        while alarms and alarms[0][0] <= self._now:
            trio.lowlevel.reschedule(heappop(alarms)[2])
        return 0.0

    async def sleep_until(self, at: float) -> None:
        """Wait until it is `at`. Only once nothing else can run is a waiting task woken."""
        if at <= self._now:
            await trio.lowlevel.checkpoint()
            return
        self._count += 1
        alarm = at, self._count, trio.lowlevel.current_task()
        heappush(self._alarms, alarm)

        def give_up(_raise_cancel: object) -> trio.lowlevel.Abort:
            self._alarms.remove(alarm)
            heapify(self._alarms)
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(give_up)

    def sleep(self, seconds: float) -> Awaitable[None]:
        """Wait for so long."""
        return self.sleep_until(self._now + seconds)

    def leap(self, seconds: float) -> None:
        """Time passes in which no task runs."""
        self._now += seconds

"""The machine that a storm's daemon runs on: a disk, one process after another, and what befalls them.

Shows itself to the daemon as its `Host`, and to the faults of the host as what they strike.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import trio
from pydantic import ValidationError

from config.settings import Settings
from protocol.messages.control import Alert
from protocol.units import SECOND_US, seconds_us
from sim.clock import SimulatedClock
from sim.faults import Plan
from sim.faults.host import Book, Disk, HostClock, Killed, LeapingClock, Process
from sim.faults.hosting import CHILD_DOWN, LIFE, Hosting
from sim.faults.timeline import Faults
from sim.storm.host import Live
from sim.storm.witness import Witness
from sim.venue import Venue
from sim.venue.memory import InMemory


class Machine:
    """`sim.storm.host.Host` and `sim.faults.hosting.Daemon`. `jump` is the clock of the run, `true` what it is outside; `rng` says how
    long each process takes to come back.
    """

    process: Process
    clock: HostClock
    book: Book

    def __init__(
        self,
        disk: Disk,
        settings: Settings,
        plan: Plan,
        venue: Venue,
        faults: Faults,
        witness: Witness,
        *,
        jump: LeapingClock,
        true: SimulatedClock,
        rng: np.random.Generator,
    ) -> None:
        self.disk, self.settings, self.venue, self.faults, self.witness = disk, settings, venue, faults, witness
        self.watch = witness.said
        self.lives = 0
        self.closed_by: Callable[[], tuple[str, ...]] = tuple
        """What keeps entries in."""
        self.waiting: Callable[[], int] = int
        """How many messages wait in the fullest mailbox."""
        self._evidence = witness.evidence
        self._jump, self._true, self._rng = jump, true, rng
        self._may_hamper = any(fault.fault in CHILD_DOWN for fault in plan.faults)
        self._hosting = Hosting(self)
        self._asked: str | None = None
        self._news = trio.Event()

    # --- processes ----------------------------------------------------------------------------------------------

    async def run(self, live: Live) -> None:
        """One process after another, as a service manager has it."""
        while True:
            down_s = float(self._rng.uniform(0.5, 20))
            if self._may_start():
                await self._one_life(live)
                self.witness.note("dead", "host", str(self.lives))
            await trio.sleep(down_s)

    def _may_start(self) -> bool:
        """Whether the settings are such that a daemon begins at all."""
        settings = self._hosting.mutated()
        if settings is None:
            return True
        try:
            Settings.model_validate(settings)
        except ValidationError as refusal:
            self.witness.note("refuses to start", "host", str(refusal).splitlines()[1])
            self._evidence.once("bad setting refused at the start")
            return False
        raise AssertionError(f"the daemon would start under {settings}")

    async def _one_life(self, live: Live) -> None:
        witness, evidence = self.witness, self._evidence
        self.lives += 1
        LIFE.set(self.lives)
        self.process = Process(self.lives, self.faults)
        self.clock = HostClock(self._true, self.faults)
        self.book = Book(self.disk, self.process, self.faults, witness.watchers.wrote)
        self._crash: Callable[[str, Exception], bool] = lambda child, error: False
        self.closed_by, self.waiting = tuple, int
        witness.watchers.began(self.lives, damaged=self.disk.damaged)
        witness.note("starts", "host", str(self.lives))
        if self.lives > 1:
            self.faults.reached("restart")
        try:
            async with trio.open_nursery() as nursery:
                self._scope = nursery.cancel_scope
                await live(self)
                nursery.cancel_scope.cancel()
        except* Killed:
            self._died()
        except* Exception as group:
            witness.note("gave up", "host", repr(group.exceptions))
            evidence.once("process gave up")
        if self.book.lose() and self.process.dead:
            evidence.once("journal tail cut")
        self.process.dead = True
        evidence.ended()

    def _died(self) -> None:
        evidence = self._evidence
        evidence.once("process killed")
        last = evidence.sent[-1] if evidence.sent else None
        if (
            last is not None
            and last.op == "send"
            and last.life == self.lives
            and self._true.now_us() - last.at < SECOND_US
        ):
            evidence.once("killed within a second of an order")
        within_us = seconds_us(self.settings.execution.request_timeout_s)
        if any(evidence.unanswered(name, within_us) for name in evidence.under_way):
            evidence.once("killed between send and reply, the order live")
        evidence.under_way.clear()
        if evidence.positions:
            evidence.once("killed while a position is open")

    def clock_off_us(self) -> int:
        """By how much the daemon's clock is wrong."""
        return self.clock.off_us if self.lives else 0

    # --- what the daemon finds ------------------------------------------------------------------------------------

    def transport(self) -> Any:
        """An httpx transport over the faulty network."""
        return InMemory(self.venue.app)

    def connect(self, path: str) -> Any:
        """A WebSocket connection over the faulty network."""
        return self.venue.connect(path)

    def sleep(self, seconds: float) -> Awaitable[None]:
        """Wait for so long."""
        return self._jump.sleep(seconds)

    def tell(self, sender: str, alert: Alert) -> None:
        """What a person is told."""
        for active in self.faults.active("person"):
            if active.kind == "op.sink":
                self.faults.strikes(active)  # nobody hears it now: it must be in the journal
        self.witness.told(sender, alert)

    def gate_changed(self, what: str, is_open: bool) -> None:
        """The gate opens or closes for one reason."""
        self._news.set()
        self.witness.gate_changed(what, is_open)

    def kill_requested(self) -> str | None:
        """The file that a person leaves in the state directory."""
        return self._asked

    async def kill_hint(self) -> None:
        """Until there is news of a person or the gate, and then as long as one who looks once a second would take to see it."""
        began = trio.current_time()
        await self._news.wait()
        self._news = trio.Event()
        await self.sleep((began - trio.current_time()) % 1)

    @property
    def may_hamper(self) -> bool:
        """Whether the plan holds up a child at all."""
        return self._may_hamper

    async def pause(self, child: str) -> None:
        """What a child waits for before it takes its next message."""
        await self._hosting.pause(child)

    def supervised(
        self,
        crash: Callable[[str, Exception], bool],
        closed_by: Callable[[], tuple[str, ...]],
        waiting: Callable[[], int],
    ) -> None:
        """How a child is let die, what keeps entries in, and how many messages wait in the fullest mailbox."""
        self._crash, self.closed_by, self.waiting = crash, closed_by, waiting

    # --- what befalls it ------------------------------------------------------------------------------------------

    @property
    def alive(self) -> bool:
        """Whether a process lives."""
        return self._evidence.life > 0 and not self.process.dead

    def crash_child(self, name: str, error: Exception) -> bool:
        """A child dies, if it lives; whether it did."""
        try:
            return self.alive and self._crash(name, error)
        except KeyError:
            return False  # it has not started yet

    def end_process(self, *, killed: bool) -> None:
        """The process ends: at once and wherever it is, or asked to."""
        if not self.alive:
            return
        if killed:
            self.process.dead = True
            self._died()
        self._scope.cancel()

    def roll_back(self, to_us: int) -> None:
        """The disk is an old copy."""
        self.disk.roll_back(to_us)
        self._evidence.rolled_back(to_us)

    def forget(self) -> None:
        """What was written down until now is damaged, and will not be read again."""
        self._evidence.journal.spoiled()

    def leap(self, seconds: float, *, asleep: bool = False) -> None:
        """Time passes in which nothing runs, the host's steady clock neither while it is `asleep`."""
        self.witness.note("leap", "host", f"{seconds:g}s")
        self._evidence.pass_time()
        self._jump.leap(seconds)
        if asleep and self.lives:
            self.clock.slept_us += round(seconds * SECOND_US)
        self.witness.watchers.leapt(seconds, asleep=asleep)

    # --- what a person does ---------------------------------------------------------------------------------------

    @property
    def asked_to_kill(self) -> str | None:
        """What a person has left in the state directory."""
        return self._asked

    @asked_to_kill.setter
    def asked_to_kill(self, reason: str | None) -> None:
        self._asked = reason
        self._news.set()

    def acknowledge(self) -> None:
        """A person acknowledges the latch: refused while anything is open, or the daemon runs and does not know of it."""
        e = self._evidence
        if not self.disk.state.latched or e.latched_reach is None or e.positions or e.engine.state.working:
            e.once("acknowledgement refused")
            return
        self.asked_to_kill = None
        self.disk.acknowledge("person", "storm", self._true.now_us())
        e.latched_reach = None
        self.witness.note("acknowledges", "person", "")
        self._scope.cancel()

    def restart(self) -> None:
        """A person ends the process, and the next one starts."""
        self.witness.note("restarts", "person", "")
        self._scope.cancel()

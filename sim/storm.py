"""One storm: a seed stands for a market, a plan of faults and a daemon that must survive them.

Safety phase: faults strike, nothing bad may happen. Then the world is healed; liveness phase: what should be true must become
true. The daemon itself is an argument (`Live`): this room knows processes, a disk and a network, and no actor.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, MutableSequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Final, Protocol

import msgspec
import numpy as np
import trio
from pydantic import ValidationError

from config.settings import Settings
from protocol.messages.base import Message
from protocol.messages.control import Alert
from protocol.messages.futures import OrderUnknown, TradeClosed, TradeOpened
from protocol.units import SECOND_US, seconds_us
from sim.checkers import PRICES, Evidence, Failure, Load, Watchers
from sim.clock import SimulatedClock, stopwatch
from sim.engine import Engine
from sim.engine.state import to_bytes
from sim.faults import Plan, draw
from sim.faults.host import Book, Disk, HostClock, Killed, LeapingClock, Process
from sim.faults.hosting import CHILD_DOWN, LIFE, Hosting
from sim.faults.network import Reply, Request
from sim.faults.wiring import faulty_venue
from sim.garbage import rare_collections
from sim.market.columns import Columns
from sim.scene import BUSY, SETTINGS, YOUNG_ROWS, Scene, Tempo, scene_of, settings_at
from sim.venue import Venue
from sim.venue.markets import ROWS_MOST
from sim.venue.memory import InMemory

SAFETY_S: Final = 7200.0
LIVENESS_S: Final = 120.0
ACKNOWLEDGE_S: Final = 300.0
"""A person comes so long after the kill switch has latched, if the account is flat by then."""
RESUME_S: Final = 900.0
"""A person restarts a daemon that keeps entries halted for so long."""
ASKED_EVERY: Final = 1_000
"""Rounds of the scheduler between two looks at the operating system."""
STEPS_MOST: Final = 20
"""Shrinking gives up after so many runs."""


class Host(Protocol):
    """What a daemon finds where it runs. `supervised` is told the supervisor, whose children may be let die."""

    settings: Settings
    venue: Venue
    clock: HostClock
    book: Book

    def transport(self) -> Any:
        """An httpx transport."""
        ...

    def connect(self, path: str) -> Any:
        """A WebSocket connection as a context manager."""
        ...

    def kill_requested(self) -> str | None: ...

    async def kill_hint(self) -> None:
        """Waits until it is worth looking whether somebody asked."""
        ...

    def sleep(self, seconds: float) -> Awaitable[None]:
        """What is done every second waits here: cheaper than `trio.sleep`."""
        ...

    def watch(self, sender: str, message: Message) -> None: ...

    def tell(self, sender: str, alert: Alert) -> None: ...

    @property
    def may_hamper(self) -> bool:
        """Whether a child may ever have to wait."""
        ...

    async def pause(self, child: str) -> None:
        """A child waits here before it takes its next message."""
        ...

    def gate_changed(self, what: str, is_open: bool) -> None: ...

    def supervised(
        self,
        crash: Callable[[str, Exception], None],
        closed_by: Callable[[], tuple[str, ...]],
        waiting: Callable[[], int],
    ) -> None: ...


Live = Callable[[Host], Awaitable[None]]
"""One life of the daemon, until cancelled."""


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """What one run is made of. `schedule` seeds the scheduler's order apart from everything else; `tempo`: that, and not the seed's."""

    seed: int
    plan: Plan
    safety_s: float = SAFETY_S
    liveness_s: float = LIVENESS_S
    schedule: int = 0
    tempo: Tempo | None = None


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """How a storm ended. `failures`: (invariant, seconds into the run, what was seen), the first one first."""

    seed: int
    failures: tuple[tuple[int, float, str], ...]
    injected: dict[str, int]
    sometimes: dict[str, int]
    opened: int
    exits: dict[str, int]
    """Positions that were closed, by how."""
    lives: int
    events: int
    simulated_s: float
    run_s: float
    trace: str
    decisions: str
    books: str
    """Hash of the exchange's state at the end; how often it was reported counts for nothing."""

    @property
    def passed(self) -> bool:
        """Whether every invariant held."""
        return not self.failures


def case_of(seed: int, profile: str = "full", safety_s: float = SAFETY_S) -> Case:
    """The storm of a seed."""
    return Case(seed=seed, plan=draw(seed, profile, safety_s), safety_s=safety_s)


def run_case(case: Case, live: Live, trace: Callable[[str], None] | None = None, scene: Scene | None = None) -> Verdict:
    """One storm, start to end. `trace` gets each event as a line; `scene`: there, and not where the seed has it."""
    clock = LeapingClock()
    watch = stopwatch()
    storm = Storm(case, live, clock, trace, scene)
    try:
        with rare_collections(), scheduled(case.seed * 1_000_003 + case.schedule):
            trio.run(storm.run, clock=clock)
    except Exception as error:
        storm.evidence.failures.append(
            Failure(0, storm.true_clock_end, f"the simulation broke: {'; '.join(_leaves(error))}")
        )
    return storm.verdict(watch())


def _leaves(error: BaseException) -> list[str]:
    """What really went wrong, out of nested groups."""
    if isinstance(error, BaseExceptionGroup):
        return [leaf for inner in error.exceptions for leaf in _leaves(inner)]
    return [repr(error)]


@contextmanager
def scheduled(seed: int) -> Iterator[None]:
    """Trio's order of ready tasks, as its own hook for Hypothesis sets it, and nothing outside to wait for. The names are private: trio
    is pinned.
    """
    run: Any = trio._core._run
    usual = run._ALLOW_DETERMINISTIC_SCHEDULING, run._r, run.TheIOManager
    run._ALLOW_DETERMINISTIC_SCHEDULING, run._r, run.TheIOManager = True, Shuffler(seed), _deaf(run.TheIOManager)
    try:
        yield
    finally:
        run._ALLOW_DETERMINISTIC_SCHEDULING, run._r, run.TheIOManager = usual


def _deaf(manager: Any) -> Any:
    """Trio's way to the operating system, asked once in so many rounds: nothing in a storm waits for it but Ctrl-C."""

    class Deaf(manager):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self._rounds = 0

        def get_events(self, timeout: float) -> Any:
            """What has happened outside."""
            self._rounds += 1
            return super().get_events(timeout) if timeout or self._rounds % ASKED_EVERY == 0 else ()

    return Deaf


class Shuffler:
    """The one thing that trio asks of its generator in a storm, ten times a second: Knuth's linear congruence is quick, and good enough."""

    def __init__(self, seed: int) -> None:
        self._state = seed

    def shuffle(self, tasks: MutableSequence[Any]) -> None:
        """Any order, in place."""
        if len(tasks) == 1:
            return  # most often
        for last in range(len(tasks) - 1, 0, -1):
            self._state = (self._state * 6364136223846793005 + 1442695040888963407) % (1 << 64)
            other = (self._state >> 32) % (last + 1)
            tasks[last], tasks[other] = tasks[other], tasks[last]


@dataclass
class Storm:
    """One run. Make it, run it once, ask for the verdict."""

    case: Case
    live: Live
    trio_clock: LeapingClock
    trace: Callable[[str], None] | None = None
    scene: Scene | None = None
    settings: Settings = SETTINGS
    disk: Disk = field(default_factory=Disk)
    opened: int = 0
    exits: Counter[str] = field(default_factory=Counter)
    lives: int = 0
    events: int = 0
    closed_by: Callable[[], tuple[str, ...]] = tuple
    _waiting: Callable[[], int] = int

    async def run(self) -> None:
        """The whole storm."""
        rng = np.random.default_rng([self.case.seed, 0])
        scene = self.scene or scene_of(rng, self.case.tempo)
        tape, start, tempo = scene.tape, scene.start_us, scene.tempo
        self.settings = settings_at(tempo)
        self.start_us = start
        self._asked: str | None = None
        self._news = trio.Event()
        self._hash, self._decided = blake2b(digest_size=16), blake2b(digest_size=16)
        self._rng = rng
        self.true_clock = SimulatedClock(start, trio.current_time(), self.trio_clock.current_time)
        market = self.settings.market
        engine = Engine(tape.instruments, market.equity_usd, slippage_pct=market.slippage_pct)
        self.venue, self.faults = faulty_venue(
            self.case.plan, engine, Columns(tape), self.true_clock, self.settings.futures_of,
            tick_s=tempo.mark_s, candle_s=tempo.candle_s, beat_s=tempo.beat_s,
            rows_most=ROWS_MOST if tempo == BUSY else YOUNG_ROWS, seed=self.case.seed, wait=self._wait,
            on_request=self._request, on_frame=self._frame, on_report=self._report, on_second=self._second,
        )  # fmt: skip
        self.evidence = Evidence(
            engine, self.settings, self.faults, (self.venue.key, self.venue.secret), self.true_clock.now_us,
            tuple(self.settings.futures_of.values()), lambda: self.disk.state.latched, lambda: bool(self.book.failed),
            self._closed, self._load, self.kill_requested, self._clock_off_us, began_at=start,
        )  # fmt: skip
        self.watchers = Watchers(self.evidence)
        self.hosting = Hosting(self)
        async with trio.open_nursery() as nursery:
            self._scope = nursery.cancel_scope
            await nursery.start(self.faults.run)
            await nursery.start(self.venue.run)
            nursery.start_soon(self._host)
            nursery.start_soon(self._person)
            await trio.sleep(self.case.safety_s)
            self._note("healed", "storm", "")
            self.faults.heal()
            await trio.sleep(self.case.liveness_s)
            self.watchers.converged()
            nursery.cancel_scope.cancel()

    def verdict(self, run_s: float) -> Verdict:
        """What came of it."""
        e = self.evidence
        return Verdict(
            seed=self.case.seed,
            failures=tuple((f.invariant, (f.at - self.start_us) / SECOND_US, f.text) for f in e.failures[:5]),
            injected=dict(sorted(self.faults.injected.items())),
            sometimes=dict(sorted(e.sometimes.items())),
            opened=self.opened,
            exits=dict(sorted(self.exits.items())),
            lives=self.lives,
            events=self.events,
            simulated_s=(self.true_clock_end - self.start_us) / SECOND_US,
            run_s=run_s,
            trace=self._hash.hexdigest(),
            decisions=self._decided.hexdigest(),
            books=blake2b(to_bytes(msgspec.structs.replace(e.engine.state, frames=0)), digest_size=16).hexdigest(),
        )

    # --- what happens, for the checkers and the trace -----------------------------------------------------------

    def _note(self, what: str, who: str, detail: str) -> None:
        self.events += 1
        at = self.true_clock_end = self.true_clock.now_us()
        line = f"{(at - self.start_us) / SECOND_US:.6f} {who} {what} {detail}"
        self._hash.update(line.encode())
        if self.trace is not None:
            self.trace(line)
        if self.evidence.failures:
            self._scope.cancel()

    def _request(self, request: Request, reply: Reply | None) -> None:
        if reply is None:
            self.process.at("request")
            self._note(request.op, "request", " ".join(f"{k}={v}" for k, v in request.form.items()))
            if request.role in ("entry", "stop", "target", "exit"):
                self._decided.update(f"{request.at} {sorted(request.form.items())}".encode())
        self.watchers.request(request, reply)
        if reply is not None:
            self.process.at("reply")

    def _frame(self, feed: str, text: str) -> None:
        self.evidence.frame(feed, text)

    def _report(self, messages: Any) -> None:
        self.watchers.report(messages)
        for message in messages:
            self._note(type(message).__name__, "exchange", message.id)

    def watch(self, sender: str, message: Message) -> None:
        """What an actor says."""
        if type(message) in PRICES:  # most often
            self._note(type(message).__name__, sender, message.id)
            self.watchers.said(sender, message)
            return
        detail = message.id
        if isinstance(message, Alert):
            detail = f"{message.code} {message.text}"
        self._note(type(message).__name__, sender, detail)
        if isinstance(message, TradeClosed):
            self.exits[message.reason] += 1
        elif isinstance(message, TradeOpened):
            self.opened += 1
        elif isinstance(message, OrderUnknown):
            self.evidence.once("outcome unknown")
        self.watchers.said(sender, message)

    def tell(self, sender: str, alert: Alert) -> None:
        """What a person is told."""
        for active in self.faults.active("person"):
            if active.kind == "op.sink":
                self.faults.strikes(active)  # nobody hears it now: it must be in the journal
        self._note("told", sender, f"{alert.code} {alert.count} {alert.text}")
        self.watchers.told(alert)

    def gate_changed(self, what: str, is_open: bool) -> None:
        """The gate opens or closes for one reason."""
        self._news.set()
        self.evidence.gate_log.append((self.true_clock.now_us(), what, is_open))
        if what == "latch" and not is_open:
            self.evidence.latched_reach = self.evidence.reach_us
            self.evidence.once("latched")
        self._note("open" if is_open else "closed", "gate", what)

    def _wait(self, at: int) -> Awaitable[None]:
        return self.trio_clock.sleep_until(self.true_clock.trio_time(at))

    def _second(self) -> None:
        self.watchers.second()
        if self.evidence.failures:
            self._scope.cancel()

    def _closed(self) -> tuple[str, ...]:
        return self.closed_by()

    def _clock_off_us(self) -> int:
        return self.clock.off_us if self.lives else 0

    def _load(self) -> Load:
        return Load(self._waiting(), tuple(self.faults.under_way.values()), self.venue.streams)

    # --- the host -----------------------------------------------------------------------------------------------

    async def _host(self) -> None:
        """One process after another, as a service manager has it."""
        while True:
            self._down_s = float(self._rng.uniform(0.5, 20))
            if self._may_start():
                await self._one_life()
                self._note("dead", "host", str(self.lives))
            await trio.sleep(self._down_s)

    def _may_start(self) -> bool:
        """Whether the settings are such that a daemon begins at all."""
        settings = self.hosting.mutated()
        if settings is None:
            return True
        try:
            Settings.model_validate(settings)
        except ValidationError as refusal:
            self._note("refuses to start", "host", str(refusal).splitlines()[1])
            self.evidence.once("bad setting refused at the start")
            return False
        raise AssertionError(f"the daemon would start under {settings}")

    async def _one_life(self) -> None:
        self.lives += 1
        LIFE.set(self.lives)
        self.process = Process(self.lives, self.faults)
        self.clock = HostClock(self.true_clock, self.faults)
        self.book = Book(self.disk, self.process, self.faults, self.watchers.wrote)
        self._crash: Callable[[str, Exception], None] = lambda child, error: None
        self.closed_by, self._waiting = tuple, int
        self.watchers.began(self.lives)
        self._note("starts", "host", str(self.lives))
        if self.lives > 1:
            self.faults.reached("restart")
        try:
            async with trio.open_nursery() as nursery:
                self._process_scope = nursery.cancel_scope
                await self.live(self)
                nursery.cancel_scope.cancel()
        except* Killed:
            self._died()
        except* Exception as group:
            self._note("gave up", "host", repr(group.exceptions))
            self.evidence.once("process gave up")
        if self.book.lose() and self.process.dead:
            self.evidence.once("journal tail cut")
        self.process.dead = True
        self.evidence.ended()

    def _died(self) -> None:
        self.evidence.once("process killed")
        last = self.evidence.sent[-1] if self.evidence.sent else None
        if (
            last is not None
            and last.op == "send"
            and last.life == self.lives
            and self.true_clock.now_us() - last.at < SECOND_US
        ):
            self.evidence.once("killed within a second of an order")
        within_us = seconds_us(self.settings.execution.request_timeout_s)
        if any(self.evidence.unanswered(name, within_us) for name in self.evidence.under_way):
            self.evidence.once("killed between send and reply, the order live")
        self.evidence.under_way.clear()
        if self.evidence.positions:
            self.evidence.once("killed while a position is open")

    def transport(self) -> Any:
        """An httpx transport over the faulty network."""
        return InMemory(self.venue.app)

    def connect(self, path: str) -> Any:
        """A WebSocket connection over the faulty network."""
        return self.venue.connect(path)

    def sleep(self, seconds: float) -> Awaitable[None]:
        """Wait for so long."""
        return self.trio_clock.sleep(seconds)

    def kill_requested(self) -> str | None:
        """The file that a person leaves in the state directory."""
        return self._asked

    @property
    def asked_to_kill(self) -> str | None:
        """The same, for whoever is that person."""
        return self._asked

    @asked_to_kill.setter
    def asked_to_kill(self, reason: str | None) -> None:
        self._asked = reason
        self._news.set()

    async def kill_hint(self) -> None:
        """Until there is news of a person or the gate, and then as long as one who looks once a second would take to see it."""
        began = trio.current_time()
        await self._news.wait()
        self._news = trio.Event()
        await self.sleep((began - trio.current_time()) % 1)

    async def pause(self, child: str) -> None:
        """What a child waits for before it takes its next message."""
        await self.hosting.pause(child)

    @property
    def may_hamper(self) -> bool:
        """Whether the plan holds up a child at all."""
        return any(fault.fault in CHILD_DOWN for fault in self.case.plan.faults)

    def supervised(
        self,
        crash: Callable[[str, Exception], None],
        closed_by: Callable[[], tuple[str, ...]],
        waiting: Callable[[], int],
    ) -> None:
        """How a child is let die, what keeps entries in, and how many messages wait in the fullest mailbox."""
        self._crash, self.closed_by, self._waiting = crash, closed_by, waiting

    # --- faults of the host, and a person -----------------------------------------------------------------------

    @property
    def alive(self) -> bool:
        """Whether a process lives."""
        return self.evidence.life > 0 and not self.process.dead

    def crash_child(self, name: str, error: Exception) -> None:
        """A child dies, if it has started."""
        if self.alive:
            try:
                self._crash(name, error)
            except KeyError:
                return  # it has not started yet

    def end_process(self, *, killed: bool) -> None:
        """The process ends: at once and wherever it is, or asked to."""
        if not self.alive:
            return
        if killed:
            self.process.dead = True
            self._died()
        self._process_scope.cancel()

    def roll_back(self, to_us: int) -> None:
        """The disk is an old copy."""
        self.disk.roll_back(to_us)
        self.evidence.rolled_back(to_us)

    def leap(self, seconds: float, *, asleep: bool = False) -> None:
        """Time passes in which nothing runs, the host's steady clock neither while it is `asleep`."""
        self._note("leap", "host", f"{seconds:g}s")
        self.evidence.pass_time()
        self.trio_clock.leap(seconds)
        if asleep and self.lives:
            self.clock.slept_us += round(seconds * SECOND_US)
        self.watchers.leapt(seconds, asleep=asleep)

    def forget(self) -> None:
        """What was written down until now will not be read again."""
        self.evidence.rolled_back(0)

    def acknowledge(self) -> None:
        """A person acknowledges the latch: refused while anything is open, or the daemon runs and does not know of it."""
        e = self.evidence
        if not self.disk.state.latched or e.latched_reach is None or e.positions or e.engine.state.working:
            e.once("acknowledgement refused")
            return
        self.asked_to_kill = None
        self.disk.acknowledge("person", "storm", self.true_clock.now_us())
        e.latched_reach = None
        self._note("acknowledges", "person", "")
        self._process_scope.cancel()

    async def _person(self) -> None:
        """Acknowledges a latch once all is flat, and restarts a daemon that waits for a person."""
        halted_since: int | None = None
        while True:
            await trio.sleep(30)
            e, now = self.evidence, self.true_clock.now_us()
            if self.disk.state.latched:
                flat = not e.positions and not e.engine.state.working
                if flat and now - self.disk.state.at > ACKNOWLEDGE_S * SECOND_US and not self.faults.healed:
                    self.acknowledge()
                continue
            if not any(reason.startswith("gate.halt") for reason in self.closed_by()):
                halted_since = None
            elif halted_since is None:
                halted_since = now
            elif now - halted_since > RESUME_S * SECOND_US:
                halted_since = None
                self._note("restarts", "person", "")
                self._process_scope.cancel()


# --- many seeds, and the smallest plan that fails ------------------------------------------------------------------------


def shrink(case: Case, live: Live, first: Verdict, say: Callable[[str], None] = lambda text: None) -> Case:
    """The case with the fewest faults, in a bounded number of runs, that still breaks the same invariant."""
    wanted, runs = first.failures[0][0], 0
    best = case
    changed = True
    while changed and runs < STEPS_MOST:
        changed = False
        for place in range(len(best.plan.faults)):
            faults = best.plan.faults[:place] + best.plan.faults[place + 1 :]
            smaller = msgspec.structs.replace(best, plan=msgspec.structs.replace(best.plan, faults=faults))
            runs += 1
            verdict = run_case(smaller, live)
            if verdict.failures and verdict.failures[0][0] == wanted:
                best, changed = smaller, True
                say(f"{len(faults)} faults are enough")
                break
            if runs >= STEPS_MOST:
                break
    return best

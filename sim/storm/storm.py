"""One storm: a market, an exchange, a machine with a daemon on it, and a plan of faults, put together and run through both phases."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from hashlib import blake2b

import numpy as np
import trio
from msgspec.structs import replace

from protocol.messages.base import Message
from protocol.units import SECOND_US
from sim.checkers import Evidence, Failure, Load
from sim.clock import SimulatedClock, stopwatch
from sim.engine import Engine
from sim.engine.state import to_bytes
from sim.faults.host import Disk, LeapingClock
from sim.faults.network import Reply, Request
from sim.faults.wiring import faulty_venue
from sim.garbage import tidied_up
from sim.market.columns import Columns
from sim.storm.case import Case, Verdict
from sim.storm.host import Live
from sim.storm.machine import Machine
from sim.storm.person import person
from sim.storm.scene import BUSY, YOUNG_ROWS, Scene, scene_of, settings_at
from sim.storm.scheduling import scheduled
from sim.storm.witness import Witness
from sim.venue.markets import ROWS_MOST


def run_case(case: Case, live: Live, trace: Callable[[str], None] | None = None, scene: Scene | None = None) -> Verdict:
    """One storm, start to end. `trace` gets each event as a line; `scene`: there, and not where the seed has it."""
    with tidied_up():
        return _played(case, live, trace, scene)


def _played(case: Case, live: Live, trace: Callable[[str], None] | None, scene: Scene | None) -> Verdict:
    watch, clock = stopwatch(), LeapingClock()
    storm = Storm(case, clock, trace, scene)
    try:
        with scheduled(case.seed * 1_000_003 + case.schedule):
            trio.run(storm.run, live, clock=clock)
    except Exception as error:
        text = f"the simulation broke: {'; '.join(_leaves(error))}"
        storm.evidence.failures.append(Failure(0, storm.witness.last_us, text))
    return storm.verdict(watch())


def _leaves(error: BaseException) -> list[str]:
    """What really went wrong, out of nested groups."""
    if isinstance(error, BaseExceptionGroup):
        return [leaf for inner in error.exceptions for leaf in _leaves(inner)]
    return [repr(error)]


class Storm:
    """One run. Make it, run it once, ask for the verdict."""

    def __init__(
        self, case: Case, clock: LeapingClock, trace: Callable[[str], None] | None, scene: Scene | None
    ) -> None:
        self._case, self._jump, self._trace = case, clock, trace
        self._rng = np.random.default_rng([case.seed, 0])
        self._scene = scene or scene_of(self._rng, case.tempo, case.habits)
        self._scope = trio.CancelScope()

    async def run(self, live: Live) -> None:
        """The whole storm."""
        self._build()
        with self._scope:
            async with trio.open_nursery() as nursery:
                await nursery.start(self.faults.run)
                await nursery.start(self.venue.run)
                nursery.start_soon(self.machine.run, live)
                nursery.start_soon(person, self.machine, self.clock)
                await trio.sleep(self._case.safety_s)
                self.witness.note("healed", "storm", "")
                self.faults.heal()
                await trio.sleep(self._case.liveness_s)
                self.witness.watchers.converged()
                self._scope.cancel()

    def _build(self) -> None:
        """Everything, in the order in which one knows the other; what the exchange tells is told through `self`."""
        case, (_, tape, start_us, tempo, habits), disk = self._case, self._scene, Disk()
        settings = settings_at(tempo, habits)
        clock = self.clock = SimulatedClock(start_us, trio.current_time(), self._jump.current_time)
        engine = Engine(tape.instruments, settings.market.equity_usd, slippage_pct=settings.market.slippage_pct)
        self.venue, self.faults = faulty_venue(
            case.plan, engine, Columns(tape), clock, settings.futures_of,
            tick_s=tempo.mark_s, candle_s=tempo.candle_s, beat_s=tempo.beat_s,
            rows_most=ROWS_MOST if tempo == BUSY else YOUNG_ROWS, seed=case.seed, wait=self._wait,
            on_request=self._request, on_frame=self._frame, on_report=self._report, on_second=self._second,
        )  # fmt: skip
        self.evidence = Evidence(
            engine, settings, self.faults, (self.venue.key, self.venue.secret), clock.now_us,
            tuple(settings.futures_of.values()), lambda: disk.state.latched, lambda: bool(self.machine.book.failed),
            self._closed_by, self._load, lambda: self.machine.asked_to_kill, self._clock_off_us, began_at=start_us,
        )  # fmt: skip
        self.witness = Witness(self.evidence, clock, start_us, self._trace, self._scope.cancel)
        self.machine = Machine(
            disk, settings, case.plan, self.venue, self.faults, self.witness, jump=self._jump, true=clock, rng=self._rng
        )

    def verdict(self, run_s: float) -> Verdict:
        """What came of it."""
        e, witness, start_us = self.evidence, self.witness, self._scene.start_us
        return Verdict(
            seed=self._case.seed,
            failures=tuple((f.invariant, (f.at - start_us) / SECOND_US, f.text) for f in e.failures[:5]),
            injected=dict(sorted(self.faults.injected.items())),
            sometimes=dict(sorted(e.sometimes.items())),
            opened=witness.opened,
            exits=dict(sorted(witness.exits.items())),
            lives=self.machine.lives,
            events=witness.events,
            simulated_s=(witness.last_us - start_us) / SECOND_US,
            run_s=run_s,
            trace=witness.trace,
            decisions=witness.decisions,
            books=blake2b(to_bytes(replace(e.engine.state, frames=0)), digest_size=16).hexdigest(),
        )

    # --- what the checkers ask for -----------------------------------------------------------------------------------

    def _closed_by(self) -> tuple[str, ...]:
        return self.machine.closed_by()

    def _clock_off_us(self) -> int:
        return self.machine.clock_off_us()

    def _load(self) -> Load:
        return Load(self.machine.waiting(), tuple(self.faults.under_way.values()), self.venue.streams)

    # --- what the exchange tells ----------------------------------------------------------------------------------

    def _request(self, request: Request, reply: Reply | None) -> None:
        """At the network's edge: a process may die there, before the first has happened and after the other has."""
        if reply is None:
            self.machine.process.at("request")
        self.witness.request(request, reply)
        if reply is not None:
            self.machine.process.at("reply")

    def _frame(self, feed: str, text: str) -> None:
        self.evidence.feeds.frame(feed, text)

    def _report(self, messages: Sequence[Message]) -> None:
        self.witness.report(messages)

    def _second(self) -> None:
        self.witness.second()

    def _wait(self, at: int) -> Awaitable[None]:
        return self._jump.sleep_until(self.clock.trio_time(at))

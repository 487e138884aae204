"""One backtest: the same parts, routes and door over a tape and the exchange engine, by either driver."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trio

from actors.door import Door
from actors.gate import Gate
from actors.ledger.pages import NO_SEAL, Record, pack, seal
from actors.modes.account import SYNTHETIC_DAYS, engine_for
from actors.shell import World
from actors.strategy import bulk
from actors.supervisor import Supervisor
from actors.tree import CHILDREN, LEASES, ROUTES
from config.settings import Settings
from protocol.messages.base import Message
from protocol.messages.control import Latch
from protocol.ports import LatchState
from protocol.units import Timeframe
from sim import scan
from sim.clock import PacedClock, SimulatedClock, work_meter
from sim.direct import Direct
from sim.files import BadPeriod, when
from sim.loop import Result, run
from sim.report.document import find
from sim.stage import Stage
from sim.tape import Tape

Files = Mapping[str, Path]
Progress = Callable[[int, int], None]

RECONCILE_S = 30 * 86_400.0
IDLE_S = 120.0
PAGE_STEPS = 4096


@dataclass
class MemoryBook:
    """Journal and latch store of a backtest, in memory: sealed pages of every step that was taken, as the daemon's ledger has them.

    What was decided on candles nobody stepped through is kept as columns (`replay.Reads`) by whoever looked ahead.
    """

    memories: dict[str, bytes] = field(default_factory=dict)
    state: LatchState = field(default_factory=lambda: LatchState(latched=False))
    pages: list[bytes] = field(default_factory=list)
    steps: int = 0
    seal: str = NO_SEAL
    _records: list[Record] = field(default_factory=list)

    def record(self, actor: str, message: Message, answers: Sequence[Message]) -> None:
        """Note one step."""
        self._records.append((actor, message, tuple(answers)))
        if len(self._records) == PAGE_STEPS:
            self.turn()

    def turn(self) -> None:
        """Seal the page that is being written, if anything stands on it."""
        if not self._records:
            return
        page, first = pack(self._records), self.steps + 1
        self.steps += len(self._records)
        self.seal = seal(self.seal, 1, first, self.steps, page)
        self.pages.append(page)
        self._records.clear()

    def keep(self, actor: str, memory: bytes) -> None:
        """Replace what `actor` remembers."""
        self.memories[actor] = memory

    def flush(self) -> None:
        """Memory is as durable as the run."""

    def memory(self, actor: str) -> bytes | None:
        """What `actor` last asked to keep."""
        return self.memories.get(actor)

    def read(self) -> LatchState:
        """The latch."""
        return self.state

    def latch(self, latch: Latch) -> None:
        """Latch, for the rest of the run."""
        self.state = LatchState(latched=True, reason=latch.reason, by=latch.by, at=latch.at)

    def acknowledge(self, by: str, reason: str, at: int) -> None:
        """Nobody acknowledges in a backtest."""
        raise NotImplementedError


def run_backtest(
    settings: Settings,
    *,
    data: Files,
    perp: Files,
    funding: Files,
    history: Mapping[tuple[str, Timeframe], Path] | None = None,
    start_us: int | None,
    end_us: int | None,
    driver: str,
    on_progress: Progress = lambda done, total: None,
    report: Path | None = None,
) -> dict[str, Any]:
    """The result as plain data, and as an HTML file when `report` names one. Without `data` the synthetic market is traded.

    Raises BadCandleFile, BadPeriod, and OSError when the report cannot be written.
    """
    settings = for_history(settings, data)
    tape = (
        Tape.recorded(
            settings,
            data,
            perp=perp,
            funding=funding,
            history=history,
            start_ms=None if start_us is None else start_us // 1000,
            end_ms=None if end_us is None else end_us // 1000,
        )
        if data
        else _period(Tape.synthetic(settings, days=SYNTHETIC_DAYS), settings, start_us, end_us)
    )
    bulk.load(settings.strategy)
    scan.load()
    worked_s = work_meter()
    result = DRIVERS[driver](settings, tape, on_progress)
    run_s = round(worked_s(), 3)
    found = find(settings, tape, result, _sources(settings, data, perp, funding))
    if report is not None:
        from sim.report.html import report as page

        report.write_text(page(f"Backtest: {', '.join(tape.symbols)}", settings, tape, result, found), encoding="utf-8")
    return found.document | {"run_s": run_s}


def _sources(settings: Settings, data: Files, perp: Files, funding: Files) -> dict[str, str]:
    """Where basis and funding come from, in words."""
    if not data:
        return {
            "basis": "stochastic, of the seeded synthetic market",
            "funding": "hourly, of the seeded synthetic market",
        }
    real, paid = ([symbol for symbol in data if symbol in files] for files in (perp, funding))
    rest, free = ([symbol for symbol in data if symbol not in files] for files in (perp, funding))
    return {
        "basis": "; ".join(
            [f"historical, perpetual candles of {', '.join(real)}"] * bool(real)
            + [f"{_modelled(settings)} for {', '.join(rest)}"] * bool(rest)
        ),
        "funding": "; ".join(
            [f"hourly, historical rates of {', '.join(paid)}"] * bool(paid)
            + [f"none is paid on {', '.join(free)}"] * bool(free)
        ),
    }


def _modelled(settings: Settings) -> str:
    """The basis where no perpetual was recorded, in words."""
    market = settings.market
    if market.basis == "stochastic":
        return f"stochastic, seed {market.seed},"
    return f"static, {market.basis_pct} %," if market.basis_pct else "none"


def _period(whole: Tape, settings: Settings, start_us: int | None, end_us: int | None) -> Tape:
    """The part of the synthetic market that is traded; what lies before it is history. Raises BadPeriod."""
    start = whole.start_us if start_us is None else start_us
    end = whole.end_us if end_us is None else end_us
    if not whole.start_us <= start < end <= whole.end_us:
        raise BadPeriod(
            f"--start, --end: the synthetic market runs from {when(whole.start_us // 1000)} to "
            f"{when(whole.end_us // 1000)}; give days within it, or --data"
        )
    return Tape(tuple(whole.tracks.values()), settings, start, end)


def for_history(settings: Settings, data: Files) -> Settings:
    """Only the symbols there is data for; intervals without trades are filled, as the design says for backtests.

    Nothing is lost between this daemon and its exchange, so the periodic reading of the truth and the proofs of life may be rare.
    """
    symbols = tuple(s for s in settings.symbols if s.spot in data) if data else settings.symbols
    strategy = settings.strategy.model_copy(update={"gap_policy": "fill"})
    execution = settings.execution.model_copy(update={"reconcile_s": RECONCILE_S})
    feeds = settings.feeds.model_copy(update={"spot_idle_s": IDLE_S, "futures_idle_s": IDLE_S})
    return settings.model_copy(
        update={"symbols": symbols, "strategy": strategy, "execution": execution, "feeds": feeds}
    )


def by_loop(settings: Settings, tape: Tape, progress: Progress, *, skip: bool = True) -> Result:
    """The fast driver: one plain loop. `skip`: what would change nothing is left out."""
    book = MemoryBook()
    world = _world(settings, None, book)
    engine = engine_for(settings, tape)
    result = run(
        [spec.build(world) for spec in CHILDREN],
        ROUTES,
        gate=world.gate,
        door=world.door,
        engine=engine,
        tape=tape,
        settings=settings,
        record=book.record,
        latch=book.latch,
        progress=progress,
        skip=skip,
    )
    book.turn()
    return result


def by_trio(settings: Settings, tape: Tape, progress: Progress) -> Result:
    """The shell of live trading, under a clock that only jumps."""
    result = Result(tape.start_us, tape.end_us)
    stage = Stage(tape, engine_for(settings, tape), settings)

    async def main() -> None:
        direct = Direct(stage, SimulatedClock(tape.start_us), settings)
        world = _world(settings, direct, MemoryBook(), result.watch)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(Supervisor(CHILDREN, world).run)
            await direct.play()
            nursery.cancel_scope.cancel()

    trio.run(main, clock=PacedClock())
    result.close(stage, settings)
    progress(1, 1)
    return result


DRIVERS = {"loop": by_loop, "trio": by_trio}


def _world(
    settings: Settings,
    direct: Direct | None,
    book: MemoryBook,
    watch: Callable[[str, Message], None] = lambda sender, message: None,
) -> World:
    gate = Gate(LEASES, book.read())
    nothing: Any = None
    return World(
        settings=settings,
        clock=nothing if direct is None else direct.clock,
        spot=nothing if direct is None else direct.spot,
        futures=nothing if direct is None else direct.futures,
        journal=book,
        latch_store=book,
        gate=gate,
        door=Door(settings, gate),
        routes=ROUTES,
        jitter=lambda: 0.5,
        watch=watch,
    )

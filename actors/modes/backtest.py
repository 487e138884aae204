"""One backtest: the same parts, routes and door over a tape and the exchange engine, by either driver."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from shutil import rmtree
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import numpy as np
import trio
from numpy.typing import NDArray

from actors.door import Door
from actors.gate import Gate
from actors.ledger.pages import NO_SEAL, Record, seal, written
from actors.modes.account import SYNTHETIC_DAYS, engine_for
from actors.shell import World
from actors.strategy import bulk
from actors.supervisor import Supervisor
from actors.tree import CHILDREN, LEASES, ROUTES
from config.settings import Settings, StoreSettings
from protocol.messages.base import Message
from protocol.messages.control import Latch
from protocol.ports import LatchState
from protocol.units import MINUTE_US, Timeframe
from sim.clock import PacedClock, SimulatedClock, work_meter
from sim.direct import Direct
from sim.garbage import rare_collections
from sim.loop import Result, run
from sim.market import crossing
from sim.market.files import BadPeriod, GapPolicy, when
from sim.market.tape import Tape
from sim.market.track import Track
from sim.report.document import find
from sim.skipping import scan
from sim.skipping.ahead import skippable
from sim.stage import Stage

Files = Mapping[str, Path]
"""Spot symbol -> file."""
Progress = Callable[[int, int], None]
Write = Callable[[str, Message, Sequence[Message]], None]

RECONCILE_S = 30 * 86_400.0
IDLE_S = 120.0
PAGE_STEPS = 4096


@dataclass
class MemoryBook:
    """Journal and latch store of a backtest, in memory: every step that was taken is sealed, page by page, as in the daemon's ledger. Of
    the pages only the seal is kept.

    What was decided on candles nobody stepped through is kept as columns (`replay.Reads`) by whoever looked ahead.
    """

    memories: dict[str, Callable[[], bytes]] = field(default_factory=dict)
    state: LatchState = field(default_factory=lambda: LatchState(latched=False))
    steps: int = 0
    seal: str = NO_SEAL
    copy: Write | None = None
    """Whoever else is to write each step down."""
    _records: list[Record] = field(default_factory=list)

    def record(self, actor: str, message: Message, answers: Sequence[Message]) -> None:
        """Note one step."""
        records = self._records
        records.append((actor, message, answers))
        if self.copy is not None:
            self.copy(actor, message, answers)
        if len(records) == PAGE_STEPS:
            self.turn()

    def turn(self) -> None:
        """Seal the page that is being written, if anything stands on it."""
        if not self._records:
            return
        page, first = written(self._records), self.steps + 1
        self.steps += len(self._records)
        self.seal = seal(self.seal, 1, first, self.steps, page)
        self._records.clear()

    def keep(self, actor: str, memory: Callable[[], bytes]) -> None:
        """Replace what `actor` remembers."""
        self.memories[actor] = memory

    def flush(self) -> None:
        """Memory is as durable as the run."""

    def memory(self, actor: str) -> bytes | None:
        """What `actor` last asked to keep."""
        return self.memories[actor]() if actor in self.memories else None

    def read(self) -> LatchState:
        """The latch."""
        return self.state

    def latch(self, latch: Latch) -> None:
        """Latch, for the rest of the run."""
        self.state = LatchState(latched=True, reason=latch.reason, by=latch.by, at=latch.at)

    def acknowledge(self, by: str, reason: str, at: int) -> None:
        """Nobody acknowledges in a backtest."""
        raise NotImplementedError


class Sources(msgspec.Struct, frozen=True, kw_only=True):
    """The files of a backtest by spot symbol; without `data` the synthetic market is traded.

    `path`: spot candles of 1 or 5 minutes, for the way inside the 15m ones; `history`: native longer candles from before.
    """

    data: dict[str, Path] = {}
    perp: dict[str, Path] = {}
    funding: dict[str, Path] = {}
    path: dict[str, Path] = {}
    history: dict[tuple[str, Timeframe], Path] = {}
    gap_policy: GapPolicy | None = None
    """None: what the settings say of it."""

    def only(self, symbols: Collection[str]) -> Sources:
        """The files of some symbols."""
        kinds = {kind: {s: f for s, f in getattr(self, kind).items() if s in symbols} for kind in KINDS}
        history = {key: file for key, file in self.history.items() if key[0] in symbols}
        return msgspec.structs.replace(self, **kinds, history=history)


KINDS = ("data", "perp", "funding", "path")
"""Files of which there is at most one a symbol."""


def run_backtest(
    settings: Settings,
    sources: Sources,
    *,
    start_us: int | None,
    end_us: int | None,
    driver: str,
    on_progress: Progress = lambda done, total: None,
    report: Path | None = None,
    state: Path | None = None,
) -> dict[str, Any]:
    """The result as plain data, and as an HTML file when `report` names one. `state`: where to keep the journal, in place of
    that of an earlier backtest; without it only its seal is known in the end.

    Raises BadCandleFile, BadPeriod, and OSError when the report cannot be written; of the journal JournalFailed.
    """
    settings = for_history(settings, sources.data, sources.gap_policy)
    tape = (
        Tape.recorded(
            settings,
            sources.data,
            perp=sources.perp,
            funding=sources.funding,
            path=sources.path,
            history=sources.history,
            start_ms=None if start_us is None else start_us // 1000,
            end_ms=None if end_us is None else end_us // 1000,
            gap_policy=settings.strategy.gap_policy,
        )
        if sources.data
        else _period(Tape.synthetic(settings, days=SYNTHETIC_DAYS), settings, start_us, end_us)
    )
    bulk.load(settings.strategy)
    scan.load()
    crossing.load()
    worked_s = work_meter()
    with journal(settings, state) as copy, rare_collections():
        book = MemoryBook(copy=copy)
        result = DRIVERS[driver](settings, tape, on_progress, book)
    run_s = round(worked_s(), 3)
    found = find(settings, tape, result, told_sources(settings, tape, sources))
    if report is not None:
        from sim.report.html import report as page
        from sim.report.page import keep

        keep(page(f"Backtest: {', '.join(tape.symbols)}", settings, tape, result, found), report)
    return found.document | {"audit": {"steps": book.steps, "seal": book.seal}, "run_s": run_s}


@contextmanager
def journal(settings: Settings, state: Path | None) -> Iterator[Write | None]:
    """A journal as the daemon's, in the mode `backtest`: `explain` reads it."""
    if state is None:
        yield None
        return
    from actors.ledger.journal import open_ledger
    from actors.ledger.store import database_url

    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    with TemporaryDirectory(dir=state, prefix=".journal-") as beside:
        url = database_url(StoreSettings(directory=beside), settings.mode, settings.env)
        with open_ledger(url, settings=settings.model_dump_json()) as ledger:
            yield ledger.record
        (made,) = Path(beside).iterdir()
        rmtree(state / made.name, ignore_errors=True)
        made.replace(state / made.name)


def told_sources(settings: Settings, tape: Tape, sources: Sources) -> dict[str, str]:
    """Where basis, funding and the way inside the candles come from, in words."""
    path = "; ".join(_path_of(tape, track) for track in tape.tracks.values() if track.finer is not None)
    coarse = f"{COARSE}; marks {_often(settings.market.tick_s)} on it while anything is open"
    told = {"path": f"{path}; elsewhere {coarse}" if path else coarse}
    if not sources.data:
        return told | {
            "basis": "stochastic, of the seeded synthetic market",
            "funding": "hourly, of the seeded synthetic market",
        }
    tracks = tape.tracks.values()
    real = [_told_of(tape, track, track.basis_known) for track in tracks if track.basis_known is not None]
    paid = [_told_of(tape, track, track.funding_known) for track in tracks if track.funding_known is not None]
    rest = [track.spot_symbol for track in tracks if track.basis_known is None]
    free = [track.spot_symbol for track in tracks if track.funding_known is None]
    return told | {
        "basis": "; ".join(
            [f"historical, perpetual candles of {', '.join(real)}"] * bool(real)
            + [f"{_modelled(settings)} for {', '.join(rest)}"] * bool(rest)
        ),
        "funding": "; ".join(
            [f"hourly, historical rates of {', '.join(paid)}"] * bool(paid)
            + [f"{_paid(settings)} on {', '.join(free)}"] * bool(free)
        ),
        "history": ", ".join(
            f"{symbol} {timeframe} " + (f"({count:,})" if count else "(unused: they do not lead up to the 15m candles)")
            for (symbol, timeframe), count in tape.led.items()
        )
        or "none",
    }


COARSE = "open, extreme against the candle, other extreme, close"


def _often(tick_s: int) -> str:
    return "each second" if tick_s == 1 else f"every {tick_s} seconds"


def _path_of(tape: Tape, track: Track) -> str:
    share = tape.share_pct(track, track.path.known)
    return f"candles of {track.path.step_us // MINUTE_US} minutes tell {share} % of {track.spot_symbol}"


def _told_of(tape: Tape, track: Track, known: NDArray[np.bool_]) -> str:
    """A symbol whose source tells the run, or how much of it."""
    share = tape.share_pct(track, known)
    return (
        track.spot_symbol
        if share == 100
        else f"{track.spot_symbol} ({share} % of the run; elsewhere as the nearest known)"
    )


def _paid(settings: Settings) -> str:
    """The funding where no rates were recorded, in words."""
    market = settings.market
    if market.funding == "stochastic":
        return f"stochastic, seed {market.seed},"
    return f"static, {market.funding_pct} % an hour," if market.funding_pct else "none is paid"


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


def for_history(settings: Settings, data: Files, gap_policy: GapPolicy | None = None) -> Settings:
    """Only the symbols there is data for; intervals without trades are filled unless the caller, or a person's settings, say otherwise.

    Nothing is lost between this daemon and its exchange, so the periodic reading of the truth and the proofs of life may be rare.
    """
    symbols = tuple(s for s in settings.symbols if s.spot in data) if data else settings.symbols
    strategy = settings.strategy
    if gap_policy is not None or "gap_policy" not in strategy.model_fields_set:
        strategy = strategy.model_copy(update={"gap_policy": gap_policy or "fill"})
    execution = settings.execution.model_copy(update={"reconcile_s": RECONCILE_S})
    feeds = settings.feeds.model_copy(update={"spot_idle_s": IDLE_S, "futures_idle_s": IDLE_S})
    return settings.model_copy(
        update={"symbols": symbols, "strategy": strategy, "execution": execution, "feeds": feeds}
    )


def by_loop(
    settings: Settings, tape: Tape, progress: Progress, book: MemoryBook | None = None, *, skip: bool = True
) -> Result:
    """The fast driver: one plain loop. `skip`: what would change nothing is left out, where that can be known."""
    book = book or MemoryBook()
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
        skip=skip and skippable(settings, tape),
    )
    book.turn()
    return result


def by_trio(settings: Settings, tape: Tape, progress: Progress, book: MemoryBook | None = None) -> Result:
    """The shell of live trading, under a clock that only jumps."""
    book = book or MemoryBook()
    result = Result(tape.start_us, tape.end_us)
    stage = Stage(tape, engine_for(settings, tape), settings)

    async def main() -> None:
        direct = Direct(stage, SimulatedClock(tape.start_us), settings)
        world = _world(settings, direct, book, result.watch)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(Supervisor(CHILDREN, world).run)
            await direct.play()
            nursery.cancel_scope.cancel()

    trio.run(main, clock=PacedClock())
    book.turn()
    result.close(stage)
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
        behind_s=0 if settings.market.latency_ms else None,
    )

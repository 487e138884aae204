"""The composition root: the only file where backtest, paper and live differ.

Ports meet their real or simulated forms here and nowhere else. Everything below is one tree.
"""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from enum import IntEnum
from functools import partial
from pathlib import Path

import numpy as np
import trio

from actors.door import Door
from actors.gate import Gate
from actors.gateway.futures import FuturesGateway
from actors.gateway.secret import Secret
from actors.gateway.spot import SpotGateway
from actors.kill_switch.plan import kill_id, plan
from actors.ledger.journal import Ledger, open_ledger
from actors.ledger.store import database_url
from actors.monitor.status import StatusPage
from actors.shell import World
from actors.state import StateDirectory
from actors.supervisor import Supervisor
from actors.tree import CHILDREN, LEASES, ROUTES
from config.settings import Settings
from protocol.messages.base import Message, from_edge
from protocol.messages.control import KillProgress, Latch
from protocol.messages.futures import CommandAnswered, SnapshotFailed, TradeClosed
from protocol.ports import Clock, FuturesExchange, LatchState, SpotMarket
from sim.clock import PacedClock, SimulatedClock
from sim.engine import Engine
from sim.tape import Tape
from sim.venue import Venue

HOUSEKEEPING_REAL_S = 0.25
FLATTEN_TRIES = 30
SYNTHETIC_DAYS = 365

Watch = Callable[[str, Message], None]


class End(IntEnum):
    """How a run ended; the numbers are exit codes."""

    DONE = 0
    LATCHED = 3


class Refused(Exception):
    """A safety gate says no; the text says which and what to do."""


@dataclass(frozen=True)
class Site:
    """The world a tree runs in."""

    clock: Clock
    spot: SpotMarket
    futures: FuturesExchange


OpenSite = Callable[[Settings, StateDirectory], AbstractAsyncContextManager[Site]]


def site_of(settings: Settings) -> OpenSite:
    """Which world this mode and environment mean. Raises Refused for what is not implemented end to end."""
    match settings.mode, settings.env:
        case "paper", "dev":
            return simulated_venue
        case mode, env:
            raise Refused(
                f"mode {mode} in env {env} is not open yet: its path has not been run end to end. "
                "Use `run --mode paper --env dev`: nothing real is traded."
            )


@asynccontextmanager
async def simulated_venue(settings: Settings, state: StateDirectory) -> AsyncIterator[Site]:
    """The simulated exchange in memory, spoken to in Kraken's protocol by the real clients."""
    tape = Tape.synthetic(settings, days=SYNTHETIC_DAYS)
    engine = engine_for(settings, tape)
    if state.venue_file.exists():
        engine.restore(state.venue_file.read_bytes())
    clock = SimulatedClock(max(engine.state.now, tape.start_us))
    persist = partial(state.replace, state.venue_file)
    venue = Venue(
        engine,
        tape,
        clock,
        settings.futures_of,
        tick_s=settings.market.tick_s,
        seed=settings.market.seed,
        persist=persist,
    )
    async with trio.open_nursery() as nursery, venue.http_client() as http:
        await nursery.start(venue.run)
        yield Site(
            clock,
            SpotGateway(http, partial(venue.connect, "/v2"), clock),
            FuturesGateway(
                http,
                partial(venue.connect, "/ws/v1"),
                clock,
                key=venue.key,
                secret=Secret(venue.secret),
                settings=settings.execution,
            ),
        )
        persist(engine.save())
        nursery.cancel_scope.cancel()


def engine_for(settings: Settings, tape: Tape) -> Engine:
    """A new account on the exchange that lists the tape's contracts."""
    return Engine(
        tape.instruments,
        settings.market.equity_usd,
        taker_fee_pct=settings.risk.taker_fee_pct,
        maker_fee_pct=settings.risk.maker_fee_pct,
        slippage_pct=settings.market.slippage_pct,
    )


# --- the daemon --------------------------------------------------------------------------------------------


def run_daemon(
    settings: Settings,
    state: StateDirectory,
    watch: Watch,
    gate_changed: Callable[[str, bool], None],
    *,
    seconds: float | None = None,
    trades: int | None = None,
) -> End:
    """Run the tree until a signal, `seconds` of market time, or so many closed `trades`. `state` is owned. Raises Refused."""
    open_site = site_of(settings)
    url = database_url(settings.store, settings.mode, settings.env)
    with open_ledger(url, settings=settings.model_dump_json()) as ledger:
        daemon = Daemon(settings, state, ledger, watch, gate_changed, seconds, trades)
        return trio.run(daemon.run, open_site, clock=PacedClock(settings.market.speed))


@dataclass
class Daemon:
    """One run: the tree in its site, the ledger flushed and the status written as time passes."""

    settings: Settings
    state: StateDirectory
    ledger: Ledger
    watch: Watch
    gate_changed: Callable[[str, bool], None]
    seconds: float | None
    trades: int | None

    async def run(self, open_site: OpenSite) -> End:
        """Until told to stop; then the children stop in reverse order and everything is written down."""
        self._status = StatusPage()
        self._ended = End.DONE
        self._latched_before = self.ledger.read().latched
        async with open_site(self.settings, self.state) as site, trio.open_nursery() as nursery:
            self._scope = nursery.cancel_scope
            gate = Gate(LEASES, self.ledger.read(), self.gate_changed)
            world = World(
                settings=self.settings,
                clock=site.clock,
                spot=site.spot,
                futures=site.futures,
                journal=self.ledger,
                latch_store=self.ledger,
                gate=gate,
                door=Door(self.settings, gate),
                routes=ROUTES,
                jitter=np.random.default_rng(self.settings.market.seed).random,
                kill_requested=self.state.kill_requested,
                watch=self._observe,
            )
            nursery.start_soon(self._stop_on_signal)
            nursery.start_soon(self._keep_house, world)
            if self.seconds is not None:
                nursery.start_soon(self._stop_after, self.seconds)
            await Supervisor(CHILDREN, world).run()
        self._write(world)
        return self._ended

    def _observe(self, sender: str, message: Message) -> None:
        self.watch(sender, message)
        self._status.observe(message)
        match message:
            case TradeClosed() if self.trades is not None:
                self.trades -= 1
                if self.trades == 0:
                    self._scope.cancel()
            case KillProgress(flat=True, working_orders=0) if self._latched_before:
                self._ended = End.LATCHED
                self._scope.cancel()
            case _:
                pass

    async def _stop_on_signal(self) -> None:
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async for _ in signals:
                self._scope.cancel()

    async def _stop_after(self, seconds: float) -> None:
        await trio.sleep(seconds)
        self._scope.cancel()

    async def _keep_house(self, world: World) -> None:
        while True:
            await trio.sleep(max(HOUSEKEEPING_REAL_S * self.settings.market.speed, 1.0))
            self._write(world)

    def _write(self, world: World) -> None:
        self.ledger.flush()
        self.state.write_status(self._status.page(world.gate, world.lives))


# --- the kill switch from outside ----------------------------------------------------------------------------


@dataclass(frozen=True)
class KillOutcome:
    """What came of `kill-switch --emergency`, for a person."""

    flat: bool
    text: str


def kill(settings: Settings, reason: str, by: str) -> KillOutcome:
    """Latch, then cancel and flatten: by the daemon when one is up, else on the exchange itself. Raises Refused."""
    open_site = site_of(settings)
    state = StateDirectory(Path(settings.store.directory), settings.mode, settings.env)
    if state.owned_by_other():
        state.request_kill(reason)
        return trio.run(_await_kill, state)
    state.own()
    try:
        with open_ledger(database_url(settings.store, settings.mode, settings.env)) as ledger:
            return trio.run(_kill_directly, settings, state, ledger, open_site, reason, by, clock=PacedClock())
    finally:
        state.release()


async def _await_kill(state: StateDirectory) -> KillOutcome:
    """The daemon looks each second; wait until its status says latched and flat."""
    for _ in range(FLATTEN_TRIES):
        page = state.read_status() or {}
        if page.get("latched") and not page.get("positions"):
            return KillOutcome(True, "latched; the daemon cancelled all orders and is flat")
        await trio.sleep(1)
    return KillOutcome(
        False,
        "the daemon has not reported flat within 30 s: look at `status`; stop it and run this again to act directly",
    )


async def _kill_directly(
    settings: Settings, state: StateDirectory, ledger: Ledger, open_site: OpenSite, reason: str, by: str
) -> KillOutcome:
    async with open_site(settings, state) as site:
        now = site.clock.now_us()
        latch = from_edge(Latch, now, reason, now, reason=reason, by=by)
        ledger.latch(latch)
        ledger.record("kill_switch", latch, ())
        ledger.flush()
        for attempt in range(FLATTEN_TRIES):
            truth = await site.futures.snapshot()
            if isinstance(truth, SnapshotFailed):
                await trio.sleep(1)
                continue
            wishes = plan(latch, kill_id(reason, now), truth.began_at + attempt, truth.orders, truth.positions)
            if not wishes:
                return KillOutcome(True, "latched; all orders are cancelled and every position is flat")
            for wish in wishes:
                ledger.record("kill_switch", wish, ())
                ledger.flush()
                for fact in await site.futures.send(wish):
                    ledger.record("kill_switch", fact, ())
                    if isinstance(fact, CommandAnswered) and fact.outcome == "unknown":
                        await trio.sleep(1)
        return KillOutcome(False, "latched, but the exchange still shows orders or positions: close them by hand NOW")


def latch_state(settings: Settings) -> LatchState:
    """What is written down of the kill switch; unlatched when no daemon has ever run."""
    from actors.ledger.journal import open_reader
    from actors.ledger.store import NoLedger

    try:
        with open_reader(database_url(settings.store, settings.mode, settings.env)) as reader:
            return reader.latch()
    except NoLedger:
        return LatchState(latched=False)


def acknowledge(settings: Settings, reason: str, by: str) -> str:
    """Clear the latch once nothing is open. Raises Refused while a daemon runs or the account is not flat."""
    open_site = site_of(settings)
    state = StateDirectory(Path(settings.store.directory), settings.mode, settings.env)
    if not latch_state(settings).latched:
        return "the kill switch is not latched: nothing to acknowledge"
    if state.owned_by_other():
        raise Refused("a daemon is running; stop it, then acknowledge")
    state.own()
    try:
        with open_ledger(database_url(settings.store, settings.mode, settings.env)) as ledger:
            at = trio.run(_require_flat, settings, state, open_site, clock=PacedClock())
            ledger.acknowledge(by, reason, at)
            state.forget_kill_request()
    finally:
        state.release()
    return f"acknowledged by {by}: {reason}. `run` may trade again"


async def _require_flat(settings: Settings, state: StateDirectory, open_site: OpenSite) -> int:
    async with open_site(settings, state) as site:
        truth = await site.futures.snapshot()
    if isinstance(truth, SnapshotFailed):
        raise Refused(f"the exchange could not be read ({truth.reason}): flat is not proven")
    still_open = [*(p.symbol for p in truth.positions if p.size), *(o.order_id for o in truth.orders)]
    if still_open:
        raise Refused(f"still open: {', '.join(still_open)}. Run `kill-switch --emergency` first")
    return truth.began_at


# --- the venue for others ------------------------------------------------------------------------------------


def serve_venue(settings: Settings, port: int, say: Callable[[str], None]) -> None:
    """Serve the simulated exchange on loopback until Ctrl-C; `say` gets the addresses and the key pair."""
    from sim.venue.serve import serve

    async def main() -> None:
        tape = Tape.synthetic(settings, days=SYNTHETIC_DAYS)
        clock = SimulatedClock(tape.start_us)
        market = settings.market
        venue = Venue(
            engine_for(settings, tape), tape, clock, settings.futures_of, tick_s=market.tick_s, seed=market.seed
        )
        async with trio.open_nursery() as nursery:
            address = await nursery.start(serve, venue, "127.0.0.1", port)
            socket = address.replace("http", "ws", 1)
            say(f"spot REST     {address}/0\nspot WS       {socket}/v2")
            say(f"futures REST  {address}/derivatives/api/v3\nfutures WS    {socket}/ws/v1")
            say(f"API key       {venue.key}\nAPI secret    {venue.secret}\nsimulated: no real money. Ctrl-C stops.")
            with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
                async for _ in signals:
                    nursery.cancel_scope.cancel()

    trio.run(main, clock=PacedClock(settings.market.speed))

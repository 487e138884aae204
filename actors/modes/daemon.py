"""One run of the daemon: the tree in its site, the ledger flushed and the status written as time passes."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import IntEnum
from functools import partial

import numpy as np
import trio

from actors.door import Door
from actors.futures_feed.actor import booked_until
from actors.gate import Gate
from actors.halts import release_of
from actors.ledger.journal import Ledger
from actors.modes.manual import hand_out, requests_in
from actors.modes.memories import ledger_of, must_serve_what_is_open
from actors.modes.sites import OpenSite, pace_of, site_of
from actors.monitor.status import StatusPage
from actors.shell import World
from actors.state import StateDirectory
from actors.supervisor import Supervisor
from actors.tree import CHILDREN, LEASES, ROUTES
from config.settings import Settings
from protocol.messages.base import Message, from_edge
from protocol.messages.control import Alert, KillProgress, KillRequested, Latch, PersonAnswered
from protocol.messages.futures import ExchangeSnapshot, TradeClosed
from protocol.ports import JournalFailed, LatchState, LatchStore
from protocol.units import seconds_us
from sim.clock import PacedClock, stopwatch

HOUSEKEEPING_REAL_S = 0.25
HOUSEKEEPING_MOST_S = 150.0
"""Of market time: a market without a pace of its own (speed inf) must be kept house for too."""
ORDERS_REST_REAL_S = 0.03
HELD_BACK_REAL_S = 1.0
LOOK_EVERY_S = 1.0
HINTS_MOST = 4096

Watch = Callable[[str, Message], None]


class End(IntEnum):
    """How a run ended; the numbers are exit codes."""

    DONE = 0
    LATCHED = 3


def run_daemon(
    settings: Settings,
    state: StateDirectory,
    watch: Watch,
    gate_changed: Callable[[str, bool], None],
    *,
    seconds: float | None = None,
    trades: int | None = None,
    dry_run: bool = False,
) -> End:
    """Run the tree until a signal, `seconds` of market time, or so many closed `trades`. `state` is owned.

    Raises Refused, StaleState, Unready.
    """
    open_site = site_of(settings)
    with ledger_of(settings, run_settings=settings.model_dump_json()) as ledger:
        must_serve_what_is_open(settings, ledger)
        daemon = Daemon(settings, state, ledger, watch, gate_changed, seconds, trades, dry_run)
        try:
            return trio.run(daemon.run, open_site, clock=PacedClock(pace_of(settings)))
        finally:
            gc.unfreeze()


@dataclass(frozen=True)
class LatchOrRequest:
    """protocol.ports.LatchStore: the ledger's, and where that cannot be written a request in the state directory, which the next start obeys."""

    ledger: LatchStore
    state: StateDirectory

    def read(self) -> LatchState:
        """As written in the ledger; a request is found by whoever looks for requests."""
        return self.ledger.read()

    def latch(self, latch: Latch) -> None:
        """Raises JournalFailed when it can be kept nowhere."""
        try:
            self.ledger.latch(latch)
        except JournalFailed as failure:
            try:
                self.state.request_kill(latch.reason)
            except OSError:
                raise failure from None

    def acknowledge(self, by: str, reason: str, at: int) -> None:
        """Nobody acknowledges to a running daemon: the command does, on the ledger."""
        self.ledger.acknowledge(by, reason, at)


async def orders_to_rest(world: World, rest_s: float, most_s: float, look_s: float) -> None:
    """Wait until no order has been on its way for `rest_s`, `most_s` at most: an answer may be a fill that needs a stop."""
    with trio.move_on_after(most_s):
        while not world.orders_rest(rest_s):  # noqa: ASYNC110  for time to pass, not for an event
            await trio.sleep(look_s)


async def let_orders_pass(world: World, pace: float) -> None:
    """What people read waits, not for long, while an order is on its way or was a moment ago."""
    rest_s, most_s = (min(real_s * pace, HOUSEKEEPING_MOST_S) for real_s in (ORDERS_REST_REAL_S, HELD_BACK_REAL_S))
    await orders_to_rest(world, rest_s, most_s, rest_s)


async def stop_entering(world: World) -> None:
    """Before an end that was asked for: no entry leaves any more, and what is on its way is answered and its stop placed, in two time-outs at most."""
    execution = world.settings.execution
    world.gate.halt("stopping", "the daemon was asked to stop")
    # A reply that is lost is followed by a reading, and that by a stop.
    rest_s = execution.reconcile_after_s + execution.request_timeout_s / 5
    await orders_to_rest(world, rest_s, 2 * execution.request_timeout_s, rest_s / 10)


@dataclass
class SeenFlat:
    """Two readings, so far apart that an entry which an earlier life sent can no longer arrive."""

    apart_us: int
    since: int | None = None
    """When the kill switch was done."""

    def stays(self, word: KillProgress | ExchangeSnapshot) -> bool:
        """Whether this is the second that shows nothing open."""
        if isinstance(word, KillProgress):
            self.since = word.at if word.flat and not word.working_orders else None
            return False
        held = word.orders or word.lacks or word.unproved or any(position.size for position in word.positions)
        return not held and self.since is not None and word.began_at >= self.since + self.apart_us


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
    dry_run: bool = False
    world: World | None = None
    """What its children share, once the site is open."""

    async def run(self, open_site: OpenSite) -> End:
        """Until told to stop; then the children stop in reverse order and everything is written down."""
        self.state.forget_requests()
        self._status = StatusPage()
        self._ended = End.DONE
        self._collected = False
        self._published = True
        self._hinted = trio.Event()
        self._asked_to_stop = trio.Event()
        self._latched_before = self.ledger.read().latched or self.state.kill_requested() is not None
        async with (
            open_site(self.settings, self.state, booked_until(self.ledger)) as site,
            trio.open_nursery() as nursery,
        ):
            self._scope = nursery.cancel_scope
            self._flat = SeenFlat(seconds_us(site.settings.execution.process_before_s))
            gate = Gate(LEASES, self.ledger.read(), lambda what, is_open: self._gate_changed(world, what, is_open))
            self.world = world = World(
                settings=site.settings,
                clock=site.clock,
                spot=site.spot,
                futures=site.futures,
                journal=self.ledger,
                latch_store=LatchOrRequest(self.ledger, self.state),
                gate=gate,
                door=Door(site.settings, gate),
                routes=ROUTES,
                jitter=np.random.default_rng(self.settings.market.seed).random,
                kill_requested=self.state.kill_requested,
                requests=partial(requests_in, self.state),
                dry_run=self.dry_run,
                kill_hint=self._kill_hint,
                watch=self._observe,
                tell=self.watch,
            )
            nursery.start_soon(self._heed_signals, world)
            nursery.start_soon(self._stop, world)
            nursery.start_soon(self._heed_hints)
            nursery.start_soon(self._keep_house, world)
            if self.seconds is not None:
                nursery.start_soon(self._stop_after, self.seconds)
            await Supervisor(CHILDREN, world).run()
        self._write(world)
        return self._ended

    def _gate_changed(self, world: World, what: str, is_open: bool) -> None:
        if not (self._collected or world.gate.closed_by()):
            # Entries may leave from now on. A full collection takes a tenth of a second, most of it over what was loaded: that is
            # done once, here, and left alone afterwards.
            self._collected = True
            gc.collect()
            gc.freeze()
        ends = (
            ""
            if is_open or not what.startswith("halt.")
            else f": ends when {release_of(what.removeprefix('halt.')).when}"
        )
        world.alert("gate", "GATE", "info", f"{what} {'open' if is_open else 'closed'}{ends}")
        self.gate_changed(what, is_open)

    def _observe(self, sender: str, message: Message) -> None:
        if not isinstance(message, Alert):
            self.watch(sender, message)
        self._status.observe(message)
        match message:
            case TradeClosed() if self.trades is not None:
                self.trades -= 1
                if self.trades == 0:
                    self._asked_to_stop.set()
            case KillProgress() | ExchangeSnapshot() if self._latched_before and self._flat.stays(message):
                self._ended = End.LATCHED
                self._scope.cancel()
            case PersonAnswered():
                with suppress(OSError):  # whoever asked is told that no answer came; the journal has it
                    hand_out(self.state, message)
            case _:
                pass

    async def _heed_signals(self, world: World) -> None:
        """SIGUSR1 is the kill switch; the request is a file, as from any other hand. The others end the run, a second one at once."""
        asked = False
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGUSR1) as signals:
            async for received in signals:
                if received == signal.SIGUSR1:
                    self._request_kill(world)
                elif asked:
                    self._scope.cancel()
                else:
                    asked = True
                    self._asked_to_stop.set()

    def _request_kill(self, world: World) -> None:
        reason = "signal SIGUSR1"
        try:
            self.state.request_kill(reason)
        except OSError:  # a full disk: the next life will not know of it, this one does
            now = world.clock.now_us()
            world.mailboxes["kill_switch"].put(from_edge(KillRequested, now, reason, now, reason=reason, by="person"))

    async def _stop(self, world: World) -> None:
        """One way out for a signal, a duration and a number of trades: nothing is left behind that nobody protects."""
        await self._asked_to_stop.wait()
        await stop_entering(world)
        self._scope.cancel()

    async def _heed_hints(self) -> None:
        with self.state.kill_hints() as hints:
            while True:
                await trio.lowlevel.wait_readable(hints)
                os.read(hints, HINTS_MOST)
                self._hinted.set()

    async def _kill_hint(self) -> None:
        with trio.move_on_after(LOOK_EVERY_S):
            await self._hinted.wait()
        self._hinted = trio.Event()

    async def _stop_after(self, seconds: float) -> None:
        await trio.sleep(seconds)
        self._asked_to_stop.set()

    async def _keep_house(self, world: World) -> None:
        """Write down and publish a few times a real second, whatever the pace of the market, and not for less than one of its."""
        since_s = stopwatch()
        pace = pace_of(self.settings)
        rest_s = min(max(HOUSEKEEPING_REAL_S * pace, 1.0), HOUSEKEEPING_MOST_S)
        before = world.look()
        while True:
            await trio.sleep(rest_s)
            before = world.notice(before, rest_s, pace)
            if pace <= HOUSEKEEPING_MOST_S / HOUSEKEEPING_REAL_S or since_s() >= HOUSEKEEPING_REAL_S:
                await let_orders_pass(world, pace)
                before = world.look()
                self._write(world)
                before = world.notice(before, 0, pace)
                since_s = stopwatch()

    def _write(self, world: World) -> None:
        world.tell_held()
        with suppress(JournalFailed):  # the next flush says so
            self.ledger.settle()
        world.journal.flush()
        try:
            self.state.write_status(self._status.page(world.gate, world.lives))
            self._published = True
        except OSError as error:  # money before pages: a full disk ends no daemon
            if self._published:
                self._published = False
                world.alert("status", "JOURNAL_WRITE", "critical", f"the status page cannot be written: {error}")

"""The kill switch from outside the daemon: latch, flatten, acknowledge, with the daemon up or down."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import trio
from sqlalchemy.exc import SQLAlchemyError

from actors.door import Door
from actors.gate import Gate
from actors.gateway.credentials import BadCredentials
from actors.hands import payload
from actors.kill_switch.plan import kill_id, plan, plan_of_part
from actors.ledger.journal import Ledger, open_ledger, open_reader
from actors.ledger.store import NoLedger, SecondInstance, Unreadable, database_url, failing_as
from actors.modes.direct import carry_out
from actors.modes.sites import OpenSite, Refused, Site, StaleState, Unready, pace_in, pace_of, site_of
from actors.state import AlreadyRunning, StateDirectory
from config.settings import Settings
from protocol.messages.base import Message, from_edge
from protocol.messages.control import Alert, Latch
from protocol.messages.futures import (
    CommandAnswered,
    InstrumentsListed,
    OrderAdmitted,
    PlaceOrder,
    SnapshotFailed,
    SnapshotSeen,
)
from protocol.ports import Command, FeedLost, JournalFailed, LatchState
from sim.clock import PacedClock

DAEMON_WITHIN_S = 30.0
FLATTEN_WITHIN_S = 60.0
LOOK_EVERY_S = 0.05
AGAIN_S = 0.5


@dataclass(frozen=True)
class KillOutcome:
    """What came of `kill-switch --emergency`, for a person."""

    flat: bool
    text: str


def kill(settings: Settings, reason: str, by: str) -> KillOutcome:
    """Latch, then cancel and flatten: by the daemon when one is up and answers, else on the exchange itself. Raises Refused."""
    state = StateDirectory(Path(settings.store.directory), settings.mode, settings.env)
    if _can_be_asked(state):
        # Before anything that a person's shell may lack: the key pair is the daemon's.
        outcome = _by_daemon(state, reason)
        if outcome.flat or settings.mode != "live":
            return outcome  # paper's exchange lives in the daemon: nobody else can reach it
        try:
            return kill_on_exchange(settings, state, site_of(settings), reason, by, outcome.text)
        except BadCredentials as error:
            return KillOutcome(False, f"{outcome.text}; this command cannot: {error}")
    return _without_daemon(settings, state, reason, by)


def _can_be_asked(state: StateDirectory) -> bool:
    """Whether a daemon is up, as far as this user may look: a state of another user keeps nobody from the exchange."""
    try:
        return state.owned_by_other()
    except OSError:
        return False


def _without_daemon(settings: Settings, state: StateDirectory, reason: str, by: str) -> KillOutcome:
    try:
        open_site = site_of(settings)
    except BadCredentials as error:
        record = Record(state, "")
        record.request(reason)
        return KillOutcome(False, _told(f"nothing was cancelled or closed: {error}", record))
    try:
        state.own()
    except AlreadyRunning:
        return kill(settings, reason, by)  # one has started since
    except OSError as error:  # a disk that cannot be written: nothing else can start on it either; another user's state
        hers = "; a daemon of that user was not asked" if isinstance(error, PermissionError) else ""
        trouble = f"the state directory could not be locked ({error}){hers}"
        return kill_on_exchange(settings, state, open_site, reason, by, trouble)
    try:
        return kill_on_exchange(settings, state, open_site, reason, by)
    finally:
        state.release()


def _by_daemon(state: StateDirectory, reason: str) -> KillOutcome:
    try:
        state.request_kill(reason)
    except OSError as error:
        return KillOutcome(False, f"the daemon could not be asked ({error})")
    return trio.run(_await_kill, state)


def rehearse(settings: Settings) -> tuple[str, ...]:
    """What `kill` would send to the exchange as it stands now, each as it would go on the wire. Nothing is latched and nothing sent.

    Raises Refused: paper's exchange lives in its daemon, or the exchange cannot be read.
    """
    open_site = site_of(settings)
    state = StateDirectory(Path(settings.store.directory), settings.mode, settings.env)
    clock = PacedClock(pace_of(settings, unhurried=False))
    if settings.mode == "live":
        return trio.run(_rehearse, settings, state, open_site, clock=clock)
    try:
        state.own()
    except AlreadyRunning:
        raise Refused("paper's exchange lives in the daemon that is running: stop it, then ask again") from None
    try:
        return trio.run(_rehearse, settings, state, open_site, clock=clock)
    finally:
        state.release()


async def _rehearse(settings: Settings, state: StateDirectory, open_site: OpenSite) -> tuple[str, ...]:
    async with open_site(settings, state) as site:
        door = Door(site.settings, Gate((), LatchState(latched=False)))
        try:
            listed = await site.futures.instruments()
        except FeedLost as error:
            raise Refused(f"the exchange could not be read ({error}): what would be sent is not known") from None
        door.observe(from_edge(InstrumentsListed, listed.at, instruments=listed.instruments))
        truth = await site.futures.snapshot()
        if isinstance(truth, SnapshotFailed):
            raise Refused(f"the exchange could not be read ({truth.reason}): what would be sent is not known")
        wishes = plan(truth, kill_id("dry run", truth.at), truth.began_at, truth.orders, truth.positions)
        judged = [door.rehearse(wish, truth.at) for wish in wishes]
        return tuple(payload(answer.order) for answer in judged if isinstance(answer, OrderAdmitted))


async def _await_kill(state: StateDirectory) -> KillOutcome:
    """Wait until the daemon's status says latched and flat."""
    with trio.move_on_after(DAEMON_WITHIN_S):
        while True:
            page = state.answer_to_kill() or {}
            if page.get("latched") and page.get("kill_done") and not page.get("positions"):
                return KillOutcome(True, "latched; the daemon cancelled all orders and is flat")
            await trio.sleep(LOOK_EVERY_S)
    return KillOutcome(
        False,
        f"the daemon has not reported flat within {DAEMON_WITHIN_S:.0f} s: look at `status`; stop it and run this again "
        "to act directly",
    )


def kill_on_exchange(
    settings: Settings, state: StateDirectory, open_site: OpenSite, reason: str, by: str, before: str = ""
) -> KillOutcome:
    """Latch, cancel, flatten, without a daemon; `before` is what was tried already. Works with a store that does not."""
    with ExitStack() as stack:
        record = Record(state, before)
        with record.or_note():
            url = database_url(settings.store, settings.mode, settings.env)
            record.ledger = stack.enter_context(open_ledger(url))
        clock = PacedClock(pace_of(settings, unhurried=False))
        try:
            return trio.run(partial(_flatten, settings, state, open_site, record, reason, by), clock=clock)
        except Unready as error:
            record.request(reason)
            return KillOutcome(False, _told(f"nothing was cancelled or closed: {error}. Close by hand NOW", record))
        finally:
            record.settle()


@dataclass
class Record:
    """The ledger as far as it can be written. A store that is locked or broken keeps nobody from flattening."""

    state: StateDirectory
    trouble: str
    ledger: Ledger | None = None
    kept: str = ""
    """Where the latch is, when it is not in the store."""

    @contextmanager
    def or_note(self) -> Iterator[None]:
        """Do without the ledger from the first failure on, and remember why."""
        try:
            yield
        except (JournalFailed, NoLedger, SecondInstance, SQLAlchemyError, OSError) as error:
            self.ledger = None
            note = f"the store could not be written ({str(error).splitlines()[0]})"
            self.trouble = f"{self.trouble}; {note}" if self.trouble else note

    def latch(self, latch: Latch) -> None:
        """In the store; else as a request in the state directory, which the next start obeys before anything else."""
        with self.or_note():
            if self.ledger is not None:
                self.ledger.latch(latch)
        if self.ledger is None:
            self.request(latch.reason)
        self.say(latch)

    def settle(self) -> None:
        """Bring the tables up to the journal; where that fails the next start does, and what was done is told all the same."""
        with self.or_note():
            if self.ledger is not None:
                self.ledger.settle()

    def request(self, reason: str) -> None:
        """Leave the latch to the next start."""
        self.kept = "the latch is a request in the state directory, obeyed at the next start"
        try:
            self.state.request_kill(reason)
        except OSError as error:
            self.kept = f"the latch is written down nowhere ({error}): start no daemon before it can be"

    def say(self, *messages: Message) -> None:
        """Journal messages, if there is a journal."""
        with self.or_note():
            if self.ledger is not None:
                for message in messages:
                    self.ledger.record("kill_switch", message, ())
                self.ledger.flush()


async def _flatten(
    settings: Settings, state: StateDirectory, open_site: OpenSite, record: Record, reason: str, by: str
) -> KillOutcome:
    """Reading by reading until two in a row show nothing, or time is up; then exactly what could not be done."""
    left, refused, flat = "the exchange could not be read", dict[str, str](), False

    def heard(wish: Command, facts: Sequence[Message]) -> None:
        record.say(*facts)
        refused.update(_refusal(wish, facts))

    async with open_site(settings, state) as site:
        pace = pace_in(site, settings)
        now = site.clock.now_us()
        latch = from_edge(Latch, now, reason, now, reason=reason, by=by)
        record.latch(latch)
        with trio.move_on_after(FLATTEN_WITHIN_S * pace):
            while True:
                truth = await site.futures.snapshot(urgent=True)
                if isinstance(truth, SnapshotFailed):
                    left = f"the exchange could not be read ({truth.reason}): orders and positions may be open"
                    if truth.readable is not None:
                        wishes = plan_of_part(latch, kill_id(reason, now), truth.readable)
                        record.say(*wishes)
                        await carry_out(site, wishes, heard)
                    await trio.sleep(AGAIN_S * pace)
                    continue
                left = _open_items(truth)
                wishes = plan(latch, kill_id(reason, now), truth.began_at, truth.orders, truth.positions)
                if not wishes and flat:
                    return KillOutcome(
                        True, _told("latched; all orders are cancelled and every position is flat", record)
                    )
                flat = not wishes
                refused.clear()
                if flat:  # what a daemon sent just before it died may still arrive
                    await trio.sleep(site.settings.execution.process_before_s)
                    continue
                record.say(*wishes)
                await carry_out(site, wishes, heard)
                await trio.sleep(AGAIN_S * pace)
    why = "".join(f"; {what}: {answer}" for what, answer in refused.items())
    return KillOutcome(False, _told(f"latched, but not flat. Still open: {left}{why}. Close them by hand NOW", record))


def _open_items(truth: SnapshotSeen) -> str:
    positions = [f"{p.symbol} {p.size}" for p in truth.positions if p.size]
    orders = [f"{o.symbol} {o.side} {o.size} {o.order_type} ({o.order_id})" for o in truth.orders]
    return f"positions {', '.join(positions) or 'none'}; orders {', '.join(orders) or 'none'}"


def _refusal(wish: Command, facts: Sequence[Message]) -> dict[str, str]:
    """What was asked for and how it was answered, when it was not done."""
    what = f"flattening {wish.symbol}" if isinstance(wish, PlaceOrder) else f"cancelling in {wish.symbol}"
    answers = [f for f in facts if isinstance(f, CommandAnswered) and f.outcome in ("rejected", "unknown")]
    return {what: f"{answers[-1].outcome} ({answers[-1].status})"} if answers else {}


def _told(text: str, record: Record) -> str:
    notes = "; ".join(note for note in (record.trouble, record.kept) if note)
    return f"{text}. Note: {notes}" if notes else text


def latch_state(settings: Settings) -> LatchState:
    """What is written down of the kill switch; unlatched when no daemon has ever run. A request that waits counts as latched.

    Raises StaleState when there is a store and it cannot be read: nothing is known then.
    """
    state = StateDirectory(Path(settings.store.directory), settings.mode, settings.env)
    waiting = state.kill_requested()
    try:
        with (
            open_reader(database_url(settings.store, settings.mode, settings.env)) as reader,
            failing_as(Unreadable, "the latch cannot be read"),
        ):
            latch = reader.latch()
    except Unreadable as error:
        if waiting is None:
            raise StaleState(f"whether the kill switch is latched cannot be told: {error}") from None
        latch = LatchState(latched=False)
    except NoLedger:
        latch = LatchState(latched=False)
    if latch.latched or waiting is None:
        return latch
    return LatchState(latched=True, reason=waiting, by="request", at=state.kill_requested_at())


def acknowledge(settings: Settings, reason: str, by: str) -> str:
    """Clear the latch once nothing is open. Raises Refused while a daemon runs or the account is not flat, StaleState when the store cannot be read."""
    open_site = site_of(settings)
    state = StateDirectory(Path(settings.store.directory), settings.mode, settings.env)
    if not latch_state(settings).latched:
        return "the kill switch is not latched: nothing to acknowledge"
    try:
        state.own()
    except AlreadyRunning:
        raise Refused("a daemon is running; stop it, then acknowledge") from None
    try:
        with open_ledger(database_url(settings.store, settings.mode, settings.env)) as ledger:
            clock = PacedClock(pace_of(settings, unhurried=False))
            at = trio.run(_require_flat, settings, state, open_site, clock=clock)
            text = f"kill switch acknowledged by {by}: {reason}; two readings show no position and no order"
            told = from_edge(Alert, at, "acknowledged", at, code="KILL_ACKED", severity="critical", text=text)
            ledger.record("kill_switch", told, ())
            ledger.settle()  # all that can fail of it, before the latch is cleared
            ledger.acknowledge(by, reason, at)
            state.forget_kill_request()
    except (JournalFailed, NoLedger, SecondInstance, OSError) as error:
        raise Refused(
            f"the store could not be written ({str(error).splitlines()[0]}): nothing is acknowledged"
        ) from None
    finally:
        state.release()
    return f"acknowledged by {by}: {reason}. `run` may trade again"


async def _require_flat(settings: Settings, state: StateDirectory, open_site: OpenSite) -> int:
    """Two readings, the second after anything sent before the first can have arrived. One list alone proves nothing."""
    async with open_site(settings, state) as site:
        at = await _read_flat(site)
        await trio.sleep(site.settings.execution.process_before_s)
        at = await _read_flat(site)
    return at


async def _read_flat(site: Site) -> int:
    truth = await site.futures.snapshot()
    if isinstance(truth, SnapshotFailed):
        raise Refused(f"the exchange could not be read ({truth.reason}): flat is not proven")
    if any(p.size for p in truth.positions) or truth.orders:
        raise Refused(f"still open: {_open_items(truth)}. Run `kill-switch --emergency` first")
    return truth.began_at

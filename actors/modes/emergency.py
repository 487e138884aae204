"""The kill switch from outside the daemon: latch, flatten, acknowledge, with the daemon up or down."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import trio

from actors.kill_switch.plan import kill_id, plan
from actors.ledger.journal import Ledger, open_ledger, open_reader
from actors.ledger.store import NoLedger, database_url
from actors.modes.sites import OpenSite, Refused, pace_of, site_of
from actors.state import StateDirectory
from config.settings import Settings
from protocol.messages.base import from_edge
from protocol.messages.control import Latch
from protocol.messages.futures import CommandAnswered, SnapshotFailed
from protocol.ports import LatchState
from sim.clock import PacedClock

FLATTEN_TRIES = 30


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
            clock = PacedClock(pace_of(settings, unhurried=False))
            return trio.run(_kill_directly, settings, state, ledger, open_site, reason, by, clock=clock)
    finally:
        state.release()


async def _await_kill(state: StateDirectory) -> KillOutcome:
    """The daemon looks each second; wait until its status says latched and flat."""
    for _ in range(FLATTEN_TRIES):
        page = state.answer_to_kill() or {}
        if page.get("latched") and page.get("kill_done") and not page.get("positions"):
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
            clock = PacedClock(pace_of(settings, unhurried=False))
            at = trio.run(_require_flat, settings, state, open_site, clock=clock)
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

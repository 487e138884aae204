"""One run of the daemon in this process: what is done by the time entries may leave, and how often it is told."""

from __future__ import annotations

import errno
import gc
import io
from collections.abc import Callable, Mapping
from decimal import Decimal
from math import inf
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from actors.cli.logs import log_to
from actors.modes import daemon
from actors.modes.daemon import (
    HOUSEKEEPING_MOST_S,
    HOUSEKEEPING_REAL_S,
    ORDERS_REST_REAL_S,
    Daemon,
    End,
    LatchOrRequest,
    SeenFlat,
    let_orders_pass,
    run_daemon,
)
from actors.modes.memories import ledger_of
from actors.modes.sites import pace_of, site_of
from actors.state import StateDirectory
from config.load import load
from protocol.messages.base import Message, from_edge
from protocol.messages.control import Alert, KillProgress, Latch
from protocol.messages.futures import Account, ExchangeSnapshot, Position, TradeClosed
from protocol.ports import JournalFailed
from sim.clock import PacedClock
from tests.fakes.facts import XBT
from tests.fakes.ports import FakeLatchStore
from tests.fakes.worlds import idle_world

CLOSED = from_edge(
    TradeClosed, 1, trade_id="t", symbol=XBT, side="long", size=Decimal(1), entry_price=Decimal(100), exit_price=Decimal(101),
    pnl_usd=Decimal(1), fees_usd=Decimal(0), opened_at=0, reason="exit.target", r_multiple=Decimal(1),
)  # fmt: skip
SECONDS = 4 * HOUSEKEEPING_MOST_S + 1


class Counted(StateDirectory):
    """A state directory that counts the pages that are published."""

    pages = 0

    def write_status(self, status: Mapping[str, object]) -> None:
        """Count, then publish."""
        self.pages += 1
        super().write_status(status)


def run(
    folder: Path, speed: float, seconds: float, gate_changed: Callable[[str, bool], None] = lambda what, is_open: None
) -> Counted:
    """A paper daemon for so many seconds of market time."""
    settings = load("paper", "dev", None, {"store": {"directory": str(folder)}, "market": {"speed": speed}}, {})
    state = Counted(folder, settings.mode, settings.env)
    state.own()
    assert run_daemon(settings, state, lambda _sender, _message: None, gate_changed, seconds=seconds) is End.DONE
    state.release()
    return state


def test_what_was_loaded_is_collected_before_entries_may_leave_and_never_looked_at_again(tmp_path: Path) -> None:
    """A collection of everything takes a tenth of a second, in which an order would wait."""
    kept: list[int] = []
    before = gc.get_freeze_count()
    run(tmp_path, 100_000, 30, lambda _what, _is_open: kept.append(gc.get_freeze_count()))

    assert min(kept) == before, "nothing is kept while it is starting"
    assert max(kept) > before + 10_000
    assert gc.get_freeze_count() == before


@pytest.mark.parametrize(
    ("pace", "answered_s", "kept_s"), [(1, 0.1, 0.15), (1, 60, 1), (100, 10, 15), (inf, 1000, 150)]
)
async def test_housekeeping_waits_for_orders_and_not_for_long(
    autojump_clock: MockClock, pace: float, answered_s: float, kept_s: float
) -> None:
    """Until none has been on its way for a moment; an exchange that does not answer holds it up no longer than a real second."""
    world = idle_world()
    await let_orders_pass(world, pace)
    assert trio.current_time() == 0

    async def order() -> None:
        with world.order_out():
            await trio.sleep(answered_s)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(order)
        await wait_all_tasks_blocked()
        await let_orders_pass(world, pace)
        assert trio.current_time() == pytest.approx(kept_s, abs=0.3 * ORDERS_REST_REAL_S * min(pace, 100))
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("ends_by", ["seconds", "trades"])
def test_an_end_by_itself_waits_for_the_order_that_is_out(tmp_path: Path, ends_by: str) -> None:
    """`--for` and `--trades` end a run as a signal does: no entry leaves any more, and what left is answered first."""
    settings = load("paper", "dev", None, {"store": {"directory": str(tmp_path)}, "market": {"speed": 100_000}}, {})
    state = StateDirectory(tmp_path, settings.mode, settings.env)
    limit: dict[str, float | int] = {"seconds": 30.0} if ends_by == "seconds" else {"trades": 1}
    answered: list[tuple[str, ...]] = []

    async def order(run: Daemon) -> None:
        await trio.sleep(29)
        assert run.world is not None
        with run.world.order_out():
            if ends_by == "trades":
                run.world.see("executor", CLOSED)
            await trio.sleep(4)
            answered.append(run.world.gate.closed_by())

    async def both(run: Daemon) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(order, run)
            await run.run(site_of(settings))
            nursery.cancel_scope.cancel()

    state.own()
    with ledger_of(settings) as ledger:
        run = Daemon(
            settings, state, ledger, lambda *_: None, lambda *_: None, **{"seconds": None, "trades": None, **limit}
        )  # type: ignore[arg-type]
        trio.run(both, run, clock=PacedClock(pace_of(settings)))
    state.release()
    assert ["gate.halt:stopping" in reasons for reasons in answered] == [True]


@pytest.mark.parametrize(("real_s", "pages"), [(0.0, 1), (HOUSEKEEPING_REAL_S, 5)])
def test_a_market_as_fast_as_it_goes_is_told_by_real_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, real_s: float, pages: int
) -> None:
    """Each look at the real clock that finds a quarter of a second gone publishes a page; without that there is the last one only."""
    monkeypatch.setattr(daemon, "stopwatch", lambda: lambda: real_s)
    assert run(tmp_path, 1e12, SECONDS).pages == pages


class Full(StateDirectory):
    """On a disk without room."""

    def write_status(self, status: Mapping[str, object]) -> None:
        """Nothing can be published."""
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_page_that_cannot_be_written_ends_no_daemon(tmp_path: Path) -> None:
    """Whoever holds a position goes on holding it; a person is told once."""
    overrides = {"store": {"directory": str(tmp_path)}, "market": {"speed": 100_000}}
    settings = load("paper", "dev", None, overrides, {})
    state = Full(tmp_path, settings.mode, settings.env)
    state.own()
    said: list[Message] = []
    end = run_daemon(
        settings, state, lambda _sender, message: said.append(message), lambda _what, _is_open: None, seconds=SECONDS
    )
    state.release()
    assert end is End.DONE
    alerts = [m for m in said if isinstance(m, Alert) and m.code == "JOURNAL_WRITE"]
    assert [(a.severity, a.count) for a in alerts] == [("critical", 1)]


class Broken(FakeLatchStore):
    """A store that takes nothing."""

    def latch(self, latch: Latch) -> None:
        """The disk is at fault."""
        raise JournalFailed("database is locked")


def test_a_latch_that_the_store_does_not_take_waits_for_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a request in the state directory; where that cannot be written either, whoever latches hears of it."""
    state = StateDirectory(tmp_path, "paper", "dev")
    latch = from_edge(Latch, 1, reason="liquidated", by="risk")
    LatchOrRequest(Broken(), state).latch(latch)
    assert state.kill_requested() == "liquidated"
    state.forget_kill_request()

    kept = FakeLatchStore()
    LatchOrRequest(kept, state).latch(latch)
    assert (kept.read().latched, state.kill_requested()) == (True, None)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(StateDirectory, "replace", full)
    with pytest.raises(JournalFailed, match="locked"):
        LatchOrRequest(Broken(), state).latch(latch)


def truth(at: int, *positions: Position) -> ExchangeSnapshot:
    """A reading of the account."""
    account = Account(equity_usd=Decimal(1), balance_usd=Decimal(1), available_margin_usd=Decimal(1),
                      initial_margin_usd=Decimal(0), maintenance_margin_usd=Decimal(0))  # fmt: skip
    return from_edge(ExchangeSnapshot, at, began_at=at, orders=(), positions=positions, account=account)


def test_a_latched_start_is_over_when_two_readings_are_flat_and_far_enough_apart() -> None:
    """An entry that the life before sent may fill between them: what shows in the second begins anew."""
    flat = SeenFlat(5)

    def done(at: int) -> KillProgress:
        return from_edge(KillProgress, at, flat=True, open_positions=(), working_orders=0)

    assert not flat.stays(truth(1)), "the kill switch has the first word"
    assert not flat.stays(done(2))
    assert not flat.stays(truth(6)), "too soon"
    assert not flat.stays(truth(7, Position(symbol=XBT, size=Decimal(1), entry_price=Decimal(1))))
    assert not flat.stays(from_edge(KillProgress, 7, flat=False, open_positions=(XBT,), working_orders=0))
    assert not flat.stays(truth(30)), "it is not done again"
    assert not flat.stays(done(31))
    assert flat.stays(truth(36))


def test_a_log_on_a_full_disk_ends_no_actor() -> None:
    """What is said is said to the others all the same."""

    class Disk(io.StringIO):
        def flush(self) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

    log_to(Disk())("gate", from_edge(Alert, 1, code="GATE", severity="info", text="open"))

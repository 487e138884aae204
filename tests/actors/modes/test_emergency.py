"""The kill switch without a daemon: with a store that cannot be written, an exchange that is half down, a lock nobody holds."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, closing
from decimal import Decimal as D
from pathlib import Path
from typing import Any

import pytest
import trio

from actors.ledger.journal import Ledger, open_ledger, open_reader
from actors.modes.emergency import acknowledge, kill, kill_on_exchange, latch_state
from actors.modes.manual import open_things
from actors.modes.sites import Refused, Site, StaleState, Unready, nonces
from actors.state import AlreadyRunning, StateDirectory
from config.settings import Settings
from protocol.messages.base import Message, from_edge
from protocol.messages.control import Alert, Latch
from protocol.messages.futures import CancelOrder, PlaceOrder, Readable, SnapshotFailed, SnapshotSeen
from protocol.ports import Command, JournalFailed
from protocol.units import SECOND_US
from sim.clock import SimulatedClock
from tests.fakes import facts
from tests.fakes.exchanges import START, HalfDown
from tests.fakes.facts import ETH, XBT


def killed(root: Path, exchange_of: Any) -> tuple[Any, Settings]:
    """What the command says of an exchange, and the settings of the state it was done on."""
    settings = Settings.model_validate({"store": {"directory": str(root)}})
    state = StateDirectory(root, settings.mode, settings.env)
    state.own()

    @asynccontextmanager
    async def open_site(
        settings: Settings, state: StateDirectory, fills_until: Callable[[], int | None] = lambda: None
    ) -> AsyncIterator[Site]:
        exchange = exchange_of()
        nowhere: Any = None
        yield Site(settings, exchange.clock, nowhere, exchange)

    try:
        return kill_on_exchange(settings, state, open_site, "drill", "a person"), settings
    finally:
        state.release()


def test_everything_is_closed_and_the_latch_is_in_the_store(tmp_path: Path) -> None:
    """Flat, latched, and each wish and answer in the journal."""
    outcome, settings = killed(tmp_path, HalfDown)
    assert outcome.flat
    assert outcome.text == "latched; all orders are cancelled and every position is flat"
    assert (latch_state(settings).latched, latch_state(settings).by) == (True, "a person")
    with open_reader(f"sqlite:///{tmp_path / 'paper-dev' / 'ledger.sqlite'}") as reader:
        assert {row["symbol"] for row in reader.orders()} == {XBT, ETH}


class Late(HalfDown):
    """An entry that a dying daemon sent arrives after the first reading, which shows nothing."""

    read = 0

    async def snapshot(self, *, urgent: bool = False) -> SnapshotSeen | SnapshotFailed:
        self.read += 1
        if self.read == 1:
            self.sizes, self.orders = {}, {}
        if self.read == 2:
            self.sizes = {XBT: D(1)}
        return await super().snapshot()


def test_an_entry_that_arrives_late_is_closed(tmp_path: Path) -> None:
    """One reading proves nothing: the second comes after whatever was sent before the first can have arrived."""
    exchange = Late()
    outcome, _ = killed(tmp_path, lambda: exchange)
    assert outcome.flat
    assert exchange.sizes == {XBT: D(0)}


class Garbled(HalfDown):
    """One of its rows cannot be read, in each list; the others can."""

    async def snapshot(self, *, urgent: bool = False) -> SnapshotSeen | SnapshotFailed:
        seen = await super().snapshot()
        assert isinstance(seen, SnapshotSeen)
        rows = Readable(began_at=seen.at, orders=seen.orders, positions=seen.positions)
        return from_edge(SnapshotFailed, seen.at, seen.at, reason="MalformedPayload", readable=rows)


def test_what_can_be_read_is_closed_and_nobody_is_called_flat(tmp_path: Path) -> None:
    """Rows of a new kind keep nothing else open; that there is something which cannot be read is said."""
    exchange = Garbled()
    outcome, _ = killed(tmp_path, lambda: exchange)
    assert not outcome.flat
    assert "could not be read (MalformedPayload)" in outcome.text
    assert (exchange.sizes, exchange.orders) == ({XBT: D(0), ETH: D(0)}, {})


def test_a_store_that_cannot_be_written_keeps_nobody_from_flattening(tmp_path: Path) -> None:
    """Flat all the same; the latch waits as a request in the state directory, and counts as latched until acknowledged."""
    (tmp_path / "paper-dev" / "ledger.sqlite").mkdir(parents=True)
    outcome, settings = killed(tmp_path, HalfDown)
    assert outcome.flat
    assert "the store could not be written" in outcome.text
    assert "obeyed at the next start" in outcome.text
    assert StateDirectory(tmp_path, settings.mode, settings.env).kill_requested() == "drill"


def test_a_store_that_a_daemon_holds_keeps_nobody_from_flattening(tmp_path: Path) -> None:
    """A daemon that hangs owns the ledger: flat all the same, and the request waits for whatever life comes next."""
    with open_ledger(f"sqlite:///{tmp_path / 'paper-dev' / 'ledger.sqlite'}"):
        outcome, settings = killed(tmp_path, HalfDown)
    assert outcome.flat
    assert "another process writes" in outcome.text
    assert StateDirectory(tmp_path, settings.mode, settings.env).kill_requested() == "drill"


def test_tables_that_cannot_follow_are_the_next_starts_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk is full when all is done: the record has it, the answer is the exchange's, and the tables are made up for later."""

    def full(*_: Any) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(Ledger, "_tell", full)
        outcome, settings = killed(tmp_path, HalfDown)
    assert outcome.flat
    assert latch_state(settings).latched
    url = f"sqlite:///{tmp_path / 'paper-dev' / 'ledger.sqlite'}"
    with open_ledger(url) as ledger:
        ledger.settle()
    with open_reader(url) as reader:
        assert {row["symbol"] for row in reader.orders()} == {XBT, ETH}


def test_a_store_of_another_version_keeps_nobody_from_flattening(tmp_path: Path) -> None:
    """An emergency asks for no migration."""
    url = f"sqlite:///{tmp_path / 'paper-dev' / 'ledger.sqlite'}"
    with open_ledger(url):
        pass
    with closing(sqlite3.connect(tmp_path / "paper-dev" / "ledger.sqlite")) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    outcome, _ = killed(tmp_path, HalfDown)
    assert outcome.flat
    assert "9999" in outcome.text


def test_a_damaged_last_page_keeps_nobody_from_flattening(tmp_path: Path) -> None:
    """A life that was killed left a page the tables do not know, and it cannot be read: flat all the same."""
    url, file = f"sqlite:///{tmp_path / 'paper-dev' / 'ledger.sqlite'}", tmp_path / "paper-dev" / "ledger.sqlite"
    with open_ledger(url) as ledger:
        ledger.record("gate", from_edge(Alert, START, code="GATE", severity="info", text="open"), ())
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("UPDATE journal SET records = x'00'")
        connection.execute("UPDATE memory SET body = '0' WHERE actor = 'ledger.told'")
    with pytest.raises(JournalFailed, match="cannot be read"), open_ledger(url):
        pass
    outcome, _ = killed(tmp_path, HalfDown)
    assert outcome.flat
    assert "what an earlier life wrote last cannot be read" in outcome.text


def test_an_exchange_that_is_not_there_is_no_reason_not_to_latch(tmp_path: Path) -> None:
    """Nothing could be closed, and that is said; the next start closes everything before anything else."""
    settings = Settings.model_validate({"store": {"directory": str(tmp_path)}})
    state = StateDirectory(tmp_path, settings.mode, settings.env)

    @asynccontextmanager
    async def open_site(*_: Any) -> AsyncIterator[Site]:
        raise Unready("it does not answer")
        yield

    outcome = kill_on_exchange(settings, state, open_site, "drill", "a person")
    assert not outcome.flat
    assert "nothing was cancelled or closed: it does not answer. Close by hand NOW" in outcome.text
    assert "obeyed at the next start" in outcome.text
    assert latch_state(settings).latched


@pytest.mark.parametrize("up", [True, False])
def test_a_shell_without_the_key_pair_asks_the_daemon_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, up: bool
) -> None:
    """A person who logs in at night has no keys in the environment: the running daemon does it, or the next one that starts."""
    for name in (
        "KRAKEN_SMC_API_KEY",
        "KRAKEN_SMC_API_SECRET",
        "KRAKEN_SMC_API_KEY_FILE",
        "KRAKEN_SMC_API_SECRET_FILE",
    ):
        monkeypatch.delenv(name, raising=False)
    where = dict.fromkeys(("spot_url", "futures_url"), "http://127.0.0.1:1")
    streams = dict.fromkeys(("spot_ws_url", "futures_ws_url"), "ws://127.0.0.1:1")
    fields = {"mode": "live", "env": "dev", "store": {"directory": str(tmp_path)}, "exchange": {**where, **streams}}
    settings = Settings.model_validate(fields)
    daemon = StateDirectory(tmp_path, "live", "dev")
    if up:
        daemon.own()
        daemon.write_status({"positions": [], "orders": []})
        monkeypatch.setattr("actors.modes.emergency.DAEMON_WITHIN_S", 0.1)
    outcome = kill(settings, "drill", "ann")
    assert not outcome.flat
    assert daemon.kill_requested() == "drill"
    assert "KRAKEN_SMC_API_KEY" in outcome.text
    if up:
        assert open_things(settings)["source"] == "daemon"
    daemon.release()


def no_space(*_: Any) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_keeps_nobody_from_flattening(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the store nor the request can be written: flat all the same, and told that the latch is nowhere."""
    (tmp_path / "paper-dev" / "ledger.sqlite").mkdir(parents=True)
    monkeypatch.setattr(StateDirectory, "replace", no_space)
    outcome, _ = killed(tmp_path, HalfDown)
    assert outcome.flat
    assert "the latch is written down nowhere ([Errno 28] No space left on device): start no daemon" in outcome.text


def another_users(*_: Any) -> Any:
    raise PermissionError(errno.EACCES, "Permission denied", "daemon.lock")


def at_half_down(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command finds an exchange of which half is down."""

    @asynccontextmanager
    async def open_site(*_: Any) -> AsyncIterator[Site]:
        exchange, nowhere = HalfDown(), None
        yield Site(settings, exchange.clock, nowhere, exchange)  # type: ignore[arg-type]

    monkeypatch.setattr("actors.modes.emergency.site_of", lambda settings: open_site)


def test_the_state_of_another_user_keeps_nobody_from_flattening(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever has the key pair can close, though the daemon's files cannot even be looked for; that it was not asked is told."""
    settings = Settings.model_validate({"mode": "live", "store": {"directory": str(tmp_path)}})
    for name in ("owned_by_other", "own", "replace"):
        monkeypatch.setattr(StateDirectory, name, another_users)

    at_half_down(settings, monkeypatch)
    outcome = kill(settings, "drill", "ann")
    assert outcome.flat
    assert "a daemon of that user was not asked" in outcome.text


@pytest.mark.parametrize("hung", [False, True])
def test_a_disk_that_cannot_be_written_leads_straight_to_the_exchange(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hung: bool
) -> None:
    """Neither the lock nor the request to a daemon can be had: the command acts by itself."""
    settings = Settings.model_validate({"mode": "live", "store": {"directory": str(tmp_path)}})
    daemon = StateDirectory(tmp_path, "live", "dev")
    if hung:
        daemon.own()
    monkeypatch.setattr(StateDirectory, "own", no_space)
    monkeypatch.setattr(StateDirectory, "replace", no_space)

    at_half_down(settings, monkeypatch)
    outcome = kill(settings, "drill", "ann")
    assert outcome.flat
    assert "No space left on device" in outcome.text
    daemon.release()


async def test_a_nonce_that_cannot_be_written_down_signs_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk must keep no stop from being placed; the numbers go on rising."""
    monkeypatch.setattr(StateDirectory, "replace", no_space)
    number = nonces(StateDirectory(tmp_path, "live", "dev"), SimulatedClock(START))
    assert number() < number()


async def test_a_nonce_of_another_user_signs_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock alone is above all that was used."""
    for name in ("exists", "read_text"):
        monkeypatch.setattr(Path, name, another_users)
    assert nonces(StateDirectory(tmp_path, "live", "dev"), SimulatedClock(START))() >= START


def test_a_latch_that_cannot_be_read_is_not_called_released(tmp_path: Path) -> None:
    """Unknown is not unlatched: neither the state nor an acknowledgement is given on a damaged store."""
    settings = Settings.model_validate({"store": {"directory": str(tmp_path)}})
    (tmp_path / "paper-dev").mkdir()
    (tmp_path / "paper-dev" / "ledger.sqlite").write_bytes(b"no database" * 1000)
    with pytest.raises(StaleState, match="cannot be told"):
        latch_state(settings)
    with pytest.raises(StaleState, match="cannot be told"):
        acknowledge(settings, "fine again", "ann")
    StateDirectory(tmp_path, "paper", "dev").request_kill("drill")
    assert latch_state(settings).latched


class Unheard(HalfDown):
    """Six orders of strangers whose cancels nobody answers; `sent` says when each wish left."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = SimulatedClock(START, trio.current_time())
        self.orders = {name: facts.open_order(name, "someone") for name in ("o1", "o2", "o3", "o4", "o5", "o6")}
        self.sent: list[tuple[type[Command], float]] = []

    async def send(self, command: Command) -> Sequence[Message]:
        self.sent.append((type(command), trio.current_time()))
        if isinstance(command, CancelOrder):
            await trio.sleep(Settings().execution.request_timeout_s)
        return await super().send(command)


def test_a_flatten_waits_for_no_cancel_that_nobody_answers(tmp_path: Path) -> None:
    """Cancels leave first and side by side; the positions' turn comes a fifth of a time-out later, however many are out."""
    exchanges: list[Unheard] = []

    def exchange() -> Unheard:  # made inside the run: it looks at the clock
        exchanges.append(Unheard())
        return exchanges[-1]

    outcome, settings = killed(tmp_path, exchange)
    assert outcome.flat
    began = exchanges[0].sent[0][1]
    assert [kind for kind, _ in exchanges[0].sent] == [CancelOrder] * 6 + [PlaceOrder] * 2
    patience_s = settings.execution.request_timeout_s / 5
    assert [at - began for _, at in exchanges[0].sent] == pytest.approx([0.0] * 6 + [patience_s] * 2)


def test_what_could_not_be_done_is_said_exactly(tmp_path: Path) -> None:
    """One market takes no order: its position is named with the exchange's own word, the other one is closed."""
    outcome, _ = killed(tmp_path, lambda: HalfDown(deaf=[ETH]))
    assert not outcome.flat
    assert f"positions {ETH} -2; orders none" in outcome.text
    assert f"flattening {ETH}: rejected (marketSuspended)" in outcome.text
    assert XBT not in outcome.text


def test_an_exchange_that_cannot_be_read_proves_nothing(tmp_path: Path) -> None:
    """Nothing is claimed to be closed."""
    outcome, settings = killed(tmp_path, lambda: HalfDown(blind=True))
    assert not outcome.flat
    assert "could not be read (HTTP 503): orders and positions may be open" in outcome.text
    assert latch_state(settings).latched


def test_asking_for_the_lock_does_not_take_it(tmp_path: Path) -> None:
    """A daemon may start while a command looks; one that runs is seen; a lock file that nobody holds is no daemon."""
    daemon, command = (StateDirectory(tmp_path, "paper", "dev") for _ in range(2))
    assert not command.owned_by_other()
    daemon.own()
    assert command.owned_by_other()
    with pytest.raises(AlreadyRunning):
        command.own()
    daemon.release()
    assert not command.owned_by_other()
    daemon.own()
    daemon.release()


def test_a_request_wakes_who_listens(tmp_path: Path) -> None:
    """The hint is there at once; without a listener the file alone remains."""
    state = StateDirectory(tmp_path, "paper", "dev")
    state.request_kill("nobody listens")
    with state.kill_hints() as hints:
        state.request_kill("drill")
        assert os.read(hints, 8) == b"!"
    assert state.kill_requested() == "drill"


# --- acknowledging ---------------------------------------------------------------------------------------------


class Quiet(HalfDown):
    """An account in which nothing is open; `readings` says when it was read, and `appears` shows a position from that reading on."""

    def __init__(self, appears: int = 100, *, unread: int = 100) -> None:
        super().__init__()
        self.clock = SimulatedClock(START, trio.current_time())
        self.appears, self.unread, self.readings = appears, unread, list[int]()

    async def snapshot(self) -> SnapshotSeen | SnapshotFailed:
        self.readings.append(self.clock.now_us())
        self.orders, self.sizes = {}, {XBT: D(int(len(self.readings) > self.appears))}
        self.blind = len(self.readings) > self.unread
        return await super().snapshot()


class Latched:
    """A state directory with a latched kill switch and no daemon; `acknowledge` against an exchange of one's own."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.settings = Settings.model_validate({"store": {"directory": str(root)}})
        self.state = StateDirectory(root, self.settings.mode, self.settings.env)
        self.state.request_kill("drill")
        self.url = f"sqlite:///{root / 'paper-dev' / 'ledger.sqlite'}"
        with open_ledger(self.url) as ledger:
            ledger.latch(from_edge(Latch, START, reason="drill", by="me"))
        self.exchange: Quiet | None = None
        self.patch = monkeypatch

    def acknowledge(self, reason: str = "the cause is gone", **terms: int) -> str:
        @asynccontextmanager
        async def open_site(*_: Any) -> AsyncIterator[Site]:
            self.exchange, nowhere = Quiet(**terms), None
            yield Site(self.settings, self.exchange.clock, nowhere, self.exchange)  # type: ignore[arg-type]

        self.patch.setattr("actors.modes.emergency.site_of", lambda settings: open_site)
        return acknowledge(self.settings, reason, "ann")

    @property
    def holds(self) -> bool:
        """Whether the switch still holds, in the store and as a request."""
        with open_reader(self.url) as reader:
            assert reader.latch().latched == (self.state.kill_requested() is not None)
            return reader.latch().latched


@pytest.fixture
def latched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Latched:
    return Latched(tmp_path, monkeypatch)


def test_an_acknowledgement_needs_two_flat_readings(latched: Latched) -> None:
    """The second comes after anything that was sent before the first can have arrived; only then the switch is released."""
    assert latched.acknowledge() == "acknowledged by ann: the cause is gone. `run` may trade again"
    assert latched.exchange is not None
    first, second = latched.exchange.readings
    assert second - first >= latched.settings.execution.process_before_s * SECOND_US
    assert not latched.holds


def test_what_shows_in_the_second_reading_keeps_the_latch(latched: Latched) -> None:
    """A late fill: still open is still latched."""
    with pytest.raises(Refused, match="still open: positions PF_XBTUSD 1"):
        latched.acknowledge(appears=1)
    assert latched.holds


@pytest.mark.parametrize("unread", [0, 1])
def test_a_fault_that_persists_keeps_the_latch(latched: Latched, unread: int) -> None:
    """An exchange that cannot be read proves nothing, at the first reading or the second; once it can, the same words release."""
    with pytest.raises(Refused, match="flat is not proven"):
        latched.acknowledge(unread=unread)
    assert latched.holds
    latched.acknowledge()
    assert not latched.holds


def test_an_acknowledgement_is_in_the_journal(latched: Latched) -> None:
    """Who, when, why and on what evidence; a second one finds nothing to do and writes nothing."""
    latched.acknowledge()
    assert latched.acknowledge("again") == "the kill switch is not latched: nothing to acknowledge"
    with open_reader(latched.url) as reader:
        alerts = [told.message for told in reader.told(Alert)]
        assert (reader.latch().by, reader.latch().reason) == ("ann", "the cause is gone")
    assert [(alert.code, alert.severity, alert.text) for alert in alerts] == [
        (
            "KILL_ACKED",
            "critical",
            "kill switch acknowledged by ann: the cause is gone; two readings show no position and no order",
        )
    ]


def test_nobody_acknowledges_while_a_daemon_runs(latched: Latched) -> None:
    """It would trade on in the same second; the lock stays the daemon's."""
    latched.state.own()
    with pytest.raises(Refused, match="a daemon is running"):
        latched.acknowledge()
    assert latched.state.owned_by_other()
    assert latched.holds
    latched.state.release()

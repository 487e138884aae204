"""What stands between a person's hand and the daemon or the store: one line that says whose fault it is and what to do."""

from __future__ import annotations

import errno
import json
import os
import sqlite3
from collections.abc import Iterator
from typing import Any

import pytest
from homes import Home

from actors.gate import Gate
from actors.gateway.futures import FuturesGateway
from actors.ledger.journal import Ledger, open_ledger
from actors.monitor.status import StatusPage
from actors.state import StateDirectory
from protocol.messages.base import from_edge
from protocol.messages.control import Latch
from protocol.ports import FeedLost, LatchState

HALT = ("entries", "halt", "--reason", "news")


def no_space(*_: Any, **__: Any) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def full(*_: Any) -> None:
    raise sqlite3.OperationalError("database or disk is full")


@pytest.fixture
def daemon(home: Home) -> Iterator[StateDirectory]:
    """Whoever runs on the state, not answering."""
    state = StateDirectory(home.root, "paper", "dev")
    state.own()
    yield state
    state.release()


def assert_told(home: Home, words: tuple[str, ...], code: int, *told: str) -> None:
    result = home.command(*words)
    assert (result.exit_code, result.stderr.count("\n"), result.stdout) == (code, 1, ""), result.output
    for text in told:
        assert text in result.stderr


def test_a_daemon_that_starts_in_this_moment_is_named(
    home: Home, daemon: StateDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody ran when the command looked, and somebody does when it takes the state: nothing was done, ask again."""
    monkeypatch.setattr(StateDirectory, "owned_by_other", lambda state: False)
    assert_told(home, HALT, 3, "has just taken", "nothing was done: run the same command again")


def test_what_is_open_is_asked_of_a_daemon_that_starts_in_this_moment(
    home: Home, daemon: StateDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To read costs nothing, so it is simply asked again."""
    looks = iter([False, True])
    daemon.write_status({"positions": [], "orders": []})
    monkeypatch.setattr(StateDirectory, "owned_by_other", lambda state: next(looks))
    shown = home.command("positions")
    assert (shown.exit_code, shown.stdout) == (0, "no positions, says the daemon\n")


def test_a_daemon_that_hangs_is_not_well(home: Home, daemon: StateDirectory) -> None:
    """It holds its lock and its last page looks well: only how old the page is tells. Without a daemon, or a page, it is not well either."""
    alive = ("status", "--json", "--within", "1m")
    assert_told(home, alive, 1, "no daemon has run")
    daemon.write_status({"latched": False})
    assert home.command(*alive).exit_code == 0
    page = daemon.path / "status.json"
    os.utime(page, (0, page.stat().st_mtime - 61))
    assert_told(home, alive, 1, f"the daemon on {daemon.path} has published nothing for 61 s")
    assert home.command("status", "--json").exit_code == 0, "who only asks is shown it"
    daemon.write_status({"latched": False})
    daemon.release()
    assert_told(home, alive, 1, f"no daemon is running on {daemon.path}")
    assert_told(home, ("status", "--within", "soon"), 2, "--within 'soon'")


def test_status_names_markets_that_are_not_at_cross_margin(home: Home, daemon: StateDirectory) -> None:
    """No entry leaves in them; one at cross margin needs no word."""
    margin = {"PF_ETHUSD": "cross", "PF_XBTUSD": "isolated at 3x"}
    daemon.write_status(StatusPage().page(Gate((), LatchState(latched=False)), {}) | {"margin": margin})
    shown = home.command("status").stdout
    assert "PF_XBTUSD isolated at 3x: no entry leaves in it" in shown
    assert "PF_ETHUSD" not in shown


@pytest.mark.parametrize("fails", ["mkstemp", "json.dump"])
def test_a_request_that_finds_no_room_says_so(
    home: Home, daemon: StateDirectory, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    """The disk is at fault, the daemon was not asked, and nothing half-written is left."""
    monkeypatch.setattr(f"actors.state.{fails}", no_space)
    assert_told(home, HALT, 1, "No space left on device", str(daemon.path), "the daemon was not asked", "make room")
    assert list(daemon.path.glob("requests/*")) == []


def test_a_halt_that_the_store_does_not_take_is_no_halt(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """No daemon runs and the disk is full: nothing was done, and that is said."""
    monkeypatch.setattr(Ledger, "_write_page", full)
    assert_told(home, HALT, 1, "database or disk is full", "nothing was done")


def test_a_lock_that_cannot_be_written_is_the_disks_fault(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor can the state be taken then."""
    monkeypatch.setattr(StateDirectory, "own", no_space)
    assert_told(home, HALT, 1, "No space left on device", "nothing was done")


def test_a_close_that_cannot_be_written_down_closes(holding: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Money before records: done, and told that the journal lacks it."""
    monkeypatch.setattr(Ledger, "_write_page", full)
    done = holding.command("close", "BTC/USD", "--reason", "done")
    assert done.exit_code == 0, done.output
    assert "closed" in done.stdout
    assert "not in the journal" in done.stdout
    assert "database or disk is full" in done.stdout


def test_a_close_whose_tables_cannot_follow_closed(holding: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """The record has it; what is made of it is made at the next start."""
    monkeypatch.setattr(Ledger, "_tell", full)
    done = holding.command("close", "BTC/USD", "--reason", "done")
    assert done.exit_code == 0, done.output
    assert "closed" in done.stdout


def test_an_acknowledgement_is_refused_while_something_is_open(holding: Home) -> None:
    """On the paper exchange, too, in one line: what is open, and what closes it."""
    with open_ledger(f"sqlite:///{holding.path / 'ledger.sqlite'}") as ledger:
        ledger.latch(from_edge(Latch, 1, reason="drill", by="ann"))
    assert_told(
        holding, ("kill-switch", "ack", "--reason", "fine"), 3, "still open: positions PF_XBTUSD", "--emergency"
    )


@pytest.mark.parametrize("words", [("close", "BTC/USD", "--reason", "done"), ("kill-switch", "--dry-run")])
def test_an_exchange_that_lists_no_contracts_is_at_fault(
    holding: Home, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    """What would be sent is checked against the contracts' rules: without them nothing is."""

    async def lost(_: FuturesGateway) -> None:
        raise FeedLost("HTTP 503")

    monkeypatch.setattr(FuturesGateway, "instruments", lost)
    assert_told(holding, words, 3, "the exchange could not be read", "HTTP 503")


LATIN = "caf\udce9"
"""What Python makes of a word that a terminal of Latin-1 sent."""


def test_words_in_another_encoding_do_not_keep_a_kill_back(holding: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reason is written down as far as it can be, and a person without a name is known by number."""

    def nameless() -> str:
        raise KeyError("getpwuid(): uid not found: 4242")

    monkeypatch.setattr("getpass.getuser", nameless)
    assert holding.command("entries", "halt", "--reason", LATIN).exit_code == 0
    killed = holding.command("kill-switch", "--emergency", "--reason", LATIN)
    assert (killed.exit_code, "every position is flat" in killed.output) == (0, True), killed.output
    assert "by uid" in holding.command("kill-switch", "status").output
    assert holding.command("kill-switch", "ack", "--reason", LATIN).exit_code == 0


@pytest.mark.parametrize("file", ["nonce", "kill"])
def test_damaged_files_do_not_keep_a_kill_back(holding: Home, file: str) -> None:
    """A nonce that is no number, a request whose reason is no text: everything is closed all the same."""
    (holding.path / file).write_bytes(b"\xff\xfe")
    assert holding.command("kill-switch", "--emergency").exit_code == 0
    assert "latched at" in holding.command("kill-switch", "status").output


def test_status_tells_of_a_latch_that_came_after_the_daemon(holding: Home) -> None:
    """The page is the daemon's last word; the kill switch and that nothing trades are told as they are now."""
    assert json.loads(holding.command("status", "--json").stdout)["latched"] is False
    assert "closed: no daemon is running" in holding.command("status").stdout
    holding.command("kill-switch", "--emergency")
    assert json.loads(holding.command("status", "--json").stdout)["latched"] is True
    assert "latched: see `kill-switch status`" in holding.command("status").stdout
    (holding.path / "ledger.sqlite").write_bytes(b"no ledger")
    assert json.loads(holding.command("status", "--json").stdout)["latched"] is None


def test_a_table_in_a_pipe_is_whole(holding: Home) -> None:
    """An order's id is there to be copied or searched, not cut where a terminal would have ended."""
    found = json.loads(holding.command("orders", "--json").stdout)["orders"]
    lines = holding.command("orders").stdout.splitlines()
    assert len(lines) == 2 + len(found)
    assert all(any(order["order_id"] in line for line in lines) for order in found)


def test_a_damaged_status_page(holding: Home) -> None:
    """It is named, and not taken for a daemon that never ran."""
    (holding.path / "status.json").write_text("")
    told = holding.command("status")
    assert (told.exit_code, told.stdout) == (1, "")
    assert told.stderr.startswith(f"error: {holding.path / 'status.json'}: is damaged")

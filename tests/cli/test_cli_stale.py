"""State that an older, a newer or a broken program left: one line that names the file and says what to do, and nothing is touched."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from homes import Home

from actors.ledger.journal import open_ledger, open_reader
from actors.memory import sealed
from actors.modes.memories import REMEMBERING
from actors.part import nothing
from actors.tree import CHILDREN
from tests.fakes.worlds import idle_world

RUN = ("run", "--mode", "paper", "--for", "1s")


def ledger_of(home: Home) -> Path:
    return home.path / "ledger.sqlite"


def other_memory(home: Home) -> Path:
    """The executor's memory has a field of another kind."""
    with open_ledger(f"sqlite:///{ledger_of(home)}") as ledger:
        ledger.keep("executor", lambda: b'{"trades": {"PF_XBTUSD": {"plan": 1}}}')
        ledger.flush()
    return ledger_of(home)


def no_memory_at_all(home: Home) -> Path:
    """Bytes that are no memory."""
    with open_ledger(f"sqlite:///{ledger_of(home)}") as ledger:
        ledger.keep("futures_feed", lambda: sealed("futures_feed", b"no memory"))
        ledger.flush()
    return ledger_of(home)


def other_account(home: Home) -> Path:
    """The paper exchange was saved in another form."""
    file = home.path / "venue.msgpack"
    file.write_bytes(b'{"books": {"start": "ten"}}')
    return file


def torn_account(home: Home) -> Path:
    """The paper exchange is no JSON."""
    file = home.path / "venue.msgpack"
    file.write_bytes(b"\x93torn")
    return file


def other_markets(home: Home) -> Path:
    """The paper exchange holds a contract that is not configured."""
    file = home.path / "venue.msgpack"
    file.write_bytes(file.read_bytes().replace(b"PF_XBTUSD", b"PF_DOGEUSD"))
    return file


def newer_schema(home: Home) -> Path:
    """A later program's tables."""
    with closing(sqlite3.connect(ledger_of(home))) as database, database:
        database.execute("update alembic_version set version_num = 'from the future'")
    return ledger_of(home)


def no_database(home: Home) -> Path:
    """The file is something else."""
    ledger_of(home).write_bytes(b"not a database, whatever its name says" * 100)
    return ledger_of(home)


def test_a_server_that_is_down_is_no_damaged_store(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is told to restore a copy of what is well: the command failed (1), the store is no bad input (2)."""
    monkeypatch.setenv("KRAKEN_SMC__STORE__DATABASE", "postgresql://smc:hunter2@127.0.0.1:1/ledger")
    result = home.command(*RUN)
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1), result.output
    assert "server at 127.0.0.1:1 cannot be reached (Connection refused): start it" in result.stderr
    assert "copy" not in result.output
    assert "hunter2" not in result.output


@pytest.mark.slow
@pytest.mark.parametrize(
    "spoil",
    [other_memory, no_memory_at_all, other_account, torn_account, other_markets, newer_schema, no_database],
)
def test_what_cannot_be_taken_up_is_one_line(holding: Home, spoil: Callable[[Home], Path]) -> None:
    """Exit 2; the line names the file; the paper account is as it was, and nobody's lock is left."""
    file = spoil(holding)
    account = (holding.path / "venue.msgpack").read_bytes()
    started = holding.command(*RUN)
    assert (started.exit_code, started.stderr.count("\n")) == (2, 1), started.output
    assert started.stderr.startswith("error: ")
    assert str(file) in started.stderr
    assert "move" in started.stderr
    assert (holding.path / "venue.msgpack").read_bytes() == account
    assert not (holding.path / "daemon.lock").read_bytes()


@pytest.mark.slow
def test_the_position_of_a_refused_start_keeps_its_stop(holding: Home) -> None:
    """Nothing was sent: the memory put right, the daemon carries on as if nothing had been."""
    with open_ledger(f"sqlite:///{ledger_of(holding)}") as ledger:
        whole = ledger.memory("executor")
        ledger.keep("executor", lambda: b"{")
        ledger.flush()
    assert holding.command(*RUN).exit_code == 2
    with open_reader(f"sqlite:///{ledger_of(holding)}") as reader:
        orders = len(reader.orders())
        assert not reader.latch().latched
    assert whole is not None
    with open_ledger(f"sqlite:///{ledger_of(holding)}") as ledger:
        ledger.keep("executor", lambda: whole)
        ledger.flush()
    assert holding.command(*RUN).exit_code == 0
    with open_reader(f"sqlite:///{ledger_of(holding)}") as reader:
        assert len(reader.orders()) == orders


@pytest.mark.slow
@pytest.mark.parametrize(
    "words", [("kill-switch", "--emergency"), ("positions",), ("close", "BTC/USD", "--reason", "x")]
)
def test_other_commands_say_it_too(holding: Home, words: tuple[str, ...]) -> None:
    """A paper account that cannot be read is no traceback anywhere."""
    file = torn_account(holding)
    done = holding.command(*words)
    assert done.exit_code == 2, done.output
    assert str(file) in done.stderr


def test_every_actor_that_remembers_is_looked_at() -> None:
    """A new memory cannot be forgotten here."""
    world = idle_world()
    parts = [spec.build(world) for spec in CHILDREN]
    assert {part.name for part in parts if part.durable is not nothing} == set(REMEMBERING)

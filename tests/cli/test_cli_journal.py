"""`journal`: the record is checked, and old records go, but not from under a daemon."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from homes import Home

from actors.ledger.journal import Ledger, open_ledger, open_reader
from actors.state import StateDirectory
from protocol.messages.base import from_edge
from protocol.messages.control import Alert
from protocol.units import DAY_US

STEPS = 200
PRUNE = ("journal", "prune", "--older-than", "30d")


@pytest.fixture
def kept(home: Home) -> Home:
    """A record of a hundred days, two steps a day, each a page."""
    with open_ledger(url_of(home)) as ledger:
        for number in range(STEPS):
            at = number * DAY_US // 2
            text = f"{number} " + "x" * 50
            ledger.record("gate", from_edge(Alert, at, number, code="GATE", severity="info", text=text), ())
            ledger.settle()
    return home


def url_of(home: Home) -> str:
    return f"sqlite:///{file_of(home)}"


def file_of(home: Home) -> Path:
    return home.path / "ledger.sqlite"


def steps_of(home: Home) -> int:
    with open_reader(url_of(home)) as reader:
        return len(list(reader.steps()))


def test_old_records_go_and_their_room_is_given_back(kept: Home) -> None:
    """What a dry run says would go is what goes; the file is smaller, and whole."""
    before = file_of(kept).stat().st_size
    would = json.loads(kept.command(*PRUNE, "--dry-run", "--json").stdout)
    assert (would["steps"], would["dry_run"], steps_of(kept)) == (139, True, STEPS)
    done = json.loads(kept.command(*PRUNE, "--json").stdout)
    assert done == {**would, "dry_run": False}
    assert steps_of(kept) == STEPS - 139
    assert file_of(kept).stat().st_size < before
    checked = kept.command("journal", "check")
    assert (checked.exit_code, checked.stdout[:16]) == (0, "whole: 200 steps")
    assert "nothing is let go" in kept.command(*PRUNE).stdout


def test_nothing_is_pruned_from_under_a_daemon(kept: Home) -> None:
    """Refused in one line; the record is as it was."""
    daemon = StateDirectory(kept.root, "paper", "dev")
    daemon.own()
    refused = kept.command(*PRUNE)
    assert (refused.exit_code, refused.stderr.count("\n")) == (3, 1)
    assert "a daemon is running: stop it" in refused.stderr
    daemon.release()
    assert steps_of(kept) == STEPS


def test_a_file_that_cannot_be_made_smaller_is_no_failure(kept: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """The records are gone and what is written next takes their room: said, exit 0."""

    def full(_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr("actors.ledger.journal.give_back", full)
    done = kept.command(*PRUNE)
    assert done.exit_code == 0, done.output
    assert "let go of 139 steps" in done.stdout
    assert "database or disk is full: its room is taken by what is written next" in done.stdout


def test_a_store_that_cannot_be_written_keeps_everything(kept: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line that says so, and exit 1."""

    def full(*_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(Ledger, "_upsert", full)
    failed = kept.command(*PRUNE)
    assert (failed.exit_code, failed.stderr.count("\n")) == (1, 1)
    assert "nothing was let go" in failed.stderr
    assert steps_of(kept) == STEPS


@pytest.mark.parametrize("words", [("journal", "check"), PRUNE])
def test_where_no_daemon_has_run_there_is_no_journal(home: Home, words: tuple[str, ...]) -> None:
    """Said in one line, and none is made."""
    result = home.command(*words)
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "has not run" in result.stderr
    assert not file_of(home).exists()


def test_a_duration_that_is_none_is_named(home: Home) -> None:
    """The option, what was given, and what is meant."""
    result = home.command("journal", "prune", "--older-than", "old")
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "--older-than 'old' is no duration" in result.stderr


def test_an_edited_page_fails_the_check(kept: Home) -> None:
    """Which steps, and exit 1."""
    with closing(sqlite3.connect(file_of(kept))) as connection, connection:
        connection.execute("UPDATE journal SET records = x'00' WHERE first_seq = 7")
    checked = kept.command("journal", "check", "--json")
    assert checked.exit_code == 1
    assert "steps 7 to 7 are not what was sealed" in json.loads(checked.stdout)["fault"]

"""The log of a daemon holds what a person looks for, and grows by nothing else."""

from __future__ import annotations

import io
import json
import logging
from pathlib import Path

import pytest
import structlog
from typer.testing import CliRunner

from actors.cli.app import app
from actors.cli.logs import clients_say, log_to
from actors.gateway.quarantine import report
from protocol.kraken.wire import MalformedPayload
from protocol.messages.base import Message, from_edge
from protocol.messages.control import Alert
from protocol.messages.futures import ExchangeSnapshot, SnapshotSeen
from tests.fakes import facts


def test_readings_of_the_exchange_are_the_journals_and_not_the_logs() -> None:
    """One comes each quarter of a minute and lists a hundred fills again: 25 KB, 140 MB a day. An alert is a line."""
    truth = {"began_at": 1, "orders": (), "positions": (), "account": facts.account()}
    routine: list[Message] = [
        from_edge(SnapshotSeen, 1, fills=(), **truth),
        from_edge(ExchangeSnapshot, 1, **truth),
    ]
    out = io.StringIO()
    write = log_to(out)
    for message in routine:
        write("futures_feed", message)
    assert out.getvalue() == ""
    write("gate", from_edge(Alert, 1, code="GATE", severity="info", text="open"))
    assert out.getvalue().count("\n") == 1


def test_the_log_is_written_however_the_libraries_own_is_set() -> None:
    """Storms silence what the clients log, in the whole process: the daemon's log lost every line with it."""
    out = io.StringIO()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    try:
        log_to(out)("gate", from_edge(Alert, 1, code="GATE", severity="info", text="open"))
    finally:
        structlog.reset_defaults()
    assert out.getvalue().count("\n") == 1


def test_what_clients_say_is_no_output(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A record that a gateway set aside is told on stderr: stdout is one JSON document, or nothing a script can read is."""

    def open_things(_: object) -> dict[str, object]:
        report([MalformedPayload("fills", "price", "is no number")])
        return {"source": "exchange", "at": 1, "positions": []}

    monkeypatch.setattr("actors.modes.manual.open_things", open_things)
    done = CliRunner().invoke(app, ["positions", "--json", "--state", str(tmp_path)])
    assert json.loads(done.stdout)["positions"] == []
    assert "record_quarantined" in done.stderr


def test_what_clients_of_a_daemon_say(capsys: pytest.CaptureFixture[str]) -> None:
    """It goes where the daemon's own words go; beside a JSON log as JSON."""
    out = io.StringIO()
    clients_say(out, json=True)
    report([MalformedPayload("fills", "price", "is no number")])
    structlog.reset_defaults()
    told = json.loads(out.getvalue())
    assert (told["event"], told["field"], told["level"]) == ("record_quarantined", "price", "warning")
    assert capsys.readouterr() == ("", "")

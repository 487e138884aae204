"""The log of a daemon holds what a person looks for, and grows by nothing else."""

from __future__ import annotations

import io
import logging

import structlog

from actors.cli.logs import log_to
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

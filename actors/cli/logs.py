"""JSON logs: one object a line for every message that a person would want to find again. Prices alone are not logged."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import TextIO

import msgspec

from protocol.messages.base import Message
from protocol.messages.control import Reconciled, WakeAt
from protocol.messages.futures import AccountChanged, ExchangeSnapshot, MarkPrice, RequestSnapshot, SnapshotSeen
from protocol.messages.signal import Held, StructureRead
from protocol.messages.spot import CandleClosed, SpotPrice

UNLOGGED = (
    MarkPrice,
    SpotPrice,
    AccountChanged,
    CandleClosed,
    StructureRead,
    Held,
    WakeAt,
    RequestSnapshot,
    SnapshotSeen,
    ExchangeSnapshot,
    Reconciled,
)


def clients_say(file: TextIO | None = None, *, json: bool = False) -> None:
    """What the gateways say of a frame or a record that they set aside goes to `file`, stderr without one: structlog's default is stdout, where it
    would stand within a command's JSON, and a pipe that nobody reads would hold up the daemon.
    """
    import structlog

    structlog.reset_defaults()
    structlog.configure(logger_factory=lambda *_: structlog.WriteLogger(file or sys.stderr))
    if json:
        stamped = structlog.processors.TimeStamper(fmt="iso", utc=True)
        renderer = structlog.processors.JSONRenderer(sort_keys=True)
        structlog.configure(processors=[stamped, structlog.processors.add_log_level, renderer])


def log_to(file: TextIO) -> Callable[[str, Message], None]:
    """A watcher that writes each message worth a line to `file`; the journal holds the rest."""
    import structlog

    logger = structlog.wrap_logger(
        structlog.WriteLogger(file),
        processors=[structlog.processors.add_log_level, structlog.processors.JSONRenderer(sort_keys=True)],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
    )

    def write(sender: str, message: Message) -> None:
        if not isinstance(message, UNLOGGED):
            fields = msgspec.to_builtins(message, builtin_types=())
            kind = fields.pop("type")
            with suppress(OSError):  # a full disk must end no actor; the journal's own failure tells of it
                logger.info(
                    kind, sender=sender, **{f"{k}": v for k, v in fields.items() if k not in ("snapshot", "verdict")}
                )

    return write

"""Records that could not be read are said aloud, never dropped in silence."""

from __future__ import annotations

from collections.abc import Iterable

import structlog

from protocol.kraken.wire import MalformedPayload

log = structlog.get_logger(__name__)


def report(quarantined: Iterable[MalformedPayload]) -> None:
    """One warning a record: what it was part of, which member is at fault, and why."""
    for problem in quarantined:
        log.warning("record_quarantined", what=problem.what, field=problem.field, problem=problem.problem)

"""Maintenance that the exchange announces: a person is told, and entries are halted from a while before it to its end. Pure.

Exits and stops go on as far as the exchange lets them. Knows no notice of another kind, and not how notices are read.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from msgspec.structs import replace

from actors.futures_feed.state import Answer, State
from protocol.messages.base import Message, follow
from protocol.messages.control import Alert, HaltEntries, ResumeEntries, WakeAt
from protocol.messages.futures import Maintenance, NoticesSeen
from protocol.units import HOUR_US, MINUTE_US, moment

MAINTENANCE: Final = "futures.maintenance"
"""The halt, and the call to begin or to end it."""
LEAD_US: Final = 15 * MINUTE_US
"""No entry in the last quarter of an hour before it (fault-catalogue 37)."""
UNSAID_US: Final = HOUR_US
"""How long maintenance is taken to last where the exchange does not say."""


def noticed(state: State, seen: NoticesSeen) -> Answer:
    """What is announced now. Taken back is what is missing before it began; what has begun lasts to its end, listed or not."""
    known = state.told.maintenance
    begun = (m for m in known if m not in seen.maintenance and m.begins is not None and m.begins <= seen.at)
    planned = tuple(m for m in (*seen.maintenance, *begun) if not _over(m, seen.at))
    out: list[Message] = []
    for maintenance in planned:
        if maintenance not in known:
            out += _told(seen, maintenance, announced(maintenance))
    for maintenance in known:
        if maintenance not in planned and not _over(maintenance, seen.at):
            out += _told(seen, maintenance, f"the exchange takes its maintenance of {_when(maintenance)} back")
    if planned != known:
        state = replace(state, told=replace(state.told, maintenance=planned))
    state, more = kept_in(state, seen)
    return state, [*out, *more]


def kept_in(state: State, cause: Message) -> Answer:
    """Entries halted or let go, as it is time for; and a call for when that changes next."""
    spans = [span for m in state.told.maintenance if (span := _span(m)) is not None]
    halted = [(first, end) for first, end in spans if first <= cause.at < end]
    out: list[Message] = []
    if halted and not state.maintained:
        until = _utc(max(end for _, end in halted))
        reason = f"the exchange announced maintenance; until {until}"
        out.append(follow(cause, HaltEntries, MAINTENANCE, key=MAINTENANCE, reason=reason))
    elif state.maintained and not halted:
        out.append(follow(cause, ResumeEntries, MAINTENANCE, key=MAINTENANCE))
    coming = [at for span in spans for at in span if at > cause.at]
    if coming:
        out.append(follow(cause, WakeAt, MAINTENANCE, key=MAINTENANCE, due=min(coming)))
    return (state if state.maintained == bool(halted) else replace(state, maintained=bool(halted))), out


def announced(maintenance: Maintenance) -> str:
    """What a person must know of it."""
    span, quoted = _span(maintenance), f' ("{maintenance.text}")' if maintenance.text else ""
    head = f"the exchange announces maintenance {_when(maintenance)}{quoted}"
    if span is None:
        return f"{head}: look when it is, entries go on"
    return f"{head}: entries are halted from {_utc(span[0])} to {_utc(span[1])}, stops stay on the exchange"


def _told(cause: Message, maintenance: Maintenance, text: str) -> Sequence[Message]:
    return [follow(cause, Alert, text, code="VENUE_MAINT", severity="warning", text=text)]


def _span(maintenance: Maintenance) -> tuple[int, int] | None:
    """From when to when no entry leaves; None: nobody knows when it is."""
    if maintenance.begins is None:
        return None
    ends = maintenance.begins + UNSAID_US if maintenance.ends is None else maintenance.ends
    return maintenance.begins - LEAD_US, ends


def _over(maintenance: Maintenance, now: int) -> bool:
    span = _span(maintenance)
    return span is not None and span[1] <= now


def _when(maintenance: Maintenance) -> str:
    if maintenance.begins is None:
        return "at a time it does not say"
    if maintenance.ends is None:
        return f"at {_utc(maintenance.begins)}, for how long it does not say"
    return f"at {_utc(maintenance.begins)} for {(maintenance.ends - maintenance.begins) // MINUTE_US} min"


def _utc(at: int) -> str:
    return f"{moment(at)} UTC"

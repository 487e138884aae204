"""A person's hands: what is open, entries halted or let go, one position closed; with the daemon up or down.

With a daemon running everything goes through it: a request file, answered. With none the same decisions are taken here, and what is
sent passes the same door and is journalled the same way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import msgspec
import trio

from actors.connection import NO_JITTER, backoff_s
from actors.door import NAME as DOOR
from actors.door import Door
from actors.gate import Gate
from actors.hands import payload
from actors.kill_switch.plan import plan
from actors.ledger.journal import Ledger
from actors.memory import durable, sealed, unsealed
from actors.modes.direct import carry_out
from actors.modes.memories import ledger_of
from actors.modes.sites import MAKE_ROOM, OpenSite, Refused, Site, Unready, pace_in, pace_of, site_of, taken
from actors.person import decide as person
from actors.standin import StandIn
from actors.state import AlreadyRunning, StateDirectory
from config.settings import Settings
from protocol.ids import derive
from protocol.messages.base import Message, follow, from_edge
from protocol.messages.control import PersonAnswered, PersonAsked
from protocol.messages.futures import (
    CancelOrder,
    EntryBlocked,
    InstrumentsListed,
    PlaceOrder,
    SnapshotFailed,
    SnapshotSeen,
)
from protocol.ports import Command, FeedLost, Journal, JournalFailed
from sim.clock import PacedClock

ANSWER_WITHIN_S = 30
LOOK_EVERY_S = 0.2
CLOSE_READINGS = 8
"""With a pause that doubles between them: a minute."""


@dataclass(frozen=True)
class Answer:
    """What came of a request; `payloads` are orders as they go on the wire."""

    done: bool
    text: str
    payloads: tuple[str, ...] = ()


def requests_in(state: StateDirectory, at: int) -> Sequence[PersonAsked]:
    """The requests in a state directory, as they enter the system."""
    return [
        from_edge(PersonAsked, at, name, request=name, **cast(dict[str, Any], fields))
        for name, fields in state.asked().items()
    ]


def hand_out(state: StateDirectory, answer: PersonAnswered) -> None:
    """Give a running daemon's answer to whoever asked."""
    state.answer(answer.request, {"done": answer.done, "text": answer.text, "payloads": list(answer.payloads)})


def ask(settings: Settings, request: Mapping[str, object]) -> Answer:
    """Have a request carried out. `request` is a `PersonAsked` without its envelope and name. Raises Refused, Unready."""
    state = StateDirectory(Path(settings.store.directory), settings.mode, settings.env)
    if state.owned_by_other():  # which has the key pair; a person's shell need not
        return trio.run(_by_daemon, state, request)
    open_site = site_of(settings)
    try:
        with taken(state), ledger_of(settings) as ledger:
            clock = PacedClock(pace_of(settings, unhurried=False))
            return trio.run(_directly, settings, state, ledger, open_site, request, clock=clock)
    except AlreadyRunning:
        raise Refused(
            f"another process has just taken {state.path}, nothing was done: run the same command again"
        ) from None
    except JournalFailed as error:
        raise Unready(
            f"the store in {state.path} could not be written, nothing was done ({error}): {MAKE_ROOM}"
        ) from None


async def _by_daemon(state: StateDirectory, request: Mapping[str, object]) -> Answer:
    try:
        name = state.ask(request)
    except OSError as error:
        raise Unready(
            f"the request could not be written in {state.path}, the daemon was not asked ({error}): {MAKE_ROOM}"
        ) from None
    for _ in range(round(ANSWER_WITHIN_S / LOOK_EVERY_S)):
        answer = state.answer_to(name)
        if answer is not None:
            return Answer(**{**answer, "payloads": tuple(cast(list[str], answer["payloads"]))})  # type: ignore[arg-type]
        await trio.sleep(LOOK_EVERY_S)
    if state.withdraw(name):
        return Answer(
            False, f"the daemon did not answer within {ANSWER_WITHIN_S} s; the request is withdrawn, nothing was done"
        )
    return Answer(False, f"the daemon took the request and did not answer within {ANSWER_WITHIN_S} s: look at `status`")


async def _directly(
    settings: Settings, state: StateDirectory, ledger: Ledger, open_site: OpenSite, request: Mapping[str, object]
) -> Answer:
    async with open_site(settings, state) as site:
        now = site.clock.now_us()
        name = derive("direct", now, str(request))
        asked = from_edge(PersonAsked, now, name, request=name, **cast(dict[str, Any], request))
        if asked.ask == "close":
            answer = await _close(site, ledger, asked, pace_in(site, settings))
            with suppress(JournalFailed):  # it is done and in the record; the tables follow at the next start
                ledger.settle()
            return answer
    known = person.initial(settings, unsealed("person", ledger.memory("person")))
    if asked.ask == "resume" and asked.key and asked.key not in known.memory.halts:
        return Answer(
            False, f"no daemon is running and {asked.key} is no person's halt: start it and ask again; nothing was done"
        )
    remembering, said = person.step(known, asked)
    ledger.record("person", asked, said)
    ledger.keep("person", lambda: sealed("person", durable(remembering)))
    told = next(message for message in said if isinstance(message, PersonAnswered))
    return Answer(told.done, f"{told.text} (no daemon is running: it holds from the next start on)")


async def _close(site: Site, ledger: Ledger, asked: PersonAsked, pace: float) -> Answer:
    """Reading by reading: a reduce-only market order for what is held, then cancel what still rests for it. The last reading sends nothing."""
    door = Door(site.settings, Gate((), ledger.read()))
    lost = list[str]()
    journal = StandIn(ledger, lost.append)
    try:
        listed = await site.futures.instruments()
    except FeedLost as error:
        raise Refused(f"the exchange could not be read, nothing was done: {error}") from None
    door.observe(follow(asked, InstrumentsListed, instruments=listed.instruments))
    sent: list[str] = []
    found = ""
    for attempt in range(CLOSE_READINGS):
        if attempt:
            await trio.sleep(backoff_s(attempt, NO_JITTER) * pace)
        truth = await site.futures.snapshot()
        if isinstance(truth, SnapshotFailed):
            found = f"the exchange could not be read ({truth.reason}), it may be open"
            continue
        found = "the exchange still shows it open"
        wishes = _wishes(asked, truth, attempt)
        if not sent and not any(isinstance(wish, PlaceOrder) for wish in wishes):
            return Answer(False, f"nothing is held in {asked.symbol}")
        if not wishes:
            return Answer(True, f"{asked.symbol}: closed; nothing of it rests any more{_unwritten(lost)}", tuple(sent))
        if attempt == CLOSE_READINGS - 1:
            break
        admitted = [(wish, door.admit(wish, site.clock.now_us())) for wish in wishes]
        if asked.dry_run:
            shown = tuple(payload(answer.order) for _, answer in admitted if not isinstance(answer, EntryBlocked))
            return Answer(True, "dry run: nothing was sent", shown)
        wanted = list[Command]()
        for wish, answer in admitted:
            assert not isinstance(answer, EntryBlocked), "only entries can be blocked"
            journal.record("person", asked, (wish,))
            journal.record(DOOR, answer, ())
            wanted.append(answer.order)
        journal.flush()
        sent += map(payload, wanted)
        await carry_out(site, wanted, lambda _, facts: _note(journal, facts))
    return Answer(
        False,
        f"{asked.symbol}: {found}; run `kill-switch --emergency` or close it by hand{_unwritten(lost)}",
        tuple(sent),
    )


def _wishes(asked: PersonAsked, truth: SnapshotSeen, attempt: int) -> list[CancelOrder | PlaceOrder]:
    """What brings one market to flat with no order left: as the kill switch does for all."""
    orders = [order for order in truth.orders if order.symbol == asked.symbol]
    positions = [position for position in truth.positions if position.symbol == asked.symbol and position.size]
    return plan(asked, asked.request, truth.began_at + attempt, orders, positions)


def _unwritten(lost: Sequence[str]) -> str:
    return "".join(f". What was sent is not in the journal ({why})" for why in lost)


def _note(journal: Journal, facts: Sequence[Message]) -> None:
    for fact in facts:
        journal.record("person", fact, ())
    journal.flush()


def open_things(settings: Settings) -> dict[str, Any]:
    """Positions and working orders: as the running daemon last said, else read from the exchange. Raises Refused, Unready."""
    state = StateDirectory(Path(settings.store.directory), settings.mode, settings.env)
    if state.owned_by_other():
        page = state.read_status() or {}
        return {
            "source": "daemon",
            "at": page.get("at"),
            **{part: page.get(part, []) for part in ("positions", "orders")},
        }
    open_site = site_of(settings)
    try:
        with taken(state):
            truth = trio.run(_read, settings, state, open_site, clock=PacedClock(pace_of(settings, unhurried=False)))
    except AlreadyRunning:
        return open_things(settings)  # a daemon has started since
    rows = {
        "positions": [p for p in truth.positions if p.size],
        "orders": truth.orders,
    }
    return {"source": "exchange", "at": truth.began_at, **{part: plain(values) for part, values in rows.items()}}


def plain(values: Sequence[msgspec.Struct]) -> list[dict[str, Any]]:
    """Structs as plain data, numbers as text."""
    return [
        {
            name: value if value is None or isinstance(value, bool | str) else str(value)
            for name, value in msgspec.structs.asdict(row).items()
        }
        for row in values
    ]


async def _read(settings: Settings, state: StateDirectory, open_site: OpenSite) -> SnapshotSeen:
    async with open_site(settings, state) as site:
        truth = await site.futures.snapshot()
    if isinstance(truth, SnapshotFailed):
        raise Refused(f"the exchange could not be read: {truth.reason}")
    return truth

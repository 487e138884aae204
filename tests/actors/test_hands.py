"""Where orders end in a dry run: every control is asked, the payload is shown, and nothing reaches the exchange."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest
import trio

from actors.door import Door
from actors.gate import Gate
from actors.hands import send
from actors.ledger.project import names_of
from actors.pretrade import CONTROLS
from actors.shell import World
from config.settings import Settings
from protocol.codec import decode, encode
from protocol.messages.base import Message, from_edge
from protocol.messages.control import Alert, HaltEntries, PersonAnswered, Reconciled
from protocol.messages.futures import (
    AccountChanged,
    EntryBlocked,
    InstrumentsListed,
    InstrumentsSeen,
    OrderAdmitted,
    PlaceOrder,
    PositionChanged,
    Rehearsed,
    RehearseOrders,
    RequestInstruments,
    RequestSnapshot,
    SnapshotFailed,
)
from protocol.ports import FeedLost, LatchState
from tests.fakes import facts
from tests.fakes.ports import FakeJournal, FakeLatchStore

AT = 1_000_000
ENTRY = from_edge(
    PlaceOrder,
    AT,
    client_order_id="ks-1",
    signal_id="s",
    role="entry",
    symbol=facts.XBT,
    side="buy",
    order_type="mkt",
    size=Decimal("0.10009"),
)
EXIT = msgspec.structs.replace(ENTRY, client_order_id="ks-2", role="exit", side="sell", reduce_only=True)


class Clock:
    """Stands still."""

    def now_us(self) -> int:
        return AT

    steady_us = now_us


class Wire:
    """An exchange that remembers what reached it."""

    def __init__(self) -> None:
        self.sent: list[Message] = []
        self.rules: InstrumentsSeen | None = None
        self.margin: dict[str, Decimal] | None = {}

    async def instruments(self) -> InstrumentsSeen:
        if self.rules is None:
            raise FeedLost("no route to host")
        return self.rules

    async def isolated(self) -> dict[str, Decimal]:
        if self.margin is None:
            raise FeedLost("no route to host")
        return self.margin

    async def snapshot(self, *, urgent: bool = False) -> SnapshotFailed:
        return from_edge(SnapshotFailed, AT, reason="no route to host", action="retry")

    async def send(self, command: Message) -> list[Message]:
        self.sent.append(command)
        return []


def world(dry_run: bool) -> tuple[World, Wire]:
    """An open gate, a door that knows the market, and a wire."""
    settings, wire = Settings(), Wire()
    gate = Gate((), LatchState(latched=False))
    gate.observe(from_edge(Reconciled, AT, began_at=AT, clean=True))
    door = Door(settings, gate)
    for fact in (
        from_edge(InstrumentsListed, AT, instruments=(facts.instrument(),)),
        facts.mark(AT),
        from_edge(AccountChanged, AT, account=facts.account()),
        from_edge(PositionChanged, AT, position=facts.position(0)),
    ):
        door.observe(fact)
    nothing: Any = None
    return World(
        settings=settings,
        clock=Clock(),
        spot=nothing,
        futures=wire,  # type: ignore[arg-type]  # no more of the port is used
        journal=FakeJournal(),
        latch_store=FakeLatchStore(),
        gate=gate,
        door=door,
        routes={},
        jitter=lambda: 0.5,
        dry_run=dry_run,
    ), wire


def test_a_dry_run_shows_the_exact_payload_and_sends_nothing() -> None:
    """The entry is normalised and counted by the door, shown, written down, and told to have stayed in."""
    house, wire = world(dry_run=True)
    written: list[Message] = []
    house.journal.record = lambda actor, message, answers: written.append(message)  # type: ignore[method-assign]
    shown, blocked = trio.run(send, house, ENTRY)
    assert isinstance(shown, Rehearsed)
    assert shown.payload.startswith("POST /derivatives/api/v3/sendorder ")
    assert "size=0.1000&" in shown.payload, "rounded to the lot"
    assert isinstance(blocked, EntryBlocked)
    assert blocked.reasons == ("dry_run: not sent",)
    (exit_shown,) = trio.run(send, house, EXIT)
    assert isinstance(exit_shown, Rehearsed)
    assert wire.sent == []
    assert [message for message in written if isinstance(message, Rehearsed)] == [shown, exit_shown]


def test_a_yes_is_written_down_with_what_was_found_and_changed() -> None:
    """The journal and whoever watches hear of the rounded entry before it is on the wire."""
    house, wire = world(dry_run=False)
    told: list[tuple[str, Message]] = []
    written: list[tuple[str, Message]] = []
    house.watch = lambda sender, message: told.append((sender, message))
    house.journal.record = lambda actor, message, answers: written.append((actor, message))  # type: ignore[method-assign]
    trio.run(send, house, ENTRY)
    ((sender, admitted),) = told
    assert sender == "door"
    assert isinstance(admitted, OrderAdmitted)
    assert admitted.changes == ("size 0.10009 -> 0.1000",)
    assert [found.control for found in admitted.findings] == ["gate", *CONTROLS]
    assert (written, wire.sent) == (told, [admitted.order])
    assert decode(encode(admitted)) == admitted
    assert ENTRY.client_order_id in names_of(admitted), "`explain` finds it by the order"


def test_a_dry_run_is_refused_by_the_same_controls() -> None:
    """A closed gate keeps the entry in before anything is shown."""
    house, wire = world(dry_run=True)
    house.gate.observe(from_edge(HaltEntries, AT, key="x", reason="y"))
    (blocked,) = trio.run(send, house, ENTRY)
    assert isinstance(blocked, EntryBlocked)
    assert (blocked.reasons, wire.sent) == (("gate.halt:x",), [])


def test_a_rehearsal_answers_the_person_and_counts_for_nothing() -> None:
    """The same order may really leave afterwards: rehearsing it was no sending."""
    house, wire = world(dry_run=False)
    wish = from_edge(RehearseOrders, AT, request="r1", symbol=facts.XBT, orders=(ENTRY, EXIT))
    (answer,) = trio.run(send, house, wish)
    assert isinstance(answer, PersonAnswered)
    assert (answer.done, len(answer.payloads), wire.sent) == (True, 2, [])
    trio.run(send, house, ENTRY)
    assert len(wire.sent) == 1


@pytest.mark.parametrize("urgent", [True, False])
def test_an_urgent_reading_waits_for_no_pause_of_a_feed(urgent: bool) -> None:
    """It comes back through the futures feed, so that one has to be up; a usual reading may wait."""
    house, _ = world(dry_run=False)
    hurried: list[int] = []
    house.hurry = lambda: hurried.append(1)
    trio.run(send, house, from_edge(RequestSnapshot, AT, reason="look", urgent=urgent))
    assert hurried == [1] * urgent


def test_rules_that_cannot_be_read_again_are_said() -> None:
    """Those known stand; the person hears why, and nothing dies of it."""
    house, wire = world(dry_run=False)
    told: list[Message] = []
    house.watch = lambda sender, message: told.append(message)
    wish = from_edge(RequestInstruments, AT, reason="a day has passed")
    assert trio.run(send, house, wish) == ()
    assert [alert.code for alert in told if isinstance(alert, Alert)] == ["INSTR_CHANGED"]
    wire.rules = from_edge(InstrumentsSeen, AT, instruments=(facts.instrument(),))
    assert trio.run(send, house, wish) == (wire.rules,)


def test_the_rules_come_with_what_the_account_isolates() -> None:
    """Every reading of them asks for both; what cannot be read comes as unknown, as the stream is needed all the same."""
    house, wire = world(dry_run=False)
    told: list[Message] = []
    house.watch = lambda sender, message: told.append(message)
    wire.rules = from_edge(InstrumentsSeen, AT, instruments=(facts.instrument(), facts.instrument(facts.ETH)))
    wish = from_edge(RequestInstruments, AT, reason="a day has passed")

    def margins() -> list[str]:
        (seen,) = trio.run(send, house, wish)
        assert isinstance(seen, InstrumentsSeen)
        return [rules.margin for rules in seen.instruments]

    wire.margin = {facts.ETH: Decimal("2.5"), "PF_DOGEUSD": Decimal(50)}
    assert (margins(), told) == (["cross", "isolated at 2.5x"], [])
    wire.margin = None
    assert margins() == ["unknown", "unknown"]
    assert [(alert.code, alert.severity) for alert in told if isinstance(alert, Alert)] == [("MARGIN_MODE", "info")]


def test_a_rehearsal_says_what_would_be_refused() -> None:
    """Pre-trade controls hold for a person's orders."""
    house, _ = world(dry_run=False)
    big = msgspec.structs.replace(ENTRY, size=Decimal(100))
    wish = from_edge(RehearseOrders, AT, request="r1", symbol=facts.XBT, orders=(big,))
    (answer,) = trio.run(send, house, wish)
    assert isinstance(answer, PersonAnswered)
    assert not answer.done
    assert "pretrade.order_value" in answer.text

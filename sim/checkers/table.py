"""All invariants in the catalogue's order, and who hears what."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from protocol.messages.base import Message
from protocol.messages.control import Alert, WakeAt
from protocol.messages.futures import Fill, Filled, FillSeen, MarkPrice, OrderSeen, TickerSeen
from protocol.messages.spot import CandleSeen, SpotPrice
from sim.checkers import (
    audit,
    books,
    entries,
    killing,
    orders,
    prices,
    protection,
    strategy,
    supervision,
    system,
    telling,
)
from sim.checkers.evidence import Evidence
from sim.checkers.invariant import Invariant
from sim.checkers.reached import Reached
from sim.checkers.sent import Sent
from sim.faults.host import Record
from sim.faults.network import Reply, Request

INVARIANTS: Final[tuple[type[Invariant], ...]] = (
    protection.Protected,
    protection.NotOverProtected,
    protection.NeverWidened,
    entries.OneEntryPerSignal,
    entries.Limits,
    entries.Leverage,
    entries.RiskPerTrade,
    entries.LiquidationBuffer,
    killing.KillIsAbsolute,
    killing.KillCompletes,
    killing.LatchSurvives,
    books.FillsOnce,
    orders.WriteBeforeSend,
    orders.Ids,
    orders.EvidenceBeforeDeath,
    books.EquityIdentity,
    books.PositionIdentity,
    strategy.SpotOnly,
    strategy.NoLookAhead,
    entries.FreshData,
    prices.MarkRules,
    entries.ModeAndRefusal,
    entries.Rates,
    audit.Audit,
    supervision.Converged,
    supervision.Supervision,
    supervision.Bounded,
    telling.Alerts,
    telling.Secrets,
    system.Determinism,
    system.OneWriter,
    system.ModePurity,
    system.UnknownIsNotZero,
)
HOOKS: Final = (
    "asked",
    "sent",
    "answered",
    "filled",
    "triggered",
    "told",
    "recorded",
    "changed",
    "second",
    "began",
    "leapt",
    "converged",
)
TRIGGERED: Final = "stop_order_triggered"
PRICES: Final = frozenset({MarkPrice, SpotPrice, TickerSeen, CandleSeen, WakeAt})
"""What comes with every second: numbers alone."""


class Watchers:
    """The invariants over one run's evidence; each hears only what it asks for."""

    def __init__(self, evidence: Evidence) -> None:
        self.e = evidence
        invariants = [kind(evidence) for kind in (*INVARIANTS, Reached)]
        self._hear: dict[str, list[Callable[..., Any]]] = {
            hook: [getattr(i, hook) for i in invariants if getattr(type(i), hook) is not getattr(Invariant, hook)]
            for hook in HOOKS
        }
        self._ears = [
            ((Alert, Filled), evidence.said),
            *((i.hears, i.said) for i in invariants if type(i).said is not Invariant.said),
        ]
        self._said: dict[type[Message], list[Callable[..., Any]]] = {}

    def _tell(self, hook: str, *what: object) -> None:
        for hear in self._hear[hook]:
            hear(*what)

    def request(self, request: Request, reply: Reply | None) -> None:
        """The network's edge: a request leaves, or its reply is delivered."""
        if reply is not None:
            self.e.replied(request)
            self._tell("answered", request, reply)
            return
        self._tell("asked", request)
        sent = self.e.request(request)
        if sent is not None:
            self.e.pass_time()
            self._tell("sent", sent)

    def report(self, messages: Sequence[Message]) -> None:
        """What the exchange's books did."""
        self.e.pass_time()
        for message in messages:
            if isinstance(message, FillSeen) and message.source == "stream":
                self._fill(message.fill)
            elif isinstance(message, OrderSeen) and message.reason == TRIGGERED:
                self._tell("triggered", message.order)
        self.e.past.booked(self.e.now)
        self._tell("changed")

    def _fill(self, fill: Fill) -> None:
        fresh = fill.fill_id not in self.e.fills
        self.e.filled(fill)
        if fresh:
            self._tell("filled", fill)

    def said(self, sender: str, message: Message) -> None:
        """Somebody said something inside the daemon."""
        kind = type(message)
        ears = self._said.get(kind)
        if ears is None:
            ears = self._said[kind] = [hear for hears, hear in self._ears if issubclass(kind, hears)]
        for hear in ears:
            hear(sender, message)

    def told(self, alert: Alert) -> None:
        """A person is told something."""
        self._tell("told", alert)

    def second(self) -> None:
        """Another second has passed."""
        self.e.pass_time()
        self.e.past.look(self.e.now)
        for look in self._hear["second"]:
            look()

    def wrote(self, records: Sequence[Record]) -> None:
        """Steps became durable."""
        self.e.journal.wrote(records)
        # Nobody looks at prices that nobody's decision followed from, of any child but the strategy.
        telling = [
            record
            for record in records
            if type(record[1]) not in PRICES or record[0] == "strategy" or not PRICES.issuperset(map(type, record[2]))
        ]
        for hear in self._hear["recorded"] if telling else ():
            for record in telling:
                hear(*record)

    def began(self, life: int, *, damaged: bool = False) -> None:
        """A process starts, on memories that are `damaged` or as they were written."""
        self.e.began(life, damaged=damaged)
        self._tell("began")

    def leapt(self, seconds: float, *, asleep: bool) -> None:
        """Time passed in which nothing ran."""
        self.e.leapt()
        for hear in self._hear["leapt"]:
            hear(seconds, asleep=asleep)

    def converged(self) -> None:
        """Healed for long enough."""
        self._tell("converged")


__all__ = ["INVARIANTS", "Sent", "Watchers"]

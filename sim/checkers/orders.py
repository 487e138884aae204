"""Invariants 13 to 15: orders as they leave: what was intended, under which id, and what is known of them before they count as over."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

import msgspec

from protocol.messages.base import Message
from protocol.messages.control import Drift, Reconciled
from protocol.messages.futures import (
    Fill,
    Filled,
    OrderAccepted,
    OrderGone,
    OrderRejected,
    OrderUnknown,
    PlaceOrder,
)
from protocol.units import MINUTE_US
from sim.checkers.evidence import HTTP_OK, Evidence
from sim.checkers.invariant import Invariant
from sim.checkers.sent import Sent
from sim.faults.network import Reply, Request

NAME_MOST: Final = 100
SERVER_ERROR: Final = 500
"""From here on a status of HTTP says nothing of what became of an order."""
RULES_HEARD_US: Final = 10 * MINUTE_US
"""A contract's new rules that were read are known within it."""
TAKEN: Final = frozenset({"placed", "clientOrderIdAlreadyExist"})
"""An id that exists already is no refusal of the order that has it."""
AT_A_LOSS: Final = frozenset({"Server Error", "Unavailable", "unknownError"})
"""Words of an exchange that does not know itself what became of an order."""
RESTS: Final = frozenset({"ENTERED_BOOK", "TRIGGER_PLACED"})
"""What the exchange calls an order that is asked after and rests."""


class WriteBeforeSend(Invariant):
    """13: every order that leaves has a durable intent with its terms."""

    number, name = 13, "write before send"

    def sent(self, sent: Sent) -> None:
        if sent.op != "send":
            return
        intent = self.e.journal.intents.get(sent.name)
        if intent is None and sent.reduce_only and self.e.disk_failed():
            self.e.once("exit without a record while the disk fails")
        elif intent is None:
            self.fail(f"{sent.symbol} {sent.role} {sent.name} left without a durable intent")
        elif (intent.symbol, intent.side, intent.order_type, intent.reduce_only) != (
            sent.symbol, sent.side, sent.order_type, sent.reduce_only,
        ) or not self._measures(sent, intent):  # fmt: skip
            self.fail(f"{sent.name} left as {sent.terms}, intended {intent}")

    def _measures(self, sent: Sent, intent: PlaceOrder) -> bool:
        """Whether size and prices are those intended, but for the rounding to the contract's lot and tick, which may have changed since."""
        rules = self.e.engine.rules[sent.symbol]
        return (
            _near(sent.size, intent.size, rules.lot)
            and _near(sent.stop_price, intent.stop_price, rules.tick)
            and _near(sent.limit_price, intent.limit_price, rules.tick)
        )


def _near(one: Decimal | None, other: Decimal | None, step: Decimal) -> bool:
    """Whether two numbers, if any, are less than a step apart."""
    return one == other or (one is not None and other is not None and abs(one - other) < step)


class Ids(Invariant):
    """14: an id stands for one set of terms for ever, and fits the exchange."""

    number, name = 14, "ids"

    def __init__(self, evidence: Evidence) -> None:
        super().__init__(evidence)
        self._terms: dict[str, tuple[object, ...]] = {}

    def sent(self, sent: Sent) -> None:
        if sent.op != "send":
            return
        if not sent.name or len(sent.name) > NAME_MOST or not sent.name.isascii():
            self.fail(f"{sent.symbol} {sent.role}: client order id {sent.name!r}")
        before = self._terms.setdefault(sent.name, sent.terms)
        if before != sent.terms and not self.e.journal.unknowable(sent.name):
            self.fail(f"{sent.name} stood for {before} and now for {sent.terms}")


def heard_of(message: Message) -> str:
    """The order that a message says something of, which ends doubt; empty for none."""
    match message:
        case OrderAccepted(order=order):
            return order.client_order_id or ""
        case OrderGone(client_order_id=name) | OrderRejected(client_order_id=name) | Drift(client_order_id=name):
            return name or ""
        case Filled(fill=fill):
            return fill.client_order_id or ""
        case _:
            return ""


class EvidenceBeforeDeath(Invariant):
    """15: no order is called dead that is alive."""

    number, name = 15, "evidence before death"
    hears = (OrderUnknown, OrderGone, OrderRejected, OrderAccepted, Filled, Drift, Reconciled)

    def __init__(self, evidence: Evidence) -> None:
        super().__init__(evidence)
        self._unknown: dict[str, int] = {}
        """Orders in doubt, and since when by the host's clock."""
        self._told_no: set[str] = set()
        self._absent: set[str] = set()
        """Those of them that a complete list, begun after the last word of doubt, lacked."""
        self._shown: set[str] = set()
        """Those that were said to rest, in this life."""
        self._denied: dict[str, int] = {}
        """Those that the exchange itself has called over since, asked of them, and when last."""
        self._buried: set[str] = set()
        """Entries that were called absent."""
        self._silent: dict[str, tuple[int, int]] = {}
        """Stops that left and were not heard of since: in which life they last left, and when by the host's clock."""
        self._lacked: dict[str, int] = {}
        """Those of them that a complete list, begun after they last left, lacked, and when that was first said by the host's clock."""
        self._over: set[str] = set()
        """Orders that were called over since they last left: a late word of doubt says nothing new of them."""
        self._left_at: dict[str, int] = {}
        self._again: set[str] = set()
        """Orders that left more than once: the exchange's no to the second says nothing of the first (storm 64049)."""
        self._changes = 0
        """So often a contract's rules changed."""
        self._rules_until: int | None = 0
        """Until when an order may have left by rules that were no more; None: nobody has read those of now (storm 520322)."""

    def began(self) -> None:
        self._shown, self._denied = set(), {}

    def answered(self, request: Request, reply: Reply) -> None:
        """The exchange's own no is evidence; an error on the way is none."""
        if request.op == "send" and _refuses(reply):
            self._told_no.add(request.form.get("cliOrdId", ""))
        elif request.op == "instruments" and reply.status == HTTP_OK:
            self._look_at_rules()
            if self._rules_until is None:
                self._rules_until = self.e.now + RULES_HEARD_US
        elif request.op == "status":
            self._denied |= dict.fromkeys(_denied(reply), self.e.now)

    def sent(self, sent: Sent) -> None:
        """What is in doubt is not sent again under a new name, unless the contract's rules make it another order."""
        intent = self.e.journal.intents.get(sent.name)
        if sent.op != "send":
            return
        if sent.name in self._left_at:
            self._again.add(sent.name)
        self._left_at.setdefault(sent.name, self.e.now)
        self._lacked.pop(sent.name, None)
        self._over.discard(sent.name)
        if intent is None or intent.role != "stop":
            return
        self._look_at_rules()
        doubtful = {
            *(n for n in self._unknown.keys() - self._absent - self._over if not self._replaced(n, intent.at)),
            *(name for name, (life, _) in self._silent.items() if life < sent.life),
        }
        self._silent[sent.name] = sent.life, self.e.now + self.e.clock_off_us()
        for name in sorted(doubtful - {sent.name}):
            before = self.e.journal.intents.get(name)
            same = before is not None and (before.role, before.signal_id) == (intent.role, intent.signal_id)
            by_new_rules = self._rules_until is not None and self._left_at.get(name, 0) >= self._rules_until
            if same and by_new_rules:
                self.fail(f"{sent.symbol} {sent.role} {sent.name} is sent although {name} is in doubt")

    def _replaced(self, name: str, decided_at: int) -> bool:
        """Whether what was decided then replaces an order that a list had lacked, before its answer, which came late, put it in doubt (storm 460238)."""
        return name in self._lacked and self._lacked[name] <= decided_at < self._unknown[name]

    def second(self) -> None:
        self._look_at_rules()

    def _look_at_rules(self) -> None:
        """An order that left before new rules were heard of gives way to another one."""
        changes = self.e.faults.injected["ex.spec"]
        if changes != self._changes:
            self._changes, self._rules_until = changes, None

    def said(self, sender: str, message: Message) -> None:
        e = self.e
        working = e.engine.state.working
        self._heard_of(message)
        match message:
            case Reconciled(began_at=began_at):
                resting = {w.order.client_order_id for w in working.values()}
                self._absent |= {n for n, at in self._unknown.items() if at < began_at and n not in resting}
                lacked = [n for n, (_, at) in self._silent.items() if at < began_at and n not in resting]
                self._lacked = dict.fromkeys(lacked, message.at) | self._lacked
            case OrderUnknown(wish="place", client_order_id=name):
                self._unknown[name] = message.at
                self._absent.discard(name)
                if e.rests(name):
                    e.once("unknown order that rests")
            case OrderGone(order_id=order_id) if order_id in working:
                self.fail(f"{message.symbol} order {order_id} is called gone ({message.reason}) and rests")
            case OrderRejected(wish="place", client_order_id=name):
                if name in self._unknown:
                    e.once("unknown settled as rejected")
                    self._unknown.pop(name, None)
                if name not in self._told_no and e.has_filled(name):
                    self.fail(f"{message.symbol} order {name} is called refused ({message.status}) and was filled")
                explained = name in self._again and name in self._told_no
                if not explained and e.rests(name):
                    self.fail(f"{message.symbol} order {name} is called refused ({message.status}) and rests")
            case Filled(fill=fill) if fill.client_order_id in self._unknown:
                e.once("unknown settled as filled")
                self._unknown.pop(fill.client_order_id, None)
            case Drift(kind="missing_order", client_order_id=name):
                self._absence(name or "")
            case OrderAccepted(order=order):
                self._accepted(order.client_order_id or "")
            case Drift(kind="foreign_order"):
                e.once("foreign order found")

    def _accepted(self, name: str) -> None:
        """An order is said to rest. Of one moment the answer about it counts: what is said of it may be of a list begun before."""
        self._unknown.pop(name, None)
        self._shown.add(name)
        if self._denied.get(name, 0) < self.e.now:
            self._denied.pop(name, None)

    def _absence(self, name: str) -> None:
        """An order is called absent: none that rests, was executed and not told, or comes later is."""
        e = self.e
        if name in self._unknown:
            e.once("unknown settled as absent")
            self._unknown.pop(name, None)
            if (intent := e.journal.intents.get(name)) is not None and intent.role == "entry":
                self._buried.add(name)  # others have no deadline: they may arrive whenever they like
        lists_lie = e.lists_lie()
        # Of an order that was shown before a list lacked it the exchange can be asked itself.
        unknowable = lists_lie and (name not in self._shown or name in self._denied)
        if e.rests(name) and not unknowable:
            self.fail(f"order {name} is called absent and rests")
        if not lists_lie and any(
            fill.client_order_id == name and fill.fill_id not in e.told for fill in e.fills.values()
        ):
            self.fail(f"order {name} is called absent and was filled")

    def filled(self, fill: Fill) -> None:
        if fill.client_order_id in self._buried:
            self.fail(f"{fill.symbol} order {fill.client_order_id} was called absent and is filled")

    def _heard_of(self, message: Message) -> None:
        name = heard_of(message)
        self._silent.pop(name, None)
        match message:
            case OrderGone() | Drift(kind="missing_order"):
                self._over.add(name)
            case OrderAccepted():
                self._over.discard(name)
                self._lacked.pop(name, None)


def _refuses(reply: Reply) -> bool:
    """Whether a reply is the exchange's own no; what cannot be read is none, nor is a word that nobody can know."""
    if reply.status != HTTP_OK:
        return reply.status < SERVER_ERROR
    try:
        body = msgspec.json.decode(reply.body)
    except msgspec.DecodeError:
        return False
    if body.get("result") == "error":
        return str(body.get("error")) not in AT_A_LOSS
    word = str(body.get("sendStatus", {}).get("status"))
    return word.isalnum() and word not in TAKEN


def _denied(reply: Reply) -> list[str]:
    """The orders that an answer calls over."""
    try:
        rows = msgspec.json.decode(reply.body).get("orders", [])
    except msgspec.DecodeError:
        return []
    return [row["order"].get("cliOrdId") for row in rows if row["status"] not in RESTS]

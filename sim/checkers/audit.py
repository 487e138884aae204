"""Invariant 24: whatever happened can be explained from what was recorded."""

from __future__ import annotations

from collections import Counter

import msgspec

from protocol.messages.base import Message
from protocol.messages.control import Alert
from protocol.messages.futures import (
    EnterPosition,
    Fill,
)
from protocol.messages.signal import Signal
from sim.checkers.evidence import Bounds, Evidence
from sim.checkers.invariant import Invariant
from sim.checkers.sent import Sent


class Audit(Invariant):
    """24: from every order and fill one can walk to the decision, its inputs and the limits it passed; every edit and cancel is recorded;
    every signal has an answer.

    The seals of the journal's pages are the ledger's own tests': a storm's journal is in memory.
    """

    number, name = 24, "audit"
    hears = (Signal, Alert)

    def __init__(self, evidence: Evidence) -> None:
        super().__init__(evidence)
        self._unadmitted: dict[str, int] = {}
        self._unanswered: dict[str, int] = {}
        self._lasts: dict[str, int] = {}
        """Microseconds for which each of them is valid."""
        self._waits: set[str] = set()
        """Those that a person was told to wait: a price answers them, once it fits or they are history (storm 400240)."""
        self._changed: Counter[str] = Counter()
        """Edits and cancels that left, by the order they name."""
        self._unwritten: dict[str, int] = {}

    def began(self) -> None:
        self._unadmitted, self._unanswered, self._unwritten = {}, {}, {}
        self._changed = Counter(self.e.journal.changes)  # what a life did whose disk had failed is written nowhere

    def said(self, sender: str, message: Message) -> None:
        if isinstance(message, Signal):
            self._unanswered[message.id] = self.e.now + Bounds.DETECT
            self._lasts[message.id] = message.valid_until - message.at
        elif isinstance(message, Alert) and message.code == "BASIS_WIDE":
            for name in self._unanswered.keys() & {*message.text.split()}:
                self._waits.add(name)
                self._unanswered[name] += self._lasts[name]
        elif isinstance(message, Alert) and message.code == "CHILD_RESTART":
            self._unanswered = {}  # what waited for a child that died is dropped, and the alert says so

    def sent(self, sent: Sent) -> None:
        if sent.op != "send":
            name = sent.name or sent.order_id
            self._changed[name] += 1
            self._unwritten.setdefault(name, self.e.now + Bounds.ALERT)
            return
        intent = self.e.journal.intents.get(sent.name)
        if intent is None:
            return  # 13 says so
        if broken := self._broken(intent.id):
            self.fail(f"{sent.symbol} {sent.role} {sent.name}: {broken} stands nowhere")
        if not sent.is_entry:
            return
        self._unadmitted[sent.name] = self.e.now + Bounds.ALERT
        if intent.signal_id not in self.e.journal.approved:
            self.fail(f"{sent.symbol} entry {sent.name}: no durable approval")
        elif intent.signal_id not in self.e.journal.signals:
            self.fail(f"{sent.symbol} entry {sent.name}: no durable signal {intent.signal_id}")
        elif not self._told(self.e.journal.signals[intent.signal_id], self.e.journal.approved[intent.signal_id]):
            self.fail(f"{sent.symbol} entry {sent.name}: its signal or its approval does not say on what it rests")

    def _told(self, signal: Signal, approved: EnterPosition) -> bool:
        """Whether both say by which rules, on which inputs."""
        inputs, rules = msgspec.json.decode(signal.snapshot or "null"), msgspec.json.decode(approved.verdict or "null")
        return bool(inputs and rules and signal.params_hash)

    def filled(self, fill: Fill) -> None:
        intent = self.e.journal.intents.get(fill.client_order_id or "")
        if intent is not None and (broken := self._broken(intent.id)):
            self.fail(f"{fill.symbol} fill {fill.fill_id} of {fill.client_order_id}: {broken} stands nowhere")

    def _broken(self, name: str) -> str:
        """The first message on the way from a wish to the edge that nothing recorded; empty when the way is whole."""
        while name:
            if name not in self.e.journal.causes:
                return name
            name = self.e.journal.causes[name]
        return ""

    def second(self) -> None:
        if not (self._unanswered or self._unadmitted or self._unwritten):
            return
        e = self.e
        self._unwritten = {
            name: due for name, due in self._unwritten.items() if e.journal.changes[name] < self._changed[name]
        }
        self._unanswered = {
            name: due
            for name, due in self._unanswered.items()
            if name not in e.journal.refused and name not in e.journal.approved
        }
        self._lasts = {name: self._lasts[name] for name in self._unanswered}
        self._waits &= self._unanswered.keys()
        self._unadmitted = {
            name: due
            for name, due in self._unadmitted.items()
            if name not in e.journal.admitted or not e.journal.admitted[name].findings
        }
        if not e.life or e.hindered() or e.disk_failed():
            return
        for name in [n for n, due in self._unanswered.items() if e.now > due and (e.healthy or n not in self._waits)]:
            self.fail(f"signal {name} was neither approved nor refused")
        for name in [name for name, due in self._unadmitted.items() if e.now > due]:
            self.fail(f"entry {name}: no record of the limits it passed")
        for name in [name for name, due in self._unwritten.items() if e.now > due]:
            self.fail(f"a change of {name} left and nothing recorded it")

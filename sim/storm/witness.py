"""Hears all that happens in a storm: each event goes into the trace, and to the checkers. Changes nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from hashlib import blake2b

from protocol.messages.base import Message
from protocol.messages.control import Alert
from protocol.messages.futures import OrderUnknown, TradeClosed, TradeOpened
from protocol.ports import Clock
from protocol.units import SECOND_US
from sim.checkers import PRICES, Evidence, Watchers
from sim.faults.network import Reply, Request


class Witness:
    """One storm's. `stop` ends it: called at the first event after an invariant broke."""

    def __init__(
        self,
        evidence: Evidence,
        clock: Clock,
        start_us: int,
        trace: Callable[[str], None] | None,
        stop: Callable[[], None],
    ) -> None:
        self.evidence = evidence
        self.watchers = Watchers(evidence)
        self.events = self.opened = 0
        self.exits: Counter[str] = Counter()
        self.last_us = start_us
        """When something last happened."""
        self._now_us = clock.now_us
        self._start_us = start_us
        self._trace = trace
        self._stop = stop
        self._hash, self._decided = blake2b(digest_size=16), blake2b(digest_size=16)

    @property
    def trace(self) -> str:
        """Hash of every event so far."""
        return self._hash.hexdigest()

    @property
    def decisions(self) -> str:
        """Hash of every order that was asked for so far."""
        return self._decided.hexdigest()

    def note(self, what: str, who: str, detail: str) -> None:
        """One event."""
        self.events += 1
        at = self.last_us = self._now_us()
        self._hash.update(f"{at} {who} {what} {detail}".encode())
        if self._trace is not None:
            self._trace(f"{(at - self._start_us) / SECOND_US:.6f} {who} {what} {detail}")
        if self.evidence.failures:
            self._stop()

    def second(self) -> None:
        """Another second has passed."""
        self.watchers.second()
        if self.evidence.failures:
            self._stop()

    def request(self, request: Request, reply: Reply | None) -> None:
        """A request leaves the daemon, or its reply arrives."""
        if reply is None:
            self.note(request.op, "request", " ".join(f"{k}={v}" for k, v in request.form.items()))
            if request.role in ("entry", "stop", "target", "exit"):
                self._decided.update(f"{request.at} {sorted(request.form.items())}".encode())
        self.watchers.request(request, reply)

    def report(self, messages: Sequence[Message]) -> None:
        """What the exchange's books did."""
        self.watchers.report(messages)
        for message in messages:
            self.note(type(message).__name__, "exchange", message.id)

    def said(self, sender: str, message: Message) -> None:
        """What an actor says."""
        if type(message) in PRICES:  # most often
            self.note(type(message).__name__, sender, message.id)
            self.watchers.said(sender, message)
            return
        detail = message.id
        if isinstance(message, Alert):
            detail = f"{message.code} {message.text}"
        self.note(type(message).__name__, sender, detail)
        if isinstance(message, TradeClosed):
            self.exits[message.reason] += 1
        elif isinstance(message, TradeOpened):
            self.opened += 1
        elif isinstance(message, OrderUnknown):
            self.evidence.once("outcome unknown")
        self.watchers.said(sender, message)

    def told(self, sender: str, alert: Alert) -> None:
        """What a person is told."""
        self.note("told", sender, f"{alert.code} {alert.count} {alert.text}")
        self.watchers.told(alert)

    def gate_changed(self, what: str, is_open: bool) -> None:
        """The gate opens or closes for one reason."""
        self.evidence.gate_log.append((self._now_us(), what, is_open))
        if what == "latch" and not is_open:
            self.evidence.latched_reach = self.evidence.reach_us
            self.evidence.once("latched")
        self.note("open" if is_open else "closed", "gate", what)

"""One invariant: a predicate over the evidence, told of what happens and asked each second. Knows no other invariant."""

from __future__ import annotations

from collections.abc import Sequence

from protocol.messages.base import Message
from protocol.messages.control import Alert
from protocol.messages.futures import Fill, OpenOrder
from sim.checkers.evidence import Evidence
from sim.checkers.sent import Sent
from sim.faults.network import Reply, Request


class Invariant:
    """`number` and `name` as in section 4 of the catalogue. Overrides what it needs to hear; `hears`: what `said` is told of."""

    number: int
    name: str
    hears: tuple[type[Message], ...] = (Message,)

    def __init__(self, evidence: Evidence) -> None:
        self.e = evidence

    def fail(self, text: str) -> None:
        """The predicate does not hold now."""
        self.e.fail(self.number, text)

    def asked(self, request: Request) -> None:
        """Any request leaves."""

    def sent(self, sent: Sent) -> None:
        """A changing request leaves."""

    def answered(self, request: Request, reply: Reply) -> None:
        """A reply is delivered."""

    def filled(self, fill: Fill) -> None:
        """The exchange executed something."""

    def said(self, sender: str, message: Message) -> None:
        """An actor said something."""

    def triggered(self, order: OpenOrder) -> None:
        """A stop or a target at the exchange fires."""

    def told(self, alert: Alert) -> None:
        """A person is told something."""

    def recorded(self, actor: str, received: Message, answers: Sequence[Message]) -> None:
        """A step became durable."""

    def changed(self) -> None:
        """The exchange's books changed."""

    def second(self) -> None:
        """Another second has passed."""

    def began(self) -> None:
        """A process starts."""

    def leapt(self, seconds: float, *, asleep: bool) -> None:
        """Time passed in which nothing ran, as the host slept or as its loop stood still."""

    def converged(self) -> None:
        """The world has been healed for long enough."""

"""Invariants 30 to 33: of the harness and the edges of the process."""

from __future__ import annotations

from typing import Final

from protocol.messages.base import Message
from protocol.messages.futures import Fill, Filled, PositionChanged
from protocol.units import SECOND_US
from sim.checkers.evidence import Bounds, Evidence
from sim.checkers.invariant import Invariant
from sim.checkers.sent import ORDER_KINDS, Sent
from sim.faults.network import Request

UNREADABLE: Final = frozenset({"rest.schema"})
"""The fault under which a list cannot be read."""
LATE: Final = frozenset({"rest.stale", "rest.forget", "ws.stale", "ws.reorder", "ws.delay", "md.lag", "md.reorder"})
"""Faults that make a list old: then flat is what once was true."""


class Determinism(Invariant):
    """30: a seed that is run again, in another process, leaves the same trace. Judged by whoever runs many (`actors.modes.storms`)."""

    number, name = 30, "determinism"


class OneWriter(Invariant):
    """31: requests come from the life that is on."""

    number, name = 31, "one writer"

    def sent(self, sent: Sent) -> None:
        if sent.life != self.e.life:
            self.fail(f"{sent.op} {sent.symbol} of life {sent.life} leaves in life {self.e.life}")


class ModePurity(Invariant):
    """32: nothing but the simulated exchange is spoken to; a request with no signature changes nothing."""

    number, name = 32, "mode purity"

    def answered(self, request: Request, reply: object) -> None:
        if request.op in ORDER_KINDS and not request.signed:
            self.fail(f"{request.op} left unsigned")


class UnknownIsNotZero(Invariant):
    """33: nobody calls a held symbol flat for longer than it takes to read the truth."""

    number, name = 33, "unknown is not zero"
    hears = (PositionChanged, Filled)

    def __init__(self, evidence: Evidence) -> None:
        super().__init__(evidence)
        self._flat: dict[str, int] = {}
        self._filled: dict[str, int] = {}
        self._told: dict[str, int] = {}
        """When a fill was executed, and when one was said, last of a symbol."""

    def began(self) -> None:
        self._flat.clear()

    def filled(self, fill: Fill) -> None:
        self._filled[fill.symbol] = self.e.now

    def said(self, sender: str, message: Message) -> None:
        if isinstance(message, Filled):
            self._told[message.fill.symbol] = self.e.now
            return
        assert isinstance(message, PositionChanged)
        position = message.position
        if position.size == 0 and self.e.positions.get(position.symbol):
            self._flat[position.symbol] = self.e.reach_us
            if (
                not self._by_a_fill(position.symbol)
                and self.e.in_force("rest", UNREADABLE)
                and not (self.e.in_force("rest", LATE) or self.e.in_force("stream", LATE))
            ):
                self.fail(
                    f"{position.symbol} {self.e.positions[position.symbol]} is called flat by a list that cannot be read"
                )
        else:
            self._flat.pop(position.symbol, None)

    def _by_a_fill(self, symbol: str) -> bool:
        """Fills are told a frame at a time, flat and then held again: at once, or when a feed hears its stream at last (storm 71324)."""
        return self.e.now - self._filled.get(symbol, -SECOND_US) < SECOND_US or self._told.get(symbol) == self.e.now

    def second(self) -> None:
        for symbol, since in list(self._flat.items()):
            if not self.e.positions.get(symbol):
                del self._flat[symbol]
            elif self.e.reach_us - since > Bounds.DETECT + Bounds.CONV:
                self.fail(f"{symbol} {self.e.positions[symbol]} was called flat and nobody took it back")

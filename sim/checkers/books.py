"""Invariants 12, 16 and 17: every execution once, and the sums, ours against the exchange's."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from protocol.messages.base import Message
from protocol.messages.futures import Fill, Filled, PositionChanged
from sim.checkers.evidence import ZERO, Bounds, Evidence
from sim.checkers.invariant import Invariant

CENT: Final = Decimal("0.01")


class FillsOnce(Invariant):
    """12: every execution is told once, as it was, and soon."""

    number, name = 12, "fills exactly once"
    hears = (Filled,)

    def __init__(self, evidence: Evidence) -> None:
        super().__init__(evidence)
        self._told_in_life: set[str] = set()
        self._missing: list[str] = []

    def began(self) -> None:
        self._told_in_life = set()
        self._missing = [name for name in self.e.fills if name not in self.e.told and name not in self.e.before]

    def filled(self, fill: Fill) -> None:
        if fill.fill_id not in self.e.before:
            self._missing.append(fill.fill_id)

    def said(self, sender: str, message: Message) -> None:
        if isinstance(message, Filled):
            if message.fill.fill_id in self._told_in_life:
                self.fail(f"fill {message.fill.fill_id} is told twice in one life")
            if message.fill.fill_id in self.e.journal.booked:
                self.fail(f"fill {message.fill.fill_id} is told again although an earlier life made it durable")
            if message.fill.fill_id not in self.e.fills:
                self.fail(f"fill {message.fill.fill_id} is told and never happened")
            elif _what(message.fill) != _what(self.e.fills[message.fill.fill_id]):
                self.fail(
                    f"fill {message.fill.fill_id} is told as {message.fill} and was {self.e.fills[message.fill.fill_id]}"
                )
            self._told_in_life.add(message.fill.fill_id)

    def second(self) -> None:
        if not self._missing:
            return
        e = self.e
        self._missing = [name for name in self._missing if name not in e.told]
        bound = Bounds.DETECT + (Bounds.HALT if e.healthy else Bounds.CONV + Bounds.DETECT)
        for name in self._missing:
            if e.reach_us - e.fill_reach[name] > bound and e.can_be_had(name):
                fill = e.fills[name]
                self.fail(f"{fill.symbol} {fill.side} {fill.size} ({name}) is not told")


def _what(fill: Fill) -> tuple[object, ...]:
    return fill.symbol, fill.side, fill.size, fill.price


class EquityIdentity(Invariant):
    """16: start + realised - fees - funding + unrealised = equity, each term by our own sums."""

    number, name = 16, "equity identity"

    def __init__(self, evidence: Evidence) -> None:
        super().__init__(evidence)
        self._sizes: dict[str, Decimal] = {}
        self._costs: dict[str, Decimal] = {}
        self._realised = ZERO
        self._fees = ZERO
        self._looked: object = None
        """The exchange's books when they were right and nothing was held."""

    def filled(self, fill: Fill) -> None:
        self._looked = None
        size, cost = self._sizes.get(fill.symbol, ZERO), self._costs.get(fill.symbol, ZERO)
        signed = fill.signed_size
        if size * signed < 0:
            closing = min(abs(signed), abs(size)) * (1 if signed > 0 else -1)
            self._realised += -closing * (fill.price - cost / size)
            cost += closing * (cost / size)
            size, signed = size + closing, signed - closing
        self._sizes[fill.symbol] = size + signed
        self._costs[fill.symbol] = cost + signed * fill.price
        self._fees += fill.fee_usd or ZERO

    def second(self) -> None:
        engine = self.e.engine
        if engine.books is self._looked and not engine.state.holdings:
            return
        unrealised = sum(
            (s * engine.state.ticks[name].mark - self._costs[name] for name, s in self._sizes.items() if s), ZERO
        )
        books = engine.books
        ours = books.start + self._realised - self._fees - books.funding + unrealised - engine.funding_due_usd
        if abs(ours - engine.equity_usd) > CENT:
            self.fail(f"equity is {engine.equity_usd:.4f}, the sum of its terms {ours:.4f}")
        else:
            self._looked = None if any(self._sizes.values()) else engine.books


class PositionIdentity(Invariant):
    """17: the sum of the fills we know of is the exchange's position, and what was last said of it soon is, too."""

    number, name = 17, "position identity"
    hears = (PositionChanged,)

    def __init__(self, evidence: Evidence) -> None:
        super().__init__(evidence)
        self._sizes: dict[str, Decimal] = {}
        """What is not flat."""
        self._said: dict[str, Decimal] = {}
        """The same as it was last said."""
        self._wrong: dict[str, int] = {}
        """What was said is not what is held, and since when in reachable time."""

    def said(self, sender: str, message: Message) -> None:
        assert isinstance(message, PositionChanged)
        self._said.pop(message.position.symbol, None)
        if message.position.size:
            self._said[message.position.symbol] = message.position.size

    def filled(self, fill: Fill) -> None:
        signed = fill.signed_size
        size = self._sizes.pop(fill.symbol, ZERO) + signed
        if size:
            self._sizes[fill.symbol] = size

    def second(self) -> None:
        e = self.e
        if not (self._sizes or e.engine.state.holdings or self._said or self._wrong):
            return
        held = e.positions
        if self._sizes != held:
            self.fail(f"the fills sum up to {self._sizes}, the exchange holds {held}")
        if self._said == held:
            self._wrong.clear()
            return
        wrong = {symbol for symbol in {*self._said, *held} if self._said.get(symbol) != held.get(symbol)}
        self._wrong = {symbol: self._wrong.get(symbol, e.reach_us) for symbol in sorted(wrong)}
        bound = Bounds.DETECT + (Bounds.HALT if e.healthy else Bounds.CONV + Bounds.DETECT)
        for symbol, since in self._wrong.items():
            if e.reach_us - since > bound:
                self.fail(
                    f"{symbol} {held.get(symbol, ZERO)} is held, and {self._said.get(symbol, ZERO)} was last said to be"
                )

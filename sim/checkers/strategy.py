"""Invariants 18 and 19: what reaches the strategy, and that it says the same again on the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

from actors.part import Part
from actors.strategy import actor as strategy
from protocol.codec import encode
from protocol.messages import control, signal, spot
from protocol.messages.base import Message
from protocol.messages.control import Alert, Started
from protocol.messages.spot import CandleClosed
from protocol.units import close_time_us
from sim.checkers.evidence import Evidence
from sim.checkers.invariant import Invariant

SEEN: Final = (spot.__name__, control.__name__)
SAID: Final = (*SEEN, signal.__name__)


class SpotOnly(Invariant):
    """18: the strategy hears and speaks of spot candles alone."""

    number, name = 18, "strategy sees spot only"

    def recorded(self, actor: str, received: Message, answers: Sequence[Message]) -> None:
        if actor != "strategy":
            return
        if type(received).__module__ not in SEEN:
            self.fail(f"the strategy heard {type(received).__name__}")
        for answer in answers:
            if type(answer).__module__ not in SAID:
                self.fail(f"the strategy said {type(answer).__name__}")


class NoLookAhead(Invariant):
    """19: a candle is told once in a life, after its end; the recorded inputs lead to the recorded decisions again, to the byte."""

    number, name = 19, "no look-ahead"
    hears = (CandleClosed, Alert)

    def __init__(self, evidence: Evidence) -> None:
        super().__init__(evidence)
        self._told: Counter[tuple[str, str, int]] = Counter()
        self._restarts = 0
        """How often a child has restarted in this life: each time it may hear its history again."""
        self._part: Part[Any] | None = None

    def began(self) -> None:
        self._told, self._restarts = Counter(), 0

    def said(self, sender: str, message: Message) -> None:
        if isinstance(message, Alert):
            self._restarts += message.code == "CHILD_RESTART"
        if not isinstance(message, CandleClosed):
            return
        key = message.symbol, message.timeframe, message.open_time_ms
        if close_time_us(message.open_time_ms, message.timeframe) > message.at:
            self.fail(f"{key} is called closed before its end")
        if sender != "spot_feed":
            return
        self._told[key] += 1
        if self._told[key] > 1 + self._restarts:
            self.fail(f"{key} is told twice")

    def recorded(self, actor: str, received: Message, answers: Sequence[Message]) -> None:
        """What the strategy decided is decided once more, from the journal alone."""
        if actor != "strategy":
            return
        if isinstance(received, Started) or self._part is None:
            settings = self.e.settings
            self._part = strategy.build(settings.strategy, [pair.spot for pair in settings.symbols])
        again = self._part.receive(received)
        if [encode(message) for message in again] != [encode(message) for message in answers]:
            self.fail(f"{received.id} led to {answers} and leads to {again} when it is decided again")

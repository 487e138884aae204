"""Invariants 18, 19 and 25 to 33: what reaches the strategy, supervision, bounds, alerts, secrets, one writer, convergence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import trio

from protocol.codec import encode
from protocol.messages import control, signal, spot
from protocol.messages.base import Message
from protocol.messages.control import Latch
from protocol.messages.futures import PositionChanged
from protocol.messages.spot import CandleClosed
from protocol.units import MINUTE_US, close_time_us
from sim.checkers.evidence import ORDER_KINDS, ZERO, Bounds, Evidence, Sent
from sim.checkers.invariant import Invariant
from sim.checkers.protection import stops
from sim.faults.network import Request

TASKS_MOST: Final = 300
LOOK_EACH_S: Final = 10
ALERTS_A_MINUTE: Final = 30
CONNECTIONS_A_MINUTE: Final = 20
"""Of both feeds together."""


class SpotOnly(Invariant):
    """18: the strategy speaks of spot candles alone."""

    number, name = 18, "strategy sees spot only"

    def said(self, sender: str, message: Message) -> None:
        if sender == "strategy" and type(message).__module__ not in (spot.__name__, signal.__name__, control.__name__):
            self.fail(f"the strategy said {type(message).__name__}")


class NoLookAhead(Invariant):
    """19: a candle is closed when it is told to be, and told once in a life."""

    number, name = 19, "no look-ahead"
    hears = (CandleClosed,)

    def __init__(self, evidence: Evidence) -> None:
        super().__init__(evidence)
        self._seen: set[tuple[str, str, int]] = set()

    def began(self) -> None:
        self._seen = set()

    def said(self, sender: str, message: Message) -> None:
        if not isinstance(message, CandleClosed):
            return
        key = message.symbol, message.timeframe, message.open_time_ms
        if close_time_us(message.open_time_ms, message.timeframe) > message.at:
            self.fail(f"{key} is called closed before its end")
        if key in self._seen and sender == "spot_feed" and not self._restarted():
            self.fail(f"{key} is told twice")
        self._seen.add(key)

    def _restarted(self) -> bool:
        """A child that restarts hears its history again."""
        return any(a.code == "CHILD_RESTART" and a.at >= self.e.lives[-1] for a in self.e.alerts)


class Converged(Invariant):
    """25: healed for long enough, our view is the exchange's and everything is protected, or the latch is on."""

    number, name = 25, "convergence"

    def converged(self) -> None:
        e = self.e
        if not e.life:
            self.fail("no process lives although nothing is wrong any more")
        if e.latched_reach is not None:
            if e.positions or e.engine.state.working:
                self.fail(f"latched and not flat: {dict(e.positions)}, {len(e.engine.state.working)} orders")
            return
        for symbol, size in e.positions.items():
            cover = sum((order.size for order in stops(e, symbol)), ZERO)
            if cover != abs(size):
                self.fail(f"{symbol} {size} is covered by {cover}")
        untold = sorted(e.fills.keys() - e.told.keys())
        if untold:
            self.fail(f"fills that were never told: {', '.join(untold)}")


class Supervision(Invariant):
    """26: no entry between a child's death and the reconciliation after its restart."""

    number, name = 26, "supervision"
    hears = (control.Reconciled,)

    def __init__(self, evidence: Evidence) -> None:
        super().__init__(evidence)
        self._reconciled = 0

    def began(self) -> None:
        self._reconciled = 0

    def said(self, sender: str, message: Message) -> None:
        if isinstance(message, control.Reconciled):
            self._reconciled = max(self._reconciled, message.began_at)

    def sent(self, sent: Sent) -> None:
        if not sent.is_entry or self.e.faults.active("clock"):
            return
        if not self._reconciled:
            self.fail(f"{sent.symbol} entry before the first reconciliation of this life")


class Bounded(Invariant):
    """27: tasks stay few."""

    number, name = 27, "bounds"

    def second(self) -> None:
        self._seconds += 1
        if self._seconds % LOOK_EACH_S:
            return
        tasks = trio.lowlevel.current_statistics().tasks_living
        if tasks > TASKS_MOST:
            self.fail(f"{tasks} tasks live")

    _seconds = 0


class Alerts(Invariant):
    """28: what is critical is said in time, and nothing is said without end."""

    number, name = 28, "alerts"
    hears = (Latch, control.Alert)

    def said(self, sender: str, message: Message) -> None:
        if isinstance(message, Latch) and not any(a.code == "KILL_LATCHED" for a in self.e.alerts):
            self._due = self.e.now + Bounds.HALT
        if isinstance(message, control.Alert) and message.code == "FEED_STATE" and message.text.endswith(": up"):
            self._ups = [*(at for at in self._ups if at > message.at - MINUTE_US), message.at]
            if len(self._ups) > CONNECTIONS_A_MINUTE:
                self.fail(f"{len(self._ups)} connections within a minute: {message.text}")
        if isinstance(message, control.Alert):
            recent = [a for a in self.e.alerts[-200:] if a.code == message.code and a.at > message.at - MINUTE_US]
            if len(recent) > ALERTS_A_MINUTE and message.severity != "info":
                self.fail(f"{len(recent)} alerts {message.code} within a minute")

    _due: int | None = None
    _ups: Sequence[int] = ()

    def second(self) -> None:
        if self._due is not None and self.e.now > self._due and self.e.life:
            self._due = None
            if not any(a.code == "KILL_LATCHED" for a in self.e.alerts):
                self.fail("the kill switch latched and nobody was told")


class Secrets(Invariant):
    """29: neither key nor secret is in anything said."""

    number, name = 29, "secrets"
    hears = (control.Alert, control.Drift, control.KillRequested)

    def said(self, sender: str, message: Message) -> None:
        text = encode(message).decode()
        if any(secret in text for secret in self.e.secrets):
            self.fail(f"{type(message).__name__} of {sender} shows a secret")


class OneWriter(Invariant):
    """31: requests come from the life that is on."""

    number, name = 31, "one writer"

    def sent(self, sent: Sent) -> None:
        if not sent.life:
            self.fail(f"{sent.op} {sent.symbol} leaves although no process lives")


class ModePurity(Invariant):
    """32: nothing but the simulated exchange is spoken to; a request with no signature changes nothing."""

    number, name = 32, "mode purity"

    def answered(self, request: Request, reply: object) -> None:
        if request.op in ORDER_KINDS and not request.signed:
            self.fail(f"{request.op} left unsigned")


class UnknownIsNotZero(Invariant):
    """33: nobody calls a held symbol flat for longer than it takes to read the truth."""

    number, name = 33, "unknown is not zero"
    hears = (PositionChanged,)

    def __init__(self, evidence: Evidence) -> None:
        super().__init__(evidence)
        self._flat: dict[str, int] = {}

    def began(self) -> None:
        self._flat.clear()

    def said(self, sender: str, message: Message) -> None:
        assert isinstance(message, PositionChanged)
        position = message.position
        if position.size == 0 and self.e.positions.get(position.symbol):
            self._flat[position.symbol] = self.e.reach_us
        else:
            self._flat.pop(position.symbol, None)

    def second(self) -> None:
        for symbol, since in list(self._flat.items()):
            if not self.e.positions.get(symbol):
                del self._flat[symbol]
            elif self.e.reach_us - since > Bounds.DETECT + Bounds.CONV:
                self.fail(f"{symbol} {self.e.positions[symbol]} was called flat and nobody took it back")

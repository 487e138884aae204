"""Invariants 25 to 27: everything comes right again, the dead are replaced before anything is risked, and nothing grows."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

import trio

from protocol.messages import control
from protocol.messages.base import Message
from protocol.messages.control import Alert
from protocol.messages.futures import Filled, OrderAccepted, OrderGone, OrderRejected, OrderUnknown, PositionChanged
from protocol.units import DAY_US, HOUR_US, MINUTE_US, SECOND_US
from sim.checkers.evidence import ZERO, Bounds, Evidence
from sim.checkers.invariant import Invariant
from sim.checkers.orders import heard_of
from sim.checkers.protection import stops
from sim.checkers.sent import Sent
from sim.faults.hosting import DIES_OF
from sim.faults.network import WISHES, Reply, Request

TASKS_MOST: Final = 300
WAITING_MOST: Final = 8_000
"""Messages in one mailbox. A start tells the candles of years at once, 5,760 of two symbols, and who decides them may hang (storm 34222)."""
REQUESTS_MOST: Final = 40
STREAMS_MOST: Final = 8
"""Two feeds, each with connections that are being closed."""
RECORDS_AN_HOUR_MOST: Final = 400_000
LOOKS_EVERY: Final = 3
COUNTS_EVERY: Final = 15
"""Seconds. What grows without end is seen by then; trio takes its time to count tasks."""
SENDS_MOST: Final = 3
"""Of one order in one life: what is refused or unanswered is not sent for ever."""
EXITS_A_MINUTE_MOST: Final = 8
"""Of one market order that only reduces: it is asked for until somebody answers, ever later."""
DEADLINE_US: Final = 30 * SECOND_US
"""No request waits for longer."""
INTENSITY: Final = {
    "kill_switch": (3, 60), "reconciler": (3, 120), "executor": (2, 120), "risk": (2, 120), "futures_feed": (5, 300),
    "spot_feed": (10, 600), "strategy": (2, 600),
}  # fmt: skip
"""Section 6 of the catalogue: restarts within seconds."""
DEATHS_A_DAY: Final = 5
"""The same section: so many of one child in a rolling day halt entries."""
A_DAY: Final = "times in 24 h"
"""What tells that alert from the one of too many restarts."""
KEY: Final = "gate.halt:futures.key"
PASSING: Final = ("gate.lease:", "gate.not_reconciled")
"""What keeps entries in for as long as something is wrong, and needs no person to end."""
CLOCK: Final = "gate.halt:futures.clock"
"""The same, while the host's clock is wrong: set back it takes its time."""
DOWN: Final = "gate.halt:supervisor."
UNSTABLE: Final = "gate.halt:unstable."
GUARDS: Final = ("kill_switch", "executor", "risk", "reconciler", "futures_feed")


def _escalates(alert: Alert) -> bool:
    return alert.code == "CHILD_ESCALATED" and alert.severity == "critical" and A_DAY not in alert.text


class Converged(Invariant):
    """25: healed for long enough, our view is the exchange's and everything is protected, or the latch is on."""

    number, name = 25, "convergence"
    hears = (PositionChanged, OrderUnknown, OrderAccepted, OrderGone, OrderRejected, Filled, control.Drift)

    def __init__(self, evidence: Evidence) -> None:
        super().__init__(evidence)
        self._sizes: dict[str, Decimal] = {}
        """What is not flat, as it was last said."""
        self.began()

    def began(self) -> None:
        self._doubtful: set[str] = set()
        self._barred = ""
        """For what the exchange refuses our key, as it was last answered: for orders, or for everything."""

    def answered(self, request: Request, reply: Reply) -> None:
        if not request.signed:
            return
        if b"authenticationError" in reply.body:
            self._barred = "orders" if request.op in WISHES and self._barred != "everything" else "everything"
        elif request.op in WISHES:
            self._barred = ""

    def said(self, sender: str, message: Message) -> None:
        if isinstance(message, PositionChanged):
            self._sizes.pop(message.position.symbol, None)
            if message.position.size:
                self._sizes[message.position.symbol] = message.position.size
        elif isinstance(message, OrderUnknown):
            self._doubtful |= {message.client_order_id} if message.wish == "place" else set()
        else:
            self._doubtful.discard(heard_of(message))

    def converged(self) -> None:
        e = self.e
        if not e.life:
            self.fail("no process lives although nothing is wrong any more")
        if e.latched_reach is not None:
            has_time = e.reach_us - e.latched_reach <= Bounds.KILL_FLAT + Bounds.HALT
            if (e.positions or e.engine.state.working) and not has_time:
                self.fail(f"latched and not flat: {dict(e.positions)}, {len(e.engine.state.working)} orders")
            return
        if self._doubtful:
            self.fail(f"nobody knows what became of {', '.join(sorted(self._doubtful))}")
        if self._sizes != e.positions:
            self.fail(f"{dict(e.positions)} is held, and {self._sizes} was last said to be")
        for symbol, size in e.positions.items():
            cover = sum((order.size for order in stops(e, symbol)), ZERO)
            if not abs(size) <= cover < abs(size) + e.engine.rules[symbol].lot:
                self.fail(f"{symbol} {size} is covered by {cover}")
        escalated = [alert.text.split(" ")[0] for alert in e.alerts if _escalates(alert)]
        down = [
            reason for reason in e.closed_by() if reason.startswith(DOWN) and reason.removeprefix(DOWN) not in escalated
        ]
        if down:
            self.fail(f"a child is down for good and nobody was told: {', '.join(down)}")
        passing = PASSING if e.clock_off_us() else (*PASSING, CLOCK)
        if self._barred != "orders":  # nobody knows that it may trade again until it does, or a person says so
            passing = (*passing, KEY)
        if shut := [reason for reason in e.closed_by() if reason.startswith(passing)]:
            self.fail(f"nothing is wrong any more, and entries are kept in by {', '.join(shut)}")
        untold = sorted(name for name in e.fills.keys() - e.told.keys() - e.before if e.can_be_had(name))
        if untold:
            self.fail(f"fills that were never told: {', '.join(untold)}")


class Supervision(Invariant):
    """26: no child dies but of a fault; one that died keeps entries in until it is back and, if it guards, until a reconciliation begun after that; too
    many deaths escalate, and too many in a day keep entries in for the rest of that life (no person of a storm resumes).
    """

    number, name = 26, "supervision"
    hears = (control.Reconciled, Alert)

    def __init__(self, evidence: Evidence) -> None:
        super().__init__(evidence)
        self.began()

    def began(self) -> None:
        self._clean_from = 0
        self._died_at: dict[str, int] = {}
        self._deaths: dict[str, list[int]] = {}
        self._escalates: dict[str, int] = {}
        self._day: dict[str, list[int]] = {}
        self._unstable: dict[str, int] = {}

    def said(self, sender: str, message: Message) -> None:
        if isinstance(message, control.Reconciled) and message.clean:
            self._clean_from = max(self._clean_from, message.began_at)
        if not isinstance(message, Alert):
            return
        child = message.text.split(" ")[0]
        if message.code == "CHILD_RESTART" and not message.text.endswith(f": {DIES_OF}"):
            self.fail(message.text)
        if message.code == "CHILD_RESTART" and child in INTENSITY:
            most, period_s = INTENSITY[child]
            self._died_at[child] = message.at
            deaths = [at for at in self._deaths.get(child, []) if at > message.at - period_s * SECOND_US]
            self._deaths[child] = [*deaths, message.at]
            if len(self._deaths[child]) > most:
                self._escalates.setdefault(child, self.e.now)
            day = self._day[child] = [*self._day.get(child, []), message.at][-DEATHS_A_DAY:]
            if len(day) == DEATHS_A_DAY and day[0] > message.at - DAY_US:
                self._unstable.setdefault(child, self.e.now)
        elif _escalates(message):
            self._escalates.pop(child, None)

    def sent(self, sent: Sent) -> None:
        if not sent.is_entry:
            return
        if not self._clean_from:
            self.fail(f"{sent.symbol} entry before the first clean reconciliation of this life")
        for child, at in self._died_at.items():
            if child in GUARDS and self._clean_from < at:
                self.fail(f"{sent.symbol} entry: nothing was reconciled since {child} died")
            if any(reason.startswith(f"gate.halt:supervisor.{child}") for reason in self.e.closed_by()):
                self.fail(f"{sent.symbol} entry while {child} restarts")
            if f"{UNSTABLE}{child}" in self.e.closed_by():
                self.fail(f"{sent.symbol} entry although {child} died {DEATHS_A_DAY} times in a day")

    def second(self) -> None:
        for child, since in self._escalates.items():
            if self.e.life and self.e.now - since > 2 * Bounds.HALT:
                self.fail(
                    f"{child} died more than {INTENSITY[child][0]} times in {INTENSITY[child][1]} s and nothing escalated"
                )
        for child, since in self._unstable.items():
            if self.e.life and self.e.now - since > 2 * Bounds.HALT and f"{UNSTABLE}{child}" not in self.e.closed_by():
                self.fail(f"{child} died {DEATHS_A_DAY} times in a day and entries are not halted")


class Bounded(Invariant):
    """27: tasks, mailboxes, requests, streams, retries and the journal stay within bounds; every request has a deadline."""

    number, name = 27, "bounds"
    hears = (Alert,)

    def __init__(self, evidence: Evidence) -> None:
        super().__init__(evidence)
        self._sends: dict[str, list[int]] = {}
        self._restarts = 0
        """How often a child has restarted in this life: its next life may ask once more."""
        self._seconds = 0

    def began(self) -> None:
        self._sends.clear()
        self._restarts = 0

    def said(self, sender: str, message: Message) -> None:
        self._restarts += isinstance(message, Alert) and message.code == "CHILD_RESTART"

    def sent(self, sent: Sent) -> None:
        if sent.op != "send":
            return
        leaves = sent.reduce_only and sent.order_type == "mkt"
        most, within, since = (
            (EXITS_A_MINUTE_MOST, "a minute", sent.at - MINUTE_US)
            if leaves
            else (SENDS_MOST + self._restarts, "one life", 0)
        )
        sends = [*(at for at in self._sends.get(sent.name, ()) if at > since), sent.at]
        self._sends[sent.name] = sends
        if len(sends) > most:
            self.fail(f"{sent.symbol} {sent.role} {sent.name} is sent {len(sends)} times in {within}")

    def second(self) -> None:
        self._seconds += 1
        if self._seconds % LOOKS_EVERY == 0:
            self._look()

    def _look(self) -> None:
        e = self.e
        load = e.load()
        tasks = trio.lowlevel.current_statistics().tasks_living if self._seconds % COUNTS_EVERY == 0 else 0
        for what, count, most in (
            ("tasks", tasks, TASKS_MOST),
            ("messages in a mailbox", load.waiting, WAITING_MOST),
            ("requests at once", len(load.requests), REQUESTS_MOST),
            ("streams at once", load.streams, STREAMS_MOST),
            ("records an hour", e.journal.records * HOUR_US // max(HOUR_US, e.now - e.began_at), RECORDS_AN_HOUR_MOST),
        ):
            if count > most:
                self.fail(f"{count} {what}, {most} are the bound")
        leapt = e.now - e.leapt_at < DEADLINE_US
        if e.life and not leapt and load.requests and e.now - min(load.requests) > DEADLINE_US:
            self.fail(f"a request waits for {(e.now - min(load.requests)) / SECOND_US:.0f} s")

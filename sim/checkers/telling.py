"""Invariants 28 and 29: a person hears of what matters, in time and not without end, and never a secret."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple
from urllib.parse import quote_plus

from protocol.codec import encode
from protocol.messages.base import Message
from protocol.messages.control import Alert, Drift, HaltEntries, Latch, Reconciled, ResumeEntries
from protocol.messages.futures import Filled, ModeChanged, OpenOrder, OrderUnknown, PositionChanged
from protocol.units import MINUTE_US, SECOND_US
from sim.checkers.clocks import Clocks
from sim.checkers.evidence import Bounds, Evidence
from sim.checkers.invariant import Invariant
from sim.checkers.lost import LostOrders, LostStops
from sim.checkers.sent import Sent
from sim.faults.network import Request

CONNECTIONS_A_MINUTE: Final = 20
"""Of both feeds together."""
ROUTINE: Final = frozenset({
    "MarkPrice", "SpotPrice", "WakeAt", "Woken", "Held", "AccountChanged", "AccountSeen", "StructureRead", "TickerSeen", "CandleSeen",
    "CandleClosed", "SpotFault",
})  # fmt: skip
"""Messages that come with every second or candle and hold numbers alone."""
SIGNATURES: Final = 64
"""So many of the newest are looked for."""
PADDING: Final = "=="
"""What the base 64 of a signature's 64 bytes ends with: a text without it shows none of those."""
PASSES: Final = 4
"""So many clean reconciliations must lack a difference: one in which its symbol was on the move says nothing of it."""
KEY_REFUSED: Final = "futures.key"
"""What entries are halted for while the exchange refuses our key."""
CLOCK: Final = "futures.clock"
"""And while the host's clock and the exchange's differ."""
FORCED: Final = {
    "liquidation": "LIQUIDATED", "unwindBankrupt": "DELEVERAGED", "assignee": "ASSIGNED", "settlement": "SETTLED",
}  # fmt: skip
STUCK_US: Final = Bounds.KILL_FLAT + 2 * Bounds.HALT
"""What a kill has left open for so long a person must close."""
DRIFTS: Final = {
    "foreign_order": "FOREIGN_ORDER", "foreign_position": "FOREIGN_POSITION", "missing_stop": "NAKED_POSITION",
    "orphan_order": "STOP_EXCESS", "side_mismatch": "RECON_DIFF", "ghost_position": "RECON_DIFF", "stuck": "RECON_STUCK",
}  # fmt: skip


class Condition(NamedTuple):
    """What a person must be told of: `holds` of a message, then one of `codes` is said in time."""

    holds: Callable[[Message], bool]
    codes: tuple[str, ...]


CONDITIONS: Final = (
    Condition(lambda m: isinstance(m, Latch), ("KILL_LATCHED",)),
    Condition(lambda m: isinstance(m, HaltEntries) and m.key == KEY_REFUSED, ("AUTH_FAILED",)),
    Condition(lambda m: isinstance(m, ModeChanged), ("VENUE_MODE",)),
    Condition(lambda m: isinstance(m, OrderUnknown) and m.wish == "place", ("ORDER_UNKNOWN",)),
    *(
        Condition(lambda m, kind=kind: isinstance(m, Filled) and m.fill.fill_type == kind, (code,))  # type: ignore[misc]
        for kind, code in FORCED.items()
    ),
    *(
        Condition(lambda m, kind=kind: isinstance(m, Drift) and m.kind == kind, (code,))  # type: ignore[misc]
        for kind, code in DRIFTS.items()
    ),
)
TOLD_OF: Final = (Latch, HaltEntries, ModeChanged, Filled, Drift, OrderUnknown)


class Alerts(Invariant):
    """28: a person is told of what is critical in time, once a code and minute with a count, and of everything in the end; what is
    said is written down, and in no strange characters.
    """

    number, name = 28, "alerts"
    hears = (Alert, Reconciled, ResumeEntries, PositionChanged, *TOLD_OF)

    def __init__(self, evidence: Evidence) -> None:
        super().__init__(evidence)
        self._stops, self._orders, self._clocks = LostStops(evidence), LostOrders(evidence), Clocks(evidence)
        self.began()

    def began(self) -> None:
        self._due: dict[tuple[str, ...], tuple[int, Message | str]] = {}
        self._clocks.began()
        self._orders.began()
        self._unwritten: dict[str, tuple[int, str]] = {}
        self._written: set[str] = set()
        self._ups: Sequence[int] = ()
        self._told_at: dict[tuple[str, str], int] = {}
        self._owed: dict[tuple[str, str], tuple[int, int]] = {}
        """Said and not told, by code and severity: how many, and since when."""
        self._doubted: set[str] = set()
        self._held = set[str]()
        """What this life was told is held."""
        self._open_since: int | None = None
        self._stuck = self._unwritable = False
        """Whether it was time to tell of a kill that leaves something open, and of a journal that cannot be written."""
        if self.e.journal.damaged:
            self._due["JOURNAL_CORRUPT",] = self.e.now + Bounds.ALERT, "memories that are damaged"
        self._lasting: dict[tuple[object, ...], tuple[int, int]] = {}
        """Differences that were said: when last, and how many clean reconciliations have not said them again since."""

    def said(self, sender: str, message: Message) -> None:
        if isinstance(message, Alert):
            self._alert(message)
        elif isinstance(message, Reconciled):
            if message.clean:  # else it may have read too little to judge every symbol
                self._over()
        elif isinstance(message, ResumeEntries):
            if message.key == CLOCK:
                self._clocks.off_over()
        elif isinstance(message, PositionChanged):
            (self._held.add if message.position.size else self._held.discard)(message.position.symbol)
        elif isinstance(message, TOLD_OF) and not self._known(message):
            for condition in CONDITIONS:
                if condition.holds(message):
                    self._must_tell(condition.codes, message)

    def _must_tell(self, codes: tuple[str, ...], of: Message | str) -> None:
        if not self._just_told(codes):
            self._due.setdefault(codes, (self.e.now + Bounds.ALERT, of))

    def leapt(self, seconds: float, *, asleep: bool) -> None:
        found = self._clocks.leapt(seconds, asleep=asleep)
        if found is not None:
            self._must_tell((found[0],), found[1])

    def _known(self, message: Message) -> bool:
        """A difference that lasts is told once, and so is an order that stays in doubt however often it is asked for (storm 31445)."""
        match message:
            case Drift():
                key = message.kind, message.symbol, message.client_order_id, message.order_id
                known = key in self._lasting
                self._lasting[key] = self.e.now, 0
            case OrderUnknown(wish="place", client_order_id=name):
                known = name in self._doubted
                self._doubted.add(name)
            case _:
                known = False
        return known

    def _over(self) -> None:
        """One more clean reconciliation: what several lacked for a minute is over, and told anew when it comes back."""
        self._lasting = {
            key: (at, passes + 1)
            for key, (at, passes) in self._lasting.items()
            if passes < PASSES or self.e.now - at <= MINUTE_US
        }

    def _just_told(self, codes: Sequence[str]) -> bool:
        """Whether a person knows already, or what is said now waits for the end of its minute."""
        minute_us = MINUTE_US + Bounds.HALT + self._clocks.spare_us
        return any(self.e.now - at <= minute_us for (code, _), at in self._told_at.items() if code in codes)

    def _alert(self, alert: Alert) -> None:
        now = self.e.now
        if any(ord(letter) < ord(" ") for letter in alert.text):
            self.fail(f"the alert {alert.code} holds control characters: {alert.text!r}")
        if alert.severity != "info":
            key = alert.code, alert.severity
            count, since = self._owed.get(key, (0, now))
            self._owed[key] = count + alert.count, since
            self._settle(alert.code, self._just_told)
            if alert.id not in self._written and not self.e.disk_failed():
                self._unwritten[alert.id] = now + Bounds.ALERT, alert.text
        if alert.code == "CLOCK_SKEW":
            self._clocks.off_told()
        if alert.code == "CHILD_RESTART":
            self._open_since = None  # who comes back begins to count anew (storm 301074)
        if alert.code == "FEED_STATE" and alert.text.endswith(": up"):
            self._ups = [*(at for at in self._ups if at > now - MINUTE_US), now]
            if len(self._ups) > CONNECTIONS_A_MINUTE:
                self.fail(f"{len(self._ups)} connections within a minute: {alert.text}")

    def _settle(self, code: str, holds: Callable[[Sequence[str]], bool]) -> None:
        for codes in [codes for codes in self._due if code in codes and holds(codes)]:
            del self._due[codes]

    def _look_at_the_journal(self) -> None:
        if self.e.life and self.e.disk_failed() and not self._unwritable:
            self._unwritable = True
            self._must_tell(("JOURNAL_WRITE",), "a journal that cannot be written")

    def _look_at_the_kill(self) -> None:
        e = self.e
        if e.latched_reach is None or not (e.positions or e.engine.state.working):
            self._open_since, self._stuck = None, False
        elif not self._held.intersection(e.positions) or not e.life or e.hindered() or not self._clocks.right:
            self._open_since = None  # nobody can know, or tell the time
        else:
            self._open_since = e.now if self._open_since is None else self._open_since
        if self._open_since is not None and not self._stuck and e.now - self._open_since > STUCK_US:
            self._stuck = True
            self._must_tell(("KILL_STUCK",), f"a kill that leaves {dict(e.positions)} open")

    def told(self, alert: Alert) -> None:
        if alert.severity == "info":
            return
        self._unwritable = self._unwritable or (alert.code == "JOURNAL_WRITE" and self.e.disk_failed())
        self._clocks.note()
        key, now = (alert.code, alert.severity), self.e.now
        before, self._told_at[key] = self._told_at.get(key, now - MINUTE_US), now
        if now - before < MINUTE_US - Bounds.HALT and self._clocks.right:
            self.fail(f"a person is told {alert.code} twice within {(now - before) / SECOND_US:.0f} s: {alert.text}")
        count, since = self._owed.get(key, (0, now))
        self._owed[key] = count - alert.count, since
        if count == alert.count:
            del self._owed[key]
        elif count < alert.count:
            self.fail(f"a person is told of {alert.count} {alert.code} and {count} were said")
        self._settle(alert.code, lambda codes: True)
        if alert.code == "JOURNAL_BEHIND":
            self._orders.told()
        self._stuck = self._stuck or alert.code == "KILL_STUCK"

    def recorded(self, actor: str, received: Message, answers: Sequence[Message]) -> None:
        for message in (received, *answers):
            if isinstance(message, Alert) and self._unwritten.pop(message.id, None) is None:
                self._written.add(message.id)  # a step may be durable before its messages are sent

    def sent(self, sent: Sent) -> None:
        self._stops.sent(sent)

    def triggered(self, order: OpenOrder) -> None:
        self._stops.triggered(order)

    def _happened(self) -> Iterator[tuple[str, str]]:
        """What came about in this second that nobody inside may have said."""
        for stop in self._stops.look():
            yield "STOP_LOST", f"the loss of the stop {stop.client_order_id} of {stop.symbol}"
        for name in self._orders.look():
            yield "JOURNAL_BEHIND", f"the order {name}, which a store that was put back does not know"
        now = self.e.now
        for symbol in self.e.contracts:
            if self.e.frozen(symbol) == now:
                yield "MARK_FROZEN", f"the mark of {symbol}, which stands still while trades go elsewhere"
        yield from self._clocks.look()

    def second(self) -> None:
        for code, happened in self._happened():
            self._must_tell((code,), happened)
        self._look_at_the_kill()
        self._look_at_the_journal()
        if off := self._clocks.untold():
            self.fail(f"nobody was told that the clock has been {off} off for a minute")
        if not (self._owed or self._due or self._unwritten):
            return
        if not self.e.life or self.e.hindered():
            return
        for (code, _), (count, since) in self._owed.items():
            if self.e.now - since > MINUTE_US + Bounds.ALERT + self._clocks.spare_us:
                self.fail(f"{count} alerts {code} were said and nobody was told of them")
        for codes, (due, of) in self._due.items():
            if self.e.now > due:
                self.fail(f"nobody was told {' or '.join(codes)} in time of {of}")
        for due, text in self._unwritten.values():
            if self.e.now > due and not self.e.disk_failed():
                self.fail(f"an alert is not written down: {text}")


class Secrets(Invariant):
    """29: neither key nor secret, plain or encoded, nor what proves that we asked is in anything that is said or written down."""

    number, name = 29, "secrets"
    hears = (Alert,)

    def __init__(self, evidence: Evidence) -> None:
        super().__init__(evidence)
        self._kept = tuple(form for secret in evidence.secrets for form in forms(secret))
        self._signatures: deque[str] = deque(maxlen=SIGNATURES)
        self._plain: dict[str, None] = {}
        """What else has proved who asks: the key."""
        self._clean: dict[int, Message] = {}
        """What was looked at since the last signature: one message is received by many."""

    def asked(self, request: Request) -> None:
        for form in request.shown:
            if form.endswith(PADDING):
                self._signatures.append(form)
            else:
                self._plain[form] = None
        self._clean.clear()

    def said(self, sender: str, message: Message) -> None:
        if isinstance(message, Alert):
            self._look(sender, message)

    def recorded(self, actor: str, received: Message, answers: Sequence[Message]) -> None:
        for message in (received, *answers):
            if type(message).__name__ not in ROUTINE:
                self._look(actor, message)

    def _look(self, who: str, message: Message) -> None:
        if id(message) in self._clean:
            return
        self._clean[id(message)] = message
        text = encode(message).decode()
        for secret in (*self._kept, *self._plain, *(self._signatures if PADDING in text else ())):
            if secret in text:
                self.fail(f"{type(message).__name__} of {who} shows a secret")
                return


def forms(secret: str) -> tuple[str, ...]:
    """What a secret may be written as: the exchange gives it in base 64."""
    try:
        raw = b64decode(secret, validate=True)
    except ValueError:  # some are plain text
        raw = secret.encode()
    return secret, quote_plus(secret), b64encode(secret.encode()).decode(), secret.encode().hex(), raw.hex()

"""The one door orders leave through. It normalises, asks the gate and the pre-trade controls, and lets out or blocks.

It reads marks, account, positions and contract rules from the stream by itself: an earlier approval is necessary, not
sufficient. Never waits: between its yes and the wire there is nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from actors.gate import Gate
from actors.pretrade import Facts, examine, normalise, normalise_edit
from config.settings import Settings
from protocol.messages.base import Message, follow
from protocol.messages.futures import CancelOrder, EditOrder, EntryBlocked, Finding, OrderAdmitted, PlaceOrder
from protocol.ports import Command

NAME = "door"
Record = Callable[[str, Message, Sequence[Message]], None]
Watch = Callable[[str, Message], None]


class Door:
    """`observe` takes in facts, `admit` decides about one wish at `at` (microseconds UTC)."""

    def __init__(self, settings: Settings, gate: Gate) -> None:
        self._settings = settings
        self._gate = gate
        self._facts = Facts()

    def observe(self, message: Message) -> None:
        """Take in a fact routed to the door."""
        self._facts = self._facts.observe(message)

    def admit(self, wish: Command, at: int) -> OrderAdmitted | EntryBlocked:
        """The wish as it goes on the wire with what was found and changed, or why it stays in. Only entries can be blocked."""
        match wish:
            case CancelOrder():
                return _admitted(wish, wish)
            case EditOrder():
                instrument = self._facts.instruments.get(wish.symbol)
                edit, changes = (wish, ()) if instrument is None else normalise_edit(wish, instrument)
                return _admitted(wish, edit, changes=changes)
            case PlaceOrder():
                return self._admit_order(wish, at)

    def rehearse(self, wish: Command, at: int) -> OrderAdmitted | EntryBlocked:
        """What `admit` would answer; nothing counts as sent."""
        facts = self._facts
        try:
            return self.admit(wish, at)
        finally:
            self._facts = facts

    def pass_through(self, wish: Command, at: int, record: Record, watch: Watch) -> Command | EntryBlocked:
        """`admit`, its yes told and written down: the way out in both drivers. A no is written down by who hears it."""
        answer = self.admit(wish, at)
        if isinstance(answer, EntryBlocked):
            return answer
        watch(NAME, answer)
        record(NAME, answer, ())
        return answer.order

    def _admit_order(self, wish: PlaceOrder, at: int) -> OrderAdmitted | EntryBlocked:
        instrument = self._facts.instruments.get(wish.symbol)
        # New rules may have come since it was asked for: what left before would be another order under its id (storm 62694).
        order, changes = (wish, ()) if instrument is None or wish.again else normalise(wish, instrument)
        if order.reduce_only:
            return _admitted(wish, order, changes=changes)
        names = (order.symbol, self._settings.spot_of.get(order.symbol, order.symbol))
        closed = self._gate.closed_by(*names)
        controls = examine(order, self._facts, self._settings, at)
        findings = (Finding(control="gate", passed=not closed, word=", ".join(closed) or "open"), *controls)
        reasons = (*closed, *(found.control for found in controls if not found.passed))
        if not reasons:
            self._facts = self._facts.let_out(order, at)
            return _admitted(wish, order, findings, changes)
        return follow(
            wish,
            EntryBlocked,
            client_order_id=wish.client_order_id,
            symbol=wish.symbol,
            reasons=reasons,
            findings=findings,
        )


def _admitted(
    wish: Command, order: Command, findings: tuple[Finding, ...] = (), changes: tuple[str, ...] = ()
) -> OrderAdmitted:
    return follow(wish, OrderAdmitted, symbol=wish.symbol, order=order, findings=findings, changes=changes)

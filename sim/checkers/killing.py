"""Invariants 9 to 11: the kill switch is absolute, completes, and survives."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from protocol.messages.base import Message
from protocol.messages.control import Alert, Latch
from protocol.messages.futures import Fill, Filled, OrderUnknown, PlaceOrder, PositionChanged
from protocol.units import SECOND_US
from sim.checkers.evidence import NEWS_US, ZERO, Bounds, Evidence
from sim.checkers.invariant import Invariant
from sim.checkers.protection import bares
from sim.checkers.sent import Sent

FORCED: Final = ("liquidation", "unwindBankrupt", "assignee")
"""Fills of the exchange's own doing."""


class KillIsAbsolute(Invariant):
    """9: while latched nothing leaves but cancels and reductions of what is held."""

    number, name = 9, "kill is absolute"
    hears = (PlaceOrder, OrderUnknown, PositionChanged)

    def __init__(self, evidence: Evidence) -> None:
        super().__init__(evidence)
        self._said: dict[str, tuple[str, int]] = {}
        """Who asked for an order, and when last."""
        self._doubted_at: dict[str, int] = {}
        self._shown: dict[str, Decimal] = {}
        """How much the daemon last said is held."""
        self._held_up = (0, 0)
        """Since when, and until when at least, a child was held up last."""

    def said(self, sender: str, message: Message) -> None:
        if isinstance(message, PlaceOrder):
            self._said[message.client_order_id] = sender, self.e.now
        elif isinstance(message, OrderUnknown):
            self._doubted_at.setdefault(message.client_order_id, self.e.now)
        elif isinstance(message, PositionChanged):
            self._shown[message.position.symbol] = abs(message.position.size)

    def _is_news(self, fill: Fill) -> bool:
        """Whether it is untold, as long as no stream or list brings it (12 bounds that), or was told a moment ago."""
        told_at = self.e.told.get(fill.fill_id)
        return told_at is None or told_at >= self._news_since()

    def _news_since(self) -> int:
        """From when on what was told is news: whoever stood still reads what came meanwhile, one after the other (storm 66697)."""
        since, (held_up, until) = self.e.now - NEWS_US, self._held_up
        return min(since, held_up) if until >= since - SECOND_US else since

    def second(self) -> None:
        if self.e.hindered():
            self._held_up = self._news_since(), self.e.now

    def sent(self, sent: Sent) -> None:
        if self.e.latched_reach is None or sent.op in ("cancel", "cancel_all"):
            return
        held = abs(sent.positions.get(sent.symbol, ZERO))
        if sent.op == "send" and not sent.reduce_only:
            self.fail(f"{sent.symbol} entry {sent.name} leaves while the kill switch is latched")
        elif sent.op == "send" and sent.order_type == "mkt" and held and self._too_much(sent, held):
            if self.e.has_filled(sent.name):
                return  # the same order once more, as its reply was not heard: the exchange refuses it (storm 74090)
            self.fail(f"{sent.symbol}: a flatten of {sent.size} while {held} is held")

    def _too_much(self, sent: Sent, held: Decimal) -> bool:
        if self.e.lists_lie():
            # What a list shows is left by, and the exchange cuts off what is too much (storm 401039).
            held = max(held, self._shown.get(sent.symbol, ZERO))
        return sent.size - held - self._unheard(sent) >= self._lot(sent.symbol)

    def _unheard(self, sent: Sent) -> Decimal:
        """What he who sends this may not have known of when he asked for it."""
        way = sent.symbol, sent.side
        fills = (fill for fill in self.e.fills.values() if (fill.symbol, fill.side) == way)
        return sum((fill.size for fill in fills if self._was_unheard(fill, sent)), ZERO)

    def _was_unheard(self, fill: Fill, sent: Sent) -> bool:
        """News that others than the sender filled, or what was told only while this waited for its turn: of others (storm 511626), or of an
        order that was in doubt when this was asked for (storm 71900).
        """
        others = self._is_others(fill, sent)
        if others and self._is_news(fill):
            return True
        _, asked_at = self._said.get(sent.name, ("", sent.at + 1))
        if asked_at > self.e.told.get(fill.fill_id, sent.at):
            return False
        return others or self._doubted_at.get(fill.client_order_id or "", sent.at) <= asked_at

    def _is_others(self, fill: Fill, sent: Sent) -> bool:
        """Whether others than the sender filled: a stop, an exit of the executor, the exchange itself.

        The sender's own do not count: what he sends twice he cannot have waited for (storm 50040). But for what rests: it fills unasked
        (seed 950050).
        """
        return (
            fill.client_order_id is None
            or self._rests(fill)
            or self._sender(fill.client_order_id) != self._sender(sent.name)
        )

    def _rests(self, fill: Fill) -> bool:
        intent = self.e.journal.intents.get(fill.client_order_id or "")
        return intent is not None and intent.role in ("stop", "target")

    def _sender(self, name: str) -> str:
        """The trade or the latching that an order belongs to; who asked for it where the disk failed before; empty for a stranger's."""
        intent = self.e.journal.intents.get(name)
        return self._said.get(name, ("", 0))[0] if intent is None else intent.signal_id

    def _lot(self, symbol: str) -> Decimal:
        """Less than one too much is the rounding to whole lots: the exchange cuts it away."""
        return self.e.engine.rules[symbol].lot


class KillCompletes(Invariant):
    """10: what asks for the kill switch latches it, and soon after that the account is flat with nothing working; a stop goes only when
    its symbol is flat.
    """

    number, name = 10, "kill completes"
    hears = (Filled, Latch, Alert)

    def __init__(self, evidence: Evidence) -> None:
        super().__init__(evidence)
        self._forced: list[tuple[Fill, int]] = []
        """What the exchange did of its own to positions of ours since a person last acknowledged, and when in reachable time."""
        self._asked: int | None = None
        self._cause = ""
        """What this life was told that asks for it."""
        self._open_since: int | None = None
        self._disturbed = self._lied_to = False
        self._acted: int | None = None
        """The latching after which something has left."""

    def sent(self, sent: Sent) -> None:
        self._acted = self.e.latched_reach
        if self.e.latched_reach is not None and bares(self.e, sent):
            self.fail(f"{sent.symbol}: the only stop is cancelled while {sent.positions[sent.symbol]} is held")

    def said(self, sender: str, message: Message) -> None:
        if isinstance(message, Filled) and message.fill.fill_type in FORCED:
            self._cause = f"{message.fill.symbol} {message.fill.fill_type}"
        elif isinstance(message, Alert):
            if message.code == "CHILD_ESCALATED" and message.text.endswith(": kill"):
                self._cause = message.text
        elif isinstance(message, Latch):
            self._forced = []  # here, as nobody may look before a person acknowledges: the host sleeps (storm 72150)

    def began(self) -> None:
        self._asked, self._cause = None, "memories are damaged" if self.e.journal.damaged else ""

    def filled(self, fill: Fill) -> None:
        """As long as a thin market is left in parts the time begins anew with each."""
        if self.e.thin():
            self._open_since = None
        if fill.fill_type in FORCED and self.e.latched_reach is None:
            self._forced.append((fill, self.e.reach_us))

    def _must_latch(self) -> None:
        e = self.e
        cause = (
            e.asked_to_kill() or self._cause or ("the journal cannot be written" if e.life and e.disk_failed() else "")
        )
        if e.latched_reach is not None or not cause or not e.life or e.hindered():
            self._asked, self._cause = None, "" if e.latched_reach is not None else self._cause
            return
        self._asked = e.now if self._asked is None else self._asked
        if e.now - self._asked > 2 * Bounds.HALT:
            self.fail(f"not latched {(e.now - self._asked) / 1e6:.0f} s after: {cause}")

    def _must_not_forget(self) -> None:
        """In whatever life; but what was done before anybody listened is the account's past."""
        e = self.e
        if e.latched_reach is not None:
            self._forced = []
        for fill, at in self._forced:
            if e.reach_us - at > Bounds.DETECT + Bounds.CONV and fill.fill_id not in e.before and not e.hindered():
                self.fail(f"never latched, in whatever life, after a {fill.fill_type} of {fill.symbol}")

    def second(self) -> None:
        e = self.e
        self._must_latch()
        self._must_not_forget()
        if e.latched_reach is None or not (e.positions or e.engine.state.working):
            self._open_since, self._disturbed, self._lied_to = None, False, False
            return
        if self._open_since is None or (e.cancels_lie and not e.positions):
            self._open_since = e.reach_us
        self._disturbed = self._disturbed or not e.healthy or e.thin()
        self._lied_to = self._lied_to or not e.obeyed
        began = max(self._open_since, e.latched_reach)
        if (
            self._acted != e.latched_reach
            and not self._disturbed
            and e.reach_us - began > Bounds.KILL_SEND + Bounds.HALT
        ):
            self.fail(f"latched, and nothing has left for {(e.reach_us - began) / 1e6:.0f} s of reachable time")
        bound = Bounds.KILL_FLAT + (Bounds.CONV + Bounds.DETECT if self._disturbed or self._lied_to else Bounds.HALT)
        if e.reach_us - self._open_since > bound:
            left = f"{dict(e.positions)}, {len(e.engine.state.working)} orders"
            self.fail(f"latched, and after {(e.reach_us - self._open_since) / 1e6:.0f} s of reachable time: {left}")


class LatchSurvives(Invariant):
    """11: only an acknowledgement clears the latch; no life begins as if it were not there."""

    number, name = 11, "latch survives"

    def sent(self, sent: Sent) -> None:
        if self.e.latched_reach is not None and sent.is_entry and len(self.e.lives) > 1:
            self.fail(f"{sent.symbol} entry in life {sent.life}, latched before")

    def second(self) -> None:
        if self.e.latched_reach is not None and not self.e.latch_on_disk():
            self.fail("the kill switch is latched and it is not written down")

    def began(self) -> None:
        if self.e.latched_reach is not None:
            self.e.once("latch survived a restart")

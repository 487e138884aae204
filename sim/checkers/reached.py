"""The states worth reaching ("also assert sometimes" of the catalogue): a set of storms is only as good as what it came through.

Counts and judges nothing. What an invariant notices on its way it counts itself (`Evidence.once`); what none looks at is counted here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from protocol.messages.base import Message
from protocol.messages.futures import Fill, Filled, FillSeen, OpenOrder, SnapshotSeen
from protocol.units import seconds_us
from sim.checkers.evidence import Evidence
from sim.checkers.invariant import Invariant

SOMETIMES: Final = (
    "naked position protected", "naked position closed",
    "outcome unknown", "unknown order that rests",
    "unknown settled as filled", "unknown settled as absent", "unknown settled as rejected",
    "fill first learnt from REST", "stop triggered while disconnected", "foreign order found", "liquidation booked",
    "process killed", "killed while a position is open", "killed within a second of an order",
    "killed between send and reply, the order live", "journal tail cut",
    "latched", "latch survived a restart", "kill while a flatten is partly filled", "acknowledgement refused",
    "bad setting refused at the start", "exit without a record while the disk fails",
    "the store lost an order that rests",
)  # fmt: skip
"""Every line that the summary of many storms shows, those at nought too."""


class Reached(Invariant):
    """No invariant: hears what they hear and counts."""

    number, name = 0, "reached"
    hears = (Filled,)

    def __init__(self, evidence: Evidence) -> None:
        super().__init__(evidence)
        self._idle_us = seconds_us(evidence.settings.feeds.futures_idle_s)

    def said(self, sender: str, message: Message) -> None:
        if isinstance(message, Filled) and message.fill.fill_type == "liquidation":
            self.e.once("liquidation booked")

    def recorded(self, actor: str, received: Message, answers: Sequence[Message]) -> None:
        by_rest = isinstance(received, SnapshotSeen) or (isinstance(received, FillSeen) and received.source == "rest")
        if by_rest and actor == "futures_feed" and any(isinstance(answer, Filled) for answer in answers):
            self.e.once("fill first learnt from REST")

    def filled(self, fill: Fill) -> None:
        e = self.e
        order = e.journal.intents.get(fill.client_order_id or "")
        flatten = order is not None and order.reduce_only and order.order_type == "mkt"
        if flatten and e.latched_reach is not None and e.positions.get(fill.symbol):
            e.once("kill while a flatten is partly filled")

    def triggered(self, order: OpenOrder) -> None:
        e = self.e
        silent = not e.life or e.now - e.feeds.heard.get("futures", e.lives[-1]) > self._idle_us
        if silent and order.order_type == "stp" and order.client_order_id in e.journal.intents:
            e.once("stop triggered while disconnected")

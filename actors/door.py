"""The one door orders leave through. It normalises, asks the gate and the pre-trade controls, and lets out or blocks.

It reads marks, account, positions and contract rules from the stream by itself: an earlier approval is necessary, not
sufficient. Never waits: between its yes and the wire there is nothing.
"""

from __future__ import annotations

from actors.gate import Gate
from actors.pretrade import Facts, normalise, normalise_edit, refusals
from config.settings import Settings
from protocol.messages.base import Message, follow
from protocol.messages.futures import CancelOrder, EditOrder, EntryBlocked, PlaceOrder
from protocol.ports import Command


class Door:
    """`observe` takes in facts, `admit` decides about one wish at `at` (microseconds UTC)."""

    def __init__(self, settings: Settings, gate: Gate) -> None:
        self._settings = settings
        self._gate = gate
        self._facts = Facts()

    def observe(self, message: Message) -> None:
        """Take in a fact routed to the door."""
        self._facts = self._facts.observe(message)

    def admit(self, wish: Command, at: int) -> Command | EntryBlocked:
        """The wish as it goes on the wire, or why it stays in. Only entries can be blocked."""
        match wish:
            case CancelOrder():
                return wish
            case EditOrder():
                instrument = self._facts.instruments.get(wish.symbol)
                return wish if instrument is None else normalise_edit(wish, instrument)[0]
            case PlaceOrder():
                return self._admit_order(wish, at)

    def rehearse(self, wish: Command, at: int) -> Command | EntryBlocked:
        """What `admit` would answer; nothing counts as sent."""
        facts = self._facts
        try:
            return self.admit(wish, at)
        finally:
            self._facts = facts

    def _admit_order(self, wish: PlaceOrder, at: int) -> PlaceOrder | EntryBlocked:
        instrument = self._facts.instruments.get(wish.symbol)
        order = wish if instrument is None else normalise(wish, instrument)[0]
        if order.reduce_only:
            return order
        names = (order.symbol, self._settings.spot_of.get(order.symbol, order.symbol))
        reasons = (*self._gate.closed_by(*names), *refusals(order, self._facts, self._settings, at))
        if reasons:
            return follow(wish, EntryBlocked, client_order_id=wish.client_order_id, symbol=wish.symbol, reasons=reasons)
        self._facts = self._facts.let_out(order, at)
        return order

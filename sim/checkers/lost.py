"""Stops of ours that somebody else took from a position that is held: what a person must be told of, with invariant 28."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from protocol.messages.futures import OpenOrder
from protocol.units import SECOND_US
from sim.checkers.evidence import Evidence, Sent
from sim.checkers.protection import Books, books_of, stops

SETTLES_US: Final = 2 * SECOND_US
"""What is still held so long after its stop went was not on its way out."""


class LostStops:
    """Looked at once a second; what we cancelled ourselves is no loss, nor what went with its position."""

    def __init__(self, evidence: Evidence) -> None:
        self.e = evidence
        self._books: Books = ()
        self._resting: dict[str, tuple[OpenOrder, Decimal]] = {}
        """By order id, with what was held then."""
        self._cancelled: set[str] = set()
        self._lost: dict[str, tuple[int, Decimal, OpenOrder]] = {}
        """By symbol: when, what was held, and which."""

    def sent(self, sent: Sent) -> None:
        """A cancel of ours."""
        if sent.op == "cancel":
            self._cancelled |= {sent.name, sent.order_id}
        elif sent.op == "cancel_all":
            self._resting = {}

    def look(self) -> list[OpenOrder]:
        """The stops that were lost a moment ago, while nothing was in anybody's way."""
        e, books = self.e, books_of(self.e)
        if books != self._books:
            self._books = books
            self._compare()
        told = [order for at, size, order in self._lost.values() if self._lasts(at, size, order.symbol)]
        self._lost = {symbol: lost for symbol, lost in self._lost.items() if e.now - lost[0] < SETTLES_US}
        return told

    def _compare(self) -> None:
        e = self.e
        resting = {order.order_id: (order, e.positions[symbol]) for symbol in e.positions for order in stops(e, symbol)}
        for order_id, (order, size) in self._resting.items():
            gone = order_id not in resting and not {order_id, order.client_order_id} & self._cancelled
            if gone and e.positions.get(order.symbol) == size and not stops(e, order.symbol):
                self._lost[order.symbol] = e.now, size, order
        self._resting = {name: seen for name, seen in resting.items() if seen[0].client_order_id in e.intents}

    def _lasts(self, at: int, size: Decimal, symbol: str) -> bool:
        e = self.e
        return e.now - at >= SETTLES_US and e.positions.get(symbol) == size and e.healthy and e.latched_reach is None

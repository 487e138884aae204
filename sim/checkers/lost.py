"""What is lost and a person must be told of, with invariant 28: stops that somebody else took from a position, orders that an old store
does not know.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from protocol.messages.futures import OpenOrder
from protocol.units import SECOND_US
from sim.checkers.evidence import Bounds, Evidence
from sim.checkers.protection import Books, books_of, stops
from sim.checkers.sent import Sent

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

    def triggered(self, order: OpenOrder) -> None:
        """It has done its part: one that does not fill is told by another code (storm 420305)."""
        self._cancelled |= {order.order_id, order.client_order_id or ""}

    def look(self) -> list[OpenOrder]:
        """The stops that were lost a moment ago, while nothing was in anybody's way."""
        e, books = self.e, books_of(self.e)
        if books != self._books:
            self._books = books
            self._compare()
        if not self._lost:
            return []
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
        self._resting = {name: seen for name, seen in resting.items() if seen[0].client_order_id in e.journal.intents}

    def _lasts(self, at: int, size: Decimal, symbol: str) -> bool:
        e = self.e
        return e.now - at >= SETTLES_US and e.positions.get(symbol) == size and e.healthy and e.latched_reach is None


class LostOrders:
    """Orders that rest for a trade which the store knows, and are newer than the store: it was put back."""

    def __init__(self, evidence: Evidence) -> None:
        self.e = evidence
        self._judged = 0
        self._unknown: dict[str, int] = {}
        """By name: how long the exchange could be reached when the life began that could see it."""

    def began(self) -> None:
        """A life begins, maybe on an old store."""
        e = self.e
        fresh = e.journal.forgotten[self._judged :]
        self._judged += len(fresh)
        lost = [name for name in self._resting() if name in fresh and self._is_known_trades(name)]
        self._unknown |= dict.fromkeys(lost, 0)
        if lost:
            e.once("the store lost an order that rests")
        self._unknown = dict.fromkeys(self._unknown, e.reach_us)

    def told(self) -> None:
        """A person knows that the store is behind."""
        self._unknown = {}

    def look(self) -> list[str]:
        """Those that rest still, and that a life has had time to find."""
        if not self._unknown:
            return []
        e, resting = self.e, self._resting()
        self._unknown = {name: reach for name, reach in self._unknown.items() if name in resting}
        if not e.healthy or e.latched_reach is not None:
            return []
        found = [name for name, reach in self._unknown.items() if e.reach_us - reach > Bounds.DETECT]
        self._unknown = {name: reach for name, reach in self._unknown.items() if name not in found}
        return found

    def _resting(self) -> list[str]:
        return [working.order.client_order_id or "" for working in self.e.engine.state.working.values()]

    def _is_known_trades(self, name: str) -> bool:
        """Whether the store still knows the entry of the trade whose stop or target this is."""
        e, order = self.e, self.e.journal.intents[name]
        entries = (o for o in e.journal.intents.values() if o.role == "entry" and o.signal_id == order.signal_id)
        return order.role in ("stop", "target") and any(entry.client_order_id in e.journal.decided for entry in entries)

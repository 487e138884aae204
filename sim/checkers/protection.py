"""Invariants 1 to 3: a position is protected, not over-protected, and its stop never moves away."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from protocol.messages.futures import Fill, OpenOrder
from sim.checkers.evidence import ZERO, Bounds, Evidence
from sim.checkers.invariant import Invariant
from sim.checkers.sent import Sent
from sim.engine.state import Holding, Working
from sim.faults.network import Reply, Request

FLATTENS: Final = ("mkt", "ioc", "lmt")
FLATTEN_US: Final = 2_000_000
"""A flatten counts as in flight until it is answered, and for no longer than this."""


REPLACED_US: Final = Bounds.REPLACE + 2 * Bounds.HALT
"""A replacement, looked at once a second."""


Books = tuple[Holding | Working, ...]


def stops(evidence: Evidence, symbol: str) -> list[OpenOrder]:
    """Live stops that protect what is held: opposite, reduce-only, on the mark."""
    size = evidence.positions.get(symbol, ZERO)
    return [
        w.order
        for w in evidence.engine.state.working.values()
        if w.order.symbol == symbol
        and w.order.order_type == "stp"
        and w.order.reduce_only
        and w.order.trigger == "mark"
        and (w.order.side == "sell") == (size > 0)
    ]


def bares(evidence: Evidence, sent: Sent) -> bool:
    """Whether a cancel takes the only stop of what is held."""
    if sent.op != "cancel" or sent.order_type != "stp" or sent.symbol not in evidence.known(sent):
        return False
    # Where a stranger has just turned the position round his stop may stay, and ours be of the other side (storm 41186).
    resting = stops(evidence, sent.symbol)
    return bool(resting) and all(sent.name == o.client_order_id or sent.order_id == o.order_id for o in resting)


def books_of(evidence: Evidence) -> Books:
    """All that is held and all that rests: frozen, so comparing with what was seen before takes next to nothing."""
    state = evidence.engine.state
    return *state.holdings.values(), *state.working.values()


class Protected(Invariant):
    """1: every position is covered by a stop, or has not been without one for longer than the bound."""

    number, name = 1, "protected"

    def __init__(self, evidence: Evidence) -> None:
        super().__init__(evidence)
        self._since: dict[str, int] = {}
        self._disturbed: dict[str, bool] = {}
        self._flatten: dict[str, int] = {}
        self._foreign: set[str] = set()
        self._covered: Books | None = None
        """The exchange's books when all that is held was covered."""

    def filled(self, fill: Fill) -> None:
        """As long as a thin market is left in parts the time begins anew with each."""
        if fill.client_order_id not in self.e.journal.intents:
            self._foreign.add(fill.symbol)
        elif fill.symbol in self._since and self.e.thin():
            self._since[fill.symbol] = self.e.reach_us

    def sent(self, sent: Sent) -> None:
        if sent.op == "send" and sent.reduce_only and sent.order_type in FLATTENS:
            self._flatten[sent.symbol] = sent.at

    def answered(self, request: Request, reply: Reply) -> None:
        """What it brought is in the books; refused, it is no protection, but where the market is closed nothing else can be tried."""
        symbol = request.form.get("symbol", "")
        if request.op == "send" and request.form.get("orderType") in FLATTENS and not self._closed(symbol):
            self._flatten.pop(symbol, None)

    def _closed(self, symbol: str) -> bool:
        return symbol in self.e.engine.state.closed_markets

    def second(self) -> None:
        e = self.e
        if not (e.engine.state.holdings or self._since or self._foreign):
            return
        books = books_of(e)
        if books == self._covered:
            return
        self._covered = books
        for symbol, size in e.positions.items():
            cover = sum((order.size for order in stops(e, symbol)), ZERO)
            in_flight = e.now - self._flatten.get(symbol, 0) <= FLATTEN_US
            if cover < abs(size):
                self._covered = None
            if cover >= abs(size) or (in_flight and self._closed(symbol)):
                if symbol in self._since and cover >= abs(size):
                    e.once("naked position protected")
                self._since.pop(symbol, None)
                self._disturbed.pop(symbol, None)
                continue
            since = self._since.setdefault(symbol, e.reach_us)
            disturbed = self._disturbed[symbol] = self._disturbed.get(symbol, False) or not e.healthy
            bound = Bounds.NAKED + Bounds.HALT
            if symbol in self._foreign:
                bound += Bounds.DETECT  # somebody else's doing is found by reconciliation
            if disturbed:
                bound = Bounds.DETECT + Bounds.NAKED + Bounds.CONV
            if e.reach_us - since > bound and not in_flight:
                self.fail(
                    f"{symbol} {size} covered by {cover} for {(e.reach_us - since) / 1e6:.1f} s of reachable time"
                )
        self._foreign &= e.positions.keys()
        for symbol in [symbol for symbol in self._since if symbol not in e.positions]:
            e.once("naked position closed")
            del self._since[symbol]
            self._disturbed.pop(symbol, None)


class NotOverProtected(Invariant):
    """2: stops and targets only reduce, one stop a position, none without a position."""

    number, name = 2, "not over-protected"

    def __init__(self, evidence: Evidence) -> None:
        super().__init__(evidence)
        self._doubled: dict[str, int] = {}
        self._orphaned: dict[str, int] = {}
        self._sound: tuple[Books, int] | None = None
        """The exchange's books, and how many intents there were, when nothing was amiss."""

    def second(self) -> None:
        e = self.e
        if not (e.engine.state.working or self._doubled or self._orphaned):
            return
        seen = books_of(e), len(e.journal.intents)
        if seen == self._sound:
            return
        ours: dict[str, list[OpenOrder]] = {}
        orphans: list[str] = []
        for working in e.engine.state.working.values():
            order = working.order
            if order.client_order_id not in e.journal.intents or order.order_type not in ("stp", "take_profit"):
                continue
            if not order.reduce_only:
                self.fail(f"{order.symbol} {order.order_type} {order.order_id} is not reduce-only")
            if order.order_type == "stp":
                ours.setdefault(order.symbol, []).append(order)
            if order.symbol not in e.positions:
                orphans.append(order.order_id)
        self._long(
            self._doubled, [s for s, orders in ours.items() if len(orders) > 1], "two stops rest on", REPLACED_US
        )
        self._long(self._orphaned, orphans, "an exit order rests without a position:")
        self._sound = None if self._doubled or self._orphaned else seen

    def _long(self, since: dict[str, int], names: list[str], what: str, calm_us: int = Bounds.DETECT) -> None:
        e = self.e
        for name in [name for name in since if name not in names]:
            del since[name]
        bound = calm_us if e.healthy and e.obeyed else Bounds.DETECT + Bounds.UNKNOWN + Bounds.CONV
        for name in names:
            if e.cancels_lie:
                since[name] = e.reach_us
            if e.reach_us - since.setdefault(name, e.reach_us) > bound:
                self.fail(f"{what} {name} for {(e.reach_us - since[name]) / 1e6:.0f} s of reachable time")


class NeverWidened(Invariant):
    """3: within a position's life the best stop at the exchange only moves towards profit, as far as anybody can know: where the
    journal was lost, from the stop that the next life is shown. A life ends where nothing is held, or nothing of what we bought and sold.
    Until then the only stop stays: what replaces it, or leaves, comes first.
    """

    number, name = 3, "stop never widened"

    def __init__(self, evidence: Evidence) -> None:
        super().__init__(evidence)
        self._shown = True
        self._best: dict[str, Decimal] = {}
        self._sign: dict[str, int] = {}
        self._ours: dict[str, Decimal] = {}
        self._over: dict[str, tuple[str | None, ...]] = {}
        """Orders of a life that is over, whose cancel is on its way."""

    def sent(self, sent: Sent) -> None:
        if bares(self.e, sent):
            self.fail(f"{sent.symbol}: the only stop is cancelled while {sent.positions[sent.symbol]} is held")

    def began(self) -> None:
        self._shown = self._shown and not self.e.journal.forgot

    def answered(self, request: Request, reply: Reply) -> None:
        if request.op != "orders" or self._shown:
            return
        self._shown = True
        for symbol in self.e.positions:
            if not stops(self.e, symbol):
                self._best.pop(symbol, None)

    def filled(self, fill: Fill) -> None:
        size = self.e.positions.get(fill.symbol, ZERO)
        sign = (size > 0) - (size < 0)
        if sign != self._sign.get(fill.symbol, 0):
            self._best.pop(fill.symbol, None)
            self._sign[fill.symbol] = sign
        if fill.client_order_id in self.e.journal.intents:
            before = self._ours.get(fill.symbol, ZERO)
            self._ours[fill.symbol] = before + fill.signed_size
        if not (size and self._ours.get(fill.symbol, size)):
            self._end(fill.symbol)

    def _end(self, symbol: str) -> None:
        """A life is over, whoever closed it: what a stranger buys in the same moment begins anew (storm 36453)."""
        self._best.pop(symbol, None)
        self._ours.pop(symbol, None)
        working = [w.order for w in self.e.engine.state.working.values()]
        self._over[symbol] = tuple(o.client_order_id for o in working if o.symbol == symbol)

    def changed(self) -> None:
        for symbol, size in self.e.positions.items():
            triggers = [
                o.stop_price
                for o in stops(self.e, symbol)
                if o.stop_price is not None
                and o.client_order_id in self.e.journal.intents
                and o.client_order_id not in self._over.get(symbol, ())
            ]
            if not triggers:
                continue
            best = max(triggers) if size > 0 else min(triggers)
            before = self._best.get(symbol)
            if before is not None and (best < before if size > 0 else best > before):
                self.fail(f"{symbol} {size}: the stop went from {before} to {best}")
            self._best[symbol] = best

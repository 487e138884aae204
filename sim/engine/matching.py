"""What happens to orders: taken, edited, cancelled, triggered, filled, liquidated. Changes the state, appends reports.

The engine's hands: it decides nothing about what is reported besides. What is refused is in `checks`, prices are in `rules`,
money is moved in `booking`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Final, Literal

from msgspec.structs import replace

from protocol.ids import derive
from protocol.messages.base import Message, from_edge
from protocol.messages.futures import (
    CancelOrder,
    EditOrder,
    Instrument,
    OpenOrder,
    OrderSeen,
    Outcome,
    PlaceOrder,
)
from sim.engine import checks, margin, rules, sums
from sim.engine.booking import Booking
from sim.engine.state import Ended, Holding, State, Trail, Working
from sim.engine.sums import ZERO
from sim.engine.terms import Terms
from sim.market.tick import Tick

ENDED_KEPT: Final = 200
IMMEDIATE_FAILED: Final = "ioc_order_failed_because_it_would_not_be_executed"
Stacking = Literal["allow", "refuse", "autocancel"]
Verdict = tuple[Outcome, str, str | None]
"""Outcome, the exchange's word, order id."""
Slippage = Callable[[Tick, Decimal], Decimal]
"""(tick, value of an order in USD) -> percent beyond the touch."""
ToCome = Callable[[str, int], tuple[Decimal, Decimal] | None]
"""(symbol, moment) -> least and greatest mark until the candle ends; None: not known, or none to come."""


class Matching:
    """One state under the hands of the exchange. Every method appends what it caused to `out`, in order."""

    def __init__(
        self,
        state: State,
        instruments: Mapping[str, Instrument],
        booking: Booking,
        *,
        slippage: Slippage,
        depth_usd: Decimal | None,
        limits_through: bool = False,
        to_come: ToCome | None = None,
    ) -> None:
        self.state = state
        self.instruments = instruments
        self.booking = booking
        self.slippage = slippage
        self.depth_usd = depth_usd
        self.limits_through = limits_through
        self.to_come = to_come
        self.protection_pct = rules.PROTECTION_PCT
        self.stops_fill = True
        """Whether a triggered stop finds anybody to trade with."""
        self.stacking: Stacking = "allow"
        """What becomes of a second resting reduce-only order of a contract."""

    # --- wishes ---------------------------------------------------------------------------------------------

    def place(self, wish: PlaceOrder, terms: Terms, out: list[Message]) -> Verdict:
        state = self.state
        key = ("named", wish.client_order_id) if wish.client_order_id else ("number", state.orders_taken)
        order = OpenOrder(
            order_id=derive("exchange order", *key),
            client_order_id=wish.client_order_id or None,
            symbol=wish.symbol,
            side=wish.side,
            order_type=wish.order_type,
            size=wish.size,
            filled=ZERO,
            limit_price=None if wish.order_type == "mkt" else wish.limit_price,
            stop_price=wish.stop_price,
            reduce_only=wish.reduce_only,
            trigger=terms.trigger if wish.order_type in rules.TRIGGERS else None,
        )
        trail = terms.trail if wish.order_type == "trailing_stop" else None
        order = self._trailing(order, trail)
        late = wish.process_before is not None and state.now > wish.process_before
        refusal = checks.refusal(state, self.instruments, order, late=late, taker_fee_pct=self.booking.fees.taker_pct)
        if refusal is not None:
            # An id that exists proves that an earlier request arrived, not how it ended.
            return "unknown" if refusal == "clientOrderIdAlreadyExist" else "rejected", refusal, None
        if order.reduce_only and order.stop_price is not None and self.stacking != "allow":
            beside = [w for w in state.working.values() if w.order.symbol == order.symbol and w.order.reduce_only]
            if beside and self.stacking == "refuse":
                return "rejected", "wouldNotReducePosition", None
            for other in beside:
                self._end(other, "cancelled_by_admin", out)
        if order.order_type == "fok" and sum((size for size, _ in self._slices(order)), ZERO) < order.size:
            return "rejected", "iocWouldNotExecute", None  # all of it or nothing
        state.orders_taken += 1
        working = Working(order=order, rank=state.orders_taken, placed_at=state.now, updated_at=state.now, trail=trail)
        if order.client_order_id is not None:
            state.client_ids[order.client_order_id] = order.order_id
        tick = state.ticks[order.symbol]
        if _aggressive(order, tick):
            self._take(working, "taker", out)
            return self._taken(order.order_id), "placed", order.order_id
        self._rest(working, "new_placed_order_by_user", out)
        if rules.triggered(order, tick):
            self._fire(state.working[order.order_id], out)
        return "placed", "placed", order.order_id

    def _trailing(self, order: OpenOrder, trail: Trail | None) -> OpenOrder:
        """A trailing stop stands where its price says; one without a distance is left without a stop, and refused for it."""
        tick = self.state.ticks.get(order.symbol)
        if trail is None or tick is None:
            return order
        return replace(order, stop_price=rules.trailed(order, trail, tick, self.instruments[order.symbol]))

    def _taken(self, order_id: str) -> Outcome:
        """How an order ended that executed on arrival."""
        if order_id in self.state.working:
            return "placed"
        return "cancelled" if self.state.ended[order_id].order.size else "filled"

    def edit(self, wish: EditOrder, terms: Terms, out: list[Message]) -> Verdict:
        working = self._find(wish.client_order_id, terms.order_id)
        if working is None:
            return "not_found", "orderForEditNotFound", None
        old = working.order
        refusal = checks.unchangeable(self.state, working, wish)
        if refusal is not None:
            return "rejected", refusal, old.order_id
        new = replace(
            old,
            size=wish.size - old.filled,
            limit_price=old.limit_price if wish.limit_price is None else wish.limit_price,
            stop_price=old.stop_price if wish.stop_price is None else wish.stop_price,
        )
        trail = terms.trail if working.trail is not None and terms.trail is not None else working.trail
        if trail is not working.trail:
            new = self._trailing(replace(new, stop_price=None), trail)
        refusal = checks.unfit(self.state, self.instruments, new, self.booking.fees.taker_pct)
        if refusal is not None:
            return "rejected", refusal, old.order_id
        tick = self.state.ticks[new.symbol]
        working = replace(working, order=new, updated_at=self.state.now, trail=trail)
        if _aggressive(new, tick):
            self._drop(old.order_id)
            self._take(working, "takerAfterEdit", out)
            return "edited", "edited", old.order_id
        self._rest(working, "edited_by_user", out)
        if rules.triggered(new, tick):
            self._fire(self.state.working[new.order_id], out)
        return "edited", "edited", old.order_id

    def cancel(self, wish: CancelOrder, out: list[Message]) -> Verdict:
        working = self._find(wish.client_order_id, wish.order_id)
        if working is not None:
            self._end(working, "cancelled_by_user", out)
            return "cancelled", "cancelled", working.order.order_id
        order_id = wish.order_id or self.state.client_ids.get(wish.client_order_id or "")
        ended = self.state.ended.get(order_id or "")
        if ended is not None and ended.order.filled > 0 and ended.order.size == 0:
            return "filled", "filled", order_id
        return "not_found", "notFound", wish.order_id

    def cancel_all(self, symbol: str | None, reason: str, out: list[Message]) -> list[Working]:
        """Take every order off the book, stops too; of one contract only if told."""
        gone = [w for w in self.state.working.values() if symbol is None or w.order.symbol == symbol]
        return [self._end(working, reason, out) for working in gone]

    def _find(self, client_order_id: str | None, order_id: str | None) -> Working | None:
        key = order_id or self.state.client_ids.get(client_order_id or "")
        return self.state.working.get(key or "")

    # --- orders on the book ---------------------------------------------------------------------------------

    def work(self, symbol: str, tick: Tick, out: list[Message]) -> None:
        """Move trailing stops, fire triggers (stops before take-profits, then by arrival), then fill limits that were reached."""
        here = [working for working in self.state.working.values() if working.order.symbol == symbol]
        if not here:
            return
        here = [working if working.trail is None else self._follow(working, tick, out) for working in here]
        due = [working for working in here if rules.triggered(working.order, tick)]
        for working in sorted(due, key=lambda w: (w.order.order_type == "take_profit", w.rank)):
            if not self._yields(working.order, here, tick):
                self._fire(working, out)
        limits = [w for w in here if w.order.stop_price is None and self._reached(w.order, tick)]
        for working in sorted(limits, key=lambda w: w.rank):
            if not self._yields(working.order, here, tick):
                self._make(working, out)

    def _yields(self, order: OpenOrder, here: Sequence[Working], tick: Tick) -> bool:
        """Whether an exit with profit waits, because a stop beside it will be reached before the candle is over."""
        if self.to_come is None or not order.reduce_only or order.order_type in rules.STOPS:
            return False
        stops = [
            working.order
            for working in here
            if working.order.order_type in rules.STOPS
            and working.order.reduce_only
            and working.order.side == order.side
        ]
        marks = self.to_come(order.symbol, tick.at) if stops else None
        return marks is not None and any(rules.within_reach(stop, *marks) for stop in stops)

    def _follow(self, working: Working, tick: Tick, out: list[Message]) -> Working:
        """A trailing stop goes with the market."""
        order = working.order
        if working.trail is None:
            return working
        stop = rules.trailed(order, working.trail, tick, self.instruments[order.symbol])
        if stop == order.stop_price:
            return working
        working = replace(working, order=replace(order, stop_price=stop), updated_at=self.state.now)
        self._rest(working, "trailing_stop_price_updated", out)
        return working

    def _fire(self, working: Working, out: list[Message]) -> None:
        """A trigger was reached: it leaves, and a market order, or the limit order it carries, takes its place."""
        order = working.order
        if order.reduce_only and not margin.reducible(self.state, order.symbol, order.side):
            self._end(working, "would_not_reduce_position", out)
            return
        price = rules.touch(order.side, self.state.ticks[order.symbol])
        if not order.reduce_only and margin.unaffordable(
            self.state, self.instruments, order, price, self.booking.fees.taker_pct
        ):
            self._end(working, "not_enough_margin", out)
            return
        working = self._end(working, "stop_order_triggered", out)
        tick = self.state.ticks[order.symbol]
        if order.order_type == "stp" and not self.stops_fill:
            self._execute(working, [], "taker", out, told=True)
            return
        if order.limit_price is None or _crosses(order, tick):
            self._take(working, "taker", out, told=True)
            return
        limit = replace(
            order,
            order_type="lmt",
            stop_price=None,
            trigger=None,
        )
        self._rest(replace(working, order=limit), "limit_order_from_stop", out)

    def _reached(self, order: OpenOrder, tick: Tick) -> bool:
        """Whether the market came to a resting limit; `limits_through`: past it, as others stood before us in the queue."""
        if not self.limits_through or order.limit_price is None:
            return _crosses(order, tick)
        return tick.ask < order.limit_price if order.side == "buy" else tick.bid > order.limit_price

    def _take(self, working: Working, fill_type: str, out: list[Message], *, told: bool = False) -> None:
        """Execute against the book now. `told`: the order was already reported as gone."""
        self._execute(working, self._slices(working.order), fill_type, out, told=told)

    def _slices(self, order: OpenOrder) -> list[tuple[Decimal, Decimal]]:
        """What the book gives an order that executes now."""
        instrument, tick = self.instruments[order.symbol], self.state.ticks[order.symbol]
        limit = order.limit_price
        size = self._executable(order)
        usd = size if instrument.inverse else size * tick.mark
        slippage_pct = self.slippage(tick, usd)
        if limit is None and self.depth_usd is not None:
            limit = rules.protected(order.side, tick, instrument, self.protection_pct)
        price = rules.taker_price(order.side, limit, tick, instrument, slippage_pct)
        if limit is None:  # an endless book trades at any price: what slippage was told is paid in full
            return [(size, price)]
        return rules.sweep(order.side, size, price, limit, instrument=instrument, depth_usd=self.depth_usd)

    def _make(self, working: Working, out: list[Message]) -> None:
        """The market came to a resting limit: it is filled at its own price, as far as this tick's depth goes."""
        order = working.order
        size = self._executable(order)
        if size == 0 or order.limit_price is None:
            self._end(working, "would_not_reduce_position", out)
            return
        self._drop(order.order_id)
        instrument, price = self.instruments[order.symbol], order.limit_price
        first = rules.sweep(order.side, size, price, price, instrument=instrument, depth_usd=self.depth_usd)
        self._execute(working, first, "maker", out)

    def _execute(
        self,
        working: Working,
        slices: Sequence[tuple[Decimal, Decimal]],
        fill_type: str,
        out: list[Message],
        *,
        told: bool = False,
    ) -> None:
        """Book executions (size, price) of an order that is off the book. What is left of a limit order rests, of others it
        is gone; what a reduce-only order had too much is cut away.
        """
        done = sum((size for size, _ in slices), ZERO)
        left = self._executable(working.order) - done
        order = replace(working.order, size=left, filled=working.order.filled + done)
        before, working = working.fills, replace(working, order=order, fills=working.fills + len(slices))
        if left and order.order_type in ("lmt", "post"):
            self._rest(working, "partial_fill", out)
        else:
            reason = IMMEDIATE_FAILED if left else "full_fill"
            self._remember(working, reason)
            if not told:
                out.append(self._order_seen(working, open_=False, reason=reason))
        for count, (size, price) in enumerate(slices, before + 1):
            out.append(self.booking.book(order, count, size, price, fill_type))

    def _rest(self, working: Working, reason: str, out: list[Message]) -> None:
        self.state.working[working.order.order_id] = working
        out.append(self._order_seen(working, open_=True, reason=reason))

    def _end(self, working: Working, reason: str, out: list[Message]) -> Working:
        self._drop(working.order.order_id)
        self._remember(working, reason)
        out.append(self._order_seen(working, open_=False, reason=reason))
        return working

    def _drop(self, order_id: str) -> None:
        self.state.working.pop(order_id, None)

    def _remember(self, working: Working, reason: str) -> None:
        ended = self.state.ended
        ended[working.order.order_id] = Ended(
            order=working.order, reason=reason, placed_at=working.placed_at, at=self.state.now
        )
        if len(ended) > ENDED_KEPT:
            del ended[next(iter(ended))]

    def _executable(self, order: OpenOrder) -> Decimal:
        return (
            min(order.size, margin.reducible(self.state, order.symbol, order.side)) if order.reduce_only else order.size
        )

    # --- liquidation, and the exchange's own orders -------------------------------------------------------------

    def liquidate(self, symbol: str, out: list[Message]) -> None:
        """Close positions of the account that holds this contract at market, the worst first, until its margin equity covers
        maintenance margin again.
        """
        name = margin.account_of(self.instruments[symbol])
        while margin.surplus(self.state, self.instruments, name) < 0:
            ticks = self.state.ticks
            holding = min(
                margin.held_in(self.state, name),
                key=lambda h: (sums.unrealised(h, ticks[h.symbol].mark), h.symbol),
                default=None,
            )
            if holding is None:
                return
            self.cancel_all(holding.symbol, "liquidation", out)
            self._close_out(holding, out)

    def _close_out(self, holding: Holding, out: list[Message]) -> None:
        self.force(holding.symbol, -holding.size, "liquidation", out)

    def force(self, symbol: str, size: Decimal, fill_type: str, out: list[Message]) -> None:
        """An order of the exchange's own for `size` (signed): at market, reducing unless it assigns."""
        self._take(self._own_order(symbol, size, fill_type), fill_type, out)

    def settle(self, symbol: str, out: list[Message]) -> None:
        """Close a position at the index, whole and whatever the book holds: the contract ends."""
        holding = self.state.holdings.get(symbol)
        if holding is not None:
            price = self.state.ticks[symbol].index
            own = self._own_order(symbol, -holding.size, "settlement")
            self._execute(own, [(abs(holding.size), price)], "settlement", out)

    def _own_order(self, symbol: str, size: Decimal, fill_type: str) -> Working:
        """An order of the exchange's own."""
        state = self.state
        state.orders_taken += 1
        order = OpenOrder(
            order_id=derive(fill_type, symbol, state.now, state.orders_taken),
            client_order_id=None,
            symbol=symbol,
            side="buy" if size > 0 else "sell",
            order_type="mkt",
            size=abs(size),
            filled=ZERO,
            limit_price=None,
            stop_price=None,
            reduce_only=fill_type != "assignee",
            trigger=None,
        )
        return Working(order=order, rank=state.orders_taken, placed_at=state.now, updated_at=state.now)

    def _order_seen(self, working: Working, *, open_: bool, reason: str) -> OrderSeen:
        order = working.order
        at = self.state.now
        terms = f"{order.size} {order.filled} {order.limit_price} {order.stop_price}"
        return from_edge(OrderSeen, at, order.order_id, reason, terms, at, order=order, open=open_, reason=reason)


def _aggressive(order: OpenOrder, tick: Tick) -> bool:
    """Whether an order executes as soon as it arrives."""
    return order.stop_price is None and (order.limit_price is None or _crosses(order, tick))


def _crosses(order: OpenOrder, tick: Tick) -> bool:
    return order.limit_price is not None and rules.crosses(order.side, order.limit_price, tick)

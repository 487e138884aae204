"""What happens to orders: taken, edited, cancelled, triggered, filled, liquidated. Changes the state, appends reports.

The engine's hands: it decides nothing about what is reported besides. What is refused is in `checks`, prices in `rules`,
money in `sums`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Final

from msgspec.structs import replace

from protocol.ids import derive
from protocol.messages.base import Message, from_edge
from protocol.messages.futures import (
    CancelOrder,
    EditOrder,
    Fill,
    FillSeen,
    Instrument,
    OpenOrder,
    OrderSeen,
    Outcome,
    PlaceOrder,
)
from protocol.units import HOUR_US, MILLISECOND_US
from sim.engine import checks, margin, rules, sums
from sim.engine.state import Ended, FundingRate, Holding, State, Working
from sim.engine.sums import ZERO
from sim.tick import Tick

FILLS_KEPT: Final = 100
ENDED_KEPT: Final = 200
IMMEDIATE_FAILED: Final = "ioc_order_failed_because_it_would_not_be_executed"
Verdict = tuple[Outcome, str, str | None]
"""Outcome, the exchange's word, order id."""


class Matching:
    """One state under the hands of the exchange. Every method appends what it caused to `out`, in order."""

    def __init__(
        self,
        state: State,
        instruments: Mapping[str, Instrument],
        *,
        taker_fee_pct: Decimal,
        maker_fee_pct: Decimal,
        slippage_pct: Decimal,
        depth_usd: Decimal | None,
    ) -> None:
        self.state = state
        self.instruments = instruments
        self.taker_fee_pct = taker_fee_pct
        self.maker_fee_pct = maker_fee_pct
        self.slippage_pct = slippage_pct
        self.depth_usd = depth_usd

    # --- wishes ---------------------------------------------------------------------------------------------

    def place(self, wish: PlaceOrder, out: list[Message]) -> Verdict:
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
            trigger="mark" if wish.order_type in rules.TRIGGERS else None,
        )
        late = wish.process_before is not None and state.now > wish.process_before
        refusal = checks.refusal(state, self.instruments, order, late=late, taker_fee_pct=self.taker_fee_pct)
        if refusal is not None:
            # An id that exists proves that an earlier request arrived, not how it ended.
            return "unknown" if refusal == "clientOrderIdAlreadyExist" else "rejected", refusal, None
        state.orders_taken += 1
        working = Working(order=order, rank=state.orders_taken, placed_at=state.now, updated_at=state.now)
        if order.client_order_id is not None:
            state.client_ids[order.client_order_id] = order.order_id
        tick = state.ticks[order.symbol]
        if _aggressive(order, tick):
            self._take(working, "taker", out)
            return self._taken(order.order_id), "placed", order.order_id
        self._rest(working, "new_placed_order_by_user", out)
        if rules.triggered(order, tick.mark):
            self._fire(state.working[order.order_id], out)
        return "placed", "placed", order.order_id

    def _taken(self, order_id: str) -> Outcome:
        """How an order ended that executed on arrival."""
        if order_id in self.state.working:
            return "placed"
        return "cancelled" if self.state.ended[order_id].order.size else "filled"

    def edit(self, wish: EditOrder, out: list[Message]) -> Verdict:
        working = self._find(wish.client_order_id, None)
        if working is None:
            return "not_found", "orderForEditNotFound", None
        old = working.order
        if wish.stop_price is not None and old.stop_price is None:
            return "rejected", "orderForEditNotAStop", old.order_id
        new = replace(
            old,
            size=wish.size - old.filled,
            limit_price=old.limit_price if wish.limit_price is None else wish.limit_price,
            stop_price=old.stop_price if wish.stop_price is None else wish.stop_price,
        )
        refusal = checks.unfit(self.state, self.instruments, new, self.taker_fee_pct)
        if refusal is not None:
            return "rejected", refusal, old.order_id
        tick = self.state.ticks[new.symbol]
        working = replace(working, order=new, updated_at=self.state.now)
        if _aggressive(new, tick):
            self._drop(old.order_id)
            self._take(working, "takerAfterEdit", out)
            return "edited", "edited", old.order_id
        self._rest(working, "edited_by_user", out)
        if rules.triggered(new, tick.mark):
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

    def _find(self, client_order_id: str | None, order_id: str | None) -> Working | None:
        key = order_id or self.state.client_ids.get(client_order_id or "")
        return self.state.working.get(key or "")

    # --- orders on the book ---------------------------------------------------------------------------------

    def work(self, symbol: str, tick: Tick, out: list[Message]) -> None:
        """Fire triggers (stops before take-profits, then by arrival), then fill limits that were reached."""
        here = [working for working in self.state.working.values() if working.order.symbol == symbol]
        due = [working for working in here if rules.triggered(working.order, tick.mark)]
        for working in sorted(due, key=lambda w: (w.order.order_type != "stp", w.rank)):
            self._fire(working, out)
        limits = [w for w in here if w.order.stop_price is None and _crosses(w.order, tick)]
        for working in sorted(limits, key=lambda w: w.rank):
            self._make(working, out)

    def _fire(self, working: Working, out: list[Message]) -> None:
        """A trigger was reached: it leaves, and a market order, or the limit order it carries, takes its place."""
        order = working.order
        if order.reduce_only and not margin.reducible(self.state, order.symbol, order.side):
            self._end(working, "would_not_reduce_position", out)
            return
        price = rules.touch(order.side, self.state.ticks[order.symbol])
        if not order.reduce_only and margin.unaffordable(
            self.state, self.instruments, order, price, self.taker_fee_pct
        ):
            self._end(working, "not_enough_margin", out)
            return
        working = self._end(working, "stop_order_triggered", out)
        tick = self.state.ticks[order.symbol]
        if order.limit_price is None or _crosses(order, tick):
            self._take(working, "taker", out, told=True)
            return
        limit = replace(
            order,
            order_id=derive("limit from", order.order_id),
            order_type="lmt",
            stop_price=None,
            trigger=None,
        )
        if order.client_order_id is not None:
            self.state.client_ids[order.client_order_id] = limit.order_id
        self._rest(replace(working, order=limit), "limit_order_from_stop", out)

    def _take(self, working: Working, fill_type: str, out: list[Message], *, told: bool = False) -> None:
        """Execute against the book now. `told`: the order was already reported as gone."""
        order = working.order
        instrument, tick = self.instruments[order.symbol], self.state.ticks[order.symbol]
        limit = order.limit_price
        if limit is None:
            limit = rules.protected(order.side, tick, instrument)
        price = rules.taker_price(order.side, limit, tick, instrument, self.slippage_pct)
        slices = rules.sweep(
            order.side, self._executable(order), price, limit, instrument=instrument, depth_usd=self.depth_usd
        )
        self._execute(working, slices, fill_type, out, told=told)

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
            out.append(self._book(order, count, size, price, fill_type))

    def _book(self, order: OpenOrder, count: int, size: Decimal, price: Decimal, fill_type: str) -> FillSeen:
        """Move money and position for one execution."""
        state, symbol = self.state, order.symbol
        self.realise_funding(symbol, state.now)
        fee = sums.fee(size * price, self.maker_fee_pct if fill_type == "maker" else self.taker_fee_pct)
        holding, realised = sums.traded(
            state.holdings.get(symbol), symbol, size * rules.SIGNED[order.side], price, state.now
        )
        if holding is None:
            del state.holdings[symbol]
        else:
            state.holdings[symbol] = holding
        state.books = replace(
            state.books,
            realised_usd=state.books.realised_usd + realised,
            fees_usd=state.books.fees_usd + fee,
        )
        fill = Fill(
            fill_id=derive("fill", order.order_id, count),
            order_id=order.order_id,
            client_order_id=order.client_order_id,
            symbol=symbol,
            side=order.side,
            size=size,
            price=price,
            time=state.now - state.now % MILLISECOND_US,
            fill_type=fill_type,
            fee_usd=fee,
        )
        state.fills = [*state.fills[1 - FILLS_KEPT :], fill]
        return from_edge(FillSeen, state.now, fill.fill_id, "stream", state.now, fill=fill, source="stream")

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

    # --- margin, funding, liquidation -----------------------------------------------------------------------

    def liquidate(self, out: list[Message]) -> None:
        """Close positions at market, the worst first, until margin equity covers maintenance margin again."""
        while self.state.holdings and margin.surplus(self.state, self.instruments) < 0:
            ticks = self.state.ticks
            holding = min(
                self.state.holdings.values(),
                key=lambda h: (sums.unrealised(h, ticks[h.symbol].mark), h.symbol),
            )
            for working in tuple(self.state.working.values()):
                if working.order.symbol == holding.symbol:
                    self._end(working, "liquidation", out)
            self._close_out(holding, out)

    def _close_out(self, holding: Holding, out: list[Message]) -> None:
        self.force(holding.symbol, -holding.size, "liquidation", out)

    def force(self, symbol: str, size: Decimal, fill_type: str, out: list[Message]) -> None:
        """An order of the exchange's own for `size` (signed): at market, reducing unless it assigns."""
        state = self.state
        state.orders_taken += 1
        order = OpenOrder(
            order_id=derive(fill_type, symbol, state.now),
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
        working = Working(order=order, rank=state.orders_taken, placed_at=state.now, updated_at=state.now)
        self._take(working, fill_type, out)

    def fix_rate(self, tick: Tick) -> None:
        """The first tick of an hour fixes what a contract pays in it: relative rate times index, within the cap."""
        hour = tick.at - tick.at % HOUR_US
        rate = self.state.rates.get(tick.symbol)
        if rate is not None and rate.hour == hour:
            return
        holding = self.state.holdings.get(tick.symbol)
        if holding is not None:
            due = margin.funding_due(self.state, holding, hour)
            self.state.holdings[tick.symbol] = replace(holding, funding_usd=due, since=max(hour, holding.since))
        cap = self.instruments[tick.symbol].max_relative_funding_rate
        relative = max(-cap, min(cap, tick.funding_rate))
        self.state.rates[tick.symbol] = FundingRate(hour=hour, usd=relative * tick.index)

    def realise_funding(self, symbol: str, at: int) -> None:
        holding = self.state.holdings.get(symbol)
        if holding is None:
            return
        total = self.state.books.funding_usd + margin.funding_due(self.state, holding, at)
        self.state.books = replace(self.state.books, funding_usd=total)
        self.state.holdings[symbol] = replace(holding, funding_usd=ZERO, since=at)

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

"""What happens to orders: taken, edited, cancelled, triggered, filled, liquidated. Changes the state, appends reports.

The engine's hands: it decides nothing about what is reported besides. What is refused is in `checks`, prices in `rules`,
money in `sums`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Final, Literal, TypeVar

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
from protocol.units import DAY_US, HOUR_US, MILLISECOND_US
from sim.engine import checks, margin, rules, sums
from sim.engine.fees import WINDOW_DAYS, Schedule, Tier, tier
from sim.engine.state import Books, Ended, FundingRate, Holding, LogEntry, State, Trail, Working
from sim.engine.sums import ZERO
from sim.engine.terms import Terms
from sim.market.tick import Tick

FILLS_KEPT: Final = 500
LOG_KEPT: Final = 1000
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
        *,
        schedule: Schedule,
        slippage: Slippage,
        depth_usd: Decimal | None,
        limits_through: bool = False,
        to_come: ToCome | None = None,
    ) -> None:
        self.state = state
        self.instruments = instruments
        self.schedule = schedule
        self.slippage = slippage
        self.depth_usd = depth_usd
        self.limits_through = limits_through
        self.to_come = to_come
        self.protection_pct = rules.PROTECTION_PCT
        self.stops_fill = True
        """Whether a triggered stop finds anybody to trade with."""
        self.stacking: Stacking = "allow"
        """What becomes of a second resting reduce-only order of a contract."""

    @property
    def fees(self) -> Tier:
        """What an execution costs today."""
        return tier(self.schedule, self.state.traded_usd, self.state.now // DAY_US)

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
        refusal = checks.refusal(state, self.instruments, order, late=late, taker_fee_pct=self.fees.taker_pct)
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
        refusal = checks.unfit(self.state, self.instruments, new, self.fees.taker_pct)
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
            self.state, self.instruments, order, price, self.fees.taker_pct
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
            out.append(self._book(order, count, size, price, fill_type))

    def _book(self, order: OpenOrder, count: int, size: Decimal, price: Decimal, fill_type: str) -> FillSeen:
        """Move money and position for one execution."""
        state, symbol = self.state, order.symbol
        inverse = self.instruments[symbol].inverse
        self.realise_funding(symbol, state.now)
        worth = sums.value(size, price, inverse=inverse)
        fee = sums.fee(worth, self.fees.maker_pct if fill_type == "maker" else self.fees.taker_pct)
        self._count(size if inverse else size * price)
        before = state.holdings.get(symbol)
        holding, realised = sums.traded(
            before, symbol, size * rules.SIGNED[order.side], price, state.now, inverse=inverse
        )
        if holding is None:
            del state.holdings[symbol]
        else:
            state.holdings[symbol] = holding
        name = symbol if inverse else margin.DOLLARS
        books = margin.books(state, name)
        after = replace(books, realised=books.realised + realised, fees=books.fees + fee)
        self._keep(name, after)
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
        _append(state.fills, fill, FILLS_KEPT)
        self._log(
            "futures liquidation" if fill_type == "liquidation" else "futures trade",
            symbol,
            (books, after),
            (before, holding),
            price=price,
            realised=realised,
            fee=fee,
            fill_id=fill.fill_id,
        )
        return from_edge(FillSeen, state.now, fill.fill_id, "stream", state.now, fill=fill, source="stream")

    def _count(self, usd: Decimal) -> None:
        """Add an execution to today's volume; days that no tier asks for are forgotten."""
        if len(self.schedule) > 1:
            day, traded = self.state.now // DAY_US, dict(self.state.traded_usd)
            traded[day] = traded.get(day, ZERO) + usd
            self.state.traded_usd = [(known, worth) for known, worth in traded.items() if known >= day - WINDOW_DAYS]

    def _keep(self, name: str, books: Books) -> None:
        if name:
            self.state.coins[name] = books
        else:
            self.state.books = books

    def _log(
        self,
        info: str,
        symbol: str,
        books: tuple[Books, Books],
        holdings: tuple[Holding | None, Holding | None],
        *,
        price: Decimal | None = None,
        realised: Decimal | None = None,
        fee: Decimal | None = None,
        funding_rate: Decimal | None = None,
        funding: Decimal | None = None,
        fill_id: str = "",
    ) -> None:
        """Enter a change of balance, and perhaps of the position, in the account log: (before, after) of each."""
        state = self.state
        state.logged += 1
        old, new = holdings
        entry = LogEntry(
            number=state.logged,
            at=state.now,
            info=info,
            account=margin.account_of(self.instruments[symbol]),
            symbol=symbol,
            old_balance=books[0].balance,
            new_balance=books[1].balance,
            mark=state.ticks[symbol].mark,
            old_size=ZERO if old is None else old.size,
            new_size=ZERO if new is None else new.size,
            old_entry=ZERO if old is None else old.entry_price,
            new_entry=ZERO if new is None else new.entry_price,
            price=price,
            realised=realised,
            fee=fee,
            funding_rate=funding_rate,
            funding=funding,
            fill_id=fill_id,
        )
        _append(state.log, entry, LOG_KEPT)

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

    def fix_rate(self, tick: Tick) -> None:
        """The first tick of an hour fixes what a contract pays in it."""
        self.fix_hour(tick.symbol, tick.at - tick.at % HOUR_US, tick.funding_rate, tick.index)

    def fix_hour(self, symbol: str, hour: int, funding_rate: Decimal, index: Decimal) -> None:
        """What a contract pays in `hour`, once: relative rate times index, within the cap."""
        rate = self.state.rates.get(symbol)
        if rate is not None and rate.hour == hour:
            return
        holding = self.state.holdings.get(symbol)
        if holding is not None:
            due = margin.funding_due(self.state, holding, hour)
            self.state.holdings[symbol] = replace(holding, funding=due, since=max(hour, holding.since))
        self.state.rates[symbol] = FundingRate(hour=hour, absolute=self._absolute(symbol, funding_rate, index))

    def _absolute(self, symbol: str, funding_rate: Decimal, index: Decimal) -> Decimal:
        """What one contract pays an hour: the relative rate within its cap, times index."""
        relative = self._capped(symbol, funding_rate)
        return relative / index if self.instruments[symbol].inverse else relative * index

    def _capped(self, symbol: str, funding_rate: Decimal) -> Decimal:
        cap = self.instruments[symbol].max_relative_funding_rate
        return max(-cap, min(cap, funding_rate))

    def pass_hours(self, symbol: str, hours: range, lag_us: int, terms: Sequence[tuple[Decimal, Decimal]]) -> None:
        """`realise_funding` and `fix_hour` of a held contract, hour after hour, without the log."""
        holding, absolute = self.state.holdings[symbol], self.state.rates[symbol].absolute
        size, grain = holding.size, sums.COIN_GRAIN if holding.inverse else sums.GRAIN
        at = hours[0] + lag_us
        paid = holding.funding + (size * absolute * (at - holding.since) / HOUR_US).quantize(grain)
        rate, relative, a_dollar = None, ZERO, ZERO
        for told, index in terms[:-1]:
            if told is not rate:  # one rate is in force for hours
                rate, relative = told, self._capped(symbol, told)
                a_dollar = size * relative
            paid += (size * (relative / index) if holding.inverse else a_dollar * index).quantize(grain)
        absolute, since = self._absolute(symbol, *terms[-1]), hours[-1] + lag_us
        self.state.holdings[symbol] = replace(holding, funding=ZERO, since=since)
        self.state.rates[symbol] = FundingRate(hour=hours[-1], absolute=absolute)
        if paid:
            name = symbol if holding.inverse else margin.DOLLARS
            books = margin.books(self.state, name)
            self._keep(name, replace(books, funding=books.funding + paid))

    def realise_funding(self, symbol: str, at: int) -> None:
        holding = self.state.holdings.get(symbol)
        if holding is None:
            return
        due = margin.funding_due(self.state, holding, at)
        self.state.holdings[symbol] = paid = replace(holding, funding=ZERO, since=at)
        if not due:
            return
        name = symbol if holding.inverse else margin.DOLLARS
        books = margin.books(self.state, name)
        after = replace(books, funding=books.funding + due)
        self._keep(name, after)
        rate = self.state.rates[symbol].absolute
        self._log("funding rate change", symbol, (books, after), (holding, paid), funding_rate=rate, funding=-due)

    def _order_seen(self, working: Working, *, open_: bool, reason: str) -> OrderSeen:
        order = working.order
        at = self.state.now
        terms = f"{order.size} {order.filled} {order.limit_price} {order.stop_price}"
        return from_edge(OrderSeen, at, order.order_id, reason, terms, at, order=order, open=open_, reason=reason)


T = TypeVar("T")


def _append(rows: list[T], row: T, kept: int) -> None:
    """Add the newest; the oldest go now and then, so that at least `kept` are there and at most a half more."""
    rows.append(row)
    if len(rows) > kept + kept // 2:
        del rows[:-kept]


def _aggressive(order: OpenOrder, tick: Tick) -> bool:
    """Whether an order executes as soon as it arrives."""
    return order.stop_price is None and (order.limit_price is None or _crosses(order, tick))


def _crosses(order: OpenOrder, tick: Tick) -> bool:
    return order.limit_price is not None and rules.crosses(order.side, order.limit_price, tick)

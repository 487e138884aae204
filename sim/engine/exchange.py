"""The exchange: takes wishes and ticks, answers with what Kraken would report. Deterministic; time comes with each call.

Knows no network, no clock and nobody who trades. It reports; what happens to orders is in `matching`, the money in `margin`
and `sums`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Final, NamedTuple

from msgspec.structs import replace

from protocol.messages.base import Message, from_edge
from protocol.messages.futures import (
    WISHES,
    Account,
    AccountSeen,
    CancelOrder,
    CommandAnswered,
    EditOrder,
    Fill,
    FillSeen,
    Instrument,
    InstrumentsSeen,
    OrderSeen,
    PlaceOrder,
    Position,
    PositionsSeen,
    SnapshotSeen,
    TickerSeen,
)
from protocol.ports import Command
from protocol.units import MILLISECOND_US, SECOND_US, round_down
from sim.engine import margin, sums
from sim.engine.booking import Booking
from sim.engine.fees import Schedule, flat
from sim.engine.matching import Matching, Slippage, ToCome
from sim.engine.state import Books, State, Working, from_bytes, to_bytes
from sim.engine.sums import ZERO
from sim.engine.terms import USUAL, Terms
from sim.market.tick import Tick

FILLS_SHOWN: Final = 100
"""A snapshot's fills, as Kraken's REST gives them in one answer."""


class Answer(NamedTuple):
    """What one wish leads to: `reply` comes back on the request itself, `stream` over the private feeds.

    `reduced`: what a reduce-only order was cut by on arrival because the position is smaller; None when it was not cut.
    """

    reply: tuple[Message, ...]
    stream: tuple[Message, ...]
    reduced: Decimal | None = None

    @property
    def messages(self) -> list[Message]:
        """Both, the reply first."""
        return [*self.reply, *self.stream]


class Engine:
    """One account on one exchange.

    `equity_usd` is what the account starts with, and `equity_coin` what that of each inverse contract starts with; fees and slippage are percent.
    `schedule`: fee tiers by volume, in place of the two flat fees; `slippage`: percent by tick and value of the order, in place of the fixed one. `depth_usd` is what the book holds at each price
    and to each new order and tick: a larger order is filled in parts, and perhaps not whole. None: it is endlessly deep.
    `to_come`: the marks (least, greatest) still to come in the candle that a moment lies in; with it a target is not given while the stop
    of the same position would be reached before that candle ends, whatever the path says of the order.
    `revalue_s`: while a position is open,
    positions and account are reported again once in so many seconds, as soon as every held contract has ticked.
    What is traded and paid is then the same whether all ticks are visited or only those where `levels` are crossed, if at each
    crossing, and at the first tick of each such interval and of each hour, every held contract is visited at that moment and at
    the tick before it (its mark counts in what the others report).
    """

    def __init__(
        self,
        instruments: Sequence[Instrument],
        equity_usd: Decimal,
        *,
        equity_coin: Decimal = Decimal(10),
        taker_fee_pct: Decimal = Decimal("0.05"),
        maker_fee_pct: Decimal = Decimal("0.02"),
        slippage_pct: Decimal = Decimal("0.01"),
        schedule: Schedule | None = None,
        slippage: Slippage | None = None,
        depth_usd: Decimal | None = None,
        limits_through: bool = False,
        to_come: ToCome | None = None,
        revalue_s: int = 900,
    ) -> None:
        self.rules = {instrument.symbol: instrument for instrument in instruments}
        self.revalue_us = revalue_s * SECOND_US
        self.equity_coin = equity_coin
        self.state = State(books=Books(start=equity_usd), coins=self._coin_accounts())
        """What it remembers. To be read only."""
        self.booking = Booking(self.state, self.rules, schedule or flat(maker_fee_pct, taker_fee_pct))
        self.matching = Matching(
            self.state,
            self.rules,
            self.booking,
            slippage=slippage or (lambda _tick, _usd: slippage_pct),
            depth_usd=depth_usd,
            limits_through=limits_through,
            to_come=to_come,
        )

    def _coin_accounts(self) -> dict[str, Books]:
        return {i.symbol: Books(start=self.equity_coin) for i in self.rules.values() if i.inverse}

    # --- what the world asks of it --------------------------------------------------------------------------

    def send(self, command: Command, at: int) -> list[Message]:
        """Carry out one wish: `FillSeen`*, `CommandAnswered`, then the private streams' reports."""
        return self.answer(command, at).messages

    def answer(self, command: Command, at: int, terms: Terms = USUAL) -> Answer:
        """`send` with its two halves apart. A refusal is an answer, never an exception."""
        self.state.now = at
        stream: list[Message] = []
        reduced: Decimal | None = None
        match command:
            case PlaceOrder():
                if command.reduce_only:
                    reducible = margin.reducible(self.state, command.symbol, command.side)
                    reduced = max(command.size - reducible, ZERO) or None
                outcome, status, order_id = self.matching.place(command, terms, stream)
            case EditOrder():
                outcome, status, order_id = self.matching.edit(command, terms, stream)
            case CancelOrder():
                outcome, status, order_id = self.matching.cancel(command, stream)
        self._report_fills(stream)
        answered = from_edge(
            CommandAnswered,
            at,
            command.id,
            at,
            command=command.id,
            wish=WISHES[type(command)],
            client_order_id=command.client_order_id,
            order_id=order_id,
            symbol=command.symbol,
            outcome=outcome,
            status=status,
        )
        reply = [_replied(fill, at) for fill in _executed_at_once(order_id, stream)]
        return Answer((*reply, answered), tuple(stream), reduced)

    def cancel_all(self, symbol: str | None, reason: str, at: int) -> tuple[list[Working], list[Message]]:
        """Take every order off the book, stops too (of one contract if told): the orders, and what the streams say of it."""
        self.state.now = at
        stream: list[Message] = []
        return self.matching.cancel_all(symbol, reason, stream), stream

    def move(self, tick: Tick) -> list[Message]:
        """The market moved: `TickerSeen`, then what `meet` says."""
        met = self.meet(tick)
        # Only tradeable markets stream.
        return [self.ticker(tick), *met] if self.rules[tick.symbol].tradeable else met

    def meet(self, tick: Tick) -> list[Message]:
        """The market moved: what triggers, resting limits and liquidation did."""
        state, symbol = self.state, tick.symbol
        state.now = tick.at
        self.booking.fix_rate(tick)
        state.ticks[symbol] = tick
        still = state.closed_markets.get(symbol) in ("suspended", "post_only")
        out: list[Message] = []
        if not still:
            if state.working:
                self.matching.work(symbol, tick, out)
            if symbol in state.holdings:
                self.matching.liquidate(symbol, out)
        self._revalue(tick.at, out)
        self._report_fills(out)
        return out

    def settle_funding(self, at: int) -> list[Message]:
        """A full hour is over: what has accrued is paid. Reports positions and account when anything is held."""
        self.state.now = at
        for symbol in tuple(self.state.holdings):
            self.booking.realise_funding(symbol, at)
        return [*self.standing(at)] if self.state.holdings else []

    def pass_hours(self, hours: range, lag_us: int, terms: Mapping[str, Sequence[tuple[Decimal, int]]]) -> None:
        """Full hours as `settle_funding`, `lag_us` into each, and each contract's first tick after it have them, for money only.

        `terms`: of each contract the relative rate and the index, in ticks, of every hour; one not held needs only those of the last. Nothing
        is reported or logged and no price is seen: for whoever knows that no level is reached.
        """
        self.state.now = hours[-1] + lag_us
        for symbol, of_hours in terms.items():
            if symbol in self.state.holdings:
                self.booking.pass_hours(symbol, hours, lag_us, of_hours)
            else:
                rate, ticks = of_hours[-1]
                self.booking.fix_hour(symbol, hours[-1], rate, ticks * self.rules[symbol].tick)

    def fix_hour(self, hour: int, terms: Mapping[str, tuple[Decimal, Decimal]]) -> None:
        """Relative rate and index, by contract, of the first tick of `hour` where no tick will be shown."""
        for symbol, (rate, index) in terms.items():
            self.booking.fix_hour(symbol, hour, rate, index)

    def see(self, tick: Tick) -> None:
        """A tick that crosses no level, and of which nothing is to be told."""
        self.state.now = tick.at
        self.booking.fix_rate(tick)
        self.state.ticks[tick.symbol] = tick

    def pass_reports(self, count: int, until: int) -> None:
        """So many reports of positions and account, up to `until`, were not made: later ones keep their numbers."""
        self.state.frames += count
        self.state.revalued = until - until % self.revalue_us

    def close_market(self, symbol: str, how: str | None) -> None:
        """Make a market `suspended` (nothing happens in it), `cancel_only` (no new orders and no changes) or `post_only` (orders rest,
        and none trades: no trigger, no liquidation); None opens it again. The first and the last show in the next ticker.
        """
        if how is None:
            self.state.closed_markets.pop(symbol, None)
        else:
            self.state.closed_markets[symbol] = how

    def delist(self, symbol: str, at: int) -> list[Message]:
        """A contract ends: its orders are cancelled, its position is settled at the index, and it is traded no more. Before that
        Kraken makes the market post-only (`close_market`), with notice or without.
        """
        self.state.now = at
        out: list[Message] = []
        self.matching.cancel_all(symbol, "contract_expired", out)
        self.matching.settle(symbol, out)
        self.rules[symbol] = replace(self.rules[symbol], tradeable=False)
        self._report_fills(out)
        return out

    def force(self, symbol: str, size: Decimal, fill_type: str, at: int) -> list[Message]:
        """The exchange changes a position by itself (liquidation, unwind, assignment): `size` signed, in contracts."""
        self.state.now = at
        out: list[Message] = []
        self.matching.force(symbol, size, fill_type, out)
        self._report_fills(out)
        return out

    # --- what can be read of it -----------------------------------------------------------------------------

    def snapshot(self, at: int, since: int = 0) -> SnapshotSeen:
        """Orders, positions, the newest fills (oldest first, none from before `since`) and the account, as by REST."""
        self.state.now = at
        return from_edge(
            SnapshotSeen,
            at,
            at,
            began_at=at,
            orders=tuple(working.order for working in self.state.working.values()),
            positions=self.positions(),
            fills=self._fills_since(since),
            account=self.account(),
        )

    def _fills_since(self, since: int) -> tuple[Fill, ...]:
        """The newest fills, oldest first; they are kept in order of time."""
        newest = self.state.fills[-FILLS_SHOWN:]
        count = next((n for n, fill in enumerate(reversed(newest)) if fill.time < since), len(newest))
        return tuple(newest[len(newest) - count :])

    def standing(self, at: int) -> tuple[PositionsSeen, AccountSeen]:
        """The whole list of positions and the account, with the next sequence number."""
        state = self.state
        state.now = at
        state.frames += 1
        number = state.frames
        return (
            from_edge(PositionsSeen, at, number, at, positions=self.positions(), sequence=number, time=at),
            from_edge(AccountSeen, at, number, at, account=self.account(), sequence=number),
        )

    def tickers(self) -> list[TickerSeen]:
        """The last ticker of every contract that has ticked."""
        return [self.ticker(tick) for tick in self.state.ticks.values()]

    def instruments(self, at: int) -> InstrumentsSeen:
        """The contract list."""
        return from_edge(InstrumentsSeen, at, at, instruments=tuple(self.rules.values()))

    def levels(self, symbol: str, within: tuple[float, float] | None = None) -> tuple[Decimal, ...]:
        """Marks at which something would happen: triggers on mark, resting limits, and the account's liquidation; `within`
        two prices if told.

        Ascending. A trigger on another price, or a trailing stop, wants every tick. When several contracts are held each gets an equal share of what may be lost, so none of them is
        liquidated before one of them has crossed its level. A limit fills on bid or ask, which follow the mark: from its
        level on every tick must be visited.
        """
        state, prices = self.state, self._order_prices(symbol)
        holding = state.holdings.get(symbol)
        if holding is not None and not (within and margin.is_safe(state, self.rules, holding, within)):
            name = margin.account_of(self.rules[symbol])
            share = margin.surplus(state, self.rules, name) / len(margin.held_in(state, name))
            price = sums.price_at_loss(holding, state.ticks[symbol].mark, share)
            if price is not None:
                prices.append(price)
        if within is not None and prices:
            low, high = within
            prices = [price for price in prices if low <= float(price) <= high]
        return tuple(sorted(prices)) if prices else ()

    def order_levels(self, symbol: str) -> tuple[float, ...]:
        """Marks (or bids and asks) at which a resting order of `symbol` would do something."""
        return tuple(map(float, self._order_prices(symbol)))

    def _order_prices(self, symbol: str) -> list[Decimal]:
        """The prices at which resting orders of `symbol` would do something."""
        prices: list[Decimal] = []
        for working in self.state.working.values():
            order = working.order
            if order.symbol == symbol:
                price = order.limit_price if order.stop_price is None else order.stop_price
                if price is not None:
                    prices.append(price)
        return prices

    def funding_due_of(self, symbol: str) -> Decimal:
        """What the position in `symbol` has accrued up to the last moment seen, as a cost."""
        return margin.funding_due(self.state, self.state.holdings[symbol], self.state.now)

    def busy(self, symbol: str) -> bool:
        """Whether a position or a resting order makes this contract's ticks matter."""
        state = self.state
        if symbol in state.holdings:
            return True
        return bool(state.working) and any(working.order.symbol == symbol for working in state.working.values())

    def held(self, symbol: str) -> Decimal:
        """Signed contracts of a position, 0 when there is none."""
        holding = self.state.holdings.get(symbol)
        return ZERO if holding is None else holding.size

    @property
    def depth_usd(self) -> Decimal | None:
        """What the book holds at each price; None: it is endlessly deep."""
        return self.matching.depth_usd

    @property
    def last_at(self) -> int:
        """The last moment seen, microseconds UTC; 0 for a new exchange. A restart goes on from here."""
        return self.state.now

    @property
    def books(self) -> Books:
        """Realised profit, fees and funding since the account was opened, in US dollars."""
        return self.state.books

    @property
    def equity_usd(self) -> Decimal:
        """Cash, unrealised profit and accrued funding at the last moment seen."""
        return margin.equity(self.state)

    @property
    def maintenance_usd(self) -> Decimal:
        """Maintenance margin of all positions."""
        return margin.maintenance(self.state, self.rules)

    @property
    def unrealised_usd(self) -> Decimal:
        """Profit of all positions at their marks."""
        return margin.unrealised(self.state)

    @property
    def funding_due_usd(self) -> Decimal:
        """Accrued funding that the next full hour realises, as a cost."""
        return margin.total_funding_due(self.state)

    def positions(self) -> tuple[Position, ...]:
        """All open positions, by symbol."""
        state, named = self.state, self.rules
        if not state.holdings:
            return ()
        surplus = {name: margin.surplus(state, named, name) for name in (margin.DOLLARS, *state.coins)}
        return tuple(
            margin.position(state, named, holding, surplus[margin.account_of(named[symbol])])
            for symbol, holding in sorted(state.holdings.items())
        )

    def account(self, name: str = margin.DOLLARS) -> Account:
        """Balances and margin at the last moment seen: of the dollar account, or of an inverse contract's in its coin."""
        return margin.account(self.state, self.rules, name)

    def save(self) -> bytes:
        """The whole account and book, to be kept across a restart. The rules and fees are not in it."""
        return to_bytes(self.state)

    def restore(self, data: bytes) -> None:
        """Take up a saved state. ValueError when it holds contracts this exchange does not list."""
        state = from_bytes(data)
        held = {*state.holdings, *(working.order.symbol for working in state.working.values())}
        unknown = sorted(held - self.rules.keys())
        if unknown:
            raise ValueError(
                f"the saved account holds {', '.join(unknown)}: list these contracts or start a new account"
            )
        state.coins = {**self._coin_accounts(), **state.coins}
        self.state = self.matching.state = self.booking.state = state

    # --- reports --------------------------------------------------------------------------------------------

    def _report_fills(self, out: list[Message]) -> None:
        if out and any(isinstance(message, FillSeen) for message in out):
            out += self.standing(self.state.now)

    def _revalue(self, at: int, out: list[Message]) -> None:
        """Report positions and account once an interval, when every held contract has a tick of this interval."""
        interval = at - at % self.revalue_us
        state = self.state
        if interval <= state.revalued or any(state.ticks[symbol].at < interval for symbol in state.holdings):
            return
        state.revalued = interval
        if state.holdings and not any(isinstance(message, FillSeen) for message in out):
            out += self.standing(self.state.now)

    def ticker(self, tick: Tick) -> TickerSeen:
        """A tick as the stream tells it."""
        closed = self.state.closed_markets.get(tick.symbol)
        time = tick.at - tick.at % MILLISECOND_US
        depth = self._best_size(tick)
        return from_edge(
            TickerSeen,
            tick.at,
            tick.symbol,
            time,
            tick.at,
            symbol=tick.symbol,
            mark=tick.mark,
            index=tick.index,
            bid=tick.bid,
            ask=tick.ask,
            last=tick.last,
            funding_rate=tick.funding_rate,
            suspended=closed == "suspended",
            post_only=closed == "post_only",
            time=time,
            bid_size=depth,
            ask_size=depth,
        )

    def _best_size(self, tick: Tick) -> Decimal | None:
        """Contracts at each price of the book; None: it is endlessly deep."""
        if self.depth_usd is None:
            return None
        rule = self.rules[tick.symbol]
        return round_down(self.depth_usd if rule.inverse else self.depth_usd / tick.mark, rule.lot)


def _executed_at_once(order_id: str | None, stream: Sequence[Message]) -> list[Fill]:
    """Fills of an order that never rested. What rested first, a trigger too, is told by the streams alone."""
    rested = ("new_placed_order_by_user", "edited_by_user")
    if any(isinstance(m, OrderSeen) and m.reason in rested and m.order.order_id == order_id for m in stream):
        return []
    return [m.fill for m in stream if isinstance(m, FillSeen) and m.fill.order_id == order_id]


def _replied(fill: Fill, at: int) -> FillSeen:
    """An execution as the answer to a request shows it: without its fee."""
    bare = replace(fill, fee_usd=None, fill_type="taker")
    return from_edge(FillSeen, at, fill.fill_id, "reply", at, fill=bare, source="reply")

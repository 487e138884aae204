"""Money and positions: an execution is booked, funding is paid, and each change of balance is entered in the account log.

What an order does is in `matching`, sums are in `sums`, what the account is worth in `margin`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Final, TypeVar

from msgspec.structs import replace

from protocol.ids import derive
from protocol.messages.base import from_edge
from protocol.messages.futures import Fill, FillSeen, Instrument, OpenOrder
from protocol.units import DAY_US, HOUR_US, MILLISECOND_US
from sim.engine import margin, rules, sums
from sim.engine.fees import WINDOW_DAYS, Schedule, Tier, tier
from sim.engine.state import Books, FundingRate, Holding, LogEntry, State
from sim.engine.sums import ZERO
from sim.market.tick import Tick

FILLS_KEPT: Final = 500
LOG_KEPT: Final = 1000


class Booking:
    """The books of one state."""

    def __init__(self, state: State, instruments: Mapping[str, Instrument], schedule: Schedule) -> None:
        self.state = state
        self.instruments = instruments
        self.schedule = schedule

    @property
    def fees(self) -> Tier:
        """What an execution costs today."""
        return tier(self.schedule, self.state.traded_usd, self.state.now // DAY_US)

    def book(self, order: OpenOrder, count: int, size: Decimal, price: Decimal, fill_type: str) -> FillSeen:
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

    # --- funding ------------------------------------------------------------------------------------------------

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

    def realise_funding(self, symbol: str, at: int) -> None:
        """What is owed is paid, for the time up to `at`."""
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

    def pass_hours(self, symbol: str, hours: range, lag_us: int, terms: Sequence[tuple[Decimal, int]]) -> None:
        """`realise_funding` and `fix_hour` of a held contract, hour after hour, without the log. `terms`: relative rate, index in ticks."""
        holding, absolute = self.state.holdings[symbol], self.state.rates[symbol].absolute
        size, grain = holding.size, sums.COIN_GRAIN if holding.inverse else sums.GRAIN
        tick, at = self.instruments[symbol].tick, hours[0] + lag_us
        paid = holding.funding + (size * absolute * (at - holding.since) / HOUR_US).quantize(grain)
        rate, relative, a_tick = None, ZERO, ZERO
        for told, ticks in terms[:-1]:
            if told is not rate:  # one rate is in force for hours
                rate, relative = told, self._capped(symbol, told)
                a_tick = size * relative * tick
            paid += (size * (relative / (ticks * tick)) if holding.inverse else a_tick * ticks).quantize(grain)
        rate, ticks = terms[-1]
        absolute, since = self._absolute(symbol, rate, ticks * tick), hours[-1] + lag_us
        self.state.holdings[symbol] = replace(holding, funding=ZERO, since=since)
        self.state.rates[symbol] = FundingRate(hour=hours[-1], absolute=absolute)
        if paid:
            name = symbol if holding.inverse else margin.DOLLARS
            books = margin.books(self.state, name)
            self._keep(name, replace(books, funding=books.funding + paid))

    def _absolute(self, symbol: str, funding_rate: Decimal, index: Decimal) -> Decimal:
        """What one contract pays an hour: the relative rate within its cap, times index."""
        relative = self._capped(symbol, funding_rate)
        return relative / index if self.instruments[symbol].inverse else relative * index

    def _capped(self, symbol: str, funding_rate: Decimal) -> Decimal:
        cap = self.instruments[symbol].max_relative_funding_rate
        return max(-cap, min(cap, funding_rate))

    # --- balances and their log ---------------------------------------------------------------------------------

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


T = TypeVar("T")


def _append(rows: list[T], row: T, kept: int) -> None:
    """Add the newest; the oldest go now and then, so that at least `kept` are there and at most a half more."""
    rows.append(row)
    if len(rows) > kept + kept // 2:
        del rows[:-kept]

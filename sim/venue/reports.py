"""What the futures streams tell: the engine's reports, and what is seen of the market, as WebSocket v1 frames.

A frame is written once for all who want it, and not at all when nobody does. Knows no connection.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from decimal import Decimal
from typing import Any, Final, NamedTuple, Protocol

from msgspec import Raw
from msgspec.structs import replace

from protocol.kraken import endpoints, futures_ws, markets
from protocol.kraken.wire import encode, us_ms
from protocol.messages.base import Message
from protocol.messages.futures import AccountSeen, Fill, FillSeen, OpenOrder, OrderSeen, PositionsSeen
from protocol.units import HOUR_US, OrderSide
from sim.engine import Engine, margin, sums
from sim.market.tick import Tick
from sim.venue import rows
from sim.venue.marketdata import Day, MarketData
from sim.venue.rows import Row

FULL_FORM: Final = (
    "full_fill",
    "new_placed_order_by_user",
    "edited_by_user",
    "limit_order_from_stop",
)
"""Reasons that come with the whole order; other departures name only the ids."""
BOOK_REASONS: Final = {
    "postWouldExecute": "post_order_failed_because_it_would_filled",
    "iocWouldNotExecute": "ioc_order_failed_because_it_would_not_be_executed",
    "wouldNotReducePosition": "would_not_reduce_position",
}
"""How the verbose feed calls what the book refused."""
TRADES_SHOWN: Final = 50
RATES: Final = (
    "funding_rate",
    "funding_rate_prediction",
    "relative_funding_rate",
    "relative_funding_rate_prediction",
)
"""Members of a ticker that are left out when they are zero."""
PUBLIC_PRODUCT_FEEDS: Final = (
    endpoints.FEED_TICKER,
    endpoints.FEED_TICKER_LITE,
    endpoints.FEED_TRADE,
    endpoints.FEED_BOOK,
)
PRIVATE_FEEDS: Final = (
    *endpoints.PRIVATE_FEEDS,
    endpoints.FEED_OPEN_ORDERS_VERBOSE,
    endpoints.FEED_ACCOUNT_LOG,
    endpoints.FEED_NOTIFICATIONS,
)


class Frame(NamedTuple):
    """One frame of a feed; `product` None: it is the account's."""

    feed: str
    product: str | None
    body: Row


Levels = tuple[markets.Level, ...]
Terms = tuple[object, ...]
"""What the lasting part of a ticker hangs on."""


class Lasting(NamedTuple):
    """What a ticker goes on saying, while its terms stay the same: as a row, and as it is written."""

    terms: Terms
    row: Row
    text: bytes


Wanted = Callable[[str, str | None], bool]


class Source(Protocol):
    """The venue as this file sees it."""

    engine: Engine
    data: MarketData


class Reports:
    """Turns reports into frames. Remembers what was told: fills, log entries and books have numbers."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._fills_told = 0
        self._logged = source.engine.state.logged
        self._books: dict[str, markets.Book] = {}
        self._lasting: dict[str, Lasting] = {}

    # --- as it happens --------------------------------------------------------------------------------------------

    def frames(self, messages: Sequence[Message], wanted: Wanted) -> Iterator[Frame]:
        """What these reports of the engine are on the streams, in order."""
        for message in messages:
            match message:
                case OrderSeen():
                    for feed in (endpoints.FEED_OPEN_ORDERS, endpoints.FEED_OPEN_ORDERS_VERBOSE):
                        if wanted(feed, None):
                            yield Frame(feed, None, {**self._order(message), "feed": feed})
                case FillSeen(source="stream"):
                    self._fills_told += 1
                    if wanted(endpoints.FEED_FILLS, None):
                        frame = futures_ws.write_fills_frame((message.fill,), self._fills_told)
                        yield Frame(endpoints.FEED_FILLS, None, self._with_fills(frame, (message.fill,)))
                case PositionsSeen():
                    if wanted(endpoints.FEED_OPEN_POSITIONS, None):
                        yield Frame(endpoints.FEED_OPEN_POSITIONS, None, self.positions(message))
                case AccountSeen():
                    if wanted(endpoints.FEED_BALANCES, None):
                        yield Frame(endpoints.FEED_BALANCES, None, self.balances(message))
        yield from self._log(wanted)

    def refused(self, order: OpenOrder, status: str, at: int) -> Frame | None:
        """What the verbose feed says of an order that the book refused; None when it was not the book."""
        reason = BOOK_REASONS.get(status)
        if reason is None:
            return None
        body: Row = {"order": _order_row(order, at, at), "is_cancel": True, "reason": reason}
        feed = endpoints.FEED_OPEN_ORDERS_VERBOSE
        return Frame(feed, None, {"feed": feed, **body})

    def _log(self, wanted: Wanted) -> Iterator[Frame]:
        state = self._source.engine.state
        if state.logged == self._logged:
            return
        new, self._logged = [entry for entry in state.log if entry.number > self._logged], state.logged
        if wanted(endpoints.FEED_ACCOUNT_LOG, None):
            for entry in new:
                for row in rows.log_rows(entry, rows.currency(entry.account)):
                    body: Row = {"feed": endpoints.FEED_ACCOUNT_LOG, "new_entry": row}
                    yield Frame(endpoints.FEED_ACCOUNT_LOG, None, body)

    def _order(self, seen: OrderSeen) -> Row:
        if not seen.open and seen.reason not in FULL_FORM:
            return futures_ws.write_order_gone(seen)
        state = self._source.engine.state
        record = state.working.get(seen.order.order_id) or state.ended.get(seen.order.order_id)
        placed = seen.at if record is None else record.placed_at
        row = _order_row(seen.order, placed, seen.at)
        working = state.working.get(seen.order.order_id)
        if working is not None and working.trail is not None:
            row["trailing_stop_options"] = {"max_deviation": working.trail.deviation, "unit": working.trail.unit}
        return {"feed": endpoints.FEED_OPEN_ORDERS, "order": row, "is_cancel": not seen.open, "reason": seen.reason}

    def _with_fills(self, frame: Row, fills: Sequence[Fill]) -> Row:
        state, named = self._source.engine.state, self._source.engine.rules
        written: Any = frame["fills"]
        for row, fill in zip(written, fills, strict=True):
            working, ended = state.working.get(fill.order_id), state.ended.get(fill.order_id)
            order_type = working.order.order_type if working else ended.order.order_type if ended else "unknown"
            word = {"lmt": "limit", "post": "limit", "mkt": "market", "stp": "stop"}.get(order_type, order_type)
            row["order_type"] = word
            if fill.fill_type != "maker":
                row["taker_order_type"] = word
            if working is not None:
                row["remaining_order_qty"] = working.order.size
            if named[fill.symbol].inverse:
                row["fee_currency"] = rows.coin(fill.symbol).upper()
        return frame

    # --- the market -----------------------------------------------------------------------------------------------

    def market(self, feed: str, tick: Tick) -> Iterable[Row | Raw]:
        """What one of a contract's feeds says of its newest prices, in order."""
        if feed == endpoints.FEED_TICKER:
            return (self.ticker(tick),)
        if feed == endpoints.FEED_TICKER_LITE:
            return (self.ticker_lite(tick),)
        if feed == endpoints.FEED_TRADE:
            return (self._trade(self._source.data.trade(tick.symbol, tick.at)),)
        return self._book_changes(tick)

    def ticker(self, tick: Tick) -> Raw:
        """The whole state of a contract at its newest prices. Most of it stays the same from one tick to the next, and is written once."""
        lasting, moving = self._ticker(tick)
        return Raw(lasting.text[:-1] + b"," + encode(moving)[1:])

    def _ticker(self, tick: Tick) -> tuple[Lasting, Row]:
        engine, data, symbol = self._source.engine, self._source.data, tick.symbol
        state, day, mark, last = engine.state, data.day(tick), tick.mark, tick.last
        terms = (
            day, tick.at // HOUR_US, tick.funding_rate, state.rates[symbol], state.holdings.get(symbol),
            state.closed_markets.get(symbol),
        )  # fmt: skip
        bid_size, ask_size = data.sizes(tick)
        moving: Row = {
            "time": us_ms(tick.at),
            "bid": tick.bid,
            "ask": tick.ask,
            "bid_size": bid_size,
            "ask_size": ask_size,
            "index": tick.index,
            "last": last,
            "markPrice": mark,
            "premium": round((float(mark) / float(tick.index) - 1) * 100, 2),
            "volume" if engine.rules[symbol].inverse else "volumeQuote": day.volume * mark,
            "change": round((float(last) / float(day.open) - 1) * 100, 2),
            "high": max(day.high, last),
            "low": min(day.low, last),
        }
        lasting = self._lasting.get(symbol)
        if lasting is None or lasting.terms != terms:
            row = {name: value for name, value in self._whole(tick, day).items() if name not in moving}
            lasting = self._lasting[symbol] = Lasting(terms, row, encode(row))
        return lasting, moving

    def _whole(self, tick: Tick, day: Day) -> Row:
        engine, symbol = self._source.engine, tick.symbol
        rate, levels = engine.state.rates[symbol].absolute, engine.rules[symbol].margin_levels
        row: Row = {
            **futures_ws.write_ticker(engine.ticker(tick)),
            "leverage": f"{int(1 / levels[0][1])}x",
            "pair": pair(symbol),
            "funding_rate": rate,
            "funding_rate_prediction": rate,
            "relative_funding_rate_prediction": tick.funding_rate,
            "next_funding_rate_time": us_ms(tick.at - tick.at % HOUR_US + HOUR_US),
            "volume": day.volume,
            "volumeQuote": day.volume,
            "openInterest": abs(engine.held(symbol)),
            "open": day.open,
        }
        return {name: value for name, value in row.items() if value or name not in RATES}

    def ticker_lite(self, tick: Tick) -> Row:
        """The short form."""
        lasting, moving = self._ticker(tick)
        whole = {**lasting.row, **moving}
        names = (
            "product_id",
            "bid",
            "ask",
            "change",
            "premium",
            "volume",
            "tag",
            "pair",
            "dtm",
            "maturityTime",
            "volumeQuote",
        )
        return {"feed": endpoints.FEED_TICKER_LITE, **{name: whole[name] for name in names}}

    def trades_snapshot(self, symbol: str, at: int) -> Row:
        """The last trades, newest first."""
        trades = self._source.data.trades(symbol, at, TRADES_SHOWN)
        return {"feed": "trade_snapshot", "product_id": symbol, "trades": [self._trade(t) for t in trades[::-1]]}

    def _trade(self, trade: markets.Trade) -> Row:
        return markets.write_trade_frame(trade, self._source.data.number(trade))

    def book_snapshot(self, symbol: str) -> Row:
        """The whole book as it was told last."""
        if symbol not in self._books:
            book = self._source.data.book(self._source.engine.state.ticks[symbol])
            self._books[symbol] = replace(book, sequence=0)
        return markets.write_book_snapshot(self._books[symbol])

    def _book_changes(self, tick: Tick) -> Iterator[Row]:
        """One frame a level that differs; 0 removes it."""
        told, now = self._books[tick.symbol], self._source.data.book(tick)
        number = told.sequence or 0
        sides: tuple[tuple[OrderSide, Levels, Levels], ...] = (
            ("buy", told.bids, now.bids),
            ("sell", told.asks, now.asks),
        )
        for side, before, after in sides:
            old, new = dict(before), dict(after)
            for price in dict.fromkeys((*old, *new)):
                if old.get(price) == new.get(price):
                    continue
                number += 1
                size = new.get(price, Decimal(0))
                change = markets.BookChange(
                    symbol=tick.symbol, side=side, price=price, size=size, sequence=number, time=tick.at
                )
                yield markets.write_book_change(change)
        self._books[tick.symbol] = replace(now, sequence=number)

    # --- the account ------------------------------------------------------------------------------------------------

    def orders_snapshot(self, feed: str) -> Row:
        """The resting orders."""
        working = self._source.engine.state.working.values()
        found = [_order_row(w.order, w.placed_at, w.updated_at) for w in working]
        return {"feed": f"{feed}_snapshot", "account": "simulated", "orders": found}

    def fills_snapshot(self, fills: Sequence[Fill]) -> Row:
        """The newest fills, oldest first."""
        return self._with_fills(futures_ws.write_fills_snapshot(fills), fills)

    def log_snapshot(self) -> Row:
        """The account log."""
        log = self._source.engine.state.log
        logs = [row for entry in log for row in rows.log_rows(entry, rows.currency(entry.account))]
        return {"feed": f"{endpoints.FEED_ACCOUNT_LOG}_snapshot", "logs": logs}

    def positions(self, seen: PositionsSeen) -> Row:
        """The whole list of positions, each with its margin and the price at which it is liquidated."""
        engine = self._source.engine
        state, frame = engine.state, futures_ws.write_positions(seen)
        written: Any = frame["positions"]
        for row in written:
            holding, tick = state.holdings.get(row["instrument"]), state.ticks[row["instrument"]]
            if holding is None:
                continue
            rule = engine.rules[holding.symbol]
            equity = margin.equity(state, margin.account_of(rule))
            worth = abs(sums.value(holding.size, tick.mark, inverse=rule.inverse))
            row |= {
                "mark_price": tick.mark,
                "index_price": tick.index,
                "effective_leverage": round(worth / equity, 4) if equity > 0 else Decimal(0),
                "return_on_equity": round(row["pnl"] / row["initial_margin"], 4) if row["initial_margin"] else 0,
                "unrealized_funding": -margin.funding_due(state, holding, seen.at),
                "initial_margin_with_orders": row["initial_margin"],
                "maintenance_margin": sums.maintenance_margin(rule, holding.size, holding.cost),
            }
            if rule.inverse:
                row["pnl_currency"] = rows.coin(holding.symbol).upper()
        return frame

    def balances(self, seen: AccountSeen, *, snapshot: bool = False) -> Row:
        """The multi-collateral wallet; a snapshot has the others too."""
        frame = futures_ws.write_balances(seen, snapshot=snapshot)
        flex: Any = frame["flex_futures"]
        money = seen.account
        with_orders = money.equity_usd - money.available_margin_usd
        holdings = margin.held_in(self._source.engine.state, margin.DOLLARS)
        ticks = self._source.engine.state.ticks
        worth = sum((abs(h.size) * ticks[h.symbol].mark for h in holdings), Decimal(0))
        # `initial_margin` includes resting orders here, unlike in REST.
        flex["initial_margin"] = with_orders
        leverage = round(worth / money.equity_usd, 4) if money.equity_usd > 0 else Decimal(0)
        cross = {**flex, "effective_leverage": leverage}
        dollars = {
            "quantity": money.balance_usd,
            "value": money.balance_usd,
            "collateral_value": money.balance_usd,
            "available": money.available_margin_usd,
            "haircut": 0,
            "conversion_spread": 0,
        }
        flex |= {"currencies": {"USD": dollars}, "total_position_size": worth, "isolated": {}, "cross": cross}
        if snapshot:
            frame["futures"] = {name.lower(): self._coin_wallet(name) for name in self._source.engine.state.coins}
        return frame

    def _coin_wallet(self, name: str) -> Row:
        account, coin = self._source.engine.account(name), rows.coin(name).upper()
        return {
            "name": rows.margin_account(name),
            "pair": f"{coin}/USD",
            "unit": coin,
            "portfolio_value": account.equity_usd,
            "balance": account.balance_usd,
            "maintenance_margin": account.maintenance_margin_usd,
            "initial_margin": account.initial_margin_usd,
            "available": account.available_margin_usd,
            "unrealized_funding": account.unrealized_funding_usd,
            "pnl": account.equity_usd - account.balance_usd - account.unrealized_funding_usd,
        }


def pair(symbol: str) -> str:
    """`PF_XBTUSD` -> `XBT:USD`."""
    return f"{symbol.partition('_')[2].removesuffix('USD')}:USD"


def _order_row(order: OpenOrder, placed_at: int, updated_at: int) -> Row:
    row = futures_ws.write_order_row(order, updated_at)
    row["time"] = us_ms(placed_at)
    return row

"""The venue's public futures calls: contracts, tickers, book, trades, funding, fees, candles."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Final, Protocol

from protocol.ids import derive
from protocol.kraken import endpoints, markets
from protocol.kraken import futures_rest as forms
from protocol.kraken.wire import MalformedPayload, Refused, parse_iso_us, us_ms
from protocol.messages.futures import TickerSeen
from protocol.units import HOUR_US, SECOND_US
from sim.engine import Engine
from sim.engine.fees import KRAKEN
from sim.venue.account import SCHEDULE_UID
from sim.venue.asking import Ask, Body, Call
from sim.venue.marketdata import RESOLUTION_S, MarketData
from sim.venue.rows import Row

FUNDING_ROWS: Final = 24 * 30
TRADES_A_PAGE: Final = 100
EXECUTIONS_MOST: Final = 1000
TICK_TYPES: Final = ("spot", "mark", "trade")
FEE_TIERS: Final = KRAKEN[1:]
"""Told, and applied where the engine has tiers; else its one flat tier comes before them."""


class Shop(Protocol):
    """The venue as these calls see it."""

    engine: Engine
    data: MarketData

    def funding(self, symbol: str, hour_us: int) -> tuple[Decimal, Decimal] | None:
        """Relative rate and index of the hour that begins then, None before the market's data begin."""
        ...


class PublicCalls:
    """The table of public calls and what each answers."""

    def __init__(self, venue: Shop) -> None:
        self.venue = venue
        charts = endpoints.CHARTS
        events = f"{endpoints.HISTORY}/v%d/market/{{symbol}}/%s"
        self.calls: Mapping[str, Call] = {
            endpoints.INSTRUMENTS: self._instruments,
            endpoints.INSTRUMENTS_STATUS: self._statuses,
            f"{endpoints.API}/instruments/{{symbol}}/status": self._status,
            endpoints.TICKERS: self._tickers,
            f"{endpoints.TICKERS}/{{symbol}}": self._ticker,
            endpoints.ORDER_BOOK: self._book,
            endpoints.TRADE_HISTORY: self._trades,
            endpoints.FUNDING_RATES: self._funding,
            endpoints.FUNDING_RATES_V4: self._funding,
            endpoints.FEE_SCHEDULES: self._fees,
            charts: lambda _ask: {"tickTypes": list(TICK_TYPES)},
            f"{charts}/{{kind}}": lambda _ask: {"symbols": list(venue.engine.rules)},
            f"{charts}/{{kind}}/{{symbol}}": lambda _ask: {"resolutions": list(RESOLUTION_S)},
            f"{charts}/{{kind}}/{{symbol}}/{{resolution}}": self._candles,
            **dict.fromkeys((events % (2, "executions"), events % (3, "executions")), self._executions),
            **dict.fromkeys((events % (2, "orders"), events % (3, "orders")), self._nothing),
            **dict.fromkeys((events % (2, "price"), events % (3, "price")), self._mark_prices),
        }

    # --- contracts ----------------------------------------------------------------------------------------------

    def _instruments(self, ask: Ask) -> Body:
        body = forms.write_instruments(self.venue.engine.instruments(ask.at).instruments, ask.at)
        found = body["instruments"]
        for row in found if isinstance(found, list) else ():
            base = _base(row["symbol"])
            row |= {"base": base, "quote": "USD", "pair": f"{base}:USD", "category": "", "tags": [], "mtf": False}
            row |= {"tradfi": False, "feeScheduleUid": SCHEDULE_UID}
            if row["type"] == "futures_inverse":
                row["underlying"] = f"rr_{row['symbol'][3:].lower()}"
        return body

    def _statuses(self, ask: Ask) -> Body:
        return markets.write_instruments_status([_calm(symbol) for symbol in self.venue.engine.rules], ask.at)

    def _status(self, ask: Ask) -> Body:
        return markets.write_instruments_status([_calm(self._contract(ask))], ask.at, single=True)

    def _fees(self, ask: Ask) -> Body:
        charged = self.venue.engine.booking.schedule
        told = charged if len(charged) > 1 else (*charged, *FEE_TIERS)
        tiers = tuple(
            markets.FeeTier(from_volume_usd=one.from_usd, maker_pct=one.maker_pct, taker_pct=one.taker_pct)
            for one in told
        )
        schedule = markets.FeeSchedule(uid=SCHEDULE_UID, name="mainfees", tiers=tiers)
        return markets.write_fee_schedules([schedule], ask.at)

    # --- prices -------------------------------------------------------------------------------------------------

    def _tickers(self, ask: Ask) -> Body:
        found = [self._row(ticker, ask.at) for ticker in self.venue.engine.tickers()]
        return forms.write_success(ask.at, tickers=found)

    def _ticker(self, ask: Ask) -> Body:
        symbol = self._contract(ask)
        for ticker in self.venue.engine.tickers():
            if ticker.symbol == symbol:
                return forms.write_success(ask.at, ticker=self._row(ticker, ask.at))
        raise Refused("marketUnavailable")

    def _row(self, ticker: TickerSeen, at: int) -> Row:
        """A ticker with the figures of the day; funding rates are absolute here."""
        engine, tick = self.venue.engine, self.venue.engine.state.ticks[ticker.symbol]
        inverse = engine.rules[ticker.symbol].inverse
        day, (bid_size, ask_size) = self.venue.data.day(tick), self.venue.data.sizes(tick)
        rate = engine.state.rates[ticker.symbol].absolute
        written = forms.write_tickers([ticker], at)["tickers"]
        (row,) = written if isinstance(written, list) else ({},)
        return {
            **row,
            "pair": f"{_base(ticker.symbol)}:USD",
            "bidSize": bid_size,
            "askSize": ask_size,
            "lastSize": self.venue.data.trade(ticker.symbol, tick.at).size,
            "vol24h": day.volume * tick.mark if inverse else day.volume,
            "volumeQuote": day.volume if inverse else day.volume * tick.mark,
            "openInterest": abs(engine.held(ticker.symbol)),
            "open24h": day.open,
            "high24h": max(day.high, tick.last),
            "low24h": min(day.low, tick.last),
            "change24h": round((tick.last / day.open - 1) * 100, 2),
            "fundingRate": rate,
            "fundingRatePrediction": rate,
        }

    def _book(self, ask: Ask) -> Body:
        ask.needs("symbol")
        book = self.venue.data.book(self.venue.engine.state.ticks[self._contract(ask)])
        return markets.write_order_book(book, ask.at)

    def _trades(self, ask: Ask) -> Body:
        ask.needs("symbol")
        before = ask.get("lastTime")
        until = ask.at if before is None else min(parse_iso_us(before, "history", "lastTime") - 1, ask.at)
        trades = self.venue.data.trades(self._contract(ask), until, TRADES_A_PAGE)
        return markets.write_trade_history(trades, ask.at)

    def _funding(self, ask: Ask) -> Body:
        ask.needs("symbol")
        symbol = self._contract(ask)
        inverse = self.venue.engine.rules[symbol].inverse
        found: list[markets.FundingRate] = []
        for hour in range(ask.at - ask.at % HOUR_US, 0, -HOUR_US)[:FUNDING_ROWS]:
            rate = self.venue.funding(symbol, hour)
            if rate is None:
                break
            relative, index = rate
            absolute = relative / index if inverse else relative * index
            found.append(markets.FundingRate(time=hour, absolute=absolute, relative=relative))
        return markets.write_funding_rates(found[::-1], ask.at)

    # --- charts and history: no envelope ----------------------------------------------------------------------------

    def _candles(self, ask: Ask) -> Body:
        kind, resolution = ask.path["kind"], ask.path["resolution"]
        if kind not in TICK_TYPES or resolution not in RESOLUTION_S:
            raise MalformedPayload("charts", "resolution" if kind in TICK_TYPES else "tick_type", "unknown")
        symbol = self._contract(ask)
        until = min(ask.whole("to", ask.at // SECOND_US) * SECOND_US, ask.at)
        count = ask.whole("count", 0)
        width = RESOLUTION_S[resolution] * SECOND_US
        since = ask.whole("from", 0) * SECOND_US
        if count > 0 and not since:
            since = until - until % width - (count - 1) * width
        bars = self.venue.data.candles(kind, symbol, resolution, since, until)
        more = bool(count) and len(bars) > count
        return markets.write_chart(bars[:count] if more else bars, more=more)

    def _executions(self, ask: Ask) -> Body:
        symbol = self._contract(ask)
        count = max(1, min(ask.whole("count", TRADES_A_PAGE), EXECUTIONS_MOST))
        since, before = ask.whole("since", 0) * 1000, ask.whole("before", us_ms(ask.at)) * 1000
        trades = self.venue.data.trades(symbol, min(before, ask.at), count, since)
        body = markets.write_market_executions(markets.TradePage(trades=tuple(trades), quarantined=(), more=None))
        elements = body["elements"]
        if (ask.get("sort") or "desc").lower() == "asc" and isinstance(elements, list):
            elements.reverse()
        return body

    def _mark_prices(self, ask: Ask) -> Body:
        symbol = self._contract(ask)
        found = [
            {
                "uid": derive("mark", symbol, trade.time),
                "timestamp": us_ms(trade.time),
                "event": {"MarkPriceChanged": {"price": str(trade.price)}},
            }
            for trade in self.venue.data.trades(symbol, ask.at, TRADES_A_PAGE)
        ]
        return {"elements": found[::-1], "len": len(found)}

    def _nothing(self, ask: Ask) -> Body:
        """Orders of others are not simulated."""
        self._contract(ask)
        return {"elements": [], "len": 0}

    def _contract(self, ask: Ask) -> str:
        symbol = ask.symbol(self.venue.engine.rules)
        if symbol is None:
            raise MalformedPayload("request", "symbol", "missing")
        return symbol


def _base(symbol: str) -> str:
    """The coin as newer members spell it."""
    base = symbol.partition("_")[2].removesuffix("USD")
    return "BTC" if base == "XBT" else base


def _calm(symbol: str) -> markets.InstrumentStatus:
    return markets.InstrumentStatus(
        symbol=symbol, dislocated=False, dislocation=None, volatile=False, margin_multiplier=Decimal(1)
    )

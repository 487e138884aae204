"""The venue's public futures calls: contracts, tickers, book, trades, funding, fees, candles."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Final, Protocol

from protocol.ids import derive
from protocol.kraken import endpoints
from protocol.kraken import futures_rest as forms
from protocol.kraken.wire import MalformedPayload, Refused, parse_iso_us, us_ms, write_iso_ms
from protocol.messages.futures import TickerSeen
from protocol.units import HOUR_US, SECOND_US
from sim.engine import Engine
from sim.venue.account import SCHEDULE_UID
from sim.venue.asking import Ask, Body, Call
from sim.venue.marketdata import RESOLUTION_S, MarketData, Trade
from sim.venue.rows import Row

FUNDING_ROWS: Final = 24 * 30
TRADES_A_PAGE: Final = 100
EXECUTIONS_MOST: Final = 1000
TICK_TYPES: Final = ("spot", "mark", "trade")
FEE_TIERS: Final = (
    (100_000, "0.015", "0.04"),
    (1_000_000, "0.0125", "0.03"),
    (5_000_000, "0.01", "0.025"),
    (10_000_000, "0.0075", "0.02"),
    (20_000_000, "0.005", "0.015"),
    (50_000_000, "0.0025", "0.0125"),
    (100_000_000, "0", "0.01"),
)
"""Volume of 30 days in USD, maker and taker percent: told, not applied. The first tier is what the exchange charges."""


class Shop(Protocol):
    """The venue as these calls see it."""

    engine: Engine
    data: MarketData

    def funding(self, symbol: str, hour_us: int) -> tuple[Decimal, Decimal] | None:
        """Relative rate and index at a full hour, None before the market's data begin."""
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
        found = [_calm(symbol) for symbol in self.venue.engine.rules]
        return forms.write_success(ask.at, instrumentStatus=found)

    def _status(self, ask: Ask) -> Body:
        return forms.write_success(ask.at, **_calm(self._contract(ask)))

    def _fees(self, ask: Ask) -> Body:
        fees = self.venue.engine.matching
        tiers: list[Row] = [{"makerFee": fees.maker_fee_pct, "takerFee": fees.taker_fee_pct, "usdVolume": 0}]
        tiers += [{"makerFee": Decimal(m), "takerFee": Decimal(t), "usdVolume": v} for v, m, t in FEE_TIERS]
        schedule = {"uid": SCHEDULE_UID, "name": "mainfees", "tiers": tiers}
        return forms.write_success(ask.at, feeSchedules=[schedule])

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
        bids, asks = self.venue.data.book(self.venue.engine.state.ticks[self._contract(ask)])
        book = {"bids": [[p, s] for p, s in bids.items()], "asks": [[p, s] for p, s in asks.items()]}
        return forms.write_success(ask.at, orderBook=book)

    def _trades(self, ask: Ask) -> Body:
        ask.needs("symbol")
        before = ask.get("lastTime")
        until = ask.at if before is None else min(parse_iso_us(before, "history", "lastTime") - 1, ask.at)
        found = [
            {
                "time": write_iso_ms(trade.at),
                "trade_id": trade.number,
                "price": trade.price,
                "size": trade.size,
                "side": trade.side,
                "type": "fill",
                "uid": trade.uid,
            }
            for trade in self.venue.data.trades(self._contract(ask), until, TRADES_A_PAGE)
        ]
        return forms.write_success(ask.at, history=found[::-1])

    def _funding(self, ask: Ask) -> Body:
        ask.needs("symbol")
        symbol = self._contract(ask)
        inverse = self.venue.engine.rules[symbol].inverse
        found: list[Row] = []
        for hour in range(ask.at - ask.at % HOUR_US, 0, -HOUR_US)[:FUNDING_ROWS]:
            rate = self.venue.funding(symbol, hour)
            if rate is None:
                break
            relative, index = rate
            absolute = relative / index if inverse else relative * index
            found.append(
                {"timestamp": write_iso_ms(hour), "fundingRate": absolute, "relativeFundingRate": relative}
            )
        return forms.write_success(ask.at, rates=found[::-1])

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
        found = [
            {
                "time": bar.time_ms,
                **{name: str(getattr(bar, name)) for name in ("open", "high", "low", "close", "volume")},
            }
            for bar in (bars[:count] if more else bars)
        ]
        return {"candles": found, "more_candles": more}

    def _executions(self, ask: Ask) -> Body:
        symbol = self._contract(ask)
        count = max(1, min(ask.whole("count", TRADES_A_PAGE), EXECUTIONS_MOST))
        since, before = ask.whole("since", 0) * 1000, ask.whole("before", us_ms(ask.at)) * 1000
        found = [_execution(symbol, trade) for trade in self.venue.data.trades(symbol, min(before, ask.at), count, since)]
        if (ask.get("sort") or "desc").lower() != "asc":
            found.reverse()
        return {"elements": found, "len": len(found)}

    def _mark_prices(self, ask: Ask) -> Body:
        symbol = self._contract(ask)
        found = [
            {
                "uid": derive("mark", symbol, trade.at),
                "timestamp": us_ms(trade.at),
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


def _calm(symbol: str) -> Row:
    return {
        "tradeable": symbol,
        "experiencingDislocation": False,
        "priceDislocationDirection": None,
        "experiencingExtremeVolatility": False,
        "extremeVolatilityInitialMarginMultiplier": 1,
    }


def _execution(symbol: str, trade: Trade) -> Row:
    moment = us_ms(trade.at)
    taker, maker = trade.side.capitalize(), "Sell" if trade.side == "buy" else "Buy"

    def order(role: str, direction: str, kind: str) -> Row:
        return {
            "uid": derive(role, trade.uid),
            "tradeable": symbol,
            "direction": direction,
            "quantity": str(trade.size),
            "timestamp": moment,
            "limitPrice": str(trade.price),
            "orderType": kind,
            "reduceOnly": False,
            "lastUpdateTimestamp": moment,
        }

    execution = {
        "uid": trade.uid,
        "makerOrder": order("maker", maker, "Post"),
        "takerOrder": order("taker", taker, "IoC"),
        "timestamp": moment,
        "quantity": str(trade.size),
        "price": str(trade.price),
        "markPrice": str(trade.price),
        "limitFilled": True,
        "usdValue": str(trade.price * trade.size),
    }
    event = {"Execution": {"execution": execution, "takerReducedQuantity": ""}}
    return {"uid": derive("event", trade.uid), "timestamp": moment, "event": event}

"""What can be seen of the spot markets besides candles: best prices, a day's statistics, trades. A function of the moment."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Final, NamedTuple

from protocol.kraken.spot_market import SpotTicker, SpotTrade, write_rest_ticker, write_ticker
from protocol.units import DAY_US, decimal
from sim.venue.marketdata import share
from sim.venue.markets import Market
from sim.venue.schedule import CANDLE_US

HALF_SPREAD: Final = Decimal("0.00005")
"""Bid and ask lie this fraction from the price."""
PRICE_DIGITS: Final = 5
TRADE_USD: Final = 5_000
"""No simulated spot trade is larger."""
TRADES_SHOWN: Final = 50

Row = dict[str, object]


class Day(NamedTuple):
    """Twenty-four hours up to the last quarter of an hour; `candles` as many as something was traded in."""

    open: Decimal
    high: Decimal
    low: Decimal
    volume: Decimal
    vwap: Decimal
    candles: int


class SpotData:
    """The spot markets of one venue; a trade a step of `step_us`."""

    def __init__(self, market: Market, step_us: int) -> None:
        self._market = market
        self._step_us = step_us
        self._days: dict[str, tuple[int, Day]] = {}

    def ticker(self, symbol: str, at: int) -> SpotTicker:
        """The best prices and the last trade."""
        last = self._price(symbol, at)
        half = (last * HALF_SPREAD).quantize(Decimal(1).scaleb(-PRICE_DIGITS))
        return SpotTicker(
            symbol=symbol, bid=last - half, ask=last + half, last=last, volume=self._day(symbol, at).volume, time=at
        )

    def rest_row(self, symbol: str, at: int) -> Row:
        """One market of the Ticker answer."""
        ticker, day = self.ticker(symbol, at), self._day(symbol, at)
        high, low = str(max(day.high, ticker.last)), str(min(day.low, ticker.last))
        figures = {
            "c": [str(ticker.last), str(self.trade(symbol, at).size)],
            "p": [str(day.vwap)] * 2,
            "t": [day.candles] * 2,
            "l": [low] * 2,
            "h": [high] * 2,
            "o": str(day.open),
        }
        return {**write_rest_ticker(ticker), **figures}

    def frame_row(self, symbol: str, at: int) -> Row:
        """One market of a ticker frame."""
        ticker, day = self.ticker(symbol, at), self._day(symbol, at)
        figures = {
            "vwap": day.vwap,
            "low": min(day.low, ticker.last),
            "high": max(day.high, ticker.last),
            "change": ticker.last - day.open,
            "change_pct": round((ticker.last / day.open - 1) * 100, 2),
        }
        return {**write_ticker(ticker), **figures}

    def trade(self, symbol: str, at: int) -> SpotTrade:
        """The last trade at or before a moment. Raises ValueError before the data begin."""
        moment = at - at % self._step_us
        price, before = self._price(symbol, moment), self._price(symbol, moment - self._step_us)
        part = share(symbol, moment)
        falls = price < before or (price == before and part < 0.5)
        return SpotTrade(
            symbol=symbol,
            trade_id=moment // self._step_us,
            side="sell" if falls else "buy",
            price=price,
            size=(Decimal(1 + int(part * TRADE_USD)) / price).quantize(Decimal("1e-8")),
            kind="limit",
            time=moment,
        )

    def trades(self, symbol: str, since_us: int, until_us: int, count: int) -> list[SpotTrade]:
        """The first `count` trades after `since_us`, oldest first; from the newest on backwards when `since_us` is 0."""
        last = until_us - until_us % self._step_us
        first = last - (count - 1) * self._step_us
        if since_us:
            first = since_us - since_us % self._step_us + self._step_us
        found = []
        for moment in range(first, min(last, first + (count - 1) * self._step_us) + 1, self._step_us):
            try:
                found.append(self.trade(symbol, moment))
            except ValueError:
                continue  # before the data begin
        return found

    def _price(self, symbol: str, at: int) -> Decimal:
        return decimal(round(self._market.spot_price(symbol, at), PRICE_DIGITS))

    def _day(self, symbol: str, at: int) -> Day:
        quarter = at // CANDLE_US
        known = self._days.get(symbol)
        if known is None or known[0] != quarter:
            known = self._days[symbol] = quarter, self._counted(symbol, at)
        return known[1]

    def _counted(self, symbol: str, at: int) -> Day:
        end = at - at % CANDLE_US
        rows = self._market.candles(symbol, "15m", (end - DAY_US) // 1000, end)
        price = self._price(symbol, at)
        volume = sum(row.volume for row in rows)
        if not rows or not volume:
            return Day(price, price, price, Decimal(0), price, 0)
        vwap = sum(row.close * row.volume for row in rows) / volume
        return Day(
            decimal(rows[0].open),
            decimal(max(row.high for row in rows)),
            decimal(min(row.low for row in rows)),
            decimal(round(volume, 8)),
            decimal(round(vwap, PRICE_DIGITS)),
            len(rows),
        )


def data_frame(channel: str, rows: list[Row], *, snapshot: bool = False) -> Row:
    """A data frame of the spot stream."""
    return {"channel": channel, "type": "snapshot" if snapshot else "update", "data": rows}


CHANNELS: Final[Mapping[str, str]] = {"ohlc": "candles", "ticker": "best prices", "trade": "trades"}
"""What a client may subscribe to. `status` and `heartbeat` come by themselves."""

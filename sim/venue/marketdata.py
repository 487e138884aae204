"""Public market data that follow from the market's path: a day's statistics, the book, trades, candles of a contract.

Everything is a function of the moment, so two clients, or two runs, are told the same. Knows no socket and no account.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Final, NamedTuple, Protocol
from zlib import crc32

from protocol.ids import derive
from protocol.kraken.markets import Book, ChartCandle, Trade
from protocol.messages.futures import Instrument
from protocol.messages.spot import CandleSeen
from protocol.units import DAY_US, SECOND_US, Timeframe, decimal, round_down, round_floor
from sim.engine import Engine
from sim.market.tick import Tick
from sim.venue.markets import Market
from sim.venue.schedule import CANDLE_US

BOOK_LEVELS: Final = 10
DEPTH_USD: Final = Decimal(250_000)
"""What each level of the shown book holds when the exchange's own depth is endless."""
TRADE_USD: Final = 20_000
"""No simulated trade of others is larger."""
CANDLES_MOST: Final = 2000

RESOLUTION_S: Final = {
    "1m": 60, "5m": 300, "15m": 900, "30m": 1800, "1h": 3600, "4h": 14_400, "12h": 43_200, "1d": 86_400, "1w": 604_800,
}  # fmt: skip
BUILT_OF: Final[Mapping[str, Timeframe]] = {
    "15m": "15m", "30m": "15m", "1h": "1h", "4h": "4h", "12h": "4h", "1d": "1d", "1w": "1d",
}  # fmt: skip
"""Resolution -> the candles it is put together of; shorter ones follow the path itself."""


class Day(NamedTuple):
    """Twenty-four hours of a contract up to the last quarter of an hour; `volume` in coins."""

    open: Decimal
    high: Decimal
    low: Decimal
    volume: Decimal


class Source(Protocol):
    """The venue as this file sees it."""

    engine: Engine
    market: Market
    step_us: int
    spot_of: dict[str, str]
    """Contract -> spot symbol."""


class MarketData:
    """What can be seen of the contracts of one venue."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._days: dict[str, tuple[int, Day]] = {}
        self._depths: dict[str, tuple[tuple[int, Decimal | None], int]] = {}

    # --- a day ------------------------------------------------------------------------------------------------

    def day(self, tick: Tick) -> Day:
        """The statistics of a ticker, worked out once a quarter of an hour."""
        quarter = tick.at // CANDLE_US
        known = self._days.get(tick.symbol)
        if known is None or known[0] != quarter:
            known = self._days[tick.symbol] = quarter, self._day(tick)
        return known[1]

    def _day(self, tick: Tick) -> Day:
        end = tick.at - tick.at % CANDLE_US
        rows = self._source.market.candles(self._source.spot_of[tick.symbol], "15m", (end - DAY_US) // 1000, end)
        if not rows:
            return Day(tick.last, tick.last, tick.last, Decimal(0))
        step, basis = self._rule(tick.symbol).tick, tick.mark / tick.index
        opened, high, low = (
            round_floor(decimal(price) * basis, step)
            for price in (rows[0].open, max(row.high for row in rows), min(row.low for row in rows))
        )
        return Day(opened, high, low, decimal(round(sum(row.volume for row in rows), 4)))

    # --- the book ---------------------------------------------------------------------------------------------

    def sizes(self, tick: Tick) -> tuple[Decimal, Decimal]:
        """What the best bid and ask hold; it changes from tick to tick, so that a quiet market is no dead one."""
        part = share(tick.symbol, tick.at // SECOND_US)
        lot = self._rule(tick.symbol).lot
        lots = self._lots(tick)
        return max(int(lots * (0.5 + part)), 1) * lot, max(int(lots * (1.5 - part)), 1) * lot

    def _lots(self, tick: Tick) -> int:
        """What a level of the book holds, worked out once a quarter of an hour."""
        depth = self._source.engine.depth_usd
        key = tick.at // CANDLE_US, depth
        known = self._depths.get(tick.symbol)
        if known is None or known[0] != key:
            lots = int(self._size(tick.symbol, tick.mark) / self._rule(tick.symbol).lot)
            known = self._depths[tick.symbol] = key, lots
        return known[1]

    def book(self, tick: Tick) -> Book:
        """Best levels first; the account's own resting orders are in it."""
        step, symbol = self._rule(tick.symbol).tick, tick.symbol
        bids = {tick.bid - n * step: self._size(symbol, tick.bid) for n in range(BOOK_LEVELS) if tick.bid > n * step}
        asks = {tick.ask + n * step: self._size(symbol, tick.ask) for n in range(BOOK_LEVELS)}
        bids[tick.bid], asks[tick.ask] = self.sizes(tick)
        for working in self._source.engine.state.working.values():
            order = working.order
            if order.symbol == symbol and order.stop_price is None and order.limit_price is not None:
                side = bids if order.side == "buy" else asks
                side[order.limit_price] = side.get(order.limit_price, Decimal(0)) + order.size
        levels = tuple(sorted(bids.items(), reverse=True)), tuple(sorted(asks.items()))
        return Book(symbol=symbol, bids=levels[0], asks=levels[1], time=tick.at)

    def _size(self, symbol: str, price: Decimal) -> Decimal:
        rule, depth = self._rule(symbol), self._source.engine.depth_usd or DEPTH_USD
        return max(round_down(depth if rule.inverse else depth / price, rule.lot), rule.lot)

    # --- trades -----------------------------------------------------------------------------------------------

    def trade(self, symbol: str, grid_us: int) -> Trade:
        """What was traded last at or before a moment of the grid: one execution a step."""
        step = self._source.step_us
        grid_us -= grid_us % step
        now, before = self._source.market.tick(symbol, grid_us), self._source.market.tick(symbol, grid_us - step)
        rule = self._rule(symbol)
        part = share(symbol, grid_us)
        dollars = Decimal(1 + int(part * TRADE_USD))
        size = max(round_down(dollars if rule.inverse else dollars / now.last, rule.lot), rule.lot)
        falls = now.last < before.last or (now.last == before.last and part < 0.5)
        return Trade(
            symbol=symbol,
            trade_id=derive("trade", symbol, grid_us),
            side="sell" if falls else "buy",
            price=now.last,
            size=size,
            kind="fill",
            time=grid_us,
        )

    def number(self, trade: Trade) -> int:
        """Its place among the trades of its contract; rises by one."""
        return trade.time // self._source.step_us

    def trades(self, symbol: str, until_us: int, count: int, since_us: int = 0) -> list[Trade]:
        """The newest `count` trades from `since_us` on that came before or at `until_us`, oldest first."""
        step = self._source.step_us
        last = until_us - until_us % step
        found: list[Trade] = []
        for grid in range(last, max(since_us - 1, last - count * step), -step):
            try:
                found.append(self.trade(symbol, grid))
            except ValueError:
                break  # before the data begin
        return found[::-1]

    # --- candles ----------------------------------------------------------------------------------------------

    def candles(self, kind: str, symbol: str, resolution: str, from_us: int, to_us: int) -> list[ChartCandle]:
        """Candles of `spot`, `mark` or `trade` that begin from `from_us` on and before `to_us`, oldest first.

        The last one may still be running. A contract's candle is the spot candle moved by the basis at its end.
        """
        width = RESOLUTION_S[resolution] * SECOND_US
        first = from_us + -from_us % width
        first = max(first, to_us - to_us % width - (CANDLES_MOST - 1) * width)
        base = BUILT_OF.get(resolution)
        if base is None:
            return [bar for at in range(first, to_us, width) if (bar := self._sampled(kind, symbol, at, to_us, width))]
        rows = self._source.market.candles(self._source.spot_of[symbol], base, first // 1000, to_us)
        bars: list[ChartCandle] = []
        for start, parts in _buckets(rows, width // 1000).items():
            bars.append(self._moved(kind, symbol, start, parts, min(start * 1000 + width, to_us)))
        return bars

    def _moved(self, kind: str, symbol: str, start_ms: int, parts: Sequence[CandleSeen], end_us: int) -> ChartCandle:
        basis, step = Decimal(1), Decimal("0.00001")
        if kind != "spot":
            tick = self._source.market.tick(symbol, end_us)
            basis, step = tick.mark / decimal(parts[-1].close), self._rule(symbol).tick
        prices = (parts[0].open, max(p.high for p in parts), min(p.low for p in parts), parts[-1].close)
        opened, high, low, close = (round_floor(decimal(price) * basis, step) for price in prices)
        volume = decimal(round(sum(part.volume for part in parts), 4)) if kind == "trade" else Decimal(0)
        return _bar(start_ms, opened, high, low, close, volume)

    def _sampled(self, kind: str, symbol: str, at: int, to_us: int, width: int) -> ChartCandle | None:
        """The path has its turns on whole five minutes, so its ends are its extremes."""
        try:
            ends = [self._price(kind, symbol, at), self._price(kind, symbol, min(at + width, to_us))]
        except ValueError:
            return None  # before the data begin
        volume = Decimal(1) if kind == "trade" else Decimal(0)
        return _bar(at // 1000, ends[0], max(ends), min(ends), ends[1], volume)

    def _price(self, kind: str, symbol: str, at: int) -> Decimal:
        if kind == "spot":
            return decimal(self._source.market.spot_price(self._source.spot_of[symbol], at))
        tick = self._source.market.tick(symbol, at)
        return tick.mark if kind == "mark" else tick.last

    def _rule(self, symbol: str) -> Instrument:
        return self._source.engine.rules[symbol]


def share(symbol: str, moment: int) -> float:
    """A number from 0 to 1 that belongs to a contract's moment."""
    return crc32(f"{symbol} {moment}".encode()) / 2**32


def _buckets(rows: Sequence[CandleSeen], width_ms: int) -> dict[int, list[CandleSeen]]:
    buckets: dict[int, list[CandleSeen]] = {}
    for row in rows:
        buckets.setdefault(row.open_time_ms - row.open_time_ms % width_ms, []).append(row)
    return buckets


def _bar(start_ms: int, opened: Decimal, high: Decimal, low: Decimal, close: Decimal, volume: Decimal) -> ChartCandle:
    return ChartCandle(
        open_time_ms=start_ms,
        open=float(opened),
        high=float(high),
        low=float(low),
        close=float(close),
        volume=float(volume),
    )

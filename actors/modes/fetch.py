"""Candles and funding from the exchange into the store, from where the store ends. Stopped at any moment it goes on where it was."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import httpx
import pandas as pd
import trio

from actors.gateway.dial import http_client, websocket
from actors.gateway.errors import GatewayError
from actors.gateway.futures_data import FuturesData
from actors.gateway.http import FuturesHttp
from actors.gateway.secret import Secret
from actors.gateway.spot import SpotGateway
from config.settings import Settings
from protocol.kraken.wire import MalformedPayload, Refused, ms_us
from protocol.ports import Clock, FeedLost
from protocol.units import TIMEFRAME_MS, Timeframe
from sim.clock import SystemClock
from sim.market.store import COLUMNS, FUNDING_COLUMNS, SeriesName, Store

TIMEFRAMES: Final[tuple[Timeframe, ...]] = ("15m", "1h", "4h", "1d")
PERP_TIMEFRAME: Final[Timeframe] = "15m"
CHART_ROWS: Final = 2000
PERP_FIRST_MS: Final = 1_640_995_200_000
"""2022-01-01: there was no linear perpetual before."""
HOUR_MS: Final = 3_600_000

Step = Callable[[str, int], None]
"""(series, rows that are new)."""


class FetchFailed(Exception):
    """The exchange gave no usable answer. What was fetched before is in the store; the same command goes on from there."""


class Fetcher:
    """One market after the other, series after series; each page is in the store before the next is asked for."""

    def __init__(self, store: Store, spot: SpotGateway, futures: FuturesData, clock: Clock, on_step: Step) -> None:
        self._store, self._spot, self._futures = store, spot, futures
        self._clock = clock
        self._on_step = on_step

    async def run(self, markets: Sequence[tuple[str, str]]) -> None:
        """`markets`: (spot symbol, contract). Raises FetchFailed."""
        try:
            for symbol, contract in markets:
                for timeframe in TIMEFRAMES:
                    await self._candles(symbol, timeframe)
                await self._perp(symbol, contract)
                await self._funding(symbol, contract)
        except (FeedLost, GatewayError, Refused, MalformedPayload) as error:
            raise FetchFailed(str(error)) from error

    async def _candles(self, symbol: str, timeframe: Timeframe) -> None:
        """The last 720 finished candles at most: Kraken has no more by this way; older ones come by `data import`."""
        name = SeriesName("spot", symbol, timeframe)
        newest = self._store.newest_ms(name)
        since = None if newest is None else newest + TIMEFRAME_MS[timeframe]
        candles = await self._spot.history(symbol, timeframe, since)
        rows = [(c.open_time_ms, c.open, c.high, c.low, c.close, c.volume) for c in candles]
        self._add(name, rows, COLUMNS)

    async def _perp(self, symbol: str, contract: str) -> None:
        """Mark candles of the perpetual, page by page: the basis."""
        name = SeriesName("perp", symbol, PERP_TIMEFRAME)
        step = TIMEFRAME_MS[PERP_TIMEFRAME]
        newest = self._store.newest_ms(name)
        start = PERP_FIRST_MS if newest is None else newest + step
        now = self._clock.now_us() // 1000 // step * step
        while start < now:
            end = min(start + CHART_ROWS * step, now)
            page = await self._futures.chart("mark", contract, PERP_TIMEFRAME, ms_us(start), ms_us(end) - 1)
            rows = [
                (c.open_time_ms, c.open, c.high, c.low, c.close, c.volume)
                for c in page.candles
                if start <= c.open_time_ms and c.open_time_ms + step <= now
            ]
            self._add(name, rows, COLUMNS)
            start = rows[-1][0] + step if page.more and rows else end

    async def _funding(self, symbol: str, contract: str) -> None:
        name = SeriesName("funding", symbol, None)
        newest = self._store.newest_ms(name) or 0
        found = await self._futures.funding_rates(contract)
        rates = [(rate.time // 1000, float(rate.relative)) for rate in found if rate.relative is not None]
        # Kraken names a rate by when its period begins, the store by when it ends: where the next one begins.
        ends = [*(begins for begins, _ in rates[1:]), *(begins + HOUR_MS for begins, _ in rates[-1:])]
        rows = [(end, rate) for end, (_, rate) in zip(ends, rates, strict=True) if end > newest]
        self._add(name, rows, FUNDING_COLUMNS)

    def _add(self, name: SeriesName, rows: Sequence[tuple[float, ...]], columns: Sequence[str]) -> None:
        new = self._store.add(name, pd.DataFrame(rows, columns=list(columns))) if rows else 0
        self._on_step(str(name), new)


def fetch(settings: Settings, store: Store, symbols: Sequence[str], on_step: Step) -> None:
    """Fetch `symbols` from where `settings.exchange` points to. No key is needed. Raises FetchFailed."""

    async def main() -> None:
        clock = SystemClock()
        where = settings.exchange
        async with http_client(where.spot_url) as spot_http, http_client(where.futures_url) as futures_http:
            spot = SpotGateway(spot_http, websocket(where.spot_ws_url), clock, settings.feeds)
            futures = public_futures(futures_http, clock, settings)
            # The exchange's time, not this machine's, says which candles are over.
            fetcher = Fetcher(store, spot, futures, ServerTime(await _server_time(spot)), on_step)
            await fetcher.run([(symbol, settings.futures_of[symbol]) for symbol in symbols])

    trio.run(main)


class ServerTime:
    """The exchange's clock as it stood when the fetch began: `protocol.ports.Clock`."""

    def __init__(self, at: int) -> None:
        self._at = at

    def now_us(self) -> int:
        """Microseconds UTC."""
        return self._at


async def _server_time(spot: SpotGateway) -> int:
    try:
        return await spot.server_time()
    except FeedLost as error:
        raise FetchFailed(str(error)) from error


def public_futures(http: httpx.AsyncClient, clock: Clock, settings: Settings) -> FuturesData:
    """Market data only: without a key."""
    timeout_s = settings.execution.request_timeout_s
    return FuturesData(FuturesHttp(http, clock, key="", secret=Secret(""), timeout_s=timeout_s), clock)


def steps(markets: int) -> int:
    """How many series a fetch of so many markets has, for a progress bar."""
    return markets * (len(TIMEFRAMES) + 2)

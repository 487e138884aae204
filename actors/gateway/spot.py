"""Kraken spot, public side: `protocol.ports.SpotMarket` over REST and WebSocket v2. Knows no futures, decides nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Final

import httpx
import structlog

from actors.gateway.budget import KEPT, Budget, spend
from actors.gateway.channel import Channel, Connect, Reading, answers_as_feed_lost, deadline, opened
from actors.gateway.quarantine import report
from actors.gateway.words import place, unanswered
from config.settings import FeedSettings
from protocol.kraken import endpoints, spot
from protocol.kraken.faults import judge
from protocol.kraken.spot_market import SpotTicker
from protocol.kraken.wire import MalformedPayload, Refused, ms_us
from protocol.messages.spot import CandleSeen
from protocol.ports import Clock, FeedLost
from protocol.units import TIMEFRAME_MS, Timeframe

SUBSCRIBE_REQUEST: Final = 1
PING_REQUEST: Final = 2
NANOSECONDS_A_MS: Final = 1_000_000
DEFAULTS: Final = FeedSettings()
POINTS: Final = round(endpoints.SPOT_CALLS_BURST / (1 - KEPT["read"]))
"""Of a budget reading may use a part; all there is here is reading."""

log = structlog.get_logger(__name__)


class SpotGateway:
    """`http` has the exchange's base URL; `connect` opens its WebSocket.

    Requests wait for their turn at Kraken's public rate, however long; a deadline begins when a request leaves. `hear_time` is told the exchange's own time (microseconds UTC) of each candle frame.
    """

    def __init__(
        self,
        http: httpx.AsyncClient,
        connect: Connect,
        clock: Clock,
        settings: FeedSettings = DEFAULTS,
        hear_time: Callable[[int], None] = lambda _at: None,
    ) -> None:
        self._http = http
        self._connect = connect
        self._clock = clock
        self._timeout_s = settings.request_timeout_s
        self._hear_time = hear_time
        self._budget = Budget(POINTS, POINTS // endpoints.SPOT_CALLS_A_SECOND)

    async def history(self, symbol: str, timeframe: Timeframe, since_ms: int | None) -> Sequence[CandleSeen]:
        """Finished candles, oldest first, from `since_ms` (inclusive); Kraken has the last 720. Raises FeedLost."""
        parameters: dict[str, str | int] = {
            "pair": endpoints.spot_rest_pair(symbol),
            "interval": endpoints.INTERVAL_MINUTES[timeframe],
        }
        if since_ms is not None:
            # One interval earlier: whether Kraken counts `since` itself is not documented.
            parameters["since"] = (since_ms - TIMEFRAME_MS[timeframe]) // 1000
        data = await self._get(endpoints.OHLC, parameters)
        with self._understood():
            parsed = spot.parse_ohlc(data, symbol, timeframe, self._clock.now_us())
        report(parsed.quarantined)
        return [candle for candle in parsed.values if since_ms is None or candle.open_time_ms >= since_ms]

    async def traded(self, symbol: str, from_ms: int, to_ms: int) -> bool:
        """Whether the trades endpoint shows a trade from `from_ms` to before `to_ms`. Raises FeedLost."""
        # One nanosecond earlier: `since` itself is not counted.
        query: dict[str, str | int] = {
            "pair": endpoints.spot_rest_pair(symbol),
            "since": str(from_ms * NANOSECONDS_A_MS - 1),
        }
        data = await self._get(endpoints.SPOT_TRADES, query)
        with self._understood():
            page = spot.parse_trades(data, symbol)
        report(page.quarantined)
        if page.quarantined:
            raise FeedLost(f"spot: {page.quarantined[0]}")  # a trade that cannot be read may have been in there
        return any(ms_us(from_ms) <= trade.time < ms_us(to_ms) for trade in page.trades)

    async def ticker(self, symbol: str) -> SpotTicker:
        """The best prices and the last trade. Raises FeedLost."""
        data = await self._get(endpoints.SPOT_TICKER, {"pair": endpoints.spot_rest_pair(symbol)})
        with self._understood():
            return spot.parse_ticker(data, symbol)

    async def system_status(self) -> str:
        """`online`, `maintenance`, `cancel_only`, `post_only`, or a word we do not know yet. Raises FeedLost."""
        data = await self._get(endpoints.SYSTEM_STATUS, {})
        with self._understood():
            return spot.parse_system_status(data)

    async def pairs(self) -> Sequence[spot.AssetPair]:
        """The spot markets. Raises FeedLost."""
        data = await self._get(endpoints.ASSET_PAIRS, {})
        with self._understood():
            parsed = spot.parse_asset_pairs(data)
        report(parsed.quarantined)
        return parsed.values

    async def server_time(self) -> int:
        """Kraken's clock, microseconds UTC in whole seconds. Raises FeedLost."""
        data = await self._get(endpoints.TIME, {})
        with self._understood():
            return spot.parse_time(data)

    @asynccontextmanager
    async def stream(self, symbols: Sequence[str]) -> AsyncIterator[AsyncIterator[CandleSeen | None]]:
        """15m candles as they change; entered when every symbol is acknowledged. See protocol.ports.SpotMarket."""
        async with opened(self._connect, lambda: spot.write_spot_ping(PING_REQUEST)) as channel:
            with deadline(self._timeout_s, "spot subscription"):
                early = await self._subscribe(channel, symbols)
            yield Reading(channel, lambda data: self._said(self._read(data)), early)

    async def _subscribe(self, channel: Channel, symbols: Sequence[str]) -> list[CandleSeen | None]:
        await channel.send(spot.write_spot_subscribe(symbols, SUBSCRIBE_REQUEST))
        missing = set(symbols)
        early: list[CandleSeen | None] = []
        while missing:
            frame = await self._frame(channel)
            if isinstance(frame, spot.SpotSubscribed):
                missing.discard(frame.symbol)
            else:
                early.extend(self._said(frame))
        return early

    async def _frame(self, channel: Channel) -> spot.SpotFrame:
        return self._read(await channel.receive())

    def _read(self, data: str | bytes) -> spot.SpotFrame:
        try:
            frame = spot.parse_spot_frame(data, self._clock.now_us())
        except MalformedPayload as error:
            raise FeedLost(f"spot: {error}") from error
        if isinstance(frame, spot.Candles) and frame.time is not None:
            self._hear_time(frame.time)
        return frame

    def _said(self, frame: spot.SpotFrame) -> Sequence[CandleSeen | None]:
        if isinstance(frame, spot.SpotRefusal):
            raise FeedLost(f"spot refused {frame.symbol or 'a request'}: {frame.error}")
        if isinstance(frame, spot.SpotStatus) and frame.system != "online":
            log.warning("spot_status", system=frame.system)
        if not isinstance(frame, spot.Candles):
            return (None,)
        report(frame.quarantined)
        return frame.candles or (None,)

    async def _get(self, path: str, parameters: Mapping[str, str | int]) -> bytes:
        await spend(self._budget, 1, self._clock, "read")
        try:
            with deadline(self._timeout_s, place(self._http, path)):
                response = await self._http.get(path, params=dict(parameters))
        except (httpx.HTTPError, OSError) as error:
            raise FeedLost(unanswered(self._http, path, error)) from error
        if response.status_code == httpx.codes.TOO_MANY_REQUESTS:
            self._budget.refused(self._clock.now_us())
        if response.status_code >= httpx.codes.BAD_REQUEST:
            raise FeedLost(f"{path}: HTTP {response.status_code}")
        return response.content

    @contextmanager
    def _understood(self) -> Iterator[None]:
        """Reading an answer: what it cannot be read as is FeedLost, and Kraken's word for "too often" slows the next ones down."""
        with answers_as_feed_lost("spot"):
            try:
                yield
            except Refused as error:
                if judge(error.error).kind == "rate":
                    self._budget.refused(self._clock.now_us())
                raise
        self._budget.served()

"""One suite, three wires: the real clients against the venue in memory, the venue over loopback TCP, and recorded payloads."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
import trio
from trio_websocket import ConnectionClosed, WebSocketRequest, serve_websocket

from actors.gateway.dial import http_client, websocket
from actors.gateway.futures import FuturesGateway
from actors.gateway.futures_data import FuturesData
from actors.gateway.secret import Secret
from actors.gateway.spot import SpotGateway
from actors.modes.sites import engine_for
from config.load import load
from config.settings import Settings
from protocol.kraken import endpoints, futures_ws, spot
from protocol.kraken.wire import encode
from protocol.messages.base import from_edge
from protocol.messages.futures import (
    CommandAnswered,
    InstrumentsSeen,
    NoticesSeen,
    PlaceOrder,
    SnapshotSeen,
    TickerSeen,
)
from protocol.messages.spot import CandleSeen
from protocol.ports import Clock
from sim.clock import PacedClock, SimulatedClock
from sim.market.tape import Tape
from sim.venue import Venue
from sim.venue.serve import serve
from tests.fakes.kraken_payloads import READERS

RECORDED = Path(__file__).parents[2].parent / "shared" / "kraken"
SYMBOL, MARKET = "PF_XBTUSD", "BTC/USD"
SPEED = 60.0
Clients = tuple[SpotGateway, FuturesGateway, FuturesData]
Wire = Callable[[Settings], AbstractAsyncContextManager[Clients]]


def venue_of(settings: Settings) -> Venue:
    """A venue on the synthetic market of a day."""
    tape = Tape.synthetic(settings, days=1)
    return Venue(engine_for(settings, tape), tape, SimulatedClock(tape.start_us), settings.futures_of, tick_s=5)


def clients(
    settings: Settings, http: httpx.AsyncClient, connect: Callable[[str], Any], clock: Clock, key: str, secret: str
) -> Clients:
    """The real clients; `connect` takes a path."""
    settings = settings.model_copy(
        update={"execution": settings.execution.model_copy(update={"request_timeout_s": 600.0})}
    )
    futures = FuturesGateway(
        http, connect(endpoints.FUTURES_WS_PATH), clock, key=key, secret=Secret(secret), settings=settings.execution
    )
    return SpotGateway(http, connect(endpoints.SPOT_WS_PATH), clock), futures, FuturesData(futures.http, clock)


@asynccontextmanager
async def in_memory(settings: Settings) -> AsyncIterator[Clients]:
    """Memory streams and an ASGI transport."""
    venue = venue_of(settings)
    async with trio.open_nursery() as nursery, venue.http_client() as http:
        await nursery.start(venue.run)
        yield clients(settings, http, lambda path: partial(venue.connect, path), venue.clock, venue.key, venue.secret)
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def over_tcp(settings: Settings) -> AsyncIterator[Clients]:
    """Real sockets on loopback."""
    venue = venue_of(settings)
    async with trio.open_nursery() as nursery:
        address = await nursery.start(serve, venue, "127.0.0.1", 0)
        socket = address.replace("http", "ws", 1)
        async with http_client(address) as http:
            yield clients(
                settings, http, lambda path: websocket(socket + path, SPEED), venue.clock, venue.key, venue.secret
            )
        nursery.cancel_scope.cancel()


def payload(recording: str, own: str) -> bytes:
    """What Kraken sent, or where the recordings are absent what we would."""
    file = RECORDED / f"{recording}.json"
    return file.read_bytes() if file.exists() else encode(READERS[own][0])


REST: dict[str, tuple[str, str]] = {
    endpoints.INSTRUMENTS: ("futures_rest_instruments", "instruments"),
    endpoints.TICKERS: ("futures_rest_tickers", "tickers"),
    endpoints.LEVERAGE_PREFERENCES: ("futures_rest_leveragepreferences", "leverage preferences"),
    endpoints.OPEN_ORDERS: ("futures_rest_openorders", "openorders"),
    endpoints.OPEN_POSITIONS: ("futures_rest_openpositions", "openpositions"),
    endpoints.FILLS: ("futures_rest_fills", "fills"),
    endpoints.ACCOUNTS: ("futures_rest_accounts_usd_flex", "accounts"),
    endpoints.NOTIFICATIONS: ("futures_rest_notifications", "notifications"),
    endpoints.SEND_ORDER: ("futures_rest_sendorder_placed", "answer"),
    endpoints.ORDER_BOOK: ("futures_rest_orderbook", "order book"),
    endpoints.FUNDING_RATES: ("futures_rest_historical_funding_rates", "funding rates"),
    endpoints.OHLC: ("spot_rest_ohlc", "ohlc"),
    endpoints.SPOT_TICKER: ("spot_rest_ticker", "spot ticker"),
    endpoints.SYSTEM_STATUS: ("spot_rest_systemstatus", "system status"),
    endpoints.TIME: ("spot_rest_time", "time"),
}


@asynccontextmanager
async def from_recordings(settings: Settings) -> AsyncIterator[Clients]:
    """REST answers by path, streams acknowledge and say what was recorded."""

    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, content=payload(*REST[request.url.path]))

    async def talk(request: WebSocketRequest) -> None:
        socket = await request.accept()
        try:
            while True:
                for frame in replies(msgspec.json.decode(await socket.get_message())):
                    await socket.send_message(frame if isinstance(frame, str) else encode(frame).decode())
        except ConnectionClosed:
            return

    clock = SimulatedClock(1_767_571_200_000_000)
    async with (
        trio.open_nursery() as nursery,
        httpx.AsyncClient(transport=httpx.MockTransport(answer), base_url="http://recorded") as http,
    ):
        listening = await nursery.start(serve_websocket, talk, "127.0.0.1", 0, None)
        address = f"ws://127.0.0.1:{listening.port}"
        yield clients(settings, http, lambda path: websocket(address + path, SPEED), clock, "key", "c2VjcmV0")
        nursery.cancel_scope.cancel()


def replies(asked: dict[str, Any]) -> list[Any]:
    """What follows a request: its acknowledgement, then a recorded frame of that feed."""
    if asked.get("method") == "subscribe":
        (symbol,) = asked["params"]["symbol"]
        row = spot.write_spot_subscribed(symbol, 15, asked["req_id"], 0)
        return [row, encode(READERS["candles"][0]).decode()]
    if asked.get("event") == "challenge":
        return [payload("futures_ws_challenge", "challenge").decode()]
    if asked.get("event") == "subscribe":
        acknowledged = futures_ws.write_subscribed(asked["feed"], asked.get("product_ids", ()))
        ticker = [payload("futures_ws_ticker", "ticker").decode()] if asked["feed"] == "ticker" else []
        return [acknowledged, *ticker]
    return []


WIRES: dict[str, Wire] = {"memory": in_memory, "tcp": over_tcp, "recorded": from_recordings}


@pytest.fixture(params=WIRES)
def wire(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[Callable[[Clients], Any]], None]:
    """Run one check over each wire, with a clock under which both sockets and simulated time work."""
    config = tmp_path / "one.yaml"
    config.write_text(f"symbols: [{{spot: {MARKET}, futures: {SYMBOL}}}]\n")
    settings = load("paper", "dev", config, {}, {})

    def over(check: Callable[[Clients], Any]) -> None:
        async def main() -> None:
            with trio.fail_after(30 * SPEED):
                async with WIRES[request.param](settings) as found:
                    await check(found)

        trio.run(main, clock=PacedClock(SPEED))

    return over


Over = Callable[[Callable[[Clients], Any]], None]


def test_rules_and_truth(wire: Over) -> None:
    """Contract rules, a whole snapshot, and what is announced."""

    async def check(found: Clients) -> None:
        _, futures, _ = found
        listed = await futures.instruments()
        assert isinstance(listed, InstrumentsSeen)
        rules = {i.symbol: i for i in listed.instruments}[SYMBOL]
        assert (rules.inverse, rules.tick > 0, rules.lot > 0) == (False, True, True)
        assert rules.margin_levels
        assert all(leverage_x >= 1 for leverage_x in (await futures.isolated()).values())
        truth = await futures.snapshot()
        assert isinstance(truth, SnapshotSeen), truth
        assert truth.account.equity_usd > 0
        assert isinstance(await futures.notices(), NoticesSeen)
        assert await futures.server_time() > 0

    wire(check)


def test_market_data(wire: Over) -> None:
    """Spot candles are finished and on the grid; ticker, status, book and funding have their types."""

    async def check(found: Clients) -> None:
        market, _, data = found
        candles = await market.history(MARKET, "15m", None)
        assert candles
        assert all(c.final for c in candles)
        assert (await market.ticker(MARKET)).last > 0
        assert await market.system_status() == "online"
        assert await market.server_time() > 0
        book = await data.order_book(SYMBOL)
        assert book.bids[0][0] < book.asks[0][0]
        rates = await data.funding_rates(SYMBOL)
        assert [r.time for r in rates] == sorted(r.time for r in rates)

    wire(check)


def test_an_order_is_answered(wire: Over) -> None:
    """A resting order is `placed` or, as recorded, whatever the exchange said, with its id; never an exception."""

    async def check(found: Clients) -> None:
        _, futures, _ = found
        order = from_edge(
            PlaceOrder, 0, client_order_id="contract-1", signal_id="", role="entry", symbol=SYMBOL, side="buy",
            order_type="lmt", size=Decimal("0.01"), limit_price=Decimal(1000),
        )  # fmt: skip
        *_, answer = await futures.send(order)
        assert isinstance(answer, CommandAnswered)
        assert answer.outcome in ("placed", "filled")
        assert answer.order_id

    wire(check)


def test_streams_begin(wire: Over) -> None:
    """Both streams acknowledge every feed and tell a price; leaving them says goodbye."""

    async def check(found: Clients) -> None:
        market, futures, _ = found
        async with futures.stream([SYMBOL]) as said:
            async for message in said:
                if isinstance(message, TickerSeen):
                    assert message.mark > 0
                    break
        async with market.stream([MARKET]) as seen:
            async for candle in seen:
                if candle is not None:
                    assert isinstance(candle, CandleSeen)
                    assert not candle.final
                    break

    wire(check)

"""The spot gateway against fakes that speak Kraken's protocol."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import httpx
import pytest
import trio
from gateway_fakes import START_US, Script, TrioClock, drain, forever, hear, hold, nothing, rest, say, server
from msgspec.structs import replace

from actors.gateway.spot import SpotGateway
from protocol.kraken import spot
from protocol.kraken.endpoints import SPOT_CALLS_A_SECOND, SPOT_CALLS_BURST
from protocol.messages.base import from_edge
from protocol.messages.spot import CandleSeen
from protocol.ports import FeedLost
from protocol.units import TIMEFRAME_MS, Timeframe
from tests.fakes.kraken_payloads import SPOT_TICKER, SPOT_TRADE

BAR_MS = 900_000
OPEN_MS = START_US // 1000


def candle(offset: int = 0, symbol: str = "BTC/USD", *, final: bool = False) -> CandleSeen:
    """A candle `offset` bars after the start."""
    prices = {"open": 1.0, "high": 3.0, "low": 0.5, "close": 2.0, "volume": 5.0}
    opened = OPEN_MS + offset * BAR_MS
    return from_edge(
        CandleSeen, START_US, offset, symbol=symbol, timeframe="15m", open_time_ms=opened, final=final, **prices
    )


def streaming(script: Script) -> SpotGateway:
    """A gateway whose WebSocket is `script`."""
    return SpotGateway(rest(nothing), server(script), TrioClock())


def asking(handler: Any) -> SpotGateway:
    """A gateway whose REST is `handler`."""

    async def closed(_socket: object) -> None:
        return None

    return SpotGateway(rest(handler), server(closed), TrioClock())


async def greet(socket: Any, symbols: Sequence[str] = ("BTC/USD",)) -> None:
    """Greet, take the subscription and acknowledge each symbol."""
    await say(socket, spot.write_spot_status("online", 6447481662169813000))
    request = await hear(socket)
    assert request["params"]["channel"] == "ohlc"
    assert request["params"]["interval"] == 15
    for symbol in symbols:
        await say(socket, spot.write_spot_subscribed(symbol, 15, request["req_id"], START_US))


async def test_history_asks_by_the_old_name_and_gives_finished_candles_from_since_on() -> None:
    """One interval earlier is asked for; what is earlier and what still forms is left out."""
    asked: list[httpx.URL] = []

    def answer(request: httpx.Request) -> object:
        asked.append(request.url)
        return spot.write_ohlc("XXBTZUSD", [candle(n, final=n < 3) for n in range(4)])

    candles = await asking(answer).history("BTC/USD", "15m", OPEN_MS + BAR_MS)

    assert [c.open_time_ms for c in candles] == [OPEN_MS + BAR_MS, OPEN_MS + 2 * BAR_MS]
    assert all(c.final and c.symbol == "BTC/USD" for c in candles)
    assert asked[0].path == "/0/public/OHLC"
    assert dict(asked[0].params) == {"pair": "XBTUSD", "interval": "15", "since": str(OPEN_MS // 1000)}


async def test_history_without_since_asks_for_all_there_is() -> None:
    """No `since` goes out."""

    def answer(request: httpx.Request) -> object:
        assert "since" not in request.url.params
        return spot.write_ohlc("XXBTZUSD", [candle(final=True)])

    assert len(await asking(answer).history("BTC/USD", "1h", None)) == 1


@pytest.mark.parametrize(
    "said",
    [
        httpx.Response(502, text="<html>bad gateway</html>"),
        httpx.Response(200, text="<html>maintenance</html>"),
        httpx.ConnectError("refused"),
        {"error": ["EGeneral:Too many requests"]},
        {"error": [], "result": {}},
    ],
)
async def test_history_that_cannot_be_had_is_feed_lost(said: object) -> None:
    """Whoever is at fault, the port's promise is one exception."""
    with pytest.raises(FeedLost):
        await asking(lambda _request: said).history("BTC/USD", "15m", None)


async def test_history_that_never_answers_is_feed_lost(autojump_clock: trio.testing.MockClock) -> None:
    """The deadline is the gateway's own."""
    with pytest.raises(FeedLost, match="no answer within 10 s"):
        await asking(forever).history("BTC/USD", "15m", None)


async def test_markets_and_time_are_read() -> None:
    """The small answers that preflight needs."""
    pair = spot.AssetPair(name="XXBTZUSD", altname="XBTUSD", wsname="XBT/USD", pair_decimals=1, lot_decimals=8)
    answers = {"/0/public/Time": spot.write_time(START_US), "/0/public/AssetPairs": spot.write_asset_pairs([pair])}
    gateway = asking(lambda request: answers[request.url.path])

    assert await gateway.server_time() == START_US
    assert [(found.symbol, found.status) for found in await gateway.pairs()] == [("BTC/USD", "unknown")]


async def test_candles_seen_before_the_last_acknowledgement_are_kept(autojump_clock: trio.testing.MockClock) -> None:
    """Entering waits for every symbol; nothing said meanwhile is lost; a heartbeat is None."""

    async def script(socket: Any) -> None:
        await greet(socket)
        await say(socket, spot.write_spot_candles([candle(), candle(1)], START_US, snapshot=True))
        await trio.sleep(1)
        await say(socket, spot.write_spot_subscribed("ETH/USD", 15, 1, START_US))
        await say(socket, spot.write_spot_heartbeat(), spot.write_spot_candles([candle(1, "ETH/USD")], START_US))

    said: list[Any] = []
    with pytest.raises(FeedLost, match="closed"):
        await drain(streaming(script), ["BTC/USD", "ETH/USD"], said)

    assert trio.current_time() >= 1
    seen = [(item.symbol, item.open_time_ms, item.final) for item in said if item]
    assert seen == [
        ("BTC/USD", OPEN_MS, False),
        ("BTC/USD", OPEN_MS + BAR_MS, False),
        ("ETH/USD", OPEN_MS + BAR_MS, False),
    ]
    assert said.count(None) == 2  # status, heartbeat


async def test_a_symbol_that_is_refused_is_feed_lost(autojump_clock: trio.testing.MockClock) -> None:
    """Kraken's words reach the log of whoever reconnects."""

    async def script(socket: Any) -> None:
        await hear(socket)
        await say(socket, spot.write_spot_refusal("Currency pair not supported XBT/USD", "XBT/USD", 1, START_US))
        await hold(socket)

    with pytest.raises(FeedLost, match="Currency pair not supported"):
        async with streaming(script).stream(["XBT/USD"]):
            pytest.fail("entered")


async def test_a_subscription_that_is_never_acknowledged_is_feed_lost(autojump_clock: trio.testing.MockClock) -> None:
    """Heartbeats alone do not count as an answer."""

    async def script(socket: Any) -> None:
        while True:
            await trio.sleep(1)
            await say(socket, spot.write_spot_heartbeat())

    with pytest.raises(FeedLost, match="no answer"):
        async with streaming(script).stream(["BTC/USD"]):
            pytest.fail("entered")


@pytest.mark.parametrize("nonsense", ["not json", "[]", '{"neither": 1}', '{"Error":"Exceeded msg rate"}'])
async def test_a_frame_that_is_nonsense_is_feed_lost(nonsense: str, autojump_clock: trio.testing.MockClock) -> None:
    """A connection that does not speak the protocol is not trusted further."""

    async def script(socket: Any) -> None:
        await greet(socket)
        await say(socket, nonsense)
        await hold(socket)

    with pytest.raises(FeedLost):
        await drain(streaming(script), ["BTC/USD"], [])


async def test_one_bad_candle_leaves_the_others(autojump_clock: trio.testing.MockClock) -> None:
    """The frame's other records are used; a frame with none left proves life only."""
    frame = spot.write_spot_candles([candle(), candle(1)], START_US)
    frame["data"][0]["close"] = "NaN"  # type: ignore[index]
    alone = spot.write_spot_candles([candle()], START_US)
    del alone["data"][0]["high"]  # type: ignore[index]

    async def script(socket: Any) -> None:
        await greet(socket)
        await say(socket, frame, alone)
        await hold(socket)

    async with streaming(script).stream(["BTC/USD"]) as frames:
        assert await anext(frames) is None  # the greeting
        first = await anext(frames)
        assert first is not None
        assert first.open_time_ms == OPEN_MS + BAR_MS
        assert await anext(frames) is None


async def test_the_connection_is_pinged_and_no_more_after_leaving(autojump_clock: trio.testing.MockClock) -> None:
    """Every half minute, so that Kraken's minute of silence is never reached."""
    pings: list[float] = []

    async def script(socket: Any) -> None:
        await greet(socket)
        while True:
            assert (await hear(socket))["method"] == "ping"
            pings.append(trio.current_time())

    async with streaming(script).stream(["BTC/USD"]):
        await trio.sleep(95)
    await trio.sleep(100)

    assert [round(moment) for moment in pings] == [30, 60, 90]


async def test_an_error_of_the_caller_comes_through_as_itself(autojump_clock: trio.testing.MockClock) -> None:
    """Neither wrapped in a group nor taken for the network's."""

    async def script(socket: Any) -> None:
        await greet(socket)
        await hold(socket)

    with pytest.raises(OSError, match="disk full"):
        async with streaming(script).stream(["BTC/USD"]):
            raise OSError("disk full")


async def test_a_connection_that_cannot_be_made_is_feed_lost() -> None:
    """Refused, unresolved or hung up during the handshake."""

    def connect() -> Any:
        raise ConnectionRefusedError("nobody there")

    with pytest.raises(FeedLost, match="nobody there"):
        async with SpotGateway(rest(nothing), connect, TrioClock()).stream(["BTC/USD"]):
            pytest.fail("entered")


@pytest.mark.parametrize(("second", "traded"), [(-1, False), (0, True), (899, True), (900, False), (None, False)])
async def test_whether_anything_traded_is_what_the_trades_endpoint_shows(second: int | None, traded: bool) -> None:
    """From the first millisecond to before the last."""
    trades = [] if second is None else [replace(SPOT_TRADE, time=START_US + second * 1_000_000)]

    def answer(request: httpx.Request) -> object:
        assert request.url.path == "/0/public/Trades"
        assert dict(request.url.params) == {"pair": "XBTUSD", "since": str(START_US * 1000 - 1)}
        return spot.write_trades("XXBTZUSD", trades)

    gateway = SpotGateway(rest(answer), server(hold), TrioClock())
    assert await gateway.traded("BTC/USD", START_US // 1000, START_US // 1000 + 900_000) is traded


async def test_a_trade_that_cannot_be_read_is_not_no_trade() -> None:
    """It may lie in the interval."""
    payload: Any = spot.write_trades("XXBTZUSD", [SPOT_TRADE])
    payload["result"]["XXBTZUSD"][0][2] = "soon"
    gateway = SpotGateway(rest(lambda _request: payload), server(hold), TrioClock())
    with pytest.raises(FeedLost):
        await gateway.traded("BTC/USD", START_US // 1000, START_US // 1000 + 900_000)


async def test_ticker_and_status() -> None:
    """The best prices; a word for the state of the system."""
    answers = {
        "/0/public/Ticker": spot.write_tickers({"XXBTZUSD": SPOT_TICKER}),
        "/0/public/SystemStatus": spot.write_system_status("cancel_only", START_US),
    }
    gateway = SpotGateway(rest(lambda request: answers[request.url.path]), server(hold), TrioClock())
    assert (await gateway.ticker("BTC/USD")).last == SPOT_TICKER.last
    assert await gateway.system_status() == "cancel_only"


async def test_a_burst_of_history_waits_its_turn_and_loses_none(autojump_clock: trio.testing.MockClock) -> None:
    """Sixty series asked for at once: never more than the burst and one a second after it, and each is answered."""
    asked: list[float] = []

    def answer(_request: httpx.Request) -> object:
        asked.append(trio.current_time())
        return spot.write_ohlc("XXBTZUSD", [candle(final=True)])

    gateway, answered = asking(answer), []

    async def fetch(symbol: str, timeframe: Timeframe) -> None:
        answered.append((symbol, timeframe, len(await gateway.history(symbol, timeframe, None))))

    series = [(f"C{n}/USD", timeframe) for n in range(15) for timeframe in TIMEFRAME_MS]
    async with trio.open_nursery() as nursery:
        for symbol, timeframe in series:
            nursery.start_soon(fetch, symbol, timeframe)

    assert sorted(answered) == sorted((symbol, timeframe, 1) for symbol, timeframe in series)
    assert asked[SPOT_CALLS_BURST - 1] == 0
    for first, _ in enumerate(asked):
        for last in range(first, len(asked)):
            allowed = SPOT_CALLS_BURST + SPOT_CALLS_A_SECOND * (asked[last] - asked[first])
            assert last - first + 1 <= allowed + 1e-3
    assert asked[-1] < len(series)


@pytest.mark.parametrize(
    "refusal",
    [
        httpx.Response(429),
        spot.write_spot_error("EGeneral:Too many requests"),
        spot.write_spot_error("EAPI:Rate limit exceeded"),
    ],
)
async def test_a_refusal_for_asking_too_often_makes_the_next_requests_wait(
    refusal: object, autojump_clock: trio.testing.MockClock
) -> None:
    """Each in a row pauses longer; no request leaves meanwhile, and an answer ends the row."""
    asked: list[float] = []

    def answer(_request: httpx.Request) -> object:
        asked.append(trio.current_time())
        return spot.write_time(START_US) if len(asked) > 6 else refusal

    gateway = asking(answer)
    for _ in range(6):
        with pytest.raises(FeedLost):
            await gateway.server_time()
    assert await gateway.server_time() == START_US

    pauses = [round(later - earlier) for earlier, later in pairwise(asked)]
    assert pauses == [16, 16, 16, 16, 16, 32]  # the emptied bucket first, then the doubled pause
    assert await gateway.server_time() == START_US
    assert asked[-1] - asked[-2] <= 1


async def test_other_refusals_slow_nothing_down(autojump_clock: trio.testing.MockClock) -> None:
    """A market that is not there is no reason to wait."""
    gateway = asking(lambda _request: spot.write_spot_error("EQuery:Unknown asset pair"))
    for _ in range(3):
        with pytest.raises(FeedLost, match="Unknown asset pair"):
            await gateway.history("BTC/USD", "15m", None)
    assert trio.current_time() == 0

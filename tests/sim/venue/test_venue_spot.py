"""The venue's spot side: candles by REST and by stream, and what happens at a candle's end."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock
from venues import START, hear, hear_until, say, venue

from protocol.kraken import endpoints, spot
from protocol.units import MINUTE_US, SECOND_US
from sim.venue import Venue
from sim.venue.schedule import CANDLE_US, moments, tick_us

BEFORE_END = START + CANDLE_US - 2 * SECOND_US


async def running(nursery: trio.Nursery, start_us: int, **terms: Any) -> Venue:
    """A venue that runs in this nursery from this moment, prices rising a dollar a second."""
    place = venue(1.0, start_us, **terms)
    await nursery.start(place.run)
    return place


async def subscribe(stream: Any, symbols: list[str]) -> dict[str, Any]:
    """Ask for ohlc; the last snapshot."""
    await say(stream, spot.write_spot_subscribe(symbols, 7))
    frame: dict[str, Any] = {}
    for _ in symbols:
        acknowledged = await hear_until(stream, method="subscribe")
        assert (acknowledged["success"], acknowledged["req_id"]) == (True, 7)
        frame = await hear_until(stream, type="snapshot", channel="ohlc")
    return frame


async def test_a_subscription_is_acknowledged_and_begins_with_a_snapshot(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """Status first, one acknowledgement a symbol with the request's id, then recent candles with the running one last."""
    place = await running(nursery, START + MINUTE_US)
    async with place.connect(endpoints.SPOT_WS_PATH) as stream:
        greeting = spot.parse_spot_frame(await stream.get_message(), 0)
        assert greeting == spot.SpotStatus("online")
        snapshot = await subscribe(stream, ["BTC/USD", "ETH/USD"])
    begins = [row["interval_begin"] for row in snapshot["data"]]
    assert begins[-2:] == ["2026-01-04T23:45:00.000000000Z", "2026-01-05T00:00:00.000000000Z"]
    assert begins == sorted(begins)
    nursery.cancel_scope.cancel()


async def test_at_a_candles_end_the_whole_candle_comes_and_then_the_next(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """An update a second; at the boundary the finished candle's last update, then the first frame of the new interval."""
    place = await running(nursery, BEFORE_END)
    async with place.connect(endpoints.SPOT_WS_PATH) as stream:
        await subscribe(stream, ["BTC/USD"])
        seen = []
        for _ in range(4):
            frame = spot.parse_spot_frame(await stream.get_message(), 0)
            assert isinstance(frame, spot.Candles)
            (candle,) = frame.candles
            seen.append((candle.open_time_ms * 1000 - START, candle.close, place.now_us() - START - CANDLE_US))
    assert seen == [
        (0, 60_899.0, -SECOND_US + 3),
        (0, 60_900.0, 3),
        (CANDLE_US, 60_900.0, 3),
        (CANDLE_US, 60_901.0, SECOND_US + 3),
    ]
    nursery.cancel_scope.cancel()


async def test_the_closed_candle_can_be_had_by_rest_at_its_end(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """`last` moves on at the boundary, the running candle is the last row, and at most 720 rows come."""
    place = await running(nursery, START + CANDLE_US)
    async with place.http_client() as http:
        answer = await http.get(endpoints.OHLC, params={"pair": "XBTUSD", "interval": 15})
        since = await http.get(
            endpoints.OHLC, params={"pair": "XXBTZUSD", "interval": 60, "since": START // SECOND_US - 7200}
        )
    rows = answer.json()["result"]["XXBTZUSD"]
    assert len(rows) == 720
    assert (rows[-1][0] * SECOND_US, rows[-1][1]) == (START + CANDLE_US, "60900.0")
    closed = spot.parse_ohlc(answer.content, "BTC/USD", "15m", 0).values
    assert (closed[-1].open_time_ms * 1000, closed[-1].close, closed[-1].final) == (START, 60_900.0, True)
    hours = spot.parse_ohlc(since.content, "BTC/USD", "1h", 0).values
    assert [c.open_time_ms * 1000 - START for c in hours] == [-2 * 3_600_000_000, -3_600_000_000]
    running_hour = since.json()["result"]["XXBTZUSD"][-1]
    assert (running_hour[0] * SECOND_US, running_hour[1], running_hour[4]) == (START, "60000.0", "60900.0")
    nursery.cancel_scope.cancel()


async def test_no_candle_is_listed_twice_before_the_first_step_of_the_next(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """Between a candle's end and the market's next step the running candle is the new one, not the closed one again."""
    place = await running(nursery, START + CANDLE_US + SECOND_US // 2)
    async with place.http_client() as http:
        answer = await http.get(endpoints.OHLC, params={"pair": "XBTUSD", "interval": 15})
    rows = answer.json()["result"]["XXBTZUSD"]
    assert [row[0] * SECOND_US - START for row in rows[-2:]] == [0, CANDLE_US]
    assert (rows[-1][1:5], rows[-1][6]) == (["60900.0"] * 4, "0.0")
    nursery.cancel_scope.cancel()


async def test_public_spot_calls_answer_in_krakens_envelope(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Time, status, pairs and ticker; unknown pairs and intervals are errors of the envelope."""
    place = await running(nursery, START)
    async with place.http_client() as http:
        assert spot.parse_time((await http.get(endpoints.TIME)).content) == START
        assert spot.parse_system_status((await http.get(endpoints.SYSTEM_STATUS)).content) == "online"
        pairs = spot.parse_asset_pairs((await http.get(endpoints.ASSET_PAIRS)).content).values
        assert [(pair.name, pair.symbol) for pair in pairs] == [("XXBTZUSD", "BTC/USD"), ("XETHZUSD", "ETH/USD")]
        ticker = (await http.get("/0/public/Ticker", params={"pair": "XBTUSD"})).json()
        assert ticker["result"]["XXBTZUSD"]["c"][0] == "60000.0"
        for path, params, error in (
            (endpoints.OHLC, {"pair": "NONE"}, "EQuery:Unknown asset pair"),
            (endpoints.OHLC, {"pair": "XBTUSD", "interval": "7"}, "EGeneral:Invalid arguments"),
            ("/0/public/Nothing", {}, "EGeneral:Unknown method"),
        ):
            assert (await http.get(path, params=params)).json()["error"] == [error]
    nursery.cancel_scope.cancel()


async def test_ticker_and_trades_by_stream_and_by_rest(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A snapshot, then one of each a second; REST has the same trades, and pages on with `last`."""
    place = await running(nursery, START + MINUTE_US)
    async with place.connect(endpoints.SPOT_WS_PATH) as stream, place.http_client() as http:
        for channel in ("ticker", "trade"):
            await say(stream, spot.write_spot_subscribe(["BTC/USD"], 1, channel=channel))
            assert (await hear_until(stream, method="subscribe"))["result"]["channel"] == channel
        trades = spot.parse_spot_frame(await stream.get_message(), 0)
        if not isinstance(trades, spot.Trades):
            trades = spot.parse_spot_frame(await stream.get_message(), 0)
        assert isinstance(trades, spot.Trades)
        assert (len(trades.trades), trades.snapshot) == (50, True)
        ticker = spot.parse_spot_frame(await stream.get_message(), 0)
        assert isinstance(ticker, spot.Tickers)
        assert (ticker.tickers[0].last, ticker.tickers[0].volume) == (60_061, 86_400)
        assert ticker.tickers[0].bid < ticker.tickers[0].last < ticker.tickers[0].ask
        live = spot.parse_spot_frame(await stream.get_message(), 0)
        assert isinstance(live, spot.Trades)
        first = await http.get(
            endpoints.SPOT_TRADES, params={"pair": "XBTUSD", "since": START // SECOND_US, "count": 30}
        )
        page = spot.parse_trades(first.content, "BTC/USD")
        rest = await http.get(endpoints.SPOT_TRADES, params={"pair": "XBTUSD", "since": page.last})
        again = spot.parse_trades(rest.content, "BTC/USD")
        by_rest = await http.get(endpoints.SPOT_TICKER, params={"pair": "XBTUSD"})
        for query in ({}, {"pair": "XBTUSD", "since": "x"}):
            assert (await http.get(endpoints.SPOT_TRADES, params=query)).json()["error"]
    assert [t.trade_id for t in page.trades] == [START // SECOND_US + n for n in range(1, 31)]
    assert (again.trades[0].trade_id, again.trades[-1]) == (page.trades[-1].trade_id + 1, live.trades[0])
    row = by_rest.json()["result"]["XXBTZUSD"]
    assert (row["c"][0], row["v"][0], row["t"][0]) == ("60061.0", "86400.0", 96)
    assert spot.parse_ticker(by_rest.content, "BTC/USD").last == 60_061
    nursery.cancel_scope.cancel()


async def test_refused_subscriptions_say_why(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Pair, interval, repetition, nonsense; a ping is answered with its id."""
    place = await running(nursery, START)
    async with place.connect(endpoints.SPOT_WS_PATH) as stream:
        await subscribe(stream, ["BTC/USD"])
        for request, error in (
            (spot.write_spot_subscribe(["XBT/USD"], 1), "Currency pair not supported XBT/USD"),
            (spot.write_spot_subscribe(["ETH/USD"], 1, interval=7), "Subscription ohlc interval not supported"),
            (spot.write_spot_subscribe(["BTC/USD"], 1), "Already subscribed"),
            (spot.write_spot_subscribe(["BTC/USD"], 1, channel="book"), "Channel not supported book"),
            ({"method": "dance"}, "Malformed request"),
        ):
            await say(stream, request)
            assert (await hear_until(stream, success=False))["error"] == error
        await say(stream, spot.write_spot_ping(101))
        assert (await hear_until(stream, method="pong"))["req_id"] == 101
    nursery.cancel_scope.cancel()


async def test_a_heartbeat_comes_only_when_nothing_else_is_said(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """With a tick a minute there is one a second in between."""
    place = await running(nursery, START, tick_s=60)
    async with place.connect(endpoints.SPOT_WS_PATH) as stream:
        await subscribe(stream, ["BTC/USD"])
        assert [await hear(stream) for _ in range(3)] == [{"channel": "heartbeat"}] * 3
        assert (await hear_until(stream, channel="ohlc"))["data"][0]["symbol"] == "BTC/USD"
    nursery.cancel_scope.cancel()


async def test_after_unsubscribing_nothing_comes(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Neither candles nor heartbeats."""
    place = await running(nursery, START)
    async with place.connect(endpoints.SPOT_WS_PATH) as stream:
        await subscribe(stream, ["BTC/USD"])
        await say(stream, {"method": "unsubscribe", "params": {"channel": "ohlc", "symbol": ["BTC/USD"]}})
        await hear_until(stream, method="unsubscribe")
        with trio.move_on_after(10) as silence:
            await hear(stream)
        assert silence.cancelled_caught
    nursery.cancel_scope.cancel()


def test_no_two_moments_are_the_same_and_their_order_is_fixed() -> None:
    """Funding at full hours, then ticks, then candles, a microsecond apart; heartbeats come last at each exchange."""
    futures, candles = moments(2, 2, funding=True, moves=True)
    assert futures == ((0, "funding", 0), (0, "tick", 0), (1, "tick", 1), (1, "futures beat", 0))
    assert candles == ((2, "candle", 0), (3, "candle", 1), (3, "spot beat", 0))
    assert [m.kind for m in moments(2, 2, funding=False, moves=True)[0]] == ["tick", "tick", "futures beat"]
    still = moments(2, 2, funding=True, moves=False)
    assert [[m.kind for m in half] for half in still] == [["futures beat"], ["spot beat"]]
    rare = moments(2, 2, funding=False, moves=True, trades=False, beats=False)
    assert [[m.kind for m in half] for half in rare] == [["tick", "tick"], []]


def test_a_tick_that_candles_do_not_end_on_is_refused() -> None:
    """The grid has to hit every boundary."""
    assert tick_us(60) == MINUTE_US
    with pytest.raises(ValueError, match="7 s"):
        tick_us(7)

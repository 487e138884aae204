"""ccxt's krakenfutures, which nobody here wrote, pointed at `venue serve`: REST and WebSocket, unchanged but for its addresses."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from itertools import pairwise
from typing import Any

import ccxt
import ccxt.pro
import httpx
import pytest
from servers import Server

LINEAR, INVERSE = "BTC/USD:USD", "BTC/USD:BTC"
# ccxt asks aiohttp for what Python 3.13 does by itself, and aiohttp says so.
pytestmark = pytest.mark.filterwarnings("ignore:enable_cleanup_closed ignored:DeprecationWarning")


def pointed(client: Any, server: Server) -> Any:
    """The client with this server's addresses in place of Kraken's."""
    api = f"{server.address}/derivatives/api/"
    client.urls["api"].update(
        public=api,
        private=api,
        charts=f"{server.address}/api/charts/",
        history=f"{server.address}/api/history/",
        ws=f"ws://{server.host}/ws/v1",
    )
    return client


@pytest.fixture(scope="module")
def exchange(server: Server) -> Iterator[Any]:
    """ccxt with the key that trades; it throttles itself no further than Kraken asks."""
    client = pointed(
        ccxt.krakenfutures({"apiKey": server.key, "secret": server.secret, "enableRateLimit": False}), server
    )
    client.load_markets()
    yield client
    client.session.close()


@pytest.fixture(autouse=True)
def flat(exchange: Any) -> Iterator[None]:
    """Every test leaves neither order nor position behind."""
    yield
    exchange.cancel_all_orders()
    for position in exchange.fetch_positions():
        side = "sell" if position["side"] == "long" else "buy"
        exchange.create_order(position["symbol"], "market", side, position["contracts"], None, {"reduceOnly": True})


def test_the_markets_are_read_with_their_rules(exchange: Any) -> None:
    """Two linear and two inverse perpetuals with tick, lot, margin levels and fees."""
    market = exchange.market(LINEAR)
    assert (market["id"], market["linear"], market["precision"]) == (
        "PF_XBTUSD",
        True,
        {"amount": 0.0001, "price": 1.0},
    )
    assert exchange.market(INVERSE)["inverse"]
    tiers = exchange.fetch_leverage_tiers([LINEAR])[LINEAR]
    assert (tiers[0]["maxLeverage"], tiers[1]["minNotional"]) == (50.0, 1_000_000.0)
    assert exchange.fetch_trading_fees()[LINEAR]["taker"] == 0.0005


def test_prices_book_trades_candles_and_funding(exchange: Any) -> None:
    """Public data have the sense they have on Kraken."""
    ticker = exchange.fetch_ticker(LINEAR)
    assert ticker["bid"] < ticker["markPrice"] < ticker["ask"]
    assert ticker["baseVolume"] > 0
    book = exchange.fetch_order_book(LINEAR)
    assert book["bids"][0][0] < book["asks"][0][0]
    assert book["bids"] == sorted(book["bids"], reverse=True)
    for method in ("historyGetMarketSymbolExecutions", "publicGetHistory"):
        trades = exchange.fetch_trades(LINEAR, limit=5, params={"method": method})
        assert [t["timestamp"] for t in trades] == sorted(t["timestamp"] for t in trades)
        assert trades[-1]["amount"] > 0
    since = ticker["timestamp"] - ticker["timestamp"] % 3_600_000 - 10 * 3_600_000
    candles = exchange.fetch_ohlcv(LINEAR, "1h", since=since, limit=5)
    assert [row[0] for row in candles] == [since + hour * 3_600_000 for hour in range(len(candles))]
    assert all(low <= min(open_, close) <= max(open_, close) <= high for _, open_, high, low, close, _ in candles)
    rates = exchange.fetch_funding_rate_history(LINEAR)
    assert rates[1]["timestamp"] - rates[0]["timestamp"] == 3_600_000
    assert exchange.fetch_funding_rates()[LINEAR]["fundingRate"] is not None


def test_the_balance_is_the_dollar_account(exchange: Any) -> None:
    """ccxt's default account is `flex`; the coin account of the inverse contract is there too."""
    assert exchange.fetch_balance()["USD"]["total"] > 9_000
    accounts = exchange.privateGetAccounts()["accounts"]
    assert float(accounts["fi_xbtusd"]["balances"]["xbt"]) == pytest.approx(10, rel=0.01)


def test_an_order_is_placed_edited_seen_and_cancelled(exchange: Any) -> None:
    """By the exchange's id; a second cancellation finds nothing."""
    placed = exchange.create_order(LINEAR, "limit", "buy", 0.01, 50_000, {"clientOrderId": "ccxt-limit"})
    assert (placed["status"], placed["clientOrderId"], placed["remaining"]) == ("open", "ccxt-limit", 0.01)
    edited = exchange.edit_order(placed["id"], LINEAR, "limit", "buy", 0.02, 51_000)
    assert edited["id"] == placed["id"]
    (resting,) = exchange.fetch_open_orders(LINEAR)
    assert (resting["remaining"], float(resting["info"]["limitPrice"])) == (0.02, 51_000)
    assert exchange.fetch_order(placed["id"], LINEAR)["status"] == "open"
    assert exchange.cancel_order(placed["id"], LINEAR)["status"] == "canceled"
    assert placed["id"] in [order["id"] for order in exchange.fetch_canceled_orders()]
    with pytest.raises(ccxt.OrderNotFound):
        exchange.cancel_order(placed["id"], LINEAR)


def test_a_position_with_stop_and_target_and_its_way_out(exchange: Any) -> None:
    """Entry, stop on mark and reduce-only, target on index, fills, then a reduce-only exit; leftovers go with cancel all."""
    entry = exchange.create_order(LINEAR, "market", "buy", 0.05)
    assert (entry["status"], entry["filled"]) == ("closed", 0.05)
    (position,) = exchange.fetch_positions([LINEAR])
    assert (position["side"], position["contracts"], position["entryPrice"]) == ("long", 0.05, entry["average"])
    stop = exchange.create_order(
        LINEAR,
        "market",
        "sell",
        0.05,
        None,
        {"stopLossPrice": 60_000, "triggerSignal": "mark", "clientOrderId": "ccxt-stop"},
    )
    target = exchange.create_order(
        LINEAR, "market", "sell", 0.05, None, {"takeProfitPrice": 150_000, "triggerSignal": "index"}
    )
    resting = {order["id"]: order["info"] for order in exchange.fetch_open_orders(LINEAR)}
    assert (resting[stop["id"]]["triggerSignal"], resting[stop["id"]]["reduceOnly"]) == ("mark", True)
    assert (resting[target["id"]]["orderType"], resting[target["id"]]["triggerSignal"]) == ("take_profit", "spot")
    with pytest.raises(ccxt.DuplicateOrderId):
        exchange.create_order(LINEAR, "limit", "sell", 0.05, 90_000, {"clientOrderId": "ccxt-stop"})
    out = exchange.create_order(LINEAR, "market", "sell", 0.08, None, {"reduceOnly": True})
    assert out["filled"] == 0.05
    assert exchange.fetch_positions([LINEAR]) == []
    assert {trade["side"] for trade in exchange.fetch_my_trades(LINEAR)[-2:]} == {"buy", "sell"}
    assert len(exchange.cancel_all_orders(LINEAR)) == 2
    assert "trade" in {entry["type"] for entry in exchange.fetch_ledger("USD")[-3:]}
    assert {row["info"]["positionChange"] for row in exchange.fetch_positions_history([LINEAR])} >= {"open", "close"}


def test_refusals_become_ccxts_own_errors(exchange: Any, server: Server) -> None:
    """The words match, so ccxt knows each of them: funds, post-only, immediate, key, rate."""
    refusals: list[tuple[type[Exception], tuple[Any, ...]]] = [
        (ccxt.InsufficientFunds, (LINEAR, "market", "buy", 100)),
        (ccxt.OrderImmediatelyFillable, (LINEAR, "limit", "sell", 0.01, 1_000, {"postOnly": True})),
        (ccxt.OrderNotFillable, (LINEAR, "limit", "buy", 0.01, 1_000, {"timeInForce": "ioc"})),
        (ccxt.ExchangeError, (LINEAR, "market", "sell", 0.01, None, {"reduceOnly": True})),
    ]
    for error, order in refusals:
        with pytest.raises(error):
            exchange.create_order(*order)
    reader = pointed(ccxt.krakenfutures({"apiKey": server.reading_key, "secret": server.reading_secret}), server)
    assert reader.fetch_open_orders() == []
    with pytest.raises(ccxt.AuthenticationError):
        reader.create_order(LINEAR, "market", "buy", 0.01)
    reader.session.close()


def test_batches_and_the_dead_mans_switch(exchange: Any) -> None:
    """Two orders in one call, one of them cancelled in another; the switch takes the other with it."""
    orders = [
        {"symbol": LINEAR, "type": "limit", "side": "buy", "amount": 0.01, "price": price} for price in (40_000, 41_000)
    ]
    first, second = exchange.create_orders(orders)
    (gone,) = exchange.cancel_orders([first["id"]], LINEAR)
    assert gone["status"] == "canceled"
    exchange.cancel_all_orders_after(1_000)
    looks = 0
    while exchange.fetch_open_orders(LINEAR):
        looks += 1
        assert looks < 500, "the switch never fired"
    assert exchange.fetch_order(second["id"], LINEAR)["status"] == "canceled"


def test_an_inverse_contract_trades_in_its_own_account(exchange: Any) -> None:
    """Size in dollars, profit in coin, and the dollar account is not touched."""
    dollars = exchange.fetch_balance()["USD"]["total"]
    exchange.create_order(INVERSE, "market", "buy", 1_000)
    (position,) = exchange.fetch_positions([INVERSE])
    assert (position["contracts"], position["info"]["pnlCurrency"]) == (1_000, "XBT")
    assert abs(position["unrealizedPnl"]) < 0.001
    assert exchange.fetch_balance()["USD"]["total"] == dollars


def test_a_fault_that_was_switched_on_reaches_the_client(exchange: Any, server: Server) -> None:
    """429 is a rate limit to ccxt; when the switch is cleared everything is as before."""
    control = f"{server.address}/control/faults"
    plan = "faults: [{fault: rest.limit, budget: 0, window_s: 10, ban_s: 60}]"
    assert httpx.post(control, content=plan).status_code == 200
    with pytest.raises(ccxt.NetworkError):
        for _ in range(3):
            exchange.fetch_open_orders(LINEAR)
    shown = httpx.get(control).json()
    assert ([row["fault"] for row in shown["active"]], shown["struck"]["rest.limit"] > 0) == (["rest.limit"], True)
    httpx.delete(control)
    assert exchange.fetch_open_orders(LINEAR) == []
    assert httpx.post(control, content="faults: [{fault: none.such}]").json()["error"].startswith("faults[1].fault")


def test_the_spot_market_through_ccxts_kraken(server: Server) -> None:
    """Markets, ticker, trades, candles, time and status of the other exchange."""
    spot = ccxt.kraken({"enableRateLimit": False})
    spot.urls["api"].update(public=server.address, private=server.address)
    assert set(spot.load_markets()) == {"BTC/USD", "ETH/USD"}
    ticker = spot.fetch_ticker("BTC/USD")
    assert ticker["low"] <= ticker["bid"] < ticker["last"] < ticker["ask"]
    trades = spot.fetch_trades("BTC/USD", limit=10)
    assert [trade["timestamp"] for trade in trades] == sorted({trade["timestamp"] for trade in trades})
    candles = spot.fetch_ohlcv("BTC/USD", "15m", limit=10)
    assert {later[0] - row[0] for row, later in pairwise(candles)} == {900_000}
    assert abs(spot.fetch_time() - trades[-1]["timestamp"]) < 600_000
    assert spot.fetch_status()["status"] == "ok"
    spot.session.close()


def watching(server: Server, watch: Callable[[Any], Coroutine[Any, Any, None]]) -> None:
    """Run ccxt.pro against the server; its asyncio is its own affair."""

    async def main() -> None:
        terms = {"apiKey": server.key, "secret": server.secret, "enableRateLimit": False}
        client = pointed(ccxt.pro.krakenfutures(terms), server)
        try:
            await asyncio.wait_for(watch(client), 40)
        finally:
            await client.close()

    asyncio.run(main())


def test_public_streams_through_ccxt_pro(server: Server) -> None:
    """Ticker, best prices, a book that changes, trades."""

    async def watch(client: Any) -> None:
        ticker = await client.watch_ticker(LINEAR)
        assert ticker["bid"] < ticker["ask"]
        assert (await client.watch_bids_asks([LINEAR]))[LINEAR]["bid"] > 0
        snapshot = dict((await client.watch_order_book(LINEAR))["bids"])
        book = await client.watch_order_book(LINEAR)
        assert book["bids"][0][0] < book["asks"][0][0]
        assert dict(book["bids"]) != snapshot
        assert (await client.watch_trades(LINEAR))[-1]["price"] > 0

    watching(server, watch)


def test_private_streams_through_ccxt_pro(server: Server) -> None:
    """After the challenge: balance, then order, fill and position of an order that ccxt itself places."""

    async def watch(client: Any) -> None:
        assert (await client.watch_balance())["info"]["feed"].startswith("balances")
        streams = [
            asyncio.create_task(stream())
            for stream in (client.watch_my_trades, client.watch_positions, client.watch_orders)
        ]
        await asyncio.sleep(0.5)
        order = await client.create_order(LINEAR, "limit", "buy", 0.01, 45_000)
        resting = await streams[2]
        assert order["id"] in [row["id"] for row in resting]
        await client.create_order(LINEAR, "market", "buy", 0.02)
        for _ in range(20):
            positions = client.positions or []
            found = [p for p in positions if p["symbol"] == LINEAR and p["contracts"] == 0.02]
            if found and client.myTrades:
                break
            await asyncio.sleep(0.1)
        assert found[0]["liquidationPrice"] is not None
        assert client.myTrades[-1]["amount"] == 0.02
        for stream in streams:
            stream.cancel()

    watching(server, watch)

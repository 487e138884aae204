"""python-kraken-sdk, which nobody here wrote, pointed at `venue serve`: its futures clients and its WebSocket client."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import kraken.futures.websocket as sdk_websocket
import pytest
from kraken.exceptions import KrakenAuthenticationError
from kraken.futures import Funding, FuturesWSClient, Market, Trade, User
from servers import Server

SYMBOL = "PF_XBTUSD"


def test_market_data(server: Server) -> None:
    """Every call of its market client that Kraken still has."""
    market = Market(url=server.address)
    assert SYMBOL in [row["symbol"] for row in market.get_instruments()["instruments"]]
    assert market.get_instruments_status(SYMBOL)["tradeable"] == SYMBOL
    assert {row["symbol"] for row in market.get_tickers()["tickers"]} >= {SYMBOL, "PI_XBTUSD"}
    assert market.get_orderbook(SYMBOL)["orderBook"]["bids"]
    assert len(market.get_trade_history(SYMBOL)["history"]) == 100
    assert market.get_tick_types()["tickTypes"] == ["spot", "mark", "trade"]
    assert SYMBOL in market.get_tradeable_products("mark")["symbols"]
    assert "1h" in market.get_resolutions("trade", SYMBOL)["resolutions"]
    candles = market.get_ohlc("trade", SYMBOL, "1h", 1_767_225_600, 1_767_240_000)["candles"]
    assert [row["time"] for row in candles] == [1_767_225_600_000 + hour * 3_600_000 for hour in range(4)]
    assert market.get_public_execution_events(SYMBOL)["elements"]
    assert Funding(url=server.address).get_historical_funding_rates(SYMBOL)["rates"]


def test_an_orders_life_with_nonces(server: Server) -> None:
    """This client signs every call with a nonce: place, stop, edit, status, trailing stop, batch, switch, cancel all, fills."""
    trade, user = (kind(server.key, server.secret, url=server.address) for kind in (Trade, User))
    sent = trade.create_order("mkt", 0.01, SYMBOL, "buy")["sendStatus"]
    (event,) = sent["orderEvents"]
    assert (sent["status"], event["type"], event["orderPriorExecution"]["type"]) == ("placed", "EXECUTION", "ioc")
    assert trade.get_fills()["fills"][0]["fill_id"] == event["executionId"]
    assert [row["size"] for row in user.get_open_positions()["openPositions"] if row["symbol"] == SYMBOL] == [0.01]

    stop = {"stopPrice": 60_000, "triggerSignal": "mark", "reduceOnly": True, "cliOrdId": "sdk-stop"}
    trigger = trade.create_order("stp", 0.01, SYMBOL, "sell", **stop)["sendStatus"]["orderEvents"][0]["orderTrigger"]
    assert (trigger["triggerSide"], trigger["triggerSignal"]) == ("trigger_below", "mark_price")
    (edit,) = trade.edit_order(cliOrdId="sdk-stop", stopPrice=61_000, size=0.01)["editStatus"]["orderEvents"]
    assert (edit["old"]["stopPrice"], edit["new"]["stopPrice"]) == (60_000, 61_000)
    (status,) = trade.get_orders_status(cliOrdIds=["sdk-stop"])["orders"]
    assert (status["status"], status["order"]["priceTriggerOptions"]["triggerPrice"]) == ("TRIGGER_PLACED", 61_000)
    trailing = {"trailingStopMaxDeviation": 5, "trailingStopDeviationUnit": "PERCENT", "triggerSignal": "mark"}
    trade.create_order("trailing_stop", 0.01, SYMBOL, "sell", reduceOnly=True, **trailing)
    assert [row["orderType"] for row in user.get_open_orders()["openOrders"]] == ["stop", "trailing_stop"]

    limit = {
        "orderType": "lmt",
        "symbol": SYMBOL,
        "side": "buy",
        "size": 0.01,
        "limitPrice": 50_000,
        "cliOrdId": "sdk-limit",
    }
    batch = [{"order": "send", "order_tag": "1", **limit}, {"order": "cancel", "cliOrdId": "sdk-stop"}]
    rows = trade.create_batch_order(batch)["batchStatus"]
    assert [row["status"] for row in rows] == ["placed", "cancelled"]
    assert trade.dead_mans_switch(60)["status"]["triggerTime"] != "0"
    assert trade.dead_mans_switch(0)["status"]["triggerTime"] == "0"
    assert len(trade.cancel_all_orders(SYMBOL)["cancelStatus"]["cancelledOrders"]) == 2
    assert trade.create_order("mkt", 0.01, SYMBOL, "sell", reduceOnly=True)["sendStatus"]["status"] == "placed"
    assert user.get_open_positions()["openPositions"] == []


def test_the_account_and_its_history(server: Server) -> None:
    """Wallets, notifications; what a trade and a stop leave behind: account log as JSON and csv, executions, orders, triggers."""
    trade = Trade(server.key, server.secret, url=server.address)
    trade.create_order("mkt", 0.01, SYMBOL, "buy")
    trade.create_order("stp", 0.01, SYMBOL, "sell", stopPrice=60_000, triggerSignal="mark", reduceOnly=True)
    trade.create_order("mkt", 0.01, SYMBOL, "sell", reduceOnly=True)
    trade.cancel_all_orders(SYMBOL)
    user = User(server.reading_key, server.reading_secret, url=server.address)
    assert user.get_wallets()["accounts"]["flex"]["type"] == "multiCollateralMarginAccount"
    assert user.get_notifications()["notifications"]
    assert {row["info"] for row in user.get_account_log()["logs"]} >= {"futures trade"}
    assert user.get_account_log_csv().text.startswith("id,date,asset")
    for events in (user.get_execution_events, user.get_order_events, user.get_trigger_events):
        assert events()["elements"]


def test_preferences_are_kept(server: Server) -> None:
    """PUT with the parameters in the query; leaving the leverage out takes it back."""
    market = Market(server.key, server.secret, url=server.address)
    market.set_leverage_preference(SYMBOL, 3)
    assert market.get_leverage_preference()["leveragePreferences"] == [{"symbol": SYMBOL, "maxLeverage": 3}]
    market.set_leverage_preference(SYMBOL)
    assert market.get_leverage_preference()["leveragePreferences"] == []
    market.set_pnl_preference(SYMBOL, "USD")
    assert market.get_pnl_preference()["preferences"] == [{"symbol": SYMBOL, "pnlCurrency": "USD"}]


def test_a_wrong_secret_is_its_authentication_error(server: Server) -> None:
    """It raises by the word in the envelope."""
    with pytest.raises(KrakenAuthenticationError):
        User(server.key, server.reading_secret, url=server.address).get_wallets()


def test_every_feed_of_its_websocket_client(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """It always asks for TLS, so its connect function is given another scheme; nothing else of it is changed."""
    connect = sdk_websocket.connect
    monkeypatch.setattr(sdk_websocket, "connect", lambda url, **terms: connect(url.replace("wss://", "ws://"), **terms))
    public, private = ("ticker", "ticker_lite", "trade", "book"), (
        "open_orders", "open_orders_verbose", "fills", "open_positions", "balances", "account_log", "notifications_auth",
    )  # fmt: skip
    heard: Counter[str] = Counter()

    class Client(FuturesWSClient):  # type: ignore[misc]
        async def on_message(self, message: dict[str, Any]) -> None:
            heard[str(message.get("feed"))] += message.get("event") is None

    async def main() -> None:
        client = Client(server.key, server.secret, url=f"{server.host}/ws/v1")
        await client.start()
        for feed in public:
            await client.subscribe(feed, [SYMBOL])
        for feed in (*private, "heartbeat"):
            await client.subscribe(feed)
        wanted = {"ticker", "ticker_lite", "trade", "trade_snapshot", "book_snapshot", "heartbeat", "open_positions",
                  "notifications_auth", "fills_snapshot", "balances_snapshot", "open_orders_snapshot",
                  "open_orders_verbose_snapshot", "account_log_snapshot"}  # fmt: skip
        for _ in range(100):
            if wanted <= set(+heard):
                break
            await asyncio.sleep(0.1)
        assert wanted <= set(+heard)
        await client.close()

    asyncio.run(main())

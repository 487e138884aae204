"""One payload of every kind the system reads, written with values of our own, and how it is read."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from protocol.kraken import account, batch, futures_rest, futures_ws, markets, orders, spot, spot_market
from protocol.messages.base import from_edge
from protocol.messages.futures import (
    Account,
    AccountSeen,
    CancelOrder,
    EditOrder,
    Fill,
    Instrument,
    OpenOrder,
    OrderSeen,
    PlaceOrder,
    Position,
    PositionsSeen,
    TickerSeen,
)
from protocol.messages.spot import CandleSeen

AT = 1_767_571_200_000_000
ONE = Decimal(1)
ORDER = OpenOrder(
    order_id="o", client_order_id="c", symbol="PF_XBTUSD", side="buy", order_type="stp", size=ONE, filled=ONE,
    limit_price=ONE, stop_price=ONE, reduce_only=True, trigger="mark",
)  # fmt: skip
FILL = Fill(
    fill_id="f", order_id="o", client_order_id="c", symbol="PF_XBTUSD", side="buy", size=ONE, price=ONE, time=AT,
    fill_type="taker", fee_usd=ONE,
)  # fmt: skip
POSITION = Position(symbol="PF_XBTUSD", size=ONE, entry_price=ONE, liquidation_price=ONE, margin_usd=ONE)
ACCOUNT = Account(
    equity_usd=ONE, balance_usd=ONE, available_margin_usd=ONE, initial_margin_usd=ONE, maintenance_margin_usd=ONE
)
PLACE = from_edge(
    PlaceOrder, AT, client_order_id="c", signal_id="", role="entry", symbol="PF_XBTUSD", side="buy", order_type="mkt",
    size=ONE,
)  # fmt: skip
TICKER = from_edge(
    TickerSeen, AT, symbol="PF_XBTUSD", mark=ONE, index=ONE, bid=ONE, ask=ONE, last=ONE, funding_rate=ONE,
    suspended=False, post_only=False, time=AT,
)  # fmt: skip
CANDLE = from_edge(
    CandleSeen, AT, symbol="BTC/USD", timeframe="15m", open_time_ms=AT // 1000, open=1.0, high=1.0, low=1.0, close=1.0,
    volume=1.0, final=True,
)  # fmt: skip


EDIT = from_edge(EditOrder, AT, client_order_id="c", role="stop", symbol="PF_XBTUSD", size=ONE, stop_price=ONE)
CANCEL = from_edge(CancelOrder, AT, symbol="PF_XBTUSD", order_id="o")
INSTRUMENT = Instrument(
    symbol="PF_XBTUSD", tick=ONE, lot=ONE, max_position=ONE, contract_size=ONE, inverse=False, tradeable=True,
    margin_levels=((Decimal(0), Decimal("0.02"), Decimal("0.01")),), max_relative_funding_rate=ONE,
)  # fmt: skip
PAIR = spot.AssetPair(name="XXBTZUSD", altname="XBTUSD", wsname="XBT/USD", pair_decimals=1, lot_decimals=8)
SPOT_TICKER = spot_market.SpotTicker(symbol="BTC/USD", bid=ONE, ask=ONE, last=ONE, volume=ONE, time=AT)
SPOT_TRADE = spot_market.SpotTrade(
    symbol="BTC/USD", trade_id=7, side="sell", price=ONE, size=ONE, kind="market", time=AT
)
BOOK = markets.Book(symbol="PF_XBTUSD", bids=((ONE, ONE),), asks=((Decimal(2), ONE),), sequence=4, time=AT)
CHANGE = markets.BookChange(symbol="PF_XBTUSD", side="buy", price=ONE, size=Decimal(0), sequence=5, time=AT)
TRADE = markets.Trade(symbol="PF_XBTUSD", trade_id="u", side="buy", price=ONE, size=ONE, kind="fill", time=AT)
RATE = markets.FundingRate(time=AT, absolute=ONE, relative=Decimal("-0.00001"))
FEES = markets.FeeSchedule(
    uid="u", name="n", tiers=(markets.FeeTier(from_volume_usd=Decimal(0), maker_pct=ONE, taker_pct=ONE),)
)
STATUS = markets.InstrumentStatus(
    symbol="PF_XBTUSD", dislocated=True, dislocation="ABOVE_UPPER_BOUND", volatile=False, margin_multiplier=ONE
)
NOTICE = markets.Notice(kind="maintenance", priority="high", text="soon", effective=AT, downtime_minutes=15)
CHART_CANDLE = markets.ChartCandle(open_time_ms=AT // 1000, open=1.0, high=2.0, low=0.5, close=1.5, volume=0.0)
LITE = markets.Lite(symbol="PF_XBTUSD", bid=ONE, ask=ONE)
ENTRY = account.LogEntry(
    entry_id=9, time=AT, asset="usd", info="funding rate change", contract="pf_xbtusd", old_balance=ONE,
    new_balance=ONE, realized_funding=ONE,
)  # fmt: skip
ORDER_STATUS = futures_rest.OrderStatus(
    order_id="o", client_order_id="c", symbol="PF_XBTUSD", filled=ONE, status="ENTERED_BOOK", reason=None, error=None
)


def answer() -> dict[str, object]:
    """An order that traded at once."""
    said = orders.answered(PLACE, AT, "placed", "placed", order_id="o")
    return orders.write_answer(PLACE, said, [FILL], AT)


def frame(data: bytes) -> object:
    """A futures frame, with an order that was shown."""
    return futures_ws.parse_futures_frame(data, AT, {"o": ORDER})


def batch_answer() -> dict[str, object]:
    """A placement and a cancellation."""
    placed = orders.answered(PLACE, AT, "placed", "placed", order_id="o")
    cancelled = orders.answered(CANCEL, AT, "cancelled", "cancelled", order_id="o")
    rows = [batch.write_batch_row(PLACE, placed, [FILL], AT, tag="0"), batch.write_batch_row(CANCEL, cancelled, [], AT)]
    return batch.write_batch_answer(rows, AT)


def edited() -> dict[str, object]:
    """An edit that was carried out."""
    return orders.write_answer(EDIT, orders.answered(EDIT, AT, "edited", "edited", order_id="o"), [], AT)


def cancelled() -> dict[str, object]:
    """A cancellation that was carried out."""
    return orders.write_answer(CANCEL, orders.answered(CANCEL, AT, "cancelled", "cancelled", order_id="o"), [], AT)


def _spot(data: Any) -> object:
    return spot.parse_spot_frame(data, AT)


READERS: dict[str, tuple[dict[str, object], Callable[[bytes], object]]] = {
    "ohlc": (spot.write_ohlc("XXBTZUSD", [CANDLE]), lambda data: spot.parse_ohlc(data, "BTC/USD", "15m", AT)),
    "time": (spot.write_time(AT), spot.parse_time),
    "candles": (spot.write_spot_candles([CANDLE], AT), lambda data: spot.parse_spot_frame(data, AT)),
    "acknowledged": (
        spot.write_spot_subscribed("BTC/USD", 15, 1, AT),
        lambda data: spot.parse_spot_frame(data, AT),
    ),
    "status": (spot.write_spot_status("online", 1), lambda data: spot.parse_spot_frame(data, AT)),
    "asking spot": (spot.write_spot_subscribe(["BTC/USD"], 1), spot.parse_spot_request),
    "openorders": (futures_rest.write_open_orders([ORDER], AT), futures_rest.parse_open_orders),
    "openpositions": (futures_rest.write_open_positions([POSITION], AT), futures_rest.parse_open_positions),
    "fills": (futures_rest.write_fills([FILL], AT), futures_rest.parse_fills),
    "accounts": (futures_rest.write_accounts(ACCOUNT, AT), futures_rest.parse_accounts),
    "tickers": (futures_rest.write_tickers([TICKER], AT), lambda data: futures_rest.parse_tickers(data, AT)),
    "answer": (answer(), lambda data: orders.parse_answer(PLACE, data, AT)),
    "cancel all": (orders.write_cancel_all(["o"], None, AT), orders.parse_cancel_all),
    "ticker": (futures_ws.write_ticker(TICKER), frame),
    "order": (
        futures_ws.write_order(from_edge(OrderSeen, AT, order=ORDER, open=True, reason="x")),
        frame,
    ),
    "order gone": (
        futures_ws.write_order_gone(from_edge(OrderSeen, AT, order=ORDER, open=False, reason="x")),
        frame,
    ),
    "orders snapshot": (futures_ws.write_orders_snapshot([ORDER], AT), frame),
    "fills frame": (futures_ws.write_fills_frame([FILL]), frame),
    "positions": (
        futures_ws.write_positions(from_edge(PositionsSeen, AT, positions=(POSITION,), sequence=1)),
        frame,
    ),
    "balances": (futures_ws.write_balances(from_edge(AccountSeen, AT, account=ACCOUNT, sequence=1)), frame),
    "heartbeat": (futures_ws.write_heartbeat(AT), frame),
    "subscribed": (futures_ws.write_subscribed("ticker", ["PF_XBTUSD"]), frame),
    "asking futures": (futures_ws.write_subscribe("ticker", ["PF_XBTUSD"]), futures_ws.parse_futures_request),
    "system status": (spot.write_system_status("online", AT), spot.parse_system_status),
    "asset pairs": (spot.write_asset_pairs([PAIR]), spot.parse_asset_pairs),
    "spot refused": (spot.write_spot_error("EGeneral:Too many requests"), spot.parse_time),
    "spot ticker": (spot.write_tickers({"XXBTZUSD": SPOT_TICKER}), lambda data: spot.parse_ticker(data, "BTC/USD")),
    "spot trades": (spot.write_trades("XXBTZUSD", [SPOT_TRADE]), lambda data: spot.parse_trades(data, "BTC/USD")),
    "spot ticker frame": (spot.write_spot_tickers([SPOT_TICKER]), _spot),
    "spot trade frame": (spot.write_spot_trades([SPOT_TRADE]), _spot),
    "spot heartbeat": (spot.write_spot_heartbeat(), _spot),
    "spot pong": (spot.write_spot_pong(1, AT), _spot),
    "spot refusal frame": (spot.write_spot_refusal("Malformed request", "BTC/USD", 1, AT), _spot),
    "asking spot to ping": (spot.write_spot_ping(1), spot.parse_spot_request),
    "instruments": (futures_rest.write_instruments([INSTRUMENT], AT), futures_rest.parse_instruments),
    "orders status": (futures_rest.write_orders_status([ORDER_STATUS], AT), futures_rest.parse_orders_status),
    "refused": (futures_rest.write_error("apiLimitExceeded", AT), futures_rest.parse_open_orders),
    "server time": (futures_rest.write_success(AT), futures_rest.parse_server_time),
    "edit answer": (edited(), lambda data: orders.parse_answer(EDIT, data, AT)),
    "cancel answer": (cancelled(), lambda data: orders.parse_answer(CANCEL, data, AT)),
    "batch answer": (batch_answer(), lambda data: batch.parse_batch([PLACE, CANCEL], data, AT)),
    "asking a batch": (
        {"batchOrder": [{"order": "cancel", "order_id": "o"}]},
        lambda data: batch.parse_batch_form({"json": data.decode(errors="replace")}),
    ),
    "order book": (markets.write_order_book(BOOK, AT), lambda data: markets.parse_order_book(data, "PF_XBTUSD")),
    "trade history": (
        markets.write_trade_history([TRADE], AT),
        lambda data: markets.parse_trade_history(data, "PF_XBTUSD"),
    ),
    "market executions": (
        markets.write_market_executions(markets.TradePage(trades=(TRADE,), quarantined=(), more="token")),
        lambda data: markets.parse_market_executions(data, "PF_XBTUSD"),
    ),
    "funding rates": (markets.write_funding_rates([RATE], AT), markets.parse_funding_rates),
    "fee schedules": (markets.write_fee_schedules([FEES], AT), markets.parse_fee_schedules),
    "instruments status": (markets.write_instruments_status([STATUS], AT), markets.parse_instruments_status),
    "instrument status": (
        markets.write_instruments_status([STATUS], AT, single=True),
        markets.parse_instruments_status,
    ),
    "notifications": (markets.write_notifications([NOTICE], AT), markets.parse_notifications),
    "chart": (markets.write_chart([CHART_CANDLE], more=False), markets.parse_chart),
    "account log": (account.write_account_log([ENTRY]), account.parse_account_log),
    "leverage preferences": (
        account.write_leverage_preferences({"PF_XBTUSD": ONE}, AT),
        account.parse_leverage_preferences,
    ),
    "pnl preferences": (account.write_pnl_preferences({"PF_XBTUSD": "USD"}, AT), account.parse_pnl_preferences),
    "dead man's switch": (
        account.write_cancel_all_after(account.DeadMan(now=AT, fires_at=AT)),
        account.parse_cancel_all_after,
    ),
    "info": (futures_ws.write_info(), frame),
    "challenge": (futures_ws.write_challenge("m"), frame),
    "pong": (futures_ws.write_pong(), frame),
    "alert": (futures_ws.write_refusal("alert", "Already subscribed"), frame),
    "fills snapshot": (futures_ws.write_fills_snapshot([FILL]), frame),
    "balances snapshot": (
        futures_ws.write_balances(from_edge(AccountSeen, AT, account=ACCOUNT, sequence=1), snapshot=True),
        frame,
    ),
    "book snapshot": (markets.write_book_snapshot(BOOK), frame),
    "book change": (markets.write_book_change(CHANGE), frame),
    "trade frame": (markets.write_trade_frame(TRADE, 1), frame),
    "trade snapshot": (markets.write_trade_snapshot("PF_XBTUSD", [TRADE]), frame),
    "ticker lite": (markets.write_ticker_lite(LITE), frame),
    "account log frame": (account.write_log_frame(ENTRY), frame),
    "account log snapshot": (account.write_log_snapshot([ENTRY]), frame),
    "notifications frame": (markets.write_notifications_frame([NOTICE]), frame),
}

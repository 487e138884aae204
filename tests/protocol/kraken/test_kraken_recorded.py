"""Payloads as recorded from Kraken (or composed after its reference) read as they should. Skips when they are absent."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from protocol.kraken import account, batch, futures_rest, futures_ws, markets, orders, spot
from protocol.kraken.account import LogEntry
from protocol.kraken.wire import MalformedPayload, Refused
from protocol.messages.base import from_edge
from protocol.messages.futures import (
    AccountSeen,
    CancelOrder,
    CommandAnswered,
    EditOrder,
    FillSeen,
    OpenOrder,
    OrderSeen,
    PlaceOrder,
    Position,
    PositionsSeen,
    TickerSeen,
)

FIXTURES = Path(__file__).parents[3].parent / "shared" / "kraken"
AT = 1_763_510_410_000_000


def recorded(name: str) -> bytes:
    """The bytes of one fixture."""
    if not FIXTURES.exists():
        pytest.skip("the recorded payloads are not at hand")
    return (FIXTURES / f"{name}.json").read_bytes()


def told(name: str, known: dict[str, OpenOrder] | None = None) -> futures_ws.Told:
    """A recorded data frame, read."""
    frame = futures_ws.parse_futures_frame(recorded(f"futures_ws_{name}"), AT, known)
    assert isinstance(frame, futures_ws.Told)
    return frame


def place(**fields: object) -> PlaceOrder:
    """A wish to place."""
    terms = {"client_order_id": "ks-1", "signal_id": "s", "role": "entry", "symbol": "PI_XBTUSD", "side": "buy"}
    return from_edge(
        PlaceOrder,
        AT,
        "p",
        **(terms | {"order_type": "lmt", "size": Decimal(10), "limit_price": Decimal(7500)} | fields),
    )


def answer(command: orders.Command, name: str) -> tuple[tuple[FillSeen, ...], CommandAnswered]:
    """A recorded answer to `command`: its fills, and how it ended."""
    messages = orders.parse_answer(command, recorded(f"futures_rest_{name}"), AT).values
    fills = tuple(message for message in messages if isinstance(message, FillSeen))
    last = messages[-1]
    assert isinstance(last, CommandAnswered)
    return fills, last


# --- spot ---------------------------------------------------------------------------------------------------------


def test_the_row_after_last_is_still_forming_and_left_out() -> None:
    """Four rows, three finished; the pair's name in the answer does not matter."""
    parsed = spot.parse_ohlc(recorded("spot_rest_ohlc"), "BTC/USDT", "15m", AT)

    assert [c.open_time_ms for c in parsed.values] == [1762820040000, 1762820100000, 1762820160000]
    assert all(candle.final and candle.close == 105899.4 for candle in parsed.values)
    assert not parsed.quarantined


def test_spot_small_answers_read() -> None:
    """Time, status, pairs, and a refusal without `result`."""
    pairs = spot.parse_asset_pairs(recorded("spot_rest_assetpairs")).values

    assert spot.parse_time(recorded("spot_rest_time")) == 1_762_820_224_000_000
    assert spot.parse_system_status(recorded("spot_rest_systemstatus")) == "online"
    assert [pair.symbol for pair in pairs] == ["BTC/USD", "ETH/USD"]
    with pytest.raises(Refused, match="EGeneral:Too many requests"):
        spot.parse_ohlc(recorded("spot_rest_error"), "BTC/USD", "15m", AT)


def test_spot_frames_read() -> None:
    """Every recorded frame has its type; a candle of a stream is never final."""
    snapshot = spot.parse_spot_frame(recorded("spot_ws_ohlc_snapshot"), AT)
    acknowledged = spot.parse_spot_frame(recorded("spot_ws_subscribed_ohlc"), AT)
    refusal = spot.parse_spot_frame(recorded("spot_ws_subscribe_error"), AT)

    assert isinstance(snapshot, spot.Candles)
    assert [c.open_time_ms for c in snapshot.candles] == [1794960000000, 1795046400000]
    assert {c.final for c in snapshot.candles} == {False}
    assert snapshot.candles[0].volume == 1432.88120931
    assert acknowledged == spot.SpotSubscribed(symbol="BTC/USD", interval=1440, req_id=7)
    assert isinstance(refusal, spot.SpotRefusal)
    assert refusal.error == "Currency pair not supported XBT/USD"
    assert spot.parse_spot_frame(recorded("spot_ws_heartbeat"), AT) == spot.SpotHeartbeat()
    assert spot.parse_spot_frame(recorded("spot_ws_status"), AT) == spot.SpotStatus("online")
    assert spot.parse_spot_frame(recorded("spot_ws_pong"), AT) == spot.SpotPong(42)
    ticker = spot.parse_spot_frame(recorded("spot_ws_ticker_snapshot"), AT)
    assert isinstance(ticker, spot.Tickers)
    assert [(t.symbol, t.last) for t in ticker.tickers] == [("BTC/USD", Decimal("105899.4"))]
    trades = spot.parse_spot_frame(recorded("spot_ws_trade_update"), AT)
    assert isinstance(trades, spot.Trades)
    assert [(t.trade_id, t.side, t.time) for t in trades.trades] == [
        (10218208, "buy", 1_696_613_755_440_295),
        (10218209, "sell", 1_696_613_756_123_456),
    ]


def test_a_candle_of_an_interval_we_do_not_use_is_set_aside() -> None:
    """The five-minute frame is readable, its row is quarantined."""
    frame = spot.parse_spot_frame(recorded("spot_ws_ohlc_update"), AT)

    assert isinstance(frame, spot.Candles)
    assert not frame.candles
    assert frame.quarantined[0].field.endswith("interval")


# --- futures REST -------------------------------------------------------------------------------------------------


def test_instruments_read() -> None:
    """Lot from precision, levels by contract kind, inverse by type."""
    btc, inverse, eth = futures_rest.parse_instruments(recorded("futures_rest_instruments")).values

    assert (btc.tick, btc.lot, btc.max_position, btc.inverse) == (1, Decimal("0.0001"), 1200, False)
    assert btc.margin_levels[1] == (1_000_000, Decimal("0.04"), Decimal("0.02"))
    assert (inverse.inverse, inverse.lot, inverse.margin_levels[1][0]) == (True, 1, 500_000)
    assert (eth.tick, eth.lot) == (Decimal("0.1"), Decimal("0.001"))


def test_rest_tickers_have_no_relative_rate() -> None:
    """The absolute rate is not passed off as a relative one."""
    tickers = futures_rest.parse_tickers(recorded("futures_rest_tickers"), AT).values

    assert [t.symbol for t in tickers] == ["PI_XBTUSD", "PF_ETHUSD"]
    assert [t.funding_rate for t in tickers] == [None, None]
    assert tickers[1].mark == Decimal("3205.25")


def test_the_flex_account_reads() -> None:
    """Equity is balance plus what is unrealised."""
    account = futures_rest.parse_accounts(recorded("futures_rest_accounts_usd_flex"))

    assert account.equity_usd == Decimal("10474.818")
    assert account.balance_usd == 10_000
    assert account.maintenance_margin_usd == 382
    assert futures_rest.parse_accounts(recorded("futures_rest_accounts")).available_margin_usd == Decimal("34122.66")


def test_positions_are_signed_and_have_no_liquidation_price_by_rest() -> None:
    """Side and size become one number."""
    positions = futures_rest.parse_open_positions(recorded("futures_rest_openpositions")).values

    assert [p.size for p in positions] == [-10000, 20000, 1]
    assert {p.liquidation_price for p in positions} == {None}
    assert [p.isolated_x for p in positions] == [None, None, 5]


def test_open_orders_read_under_both_spellings_of_the_client_id() -> None:
    """`cliOrdId` and `cli_ord_id`; size is what is still open."""
    plain, target, ours = futures_rest.parse_open_orders(recorded("futures_rest_openorders")).values

    assert (plain.order_type, plain.stop_price, plain.trigger) == ("lmt", None, None)
    assert (target.order_type, target.stop_price, target.trigger) == ("take_profit", Decimal("1880.4"), "last")
    assert (ours.client_order_id, ours.size, ours.filled) == ("my-client-order-123", 5000, 2000)


def test_fills_come_oldest_first_and_fees_in_coin_are_not_dollars() -> None:
    """A fee paid in BTC is unknown in USD, not zero."""
    fills = futures_rest.parse_fills(recorded("futures_rest_fills")).values

    assert sorted(f.time for f in fills) == [f.time for f in fills]
    assert {f.fee_usd for f in fills} == {None}
    assert fills[1].client_order_id == "my-order-ref-456"


def test_errors_name_kraken_s_word() -> None:
    """A 200 with `result: error` is a refusal."""
    for name, word in (("auth", "authenticationError"), ("rate_limit", "apiLimitExceeded")):
        with pytest.raises(Refused, match=word):
            futures_rest.parse_open_orders(recorded(f"futures_rest_error_{name}"))


def test_order_status_reads() -> None:
    """A trigger that is in place; what it has filled is unknown, not zero."""
    (status,) = futures_rest.parse_orders_status(recorded("futures_rest_orders_status")).values

    assert (status.status, status.filled, status.client_order_id) == ("TRIGGER_PLACED", None, "tct-stop-000001")


# --- answers ------------------------------------------------------------------------------------------------------


def test_answers_to_a_placed_order_read() -> None:
    """Placed, placed and traded at once, refused with and without events."""
    assert answer(place(), "sendorder_placed")[1].outcome == "placed"
    fills, done = answer(place(), "sendorder_execution")
    assert (done.outcome, done.status) == ("filled", "placed")
    (seen,) = fills
    assert (seen.source, seen.fill.symbol, seen.fill.size) == ("reply", "PI_XBTUSD", 10)
    assert seen.fill.time == 1_576_084_653_888_000
    assert answer(place(size=Decimal(20)), "sendorder_execution")[1].outcome == "placed"
    assert answer(place(size=Decimal(20), order_type="ioc"), "sendorder_execution")[1].outcome == "cancelled"
    assert answer(place(), "sendorder_ioc_rejected")[1].outcome == "rejected"
    refused = answer(place(), "sendorder_refused_no_events")[1]
    assert (refused.outcome, refused.status, refused.order_id) == ("rejected", "insufficientAvailableFunds", None)
    stop = answer(place(order_type="stp"), "sendorder_stop_mark")[1]
    assert (stop.outcome, stop.order_id) == ("placed", "5c1a0d0e-8c6b-4d0e-9d53-0f2f6f6a1b01")


def test_answers_to_edits_and_cancellations_read() -> None:
    """`orderId` in one, `order_id` in the other; the cancelled order's client id comes from its event."""
    edit = from_edge(EditOrder, AT, "e", client_order_id="ks-1", role="stop", symbol="PI_XBTUSD", size=Decimal(1501))
    cancel = from_edge(CancelOrder, AT, "c", symbol="PI_XBTUSD", order_id="cb4e34f6-4eb3-4d4b-9724-4c3035b99d47")

    edited = answer(edit, "editorder_edited")[1]
    cancelled = answer(cancel, "cancelorder_cancelled")[1]

    assert (edited.outcome, edited.order_id) == ("edited", "022774bc-2c4a-4f26-9317-436c8d85746d")
    assert (cancelled.outcome, cancelled.client_order_id) == ("cancelled", "1234568")
    assert len(orders.parse_cancel_all(recorded("futures_rest_cancelallorders"))) == 3


def test_envelope_errors_prove_a_refusal_only_when_they_come_before_the_order() -> None:
    """A rate limit is a refusal of the order."""
    assert answer(place(), "error_rate_limit")[1].outcome == "rejected"


# --- futures WebSocket --------------------------------------------------------------------------------------------


def test_control_events_read() -> None:
    """Each has its type; a refusal is one whatever its event."""
    parse = futures_ws.parse_futures_frame

    assert parse(recorded("futures_ws_info"), AT) == futures_ws.Info(1)
    assert parse(recorded("futures_ws_pong"), AT) == futures_ws.FuturesHeartbeat(None)
    assert parse(recorded("futures_ws_heartbeat"), AT) == futures_ws.FuturesHeartbeat(1_763_510_405_012_000)
    challenge = parse(recorded("futures_ws_challenge"), AT)
    assert challenge == futures_ws.Challenge("226aee50-88fc-4618-a42a-34f7709570b2")
    public = parse(recorded("futures_ws_subscribed_ticker"), AT)
    assert public == futures_ws.Subscribed(feed="ticker", product_ids=("PF_XBTUSD",))
    private = parse(recorded("futures_ws_subscribed_private"), AT)
    assert private == futures_ws.Subscribed(feed="open_orders")
    error = parse(recorded("futures_ws_error_invalid_product"), AT)
    assert error == futures_ws.FuturesRefusal("error", "Invalid product id")
    assert isinstance(parse(recorded("futures_ws_alert_already_subscribed"), AT), futures_ws.FuturesRefusal)


def test_feeds_that_are_no_messages_of_ours_read() -> None:
    """Books, trades, bookings, notices, the short ticker."""

    def values(name: str) -> tuple[object, ...]:
        frame = futures_ws.parse_futures_frame(recorded(f"futures_ws_{name}"), AT)
        assert isinstance(frame, futures_ws.Shown)
        assert not frame.quarantined
        return frame.values

    (book,) = values("book_snapshot")
    assert isinstance(book, markets.Book)
    assert (book.symbol, book.bids[0], book.sequence) == ("PI_XBTUSD", (Decimal("34892.5"), 6385), 326072249)
    (change,) = values("book_delta")
    assert isinstance(change, markets.BookChange)
    assert (change.side, change.size, change.sequence) == ("sell", 0, 326094134)
    older, newer = values("trade_snapshot")
    assert isinstance(older, markets.Trade)
    assert isinstance(newer, markets.Trade)
    assert (older.price, newer.price) == (34891, 34893)
    assert isinstance(values("trade")[0], markets.Trade)
    assert values("ticker_lite") == (markets.Lite(symbol="PF_XBTUSD", bid=Decimal("76911.0"), ask=Decimal("76912.0")),)
    (booking,) = values("account_log_funding")
    assert isinstance(booking, LogEntry)
    assert (booking.info, booking.realized_funding) == ("funding rate change", Decimal("-0.72105"))
    (notice,) = values("notifications")
    assert isinstance(notice, markets.Notice)
    assert (notice.kind, notice.downtime_minutes) == ("maintenance", 15)


def test_public_market_data_by_rest_reads() -> None:
    """Books, executions, funding, charts, fees, the state of a contract, notices, tickers of spot."""
    book = markets.parse_order_book(recorded("futures_rest_orderbook"), "PF_XBTUSD")
    assert (book.bids[0], book.asks[0]) == ((105900, Decimal("0.5")), (105950, Decimal("0.3")))
    page = markets.parse_market_executions(recorded("futures_rest_market_executions"), "PF_XBTUSD")
    assert [(t.side, t.price) for t in page.trades] == [("buy", 90766), ("sell", 90771)]
    assert page.more == "test_token_123"
    rates = markets.parse_funding_rates(recorded("futures_rest_historical_funding_rates")).values
    assert [r.relative for r in rates] == [Decimal("0.0000172051"), Decimal("0.000018645"), Decimal("-0.0000028493")]
    for name, volume in (("trade", 319499.0), ("mark", 0.0)):
        chart = markets.parse_chart(recorded(f"futures_rest_candles_{name}"))
        assert (len(chart.candles), chart.candles[0].volume, chart.more) == (3, volume, False)
    (fees,) = markets.parse_fee_schedules(recorded("futures_rest_feeschedules")).values
    assert (len(fees.tiers), fees.tiers[0].taker_pct) == (8, Decimal("0.05"))
    (status,) = markets.parse_instruments_status(recorded("futures_rest_instruments_status")).values
    assert (status.symbol, status.dislocated, status.margin_multiplier) == ("PF_COMPUSD", False, 1)
    general, settlement = markets.parse_notifications(recorded("futures_rest_notifications")).values
    assert (general.effective, settlement.effective) == (None, 1_530_284_400_000_000)
    ticker = spot.parse_ticker(recorded("spot_rest_ticker"), "BTC/USD")
    assert (ticker.bid, ticker.last, ticker.volume) == (
        Decimal("52609.5"),
        Decimal("52641.1"),
        Decimal("7954.00219674"),
    )


def test_the_account_beside_its_orders_reads() -> None:
    """Preferences and the dead man's switch."""
    leverage = account.parse_leverage_preferences(recorded("futures_rest_leveragepreferences")).values
    assert leverage == (("PF_XBTUSD", Decimal(10)),)
    assert account.parse_pnl_preferences(recorded("futures_rest_pnlpreferences")).values == (("PF_XBTUSD", "BTC"),)
    switch = account.parse_cancel_all_after(recorded("futures_rest_cancelallordersafter"))
    assert switch.fires_at is not None
    assert switch.fires_at - switch.now == 60_000_000


def test_a_batch_is_answered_row_by_row() -> None:
    """A placement and a cancellation; a wish without a row is unknown."""
    cancel = from_edge(CancelOrder, AT, "c", symbol="PF_XBTUSD", order_id="e35d61dd-8a30-4d5f-a574-b5593ef0c051")
    parsed = batch.parse_batch([place(), cancel, place()], recorded("futures_rest_batchorder"), AT)
    assert [m.outcome for m in parsed.values if isinstance(m, CommandAnswered)] == ["placed", "cancelled", "unknown"]


def test_the_ticker_s_rate_is_the_relative_one() -> None:
    """Marks to the last digit; the absolute rate is not taken."""
    (ticker,) = told("ticker").messages

    assert isinstance(ticker, TickerSeen)
    assert ticker.mark == Decimal("1751.97553924942")
    assert ticker.funding_rate == Decimal("1.86711875e-05")
    assert ticker.time == 1_783_587_648_112_000
    (inverse,) = told("ticker_inverse").messages
    assert isinstance(inverse, TickerSeen)
    assert inverse.index == Decimal("21984.54")


def test_a_complete_fill_is_not_a_cancellation_although_is_cancel_says_so() -> None:
    """The order is gone; the reason says why."""
    (seen,) = told("open_orders_full_fill").messages

    assert isinstance(seen, OrderSeen)
    assert (seen.open, seen.reason, seen.order.filled) == (False, "full_fill", Decimal("0.0001"))
    assert (seen.order.side, seen.order.stop_price) == ("buy", None)


def test_a_short_cancellation_takes_its_terms_from_what_was_shown() -> None:
    """Ids and a reason are all it has; the order that was placed before completes it."""
    (stop,) = told("open_orders_stop_placed").messages
    assert isinstance(stop, OrderSeen)
    assert (stop.order.order_type, stop.order.trigger, stop.order.limit_price) == ("stp", "mark", None)
    assert (stop.order.side, stop.order.stop_price, stop.open) == ("sell", 61000, True)

    (gone,) = told("open_orders_stop_triggered", {stop.order.order_id: stop.order}).messages

    assert isinstance(gone, OrderSeen)
    assert (gone.order, gone.open, gone.reason) == (stop.order, False, "stop_order_triggered")


@pytest.mark.parametrize("name", ["cancel", "dead_man", "post_rejected"])
def test_a_short_cancellation_of_an_order_never_shown_is_set_aside(name: str) -> None:
    """No terms are made up."""
    frame = told(f"open_orders_{name}")

    assert not frame.messages
    assert frame.quarantined[0].field == "order_id"


def test_order_snapshots_and_fills_read() -> None:
    """`account` in snapshots, `username` in updates; integers for decimals."""
    (resting,) = told("open_orders_snapshot").messages
    assert isinstance(resting, OrderSeen)
    assert (resting.order.stop_price, resting.reason, resting.open) == (13789, "snapshot", True)
    first, _ = told("fills_snapshot").messages
    assert isinstance(first, FillSeen)
    assert (first.source, first.fill.fee_usd, first.fill.time) == ("snapshot", None, 1_600_256_910_739_000)
    (live,) = told("fills").messages
    assert isinstance(live, FillSeen)
    assert (live.source, live.fill.fee_usd, live.fill.side) == ("stream", Decimal("0.001581"), "buy")


def test_positions_and_balances_read() -> None:
    """The liquidation price is here and only here; an empty list is flat; both snapshot and update carry the wallet."""
    (seen,) = told("open_positions").messages
    assert isinstance(seen, PositionsSeen)
    assert seen.sequence == 12
    assert seen.positions == (
        Position(
            symbol="PF_XBTUSD",
            size=Decimal("0.5"),
            entry_price=Decimal(76400),
            liquidation_price=Decimal("57164.364"),
            unrealized_pnl_usd=Decimal(475),
            margin_usd=Decimal(764),
        ),
    )
    (flat,) = told("open_positions_flat").messages
    assert isinstance(flat, PositionsSeen)
    assert flat.positions == ()
    for name in ("balances_snapshot", "balances_update"):
        (account,) = told(name).messages
        assert isinstance(account, AccountSeen)
        assert account.account == futures_rest.parse_accounts(recorded("futures_rest_accounts_usd_flex"))


def test_a_book_is_not_ours_to_read() -> None:
    """A REST payload of another endpoint is malformed, and the error names the member."""
    with pytest.raises(MalformedPayload, match="openOrders: missing"):
        futures_rest.parse_open_orders(recorded("futures_rest_orderbook"))

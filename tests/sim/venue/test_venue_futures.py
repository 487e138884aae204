"""The venue's futures side: signed REST, private and public streams, an order's whole life."""

from __future__ import annotations

from collections.abc import AsyncIterator
from decimal import Decimal

import pytest
import trio
from trio.testing import MockClock
from venues import START, Hands, engine, enter_private, hear, hear_until, say, venue

from protocol.kraken import endpoints, futures_rest, futures_ws, orders
from protocol.messages.futures import CommandAnswered, FillSeen
from protocol.units import HOUR_US
from sim.venue import Venue

FEEDS = endpoints.PRIVATE_FEEDS
ENTRY = {"orderType": "mkt", "symbol": "PF_XBTUSD", "side": "buy", "size": "0.5", "cliOrdId": "entry"}
STOP = {
    "orderType": "stp",
    "symbol": "PF_XBTUSD",
    "side": "sell",
    "size": "0.5",
    "stopPrice": "59990",
    "triggerSignal": "mark",
    "reduceOnly": "true",
    "cliOrdId": "stop",
}


@pytest.fixture
async def place(nursery: trio.Nursery, autojump_clock: MockClock) -> AsyncIterator[Venue]:
    """A running venue whose market does not move."""
    running = venue()
    await nursery.start(running.run)
    yield running
    nursery.cancel_scope.cancel()


@pytest.fixture
async def hands(place: Venue) -> AsyncIterator[Hands]:
    """A client with the right keys."""
    async with place.http_client() as http:
        yield Hands(place, http)


async def test_a_call_with_a_wrong_signature_is_refused_with_http_200(place: Venue, autojump_clock: MockClock) -> None:
    """authenticationError is in the envelope, and nothing was done."""
    async with place.http_client() as http:
        wrong = Hands(place, http, secret="AAAA")
        assert (await wrong.post(endpoints.SEND_ORDER, ENTRY))["error"] == "authenticationError"
    assert place.engine.positions() == ()


@pytest.mark.parametrize("way", ["post", "get"])
async def test_a_signature_covers_body_or_query_as_sent(hands: Hands, way: str, autojump_clock: MockClock) -> None:
    """Parameters are taken from the form body and from the query string alike, percent signs and all."""
    form = {**ENTRY, "processBefore": "2026-01-05T00:10:00.000Z"}
    answer = await (hands.post if way == "post" else hands.get)(endpoints.SEND_ORDER, form)
    assert answer["sendStatus"]["status"] == "placed"


async def test_public_calls_need_no_signature(place: Venue, autojump_clock: MockClock) -> None:
    """Instruments, tickers and funding rates read back as what they are."""
    async with place.http_client() as http:
        instruments = futures_rest.parse_instruments((await http.get(endpoints.INSTRUMENTS)).content)
        tickers = futures_rest.parse_tickers((await http.get(endpoints.TICKERS)).content, START)
        rates = (await http.get("/derivatives/api/v4/historicalfundingrates", params={"symbol": "pf_xbtusd"})).json()
    assert instruments.values == tuple(place.engine.rules.values())
    assert [ticker.symbol for ticker in tickers.values] == list(place.contracts)
    assert float(rates["rates"][-1]["relativeFundingRate"]) == 0.0001


async def test_an_unknown_contract_or_a_missing_parameter_is_an_error_of_the_envelope(
    hands: Hands, autojump_clock: MockClock
) -> None:
    """Kraken's words for both."""
    assert (await hands.post(endpoints.SEND_ORDER, {**ENTRY, "symbol": "PF_NONE"}))["error"] == "contractNotFound"
    bare = {name: value for name, value in ENTRY.items() if name != "size"}
    assert (await hands.post(endpoints.SEND_ORDER, bare))["error"] == "requiredArgumentMissing"
    assert (await hands.get("/derivatives/api/v3/nothing"))["error"] == "notFound"


async def test_the_rate_limit_is_krakens(hands: Hands, autojump_clock: MockClock) -> None:
    """Fifty orders in a moment, then apiLimitExceeded, and again one for every ten points that have come back."""
    answers = [
        await hands.post(endpoints.CANCEL_ORDER, {"cliOrdId": "none"}) for _ in range(endpoints.COST_BUDGET // 10)
    ]
    assert {answer["result"] for answer in answers} == {"success"}
    assert (await hands.post(endpoints.SEND_ORDER, ENTRY))["error"] == "apiLimitExceeded"
    await trio.sleep(0.3)
    assert (await hands.post(endpoints.SEND_ORDER, ENTRY))["result"] == "success"


async def test_an_orders_whole_life(place: Venue, hands: Hands, autojump_clock: MockClock) -> None:
    """Entry, stop, trigger: the REST answer comes first, then the streams tell orders, fill, position and balance."""
    async with place.connect(endpoints.FUTURES_WS_PATH) as stream:
        assert (await hear(stream))["event"] == "info"
        first = await enter_private(stream, place, FEEDS)
        assert first["open_orders"]["orders"] == []
        assert first["open_positions"]["positions"] == []
        assert first["balances"]["flex_futures"]["portfolio_value"] == 100_000

        sent = await hands.post(endpoints.SEND_ORDER, ENTRY)
        (event,) = sent["sendStatus"]["orderEvents"]
        fill = (await hear_until(stream, feed="fills"))["fills"][0]
        assert (fill["fill_id"], fill["cli_ord_id"]) == (event["executionId"], "entry")
        (position,) = (await hear_until(stream, feed="open_positions"))["positions"]
        assert (position["balance"], position["entry_price"]) == (0.5, 60_001)
        assert position["liquidation_threshold"] > 0 or position["liquidation_threshold"] == 0

        await hands.post(endpoints.SEND_ORDER, STOP)
        placed = await hear_until(stream, feed="open_orders", reason="new_placed_order_by_user")
        assert (placed["order"]["stop_price"], placed["order"]["reduce_only"]) == (59_990, True)
        (resting,) = futures_rest.parse_open_orders(await hands.get(endpoints.OPEN_ORDERS)).values
        assert (resting.client_order_id, resting.order_type, resting.trigger) == ("stop", "stp", "mark")

        place.market.rise = -1.0  # type: ignore[attr-defined]
        await hear_until(stream, feed="open_orders", reason="stop_order_triggered")
        closing = (await hear_until(stream, feed="fills"))["fills"][0]
        assert (closing["cli_ord_id"], closing["buy"], closing["price"]) == ("stop", False, 59_989)
        assert (await hear_until(stream, feed="open_positions"))["positions"] == []
        fills = futures_rest.parse_fills(await hands.get(endpoints.FILLS)).values
        assert [row.client_order_id for row in fills] == ["entry", "stop"]
        account = futures_rest.parse_accounts(await hands.get(endpoints.ACCOUNTS))
        assert account.equity_usd == place.engine.equity_usd


async def test_the_gateways_parser_reads_what_the_engine_said(
    place: Venue, hands: Hands, autojump_clock: MockClock
) -> None:
    """Over the wire and directly: the same executions, outcome and words."""
    wish = orders.parse_send_order(ENTRY, START)
    answer = orders.parse_answer(wish, await hands.post(endpoints.SEND_ORDER, ENTRY), place.now_us())
    twin = venue()
    for symbol in twin.contracts:
        twin.engine.move(twin.market.tick(symbol, START))
    direct = twin.engine.answer(wish, place.now_us()).reply
    assert answer.values == direct


@pytest.mark.parametrize(
    ("size", "outcome", "reduced"), [("0.5", "cancelled", None), ("0.7", "cancelled", 0.2), ("0.0001", "filled", None)]
)
async def test_only_what_a_reduce_only_order_was_cut_by_counts_as_reduced(
    nursery: trio.Nursery, autojump_clock: MockClock, size: str, outcome: str, reduced: float | None
) -> None:
    """A market order that the book fills in part reads back as cancelled, not as filled, though it was reduce-only."""
    place = venue(engine=engine())
    await nursery.start(place.run)
    async with place.http_client() as http:
        hands = Hands(place, http)
        await hands.post(endpoints.SEND_ORDER, ENTRY)
        place.engine.matching.depth_usd = Decimal(30)
        form = {**ENTRY, "side": "sell", "size": size, "reduceOnly": "true", "cliOrdId": "exit"}
        answer = await hands.post(endpoints.SEND_ORDER, form)
    told = orders.parse_answer(orders.parse_send_order(form, START), answer, START).values[-1]
    assert isinstance(told, CommandAnswered)
    assert told.outcome == outcome
    assert {event["takerReducedQuantity"] for event in answer["sendStatus"]["orderEvents"]} == {reduced}
    nursery.cancel_scope.cancel()


async def test_edit_cancel_and_status_over_rest(place: Venue, hands: Hands, autojump_clock: MockClock) -> None:
    """By either id; what ended is remembered for five seconds."""
    await hands.post(endpoints.SEND_ORDER, ENTRY)
    stop_id = (await hands.post(endpoints.SEND_ORDER, STOP))["sendStatus"]["order_id"]
    edited = await hands.post(endpoints.EDIT_ORDER, {"orderId": stop_id, "size": "0.4", "stopPrice": "59000"})
    assert edited["editStatus"]["status"] == "edited"
    assert place.engine.snapshot(place.now_us()).orders[0].size == Decimal("0.4")
    cancelled = await hands.post(endpoints.CANCEL_ORDER, {"cliOrdId": "stop"})
    assert cancelled["cancelStatus"]["status"] == "cancelled"
    assert (await hands.post(endpoints.CANCEL_ORDER, {"cliOrdId": "stop"}))["cancelStatus"]["status"] == "notFound"
    status = futures_rest.parse_orders_status(await hands.post(endpoints.ORDERS_STATUS, {"orderIds": stop_id}))
    assert [row.reason for row in status.values] == ["CANCELLED_BY_USER"]
    await trio.sleep(6)
    later = futures_rest.parse_orders_status(await hands.post(endpoints.ORDERS_STATUS, {"orderIds": stop_id}))
    assert later.values == ()


async def test_cancel_all_takes_stops_with_it(place: Venue, hands: Hands, autojump_clock: MockClock) -> None:
    """As Kraken's does; a second time there is nothing to cancel."""
    await hands.post(endpoints.SEND_ORDER, ENTRY)
    await hands.post(endpoints.SEND_ORDER, STOP)
    gone = orders.parse_cancel_all(await hands.post(endpoints.CANCEL_ALL_ORDERS, {}))
    assert len(gone) == 1
    again = await hands.post(endpoints.CANCEL_ALL_ORDERS, {"symbol": "PF_XBTUSD"})
    assert again["cancelStatus"]["status"] == "noOrdersToCancel"


async def test_tickers_come_each_tick_and_in_market_order(place: Venue, autojump_clock: MockClock) -> None:
    """The state at once, then a frame a second for each contract."""
    async with place.connect(endpoints.FUTURES_WS_PATH) as stream:
        await say(stream, {"event": "subscribe", "feed": "ticker", "product_ids": list(place.contracts)})
        seen = []
        for _ in range(6):
            await hear_until(stream, feed="ticker", event=None)  # each contract is acknowledged for itself
            seen.append(place.now_us() - START)
        assert seen == [0, 0, 1_000_001, 1_000_001, 2_000_001, 2_000_001]


async def test_private_feeds_stay_shut_without_the_right_answer_to_the_challenge(
    place: Venue, autojump_clock: MockClock
) -> None:
    """A wrong signature, a missing challenge and an unknown product are an alert; unknown feeds and nonsense an error."""
    proof = {"api_key": place.key, "original_challenge": "", "signed_challenge": "x"}
    cases: list[tuple[dict[str, object], str]] = [
        ({"event": "subscribe", "feed": "fills", **proof}, "Failed to subscribe to authenticated feed"),
        ({"event": "subscribe", "feed": "weather"}, "Invalid feed"),
        (
            {"event": "subscribe", "feed": "ticker", "product_ids": ["PF_NONE"]},
            "Couldn't subscribe to invalid product `PF_NONE`",
        ),
        ({"event": "subscribe", "feed": "ticker", "product_ids": []}, "Invalid product id"),
        ({"event": "dance"}, "Json Error"),
        ({"event": "challenge", "api_key": "other"}, "Invalid API key"),
    ]
    async with place.connect(endpoints.FUTURES_WS_PATH) as stream:
        await hear(stream)
        for request, message in cases:
            await say(stream, request)
            assert (await hear(stream))["message"] == message


async def test_heartbeats_come_with_each_second(place: Venue, autojump_clock: MockClock) -> None:
    """One a second once they are asked for; a ping of the protocol is answered by its pong, one of JSON by an alert."""
    async with place.connect(endpoints.FUTURES_WS_PATH) as stream:
        await say(stream, {"event": "subscribe", "feed": "heartbeat"})
        await say(stream, {"event": "ping"})
        assert (await hear_until(stream, event="alert"))["message"] == "Bad websocket message"
        await stream.ping(b"1")
        for second in range(3):
            frame = futures_ws.parse_futures_frame(await stream.get_message(), 0)
            assert frame == futures_ws.FuturesHeartbeat(START + (second + 1) * 1_000_000)


async def test_funding_is_settled_at_the_hour_and_told(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """At the full hour the balances frame carries the payment."""
    place = venue(start_us=START + HOUR_US - 10_000_000)
    await nursery.start(place.run)
    async with place.http_client() as http, place.connect(endpoints.FUTURES_WS_PATH) as stream:
        await enter_private(stream, place, ["balances"])
        await Hands(place, http).post(endpoints.SEND_ORDER, ENTRY)
        await hear_until(stream, feed="balances")
        await hear_until(stream, feed="balances")
        assert place.now_us() == START + HOUR_US + 1
        assert place.engine.books.funding > 0
    nursery.cancel_scope.cancel()


async def test_what_was_persisted_is_the_account_after_a_restart(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """Every change is handed over before the client can know of it; a new engine restores position, stop and time."""
    kept: list[bytes] = []
    place = venue(persist=kept.append)
    await nursery.start(place.run)
    async with place.http_client() as http:
        await Hands(place, http).post(endpoints.SEND_ORDER, ENTRY)
        await Hands(place, http).post(endpoints.SEND_ORDER, STOP)
    assert len(kept) == 2
    again = engine()
    again.restore(kept[-1])
    assert again.positions() == place.engine.positions()
    assert [order.client_order_id for order in again.snapshot(again.last_at).orders] == ["stop"]
    nursery.cancel_scope.cancel()


async def test_a_venue_without_its_own_market_moves_when_told(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Then the ticks of another source, such as Kraken's own, drive triggers and streams."""
    place = venue(own_market=False)
    await nursery.start(place.run)
    await trio.sleep(5)
    assert place.engine.tickers() == []
    place.move(place.market.tick("PF_XBTUSD", place.now_us()))
    assert [ticker.symbol for ticker in place.engine.tickers()] == ["PF_XBTUSD"]
    nursery.cancel_scope.cancel()


async def test_fills_are_known_by_reply_before_any_stream_tells_them(
    place: Venue, hands: Hands, autojump_clock: MockClock
) -> None:
    """The stream's copy leaves later in simulated time, so the order of the two does not hang on the scheduler."""
    async with place.connect(endpoints.FUTURES_WS_PATH) as stream:
        await enter_private(stream, place, ["fills"])
        await hands.post(endpoints.SEND_ORDER, ENTRY)
        answered = place.now_us()
        frame = futures_ws.parse_futures_frame(await stream.get_message(), 0)
        assert isinstance(frame, futures_ws.Told)
        assert isinstance(frame.messages[0], FillSeen)
        assert place.now_us() == answered + 500

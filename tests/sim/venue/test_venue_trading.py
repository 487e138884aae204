"""The venue's order calls beyond a plain order: events, batches, dead man's switch, paging, inverse contracts, order types."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import pytest
import trio
from trio.testing import MockClock
from venues import START, Hands, enter_private, hear, hear_until, venue

from protocol.kraken import batch, endpoints, orders
from protocol.kraken.account import parse_account_log, parse_cancel_all_after
from protocol.messages.futures import CommandAnswered
from protocol.units import HOUR_US, SECOND_US
from sim.engine import Engine
from sim.market.contracts import INVERSE, PF_ETHUSD, PF_XBTUSD
from sim.venue import Venue

BTC, PI = "PF_XBTUSD", "PI_XBTUSD"
ENTRY = {"orderType": "mkt", "symbol": BTC, "side": "buy", "size": "0.5", "cliOrdId": "entry"}
BID = {"orderType": "lmt", "symbol": BTC, "side": "buy", "size": "0.2", "limitPrice": "50000", "cliOrdId": "bid"}
STOP = {
    "orderType": "stp", "symbol": BTC, "side": "sell", "size": "0.5", "stopPrice": "59000", "triggerSignal": "mark",
    "reduceOnly": "true", "cliOrdId": "stop",
}  # fmt: skip


def exchange_of(**terms: Any) -> Engine:
    """Linear and inverse bitcoin, and ether; no slippage."""
    contracts = (PF_XBTUSD, PF_ETHUSD, INVERSE[BTC])
    return Engine(contracts, Decimal(100_000), slippage_pct=Decimal(0), **terms)


@pytest.fixture
async def place(nursery: trio.Nursery, autojump_clock: MockClock) -> AsyncIterator[Venue]:
    """A running venue with an inverse contract, whose market does not move."""
    running = venue(engine=exchange_of())
    await nursery.start(running.run)
    yield running
    nursery.cancel_scope.cancel()


@pytest.fixture
async def hands(place: Venue) -> AsyncIterator[Hands]:
    """A client with the key that trades."""
    async with place.http_client() as http:
        yield Hands(place, http)


async def sent(hands: Hands, form: dict[str, str], **terms: str) -> dict[str, Any]:
    """`sendStatus` of an order."""
    answer = await hands.post(endpoints.SEND_ORDER, {**form, **terms})
    return dict(answer["sendStatus"])


async def test_events_tell_the_whole_order(hands: Hands, autojump_clock: MockClock) -> None:
    """Placed, executed (a market order shows as ioc with the limit it is protected with), edited from and to, cancelled."""
    (execution,) = (await sent(hands, ENTRY))["orderEvents"]
    prior = execution["orderPriorExecution"]
    assert (prior["type"], prior["quantity"], prior["filled"], prior["limitPrice"]) == ("ioc", 0.5, 0, 60_601)
    (placed,) = (await sent(hands, BID))["orderEvents"]
    assert (placed["type"], placed["order"]["limitPrice"]) == ("PLACE", 50_000)
    edit = {"cliOrdId": "bid", "limitPrice": "51000"}
    edited = (await hands.post(endpoints.EDIT_ORDER, edit))["editStatus"]
    (event,) = edited["orderEvents"]
    assert (event["old"]["limitPrice"], event["new"]["limitPrice"], event["new"]["quantity"]) == (50_000, 51_000, 0.2)
    cancelled = (await hands.post(endpoints.CANCEL_ORDER, {"order_id": edited["orderId"]}))["cancelStatus"]
    (gone,) = cancelled["orderEvents"]
    assert (gone["type"], gone["order"]["cliOrdId"], gone["order"]["quantity"]) == ("CANCEL", "bid", 0.2)


async def test_a_limit_order_that_takes_what_there_is_rests_with_the_remainder(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """Its executions come first, then its place on the book; the client's parser reads it as placed."""
    running = venue(engine=exchange_of(depth_usd=Decimal(12_000)))
    await nursery.start(running.run)
    async with running.http_client() as http:
        form = {**BID, "size": "1", "limitPrice": "60002"}
        answer = await Hands(running, http).post(endpoints.SEND_ORDER, form)
    events = answer["sendStatus"]["orderEvents"]
    assert [event["type"] for event in events] == ["EXECUTION", "EXECUTION", "PLACE"]
    assert [event["orderPriorExecution"]["filled"] for event in events[:2]] == [0, 0.1999]
    assert (events[2]["order"]["quantity"], events[2]["order"]["filled"]) == (1, 0.3998)
    told = orders.parse_answer(orders.parse_send_order(form, START), answer, START).values[-1]
    assert isinstance(told, CommandAnswered)
    assert told.outcome == "placed"
    nursery.cancel_scope.cancel()


async def test_the_size_of_an_edit_is_what_is_open_unless_it_is_called_absolute(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """Kraken's default is RELATIVE: past fills come on top. What our client writes says that its size is the total."""
    running = venue(engine=exchange_of(depth_usd=Decimal(12_000)))
    await nursery.start(running.run)
    async with running.http_client() as http:
        hands = Hands(running, http)
        await hands.post(endpoints.SEND_ORDER, {**BID, "size": "1", "limitPrice": "60002"})
        edits = (
            {"cliOrdId": "bid", "size": "0.5"},
            {"cliOrdId": "bid", "size": "0.5", "qtyMode": "RELATIVE"},
            {"cliOrdId": "bid", "size": "0.5", "qtyMode": "ABSOLUTE"},
            {"cliOrdId": "bid", "size": "0.5", "qtyMode": "HALF"},
        )
        totals = []
        for edit in edits:
            answer = await hands.post(endpoints.EDIT_ORDER, {**edit, "limitPrice": "50000"})
            events = answer.get("editStatus", {}).get("orderEvents") or [{"new": {"quantity": answer.get("error")}}]
            totals.append(events[0]["new"]["quantity"])
    assert totals == [0.8998, 0.8998, 0.5, "invalidArgument: qtyMode"]
    wish = orders.parse_edit_order({"cliOrdId": "bid", "size": "0.5"}, START, "PF_XBTUSD")
    assert orders.write_command(wish)[1]["qtyMode"] == "ABSOLUTE"
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("terms", "status", "reason"),
    [
        ({"orderType": "post", "limitPrice": "60002"}, "postWouldExecute", "POST_WOULD_EXECUTE"),
        ({"orderType": "ioc", "limitPrice": "50000"}, "iocWouldNotExecute", "IOC_WOULD_NOT_EXECUTE"),
        ({"reduceOnly": "true"}, "wouldNotReducePosition", "WOULD_NOT_REDUCE_POSITION"),
    ],
)
async def test_what_the_book_refuses_has_an_event_and_the_verbose_feed_tells_it(
    place: Venue, hands: Hands, terms: dict[str, str], status: str, reason: str, autojump_clock: MockClock
) -> None:
    """The plain feed is silent: the order never was on the book."""
    async with place.connect(endpoints.FUTURES_WS_PATH) as stream:
        await hear(stream)
        await enter_private(stream, place, ["open_orders", "open_orders_verbose"])
        refused = await sent(hands, BID, **terms)
        (event,) = refused["orderEvents"]
        assert (refused["status"], event["type"], event["reason"]) == (status, "REJECT", reason)
        frame = await hear(stream)
    assert (frame["feed"], frame["is_cancel"], frame["order"]["cli_ord_id"]) == ("open_orders_verbose", True, "bid")


async def test_a_refusal_before_the_book_has_neither_id_nor_events(hands: Hands, autojump_clock: MockClock) -> None:
    """Funds, size, a used id."""
    for terms, status in (
        ({"size": "50", "limitPrice": "59000"}, "insufficientAvailableFunds"),
        ({"size": "0.00001"}, "invalidSize"),
    ):
        refused = await sent(hands, BID, **terms)
        assert (refused["status"], refused["orderEvents"], "order_id" in refused) == (status, [], False)
    await sent(hands, BID)
    assert (await sent(hands, BID))["status"] == "clientOrderIdAlreadyExist"


async def test_a_batch_is_not_atomic(hands: Hands, autojump_clock: MockClock) -> None:
    """Each row is answered by itself, in order, under its tag; what it cost is nine points and one a row."""
    await sent(hands, BID)
    items = [
        {"order": "send", "order_tag": "a", **BID, "cliOrdId": "second"},
        {"order": "send", "order_tag": "b", "orderType": "lmt", "symbol": BTC, "side": "buy", "size": 1},
        {"order": "edit", "cliOrdId": "bid", "limitPrice": 49_000},
        {"order": "cancel", "cliOrdId": "none"},
        {"order": "cancel", "cliOrdId": "bid"},
        {"order": "dance"},
    ]
    answer = await hands.post(endpoints.BATCH_ORDER, {"json": json.dumps({"batchOrder": items})})
    rows = answer["batchStatus"]
    assert [row["status"] for row in rows] == [
        "placed", "requiredArgumentMissing", "edited", "notFound", "cancelled", "invalidArgument",
    ]  # fmt: skip
    assert [row.get("order_tag") for row in rows[:2]] == ["a", "b"]
    commands = [orders.parse_cancel_order({"cliOrdId": name}, START, BTC) for name in ("none", "bid")]
    told = batch.parse_batch(commands, {**answer, "batchStatus": rows[3:5]}, START).values
    assert [m.outcome for m in told if isinstance(m, CommandAnswered)] == ["not_found", "cancelled"]
    assert (await hands.post(endpoints.BATCH_ORDER, {"json": "{"}))["error"] == "Json Parse Error"


async def test_the_dead_mans_switch_takes_stops_too_and_can_be_put_off(
    place: Venue, hands: Hands, autojump_clock: MockClock
) -> None:
    """Armed again in time nothing happens; then everything is cancelled for this reason, and the position stays."""
    await sent(hands, ENTRY)
    await sent(hands, STOP)
    async with place.connect(endpoints.FUTURES_WS_PATH) as stream:
        await hear(stream)
        await enter_private(stream, place, ["open_orders"])
        for _ in range(3):
            switch = parse_cancel_all_after(await hands.post(endpoints.CANCEL_ALL_AFTER, {"timeout": "60"}))
            assert switch.fires_at == switch.now + 60 * SECOND_US
            await trio.sleep(45)
        assert len(place.engine.snapshot(place.now_us()).orders) == 1
        frame = await hear_until(stream, feed="open_orders")
        assert (frame["is_cancel"], frame["reason"]) == (True, "dead_man_switch")
    assert place.engine.snapshot(place.now_us()).orders == ()
    assert place.engine.held(BTC) == Decimal("0.5")


async def test_the_switch_is_disarmed_with_zero(place: Venue, hands: Hands, autojump_clock: MockClock) -> None:
    """Nothing is cancelled then."""
    await sent(hands, BID)
    await hands.post(endpoints.CANCEL_ALL_AFTER, {"timeout": "5"})
    assert parse_cancel_all_after(await hands.post(endpoints.CANCEL_ALL_AFTER, {"timeout": "0"})).fires_at is None
    await trio.sleep(60)
    assert len(place.engine.snapshot(place.now_us()).orders) == 1


async def test_cancel_all_names_each_order_and_tells_of_it(hands: Hands, autojump_clock: MockClock) -> None:
    """Ids of both kinds and one event an order."""
    await sent(hands, BID)
    status = (await hands.post(endpoints.CANCEL_ALL_ORDERS, {"symbol": "pf_xbtusd"}))["cancelStatus"]
    assert (status["cancelOnly"], [row["cliOrdId"] for row in status["cancelledOrders"]]) == (BTC, ["bid"])
    assert [event["order"]["type"] for event in status["orderEvents"]] == ["lmt"]


async def test_fills_are_paged_backwards(hands: Hands, place: Venue, autojump_clock: MockClock) -> None:
    """A hundred rows at most, newest first; `lastFillTime` gives those before it, and costs more."""
    for number in range(130):
        place.carry_out(orders.parse_send_order({**ENTRY, "size": "0.001", "cliOrdId": f"f{number}"}, place.now_us()))
        await trio.sleep(1)
    first = (await hands.get(endpoints.FILLS))["fills"]
    assert [row["cliOrdId"] for row in (first[0], first[-1])] == ["f129", "f30"]
    older = (await hands.get(endpoints.FILLS, {"lastFillTime": first[-1]["fillTime"]}))["fills"]
    assert [row["cliOrdId"] for row in (older[0], older[-1])] == ["f29", "f0"]


async def test_a_trailing_stop_over_rest(hands: Hands, place: Venue, autojump_clock: MockClock) -> None:
    """It needs a distance within Kraken's bounds, and shows its stop price and what it is."""
    form = {**STOP, "orderType": "trailing_stop", "cliOrdId": "trail"}
    del form["stopPrice"]
    await sent(hands, ENTRY)
    assert (await hands.post(endpoints.SEND_ORDER, form))["error"] == "requiredArgumentMissing"
    for distance in ("0.01", "60", "x"):
        refused = await hands.post(endpoints.SEND_ORDER, {**form, "trailingStopMaxDeviation": distance})
        assert refused["error"] == "invalidArgument: trailingStopMaxDeviation"
    terms = {"trailingStopMaxDeviation": "1", "trailingStopDeviationUnit": "PERCENT"}
    (event,) = (await sent(hands, form, **terms))["orderEvents"]
    assert event["orderTrigger"]["triggerPrice"] == 59_400
    (row,) = (await hands.get(endpoints.OPEN_ORDERS))["openOrders"]
    assert (row["orderType"], row["stopPrice"]) == ("trailing_stop", 59_400)
    unsupported = await hands.post(endpoints.SEND_ORDER, {**form, **terms, "limitPriceOffsetValue": "1"})
    assert unsupported["error"] == "invalidArgument: limitPriceOffsetValue"


async def test_orders_status_knows_triggers_and_what_became_of_them(hands: Hands, autojump_clock: MockClock) -> None:
    """A placed trigger, a filled order, a cancelled one."""
    await sent(hands, ENTRY)
    await sent(hands, STOP)
    await sent(hands, BID)
    await hands.post(endpoints.CANCEL_ORDER, {"cliOrdId": "bid"})
    answer = await hands.post(endpoints.ORDERS_STATUS, {"cliOrdIds": "entry,stop,bid"})
    found = {
        row["order"]["cliOrdId"]: (row["status"], row["updateReason"], row["order"]["type"]) for row in answer["orders"]
    }
    assert found == {
        "stop": ("TRIGGER_PLACED", "NEW_USER_ORDER", "TRIGGER_ORDER"),
        "entry": ("FULLY_EXECUTED", "FULL_FILL", "ORDER"),
        "bid": ("CANCELLED", "CANCELLED_BY_USER", "ORDER"),
    }


async def test_an_inverse_contract_has_its_own_account(hands: Hands, place: Venue, autojump_clock: MockClock) -> None:
    """Size in dollars, money in coin, by REST and in the log; the dollar account stays."""
    await sent(hands, {"orderType": "mkt", "symbol": PI, "side": "sell", "size": "6000"})
    accounts = (await hands.get(endpoints.ACCOUNTS))["accounts"]
    assert accounts["flex"]["portfolioValue"] == 100_000
    coin = accounts["fi_xbtusd"]
    assert (coin["currency"], coin["balances"]["pi_xbtusd"]) == ("xbt", -6000)
    assert coin["marginRequirements"]["im"] == pytest.approx(6000 / 59_999 * 0.02)
    (row,) = (await hands.get(endpoints.OPEN_POSITIONS))["openPositions"]
    assert (row["side"], row["size"], row["pnlCurrency"]) == ("short", 6000, "XBT")
    (fill,) = (await hands.get(endpoints.FILLS))["fills"]
    assert (fill["fee_currency"], fill["fee_paid"]) == ("XBT", pytest.approx(6000 / 59_999 * 0.0005))
    log = parse_account_log(await hands.get(endpoints.ACCOUNT_LOG)).values
    assert {(entry.asset, entry.margin_account) for entry in log} == {("xbt", "fi_xbtusd"), ("pi_xbtusd", "fi_xbtusd")}


async def test_the_account_log_is_paged_and_filtered(hands: Hands, place: Venue, autojump_clock: MockClock) -> None:
    """By kind, count and order; an hour's funding is in it, to the digit."""
    await sent(hands, ENTRY)
    place.settle_funding(START + HOUR_US)
    paid = await hands.get(endpoints.ACCOUNT_LOG, {"info": "funding rate change", "sort": "asc", "count": "1"})
    (entry,) = parse_account_log(paid).values
    assert entry.realized_funding == -place.engine.books.funding
    assert entry.new_balance == place.engine.books.balance
    everything = parse_account_log(await hands.get(endpoints.ACCOUNT_LOG)).values
    assert [row.info for row in everything] == ["futures trade", "futures trade", "funding rate change"]

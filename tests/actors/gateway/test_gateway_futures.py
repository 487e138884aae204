"""The futures gateway against fakes that speak Kraken's protocol."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from decimal import Decimal
from functools import partial
from itertools import count, pairwise
from typing import Any
from urllib.parse import parse_qs

import httpx
import msgspec
import pytest
import trio
from gateway_fakes import START_US, Listened, Script, TrioClock, drain, hear, hold, listened, nothing, rest, say, server

from actors.gateway.budget import Budget
from actors.gateway.direct import BODY_SENT, HEADERS_NEXT
from actors.gateway.futures import FuturesGateway
from actors.gateway.secret import Secret
from config.settings import ExecutionSettings
from protocol.kraken import account as own
from protocol.kraken import endpoints, futures_rest, futures_ws, orders
from protocol.kraken.markets import Notice, write_notifications
from protocol.kraken.signing import BadSecret, futures_authent, futures_challenge
from protocol.kraken.wire import parse_iso_us, write_iso_ms
from protocol.messages.base import from_edge
from protocol.messages.futures import (
    Account,
    AccountSeen,
    CancelOrder,
    CommandAnswered,
    EditOrder,
    Fill,
    FillSeen,
    Instrument,
    InstrumentsSeen,
    Maintenance,
    OpenOrder,
    OrderSeen,
    PlaceOrder,
    Position,
    PositionsSeen,
    SnapshotFailed,
    SnapshotSeen,
    TickerSeen,
)
from protocol.ports import FeedLost
from protocol.units import BEHIND_S

KEY = "key"
SECRET = "c2VjcmV0"
CHALLENGE = "226aee50-88fc-4618-a42a-34f7709570b2"
SYMBOL = "PF_XBTUSD"
SYMBOLS = (SYMBOL, "PF_ETHUSD")
TIMEOUT_S = 5

STOP = OpenOrder(
    order_id="o-1",
    client_order_id="ks-stop",
    symbol=SYMBOL,
    side="sell",
    order_type="stp",
    size=Decimal("0.5"),
    filled=Decimal(0),
    limit_price=None,
    stop_price=Decimal(61000),
    reduce_only=True,
    trigger="mark",
)
FILL = Fill(
    fill_id="f-1",
    order_id="o-0",
    client_order_id="ks-entry",
    symbol=SYMBOL,
    side="buy",
    size=Decimal("0.5"),
    price=Decimal(64000),
    time=START_US,
    fill_type="taker",
    fee_usd=Decimal("16"),
)
POSITION = Position(symbol=SYMBOL, size=Decimal("0.5"), entry_price=Decimal(64000), liquidation_price=Decimal(58000))
ACCOUNT = Account(
    equity_usd=Decimal(10_000),
    balance_usd=Decimal(9_900),
    available_margin_usd=Decimal(9_000),
    initial_margin_usd=Decimal(640),
    maintenance_margin_usd=Decimal(320),
)
TICKER = from_edge(
    TickerSeen,
    START_US,
    symbol=SYMBOL,
    mark=Decimal("64000.5"),
    index=Decimal(64001),
    bid=Decimal(63999),
    ask=Decimal(64002),
    last=Decimal(64000),
    funding_rate=Decimal("0.00001"),
    suspended=False,
    post_only=False,
    time=START_US,
)


async def hang_up(_socket: Any) -> None:
    """A server that ends the connection at once."""


def gateway(
    handler: Callable[[httpx.Request], Any] = nothing,
    script: Script = hang_up,
    budget: Budget | None = None,
    *,
    secret: str = SECRET,
    nonce: Callable[[], int] | None = None,
    fills_until: Callable[[], int | None] = lambda: None,
) -> FuturesGateway:
    """A gateway whose REST is `handler` and whose WebSocket is `script`."""
    return FuturesGateway(
        rest(handler),
        server(script),
        TrioClock(),
        key=KEY,
        secret=Secret(secret),
        settings=ExecutionSettings(request_timeout_s=TIMEOUT_S),
        budget=budget,
        nonce=nonce,
        fills_until=fills_until,
    )


async def greet(socket: Any) -> None:
    """Take every subscription in the order Kraken needs, and acknowledge it."""
    await say(socket, futures_ws.write_info())
    assert (await hear(socket))["feed"] == "heartbeat"
    await say(socket, futures_ws.write_subscribed("heartbeat"))
    assert tuple((await hear(socket))["product_ids"]) == SYMBOLS
    for symbol in SYMBOLS:
        await say(socket, futures_ws.write_subscribed("ticker", [symbol]))
    assert await hear(socket) == {"event": "challenge", "api_key": KEY}
    await say(socket, futures_ws.write_challenge(CHALLENGE))
    signed = futures_challenge(SECRET, CHALLENGE)
    for feed in endpoints.PRIVATE_FEEDS:
        request = await hear(socket)
        proof = (request["feed"], request["original_challenge"], request["signed_challenge"])
        assert proof == (feed, CHALLENGE, signed)
        await say(socket, futures_ws.write_subscribed(feed, api_key=KEY))


def after_greeting(*frames: object) -> Script:
    """A server that greets, says `frames` and holds the line."""

    async def script(socket: Any) -> None:
        await greet(socket)
        await say(socket, *frames)
        await hold(socket)

    return script


# --- stream -------------------------------------------------------------------------------------------------------


async def test_the_connection_is_kept_by_ping_frames_and_no_json(autojump_clock: trio.testing.MockClock) -> None:
    """Kraken calls a JSON ping "Bad websocket message": every half minute a frame of the protocol, and nothing else is said."""
    pings: list[float] = []
    said: list[object] = []

    async def script(socket: Any) -> None:
        await greet(socket)
        while True:
            said.append(await hear(socket))

    connect = listened(server(script), pings)
    settings = ExecutionSettings(request_timeout_s=TIMEOUT_S)
    futures = FuturesGateway(rest(nothing), connect, TrioClock(), key=KEY, secret=Secret(SECRET), settings=settings)
    async with futures.stream(SYMBOLS):
        await trio.sleep(95)
    await trio.sleep(100)

    assert [round(moment) for moment in pings] == [30, 60, 90]
    assert said == []


async def test_a_ping_without_pong_is_let_go_and_the_next_one_sent(autojump_clock: trio.testing.MockClock) -> None:
    """Whether anything still comes is the reader's to judge; the pings must not stop for it."""
    pings: list[float] = []

    class Deaf(Listened):
        async def ping(self, payload: bytes) -> None:
            """Sent, and never answered."""
            pings.append(trio.current_time())
            await trio.sleep_forever()

    @asynccontextmanager
    async def connect() -> AsyncIterator[Any]:
        async with server(after_greeting())() as socket:
            yield Deaf(socket, pings)

    settings = ExecutionSettings(request_timeout_s=TIMEOUT_S)
    futures = FuturesGateway(rest(nothing), connect, TrioClock(), key=KEY, secret=Secret(SECRET), settings=settings)
    async with futures.stream(SYMBOLS):
        await trio.sleep(130)

    assert len(pings) == 3
    assert max(later - earlier for earlier, later in pairwise(pings)) < endpoints.PING_WITHIN_S


async def test_everything_private_and_public_arrives_as_messages(autojump_clock: trio.testing.MockClock) -> None:
    """One stream: ticker, orders, fills, positions, account; None for what only proves life."""
    opened = from_edge(OrderSeen, START_US, order=STOP, open=True, reason="new_placed_order_by_user")
    positions = from_edge(PositionsSeen, START_US, positions=(POSITION,), sequence=4)
    account = from_edge(AccountSeen, START_US, account=ACCOUNT, sequence=7)

    async def script(socket: Any) -> None:
        await greet(socket)
        await say(
            socket,
            futures_ws.write_heartbeat(START_US),
            futures_ws.write_ticker(TICKER),
            futures_ws.write_order(opened),
            futures_ws.write_fills_frame([FILL]),
            futures_ws.write_positions(positions),
            futures_ws.write_balances(account, snapshot=True),
            {"feed": "balances", "holding": {"USD": 1}, "seq": 8, "timestamp": 1},
        )

    said: list[Any] = []
    with pytest.raises(FeedLost, match="closed"):
        await drain(gateway(script=script), SYMBOLS, said)

    told = [message for message in said if message is not None]
    assert [type(message) for message in told] == [TickerSeen, OrderSeen, FillSeen, PositionsSeen, AccountSeen]
    assert told[0].mark == TICKER.mark
    assert told[1].order == STOP
    assert (told[2].fill, told[2].source) == (FILL, "stream")
    assert told[3].positions == (POSITION,)
    assert told[4].account == ACCOUNT
    assert said.count(None) == 3  # greeting, heartbeat, a wallet that is not ours


async def test_a_short_cancellation_is_completed_from_the_snapshot(autojump_clock: trio.testing.MockClock) -> None:
    """The dead man's switch names an id; the message says which stop is gone."""
    gone = from_edge(OrderSeen, START_US, order=STOP, open=False, reason="dead_man_switch")
    frames = [futures_ws.write_orders_snapshot([STOP], START_US), futures_ws.write_order_gone(gone)]

    async with gateway(script=after_greeting(*frames)).stream(SYMBOLS) as said:
        assert await anext(said) is None
        first, second = await anext(said), await anext(said)

    assert isinstance(first, OrderSeen)
    assert isinstance(second, OrderSeen)
    assert (first.open, second.open, second.reason) == (True, False, "dead_man_switch")
    assert second.order == STOP


@pytest.mark.parametrize(
    "frame",
    [
        "no json",
        {"event": "error", "message": "Json Error"},
        {"event": "challenge"},
        {"feed": "open_positions", "positions": [{"instrument": SYMBOL, "balance": None}], "seq": 1},
        {"feed": "open_positions", "seq": 1},
    ],
)
async def test_nonsense_and_unreadable_positions_are_feed_lost(
    frame: object, autojump_clock: trio.testing.MockClock
) -> None:
    """A list of positions that cannot be read may not pass for one that did not change."""
    with pytest.raises(FeedLost):
        await drain(gateway(script=after_greeting(frame)), SYMBOLS, [])


@pytest.mark.parametrize(
    "frame",
    [
        {"feed": "ticker", "product_id": SYMBOL, "markPrice": 0},
        {"feed": "fills", "fills": [{"fill_id": "x"}]},
        {"feed": "open_orders", "order_id": "never-shown", "is_cancel": True, "reason": "cancelled_by_user"},
        {"event": "alert", "message": "Already subscribed to feed, re-requesting"},
        {"feed": "a_feed_of_next_year"},
    ],
)
async def test_one_bad_record_degrades_that_record_only(frame: object, autojump_clock: trio.testing.MockClock) -> None:
    """The frame proves life; the next one is read."""
    async with gateway(script=after_greeting(frame, futures_ws.write_ticker(TICKER))).stream(SYMBOLS) as said:
        assert [await anext(said), await anext(said)] == [None, None]
        assert isinstance(await anext(said), TickerSeen)


async def test_a_refused_private_feed_is_feed_lost_before_entering(autojump_clock: trio.testing.MockClock) -> None:
    """Public data alone is not a feed."""

    async def script(socket: Any) -> None:
        for _ in range(2):
            request = await hear(socket)
            await say(socket, futures_ws.write_subscribed(request["feed"], request.get("product_ids", ())))
        await hear(socket)
        await say(socket, futures_ws.write_challenge(CHALLENGE))
        await hear(socket)
        await say(socket, futures_ws.write_refusal("alert", "Failed to subscribe to authenticated feed"))
        await hold(socket)

    with pytest.raises(FeedLost, match="open_orders: Failed to subscribe"):
        async with gateway(script=script).stream(SYMBOLS):
            pytest.fail("entered")


async def test_a_challenge_that_never_comes_is_feed_lost(autojump_clock: trio.testing.MockClock) -> None:
    """Within the request deadline."""

    async def script(socket: Any) -> None:
        while True:
            request = await hear(socket)
            if request["event"] == "subscribe":
                await say(socket, futures_ws.write_subscribed(request["feed"], request.get("product_ids", ())))

    with pytest.raises(FeedLost, match="no answer within 5 s"):
        async with gateway(script=script).stream(SYMBOLS):
            pytest.fail("entered")


# --- sending ------------------------------------------------------------------------------------------------------


def place(number: int = 0, **fields: Any) -> PlaceOrder:
    """A limit buy of half a coin, but for `fields`."""
    terms: dict[str, Any] = {"client_order_id": f"ks-{number}", "signal_id": "s", "role": "entry", "symbol": SYMBOL}
    terms |= {"side": "buy", "order_type": "lmt", "size": Decimal("0.5"), "limit_price": Decimal(64000)}
    return from_edge(PlaceOrder, START_US, number, **(terms | fields))


EDIT = from_edge(EditOrder, START_US, client_order_id="ks-1", role="stop", symbol=SYMBOL, size=Decimal(1))
CANCEL = from_edge(CancelOrder, START_US, symbol=SYMBOL, client_order_id="ks-1")


def status(command: orders.Command, word: str, order_id: str | None = "o-9", fills: list[Fill] | None = None) -> object:
    """Kraken's answer to `command` with inner status `word`."""
    outcome = orders.OUTCOMES[type(command)].get(word, "unknown")
    said = orders.answered(command, START_US, outcome, word, order_id=order_id)
    return orders.write_answer(command, said, fills or [], START_US)


@pytest.mark.parametrize(("fails", "target_s"), [(False, 1), (True, 2)])
async def test_a_target_leaves_once_its_stop_is_on_the_wire(
    autojump_clock: trio.testing.MockClock, fails: bool, target_s: float
) -> None:
    """Ready beside it, however long the stop's connection takes to open; a stop that never leaves holds it up no longer, and its own time begins then."""
    ready: list[tuple[str, float]] = []
    left: list[tuple[str, float]] = []

    async def answer(request: httpx.Request) -> object:
        if request.url.path != endpoints.SEND_ORDER:
            return httpx.Response(503)  # what became of the stop is looked up
        name = parse_qs(request.content.decode())["cliOrdId"][0]
        ready.append((name, trio.current_time()))
        if name == "ks-1":
            await trio.sleep(2 if fails else 1)
            if fails:
                return httpx.Response(503)
        await request.extensions["trace"](HEADERS_NEXT, {})
        await request.extensions["trace"](BODY_SENT, {})
        left.append((name, trio.current_time()))
        await trio.sleep(TIMEOUT_S - 0.1 - (0 if name == "ks-2" else 1))
        return status(place(), "placed")

    working, outcomes = gateway(answer), list[str]()

    async def send(command: PlaceOrder) -> None:
        outcomes.extend(m.outcome for m in await working.send(command) if isinstance(m, CommandAnswered))

    stop, target = (place(number, role=role) for number, role in ((1, "stop"), (2, "target")))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(send, stop)
        await trio.sleep(0.1)
        nursery.start_soon(send, target)
    assert ready == [("ks-1", 0), ("ks-2", 0.1)]
    assert left[-1] == ("ks-2", target_s)
    assert [name for name, _ in left[:-1]] == ([] if fails else ["ks-1"])
    assert outcomes == ["unknown" if fails else "placed", "placed"]


async def test_a_target_does_not_take_the_points_its_stop_waits_for(autojump_clock: trio.testing.MockClock) -> None:
    """The stop is paid for and numbered first, however long our own rate limit holds it."""
    sent: list[tuple[str, int]] = []

    def answer(request: httpx.Request) -> object:
        name = parse_qs(request.content.decode())["cliOrdId"][0]
        sent.append((name, int(request.headers["Nonce"])))
        return status(place(), "placed")

    budget = Budget()
    while not budget.take(1, START_US, "protect"):
        pass
    working = gateway(answer, budget=budget, nonce=partial(next, count(1)))
    stop, target = (place(number, role=role, reduce_only=True) for number, role in ((1, "stop"), (2, "target")))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(working.send, stop)
        await trio.sleep(BEHIND_S)
        nursery.start_soon(working.send, target)
    assert sent == [("ks-1", 1), ("ks-2", 2)]


async def test_a_stop_goes_out_signed_with_the_mark_as_its_trigger() -> None:
    """Every parameter, byte for byte under the signature."""
    sent: list[httpx.Request] = []
    stop = place(
        role="stop", side="sell", order_type="stp", limit_price=None, stop_price=Decimal("61000.5"), reduce_only=True,
        process_before=START_US + 5_250_999,
    )  # fmt: skip

    def answer(request: httpx.Request) -> object:
        sent.append(request)
        return status(stop, "placed")

    (done,) = await gateway(answer).send(stop)

    assert isinstance(done, CommandAnswered)
    assert (done.outcome, done.order_id, done.command, done.client_order_id) == ("placed", "o-9", stop.id, "ks-0")
    (request,) = sent
    body = request.content.decode()
    form = {name: values[0] for name, values in parse_qs(body).items()}
    assert (request.method, request.url.path) == ("POST", "/derivatives/api/v3/sendorder")
    assert form == {
        "orderType": "stp",
        "symbol": SYMBOL,
        "side": "sell",
        "size": "0.5",
        "cliOrdId": "ks-0",
        "reduceOnly": "true",
        "stopPrice": "61000.5",
        "triggerSignal": "mark",
        "processBefore": "2026-01-05T00:00:05.250Z",
    }
    assert "%3A" in body
    assert request.headers["APIKey"] == KEY
    assert request.headers["Authent"] == futures_authent(SECRET, body, request.url.path)
    assert request.headers["Content-Type"] == "application/x-www-form-urlencoded"


async def test_executions_in_the_answer_come_before_it() -> None:
    """An order that trades at once is `placed` on the wire and `filled` in truth."""
    command = place(order_type="mkt", limit_price=None)
    seen, done = await gateway(lambda _request: status(command, "placed", "o-0", [FILL])).send(command)

    assert isinstance(seen, FillSeen)
    assert isinstance(done, CommandAnswered)
    assert (seen.source, seen.fill.fill_id, seen.fill.size, seen.fill.fee_usd) == ("reply", "f-1", FILL.size, None)
    assert (done.outcome, done.status) == ("filled", "placed")


@pytest.mark.parametrize(
    ("command", "word", "outcome"),
    [
        (place(), "placed", "placed"),
        (place(), "insufficientAvailableFunds", "rejected"),
        (place(), "postWouldExecute", "rejected"),
        (place(), "wouldNotReducePosition", "rejected"),
        (place(), "wouldProcessAfterSpecifiedTime", "rejected"),
        (place(), "clientOrderIdAlreadyExist", "unknown"),
        (place(), "aWordOfNextYear", "unknown"),
        (EDIT, "edited", "edited"),
        (EDIT, "orderForEditNotFound", "not_found"),
        (EDIT, "invalidPrice", "rejected"),
        (EDIT, "aWordOfNextYear", "unknown"),
        (CANCEL, "cancelled", "cancelled"),
        (CANCEL, "filled", "filled"),
        (CANCEL, "notFound", "not_found"),
        (CANCEL, "aWordOfNextYear", "unknown"),
    ],
)
async def test_the_inner_status_decides(command: orders.Command, word: str, outcome: str) -> None:
    """Every answer here is HTTP 200 and `result: success`."""
    (done,) = await gateway(lambda _request: status(command, word)).send(command)

    assert isinstance(done, CommandAnswered)
    assert (done.outcome, done.status, done.symbol) == (outcome, word, SYMBOL)


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (httpx.ReadTimeout("slow"), "unknown"),
        (httpx.ConnectError("refused"), "unknown"),
        (httpx.RemoteProtocolError("cut off"), "unknown"),
        (httpx.Response(500, text="oops"), "unknown"),
        (httpx.Response(502, text="<html>"), "unknown"),
        (httpx.Response(200, text="<html>"), "unknown"),
        (httpx.Response(200, text='{"result":"success","sendSta'), "unknown"),
        (httpx.Response(404, text="what?"), "unknown"),
        ({"result": "success"}, "unknown"),
        ({"result": "success", "sendStatus": {"status": 7}}, "unknown"),
        (futures_rest.write_error("Unavailable", START_US), "unknown"),
        (futures_rest.write_error("Server Error", START_US), "unknown"),
        (futures_rest.write_error("aWordOfNextYear", START_US), "unknown"),
        (futures_rest.write_error("authenticationError", START_US), "rejected"),
        (futures_rest.write_error("invalidArgument: size", START_US), "rejected"),
        (httpx.Response(401), "rejected"),
        (httpx.Response(403, text="<html>"), "rejected"),
        (httpx.Response(429), "rejected"),
        (
            httpx.Response(400, json={"result": "error", "status": "BAD_REQUEST", "errors": [{"code": 11, "message": "invalid order type"}]}),
            "rejected",
        ),
        (
            httpx.Response(400, json={"result": "error", "status": "BAD_REQUEST", "errors": [{"code": 1, "message": "UUID string too large"}]}),
            "rejected",
        ),
        (
            httpx.Response(400, json={"result": "error", "status": "INTERNAL", "errors": [{"code": 1, "message": "who knows"}]}),
            "unknown",
        ),
    ],
)  # fmt: skip
async def test_only_proof_of_refusal_is_a_refusal(answer: object, outcome: str) -> None:
    """Whatever may have taken effect is unknown."""
    (done,) = await gateway(lambda _request: answer).send(place())

    assert isinstance(done, CommandAnswered)
    assert done.outcome == outcome
    assert done.status


@pytest.mark.parametrize(
    ("answer", "action"),
    [
        (httpx.Response(403, text="\n<!DOCTYPE html><title>Attention Required! | Cloudflare</title>"), "retry"),
        (httpx.Response(403, json={"status": "forbidden"}), "halt"),
        (httpx.Response(403), "halt"),
        (httpx.Response(401, json={"status": "unauthorized"}), "halt"),
    ],
)
async def test_a_page_that_stands_in_the_way_is_not_the_exchange_refusing_our_key(
    answer: httpx.Response, action: str
) -> None:
    """Nothing took effect either way; a block passes, and no key need be changed for it."""
    (done,) = await gateway(lambda _request: answer).send(place())

    assert isinstance(done, CommandAnswered)
    assert (done.outcome, done.action) == ("rejected", action)


async def test_an_answer_that_never_comes_is_unknown(autojump_clock: trio.testing.MockClock) -> None:
    """After the deadline and one short question for its client order id; never sent a second time."""
    asked: list[str] = []

    async def silent(request: httpx.Request) -> None:
        asked.append(f"{request.url.path.rsplit('/', 1)[-1]} {request.content.decode()}")
        await trio.sleep_forever()

    (done,) = await gateway(silent).send(place())

    assert isinstance(done, CommandAnswered)
    assert (done.outcome, done.action, trio.current_time()) == ("unknown", "look_up", pytest.approx(6))
    assert [what.partition(" ")[0] for what in asked] == ["sendorder", "status"]
    assert asked[1] == f"status cliOrdIds={place().client_order_id}"


@pytest.mark.parametrize(
    ("word", "outcome"),
    [
        ("ENTERED_BOOK", "placed"),
        ("TRIGGER_PLACED", "placed"),
        ("FULLY_EXECUTED", "filled"),
        ("CANCELLED", "unknown"),
        ("REJECTED", "unknown"),
        ("NEW_WORD", "unknown"),
        (None, "unknown"),
    ],
)
async def test_a_lost_answer_is_looked_up_by_client_order_id(
    word: str | None, outcome: str, autojump_clock: trio.testing.MockClock
) -> None:
    """What the exchange knows of the order settles it; absence and ends do not."""
    known = futures_rest.OrderStatus(
        order_id="o-1", client_order_id=place().client_order_id, symbol=SYMBOL, filled=None, status=word or "",
        reason=None, error=None,
    )  # fmt: skip

    def answer(request: httpx.Request) -> object:
        if request.url.path == endpoints.SEND_ORDER:
            return httpx.Response(502)
        return futures_rest.write_orders_status([] if word is None else [known], START_US)

    (done,) = await gateway(answer).send(place())

    assert isinstance(done, CommandAnswered)
    assert (done.outcome, done.order_id) == (outcome, None if outcome == "unknown" else "o-1")


async def test_the_budget_refuses_entries_and_not_protection(autojump_clock: trio.testing.MockClock) -> None:
    """Thirty-five orders in a row empty what all may use; a cancellation still leaves at once. An entry does not wait: the door's yes is of now."""
    working = gateway(
        lambda request: (
            status(place(), "placed") if request.url.path.endswith("sendorder") else status(CANCEL, "cancelled")
        )
    )
    for number in range(35):
        await working.send(place(number))
    assert trio.current_time() == 0

    await working.send(CANCEL)
    await working.send(place(36, reduce_only=True))
    assert trio.current_time() == 0

    (refused,) = await working.send(place(37))
    assert isinstance(refused, CommandAnswered)
    assert (refused.outcome, trio.current_time()) == ("rejected", 0)


async def test_an_entry_that_would_wait_too_long_is_refused_unsent(autojump_clock: trio.testing.MockClock) -> None:
    """Nothing left: the outcome is certain."""
    budget = Budget(points=500, window_s=500)
    for _ in range(35):
        budget.take(10, START_US, "enter")

    (done,) = await gateway(nothing, budget=budget).send(place())

    assert isinstance(done, CommandAnswered)
    assert done.outcome == "rejected"
    assert "nothing was sent" in done.status


async def test_kraken_s_limit_is_believed(autojump_clock: trio.testing.MockClock) -> None:
    """After `apiLimitExceeded` even a cancellation waits for points."""
    working = gateway(lambda _request: futures_rest.write_error("apiLimitExceeded", START_US))
    await working.send(place())
    await working.send(CANCEL)

    assert trio.current_time() == pytest.approx(0.2)


@pytest.mark.parametrize("status", [200, 429])
async def test_limits_reached_in_a_row_slow_down_what_protects(
    status: int, autojump_clock: trio.testing.MockClock
) -> None:
    """Whatever the status of Kraken's word for it: once a second from the second on (storm 70204)."""
    refusal = httpx.Response(status, json=futures_rest.write_error("apiLimitExceeded", START_US))
    working = gateway(lambda _request: refusal)
    for _ in range(4):
        await working.send(CANCEL)

    assert trio.current_time() == pytest.approx(0.2 + 1 + 1)


async def test_the_kill_switch_reads_the_truth_with_the_reserve(autojump_clock: trio.testing.MockClock) -> None:
    """What may be spent on reading is spent: a usual snapshot waits for points, an urgent one does not, not even in a pause."""
    budget = Budget()
    while budget.take(1, START_US, "read") == 0:
        pass
    working = gateway(lambda request: TRUTH[request.url.path], budget=budget)

    assert isinstance(await working.snapshot(urgent=True), SnapshotSeen)
    assert trio.current_time() <= BEHIND_S

    budget.refused(START_US)
    assert isinstance(await working.snapshot(urgent=True), SnapshotSeen)
    assert trio.current_time() == pytest.approx(0.16)  # 8 points at 50 a second, and no pause

    assert isinstance(await working.snapshot(), SnapshotFailed)


# --- truth by REST ------------------------------------------------------------------------------------------------

TRUTH: Mapping[str, object] = {
    endpoints.OPEN_ORDERS: futures_rest.write_open_orders([STOP], START_US),
    endpoints.OPEN_POSITIONS: futures_rest.write_open_positions([POSITION], START_US),
    endpoints.FILLS: futures_rest.write_fills([FILL], START_US),
    endpoints.ACCOUNTS: futures_rest.write_accounts(ACCOUNT, START_US),
}


async def test_the_snapshot_is_the_truth_and_says_when_it_began(autojump_clock: trio.testing.MockClock) -> None:
    """Four signed reads, the last two at once (two connections stay open); `began_at` is before the first of them."""

    async def answer(request: httpx.Request) -> object:
        assert request.headers["Authent"] == futures_authent(SECRET, "", request.url.path)
        await trio.sleep(1)
        return TRUTH[request.url.path]

    seen = await gateway(answer).snapshot()

    assert isinstance(seen, SnapshotSeen)
    assert (seen.began_at, seen.at) == (START_US, START_US + 3_000_001)
    assert (seen.orders, seen.fills, seen.account) == ((STOP,), (FILL,), ACCOUNT)
    assert [(p.symbol, p.size, p.liquidation_price) for p in seen.positions] == [(SYMBOL, POSITION.size, None)]


@pytest.mark.parametrize(
    ("there_s", "takes_s", "ahead_s"),
    [(0, 0, 0), (5, 0, -5), (-5, 0, 5), (3, 4, 0), (-1, 4, 1), (None, 0, None)],
    ids=["right", "behind", "ahead", "slow", "slow and ahead", "silent"],
)
async def test_the_snapshot_says_how_far_our_clock_is_off(
    autojump_clock: trio.testing.MockClock, there_s: int | None, takes_s: int, ahead_s: int | None
) -> None:
    """At least: an answer that took four seconds may have been written at any of them."""
    asked = START_US + 1  # by then; see BEHIND_S

    async def answer(request: httpx.Request) -> object:
        truth = TRUTH[request.url.path]
        if request.url.path != endpoints.ACCOUNTS:
            return truth
        await trio.sleep(takes_s)
        assert isinstance(truth, dict)
        return truth | {"serverTime": None if there_s is None else write_iso_ms(asked + there_s * 1_000_000)}

    seen = await gateway(answer).snapshot()

    assert isinstance(seen, SnapshotSeen)
    if ahead_s is None or seen.ahead_us is None:
        assert seen.ahead_us is None
        assert ahead_s is None
    else:
        assert abs(seen.ahead_us - ahead_s * 1_000_000) <= 1_000


def fills_page(first: int, rows: int) -> dict[str, object]:
    """A page of fills, one a second, the first `first` seconds after the start."""
    fills = [
        msgspec.structs.replace(FILL, fill_id=f"f{n}", time=START_US + n * 1_000_000)
        for n in range(first, first + rows)
    ]
    return futures_rest.write_fills(fills, START_US)


async def test_fills_that_cannot_be_reached_are_no_truth(autojump_clock: trio.testing.MockClock) -> None:
    """More than the pages hold: the snapshot fails rather than leave a gap."""

    def answer(request: httpx.Request) -> object:
        if request.url.path != endpoints.FILLS:
            return TRUTH[request.url.path]
        before = request.url.params.get("lastFillTime")
        end = 5000 if before is None else (parse_iso_us(before, "", "") - START_US) // 1_000_000
        return fills_page(max(end - 100, 0), min(end, 100))

    working = gateway(answer, fills_until=lambda: START_US + 9_000_000)

    assert isinstance(await working.snapshot(), SnapshotFailed)


async def test_fills_are_paged_back_to_the_last_that_was_booked(autojump_clock: trio.testing.MockClock) -> None:
    """250 fills while nobody was there: all are seen, none twice. Who books none gets the newest page."""

    def answer(request: httpx.Request) -> object:
        if request.url.path != endpoints.FILLS:
            return TRUTH[request.url.path]
        before = request.url.params.get("lastFillTime")
        end = 260 if before is None else (parse_iso_us(before, "", "") - START_US) // 1_000_000
        return fills_page(max(end - 100, 0), min(end, 100))

    first = await gateway(answer).snapshot()
    second = await gateway(answer, fills_until=lambda: START_US + 9_000_000).snapshot()

    assert isinstance(first, SnapshotSeen)
    assert isinstance(second, SnapshotSeen)
    assert [f.fill_id for f in first.fills] == [f"f{n}" for n in range(160, 260)]
    assert [f.fill_id for f in second.fills] == [f"f{n}" for n in range(260)]


async def test_fills_of_one_moment_on_both_sides_of_a_page_are_seen_in_order(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """An order that takes several prices fills them in one millisecond, which may be the edge of a page; an exit in front of the entry that it
    closes would not be booked (storm 40404).
    """
    fills = [msgspec.structs.replace(FILL, fill_id=f"f{n}", time=START_US + n // 8 * 1_000_000) for n in range(150)]

    def answer(request: httpx.Request) -> object:
        if request.url.path != endpoints.FILLS:
            return TRUTH[request.url.path]
        before = request.url.params.get("lastFillTime")
        older = [fill for fill in fills if before is None or fill.time < parse_iso_us(before, "", "")]
        return futures_rest.write_fills(older[-100:], START_US)

    seen = await gateway(answer, fills_until=lambda: START_US).snapshot()

    assert isinstance(seen, SnapshotSeen)
    assert [f.fill_id for f in seen.fills] == [f"f{n}" for n in range(150)]


async def test_a_millisecond_with_more_fills_than_a_page_ends(autojump_clock: trio.testing.MockClock) -> None:
    """150 executions in one: what a page shows of it is read, and so is what came before; the same page is not asked for for ever (storm 60149)."""
    times = [START_US + n * 1_000_000 for n in range(30)] + [START_US + 30_000_000] * 150
    fills = [msgspec.structs.replace(FILL, fill_id=f"f{n}", time=time) for n, time in enumerate(times)]
    asked = 0

    def answer(request: httpx.Request) -> object:
        nonlocal asked
        if request.url.path != endpoints.FILLS:
            return TRUTH[request.url.path]
        asked += 1
        before = request.url.params.get("lastFillTime")
        older = [fill for fill in fills if before is None or fill.time < parse_iso_us(before, "", "")]
        return futures_rest.write_fills(older[-100:], START_US)

    seen = await gateway(answer, fills_until=lambda: START_US).snapshot()

    assert isinstance(seen, SnapshotSeen)
    assert {f.fill_id for f in seen.fills} == {f"f{n}" for n in (*range(30), *range(80, 180))}
    assert asked == 3


@pytest.mark.parametrize("path", sorted(TRUTH))
@pytest.mark.parametrize(
    "answer",
    [
        httpx.ConnectError("refused"),
        httpx.Response(503),
        httpx.Response(401),
        httpx.Response(200, text="<html>"),
        futures_rest.write_error("apiLimitExceeded", START_US),
        {"result": "success"},
    ],
)
async def test_half_a_truth_is_none(path: str, answer: object) -> None:
    """Whichever read fails, and however: a reason, no exception and no empty list."""
    seen = await gateway(lambda request: answer if request.url.path == path else TRUTH[request.url.path]).snapshot()

    assert isinstance(seen, SnapshotFailed)
    assert seen.reason


@pytest.mark.parametrize("path", [endpoints.OPEN_ORDERS, endpoints.OPEN_POSITIONS])
async def test_a_position_or_order_that_cannot_be_read_fails_the_snapshot(path: str) -> None:
    """Left out, it would read as flat or cancelled; the rows that can be read are there for a kill."""
    broken = {
        endpoints.OPEN_ORDERS: {"result": "success", "openOrders": [{"order_id": "o-1"}]},
        endpoints.OPEN_POSITIONS: {"result": "success", "openPositions": [{"symbol": SYMBOL, "side": "sideways"}]},
    }
    seen = await gateway(lambda request: ({**TRUTH, path: broken[path]})[request.url.path]).snapshot()

    assert isinstance(seen, SnapshotFailed)
    assert "MalformedPayload" in seen.reason
    assert seen.readable is not None
    positions_failed = path == endpoints.OPEN_POSITIONS
    assert (bool(seen.readable.orders), bool(seen.readable.positions)) == (positions_failed, not positions_failed)


async def test_a_trigger_without_its_size_is_completed_from_what_was_placed() -> None:
    """Kraken leaves `unfilledSize` out of untouched triggers at times; we know what we sent."""
    stop = place(
        role="stop", side="sell", order_type="stp", limit_price=None, stop_price=Decimal(61000), reduce_only=True
    )
    rows: Any = futures_rest.write_open_orders([STOP], START_US)
    del rows["openOrders"][0]["unfilledSize"]
    answers = {**TRUTH, endpoints.OPEN_ORDERS: rows, endpoints.SEND_ORDER: status(stop, "placed", "o-1")}
    working = gateway(lambda request: answers[request.url.path])

    before = await working.snapshot()
    await working.send(stop)
    after = await working.snapshot()

    assert isinstance(before, SnapshotFailed)
    assert isinstance(after, SnapshotSeen)
    assert after.orders == (STOP,)


@pytest.mark.parametrize(
    ("word", "rests", "asked"),
    [
        ("TRIGGER_PLACED", True, 2),
        ("ENTERED_BOOK", True, 2),
        ("CANCELLED", False, 1),
        (None, False, 1),
        ("503", False, 2),
    ],
)
async def test_an_order_that_a_list_does_not_show_is_asked_after(word: str | None, rests: bool, asked: int) -> None:
    """A list that trails takes no order that rests; one that is gone is asked after once; no answer leaves the list as it is."""
    stop = place(
        role="stop", side="sell", order_type="stp", limit_price=None, stop_price=STOP.stop_price, reduce_only=True
    )
    known = futures_rest.OrderStatus(
        order_id=STOP.order_id, client_order_id=stop.client_order_id, symbol=SYMBOL, filled=None, status=word or "",
        reason=None, error=None,
    )  # fmt: skip
    questions = []

    def answer(request: httpx.Request) -> object:
        if request.url.path == endpoints.SEND_ORDER:
            return status(stop, "placed", STOP.order_id)
        if request.url.path == endpoints.OPEN_ORDERS:
            return futures_rest.write_open_orders([], START_US)
        if request.url.path != endpoints.ORDERS_STATUS:
            return TRUTH[request.url.path]
        questions.append(parse_qs(request.content.decode())["orderIds"])
        if word == "503":
            return httpx.Response(503)
        return futures_rest.write_orders_status([] if word is None else [known], START_US)

    working = gateway(answer)
    await working.send(stop)
    for _ in range(2):
        seen = await working.snapshot()
        assert isinstance(seen, SnapshotSeen)
        assert [order.order_id for order in seen.orders] == [STOP.order_id] * rests

    assert questions == [[STOP.order_id]] * asked


async def test_what_an_earlier_stream_showed_is_asked_after_too(autojump_clock: trio.testing.MockClock) -> None:
    """A stream that broke and came back has shown nothing yet, and a list may leave out what rests all the same."""
    known = futures_rest.OrderStatus(
        order_id=STOP.order_id, client_order_id=STOP.client_order_id, symbol=SYMBOL, filled=None, status="TRIGGER_PLACED",
        reason=None, error=None,
    )  # fmt: skip
    lists = {
        endpoints.OPEN_ORDERS: futures_rest.write_open_orders([], START_US),
        endpoints.ORDERS_STATUS: futures_rest.write_orders_status([known], START_US),
    }
    streams = iter((after_greeting(futures_ws.write_orders_snapshot([STOP], START_US)), after_greeting()))

    async def script(socket: Any) -> None:
        await next(streams)(socket)

    working = gateway(lambda request: (TRUTH | lists)[request.url.path], script=script)
    async with working.stream(SYMBOLS) as said:
        assert await anext(said) is None
        await anext(said)
    async with working.stream(SYMBOLS):
        seen = await working.snapshot()
    assert isinstance(seen, SnapshotSeen)
    assert [order.order_id for order in seen.orders] == [STOP.order_id]


async def test_what_a_list_showed_is_asked_after_too() -> None:
    """No stream need have shown it, and the list says more than an earlier answer that called it cancelled (storm 420238)."""
    lists, words = iter([[STOP], [], [STOP], []]), iter(["CANCELLED", "TRIGGER_PLACED"])

    def answer(request: httpx.Request) -> object:
        if request.url.path == endpoints.OPEN_ORDERS:
            return futures_rest.write_open_orders(next(lists), START_US)
        if request.url.path != endpoints.ORDERS_STATUS:
            return TRUTH[request.url.path]
        known = futures_rest.OrderStatus(
            order_id=STOP.order_id, client_order_id=STOP.client_order_id, symbol=SYMBOL, filled=None, status=next(words),
            reason=None, error=None,
        )  # fmt: skip
        return futures_rest.write_orders_status([known], START_US)

    working = gateway(answer)
    for rests in (True, False, True, True):
        seen = await working.snapshot()
        assert isinstance(seen, SnapshotSeen)
        assert seen.orders == (STOP,) * rests


async def test_instruments_are_read_without_a_signature() -> None:
    """Public, and FeedLost when they cannot be had."""
    instrument = Instrument(
        symbol=SYMBOL,
        tick=Decimal(1),
        lot=Decimal("0.0001"),
        max_position=Decimal(1200),
        contract_size=Decimal(1),
        inverse=False,
        tradeable=True,
        margin_levels=((Decimal(0), Decimal("0.02"), Decimal("0.01")),),
        max_relative_funding_rate=Decimal("0.0025"),
    )

    def answer(request: httpx.Request) -> object:
        assert "Authent" not in request.headers
        return futures_rest.write_instruments([instrument], START_US)

    seen = await gateway(answer).instruments()

    assert isinstance(seen, InstrumentsSeen)
    assert seen.instruments == (instrument,)
    with pytest.raises(FeedLost):
        await gateway(lambda _request: httpx.Response(503)).instruments()
    with pytest.raises(FeedLost):
        await gateway(lambda _request: {"result": "success"}).instruments()


async def test_of_notices_the_planned_maintenance_is_told() -> None:
    """Signed; with its end where the exchange says for how long, no word that moves a cursor; FeedLost when they cannot be had."""
    minute = 60_000_000
    notices = [
        Notice(kind="maintenance", priority="high", text="soon\x1b[2J", effective=START_US, downtime_minutes=15),
        Notice(kind="maintenance", priority="high", text="", effective=START_US),
        Notice(kind="maintenance", priority="high", text="some day", downtime_minutes=15),
        Notice(kind="settlement", priority="high", text="another thing", effective=START_US),
    ]

    def answer(request: httpx.Request) -> object:
        assert "Authent" in request.headers
        return write_notifications(notices, START_US)

    seen = await gateway(answer).notices()

    assert seen.maintenance == (
        Maintenance(begins=START_US, ends=START_US + 15 * minute, text="soon\\x1b[2J"),
        Maintenance(begins=START_US, ends=None, text=""),
        Maintenance(begins=None, ends=None, text="some day"),
    )
    for bad in (httpx.Response(503), {"result": "success"}, {"result": "error", "error": "apiLimitExceeded"}):
        with pytest.raises(FeedLost):
            await gateway(lambda _request, bad=bad: bad).notices()


async def test_what_the_account_isolates_is_read_whole_or_not_at_all() -> None:
    """Signed, two points; a refusal, no answer or a row that cannot be read is FeedLost: that row may be ours."""

    def answer(request: httpx.Request) -> object:
        assert "Authent" in request.headers
        assert (request.method, request.url.path) == ("GET", "/derivatives/api/v3/leveragepreferences")
        return own.write_leverage_preferences({SYMBOL: Decimal("2.5")}, START_US)

    assert await gateway(answer).isolated() == {SYMBOL: Decimal("2.5")}
    assert await gateway(lambda _request: own.write_leverage_preferences({}, START_US)).isolated() == {}
    half = own.write_leverage_preferences({SYMBOL: Decimal("2.5"), "PF_ETHUSD": Decimal(0)}, START_US)
    refused = futures_rest.write_error("authenticationError", START_US)
    for bad in (httpx.Response(503), httpx.Response(401), {"result": "success"}, refused, half):
        with pytest.raises(FeedLost):
            await gateway(lambda _request, bad=bad: bad).isolated()


def test_a_secret_that_cannot_sign_is_found_at_the_start() -> None:
    """Not at the first order."""
    with pytest.raises(BadSecret):
        gateway(secret="not base64!")

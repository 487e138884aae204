"""Faults switched on at a running venue: each kind of the issue's list, seen by a client; off by default."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import httpx
import pytest
import trio
from trio.testing import MockClock
from trio_websocket import ConnectionClosed
from venues import MARKETS, START, Hands, Straight, engine, enter_private, hear, hear_until, say

from protocol.kraken import endpoints
from sim.clock import SimulatedClock
from sim.faults import Faults, Plan
from sim.faults.control import PATH, with_control
from sim.faults.wiring import faulty_venue
from sim.venue import Venue

ORDER = {
    "orderType": "lmt",
    "symbol": "PF_XBTUSD",
    "side": "buy",
    "size": "0.1",
    "limitPrice": "50000",
    "cliOrdId": "bid",
}
MARKET = {"orderType": "mkt", "symbol": "PF_XBTUSD", "side": "buy", "size": "1", "cliOrdId": "entry"}
TICKERS = {"event": "subscribe", "feed": "ticker", "product_ids": ["PF_XBTUSD"]}


class Bench(NamedTuple):
    """A venue, its faults, and a client that trades and can switch."""

    place: Venue
    faults: Faults
    http: httpx.AsyncClient
    hands: Hands

    async def switch(self, plan: str) -> dict[str, Any]:
        """Add the faults of a plan; what is shown then."""
        answer = await self.http.post(PATH, content=plan)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    async def clear(self) -> dict[str, Any]:
        """End all faults."""
        return dict((await self.http.delete(PATH)).json())


@pytest.fixture
async def bench(nursery: trio.Nursery, autojump_clock: MockClock) -> AsyncIterator[Bench]:
    """Nothing is wrong yet."""
    place, faults = faulty_venue(Plan(), engine(), Straight(1.0), SimulatedClock(START), MARKETS)
    place.app = with_control(place.app, faults)
    await nursery.start(faults.run)
    await nursery.start(place.run)
    async with place.http_client() as http:
        yield Bench(place, faults, http, Hands(place, http))
    nursery.cancel_scope.cancel()


async def test_a_time_out_after_accept_is_an_order_that_is_there(bench: Bench, autojump_clock: MockClock) -> None:
    """The client hears nothing and finds its order on the book."""
    await bench.switch("faults: [{fault: rest.drop_reply, op: send, for_s: 60}]")
    with trio.move_on_after(10) as patience:
        await bench.hands.post(endpoints.SEND_ORDER, ORDER)
    assert patience.cancelled_caught
    (order,) = (await bench.hands.get(endpoints.OPEN_ORDERS))["openOrders"]
    assert order["cliOrdId"] == "bid"


async def test_latency_and_recovery(bench: Bench, autojump_clock: MockClock) -> None:
    """The answer comes late, and at once again when the switch is cleared."""
    await bench.switch("faults: [{fault: rest.delay_reply, op: send, d_s: 3}]")
    began = trio.current_time()
    await bench.hands.post(endpoints.SEND_ORDER, ORDER)
    assert trio.current_time() - began == pytest.approx(3)
    assert (await bench.clear())["active"] == []
    began = trio.current_time()
    await bench.hands.post(endpoints.CANCEL_ORDER, {"cliOrdId": "bid"})
    assert trio.current_time() == began


@pytest.mark.parametrize(
    ("fault", "code", "error"),
    [
        ("{fault: rest.http, code: 502, body: html, accepted: 'no', op: send}", 502, None),
        ("{fault: rest.limit, budget: 0, window_s: 5, ban_s: 9}", 200, "apiLimitExceeded"),
        ("{fault: rest.auth, scope: trade}", 200, "authenticationError"),
    ],
)
async def test_errors_before_the_order_is_looked_at(
    bench: Bench, fault: str, code: int, error: str | None, autojump_clock: MockClock
) -> None:
    """5xx, rate limit, key: nothing was placed."""
    await bench.switch(f"faults: [{fault}]")
    body = str(httpx.QueryParams(ORDER))
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    headers = {**bench.hands._signed(endpoints.SEND_ORDER, body), **form}
    answer = await bench.http.post(endpoints.SEND_ORDER, content=body, headers=headers)
    assert answer.status_code == code
    assert error is None or answer.json()["error"] == error
    assert bench.place.engine.snapshot(bench.place.now_us()).orders == ()


async def test_rejected_orders_and_maintenance_modes(bench: Bench, autojump_clock: MockClock) -> None:
    """A refusal inside a success; post-only and cancel-only markets; then open again."""
    for fault, status in (
        ("{fault: rest.reject, op: send, status: tooManySmallOrders}", "tooManySmallOrders"),
        ("{fault: ex.mode, mode: post_only}", "marketIsPostOnly"),
        ("{fault: ex.mode, mode: cancel_only}", "marketSuspended"),
        ("{fault: ex.maint}", "marketSuspended"),
    ):
        await bench.switch(f"faults: [{fault}]")
        assert (await bench.hands.post(endpoints.SEND_ORDER, ORDER))["sendStatus"]["status"] == status
        await bench.clear()
    assert (await bench.hands.post(endpoints.SEND_ORDER, ORDER))["sendStatus"]["status"] == "placed"


async def test_partial_fills(bench: Bench, autojump_clock: MockClock) -> None:
    """A thin book fills a market order in parts and not whole."""
    await bench.switch("faults: [{fault: ex.partial, depth_usd: 50}]")
    events = (await bench.hands.post(endpoints.SEND_ORDER, MARKET))["sendStatus"]["orderEvents"]
    assert len(events) > 100
    assert sum(event["amount"] for event in events) < 1


async def test_silent_and_dropped_streams(bench: Bench, autojump_clock: MockClock) -> None:
    """The socket stays open and says nothing; then it breaks."""
    async with bench.place.connect(endpoints.FUTURES_WS_PATH) as stream:
        await say(stream, TICKERS)
        await hear_until(stream, feed="ticker")
        await bench.switch("faults: [{fault: md.stall, feed: futures, for_s: 30}]")
        with trio.move_on_after(25) as silence:
            while True:
                await hear(stream)
        assert silence.cancelled_caught
        await trio.sleep(6)
        await hear_until(stream, feed="ticker")
        await bench.switch("faults: [{fault: md.flap, feed: futures, period_s: 2, for_s: 60}]")
        with pytest.raises(ConnectionClosed), trio.fail_after(10):
            while True:
                await hear(stream)


async def told(bench: Bench, plan: str, seconds: float) -> list[int]:
    """Times (seconds from the start, in order of arrival) of the tickers under a plan."""
    times = []
    async with bench.place.connect(endpoints.FUTURES_WS_PATH) as stream:
        await say(stream, TICKERS)
        await hear_until(stream, feed="ticker")
        await bench.switch(plan)
        with trio.move_on_after(seconds):
            while True:
                times.append((await hear_until(stream, feed="ticker"))["time"] // 1000 - START // 1_000_000)
    return times


async def test_duplicated_reordered_and_delayed_messages(bench: Bench, autojump_clock: MockClock) -> None:
    """Twice, out of order, late: each as it says, and none is lost."""
    twice = await told(bench, "faults: [{fault: md.dup, feed: futures}]", 5.25)
    assert [twice.count(second) for second in range(1, 6)] == [2] * 5
    await bench.clear()
    mixed = await told(bench, "faults: [{fault: md.reorder, feed: futures, window_s: 3, p: 0.5}]", 30.25)
    assert mixed != sorted(mixed)
    assert len(set(mixed)) == len(mixed)
    await bench.clear()
    began = round(bench.place.now_us() / 1_000_000) - START // 1_000_000
    late = await told(bench, "faults: [{fault: md.lag, feed: futures, d_s: 10}]", 12.25)
    assert late[-1] <= began + 3


async def test_private_messages_can_be_lost(bench: Bench, autojump_clock: MockClock) -> None:
    """The order is told, its fill is not."""
    async with bench.place.connect(endpoints.FUTURES_WS_PATH) as stream:
        await enter_private(stream, bench.place, ["open_orders", "fills", "open_positions"])
        await bench.switch("faults: [{fault: ws.drop, feed: fills}]")
        await bench.hands.post(endpoints.SEND_ORDER, MARKET)
        assert [(await hear(stream))["feed"] for _ in range(2)] == ["open_orders", "open_positions"]


async def test_the_switch_says_what_is_wrong_with_a_plan(bench: Bench, autojump_clock: MockClock) -> None:
    """Which entry and which field; and it shows what waits and what struck."""
    answer = await bench.http.post(PATH, content="faults: [{fault: rest.reject, op: dance}]")
    assert (answer.status_code, answer.json()["error"][:12]) == (400, "faults[1].op")
    shown = await bench.switch("faults: [{fault: ex.maint, at_s: 60, for_s: 5}]")
    assert ([row["fault"] for row in shown["waiting"]], shown["active"]) == (["ex.maint"], [])
    await trio.sleep(61)
    assert [row["fault"] for row in (await bench.http.get(PATH)).json()["active"]] == ["ex.maint"]
    await trio.sleep(5)
    over = (await bench.http.get(PATH)).json()
    assert (over["waiting"], over["struck"]) == (
        [],
        {"ex.maint": 1, "px.basis": 2},
    )  # both markets open at another price
    assert {row["fault"] for row in over["active"]} == {"px.basis"}

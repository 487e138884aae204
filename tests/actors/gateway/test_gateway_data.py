"""Everything else that is asked of the futures exchange: each endpoint's address, signature, price and type."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any
from urllib.parse import quote_plus

import httpx
import pytest
import trio
from gateway_fakes import START_US, TrioClock, rest

from actors.gateway.budget import Budget
from actors.gateway.futures_data import FuturesData
from actors.gateway.http import FuturesHttp
from actors.gateway.nonce import AHEAD_US, Nonces
from actors.gateway.secret import Secret
from protocol.kraken.faults import ADVICE, VERDICTS, judge
from protocol.kraken.orders import REFUSED_ENVELOPES, REFUSED_STATUSES
from protocol.kraken.signing import futures_authent
from protocol.kraken.wire import Refused
from protocol.messages.futures import CommandAnswered
from tests.fakes import kraken_payloads as own

SECRET = "c2VjcmV0c2VjcmV0"
SYMBOL = "PF_XBTUSD"
CALLS: dict[str, tuple[str, str, Callable[[FuturesData], Awaitable[Any]], object]] = {
    "order book": ("GET /derivatives/api/v3/orderbook", "symbol=PF_XBTUSD", lambda d: d.order_book(SYMBOL), None),
    "trade history": (
        "GET /derivatives/api/v3/history",
        "symbol=PF_XBTUSD&lastTime=2026-01-05T00%3A00%3A00.000Z",
        lambda d: d.trades(SYMBOL, START_US),
        (own.TRADE,),
    ),
    "market executions": (
        "GET /api/history/v2/market/PF_XBTUSD/executions",
        "continuation_token=t",
        lambda d: d.executions(SYMBOL, "t"),
        None,
    ),
    "funding rates": (
        "GET /derivatives/api/v3/historical-funding-rates",
        "symbol=PF_XBTUSD",
        lambda d: d.funding_rates(SYMBOL),
        (own.RATE,),
    ),
    "chart": (
        "GET /api/charts/v1/mark/PF_XBTUSD/15m",
        "from=1767571200&to=1767571260",
        lambda d: d.chart("mark", SYMBOL, "15m", START_US, START_US + 60_000_000),
        None,
    ),
    "tickers": ("GET /derivatives/api/v3/tickers", "", lambda d: d.tickers(), None),
    "instruments status": (
        "GET /derivatives/api/v3/instruments/status",
        "",
        lambda d: d.instruments_status(),
        (own.STATUS,),
    ),
    "fee schedules": ("GET /derivatives/api/v3/feeschedules", "", lambda d: d.fee_schedules(), (own.FEES,)),
    "notifications": ("GET /derivatives/api/v3/notifications", "", lambda d: d.notifications(), (own.NOTICE,)),
    "account log": (
        "GET /api/history/v3/account-log",
        "count=500&since=1767571200000",
        lambda d: d.account_log(START_US),
        (own.ENTRY,),
    ),
    "fills": (
        "GET /derivatives/api/v3/fills",
        "lastFillTime=2026-01-05T00%3A00%3A00.000Z",
        lambda d: d.fills(START_US),
        (own.FILL,),
    ),
    "orders status": (
        "POST /derivatives/api/v3/orders/status",
        "cliOrdIds=a&cliOrdIds=b",
        lambda d: d.orders_status(["a", "b"]),
        (own.ORDER_STATUS,),
    ),
    "leverage preferences": (
        "GET /derivatives/api/v3/leveragepreferences",
        "",
        lambda d: d.leverage_preferences(),
        {SYMBOL: own.ONE},
    ),
    "server time": (
        "PUT /derivatives/api/v3/leveragepreferences",
        "symbol=PF_XBTUSD&maxLeverage=2.5",
        lambda d: d.set_leverage(SYMBOL, Decimal("2.5")),
        None,
    ),
    "pnl preferences": (
        "GET /derivatives/api/v3/pnlpreferences",
        "",
        lambda d: d.pnl_preferences(),
        {SYMBOL: "USD"},
    ),
    "cancel all": (
        "POST /derivatives/api/v3/cancelallorders",
        "symbol=PF_XBTUSD",
        lambda d: d.cancel_all(SYMBOL),
        ("o",),
    ),
    "dead man's switch": (
        "POST /derivatives/api/v3/cancelallordersafter",
        "timeout=60",
        lambda d: d.cancel_all_after(60),
        own.account.DeadMan(now=own.AT, fires_at=own.AT),
    ),
}
"""Payload (of tests.fakes.kraken_payloads) -> request line, what is signed, the call, what it gives (None: not compared)."""


def data(
    handler: Callable[[httpx.Request], Any], nonce: Callable[[], int] | None = None, budget: Budget | None = None
) -> FuturesData:
    """A client whose REST is `handler`."""
    clock = TrioClock()
    http = FuturesHttp(rest(handler), clock, key="k", secret=Secret(SECRET), timeout_s=5, nonce=nonce, budget=budget)
    return FuturesData(http, clock)


@pytest.mark.parametrize("name", CALLS)
async def test_a_call(name: str) -> None:
    """It goes to its address, signed over exactly what was sent, and its answer comes back as a type."""
    line, sent, call, wanted = CALLS[name]

    def answer(request: httpx.Request) -> object:
        assert f"{request.method} {request.url.path}" == line
        post_data = request.url.query.decode() + request.content.decode()
        assert post_data == sent
        if "Authent" in request.headers:
            assert request.headers["Nonce"] == "17"
            assert request.headers["Authent"] == futures_authent(SECRET, post_data, request.url.path, "17")
        return own.READERS[name][0]

    given = await call(data(answer, nonce=lambda: 17))

    assert wanted is None or given == wanted


async def test_a_batch_is_one_request() -> None:
    """Two wishes, two answers."""

    def answer(request: httpx.Request) -> object:
        assert request.url.path == "/derivatives/api/v3/batchorder"
        assert request.content.decode().startswith("json=%7B%22batchOrder%22")
        return own.batch_answer()

    answers = await data(answer).send_batch([own.PLACE, own.CANCEL])

    assert [m.outcome for m in answers if isinstance(m, CommandAnswered)] == ["filled", "cancelled"]


async def test_a_refusal_says_its_word() -> None:
    """Kraken's word, not an empty list."""
    with pytest.raises(Refused, match="apiLimitExceeded"):
        await data(lambda _request: own.READERS["refused"][0]).notifications()


async def test_an_error_that_shows_our_credentials_is_read_without_them() -> None:
    """Neither signature nor secret, plain or encoded, gets from the exchange's words into ours."""

    def answer(request: httpx.Request) -> object:
        authent = request.headers["Authent"]
        shown = f"Server Error: {authent} {quote_plus(authent)} {SECRET}"
        return {"result": "error", "error": shown, "serverTime": "2026-01-05T00:00:00.000Z"}

    with pytest.raises(Refused) as refused:
        await data(answer).notifications()

    assert str(refused.value).count("***") == 3
    assert SECRET not in str(refused.value)


async def test_market_data_cannot_starve_orders(autojump_clock: trio.testing.MockClock) -> None:
    """Public calls have a purse of their own: a hundred of them leave every point for orders."""
    budget = Budget()
    client = data(lambda _request: own.READERS["instruments status"][0], budget=budget)
    for _ in range(100):
        await client.instruments_status()

    assert trio.current_time() > 0
    assert [budget.take(10, 0, "protect") for _ in range(50)] == [0] * 50


# --- nonces -----------------------------------------------------------------------------------------------------------


async def test_nonces_rise_with_concurrent_calls(autojump_clock: trio.testing.MockClock) -> None:
    """Twenty calls at one moment carry twenty numbers, each above the one before it."""
    seen: list[int] = []

    def answer(request: httpx.Request) -> object:
        seen.append(int(request.headers["Nonce"]))
        return own.READERS["notifications"][0]

    client = data(answer, Nonces(lambda: START_US, 0, lambda _kept: None).next)
    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(client.notifications)

    assert sorted(seen) == [START_US + n for n in range(20)]


def test_a_restart_cannot_go_back() -> None:
    """However far the clock stepped back, every number of the new life is above every number of the old one."""
    written = [0]

    def life(now_us: int, calls: int) -> list[int]:
        nonces = Nonces(lambda: now_us, written[-1], written.append)
        return [nonces.next() for _ in range(calls)]

    first = life(START_US, 5)
    second = life(START_US - 3_600_000_000, 5)
    third = life(START_US + AHEAD_US // 2, 5)

    every = [*first, *second, *third]
    assert every == sorted(set(every))
    assert all(low < high for low, high in itertools.pairwise(written))


@pytest.mark.parametrize("pace", [1, 600])
def test_what_is_written_covers_what_is_given(pace: int) -> None:
    """A number is given out only below the one that is already durable; a real minute of numbers costs one write at any pace."""
    written: list[int] = []
    now, ahead_us = START_US, AHEAD_US * pace
    nonces = Nonces(lambda: now, 0, written.append, ahead_us)
    for _ in range(1000):
        now += ahead_us // 1000
        assert nonces.next() < written[-1]
    assert len(written) <= 2


# --- words --------------------------------------------------------------------------------------------------------------


def test_every_refusal_has_a_verdict() -> None:
    """Each word that this system takes for a refusal says who is at fault and what to do; others are looked up."""
    assert [word for word in sorted(REFUSED_STATUSES | REFUSED_ENVELOPES) if word not in VERDICTS] == []
    assert judge("invalidArgument: size") == judge("invalidArgument")
    assert judge("insufficientAvailableFunds")[1:] == ("us", "reject")
    assert judge("authenticationError")[1:] == ("operator", "halt")
    assert judge("apiLimitExceeded")[1:] == ("us", "retry")
    assert judge("Server Error").action == "look_up"
    assert judge("aWordOfNextYear") == ("unknown", "exchange", "look_up")
    assert {verdict.kind for verdict in VERDICTS.values()} < set(ADVICE)

"""Who may ask the venue: signatures, nonces, permissions, points."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock
from venues import START, Hands, enter_private, hear, say, venue

from protocol.kraken import endpoints
from protocol.kraken.signing import futures_authent, futures_challenge
from protocol.units import SECOND_US
from sim.venue import Venue
from sim.venue.keys import NONCES_REMEMBERED, Account, Budget, Key, keys

ORDER = {"orderType": "lmt", "symbol": "PF_XBTUSD", "side": "buy", "size": "0.1", "limitPrice": "50000"}


@pytest.fixture
async def place(nursery: trio.Nursery, autojump_clock: MockClock) -> AsyncIterator[Venue]:
    """A running venue whose market does not move."""
    running = venue()
    await nursery.start(running.run)
    yield running
    nursery.cancel_scope.cancel()


def reader(place: Venue, http: httpx.AsyncClient) -> Hands:
    """A client with the key that only reads."""
    hands = Hands(place, http)
    hands.key, hands.secret, _ = keys(0)[1]
    return hands


async def test_a_key_that_only_reads_cannot_trade(place: Venue, autojump_clock: MockClock) -> None:
    """It sees orders and streams; placing, cancelling and preferences are refused."""
    async with place.http_client() as http, place.connect(endpoints.FUTURES_WS_PATH) as stream:
        hands = reader(place, http)
        assert (await hands.get(endpoints.OPEN_ORDERS))["result"] == "success"
        for path in (endpoints.SEND_ORDER, endpoints.CANCEL_ALL_ORDERS, endpoints.CANCEL_ALL_AFTER):
            assert (await hands.post(path, ORDER))["error"] == "authenticationError"
        await hear(stream)
        await say(stream, {"event": "challenge", "api_key": hands.key})
        challenge = (await hear(stream))["message"]
        proof = {"original_challenge": challenge, "signed_challenge": futures_challenge(hands.secret, challenge)}
        await say(stream, {"event": "subscribe", "feed": "fills", "api_key": hands.key, **proof})
        assert (await hear(stream))["event"] == "subscribed"
    assert place.engine.snapshot(place.now_us()).orders == ()


async def test_a_challenge_belongs_to_one_key_on_one_connection(place: Venue, autojump_clock: MockClock) -> None:
    """Signed by the other key's secret, or brought from another connection, it opens nothing."""
    async with place.connect(endpoints.FUTURES_WS_PATH) as first, place.connect(endpoints.FUTURES_WS_PATH) as second:
        await hear(first)
        await hear(second)
        await enter_private(first, place, ["fills"])
        await say(first, {"event": "challenge", "api_key": place.key})
        challenge = (await hear(first))["message"]
        proof = {"original_challenge": challenge, "signed_challenge": futures_challenge(place.secret, challenge)}
        await say(second, {"event": "subscribe", "feed": "fills", "api_key": place.key, **proof})
        assert (await hear(second))["message"] == "Failed to subscribe to authenticated feed"


def asked(account: Account, nonce: str) -> str | None:
    """What becomes of a well-signed request with this nonce."""
    authent = futures_authent(account.key.secret, "", endpoints.ACCOUNTS, nonce)
    return account.refuses("", endpoints.ACCOUNTS, authent, nonce)


def account_of() -> Account:
    """One key's standing."""
    return Account(keys(1)[0])


def test_nonces_are_optional_and_never_repeat() -> None:
    """None is fine, the same twice is a duplicate, nonsense and a long-gone one are below the threshold."""
    account = account_of()
    now = START // 1000
    assert [asked(account, nonce) for nonce in ("", str(now), str(now), str(now - 60_000), "x", "")] == [
        None, None, "nonceDuplicate", "nonceBelowThreshold", "nonceBelowThreshold", None,
    ]  # fmt: skip


@given(st.lists(st.integers(0, 30), min_size=1, max_size=60))
def test_calls_that_overtake_one_another_are_tolerated(late: list[int]) -> None:
    """Each nonce may come a few places late."""
    account = account_of()
    numbers = sorted(range(len(late)), key=lambda place: place + late[place])
    assert {asked(account, str(1_800_000_000_000_000 + number)) for number in numbers} == {None}


def test_a_nonce_older_than_those_remembered_is_refused() -> None:
    """A key that has seen finer nonces refuses coarser ones for ever."""
    account = account_of()
    for number in range(NONCES_REMEMBERED):
        assert asked(account, str(10**15 + number)) is None
    assert asked(account, str(10**12)) == "nonceBelowThreshold"


def test_a_wrong_signature_uses_up_no_nonce() -> None:
    """Whoever lacks the secret cannot lock the key."""
    account = account_of()
    assert account.refuses("", endpoints.ACCOUNTS, "AAAA", "5") == "authenticationError"
    assert asked(account, "5") is None


def test_points_come_back_evenly() -> None:
    """Five hundred in ten seconds: fifty a second, never more than the whole."""
    budget = Budget()
    assert budget.spend(500, START)
    assert not budget.spend(1, START)
    assert budget.spend(50, START + SECOND_US)
    assert not budget.spend(501, START + 100 * SECOND_US)
    assert budget.spend(500, START + 100 * SECOND_US)


async def test_each_call_costs_what_kraken_says(place: Venue, autojump_clock: MockClock) -> None:
    """Batches by their rows, paged fills 25, preferences more to set than to read; history from a pool of its own."""
    async with place.http_client() as http:
        hands = Hands(place, http)
        budget = place.accounts[place.key].budget
        costs = []
        for path, form in (
            (endpoints.SEND_ORDER, ORDER),
            (
                endpoints.BATCH_ORDER,
                {"json": '{"batchOrder":[{"order":"cancel","cliOrdId":"a"},{"order":"cancel","cliOrdId":"b"}]}'},
            ),
            (endpoints.CANCEL_ALL_ORDERS, {}),
            (endpoints.ORDERS_STATUS, {"cliOrdIds": "x"}),
        ):
            before = budget._left
            await hands.post(path, form)
            costs.append(round(before - budget._left))
        for path, form in (
            (endpoints.FILLS, {}),
            (endpoints.FILLS, {"lastFillTime": "2026-01-05T00:00:00.000Z"}),
            (endpoints.ACCOUNT_LOG, {}),
        ):
            before = budget._left
            assert "error" not in await hands.get(path, form)
            costs.append(round(before - budget._left))
    assert costs == [10, 11, 25, 1, 2, 25, 0]


async def test_the_history_pool_runs_dry_by_itself(place: Venue, autojump_clock: MockClock) -> None:
    """Thirty-three readings of the log at three tokens each; trading goes on."""
    async with place.http_client() as http:
        hands = Hands(place, http)
        for _ in range(33):
            assert "logs" in await hands.get(endpoints.ACCOUNT_LOG)
        assert (await hands.get(endpoints.ACCOUNT_LOG))["error"] == "apiLimitExceeded"
        assert (await hands.post(endpoints.SEND_ORDER, ORDER))["sendStatus"]["status"] == "placed"
        await trio.sleep(20)
        assert "logs" in await hands.get(endpoints.ACCOUNT_LOG)


def test_keys_follow_from_the_seed() -> None:
    """Equal seeds give equal keys, others others; the two of a venue differ."""
    first, second = keys(7)
    assert keys(7) == (first, second)
    assert {type(key) for key in (first, second)} == {Key}
    assert len({first.name, second.name, keys(8)[0].name}) == 3
    assert (first.trades, second.trades) == (True, False)

"""How the real world is reached."""

from __future__ import annotations

import httpx

from actors.gateway.dial import KEPT_OPEN_S, http_client
from config.settings import Settings


def test_a_reading_each_period_keeps_the_connection_open_for_orders() -> None:
    """By default an order finds a connection that the last reconciliation used, two missed ones included."""
    assert Settings().execution.reconcile_s * 3 <= KEPT_OPEN_S < 60


async def test_a_cookie_that_a_server_sets_is_shown_to_it() -> None:
    """As with httpx's own client; an answer that sets none changes nothing."""
    shown: list[str | None] = []

    def answer(request: httpx.Request) -> httpx.Response:
        shown.append(request.headers.get("cookie"))
        return httpx.Response(200, headers={"set-cookie": "a=1"} if len(shown) == 2 else {})

    async with http_client("https://exchange.test", transport=httpx.MockTransport(answer)) as http:
        for _ in range(4):
            await http.get("/")
    assert shown == [None, None, "a=1", "a=1"]

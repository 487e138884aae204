"""How the real world is reached: an HTTP client and a WebSocket factory for an address. Knows no protocol."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final
from urllib.request import getproxies, proxy_bypass

import httpx
from trio_websocket import open_websocket_url

from actors.gateway.channel import Connect, Socket, network_as_feed_lost, one_error
from actors.gateway.direct import Client, Direct

CONNECT_TIMEOUT_S: Final = 10
DISCONNECT_TIMEOUT_S: Final = 2
KEPT_OPEN_S: Final = 45
"""An idle connection is kept so long: a reading each reconcile period keeps it open, so that an order need not connect first (three round
trips with TLS). Below the minute after which servers begin to close idle ones.
"""


def http_client(
    base_url: str, pace: float = 1.0, *, transport: httpx.AsyncBaseTransport | None = None
) -> httpx.AsyncClient:
    """A client for one exchange. Deadlines are the gateway's, around whole requests, so httpx has none of its own.

    `pace`: seconds of the run's clock in a real second. `transport`: over that one. Where the environment names a proxy httpx finds its own way.
    """
    url, headers = httpx.URL(base_url), {"User-Agent": "kraken-smc"}
    by_proxy = not getproxies().keys().isdisjoint((url.scheme, "all")) and not proxy_bypass(url.host)
    if transport is None and by_proxy:
        limits = httpx.Limits(keepalive_expiry=KEPT_OPEN_S)
        return httpx.AsyncClient(base_url=base_url, timeout=None, limits=limits, headers=headers)
    return Client(base_url, transport or Direct(KEPT_OPEN_S * pace), headers)


def websocket(url: str, pace: float = 1.0) -> Connect:
    """A factory of connections to `url` (wss, or ws on loopback); one that cannot be had is FeedLost, by its host. `pace`: seconds of the run's clock in a real second."""

    @asynccontextmanager
    async def connect() -> AsyncIterator[Socket]:
        context = open_websocket_url(
            url, connect_timeout=CONNECT_TIMEOUT_S * pace, disconnect_timeout=DISCONNECT_TIMEOUT_S * pace
        )
        async with AsyncExitStack() as stack:
            with network_as_feed_lost(f"{httpx.URL(url).host}: cannot be reached"), one_error():
                socket: Socket = await stack.enter_async_context(context)
            yield socket

    return connect

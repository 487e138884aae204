"""How the real world is reached: an HTTP client and a WebSocket factory for an address. Knows no protocol."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Any, Final
from urllib.request import getproxies, proxy_bypass

import httpx
from trio_websocket import open_websocket_url

from actors.gateway.channel import Connect, Socket
from actors.gateway.direct import Direct

CONNECT_TIMEOUT_S: Final = 10
DISCONNECT_TIMEOUT_S: Final = 2
KEPT_OPEN_S: Final = 45
"""An idle connection is kept so long: a reading each reconcile period keeps it open, so that an order need not connect first (three round
trips with TLS). Below the minute after which servers begin to close idle ones.
"""


class Cookies(httpx.Cookies):
    """httpx's own, which look only into answers that set some: a sixth of a request's time went into finding none."""

    def extract_cookies(self, response: httpx.Response) -> None:
        """Take up what `response` sets."""
        if "set-cookie" in response.headers:
            super().extract_cookies(response)


class Client(httpx.AsyncClient):
    """httpx's own with these cookies."""

    def __init__(self, **terms: Any) -> None:
        super().__init__(**terms)
        self._kept = Cookies()

    @property  # type: ignore[misc]  # nobody sets them
    def cookies(self) -> httpx.Cookies:
        """What servers have set."""
        return self._kept


def http_client(
    base_url: str, pace: float = 1.0, *, transport: httpx.AsyncBaseTransport | None = None
) -> httpx.AsyncClient:
    """A client for one exchange. Deadlines are the gateway's, around whole requests, so httpx has none of its own.

    `pace`: seconds of the run's clock in a real second. `transport`: over that one. Where the environment names a proxy httpx finds its own way.
    """
    if transport is None:
        url = httpx.URL(base_url)
        by_proxy = not getproxies().keys().isdisjoint((url.scheme, "all")) and not proxy_bypass(url.host)
        transport = None if by_proxy else Direct(KEPT_OPEN_S * pace)
    limits = httpx.Limits(keepalive_expiry=KEPT_OPEN_S)
    headers = {"User-Agent": "kraken-smc"}
    return Client(base_url=base_url, timeout=None, limits=limits, transport=transport, headers=headers)


def websocket(url: str, pace: float = 1.0) -> Connect:
    """A factory of connections to `url` (wss, or ws on loopback). `pace`: seconds of the run's clock in a real second."""

    def connect() -> AbstractAsyncContextManager[Socket]:
        context: AbstractAsyncContextManager[Socket] = open_websocket_url(
            url, connect_timeout=CONNECT_TIMEOUT_S * pace, disconnect_timeout=DISCONNECT_TIMEOUT_S * pace
        )
        return context

    return connect

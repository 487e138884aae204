"""One request to the futures exchange: paid for, numbered, signed, sent, judged. Knows no payload, retries nothing.

Three purses: trading calls, the history API, and public market data, which can never starve the other two.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, Literal
from urllib.parse import quote_plus, urlencode

import httpx
import trio

from actors.gateway.budget import Budget, Priority, spend
from actors.gateway.errors import KeyRefused, Throttled, Unreachable
from actors.gateway.secret import MASK, Secret
from protocol.kraken import endpoints
from protocol.kraken.signing import futures_authent, futures_challenge
from protocol.ports import Clock

PUBLIC_CALLS: Final = 20
PUBLIC_WINDOW_S: Final = 10
"""Public calls cost nothing at Kraken; this is our own restraint."""

Method = Literal["GET", "POST", "PUT"]
Form = Sequence[tuple[str, str]] | Mapping[str, str]

CREDENTIAL_LEAST: Final = 16
"""Kraken's keys and signatures are longer; what is shorter might be part of any word."""


class FuturesHttp:
    """`http` has the exchange's base URL. `nonce` None sends none: they are optional. Raises BadSecret."""

    def __init__(
        self,
        http: httpx.AsyncClient,
        clock: Clock,
        *,
        key: str,
        secret: Secret,
        timeout_s: float,
        budget: Budget | None = None,
        nonce: Callable[[], int] | None = None,
    ) -> None:
        futures_challenge(secret.reveal(), "")
        self.key = key
        self._http = http
        self._clock = clock
        self._secret = secret
        self._timeout_s = timeout_s
        self._nonce = nonce
        self._addresses: dict[str, httpx.URL] = {}
        self._trading = budget or Budget()
        self._history = Budget(endpoints.HISTORY_POOL, endpoints.HISTORY_WINDOW_S)
        self._public = Budget(PUBLIC_CALLS, PUBLIC_WINDOW_S)

    def challenge(self, message: str) -> str:
        """`message` signed, to open private feeds."""
        return futures_challenge(self._secret.reveal(), message)

    async def public(self, path: str, query: Form = ()) -> bytes:
        """A call that anybody may make. Raises GatewayError."""
        return await self._request("GET", path, urlencode(query), "", {}, 1, "read", self._public)

    async def get(self, path: str, query: Form = (), *, cost: int | None = None, priority: Priority = "read") -> bytes:
        """A signed read. Raises GatewayError."""
        text = urlencode(query)
        purse = self._history if path.startswith("/api/history") else self._trading
        cost = endpoints.COST.get(path, 1) if cost is None else cost
        return await self._request("GET", path, text, "", self._signed(path, text), cost, priority, purse)

    async def post(
        self,
        path: str,
        form: Form,
        priority: Priority,
        *,
        cost: int | None = None,
        left: Callable[[], None] | None = None,
    ) -> bytes:
        """A signed wish. `left` is called once it is on the wire, or never will be. Raises GatewayError."""
        body = urlencode(form)  # signed byte for byte as it is sent
        cost = endpoints.COST.get(path, 1) if cost is None else cost
        headers = self._signed(path, body) | {"Content-Type": "application/x-www-form-urlencoded"}
        try:
            return await self._request("POST", path, "", body, headers, cost, priority, self._trading, left)
        finally:
            if left is not None:
                left()

    async def put(self, path: str, query: Form, *, cost: int) -> bytes:
        """A signed change of a preference, its parameters in the query. Raises GatewayError."""
        text = urlencode(query)
        return await self._request("PUT", path, text, "", self._signed(path, text), cost, "read", self._trading)

    def limit_reached(self) -> None:
        """The exchange said so inside an answer."""
        self._trading.refused(self._clock.now_us())

    def _signed(self, path: str, post_data: str) -> dict[str, str]:
        nonce = "" if self._nonce is None else str(self._nonce())
        authent = futures_authent(self._secret.reveal(), post_data, path, nonce)
        return {"APIKey": self.key, "Authent": authent} | ({"Nonce": nonce} if nonce else {})

    async def _request(
        self,
        method: Method,
        path: str,
        query: str,
        body: str,
        headers: Mapping[str, str],
        cost: int,
        priority: Priority,
        purse: Budget,
        left: Callable[[], None] | None = None,
    ) -> bytes:
        await self._afford(path, cost, priority, purse)
        url = f"{path}?{query}" if query else self._address(path)
        extensions = {} if left is None else {"trace": _once_sent(left)}
        try:
            with trio.fail_after(self._timeout_s):
                response = await self._http.request(
                    method, url, content=body.encode(), headers=dict(headers), extensions=extensions
                )
        except trio.TooSlowError as error:
            raise Unreachable(f"{path}: no answer within {self._timeout_s:g} s") from error
        except (httpx.HTTPError, OSError) as error:
            raise Unreachable(f"{path}: {error!r}") from error
        if response.status_code == httpx.codes.TOO_MANY_REQUESTS:
            purse.refused(self._clock.now_us())
        _judge(path, response)
        purse.served()
        return self._masked(response.content, headers.get("Authent", ""))

    def _masked(self, content: bytes, authent: str) -> bytes:
        """An answer that shows our credentials back is read without them: what it says is journalled and shown."""
        for text in (self.key, authent, self._secret.reveal()):
            for form in dict.fromkeys((text, quote_plus(text), text.replace("/", r"\/"))):
                content = content.replace(form.encode(), MASK.encode()) if len(form) >= CREDENTIAL_LEAST else content
        return content

    def _address(self, path: str) -> httpx.URL:
        """A whole address, put together once: httpx takes its time for that."""
        known = self._addresses.get(path)
        if known is None:
            known = self._addresses[path] = self._http.base_url.join(path)
        return known

    async def _afford(self, path: str, cost: int, priority: Priority, purse: Budget) -> None:
        with trio.move_on_after(self._timeout_s):
            await spend(purse, cost, self._clock, priority)
            return
        raise Throttled(f"{path}: our own rate limit, nothing was sent")


def _once_sent(left: Callable[[], None]) -> Callable[[str, object], Awaitable[None]]:
    """httpcore's word that a request is on the wire."""

    async def trace(event: str, _info: object) -> None:
        if event == "http11.send_request_body.complete":
            left()

    return trace


def _judge(path: str, response: httpx.Response) -> None:
    """Raise for a status that is no answer. Other errors go to the parser: Kraken's have a body that says why."""
    status = response.status_code
    if status < httpx.codes.BAD_REQUEST:
        return
    if status in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
        raise KeyRefused(f"{path}: HTTP {status}")
    if status == httpx.codes.TOO_MANY_REQUESTS:
        raise Throttled(f"{path}: HTTP {status}")
    if status >= httpx.codes.INTERNAL_SERVER_ERROR:
        raise Unreachable(f"{path}: HTTP {status}")

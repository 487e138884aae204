"""One request to the futures exchange: paid for, numbered, signed, sent, judged. Knows no payload, retries nothing.

Three purses: trading calls, the history API, and public market data, which can never starve the other two.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import lru_cache
from math import inf
from typing import Final, Literal
from urllib.parse import quote_plus, urlencode

import httpx
import trio

from actors.gateway.budget import Budget, Priority, spend
from actors.gateway.direct import BODY_SENT, HEADERS_NEXT
from actors.gateway.errors import KeyRefused, Throttled, Unreachable
from actors.gateway.secret import MASK, Secret
from actors.gateway.words import place, unanswered
from protocol.kraken import endpoints
from protocol.kraken.signing import futures_authent, futures_challenge
from protocol.ports import Clock

PUBLIC_CALLS: Final = 20
PUBLIC_WINDOW_S: Final = 10
"""Public calls cost nothing at Kraken; this is our own restraint."""

LIMIT_REACHED: Final = b"apiLimitExceeded"
"""Kraken's word inside an answer that is none."""

Method = Literal["GET", "POST", "PUT"]
Form = Sequence[tuple[str, str]] | Mapping[str, str]

CREDENTIAL_LEAST: Final = 16
"""Kraken's keys and signatures are longer; what is shorter might be part of any word."""


class Departure:
    """How far a request is on its way out, for one that must not overtake it: `paid` for and signed, `gone` onto the wire or given up."""

    def __init__(self) -> None:
        self.paid = trio.Event()
        self.gone = trio.Event()

    def over(self) -> None:
        """Nobody need wait for it any longer."""
        self.paid.set()
        self.gone.set()


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
        self._readings: dict[str, tuple[Mapping[str, str], httpx.Request]] = {}
        self._usual = http.headers.multi_items()
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
        departure: Departure | None = None,
        behind: Departure | None = None,
    ) -> bytes:
        """A signed wish. `departure` is told how far it got; with one that is `behind` it gets ready, and leaves after that one.

        Raises GatewayError.
        """
        if behind is not None and not behind.paid.is_set():
            await behind.paid.wait()
        body = urlencode(form)  # signed byte for byte as it is sent
        cost = endpoints.COST.get(path, 1) if cost is None else cost
        headers = self._signed(path, body) | {"Content-Type": "application/x-www-form-urlencoded"}
        try:
            return await self._request(
                "POST", path, "", body, headers, cost, priority, self._trading, departure, behind
            )
        finally:
            if departure is not None:
                departure.over()

    async def put(self, path: str, query: Form, *, cost: int) -> bytes:
        """A signed change of a preference, its parameters in the query. Raises GatewayError."""
        text = urlencode(query)
        return await self._request("PUT", path, text, "", self._signed(path, text), cost, "read", self._trading)

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
        departure: Departure | None = None,
        behind: Departure | None = None,
    ) -> bytes:
        await self._afford(path, cost, priority, purse)
        if departure is not None:
            departure.paid.set()
        try:
            with trio.fail_after(self._timeout_s) as scope:
                if method == "GET" and not query:
                    request = self._reading(path, headers)
                else:
                    request = self._made(method, path, query, body, headers)
                if departure is not None or behind is not None:
                    request.extensions["trace"] = _in_order(departure, behind, scope, self._timeout_s)
                response = await self._http.send(request)
        except trio.TooSlowError as error:
            raise Unreachable(f"{place(self._http, path)}: no answer within {self._timeout_s:g} s") from error
        except (httpx.HTTPError, OSError) as error:
            raise Unreachable(unanswered(self._http, path, error)) from error
        limited = (
            response.status_code == httpx.codes.TOO_MANY_REQUESTS
            or LIMIT_REACHED in response.content
            or _blocked(response)
        )
        if limited:
            purse.refused(self._clock.now_us())
        _judge(path, response)
        if not limited:
            purse.served()
        return self._masked(response.content, headers.get("Authent", ""))

    def _masked(self, content: bytes, authent: str) -> bytes:
        """An answer that shows our credentials back is read without them: what it says is journalled and shown."""
        for form in (*_forms(self.key), *_forms(authent), *_forms(self._secret.reveal())):
            content = content.replace(form, MASK.encode())
        return content

    def _reading(self, path: str, headers: Mapping[str, str]) -> httpx.Request:
        """A reading without parameters, made once and sent again for as long as it is signed alike: httpx takes its time to make one."""
        signed, request = self._readings.get(path, (None, None))
        if request is None or signed != headers:
            request = self._made("GET", path, "", "", headers)
            self._readings[path] = headers, request
        return request

    def _made(self, method: Method, path: str, query: str, body: str, headers: Mapping[str, str]) -> httpx.Request:
        """Made here: what a client would merge into it, cookies and parameters of its own, there is none of."""
        url = self._http.base_url.join(f"{path}?{query}") if query else self._address(path)
        return httpx.Request(method, url, content=body.encode(), headers=[*self._usual, *headers.items()])

    def _address(self, path: str) -> httpx.URL:
        """A whole address, put together once: httpx takes its time for that."""
        known = self._addresses.get(path)
        if known is None:
            known = self._addresses[path] = self._http.base_url.join(path)
        return known

    async def _afford(self, path: str, cost: int, priority: Priority, purse: Budget) -> None:
        if not purse.take(cost, self._clock.now_us(), priority):
            return  # most often
        if priority != "enter":  # an entry does not wait: the door's yes was for now (storm 320231)
            with trio.move_on_after(self._timeout_s):
                await spend(purse, cost, self._clock, priority)
                return
        raise Throttled(f"{path}: our own rate limit, nothing was sent")


@lru_cache(maxsize=8)
def _forms(credential: str) -> tuple[bytes, ...]:
    """How a credential may be written in an answer; none when it is too short to be told from a word."""
    forms = dict.fromkeys((credential, quote_plus(credential), credential.replace("/", r"\/")))
    return tuple(form.encode() for form in forms if len(form) >= CREDENTIAL_LEAST)


def _in_order(
    departure: Departure | None, behind: Departure | None, scope: trio.CancelScope, timeout_s: float
) -> Callable[[str, object], Awaitable[None]]:
    """Heard at each step of a request: where it waits for the one it is behind, and tells the one behind it.

    It waits with its connection open and everything else done. What it waits is not counted as its own time.
    """

    async def trace(event: str, _info: object) -> None:
        if event == HEADERS_NEXT and behind is not None and not behind.gone.is_set():
            scope.deadline = inf
            await behind.gone.wait()
            scope.deadline = trio.current_time() + timeout_s
        elif event == BODY_SENT and departure is not None:
            departure.gone.set()

    return trace


def _blocked(response: httpx.Response) -> bool:
    """Whether the proxy before the exchange let nothing through: 403 with a page, where the exchange itself would say why in JSON."""
    return response.status_code == httpx.codes.FORBIDDEN and response.content.lstrip().startswith(b"<")


def _judge(path: str, response: httpx.Response) -> None:
    """Raise for a status that is no answer. Other errors go to the parser: Kraken's have a body that says why."""
    status = response.status_code
    if status < httpx.codes.BAD_REQUEST:
        return
    if _blocked(response):
        raise Throttled(f"{path}: HTTP {status} and a page, from what lies before the exchange")
    if status in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
        raise KeyRefused(f"{path}: HTTP {status}")
    if status == httpx.codes.TOO_MANY_REQUESTS:
        raise Throttled(f"{path}: HTTP {status}")
    if status >= httpx.codes.INTERNAL_SERVER_ERROR:
        raise Unreachable(f"{path}: HTTP {status}")

"""The network's edge for requests: what leaves, what arrives, what is answered, and what goes wrong between.

An ASGI application round the venue's own, so the same rules hold in memory and over TCP. Rules are consulted in the plan's
order, first on the request, then on the reply; the first that does not pass decides. `watch` hears every request that
really left, whatever became of it. Knows Kraken's paths and bodies, and nothing of who asks.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from ssl import SSLCertVerificationError
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl

import msgspec
import trio

from protocol.kraken import endpoints
from protocol.kraken.futures_rest import write_error, write_success
from protocol.kraken.wire import encode, write_iso_ms
from protocol.units import SECOND_US
from sim.faults.timeline import Active, Faults

Scope = Mapping[str, Any]
App = Callable[[Any, Any, Any], Awaitable[None]]

OPS: Final[Mapping[str, str]] = {
    endpoints.SEND_ORDER: "send",
    endpoints.EDIT_ORDER: "edit",
    endpoints.CANCEL_ORDER: "cancel",
    endpoints.CANCEL_ALL_ORDERS: "cancel_all",
    endpoints.OPEN_ORDERS: "orders",
    endpoints.OPEN_POSITIONS: "positions",
    endpoints.FILLS: "fills",
    endpoints.ACCOUNTS: "accounts",
    endpoints.ORDERS_STATUS: "status",
    endpoints.INSTRUMENTS: "instruments",
    endpoints.NOTIFICATIONS: "notices",
    endpoints.LEVERAGE_PREFERENCES: "preferences",
    endpoints.TICKERS: "tickers",
    endpoints.OHLC: "ohlc",
}
"""Requests by what they are for; a path that is not here is `other`."""
WISHES: Final = frozenset({"send", "edit", "cancel", "cancel_all"})
LISTS: Final = frozenset({"orders", "positions", "fills", "accounts"})
"""What is shown as it was before a list became stale."""
ROWS: Final = {"orders": "openOrders", "positions": "openPositions", "fills": "fills"}
TAKING: Final = frozenset({"mkt", "ioc", "lmt"})
STATUS_MEMBER: Final = {"send": "sendStatus", "edit": "editStatus", "cancel": "cancelStatus"}
STRANGE: Final = "placed\x1b[2J\r\n<script>alert(1)</script>\x00"
OLDEST_US: Final = 30 * SECOND_US
"""Lists have been seen to trail by no more (fault-catalogue 20)."""
HTML: Final = b"<html><body><h1>502 Bad Gateway</h1></body></html>"


@dataclass(frozen=True)
class Request:
    """One request as it left. `form` is the body or the query by name; `at` microseconds UTC; `shown`: the headers that prove who asks."""

    at: int
    op: str
    path: str
    form: Mapping[str, str]
    signed: bool
    shown: tuple[str, ...] = ()

    @property
    def role(self) -> str:
        """What an order is for, as its terms show: entry | stop | target | exit; else the operation."""
        if self.op != "send":
            return self.op
        kind, reduces = self.form.get("orderType", ""), self.form.get("reduceOnly", "false") == "true"
        if not reduces:
            return "entry"
        return {"stp": "stop", "take_profit": "target"}.get(kind, "exit")


@dataclass(frozen=True)
class Reply:
    """What is answered."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes

    def with_body(self, body: bytes, status: int | None = None) -> Reply:
        """The same with another body, and its length told."""
        headers = tuple(h for h in self.headers if h[0] != b"content-length")
        return replace(
            self,
            status=self.status if status is None else status,
            headers=(*headers, (b"content-length", str(len(body)).encode())),
            body=body,
        )


JSON: Final = ((b"content-type", b"application/json"),)


def made(body: Mapping[str, object] | bytes, status: int = 200) -> Reply:
    """A reply that the exchange itself never gave."""
    return Reply(status, JSON, b"").with_body(body if isinstance(body, bytes) else encode(dict(body)))


Carry = Callable[[], Awaitable[Reply]]
RequestRule = Callable[["Edge", Active, "Arrived", Carry], Awaitable[Reply]]
ReplyRule = Callable[[Active, "Arrived", Reply], Reply]


class Edge:
    """The faulty network round `app`. `watch(request, reply)` hears a request as it leaves (None) and its reply as it comes."""

    def __init__(
        self, app: App, faults: Faults, watch: Callable[[Request, Reply | None], None] = lambda request, reply: None
    ) -> None:
        self._app = app
        self._number = 0
        self._answered: dict[str, Past] = {}
        self.faults = faults
        self._watch = watch

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """One ASGI conversation."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = await self._read(scope, receive)
        self._watch(request, None)
        if request.op in WISHES:
            self.faults.reached(f"{request.role}.sent")
        elif request.op == "orders":
            self.faults.reached("snapshot.asked")
        self._number += 1
        number = self._number
        self.faults.under_way[number] = request.at
        try:
            reply = await self._consult(request, lambda: self._carry(scope, request))
        finally:
            del self.faults.under_way[number]
        self._watch(request, reply)
        await send({"type": "http.response.start", "status": reply.status, "headers": [*reply.headers]})
        await send({"type": "http.response.body", "body": reply.body})

    async def _read(self, scope: Scope, receive: Any) -> Arrived:
        body = b""
        while True:
            part = await receive()
            body += part.get("body", b"")
            if not part.get("more_body"):
                break
        path = scope["path"]
        text = scope["query_string"].decode() + body.decode("latin-1")
        shown = tuple(value.decode() for name, value in scope["headers"] if name.lower() in (b"authent", b"apikey"))
        form = dict(parse_qsl(text, keep_blank_values=True))
        op = OPS.get(path, "other")
        past = self._answered.get(op)
        return Arrived(self.faults.now_us(), op, path, form, bool(shown), shown, raw=body, past=past)

    async def _consult(self, request: Arrived, carry: Carry) -> Reply:
        for active in self.faults.active("rest"):
            rule = REQUEST_RULES.get(active.kind)
            if rule is not None and _concerns(active, request) and self.faults.strikes(active):
                return await rule(self, active, request, carry)
        reply = await carry()
        for active in self.faults.active("rest"):
            change = REPLY_RULES.get(active.kind)
            if change is not None and _concerns(active, request) and self.faults.strikes(active):
                before, reply = reply, change(active, request, reply)
                if (reply.status, reply.body) == (before.status, before.body):
                    self.faults.missed(active)  # nothing in it could be changed
        return reply

    async def _carry(self, scope: Any, request: Arrived) -> Reply:
        """Let the venue answer: one run of the application inside."""
        start: dict[str, Any] = {}
        parts: list[bytes] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": request.raw, "more_body": False}

        async def send(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                start.update(message)
            else:
                parts.append(message.get("body", b""))

        await self._app(scope, receive, send)
        if request.op == "send":
            self.faults.reached(f"{request.role}.accepted")
        reply = Reply(start["status"], tuple((bytes(k), bytes(v)) for k, v in start["headers"]), b"".join(parts))
        if request.op in LISTS and reply.status == 200:
            self._answered[request.op] = Past(request.at, request.form, reply)
        return reply

    async def apart(self, carry: Carry, after_s: float) -> Reply:
        """Carry out `after_s` from now, whether or not the client still waits by then."""
        assert self.faults.nursery is not None, "Faults.run must be running"
        done, replies = trio.Event(), list[Reply]()

        async def later() -> None:
            await trio.sleep(after_s)
            replies.append(await carry())
            done.set()

        self.faults.nursery.start_soon(later)
        await done.wait()
        return replies[0]


class Past(NamedTuple):
    """An earlier request, and what the exchange answered."""

    at: int
    form: Mapping[str, str]
    answered: Reply


@dataclass(frozen=True)
class Arrived(Request):
    """A request with its bytes. `past`: the last one of its kind."""

    raw: bytes = b""
    past: Past | None = None


def _concerns(active: Active, request: Request) -> bool:
    """Whether a rule is about this request: by its operation, its kind's operations, or the part of the network it takes."""
    wanted = active.get("op", "") or active.get("endpoint", "")
    return (
        wanted in ("", request.op)
        and request.op in ONLY.get(active.kind, (request.op,))
        and active.get("set", "all") != "streams"
        and (request.signed or active.kind not in SIGNED)
        and not (active.kind == "rest.auth" and active.text("scope") == "trade" and request.op not in WISHES)
        and not (active.kind == "ex.hold" and request.form.get("orderType") not in TAKING)
    )


ONLY: Final[Mapping[str, tuple[str, ...]]] = {
    "ex.hold": ("send",),
    "rest.page": ("fills",),
    "rest.misreport": ("status",),
    "rest.cancel_all": ("cancel_all", "cancel"),
    "ex.fast_fill": ("send",),
    "md.partial_last": ("ohlc",),
}
SIGNED: Final = frozenset({"rest.limit", "rest.auth", "sec.a"})
"""Kinds that never strike public requests."""


# --- on the request ------------------------------------------------------------------------------------------------


async def _lose_reply(edge: Edge, active: Active, request: Arrived, carry: Carry) -> Reply:
    await edge.apart(carry, 0)
    return await never()


async def _lose_request(edge: Edge, active: Active, request: Arrived, carry: Carry) -> Reply:
    return await never()


async def _arrive_late(edge: Edge, active: Active, request: Arrived, carry: Carry) -> Reply:
    return await edge.apart(carry, active.number("d_s"))


async def _hold(edge: Edge, active: Active, request: Arrived, carry: Carry) -> Reply:
    return await edge.apart(carry, active.number("ms") / 1000)


async def _reply_late(edge: Edge, active: Active, request: Arrived, carry: Carry) -> Reply:
    reply = await edge.apart(carry, 0)
    await trio.sleep(active.number("d_s"))
    return reply


async def _twice(edge: Edge, active: Active, request: Arrived, carry: Carry) -> Reply:
    """Either answer may be the one that comes back: the second says that the first arrived."""
    replies = [await carry(), await carry()]
    return replies[int(active.rng.integers(2))]


async def _http(edge: Edge, active: Active, request: Arrived, carry: Carry) -> Reply:
    if active.text("accepted") == "yes":
        await carry()
    body = {
        "empty": b"",
        "html": HTML,
        "cut": b'{"result":"success","sendSta',
        "error": encode(write_error("Server Error", request.at)),
    }[active.text("body")]
    return made(body, int(active.number("code")))


async def _limit(edge: Edge, active: Active, request: Arrived, carry: Carry) -> Reply:
    """So many requests in a window, then nothing but refusals for the length of the ban."""
    now = request.at
    if now < int(str(active.memory.get("banned_until", 0))):
        return made(write_error("apiLimitExceeded", now), 429)
    window = now - round(active.number("window_s") * SECOND_US)
    seen = [at for at in active.memory.setdefault("seen", []) if at > window]  # type: ignore[attr-defined]
    active.memory["seen"] = [*seen, now]
    if len(seen) < active.number("budget"):
        edge.faults.missed(active)
        return await carry()
    active.memory["banned_until"] = now + round(active.number("ban_s") * SECOND_US)
    return made(write_error("apiLimitExceeded", now))


async def _reject(edge: Edge, active: Active, request: Arrived, carry: Carry) -> Reply:
    status = {"status": active.text("status"), "receivedTime": write_iso_ms(request.at), "orderEvents": []}
    if "cliOrdId" in request.form:
        status["cliOrdId"] = request.form["cliOrdId"]
    return made(write_success(request.at, **{STATUS_MEMBER[request.op]: status}))


async def _refuse_key(edge: Edge, active: Active, request: Arrived, carry: Carry) -> Reply:
    return made(write_error("authenticationError", request.at))


async def _part(edge: Edge, active: Active, request: Arrived, carry: Carry) -> Reply:
    if active.text("how") == "silent":
        return await never()
    raise OSError("no route to host")


async def _bad_certificate(edge: Edge, active: Active, request: Arrived, carry: Carry) -> Reply:
    raise SSLCertVerificationError("certificate verify failed: Hostname mismatch")


async def _show_key(edge: Edge, active: Active, request: Arrived, carry: Carry) -> Reply:
    return made(write_error(f"Server Error: {' '.join(request.shown)}", request.at))


async def _survivor(edge: Edge, active: Active, request: Arrived, carry: Carry) -> Reply:
    """Called done, and nothing was."""
    if active.text("mode") != "survivor":
        return _cancel_all(active, request, await carry())
    status = {"status": "cancelled", "receivedTime": write_iso_ms(request.at), "orderEvents": []}
    status |= {key: request.form[key] for key in ("order_id", "cliOrdId") if key in request.form}
    return made(
        write_success(request.at, cancelStatus=status | ({"cancelledOrders": []} if request.op != "cancel" else {}))
    )


async def _fast_fill(edge: Edge, active: Active, request: Arrived, carry: Carry) -> Reply:
    """What executed on arrival is told by nobody but the streams, and they are first."""
    reply = await edge.apart(carry, 0)
    await trio.sleep(active.number("d_ms") / 1000)
    return _member_changed(request, reply, lambda status: {**status, "orderEvents": []})


async def never() -> Reply:
    """Nothing comes, until the client gives up."""
    await trio.sleep_forever()
    raise AssertionError


REQUEST_RULES: Final[Mapping[str, RequestRule]] = {
    "net.part": _part,
    "rest.drop_request": _lose_request,
    "rest.drop_reply": _lose_reply,
    "rest.delay_request": _arrive_late,
    "rest.delay_reply": _reply_late,
    "rest.dup_request": _twice,
    "rest.http": _http,
    "rest.limit": _limit,
    "rest.reject": _reject,
    "rest.auth": _refuse_key,
    "rest.cancel_all": _survivor,
    "ex.hold": _hold,
    "ex.fast_fill": _fast_fill,
    "sec.a": _show_key,
    "sec.e": _bad_certificate,
}


# --- on the reply --------------------------------------------------------------------------------------------------


def _stale(active: Active, request: Arrived, reply: Reply) -> Reply:
    """The list as it was last read before the fault began: what has happened since is not in it. Where that is too old, as first read."""
    shown = reply
    if request.past is not None:
        before = request.past
        if before.at <= active.began_us and active.until_us <= before.at + OLDEST_US and before.form == request.form:
            shown = before.answered
    first = active.memory.setdefault(request.op, shown)
    assert isinstance(first, Reply)
    return first


def _rows_changed(request: Request, reply: Reply, change: Callable[[list[Any]], list[Any]]) -> Reply:
    member = ROWS.get(request.op)
    body = msgspec.json.decode(reply.body) if reply.status == 200 else {}
    if member is None or member not in body:
        return reply
    return reply.with_body(encode({**body, member: change(body[member])}))


def _forget(active: Active, request: Request, reply: Reply) -> Reply:
    return _rows_changed(request, reply, lambda rows: [row for row in rows if active.rng.random() < 0.5])


def _page(active: Active, request: Request, reply: Reply) -> Reply:
    """The newest of the list alone, or all but so many after them."""
    limit, gap = int(active.number("limit")), int(active.get("gap", 0))
    return _rows_changed(request, reply, lambda rows: rows[:limit] + (rows[limit + gap :] if gap else []))


def _schema(active: Active, request: Request, reply: Reply) -> Reply:
    def spoil(rows: list[Any]) -> list[Any]:
        if not rows:
            return rows
        name = "fillType" if request.op == "fills" else "side"
        rest = {key: value for key, value in rows[0].items() if key != name}
        return [rest | ({name: "somethingNew"} if active.text("kind") == "unknown" else {}), *rows[1:]]

    return _rows_changed(request, reply, spoil)


def _partial_last(active: Active, request: Request, reply: Reply) -> Reply:
    """Candle history that does not reach the present: the last row is one that was still running."""
    body = msgspec.json.decode(reply.body)
    result = body.get("result", {})
    for pair, rows in result.items():
        if isinstance(rows, list) and len(rows) > 1:
            result[pair] = rows[:-1]
    return reply.with_body(encode(body))


def _misreport(active: Active, request: Request, reply: Reply) -> Reply:
    body = msgspec.json.decode(reply.body)
    for row in body.get("orders", []):
        row["status"] = "CANCELLED"
        row.get("order", {})["filled"] = 0
    return reply.with_body(encode(body))


def _cancel_all(active: Active, request: Request, reply: Reply) -> Reply:
    """`nothing`: it says that there was nothing to cancel. `first`: it names the first order as often as there were orders."""

    def lie(status: dict[str, Any]) -> dict[str, Any]:
        if active.text("mode") == "first":
            gone = status.get("cancelledOrders", [])
            return {**status, "cancelledOrders": gone[:1] * len(gone)}
        return {**status, "status": "notFound", "orderEvents": []} if request.op == "cancel" else {
            **status, "status": "noOrdersToCancel", "cancelledOrders": [], "orderEvents": []}  # fmt: skip

    return _member_changed(request, reply, lie)


def _strange_words(active: Active, request: Request, reply: Reply) -> Reply:
    return _member_changed(request, reply, lambda status: {**status, "status": STRANGE})


def _member_changed(request: Request, reply: Reply, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Reply:
    """A reply to a wish with its status changed; a reply of another kind as it is."""
    member = "cancelStatus" if request.op == "cancel_all" else STATUS_MEMBER[request.op]
    body = msgspec.json.decode(reply.body) if reply.status == 200 else {}
    if not isinstance(body.get(member), dict):
        return reply
    return reply.with_body(encode({**body, member: change(body[member])}))


REPLY_RULES: Final[Mapping[str, ReplyRule]] = {
    "rest.stale": _stale,
    "rest.forget": _forget,
    "rest.page": _page,
    "rest.schema": _schema,
    "rest.misreport": _misreport,
    "sec.h": _strange_words,
    "md.partial_last": _partial_last,
}

"""The gate of the venue's futures REST APIs: which call an address means, who asks, what it costs, how a refusal looks.

A refusal is HTTP 200 with a word in the body, as Kraken does it. Signatures are checked over the raw bytes. What the calls answer
is in `public`, `account` and `trading`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, NamedTuple, Protocol
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from protocol.kraken import endpoints
from protocol.kraken import futures_rest as forms
from protocol.kraken.wire import MalformedPayload, Refused, encode
from sim.venue.account import AccountCalls
from sim.venue.account import Books as AccountDesk
from sim.venue.asking import Ask, Body, Call
from sim.venue.keys import Account
from sim.venue.public import PublicCalls, Shop
from sim.venue.trading import Trader, Trading, argument_error, batch_items

ACCOUNT_LOG_CSV: Final = f"{endpoints.HISTORY}/v2/accountlogcsv"
CSV_COST: Final = 6


class Desk(Trader, AccountDesk, Shop, Protocol):
    """The venue as its futures API sees it."""

    accounts: dict[str, Account]

    def now_us(self) -> int: ...


class Found(NamedTuple):
    """A call and what its address names. `private`: it needs a key; `trades`: one that may trade."""

    call: Call
    path: Mapping[str, str]
    private: bool
    trades: bool


class FuturesRest:
    """Every futures call of the venue."""

    def __init__(self, venue: Desk) -> None:
        self.venue = venue
        self.reading = AccountCalls(venue)
        self.groups: tuple[tuple[Mapping[str, Call], bool, bool], ...] = (
            (PublicCalls(venue).calls, False, False),
            (self.reading.calls, True, False),
            (Trading(venue).calls, True, True),
        )
        self.patterns = [
            (re.compile(re.sub(r"{(\w+)}", r"(?P<\1>[^/]+)", template)), call)
            for template, call in self.groups[0][0].items()
            if "{" in template
        ]

    def routes(self) -> list[Route]:
        """One answer for all addresses: the tables decide."""
        methods = ["GET", "POST", "PUT"]
        return [
            Route(f"{root}/{{rest:path}}", self.answer, methods=methods)
            for root in ("/derivatives", endpoints.CHARTS, endpoints.HISTORY)
        ]

    async def answer(self, request: Request) -> Response:
        """Any call."""
        body = "" if request.method == "GET" else (await request.body()).decode("latin-1")
        at, path = self.venue.now_us(), request.scope["path"].rstrip("/")
        post_data = request.scope["query_string"].decode("latin-1") + body
        ask = Ask(parse_qsl(post_data, keep_blank_values=True), at, method=request.method)
        try:
            if path == ACCOUNT_LOG_CSV:
                self._admit(request, path, post_data, ask, trades=False)
                return PlainTextResponse(self.reading.log_csv(ask), media_type="text/csv")
            found = self._find(path)
            if found is None:
                return _json(forms.write_error("notFound", at), status=404)
            ask = Ask(ask.form, at, found.path, request.method)
            if found.private:
                self._admit(request, path, post_data, ask, trades=found.trades or request.method == "PUT")
            return _json(found.call(ask))
        except Refused as refusal:
            return _json(forms.write_error(refusal.error, at))
        except MalformedPayload as problem:
            return _json(forms.write_error(argument_error(problem), at))

    def _find(self, path: str) -> Found | None:
        for calls, private, trades in self.groups:
            if path in calls:
                return Found(calls[path], {}, private, trades)
        for pattern, call in self.patterns:
            match = pattern.fullmatch(path)
            if match is not None:
                return Found(call, match.groupdict(), False, False)
        return None

    def _admit(self, request: Request, path: str, post_data: str, ask: Ask, *, trades: bool) -> None:
        """Raise Refused unless a key we gave out has signed this, may do it and has points left."""
        account = self.venue.accounts.get(request.headers.get("APIKey", ""))
        if account is None:
            raise Refused("authenticationError")
        nonce, authent = request.headers.get("Nonce", ""), request.headers.get("Authent", "")
        refusal = account.refuses(post_data, request.scope["path"], authent, nonce)
        if refusal is None and trades and not account.key.trades:
            refusal = "authenticationError"
        if refusal is not None:
            raise Refused(refusal)
        budget, cost = (
            (account.history, history_cost(path, ask))
            if path.startswith(endpoints.HISTORY)
            else (account.budget, cost_of(path, ask))
        )
        if not budget.spend(cost, ask.at):
            raise Refused("apiLimitExceeded")


def cost_of(path: str, ask: Ask) -> int:
    """Points of a call of the trading API."""
    if path == endpoints.FILLS and ask.get("lastFillTime") is not None:
        return endpoints.COST_FILLS_PAGED
    if path == endpoints.BATCH_ORDER:
        return endpoints.COST[path] + len(batch_items(ask))
    if ask.method == "PUT":
        return endpoints.COST_PREFERENCE_SET
    return endpoints.COST.get(path, 1)


def history_cost(path: str, ask: Ask) -> int:
    """Tokens of a call of the history API."""
    if path == ACCOUNT_LOG_CSV:
        return CSV_COST
    if not path.endswith("account-log"):
        return 1
    count = ask.whole("count", 500)
    return next((cost for most, cost in endpoints.COST_ACCOUNT_LOG if count <= most), 10)


def _json(body: Body, status: int = 200) -> Response:
    return Response(encode(body), status, media_type="application/json")

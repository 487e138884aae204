"""The futures REST API of the venue: public market data, and the account behind signatures. Kraken's envelopes.

A refusal is HTTP 200 with a word in the body, as Kraken does it. Signatures are checked over the raw bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Final, Protocol
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from protocol.kraken import endpoints, orders
from protocol.kraken import futures_rest as forms
from protocol.kraken.signing import futures_authent, matches
from protocol.kraken.wire import MalformedPayload, encode, write_iso_ms
from protocol.messages.base import from_edge
from protocol.messages.futures import CancelOrder, CommandAnswered, FillSeen, OpenOrder, SnapshotSeen
from protocol.ports import Command
from protocol.units import HOUR_US, SECOND_US
from sim.engine import Answer
from sim.engine.state import Ended
from sim.venue.sessions import Desk

Form = list[tuple[str, str]]
Body = dict[str, object]

STATUS_REMEMBERED_US: Final = 5 * SECOND_US
"""`orders/status` forgets an order this long after its end."""
FUNDING_ROWS: Final = 100
HISTORICAL_FUNDING: Final = (
    f"{endpoints.API}/historical-funding-rates",
    "/derivatives/api/v4/historicalfundingrates",
)


class Trading(Desk, Protocol):
    """The venue as its futures API sees it."""

    def carry_out(self, command: Command) -> Answer:
        """Send a wish to the engine now, and its reports to the streams."""
        ...

    def funding(self, symbol: str, hour_us: int) -> tuple[Decimal, Decimal] | None:
        """Relative rate and index at a full hour, None before the market's data begin."""
        ...


class Budget:
    """Kraken's cost counter: so many points, refilled evenly over the window."""

    def __init__(self) -> None:
        self._left = float(endpoints.COST_BUDGET)
        self._at = 0

    def spend(self, cost: int, at: int) -> bool:
        """Take `cost` points; False, and nothing taken, when they are not there."""
        refill = endpoints.COST_BUDGET / (endpoints.COST_WINDOW_S * SECOND_US)
        self._left = min(float(endpoints.COST_BUDGET), self._left + (at - self._at) * refill)
        self._at = at
        if cost > self._left:
            return False
        self._left -= cost
        return True


class FuturesRest:
    """The table of calls and what each answers."""

    def __init__(self, venue: Trading) -> None:
        self.venue = venue
        self.budget = Budget()
        self.public: Mapping[str, Callable[[Form, int], Body]] = {
            endpoints.INSTRUMENTS: self._instruments,
            endpoints.TICKERS: lambda _form, at: forms.write_tickers(venue.engine.tickers(), at),
            **dict.fromkeys(HISTORICAL_FUNDING, self._funding),
        }
        self.private: Mapping[str, Callable[[Form, int], Body]] = {
            endpoints.ACCOUNTS: lambda _form, at: forms.write_accounts(self._truth(at).account, at),
            endpoints.OPEN_POSITIONS: lambda _form, at: forms.write_open_positions(self._truth(at).positions, at),
            endpoints.OPEN_ORDERS: lambda _form, at: forms.write_open_orders(self._truth(at).orders, at),
            endpoints.FILLS: lambda _form, at: forms.write_fills(self._truth(at).fills, at),
            endpoints.ORDERS_STATUS: self._status,
            endpoints.SEND_ORDER: self._send,
            endpoints.EDIT_ORDER: self._edit,
            endpoints.CANCEL_ORDER: self._cancel,
            endpoints.CANCEL_ALL_ORDERS: self._cancel_all,
        }

    def routes(self) -> list[Route]:
        """One route: the tables decide."""
        return [Route("/derivatives/{rest:path}", self.answer, methods=["GET", "POST"])]

    async def answer(self, request: Request) -> Response:
        """Any call under /derivatives."""
        body = (await request.body()).decode("latin-1")
        path, at = request.url.path, self.venue.now_us()
        post_data = request.url.query + body
        form: Form = parse_qsl(post_data, keep_blank_values=True)
        call = self.public.get(path)
        if call is None:
            call = self.private.get(path)
            if call is None:
                return _json(forms.write_error("notFound", at), status=404)
            if not self._signed(request, post_data):
                return _json(forms.write_error("authenticationError", at))
            if not self.budget.spend(_cost(path, form), at):
                return _json(forms.write_error("apiLimitExceeded", at))
        try:
            return _json(call(form, at))
        except MalformedPayload as problem:
            return _json(forms.write_error(_argument_error(problem), at))

    def _signed(self, request: Request, post_data: str) -> bool:
        nonce = request.headers.get("Nonce", "")
        expected = futures_authent(self.venue.secret, post_data, request.url.path, nonce)
        given = request.headers.get("Authent", "")
        return request.headers.get("APIKey") == self.venue.key and matches(given, expected)

    def _truth(self, at: int) -> SnapshotSeen:
        return self.venue.engine.snapshot(at)

    def _instruments(self, _form: Form, at: int) -> Body:
        return forms.write_instruments(self.venue.engine.instruments(at).instruments, at)

    def _funding(self, form: Form, at: int) -> Body:
        symbol = dict(form).get("symbol", "").upper()
        if symbol not in self.venue.engine.rules:
            raise MalformedPayload("historical-funding-rates", "symbol", "unknown")
        rows = []
        for hour in range(at - at % HOUR_US, 0, -HOUR_US)[:FUNDING_ROWS]:
            rate = self.venue.funding(symbol, hour)
            if rate is None:
                break
            relative, index = rate
            rows.append(
                {"timestamp": write_iso_ms(hour), "fundingRate": relative * index, "relativeFundingRate": relative}
            )
        return forms.write_success(at, rates=rows[::-1])

    def _send(self, form: Form, at: int) -> Body:
        command = orders.parse_send_order(dict(form), at)
        if command.symbol not in self.venue.engine.rules:
            return forms.write_error("contractNotFound", at)
        return self._carry_out(command, at)

    def _edit(self, form: Form, at: int) -> Body:
        order = self._named(form)
        symbol, name = ("", "unknown") if order is None else (order.symbol, order.client_order_id)
        return self._carry_out(orders.parse_edit_order(dict(form), at, symbol, name), at)

    def _cancel(self, form: Form, at: int) -> Body:
        order = self._named(form)
        command = orders.parse_cancel_order(dict(form), at, "" if order is None else order.symbol)
        return self._carry_out(command, at)

    def _cancel_all(self, form: Form, at: int) -> Body:
        symbol = dict(form).get("symbol", "").upper() or None
        resting = [o for o in self._truth(at).orders if symbol is None or o.symbol == symbol]
        for order in resting:
            self.venue.carry_out(
                from_edge(CancelOrder, at, order.order_id, at, symbol=order.symbol, order_id=order.order_id)
            )
        return orders.write_cancel_all([order.order_id for order in resting], symbol, at)

    def _carry_out(self, command: Command, at: int) -> Body:
        answer = self.venue.carry_out(command)
        fills = [message.fill for message in answer.reply if isinstance(message, FillSeen)]
        (answered,) = (message for message in answer.reply if isinstance(message, CommandAnswered))
        return orders.write_answer(command, answered, fills, at, answer.reduced)

    def _named(self, form: Form) -> OpenOrder | None:
        """The resting order that a form names by either id."""
        names = dict(form)
        wanted = {names.get("orderId"), names.get("order_id"), names.get("cliOrdId")} - {None, ""}
        for order in self._truth(self.venue.now_us()).orders:
            if order.order_id in wanted or order.client_order_id in wanted:
                return order
        return None

    def _status(self, form: Form, at: int) -> Body:
        wanted = {value for name, value in form if name in ("orderIds", "cliOrdIds")}
        state = self.venue.engine.state
        rows = [
            _order_status(working.order, "new_placed_order_by_user", None)
            for working in state.working.values()
            if working.order.order_id in wanted or working.order.client_order_id in wanted
        ]
        rows += [
            _order_status(ended.order, ended.reason, ended)
            for ended in state.ended.values()
            if (ended.order.order_id in wanted or ended.order.client_order_id in wanted)
            and at - ended.at <= STATUS_REMEMBERED_US
        ]
        return forms.write_orders_status(rows, at)


def _order_status(order: OpenOrder, reason: str, ended: Ended | None) -> forms.OrderStatus:
    if ended is None:
        status = "TRIGGER_PLACED" if order.trigger else "ENTERED_BOOK"
    else:
        status = "FULLY_EXECUTED" if reason == "full_fill" else "CANCELLED"
    return forms.OrderStatus(
        order_id=order.order_id,
        client_order_id=order.client_order_id,
        symbol=order.symbol,
        filled=order.filled,
        status=status,
        reason="NEW_USER_ORDER" if ended is None else reason.upper(),
        error=None,
    )


def _cost(path: str, form: Form) -> int:
    paged = path == endpoints.FILLS and any(name == "lastFillTime" for name, _ in form)
    return endpoints.COST_FILLS_PAGED if paged else endpoints.COST.get(path, 1)


def _argument_error(problem: MalformedPayload) -> str:
    missing = "missing" in problem.problem or "required" in problem.problem.lower()
    return "requiredArgumentMissing" if missing else f"invalidArgument: {problem.field}"


def _json(body: Body, status: int = 200) -> Response:
    return Response(encode(body), status, media_type="application/json")

"""Orders sent and how they are answered: wishes <-> form bodies, answers <-> `FillSeen` and `CommandAnswered`.

A refusal looks like a success here (HTTP 200, `result: success`): only the inner status tells, by the tables below. A word
that is in no table is `unknown`, and reconciliation settles it. Knows no transport.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final, Literal

from pydantic import AliasChoices, Field

from protocol.kraken.endpoints import CANCEL_ORDER, EDIT_ORDER, SEND_ORDER
from protocol.kraken.faults import Action, judge
from protocol.kraken.futures_rest import parse_envelope, write_success
from protocol.kraken.wire import (
    Json,
    MalformedPayload,
    Name,
    NonNegative,
    Parsed,
    Positive,
    Record,
    Refused,
    Sparse,
    Symbol,
    check,
    member,
    one_by_one,
    parse_iso_us,
    plain,
    showable,
    write_iso_ms,
)
from protocol.messages.base import Message, from_edge
from protocol.messages.futures import (
    WISHES,
    CancelOrder,
    CommandAnswered,
    EditOrder,
    Fill,
    FillSeen,
    OpenOrder,
    OrderType,
    Outcome,
    PlaceOrder,
)
from protocol.units import OrderSide

Command = PlaceOrder | EditOrder | CancelOrder

TRIGGER_TYPES: Final = ("stp", "take_profit")
IMMEDIATE_TYPES: Final = ("mkt", "ioc")
"""These never rest: what they do not get at once is cancelled."""
TRIGGER_SIGNAL: Final = "mark"
"""Always said: other clients' default is the last price, on which one wick fires every stop."""

REFUSED_STATUSES: Final = frozenset({
    "marketSuspended", "marketInactive", "invalidPrice", "invalidSize", "tooManySmallOrders", "insufficientAvailableFunds",
    "wouldCauseLiquidation", "clientOrderIdTooBig", "clientOrderIdTooLong", "clientOrderIdInvalid", "maxPositionViolation",
    "outsidePriceCollar", "wouldIncreasePriceDislocation", "orderForEditNotAStop", "postWouldExecute",
    "iocWouldNotExecute", "selfFill", "wouldNotReducePosition", "marketIsPostOnly", "tooManyOrders", "fixedLeverageTooHigh",
    "cannotEditTriggerPriceOfTrailingStop", "cannotEditLimitPriceOfTrailingStop", "wouldProcessAfterSpecifiedTime",
    "invalidOrderType", "invalidSide", "requiredArgumentMissing",
})  # fmt: skip
"""The order was not carried out, and will not be. `clientOrderIdAlreadyExist` is not here: it says that an *earlier*
request with this id arrived, which reconciliation has to look at.
"""

_REFUSALS: Final[Mapping[str, Outcome]] = dict.fromkeys(sorted(REFUSED_STATUSES), "rejected")
OUTCOMES: Final[Mapping[type, Mapping[str, Outcome]]] = {
    PlaceOrder: {
        **_REFUSALS,
        "placed": "placed",
        "partiallyFilled": "placed",
        "filled": "filled",
        "cancelled": "cancelled",
        "notFound": "rejected",
    },
    EditOrder: {
        **_REFUSALS,
        "edited": "edited",
        "placed": "edited",
        "partiallyFilled": "edited",
        "filled": "filled",
        "cancelled": "cancelled",
        "notFound": "not_found",
        "orderForEditNotFound": "not_found",
    },
    CancelOrder: {"cancelled": "cancelled", "filled": "filled", "notFound": "not_found"},
}
"""Inner status -> outcome, by the kind of wish."""

FAILED: Final = ("rejected", "not_found", "unknown")
"""Outcomes after which something has to be done."""

REFUSED_ENVELOPES: Final = frozenset({
    "accountInactive", "apiLimitExceeded", "authenticationError", "insufficientFunds", "invalidAccount", "invalidAmount",
    "invalidArgument", "invalidUnit", "Json Parse Error", "marketUnavailable", "nonceBelowThreshold", "nonceDuplicate",
    "requiredArgumentMissing", "contractNotFound", "Bad Request", "BAD_REQUEST", "invalid order type",
})  # fmt: skip
"""Envelope errors that come before the order is looked at. `Server Error`, `Unavailable`, `unknownError` prove nothing."""

_STATUS_MEMBER: Final[Mapping[type, str]] = {
    PlaceOrder: "sendStatus",
    EditOrder: "editStatus",
    CancelOrder: "cancelStatus",
}


# --- wishes to form bodies ------------------------------------------------------------------------------------------


def write_command(command: Command) -> tuple[str, dict[str, str]]:
    """The path to POST to, and the form in sending order."""
    if isinstance(command, PlaceOrder):
        return SEND_ORDER, _send_form(command)
    if isinstance(command, EditOrder):
        # Said, because Kraken's default is RELATIVE: `size` would be what is open, and past fills would come on top.
        form = {"cliOrdId": command.client_order_id, "size": plain(command.size), "qtyMode": "ABSOLUTE"}
        return EDIT_ORDER, form | _prices(command)
    if command.order_id is not None:
        return CANCEL_ORDER, {"order_id": command.order_id}
    if command.client_order_id is None:
        raise ValueError("CancelOrder names no order: set client_order_id or order_id")
    return CANCEL_ORDER, {"cliOrdId": command.client_order_id}


def _send_form(command: PlaceOrder) -> dict[str, str]:
    form = {
        "orderType": command.order_type,
        "symbol": command.symbol,
        "side": command.side,
        "size": plain(command.size),
        "cliOrdId": command.client_order_id,
        "reduceOnly": "true" if command.reduce_only else "false",
    } | _prices(command)
    if command.order_type in TRIGGER_TYPES:
        form["triggerSignal"] = TRIGGER_SIGNAL
    if command.process_before is not None:
        form["processBefore"] = write_iso_ms(command.process_before)
    return form


def _prices(command: PlaceOrder | EditOrder) -> dict[str, str]:
    prices = {"limitPrice": command.limit_price, "stopPrice": command.stop_price}
    return {name: plain(price) for name, price in prices.items() if price is not None}


# --- form bodies to wishes (the venue's side) -------------------------------------------------------------------------


class _SendForm(Record):
    order_type: OrderType = Field(alias="orderType")
    symbol: Symbol
    side: OrderSide
    size: Positive
    client_order_id: str = Field("", alias="cliOrdId", max_length=100)
    reduce_only: bool = Field(False, alias="reduceOnly")
    limit_price: Positive | None = Field(None, alias="limitPrice")
    stop_price: Positive | None = Field(None, alias="stopPrice")
    trigger_signal: Literal["mark", "index", "spot", "last"] = Field("mark", alias="triggerSignal")
    process_before: str | None = Field(None, alias="processBefore")


class _EditForm(Record):
    client_order_id: str | None = Field(None, alias="cliOrdId")
    order_id: str | None = Field(None, alias="orderId")
    size: Positive
    limit_price: Positive | None = Field(None, alias="limitPrice")
    stop_price: Positive | None = Field(None, alias="stopPrice")


class _CancelForm(Record):
    client_order_id: str | None = Field(None, alias="cliOrdId")
    order_id: str | None = None


def parse_send_order(form: Mapping[str, str], at: int) -> PlaceOrder:
    """The order a client asks for. What the wire does not carry is filled in: `signal_id` empty, `role` by reduceOnly.

    Raises MalformedPayload, `field` being Kraken's parameter name. What this system's orders never say (another trigger than
    mark, a trailing distance) is not in it.
    """
    row = check(_SendForm, form, "sendorder")
    required = {
        "limitPrice": ("lmt", "post", "ioc", "fok"),
        "stopPrice": TRIGGER_TYPES,
        "trailingStopMaxDeviation": ("trailing_stop",),
    }
    for name, types in required.items():
        if row.order_type in types and name not in form:
            raise MalformedPayload("sendorder", name, "missing")
    before = row.process_before
    return from_edge(
        PlaceOrder,
        at,
        row.client_order_id,
        at,
        client_order_id=row.client_order_id,
        signal_id="",
        role="exit" if row.reduce_only else "entry",
        symbol=row.symbol,
        side=row.side,
        order_type=row.order_type,
        size=row.size,
        limit_price=row.limit_price,
        stop_price=row.stop_price,
        reduce_only=row.reduce_only,
        process_before=None if before is None else parse_iso_us(before, "sendorder", "processBefore"),
    )


def parse_edit_order(form: Mapping[str, str], at: int, symbol: str, client_order_id: str | None = None) -> EditOrder:
    """The change a client asks for. `symbol` is the edited order's, which the form does not carry, and so is
    `client_order_id` when the form names the order by `orderId`. Raises MalformedPayload.
    """
    row = check(_EditForm, form, "editorder")
    name = row.client_order_id or client_order_id
    if name is None:
        raise MalformedPayload("editorder", "cliOrdId", "missing")
    return from_edge(
        EditOrder,
        at,
        name,
        at,
        client_order_id=name,
        role="exit",
        symbol=symbol,
        size=row.size,
        limit_price=row.limit_price,
        stop_price=row.stop_price,
    )


def parse_cancel_order(form: Mapping[str, str], at: int, symbol: str) -> CancelOrder:
    """The cancellation a client asks for; `symbol` is the order's, empty when it is not known. Raises MalformedPayload."""
    row = check(_CancelForm, form, "cancelorder")
    if not (row.order_id or row.client_order_id):
        raise MalformedPayload("cancelorder", "order_id", "missing")
    return from_edge(
        CancelOrder,
        at,
        row.order_id or "",
        row.client_order_id or "",
        at,
        symbol=symbol,
        order_id=row.order_id or None,
        client_order_id=row.client_order_id or None,
    )


# --- answers -----------------------------------------------------------------------------------------------------------


class _Status(Record):
    status: str
    order_id: str | None = Field(None, validation_alias=AliasChoices("order_id", "orderId"))
    client_order_id: str | None = Field(None, alias="cliOrdId")
    received: str | None = Field(None, validation_alias=AliasChoices("receivedTime", "dateTimeReceived"))
    events: list[dict[str, Any]] | None = Field(None, alias="orderEvents")


class _EventOrder(Record):
    order_id: Name = Field(alias="orderId")
    client_order_id: str | None = Field(None, alias="cliOrdId")
    symbol: Symbol
    side: OrderSide
    changed: str | None = Field(None, alias="lastUpdateTimestamp")


class _Execution(Sparse):
    fill_id: Name = Field(alias="executionId")
    price: Positive
    amount: Positive
    order: _EventOrder = Field(validation_alias=AliasChoices("orderPriorExecution", "orderPriorEdit"))
    reduced: NonNegative | None = Field(None, alias="takerReducedQuantity")


def answered(
    command: Command,
    at: int,
    outcome: Outcome,
    status: str,
    *,
    order_id: str | None = None,
    client_order_id: str | None = None,
    action: Action | None = None,
) -> CommandAnswered:
    """How `command` ended, as known at `at`. `action` None: what Kraken's word `status` calls for when it is no success."""
    return from_edge(
        CommandAnswered,
        at,
        command.id,
        at,
        command=command.id,
        wish=WISHES[type(command)],
        client_order_id=command.client_order_id or client_order_id,
        order_id=order_id or (command.order_id if isinstance(command, CancelOrder) else None),
        symbol=command.symbol,
        outcome=outcome,
        status=showable(status),
        action=action or (judge(status).action if outcome in FAILED else ""),
    )


def parse_answer(command: Command, data: Json, at: int) -> Parsed[Message]:
    """`FillSeen` of each execution in the answer, then one `CommandAnswered`. Executions that cannot be read are set
    aside: the private stream tells them again. Raises MalformedPayload when the answer itself cannot be read (-> unknown).
    """
    what = _STATUS_MEMBER[type(command)]
    try:
        payload = parse_envelope(data, what)
    except Refused as refusal:
        return Parsed((refused(command, refusal.error, at),))
    return read_status(command, member(payload, what, dict, what), at)


def read_status(command: Command, value: Mapping[str, Any], at: int) -> Parsed[Message]:
    """One `sendStatus`, `editStatus`, `cancelStatus` or row of `batchStatus` as the answer to `command`. Raises MalformedPayload."""
    status = check(_Status, value, _STATUS_MEMBER[type(command)])
    events = status.events or []
    executions = one_by_one(
        (event for event in events if event.get("type") == "EXECUTION"),
        lambda event: check(_Execution, event, "orderEvents"),
        "orderEvents",
    )
    fills = tuple(_fill_seen(execution, status, at) for execution in executions.values)
    answer = answered(
        command,
        at,
        _outcome(command, status.status, executions.values),
        status.status,
        order_id=status.order_id,
        client_order_id=status.client_order_id or _named_in(events),
    )
    return Parsed((*fills, answer), executions.quarantined)


def refused(command: Command, error: str, at: int) -> CommandAnswered:
    """The whole request was refused by the envelope's `error` (`invalidArgument: size` is `invalidArgument`)."""
    word = error.partition(":")[0].strip()
    if word == "notFound" and not isinstance(command, PlaceOrder):
        return answered(command, at, "not_found", error)
    return answered(command, at, "rejected" if word in REFUSED_ENVELOPES else "unknown", error)


def resting(command: PlaceOrder, order_id: str) -> OpenOrder:
    """The order as it rests right after `placed`, before the private stream shows it."""
    return OpenOrder(
        order_id=order_id,
        client_order_id=command.client_order_id,
        symbol=command.symbol,
        side=command.side,
        order_type=command.order_type,
        size=command.size,
        filled=Decimal(0),
        limit_price=command.limit_price,
        stop_price=command.stop_price,
        reduce_only=command.reduce_only,
        trigger=TRIGGER_SIGNAL if command.order_type in TRIGGER_TYPES else None,
    )


def _outcome(command: Command, status: str, executions: Sequence[_Execution]) -> Outcome:
    outcome = OUTCOMES[type(command)].get(status, "unknown")
    if outcome != "placed" or not isinstance(command, PlaceOrder) or not executions:
        return outcome
    # `placed` is also said of an order that traded at once.
    done = sum((execution.amount for execution in executions), Decimal(0))
    cut = max(execution.reduced or Decimal(0) for execution in executions)
    if done + cut >= command.size:
        return "filled"
    return "cancelled" if command.order_type in IMMEDIATE_TYPES else "placed"


def _fill_seen(execution: _Execution, status: _Status, at: int) -> FillSeen:
    moment = status.received or execution.order.changed
    fill = Fill(
        fill_id=execution.fill_id,
        order_id=execution.order.order_id,
        client_order_id=execution.order.client_order_id or status.client_order_id,
        symbol=execution.order.symbol,
        side=execution.order.side,
        size=execution.amount,
        price=execution.price,
        time=at if moment is None else parse_iso_us(moment, "orderEvents", "receivedTime"),
        fill_type="taker",
    )
    return from_edge(FillSeen, at, fill.fill_id, "reply", at, fill=fill, source="reply")


def _named_in(events: Sequence[Mapping[str, Any]]) -> str | None:
    for event in events:
        for name in ("order", "orderTrigger", "new"):
            order = event.get(name)
            if isinstance(order, dict) and isinstance(order.get("cliOrdId") or order.get("clientId"), str):
                return str(order.get("cliOrdId") or order.get("clientId"))
    return None


def write_answer(
    command: Command, answer: CommandAnswered, fills: Sequence[Fill], at: int, reduced: Decimal | None = None
) -> dict[str, object]:
    """The venue's answer to a wish: status, and the events that go with it. `reduced` is what a reduce-only order was
    cut by. A refusal before the book has no order id and no events.
    """
    return write_success(at, **{_STATUS_MEMBER[type(command)]: write_status(command, answer, fills, at, reduced)})


def write_status(
    command: Command, answer: CommandAnswered, fills: Sequence[Fill], at: int, reduced: Decimal | None = None
) -> dict[str, object]:
    """The status within an answer."""
    status: dict[str, object] = {"status": answer.status, "receivedTime": write_iso_ms(at)}
    if answer.order_id is not None:
        status["orderId" if isinstance(command, EditOrder) else "order_id"] = answer.order_id
    if answer.client_order_id:
        status["cliOrdId"] = answer.client_order_id
    status["orderEvents"] = [] if answer.order_id is None else _events(command, answer, fills, at, reduced)
    return status


def _events(
    command: Command, answer: CommandAnswered, fills: Sequence[Fill], at: int, reduced: Decimal | None
) -> list[dict[str, object]]:
    if isinstance(command, CancelOrder):
        row: dict[str, object] = {
            "orderId": answer.order_id,
            "cliOrdId": answer.client_order_id,
            "symbol": command.symbol,
        }
        cancelled = answer.outcome == "cancelled"
        return [{"type": "CANCEL", "uid": answer.order_id, "order": row}] if cancelled else []
    events: list[dict[str, object]] = [_execution(command, fill, at, reduced) for fill in fills]
    if isinstance(command, EditOrder):
        if answer.outcome == "edited":
            events.insert(
                0, {"type": "EDIT", "old": None, "new": _row(command, answer, at), "reducedQuantity": reduced}
            )
    elif answer.outcome == "rejected":
        rejected = _row(command, answer, at)
        events = [{"type": "REJECT", "uid": answer.order_id, "reason": _shouted(answer.status), "order": rejected}]
    elif command.order_type in TRIGGER_TYPES:
        events = [{"type": "PLACE", "orderTrigger": _trigger_row(command, answer, at)}]
    elif not events:
        events = [{"type": "PLACE", "order": _row(command, answer, at), "reducedQuantity": reduced}]
    return events


def _execution(command: PlaceOrder | EditOrder, fill: Fill, at: int, reduced: Decimal | None) -> dict[str, object]:
    moment = write_iso_ms(at)
    prior = {
        "orderId": fill.order_id,
        "cliOrdId": fill.client_order_id,
        "type": command.order_type if isinstance(command, PlaceOrder) else "lmt",
        "symbol": fill.symbol,
        "side": fill.side,
        "quantity": command.size,
        "filled": 0,
        "limitPrice": command.limit_price,
        "reduceOnly": isinstance(command, PlaceOrder) and command.reduce_only,
        "timestamp": moment,
        "lastUpdateTimestamp": moment,
    }
    return {
        "type": "EXECUTION",
        "executionId": fill.fill_id,
        "price": fill.price,
        "amount": fill.size,
        "orderPriorEdit": None,
        "orderPriorExecution": prior,
        "takerReducedQuantity": reduced,
    }


def _row(command: PlaceOrder | EditOrder, answer: CommandAnswered, at: int) -> dict[str, object]:
    placed = isinstance(command, PlaceOrder)
    moment = write_iso_ms(at)
    return {
        "orderId": answer.order_id,
        "cliOrdId": answer.client_order_id,
        "type": command.order_type if isinstance(command, PlaceOrder) else "lmt",
        "symbol": command.symbol,
        **({"side": command.side, "reduceOnly": command.reduce_only} if isinstance(command, PlaceOrder) else {}),
        "quantity": command.size,
        "filled": 0,
        "limitPrice": command.limit_price,
        **({} if placed else {"stopPrice": command.stop_price}),
        "timestamp": moment,
        "lastUpdateTimestamp": moment,
    }


def _trigger_row(command: PlaceOrder, answer: CommandAnswered, at: int) -> dict[str, object]:
    moment = write_iso_ms(at)
    above = (command.side == "buy") == (command.order_type == "stp")
    return {
        "uid": answer.order_id,
        "clientId": answer.client_order_id,
        "type": "ioc" if command.limit_price is None else "lmt",
        "symbol": command.symbol,
        "side": command.side,
        "quantity": command.size,
        "limitPrice": command.limit_price,
        "triggerPrice": command.stop_price,
        "triggerSide": "trigger_above" if above else "trigger_below",
        "triggerSignal": "mark_price",
        "reduceOnly": command.reduce_only,
        "timestamp": moment,
        "lastUpdateTimestamp": moment,
        "startTime": None,
    }


def _shouted(status: str) -> str:
    """`iocWouldNotExecute` -> `IOC_WOULD_NOT_EXECUTE`."""
    return "".join(f"_{letter}" if letter.isupper() else letter.upper() for letter in status)


# --- cancelallorders ------------------------------------------------------------------------------------------------


def parse_cancel_all(data: Json) -> tuple[str, ...]:
    """Order ids said to be cancelled. The word is no proof: read the open orders again. Raises Refused, MalformedPayload."""
    status = member(parse_envelope(data, "cancelallorders"), "cancelStatus", dict, "cancelallorders")
    rows = status.get("cancelledOrders") or []
    if not isinstance(rows, list):
        raise MalformedPayload("cancelallorders", "cancelledOrders", "list expected")
    return tuple(str(row["order_id"]) for row in rows if isinstance(row, dict) and "order_id" in row)


def write_cancel_all(order_ids: Sequence[str], symbol: str | None, at: int) -> dict[str, object]:
    """The answer to `cancelallorders`."""
    status = {
        "receivedTime": write_iso_ms(at),
        "cancelOnly": symbol or "all",
        "status": "cancelled" if order_ids else "noOrdersToCancel",
        "cancelledOrders": [{"order_id": order_id} for order_id in order_ids],
        "orderEvents": [],
    }
    return write_success(at, cancelStatus=status)

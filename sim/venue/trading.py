"""The venue's order calls: place, edit, cancel, batches of them, cancel all, dead man's switch.

A refusal is a success with another word in it, as at Kraken. Knows no signature and no stream.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Final, Protocol

from protocol.ids import derive
from protocol.kraken import endpoints, orders
from protocol.kraken.account import DeadMan, write_cancel_all_after
from protocol.kraken.batch import parse_batch_form, write_batch_answer
from protocol.kraken.futures_rest import write_success
from protocol.kraken.wire import MalformedPayload, Refused, plain, write_iso_ms
from protocol.messages.futures import CommandAnswered, FillSeen, OpenOrder, PlaceOrder
from protocol.ports import Command
from sim.engine import Answer, Engine, rules
from sim.engine.state import Ended, Trail, Working
from sim.engine.terms import USUAL, Terms
from sim.venue import rows
from sim.venue.asking import Ask, Body, Call
from sim.venue.rows import Row

BOOK_REFUSALS: Final = ("postWouldExecute", "iocWouldNotExecute", "wouldNotReducePosition")
"""The book itself said no: the order has an id and an event that tells of it."""
UNSUPPORTED: Final = ("limitPriceOffsetValue", "limitPriceOffsetUnit")
DEVIATION_UNITS: Final = ("PERCENT", "QUOTE_CURRENCY")
DEVIATION_PCT: Final = (Decimal("0.1"), Decimal(50))
QTY_MODES: Final = ("RELATIVE", "ABSOLUTE")
"""How the size of an edit is meant; the first is the default."""
BATCH_MOST: Final = 50


class Trader(Protocol):
    """The venue as its order calls see it."""

    engine: Engine

    def carry_out(self, command: Command, terms: Terms = USUAL) -> Answer:
        """Send a wish to the engine now, and its reports to the streams."""
        ...

    def refused(self, order: OpenOrder, status: str) -> None:
        """Tell the streams that the book refused an order."""
        ...

    def cancel_all(self, symbol: str | None, reason: str) -> list[Working]:
        """Take every order off the book now, and tell it on the streams."""
        ...

    def arm(self, seconds: int) -> int | None:
        """Cancel all after so many seconds (0: never) unless it is armed again: the moment, None when it is off."""
        ...


class Trading:
    """The table of order calls and what each answers."""

    def __init__(self, venue: Trader) -> None:
        self.venue = venue
        self.calls: Mapping[str, Call] = {
            endpoints.SEND_ORDER: lambda ask: write_success(ask.at, sendStatus=self._send(ask.names, ask.at)),
            endpoints.EDIT_ORDER: lambda ask: write_success(ask.at, editStatus=self._edit(ask.names, ask.at)),
            endpoints.CANCEL_ORDER: lambda ask: write_success(ask.at, cancelStatus=self._cancel(ask.names, ask.at)),
            endpoints.BATCH_ORDER: self._batch,
            endpoints.CANCEL_ALL_ORDERS: self._cancel_all,
            endpoints.CANCEL_ALL_AFTER: self._cancel_all_after,
        }

    # --- one order ------------------------------------------------------------------------------------------

    def _send(self, form: Mapping[str, str], at: int) -> Row:
        command, terms = orders.parse_send_order(form, at), _terms(form)
        if command.symbol not in self.venue.engine.rules:
            raise Refused("contractNotFound")
        answer, answered, fills = self._carry_out(command, terms)
        row = _status(answered, at)
        record = self._record(answered.order_id)
        if record is None:
            if answered.status in BOOK_REFUSALS:
                refused = _refused(command, derive("refused", command.id, at), at)
                self.venue.refused(refused.order, answered.status)
                row["order_id"] = refused.order.order_id
                row["orderEvents"] = [_rejection(refused, answered.status)]
            return row
        state = self.venue.engine.state
        prior = rows.order_row(
            record,
            rows.limit_shown(record.order, self.venue.engine.rules[command.symbol], state.ticks.get(command.symbol)),
            filled=Decimal(0),
        )
        events = rows.execution_events(fills, {**prior, "quantity": command.size}, answer.reduced)
        if command.order_type in rules.TRIGGERS:
            events.insert(0, {"type": "PLACE", "orderTrigger": rows.trigger_row(record)})
        elif isinstance(record, Working):
            rests = rows.order_row(record, record.order.limit_price)
            events.append({"type": "PLACE", "order": rests, "reducedQuantity": answer.reduced})
        row["orderEvents"] = events
        return row

    def _edit(self, form: Mapping[str, str], at: int) -> Row:
        old = self._named(form)
        full = {**form, "size": _total(form, old.order)} if old is not None else {"size": "1", **form}
        name = "unknown" if old is None else old.order.client_order_id or old.order.order_id
        symbol = "" if old is None else old.order.symbol
        command = orders.parse_edit_order(full, at, symbol, name)
        order_id = None if old is None else old.order.order_id
        answer, answered, fills = self._carry_out(command, Terms(trail=_trail(form), order_id=order_id))
        row = _status(answered, at)
        row["orderId"] = row.pop("order_id", None) or form.get("orderId")
        row.pop("cliOrdId", None)
        record = self._record(answered.order_id)
        if answered.outcome == "edited" and record is not None and old is not None:
            before = rows.order_row(old, old.order.limit_price)
            after = {**rows.order_row(record, record.order.limit_price), "filled": old.order.filled}
            row["orderEvents"] = [
                {"type": "EDIT", "old": before, "new": after, "reducedQuantity": None},
                *rows.execution_events(fills, after, answer.reduced, edited=before),
            ]
        return row

    def _cancel(self, form: Mapping[str, str], at: int) -> Row:
        working = self._named(form)
        command = orders.parse_cancel_order(form, at, "" if working is None else working.order.symbol)
        _, answered, _ = self._carry_out(command, USUAL)
        row = _status(answered, at)
        if answered.outcome == "cancelled" and working is not None:
            row["orderEvents"] = [_cancellation(working)]
        return row

    def _carry_out(self, command: Command, terms: Terms) -> tuple[Answer, CommandAnswered, list[Any]]:
        answer = self.venue.carry_out(command, terms)
        fills = [message.fill for message in answer.reply if isinstance(message, FillSeen)]
        (answered,) = (message for message in answer.reply if isinstance(message, CommandAnswered))
        return answer, answered, fills

    def _record(self, order_id: str | None) -> Working | Ended | None:
        state = self.venue.engine.state
        return None if order_id is None else state.working.get(order_id) or state.ended.get(order_id)

    def _named(self, form: Mapping[str, str]) -> Working | None:
        """The resting order that a form names by either id."""
        wanted = {form.get("orderId"), form.get("order_id"), form.get("cliOrdId")} - {None, ""}
        for working in self.venue.engine.state.working.values():
            if working.order.order_id in wanted or working.order.client_order_id in wanted:
                return working
        return None

    # --- many ---------------------------------------------------------------------------------------------------

    def _batch(self, ask: Ask) -> Body:
        return write_batch_answer([self._item(item, ask.at) for item in batch_items(ask)], ask.at)

    def _item(self, item: Mapping[str, str], at: int) -> Row:
        """One order of a batch: what goes wrong with it is its own."""
        kinds: Mapping[str, Callable[[Mapping[str, str], int], Row]] = {
            "send": self._send,
            "edit": self._edit,
            "cancel": self._cancel,
        }
        tag = {"order_tag": item["order_tag"]} if "order_tag" in item else {}
        call = kinds.get(item.get("order", ""))
        if call is None:
            return {"status": "invalidArgument", **tag, "orderEvents": []}
        form = dict(item)
        if item["order"] == "edit" and "order_id" in form:
            form["orderId"] = form.pop("order_id")
        try:
            row = call(form, at)
        except MalformedPayload as problem:
            return {"status": argument_error(problem), **tag, "orderEvents": []}
        except Refused as refusal:
            return {"status": refusal.error, **tag, "orderEvents": []}
        if "orderId" in row:
            row["order_id"] = row.pop("orderId")
        return {**tag, "dateTimeReceived": row.pop("receivedTime"), **row}

    def _cancel_all(self, ask: Ask) -> Body:
        symbol = ask.symbol(self.venue.engine.rules)
        gone = self.venue.cancel_all(symbol, "cancelled_by_user")
        status = {
            "receivedTime": write_iso_ms(ask.at),
            "cancelOnly": symbol or "all",
            "status": "cancelled" if gone else "noOrdersToCancel",
            "cancelledOrders": [_names(working.order) for working in gone],
            "orderEvents": [_cancellation(working) for working in gone],
        }
        return write_success(ask.at, cancelStatus=status)

    def _cancel_all_after(self, ask: Ask) -> Body:
        seconds = ask.whole("timeout")
        if seconds < 0:
            raise MalformedPayload("cancelallordersafter", "timeout", "not below 0")
        return write_cancel_all_after(DeadMan(now=ask.at, fires_at=self.venue.arm(seconds)))


def _total(form: Mapping[str, str], order: OpenOrder) -> str:
    """The size of an edit as the new total: by default it is what shall be open, past fills not counted (`qtyMode`)."""
    mode = form.get("qtyMode", QTY_MODES[0])
    if mode not in QTY_MODES:
        raise MalformedPayload("editorder", "qtyMode", f"one of {', '.join(QTY_MODES)}")
    try:
        size = Decimal(form.get("size", str(order.size)))
        return form["size"] if mode == "ABSOLUTE" and "size" in form else plain(size + order.filled)
    except InvalidOperation:
        return form["size"]  # the parser's to refuse


def batch_items(ask: Ask) -> list[dict[str, str]]:
    """The orders of a batch, each as a form. Raises Refused, MalformedPayload."""
    ask.needs("json")
    try:
        items = parse_batch_form(ask.names)
    except MalformedPayload:
        raise Refused("Json Parse Error") from None
    if len(items) > BATCH_MOST:
        raise MalformedPayload("batchorder", "batchOrder", f"at most {BATCH_MOST}")
    return items


def argument_error(problem: MalformedPayload) -> str:
    """Kraken's word for a parameter that cannot be read."""
    missing = "missing" in problem.problem or "required" in problem.problem.lower()
    return "requiredArgumentMissing" if missing else f"invalidArgument: {problem.field}"


def _terms(form: Mapping[str, str]) -> Terms:
    for name in UNSUPPORTED:
        if form.get(name):
            raise MalformedPayload("sendorder", name, "not simulated")
    signal = form.get("triggerSignal", "mark")
    # Which words exist was checked with the rest of the form.
    return Terms(
        trigger="index" if signal in ("spot", "index") else "last" if signal == "last" else "mark", trail=_trail(form)
    )


def _trail(form: Mapping[str, str]) -> Trail | None:
    ask = Ask(list(form.items()), 0)
    deviation, unit = ask.number("trailingStopMaxDeviation"), form.get("trailingStopDeviationUnit", "PERCENT")
    if deviation is None:
        return None
    if unit not in DEVIATION_UNITS:
        raise MalformedPayload("sendorder", "trailingStopDeviationUnit", "PERCENT or QUOTE_CURRENCY")
    least, most = DEVIATION_PCT
    if deviation <= 0 or (unit == "PERCENT" and not least <= deviation <= most):
        raise MalformedPayload("sendorder", "trailingStopMaxDeviation", f"{least} to {most} percent")
    return Trail(deviation, "PERCENT" if unit == "PERCENT" else "QUOTE_CURRENCY")


def _status(answered: CommandAnswered, at: int) -> Row:
    row: Row = {"status": answered.status, "receivedTime": write_iso_ms(at), "orderEvents": []}
    if answered.order_id is not None:
        row["order_id"] = answered.order_id
    if answered.client_order_id:
        row["cliOrdId"] = answered.client_order_id
    return row


def _names(order: OpenOrder) -> Row:
    return {"order_id": order.order_id, **({"cliOrdId": order.client_order_id} if order.client_order_id else {})}


def _cancellation(working: Working) -> Row:
    order = rows.order_row(working, working.order.limit_price)
    return {"type": "CANCEL", "uid": working.order.order_id, "order": order}


def _refused(command: PlaceOrder, order_id: str, at: int) -> Working:
    """The order that the book was shown."""
    order = OpenOrder(
        order_id=order_id,
        client_order_id=command.client_order_id or None,
        symbol=command.symbol,
        side=command.side,
        order_type=command.order_type,
        size=command.size,
        filled=Decimal(0),
        limit_price=command.limit_price,
        stop_price=command.stop_price,
        reduce_only=command.reduce_only,
        trigger=None,
    )
    return Working(order=order, rank=0, placed_at=at, updated_at=at)


def _rejection(refused: Working, status: str) -> Row:
    """The book's no, with the order it was said to."""
    reason = "".join(f"_{letter}" if letter.isupper() else letter.upper() for letter in status)
    order = rows.order_row(refused, refused.order.limit_price)
    return {"type": "REJECT", "uid": refused.order.order_id, "reason": reason, "order": order}

"""Several wishes in one request: `batchorder`. Not atomic: each row is answered for itself, in order. Knows no transport."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from protocol.kraken.endpoints import BATCH_ORDER, CANCEL_ORDER, EDIT_ORDER, SEND_ORDER
from protocol.kraken.futures_rest import parse_envelope, write_success
from protocol.kraken.orders import Command, answered, read_status, refused, write_command, write_status
from protocol.kraken.wire import Json, MalformedPayload, Parsed, Refused, decode, encode, member, without_none
from protocol.messages.base import Message
from protocol.messages.futures import CommandAnswered, Fill

_FLAGS: Final[Mapping[str, bool]] = {"true": True, "false": False}
_WORD: Final[Mapping[str, str]] = {SEND_ORDER: "send", EDIT_ORDER: "edit", CANCEL_ORDER: "cancel"}


def write_batch(commands: Sequence[Command]) -> tuple[str, dict[str, str]]:
    """The path to POST to, and the form. The tag of a placement is its position."""
    rows = []
    for position, command in enumerate(commands):
        path, form = write_command(command)
        tag = {"order_tag": str(position)} if path == SEND_ORDER else {}
        flags = {name: _FLAGS[text] for name, text in form.items() if text in _FLAGS}
        rows.append({"order": _WORD[path], **tag, **form, **flags})
    return BATCH_ORDER, {"json": encode({"batchOrder": rows}).decode()}


def parse_batch(commands: Sequence[Command], data: Json, at: int) -> Parsed[Message]:
    """For each wish what `orders.parse_answer` gives. A row that is missing or cannot be read leaves its wish `unknown`."""
    try:
        payload = parse_envelope(data, "batchorder")
    except Refused as refusal:
        return Parsed(tuple(refused(command, refusal.error, at) for command in commands))
    rows = member(payload, "batchStatus", list, "batchorder")
    messages: list[Message] = []
    quarantined: list[MalformedPayload] = []
    for position, command in enumerate(commands):
        try:
            if position >= len(rows) or not isinstance(rows[position], dict):
                raise MalformedPayload("batchorder", f"batchStatus[{position}]", "missing")
            parsed = read_status(command, rows[position], at)
        except MalformedPayload as problem:
            quarantined.append(problem)
            messages.append(answered(command, at, "unknown", str(problem)))
        else:
            quarantined += parsed.quarantined
            messages += parsed.values
    return Parsed(tuple(messages), tuple(quarantined))


def parse_batch_form(form: Mapping[str, str]) -> list[dict[str, str]]:
    """What a client asks: each row as a form of text, `order` being send, edit or cancel. Raises MalformedPayload."""
    payload = decode(form.get("json", ""), "batchorder")
    rows = member(payload, "batchOrder", list, "batchorder")
    if any(not isinstance(row, dict) for row in rows):
        raise MalformedPayload("batchorder", "batchOrder", "a row is no object")
    return [{str(name): _text(value) for name, value in row.items() if value is not None} for row in rows]


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return format(value, "f") if isinstance(value, Decimal) else str(value)


def write_batch_row(
    command: Command,
    answer: CommandAnswered,
    fills: Sequence[Fill],
    at: int,
    reduced: Decimal | None = None,
    tag: str | None = None,
) -> dict[str, object]:
    """One row of the answer."""
    status = write_status(command, answer, fills, at, reduced)
    received = status.pop("receivedTime")
    order_id = status.pop("orderId", None)
    return without_none(order_tag=tag, dateTimeReceived=received, order_id=order_id) | status


def write_batch_answer(rows: Sequence[Mapping[str, object]], at: int) -> dict[str, object]:
    """The answer to `batchorder`."""
    return write_success(at, batchStatus=list(rows))

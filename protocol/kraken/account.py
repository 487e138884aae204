"""The futures account beside its orders: account log, leverage and pnl preferences, the dead man's switch. Knows no transport."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import msgspec
from pydantic import Field

from protocol.kraken.futures_rest import parse_envelope, write_success
from protocol.kraken.wire import (
    Json,
    Name,
    Number,
    Parsed,
    Positive,
    Record,
    Symbol,
    check,
    decode,
    member,
    one_by_one,
    parse_iso_us,
    without_none,
    write_iso_ms,
)

NEVER = "0"
"""`triggerTime` of a switch that is off."""


class LogEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One booking. `info` verbatim (`futures trade`, `funding rate change`, `futures liquidation`, ...); amounts in `asset`.

    None: this booking does not say.
    """

    entry_id: int
    time: int
    asset: str
    info: str
    contract: str | None
    old_balance: Decimal
    new_balance: Decimal
    fee: Decimal | None = None
    realized_pnl: Decimal | None = None
    realized_funding: Decimal | None = None
    funding_rate: Decimal | None = None
    liquidation_fee: Decimal | None = None
    execution: str | None = None
    booking_uid: str | None = None
    margin_account: str | None = None


class _Entry(Record):
    entry_id: int = Field(alias="id", ge=0)
    date: str
    asset: str = ""
    info: str
    contract: str | None = None
    old_balance: Number
    new_balance: Number
    fee: Number | None = None
    realized_pnl: Number | None = None
    realized_funding: Number | None = None
    funding_rate: Number | None = None
    liquidation_fee: Number | None = None
    execution: str | None = None
    booking_uid: str | None = None
    margin_account: str | None = None


def read_log_entry(value: object) -> LogEntry:
    """One booking, of REST or of the stream. Raises MalformedPayload."""
    row = check(_Entry, value, "account log")
    return LogEntry(time=parse_iso_us(row.date, "account log", "date"), **row.model_dump(exclude={"date"}))


def parse_account_log(data: Json) -> Parsed[LogEntry]:
    """The answer to `/api/history/v3/account-log`, oldest first; it has no envelope."""
    payload = decode(data, "account log")
    if "result" in payload:  # refusals have one
        payload = parse_envelope(payload, "account log")
    parsed = one_by_one(member(payload, "logs", list, "account log"), read_log_entry, "account log")
    return Parsed(tuple(sorted(parsed.values, key=lambda entry: entry.entry_id)), parsed.quarantined)


def write_log_entry(entry: LogEntry) -> dict[str, object]:
    """One booking."""
    amounts = ("fee", "realized_pnl", "realized_funding", "funding_rate", "liquidation_fee")
    names = (
        "asset",
        "info",
        "contract",
        "old_balance",
        "new_balance",
        *amounts,
        "execution",
        "booking_uid",
        "margin_account",
    )
    row = {name: getattr(entry, name) for name in names}
    return {"id": entry.entry_id, "date": write_iso_ms(entry.time), **without_none(**row)}


def write_account_log(entries: Sequence[LogEntry], account: str = "simulated") -> dict[str, object]:
    """The answer to `account-log`, given oldest first, written newest first."""
    return {"accountUid": account, "logs": [write_log_entry(entry) for entry in reversed(entries)]}


def write_log_frame(entry: LogEntry) -> dict[str, object]:
    """An `account_log` frame."""
    return {"feed": "account_log", "new_entry": write_log_entry(entry)}


def write_log_snapshot(entries: Sequence[LogEntry]) -> dict[str, object]:
    """An `account_log_snapshot` frame."""
    return {"feed": "account_log_snapshot", "logs": [write_log_entry(entry) for entry in reversed(entries)]}


# --- preferences -------------------------------------------------------------------------------------------------------


class _Leverage(Record):
    symbol: Symbol
    leverage: Positive = Field(alias="maxLeverage")


class _PnlCurrency(Record):
    symbol: Symbol
    currency: Name = Field(alias="pnlCurrency")


def parse_leverage_preferences(data: Json) -> Parsed[tuple[str, Decimal]]:
    """(symbol, leverage) of each symbol that is isolated. A symbol that is not in it is cross-margined."""
    what = "leveragepreferences"
    rows = member(parse_envelope(data, what), "leveragePreferences", list, what)

    def read(value: object) -> tuple[str, Decimal]:
        row = check(_Leverage, value, what)
        return row.symbol, row.leverage

    return one_by_one(rows, read, what)


def write_leverage_preferences(preferences: Mapping[str, Decimal], at: int) -> dict[str, object]:
    """The answer to `leveragepreferences`."""
    rows = [{"symbol": symbol, "maxLeverage": leverage} for symbol, leverage in preferences.items()]
    return write_success(at, leveragePreferences=rows)


def parse_pnl_preferences(data: Json) -> Parsed[tuple[str, str]]:
    """(symbol, currency in which its profit is paid)."""
    rows = member(parse_envelope(data, "pnlpreferences"), "preferences", list, "pnlpreferences")

    def read(value: object) -> tuple[str, str]:
        row = check(_PnlCurrency, value, "pnlpreferences")
        return row.symbol, row.currency

    return one_by_one(rows, read, "pnlpreferences")


def write_pnl_preferences(preferences: Mapping[str, str], at: int) -> dict[str, object]:
    """The answer to `pnlpreferences`."""
    rows = [{"symbol": symbol, "pnlCurrency": currency} for symbol, currency in preferences.items()]
    return write_success(at, preferences=rows)


def parse_done(data: Json, what: str) -> None:
    """An answer that says nothing but that it was done. Raises Refused, MalformedPayload."""
    parse_envelope(data, what)


# --- dead man's switch ---------------------------------------------------------------------------------------------------


class DeadMan(msgspec.Struct, frozen=True, kw_only=True):
    """When every order of the account will be cancelled, stops included; None: the switch is off. Microseconds UTC."""

    now: int
    fires_at: int | None


def parse_cancel_all_after(data: Json) -> DeadMan:
    """The answer to `cancelallordersafter`. Raises Refused, MalformedPayload."""
    what = "cancelallordersafter"
    status: Mapping[str, Any] = member(parse_envelope(data, what), "status", dict, what)
    trigger = status.get("triggerTime")
    off = trigger in (NEVER, 0)
    return DeadMan(
        now=parse_iso_us(status.get("currentTime"), what, "currentTime"),
        fires_at=None if off else parse_iso_us(trigger, what, "triggerTime"),
    )


def write_cancel_all_after(switch: DeadMan) -> dict[str, object]:
    """The answer to `cancelallordersafter`."""
    fires = NEVER if switch.fires_at is None else write_iso_ms(switch.fires_at)
    return write_success(switch.now, status={"currentTime": write_iso_ms(switch.now), "triggerTime": fires})

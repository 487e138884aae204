"""Messages as rows: what each message means for the tables a person asks. Pure; a table of rules, then a short engine.

A rule either states a row once (`first`: what is there already stands, so a message told twice changes nothing) or
changes columns (`last`: the newest word counts). Within a batch changes to one row are merged before the database
sees them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec
from sqlalchemy import Table

from actors.ledger import tables
from protocol.messages import control, futures, signal, spot
from protocol.messages.base import Message
from protocol.units import MINUTE_US

Row = dict[str, Any]

ROUTINE: Final[frozenset[type[Message]]] = frozenset(
    {
        spot.CandleSeen,
        spot.CandleClosed,
        spot.HistorySeen,
        spot.RequestHistory,
        spot.SpotPrice,
        signal.Held,
        signal.StructureRead,
        futures.TickerSeen,
        futures.MarkPrice,
        futures.PositionsSeen,
        futures.AccountSeen,
        futures.AccountChanged,
        futures.InstrumentsSeen,
        futures.InstrumentsListed,
        futures.RequestSnapshot,
        futures.SnapshotSeen,
        futures.ExchangeSnapshot,
        control.Started,
        control.WakeAt,
        control.Woken,
        control.Reconciled,
    }
)
"""Said every second or minute: in the journal's pages only. Every other kind, a new one too, can be asked for by name."""

NAMING: Final = ("id", "signal_id", "trade_id", "client_order_id", "order_id", "fill_id", "command")
"""Fields whose value names the thing a message is about; `explain` follows them from message to message."""


class First(NamedTuple):
    """State this row unless its key is there already."""

    table: Table
    row: Row


class Last(NamedTuple):
    """Set these columns of the row with this key, which is made if it is not there."""

    table: Table
    row: Row


Change = First | Last


def _fields(value: Message | msgspec.Struct, *names: str) -> Row:
    return {name: getattr(value, name) for name in names}


def _signal(message: signal.Signal) -> Change:
    columns = ("symbol", "timeframe", "side", "candle_time_ms", "entry", "stop", "take_profit", "reason", "at")
    return First(tables.signals, {"signal_id": message.id, **_fields(message, *columns)})


def _refused(message: futures.SignalRefused) -> Change:
    verdict = {"verdict": "refused", "verdict_reasons": ",".join(message.reasons), "verdict_detail": message.verdict}
    return Last(tables.signals, {"signal_id": message.signal_id, **verdict})


def _entered(message: futures.EnterPosition) -> Change:
    return Last(
        tables.signals, {"signal_id": message.signal_id, "verdict": "entered", "verdict_detail": message.verdict}
    )


def _placed(message: futures.PlaceOrder) -> Change:
    columns = ("client_order_id", "signal_id", "role", "symbol", "side", "order_type")
    terms = ("size", "limit_price", "stop_price", "reduce_only")
    return First(
        tables.orders,
        {
            "order_key": message.client_order_id,
            **_fields(message, *columns, *terms),
            "status": "sent",
            "placed_at": message.at,
            "changed_at": message.at,
        },
    )


def _order(message: Message, key: str, status: str, **columns: Any) -> Change:
    return Last(tables.orders, {"order_key": key, "status": status, **columns, "changed_at": message.at})


def _accepted(message: futures.OrderAccepted) -> Change:
    order = message.order
    columns = ("order_id", "symbol", "side", "filled", "limit_price", "stop_price", "reduce_only")
    return _order(
        message,
        order.client_order_id or order.order_id,
        "open",
        client_order_id=order.client_order_id,
        size=order.size + order.filled,
        **_fields(order, *columns),
    )


def _gone(message: futures.OrderGone) -> Change:
    key = message.client_order_id or message.order_id
    return _order(
        message, key, "gone", **_fields(message, "client_order_id", "order_id", "symbol"), reason=message.reason
    )


def _rejected(message: futures.OrderRejected) -> Change | None:
    if message.wish != "place":
        return None  # the order itself stands as it did
    return _order(message, message.client_order_id, "rejected", symbol=message.symbol, reason=message.status)


def _unknown(message: futures.OrderUnknown) -> Change:
    return _order(message, message.client_order_id, "unknown", symbol=message.symbol, reason=message.wish)


def _blocked(message: futures.EntryBlocked) -> Change:
    reasons = ",".join(message.reasons)
    return _order(message, message.client_order_id, "blocked", symbol=message.symbol, reason=reasons)


def _filled(message: futures.Filled) -> Change:
    columns = ("fill_id", "order_id", "client_order_id", "symbol", "side")
    return First(tables.fills, _fields(message.fill, *columns, "size", "price", "fee_usd", "fill_type", "time"))


def _position(message: futures.PositionChanged) -> Change:
    columns = ("symbol", "size", "entry_price", "liquidation_price", "unrealized_pnl_usd", "margin_usd")
    return Last(tables.positions, {**_fields(message.position, *columns), "changed_at": message.at})


def _opened(message: futures.TradeOpened) -> Change:
    row = _fields(message, "trade_id", "symbol", "side", "size")
    return First(tables.trades, {**row, "entry_price": message.price, "opened_at": message.at})


def _protected(message: futures.Protected) -> Change:
    row = _fields(message, "trade_id", "symbol", "size", "stop_price", "target_price")
    return Last(tables.trades, {**row, "protected_at": message.at})


def _closed(message: futures.TradeClosed) -> Change:
    columns = ("trade_id", "symbol", "side", "size", "entry_price", "exit_price", "pnl_usd", "fees_usd", "opened_at")
    return Last(tables.trades, {**_fields(message, *columns, "reason", "r_multiple"), "closed_at": message.at})


def _account(message: futures.AccountChanged) -> Change:
    row = msgspec.structs.asdict(message.account)
    return Last(tables.equity, {"minute": message.at // MINUTE_US, "at": message.at, **row})


def _candle(message: spot.CandleClosed) -> Change:
    columns = ("symbol", "timeframe", "open_time_ms", "open", "high", "low", "close", "volume", "synthetic")
    return First(tables.candles, _fields(message, *columns))


RULES: Final[Mapping[type[Message], Callable[[Any], Change | None]]] = {
    signal.Signal: _signal,
    futures.SignalRefused: _refused,
    futures.EnterPosition: _entered,
    futures.PlaceOrder: _placed,
    futures.OrderAccepted: _accepted,
    futures.OrderGone: _gone,
    futures.OrderRejected: _rejected,
    futures.OrderUnknown: _unknown,
    futures.EntryBlocked: _blocked,
    futures.Filled: _filled,
    futures.PositionChanged: _position,
    futures.TradeOpened: _opened,
    futures.Protected: _protected,
    futures.TradeClosed: _closed,
    futures.AccountChanged: _account,
    spot.CandleClosed: _candle,
}


def key_of(table: Table, row: Mapping[str, Any]) -> tuple[Any, ...]:
    """The primary key of a row."""
    return tuple(row[column.name] for column in table.primary_key)


def changes(batch: Sequence[Message]) -> tuple[dict[Table, list[Row]], dict[Table, list[Row]]]:
    """What a batch means: rows to state once and rows to set, one a key, by table.

    The first are to be written before the second: what an order was wished as comes before what became of it.
    """
    first: dict[Table, dict[tuple[Any, ...], Row]] = {}
    last: dict[Table, dict[tuple[Any, ...], Row]] = {}
    for message in batch:
        rule = RULES.get(type(message))
        change = rule(message) if rule else None
        match change:
            case First(table, row):
                first.setdefault(table, {}).setdefault(key_of(table, row), row)
            case Last(table, row):
                last.setdefault(table, {}).setdefault(key_of(table, row), {}).update(row)
    return _listed(first), _listed(last)


def _listed(rows: dict[Table, dict[tuple[Any, ...], Row]]) -> dict[Table, list[Row]]:
    return {table: list(by_key.values()) for table, by_key in rows.items()}


def names_of(message: Message) -> tuple[str, ...]:
    """Every name a message goes by or speaks of: its own id first, then signal, trade, order, fill."""
    inner = (getattr(message, part, None) for part in ("order", "fill"))
    found = (getattr(thing, field, None) for thing in (message, *inner) if thing is not None for field in NAMING)
    return tuple(dict.fromkeys(name for name in found if isinstance(name, str) and name))

"""Orders, executions and log entries as Kraken's REST API shows them. Knows the exchange's records, no call and no socket."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Final

from protocol.kraken.wire import us_ms, write_iso_ms
from protocol.messages.futures import Fill, Instrument, OpenOrder
from protocol.units import OrderSide
from sim.engine import rules
from sim.engine.state import Ended, LogEntry, Working
from sim.market.tick import Tick

Row = dict[str, object]

IOC_TYPES: Final = ("mkt", "ioc")
SIGNAL: Final = {"mark": "mark_price", "last": "last_price", "index": "spot_price"}
STATUS: Final = {
    "full_fill": "FULLY_EXECUTED",
    "stop_order_triggered": "FULLY_EXECUTED",
    "not_enough_margin": "TRIGGER_ACTIVATION_FAILURE",
    "would_not_reduce_position": "TRIGGER_ACTIVATION_FAILURE",
}
"""How `orders/status` calls an order that is gone, by the streams' reason; every other is CANCELLED."""
UPDATE_REASON: Final = {
    "cancelled_by_user": "CANCELLED_BY_USER",
    "full_fill": "FULL_FILL",
    "stop_order_triggered": "STOP_ORDER_TRIGGERED",
    "dead_man_switch": "DEAD_MAN_SWITCH",
    "liquidation": "LIQUIDATION_ORDER",
    "not_enough_margin": "NOT_ENOUGH_MARGIN",
    "would_not_reduce_position": "WOULD_NOT_REDUCE_POSITION",
    "cancelled_by_admin": "CANCELLED_BY_ADMIN",
    "ioc_order_failed_because_it_would_not_be_executed": "IOC_WOULD_NOT_EXECUTE_REASON",
}


def limit_shown(order: OpenOrder, instrument: Instrument, tick: Tick | None) -> Decimal | None:
    """A market order shows the limit it is protected with."""
    if order.order_type == "mkt" and tick is not None:
        return rules.protected(order.side, tick, instrument)
    return order.limit_price


def order_row(record: Working | Ended, limit_price: Decimal | None, filled: Decimal | None = None) -> Row:
    """`order` of an event. `quantity` is the whole order; `filled` what was done before the event."""
    order = record.order
    moment = record.updated_at if isinstance(record, Working) else record.at
    return {
        "orderId": order.order_id,
        "cliOrdId": order.client_order_id,
        "type": "ioc" if order.order_type in IOC_TYPES else order.order_type,
        "symbol": order.symbol,
        "side": order.side,
        "quantity": order.size + order.filled,
        "filled": order.filled if filled is None else filled,
        "limitPrice": limit_price,
        **({} if order.stop_price is None else {"stopPrice": order.stop_price}),
        "reduceOnly": order.reduce_only,
        "timestamp": write_iso_ms(record.placed_at),
        "lastUpdateTimestamp": write_iso_ms(moment),
    }


def trigger_row(record: Working | Ended) -> Row:
    """`orderTrigger` of an event. `type` is the order that will be born."""
    order = record.order
    moment = record.updated_at if isinstance(record, Working) else record.at
    return {
        "uid": order.order_id,
        "clientId": order.client_order_id,
        "type": "ioc" if order.limit_price is None else "lmt",
        "symbol": order.symbol,
        "side": order.side,
        "quantity": order.size + order.filled,
        "limitPrice": order.limit_price,
        "triggerPrice": order.stop_price,
        "triggerSide": "trigger_above" if rules.fires_above(order) else "trigger_below",
        "triggerSignal": SIGNAL.get(order.trigger or "mark"),
        "reduceOnly": order.reduce_only,
        "timestamp": write_iso_ms(record.placed_at),
        "lastUpdateTimestamp": write_iso_ms(moment),
        "startTime": None,
    }


def execution_events(
    fills: Sequence[Fill], prior: Row, reduced: Decimal | None, edited: Row | None = None
) -> list[Row]:
    """One event an execution, each with the order as it was before it."""
    events: list[Row] = []
    done = Decimal(0)
    for fill in fills:
        events.append(
            {
                "type": "EXECUTION",
                "executionId": fill.fill_id,
                "price": fill.price,
                "amount": fill.size,
                "orderPriorEdit": edited,
                "orderPriorExecution": {**prior, "filled": done},
                "takerReducedQuantity": reduced,
            }
        )
        done += fill.size
    return events


def status_row(record: Working | Ended) -> Row:
    """One order of `orders/status`."""
    order = record.order
    ended = isinstance(record, Ended)
    row = order_row(record, order.limit_price)
    row.pop("stopPrice", None)
    row["type"] = "TRIGGER_ORDER" if order.trigger else "ORDER"
    if order.trigger:
        row["priceTriggerOptions"] = {
            "triggerPrice": order.stop_price,
            "triggerSide": "TRIGGER_ABOVE" if rules.fires_above(order) else "TRIGGER_BELOW",
            "triggerSignal": SIGNAL[order.trigger].upper(),
            "triggerTime": None,
        }
    if isinstance(record, Ended):
        status, reason = STATUS.get(record.reason, "CANCELLED"), UPDATE_REASON.get(record.reason, record.reason.upper())
    else:
        status = "TRIGGER_PLACED" if order.trigger else "ENTERED_BOOK"
        reason = "PARTIAL_FILL" if order.filled else "NEW_USER_ORDER"
    return {"order": row, "status": status, "updateReason": reason, "error": None if not ended else _error(reason)}


def _error(reason: str) -> str | None:
    return {"NOT_ENOUGH_MARGIN": "INSUFFICIENT_MARGIN", "WOULD_NOT_REDUCE_POSITION": "WOULD_NOT_REDUCE_POSITION"}.get(
        reason
    )


def open_order_row(working: Working) -> Row:
    """One order of `openorders`: `stp` reads back as `stop`, every limit order as `lmt`, `index` as `spot`."""
    order = working.order
    row: Row = {
        "order_id": order.order_id,
        "cliOrdId": order.client_order_id,
        "symbol": order.symbol,
        "side": order.side,
        "orderType": {"stp": "stop", "post": "lmt"}.get(order.order_type, order.order_type),
        "limitPrice": order.limit_price,
        "stopPrice": order.stop_price,
        "unfilledSize": order.size,
        "filledSize": order.filled,
        "receivedTime": write_iso_ms(working.placed_at),
        "lastUpdateTime": write_iso_ms(working.updated_at),
        "status": "partiallyFilled" if order.filled else "untouched",
        "reduceOnly": order.reduce_only,
        "triggerSignal": "spot" if order.trigger == "index" else order.trigger,
    }
    return {name: value for name, value in row.items() if value is not None}


HISTORY_TYPE: Final = {"lmt": "Limit", "post": "Post", "ioc": "IoC", "mkt": "Market", "fok": "FoK"}


def historical_order(order: OpenOrder, placed_at: int, updated_at: int) -> Row:
    """An order of the history API: numbers as text, times in milliseconds."""
    return {
        "uid": order.order_id,
        "accountUid": "simulated",
        "tradeable": order.symbol,
        "direction": _direction(order.side),
        "quantity": str(order.size),
        "filled": str(order.filled),
        "timestamp": str(us_ms(placed_at)),
        "limitPrice": str(order.limit_price or 0),
        "orderType": HISTORY_TYPE.get(order.order_type, order.order_type),
        "clientId": order.client_order_id or "",
        "reduceOnly": order.reduce_only,
        "lastUpdateTimestamp": str(us_ms(updated_at)),
    }


def _direction(side: OrderSide) -> str:
    return side.capitalize()


def log_rows(entry: LogEntry, currency: str) -> list[Row]:
    """An entry of the account log: the leg of the money, and for an execution the leg of the position."""
    cash: Row = {
        "id": 2 * entry.number,
        "date": write_iso_ms(entry.at),
        "asset": currency,
        "contract": entry.symbol.lower(),
        "info": entry.info,
        "booking_uid": f"booking-{entry.number}",
        "margin_account": margin_account(entry.account),
        "old_balance": entry.old_balance,
        "new_balance": entry.new_balance,
        "old_average_entry_price": None,
        "new_average_entry_price": None,
        "trade_price": entry.price,
        "mark_price": entry.mark,
        "realized_pnl": entry.realised,
        "fee": entry.fee,
        "execution": entry.fill_id or None,
        "collateral": currency,
        "funding_rate": entry.funding_rate,
        "realized_funding": entry.funding,
        "conversion_spread_percentage": None,
        "liquidation_fee": None,
        "position_uid": None,
    }
    if not entry.fill_id:
        return [cash]
    position = {
        **cash,
        "id": 2 * entry.number + 1,
        "asset": entry.symbol.lower(),
        "old_balance": entry.old_size,
        "new_balance": entry.new_size,
        "old_average_entry_price": entry.old_entry,
        "new_average_entry_price": entry.new_entry,
        "realized_pnl": None,
        "fee": None,
    }
    return [cash, position]


def margin_account(name: str) -> str:
    """Kraken's name of an account: `flex`, or `fi_xbtusd` for PI_XBTUSD."""
    return f"fi_{name.partition('_')[2].lower()}" if name else "flex"


def coin(symbol: str) -> str:
    """The coin of a contract as the account endpoints spell it: `PI_XBTUSD` -> `xbt`."""
    return symbol.partition("_")[2].removesuffix("USD").lower()


def currency(account: str) -> str:
    """What an account is kept in: `usd`, or a coin."""
    return coin(account) if account else "usd"

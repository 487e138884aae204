"""What the exchange might say, with sensible values for all that a test does not care about.

Each builder takes what most tests vary by position and everything else by field name. One PF_XBTUSD at 50,000 unless told otherwise.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from protocol.messages.base import from_edge
from protocol.messages.futures import Account, Fill, Instrument, MarkPrice, OpenOrder, Position
from protocol.messages.signal import Signal, StructureRead
from protocol.units import HOUR_US, TIMEFRAME_MS

XBT, ETH = "PF_XBTUSD", "PF_ETHUSD"
HOUR_MS = TIMEFRAME_MS["1h"]


def instrument(symbol: str = XBT, **changes: Any) -> Instrument:
    """A linear contract of one coin: whole-dollar ticks, one margin level."""
    fields: dict[str, Any] = {
        "symbol": symbol,
        "tick": Decimal(1),
        "lot": Decimal("0.0001"),
        "max_position": Decimal(1200),
        "contract_size": Decimal(1),
        "inverse": False,
        "tradeable": True,
        "margin_levels": ((Decimal(0), Decimal("0.02"), Decimal("0.01")),),
        "max_relative_funding_rate": Decimal("0.0025"),
    }
    return Instrument(**(fields | changes))


def mark_fields(at: int, price: str | int = 50_000, symbol: str = XBT, **changes: Any) -> dict[str, Any]:
    """The fields of a mark of this moment in an open market, book and index at the same price."""
    value = Decimal(price)
    fields: dict[str, Any] = {
        "symbol": symbol,
        "mark": value,
        "index": value,
        "bid": value,
        "ask": value,
        "funding_rate": Decimal(0),
        "suspended": False,
        "post_only": False,
        "mark_time": at,
    }
    return fields | changes


def mark(at: int, price: str | int = 50_000, symbol: str = XBT, **changes: Any) -> MarkPrice:
    """`mark_fields` as the fact."""
    return from_edge(MarkPrice, at, symbol, at, str(price), **mark_fields(at, price, symbol, **changes))


def account(equity: str | int = 10_000, **changes: Any) -> Account:
    """An account with nothing open: all of the equity is free."""
    value = Decimal(equity)
    fields: dict[str, Any] = {
        "equity_usd": value,
        "balance_usd": value,
        "available_margin_usd": value,
        "initial_margin_usd": Decimal(0),
        "maintenance_margin_usd": Decimal(0),
    }
    return Account(**(fields | changes))


def position(size: str | int, symbol: str = XBT, **changes: Any) -> Position:
    """A signed position entered at 50,000."""
    fields: dict[str, Any] = {"symbol": symbol, "size": Decimal(size), "entry_price": Decimal(50_000)}
    return Position(**(fields | changes))


def fill(fill_id: str, side: str, size: str | int, price: str | int = 50_000, **changes: Any) -> Fill:
    """A taker execution without a fee, by no order of ours."""
    fields: dict[str, Any] = {
        "fill_id": fill_id,
        "order_id": f"o-{fill_id}",
        "client_order_id": None,
        "symbol": XBT,
        "side": side,
        "size": Decimal(size),
        "price": Decimal(price),
        "time": 0,
        "fill_type": "taker",
        "fee_usd": Decimal(0),
    }
    return Fill(**(fields | changes))


def open_order(order_id: str, client_order_id: str | None, size: str | int = 1, **changes: Any) -> OpenOrder:
    """A resting limit buy that may open a position."""
    fields: dict[str, Any] = {
        "order_id": order_id,
        "client_order_id": client_order_id,
        "symbol": XBT,
        "side": "buy",
        "order_type": "lmt",
        "size": Decimal(size),
        "filled": Decimal(0),
        "limit_price": Decimal(49_000),
        "stop_price": None,
        "reduce_only": False,
        "trigger": None,
    }
    return OpenOrder(**(fields | changes))


def stop_order(order_id: str, client_order_id: str | None, size: str | int = 1, **changes: Any) -> OpenOrder:
    """The protective stop of a long as the exchange lists it: reduce-only, triggered by the mark."""
    fields: dict[str, Any] = {
        "side": "sell",
        "order_type": "stop",
        "limit_price": None,
        "stop_price": Decimal(49_000),
        "reduce_only": True,
        "trigger": "mark",
    }
    return open_order(order_id, client_order_id, size, **(fields | changes))


def signal(at: int, name: str = "s1", **changes: Any) -> Signal:
    """A long of BTC/USD with its stop 2 % and its target 8 % away, good for an hour."""
    fields: dict[str, Any] = {
        "symbol": "BTC/USD",
        "timeframe": "1h",
        "side": "long",
        "candle_time_ms": (at - HOUR_US) // 1000,
        "entry": 50_000.0,
        "stop": 49_000.0,
        "take_profit": 54_000.0,
        "stop_pct": 0.02,
        "take_profit_pct": 0.08,
        "zone_id": "z",
        "reason": "signal.long",
        "valid_until": at + HOUR_US,
        "rule_version": "smc-1",
        "params_hash": "h",
        "snapshot": "{}",
    }
    return Signal(id=name, cause="", at=at, **(fields | changes))


def structure_fields(candle_time_ms: int, close: float = 50_000.0, **changes: Any) -> dict[str, Any]:
    """The fields of a closed candle of BTC/USD 1h that says nothing new."""
    fields: dict[str, Any] = {
        "symbol": "BTC/USD",
        "timeframe": "1h",
        "candle_time_ms": candle_time_ms,
        "high": close,
        "low": close,
        "close": close,
        "atr": 100.0,
        "choch": 0,
        "choch_4h": 0,
        "bias": 0,
        "trail_long": None,
        "trail_short": None,
    }
    return fields | changes


def structure(at: int, candle_time_ms: int, close: float = 50_000.0, **changes: Any) -> StructureRead:
    """`structure_fields` as the fact."""
    return from_edge(
        StructureRead, at, candle_time_ms, str(close), **structure_fields(candle_time_ms, close, **changes)
    )

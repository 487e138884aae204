"""The tables, in SQLAlchemy Core: the same on SQLite and PostgreSQL.

Three groups. The record (`runs`, `journal`) holds everything, in sealed pages; `memory` and `latch` are what must
outlive a crash; the rest is made from messages for people to ask, and could be made again from the record.
Migrations are in `migrations/`; a test demands that both agree.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Dialect,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Numeric,
    String,
    Table,
    Text,
    TypeDecorator,
)
from sqlalchemy.types import TypeEngine


class Exact(TypeDecorator[Decimal]):
    """A decimal without rounding: NUMERIC on PostgreSQL; text on SQLite, whose NUMERIC is binary floating point."""

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return dialect.type_descriptor(Numeric() if dialect.name == "postgresql" else Text())

    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> Any:
        return value if value is None or dialect.name == "postgresql" else format(value, "f")

    def process_result_value(self, value: Any, dialect: Dialect) -> Decimal | None:
        return None if value is None else Decimal(value)


metadata = MetaData()

# --- the record ----------------------------------------------------------------------------------------------

runs = Table(
    "runs",
    metadata,
    Column("run", Integer, primary_key=True, autoincrement=False),
    Column("at", BigInteger, nullable=False),
    Column("settings", Text, nullable=False),
)

journal = Table(
    "journal",
    metadata,
    Column("first_seq", BigInteger, primary_key=True, autoincrement=False),
    Column("last_seq", BigInteger, nullable=False),
    Column("run", Integer, nullable=False, index=True),
    Column("from_at", BigInteger, nullable=False),
    Column("to_at", BigInteger, nullable=False),
    Column("records", LargeBinary, nullable=False),
    Column("seal", String(64), nullable=False),
)

memory = Table(
    "memory",
    metadata,
    Column("actor", Text, primary_key=True),
    Column("body", LargeBinary, nullable=False),
)

latch = Table(
    "latch",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("latched", Boolean, nullable=False),
    Column("reason", Text, nullable=False),
    Column("by", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
)

# --- made from messages --------------------------------------------------------------------------------------

messages = Table(
    "messages",
    metadata,
    Column("id", Text, primary_key=True),
    Column("seq", BigInteger, nullable=False),
    Column("place", Integer, nullable=False),
    Column("actor", Text, nullable=False),
    Column("direction", String(3), nullable=False),
    Column("kind", Text, nullable=False),
    Column("cause", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("body", Text, nullable=False),
    Index("ix_messages_kind_at", "kind", "at"),
)

names = Table(
    "names",
    metadata,
    Column("name", Text, primary_key=True),
    Column("message", Text, primary_key=True),
)

signals = Table(
    "signals",
    metadata,
    Column("signal_id", Text, primary_key=True),
    Column("symbol", Text),
    Column("timeframe", Text),
    Column("side", Text),
    Column("candle_time_ms", BigInteger),
    Column("entry", Double),
    Column("stop", Double),
    Column("take_profit", Double),
    Column("reason", Text),
    Column("at", BigInteger, index=True),
    Column("verdict", Text),
    Column("verdict_reasons", Text),
    Column("verdict_detail", Text),
)

orders = Table(
    "orders",
    metadata,
    Column("order_key", Text, primary_key=True),
    Column("client_order_id", Text),
    Column("order_id", Text),
    Column("signal_id", Text, index=True),
    Column("role", Text),
    Column("symbol", Text),
    Column("side", Text),
    Column("order_type", Text),
    Column("size", Exact),
    Column("filled", Exact),
    Column("limit_price", Exact),
    Column("stop_price", Exact),
    Column("reduce_only", Boolean),
    Column("status", Text, nullable=False, index=True),
    Column("reason", Text),
    Column("placed_at", BigInteger),
    Column("changed_at", BigInteger, nullable=False),
)

fills = Table(
    "fills",
    metadata,
    Column("fill_id", Text, primary_key=True),
    Column("order_id", Text, nullable=False),
    Column("client_order_id", Text, index=True),
    Column("symbol", Text, nullable=False),
    Column("side", Text, nullable=False),
    Column("size", Exact, nullable=False),
    Column("price", Exact, nullable=False),
    Column("fee_usd", Exact),
    Column("fill_type", Text, nullable=False),
    Column("time", BigInteger, nullable=False, index=True),
)

positions = Table(
    "positions",
    metadata,
    Column("symbol", Text, primary_key=True),
    Column("size", Exact, nullable=False),
    Column("entry_price", Exact, nullable=False),
    Column("liquidation_price", Exact),
    Column("unrealized_pnl_usd", Exact),
    Column("margin_usd", Exact),
    Column("changed_at", BigInteger, nullable=False),
)

trades = Table(
    "trades",
    metadata,
    Column("trade_id", Text, primary_key=True),
    Column("symbol", Text),
    Column("side", Text),
    Column("size", Exact),
    Column("entry_price", Exact),
    Column("stop_price", Exact),
    Column("target_price", Exact),
    Column("exit_price", Exact),
    Column("pnl_usd", Exact),
    Column("fees_usd", Exact),
    Column("r_multiple", Exact),
    Column("opened_at", BigInteger, index=True),
    Column("protected_at", BigInteger),
    Column("closed_at", BigInteger, index=True),
    Column("reason", Text),
)

equity = Table(
    "equity",
    metadata,
    Column("minute", BigInteger, primary_key=True, autoincrement=False),
    Column("at", BigInteger, nullable=False),
    Column("equity_usd", Exact, nullable=False),
    Column("balance_usd", Exact, nullable=False),
    Column("available_margin_usd", Exact, nullable=False),
    Column("initial_margin_usd", Exact, nullable=False),
    Column("maintenance_margin_usd", Exact, nullable=False),
    Column("unrealized_funding_usd", Exact, nullable=False),
)

candles = Table(
    "candles",
    metadata,
    Column("symbol", Text, primary_key=True),
    Column("timeframe", Text, primary_key=True),
    Column("open_time_ms", BigInteger, primary_key=True, autoincrement=False),
    Column("open", Double, nullable=False),
    Column("high", Double, nullable=False),
    Column("low", Double, nullable=False),
    Column("close", Double, nullable=False),
    Column("volume", Double, nullable=False),
    Column("synthetic", Boolean, nullable=False),
)

"""Schema 1: the record, what must outlive a crash, and the tables made from messages."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

EXACT = sa.Text().with_variant(sa.Numeric(), "postgresql")


def upgrade() -> None:
    """Make every table."""
    op.create_table(
        "runs",
        sa.Column("run", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("settings", sa.Text(), nullable=False),
    )
    op.create_table(
        "journal",
        sa.Column("first_seq", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("last_seq", sa.BigInteger(), nullable=False),
        sa.Column("run", sa.Integer(), nullable=False),
        sa.Column("from_at", sa.BigInteger(), nullable=False),
        sa.Column("to_at", sa.BigInteger(), nullable=False),
        sa.Column("records", sa.LargeBinary(), nullable=False),
        sa.Column("seal", sa.String(64), nullable=False),
    )
    op.create_index("ix_journal_run", "journal", ["run"])
    op.create_table(
        "memory",
        sa.Column("actor", sa.Text(), primary_key=True),
        sa.Column("body", sa.LargeBinary(), nullable=False),
    )
    op.create_table(
        "latch",
        sa.Column("number", sa.Integer(), primary_key=True),
        sa.Column("latched", sa.Boolean(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "messages",
        sa.Column("id", sa.Text(), primary_key=True),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("place", sa.Integer(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("direction", sa.String(3), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("cause", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
    )
    op.create_index("ix_messages_kind_at", "messages", ["kind", "at"])
    op.create_table(
        "names",
        sa.Column("name", sa.Text(), primary_key=True),
        sa.Column("message", sa.Text(), primary_key=True),
    )
    op.create_table(
        "signals",
        sa.Column("signal_id", sa.Text(), primary_key=True),
        sa.Column("symbol", sa.Text()),
        sa.Column("timeframe", sa.Text()),
        sa.Column("side", sa.Text()),
        sa.Column("candle_time_ms", sa.BigInteger()),
        sa.Column("entry", sa.Double()),
        sa.Column("stop", sa.Double()),
        sa.Column("take_profit", sa.Double()),
        sa.Column("reason", sa.Text()),
        sa.Column("at", sa.BigInteger()),
        sa.Column("verdict", sa.Text()),
        sa.Column("verdict_reasons", sa.Text()),
        sa.Column("verdict_detail", sa.Text()),
    )
    op.create_index("ix_signals_at", "signals", ["at"])
    op.create_table(
        "orders",
        sa.Column("order_key", sa.Text(), primary_key=True),
        sa.Column("client_order_id", sa.Text()),
        sa.Column("order_id", sa.Text()),
        sa.Column("signal_id", sa.Text()),
        sa.Column("role", sa.Text()),
        sa.Column("symbol", sa.Text()),
        sa.Column("side", sa.Text()),
        sa.Column("order_type", sa.Text()),
        sa.Column("size", EXACT),
        sa.Column("filled", EXACT),
        sa.Column("limit_price", EXACT),
        sa.Column("stop_price", EXACT),
        sa.Column("reduce_only", sa.Boolean()),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text()),
        sa.Column("placed_at", sa.BigInteger()),
        sa.Column("changed_at", sa.BigInteger(), nullable=False),
    )
    op.create_index("ix_orders_signal_id", "orders", ["signal_id"])
    op.create_index("ix_orders_status", "orders", ["status"])
    op.create_table(
        "fills",
        sa.Column("fill_id", sa.Text(), primary_key=True),
        sa.Column("order_id", sa.Text(), nullable=False),
        sa.Column("client_order_id", sa.Text()),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("side", sa.Text(), nullable=False),
        sa.Column("size", EXACT, nullable=False),
        sa.Column("price", EXACT, nullable=False),
        sa.Column("fee_usd", EXACT),
        sa.Column("fill_type", sa.Text(), nullable=False),
        sa.Column("time", sa.BigInteger(), nullable=False),
    )
    op.create_index("ix_fills_client_order_id", "fills", ["client_order_id"])
    op.create_index("ix_fills_time", "fills", ["time"])
    op.create_table(
        "positions",
        sa.Column("symbol", sa.Text(), primary_key=True),
        sa.Column("size", EXACT, nullable=False),
        sa.Column("entry_price", EXACT, nullable=False),
        sa.Column("liquidation_price", EXACT),
        sa.Column("unrealized_pnl_usd", EXACT),
        sa.Column("margin_usd", EXACT),
        sa.Column("changed_at", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "trades",
        sa.Column("trade_id", sa.Text(), primary_key=True),
        sa.Column("symbol", sa.Text()),
        sa.Column("side", sa.Text()),
        sa.Column("size", EXACT),
        sa.Column("entry_price", EXACT),
        sa.Column("stop_price", EXACT),
        sa.Column("target_price", EXACT),
        sa.Column("exit_price", EXACT),
        sa.Column("pnl_usd", EXACT),
        sa.Column("fees_usd", EXACT),
        sa.Column("r_multiple", EXACT),
        sa.Column("opened_at", sa.BigInteger()),
        sa.Column("protected_at", sa.BigInteger()),
        sa.Column("closed_at", sa.BigInteger()),
        sa.Column("reason", sa.Text()),
    )
    op.create_index("ix_trades_closed_at", "trades", ["closed_at"])
    op.create_index("ix_trades_opened_at", "trades", ["opened_at"])
    op.create_table(
        "equity",
        sa.Column("minute", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("equity_usd", EXACT, nullable=False),
        sa.Column("balance_usd", EXACT, nullable=False),
        sa.Column("available_margin_usd", EXACT, nullable=False),
        sa.Column("initial_margin_usd", EXACT, nullable=False),
        sa.Column("maintenance_margin_usd", EXACT, nullable=False),
        sa.Column("unrealized_funding_usd", EXACT, nullable=False),
    )
    op.create_table(
        "candles",
        sa.Column("symbol", sa.Text(), primary_key=True),
        sa.Column("timeframe", sa.Text(), primary_key=True),
        sa.Column("open_time_ms", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("open", sa.Double(), nullable=False),
        sa.Column("high", sa.Double(), nullable=False),
        sa.Column("low", sa.Double(), nullable=False),
        sa.Column("close", sa.Double(), nullable=False),
        sa.Column("volume", sa.Double(), nullable=False),
        sa.Column("synthetic", sa.Boolean(), nullable=False),
    )

"""Executions that are the exchange's doing and no order's. One table, for everybody who books fills or judges them."""

from __future__ import annotations

from typing import Final, NamedTuple

from protocol.messages.futures import PERPETUAL, Fill

FORCED_FILLS: Final[dict[str, str]] = {
    "liquidation": "LIQUIDATED",
    "partialLiquidation": "LIQUIDATED",
    "unwindBankrupt": "DELEVERAGED",
    "unwindCounterparty": "DELEVERAGED",
    "assignor": "ASSIGNED",
    "assignee": "ASSIGNED",
    "settlement": "SETTLED",
}
"""Fill type on the wire -> alert code (fault-catalogue 41, 42, 45)."""


class Forced(NamedTuple):
    """Alert code, and what happened."""

    code: str
    text: str


def forced(fill: Fill) -> Forced | None:
    """What an execution was that neither an order nor the contract's own date asked for; None for all others."""
    code = FORCED_FILLS.get(fill.fill_type)
    if code is None or (code == "SETTLED" and not fill.symbol.startswith(PERPETUAL)):
        return None
    return Forced(code, f"{code}: {fill.fill_type} of {fill.size} {fill.symbol} at {fill.price}, fill {fill.fill_id}")

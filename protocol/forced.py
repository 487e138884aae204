"""Executions that are the exchange's doing and no order's. One table, for everybody who books fills or judges them."""

from __future__ import annotations

from typing import Final

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

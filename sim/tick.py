"""One moment of a simulated futures market. Knows nothing of orders."""

from __future__ import annotations

from decimal import Decimal

import msgspec


class Tick(msgspec.Struct, frozen=True, kw_only=True):
    """Prices of one contract at `at` (microseconds UTC), already rounded to its tick. `index` follows spot.

    `funding_rate` is the relative rate an hour that is in force; `slippage_pct` what the state of the market adds to slippage.
    """

    at: int
    symbol: str
    mark: Decimal
    index: Decimal
    bid: Decimal
    ask: Decimal
    last: Decimal
    funding_rate: Decimal
    slippage_pct: Decimal = Decimal(0)

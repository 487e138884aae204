"""One moment of a simulated futures market. Knows nothing of orders."""

from __future__ import annotations

from decimal import Decimal

import msgspec


class Tick(msgspec.Struct, frozen=True, kw_only=True):
    """Prices of one contract at `at` (microseconds UTC), already rounded to its tick. `index` follows spot.

    `funding_rate` is the relative rate an hour that is in force; `range_pct` and `turnover_usd` are those of the last
    closed 15m candle: (high - low) / close, and volume x close; 0 where nobody asks for them.
    """

    at: int
    symbol: str
    mark: Decimal
    index: Decimal
    bid: Decimal
    ask: Decimal
    last: Decimal
    funding_rate: Decimal
    range_pct: Decimal = Decimal(0)
    turnover_usd: Decimal = Decimal(0)

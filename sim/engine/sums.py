"""The sums of a USD-margined account with linear contracts: fills, funding, margin, liquidation price.

Pure, Decimal, and exact: whatever must be divided is rounded once and the rest keeps the difference, so that
start + realised - fees - funding + unrealised = equity holds to the last digit. Knows no order.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Final

import msgspec

from protocol.messages.futures import Instrument
from protocol.units import HOUR_US
from sim.engine.state import Books, Holding

ZERO: Final = Decimal(0)
GRAIN_USD: Final = Decimal("1e-10")
"""Money that comes from a division is rounded to this."""


def traded(
    holding: Holding | None, symbol: str, change: Decimal, price: Decimal, at: int
) -> tuple[Holding | None, Decimal]:
    """The position after `change` contracts (signed) at `price`, and the profit this realises.

    Pending funding must have been realised before: a changed size starts to accrue anew at `at`.
    """
    value = change * price
    if holding is None:
        return Holding(symbol=symbol, size=change, cost_usd=value, since=at, filled_at=at), ZERO
    size = holding.size + change
    if (holding.size > 0) == (change > 0):
        cost = holding.cost_usd + value
        return msgspec.structs.replace(holding, size=size, cost_usd=cost, since=at, filled_at=at), ZERO
    if size == 0:
        return None, -value - holding.cost_usd
    if (size > 0) == (holding.size > 0):
        released = (holding.cost_usd * -change / holding.size).quantize(GRAIN_USD)
        left = holding.cost_usd - released
        return msgspec.structs.replace(holding, size=size, cost_usd=left, since=at, filled_at=at), -value - released
    closing = -holding.size * price
    turned = Holding(symbol=symbol, size=size, cost_usd=value - closing, since=at, filled_at=at)
    return turned, -closing - holding.cost_usd


def funding_due(holding: Holding, rate_usd: Decimal, until: int) -> Decimal:
    """Funding accrued and not realised, as a cost. Longs pay when the rate (USD a contract an hour) is above zero."""
    elapsed = max(until - holding.since, 0)
    return holding.funding_usd + (holding.size * rate_usd * elapsed / HOUR_US).quantize(GRAIN_USD)


def unrealised(holding: Holding, mark: Decimal) -> Decimal:
    """Profit if the position were closed at `mark`, before fees and funding."""
    return holding.size * mark - holding.cost_usd


def fee(notional_usd: Decimal, fee_pct: Decimal) -> Decimal:
    """What an execution costs."""
    return abs(notional_usd) * fee_pct / 100


def margin_rates(instrument: Instrument, notional_usd: Decimal) -> tuple[Decimal, Decimal]:
    """Initial and maintenance fraction of a position of this entry value: the whole takes the level it reaches."""
    rates = (ZERO, ZERO)
    for start, initial, maintenance in instrument.margin_levels:
        if abs(notional_usd) < start:
            break
        rates = (initial, maintenance)
    return rates


def initial_margin(instrument: Instrument, notional_usd: Decimal) -> Decimal:
    """What must be free to hold `notional_usd`. On the entry value, not the mark."""
    return abs(notional_usd) * margin_rates(instrument, notional_usd)[0]


def maintenance_margin(instrument: Instrument, notional_usd: Decimal) -> Decimal:
    """Below this margin equity the account is liquidated."""
    return abs(notional_usd) * margin_rates(instrument, notional_usd)[1]


def surplus(
    books: Books,
    holdings: Iterable[Holding],
    marks: Mapping[str, Decimal],
    instruments: Mapping[str, Instrument],
) -> Decimal:
    """Margin equity less maintenance margin: below zero the account is liquidated.

    Funding counts once it is realised, at the hour: so whether an account survives a price never depends on how many
    ticks in between were looked at.
    """
    left = books.balance_usd
    for holding in holdings:
        left += unrealised(holding, marks[holding.symbol])
        left -= maintenance_margin(instruments[holding.symbol], holding.cost_usd)
    return left


def price_at_loss(holding: Holding, mark: Decimal, loss_usd: Decimal) -> Decimal | None:
    """The mark at which this position has lost `loss_usd` more than at `mark`; None when no price does that."""
    price = mark - loss_usd / holding.size
    return price if price > 0 else None

"""The sums of margin accounts: fills, funding, margin, liquidation price.

A linear contract is worth size x price dollars. An inverse one has its size in dollars and is worth size / price coins; its value
carries a minus sign, so that for both a rising price makes a long worth more. Money below is that of the contract's account.
Pure, Decimal, and exact: whatever must be divided is rounded once and the rest keeps the difference, so that
start + realised - fees - funding + unrealised = equity holds to the last digit. Knows no order.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Final

import msgspec

from protocol.messages.futures import Instrument
from protocol.units import HOUR_US
from sim.engine.state import Holding

ZERO: Final = Decimal(0)
GRAIN: Final = Decimal("1e-10")
"""Money that comes from a division is rounded to this."""
COIN_GRAIN: Final = Decimal("1e-16")
"""The same for coins, which are dear."""


def value(size: Decimal, price: Decimal, *, inverse: bool) -> Decimal:
    """Signed value of `size` contracts at `price`."""
    return -(size / price).quantize(COIN_GRAIN) if inverse else size * price


def traded(
    holding: Holding | None, symbol: str, change: Decimal, price: Decimal, at: int, *, inverse: bool = False
) -> tuple[Holding | None, Decimal]:
    """The position after `change` contracts (signed) at `price`, and the profit this realises.

    Pending funding must have been realised before: a changed size starts to accrue anew at `at`.
    """
    worth = value(change, price, inverse=inverse)
    if holding is None:
        return Holding(symbol=symbol, size=change, cost=worth, since=at, filled_at=at, inverse=inverse), ZERO
    size = holding.size + change
    if (holding.size > 0) == (change > 0):
        cost = holding.cost + worth
        return msgspec.structs.replace(holding, size=size, cost=cost, since=at, filled_at=at), ZERO
    if size == 0:
        return None, -worth - holding.cost
    if (size > 0) == (holding.size > 0):
        released = (holding.cost * -change / holding.size).quantize(COIN_GRAIN if inverse else GRAIN)
        left = holding.cost - released
        return msgspec.structs.replace(holding, size=size, cost=left, since=at, filled_at=at), -worth - released
    closing = value(-holding.size, price, inverse=inverse)
    turned = Holding(symbol=symbol, size=size, cost=worth - closing, since=at, filled_at=at, inverse=inverse)
    return turned, -closing - holding.cost


def funding_due(holding: Holding, rate: Decimal, until: int) -> Decimal:
    """Funding accrued and not realised, as a cost. Longs pay when the rate (a contract an hour, absolute) is above zero."""
    elapsed = max(until - holding.since, 0)
    grain = COIN_GRAIN if holding.inverse else GRAIN
    return holding.funding + (holding.size * rate * elapsed / HOUR_US).quantize(grain)


def unrealised(holding: Holding, mark: Decimal) -> Decimal:
    """Profit if the position were closed at `mark`, before fees and funding."""
    if holding.inverse:
        return value(holding.size, mark, inverse=True) - holding.cost
    return holding.size * mark - holding.cost


def fee(worth: Decimal, fee_pct: Decimal) -> Decimal:
    """What an execution of this value costs."""
    return abs(worth) * fee_pct / 100


def margin_rates(instrument: Instrument, size: Decimal, worth: Decimal) -> tuple[Decimal, Decimal]:
    """Initial and maintenance fraction of a position: the whole takes the level that its entry value in dollars reaches."""
    dollars, levels = abs(size if instrument.inverse else worth), instrument.margin_levels
    if len(levels) > 1 and levels[0][0] <= dollars < levels[1][0]:
        return levels[0][1:]
    rates = (ZERO, ZERO)
    for start, initial, maintenance in levels:
        if dollars < start:
            break
        rates = (initial, maintenance)
    return rates


def initial_margin(instrument: Instrument, size: Decimal, worth: Decimal) -> Decimal:
    """What must be free to hold `size` contracts of this entry value. The mark does not count."""
    return abs(worth) * margin_rates(instrument, size, worth)[0]


def maintenance_margin(instrument: Instrument, size: Decimal, worth: Decimal) -> Decimal:
    """Below this margin equity the account is liquidated."""
    return abs(worth) * margin_rates(instrument, size, worth)[1]


def price_at_loss(holding: Holding, mark: Decimal, loss: Decimal) -> Decimal | None:
    """The mark at which this position has lost `loss` more than at `mark`; None when no price does that."""
    if holding.inverse:
        per_dollar = 1 / mark + loss / holding.size
        return 1 / per_dollar if per_dollar > 0 else None
    price = mark - loss / holding.size
    return price if price > 0 else None

"""What our fills added up to: a tiny book per symbol, to know when a trade won or lost. Pure arithmetic.

A trade runs from zero to zero (or through it). The exchange's position is the truth about exposure; this is not.
"""

from __future__ import annotations

from decimal import Decimal

import msgspec

from protocol.messages.futures import Fill


class Holding(msgspec.Struct, frozen=True, kw_only=True):
    """An open trade. `size` signed; `cash_usd` what buying and selling brought in, fees taken off; `at` of the last fill."""

    symbol: str
    size: Decimal
    cash_usd: Decimal
    at: int


def fee_usd(fill: Fill, contract_size: Decimal, taker_fee_pct: Decimal) -> Decimal:
    """The fee as told, else as a taker would pay it."""
    if fill.fee_usd is not None:
        return fill.fee_usd
    return fill.size * contract_size * fill.price * taker_fee_pct / 100


def book(
    holding: Holding | None, fill: Fill, at: int, contract_size: Decimal, taker_fee_pct: Decimal
) -> tuple[Holding | None, Decimal | None]:
    """What is held after `fill`, and in USD the result of the trade it ended, None when it ended none."""
    before = holding.size if holding else Decimal(0)
    cash = holding.cash_usd if holding else Decimal(0)
    change = fill.signed_size
    fee = fee_usd(fill, contract_size, taker_fee_pct)
    after = before + change
    if before * after > 0 or before == 0:
        cash -= change * contract_size * fill.price + fee
        return Holding(symbol=fill.symbol, size=after, cash_usd=cash, at=at), None
    # The fill reaches zero: the part of it that closes ends the trade, the rest (a reversal) begins another.
    closing_fee = fee * abs(before) / fill.size
    result = cash + before * contract_size * fill.price - closing_fee
    if after == 0:
        return None, result
    opening = -after * contract_size * fill.price - (fee - closing_fee)
    return Holding(symbol=fill.symbol, size=after, cash_usd=opening, at=at), result

"""The initial margin that listed positions ask for, and whether an account's agrees. One definition, for everybody who compares the two."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Final

from protocol.messages.futures import INVERSE, Instrument, Position

TOLERANCE: Final = Decimal("0.5")
"""Initial margin follows the mark and this estimate the entry price: only what that cannot explain is a difference."""
LEAST_USD: Final = Decimal(10)


def asked_usd(positions: Sequence[Position], instruments: Mapping[str, Instrument]) -> Decimal | None:
    """By their tiers, at entry prices, USD; as in Kraken's `initialMargin`, what resting orders use is not in it, nor are inverse contracts, which are
    margined in their coin. None while a contract's rules are not known.
    """
    held = [position for position in positions if position.size and not position.symbol.startswith(INVERSE)]
    if any(position.symbol not in instruments for position in held):
        return None
    asked = Decimal(0)
    for position in held:
        instrument = instruments[position.symbol]
        notional = abs(position.size) * position.entry_price * instrument.contract_size
        asked += notional * next(
            (initial for start, initial, _ in reversed(instrument.margin_levels) if notional >= start), Decimal(0)
        )
    return asked


def unexplained_usd(used_usd: Decimal, asked_usd: Decimal) -> Decimal:
    """What an account uses above what is asked for, below zero where it uses less; zero where they agree, USD."""
    more = used_usd - asked_usd
    return more if abs(more) > max(LEAST_USD, asked_usd * TOLERANCE) else Decimal(0)

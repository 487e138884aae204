"""How big, and what it would do to the account: arithmetic only, in Decimal.

Knows no rule and no limit. Fractions are of price or of equity; nothing here is a percentage.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Final

import msgspec

from protocol.messages.futures import Instrument
from protocol.units import SIGN, Side, round_ceiling, round_down, round_floor

HUNDRED: Final = Decimal(100)
ROUND_TRIP: Final = 2


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """An entry as it would be sent. `leverage` is this entry's notional / equity; margins by the contract's levels.

    `weight`: the share of the full size that the spread leaves; `most`: contracts that the book leaves, None: not asked.
    """

    size: Decimal
    stop_price: Decimal
    risked: Decimal
    notional_usd: Decimal
    leverage: Decimal
    initial_margin_usd: Decimal
    maintenance_margin_usd: Decimal
    entry_fee_usd: Decimal
    weight: Decimal = Decimal(1)
    most: Decimal | None = None


def stop_price(side: Side, mark: Decimal, stop_pct: Decimal, tick: Decimal) -> Decimal:
    """The stop `stop_pct` (fraction) from the mark, rounded to the tick away from entry, as the executor will place it."""
    if side == "long":
        return round_floor(mark * (1 - stop_pct), tick)
    return round_ceiling(mark * (1 + stop_pct), tick)


def fees_round_trip(taker_fee_pct: Decimal) -> Decimal:
    """Taker fees of entry and exit as a fraction of notional."""
    return ROUND_TRIP * taker_fee_pct / HUNDRED


def plan(
    *,
    side: Side,
    stop_pct: Decimal,
    mark: Decimal,
    equity_usd: Decimal,
    risk_pct: Decimal,
    taker_fee_pct: Decimal,
    instrument: Instrument,
    weight: Decimal = Decimal(1),
    most: Decimal | None = None,
) -> Plan:
    """Size = equity x risk / distance, rounded down to the lot.

    The distance is what is lost per unit of notional when the stop is hit: to the stop as rounded, and fees both ways,
    so that `risk_pct` is the whole loss (invariant 7). `equity_usd` and `mark` above zero.
    """
    stop = stop_price(side, mark, stop_pct, instrument.tick)
    risked = abs(mark - stop) / mark + fees_round_trip(taker_fee_pct)
    unit_usd = mark * instrument.contract_size
    wanted = weight * equity_usd * risk_pct / HUNDRED / (unit_usd * risked)
    size = round_down(wanted if most is None else min(wanted, most), instrument.lot)
    notional = size * unit_usd
    initial, maintenance = margins(instrument, notional)
    return Plan(
        size=size,
        stop_price=stop,
        risked=risked,
        notional_usd=notional,
        leverage=notional / equity_usd,
        initial_margin_usd=initial,
        maintenance_margin_usd=maintenance,
        entry_fee_usd=notional * taker_fee_pct / HUNDRED,
        weight=weight,
        most=most,
    )


def margins(instrument: Instrument, notional_usd: Decimal) -> tuple[Decimal, Decimal]:
    """Initial and maintenance margin in USD.

    The whole notional is charged at the highest level it reaches: whether Kraken slices by level is not documented, and
    this is the dearer reading. An instrument without levels is charged in full.
    """
    reached = [level for level in instrument.margin_levels if level[0] <= notional_usd]
    if not reached:
        return notional_usd, notional_usd
    _, initial, maintenance = reached[-1]
    return notional_usd * initial, notional_usd * maintenance


def liquidation_distance(equity_usd: Decimal, maintenance_usd: Decimal, notional_usd: Decimal) -> Decimal:
    """The adverse move, as a fraction of every price at once, at which a cross account is liquidated.

    Liquidation begins when equity falls below maintenance. Every position is taken to move against us together, which
    is never further away than the exchange's figure for one contract alone. Below zero: already there.
    """
    if notional_usd == 0:
        return Decimal(1)
    return (equity_usd - maintenance_usd) / notional_usd


def adverse_funding(side: Side, rate: Decimal) -> Decimal:
    """What a position of `side` pays an hour as a fraction of notional; income counts as zero."""
    return max(Decimal(0), SIGN[side] * rate)

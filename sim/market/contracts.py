"""The contracts of the simulated exchange: Kraken's published rules for bitcoin and ether, plausible ones for others.

Live runs read the rules from the exchange at start and never from here.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Final

from msgspec.structs import replace

from protocol.messages.futures import Instrument

MAX_RELATIVE_FUNDING_RATE: Final = Decimal("0.0025")
"""A quarter percent an hour: the cap Kraken lists for its perpetuals."""

Levels = tuple[tuple[Decimal, Decimal, Decimal], ...]


def _levels(*rows: tuple[str, str, str]) -> Levels:
    """(from notional USD, initial percent, maintenance percent) as fractions."""
    return tuple((Decimal(start), Decimal(im) / 100, Decimal(mm) / 100) for start, im, mm in rows)


CLASS_A: Final = _levels(
    ("0", "2", "1"),
    ("1000000", "4", "2"),
    ("2000000", "5", "2.5"),
    ("5000000", "10", "5"),
    ("10000000", "20", "10"),
    ("20000000", "30", "15"),
    ("60000000", "50", "25"),
)
CLASS_C: Final = _levels(("0", "5", "2.5"), ("500000", "10", "5"), ("2000000", "20", "10"), ("5000000", "50", "25"))
MAX_NOTIONAL_USD: Final = Decimal(10_000_000)
"""The largest position of a contract that has no published limit here."""


def _linear(symbol: str, tick: Decimal, lot: Decimal, max_position: Decimal, levels: Levels) -> Instrument:
    return Instrument(
        symbol=symbol,
        tick=tick,
        lot=lot,
        max_position=max_position,
        contract_size=Decimal(1),
        inverse=False,
        tradeable=True,
        margin_levels=levels,
        max_relative_funding_rate=MAX_RELATIVE_FUNDING_RATE,
    )


PI_XBT_LEVELS: Final = _levels(
    ("0", "2", "1"),
    ("500000", "4", "2"),
    ("1000000", "6", "3"),
    ("3000000", "10", "5"),
    ("6000000", "15", "7.5"),
    ("12000000", "25", "12.5"),
    ("20000000", "30", "15"),
    ("50000000", "40", "20"),
)


def _inverse(symbol: str, tick: Decimal, max_position: Decimal) -> Instrument:
    """One US dollar a contract, margined in the coin."""
    linear = _linear(symbol, tick, Decimal(1), max_position, PI_XBT_LEVELS)
    return replace(linear, inverse=True)


PF_XBTUSD: Final = _linear("PF_XBTUSD", Decimal(1), Decimal("0.0001"), Decimal(1200), CLASS_A)
PF_ETHUSD: Final = _linear("PF_ETHUSD", Decimal("0.1"), Decimal("0.001"), Decimal(16000), CLASS_A)
INVERSE: Final = {
    "PF_XBTUSD": _inverse("PI_XBTUSD", Decimal("0.5"), Decimal(75_000_000)),
    "PF_ETHUSD": _inverse("PI_ETHUSD", Decimal("0.05"), Decimal(45_000_000)),
}
"""Linear perpetual -> the inverse one on the same coin. Listed by the venue for its clients; this system trades none of them."""
KNOWN: Final = {contract.symbol: contract for contract in (PF_XBTUSD, PF_ETHUSD)}


def contract(symbol: str, price: Decimal = Decimal(100)) -> Instrument:
    """The rules of a linear perpetual: the published ones, else what `price` (USD) makes plausible.

    Five significant digits of price make a tick, and a lot is worth about ten dollars or is one coin. ValueError for
    anything but a PF_ symbol or for a price that is not above zero.
    """
    if symbol in KNOWN:
        return KNOWN[symbol]
    if not symbol.startswith("PF_"):
        raise ValueError(f"{symbol}: the simulated exchange lists linear perpetuals only (PF_...)")
    if price <= 0:
        raise ValueError(f"{symbol}: a price above zero is needed to choose tick and lot, not {price}")
    magnitude = price.adjusted()
    lot = Decimal(1).scaleb(-max(magnitude, 0))
    most = (MAX_NOTIONAL_USD / price / lot).to_integral_value() * lot
    return _linear(symbol, Decimal(1).scaleb(magnitude - 4), lot, most, CLASS_C)


def contracts(symbols: Sequence[str]) -> tuple[Instrument, ...]:
    """`contract` of each symbol, in order."""
    return tuple(contract(symbol) for symbol in symbols)

"""What an execution costs: percent of its value, by who waited (maker) and by what the account traded in the 30 days before.

Knows no order and no account; the engine counts the volume.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Final, NamedTuple

WINDOW_DAYS: Final = 30


class Tier(NamedTuple):
    """Percent of the value of a fill, from a volume of `from_usd` in the window on."""

    from_usd: Decimal
    maker_pct: Decimal
    taker_pct: Decimal


Schedule = tuple[Tier, ...]
"""Ascending, the first from 0."""


def flat(maker_pct: Decimal, taker_pct: Decimal) -> Schedule:
    """The same fees at any volume."""
    return (Tier(Decimal(0), maker_pct, taker_pct),)


def _kraken(*rows: tuple[str, str, str]) -> Schedule:
    return tuple(Tier(*(Decimal(number) for number in row)) for row in rows)


KRAKEN: Final = _kraken(
    ("0", "0.02", "0.05"),
    ("100000", "0.015", "0.04"),
    ("1000000", "0.0125", "0.03"),
    ("5000000", "0.01", "0.025"),
    ("10000000", "0.0075", "0.02"),
    ("20000000", "0.005", "0.015"),
    ("50000000", "0.0025", "0.0125"),
    ("100000000", "0", "0.01"),
)
"""Kraken Futures' published tiers of derivatives (its feeschedules answer, deprecated since 2026)."""


def tier(schedule: Schedule, traded_usd: Iterable[tuple[int, Decimal]], day: int) -> Tier:
    """The tier of a day: `traded_usd` tells the volume of days (since 1970); the day itself does not count yet."""
    if len(schedule) == 1:
        return schedule[0]
    volume = sum((usd for at, usd in traded_usd if day - WINDOW_DAYS <= at < day), Decimal(0))
    return [one for one in schedule if one.from_usd <= volume][-1]

"""The account at each 15m boundary, worked out afterwards from what was traded: equity, exposure, distance to liquidation.

The exchange's own books say the same (a test holds them together at every boundary); nothing here is asked of it while it runs, so a
run need not stop at boundaries where nothing happens. float64: for pictures and figures, never for money that is booked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from protocol.messages.futures import Filled, Instrument
from sim.engine import sums
from sim.market.tape import Tape
from sim.market.track import BAR_US, Track

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Curve:
    """Columns of equal length. `at_us`: the boundary. `notional_usd`: of all positions at their marks.

    `liquidation_pct`: how far the nearest liquidation is, in percent of the mark, NaN while flat.
    """

    at_us: Ints
    equity_usd: Floats
    notional_usd: Floats
    liquidation_pct: Floats

    @classmethod
    def of(cls, points: Sequence[tuple[int, Decimal | float]]) -> Curve:
        """Equity alone, of (moment, USD)."""
        nothing = np.zeros(len(points))
        equity = np.array([float(usd) for _, usd in points], np.float64)
        return cls(np.array([at for at, _ in points], np.int64), equity, nothing, np.full(len(points), np.nan))

    def __len__(self) -> int:
        return len(self.at_us)


@dataclass(frozen=True)
class _Legs:
    """One contract between its fills: row 0 before the first, then after each."""

    at_us: Ints
    size: Floats
    cash_usd: Floats
    """Received so far, fees paid from it."""
    cost_usd: Floats
    maintenance_usd: Floats


def draw(
    tape: Tape, fills: Sequence[Filled], start_usd: Decimal, *, fees_usd: Mapping[str, Decimal], look_us: int
) -> Curve:
    """The curve of a run over `tape` that began with `start_usd`. `fees_usd`: fill id -> fee. `look_us`: how long after a boundary it is looked at."""
    at = np.arange(tape.start_us, tape.end_us + 1, BAR_US, dtype=np.int64)
    equity, notional = np.full(len(at), float(start_usd)), np.zeros(len(at))
    held: list[tuple[Floats, Floats]] = []
    maintenance = np.zeros(len(at))
    for track in tape.tracks.values():
        ours = [filled for filled in fills if filled.fill.symbol == track.instrument.symbol]
        if not ours:
            continue
        legs = _legs(ours, track.instrument, fees_usd)
        begins = np.searchsorted(at, legs.at_us[1:] - look_us)
        candles = np.diff(begins, prepend=0, append=len(at))
        first = (tape.start_us - track.start_us) // BAR_US
        marks = track.opening_marks[first : first + len(at)]
        size = np.repeat(legs.size, candles)
        gained = np.repeat(legs.cash_usd, candles)
        gained += size * marks
        gained -= _funding(track, legs, candles, size, first, look_us)
        equity += gained
        notional += np.abs(size) * marks
        maintenance += np.repeat(legs.maintenance_usd, candles)
        held.append((size, marks))
    nearest = np.full(len(at), np.nan)
    for size, marks in held:
        with np.errstate(divide="ignore", invalid="ignore"):
            away = np.where(size != 0.0, (equity - maintenance) / (np.abs(size) * marks) * 100.0, np.nan)
        nearest = np.fmin(nearest, away)
    return Curve(at, equity, notional, nearest)


def _legs(fills: Sequence[Filled], instrument: Instrument, fees_usd: Mapping[str, Decimal]) -> _Legs:
    size = cash = cost = Decimal(0)
    rows = [(-1, 0.0, 0.0, 0.0, 0.0)]
    for filled in fills:
        fill = filled.fill
        change = fill.signed_size
        cash -= change * fill.price + fees_usd[fill.fill_id]
        turned = size * (size + change) < 0
        if size == 0 or turned:
            cost = (size + change) * fill.price
        elif size * change > 0:
            cost += change * fill.price
        else:
            cost += cost * change / size
        size += change
        maintenance = sums.maintenance_margin(instrument, size, cost)
        rows.append((filled.at, float(size), float(cash), float(cost), float(maintenance)))
    columns = list(zip(*rows, strict=True))
    return _Legs(np.array(columns[0], np.int64), *(np.array(column, np.float64) for column in columns[1:]))


def _funding(track: Track, legs: _Legs, candles: Ints, size: Floats, first: int, look_us: int) -> Floats:
    """Paid up to `look_us` after the opening of each candle from `first` on, accrued included. `candles`: how many each leg lasts;
    `size`: what is held at each.
    """
    paid = track.funding_paid
    opens_us = track.start_us + np.arange(len(paid), dtype=np.float64) * BAR_US
    at_fills = np.interp(legs.at_us.astype(np.float64), opens_us, paid)
    before = np.concatenate(([0.0], np.cumsum(legs.size[:-1] * np.diff(at_fills))))
    funding: Floats = paid[first : first + len(size)].copy()
    funding[: len(paid) - 1 - first] += np.diff(paid[first : first + len(size) + 1]) / BAR_US * look_us
    funding -= np.repeat(at_fills, candles)
    funding *= size
    funding += np.repeat(before, candles)
    return funding

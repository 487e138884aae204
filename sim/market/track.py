"""One symbol's market as a pure function of time: the path of spot, the basis on it, the funding.

The spot path inside a candle is piecewise linear: open, first extreme, second extreme, close at equal distances (`sim.market.path`); the first
extreme is the one against the candle's direction. Mark = spot path * (1 + basis); the basis is linear between closes of 15m candles.
Knows no tick in time, no spread and no order.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from protocol.messages.futures import Instrument
from protocol.units import HOUR_US, TIMEFRAME_MS
from sim.market.files import Candles, Span, when
from sim.market.path import Finer, path_of
from sim.market.path import Path as PricePath

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

BAR_MS: Final = TIMEFRAME_MS["15m"]
BAR_US: Final = BAR_MS * 1000
LEG_US: Final = BAR_US // 3
"""Time between two turns of the path inside a 15m candle of which nothing finer is known."""
HOUR_BARS: Final = HOUR_US // BAR_US
ZERO: Final = Decimal(0)
RATE_DIGITS: Final = 10
"""Of what is derived from prices: more are noise of float64."""


@dataclass(frozen=True)
class Track:
    """One symbol's market: candles without gaps in time, basis at each close, funding as a step function.

    `funding_us[j]` ends the interval in which `funding_rate[j]` an hour is in force; empty: no funding is simulated.
    `basis_known`, `funding_known`: for each candle whether the source tells of it, beyond which the nearest it tells is taken; None: a
    model does.
    """

    spot_symbol: str
    instrument: Instrument
    candles: Candles
    basis: Floats
    funding_us: tuple[int, ...] = ()
    funding_rate: tuple[Decimal, ...] = ()
    filled: tuple[Span, ...] = ()
    finer: Finer | None = None
    basis_known: Bools | None = None
    funding_known: Bools | None = None

    @cached_property
    def start_us(self) -> int:
        """Open of the first candle."""
        return int(self.candles.time[0]) * 1000

    @cached_property
    def end_us(self) -> int:
        """Close of the last candle."""
        return (int(self.candles.time[-1]) + BAR_MS) * 1000

    @cached_property
    def traded(self) -> Ints:
        """For each candle the newest up to it in which anything was traded, -1 before the first."""
        idle = self.candles.synthetic | (self.candles.volume == 0)  # a source may list a candle without trades
        here = np.where(idle, -1, np.arange(len(self.candles), dtype=np.int64))
        newest: Ints = np.maximum.accumulate(here)
        return newest

    @cached_property
    def path(self) -> PricePath:
        """The way of spot."""
        return path_of(self.candles, self.finer)

    def place(self, at_us: int) -> tuple[int, int]:
        """(candle, microseconds into it). At and after the end the last candle is over."""
        if at_us < self.start_us:
            raise ValueError(
                f"{self.spot_symbol}: {when(at_us // 1000)} is before the data begins, {when(self.start_us // 1000)}"
            )
        if at_us >= self.end_us:
            return len(self.candles) - 1, BAR_US
        return divmod(at_us - self.start_us, BAR_US)

    def spot(self, at_us: int) -> float:
        """The spot path at a moment."""
        bar, into = self.place(at_us)
        return self.path.price(bar * BAR_US + into)

    def mark(self, at_us: int) -> float:
        """The unrounded mark at a moment."""
        return self.look(at_us)[1]

    def look(self, at_us: int) -> tuple[float, float]:
        """The spot path and the unrounded mark at a moment."""
        bar, into = self.place(at_us)
        spot = self.path.price(bar * BAR_US + into)
        before, after = self.basis_points.item(bar), self.basis_points.item(bar + 1)
        return spot, spot * (1.0 + (before + (after - before) * (into / BAR_US)))

    @cached_property
    def tick_size(self) -> float:
        """The contract's price step."""
        return float(self.instrument.tick)

    def marks(self, at_us: Ints) -> Floats:
        """`mark` of many moments, bit for bit the same."""
        bar, into = np.divmod(np.minimum(at_us, self.end_us) - self.start_us, BAR_US)
        over = bar >= len(self.candles)
        bar, into = np.where(over, bar - 1, bar), np.where(over, BAR_US, into)
        spot = self.path.prices(bar * BAR_US + into)
        basis = self.basis_points
        before, after = basis[bar], basis[bar + 1]
        marks: Floats = spot * (1.0 + (before + (after - before) * (into / BAR_US)))
        return marks

    def reach(self, bars: slice) -> tuple[Floats, Floats]:
        """Bounds (least, most) of the unrounded mark inside each of these candles, both of its ends included."""
        before, after = self.basis_points[:-1][bars], self.basis_points[1:][bars]
        return (
            self.candles.low[bars] * (1.0 + np.minimum(before, after)),
            self.candles.high[bars] * (1.0 + np.maximum(before, after)),
        )

    def bounds(self, start_us: int, end_us: int) -> tuple[float, float]:
        """Bounds of the unrounded mark from `start_us` to `end_us`: those of the candles they lie in."""
        first, last = self.place(start_us)[0], self.place(end_us)[0]
        if last - first > 1:
            lows, highs = self.reach(slice(first, last + 1))
            return lows.min().item(), highs.max().item()
        least, most = self._reach_of(first)
        if first == last:
            return least, most
        low, high = self._reach_of(last)
        return min(least, low), max(most, high)

    def _reach_of(self, bar: int) -> tuple[float, float]:
        """`reach` of one candle."""
        before, after = self.basis_points.item(bar), self.basis_points.item(bar + 1)
        least, most = (before, after) if before < after else (after, before)
        return self.candles.low.item(bar) * (1.0 + least), self.candles.high.item(bar) * (1.0 + most)

    @property
    def basis_reach(self) -> Floats:
        """Bounds of |mark / spot - 1| at and inside each candle, as two looks at one moment may find it.

        The spot shown at a candle's open is still the close before it.
        """
        size, c = float(self.instrument.tick), self.candles
        wide = np.maximum(np.abs(self.basis_points[:-1]), np.abs(self.basis_points[1:]))
        jump = np.abs(c.open / np.concatenate((c.open[:1], c.close[:-1])) - 1.0)
        bounds: Floats = wide + jump * (1.0 + wide) + size / c.low
        return bounds

    @cached_property
    def opening_marks(self) -> Floats:
        """The mark at each candle's open and at the very end, on its tick."""
        marks = np.concatenate((self.candles.open, self.candles.close[-1:]))
        size = float(self.instrument.tick)
        marks *= 1.0 + self.basis_points
        marks /= size
        np.rint(marks, out=marks)
        marks *= size
        return marks

    @cached_property
    def funding_paid(self) -> Floats:
        """What one contract has paid from the first candle's open to each open after it, USD; about 1e-12 exact."""
        bars = len(self.candles)
        if not self.funding_us:
            return np.zeros(bars + 1)
        # Of each hour the rate and the index; the first may have begun before the data does.
        before = self.start_us % HOUR_US // BAR_US
        hours = -(-(bars + before) // HOUR_BARS)
        opens = np.maximum(np.arange(hours) * HOUR_BARS - before, 0)
        which = self._intervals(self.start_us + opens * BAR_US + 1)
        cap = float(self.instrument.max_relative_funding_rate)
        relative = np.clip(np.array([float(rate) for rate in self.funding_rate])[which], -cap, cap)
        size = self.tick_size
        an_hour = relative * np.rint(self.candles.open[opens] / size) * size * (BAR_US / HOUR_US)
        a_bar = np.repeat(an_hour, HOUR_BARS)[before : before + bars]
        paid = np.zeros(bars + 1)
        np.cumsum(a_bar, out=paid[1:])
        return paid

    def hourly_terms(self, hours: range) -> list[tuple[Decimal, int]]:
        """The relative rate in force when each of these full hours has begun, and the index in ticks."""
        begins_us, steps, ticks = self._hourly
        first = (hours.start - begins_us) // HOUR_US
        these = slice(first, first + len(hours))
        rates = map((self.funding_rate or (ZERO,)).__getitem__, steps[these].tolist())
        return list(zip(rates, ticks[these].tolist(), strict=True))

    @cached_property
    def _hourly(self) -> tuple[int, Ints, Ints]:
        """The first full hour, and of it and each after it the funding's step and the index in ticks."""
        begins_us = -(-self.start_us // HOUR_US) * HOUR_US
        opened = self.candles.open[(begins_us - self.start_us) // BAR_US :: HOUR_BARS]
        ticks = np.rint(opened / self.tick_size).astype(np.int64)
        if not self.funding_us:
            return begins_us, np.zeros_like(ticks), ticks
        return begins_us, self._intervals(begins_us + np.arange(len(ticks), dtype=np.int64) * HOUR_US + 1), ticks

    def _intervals(self, at_us: Ints) -> Ints:
        """Which of the funding's steps each moment lies in; beyond the last that one."""
        return np.minimum(self._funding_ends.searchsorted(at_us), len(self.funding_us) - 1)

    @cached_property
    def _funding_ends(self) -> Ints:
        return np.array(self.funding_us, np.int64)

    @cached_property
    def basis_points(self) -> Floats:
        """Basis at the open of the first candle and at each close."""
        return np.concatenate((self.basis[:1], self.basis))

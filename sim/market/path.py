"""The way of the price inside 15m candles: three straight legs a candle, or finer candles where a source tells them.

Finer candles say in which order and when; how far the price went, where it began and where it ended is what the 15m candle says, so
that both sources may come from different places. Within each candle, fine or not, the first extreme is the one against its direction.
Knows no symbol, no mark and no order.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from protocol.units import TIMEFRAME_MS
from sim.market.files import BadCandleFile, Candles, when

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

BAR_MS: Final = TIMEFRAME_MS["15m"]
BAR_US: Final = BAR_MS * 1000
FARTHEST: Final = 0.05
"""A finer candle that ends further (relative) from where its 15m candle ends is of another market."""


@dataclass(frozen=True)
class Finer:
    """Candles of `step_ms` from a file, gaps and all."""

    step_ms: int
    candles: Candles


@dataclass(frozen=True)
class Path:
    """Rows of `step_us`, a whole number to each 15m candle. `knots` (rows, 4): open, first extreme, second extreme, close.

    `known`: for each 15m candle, whether finer candles tell all of it.
    """

    step_us: int
    knots: Floats
    known: Bools

    @cached_property
    def leg_us(self) -> int:
        """Time between two turns."""
        return self.step_us // 3

    @cached_property
    def rows_a_bar(self) -> int:
        """Rows of one 15m candle."""
        return BAR_US // self.step_us

    def turns(self, row: int) -> list[float]:
        """One row's `knots` as plain floats."""
        found: list[float] = self.knots[row].tolist()
        return found

    def place(self, offset_us: int) -> tuple[int, int]:
        """(row, microseconds into it); at the very end the last row is over."""
        row, within = divmod(offset_us, self.step_us)
        return (row, within) if row < len(self.knots) else (row - 1, self.step_us)

    def price(self, offset_us: int) -> float:
        """The price so long after the first candle's open."""
        row, within = self.place(offset_us)
        leg_us, knots = self.leg_us, self.knots
        leg = within // leg_us if within < self.step_us else 2
        begin: float = knots.item(row, leg)
        end: float = knots.item(row, leg + 1)
        return begin + (end - begin) * ((within - leg * leg_us) / leg_us)

    def prices(self, offset_us: Ints) -> Floats:
        """`price` of many moments, bit for bit the same."""
        row, within = np.divmod(offset_us, self.step_us)
        over = row >= len(self.knots)
        row, within = np.where(over, row - 1, row), np.where(over, self.step_us, within)
        leg = np.minimum(within // self.leg_us, 2)
        start, end = self.knots[row, leg], self.knots[row, leg + 1]
        found: Floats = start + (end - start) * ((within - leg * self.leg_us) / self.leg_us)
        return found

    def reached(self, bar: int, into_us: int) -> list[float]:
        """The turns of a 15m candle up to a moment in it, and the price there; at its end all of them."""
        first = bar * self.rows_a_bar
        if into_us < BAR_US:
            row, within = self.place(bar * BAR_US + into_us)
        else:
            row, within = first + self.rows_a_bar - 1, self.step_us
        before: list[float] = self.knots[first:row].ravel().tolist() if row > first else []
        turns = self.turns(row)
        leg = min(within // self.leg_us, 2)
        price = turns[leg] + (turns[leg + 1] - turns[leg]) * ((within - leg * self.leg_us) / self.leg_us)
        if within == self.step_us:
            return [*before, *turns, turns[3]]
        return [*before, *turns[: leg + 1], price]

    def told(self, offset_us: int) -> tuple[int, int]:
        """Beginning and end, as offsets, of the finest candle that is known to hold a moment: the order in it is made up."""
        bar = min(offset_us // BAR_US, len(self.known) - 1)
        step = self.step_us if self.known[bar] else BAR_US
        begin = offset_us // step * step
        return begin, begin + step

    def drift(self, after_us: int) -> Floats:
        """For each 15m candle, a bound on how far (relative) its price moves away from its open in the first `after_us`."""
        first = self.knots[:: self.rows_a_bar]
        if self.rows_a_bar == 1:
            moved: Floats = np.abs(first[:, 1] / first[:, 0] - 1.0) * (after_us / self.leg_us)
            return moved
        rows = min(-(-after_us // self.step_us), self.rows_a_bar)
        whole = self.knots.reshape(-1, self.rows_a_bar * 4)[:, : rows * 4]
        found: Floats = np.abs(whole / first[:, :1] - 1.0).max(axis=1)
        return found


def path_of(candles: Candles, finer: Finer | None) -> Path:
    """The path of 15m candles without gaps. Raises BadCandleFile when the finer ones are of another market."""
    if finer is None:
        return Path(
            BAR_US, _knots(candles.open, candles.high, candles.low, candles.close), np.zeros(len(candles), np.bool_)
        )
    coarse = _knots(candles.open, candles.high, candles.low, candles.close)
    parts = BAR_MS // finer.step_ms
    columns, known = _told(candles, finer, parts)
    guessed = _straight(coarse, parts)
    o, h, low, c = (np.where(known[:, None], told, made) for told, made in zip(columns, guessed, strict=True))
    return Path(finer.step_ms * 1000, _knots(o.ravel(), h.ravel(), low.ravel(), c.ravel()), known)


def _knots(opened: Floats, high: Floats, low: Floats, close: Floats) -> Floats:
    rises = close >= opened
    return np.stack((opened, np.where(rises, low, high), np.where(rises, high, low), close), axis=1)


Columns = tuple[Floats, Floats, Floats, Floats]


def _told(candles: Candles, finer: Finer, parts: int) -> tuple[Columns, Bools]:
    """Open, high, low, close of each part (candles, parts), and which candles have all of theirs."""
    grid = candles.time[:, None] + np.arange(parts, dtype=np.int64) * finer.step_ms
    place = np.minimum(np.searchsorted(finer.candles.time, grid), len(finer.candles) - 1)
    known: Bools = (finer.candles.time[place] == grid).all(axis=1) & ~candles.synthetic
    least, most = candles.low[:, None], candles.high[:, None]
    whole = finer.candles
    far = known & (np.abs(whole.close[place[:, -1]] / candles.close - 1.0) > FARTHEST)
    if far.any():
        bar = int(np.argmax(far))
        raise BadCandleFile(
            f"the finer candles end at {whole.close[place[bar, -1]]:g} where the 15m candle of {when(candles.time[bar])} ends at "
            f"{candles.close[bar]:g}: they are of another market"
        )
    o, h, low, c = (np.clip(column[place], least, most) for column in (whole.open, whole.high, whole.low, whole.close))
    o[:, 0], c[:, -1] = candles.open, candles.close
    bars = np.arange(len(candles))
    h[bars, np.argmax(h, axis=1)] = candles.high
    low[bars, np.argmin(low, axis=1)] = candles.low
    return (o, np.maximum(h, np.maximum(o, c)), np.minimum(low, np.minimum(o, c)), c), known


def _straight(coarse: Floats, parts: int) -> Columns:
    """The three legs of each candle cut into parts; `parts` is a multiple of three, so each part goes one way."""
    at = np.arange(parts + 1) * 3 / parts
    leg = np.minimum(at.astype(np.int64), 2)
    points = coarse[:, leg] + (coarse[:, leg + 1] - coarse[:, leg]) * (at - leg)
    o, c = points[:, :-1], points[:, 1:]
    return o, np.maximum(o, c), np.minimum(o, c), c

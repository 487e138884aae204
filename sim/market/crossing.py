"""The first tick at which a price stands on another side of a level: one compiled walk along a path.

Bit for bit the prices of `tape`, which a test demands. Knows no order and no symbol. One file, because numba's cache watches no other.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sim.compiled import compiled

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

NEVER: Final = -1
LEGS: Final = 3


class Line(NamedTuple):
    """One contract's market: the way of spot (`path.Path.knots`, rows of `row_us`), the basis at the open of each candle and at the
    very end, half of the spread in each candle as a fraction of the mark; candles of `bar_us` from `start_us`. `size`: its tick.
    """

    knots: Floats
    basis: Floats
    half_spread: Floats
    row_us: int
    bar_us: int
    start_us: int
    size: float


@compiled
def _prices(line: Line, at_us: int) -> tuple[float, float, float]:
    """Mark, bid and ask in ticks."""
    bar, into = divmod(at_us - line.start_us, line.bar_us)
    spread_bar = min(max(bar, 0), len(line.half_spread) - 1)
    if bar >= len(line.half_spread):
        bar, into = len(line.half_spread) - 1, line.bar_us
    row, within = divmod(bar * line.bar_us + into, line.row_us)
    if row >= len(line.knots):
        row, within = row - 1, line.row_us
    leg_us = line.row_us // LEGS
    leg = min(within // leg_us, LEGS - 1)
    begin, end = line.knots[row, leg], line.knots[row, leg + 1]
    spot = begin + (end - begin) * ((within - leg * leg_us) / leg_us)
    before, after = line.basis[bar], line.basis[bar + 1]
    mark = np.rint(spot * (1.0 + (before + (after - before) * (into / line.bar_us))) / line.size)
    half = line.half_spread[spread_bar]
    return mark, np.floor(mark * (1.0 - half)), np.ceil(mark * (1.0 + half))


@compiled
def _reach(line: Line, at_us: int, until_us: int) -> tuple[int, float, float]:
    """The end of the leg after `at_us`, or `until_us`, and bounds of bid and ask from one to the other in ticks."""
    offset = at_us - line.start_us
    leg_us = line.row_us // LEGS
    row, leg = offset // line.row_us, offset % line.row_us // leg_us
    bar = offset // line.bar_us
    if row >= len(line.knots) or bar + 2 >= len(line.basis):
        return until_us, -np.inf, np.inf
    begin, end = line.knots[row, leg], line.knots[row, leg + 1]
    low, high = min(begin, end), max(begin, end)
    if leg == LEGS - 1 and row + 1 < len(line.knots):  # the next row may begin with a jump
        low, high = min(low, line.knots[row + 1, 0]), max(high, line.knots[row + 1, 0])
    least = min(line.basis[bar], line.basis[bar + 1], line.basis[bar + 2])
    most = max(line.basis[bar], line.basis[bar + 1], line.basis[bar + 2])
    half = max(line.half_spread[bar], line.half_spread[bar + 1])
    low, high = low * (1.0 + least) / line.size, high * (1.0 + most) / line.size
    ends_us = line.start_us + row * line.row_us + (leg + 1) * leg_us
    return min(ends_us, until_us), low * (1.0 - half) - 2.0, high * (1.0 + half) + 2.0


@compiled
def first(line: Line, after_us: int, until_us: int, tick_us: int, bounds: Floats) -> int:
    """The first tick in (`after_us`, `until_us`] at which mark, bid or ask is on another side of one of `bounds` (ticks) than at
    `after_us`, which is one; NEVER if there is none.
    """
    was = _prices(line, after_us)
    at_us = after_us
    while at_us < until_us:
        ends_us, low, high = _reach(line, at_us, until_us)
        near = False
        for bound in bounds:
            near |= low <= bound <= high
        ticks = (ends_us - at_us) // tick_us
        if ticks and not near:
            at_us += ticks * tick_us
            continue
        for _ in range(max(ticks, 1)):
            at_us += tick_us
            if at_us > until_us:
                return NEVER
            now = _prices(line, at_us)
            for bound in bounds:
                for k in range(len(was)):
                    if np.sign(was[k] - bound) != np.sign(now[k] - bound):
                        return at_us
    return NEVER


def load() -> None:
    """Fetch the compiled code from its cache (compile it, the first time)."""
    line = Line(np.ones((1, LEGS + 1)), np.ones(2), np.zeros(1), LEGS, LEGS, 0, 1.0)
    first(line, 0, 1, 1, np.zeros(1))

"""How long nothing happens to what is held: one compiled pass over columns of prices, candle by candle.

The licence to skip: a candle is passed over only if no level can be met in it and no limit is come near. Knows no actor and no money that
is booked; float64, so whatever is near a threshold counts as beyond it. One file, because numba's cache watches no other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sim.compiled import compiled

Floats = NDArray[np.float64]

NEAR: Final = 1e-7
"""Relative: nearer than this to a threshold counts as beyond it, so that float64 here never overrules Decimal elsewhere."""
DAY_BARS: Final = 96
NOWHERE: Final = -1


class Prices(NamedTuple):
    """Of all markets, (markets, candles); `opening` and `paid` have one more column.

    `opening`: the mark at the open; `low`, `high`: bounds of the mark inside; `paid`: funding of one contract up to the open;
    `pad`: how far bid, ask and rounding may lie beyond the bounds.
    """

    opening: Floats
    low: Floats
    high: Floats
    paid: Floats
    pad: Floats


Held = Floats
"""What is held, a row a contract: row in `Prices`, signed size, what it cost with the funding it owes, `paid` of now."""
Levels = Floats
"""Prices at which a resting order does something: row in `Prices`, price, 1 where it lies under the market. One table costs less to hand over than its columns."""


class Found(NamedTuple):
    """Where a look ended. `bar`: the first candle that must be played; `highest`: where equity is highest on the way; `eve`: the
    last candle before a midnight that is passed or come to; NOWHERE if there is none. `met`: nothing but a level keeps us.
    """

    bar: int
    highest: int
    eve: int
    met: bool


class Bounds(NamedTuple):
    """The account and its limits. `equity`: as told last; `day_share`: the least equity as a share of the day's first.

    The others as in `actors.risk.quiet.Limits`.
    """

    balance: float
    maintenance: float
    equity: float
    peak: float
    fall_share: float
    least: float
    most: float
    leverage: float
    distance: float
    day_share: float


def table(rows: Sequence[tuple[float, ...]]) -> Floats:
    """`Held` or `Levels` of their rows."""
    return np.array(rows, np.float64) if rows else np.zeros((0, 0))


def quiet_until(
    prices: Prices, held: Held, levels: Levels, bounds: Bounds, span: tuple[int, int], midnight: int, clear: int
) -> Found:
    """How far nothing happens from candle `span[0]`, which has begun, to `span[1]`.

    The highest equity is told at the opening of a candle passed over, and counts if it is a new one. `midnight` is any
    candle that begins a day. Before candle `clear` no level is met, as whoever asks knows already.
    """
    return Found(*_scan(prices, held, levels, bounds, span, midnight, clear))


@compiled
def _scan(
    prices: Prices, held: Held, levels: Levels, bounds: Bounds, span: tuple[int, int], midnight: int, clear: int
) -> tuple[int, int, int, bool]:
    """The fields of `Found`."""
    here, stop = span
    best, best_bar, eve = bounds.peak, NOWHERE, NOWHERE
    least, before = bounds.least, bounds.equity
    for bar in range(here, stop):
        told, swing, notional, largest = bounds.balance, 0.0, 0.0, 0.0
        for k in range(len(held)):
            row, size = int(held[k, 0]), held[k, 1]
            mark, low, high = prices.opening[row, bar], prices.low[row, bar], prices.high[row, bar]
            told += size * mark - held[k, 2] - size * (prices.paid[row, bar] - held[k, 3])
            swing += min(size * (low - mark), size * (high - mark))
            exposure = abs(size) * high
            notional += exposure
            largest = max(largest, exposure)
        worst = told + swing
        is_loud = notional >= bounds.leverage * worst * (1.0 - NEAR)
        is_loud |= worst - bounds.maintenance <= largest * bounds.distance * (1.0 + NEAR)
        if bar > here:
            if (bar - midnight) % DAY_BARS == 0:
                eve = bar - 1
                least = before * bounds.day_share
            is_loud |= told <= max(least, best * bounds.fall_share) * (1.0 + NEAR)
            is_loud |= told >= bounds.most * (1.0 - NEAR)
            # Two highest so near to each other that only Decimal tells which: the second is played.
            is_loud |= best_bar != NOWHERE and abs(told - best) <= best * NEAR
        is_met = False
        for n in range(len(levels) if bar >= clear else 0):
            row, price = int(levels[n, 0]), levels[n, 1]
            pad = prices.pad[row, bar]
            if levels[n, 2]:
                is_met |= prices.low[row, bar] - pad <= price
            else:
                is_met |= prices.high[row, bar] + pad >= price
        if is_loud or is_met:
            return bar, best_bar, eve, not is_loud
        if bar > here:
            before = told
            if told >= best * (1.0 - NEAR):
                best, best_bar = told, bar
    if stop > here and (stop - midnight) % DAY_BARS == 0:
        eve = stop - 1
    return stop, best_bar, eve, False


def load() -> None:
    """Fetch the compiled code from its cache (compile it, the first time)."""
    price, bounds = np.ones((1, 1)), Bounds(*(1.0 for _ in Bounds._fields))
    quiet_until(Prices(*(price for _ in Prices._fields)), table(()), table(()), bounds, (0, 1), 0, 0)

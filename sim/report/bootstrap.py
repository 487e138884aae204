"""How sure the figures are: percentile intervals from resampling what happened. Pure; the seed is an argument.

Trades are drawn one by one with replacement, daily returns in blocks of a week, because days follow one another. It says how much
chance alone could have moved a figure if the future were drawn from the same trades; it does not say that it will be.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sim.report.metrics import DAYS_A_YEAR

Floats = NDArray[np.float64]
Interval = tuple[float, float]

SEED: Final = 97
RESAMPLES: Final = 2000
LEVEL_PCT: Final = 95
BLOCK_DAYS: Final = 7
LEAST: Final = 10
"""Fewer trades, or days, than this give no interval."""
AT_ONCE: Final = 128
"""Resamples whose values are in memory together."""


def intervals(
    pnl_usd: Sequence[float],
    multiples_r: Sequence[float],
    daily: Sequence[float],
    *,
    seed: int = SEED,
    resamples: int = RESAMPLES,
    level_pct: float = LEVEL_PCT,
) -> dict[str, Interval | None]:
    """Low and high end by figure; None where there is too little, or where a resample leaves a figure undefined.

    `pnl_usd`, `multiples_r`: of each trade; `daily`: returns of consecutive days.
    """
    rng = np.random.Generator(np.random.PCG64(seed))
    money, multiples, days = (np.asarray(values, np.float64) for values in (pnl_usd, multiples_r, daily))
    tails = ((100 - level_pct) / 2, (100 + level_pct) / 2)

    def of(values: Floats, rows: NDArray[np.int32], figure: Callable[[Floats], Floats]) -> Interval | None:
        if not len(rows):
            return None
        with np.errstate(divide="ignore", invalid="ignore"):
            parts = np.array_split(rows, -(-len(rows) // AT_ONCE))
            found = np.concatenate([figure(values[part]) for part in parts])
        if not np.isfinite(found).all():
            return None
        low, high = np.percentile(found, tails)
        return float(low), float(high)

    trades = _alone(rng, len(money), resamples)
    multiple = _alone(rng, len(multiples), resamples)
    blocks = _blocks(rng, len(days), resamples)
    return {
        "expectancy_usd": of(money, trades, lambda x: x.mean(axis=1)),
        "expectancy_r": of(multiples, multiple, lambda x: x.mean(axis=1)),
        "win_rate_pct": of(money, trades, lambda x: 100 * (x > 0).mean(axis=1)),
        "profit_factor": of(money, trades, lambda x: np.maximum(x, 0).sum(axis=1) / -np.minimum(x, 0).sum(axis=1)),
        "sharpe": of(days, blocks, lambda x: x.mean(axis=1) / x.std(axis=1, ddof=1) * math.sqrt(DAYS_A_YEAR)),
        "return_pct": of(days, blocks, lambda x: 100 * (np.prod(1 + x, axis=1) - 1)),
    }


def _alone(rng: np.random.Generator, count: int, resamples: int) -> NDArray[np.int32]:
    if count < LEAST:
        return np.empty((0, count), np.int32)
    return rng.integers(0, count, (resamples, count)).astype(np.int32)


def _blocks(rng: np.random.Generator, count: int, resamples: int) -> NDArray[np.int32]:
    """Runs of BLOCK_DAYS that begin anywhere; the last day is followed by the first."""
    if count < LEAST:
        return np.empty((0, count), np.int32)
    starts = rng.integers(0, count, (resamples, -(-count // BLOCK_DAYS))).astype(np.int32)
    rows = starts[:, :, None] + np.arange(BLOCK_DAYS, dtype=np.int32)
    rows[rows >= count] -= np.int32(count)
    return rows.reshape(resamples, -1)[:, :count].astype(np.int32, copy=False)

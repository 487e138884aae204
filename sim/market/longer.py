"""Longer candles out of 15m ones, and native ones before them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from protocol.units import TIMEFRAME_MS, Timeframe
from sim.market.files import Candles
from sim.market.track import BAR_MS


def aggregate(candles: Candles, timeframe: Timeframe) -> Candles:
    """Longer candles of a 15m series without gaps. A bucket that the series does not fill entirely is left out."""
    step = TIMEFRAME_MS[timeframe]
    size = step // BAR_MS
    skip = int(-candles.time[0] % step) // BAR_MS
    count = max(0, (len(candles) - skip) // size)

    def bucket(values: NDArray[Any]) -> NDArray[Any]:
        return values[skip : skip + count * size].reshape(count, size)

    return Candles(
        bucket(candles.time)[:, 0],
        bucket(candles.open)[:, 0],
        np.max(bucket(candles.high), axis=1),
        np.min(bucket(candles.low), axis=1),
        bucket(candles.close)[:, -1],
        np.sum(bucket(candles.volume), axis=1),
        np.all(bucket(candles.synthetic), axis=1),
    )


def leading(natives: Candles, begins_ms: int, timeframe: Timeframe) -> tuple[int, int]:
    """Where the first bucket begins that a 15m series from `begins_ms` on fills by itself, and how many native candles lead up to it
    without a hole.
    """
    step = TIMEFRAME_MS[timeframe]
    first_ms = -(-begins_ms // step) * step
    before = natives.time[: int(np.searchsorted(natives.time, first_ms))]
    unbroken = np.cumprod(before[::-1] == first_ms - step * np.arange(1, len(before) + 1))
    return first_ms, int(unbroken.sum())


def preceded(natives: Candles | None, ours: Candles, begins_ms: int) -> Candles:
    """Our own longer candles after those native ones that open before them; a bucket cut by the data's beginning is native."""
    if natives is None:
        return ours
    first_ms = int(ours.time[0]) if len(ours) else begins_ms
    rows = slice(0, int(np.searchsorted(natives.time, first_ms)))
    pairs = ((getattr(natives, name)[rows], getattr(ours, name)) for name in natives.__dataclass_fields__)
    return Candles(*(np.concatenate(pair) for pair in pairs))

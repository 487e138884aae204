"""Finer candles inside given 15m candles, made up: a seeded walk from each open to each close, its extremes anywhere."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from sim.market.files import Candles
from sim.market.path import BAR_MS, Finer
from sim.market.tape import Tape


def finer_of(candles: Candles, step_ms: int, seed: int = 1) -> Finer:
    """Candles of `step_ms` for all of `candles`; every tenth 15m candle has none."""
    parts, bars = BAR_MS // step_ms, len(candles)
    rng = np.random.default_rng(seed)
    inside = candles.low[:, None] + rng.random((bars, parts - 1)) * (candles.high - candles.low)[:, None]
    points = np.concatenate((candles.open[:, None], inside, candles.close[:, None]), axis=1)
    o, c = points[:, :-1], points[:, 1:]
    wick = 1 + 0.0005 * rng.random((bars, parts))
    columns = (o, np.maximum(o, c) * wick, np.minimum(o, c) / wick, c, np.ones((bars, parts)))
    time = candles.time[:, None] + np.arange(parts, dtype=np.int64) * step_ms
    told = np.arange(bars) % 10 != 9
    rows = [column[told].ravel() for column in (time, *columns)]
    return Finer(step_ms, Candles(*rows, synthetic=np.zeros(len(rows[0]), np.bool_)))


def with_finer(tape: Tape, settings: object, step_ms: int) -> Tape:
    """The same market, its way inside the candles told by finer ones."""
    tracks = [replace(track, finer=finer_of(track.candles, step_ms)) for track in tape.tracks.values()]
    return Tape(tracks, settings, tape.start_us, tape.end_us)  # type: ignore[arg-type]

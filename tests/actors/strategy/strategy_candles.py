"""Candles for the tests of the strategy: seeded walks, hand-drawn shapes, real files when they are there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from actors.strategy.series import Candles
from config.strategy import StrategyParams
from protocol.messages.base import Message
from protocol.messages.spot import CandleClosed
from protocol.units import Timeframe

TF_MS = 900_000
START_MS = 1_672_531_200_000  # 2023-01-01, midnight UTC
DATA = Path("../shared/data")

# Short periods, so that a few days of candles are warm and say something.
QUICK = StrategyParams(
    ema_period=8,
    atr_period=5,
    adx_period=5,
    rsi_period=5,
    swing_left=2,
    swing_right=2,
    bias_swing_left=1,
    bias_swing_right=1,
    bias_mode="structure",
    fvg_min_atr=0.0,
    ob_min_disp_atr=0.5,
    exec_tfs=("15m", "1h"),
    adx_min=5.0,
    atr_pct_min=0.0,
    atr_pct_max=0.5,
    sl_pct_max=0.2,
    tp_min_count=1,
    tp_use_prev_day=True,
    cooldown_bars=2,
    warmup_bars_exec=20,
    warmup_bars_4h=10,
    warmup_bars_1d=10,
)


def walk(seed: int, n: int, *, tick: float = 1 / 64, start: float = 1000.0, tf_ms: int = TF_MS) -> Candles:
    """A random walk on a grid of `tick`: a coarse one is full of exact ties. Prices stay above zero."""
    rng = np.random.default_rng(seed)
    drift = np.repeat(rng.normal(0, 0.6, n // 40 + 1), 40)[:n]
    moves = np.round((rng.normal(0, 3, (n, 4)) + drift[:, None] / 4) / tick) * tick
    path = start + np.cumsum(moves.ravel())
    path = path + np.maximum(0.0, 200.0 - np.minimum.accumulate(path))  # lift what sinks too low
    points = path.reshape(n, 4)
    opens = np.concatenate([[start], points[:-1, 3]])
    every = np.column_stack([opens, points])
    volume = rng.integers(1, 1000, n).astype(float)
    values = np.column_stack([opens, every.max(axis=1), every.min(axis=1), points[:, 3], volume])
    return Candles(START_MS + np.arange(n, dtype=np.int64) * tf_ms, values)


def drawn(rows: Iterable[Sequence[float]], tf_ms: int = TF_MS) -> Candles:
    """Candles from (open, high, low, close) rows, one after another."""
    values = np.array([[*row, 1.0] for row in rows], np.float64)
    return Candles(START_MS + np.arange(len(values), dtype=np.int64) * tf_ms, values)


def part(candles: Candles, first: int, last: int) -> Candles:
    """Candles first..last-1."""
    return Candles(candles.times[first:last], candles.values[first:last])


def messages(candles: Candles, symbol: str = "BTC/USD", delay_us: int = 3_000_000) -> list[Message]:
    """The base feed: each candle known `delay_us` after its end."""
    return [
        CandleClosed(
            id=f"{symbol}.{time}",
            cause="",
            at=(time + TF_MS) * 1000 + delay_us,
            symbol=symbol,
            timeframe="15m",
            open_time_ms=time,
            open=o,
            high=h,
            low=low,
            close=c,
            volume=v,
        )
        for time, (o, h, low, c, v) in zip(candles.times.tolist(), candles.values.tolist(), strict=True)
    ]


def real(name: str) -> Candles:
    """A real file with its missing bars filled flat; skips the test when the data is not there."""
    path = DATA / name
    if not path.exists():
        pytest.skip(f"real data {name} is not on this machine")
    table = pq.read_table(path)
    times = table["time"].to_numpy()
    values = np.column_stack([table[c].to_numpy() for c in ("open", "high", "low", "close", "volume")])
    every = np.arange(times[0], times[-1] + TF_MS, TF_MS, dtype=np.int64)
    at = np.searchsorted(times, every, side="right") - 1
    filled = values[at].astype(np.float64)
    missing = times[at] != every
    filled[missing, :4] = filled[missing, 3:4]
    filled[missing, 4] = 0.0
    return Candles(every, filled)


def scaled(candles: Candles, factor: float) -> Candles:
    """The same market in another unit; volumes stay."""
    return Candles(candles.times, candles.values * np.array([factor] * 4 + [1.0]))


def mirrored(candles: Candles, about: float) -> Candles:
    """p -> about - p: highs become lows."""
    o, h, low, c, v = candles.values.T
    return Candles(candles.times, np.column_stack([about - o, about - low, about - h, about - c, v]))


SIDES = {"HH": "LL", "LL": "HH", "LH": "HL", "HL": "LH", "EH": "EL", "EL": "EH"}
NAMES = {".b.": ".s.", ".s.": ".b.", ".h.": ".l.", ".l.": ".h."}


def reflected(event: dict[str, Any], about: float) -> dict[str, Any]:
    """An event as the mirror market must tell it."""
    out = event | {name: about - event[name] for name in ("level", "extreme") if name in event}
    out["dir"] = -event["dir"]
    if "top" in event:
        out["top"], out["bottom"] = about - event["bottom"], about - event["top"]
    if "trend_before" in event:
        out["trend_before"] = -event["trend_before"]
    if event.get("label") is not None:
        out["label"] = SIDES[event["label"]]
    if "id" in event:
        part = next(name for name in NAMES if name in event["id"])
        out["id"] = event["id"].replace(part, NAMES[part])
    return out


def swings_by_definition(candles: Candles, params: StrategyParams) -> set[tuple[int, int, int]]:
    """(bar known, direction, own time) over the whole array: left ties allowed, right strict, nothing removed."""
    high, low = candles.values[:, 1], candles.values[:, 2]
    left, right = params.swing_left, params.swing_right
    return {
        (p + right, d, int(candles.times[p]))
        for p in range(left, len(high) - right)
        for d, line in ((1, high), (-1, -low))
        if (line[p] >= line[p - left : p]).all() and (line[p] > line[p + 1 : p + right + 1]).all()
    }


def native(candles: Candles, timeframe: Timeframe, length: int, at: int, symbol: str = "BTC/USD") -> list[Message]:
    """Exchange candles of a longer timeframe over whole buckets of `length` base candles."""
    found: list[Message] = []
    for first in range(0, len(candles.times) - length + 1, length):
        values = candles.values[first : first + length]
        found.append(
            CandleClosed(
                id=f"{timeframe}.{first}",
                cause="",
                at=at,
                symbol=symbol,
                timeframe=timeframe,
                open_time_ms=int(candles.times[first]),
                open=float(values[0, 0]),
                high=float(values[:, 1].max()),
                low=float(values[:, 2].min()),
                close=float(values[-1, 3]),
                volume=float(sum(values[:, 4].tolist())),
            )
        )
    return found

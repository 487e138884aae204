"""One symbol's series: the 15-minute base feed, the longer candles built from it, and the seeds that came before it.

Knows no decision. A candle of a longer timeframe does not exist here until all its parts have closed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np

from actors.strategy.rules import DAY_MS, Extremes, Reading, series_side
from actors.strategy.series import Candle, CandleRefused, Candles, Series
from config.strategy import BiasTimeframe, ExecTimeframe, StrategyParams
from protocol.units import TIMEFRAME_MS, Timeframe

BASE: Final = "15m"
BASE_MS: Final = TIMEFRAME_MS[BASE]
BIAS: Final[tuple[BiasTimeframe, ...]] = ("4h", "1d")


@dataclass
class Bucket:
    """A longer candle in the making. It starts with its first part or not at all, so it is whole or absent."""

    length_ms: int
    start_ms: int = -1
    parts: int = 0
    open: float = 0.0
    high: float = 0.0
    low: float = 0.0
    volume: float = 0.0
    is_synthetic: bool = False  # any part of it was

    def add(self, candle: Candle, is_synthetic: bool) -> Candle | None:
        """Take the next base candle; returns the finished longer candle when this was its last part."""
        start = candle.open_time_ms // self.length_ms * self.length_ms
        if candle.open_time_ms == start:
            self.start_ms, self.parts = start, 0
            self.open, self.high, self.low, self.volume = candle.open, candle.high, candle.low, 0.0
            self.is_synthetic = False
        elif start != self.start_ms:
            return None
        self.parts += 1
        self.high, self.low = max(self.high, candle.high), min(self.low, candle.low)
        self.volume += candle.volume
        self.is_synthetic = self.is_synthetic or is_synthetic
        if self.parts * BASE_MS < self.length_ms:
            return None
        self.parts = 0
        return Candle(start, self.open, self.high, self.low, candle.close, self.volume)


@dataclass
class Track:
    """An execution series' memory: what its signals used up, and what its bars have traded at today."""

    series: Series
    is_synthetic: bool = False  # its newest candle
    today: Extremes | None = None
    last_signal_bar: int | None = None
    used_zones: dict[str, int] = field(default_factory=dict)  # id -> bar, oldest first

    def take(self, candle: Candle, is_synthetic: bool) -> None:
        """The newest candle of the series."""
        self.series.take(candle)
        self.note(candle, is_synthetic)

    def note(self, candle: Candle, is_synthetic: bool) -> None:
        """Remember what the kernel does not: the day's extremes and whether the candle is real."""
        self.is_synthetic = is_synthetic
        day, today = candle.open_time_ms // DAY_MS, self.today
        if today is None or today.day != day:
            self.today = Extremes(day, candle.high, candle.low)
        elif candle.high > today.high or candle.low < today.low:
            self.today = Extremes(day, max(today.high, candle.high), min(today.low, candle.low))

    def use(self, members: tuple[str, ...], longest_life: int) -> None:
        """A signal used these zones at the newest bar. Zones that cannot live any more are forgotten."""
        bar = self.series.bars - 1
        self.last_signal_bar = bar
        for member in members:
            self.used_zones.setdefault(member, bar)
        while self.used_zones and bar - next(iter(self.used_zones.values())) > longest_life:
            del self.used_zones[next(iter(self.used_zones))]


class Market:
    """All series of one symbol. `fault` is the A1 code that blocks entries, None when healthy."""

    def __init__(self, symbol: str, params: StrategyParams, data_epoch: int = 0) -> None:
        self.symbol = symbol
        self.params = params
        self.data_epoch = data_epoch
        self.fault: str | None = None
        self.left_out: list[str] = []
        self.mismatched: set[Timeframe] = set()  # natives that differed at the newest comparison
        self.base = Series.of(params, BASE, "exec")
        self.bias: dict[BiasTimeframe, Series] = {tf: Series.of(params, tf, "bias") for tf in BIAS}
        self.sides: dict[BiasTimeframe, int] = dict.fromkeys(BIAS, 0)
        self.tracks: dict[ExecTimeframe, Track] = {
            tf: Track(self.base if tf == BASE else Series.of(params, tf, "exec")) for tf in params.exec_tfs
        }
        longer: list[Timeframe] = [*BIAS, *(tf for tf in self.tracks if tf != BASE)]
        self.buckets: dict[Timeframe, Bucket] = {tf: Bucket(TIMEFRAME_MS[tf]) for tf in longer}
        self.seeds: dict[Timeframe, dict[int, Candle]] = {tf: {} for tf in longer}  # by open time

    def series(self, timeframe: Timeframe) -> Series:
        """The series of a longer timeframe that is in use."""
        if timeframe == "15m" or timeframe == "1h":  # noqa: PLR1714  (mypy narrows on this form)
            return self.tracks[timeframe].series
        return self.bias[timeframe]

    def seed(self, timeframe: Timeframe, candle: Candle) -> None:
        """A native longer candle: history before the base feed, or something to compare our own with."""
        if timeframe not in self.buckets:
            return
        if self.base.bars == 0:
            self.seeds[timeframe][candle.open_time_ms] = candle
            return
        series = self.series(timeframe)
        back = (series.open_time_ms - candle.open_time_ms) // series.tf_ms
        if 0 <= back < min(series.bars, len(series.arrays.times)):
            self._compare(timeframe, candle, series.candle(back))

    def _compare(self, timeframe: Timeframe, native: Candle, ours: Candle) -> None:
        if native[:5] == ours[:5]:
            self.mismatched.discard(timeframe)
        else:
            self.mismatched.add(timeframe)

    def _plant(self, base_open_ms: int) -> list[str]:
        """Feed the seeds that end where our own aggregation will begin; returns what had to be left out, in words.

        Only an unbroken run up to that point is used: a gap is never bridged.
        """
        left_out = []
        for timeframe, known in self.seeds.items():
            seeds = [known[time] for time in sorted(known)]
            length = TIMEFRAME_MS[timeframe]
            start = -(-base_open_ms // length) * length
            usable = unbroken_tail([c for c in seeds if c.open_time_ms + length <= start], length)
            if usable and usable[-1].open_time_ms + length == start:
                rows = Candles(
                    np.array([c.open_time_ms for c in usable], np.int64),
                    np.array([c[1:] for c in usable], np.float64),
                )
                try:
                    self._feed(timeframe, rows)
                except CandleRefused as refused:
                    left_out.append(f"{timeframe}: {refused}")
                    continue
                if len(usable) < sum(c.open_time_ms + length <= start for c in seeds):
                    left_out.append(f"{timeframe}: history begins after its last gap, at {usable[0].open_time_ms}")
            elif usable:
                left_out.append(f"{timeframe}: history ends before the base feed's first whole candle {start}")
            self.seeds[timeframe] = {c.open_time_ms: c for c in seeds if c.open_time_ms >= start}
        return left_out

    def _feed(self, timeframe: Timeframe, rows: Candles) -> None:
        series = self.series(timeframe)
        series.feed(rows)
        if timeframe == "4h" or timeframe == "1d":  # noqa: PLR1714
            self.sides[timeframe] = series_side(self.params, series)
        elif timeframe == "1h":
            for time, values in zip(rows.times[-24:].tolist(), rows.values[-24:].tolist(), strict=True):
                self.tracks[timeframe].note(Candle(time, *values), False)

    def take(self, candle: Candle, is_synthetic: bool) -> bool:
        """Take a base candle and all longer ones it completes; False for a repetition. Raises CandleRefused, nothing changed.

        The first one fixes where our own longer candles begin, so the seeds are planted with it; `left_out` says what of
        them could not be used.
        """
        if not self.base.take(candle):
            return False
        self.left_out = self._plant(candle.open_time_ms) if self.base.bars == 1 else []
        if BASE in self.tracks:
            self.tracks[BASE].note(candle, is_synthetic)
        for timeframe, bucket in self.buckets.items():
            whole = bucket.add(candle, is_synthetic)
            if whole is None:
                continue
            if timeframe == "4h" or timeframe == "1d":  # noqa: PLR1714
                series = self.bias[timeframe]
                series.take(whole)
                self.sides[timeframe] = series_side(self.params, series)
            elif timeframe == "1h":
                self.tracks[timeframe].take(whole, bucket.is_synthetic)
            native = self.seeds[timeframe].pop(whole.open_time_ms, None)
            if native is not None:
                self._compare(timeframe, native, whole)
        return True

    def readings(self, at_ms: int) -> tuple[Reading, ...]:
        """What the bias series say as of `at_ms`, the primary one first.

        A seed may end after `at_ms`, where a base feed starts inside its bucket: until then it is not known.
        """
        return tuple(
            Reading(
                tf,
                self.bias[tf].bars,
                at_ms // TIMEFRAME_MS[tf] * TIMEFRAME_MS[tf] <= self.bias[tf].close_time_ms <= at_ms
                and tf not in self.mismatched,
                self.sides[tf],
            )
            for tf in self.params.bias_tfs
        )


def unbroken_tail(candles: list[Candle], length_ms: int) -> list[Candle]:
    """The longest run without a gap at the end of candles in order."""
    first = len(candles)
    while first > 0 and (
        first == len(candles) or candles[first].open_time_ms - candles[first - 1].open_time_ms == length_ms
    ):
        first -= 1
    return candles[first:]

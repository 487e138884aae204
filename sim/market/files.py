"""Candle, basis and funding files (csv, parquet) as checked numpy arrays. Nothing malformed goes further in.

Columns: candles `time` (open time, ms UTC), `open, high, low, close, volume`; basis `time, basis` (fraction of spot); funding
`time, rate` (fraction of notional for the interval that ends at `time`). Every refusal is one line that names file, row
(1 = first row of data) and column. Knows no symbol and no market.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from protocol.units import TIMEFRAME_MS, Timeframe

if TYPE_CHECKING:
    import pandas as pd

GapPolicy = Literal["fill", "halt", "reset"]
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

FINER_MS = (60_000, 300_000)
"""Candles of 1 and 5 minutes: the way inside those of 15."""
PERP_MS = (60_000, 300_000, 900_000, 3_600_000)
"""Candles of the perpetual, or of its mark: from one close to the next the basis is a line."""
PRICES = ("open", "high", "low", "close")
HOUR_MS = 3_600_000
FIRST_MS = 1_000_000_000_000
"""A `time` below this (2001) is in seconds, not milliseconds."""
LAST_MS = 10_000_000_000_000
"""One from this on (2286) is in microseconds or nanoseconds, as pandas writes moments. Taken as they stand they are gaps of years to fill."""


class BadCandleFile(ValueError):
    """A data file cannot be used; the text says which row and column and why, in one line."""


class BadPeriod(ValueError):
    """The period asked for is empty or backwards."""


@dataclass(frozen=True)
class Candles:
    """One series: equally long arrays, open times in ms, strictly increasing. `synthetic`: filled in, nothing was traded."""

    time: Ints
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats
    synthetic: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.time)

    def between(self, start_ms: int | None = None, end_ms: int | None = None) -> Candles:
        """The candles with `start_ms` <= open time < `end_ms`. Raises BadPeriod when none are meant or none are there."""
        check_period(start_ms, end_ms)
        first = 0 if start_ms is None else int(np.searchsorted(self.time, start_ms))
        last = len(self) if end_ms is None else int(np.searchsorted(self.time, end_ms))
        if first >= last:
            since = "the beginning" if start_ms is None else when(start_ms)
            raise BadPeriod(
                f"no candles from {since} to {when(end_ms)}: the data runs {when(self.time[0])} to {when(self.time[-1])}"
            )
        return self._at(slice(first, last))

    def _at(self, rows: slice | NDArray[np.bool_]) -> Candles:
        return Candles(
            self.time[rows],
            self.open[rows],
            self.high[rows],
            self.low[rows],
            self.close[rows],
            self.volume[rows],
            self.synthetic[rows],
        )


@dataclass(frozen=True)
class Series:
    """A value in time: `time` in ms, strictly increasing."""

    time: Ints
    value: Floats


@dataclass(frozen=True)
class Span:
    """Candles that a file lacks: open times in ms of the first and the last."""

    first_ms: int
    last_ms: int
    candles: int

    def __str__(self) -> str:
        return f"{when(self.first_ms)} to {when(self.last_ms)} ({self.candles} candle{'s' * (self.candles != 1)})"


def check_period(start_ms: int | None, end_ms: int | None) -> None:
    """Raises BadPeriod unless the end is after the start (None: open)."""
    if start_ms is not None and end_ms is not None and end_ms <= start_ms:
        raise BadPeriod(f"the end {when(end_ms)} is not after the start {when(start_ms)}")


def read_candles(path: Path, timeframe: Timeframe) -> Candles:
    """The checked candles of a file, gaps left as they are. A row equal to the one before it is dropped.

    Raises BadCandleFile.
    """
    return _read(path, TIMEFRAME_MS[timeframe])


def read_steps(path: Path, steps_ms: tuple[int, ...]) -> tuple[int, Candles]:
    """The step (ms) of a file of candles, one of `steps_ms`, and the candles, gaps left as they are. Raises BadCandleFile."""
    clean = _clean(path, ("time",), 1)
    times = clean[0] if clean is not None else _times(path, _drop_repeated(_table(path, ("time",))), 1)
    step_ms = int(np.diff(times).min()) if len(times) > 1 else 0
    if step_ms not in steps_ms:
        told = f"{step_ms / 60_000:g} minutes" if step_ms else "a single row"
        wanted = " or ".join(f"{step // 60_000}" for step in steps_ms)
        raise BadCandleFile(f"{path}: candles of {wanted} minutes are needed here; this holds {told}")
    return step_ms, _read(path, step_ms)


def _read(path: Path, step_ms: int) -> Candles:
    clean = _clean(path, ("time", *PRICES, "volume"), step_ms)
    if clean is not None and _sound(clean):
        opened, o, h, low, c, traded = clean
        return Candles(opened.astype(np.int64), o, h, low, c, traded, np.zeros(len(opened), dtype=np.bool_))
    table = _drop_repeated(_table(path, ("time", *PRICES, "volume")))
    time = _times(path, table, step_ms)
    columns = {name: _numbers(path, table, name) for name in PRICES}
    volume = _numbers(path, table, "volume")
    for name in PRICES:
        _refuse(path, table, name, columns[name] <= 0, "must be above zero")
    _refuse(path, table, "volume", volume < 0, "must not be negative")
    _refuse(
        path,
        table,
        "high",
        columns["high"] < np.maximum(columns["open"], columns["close"]),
        "is below open or close",
    )
    _refuse(
        path,
        table,
        "low",
        columns["low"] > np.minimum(columns["open"], columns["close"]),
        "is above open or close",
    )
    return Candles(time, **columns, volume=volume, synthetic=np.zeros(len(time), dtype=np.bool_))


def read_basis(path: Path) -> Series:
    """The basis (mark / spot - 1, a fraction) at each `time`. Raises BadCandleFile."""
    return _series(path, "basis")


def read_funding(path: Path) -> Series:
    """The funding rate, a fraction of notional for the interval that ends at each `time`. Raises BadCandleFile."""
    return _series(path, "rate")


def intervals_ms(time: Ints) -> Ints:
    """How long the interval of each funding rate is, the first taken to be as long as the second, a lone one an hour.

    Where a rate is missing, the interval is longer than those beside it: the rate that ends it is of one as long as they are.
    """
    steps = np.diff(time)
    if not len(steps):
        return np.full(len(time), HOUR_MS, np.int64)
    if len(steps) > 1:
        beside = np.maximum(np.append(0, steps[:-1]), np.append(steps[1:], 0))
        steps = np.minimum(steps, beside)
    return np.concatenate((steps[:1], steps))


def close_gaps(candles: Candles, timeframe: Timeframe, policy: GapPolicy) -> tuple[Candles, tuple[Span, ...]]:
    """Apply the gap policy; also what was missing.

    `fill`: flat candles at the previous close, volume 0, marked synthetic. `halt`: BadCandleFile at the first gap. `reset`:
    left open, for a reader that starts anew after it.
    """
    step = TIMEFRAME_MS[timeframe]
    before = np.flatnonzero(np.diff(candles.time) > step)
    spans = tuple(
        Span(first, last, (last - first) // step + 1)
        for first, last in ((int(candles.time[i]) + step, int(candles.time[i + 1]) - step) for i in before)
    )
    if not spans or policy == "reset":
        return candles, spans
    if policy == "halt":
        raise BadCandleFile(f"candles are missing: {spans[0]}; gap policy `fill` or `reset` accepts that")
    time = np.arange(candles.time[0], candles.time[-1] + step, step, dtype=np.int64)
    source = np.searchsorted(candles.time, time, side="right") - 1
    synthetic = candles.time[source] != time
    flat = candles.close[source]
    prices = {name: np.where(synthetic, flat, getattr(candles, name)[source]) for name in PRICES}
    volume = np.where(synthetic, 0.0, candles.volume[source])
    filled = Candles(time, **prices, volume=volume, synthetic=synthetic | candles.synthetic[source])
    return filled, spans


def parse_moment(text: str) -> int:
    """A date or an ISO moment (UTC unless it says otherwise) as ms. Raises BadPeriod."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise BadPeriod(f"{text!r} is not a date (2024-01-31 or 2024-01-31T12:00:00Z)") from None
    return round(moment.replace(tzinfo=moment.tzinfo or UTC).timestamp() * 1000)


def when(moment_ms: int | np.int64 | None) -> str:
    """A moment in ms for a person; None is an open end."""
    if moment_ms is None:
        return "the end of the data"
    return datetime.fromtimestamp(int(moment_ms) / 1000, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def _clean(path: Path, columns: tuple[str, ...], step_ms: int) -> list[Floats] | None:
    """The columns of a parquet file that has nothing wrong with them; None: look closer, and say what it is.

    pandas, which takes a second to import, is for that closer look and for csv.
    """
    if path.suffix != ".parquet" or not path.is_file():
        return None
    from pyarrow import ArrowException, parquet

    try:
        with parquet.ParquetFile(path) as file:  # `read_table` would import the dataset machinery for one file
            table = file.read(columns=list(columns), use_threads=False)
        # Not `to_numpy`, which would import pandas.
        found = [np.from_dlpack(table[name].combine_chunks()).astype(np.float64) for name in columns]
    except (ArrowException, ValueError, TypeError, KeyError, OSError):
        return None
    time = found[0]
    if not len(time) or not all(np.isfinite(values).all() for values in found):
        return None
    whole = (time == np.floor(time)) & (time >= FIRST_MS) & (time < LAST_MS) & (time % step_ms == 0)
    return found if whole.all() and (np.diff(time) > 0).all() else None


def _sound(columns: list[Floats]) -> bool:
    """Whether every candle can be one."""
    _, o, h, low, c, volume = columns
    inside = (h >= np.maximum(o, c)) & (low <= np.minimum(o, c)) & (low > 0) & (volume >= 0)
    return bool(inside.all())


def _series(path: Path, column: str) -> Series:
    clean = _clean(path, ("time", column), 1)
    if clean is not None:
        return Series(clean[0].astype(np.int64), clean[1])
    table = _drop_repeated(_table(path, ("time", column)))
    return Series(_times(path, table, 1), _numbers(path, table, column))


def _table(path: Path, columns: tuple[str, ...]) -> pd.DataFrame:
    """The named columns as they stand in the file. Its index is the row number, from 1."""
    if not path.is_file():
        raise BadCandleFile(f"{path}: no such file")
    import pandas as pd

    try:
        if path.suffix == ".parquet":
            table = pd.read_parquet(path)
        elif path.suffix == ".csv":
            table = pd.read_csv(path, low_memory=False)
        else:
            raise BadCandleFile(f"{path}: is neither .csv nor .parquet")
    except BadCandleFile:
        raise
    except (ValueError, OSError) as broken:  # pandas and pyarrow raise subclasses of these for unreadable content
        raise BadCandleFile(f"{path}: cannot be read: {str(broken).splitlines()[0]}") from broken
    missing = [name for name in columns if name not in table.columns]
    if missing:
        raise BadCandleFile(f"{path}: column {missing[0]!r} is missing; it needs {', '.join(columns)}")
    if table.empty:
        raise BadCandleFile(f"{path}: holds no rows")
    table = table[list(columns)]
    table.index = pd.RangeIndex(1, len(table) + 1)
    return table


def _drop_repeated(table: pd.DataFrame) -> pd.DataFrame:
    """Without rows that repeat the one before them entirely (a source that overlaps its pages)."""
    return table[~(table == table.shift()).all(axis=1)]


def _numbers(path: Path, table: pd.DataFrame, name: str) -> Floats:
    """A column as finite float64."""
    import pandas as pd

    values = pd.to_numeric(table[name], errors="coerce").to_numpy(dtype=np.float64)
    _refuse(path, table, name, ~np.isfinite(values), "is not a finite number")
    return values


def _times(path: Path, table: pd.DataFrame, step_ms: int) -> Ints:
    """The `time` column: whole ms on the grid of `step_ms`, strictly increasing."""
    values = _numbers(path, table, "time")
    _refuse(path, table, "time", values != np.floor(values), "is not a whole number of milliseconds")
    _refuse(path, table, "time", values < FIRST_MS, "is before 2001: is it in seconds? Milliseconds are needed")
    _refuse(
        path,
        table,
        "time",
        values >= LAST_MS,
        "is after 2286: is it in microseconds or nanoseconds? Milliseconds are needed",
    )
    time = values.astype(np.int64)
    _refuse(path, table, "time", time % step_ms != 0, f"is not on the grid of {step_ms // 1000} s")
    _refuse(path, table, "time", np.diff(time, prepend=0) <= 0, "is not after the row before it")
    return time


def _refuse(path: Path, table: pd.DataFrame, name: str, bad: NDArray[np.bool_], why: str) -> None:
    """Raise BadCandleFile for the first row of `bad`."""
    if bad.any():
        row = table.index[int(np.argmax(bad))]
        raise BadCandleFile(f"{path}: row {row}, column {name}: {table[name].loc[row]} {why}")

"""The store of candles and funding: one parquet file a series, replaced whole, in the very form that backtests read.

What comes in is checked row by row first (`sim.market.files`); what is there is judged by `inspect`. Knows no exchange.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, NamedTuple

import numpy as np
import pandas as pd

from protocol.units import TIMEFRAME_MS, Timeframe
from sim.market.files import PRICES, BadCandleFile, intervals_ms, read_candles, read_funding, when

Kind = Literal["spot", "perp", "funding"]

COLUMNS: Final = ("time", *PRICES, "volume")
FUNDING_COLUMNS: Final = ("time", "rate")
HOUR_MS: Final = 3_600_000
JUMP: Final = 0.2
"""A close this part away from the one before it is worth a look."""
KRAKEN_COLUMNS: Final = ("time", *PRICES, "volume", "trades")
"""Kraken's downloadable OHLCVT files: no header, time in seconds."""
FIRST_MS: Final = 1_000_000_000_000
MINUTES: Final[dict[str, Timeframe]] = {"15": "15m", "60": "1h", "240": "4h", "1440": "1d"}


class SeriesName(NamedTuple):
    """One series: `spot` and `perp` candles have a timeframe, funding has none. `symbol` is the spot market's."""

    kind: Kind
    symbol: str
    timeframe: Timeframe | None

    def __str__(self) -> str:
        return " ".join(part for part in (self.kind, self.symbol, self.timeframe) if part)


@dataclass(frozen=True)
class Findings:
    """What is to be said of one series. Times in ms; `gaps`: (first, last) missing open time, one pair a gap."""

    rows: int
    first_ms: int | None
    last_ms: int | None
    duplicates: int
    disordered: int
    off_grid: int
    senseless: int
    jumps: int
    gaps: tuple[tuple[int, int], ...]
    missing: int

    @property
    def sound(self) -> bool:
        """Whether a backtest can use it as it is; gaps are filled by its gap policy."""
        return self.rows > 0 and not (self.duplicates or self.disordered or self.off_grid or self.senseless)


class Store:
    """The files under `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, name: SeriesName) -> Path:
        """Where a series is kept, whether it exists or not."""
        market = name.symbol.replace("/", "-")
        return self.root / name.kind / (f"{market}_{name.timeframe}.parquet" if name.timeframe else f"{market}.parquet")

    def names(self) -> Iterator[SeriesName]:
        """What is there, in order."""
        for kind in ("spot", "perp", "funding"):
            for file in sorted((self.root / kind).glob("*.parquet")):
                market, _, timeframe = file.stem.partition("_")
                if kind == "funding":
                    yield SeriesName("funding", market.replace("-", "/"), None)
                elif timeframe in TIMEFRAME_MS:
                    yield SeriesName(kind, market.replace("-", "/"), timeframe)

    def newest_ms(self, name: SeriesName) -> int | None:
        """The newest `time` of a series, None when there is none."""
        table = self.read(name)
        return None if table is None else int(table["time"].iloc[-1])

    def read(self, name: SeriesName) -> pd.DataFrame | None:
        """A series as it stands, None when there is none."""
        path = self.path(name)
        return pd.read_parquet(path) if path.exists() else None

    def add(self, name: SeriesName, rows: pd.DataFrame) -> int:
        """Merge `rows` in: by time, what comes later replaces. How many rows are new. The file is replaced whole."""
        rows = rows.astype({column: "int64" if column == "time" else "float64" for column in rows.columns})
        old = self.read(name)
        both = rows if old is None else pd.concat([old, rows], ignore_index=True)
        merged = both.drop_duplicates("time", keep="last").sort_values("time", ignore_index=True)
        path = self.path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_suffix(".new")
        try:
            merged.to_parquet(new, index=False)
            with new.open("rb+") as written:
                os.fsync(written.fileno())
            new.replace(path)
        except OSError as error:
            new.unlink(missing_ok=True)
            raise OSError(error.errno, f"could not be written ({error})", str(path)) from error
        return len(merged) - (0 if old is None else len(old))


def import_file(store: Store, file: Path, name: SeriesName) -> int:
    """Take a file in: ours (csv, parquet) or Kraken's OHLCVT csv. How many rows are new. Raises BadCandleFile, nothing written."""
    if name.kind == "funding":
        series = read_funding(file)
        return store.add(name, pd.DataFrame({"time": series.time, "rate": series.value}))
    assert name.timeframe is not None
    if file.suffix == ".csv" and _is_kraken(file):
        table = _kraken(file, TIMEFRAME_MS[name.timeframe])
        return store.add(name, table)
    candles = read_candles(file, name.timeframe)
    return store.add(name, pd.DataFrame({column: getattr(candles, column) for column in COLUMNS}))


def timeframe_of(file: Path) -> Timeframe | None:
    """What Kraken's file name says of the interval (`XBTUSD_15.csv`), None when it says nothing."""
    return MINUTES.get(file.stem.rpartition("_")[2])


def _is_kraken(file: Path) -> bool:
    with file.open("rb") as opened:
        first = opened.readline().split(b",")
    return first[0].strip().isdigit() and len(first) >= len(COLUMNS)


def _kraken(file: Path, step_ms: int) -> pd.DataFrame:
    try:
        table = pd.read_csv(file, header=None, low_memory=False)
    except ValueError as broken:
        raise BadCandleFile(f"{file}: cannot be read: {str(broken).splitlines()[0]}") from broken
    table = table.iloc[:, : len(KRAKEN_COLUMNS)]
    table.columns = pd.Index(KRAKEN_COLUMNS[: table.shape[1]])
    numbers = table.apply(pd.to_numeric, errors="coerce")
    _whole(file, numbers[["time", *PRICES, "volume"]], np.isfinite)
    numbers["time"] = numbers["time"].astype("int64") * 1000
    findings = inspect(numbers, step_ms)
    if not findings.sound:
        raise BadCandleFile(f"{file}: {describe(findings)}")
    kept: pd.DataFrame = numbers[list(COLUMNS)]
    return kept


def _whole(file: Path, table: pd.DataFrame, holds: np.ufunc) -> None:
    bad = ~holds(table.to_numpy(dtype=np.float64))
    if bad.any():
        row, column = np.argwhere(bad)[0]
        raise BadCandleFile(f"{file}: row {row + 1}, column {table.columns[column]}: is not a finite number")


def inspect(table: pd.DataFrame, step_ms: int) -> Findings:
    """What is wrong with a series of candles, or with funding (`time`, `rate`), whose times are multiples of `step_ms`."""
    time = table["time"].to_numpy(dtype=np.int64)
    if not len(time):
        return Findings(0, None, None, 0, 0, 0, 0, 0, (), 0)
    steps = np.diff(time)
    ordered = np.unique(time)
    # Funding has the interval of its exchange: only what is longer than those beside it lacks a rate.
    usual = intervals_ms(ordered)[1:] if "rate" in table.columns else np.full(len(ordered) - 1, step_ms)
    wide = np.flatnonzero(np.diff(ordered) > usual)
    gaps = tuple((int(ordered[i] + usual[i]), int(ordered[i + 1] - usual[i])) for i in wide)
    senseless, jumps = _sense(table)
    return Findings(
        rows=len(time),
        first_ms=int(ordered[0]),
        last_ms=int(ordered[-1]),
        duplicates=len(time) - len(ordered),
        disordered=int((steps < 0).sum()),
        off_grid=int((time % step_ms != 0).sum()),
        senseless=senseless,
        jumps=jumps,
        gaps=gaps,
        missing=sum((last - first) // int(usual[i]) + 1 for i, (first, last) in zip(wide, gaps, strict=True)),
    )


def _sense(table: pd.DataFrame) -> tuple[int, int]:
    if "rate" in table.columns:
        rate = table["rate"].to_numpy(dtype=np.float64)
        return int((~np.isfinite(rate)).sum()), 0
    open_, high, low, close = (table[name].to_numpy(dtype=np.float64) for name in PRICES)
    volume = table["volume"].to_numpy(dtype=np.float64)
    whole = np.isfinite(open_) & np.isfinite(high) & np.isfinite(low) & np.isfinite(close) & np.isfinite(volume)
    sane = (low > 0) & (high >= np.maximum(open_, close)) & (low <= np.minimum(open_, close)) & (volume >= 0)
    before = close[:-1]
    with np.errstate(divide="ignore", invalid="ignore"):
        moves = np.abs(close[1:] / before - 1)
    return int((~(whole & sane)).sum()), int((moves > JUMP).sum())


def step_of(name: SeriesName) -> int:
    """The grid of a series in ms; funding is paid at full hours."""
    return HOUR_MS if name.timeframe is None else TIMEFRAME_MS[name.timeframe]


def describe(findings: Findings) -> str:
    """What is wrong, in one line; empty when nothing is."""
    said = {
        "holds no rows": findings.rows == 0,
        f"{findings.duplicates} duplicates": findings.duplicates,
        f"{findings.disordered} rows out of order": findings.disordered,
        f"{findings.off_grid} rows off the UTC grid": findings.off_grid,
        f"{findings.senseless} rows without sense (not finite, or open and close outside low and high)": findings.senseless,
        f"{findings.missing} missing in {len(findings.gaps)} gaps, the first {_span(findings)}": findings.gaps,
        f"{findings.jumps} closes more than {JUMP:.0%} from the one before": findings.jumps,
    }
    return "; ".join(text for text, holds in said.items() if holds)


def _span(findings: Findings) -> str:
    return f"{when(findings.gaps[0][0])} to {when(findings.gaps[0][1])}" if findings.gaps else ""

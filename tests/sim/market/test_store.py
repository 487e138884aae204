"""The store of candles and funding: what goes in comes out once, in order; what is wrong is named and kept out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sim.market.files import BadCandleFile, read_candles, read_funding
from sim.market.store import COLUMNS, SeriesName, Store, describe, import_file, inspect, timeframe_of

START = 1_767_571_200_000
STEP = 900_000
SPOT = SeriesName("spot", "BTC/USD", "15m")
FUNDING = SeriesName("funding", "BTC/USD", None)


def candles(first: int, count: int, close: float = 11.0) -> pd.DataFrame:
    """Candles from the `first` on."""
    rows = [(START + n * STEP, 10.0, 12.0, 9.0, close, 1.0) for n in range(first, first + count)]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def test_pages_that_overlap_are_one_series(tmp_path: Path) -> None:
    """Later rows replace earlier ones of the same time; the file is one that backtests read."""
    store = Store(tmp_path)
    assert store.newest_ms(SPOT) is None
    assert store.add(SPOT, candles(10, 5)) == 5
    assert store.add(SPOT, candles(0, 12, close=9.5)) == 10
    read = read_candles(store.path(SPOT), "15m")
    assert read.time.tolist() == [START + n * STEP for n in range(15)]
    assert read.close.tolist() == [9.5] * 12 + [11.0] * 3
    assert store.newest_ms(SPOT) == START + 14 * STEP
    assert list(store.names()) == [SPOT]


def test_kraken_s_own_files_are_taken(tmp_path: Path) -> None:
    """No header, seconds, a column of trade counts; the interval stands in the file's name."""
    file = tmp_path / "XBTUSD_15.csv"
    file.write_text("".join(f"{START // 1000 + n * 900},10,12,9,11,1.5,{n}\n" for n in range(4)))
    store = Store(tmp_path / "store")
    assert timeframe_of(file) == "15m"
    assert import_file(store, file, SPOT) == 4
    assert import_file(store, file, SPOT) == 0
    assert read_candles(store.path(SPOT), "15m").volume.tolist() == [1.5] * 4


def test_our_own_files_are_taken(tmp_path: Path) -> None:
    """Candles in csv and funding in parquet."""
    store = Store(tmp_path / "store")
    file = tmp_path / "own.csv"
    candles(0, 3).to_csv(file, index=False)
    assert import_file(store, file, SPOT) == 3
    rates = tmp_path / "rates.parquet"
    pd.DataFrame({"time": [START, START + 3_600_000], "rate": [1e-5, -2e-5]}).to_parquet(rates)
    assert import_file(store, rates, FUNDING) == 2
    assert read_funding(store.path(FUNDING)).value.tolist() == [1e-5, -2e-5]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("1767571200,10,12,9,11,x,1\n", "row 1, column volume"),
        ("1767571200,10,8,9,11,1,1\n", "rows without sense"),
        ("1767571201,10,12,9,11,1,1\n", "off the UTC grid"),
        ("1767572100,10,12,9,11,1,1\n1767571200,10,12,9,11,1,1\n", "out of order"),
        ("1767571200,10,12,9,11,1,1\n1767571200,10,12,9,11,1,1\n", "duplicates"),
    ],
)
def test_a_bad_file_of_kraken_changes_nothing(text: str, told: str, tmp_path: Path) -> None:
    """One line that names the file and what is wrong; the store stays as it was."""
    file = tmp_path / "XBTUSD_15.csv"
    file.write_text(text)
    store = Store(tmp_path / "store")
    with pytest.raises(BadCandleFile, match=told) as refused:
        import_file(store, file, SPOT)
    assert str(file) in str(refused.value)
    assert list(store.names()) == []


def test_what_is_wrong_is_found() -> None:
    """Gaps, duplicates, disorder, rows off the grid, nonsense and jumps, each counted."""
    table = pd.concat([candles(0, 3), candles(5, 2), candles(9, 1)], ignore_index=True)
    sound = inspect(table, STEP)
    assert sound.sound
    assert sound.gaps == ((START + 3 * STEP, START + 4 * STEP), (START + 7 * STEP, START + 8 * STEP))
    assert sound.missing == 4
    assert "4 missing in 2 gaps, the first 2026-01-05 00:45:00Z to 2026-01-05 01:00:00Z" in describe(sound)
    assert describe(inspect(candles(0, 3), STEP)) == ""

    bad = candles(0, 6)
    bad.loc[1, "time"] = START
    bad.loc[2, "time"] = START + 2 * STEP + 1
    bad.loc[3, "high"] = 1.0
    bad.loc[4, "close"] = np.nan
    bad.loc[5, "close"] = 11.9
    findings = inspect(bad, STEP)
    assert not findings.sound
    assert (findings.duplicates, findings.off_grid, findings.senseless) == (1, 1, 2)
    assert inspect(candles(0, 2).assign(close=[11.0, 9.0], low=8.0), STEP).jumps == 0
    assert inspect(candles(0, 2).assign(high=20.0, close=[11.0, 14.0]), STEP).jumps == 1
    assert not inspect(candles(0, 0), STEP).sound


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    """Nothing but the series is left in the folder."""
    store = Store(tmp_path)
    store.add(SPOT, candles(0, 3))
    store.add(SPOT, candles(3, 3))
    assert [file.name for file in (tmp_path / "spot").iterdir()] == ["BTC-USD_15m.parquet"]


def test_funding_of_any_interval_is_whole() -> None:
    """Eight hours from one rate to the next are no hole among their like; sixteen are, of one rate."""
    hour = 3_600_000
    times = [START + 8 * n * hour for n in range(6)]
    assert describe(inspect(pd.DataFrame({"time": times, "rate": 1e-5}), hour)) == ""
    found = inspect(pd.DataFrame({"time": [*times[:3], *times[4:]], "rate": 1e-5}), hour)
    assert (found.gaps, found.missing) == (((times[3], times[3]),), 1)
    assert not inspect(pd.DataFrame({"time": times[:1], "rate": 1e-5}), hour).gaps

"""Candle files: what is read, what is refused and in which words."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sim.market.files import (
    BadCandleFile,
    BadPeriod,
    Candles,
    Span,
    check_period,
    close_gaps,
    parse_moment,
    read_basis,
    read_candles,
    read_funding,
)

T0 = 1_700_000_100_000  # a multiple of 15 minutes
STEP = 900_000
GOOD = [
    [T0, 100.0, 102.0, 99.0, 101.0, 5.0],
    [T0 + STEP, 101.0, 103.5, 100.5, 103.0, 7.25],
    [T0 + 2 * STEP, 103.0, 103.0, 103.0, 103.0, 0.0],
]
SAMPLES = Path("../shared/data/samples")


def csv(path: Path, rows: list[list[object]], header: str = "time,open,high,low,close,volume") -> Path:
    """Write a candle file."""
    file = path / "candles.csv"
    file.write_text("\n".join([header, *(",".join(map(str, row)) for row in rows)]) + "\n")
    return file


def changed(row: int, column: int, value: object) -> list[list[object]]:
    """The good rows with one cell replaced."""
    rows: list[list[object]] = [list(r) for r in GOOD]
    rows[row][column] = value
    return rows


def test_csv_and_parquet_give_the_same_arrays(tmp_path: Path) -> None:
    """The two forms of one series are equal to the last bit, and exactly the decimals that were written."""
    rows = [[T0, 0.1, 0.30000000000000004, 0.1, 0.2, 12345.678901234567]]
    from_csv = read_candles(csv(tmp_path, rows), "15m")
    parquet = tmp_path / "candles.parquet"
    pd.DataFrame(rows, columns=["time", "open", "high", "low", "close", "volume"]).to_parquet(parquet)
    from_parquet = read_candles(parquet, "15m")
    assert from_csv.high[0] == 0.30000000000000004
    for name in ("time", "open", "high", "low", "close", "volume"):
        assert np.array_equal(getattr(from_csv, name), getattr(from_parquet, name))


@pytest.mark.parametrize(
    ("row", "column", "value", "refusal"),
    [
        (1, 1, "abc", "column open: .* not a finite number"),
        (1, 2, "", "column high: .* not a finite number"),
        (2, 3, "inf", "column low: .* not a finite number"),
        (0, 4, -1.0, "column close: .* above zero"),
        (0, 5, -1.0, "column volume: .* negative"),
        (1, 2, 102.9, "column high: .* below open or close"),
        (1, 3, 101.1, "column low: .* above open or close"),
        (1, 0, T0 + STEP + 1, "column time: .* grid"),
        (1, 0, T0 + 0.5, "column time: .* whole number"),
        (2, 0, T0, "column time: .* not after"),
        (0, 0, T0 // 1000, "column time: .* seconds"),
    ],
)
def test_a_bad_cell_is_named_by_file_row_and_column(
    tmp_path: Path, row: int, column: int, value: object, refusal: str
) -> None:
    """Each malformed value is refused in one line that says where and why."""
    file = csv(tmp_path, changed(row, column, value))
    with pytest.raises(BadCandleFile) as refused:
        read_candles(file, "15m")
    text = str(refused.value)
    assert str(file) in text
    assert re.search(f"row {row + 1}, {refusal}", text)
    assert "\n" not in text


def test_every_float_survives_csv(tmp_path: Path) -> None:
    """The parser gives back exactly the float that each shortest decimal stands for."""
    volumes = np.random.default_rng(1).lognormal(3, 4, 2000)
    rows = [[T0 + i * STEP, 1.0, 1.0, 1.0, 1.0, volume] for i, volume in enumerate(volumes.tolist())]
    assert np.array_equal(read_candles(csv(tmp_path, rows), "15m").volume, volumes)


def test_a_repeated_row_is_ignored_and_a_revised_one_is_refused(tmp_path: Path) -> None:
    """The same candle twice is harmless; two candles of one time are not."""
    assert len(read_candles(csv(tmp_path, [GOOD[0], GOOD[0], *GOOD[1:]]), "15m")) == 3
    revised = [GOOD[0], [T0, 100.0, 102.0, 99.0, 101.5, 5.0], *GOOD[1:]]
    with pytest.raises(BadCandleFile, match="row 2, column time"):
        read_candles(csv(tmp_path, revised), "15m")


def test_files_that_are_not_there_or_no_candles_are_refused(tmp_path: Path) -> None:
    """Missing file, other kind of file, missing column, no rows, binary rubbish: one typed error each."""
    with pytest.raises(BadCandleFile, match="no such file"):
        read_candles(tmp_path / "none.csv", "15m")
    other = tmp_path / "candles.json"
    other.write_text("{}")
    with pytest.raises(BadCandleFile, match=r"neither \.csv nor \.parquet"):
        read_candles(other, "15m")
    with pytest.raises(BadCandleFile, match="'volume' is missing"):
        read_candles(csv(tmp_path, [row[:5] for row in GOOD], "time,open,high,low,close"), "15m")
    with pytest.raises(BadCandleFile, match="no rows"):
        read_candles(csv(tmp_path, []), "15m")
    empty = tmp_path / "empty.csv"
    empty.write_text("")
    with pytest.raises(BadCandleFile, match="cannot be read"):
        read_candles(empty, "15m")
    rubbish = tmp_path / "rubbish.parquet"
    rubbish.write_bytes(b"\x00\x01 not parquet")
    with pytest.raises(BadCandleFile, match="cannot be read"):
        read_candles(rubbish, "15m")
    rubbish_csv = tmp_path / "rubbish.csv"
    rubbish_csv.write_bytes(b"time,open\n\xff\xfe\x00,1\n")
    with pytest.raises(BadCandleFile):
        read_candles(rubbish_csv, "15m")


def test_gaps_are_filled_flat_and_reported(tmp_path: Path) -> None:
    """`fill` puts flat synthetic candles at the previous close and names the span; the real rows stay untouched."""
    rows = [GOOD[0], [T0 + 4 * STEP, 104.0, 105.0, 103.0, 104.5, 1.0]]
    candles, spans = close_gaps(read_candles(csv(tmp_path, rows), "15m"), "15m", "fill")
    assert spans == (Span(T0 + STEP, T0 + 3 * STEP, 3),)
    assert candles.time.tolist() == [T0 + i * STEP for i in range(5)]
    assert candles.synthetic.tolist() == [False, True, True, True, False]
    assert candles.open[1:4].tolist() == candles.low[1:4].tolist() == [101.0] * 3
    assert candles.volume[1:4].tolist() == [0.0] * 3
    assert candles.close[4] == 104.5


def test_gaps_halt_or_stay_by_policy(tmp_path: Path) -> None:
    """`halt` refuses the first gap by its times; `reset` leaves it open and still reports it."""
    candles = read_candles(csv(tmp_path, [GOOD[0], GOOD[2]]), "15m")
    with pytest.raises(BadCandleFile, match=r"missing: 2023-11-14 22:30:00Z.*1 candle\)"):
        close_gaps(candles, "15m", "halt")
    same, spans = close_gaps(candles, "15m", "reset")
    assert len(same) == 2
    assert len(spans) == 1


def test_a_period_is_cut_and_a_backward_or_empty_one_refused(tmp_path: Path) -> None:
    """Start is inclusive, end exclusive; a period without candles says what there is."""
    candles = read_candles(csv(tmp_path, GOOD), "15m")
    assert candles.between(T0 + STEP, T0 + 2 * STEP).close.tolist() == [103.0]
    assert len(candles.between()) == 3
    with pytest.raises(BadPeriod, match="is not after the start"):
        candles.between(T0 + STEP, T0)
    with pytest.raises(BadPeriod, match="the data runs 2023-11-14"):
        candles.between(T0 + 10 * STEP, None)
    check_period(None, T0)


def test_moments_are_utc() -> None:
    """A bare date is midnight UTC; nonsense is refused in one line."""
    assert parse_moment("2023-11-14") == 1_699_920_000_000
    assert parse_moment("2023-11-14T01:00:00+01:00") == 1_699_920_000_000
    with pytest.raises(BadPeriod, match="not a date"):
        parse_moment("yesterday")


def test_basis_and_funding_are_series_in_time(tmp_path: Path) -> None:
    """Both read as (time, value); a bad rate names its row."""
    file = tmp_path / "f.csv"
    file.write_text(f"time,rate\n{T0},0.0001\n{T0 + 1},-0.00002\n")
    assert read_funding(file).value.tolist() == [0.0001, -0.00002]
    file.write_text(f"time,basis\n{T0},0.0004\n{T0 + STEP},x\n")
    with pytest.raises(BadCandleFile, match="row 2, column basis"):
        read_basis(file)


@pytest.mark.skipif(not SAMPLES.is_dir(), reason="real samples are not beside this checkout")
def test_a_real_outage_is_found() -> None:
    """The exchange outage of 2023-03-24 is one span of five candles."""
    candles: Candles = read_candles(SAMPLES / "binance_spot_BTCUSDT_15m_60d_2023-03.csv", "15m")
    _, spans = close_gaps(candles, "15m", "fill")
    assert [span.candles for span in spans] == [5]

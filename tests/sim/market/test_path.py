"""The way inside the candles: finer candles say in which order, the 15m candle says how far, and nothing else is changed by them."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from config.settings import Settings
from protocol.units import MINUTE_US, SECOND_US
from sim.market.files import BadCandleFile, Candles
from sim.market.path import BAR_US, Finer, path_of
from sim.market.synthetic import generate
from sim.market.tape import Tape
from tests.fakes.finer import finer_of, with_finer

BTC, XBT = "BTC/USD", "PF_XBTUSD"
T0 = 1_700_006_400_000  # midnight UTC
SETTINGS = Settings.model_validate({"symbols": [{"spot": BTC, "futures": XBT}], "market": {"spread_pct": "0"}})
MARKET = generate(BTC, 3, T0, 200).candles
BOTH = pytest.mark.parametrize("step_ms", [60_000, 300_000])
COLUMNS = ("time", "open", "high", "low", "close", "volume")


def candles(*bars: tuple[float, float, float, float], step_ms: int = 900_000) -> Candles:
    """(open, high, low, close) from T0."""
    columns = (np.array([bar[i] for bar in bars], np.float64) for i in range(4))
    time = T0 + step_ms * np.arange(len(bars), dtype=np.int64)
    return Candles(time, *columns, volume=np.ones(len(bars)), synthetic=np.zeros(len(bars), np.bool_))


def written(folder: Path, name: str, told: Candles) -> Path:
    """Candles as a file."""
    pd.DataFrame({column: getattr(told, column) for column in COLUMNS}).to_parquet(folder / name)
    return folder / name


def test_finer_candles_say_in_which_order() -> None:
    """A rising candle whose high came first, by its three parts: open 100, 110, down to 95, and up to the close."""
    finer = Finer(300_000, candles((100, 108, 99, 107), (107, 107, 96, 97), (97, 106, 97, 105), step_ms=300_000))
    path = path_of(candles((100, 110, 95, 105)), finer)
    assert path.known.tolist() == [True]
    assert [path.price(at * SECOND_US) for at in (0, 100, 200, 300, 400, 500, 600, 900)] == [
        100, 99, 110, 107, 107, 95, 97, 105,
    ]  # fmt: skip
    assert path.reached(0, 450 * SECOND_US)[-1] == pytest.approx(101)
    assert (max(path.reached(0, BAR_US)), min(path.reached(0, BAR_US))) == (110, 95)


@BOTH
def test_no_candle_reaches_further_or_less_far_with_finer_ones(step_ms: int) -> None:
    """Opens, extremes and closes are those of the 15m candles, even where the finer ones say other extremes."""
    path = path_of(MARKET, finer_of(MARKET, step_ms))
    knots = path.knots.reshape(len(MARKET), -1)
    assert 0 < path.known.sum() < len(MARKET)
    np.testing.assert_array_equal(knots[:, 0], MARKET.open)
    np.testing.assert_array_equal(knots[:, -1], MARKET.close)
    np.testing.assert_allclose(knots.max(axis=1), MARKET.high, rtol=1e-12)
    np.testing.assert_allclose(knots.min(axis=1), MARKET.low, rtol=1e-12)


@BOTH
def test_a_candle_without_finer_ones_keeps_its_three_legs(step_ms: int) -> None:
    """At every half minute the price is what it is without a path file."""
    nothing = Finer(step_ms, candles((1, 1, 1, 1), step_ms=step_ms))
    assert nothing.candles.time[0] == T0
    at = np.arange(BAR_US, len(MARKET) * BAR_US + 1, 30 * SECOND_US)  # the first candle is not without one at 1 minute
    plain, same = path_of(MARKET, None), path_of(MARKET, nothing)
    turning = at[(at % (5 * MINUTE_US)) == 0]
    np.testing.assert_allclose(plain.prices(turning), same.prices(turning), rtol=1e-12)
    legs = at // (5 * MINUTE_US)
    low, high = (
        edge(plain.prices(legs * 5 * MINUTE_US), plain.prices((legs + 1) * 5 * MINUTE_US - 1))
        for edge in (np.minimum, np.maximum)
    )
    between = same.prices(at)
    assert ((between >= low * (1 - 1e-7)) & (between <= high * (1 + 1e-7))).all()


@BOTH
def test_many_moments_at_once_are_the_single_ones(step_ms: int) -> None:
    """Bit for bit, at any moment, the very end included."""
    path = path_of(MARKET, finer_of(MARKET, step_ms))
    at = np.sort(np.random.default_rng(2).integers(0, len(MARKET) * BAR_US + 1, 500))
    at[-1] = len(MARKET) * BAR_US
    assert path.prices(at).tolist() == [path.price(int(moment)) for moment in at]


@BOTH
def test_no_price_moves_further_from_its_open_than_the_bound(step_ms: int) -> None:
    """`drift` bounds what the first seconds of each candle do."""
    for path in (path_of(MARKET, None), path_of(MARKET, finer_of(MARKET, step_ms))):
        bound = path.drift(3 * SECOND_US)
        for bar in range(len(MARKET)):
            opened = path.price(bar * BAR_US)
            for at in range(4):
                assert abs(path.price(bar * BAR_US + at * SECOND_US) / opened - 1) <= bound[bar] + 1e-12


@BOTH
def test_a_crossing_is_found_on_a_finer_path_too(step_ms: int) -> None:
    """The first second on the other side of a level is the one that a look at every second finds."""
    tape = with_finer(Tape.synthetic(SETTINGS, days=1, history_days=1), SETTINGS, step_ms)
    start = tape.start_us + 7 * SECOND_US
    seconds = range(start, start + 2 * BAR_US, SECOND_US)
    marks = [tape.tick(XBT, at).mark for at in seconds]
    for far in ("0.999", "1.0005", "1.001"):
        level = Decimal(round(marks[0] * Decimal(far)))
        side = marks[0] > level
        crossed = [at for at, mark in zip(seconds, marks, strict=True) if mark == level or (mark > level) != side]
        expected = next((at for at in crossed if at > start), None)
        assert tape.first_crossing(XBT, start, seconds[-1], [level]) == expected


def test_what_is_to_come_ends_with_the_finest_candle_known(tmp_path: Path) -> None:
    """Of a 15m candle all that remains of it, of a finer one only its own rest; at an open the order is no question."""
    spot = written(tmp_path, "spot.parquet", candles((10_000, 11_000, 9_500, 10_500)))
    told = candles(
        (10_000, 10_800, 9_900, 10_700), (10_700, 10_700, 9_600, 9_700), (9_700, 10_600, 9_700, 10_500), step_ms=300_000
    )
    path = written(tmp_path, "path.parquet", told)
    coarse = Tape.recorded(SETTINGS, {BTC: spot})
    fine = Tape.recorded(SETTINGS, {BTC: spot}, path={BTC: path})
    start = coarse.start_us
    assert coarse.to_come(XBT, start) is None
    assert coarse.to_come("PI_XBTUSD", start + SECOND_US) is None  # a venue may list contracts besides
    least, most = coarse.to_come(XBT, start + SECOND_US)  # type: ignore[misc]
    assert (least, most) == (Decimal(9_500), Decimal(11_000))
    assert coarse.to_come(XBT, start + 899 * SECOND_US) is None
    least, most = fine.to_come(XBT, start + 10 * SECOND_US)  # type: ignore[misc]
    assert (least, most) == (Decimal(9_900), Decimal(11_000))
    assert fine.to_come(XBT, start + 300 * SECOND_US) is None
    assert min(fine.tick(XBT, start + at * SECOND_US).mark for at in range(300, 600)) == 9_500


def test_a_path_of_another_market_or_timeframe_is_refused(tmp_path: Path) -> None:
    """Each is one line that says what is wrong."""
    spot = written(tmp_path, "spot.parquet", MARKET)
    other = finer_of(MARKET, 60_000)
    elsewhere = Candles(
        other.candles.time,
        *(getattr(other.candles, name) * 2 for name in COLUMNS[1:]),
        synthetic=other.candles.synthetic,
    )
    with pytest.raises(BadCandleFile, match="of another market"):
        Tape.recorded(SETTINGS, {BTC: spot}, path={BTC: written(tmp_path, "far.parquet", elsewhere)})
    with pytest.raises(
        BadCandleFile, match=r"spot\.parquet: candles of 1 or 5 minutes are needed here; this holds 15 minutes"
    ):
        Tape.recorded(SETTINGS, {BTC: spot}, path={BTC: spot})

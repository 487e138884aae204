"""The tape: one market, a pure function of time, the same from every side it is asked."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.settings import MarketSettings, Settings
from protocol.units import HOUR_US, SECOND_US
from sim.market.columns import Columns
from sim.market.files import BadCandleFile, BadPeriod
from sim.market.tape import Tape
from sim.market.track import BAR_US

BTC, XBT = "BTC/USD", "PF_XBTUSD"
DAYS = 4
TAPE = Tape.synthetic(Settings(), days=DAYS, history_days=3)
COLUMNS = Columns(TAPE)
moments = st.integers(TAPE.start_us, TAPE.end_us)

T0 = 1_700_006_400_000  # midnight UTC
STEP = 900_000
ONE = Settings.model_validate({"symbols": [{"spot": BTC, "futures": XBT}], "market": {"spread_pct": "0"}})


def write(path: Path, header: str, rows: list[list[object]]) -> Path:
    """A csv file."""
    path.write_text("\n".join([header, *(",".join(map(str, row)) for row in rows)]) + "\n")
    return path


def recorded(tmp_path: Path, bars: list[tuple[float, float, float, float]], **more: object) -> Tape:
    """A tape of the given (open, high, low, close) candles from T0; None leaves one out."""
    rows: list[list[object]] = [[T0 + i * STEP, *bar, 9.0] for i, bar in enumerate(bars) if bar]
    file = write(tmp_path / "spot.csv", "time,open,high,low,close,volume", rows)
    return Tape.recorded(ONE, {BTC: file}, **more)  # type: ignore[arg-type]


@given(moments)
def test_the_vector_form_of_the_mark_is_the_scalar_form(at: int) -> None:
    """Scans and single looks agree to the last bit."""
    track = TAPE.tracks[BTC]
    assert track.marks(np.array([at]))[0] == track.mark(at)


@given(moments)
def test_prices_hold_between_grid_moments(at: int) -> None:
    """Within one second nothing moves, and `at` is the moment asked for."""
    here, grid = TAPE.tick(XBT, at), TAPE.tick(XBT, at - at % SECOND_US)
    assert here.at == at
    assert (here.mark, here.bid, here.ask, here.index) == (grid.mark, grid.bid, grid.ask, grid.index)
    assert here.bid <= here.mark <= here.ask
    assert here.mark % 1 == 0


@given(moments)
def test_the_running_candle_holds_the_path_and_grows_into_the_closed_one(at: int) -> None:
    """The forming candle's close is the spot price, and its range lies within the finished candle's range."""
    running = TAPE.running(BTC, at)
    assert not running.final
    closed = TAPE.closed(BTC, running.open_time_ms * 1000 + BAR_US, at)
    assert closed is not None
    assert running.open == closed.open
    assert closed.low <= running.low <= running.close <= running.high <= closed.high
    assert running.volume <= closed.volume
    grid = at - at % SECOND_US
    if grid % BAR_US:
        assert running.close == TAPE.spot_price(BTC, at)
    else:
        assert (running.high, running.low, running.close) == (closed.high, closed.low, closed.close)


@given(moments)
def test_the_mark_stays_near_spot(at: int) -> None:
    """The basis is small: mark and index never part by more than two percent."""
    tick = TAPE.tick(XBT, at)
    assert abs(tick.mark / tick.index - 1) < Decimal("0.02")


@given(st.integers(TAPE.start_us, TAPE.end_us - BAR_US), st.floats(-0.01, 0.01))
def test_the_first_crossing_is_what_a_walk_over_every_tick_finds(after: int, distance: float) -> None:
    """The vectorised scan finds the same moment as looking at every second in turn."""
    start = TAPE.tick(XBT, after)
    level = Decimal(round(float(start.mark) * (1 + distance)))

    def sides(at: int) -> tuple[bool | None, ...]:
        tick = TAPE.tick(XBT, at)
        return tuple(None if p == level else p > level for p in (tick.mark, tick.bid, tick.ask))

    grid = range(after - after % SECOND_US + SECOND_US, after + 300 * SECOND_US + 1, SECOND_US)
    expected = next((at for at in grid if sides(at) != sides(after)), None)
    assert TAPE.first_crossing(XBT, after, after + 300 * SECOND_US, [level]) == expected


def test_no_levels_and_no_time_mean_no_crossing() -> None:
    """Nothing to cross, or nowhere to look."""
    assert TAPE.first_crossing(XBT, TAPE.start_us, TAPE.end_us, []) is None
    assert TAPE.first_crossing(XBT, TAPE.start_us, TAPE.start_us, [Decimal(1)]) is None


def test_the_path_turns_at_the_extremes_and_meets_the_adverse_one_first(tmp_path: Path) -> None:
    """An up candle goes open, low, high, close and a down candle open, high, low, close, every 300 s."""
    tape = recorded(tmp_path, [(100, 110, 95, 105), (105, 108, 90, 91)])
    path = [tape.spot_price(BTC, tape.start_us + i * 150 * SECOND_US) for i in range(12)]
    assert path == [100, 97.5, 95, 102.5, 110, 107.5, 105, 106.5, 108, 99, 90, 90.5]
    assert tape.spot_price(BTC, tape.end_us) == 91
    assert tape.vertices(XBT, tape.start_us, tape.start_us + BAR_US) == [
        tape.start_us + i * 300 * SECOND_US for i in (1, 2, 3)
    ]
    rounds_to_96 = tape.start_us + 210 * SECOND_US  # the path is at 96.5 then, and the contract's tick is 1
    assert tape.first_crossing(XBT, tape.start_us, tape.end_us, [Decimal(96)]) == rounds_to_96


def test_closed_candles_are_those_that_are_over() -> None:
    """A candle is listed from the moment it ends, oldest first, and nothing later is known."""
    end = TAPE.start_us + BAR_US
    before, after = (TAPE.candles(BTC, "15m", None, until) for until in (end - 1, end))
    assert len(after) == len(before) + 1 == 3 * 96 + 1
    assert after[-1].open_time_ms * 1000 == TAPE.start_us
    assert [c.open_time_ms for c in after] == sorted(c.open_time_ms for c in after)
    since = TAPE.candles(BTC, "15m", after[-2].open_time_ms, end)
    assert [c.open_time_ms for c in since] == [c.open_time_ms for c in after[-2:]]
    assert all(c.final for c in after)


@pytest.mark.parametrize(("timeframe", "size"), [("1h", 4), ("4h", 16), ("1d", 96)])
def test_longer_candles_are_made_of_the_short_ones(timeframe: str, size: int) -> None:
    """Open of the first, highest high, lowest low, close of the last, sum of volumes, on the timeframe's own grid."""
    short = TAPE.candles(BTC, "15m", None, TAPE.end_us)
    for i, long in enumerate(TAPE.candles(BTC, timeframe, None, TAPE.end_us)):  # type: ignore[arg-type]
        parts = short[i * size : (i + 1) * size]
        assert long.open_time_ms == parts[0].open_time_ms
        assert (long.open, long.close) == (parts[0].open, parts[-1].close)
        assert (long.high, long.low) == (max(p.high for p in parts), min(p.low for p in parts))
        assert long.volume == pytest.approx(sum(p.volume for p in parts))


def test_buckets_that_the_data_does_not_fill_are_left_out(tmp_path: Path) -> None:
    """Data that begins and ends within an hour gives only the whole hour between."""
    bar = (100.0, 101.0, 99.0, 100.0)
    tape = recorded(tmp_path, [None, None, *[bar] * 7])  # type: ignore[list-item]
    assert [c.open_time_ms for c in tape.candles(BTC, "1h", None, tape.end_us)] == [T0 + 4 * STEP]


def test_a_gap_is_flat_in_the_path_and_absent_from_the_candles(tmp_path: Path) -> None:
    """Where nothing was traded the price stands still, no candle is shown, and the span is reported."""
    bar, later = (100.0, 101.0, 99.0, 100.5), (102.0, 103.0, 101.0, 102.0)
    tape = recorded(tmp_path, [bar, None, later])  # type: ignore[list-item]
    inside = tape.start_us + BAR_US + BAR_US // 2
    assert tape.spot_price(BTC, inside) == 100.5
    running = tape.running(BTC, inside)
    assert (running.low, running.high, running.volume) == (100.5, 100.5, 0.0)
    assert tape.closed(BTC, tape.start_us + 2 * BAR_US, inside) is None
    assert [c.open_time_ms for c in tape.candles(BTC, "15m", None, tape.end_us)] == [T0, T0 + 2 * STEP]
    assert [span.candles for span in tape.filled[BTC]] == [1]
    with pytest.raises(BadCandleFile, match="missing"):
        recorded(tmp_path, [bar, None, later], gap_policy="halt")  # type: ignore[list-item]


def test_perp_candles_give_the_basis(tmp_path: Path) -> None:
    """At a close the mark is the perpetual's close; between closes the basis is interpolated."""
    bars = [(10_000.0, 10_000.0, 10_000.0, 10_000.0)] * 3
    perp = write(
        tmp_path / "perp.csv",
        "time,open,high,low,close,volume",
        [[T0 + i * STEP, close, close, close, close, 1] for i, close in enumerate((10_010, 10_030, 10_020))],
    )
    tape = recorded(tmp_path, bars, perp={BTC: perp})
    at_closes = [tape.tick(XBT, tape.start_us + (i + 1) * BAR_US).mark for i in range(3)]
    assert at_closes == [Decimal(10_010), Decimal(10_030), Decimal(10_020)]
    assert tape.tick(XBT, tape.start_us + BAR_US + BAR_US // 2).mark == Decimal(10_020)
    assert tape.tick(XBT, tape.start_us).index == Decimal(10_000)


@pytest.mark.parametrize(("closes", "usual"), [((300, 310, 305), r"-97%"), ((11_000, 10_000, 11_000), r"\+10%")])
def test_a_perpetual_of_another_market_is_refused(tmp_path: Path, closes: tuple[int, ...], usual: str) -> None:
    """It would keep every entry in by the basis. One candle far away is a market's own business."""
    header = "time,open,high,low,close,volume"
    rows = [[T0 + i * STEP, close, close, close, close, 1] for i, close in enumerate(closes)]
    perp = write(tmp_path / "perp.csv", header, rows)
    with pytest.raises(BadCandleFile, match=rf"perp.csv: half of its candles lie {usual} or more from spot"):
        recorded(tmp_path, [(10_000.0,) * 4] * 3, perp={BTC: perp})
    rows[0][1:5] = rows[2][1:5] = [10_000] * 4
    recorded(tmp_path, [(10_000.0,) * 4] * 3, perp={BTC: write(tmp_path / "perp.csv", header, rows)})


def test_recorded_funding_becomes_a_rate_an_hour(tmp_path: Path) -> None:
    """An eight-hour rate is in force, an eighth an hour, until the moment it is paid; without a file there is none."""
    bars = [(100.0, 101.0, 99.0, 100.0)] * 96
    file = write(
        tmp_path / "funding.csv", "time,rate", [[T0 + h * 3_600_000, rate] for h, rate in ((8, 0.0008), (16, -0.0004))]
    )
    tape = recorded(tmp_path, bars, funding={BTC: file})
    at = [tape.funding_rate(XBT, tape.start_us + h * HOUR_US) for h in (1, 8, 9, 16)]
    assert at == [Decimal("0.0001"), Decimal("0.0001"), Decimal("-0.00005"), Decimal("-0.00005")]
    assert recorded(tmp_path, bars).funding_rate(XBT, T0 * 1000) == 0
    columns = Columns(tape)
    for hour in range(1, 18):
        for second in (-1, 0, 1, 60):
            moment = tape.start_us + hour * HOUR_US + second * SECOND_US + 1
            assert columns.tick(XBT, moment).funding_rate == tape.tick(XBT, moment).funding_rate


@pytest.mark.parametrize(
    ("ends_h", "an_hour"),
    [
        ((8, 16, 32, 40), {10: 8, 20: 8, 30: 8, 36: 8}),  # that of hour 24 is missing
        ((8, 32, 40), {10: 8, 30: 8, 36: 8}),
        ((8, 16, 32), {10: 8, 20: 8, 30: 8}),
        ((8, 16, 24, 28, 32, 40, 48), {20: 8, 26: 4, 30: 4, 36: 8}),  # shorter intervals are no holes
    ],
)
def test_a_missing_funding_rate_is_not_zero(tmp_path: Path, ends_h: Sequence[int], an_hour: dict[int, int]) -> None:
    """A hole in the rates is paid at the rate an hour of the interval that ends it, which is as long as its neighbours."""
    bars = [(100.0, 101.0, 99.0, 100.0)] * 160
    rows = [[T0 + h * 3_600_000, 0.0008] for h in ends_h]
    tape = recorded(tmp_path, bars, funding={BTC: write(tmp_path / "funding.csv", "time,rate", rows)})
    found = {h: tape.funding_rate(XBT, tape.start_us + h * HOUR_US) for h in an_hour}
    assert found == {h: Decimal("0.0008") / hours for h, hours in an_hour.items()}


def test_a_period_makes_history_of_what_lies_before_it(tmp_path: Path) -> None:
    """Trading begins at the start asked for, earlier candles stay as history, later ones do not exist."""
    bars = [(100.0, 101.0, 99.0, 100.0)] * 96
    tape = recorded(tmp_path, bars, start_ms=T0 + 10 * STEP, end_ms=T0 + 20 * STEP)
    assert (tape.start_us, tape.end_us) == ((T0 + 10 * STEP) * 1000, (T0 + 20 * STEP) * 1000)
    assert len(tape.candles(BTC, "15m", None, tape.start_us)) == 10
    with pytest.raises(BadPeriod, match="not after the start"):
        recorded(tmp_path, bars, start_ms=T0 + STEP, end_ms=T0)
    with pytest.raises(BadPeriod, match="nothing to trade on"):
        recorded(tmp_path, bars, start_ms=T0 + 200 * STEP)


def test_unknown_and_missing_symbols_are_refused(tmp_path: Path) -> None:
    """A file for a symbol that is not configured, and a configured symbol without a file, are both input errors."""
    with pytest.raises(BadCandleFile, match="ETH/USD is not among the configured symbols: BTC/USD"):
        Tape.recorded(ONE, {"ETH/USD": tmp_path / "x.csv"})
    with pytest.raises(BadCandleFile, match="BTC/USD: no spot candle file"):
        Tape.recorded(ONE, {})


def test_times_before_the_data_are_refused_and_after_it_stand_still() -> None:
    """Nothing is invented on either side."""
    with pytest.raises(ValueError, match="before the data begins"):
        TAPE.spot_price(BTC, 0)
    assert TAPE.tick(XBT, TAPE.end_us + HOUR_US).mark == TAPE.tick(XBT, TAPE.end_us).mark


def test_another_symbol_does_not_change_the_first() -> None:
    """Adding symbols leaves each one's market as it was."""
    alone = Tape.synthetic(ONE.model_copy(update={"market": MarketSettings()}), days=DAYS, history_days=3)
    at = TAPE.start_us + 12_345 * SECOND_US
    assert alone.tick(XBT, at) == TAPE.tick(XBT, at)


@given(st.integers(TAPE.start_us, TAPE.end_us - 3 * BAR_US), st.integers(1, 2 * BAR_US), st.floats(-0.01, 0.01))
def test_a_long_scan_finds_what_short_ones_find(after: int, length: int, distance: float) -> None:
    """Skipping legs that cannot reach a level changes nothing: the marks themselves, all looked at, agree."""
    track = TAPE.tracks[BTC]
    level = Decimal(round(track.mark(after) * (1 + distance)))
    grid = np.arange(after - after % SECOND_US, after + length + 1, SECOND_US)
    mark = np.rint(track.marks(grid))
    prices = np.stack((mark, np.floor(mark * (1 - 0.00005)), np.ceil(mark * (1 + 0.00005))))
    side = np.sign(prices - float(level))
    changed = np.flatnonzero((side != side[:, :1]).any(axis=0))
    expected = int(grid[changed[0]]) if len(changed) else None
    assert TAPE.first_crossing(XBT, after, after + length, [level]) == expected


@given(st.integers(0, DAYS * 96 - 1), st.integers(0, BAR_US - 1))
def test_columns_say_what_the_tape_says(bar: int, into: int) -> None:
    """Prices worked out a candle at a time are those of `tick`, to the digit, at any moment and in any order."""
    at = TAPE.start_us + bar * BAR_US + into
    assert COLUMNS.tick(XBT, at) == TAPE.tick(XBT, at)


def test_columns_pass_on_what_they_do_not_keep() -> None:
    """The end of the data, a spread that follows the candle: the tape itself is asked."""
    assert COLUMNS.tick(XBT, TAPE.end_us) == TAPE.tick(XBT, TAPE.end_us)
    wide = Settings(market=MarketSettings(spread_range_share=Decimal(1)))
    tape = Tape(list(TAPE.tracks.values()), wide, TAPE.start_us, TAPE.end_us)
    assert Columns(tape).tick(XBT, tape.start_us + BAR_US) == tape.tick(XBT, tape.start_us + BAR_US)

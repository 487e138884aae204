"""The laws of smc-spec section 6 on the kernel: causality, determinism, symmetry, bounds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest
import talib
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.strategy import kernel as k
from actors.strategy.analyze import analyze, event_records
from actors.strategy.series import Candle, CandleRefused, Candles, Events, Series
from config.strategy import StrategyParams
from tests.actors.strategy.strategy_candles import (
    QUICK,
    START_MS,
    TF_MS,
    drawn,
    mirrored,
    part,
    real,
    reflected,
    scaled,
    swings_by_definition,
    walk,
)

WICK = QUICK.model_copy(update={"break_mode": "wick", "ob_break_mode": "wick", "fvg_middle": "none", "ob_zone": "body"})
TIGHT = QUICK.model_copy(
    update={
        "fvg_max_active": 2,
        "ob_max_active": 1,
        "liq_max_pools": 2,
        "fvg_max_age": 7,
        "ob_max_age": 9,
        "eq_tol_atr": 1.0,
    }
)
TOUCH = QUICK.model_copy(update={"fvg_mitigation": "touch", "ob_mitigation": "touch", "break_buffer_atr": 0.25})
VARIANTS = [StrategyParams(), QUICK, WICK, TIGHT, TOUCH]


def new(params: StrategyParams = QUICK) -> Series:
    return Series(params, TF_MS, "exec")


def run(params: StrategyParams, candles: Candles) -> tuple[bytes, bytes, bytes]:
    """State, rows and events of a whole column, as bytes."""
    series = new(params)
    rows, events = series.feed(candles)
    return series.save(), rows.tobytes(), events.i.tobytes() + events.f.tobytes()


def candle_at(candles: Candles, n: int) -> Candle:
    return Candle(int(candles.times[n]), *candles.values[n].tolist())


def kinds(result: dict[str, list[dict[str, object]]], *names: str) -> list[dict[str, object]]:
    return [event for event in result["events"] if event["type"] in names]


@pytest.mark.parametrize("params", VARIANTS)
def test_a_prefix_alone_gives_the_prefix_of_the_whole(params: StrategyParams) -> None:
    """Nothing known at a bar depends on a later one: every prefix, rows and events, byte for byte."""
    candles = walk(1, 260, tick=1.0)
    rows, events = new(params).feed(candles)
    for length in range(1, 261, 3):
        some_rows, some = new(params).feed(part(candles, 0, length))
        known = events.i[:, k.EV_BAR] < length
        assert some_rows.tobytes() == rows[:length].tobytes()
        assert some.i.tobytes() == events.i[known].tobytes()
        assert some.f.tobytes() == events.f[known].tobytes()


@settings(max_examples=40)
@given(
    st.integers(0, 1000),
    st.sampled_from([1 / 64, 1.0, 8.0]),
    st.sampled_from(VARIANTS),
    st.lists(st.integers(0, 400), max_size=6),
)
def test_chunks_and_restarts_give_the_same_bytes(
    seed: int, tick: float, params: StrategyParams, cuts: list[int]
) -> None:
    """Any split into calls, with a save and restore at every cut, ends in the same state and the same events."""
    candles = walk(seed, 400, tick=tick)
    whole = run(params, candles)
    rows, events_i, events_f, saved = b"", b"", b"", new(params).save()
    for first, last in pairwise([0, *sorted(cuts), 400]):
        series = new(params)
        series.restore(saved)
        some_rows, events = series.feed(part(candles, first, last))
        rows += some_rows.tobytes()
        events_i, events_f = events_i + events.i.tobytes(), events_f + events.f.tobytes()
        saved = series.save()
    assert (saved, rows, events_i + events_f) == whole


def test_one_by_one_is_the_same_as_all_at_once() -> None:
    """`take` a candle at a time and `feed` them together leave equal states."""
    candles = walk(5, 800, tick=1.0)
    together, alone = new(), new()
    together.feed(candles)
    for n in range(800):
        assert alone.take(candle_at(candles, n))
    assert alone.save() == together.save()


def test_plain_python_gives_the_bytes_of_the_compiled_kernel() -> None:
    """NUMBA_DISABLE_JIT=1 runs the same text: one implementation, two ways to execute it."""
    script = (
        "import hashlib\n"
        "from tests.actors.strategy.strategy_candles import walk\n"
        "from tests.actors.strategy.test_strategy_kernel import VARIANTS, run\n"
        "print([hashlib.sha256(b''.join(run(p, walk(9, 300, tick=1.0)))).hexdigest() for p in VARIANTS])"
    )
    answers = {
        jit: subprocess.run(
            [sys.executable, "-c", script],
            env=os.environ | {"NUMBA_DISABLE_JIT": jit, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for jit, seed in (("0", "1"), ("1", "2"))
    }
    assert answers["0"] == answers["1"]


@pytest.mark.parametrize("params", VARIANTS)
def test_the_future_changes_nothing_known(params: StrategyParams) -> None:
    """Garbage after bar n leaves every event and row up to n as it was."""
    candles, other = walk(2, 300), walk(77, 300, start=5000.0)
    mixed = Candles(candles.times, np.concatenate([candles.values[:200], other.values[200:]]))
    rows, events = new(params).feed(candles)
    mixed_rows, mixed_events = new(params).feed(mixed)
    assert rows[:200].tobytes() == mixed_rows[:200].tobytes()
    before = [e for e in event_records(events) if e["bar"] < 200]
    assert before == [e for e in event_records(mixed_events) if e["bar"] < 200]


@pytest.mark.parametrize("params", VARIANTS)
def test_nothing_is_known_before_it_can_be(params: StrategyParams) -> None:
    """A source lies at or before its event, and a swing becomes known exactly swing_right bars after its own."""
    result = analyze(walk(3, 600, tick=1.0), params, TF_MS)
    for event in result["events"]:
        assert event["time"] == START_MS + event["bar"] * TF_MS
        assert event.get("src_time", event["time"]) <= event["time"]
    swings = kinds(result, "SWING")
    assert swings
    assert {e["time"] - e["src_time"] for e in swings} == {params.swing_right * TF_MS}  # type: ignore[operator]


def test_swings_are_what_the_definition_says() -> None:
    """Against the definition over the whole array: left ties allowed, right strict, nothing removed."""
    candles = walk(4, 500, tick=4.0)
    found = {(e["bar"], e["dir"], e["src_time"]) for e in kinds(analyze(candles, QUICK, TF_MS), "SWING")}
    assert found == swings_by_definition(candles, QUICK)


def test_new_gaps_are_what_the_definition_says() -> None:
    """Strictly separated first and third candle, the middle one in the direction, at least the least size."""
    candles = walk(6, 500, tick=1.0)
    o, h, low, c = (candles.values[:, column] for column in range(4))
    result = analyze(candles, QUICK, TF_MS)
    expected = set()
    for i in range(2, 500):
        if result["indicators"]["atr"][i] is None:
            continue
        if low[i] > h[i - 2] and c[i - 1] > o[i - 1]:
            expected.add((i, 1, low[i], h[i - 2]))
        if h[i] < low[i - 2] and c[i - 1] < o[i - 1]:
            expected.add((i, -1, low[i - 2], h[i]))
    assert {(e["bar"], e["dir"], e["top"], e["bottom"]) for e in kinds(result, "FVG_NEW")} == expected


@pytest.mark.parametrize("params", [QUICK, WICK, TIGHT, TOUCH])
def test_the_mirror_image_swaps_the_sides(params: StrategyParams) -> None:
    """p -> 2P - p on dyadic prices: every event changes side and nothing else; ATR and ADX stay, the DIs swap."""
    candles, about = walk(7, 700, tick=1 / 4), 8192.0
    straight, mirror = analyze(candles, params, TF_MS), analyze(mirrored(candles, about), params, TF_MS)

    def turned(event: dict[str, object]) -> str:
        return json.dumps(reflected(event, about), sort_keys=True)

    assert sorted(turned(e) for e in straight["events"]) == sorted(
        json.dumps(e, sort_keys=True) for e in mirror["events"]
    )
    assert mirror["bars"]["trend"] == [-trend for trend in straight["bars"]["trend"]]
    for name, other in (("atr", "atr"), ("adx", "adx"), ("plus_di", "minus_di")):
        assert mirror["indicators"][other] == straight["indicators"][name]


@pytest.mark.parametrize("params", VARIANTS)
def test_four_times_the_price_gives_four_times_the_levels(params: StrategyParams) -> None:
    """A power of two changes no mantissa: identical events, levels times four exactly."""
    candles = walk(8, 600)
    bigger = scaled(candles, 4.0)
    rows, events = new(params).feed(candles)
    rows_4, events_4 = new(params).feed(bigger)
    assert events.i.tobytes() == events_4.i.tobytes()
    assert np.array_equal(events.f * 4.0, events_4.f, equal_nan=True)
    assert np.array_equal(rows[:, k.ROW_ADX], rows_4[:, k.ROW_ADX], equal_nan=True)


def test_a_tenth_more_gives_the_same_events() -> None:
    """Times 1.1 on prices without near-ties: identical events, levels within rounding."""
    candles = real("binance_spot_BTCUSDT_15m__b.parquet")
    candles = part(candles, 0, 5000)
    more = scaled(candles, 1.1)
    _, events = new(StrategyParams(fvg_min_atr=0.3)).feed(candles)
    _, events_more = new(StrategyParams(fvg_min_atr=0.3)).feed(more)
    assert np.array_equal(events.i, events_more.i)
    assert np.allclose(events.f * 1.1, events_more.f, rtol=1e-12, equal_nan=True)


SHAPES = {
    "flat": [(100.0, 100.0, 100.0, 100.0)] * 300,
    "dojis": [(100.0 + n % 7, 103.0 + n % 7, 98.0 + n % 3, 100.0 + n % 7) for n in range(300)],
    "plateau": [(100.0, 105.0 if n % 20 in (8, 9, 10) else 101.0, 99.0, 100.0) for n in range(300)],
    "outside": [(100.0, 101.0 + n * 0.5, 99.0 - n * 0.25, 100.0 + (-1) ** n) for n in range(300)],
    "one tick": [(100.0, 101.0, 100.0, 100.0 + n % 2) for n in range(300)],
}


@pytest.mark.parametrize("shape", sorted(SHAPES))
@pytest.mark.parametrize("params", VARIANTS)
def test_degenerate_candles_give_no_nan(shape: str, params: StrategyParams) -> None:
    """Flat, tied and one-tick markets are written as JSON without NaN or infinity."""
    result = analyze(drawn(SHAPES[shape]), params, TF_MS)
    json.dumps(result, allow_nan=False)


def test_a_flat_market_says_nothing() -> None:
    """All candles equal: no event at all, RSI 50 and not 0, ADX 0."""
    result = analyze(drawn(SHAPES["flat"]), QUICK, TF_MS)
    assert result["events"] == []
    assert set(result["indicators"]["rsi"][5:]) == {50.0}
    assert set(result["indicators"]["adx"][9:]) == {0.0}


def test_a_plateau_gives_one_swing_its_last_bar() -> None:
    """Three equal highs in a row are one swing high, the third."""
    result = analyze(drawn(SHAPES["plateau"]), QUICK, TF_MS)
    first = kinds(result, "SWING")[0]
    assert (first["dir"], first["src_time"]) == (1, START_MS + 10 * TF_MS)


UNSOUND = {
    "nan": Candle(0, float("nan"), 2, 1, 1, 1),
    "infinite": Candle(0, 1, float("inf"), 1, 1, 1),
    "zero": Candle(0, 1, 1, 0, 1, 1),
    "negative volume": Candle(0, 1, 1, 1, 1, -1),
    "high below close": Candle(0, 1, 1, 1, 2, 1),
    "low above open": Candle(0, 1, 3, 2, 3, 1),
    "off the grid": Candle(1, 1, 1, 1, 1, 1),
}


@pytest.mark.parametrize("fault", sorted(UNSOUND))
def test_an_unsound_candle_is_refused_and_leaves_no_trace(fault: str) -> None:
    """Validation comes before the indicators: a typed error, and the state's bytes are as before."""
    series, candles = new(), walk(10, 50)
    series.feed(candles)
    before = series.save()
    bad = UNSOUND[fault]._replace(open_time_ms=START_MS + 50 * TF_MS + UNSOUND[fault].open_time_ms)
    with pytest.raises(CandleRefused, match=r"data\.malformed"):
        series.take(bad)
    assert series.save() == before


def test_gaps_repetitions_and_revisions_have_their_own_answers() -> None:
    """A missing candle is data.gap, the same again is ignored, the same time with other values is data.revised."""
    series, candles = new(), walk(11, 60)
    series.feed(part(candles, 0, 50))
    before = series.save()
    assert series.take(candle_at(candles, 49)) is False
    with pytest.raises(CandleRefused, match=r"data\.gap"):
        series.take(candle_at(candles, 51))
    with pytest.raises(CandleRefused, match=r"data\.revised"):
        series.take(candle_at(candles, 49)._replace(volume=1e9))
    with pytest.raises(CandleRefused, match=r"data\.malformed"):
        series.take(candle_at(candles, 30))
    assert series.save() == before


@pytest.mark.slow
@pytest.mark.parametrize("params", [StrategyParams(), TIGHT])
def test_memory_stays_bounded(params: StrategyParams) -> None:
    """After 100,000 bars the state is as large as after ten, and every table keeps its cap."""
    series = new(params)
    size = len(series.save())
    candles = walk(12, 100_000, tick=1.0)
    most = {"fvg": 0, "ob": 0, "pool": 0}
    for first in range(0, 100_000, 2500):
        series.feed(part(candles, first, first + 2500))
        most["fvg"] = max(most["fvg"], series.i[k.FVG_LIVING], series.i[k.FVG_LIVING + 1])
        most["ob"] = max(most["ob"], series.i[k.OB_LIVING], series.i[k.OB_LIVING + 1])
        most["pool"] = max(most["pool"], series.i[k.POOL_LIVING], series.i[k.POOL_LIVING + 1])
    assert len(series.save()) == size
    assert most["fvg"] <= params.fvg_max_active
    assert most["ob"] <= params.ob_max_active
    assert most["pool"] <= params.liq_max_pools


@pytest.mark.parametrize("params", VARIANTS)
def test_zones_live_and_die_in_order(params: StrategyParams) -> None:
    """Every zone and pool is born once, dies at most once, and says nothing before birth or after death."""
    born: set[tuple[str, object]] = set()
    dead: set[tuple[str, object]] = set()
    for event in analyze(walk(13, 3000, tick=1.0), params, TF_MS)["events"]:
        family, _, what = str(event["type"]).partition("_")
        if family not in ("FVG", "OB", "BRK", "POOL") or not what:
            continue
        name = (family, event["id"])
        assert name not in dead
        if what == "NEW":
            assert name not in born
            born.add(name)
        assert name in born
        if what == "DEAD":
            dead.add(name)
    assert {family for family, _ in dead} == {"FVG", "OB", "BRK", "POOL"}


def test_indicators_agree_with_talib() -> None:
    """EMA, ATR, ADX, DI and RSI to 1e-9 and with the same first index on thousands of real-like bars."""
    candles = walk(14, 4000)
    params = StrategyParams()
    rows, _ = new(params).feed(candles)
    high, low, close = (np.ascontiguousarray(candles.values[:, column]) for column in (k.HIGH, k.LOW, k.CLOSE))
    expected = {
        k.ROW_EMA: talib.EMA(close, 200),
        k.ROW_ATR: talib.ATR(high, low, close, 14),
        k.ROW_ADX: talib.ADX(high, low, close, 14),
        k.ROW_PLUS_DI: talib.PLUS_DI(high, low, close, 14),
        k.ROW_MINUS_DI: talib.MINUS_DI(high, low, close, 14),
        k.ROW_RSI: talib.RSI(close, 14),
    }
    for column, theirs in expected.items():
        ours = rows[:, column]
        assert np.array_equal(np.isnan(ours), np.isnan(theirs))
        assert np.allclose(ours, theirs, rtol=1e-9, atol=0, equal_nan=True)


def test_analyze_follows_the_gap_policy() -> None:
    """`reset` starts over after a gap and keeps input rows; `halt` refuses."""
    candles = walk(15, 200)
    holed = Candles(np.delete(candles.times, 90), np.delete(candles.values, 90, axis=0))
    with pytest.raises(CandleRefused, match=r"data\.gap"):
        analyze(holed, QUICK, TF_MS)
    result = analyze(holed, QUICK.model_copy(update={"gap_policy": "reset"}), TF_MS)
    assert len(result["bars"]["trend"]) == 199
    assert result["indicators"]["ema"][90:97] == [None] * 7
    after = analyze(part(candles, 91, 200), QUICK, TF_MS)
    assert [e["bar"] - 90 for e in result["events"] if e["bar"] >= 90] == [e["bar"] for e in after["events"]]


def test_saved_state_belongs_to_its_parameters() -> None:
    """A state of other parameters is refused: it would be nonsense under these."""
    series = new(StrategyParams())
    with pytest.raises(ValueError, match="other parameters"):
        series.restore(new(QUICK).save())


def test_events_of_nothing_are_nothing() -> None:
    """An empty column gives empty rows and no events."""
    rows, events = new().feed(Candles(np.zeros(0, np.int64), np.zeros((0, 5))))
    assert rows.shape == (0, k.ROW_WIDTH)
    assert isinstance(events, Events)
    assert len(events.i) == 0

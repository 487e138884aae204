"""The laws of smc-spec section 6 once more, on real candles: exact ties, news spikes and dead hours as they come."""

from __future__ import annotations

import json

import numpy as np
import pytest
import talib

from actors.strategy import kernel as k
from actors.strategy.analyze import analyze
from actors.strategy.decide import initial, step
from actors.strategy.series import Candle, CandleRefused, Candles, Series
from config.strategy import StrategyParams
from protocol.messages.signal import Held, Signal
from tests.actors.strategy.strategy_candles import (
    QUICK,
    TF_MS,
    messages,
    mirrored,
    part,
    real,
    reflected,
    scaled,
    swings_by_definition,
    walk,
)

BITCOIN, ETHER, KRAKEN = (
    f"{name}_15m__b.parquet" for name in ("binance_spot_BTCUSDT", "binance_spot_ETHUSDT", "kraken_spot_BTCUSDT")
)
SYMBOL = "BTC/USD"
DAY = 96


@pytest.fixture(scope="module")
def candles() -> Candles:
    """Fifty days of bitcoin on Kraken."""
    return part(real(KRAKEN), 0, 50 * DAY)


def decisions(candles: Candles, params: StrategyParams = QUICK) -> list[Signal | Held]:
    state, found = initial(params, [SYMBOL]), []
    for message in messages(candles):
        found += [answer for answer in step(state, message)[1] if isinstance(answer, Signal | Held)]
    return found


@pytest.mark.parametrize("name", [BITCOIN, ETHER])
def test_indicators_agree_with_talib_on_all_real_bars(name: str) -> None:
    """EMA, ATR, ADX, +DI, -DI and RSI to 1e-9 relative on more than 50,000 bars; a flat RSI (TA-Lib: 0) is 50 (6.13)."""
    candles = real(name)
    assert len(candles.times) >= 50_000
    rows, _ = Series(StrategyParams(), TF_MS, "exec").feed(candles)
    high, low, close = (np.ascontiguousarray(candles.values[:, column]) for column in (k.HIGH, k.LOW, k.CLOSE))
    for column, theirs in {
        k.ROW_EMA: talib.EMA(close, 200),
        k.ROW_ATR: talib.ATR(high, low, close, 14),
        k.ROW_ADX: talib.ADX(high, low, close, 14),
        k.ROW_PLUS_DI: talib.PLUS_DI(high, low, close, 14),
        k.ROW_MINUS_DI: talib.MINUS_DI(high, low, close, 14),
        k.ROW_RSI: talib.RSI(close, 14),
    }.items():
        ours = rows[:, column]
        assert np.array_equal(np.isnan(ours), np.isnan(theirs))
        assert np.allclose(ours, theirs, rtol=1e-9, atol=0, equal_nan=True)


def test_every_prefix_and_every_split_of_real_candles_gives_the_same_bytes(candles: Candles) -> None:
    """Prefixes alone, one candle at a time, and in chunks with a restore between: one answer (6.1, 6.2, 6.3)."""
    some = part(candles, 0, 1500)
    whole, alone, pieces = (Series(QUICK, TF_MS, "exec") for _ in range(3))
    rows, events = whole.feed(some)
    for length in range(7, 1500, 97):
        prefix_rows, prefix = Series(QUICK, TF_MS, "exec").feed(part(some, 0, length))
        known = events.i[:, k.EV_BAR] < length
        assert prefix_rows.tobytes() == rows[:length].tobytes()
        assert (prefix.i.tobytes(), prefix.f.tobytes()) == (events.i[known].tobytes(), events.f[known].tobytes())
    for time, values in zip(some.times.tolist(), some.values.tolist(), strict=True):
        alone.take(Candle(time, *values))
    for first in range(0, 1500, 113):
        saved, pieces = pieces.save(), Series(QUICK, TF_MS, "exec")
        pieces.restore(saved)
        pieces.feed(part(some, first, min(1500, first + 113)))
    assert alone.save() == pieces.save() == whole.save()


def test_swings_of_real_candles_are_what_the_definition_says(candles: Candles) -> None:
    """Against the definition over the whole array, on prices with exact ties made by a coarse tick as well (6.2, 6.10)."""
    coarse = Candles(candles.times, np.column_stack([np.round(candles.values[:, :4] / 50) * 50, candles.values[:, 4]]))
    for these in (candles, coarse):
        found = {
            (e["bar"], e["dir"], e["src_time"]) for e in analyze(these, QUICK, TF_MS)["events"] if e["type"] == "SWING"
        }
        assert found == swings_by_definition(these, QUICK)


def test_real_decisions_keep_their_ids_at_four_times_the_price(candles: Candles) -> None:
    """Same bars, same codes, same ids; entry, stop and target exactly four times as high (6.4)."""
    once, four = decisions(candles), decisions(scaled(candles, 4.0))
    assert sum(isinstance(answer, Signal) for answer in once) >= 5
    for a, b in zip(once, four, strict=True):
        assert (a.timeframe, a.candle_time_ms, a.reason) == (b.timeframe, b.candle_time_ms, b.reason)
        if isinstance(a, Signal) and isinstance(b, Signal):
            assert (a.id, a.zone_id, a.stop_pct, a.take_profit_pct) == (b.id, b.zone_id, b.stop_pct, b.take_profit_pct)
            assert (a.entry * 4, a.stop * 4, a.take_profit * 4) == (b.entry, b.stop, b.take_profit)


def test_the_mirror_of_real_candles_swaps_the_sides(candles: Candles) -> None:
    """On a dyadic grid: every event and every signal changes side and nothing else (6.5)."""
    dyadic = Candles(candles.times, np.column_stack([np.round(candles.values[:, :4] * 4) / 4, candles.values[:, 4]]))
    about = 131072.0
    mirror = mirrored(dyadic, about)
    straight, turned = analyze(dyadic, QUICK, TF_MS), analyze(mirror, QUICK, TF_MS)
    assert sorted(json.dumps(reflected(e, about), sort_keys=True) for e in straight["events"]) == sorted(
        json.dumps(e, sort_keys=True) for e in turned["events"]
    )
    assert turned["indicators"]["plus_di"] == straight["indicators"]["minus_di"]
    assert turned["indicators"]["adx"] == straight["indicators"]["adx"]
    ours, theirs = ([a for a in decisions(c) if isinstance(a, Signal)] for c in (dyadic, mirror))
    assert [(s.timeframe, s.candle_time_ms) for s in ours] == [(s.timeframe, s.candle_time_ms) for s in theirs]
    assert {(a.side, b.side) for a, b in zip(ours, theirs, strict=True)} == {("long", "short"), ("short", "long")}


def test_real_events_are_known_when_they_say(candles: Candles) -> None:
    """No source after its event, swings exactly their right arm late, and all of it JSON without NaN (6.6, 6.8)."""
    result = analyze(candles, QUICK, TF_MS)
    json.dumps(result, allow_nan=False)
    for event in result["events"]:
        assert event.get("src_time", event["time"]) <= event["time"]
        if event["type"] == "SWING":
            assert event["time"] - event["src_time"] == QUICK.swing_right * TF_MS
    for signal in (a for a in decisions(candles) if isinstance(a, Signal)):
        json.loads(signal.snapshot, parse_constant=pytest.fail)


def test_a_real_longer_candle_does_not_move_between_its_closes(candles: Candles) -> None:
    """4h and 1d appear with their last part, whole, equal to the candles of their span (6.7)."""
    state, seen = initial(QUICK, [SYMBOL]), {"4h": b"", "1d": b""}
    bias = state.markets[SYMBOL].bias
    for n, message in enumerate(messages(part(candles, 0, 10 * DAY)), 1):
        step(state, message)
        for timeframe, length in (("4h", 16), ("1d", DAY)):
            series = bias[timeframe]  # type: ignore[index]
            if n % length:
                assert series.bars == n // length
                assert series.bars == 0 or series.save() == seen[timeframe]
            else:
                span, seen[timeframe] = candles.values[n - length : n], series.save()
                assert series.candle()[1:5] == (span[0, 0], span[:, 1].max(), span[:, 2].min(), span[-1, 3])


def test_a_malformed_candle_leaves_no_trace_in_real_history(candles: Candles) -> None:
    """NaN, a high below the close, a time off the grid: refused, the state's bytes as before (6.8)."""
    series = Series(QUICK, TF_MS, "exec")
    series.feed(part(candles, 0, 500))
    before, good = series.save(), Candle(int(candles.times[500]), *candles.values[500].tolist())
    for bad in (
        good._replace(close=float("nan")),
        good._replace(high=good.low / 2),
        good._replace(open_time_ms=good.open_time_ms + 1),
    ):
        with pytest.raises(CandleRefused, match=r"data\.malformed"):
            series.take(bad)
    assert series.save() == before


@pytest.mark.slow
def test_memory_stays_bounded_on_more_than_100_000_real_bars() -> None:
    """Bitcoin, then ether at the times after it: the state has its first size, every table its cap (6.11)."""
    params, first, second = StrategyParams(), real(BITCOIN), real(ETHER)
    after = Candles(first.times[-1] + TF_MS * (1 + np.arange(len(second.times))), second.values)
    series = Series(params, TF_MS, "exec")
    size = len(series.save())
    for some in (first, after):
        for start in range(0, len(some.times), 500):
            series.feed(part(some, start, start + 500))
            assert max(series.i[k.FVG_LIVING : k.FVG_LIVING + 2]) <= params.fvg_max_active
            assert max(series.i[k.OB_LIVING : k.OB_LIVING + 2]) <= params.ob_max_active
            assert max(series.i[k.POOL_LIVING : k.POOL_LIVING + 2]) <= params.liq_max_pools
            assert series.i[k.BRK_COUNT] <= len(series.arrays.brk_i)
    assert series.bars > 100_000
    assert len(series.save()) == size


def test_decisions_keep_their_ids_at_four_times_the_price() -> None:
    """The law of real candles on a seeded walk, for machines without the files (6.4)."""
    test_real_decisions_keep_their_ids_at_four_times_the_price(walk(21, 40 * DAY, start=4000.0))

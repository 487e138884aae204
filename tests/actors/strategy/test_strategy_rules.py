"""Entry rules of smc-spec section 4: what a signal's own record proves, and the tables of bias and zones."""

from __future__ import annotations

import json
from itertools import product
from typing import Any

import numpy as np
import pytest

from actors.strategy import kernel as k
from actors.strategy.decide import initial, step
from actors.strategy.names import fvg_id, ob_id
from actors.strategy.rules import Reading, View, combined_side, judge
from actors.strategy.series import Candles, Series
from config.strategy import StrategyParams
from protocol.messages.signal import Signal
from protocol.units import TIMEFRAME_MS
from tests.actors.strategy.strategy_candles import QUICK, START_MS, TF_MS, messages, part, walk


@pytest.fixture(scope="module")
def records() -> list[tuple[Signal, dict[str, Any]]]:
    """Signals of a lively market with their snapshots."""
    state, found = initial(QUICK, ["BTC/USD"]), []
    for message in messages(walk(21, 60 * 96, start=4000.0)):
        _, answers = step(state, message)
        found += [(answer, json.loads(answer.snapshot)) for answer in answers if isinstance(answer, Signal)]
    return found


def test_the_stop_lies_beyond_the_zone_and_its_impulse(records: list[tuple[Signal, dict[str, Any]]]) -> None:
    """Buffer away from entry, at least the minimum distance, never wider than allowed."""
    assert len(records) > 20
    for signal, seen in records:
        d = 1 if signal.side == "long" else -1
        atr, zone = seen["indicators"][signal.timeframe]["atr"], seen["zone"]
        wrong = zone["bottom"] if d > 0 else zone["top"]
        if zone["extreme"] is not None:
            wrong = min(wrong, zone["extreme"]) if d > 0 else max(wrong, zone["extreme"])
        natural = wrong - d * QUICK.sl_buffer_atr * atr
        nearest = signal.entry - d * QUICK.sl_min_atr * atr
        assert signal.stop == (min(natural, nearest) if d > 0 else max(natural, nearest))
        assert signal.stop_pct <= QUICK.sl_pct_max


def test_the_target_is_before_the_nearest_level_or_a_multiple_of_the_risk(
    records: list[tuple[Signal, dict[str, Any]]],
) -> None:
    """The level lies beyond entry by the least distance; reward is worth the risk."""
    codes = set()
    for signal, seen in records:
        d, atr = 1 if signal.side == "long" else -1, seen["indicators"][signal.timeframe]["atr"]
        codes |= {rule["code"] for rule in seen["rules"] if rule["rule"] == "E2"}
        risk = signal.entry - signal.stop
        if seen["targets"]:
            levels = [target["level"] for target in seen["targets"]]
            assert d * levels[0] == min(d * level for level in levels) > d * signal.entry + QUICK.tp_min_atr * atr
            assert signal.take_profit == levels[0] - d * QUICK.tp_offset_atr * atr
        else:
            assert signal.take_profit == signal.entry + QUICK.tp_fallback_r * risk
        assert (signal.take_profit - signal.entry) / risk >= QUICK.rr_min
    assert {"target.liquidity", "target.fallback_r"} <= codes


def test_zones_are_older_than_the_bar_and_retested_by_it(records: list[tuple[Signal, dict[str, Any]]]) -> None:
    """No zone serves on the bar that made it known; the bar reaches into it and closes back."""
    for signal, seen in records:
        d, zone, candle = 1 if signal.side == "long" else -1, seen["zone"], seen["candle"]
        assert zone["known"] < seen["bars_seen"] - 1
        assert candle["low"] <= zone["top"] if d > 0 else candle["high"] >= zone["bottom"]
        assert d * candle["close"] > d * candle["open"]
        assert d * candle["close"] >= d * (zone["top"] + zone["bottom"]) / 2


def test_bias_candles_are_the_newest_closed_ones(records: list[tuple[Signal, dict[str, Any]]]) -> None:
    """The longer candle used ended at or before the decision, and no later one had."""
    for signal, seen in records:
        at = signal.candle_time_ms + TIMEFRAME_MS[signal.timeframe]
        for timeframe in ("4h", "1d"):
            length = TIMEFRAME_MS[timeframe]  # type: ignore[index]
            assert seen["bias"][timeframe]["candle_time"] == at // length * length - length


def readings(primary: int, other: int, fresh: bool = True) -> tuple[Reading, ...]:
    return Reading("4h", 999, True, primary), Reading("1d", 999, fresh, other)


def test_bias_combines_by_its_table() -> None:
    """All nine pairs of sides under the three ways to combine; a stale one is always neutral."""
    for primary, other in product((1, 0, -1), repeat=2):
        sides = readings(primary, other)
        assert combined_side(StrategyParams(bias_combine="primary_only"), sides) == primary
        assert combined_side(StrategyParams(bias_combine="all"), sides) == (primary if primary == other else 0)
        assert combined_side(StrategyParams(), sides) == (0 if other == -primary else primary)
        assert combined_side(StrategyParams(bias_combine="primary_only"), readings(primary, other, fresh=False)) == 0


def view(params: StrategyParams, sides: tuple[Reading, ...], fault: str | None = None) -> View:
    series = Series(params, TF_MS, "exec")
    series.feed(walk(1, 100))
    empty: dict[Any, Series] = {tf: Series.of(params, tf, "bias") for tf in ("4h", "1d")}
    return View(
        params=params,
        timeframe="15m",
        series=series,
        readings=sides,
        side=combined_side(params, sides),
        bias_series=empty,
        data_fault=fault,
        today=None,
        last_signal_bar=None,
        used_zones={},
    )


@pytest.mark.parametrize(
    ("combine", "sides", "expected"),
    [
        ("primary_not_opposed", readings(1, 1), ["bias.4h.bullish", "bias.1d.bullish"]),
        ("primary_not_opposed", readings(-1, 0), ["bias.4h.bearish", "bias.1d.neutral"]),
        ("primary_not_opposed", readings(1, -1), ["bias.4h.bullish", "bias.1d.opposed!"]),
        ("primary_not_opposed", readings(0, 1), ["bias.4h.neutral!"]),
        ("primary_not_opposed", readings(0, 1, fresh=False), ["bias.1d.stale!"]),
        ("all", readings(1, 0), ["bias.4h.bullish", "bias.1d.neutral!"]),
        ("all", readings(1, -1), ["bias.4h.bullish", "bias.1d.opposed!"]),
        ("primary_only", readings(1, -1), ["bias.4h.bullish", "bias.1d.bearish"]),
    ],
)
def test_bias_codes(combine: str, sides: tuple[Reading, ...], expected: list[str]) -> None:
    """Staleness is told before any side; a failure (marked !) ends stage A and skips the rest."""
    params = QUICK.model_copy(update={"bias_combine": combine})
    results = judge(view(params, sides))
    told = [result.code + ("!" if result.passed is False else "") for rule, result in results if rule == "A3"]
    assert told == expected
    if expected[-1].endswith("!"):
        assert {result.passed for rule, result in results if rule > "A3"} == {None}


def test_bad_data_stops_everything_else() -> None:
    """A fault of the feed is the only thing said."""
    results = judge(view(QUICK, readings(1, 1), "data.gap"))
    assert results[0][1].code == "data.gap"
    assert [result.code for _, result in results[1:]] == ["skipped"] * (len(results) - 1)


def best_by_definition(series: Series, d: int, params: StrategyParams) -> str | None:
    """The chosen zone by the specification's words, over all combinations, names compared as strings."""
    a, i, candle = series.arrays, series.bars - 1, series.candle()
    zones: dict[str, list[tuple[str, float, float, int]]] = {"ob": [], "fvg": []}
    for kind, table_i, table_f, count, name in (
        ("ob", a.ob_i, a.ob_f, series.i[k.OB_COUNT], ob_id),
        ("fvg", a.fvg_i, a.fvg_f, series.i[k.FVG_COUNT], fvg_id),
    ):
        for row in range(count):
            side, time, born, *_, mitigated = table_i[row].tolist()
            if kind in params.entry_zones and side == d and born < i and mitigated in (-1, i):
                zones[kind].append((name(d, time), table_f[row, k.TOP], table_f[row, k.BOTTOM], born))
    pairs = [
        (f"{x[0]}+{y[0]}", min(x[1], y[1]), max(x[2], y[2]), max(x[3], y[3]))
        for x, y in product(zones["ob"], zones["fvg"])
        if min(x[1], y[1]) > max(x[2], y[2])
    ]
    every = [(0, *z) for z in pairs]
    if not params.require_confluence:
        every += [(1, *z) for z in zones["ob"]] + [(2, *z) for z in zones["fvg"]]
    keys = []
    for rank, name, top, bottom, born in every:
        near, far = (top, bottom) if d > 0 else (bottom, top)
        if d * candle.close < d * far:
            continue
        touched = candle.low <= top if d > 0 else candle.high >= bottom
        keys.append((not touched, rank, abs(candle.close - near), -born, name))
    return min(keys)[-1] if keys else None


@pytest.mark.parametrize(
    "params", [QUICK, QUICK.model_copy(update={"require_confluence": True, "ob_mitigation": "none"})]
)
def test_the_chosen_zone_is_the_first_by_definition(params: StrategyParams) -> None:
    """The compiled search against the words, on ties and on times whose digits grow, both sides, every bar."""
    candles = walk(17, 400, tick=4.0)
    candles = Candles(candles.times - START_MS, candles.values)
    series = Series(params, TF_MS, "exec")
    chosen = 0
    for n in range(400):
        series.feed(part(candles, n, n + 1))
        for d in (1, -1):
            block, gap = series.choose_zone(
                d, "ob" in params.entry_zones, "fvg" in params.entry_zones, params.require_confluence
            )
            names = []
            if block != k.NO_ROW:
                names.append(ob_id(d, int(series.arrays.ob_i[block, k.ID_TIME])))
            if gap != k.NO_ROW:
                names.append(fvg_id(d, int(series.arrays.fvg_i[gap, k.ID_TIME])))
            assert ("+".join(names) or None) == best_by_definition(series, d, params)
            chosen += len(names) == 2
    assert chosen > 10


def test_names_sort_as_text() -> None:
    """100 comes before 99 in the order of names, whatever their size."""
    rng = np.random.default_rng(5)
    for _ in range(300):
        a, b = (int(x) // 10 ** int(y) for x, y in zip(rng.integers(0, 10**13, 2), rng.integers(0, 13, 2), strict=True))
        assert k._is_text_less(a, b) == (str(a) < str(b))

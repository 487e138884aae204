"""Structure on hand-drawn candles: each test is one sentence of smc-spec section 2 made visible."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from actors.strategy.analyze import analyze
from config.strategy import StrategyParams
from tests.actors.strategy.strategy_candles import START_MS, TF_MS, drawn

# Arms of one candle and an ATR of two: a few drawn candles are enough.
SMALL = StrategyParams(
    ema_period=2,
    atr_period=2,
    adx_period=2,
    rsi_period=2,
    swing_left=1,
    swing_right=1,
    bias_swing_left=1,
    bias_swing_right=1,
    fvg_min_atr=0.0,
    fvg_middle="none",
    ob_min_disp_atr=0.0,
    ob_max_height_atr=20.0,
    eq_tol_atr=0.1,
    warmup_bars_exec=10,
    warmup_bars_4h=10,
    warmup_bars_1d=10,
)
Row = tuple[float, float, float, float]
QUIET: list[Row] = [(100, 101, 99, 100)] * 4  # three bars define the ATR: 2.0


def look(rows: list[Row], **changes: Any) -> list[dict[str, Any]]:
    """Events of QUIET and then `rows`, which start at bar 4."""
    result = analyze(drawn(QUIET + rows), SMALL.model_copy(update=changes), TF_MS)
    events: list[dict[str, Any]] = result["events"]
    return events


def of(events: list[dict[str, Any]], *types: str) -> list[tuple[Any, ...]]:
    """(bar, type, dir, and what else matters) of the types asked for."""
    return [
        (e["bar"], e["type"], e["dir"], *(e[name] for name in ("level", "reason", "count") if name in e))
        for e in events
        if e["type"] in types
    ]


# A swing high at bar 5 (level 106), known at bar 6; then a close beyond it or not.
HIGH_AT_5: list[Row] = [(100, 102, 99, 101), (101, 106, 101, 104), (104, 104, 101, 102)]


def test_a_swing_is_known_after_its_right_arm() -> None:
    """The high of bar 5 is a swing at bar 6, not at bar 5."""
    assert (6, "SWING", 1, 106) in of(look(HIGH_AT_5), "SWING")
    assert (6, "SWING", 1, 106) not in of(look(HIGH_AT_5[:2]), "SWING")


def test_a_close_at_the_level_breaks_nothing() -> None:
    """Equality is never a break; a tick more is one."""
    assert of(look([*HIGH_AT_5, (102, 107, 102, 106)]), "BOS", "CHOCH") == []
    assert of(look([*HIGH_AT_5, (102, 107, 102, 106.25)]), "BOS", "CHOCH") == [(7, "BOS", 1, 106)]


def test_a_level_breaks_once() -> None:
    """After the break the reference is gone until the next swing."""
    rows: list[Row] = [*HIGH_AT_5, (102, 107, 102, 107), (107, 109, 106, 109)]
    assert of(look(rows), "BOS") == [(7, "BOS", 1, 106)]


def test_a_level_is_known_before_it_can_break() -> None:
    """The bar that confirms a swing cannot break it: breaks are tested against what was known before the bar."""
    rows: list[Row] = [(100, 102, 99, 101), (101, 106, 101, 104), (104, 105.75, 101, 105.5), (105.5, 107, 105, 106.5)]
    upward = [e for e in of(look(rows), "SWING", "BOS") if e[2] == 1]
    assert upward[:2] == [(6, "SWING", 1, 106), (7, "BOS", 1, 106)]


def test_a_break_is_tested_before_the_bar_confirms_its_swings() -> None:
    """A bar that confirms a higher swing still breaks the older, lower one: the new reference comes after."""
    rows: list[Row] = [*HIGH_AT_5, (102, 108, 102, 105), (105, 107.5, 104, 107)]
    upward = [e for e in of(look(rows), "SWING", "BOS") if e[2] == 1]
    assert upward == [(6, "SWING", 1, 106), (8, "BOS", 1, 106), (8, "SWING", 1, 108)]


def test_a_break_against_the_trend_is_a_change_of_character() -> None:
    """Up first, then below the swing low: BOS, then CHOCH, and the trend before it is told."""
    rows: list[Row] = [
        *HIGH_AT_5,
        (102, 108, 102, 107),
        (107, 107, 101, 104),
        (104, 108, 104, 107),
        (107, 107, 100, 100.5),
    ]
    events = look(rows)
    assert of(events, "BOS", "CHOCH") == [(7, "BOS", 1, 106), (10, "CHOCH", -1, 101)]
    assert [e["trend_before"] for e in events if e["type"] == "CHOCH"] == [1]


def test_an_outside_doji_breaks_both_ways_and_means_nothing() -> None:
    """In wick mode one bar may pass both levels: its body decides, and without one it is ambiguous."""
    rows: list[Row] = [*HIGH_AT_5, (102, 103, 96, 101), (101, 102, 98, 100)]
    for close, expected in (
        (100, [(9, "AMBIG", 0)]),
        (101, [(9, "CHOCH", 1, 106)]),
        (99, [(9, "BOS", -1, 96)]),
    ):
        events = look([*rows, (100, 107, 95, close)], break_mode="wick")
        assert [e for e in of(events, "AMBIG", "BOS", "CHOCH") if e[0] == 9] == expected


def test_a_gap_is_born_at_its_third_candle_and_strictly_open() -> None:
    """low[i] = high[i-2] is no gap."""
    touching: list[Row] = [(100, 101, 99, 100), (100, 105, 100, 104), (104, 106, 101, 105)]
    assert of(look(touching), "FVG_NEW") == []
    open_: list[Row] = [*touching[:2], (104, 106, 101.5, 105)]
    born = [e for e in look(open_) if e["type"] == "FVG_NEW"]
    assert [(e["bar"], e["top"], e["bottom"], e["id"]) for e in born] == [
        (6, 101.5, 101, f"fvg.b.{START_MS + 6 * TF_MS}")
    ]


GAP: list[Row] = [(100, 101, 99, 100), (100, 108, 100, 107), (107, 108, 105, 107)]  # born at bar 6: 101..105


def test_a_gap_is_touched_halved_filled_and_left() -> None:
    """Equality is a touch; each is told once; a close beyond the far edge invalidates."""
    steps: list[Row] = [(107, 108, 105, 107), (107, 107, 103, 106), (106, 107, 101, 104), (104, 105, 101, 104)]
    events = of(look([*GAP, *steps]), "FVG_TOUCH", "FVG_MID", "FVG_FILL", "FVG_DEAD")
    assert events[:4] == [
        (7, "FVG_TOUCH", 1),
        (8, "FVG_MID", 1),
        (9, "FVG_FILL", 1),
        (9, "FVG_DEAD", 1, "mitigated"),
    ]
    through = of(look([*GAP, (107, 107, 100, 100.5)]), "FVG_TOUCH", "FVG_MID", "FVG_FILL", "FVG_DEAD")
    assert through == [
        (7, "FVG_TOUCH", 1),
        (7, "FVG_MID", 1),
        (7, "FVG_FILL", 1),
        (7, "FVG_DEAD", 1, "invalidated"),
    ]


def test_a_gap_expires_before_it_is_touched() -> None:
    """Age is tested first: the bar that is too late neither touches nor fills."""
    away: list[Row] = [(107, 108, 106, 107), (107, 108, 106, 107)]
    events = of(look([*GAP, *away, (107, 107, 100, 100.5)], fvg_max_age=2), "FVG_TOUCH", "FVG_DEAD")
    assert [e for e in events if e[2] == 1] == [(9, "FVG_DEAD", 1, "expired")]


def test_the_order_block_is_the_last_opposite_candle_at_the_origin() -> None:
    """A pullback inside the impulse is never chosen; the block is known at the break, named after its candle."""
    rows: list[Row] = [
        *HIGH_AT_5,
        (102, 103, 98, 99),  # bar 7: the last down candle at the origin
        (99, 104, 97, 103),  # bar 8: the origin, lowest low, an up candle
        (103, 105, 102, 102.5),  # bar 9: a pullback, a down candle, but later than the origin
        (102.5, 108, 102, 107),  # bar 10: the break
    ]
    block = next(e for e in look(rows) if e["type"] == "OB_NEW")
    assert (block["bar"], block["src_time"], block["top"], block["bottom"], block["extreme"]) == (
        10,
        START_MS + 7 * TF_MS,
        103,
        98,
        97,
    )


BLOCK: list[Row] = [*HIGH_AT_5, (102, 103, 98, 99), (99, 104, 97, 103), (103, 108, 103, 107)]  # block 98..103 at bar 9


def test_a_broken_block_becomes_a_breaker_that_can_be_reclaimed() -> None:
    """Same edges, opposite direction, followed from the next bar on; a close back beyond its far edge ends it."""
    rows: list[Row] = [*BLOCK, (107, 107, 97, 97.5), (97.5, 98, 97, 97.5), (97.5, 104, 97, 103.5)]
    events = of(look(rows), "OB_TOUCH", "OB_MID", "OB_DEAD", "BRK_NEW", "BRK_TOUCH", "BRK_DEAD")
    assert events == [
        (10, "OB_TOUCH", 1),
        (10, "OB_MID", 1),
        (10, "OB_DEAD", 1, "broken"),
        (10, "BRK_NEW", -1),
        (11, "BRK_TOUCH", -1),
        (12, "BRK_DEAD", -1, "reclaimed"),
    ]


def test_equal_highs_join_and_are_swept_or_broken() -> None:
    """A swing within tolerance joins; a wick beyond with a close back sweeps, a close beyond breaks."""
    second: list[Row] = [(102, 104, 101, 103), (103, 106.25, 102, 104), (104, 104, 101, 102)]
    rows = [*HIGH_AT_5, *second]
    joined = [e for e in look(rows) if e["type"] == "POOL_JOIN"]
    assert [(e["bar"], e["dir"], e["level"], e["count"]) for e in joined] == [(9, 1, 106.25, 2)]
    swept = look([*rows, (102, 107, 102, 103)])
    assert (10, "POOL_DEAD", 1, 106.25, "swept", 2) in of(swept, "POOL_DEAD")
    broken = look([*rows, (102, 107, 102, 106.5)])
    assert (10, "POOL_DEAD", 1, 106.25, "broken", 2) in of(broken, "POOL_DEAD")


def test_a_poke_within_tolerance_takes_nothing() -> None:
    """Beyond the level by no more than the tolerance is neither sweep nor break."""
    events = look([*HIGH_AT_5, (102, 106.25, 102, 103)])
    assert of(events, "POOL_DEAD") == []


def test_the_newest_pool_replaces_the_oldest_beyond_the_cap() -> None:
    """One pool a side: each new one evicts the one before, at the same bar."""
    lower: list[Row] = [(102, 103, 101, 102), (102, 104.5, 102, 103), (103, 103, 101, 102)]
    events = look([*HIGH_AT_5, *lower], liq_max_pools=1, eq_tol_atr=0.0)
    assert [e for e in of(events, "POOL_DEAD") if e[2] == 1] == [(9, "POOL_DEAD", 1, 106, "evicted", 1)]


def test_a_flat_dealing_range_is_its_middle() -> None:
    """The range grows with later highs and lows, and the position of the close lies within it."""
    rows: list[Row] = [*HIGH_AT_5, (102, 103, 98, 99), (99, 104, 99, 103), (103, 110, 103, 109)]
    bars = analyze(drawn(QUIET + rows), SMALL, TF_MS)["bars"]
    assert (bars["range_high"][-1], bars["range_low"][-1]) == (110, 98)
    assert bars["range_pos"][-1] == (109 - 98) / (110 - 98)
    assert bars["range_pos"][5] is None


def test_next_liquidity_lies_strictly_beyond_the_close() -> None:
    """The nearest living pool above and below, null where there is none."""
    rows: list[Row] = [*HIGH_AT_5, (102, 103, 98, 99), (99, 104, 99, 103)]
    bars = analyze(drawn(QUIET + rows), SMALL, TF_MS)["bars"]
    assert bars["next_liq_above"][-1] == 106
    assert bars["next_liq_below"][-1] == 98
    assert bars["next_liq_below"][4] is None


def test_a_lower_low_on_a_stronger_rsi_is_a_bullish_divergence() -> None:
    """Found on a seeded walk and checked against the definition: labels LL or HH with RSI the other way."""
    rng = np.random.default_rng(3)
    path = 100 + np.cumsum(rng.normal(0, 1, 400))
    rows = [(a, max(a, b) + 0.5, min(a, b) - 0.5, b) for a, b in pairwise(path.tolist())]
    result = analyze(drawn(rows), SMALL, TF_MS)
    lows: dict[int, int] = {}
    found = 0
    for e in result["events"]:
        if e["type"] == "SWING":
            lows[e["src_time"]] = e["dir"]
        if e["type"] == "DIV":
            found += 1
            p, q = ((e[name] - START_MS) // TF_MS for name in ("src_time", "prev_time"))
            rsi = result["indicators"]["rsi"]
            assert e["dir"] * (rsi[p] - rsi[q]) >= SMALL.div_min_delta
            assert 0 < p - q <= SMALL.div_max_bars
            assert lows[e["src_time"]] == -e["dir"]
    assert found > 5

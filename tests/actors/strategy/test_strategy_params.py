"""Parameters of the strategy: what is refused, and what names a set of them."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Any

import pytest
from pydantic import ValidationError

from config.strategy import StrategyParams, load_preset, params_hash

# smc-spec section 7: default, and the least and greatest value or all there are.
SPECIFIED: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "ema_period": (200, (2, 500)),
    **dict.fromkeys(("atr_period", "adx_period", "rsi_period"), (14, (2, 100))),
    **dict.fromkeys(("swing_left", "swing_right"), (5, (1, 50))),
    **dict.fromkeys(("bias_swing_left", "bias_swing_right"), (3, (1, 50))),
    "break_mode": ("close", ("close", "wick")),
    "break_buffer_atr": (0.0, (0.0, 1.0)),
    "fvg_middle": ("direction", ("direction", "none")),
    "fvg_min_atr": (0.25, (0.0, 5.0)),
    "fvg_mitigation": ("full", ("touch", "mid", "full", "close_through")),
    "fvg_max_age": (300, (1, 5000)),
    "fvg_max_active": (50, (1, 500)),
    "ob_max_lookback": (100, (3, 1000)),
    "ob_zone": ("full", ("full", "body")),
    "ob_mitigation": ("mid", ("touch", "mid", "none")),
    "ob_break_mode": ("close", ("close", "wick")),
    "ob_min_disp_atr": (1.0, (0.0, 10.0)),
    "ob_max_height_atr": (3.0, (0.1, 20.0)),
    "ob_max_age": (500, (1, 5000)),
    "ob_max_active": (30, (1, 500)),
    "ob_breaker": (True, (True, False)),
    "eq_tol_atr": (0.1, (0.0, 1.0)),
    "liq_max_age": (1000, (10, 10_000)),
    "liq_max_pools": (50, (1, 500)),
    "pd_filter": (False, (True, False)),
    "pd_band": (0.0, (0.0, 0.4)),
    "div_max_bars": (60, (2, 500)),
    "div_min_delta": (1.0, (0.0, 50.0)),
    "div_valid_bars": (20, (1, 200)),
    "rsi_div_mode": ("off", ("off", "require", "veto")),
    "bias_tfs": (("4h", "1d"), (("4h",), ("1d",), ("4h", "1d"))),
    "bias_mode": ("both", ("both", "ema", "structure")),
    "bias_combine": ("primary_not_opposed", ("primary_not_opposed", "all", "primary_only")),
    "bias_ema_band_atr": (0.0, (0.0, 5.0)),
    "exec_tfs": (("1h",), (("15m",), ("1h",), ("15m", "1h"))),
    "exec_precedence": (("1h", "15m"), (("1h",), ("1h", "15m"), ("15m", "1h"))),
    "setup_max_age": (60, (1, 500)),
    "entry_zones": (("ob", "fvg"), (("ob",), ("fvg",), ("ob", "fvg"))),
    "require_confluence": (False, (True, False)),
    "use_breakers": (False, (False,)),  # true is refused: smc-1 has no such entry
    "confirm_mode": ("reject", ("reject", "touch")),
    "adx_min": (20.0, (0.0, 60.0)),
    "adx_di_align": (False, (True, False)),
    "atr_pct_min": (0.0005, (0.0,)),  # its greatest, 0.1, needs a greater atr_pct_max
    "atr_pct_max": (0.03, (0.001, 0.5)),
    "require_sweep": (False, (True, False)),
    "sweep_valid_bars": (20, (1, 200)),
    "sl_buffer_atr": (0.25, (0.0, 5.0)),
    "sl_min_atr": (3.0, (0.0, 5.0)),
    "sl_pct_max": (0.06, (0.002, 0.2)),
    "tp_min_count": (5, (1, 5)),
    "tp_min_atr": (0.5, (0.0, 5.0)),
    "tp_offset_atr": (0.05, (0.0, 1.0)),
    "tp_use_prev_day": (False, (True, False)),
    "tp_fallback_r": (10.0, (0.0, 10.0)),
    "rr_min": (1.5, (0.5, 10.0)),
    "cooldown_bars": (4, (0, 500)),
    "signal_ttl_bars": (1, (1, 10)),
    "exit_on_choch": ("4h", ("exec", "4h", "off")),
    "exit_on_bias": (False, (True, False)),
    "max_hold_bars": (0, (0, 100_000)),
    "trail_mode": ("off", ("off", "structure", "atr")),
    "trail_start_r": (1.0, (0.0, 10.0)),
    "trail_atr": (3.0, (0.5, 10.0)),
    "breakeven_at_r": (0.0, (0.0, 10.0)),
    "warmup_bars_exec": (500, ()),  # bounded by the periods, see below
    "warmup_bars_4h": (600, ()),
    "warmup_bars_1d": (400, ()),
    "gap_policy": ("halt", ("halt", "reset", "fill")),
    "settle_ms": (3000, (0, 60_000)),
}
# Long periods ask for a long warm-up; so that each value stands alone, this one is longer than any asks for.
WARM = {f"warmup_bars_{series}": 1000 for series in ("exec", "4h", "1d")}


def test_the_parameters_are_those_of_the_specification() -> None:
    """Every name of section 7 with its default, and no other."""
    assert StrategyParams().model_dump() == {name: default for name, (default, _) in SPECIFIED.items()}


@pytest.mark.parametrize(("name", "allowed"), [(name, allowed) for name, (_, allowed) in SPECIFIED.items()])
def test_the_range_is_that_of_the_specification(name: str, allowed: tuple[Any, ...]) -> None:
    """Both ends of a range and every choice are taken; beyond the ends nothing is."""
    for value in allowed:
        assert getattr(StrategyParams.model_validate({**WARM, name: value}), name) == value
    numbers = [value for value in allowed if isinstance(value, int | float) and not isinstance(value, bool)]
    beyond = [min(numbers) - 1, max(numbers) + 1] if len(numbers) == 2 else []
    for value in beyond or ([] if not allowed or numbers else ["something else"]):
        with pytest.raises(ValidationError):
            StrategyParams.model_validate({**WARM, name: value})


def test_the_preset_runner_is_the_defaults() -> None:
    """One name for one set: the file says what the class says."""
    assert load_preset("runner") == StrategyParams()


def test_classic_is_another_set_with_its_own_hash() -> None:
    """The presets differ where the specification says, and in their hash."""
    classic, runner = load_preset("classic"), load_preset("runner")
    differing = {name for name in StrategyParams.model_fields if getattr(classic, name) != getattr(runner, name)}
    assert differing == {
        "exec_tfs",
        "pd_filter",
        "sl_min_atr",
        "sl_pct_max",
        "tp_min_count",
        "tp_use_prev_day",
        "tp_fallback_r",
        "exit_on_choch",
    }
    assert params_hash(classic) != params_hash(runner)


def test_the_hash_is_taken_over_canonical_json() -> None:
    """Keys sorted, no spaces, floats with a point, lists in their order: another program finds the same hash."""
    text = json.dumps(StrategyParams().model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
    assert '"adx_min":20.0' in text
    assert '"bias_tfs":["4h","1d"]' in text
    assert '"atr_pct_min":0.0005' in text
    assert params_hash(StrategyParams()) == sha256(text.encode()).hexdigest()


def test_a_whole_number_for_a_real_parameter_is_the_same_set() -> None:
    """20 and 20.0 are one value with one hash."""
    assert params_hash(StrategyParams(adx_min=20)) == params_hash(StrategyParams(adx_min=20.0))


def test_lists_may_be_written_as_text() -> None:
    """`15m,1h` from a command line is the same as a list."""
    given = StrategyParams.model_validate({"exec_tfs": "15m, 1h"})
    assert given == StrategyParams(exec_tfs=("15m", "1h"))


@pytest.mark.parametrize(
    "wrong",
    [
        {"unknown": 1},
        {"ema_period": 1},
        {"ema_period": 501},
        {"adx_min": float("nan")},
        {"atr_pct_min": 0.03, "atr_pct_max": 0.03},
        {"warmup_bars_exec": 20},
        {"warmup_bars_4h": 202},
        {"warmup_bars_1d": 202},
        {"swing_left": 50, "swing_right": 50, "adx_period": 2, "warmup_bars_exec": 100},
        {"exec_tfs": []},
        {"exec_tfs": ["15m", "15m"]},
        {"exec_tfs": ["15m"], "exec_precedence": ["1h"]},
        {"exec_tfs": ["5m"]},
        {"bias_tfs": []},
        {"bias_tfs": ["1d", "4h"]},
        {"entry_zones": []},
        {"use_breakers": True},
        {"break_mode": "body"},
    ],
)
def test_what_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    """Unknown keys, values out of range and contradictions are errors, not surprises."""
    with pytest.raises(ValidationError):
        StrategyParams.model_validate(wrong)

"""Parameters of the strategy: what is refused, and what names a set of them."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Any

import pytest
from pydantic import ValidationError

from config.strategy import StrategyParams, load_preset, params_hash


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

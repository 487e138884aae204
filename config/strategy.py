"""Parameters of the strategy `smc-1`: names, defaults, ranges and cross-field checks, and the hash that names a set of them.

Knows no actor. Names are the specification's own. Every field takes part in `params_hash`, and nothing else does.
"""

from __future__ import annotations

import json
from hashlib import sha256
from importlib.resources import files
from typing import Annotated, Any, Final, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

RULE_VERSION: Final = "smc-1"

BiasTimeframe = Literal["4h", "1d"]
ExecTimeframe = Literal["15m", "1h"]
PresetName = Literal["runner", "classic"]


def _listed(value: Any) -> Any:
    """A list written as text, `15m,1h`, as the command line and environment variables give it."""
    return tuple(part.strip() for part in value.split(",")) if isinstance(value, str) else value


Period = Annotated[int, Field(ge=2, le=100)]
Arm = Annotated[int, Field(ge=1, le=50)]
ZoneAge = Annotated[int, Field(ge=1, le=5000)]
Cap = Annotated[int, Field(ge=1, le=500)]
Unit = Annotated[float, Field(ge=0, le=1)]
Five = Annotated[float, Field(ge=0, le=5)]
Ten = Annotated[float, Field(ge=0, le=10)]


class StrategyParams(BaseModel):
    """All parameters of smc-1; the defaults are the preset `runner`.

    `_atr` multiples of ATR, `_pct` fractions of price, `_bars` and `_age` closed candles of the series, `_r` multiples of the
    initial stop distance.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    # indicators
    ema_period: int = Field(200, ge=2, le=500)
    atr_period: Period = 14
    adx_period: Period = 14
    rsi_period: Period = 14
    # swings: candles on either side; the right arm is the delay until a swing is known
    swing_left: Arm = 5
    swing_right: Arm = 5
    bias_swing_left: Arm = 3
    bias_swing_right: Arm = 3
    # breaks of structure
    break_mode: Literal["close", "wick"] = "close"
    break_buffer_atr: Unit = 0.0
    # fair value gaps
    fvg_middle: Literal["direction", "none"] = "direction"
    fvg_min_atr: Five = 0.25
    fvg_mitigation: Literal["touch", "mid", "full", "close_through"] = "full"
    fvg_max_age: ZoneAge = 300
    fvg_max_active: Cap = 50
    # order blocks and breakers
    ob_max_lookback: int = Field(100, ge=3, le=1000)
    ob_zone: Literal["full", "body"] = "full"
    ob_mitigation: Literal["touch", "mid", "none"] = "mid"
    ob_break_mode: Literal["close", "wick"] = "close"
    ob_min_disp_atr: Ten = 1.0
    ob_max_height_atr: float = Field(3.0, ge=0.1, le=20)
    ob_max_age: ZoneAge = 500
    ob_max_active: Cap = 30
    ob_breaker: bool = True
    # liquidity pools
    eq_tol_atr: Unit = 0.1
    liq_max_age: int = Field(1000, ge=10, le=10_000)
    liq_max_pools: Cap = 50
    # dealing range
    pd_filter: bool = False
    pd_band: float = Field(0.0, ge=0, le=0.4)
    # RSI divergence
    div_max_bars: int = Field(60, ge=2, le=500)
    div_min_delta: float = Field(1.0, ge=0, le=50)
    div_valid_bars: int = Field(20, ge=1, le=200)
    rsi_div_mode: Literal["off", "require", "veto"] = "off"
    # higher-timeframe bias: the first timeframe is the primary one
    bias_tfs: Annotated[tuple[BiasTimeframe, ...], BeforeValidator(_listed)] = ("4h", "1d")
    bias_mode: Literal["both", "ema", "structure"] = "both"
    bias_combine: Literal["primary_not_opposed", "all", "primary_only"] = "primary_not_opposed"
    bias_ema_band_atr: Five = 0.0
    # execution series
    exec_tfs: Annotated[tuple[ExecTimeframe, ...], BeforeValidator(_listed)] = ("1h",)
    exec_precedence: Annotated[tuple[ExecTimeframe, ...], BeforeValidator(_listed)] = ("1h", "15m")
    # setup
    setup_max_age: int = Field(60, ge=1, le=500)
    entry_zones: Annotated[tuple[Literal["ob", "fvg"], ...], BeforeValidator(_listed)] = ("ob", "fvg")
    require_confluence: bool = False
    use_breakers: Literal[False] = Field(False, description="a breaker is not an entry zone in smc-1")
    confirm_mode: Literal["reject", "touch"] = "reject"
    # filters
    adx_min: float = Field(20.0, ge=0, le=60)
    adx_di_align: bool = False
    atr_pct_min: float = Field(0.0005, ge=0, le=0.1)
    atr_pct_max: float = Field(0.03, ge=0.001, le=0.5)
    require_sweep: bool = False
    sweep_valid_bars: int = Field(20, ge=1, le=200)
    # stop
    sl_buffer_atr: Five = 0.25
    sl_min_atr: Five = 3.0
    sl_pct_max: float = Field(0.06, ge=0.002, le=0.2)
    # target
    tp_min_count: int = Field(5, ge=1, le=5)
    tp_min_atr: Five = 0.5
    tp_offset_atr: Unit = 0.05
    tp_use_prev_day: bool = False
    tp_fallback_r: Ten = 10.0
    rr_min: float = Field(1.5, ge=0.5, le=10)
    # pacing
    cooldown_bars: int = Field(4, ge=0, le=500)
    signal_ttl_bars: int = Field(1, ge=1, le=10)
    # exits
    exit_on_choch: Literal["exec", "4h", "off"] = "4h"
    exit_on_bias: bool = False
    max_hold_bars: int = Field(0, ge=0, le=100_000)
    trail_mode: Literal["off", "structure", "atr"] = "off"
    trail_start_r: Ten = 1.0
    trail_atr: float = Field(3.0, ge=0.5, le=10)
    breakeven_at_r: Ten = 0.0
    # data
    warmup_bars_exec: int = Field(500, ge=1, le=100_000)
    warmup_bars_4h: int = Field(600, ge=1, le=100_000)
    warmup_bars_1d: int = Field(400, ge=1, le=100_000)
    gap_policy: Literal["halt", "reset", "fill"] = "halt"
    settle_ms: int = Field(3000, ge=0, le=60_000)

    @model_validator(mode="after")
    def _consistent(self) -> StrategyParams:
        problems = [text for wrong, text in self._cross_checks() if wrong]
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def _cross_checks(self) -> tuple[tuple[bool, str], ...]:
        exec_least = max(2 * self.adx_period + self.swing_right, self.swing_left + self.swing_right + 1)
        bias_least = max(self.ema_period + self.bias_swing_right, self.bias_swing_left + self.bias_swing_right + 1)
        return (
            (self.atr_pct_min >= self.atr_pct_max, "atr_pct_min must be below atr_pct_max"),
            (self.warmup_bars_exec < exec_least, f"warmup_bars_exec must be at least {exec_least}"),
            (self.warmup_bars_4h < bias_least, f"warmup_bars_4h must be at least {bias_least}"),
            (self.warmup_bars_1d < bias_least, f"warmup_bars_1d must be at least {bias_least}"),
            (not self.exec_tfs, "exec_tfs must name at least one timeframe"),
            (self.bias_tfs not in BIAS_ORDERS, "bias_tfs must be 4h,1d or one of them"),
            (not self.entry_zones, "entry_zones must name at least one kind"),
            *(
                (len(set(values)) != len(values), f"{name} names a value twice")
                for name, values in (
                    ("exec_tfs", self.exec_tfs),
                    ("exec_precedence", self.exec_precedence),
                    ("entry_zones", self.entry_zones),
                )
            ),
            (
                not set(self.exec_tfs) <= set(self.exec_precedence),
                "exec_precedence must rank every timeframe of exec_tfs",
            ),
        )


BIAS_ORDERS: Final = (("4h", "1d"), ("4h",), ("1d",))


def canonical_json(value: Any) -> str:
    """Keys sorted, no spaces, UTF-8, floats as their shortest round trip; refuses NaN and infinity."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def params_hash(params: StrategyParams) -> str:
    """sha256 (64 hex digits) over the canonical JSON of all parameters after defaults."""
    return sha256(canonical_json(params.model_dump(mode="json")).encode()).hexdigest()


def load_preset(name: PresetName) -> StrategyParams:
    """The strategy of `config/presets/<name>.yaml`. Raises FileNotFoundError when there is none of that name."""
    text = files("config").joinpath("presets", f"{name}.yaml").read_text(encoding="utf-8")
    return StrategyParams.model_validate(yaml.safe_load(text)["strategy"])

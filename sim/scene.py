"""Where a storm passes: its settings, its markets, and the moments at which a position opens there.

The moments are found by a backtest and written down in `scenes.json` (`make goldens`); a test finds them again and fails when
strategy, sizing or market have changed since. Knows no fault and no checker.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
import numpy as np

from config.settings import Settings
from protocol.units import MINUTE_US, SECOND_US
from sim.market.tape import Tape

MARKETS: Final = (1, 2)
"""Seeds of the synthetic market in which positions end in every way."""
MARKET_DAYS: Final = 24
BAR_US: Final = 15 * MINUTE_US
WARM_UP_S: Final = (40, 180)
"""A storm begins so long before a position opens."""
FOLLOWS_BARS: Final = 7
"""Another position opens within so many candles: inside two hours."""
A_KIND_MOST: Final = 24
FILE: Final = Path(__file__).with_name("scenes.json")

SETTINGS: Final = Settings.model_validate({
    "profile": "storm",
    "execution": {"foreign_positions": "adopt"},  # a position turned round by hand must be protected, whoever holds it
    "strategy": {
        "exec_tfs": ["15m"], "adx_min": 0, "bias_mode": "ema", "bias_combine": "primary_only", "rr_min": 0.5,
        "cooldown_bars": 0, "confirm_mode": "touch", "setup_max_age": 500, "atr_pct_min": 0, "tp_min_count": 5,
        "tp_fallback_r": 2, "sl_min_atr": 1.0, "max_hold_bars": 2, "ob_min_disp_atr": 0, "fvg_min_atr": 0,
        "tp_use_prev_day": True, "exit_on_choch": "exec", "warmup_bars_exec": 100, "warmup_bars_4h": 210,
        "warmup_bars_1d": 210,
    },
    "risk": {
        "risk_pct": "0.25", "positions_max": 2, "loss_streak_max": 100, "entries_per_day_max": 100, "cost_max_r": 100,
        "daily_loss_max_pct": 5, "drawdown_max_pct": 15,
    },
})  # fmt: skip
"""A strategy that sees something to do in most hours: a storm in which nothing trades proves nothing."""


Moments = Mapping[int, Mapping[str, tuple[int, ...]]]
"""Market -> how the position that opens there ends (`exit.stop`, ..) -> the 15m candle since the market's start."""


class Scene(NamedTuple):
    """One market from one moment on, microseconds UTC."""

    market: int
    tape: Tape
    start_us: int


@cache
def moments() -> Moments:
    """As written down."""
    return msgspec.json.decode(FILE.read_bytes(), type=dict[int, dict[str, tuple[int, ...]]])


@cache
def market_of(number: int) -> Tape:
    """One of the markets that storms pass over."""
    market = SETTINGS.market.model_copy(update={"seed": number})
    return Tape.synthetic(SETTINGS.model_copy(update={"market": market}), days=MARKET_DAYS)


def scene_of(rng: np.random.Generator) -> Scene:
    """A market, a way in which a position ends, one such position, and a start shortly before it opens: each drawn evenly."""
    number = MARKETS[int(rng.integers(len(MARKETS)))]
    ends = moments()[number]
    kind = sorted(ends)[int(rng.integers(len(ends)))]
    bar = ends[kind][int(rng.integers(len(ends[kind])))]
    tape = market_of(number)
    warm_up_us = int(rng.integers(*WARM_UP_S)) * SECOND_US
    return Scene(number, tape, tape.start_us + bar * BAR_US - warm_up_us)


def moments_in(opened: Mapping[str, int], ended: Mapping[str, str], start_us: int) -> dict[str, tuple[int, ...]]:
    """The moments of one market. `opened`: trade -> when, microseconds UTC; `ended`: trade -> how.

    The first positions of each kind that another one follows soon, spread over the whole market.
    """
    bar_of = {trade: (at - start_us) // BAR_US for trade, at in opened.items()}
    bars = sorted(set(bar_of.values()))
    kinds: dict[str, set[int]] = {}
    for trade, kind in ended.items():
        bar = bar_of[trade]
        if any(bar < other <= bar + FOLLOWS_BARS for other in bars):
            kinds.setdefault(kind, set()).add(bar)
    return {kind: tuple(_spread(sorted(kinds[kind]))) for kind in sorted(kinds)}


def _spread(bars: list[int]) -> list[int]:
    """At most so many of them, evenly taken."""
    step = max(1, -(-len(bars) // A_KIND_MOST))
    return bars[::step]

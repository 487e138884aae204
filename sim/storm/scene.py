"""Where a storm passes: its settings, its markets, their tempo, and the moments at which a position opens there.

The moments are found by a backtest and written down in `scenes.json` (`make goldens`); a test finds them again and fails when
strategy, sizing or market have changed since. Knows no fault and no checker.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple

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


class Tempo(NamedTuple):
    """How busy a market is: seconds between marks, between updates of the running candle, between heartbeats."""

    mark_s: int
    candle_s: int
    beat_s: int


BUSY: Final = Tempo(1, 1, 1)
"""The busiest: what the settings' own limits are made for."""
BENCH: Final = Tempo(1, 5, 5)
"""A mark a second; spot is traded less often."""
TEMPOS: Final = (BUSY, BENCH, Tempo(2, 5, 2), Tempo(5, 5, 2), Tempo(5, 15, 5), Tempo(10, 10, 5), Tempo(15, 15, 5))
"""What holds in a busy market must hold in a calm one."""
WEIGHTS: Final = (1, 1, 2, 3, 3, 3, 3)
"""How often a storm draws each: a seed of a busy market takes as long as three of a calm one."""
YOUNG_ROWS: Final = 240
"""Candles that the spot exchange shows in all but the busiest market, where they are as many as Kraken's: the warm-up asks for no more,
and each life of a daemon decides them all anew.
"""
SLACK_S: Final = 2
"""What comes every so many seconds counts as late so much after that."""


class Habits(NamedTuple):
    """What people set differently: whether stops follow the market, whether what strangers do is flattened, whether a day's loss kills, whether a
    signal waits for a wide basis to narrow, and whether limits are so tight that they are met. To report strangers' positions is to leave them without a stop: no storm does.
    """

    trails: bool = False
    flattens: bool = False
    loss_kills: bool = False
    waits: bool = False
    tight: bool = False


USUAL: Final = Habits()
TIGHT_X: Final = Decimal("0.3")
"""Of the equity; a storm's positions are worth a third of it, more or less."""
LOSS_PCT: Final = Decimal("0.3")
"""A day's loss that kills is soon reached: one stop and its costs."""


def settings_at(tempo: Tempo, habits: Habits = USUAL) -> Settings:
    """`SETTINGS` for a market of this tempo, in which what is usual is not stale, and a person of these habits."""
    usual = _set_by(habits)
    risk, feeds, rarest_s = usual.risk, usual.feeds, max(tempo.mark_s, tempo.candle_s)
    return usual.model_copy(update={
        "market": SETTINGS.market.model_copy(update={"tick_s": tempo.mark_s}),
        "risk": risk.model_copy(update={
            "mark_age_max_s": max(risk.mark_age_max_s, tempo.mark_s + SLACK_S),
            "spot_age_max_s": max(risk.spot_age_max_s, tempo.candle_s + SLACK_S),
            "basis_skew_max_s": max(risk.basis_skew_max_s, rarest_s + 1),
        }),
        "feeds": feeds.model_copy(update={
            "spot_idle_s": max(feeds.spot_idle_s, tempo.candle_s + SLACK_S),
            "futures_idle_s": max(feeds.futures_idle_s, tempo.beat_s + SLACK_S),
        }),
    })  # fmt: skip


@cache
def _set_by(habits: Habits) -> Settings:
    risk: dict[str, Any] = {"basis_on_wide": "delay"} if habits.waits else {}
    if habits.tight:
        risk |= {"positions_max": 1, "exposure_max_x": TIGHT_X, "leverage_cap": TIGHT_X, "leverage_alert": TIGHT_X}
    if habits.loss_kills:
        risk |= {"daily_loss_action": "kill", "daily_loss_max_pct": LOSS_PCT}
    strategy = (
        {"trail_mode": "atr", "trail_start_r": 0.2, "trail_atr": 1.0, "breakeven_at_r": 0.2} if habits.trails else {}
    )
    strangers = {"foreign_positions": "flatten", "foreign_orders": "flatten"} if habits.flattens else {}
    return SETTINGS.model_copy(update={
        "risk": SETTINGS.risk.model_copy(update=risk),
        "execution": SETTINGS.execution.model_copy(update=strangers),
        "strategy": SETTINGS.strategy.model_copy(update=strategy),
    })  # fmt: skip


Moments = Mapping[int, Mapping[str, tuple[int, ...]]]
"""Market -> how the position that opens there ends (`exit.stop`, ..) -> the 15m candle since the market's start."""


class Scene(NamedTuple):
    """One market from one moment on, microseconds UTC."""

    market: int
    tape: Tape
    start_us: int
    tempo: Tempo
    habits: Habits = USUAL


@cache
def moments() -> Moments:
    """As written down."""
    return msgspec.json.decode(FILE.read_bytes(), type=dict[int, dict[str, tuple[int, ...]]])


@cache
def market_of(number: int) -> Tape:
    """One of the markets that storms pass over."""
    market = SETTINGS.market.model_copy(update={"seed": number})
    return Tape.synthetic(SETTINGS.model_copy(update={"market": market}), days=MARKET_DAYS)


@cache
def market_at(number: int, tempo: Tempo) -> Tape:
    """One of the markets at a tempo: the same path, seen more or less often."""
    tape = market_of(number)
    return Tape(list(tape.tracks.values()), settings_at(tempo), tape.start_us, tape.end_us)


def scene_of(rng: np.random.Generator, tempo: Tempo | None = None, habits: Habits | None = None) -> Scene:
    """A market, a way in which a position ends, one such position, a start shortly before it opens: each drawn evenly; and a
    tempo by weight and a person's habits, unless they are given.
    """
    number = MARKETS[int(rng.integers(len(MARKETS)))]
    ends = moments()[number]
    kind = sorted(ends)[int(rng.integers(len(ends)))]
    bar = ends[kind][int(rng.integers(len(ends[kind])))]
    warm_up_us = int(rng.integers(*WARM_UP_S)) * SECOND_US
    if tempo is None:
        tempo = TEMPOS[int(rng.choice(len(TEMPOS), p=np.array(WEIGHTS) / sum(WEIGHTS)))]
    tape = market_at(number, tempo)
    return Scene(
        number, tape, tape.start_us + bar * BAR_US - warm_up_us, tempo, _habits(rng) if habits is None else habits
    )


def _habits(rng: np.random.Generator) -> Habits:
    """Half of all people have the usual ones; each of the others' is a matter of chance."""
    if rng.random() < 0.5:
        return USUAL
    return Habits(*(bool(chance < 0.5) for chance in rng.random(len(USUAL))))


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

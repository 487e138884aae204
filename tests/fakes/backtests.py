"""A small backtest with many trades on both symbols of the synthetic market, run once for all tests that look at results."""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

from actors.modes.backtest import by_loop, for_history
from config.load import load
from config.settings import Settings
from sim.loop import Result
from sim.tape import Tape

BUSY: dict[str, Any] = {
    "strategy": {
        "preset": "classic",
        "pd_filter": False,
        "adx_min": 0,
        "max_hold_bars": 12,
        "cooldown_bars": 0,
        "rr_min": 0.5,
        "bias_combine": "primary_only",
    },
    "risk": {"cost_max_r": 3, "cooldown_h": 0, "entries_per_day_max": 50, "loss_streak_max": 50},
    "market": {"tick_s": 5},
}
"""Settings that trade several times a day, so that no ratio is missing."""
DAYS = 21


class Ran(NamedTuple):
    """A finished backtest."""

    settings: Settings
    tape: Tape
    result: Result


@cache
def busy_backtest() -> Ran:
    """Three weeks."""
    settings = for_history(load("backtest", "paper", None, BUSY, {}), {})
    tape = Tape.synthetic(settings, days=DAYS)
    result = by_loop(settings, tape, lambda done, total: None)
    return Ran(settings, tape, result)

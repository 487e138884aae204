"""Settings of short backtests with trades in them, and what the same run must have the same."""

from __future__ import annotations

from typing import Any

from actors.modes.backtest import for_history
from config.load import load
from config.settings import Settings
from sim.loop import Result

HASTY: dict[str, Any] = {
    "preset": "classic",
    "ema_period": 20,
    "bias_tfs": ["4h"],
    "bias_mode": "ema",
    "warmup_bars_exec": 50,
    "warmup_bars_4h": 30,
    "adx_min": 5,
    "rr_min": 0.5,
    "exec_tfs": ["15m", "1h"],
    "cooldown_bars": 0,
}
"""A strategy that trades within days of its first candle."""
BOLD: dict[str, Any] = {"cost_max_r": 3, "loss_streak_max": 100, "entries_per_day_max": 100}


def hasty(seed: int, strategy: dict[str, Any], risk: dict[str, Any]) -> Settings:
    """Settings of a short backtest with trades in it."""
    values = {
        "strategy": HASTY | strategy,
        "risk": BOLD | risk,
        "market": {"seed": seed},
    }
    return for_history(load("backtest", "paper", None, values, {}), {})


def nobody(_done: int, _total: int) -> None:
    """Nobody looks at the progress."""


def assert_same(skipped: Result, visited: Result) -> None:
    """Message for message, to the last digit of every verdict, fill, fee and funding."""
    assert skipped.messages == visited.messages
    assert skipped.books == visited.books
    assert skipped.equity_usd == visited.equity_usd
    assert skipped.digest() == visited.digest()

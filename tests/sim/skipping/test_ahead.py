"""Skipping changes nothing: the run that leaves out quiet stretches equals the run that plays every moment."""

from __future__ import annotations

import re
from dataclasses import fields, replace
from decimal import Decimal
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from actors.modes.backtest import by_loop, for_history
from config.settings import Settings
from protocol.messages.control import Alert
from protocol.messages.futures import EditOrder, SignalRefused, TradeClosed
from protocol.messages.signal import Signal
from protocol.units import SECOND_US, day_start_us
from sim.loop import Result
from sim.market.files import Candles, close_gaps
from sim.market.tape import Tape
from sim.market.track import BAR_US
from tests.fakes.finer import with_finer
from tests.fakes.hasty import assert_same, hasty, nobody

DAYS = 5


def both(settings_: Settings) -> tuple[Result, Result]:
    """The same market skipped and visited."""
    tape = Tape.synthetic(settings_, days=DAYS, history_days=20)
    return by_loop(settings_, tape, nobody), by_loop(settings_, tape, nobody, skip=False)


def test_a_run_with_trades_is_the_same_skipped_and_visited() -> None:
    """Entries, protections, exits and refusals at the same microseconds, with a tenth of the moments played."""
    skipped, visited = both(hasty(0, {}, {}))
    assert len(visited.of(TradeClosed)) >= 3
    assert visited.of(SignalRefused)
    assert_same(skipped, visited)
    assert skipped.moments < visited.moments / 10


def test_limits_that_are_reached_are_reached_alike() -> None:
    """Daily loss, drawdown and leverage guards take hold and let go at the same marks."""
    tight = {
        "daily_loss_max_pct": "0.2",
        "drawdown_max_pct": "0.5",
        "leverage_alert": "0.3",
        "risk_pct": "1",
    }
    skipped, visited = both(hasty(0, {}, tight))
    assert {alert.code for alert in visited.of(Alert)} >= {"DAILY_LOSS", "DRAWDOWN", "LEVERAGE_NEAR"}
    assert_same(skipped, visited)


def test_a_new_day_begins_alike_with_a_position_open() -> None:
    """The limit was reached in the evening; at 00:00 UTC it counts anew from the equity of then, held over midnight or not."""
    tight = {"daily_loss_max_pct": "0.1", "risk_pct": "1"}
    skipped, visited = both(hasty(2, {"exit_on_choch": "off", "exec_tfs": ["15m"]}, tight))
    reached = [alert for alert in visited.of(Alert) if alert.code == "DAILY_LOSS"]
    (over,) = [
        (evening, morning, trade)
        for trade in visited.of(TradeClosed)
        for evening, morning in pairwise(reached)
        if trade.opened_at <= evening.at < day_start_us(morning.at) == day_start_us(trade.at) <= morning.at <= trade.at
    ]
    evening, morning = over[:2]
    assert morning.at - day_start_us(morning.at) < 3600 * SECOND_US
    lost = [Decimal(re.findall(r"lost (.+?) %", alert.text)[0]) for alert in (evening, morning)]
    assert lost[0] > lost[1] >= Decimal("0.1"), "each against the first equity of its own day"
    assert_same(skipped, visited)


def test_a_stop_that_follows_structure_moves_alike() -> None:
    """Trailing remembers what it would have seen on the candles that were left out."""
    trailing = {"trail_mode": "structure", "trail_start_r": 0.2, "breakeven_at_r": 0.3, "exit_on_choch": "off"}
    skipped, visited = both(hasty(2, trailing, {}))
    assert visited.of(EditOrder)
    assert_same(skipped, visited)


@pytest.mark.parametrize("step_ms", [60_000, 300_000])
def test_a_finer_path_is_walked_alike(step_ms: int) -> None:
    """Where the way inside the candles is told, what is left out still changes nothing; it is another way, with other fills."""
    settings_ = hasty(0, {}, {})
    tape = with_finer(Tape.synthetic(settings_, days=DAYS, history_days=20), settings_, step_ms)
    skipped, visited = by_loop(settings_, tape, nobody), by_loop(settings_, tape, nobody, skip=False)
    assert len(visited.of(TradeClosed)) >= 3
    assert_same(skipped, visited)


@pytest.mark.parametrize("gap_policy", ["fill", "reset"])
def test_missing_candles_are_met_alike(gap_policy: str) -> None:
    """Filled, a hole costs nothing but the entries in it; under `reset` the strategy starts anew, and every moment is visited."""
    settings_ = hasty(0, {"warmup_bars_exec": 40}, {})
    settings_ = for_history(settings_, {}, gap_policy)  # type: ignore[arg-type]
    whole = Tape.synthetic(settings_, days=DAYS, history_days=20)
    cut = (whole.start_us - whole.tracks["BTC/USD"].start_us) // BAR_US + 150
    tracks = []
    for track in whole.tracks.values():
        kept = np.delete(np.arange(len(track.candles)), slice(cut, cut + 3))
        columns = {field.name: getattr(track.candles, field.name)[kept] for field in fields(track.candles)}
        candles, spans = close_gaps(Candles(**columns), "15m", "fill")
        tracks.append(replace(track, candles=candles, filled=spans))
    tape = Tape(tracks, settings_, whole.start_us, whole.end_us)
    skipped, visited = by_loop(settings_, tape, nobody), by_loop(settings_, tape, nobody, skip=False)
    assert_same(skipped, visited)
    assert (skipped.moments < visited.moments / 5) == (gap_policy == "fill")
    signals = [signal.at for signal in visited.of(Signal) if signal.at > tape.start_us + 153 * BAR_US]
    assert bool(signals) == (gap_policy == "fill")  # the daily bias is far from warm again


def test_an_hour_in_which_only_a_timer_rings_is_paid_alike() -> None:
    """The end of a cool-down is where a leap lands and no contract is looked at: funding rates are fixed at each hour all the same."""
    strategy = {"exec_tfs": ["15m"], "exit_on_choch": "off"}
    risk = {
        "risk_pct": "0.25",
        "drawdown_max_pct": "0.6",
        "leverage_alert": "0.4",
        "cooldown_h": 1,
        "loss_streak_max": 1,
        "daily_loss_max_pct": "0.3",
    }
    assert_same(*both(hasty(1000, strategy, risk)))


def test_a_spot_price_before_a_candle_has_settled_is_heard_alike() -> None:
    """A level is crossed two seconds after a boundary: the first word of the next candle sets the timer by which the feed tells the last one."""
    strategy = {
        "exec_tfs": ["15m"],
        "trail_mode": "atr",
        "trail_start_r": 0.0,
        "breakeven_at_r": 0.4,
        "exit_on_choch": "off",
    }
    assert_same(*both(hasty(21_325, strategy, {"risk_pct": "0.25", "leverage_alert": "9"})))


STRATEGIES = st.fixed_dictionaries(
    {
        "exec_tfs": st.sampled_from([["15m"], ["1h"], ["15m", "1h"]]),
        "trail_mode": st.sampled_from(["off", "structure", "atr"]),
        "trail_start_r": st.sampled_from([0.0, 0.3, 1.0]),
        "breakeven_at_r": st.sampled_from([0.0, 0.4]),
        "exit_on_choch": st.sampled_from(["off", "exec", "4h"]),
        "exit_on_bias": st.booleans(),
        "max_hold_bars": st.sampled_from([0, 7, 30]),
    }
)
RISKS = st.fixed_dictionaries(
    {
        "risk_pct": st.sampled_from(["0.25", "1"]),
        "daily_loss_max_pct": st.sampled_from(["0.3", "2"]),
        "drawdown_max_pct": st.sampled_from(["0.6", "15"]),
        "leverage_alert": st.sampled_from(["0.4", "9"]),
        "basis_max_pct": st.sampled_from(["0.05", "0.5"]),
        "loss_streak_max": st.sampled_from([1, 100]),
        "cooldown_h": st.sampled_from([1, 12]),
    }
)


def skipping_changes_nothing(seed: int, strategy: dict[str, Any], risk: dict[str, Any]) -> None:
    """The law: whatever the market, the strategy's parameters and the limits."""
    skipped, visited = both(hasty(seed, strategy, risk))
    assert_same(skipped, visited)


QUIET = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]


@settings(max_examples=3, derandomize=True, suppress_health_check=QUIET, phases=[Phase.generate])
@given(seed=st.integers(0, 10_000), strategy=STRATEGIES, risk=RISKS)
def test_skipping_changes_nothing(seed: int, strategy: dict[str, Any], risk: dict[str, Any]) -> None:
    """Random markets, parameters and limits: three of them each time, many in the slow run."""
    skipping_changes_nothing(seed, strategy, risk)


@pytest.mark.slow
@settings(max_examples=40, suppress_health_check=QUIET)
@given(seed=st.integers(0, 10_000), strategy=STRATEGIES, risk=RISKS)
def test_skipping_changes_nothing_however_often_it_is_tried(
    seed: int, strategy: dict[str, Any], risk: dict[str, Any]
) -> None:
    """The same law over many."""
    skipping_changes_nothing(seed, strategy, risk)

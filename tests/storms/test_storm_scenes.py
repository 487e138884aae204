"""Where storms pass: positions open there, and the table that says so is never stale."""

from __future__ import annotations

import numpy as np
import pytest

from config.settings import Settings
from protocol.units import SECOND_US
from sim.storm.scene import (
    BAR_US,
    BUSY,
    FOLLOWS_BARS,
    MARKETS,
    SETTINGS,
    TEMPOS,
    USUAL,
    WARM_UP_S,
    Habits,
    Tempo,
    market_at,
    moments,
    moments_in,
    scene_of,
    settings_at,
)
from tests.storms.scenes import found


@pytest.mark.parametrize("number", MARKETS)
def test_the_moments_are_those_of_a_backtest(number: int) -> None:
    """Strategy, sizing and market open positions where `scenes.json` says; `make goldens` writes it anew."""
    assert found(number) == moments()[number]


def test_every_way_out_is_somewhere() -> None:
    """The markets hold positions that end by stop, target, time and a turn of structure."""
    assert {kind for kinds in moments().values() for kind in kinds} >= {
        "exit.stop",
        "exit.target",
        "exit.time",
        "exit.choch",
    }


def test_a_scene_begins_shortly_before_a_position_opens() -> None:
    """Whatever is drawn, the candle of an opening begins within the time of the warm-up; equal draws are equal scenes."""
    for seed in range(50):
        scene = scene_of(np.random.default_rng(seed))
        bars = {bar for kind in moments()[scene.market].values() for bar in kind}
        opens = {bar * BAR_US + scene.tape.start_us - scene.start_us for bar in bars}
        assert any(WARM_UP_S[0] * SECOND_US <= wait <= WARM_UP_S[1] * SECOND_US for wait in opens)
        assert scene == scene_of(np.random.default_rng(seed))


def test_a_moment_is_followed_by_another_position() -> None:
    """What opens alone for hours is no moment: a storm should see a second life."""
    opened = {"a": 0, "b": FOLLOWS_BARS * BAR_US, "c": 100 * BAR_US}
    assert moments_in(opened, {"a": "exit.stop", "b": "exit.time", "c": "exit.time"}, 0) == {"exit.stop": (0,)}


@pytest.mark.parametrize("tempo", TEMPOS)
def test_a_daemon_is_told_the_tempo_of_its_market(tempo: Tempo) -> None:
    """What comes as often as the tempo has it is never stale, and every limit holds at least what the busy market has."""
    settings = settings_at(tempo)
    assert settings.market.tick_s == tempo.mark_s
    assert settings.risk.mark_age_max_s > tempo.mark_s
    assert settings.feeds.futures_idle_s > tempo.beat_s
    assert settings.feeds.spot_idle_s > max(tempo.candle_s, tempo.beat_s)
    assert settings.risk.mark_age_max_s >= settings_at(BUSY).risk.mark_age_max_s == SETTINGS.risk.mark_age_max_s


def test_every_habit_is_drawn() -> None:
    """Seeds differ in what the person has set; half of them have it as usual, and each setting is one that a person may choose."""
    drawn = [scene_of(np.random.default_rng(seed)).habits for seed in range(200)]
    assert 80 <= drawn.count(USUAL) <= 120
    assert all({getattr(habits, name) for habits in drawn} == {True, False} for name in USUAL._fields)
    for habits in {*drawn}:
        Settings.model_validate(settings_at(BUSY, habits).model_dump())
    kills = settings_at(BUSY, Habits(trails=True, flattens=True, loss_kills=True, waits=True, tight=True))
    assert (kills.strategy.trail_mode, kills.execution.foreign_orders) == ("atr", "flatten")
    assert (kills.risk.daily_loss_action, kills.risk.basis_on_wide, kills.risk.positions_max) == ("kill", "delay", 1)


def test_every_tempo_is_drawn() -> None:
    """Seeds differ in how busy the market is; the path is the same at each tempo."""
    scenes = [scene_of(np.random.default_rng(seed)) for seed in range(100)]
    assert {scene.tempo for scene in scenes} == set(TEMPOS)
    busy, calm = (market_at(MARKETS[0], tempo) for tempo in (BUSY, TEMPOS[-1]))
    assert busy.tick("PF_XBTUSD", busy.start_us).mark == calm.tick("PF_XBTUSD", calm.start_us).mark

"""Ordinary time on the market that `run` trades by default."""

from __future__ import annotations

import pytest
from house import open_house
from trio.testing import MockClock

from actors.modes.account import engine_for
from config.settings import Settings
from protocol.messages.control import Alert
from protocol.messages.signal import Held, Signal
from protocol.units import DAY_US, HOUR_US
from sim.market.tape import Tape


@pytest.mark.slow
async def test_an_hour_across_midnight_passes_without_alarm(autojump_clock: MockClock) -> None:
    """Candles of every timeframe close, funding is paid, a day begins: no critical alert, no restart, no lease lost."""
    settings = Settings.model_validate({"market": {"tick_s": 5}})
    tape = Tape.synthetic(settings, days=2)
    midnight = tape.start_us + DAY_US
    async with open_house(settings, tape, engine_for(settings, tape), midnight - HOUR_US // 2) as house:
        await house.sleep_to(midnight + HOUR_US // 2)
        assert [a for a in house.heard(Alert) if a.severity == "critical"] == []
        assert set(house.world.lives.values()) == {1}
        assert [change for change in house.gate_log if change[1].startswith("lease") and not change[2]] == []
        assert house.gate.closed_by() == ()
        assert {said.symbol for said in (*house.heard(Held), *house.heard(Signal))} == set(settings.futures_of)

"""Ordinary hours on the market that `run` trades by default."""

from __future__ import annotations

import pytest
from house import open_house
from trio.testing import MockClock

from actors.modes import engine_for
from config.settings import Settings
from protocol.messages.control import Alert
from protocol.units import HOUR_US
from sim.tape import Tape


@pytest.mark.slow
async def test_six_hours_pass_without_alarm(autojump_clock: MockClock) -> None:
    """No critical alert, no child restarted, no lease lost, and the gate open at the end."""
    settings = Settings.model_validate({"market": {"tick_s": 5}})
    tape = Tape.synthetic(settings, days=1)
    async with open_house(settings, tape, engine_for(settings, tape), tape.start_us) as house:
        await house.sleep_to(tape.start_us + 6 * HOUR_US)
        assert [a for a in house.heard(Alert) if a.severity == "critical"] == []
        assert set(house.world.lives.values()) == {1}
        assert [change for change in house.gate_log if change[1].startswith("lease") and not change[2]] == []
        assert house.gate.closed_by() == ()

"""What an earlier life left open, held against the settings of a new one."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest

from actors.memory import durable, sealed
from actors.modes.memories import must_serve_what_is_open
from actors.modes.sites import StaleState
from config.settings import Settings
from tests.actors.executor.executor_room import Room
from tests.fakes.ports import FakeJournal

ETH_ONLY = {"symbols": [{"spot": "ETH/USD", "futures": "PF_ETHUSD"}]}
QUARTERS = {"strategy": {"exec_tfs": ["15m"]}}


@pytest.mark.parametrize(
    ("changed", "promised", "refused"),
    [
        ({}, {}, None),
        ({"risk": {"risk_pct": "0.25"}}, {}, None),
        (ETH_ONLY, {}, "symbols: PF_XBTUSD"),
        (QUARTERS, {}, "strategy.exec_tfs: 1h"),
        (QUARTERS, {"exit_on_choch": "off", "max_hold_bars": 9}, "strategy.exec_tfs: 1h"),
        (QUARTERS, {"exit_on_choch": "off"}, None),
    ],
)
def test_settings_that_would_desert_an_open_trade_are_refused(
    changed: dict[str, Any], promised: dict[str, Any], refused: str | None
) -> None:
    """Its market and the candles it was to be left by must go on being read; what it does not depend on may change."""
    room = Room()
    room.listed()
    room.enter(**promised)
    journal = FakeJournal()
    journal.memories["executor"] = sealed("executor", durable(room.state))
    with nullcontext() if refused is None else pytest.raises(StaleState, match=refused):
        must_serve_what_is_open(Settings.model_validate(changed), journal)


def test_a_first_life_has_nothing_open() -> None:
    """Any settings will do."""
    must_serve_what_is_open(Settings.model_validate(ETH_ONLY), FakeJournal())

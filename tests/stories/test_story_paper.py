"""Backtest and paper on one tape: the fast loop, and the daemon's actors against the venue in Kraken's own protocol."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest
from house import open_house
from trio.testing import MockClock

from actors.modes.account import engine_for
from actors.modes.backtest import by_loop, for_history
from config.load import load
from config.settings import Settings
from protocol.messages.futures import EnterPosition, Filled, SignalRefused, TradeClosed
from protocol.messages.signal import Signal
from protocol.units import SECOND_US
from sim.market.tape import Tape
from sim.market.track import BAR_US

HASTY: dict[str, Any] = {
    "strategy": {
        "preset": "classic", "ema_period": 20, "bias_tfs": ["4h"], "bias_mode": "ema", "warmup_bars_exec": 50,
        "warmup_bars_4h": 30, "adx_min": 5, "rr_min": 0.5, "exec_tfs": ["15m", "1h"], "cooldown_bars": 0,
    },
    "risk": {"cost_max_r": 3, "loss_streak_max": 100, "entries_per_day_max": 100},
    "market": {"tick_s": 5},
}  # fmt: skip
"""A strategy that trades within days of its first candle."""


@dataclass(frozen=True)
class Did:
    """What was done, to the second; the two sides differ in milliseconds on the way, and in the gap policy that is part of a signal's id."""

    signals: list[tuple[str, str, str, str, int]]
    refused: list[tuple[str, ...]]
    sizes: list[Decimal]
    fills: list[tuple[str, str, Decimal, Decimal, int]]
    trades: list[tuple[str, str, Decimal, Decimal, str]]


def did(messages: list[Any]) -> Did:
    """The decisions, fills and trades among messages."""
    of = {
        kind: [m for m in messages if isinstance(m, kind)]
        for kind in (Signal, SignalRefused, EnterPosition, Filled, TradeClosed)
    }
    return Did(
        [(m.symbol, m.timeframe, m.side, m.zone_id, m.at // SECOND_US) for m in of[Signal]],
        [m.reasons for m in of[SignalRefused]],
        [m.size for m in of[EnterPosition]],
        [(m.fill.symbol, m.fill.side, m.fill.size, m.fill.price, m.fill.time // SECOND_US) for m in of[Filled]],
        [(m.symbol, m.side, m.size, m.pnl_usd, m.reason) for m in of[TradeClosed]],
    )


@pytest.mark.slow
@pytest.mark.parametrize(("seed", "first_bar", "bars"), [(4, 48, 7), (5, 92, 11)])
async def test_backtest_and_paper_trade_alike(autojump_clock: MockClock, seed: int, first_bar: int, bars: int) -> None:
    """From the same moment on the same tape: the same signals, refusals, sizes, prices, seconds and results, in a stop and in a target."""
    settings: Settings = load("paper", "dev", None, {**HASTY, "market": {"tick_s": 5, "seed": seed}}, {})
    whole = Tape.synthetic(settings, days=2, history_days=20)
    start = whole.start_us + first_bar * BAR_US
    tape = Tape(list(whole.tracks.values()), settings, start, start + bars * BAR_US)
    backtest = did(by_loop(for_history(settings, {}), tape, lambda done, total: None).messages)
    assert backtest.trades
    async with open_house(settings, tape, engine_for(settings, tape), start) as house:
        await house.sleep_to(tape.end_us)
        paper = did([message for _, message in house.said])
    assert paper == backtest

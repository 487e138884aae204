"""A history decided at once gives the same table as candle after candle: every signal, every reason, every level."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from actors.strategy import bulk, replay
from actors.strategy.decide import initial, step
from actors.strategy.replay import SIGNAL, History, Reads, Table
from config.strategy import StrategyParams, load_preset
from protocol.messages.signal import Held, Signal
from sim.market.synthetic import generate

ETH = "ETH/USD"
DAY_MS = 86_400_000
START_MS = 20_454 * DAY_MS
SOON: dict[str, Any] = {"ema_period": 20, "warmup_bars_exec": 50, "warmup_bars_4h": 30, "gap_policy": "fill"}
VARIANTS: dict[str, dict[str, Any]] = {
    "one bias, two series": {
        "exec_tfs": ("15m", "1h"),
        "bias_tfs": ("4h",),
        "bias_mode": "ema",
        "rr_min": 0.5,
        "adx_min": 5.0,
        "cooldown_bars": 0,
    },
    "the other precedence, days first": {
        "exec_tfs": ("1h", "15m"),
        "exec_precedence": ("15m", "1h"),
        "bias_tfs": ("1d", "4h"),
        "bias_mode": "structure",
        "bias_combine": "all",
        "warmup_bars_1d": 5,
        "tp_use_prev_day": True,
        "entry_zones": ("fvg",),
    },
    "hours only, not opposed": {"bias_mode": "ema", "warmup_bars_1d": 5, "confirm_mode": "touch"},
}


def parameters(changes: dict[str, Any]) -> StrategyParams:
    """The preset `classic`, soon warm, with changes; some combinations the settings would refuse are fine here."""
    return load_preset("classic").model_copy(update=SOON | changes)


def history(seed: int, first: int = 0, bars: int = 3000) -> History:
    """A seeded market from candle `first` on."""
    c = generate(ETH, seed, START_MS, first + bars).candles
    values = np.stack([c.open, c.high, c.low, c.close, c.volume], axis=1)
    return History(c.time[first:], values[first:], c.synthetic[first:])


def decided(reads: Reads) -> list[str | None]:
    """The reasons by name."""
    return [None if reason == SIGNAL else reads.reasons[reason] for reason in reads.reason.tolist()]


def assert_equal(one: Table, other: Table) -> None:
    """To the last bit."""
    assert one.signals == other.signals
    assert one.reads.keys() == other.reads.keys()
    for timeframe, reads in one.reads.items():
        for column in replay.COLUMNS:
            np.testing.assert_array_equal(getattr(reads, column), getattr(other.reads[timeframe], column), column)
        assert decided(reads) == decided(other.reads[timeframe])


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS.keys())
def test_bulk_and_steps_agree(changes: dict[str, Any]) -> None:
    """Signals with their snapshots, reasons of holds, structure: equal for a history that begins in the middle of a day."""
    params, candles = parameters(changes), history(5, first=37)
    at_once = bulk.tabulate(initial(params, [ETH]), ETH, candles)
    assert at_once.signals
    assert_equal(at_once, replay.play(initial(params, [ETH]), ETH, candles))


def test_filled_candles_hold_in_bulk_too() -> None:
    """Candles nobody traded in are data.gap, as they are when stepped."""
    params, candles = parameters(VARIANTS["one bias, two series"]), history(5)
    candles.synthetic[1000:1003] = True
    at_once = bulk.tabulate(initial(params, [ETH]), ETH, candles)
    assert "data.gap" in at_once.reads["15m"].reasons
    assert_equal(at_once, replay.play(initial(params, [ETH]), ETH, candles))


def test_a_broken_history_is_stepped() -> None:
    """Where candles are missing nothing is taken for granted: the table is that of the steps."""
    params, whole = parameters(VARIANTS["one bias, two series"]), history(5, bars=1500)
    kept = np.delete(np.arange(len(whole)), slice(700, 705))
    candles = History(whole.times[kept], whole.values[kept], whole.synthetic[kept])
    params = params.model_copy(update={"gap_policy": "reset"})
    at_once = bulk.tabulate(initial(params, [ETH]), ETH, candles)
    assert_equal(at_once, replay.play(initial(params, [ETH]), ETH, candles))


def test_no_decision_knows_the_future() -> None:
    """Garbage after a candle changes nothing up to it."""
    params, candles = parameters(VARIANTS["one bias, two series"]), history(5)
    cut = 2000
    garbage = History(candles.times, candles.values.copy(), candles.synthetic)
    garbage.values[cut:, :4] *= 3.0
    known_ms = int(candles.times[cut])
    before, after = (
        {
            at: signal
            for at, signal in bulk.tabulate(initial(params, [ETH]), ETH, one).signals.items()
            if at[0] <= known_ms
        }
        for one in (candles, garbage)
    )
    assert before == after != {}


def test_the_table_answers_as_the_strategy_does() -> None:
    """Message for message, ids and causes included; a signal told too late has expired."""
    params, candles = parameters(VARIANTS["one bias, two series"]), history(5)
    tables = {ETH: bulk.tabulate(initial(params, [ETH]), ETH, candles)}
    state, answers = initial(params, [ETH]), 0
    for row in range(len(candles)):
        candle = candles.told(ETH, row)
        state, said = step(state, candle)
        assert list(replay.step(tables, candle)[1]) == list(said)
        answers += len(said)
    assert answers > len(candles)
    (close_ms, _), signal = next(iter(tables[ETH].signals.items()))
    row = int(np.searchsorted(candles.times, close_ms)) - 1
    late = candles.told(ETH, row).__class__
    told = candles.told(ETH, row)
    fields = {name: getattr(told, name) for name in late.__struct_fields__} | {"at": signal.valid_until}
    said = replay.step(tables, late(**fields))[1]
    assert not [message for message in said if isinstance(message, Signal)]
    assert "signal.expired" in [message.reason for message in said if isinstance(message, Held)]

"""A backtest knows no future, fills nothing in a candle that is not over, and depends on nothing but its data and settings."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from actors.modes.backtest import by_loop
from protocol.messages.base import Message
from protocol.messages.futures import Filled
from protocol.messages.signal import Signal
from protocol.units import SECOND_US, TIMEFRAME_MS
from sim.loop import Result
from sim.market.tape import Tape
from sim.market.track import BAR_US
from tests.fakes.hasty import hasty, nobody

SETTINGS = hasty(0, {}, {})
TAPE = Tape.synthetic(SETTINGS, days=5, history_days=20)


@pytest.fixture(scope="module")
def result() -> Result:
    """Five days with trades in them."""
    return by_loop(SETTINGS, TAPE, nobody)


def told_by(result: Result, at: int) -> list[Message]:
    """Everything that was said up to a moment."""
    return [message for message in result.messages if message.at <= at]


def test_the_future_changes_no_trade(result: Result) -> None:
    """With garbage after the fourth day every signal, order, fill and trade up to then is the same."""
    cut = TAPE.start_us + 4 * 96 * BAR_US
    tracks = []
    for track in TAPE.tracks.values():
        first = (cut - track.start_us) // BAR_US
        columns = {name: getattr(track.candles, name).copy() for name in ("open", "high", "low", "close")}
        for values in columns.values():
            values[first:] *= 1.5
        basis = track.basis.copy()
        basis[first:] += 0.02
        tracks.append(replace(track, candles=replace(track.candles, **columns), basis=basis))
    garbled = by_loop(SETTINGS, Tape(tracks, SETTINGS, TAPE.start_us, TAPE.end_us), nobody)
    # The basis is a line to the close of the candle: up to the last whole one before the garbage.
    known = cut - BAR_US
    assert told_by(garbled, known) == told_by(result, known)
    assert [message for message in told_by(result, known) if isinstance(message, Filled)]
    assert garbled.messages != result.messages


def test_a_run_that_ends_earlier_is_the_beginning_of_the_longer_one(result: Result) -> None:
    """In whatever chunks the data comes, what was done in the first days stays as it was."""
    for days in (2, 3):
        end = TAPE.start_us + days * 96 * BAR_US
        shorter = by_loop(SETTINGS, Tape(list(TAPE.tracks.values()), SETTINGS, TAPE.start_us, end), nobody)
        assert shorter.messages == told_by(result, end + SECOND_US)


def test_nothing_is_filled_before_the_candle_it_was_decided_on_is_over(result: Result) -> None:
    """A signal comes after its candle has ended and settled, its entry fills later still, within the price range of that time."""
    settle_us = SETTINGS.feeds.settle_ms * 1000
    ends = {signal.id: (signal.candle_time_ms + TIMEFRAME_MS[signal.timeframe]) * 1000 for signal in result.of(Signal)}
    assert all(signal.at >= ends[signal.id] + settle_us for signal in result.of(Signal))
    low, high = {}, {}
    for track in TAPE.tracks.values():
        low[track.instrument.symbol], high[track.instrument.symbol] = track.reach(slice(None))
    assert result.of(Filled)
    for filled in result.of(Filled):
        symbol = filled.fill.symbol
        track = next(track for track in TAPE.tracks.values() if track.instrument.symbol == symbol)
        bar = (filled.at - track.start_us) // BAR_US
        assert low[symbol][bar] * 0.999 <= float(filled.fill.price) <= high[symbol][bar] * 1.001


def test_a_gap_through_the_stop_fills_at_the_open_behind_it() -> None:
    """The market opens far beyond the stop: the fill is the open's price, not the stop's."""
    whole = by_loop(SETTINGS, TAPE, nobody)
    entry = next(filled for filled in whole.of(Filled))
    symbol, long = entry.fill.symbol, entry.fill.side == "buy"
    tracks = []
    for track in TAPE.tracks.values():
        if track.instrument.symbol != symbol:
            tracks.append(track)
            continue
        first = (entry.at - track.start_us) // BAR_US + 1
        jump = 0.8 if long else 1.25
        columns = {name: getattr(track.candles, name).copy() for name in ("open", "high", "low", "close")}
        for values in columns.values():
            values[first:] *= jump
        tracks.append(replace(track, candles=replace(track.candles, **columns)))
        opened = float(columns["open"][first])
    gapped = by_loop(SETTINGS, Tape(tracks, SETTINGS, TAPE.start_us, TAPE.end_us), nobody)
    out = next(f for f in gapped.of(Filled) if f.fill.symbol == symbol and f.fill.side != entry.fill.side)
    assert float(out.fill.price) == pytest.approx(opened, rel=2e-3)


@pytest.mark.parametrize("rows", [None, 7, 1000], ids=["csv", "groups of 7", "groups of 1000"])
def test_the_way_the_data_is_cut_up_changes_nothing(rows: int | None, tmp_path: Path) -> None:
    """The same candles in files of other pieces, or as text: the same run as from arrays, to the last digit."""
    arrays, files = [], {}
    for symbol, track in TAPE.tracks.items():
        arrays.append(replace(track, basis=np.zeros_like(track.basis), funding_us=(), funding_rate=()))
        table = pd.DataFrame(
            {name: getattr(track.candles, name) for name in ("time", "open", "high", "low", "close", "volume")}
        )
        files[symbol] = tmp_path / f"{track.instrument.symbol}.{'csv' if rows is None else 'parquet'}"
        if rows is None:
            table.to_csv(files[symbol], index=False)
        else:
            table.to_parquet(files[symbol], row_group_size=rows)
    read = Tape.recorded(SETTINGS, files, start_ms=TAPE.start_us // 1000)
    whole = Tape(arrays, SETTINGS, TAPE.start_us, TAPE.end_us)
    result = by_loop(SETTINGS, read, nobody)
    assert result.of(Filled)
    assert result.digest() == by_loop(SETTINGS, whole, nobody).digest()


SCRIPT = """
from test_no_cheating import SETTINGS, TAPE, by_loop, nobody
print(by_loop(SETTINGS, TAPE, nobody).digest())
"""


def test_the_hash_seed_changes_nothing(result: Result) -> None:
    """In another process, with another order of sets and of hashes, the digest is the same."""
    here = Path(__file__).parent
    path = os.pathsep.join([str(here), os.getcwd()])
    environment = {**os.environ, "PYTHONHASHSEED": "4711", "PYTHONPATH": path}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=True, timeout=300
    )
    assert done.stdout.strip() == result.digest()

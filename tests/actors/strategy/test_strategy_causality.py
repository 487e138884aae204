"""What comes after a moment changes nothing known at it, and a life may be cut there: smc-spec 6.3, 6.6 on whole histories."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest

from actors.strategy import bulk
from actors.strategy import kernel as k
from actors.strategy.decide import State, initial, step
from actors.strategy.replay import History
from actors.strategy.series import Candles, Series
from config.strategy import StrategyParams, load_preset
from protocol.codec import encode
from protocol.messages.base import Message
from protocol.messages.signal import Held, Signal
from protocol.messages.spot import CandleClosed
from tests.actors.strategy.strategy_candles import QUICK, TF_MS, messages, part, real, walk

SYMBOL = "BTC/USD"
DAY = 96  # base candles
BITCOIN = "binance_spot_BTCUSDT_15m__b.parquet"
CUTS = 200


def cuts_of(n: int, count: int) -> list[int]:
    """Random places to cut `n` candles, in order, at least a day from either end."""
    return sorted(np.random.default_rng(606).choice(np.arange(DAY, n - DAY), count, replace=False).tolist())


def garbage(candles: Candles, first: int, last: int, seed: int) -> Candles:
    """Sound candles for bars first..last-1 that have nothing to do with the real ones: another walk at another price."""
    other = walk(seed, last - first, start=float(candles.values[first, 0]) * 1.25 + 500.0)
    return Candles(candles.times[first:last], other.values)


def joined(one: Candles, other: Candles) -> Candles:
    return Candles(np.concatenate([one.times, other.times]), np.concatenate([one.values, other.values]))


def say(state: State, inputs: Sequence[Message]) -> list[list[bytes]]:
    """The answers to each message, as bytes: decisions, ids, snapshots, causes."""
    return [[encode(answer) for answer in step(state, message)[1]] for message in inputs]


@pytest.mark.parametrize(("source", "count"), [("walk", 20), pytest.param(BITCOIN, CUTS, marks=pytest.mark.slow)])
def test_no_event_or_bar_depends_on_a_later_candle(source: str, count: int) -> None:
    """From the anchor, everything after the cut replaced: all events and all rows until it are the same bytes."""
    candles = walk(61, 4000) if source == "walk" else real(source)
    params, n = StrategyParams(), len(candles.times)
    rows, events = Series(params, TF_MS, "exec").feed(candles)
    bars = events.i[:, k.EV_BAR]
    for at, cut in enumerate(cuts_of(n, count)):
        mixed = joined(part(candles, 0, cut), garbage(candles, cut, min(n, cut + 2000), at))
        some_rows, some = Series(params, TF_MS, "exec").feed(mixed)
        known, also_known = int(np.searchsorted(bars, cut)), int(np.searchsorted(some.i[:, k.EV_BAR], cut))
        assert some_rows[:cut].tobytes() == rows[:cut].tobytes()
        assert some.i[:also_known].tobytes() == events.i[:known].tobytes()
        assert some.f[:also_known].tobytes() == events.f[:known].tobytes()
        assert some_rows[cut:].tobytes() != rows[cut : len(some_rows)].tobytes()  # the garbage was looked at


@pytest.mark.parametrize(("source", "count"), [("walk", 20), pytest.param(BITCOIN, CUTS, marks=pytest.mark.slow)])
def test_no_decision_depends_on_a_later_candle(source: str, count: int) -> None:
    """Readings, decisions, signal ids and snapshots until the cut are the same bytes; so is the state they leave.

    Each cut's life goes on from a checkpoint of the real one a few days before it, with all timeframes in it: once candle by
    candle, and once in bulk, where columns hold what comes after the cut while what lies before it is decided.
    """
    candles = walk(21, 40 * DAY, start=4000.0) if source == "walk" else real(source)
    params = QUICK if source == "walk" else load_preset("classic")
    n, inputs = len(candles.times), messages(candles)
    cuts = cuts_of(n, count)
    starts = [max(0, cut - 3 * DAY) for cut in cuts]
    state, said, kept = initial(params, [SYMBOL]), [], {}
    for first, last in pairwise(sorted({0, *cuts, *starts, n})):
        kept[first] = pickle.dumps(state)
        said += say(state, inputs[first:last])
    signals = 0
    for at, (start, cut) in enumerate(zip(starts, cuts, strict=True)):
        other = pickle.loads(kept[start])
        spoilt = garbage(candles, cut, min(n, cut + DAY), at)
        after = messages(spoilt)
        mixed = say(other, inputs[start:cut])
        assert memory(other) == memory(pickle.loads(kept[cut]))
        mixed += say(other, after)
        assert mixed[: cut - start] == said[start:cut]
        assert mixed[cut - start :] != said[cut : cut + len(after)]
        both = joined(part(candles, start, cut), spoilt)
        columns = History(both.times, both.values, np.zeros(len(both.times), np.bool_))
        table = bulk.tabulate(pickle.loads(kept[start]), SYMBOL, columns)
        assert [
            [encode(answer) for answer in table.answers(m)] for m in inputs[start:cut] if isinstance(m, CandleClosed)
        ] == said[start:cut]
        signals += sum(b'"Signal"' in answer for answers in mixed[: cut - start] for answer in answers)
    assert signals > 0


def memory(state: State) -> dict[str, bytes]:
    """Every series of a state as bytes, and what the market remembers beside them."""
    market = state.markets[SYMBOL]
    series = {"base": market.base, **market.bias, **{f"exec {tf}": track.series for tf, track in market.tracks.items()}}
    rest = [
        (track.is_synthetic, track.today, track.last_signal_bar, track.used_zones) for track in market.tracks.values()
    ]
    return {name: one.save() for name, one in series.items()} | {
        "rest": repr((rest, market.buckets, market.sides, market.fault, market.mismatched)).encode()
    }


@pytest.mark.parametrize("source", ["walk", BITCOIN])
def test_a_life_written_down_and_read_back_goes_on_as_if_nothing_had_happened(source: str) -> None:
    """The whole state, saved and restored at places inside every bucket: each later answer is the same bytes (6.3)."""
    candles = walk(21, 40 * DAY, start=4000.0) if source == "walk" else part(real(source), 0, 40 * DAY)
    inputs = messages(candles)
    expected = say(initial(QUICK, [SYMBOL]), inputs)
    state, said = initial(QUICK, [SYMBOL]), []
    for first, last in pairwise([0, 1, 15, 16, 97, 1000, 1931, 3001, len(inputs)]):
        state = pickle.loads(pickle.dumps(state))
        said += say(state, inputs[first:last])
    assert said == expected
    assert any(b'"Signal"' in answer for answers in said for answer in answers)


def test_a_copied_life_is_its_own() -> None:
    """What happens to a copy does not happen to the original: no array is shared, no view is left behind."""
    inputs = messages(walk(21, 12 * DAY, start=4000.0))
    state = initial(QUICK, [SYMBOL])
    say(state, inputs[: 10 * DAY])
    before, other = memory(state), pickle.loads(pickle.dumps(state))
    say(other, inputs[10 * DAY :])
    assert memory(state) == before != memory(other)


def test_every_candle_twice_says_everything_once() -> None:
    """On real candles a repetition has no answer: the same ids, no second signal (6.12)."""
    inputs = messages(part(real(BITCOIN), 0, 30 * DAY))
    once, state = say(initial(QUICK, [SYMBOL]), inputs), initial(QUICK, [SYMBOL])
    for message, answers in zip(inputs, once, strict=True):
        assert say(state, [message, message]) == [answers, []]


def test_a_missing_candle_of_a_real_history_is_caught_up_exactly() -> None:
    """Held with data.gap until it comes, longer candles withheld; then the state of the run that never missed it (6.9)."""
    inputs = messages(part(real(BITCOIN), 0, 30 * DAY))
    hole, late = 20 * DAY + 5, 20 * DAY + 20
    never, state = initial(QUICK, [SYMBOL]), initial(QUICK, [SYMBOL])
    say(never, inputs)
    say(state, inputs[:hole])
    before = memory(state)
    blocked = [answer for message in inputs[hole + 1 : late] for answer in step(state, message)[1]]
    assert {answer.reason for answer in blocked if isinstance(answer, Held)} == {"data.gap"}
    assert not any(isinstance(answer, Signal) for answer in blocked)
    assert {name: value for name, value in memory(state).items() if name != "rest"} == {
        name: value for name, value in before.items() if name != "rest"
    }
    say(state, inputs[hole:])
    assert memory(state) == memory(never)

"""The strategy actor's laws: causal, deterministic, silent on bad data, blind to positions and to futures."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Sequence
from itertools import pairwise

import msgspec
import numpy as np
import pytest

from actors.strategy.analyze import analyze
from actors.strategy.decide import State, initial, step
from actors.strategy.series import Candles
from actors.strategy.snapshot import signal_id
from config.strategy import PresetName, StrategyParams, load_preset, params_hash
from protocol.codec import encode
from protocol.messages.base import Message
from protocol.messages.control import Alert, Started
from protocol.messages.signal import Held, Signal, StructureRead
from protocol.messages.spot import CandleClosed
from tests.actors.strategy.strategy_candles import QUICK, START_MS, TF_MS, messages, mirrored, native, part, real, walk

SYMBOL = "BTC/USD"
DAYS = 96  # base candles a day


def market(seed: int, days: int) -> Candles:
    """A lively seeded market that gives signals under QUICK."""
    return walk(seed, days * DAYS, start=4000.0)


def say(state: State, inputs: Sequence[Message]) -> list[Message]:
    """Everything the strategy answers."""
    answers: list[Message] = []
    for message in inputs:
        _, some = step(state, message)
        answers += some
    return answers


def run(inputs: Sequence[Message], params: StrategyParams = QUICK) -> list[Message]:
    return say(initial(params, [SYMBOL]), inputs)


def signals(answers: Sequence[Message]) -> list[Signal]:
    return [answer for answer in answers if isinstance(answer, Signal)]


def reasons(answers: Sequence[Message]) -> list[tuple[str, int, str]]:
    return [(a.timeframe, a.candle_time_ms, a.reason) for a in answers if isinstance(a, Held | Signal)]


def forgetful(answers: Sequence[Message]) -> list[bytes]:
    """Answers without the moment and the cause: what was decided, not when it was heard."""
    return [encode(msgspec.structs.replace(answer, id="", cause="", at=0)) for answer in answers]


@pytest.fixture(scope="module")
def candles() -> Candles:
    return market(21, 40)


@pytest.fixture(scope="module")
def answers(candles: Candles) -> list[Message]:
    return run(messages(candles))


def test_signals_come_on_both_sides_and_are_consistent(answers: list[Message]) -> None:
    """Stops lie on the losing side, targets on the winning one, the percentages are those of the prices."""
    found = signals(answers)
    assert {signal.side for signal in found} == {"long", "short"}
    assert {signal.timeframe for signal in found} == {"15m", "1h"}
    for s in found:
        d = 1 if s.side == "long" else -1
        assert d * s.stop < d * s.entry < d * s.take_profit
        assert s.stop_pct == abs(s.entry - s.stop) / s.entry
        assert s.take_profit_pct == abs(s.take_profit - s.entry) / s.entry
        assert s.id == signal_id(SYMBOL, s.timeframe, s.candle_time_ms, params_hash(QUICK))
        assert s.at < s.valid_until


def test_every_execution_candle_gets_exactly_one_decision_and_one_reading(
    candles: Candles, answers: list[Message]
) -> None:
    """No candle is passed over in silence, none is decided twice."""
    for timeframe, length in (("15m", TF_MS), ("1h", 4 * TF_MS)):
        expected = [START_MS + n * length for n in range(len(candles.times) * TF_MS // length)]
        decided = [a.candle_time_ms for a in answers if isinstance(a, Held | Signal) and a.timeframe == timeframe]
        read = [a.candle_time_ms for a in answers if isinstance(a, StructureRead) and a.timeframe == timeframe]
        assert decided == expected
        assert read == expected


def test_trailing_levels_lie_a_buffer_beyond_the_last_swing(candles: Candles, answers: list[Message]) -> None:
    """Below the newest confirmed low for longs, above the newest high for shorts; null before there is one."""
    result = analyze(candles, QUICK, TF_MS)
    swings = {(e["bar"], e["dir"]): e["level"] for e in result["events"] if e["type"] == "SWING"}
    levels: dict[int, float] = {}
    reads = (answer for answer in answers if isinstance(answer, StructureRead) and answer.timeframe == "15m")
    for bar, (read, atr) in enumerate(zip(reads, result["indicators"]["atr"], strict=True)):
        levels |= {d: swings[bar, d] for d in (1, -1) if (bar, d) in swings}
        for d, told in ((-1, read.trail_long), (1, read.trail_short)):
            known = d in levels and atr is not None
            assert told == (levels[d] + d * (QUICK.sl_buffer_atr * atr) if known else None)


def test_decisions_are_written_without_nan(answers: list[Message]) -> None:
    """The snapshot is JSON that a strict reader takes, and says what was decided and why."""
    for signal in signals(answers):
        snapshot = json.loads(signal.snapshot, parse_constant=pytest.fail)
        assert [rule["pass"] for rule in snapshot["rules"]] == [True] * len(snapshot["rules"])
        assert snapshot["params_hash"] == params_hash(QUICK)
        assert snapshot["valid_until"] * 1000 == signal.valid_until
        assert snapshot["zone"]["id"] == signal.zone_id
    for read in answers:
        if isinstance(read, StructureRead):
            numbers = [
                read.high,
                read.low,
                read.close,
                read.atr or 0.0,
                read.trail_long or 0.0,
                read.trail_short or 0.0,
            ]
            assert all(math.isfinite(number) for number in numbers)


def test_no_answer_depends_on_a_later_candle(candles: Candles, answers: list[Message]) -> None:
    """Other candles after day 30 change nothing that was said until then, byte for byte."""
    cut, other = 30 * DAYS, market(99, 40)
    mixed = Candles(candles.times, np.concatenate([candles.values[:cut], other.values[cut:]]))
    until = (START_MS + cut * TF_MS) * 1000 + 3_000_000
    before = [encode(a) for a in answers if a.at <= until]
    assert before == [encode(a) for a in run(messages(mixed)) if a.at <= until]
    assert signals(answers)


def test_the_same_candles_give_the_same_bytes_in_another_process() -> None:
    """Neither the hash seed nor the process enters a decision."""
    script = (
        "import hashlib\n"
        "from tests.actors.strategy.test_strategy_decide import *\n"
        "print(hashlib.sha256(b''.join(encode(a) for a in run(messages(market(21, 20))))).hexdigest())"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", script],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(digests) == 1


def test_the_same_candle_twice_is_decided_once(candles: Candles, answers: list[Message]) -> None:
    """A repetition says nothing, so no signal is sent twice."""
    twice = [message for message in messages(candles) for _ in range(2)]
    assert [encode(a) for a in run(twice)] == [encode(a) for a in answers]


def test_an_unclosed_candle_is_refused_and_forgotten(candles: Candles, answers: list[Message]) -> None:
    """A candle that is not over yet holds with data.not_closed and leaves no trace in what follows."""
    inputs = messages(candles)
    early = msgspec.structs.replace(inputs[100], at=inputs[100].at - 4_000_000)
    state = initial(QUICK, [SYMBOL])
    before = say(state, inputs[:100])
    refused = say(state, [early])
    assert {answer.reason for answer in refused if isinstance(answer, Held)} == {"data.not_closed"}
    after = say(state, inputs[100:])
    assert [encode(a) for a in before + after] == [encode(a) for a in answers]


def test_a_gap_halts_entries_until_it_is_filled_and_then_nothing_was_lost(
    candles: Candles, answers: list[Message]
) -> None:
    """One missing candle: data.gap until the back-fill, and after it every decision of the run that never missed one."""
    inputs = messages(candles)
    hole, late = 2000, 2010
    state = initial(QUICK, [SYMBOL])
    before = say(state, inputs[:hole])
    blocked = say(state, inputs[hole + 1 : late])
    assert blocked
    assert {answer.reason for answer in blocked if isinstance(answer, Held)} == {"data.gap"}
    assert not any(isinstance(answer, StructureRead) for answer in blocked)
    filled = [msgspec.structs.replace(message, at=inputs[late].at) for message in inputs[hole:late]]
    after = say(state, [*filled, *inputs[late:]])
    decided = [reason if reason != "signal.expired" else "late" for *_, reason in reasons(before + after)]
    expected = [
        "late" if fresh.startswith("signal") and now == "late" else fresh
        for (*_, fresh), now in zip(reasons(answers), decided, strict=True)
    ]
    assert decided == expected
    assert forgetful(after)[-500:] == forgetful(answers)[-500:]


def test_reset_starts_over_after_a_gap(candles: Candles) -> None:
    """Under `reset` the candle after a gap is the first of a new history."""
    params = QUICK.model_copy(update={"gap_policy": "reset"})
    inputs = messages(candles)
    after = run([*inputs[:1000], *inputs[1004:1500]], params)[-600:]
    alone = run(inputs[1004:1500], params)
    assert forgetful(alone)[-600:] == forgetful(after)


def test_a_revised_candle_makes_the_series_unhealthy_for_good(candles: Candles) -> None:
    """Other values for a candle that was taken: data.revised until an operator has looked."""
    inputs = messages(candles)
    state = initial(QUICK, [SYMBOL])
    say(state, inputs[:50])
    revised = msgspec.structs.replace(inputs[49], volume=1e9)
    assert {reason for *_, reason in reasons(say(state, [revised]))} == {"data.revised"}
    assert {reason for *_, reason in reasons(say(state, inputs[50:200]))} == {"data.revised"}


def test_a_synthetic_candle_gives_no_entry(candles: Candles, answers: list[Message]) -> None:
    """While the newest execution candle is made up, the signal it would have given is held with data.gap."""
    first = next(signal for signal in signals(answers) if signal.timeframe == "15m")
    at = (first.candle_time_ms - START_MS) // TF_MS
    inputs = messages(candles)[: at + 1]
    inputs[at] = msgspec.structs.replace(inputs[at], synthetic=True)
    held = run(inputs)[-1]
    assert isinstance(held, Held)
    assert held.reason == "data.gap"


def test_a_late_signal_is_held_as_expired_but_counts(candles: Candles, answers: list[Message]) -> None:
    """Replaying history long after the fact sends nothing, and uses up zones and cooldowns just the same."""
    now = messages(candles)[-1].at + 10**12
    late = run([msgspec.structs.replace(message, at=now) for message in messages(candles)])
    assert not signals(late)
    expected = [reason if not reason.startswith("signal.") else "signal.expired" for *_, reason in reasons(answers)]
    assert [reason for *_, reason in reasons(late)] == expected


def test_a_longer_candle_is_seen_at_its_close_and_not_before(candles: Candles) -> None:
    """The 15m candle 03:45-04:00 sees the 4h candle 00:00-04:00; the one before it does not."""
    state = initial(QUICK, [SYMBOL])
    inputs = messages(candles)
    say(state, inputs[:15])
    four_hours = state.markets[SYMBOL].bias["4h"]
    assert four_hours.bars == 0
    say(state, inputs[15:16])
    assert four_hours.bars == 1
    candle, values = four_hours.candle(), candles.values[:16]
    assert candle[1:] == (
        values[0, 0],
        values[:, 1].max(),
        values[:, 2].min(),
        values[15, 3],
        float(sum(values[:, 4].tolist())),
    )
    saved = four_hours.save()
    say(state, inputs[16:31])
    assert four_hours.save() == saved


def test_a_feed_that_starts_inside_a_bucket_waits_for_the_next_one(candles: Candles) -> None:
    """A longer candle without all its parts is never made."""
    state = initial(QUICK, [SYMBOL])
    say(state, messages(part(candles, 3, 40)))
    assert state.markets[SYMBOL].bias["4h"].candle().open_time_ms == START_MS + 16 * TF_MS
    assert state.markets[SYMBOL].bias["4h"].bars == 1


def test_native_seeds_continue_into_aggregation_as_if_there_had_been_base_candles(
    candles: Candles, answers: list[Message]
) -> None:
    """Seeds up to where our own candles begin leave the longer series exactly as a longer base feed would."""
    begin = 20 * DAYS + 2  # inside a bucket: its 1h, 4h and 1d candles must come from the exchange
    late = messages(candles)[begin].at
    seeds = [
        message
        for timeframe, length in (("1h", 4), ("4h", 16), ("1d", 96))
        for message in native(part(candles, 0, 21 * DAYS), timeframe, length, late + 10**12)  # type: ignore[arg-type]
    ]
    state = initial(QUICK, [SYMBOL])
    say(state, seeds)
    some = say(state, messages(part(candles, begin, len(candles.times))))
    full = initial(QUICK, [SYMBOL])
    say(full, messages(candles))
    for timeframe in ("4h", "1d"):
        assert state.markets[SYMBOL].bias[timeframe].save() == full.markets[SYMBOL].bias[timeframe].save()  # type: ignore[index]
    assert state.markets[SYMBOL].tracks["1h"].series.save() == full.markets[SYMBOL].tracks["1h"].series.save()
    assert [e for e in reasons(some) if e[0] == "1h"][-100:] == [e for e in reasons(answers) if e[0] == "1h"][-100:]


def test_a_seed_that_ends_after_the_decision_is_not_seen(candles: Candles) -> None:
    """A feed that starts inside a day gets the whole day's candle as a seed: until it has closed the bias is stale."""
    begin = 20 * DAYS + 8  # 02:00
    seeds = [
        message
        for timeframe, length in (("1h", 4), ("4h", 16), ("1d", 96))
        for message in native(part(candles, 0, 21 * DAYS), timeframe, length, 10**18)  # type: ignore[arg-type]
    ]
    state = initial(QUICK, [SYMBOL])
    say(state, seeds)
    said = say(state, messages(part(candles, begin, 22 * DAYS)))
    told = {time // 3_600_000 % 24: reason for tf, time, reason in reasons(said)[:110] if tf == "1h"}  # by opening hour
    assert told[2] == "bias.4h.stale"  # ends 03:00, the 4h candle 04:00
    assert {told[hour] for hour in range(3, 23)} == {"bias.1d.stale"}  # ends 04:00 to 23:00, the day 24:00
    assert not told[23].endswith("stale")


def test_seeds_that_do_not_reach_the_base_feed_are_left_out_and_said(candles: Candles) -> None:
    """A gap between seeds and base feed is never bridged: the series starts with our own candles, with an alert."""
    state = initial(QUICK, [SYMBOL])
    base = messages(part(candles, 5 * DAYS, 6 * DAYS))
    say(state, native(part(candles, 0, 4 * DAYS), "4h", 16, base[-1].at))
    said = say(state, base[:1])
    assert [answer.code for answer in said if isinstance(answer, Alert)] == ["data.gap"]
    say(state, base[1:16])
    assert state.markets[SYMBOL].bias["4h"].bars == 1


def test_a_native_candle_that_differs_makes_the_bias_stale(candles: Candles) -> None:
    """Our own 4h candle and the exchange's must be equal; a difference blocks entries until they agree again."""
    state = initial(QUICK, [SYMBOL])
    say(state, messages(part(candles, 0, 20 * DAYS)))
    good = native(part(candles, 0, 20 * DAYS), "4h", 16, 10**18)[-1]
    assert isinstance(good, CandleClosed)
    say(state, [msgspec.structs.replace(good, close=good.close + 1 / 64)])
    after = messages(part(candles, 20 * DAYS, 21 * DAYS))
    assert {reason for *_, reason in reasons(say(state, after[:4]))} == {"data.htf_mismatch"}
    say(state, [good])
    assert "data.htf_mismatch" not in {reason for *_, reason in reasons(say(state, after[4:8]))}


def test_only_one_timeframe_signals_at_a_time(answers: list[Message]) -> None:
    """Two signals at one moment: the one earlier in exec_precedence stands, the other is held and uses nothing."""
    moments = [signal.at for signal in signals(answers)]
    assert len(moments) == len(set(moments))
    lost = [a for a in answers if isinstance(a, Held) and a.reason == "arbitration.lower_precedence"]
    assert {held.timeframe for held in lost} <= {"15m"}


def test_a_zone_is_used_once_and_a_signal_starts_the_cooldown(answers: list[Message]) -> None:
    """No zone gives two signals of one series, and signals of a series keep their distance."""
    for timeframe, length in (("15m", TF_MS), ("1h", 4 * TF_MS)):
        found = [signal for signal in signals(answers) if signal.timeframe == timeframe]
        members = [member for signal in found for member in signal.zone_id.split("+")]
        assert len(members) == len(set(members))
        bars = [signal.candle_time_ms // length for signal in found]
        assert all(b - a >= QUICK.cooldown_bars for a, b in pairwise(bars))


def test_the_mirror_market_gives_the_mirror_signals() -> None:
    """p -> 2P - p: the same bars signal on the other side at mirrored prices."""
    params = QUICK.model_copy(update={"adx_di_align": True})
    straight, about = market(21, 40), 8192.0
    assert straight.values[:, 1].max() < about
    mirror = mirrored(straight, about)
    ours, theirs = signals(run(messages(straight), params)), signals(run(messages(mirror), params))
    assert len(ours) > 5
    assert [(s.timeframe, s.candle_time_ms) for s in ours] == [(s.timeframe, s.candle_time_ms) for s in theirs]
    for a, b in zip(ours, theirs, strict=True):
        assert a.side != b.side
        assert about - a.entry == b.entry
        assert about - a.stop == pytest.approx(b.stop, rel=1e-12)
        assert about - a.take_profit == pytest.approx(b.take_profit, rel=1e-12)


def test_other_messages_and_other_symbols_change_nothing() -> None:
    """Only candles of known symbols speak to the strategy."""
    state = initial(QUICK, [SYMBOL])
    stranger = messages(market(1, 1), "DOGE/USD")[0]
    for message in (Started(id="a", cause="", at=0), stranger):
        assert step(state, message) == (state, ())


def test_importing_the_strategy_loads_nothing_of_futures() -> None:
    """The lock at run time: no futures message, no port, no exchange comes along."""
    script = (
        "import sys, actors.strategy.decide, actors.strategy.analyze, actors.strategy.history, actors.strategy.exits\n"
        "bad = [m for m in sys.modules if 'futures' in m or m in ('protocol.ports', 'protocol.codec') or m.startswith('sim')]\n"
        "print(sorted(m for m in bad if m.split('.')[0] in ('protocol', 'actors', 'sim')))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.slow
@pytest.mark.parametrize(("preset", "least"), [("classic", 25), ("runner", 50)])
def test_presets_give_signals_on_real_candles(preset: PresetName, least: int) -> None:
    """Bitcoin with warm-up from the base feed alone: about as many signals in half a year as the specification says."""
    candles = part(real("binance_spot_BTCUSDT_15m__b.parquet"), 0, 590 * DAYS)
    found = signals(run(messages(candles), load_preset(preset)))
    assert least <= len(found) <= 2 * least
    assert {signal.side for signal in found} == {"long", "short"}

"""The spot feed tells closed candles: each once, in order, never early, never guessed."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from actors.spot_feed import decide
from actors.spot_feed.decide import HELD_MOST, State
from config.settings import FeedSettings, Settings, SymbolSettings
from protocol.messages.base import Message, from_edge
from protocol.messages.control import HaltEntries, ResumeEntries, Started, WakeAt, Woken
from protocol.messages.spot import CandleClosed, CandleSeen, HistorySeen, RequestHistory, SpotFault, SpotPrice
from protocol.units import TIMEFRAME_MS, Timeframe, close_time_us

BTC = "BTC/USD"
STEP_MS = TIMEFRAME_MS["15m"]
MIDNIGHT_MS = 1_767_571_200_000
SETTLE_US = 3_000_000
SECOND = 1_000_000
SETTINGS = Settings(symbols=(SymbolSettings(spot=BTC, futures="PF_XBTUSD"),), feeds=FeedSettings(settle_ms=3000))


def open_ms(index: int) -> int:
    """Open time of the base candle `index` after midnight."""
    return MIDNIGHT_MS + index * STEP_MS


def closes(index: int) -> int:
    """The moment base candle `index` is over, microseconds."""
    return close_time_us(open_ms(index), "15m")


def seen(index: int, *, at: int | None = None, final: bool = True, volume: float = 9.0, **values: Any) -> CandleSeen:
    """Base candle `index`; by default final and exactly settled."""
    at = closes(index) + SETTLE_US if at is None else at
    fields: dict[str, Any] = {
        "symbol": BTC,
        "timeframe": "15m",
        "open_time_ms": open_ms(index),
        "open": 100.0 + index,
        "high": 103.0 + index,
        "low": 99.0 + index,
        "close": 101.0 + index,
        "volume": volume,
        "final": final,
    }
    return from_edge(CandleSeen, at, index, at, volume, **(fields | values))


def native(timeframe: Timeframe, open_time_ms: int, at: int, *, final: bool = True) -> CandleSeen:
    """A native longer candle."""
    return seen(0, at=at, final=final, timeframe=timeframe, open_time_ms=open_time_ms)


def history(timeframe: Timeframe, at: int, newest: int | None = None) -> HistorySeen:
    """The back-fill of a timeframe is complete."""
    return from_edge(HistorySeen, at, timeframe, at, symbol=BTC, timeframe=timeframe, newest_open_time_ms=newest)


def woken(key: str, at: int) -> Woken:
    """The timer `key` rings."""
    return from_edge(Woken, at, key, at, key=f"{key}:{BTC}")


def run(state: State, *messages: Message) -> tuple[State, list[Message]]:
    """Every answer to the messages, in order."""
    out: list[Message] = []
    for message in messages:
        state, answers = decide.step(state, message)
        out.extend(answers)
    return state, out


def backfilled(at: int = 0) -> list[Message]:
    """All four back-fills are complete."""
    return [history(timeframe, at) for timeframe in ("1d", "4h", "1h", "15m")]


def ready(policy: str = "halt") -> State:
    """A feed whose history is in and whose candle 0 was told."""
    state = decide.initial(SETTINGS)
    state = replace(state, rules=replace(state.rules, gap_policy=policy))
    return run(state, *backfilled(), seen(0))[0]


def told(messages: list[Message]) -> list[int]:
    """Indexes of the base candles told."""
    return [
        (m.open_time_ms - MIDNIGHT_MS) // STEP_MS
        for m in messages
        if isinstance(m, CandleClosed) and m.timeframe == "15m"
    ]


def of(kind: type[Message], messages: list[Message]) -> list[Any]:
    """The messages of one kind."""
    return [m for m in messages if isinstance(m, kind)]


def test_a_settled_final_candle_is_told_at_once_and_sets_no_timer() -> None:
    """The backtest's path is one message in, one CandleClosed out."""
    _, out = run(ready(), seen(1))

    assert [type(m) for m in out] == [CandleClosed]
    assert (out[0].at, out[0].close, out[0].synthetic) == (closes(1) + SETTLE_US, 102.0, False)  # type: ignore[attr-defined]


def test_a_final_candle_waits_until_it_has_settled() -> None:
    """Before close + settle a timer is asked for once; its ring tells the candle."""
    state, out = run(ready(), seen(1, at=closes(1)), seen(1, at=closes(1) + 1))

    assert [(m.key, m.due) for m in of(WakeAt, out)] == [(f"settle:{BTC}", closes(1) + SETTLE_US)]
    assert told(out) == []
    assert told(run(state, woken("settle", closes(1) + SETTLE_US))[1]) == [1]


def test_a_running_candle_closes_when_the_stream_moves_on() -> None:
    """A stream never says that a candle is over; the next one says it, and the last frame is what is told."""
    state, early = run(
        ready(),
        seen(1, at=closes(1) - 2 * SECOND, final=False, volume=8),
        seen(1, at=closes(1) - 1 * SECOND, final=False, volume=9, close=102.5),
        seen(2, at=closes(1) + 1 * SECOND, final=False, volume=1),
    )
    _, out = run(state, woken("settle", closes(1) + SETTLE_US))

    assert told(early) == []
    assert told(out) == [1]
    assert of(CandleClosed, out)[0].close == 102.5


def test_a_frame_that_settles_before_the_next_ones_is_still_taken_in() -> None:
    """Within the settling time a late frame with more volume corrects the candle."""
    state, _ = run(
        ready(),
        seen(1, at=closes(1) - SECOND, final=False, volume=8),
        seen(2, at=closes(1) + SECOND, final=False, volume=1),
        seen(1, at=closes(1) + 2 * SECOND, final=False, volume=9, close=102.75),
    )

    assert of(CandleClosed, run(state, woken("settle", closes(1) + SETTLE_US))[1])[0].close == 102.75


def test_an_unwatched_end_is_confirmed_by_rest() -> None:
    """After a silence round the boundary the running candle is not trusted: it may have gone on unseen."""
    state, out = run(
        ready(),
        seen(1, at=closes(1) - 60 * SECOND, final=False, volume=5),
        seen(2, at=closes(1) + 4 * SECOND, final=False, volume=1),
    )

    assert told(out) == []
    assert [m.since_ms for m in of(RequestHistory, out)] == [open_ms(1)]

    state, out = run(state, seen(1, at=closes(1) + 5 * SECOND, volume=9))
    assert told(out) == [1]
    assert len(of(ResumeEntries, out)) == 1


def test_a_final_candle_does_not_vouch_for_a_running_one_before_it() -> None:
    """REST's row of a later interval says nothing of how far the stream had come with an earlier one."""
    _, out = run(ready(), seen(1, at=closes(1) - SECOND, final=False, volume=5), seen(2))

    assert told(out) == []
    assert len(of(RequestHistory, out)) == 1


def test_a_reconnection_over_a_boundary_tells_the_row_of_rest() -> None:
    """The connection fell inside candle 1 and came back in candle 2: back-fill first, then the stream goes on."""
    back = closes(1) + 60 * SECOND
    _, out = run(
        ready(),
        seen(1, at=closes(1) - 60 * SECOND, final=False, volume=5, close=100.5),
        seen(1, at=back, volume=9),
        history("15m", back, open_ms(1)),
        seen(2, at=back + SECOND, final=False, volume=1),
    )

    assert [(m.open_time_ms, m.close) for m in of(CandleClosed, out)] == [(open_ms(1), 102.0)]
    assert of(SpotFault, out) == []


def test_every_stream_frame_gives_the_spot_price() -> None:
    """The price follows the newest running candle, and late frames do not turn it back."""
    _, out = run(
        ready(),
        seen(1, at=closes(0) + 4 * SECOND, final=False, close=100.5),
        seen(2, at=closes(1) + 4 * SECOND, final=False, close=102.25),
        seen(1, at=closes(1) + 5 * SECOND, final=False, close=100.75),
        seen(0, at=closes(1) + 5 * SECOND, final=False, close=100.0),
    )

    assert [m.price for m in of(SpotPrice, out)] == [100.5, 102.25]


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({"close": float("nan")}, "data.malformed"),
        ({"volume": float("inf")}, "data.malformed"),
        ({"low": 0.0}, "data.malformed"),
        ({"volume": -1.0}, "data.malformed"),
        ({"high": 100.0}, "data.malformed"),
        ({"low": 101.5}, "data.malformed"),
        ({"open_time_ms": open_ms(1) + 1}, "data.malformed"),
        ({"at": closes(1) - SETTLE_US - 1}, "data.not_closed"),
        ({"at": open_ms(1) * 1000 - SETTLE_US - 1, "final": False}, "data.not_closed"),
    ],
)
def test_an_unbelievable_candle_is_refused_and_changes_nothing(values: dict[str, Any], code: str) -> None:
    """A bad candle becomes a typed fault; the state stays as it was."""
    state = ready()
    after, out = run(state, seen(1, **values))

    assert after.series == state.series
    assert [m.code for m in of(SpotFault, out)] == [code]
    assert len(out) == 1


def test_the_same_candle_again_is_ignored() -> None:
    """Replays by REST and late frames of the stream are silent, however old."""
    state, _ = run(ready(), seen(1), seen(2))

    assert run(state, seen(2), seen(1), seen(0, close=100.5), seen(2, final=False, volume=5))[1] == []


def test_a_revision_halts_entries_until_a_person_looks() -> None:
    """Other values for the candle last told are a fault, told each time; the halt is raised once."""
    state, out = run(ready(), seen(0, close=100.5), seen(0, close=100.5))

    assert [m.code for m in of(SpotFault, out)] == ["data.revised", "data.revised"]
    assert [m.key for m in of(HaltEntries, out)] == [f"spot.revised:{BTC}"]

    state, out = run(state, seen(2), seen(1, at=closes(2) + SETTLE_US))
    assert told(out) == [1, 2]
    assert [m.key for m in of(ResumeEntries, out)] == [f"spot.gap:{BTC}"], "the other one is a person's to end"


def test_the_next_life_ends_the_halt_for_a_hole() -> None:
    """The gate may hold one of an earlier life of this child; a hole that is still there halts anew."""
    restarted = from_edge(Started, closes(0), restarted=True)
    state, out = run(decide.initial(SETTINGS), restarted)
    assert [m.key for m in of(ResumeEntries, out)] == [f"spot.gap:{BTC}"]
    _, out = run(state, *backfilled(), seen(0), seen(2))
    assert [m.key for m in of(HaltEntries, out)] == [f"spot.gap:{BTC}"]
    assert run(decide.initial(SETTINGS), from_edge(Started, closes(0)))[1] == []


def test_a_hole_halts_entries_is_asked_for_and_filled_in_order() -> None:
    """Later candles are held back; when the missing one arrives all are told and entries resume."""
    state, out = run(ready(), seen(2), seen(3))

    assert [type(m) for m in out] == [SpotFault, HaltEntries, RequestHistory, WakeAt]
    assert (of(SpotFault, out)[0].code, of(RequestHistory, out)[0].since_ms) == ("data.gap", open_ms(1))

    _, out = run(state, seen(1, at=closes(3) + SETTLE_US))
    assert told(out) == [1, 2, 3]
    assert [m.key for m in of(ResumeEntries, out)] == [f"spot.gap:{BTC}"]


def test_a_hole_is_asked_for_again_until_it_is_filled() -> None:
    """Each ring of the timer repeats the question and sets the next."""
    state, _ = run(ready(), seen(2))
    _, out = run(state, woken("late", closes(2) + 40 * SECOND))

    assert [type(m) for m in out] == [RequestHistory, WakeAt]


def test_halt_never_bridges_a_hole_even_when_the_source_has_nothing() -> None:
    """Under the default policy only the missing candles end the gap."""
    state, _ = run(ready(), seen(2))

    assert told(run(state, history("15m", closes(2) + 4 * SECOND, open_ms(2)))[1]) == []


def test_fill_bridges_a_hole_with_flat_candles_once_the_source_has_passed_it() -> None:
    """Each filled candle is flat at the previous close and marked synthetic."""
    state, _ = run(ready("fill"), seen(3))
    state, early = run(state, history("15m", closes(3) + 4 * SECOND, open_ms(0)))
    _, out = run(state, history("15m", closes(3) + 5 * SECOND, open_ms(3)))
    candles = of(CandleClosed, out)

    assert early == []
    assert told(out) == [1, 2, 3]
    assert [m.synthetic for m in candles] == [True, True, False]
    assert {(m.open, m.high, m.low, m.close, m.volume) for m in candles[:2]} == {(101.0, 101.0, 101.0, 101.0, 0.0)}
    assert len(of(ResumeEntries, out)) == 1


def test_reset_steps_over_a_hole() -> None:
    """Research may begin a new segment; a running candle is still not told."""
    state, _ = run(ready("reset"), seen(3))
    assert told(run(state, history("15m", closes(3) + 4 * SECOND, open_ms(3)))[1]) == [3]

    state, _ = run(ready("reset"), seen(3, at=closes(2) + 10 * SECOND, final=False))
    assert told(run(state, history("15m", closes(3) + 4 * SECOND, open_ms(3)))[1]) == []


def test_a_late_candle_is_asked_for() -> None:
    """With a stream running, a closed candle not in hand at bar_late_s after its end is asked for by REST, repeatedly; one timer looks for
    whichever must come next.
    """
    late = closes(1) + 30 * SECOND
    state, out = run(ready(), seen(1, at=closes(0) + 5 * SECOND, final=False))

    assert [(m.key, m.due) for m in of(WakeAt, out)] == [(f"late:{BTC}", late)]

    state, out = run(state, woken("late", late))
    assert [type(m) for m in out] == [RequestHistory, WakeAt]
    assert (out[0].since_ms, out[1].due) == (open_ms(1), late + 30 * SECOND)  # type: ignore[attr-defined]

    state, out = run(state, seen(1, at=late + SECOND))
    assert (told(out), of(WakeAt, out)) == ([1], [])

    _, (again,) = run(state, woken("late", late + 30 * SECOND))
    assert (again.key, again.due) == (f"late:{BTC}", closes(2) + 30 * SECOND)  # type: ignore[attr-defined]


def test_a_ring_before_a_candle_is_late_puts_nothing_off() -> None:
    """A timer that rings between a candle's end and bar_late_s after it looks again at that moment, not bar_late_s after the ring."""
    state, _ = run(ready(), seen(1, at=closes(0) + 5 * SECOND, final=False))
    _, (again,) = run(state, woken("late", closes(1) + 20 * SECOND))
    assert (again.key, again.due) == (f"late:{BTC}", closes(1) + 30 * SECOND)  # type: ignore[attr-defined]


def test_a_clock_that_was_set_back_leaves_no_late_candle_unseen() -> None:
    """A timer set while the clock was ahead is replaced by the next candle that is told."""
    ahead = closes(1) + 7200 * SECOND
    state, _ = run(ready(), seen(1, at=closes(0) + 5 * SECOND, final=False), woken("late", ahead))
    _, out = run(state, seen(1, at=closes(1) + 5 * SECOND))
    assert [(m.key, m.due) for m in of(WakeAt, out)] == [(f"late:{BTC}", closes(2) + 30 * SECOND)]


def test_the_buffer_behind_a_hole_is_bounded() -> None:
    """What does not fit is dropped and asked for again after the hole is filled."""
    state, _ = run(ready(), *(seen(index) for index in range(2, HELD_MOST + 10)))
    assert len(state.series[BTC].waiting) == HELD_MOST

    state, out = run(state, seen(1, at=closes(HELD_MOST + 9) + SETTLE_US), seen(HELD_MOST + 10))
    assert told(out) == list(range(1, HELD_MOST + 1))
    assert [m.since_ms for m in of(RequestHistory, out)] == [open_ms(HELD_MOST + 1)]


def test_seeds_are_released_longest_first_and_then_the_base() -> None:
    """Nothing is told before all four back-fills; then settled days, 4h, 1h, each once and in order, and the base."""
    now = closes(1) + SETTLE_US
    day, four, hour = (TIMEFRAME_MS[t] for t in ("1d", "4h", "1h"))
    inputs = [
        native("1h", MIDNIGHT_MS - hour, now),
        native("1h", MIDNIGHT_MS - hour, now),
        native("1h", MIDNIGHT_MS - 2 * hour, now),
        *(seen(index, at=now) for index in (-1, 1, 0)),
        native("4h", MIDNIGHT_MS - four, now),
        native("1d", MIDNIGHT_MS - day, now),
    ]
    unsettled = native("1h", MIDNIGHT_MS, closes(3) - SETTLE_US)
    state, early = run(decide.initial(SETTINGS), *inputs, unsettled, *backfilled(now)[:3])
    state, out = run(state, history("15m", now))

    assert early == []
    assert [(m.timeframe, m.open_time_ms - MIDNIGHT_MS) for m in of(CandleClosed, out)] == [
        ("1d", -day),
        ("4h", -four),
        ("1h", -2 * hour),
        ("1h", -hour),
        ("15m", -STEP_MS),
        ("15m", 0),
        ("15m", STEP_MS),
    ]
    assert run(state, native("1h", MIDNIGHT_MS, closes(3) + SETTLE_US))[1] == []


def test_a_running_native_candle_is_refused() -> None:
    """A longer candle counts only when it is over."""
    _, out = run(decide.initial(SETTINGS), native("4h", MIDNIGHT_MS, MIDNIGHT_MS * 1000, final=False))

    assert [m.code for m in of(SpotFault, out)] == ["data.not_closed"]


def test_foreign_messages_are_tolerated() -> None:
    """Unknown kinds, unknown symbols and stale timers change nothing."""
    state = ready()
    messages = [
        from_edge(Started, 0),
        seen(1, symbol="DOGE/USD"),
        replace(woken("settle", 0), key="settle:DOGE/USD"),
        woken("late", 0),
    ]

    assert run(state, *messages) == (state, [])
    assert run(decide.initial(SETTINGS, b"ignored"), woken("late", closes(1)))[1] == []


LAST = 12


@given(
    order=st.permutations([*range(1, LAST + 1), *range(1, LAST + 1)]),
    filled=st.integers(0, 2 * LAST),
)
def test_any_order_with_duplicates_gives_the_same_candles(order: list[int], filled: int) -> None:
    """Law: whatever the order and however often the frames come, each candle is told once, in order."""
    at = closes(LAST) + SETTLE_US
    messages: list[Message] = [seen(index, at=at) for index in order]
    state, first = run(decide.initial(SETTINGS), seen(0, at=at), *messages[:filled], *backfilled(at))
    _, second = run(state, *messages[filled:])
    candles = of(CandleClosed, first + second)

    known = sorted(set(order[:filled]))
    begins_whole = known == list(range(1, len(known) + 1))
    assert [(m.open_time_ms, m.close) for m in candles] == [(open_ms(i), 101.0 + i) for i in range(LAST + 1)]
    assert begins_whole or of(SpotFault, first + second)


@given(data=st.data())
def test_any_order_of_stream_frames_within_the_settling_time_gives_the_same_candle(data: st.DataObject) -> None:
    """Law: frames of two neighbours, shuffled and repeated before the first settles, lead to one CandleClosed."""
    frames = [(1, v) for v in (1.0, 2.0, 3.0)] + [(2, v) for v in (0.5, 1.0)]
    shuffled = data.draw(st.permutations(frames + data.draw(st.lists(st.sampled_from(frames), max_size=6))))
    start = closes(1)
    first = seen(1, at=start - 1, final=False, volume=0.5)
    messages: list[Message] = [
        seen(i, at=start + n, final=False, volume=v, close=101.0 + i + v / 10) for n, (i, v) in enumerate(shuffled)
    ]
    state, early = run(ready(), first, *messages)
    _, out = run(state, woken("settle", start + SETTLE_US))

    assert told(early) == []
    assert [(m.open_time_ms, m.close, m.volume) for m in of(CandleClosed, out)] == [(open_ms(1), 102.3, 3.0)]

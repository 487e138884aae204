"""Which spot candles are closed: each told once, in order, never early, never guessed (smc-spec section 0).

One base series (15m) a symbol. What arrives waits in `Series.waiting`, sorted, until it is the next one, its source has
confirmed it and it has settled. Native longer candles only seed the time before the base series.
Knows nothing of futures, of the strategy, or of how candles travel.
"""

from __future__ import annotations

from bisect import bisect_left
from itertools import chain
from typing import Final, Literal

import msgspec
from msgspec.structs import replace

from actors.spot_feed.candle import flat, malformed, premature, same_values
from config.settings import Settings
from protocol.messages.base import Message, follow
from protocol.messages.control import HaltEntries, ResumeEntries, Started, WakeAt, Woken
from protocol.messages.spot import CandleClosed, CandleSeen, HistorySeen, RequestHistory, SpotFault, SpotPrice
from protocol.units import TIMEFRAME_MS, Timeframe, close_time_us, seconds_us

BASE: Final[Timeframe] = "15m"
STEP_MS: Final = TIMEFRAME_MS[BASE]
Chunks = tuple[tuple[CandleSeen, ...], ...]
CHUNK: Final = 256
BACKFILL: Final[tuple[Timeframe, ...]] = ("1d", "4h", "1h", BASE)
"""Longest first: a decision on a base candle needs the bias that was known before it."""
HELD_MOST: Final = 1_000
"""Candles kept behind a hole, ten days of them. What does not fit is asked for again once the hole is filled."""


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """The settings that matter here, in microseconds. `silence_us`: a longer pause may have hidden trades."""

    settle_us: int
    late_us: int
    silence_us: int
    gap_policy: Literal["halt", "fill", "reset"]


class Series(msgspec.Struct, frozen=True, kw_only=True):
    """One symbol. `newest` is the last base candle told, `waiting` those seen after it, by open time, one each.

    Only the last of `waiting` may still be running. `heard`: when the stream last spoke, None never.
    `settle_for`: the open time whose timer is set; `late_at`: when a late candle is looked for, None while nobody does; whoever passes
    over candles lets it lapse. `gap`, `revised`: faults that halt entries.
    """

    symbol: str
    backfilled: tuple[Timeframe, ...] = ()
    released: bool = False
    seeds: Chunks = ()
    history: Chunks = ()
    newest: CandleSeen | None = None
    waiting: tuple[CandleSeen, ...] = ()
    heard: int | None = None
    settle_for: int | None = None
    late_at: int | None = None
    gap: bool = False
    revised: bool = False

    @property
    def expected_ms(self) -> int | None:
        """Open time of the candle that must come next; None: any may."""
        return None if self.newest is None else self.newest.open_time_ms + STEP_MS

    @property
    def hole(self) -> bool:
        """Whether a later candle is here and the next one is not."""
        expected = self.expected_ms
        return self.released and expected is not None and bool(self.waiting) and self.waiting[0].open_time_ms > expected


class State(msgspec.Struct, frozen=True, kw_only=True):
    """All series by spot symbol."""

    rules: Rules
    series: dict[str, Series]


Answer = tuple[Series, list[Message]]


def initial(settings: Settings, memory: bytes | None = None) -> State:
    """Nothing seen yet. `memory` is not used: history is asked for anew in every life."""
    return State(
        rules=Rules(
            settle_us=settings.feeds.settle_ms * 1000,
            late_us=seconds_us(settings.feeds.bar_late_s),
            silence_us=seconds_us(settings.feeds.spot_idle_s),
            gap_policy=getattr(settings.strategy, "gap_policy", "halt"),
        ),
        series={pair.spot: Series(symbol=pair.spot) for pair in settings.symbols},
    )


def step(state: State, message: Message) -> tuple[State, tuple[Message, ...]]:
    """One message in; closed candles, the spot price, faults and questions out."""
    match message:
        case CandleSeen(symbol=symbol) if symbol in state.series:
            series, out = _candle(state.rules, state.series[symbol], message)
        case HistorySeen(symbol=symbol) if symbol in state.series:
            series, out = _history(state.rules, state.series[symbol], message)
        case Started(restarted=True):
            # The gate may hold the halt of an earlier life of this child; a hole that is still there halts anew.
            return state, tuple(_resume(message, symbol) for symbol in state.series)
        case Woken(key=key):
            kind, _, symbol = key.partition(":")
            if symbol not in state.series:
                return state, ()
            series, out = _woken(state.rules, state.series[symbol], message, kind)
        case _:
            return state, ()
    return replace(state, series={**state.series, symbol: series}), tuple(out)


def passed(state: State, newest: CandleSeen, at: int, ended: CandleSeen | None = None) -> State:
    """The state after candles nobody was shown, one by one, up to `newest`: told, without a hole, the stream heard at `at`.

    `ended`: the one after it, shown whole and not told yet.
    """
    waiting = () if ended is None else (ended,)
    series = replace(state.series[newest.symbol], newest=newest, waiting=waiting, heard=at, settle_for=None, gap=False)
    return replace(state, series={**state.series, newest.symbol: series})


def whole(state: State) -> bool:
    """Whether every series has begun, no candle is missing and none was revised."""
    return all(
        series.released and series.newest is not None and not (series.hole or series.gap or series.revised)
        for series in state.series.values()
    )


# --- candles ---------------------------------------------------------------------------------------------------


def _candle(rules: Rules, series: Series, candle: CandleSeen) -> Answer:
    if (why := malformed(candle)) is not None:
        return series, [_fault(candle, candle, "data.malformed", why)]
    if (why := premature(candle, rules.settle_us)) is not None:
        return series, [_fault(candle, candle, "data.not_closed", why)]
    if candle.timeframe != BASE:
        return _seed(series, candle)
    if series.newest is not None and candle.open_time_ms <= series.newest.open_time_ms:
        return _again(series, series.newest, candle)
    if candle.final:
        return _finished(rules, series, candle)
    out: list[Message] = []
    if not series.waiting or candle.open_time_ms >= series.waiting[-1].open_time_ms:
        out.append(follow(candle, SpotPrice, symbol=candle.symbol, price=candle.close))
    series, more = _advance(rules, replace(_hold(rules, series, candle), heard=candle.at), candle)
    return series, [*out, *more]


def _finished(rules: Rules, series: Series, candle: CandleSeen) -> Answer:
    """A base candle that the source says is over: told in its turn, or kept until back-fill is complete."""
    if not series.released:
        return replace(series, history=_appended(series.history, candle)), []
    return _advance(rules, _hold(rules, series, candle), candle)


def _seed(series: Series, candle: CandleSeen) -> Answer:
    """A native longer candle: kept until the base series begins, of no use after."""
    if series.released:
        return series, []
    if not candle.final:
        return series, [_fault(candle, candle, "data.not_closed", "a native candle is still running")]
    return replace(series, seeds=_appended(series.seeds, candle)), []


def _appended(chunks: Chunks, candle: CandleSeen) -> Chunks:
    """One more candle; years of back-fill must not be copied for each."""
    last = chunks[-1] if chunks and len(chunks[-1]) < CHUNK else ()
    return (*(chunks[:-1] if last else chunks), (*last, candle))


def _again(series: Series, newest: CandleSeen, candle: CandleSeen) -> Answer:
    """A candle that was told already. History is replayed and streams lag, so only a true contradiction counts."""
    if candle.open_time_ms < newest.open_time_ms or same_values(candle, newest):
        return series, []
    if not candle.final and candle.volume <= newest.volume:
        return series, []  # an earlier frame of it, late
    out: list[Message] = [_fault(candle, candle, "data.revised", "closed candle came again with other values")]
    if not series.revised:
        reason = "a closed spot candle was revised: look at it, then resume entries"
        out.append(_halt(candle, series.symbol, reason, "spot.revised"))
    return replace(series, revised=True), out


def _hold(rules: Rules, series: Series, candle: CandleSeen) -> Series:
    """The series with `candle` in its place among those waiting."""
    waiting = series.waiting
    if not waiting or candle.open_time_ms > waiting[-1].open_time_ms:
        if waiting and not waiting[-1].final and not _watched(rules, series, candle):
            # Only a stream heard without a pause vouches for the end of a running candle. The hole is filled by REST.
            waiting = waiting[:-1]
        waiting = (*waiting, candle)
    else:
        place = bisect_left(waiting, candle.open_time_ms, key=lambda held: held.open_time_ms)
        if waiting[place].open_time_ms == candle.open_time_ms:
            waiting = (*waiting[:place], _better(waiting[place], candle), *waiting[place + 1 :])
        elif candle.final:  # a late stream frame of a candle we never held says nothing of its end
            waiting = (*waiting[:place], candle, *waiting[place:])
    return replace(series, waiting=waiting[:HELD_MOST] if series.released else waiting)


def _watched(rules: Rules, series: Series, candle: CandleSeen) -> bool:
    return not candle.final and series.heard is not None and candle.at - series.heard <= rules.silence_us


def _better(held: CandleSeen, new: CandleSeen) -> CandleSeen:
    """Of two views of one candle the later one: a finished one, else the one with more traded."""
    if held.final != new.final:
        return held if held.final else new
    return new if new.final or new.volume >= held.volume else held


def _advance(rules: Rules, series: Series, cause: Message, *, proven_ms: int | None = None) -> Answer:
    """Tell every candle that is next, confirmed and settled; otherwise say what is being waited for.

    `proven_ms`: the source has shown all it has up to this open time, so a hole before it stays a hole.
    """
    if not series.released:
        return series, []
    out: list[Message] = []
    waiting, newest, settle_for, told = series.waiting, series.newest, series.settle_for, 0
    while told < len(waiting):
        candle = _next(rules, newest, waiting, told, proven_ms)
        if candle is None:
            break
        due = close_time_us(candle.open_time_ms, BASE) + rules.settle_us
        if cause.at < due:
            if settle_for != candle.open_time_ms:
                settle_for = candle.open_time_ms
                out.append(follow(cause, WakeAt, f"settle:{series.symbol}", key=f"settle:{series.symbol}", due=due))
            break
        synthetic = candle is not waiting[told]
        out.append(_closed(cause, candle, synthetic=synthetic))
        newest, told = candle, told + (not synthetic)
    series = replace(series, waiting=waiting[told:], newest=newest, settle_for=settle_for)
    series, more = _watch(rules, series, cause)
    return series, [*out, *more]


def _next(
    rules: Rules, newest: CandleSeen | None, waiting: tuple[CandleSeen, ...], place: int, proven_ms: int | None
) -> CandleSeen | None:
    """The candle to tell after `newest`, None when it is not here or may still change."""
    candle = waiting[place]
    closed = candle if candle.final or place < len(waiting) - 1 else None
    if newest is None or candle.open_time_ms == newest.open_time_ms + STEP_MS:
        return closed
    expected = newest.open_time_ms + STEP_MS
    if rules.gap_policy == "halt" or proven_ms is None or proven_ms < expected:
        return None
    return flat(newest, expected) if rules.gap_policy == "fill" else closed


def _watch(rules: Rules, series: Series, cause: Message) -> Answer:
    """Open or end the halt for a hole, and keep a timer on the candle that must come next."""
    expected = series.expected_ms
    if expected is None:
        return series, []
    if series.hole and not series.gap:
        detail = f"missing {(series.waiting[0].open_time_ms - expected) // STEP_MS} from {expected}"
        series, more = _ask(rules, replace(series, gap=True), cause, expected)
        return series, [
            follow(
                cause, SpotFault, series.symbol, symbol=series.symbol, timeframe=BASE, code="data.gap", detail=detail
            ),
            _halt(cause, series.symbol, "spot candles are missing"),
            *more,
        ]
    out: list[Message] = []
    if series.gap and not series.hole:
        series = replace(series, gap=False)
        out.append(_resume(cause, series.symbol))
    due = max(close_time_us(expected, BASE), cause.at) + rules.late_us
    if series.heard is None or (series.late_at is not None and series.late_at <= due):
        return series, out  # what rings before is early enough: it looks for the candle that is expected then
    series, more = _look_at(series, cause, due)
    return series, [*out, *more]


def _look_at(series: Series, cause: Message, due: int) -> Answer:
    """See then whether the candle that must come next is late."""
    wake = follow(cause, WakeAt, f"late:{series.symbol}", key=f"late:{series.symbol}", due=due)
    return replace(series, late_at=due), [wake]


def _ask(rules: Rules, series: Series, cause: Message, since_ms: int) -> Answer:
    """Ask for what is missing, and be woken to ask again."""
    ask = follow(cause, RequestHistory, series.symbol, symbol=series.symbol, timeframe=BASE, since_ms=since_ms)
    series, more = _look_at(series, cause, cause.at + rules.late_us)
    return series, [ask, *more]


# --- history ---------------------------------------------------------------------------------------------------


def _history(rules: Rules, series: Series, seen: HistorySeen) -> Answer:
    if seen.timeframe not in series.backfilled:
        series = replace(series, backfilled=(*series.backfilled, seen.timeframe))
    if series.released:
        proven = seen.newest_open_time_ms if seen.timeframe == BASE else None
        return _advance(rules, series, seen, proven_ms=proven)
    if any(timeframe not in series.backfilled for timeframe in BACKFILL):
        return series, []
    return _release(rules, series, seen)


def _release(rules: Rules, series: Series, cause: HistorySeen) -> Answer:
    """Every series is back-filled: tell the settled seeds, longest timeframe first, then the base candles.

    Which seeds join the base series without a hole, and which only serve to compare, is the strategy's to decide.
    """
    out: list[Message] = [
        _closed(cause, seed)
        for timeframe in BACKFILL[:-1]
        for _, seed in sorted({s.open_time_ms: s for s in chain(*series.seeds) if s.timeframe == timeframe}.items())
        if cause.at >= close_time_us(seed.open_time_ms, timeframe) + rules.settle_us
    ]
    series = replace(series, released=True, seeds=(), history=(), waiting=_waiting_with_history(series))
    proven = cause.newest_open_time_ms if cause.timeframe == BASE else None
    series, more = _advance(rules, series, cause, proven_ms=proven)
    return series, [*out, *more]


def _waiting_with_history(series: Series) -> tuple[CandleSeen, ...]:
    """Back-fill and stream as one, by open time; of running candles only the newest may still become whole."""
    merged: dict[int, CandleSeen] = {}
    for candle in chain(*series.history, series.waiting):
        held = merged.get(candle.open_time_ms)
        merged[candle.open_time_ms] = candle if held is None else _better(held, candle)
    newest = max(merged, default=0)
    return tuple(candle for opened, candle in sorted(merged.items()) if candle.final or opened == newest)


# --- time ------------------------------------------------------------------------------------------------------


def _woken(rules: Rules, series: Series, cause: Woken, kind: str) -> Answer:
    if kind == "settle":
        return _advance(rules, replace(series, settle_for=None), cause)
    return _late(rules, replace(series, late_at=None), cause)


def _late(rules: Rules, series: Series, cause: Woken) -> Answer:
    """The candle that must come next is overdue, or the hole is still there: ask again; else look when the next might be."""
    expected = series.expected_ms
    if expected is None:
        return series, []
    due = close_time_us(expected, BASE) + rules.late_us
    if series.hole or cause.at >= due:
        return _ask(rules, series, cause, expected)
    return (series, []) if series.heard is None else _look_at(series, cause, due)


# --- words -----------------------------------------------------------------------------------------------------


def _closed(cause: Message, candle: CandleSeen, *, synthetic: bool = False) -> CandleClosed:
    return follow(
        cause,
        CandleClosed,
        f"{candle.symbol}:{candle.timeframe}:{candle.open_time_ms}",
        symbol=candle.symbol,
        timeframe=candle.timeframe,
        open_time_ms=candle.open_time_ms,
        open=candle.open,
        high=candle.high,
        low=candle.low,
        close=candle.close,
        volume=candle.volume,
        synthetic=synthetic,
    )


def _fault(cause: Message, candle: CandleSeen, code: str, detail: str) -> SpotFault:
    return follow(
        cause,
        SpotFault,
        symbol=candle.symbol,
        timeframe=candle.timeframe,
        code=code,
        detail=f"{detail}: open time {candle.open_time_ms}",
    )


def _halt(cause: Message, symbol: str, reason: str, key: str = "spot.gap") -> HaltEntries:
    return follow(cause, HaltEntries, symbol, key=f"{key}:{symbol}", reason=reason, symbol=symbol)


def _resume(cause: Message, symbol: str) -> ResumeEntries:
    return follow(cause, ResumeEntries, symbol, key=f"spot.gap:{symbol}")

"""Indicators and structure of one candle series (smc-spec sections 1 and 2) as one incremental state machine.

`advance` takes one closed candle or a million and writes the same bytes into the state, the rows and the events. It is
compiled; with NUMBA_DISABLE_JIT=1 the same text runs as plain Python. There is no second implementation.

It must not know symbols, bias, entry rules, parameters by name or time: only candles in order, each once.

Everything compiled stands in this one file because numba's cache watches only the file of the function that was called: a
helper or constant changed elsewhere would leave stale machine code behind. fastmath stays off: re-association would make
results depend on the compiler.

Conventions: `d` is +1 for bullish, high or buy-side and -1 for its mirror; `side` is 0 for +1 and 1 for -1. `d * x < d * y`
is the mirrored comparison and exact, since multiplying by one is. A missing value is NaN, and a comparison with it is false.
"""

# ruff: noqa: PLR1730  (compiled functions take their arguments by position; see `_range` for the other)
from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
from numba import njit

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

NAN: Final = float("nan")

F = TypeVar("F", bound=Callable[..., Any])
NO_ENTRY: Final[dict[str, Any]] = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
# Nothing is allocated on the way of a candle, so references need no counting: counted at each call, for each of the state's
# arrays, they took four fifths of the time. Not for a function that returns an array to Python.
UNCOUNTED: Final[dict[str, Any]] = {"_nrt": False}


def outer(function: F) -> F:
    """For functions that Python calls."""
    compiled: F = njit(cache=True, **UNCOUNTED)(function)
    return compiled


def inner(function: F) -> F:
    """For functions that only compiled code calls: without an entry from Python they compile in less time."""
    compiled: F = njit(cache=True, forceinline=True, **NO_ENTRY, **UNCOUNTED)(function)
    return compiled


# --- parameters: whole numbers -------------------------------------------------------------------------------------
EMA_PERIOD: Final = 0
ATR_PERIOD: Final = 1
ADX_PERIOD: Final = 2
RSI_PERIOD: Final = 3
SWING_LEFT: Final = 4
SWING_RIGHT: Final = 5
BREAK_BY_WICK: Final = 6
FVG_DIRECTED: Final = 7
FVG_MITIGATION: Final = 8
FVG_MAX_AGE: Final = 9
FVG_MAX_ACTIVE: Final = 10
OB_MAX_LOOKBACK: Final = 11
OB_BODY: Final = 12
OB_MITIGATION: Final = 13
OB_BREAK_BY_WICK: Final = 14
OB_MAX_AGE: Final = 15
OB_MAX_ACTIVE: Final = 16
OB_BREAKER: Final = 17
LIQ_MAX_AGE: Final = 18
LIQ_MAX_POOLS: Final = 19
DIV_MAX_BARS: Final = 20
TF_MS: Final = 21
EVENTS_MOST: Final = 22  # events one bar can produce at most
OPTIONS_I: Final = 23

# --- parameters: reals ---------------------------------------------------------------------------------------------
BREAK_BUFFER_ATR: Final = 0
FVG_MIN_ATR: Final = 1
OB_MIN_DISP_ATR: Final = 2
OB_MAX_HEIGHT_ATR: Final = 3
EQ_TOL_ATR: Final = 4
DIV_MIN_DELTA: Final = 5
OPTIONS_F: Final = 6

# which touch ends a zone's use for entries
BY_TOUCH: Final = 0
BY_MID: Final = 1
BY_FULL: Final = 2
BY_NOTHING: Final = 3  # close_through ends as invalidated, `none` never

# --- state: whole numbers. `X` and `X + 1` hold the two sides ---------------------------------------------------------
BARS: Final = 0  # candles taken
TIME: Final = 1  # open time of the newest, ms
ANCHOR_TIME: Final = 2
TREND: Final = 3
REF_BAR: Final = 4  # -1: no reference level
REF_TIME: Final = 6
SWING_BAR: Final = 8  # last confirmed swing, -1: none yet
SWING_TIME: Final = 10
BREAK_BAR: Final = 12  # last break by direction, -1: none yet
BREAK_IS_CHOCH: Final = 14
CHOCH_BAR: Final = 16
DIV_BAR: Final = 18
SWEPT_BAR: Final = 20  # by pool side
OB_LAST_K: Final = 22  # candle of the last accepted block
FVG_COUNT: Final = 24  # rows in the tables
OB_COUNT: Final = 25
BRK_COUNT: Final = 26
POOL_COUNT: Final = 27
FVG_LIVING: Final = 28
OB_LIVING: Final = 30
POOL_LIVING: Final = 32
SWINGS_SEEN: Final = 34  # how many were written to the rings
BREAKS_SEEN: Final = 35
EVENTS: Final = 36  # written by the running call; 0 between calls
FVG_DUE: Final = 37  # bar from which a table must be looked through whatever price does
OB_DUE: Final = 38
BRK_DUE: Final = 39
POOL_DUE: Final = 40
STATE_I: Final = 41

# --- state: reals --------------------------------------------------------------------------------------------------
EMA_SUM: Final = 0
EMA: Final = 1
TR_SUM: Final = 2
ATR: Final = 3
PLUS_DM: Final = 4
MINUS_DM: Final = 5
DM_TR: Final = 6
PLUS_DI: Final = 7
MINUS_DI: Final = 8
DX_SUM: Final = 9
ADX: Final = 10
GAIN: Final = 11
LOSS: Final = 12
RSI: Final = 13
REF_LEVEL: Final = 14
SWING_LEVEL: Final = 16
SWING_RSI: Final = 18
RANGE: Final = 20  # high, low
RANGE_POS: Final = 22
# Prices at which something first happens to a row of a table, by side: bars that do not reach them skip the table.
FVG_REACH: Final = 23
OB_REACH: Final = 25
BRK_REACH: Final = 27
POOL_REACH: Final = 29
POOL_NEXT: Final = 31  # nearest level of all living pools
STATE_F: Final = 33

# --- the candle ring and a row of `rows` -----------------------------------------------------------------------------
OPEN: Final = 0
HIGH: Final = 1
LOW: Final = 2
CLOSE: Final = 3
VOLUME: Final = 4
RING_RSI: Final = 5
RING_WIDTH: Final = 6

ROW_EMA: Final = 0
ROW_ATR: Final = 1
ROW_ADX: Final = 2
ROW_PLUS_DI: Final = 3
ROW_MINUS_DI: Final = 4
ROW_RSI: Final = 5
ROW_TREND: Final = 6
ROW_REF_HIGH: Final = 7
ROW_REF_LOW: Final = 8
ROW_RANGE_HIGH: Final = 9
ROW_RANGE_LOW: Final = 10
ROW_RANGE_POS: Final = 11
ROW_LIQ_ABOVE: Final = 12
ROW_LIQ_BELOW: Final = 13
ROW_WIDTH: Final = 14

# --- zone tables (gaps, blocks, breakers share their columns) and pools --------------------------------------------------
DIR: Final = 0
ID_TIME: Final = 1  # what the id is made of: open time, ms
BORN: Final = 2  # bar at which it became known
TOUCHED: Final = 3
HALF: Final = 4
FILLED: Final = 5
MITIGATED: Final = 6  # bar, -1: not
ZONE_I: Final = 7
TOP: Final = 0
BOTTOM: Final = 1
EXTREME: Final = 2
REACH: Final = 3  # price at which something next happens to the zone
ZONE_F: Final = 4

COUNT: Final = 3
LAST: Final = 4
POOL_I: Final = 5
LEVEL: Final = 0
ANCHOR: Final = 1
TOLERANCE: Final = 2
POOL_F: Final = 3

# --- rings for the snapshot ----------------------------------------------------------------------------------------
SWINGS_KEPT: Final = 4
BREAKS_KEPT: Final = 2
KEPT_DIR: Final = 0
KEPT_TIME: Final = 1
KEPT_NOTE: Final = 2  # swing: label; break: is it a change of character
KEPT_I: Final = 3

# --- events --------------------------------------------------------------------------------------------------------
# Numbered in the order in which they are stored within one bar.
FVG_TOUCH: Final = 0
FVG_MID: Final = 1
FVG_FILL: Final = 2
FVG_DEAD: Final = 3
OB_TOUCH: Final = 4
OB_MID: Final = 5
OB_DEAD: Final = 6
BRK_NEW: Final = 7
BRK_TOUCH: Final = 8
BRK_DEAD: Final = 9
POOL_DEAD: Final = 10
BOS: Final = 11
CHOCH: Final = 12
AMBIG: Final = 13
OB_NEW: Final = 14
FVG_NEW: Final = 15
SWING: Final = 16
POOL_NEW: Final = 17
POOL_JOIN: Final = 18
DIV: Final = 19

EV_BAR: Final = 0
EV_TIME: Final = 1
EV_TYPE: Final = 2
EV_DIR: Final = 3
EV_SRC: Final = 4  # time the id or src_time is made of
EV_NOTE: Final = 5  # reason, label, trend before, previous time
EV_COUNT: Final = 6
EVENT_I: Final = 7
EVENT_F: Final = 3

EXPIRED: Final = 0
MITIGATION: Final = 1
INVALIDATED: Final = 2
EVICTED: Final = 3
BROKEN: Final = 4
RECLAIMED: Final = 5
SWEPT: Final = 6

NOT_DEAD: Final = -1

NEVER: Final = 1 << 62  # a bar that does not come

LABEL_FIRST: Final = 0
LABEL_BEYOND: Final = 1  # HH, LL
LABEL_INSIDE: Final = 2  # LH, HL
LABEL_EQUAL: Final = 3  # EH, EL

# --- verdicts of `inspect` -------------------------------------------------------------------------------------------
SOUND: Final = 0
MALFORMED: Final = 1
GAP: Final = 2
REPEATED: Final = 3
REVISED: Final = 4


class Arrays(NamedTuple):
    """The state of one series by name: views into its memory, see `views`."""

    options_i: Ints  # (OPTIONS_I,)
    options_f: Floats  # (OPTIONS_F,)
    i: Ints  # (STATE_I,)
    f: Floats  # (STATE_F,)
    times: Ints  # (ring,) open times; bar b stands at b % ring
    candles: Floats  # (ring, RING_WIDTH)
    fvg_i: Ints  # (rows, ZONE_I), oldest first
    fvg_f: Floats  # (rows, ZONE_F)
    ob_i: Ints
    ob_f: Floats
    brk_i: Ints
    brk_f: Floats
    pool_i: Ints  # (rows, POOL_I), oldest first
    pool_f: Floats  # (rows, POOL_F)
    kept_i: Ints  # (SWINGS_KEPT + BREAKS_KEPT, KEPT_I) two rings: swings, then breaks
    kept_f: Floats  # (SWINGS_KEPT + BREAKS_KEPT,)


class Output(NamedTuple):
    """Where events go; enough room for one bar's worst case lets `advance` make progress."""

    i: Ints  # (n, EVENT_I)
    f: Floats  # (n, EVENT_F)


@njit(cache=True)
def sizes(options_i: Ints) -> tuple[int, int, int, int, int]:
    """Rows of the candle ring, the gap, block, breaker and pool tables: they follow from the parameters alone."""
    ring = max(options_i[OB_MAX_LOOKBACK], options_i[SWING_LEFT] + options_i[SWING_RIGHT], 3) + 2
    # Gaps mitigated at the newest bar stay one bar longer: entries may use the retest that ends them.
    gaps = 2 * options_i[FVG_MAX_ACTIVE] + 2
    blocks = 2 * options_i[OB_MAX_ACTIVE] + 2
    # A bar makes at most one block; a block, and its breaker after it, live at most ob_max_age bars each.
    breakers = 2 * options_i[OB_MAX_AGE] + 4
    pools = 2 * options_i[LIQ_MAX_POOLS] + 2
    return ring, gaps, blocks, breakers, pools


def _arrays(whole: Ints, real: Floats) -> Arrays:
    """The memory of a series by name. It is two flat arrays because every array handed to compiled code costs time."""
    ring, gaps, blocks, breakers, pools = sizes(whole)
    i0 = OPTIONS_I
    i1 = i0 + STATE_I
    i2 = i1 + ring
    i3 = i2 + gaps * ZONE_I
    i4 = i3 + blocks * ZONE_I
    i5 = i4 + breakers * ZONE_I
    i6 = i5 + pools * POOL_I
    f0 = OPTIONS_F
    f1 = f0 + STATE_F
    f2 = f1 + ring * RING_WIDTH
    f3 = f2 + gaps * ZONE_F
    f4 = f3 + blocks * ZONE_F
    f5 = f4 + breakers * ZONE_F
    f6 = f5 + pools * POOL_F
    return Arrays(
        whole[:i0],
        real[:f0],
        whole[i0:i1],
        real[f0:f1],
        whole[i1:i2],
        real[f1:f2].reshape((ring, RING_WIDTH)),
        whole[i2:i3].reshape((gaps, ZONE_I)),
        real[f2:f3].reshape((gaps, ZONE_F)),
        whole[i3:i4].reshape((blocks, ZONE_I)),
        real[f3:f4].reshape((blocks, ZONE_F)),
        whole[i4:i5].reshape((breakers, ZONE_I)),
        real[f4:f5].reshape((breakers, ZONE_F)),
        whole[i5:i6].reshape((pools, POOL_I)),
        real[f5:f6].reshape((pools, POOL_F)),
        whole[i6:].reshape((SWINGS_KEPT + BREAKS_KEPT, KEPT_I)),
        real[f6:],
    )


views = njit(cache=True)(_arrays)
_borrowed = inner(_arrays)
"""The same for compiled code, which gives them back before its caller lets go of the memory."""

SUMS: Final = (EMA_SUM, TR_SUM, PLUS_DM, MINUS_DM, DM_TR, DX_SUM, GAIN, LOSS)
BARS_UNKNOWN: Final = (REF_BAR, SWING_BAR, BREAK_BAR, CHOCH_BAR, DIV_BAR, SWEPT_BAR, OB_LAST_K)


def make_memory(options_i: Ints, options_f: Floats) -> tuple[Ints, Floats]:
    """An empty series under options numbered as above, (OPTIONS_I,) and (OPTIONS_F,); EVENTS_MOST is filled in here."""
    ring, gaps, blocks, breakers, pools = (int(rows) for rows in sizes(options_i))
    zones, kept = gaps + blocks + breakers, SWINGS_KEPT + BREAKS_KEPT
    whole = np.zeros(OPTIONS_I + STATE_I + ring + zones * ZONE_I + pools * POOL_I + kept * KEPT_I, np.int64)
    real = np.zeros(OPTIONS_F + STATE_F + ring * RING_WIDTH + zones * ZONE_F + pools * POOL_F + kept)
    whole[:OPTIONS_I], real[:OPTIONS_F] = options_i, options_f
    whole[EVENTS_MOST] = 4 * gaps + 4 * blocks + 2 * breakers + pools + 16
    for at in BARS_UNKNOWN:
        whole[OPTIONS_I + at : OPTIONS_I + at + 2] = -1
    for at in range(STATE_F):
        real[OPTIONS_F + at] = 0.0 if at in SUMS else NAN
    for at in (FVG_DUE, OB_DUE, BRK_DUE, POOL_DUE):
        whole[OPTIONS_I + at] = NEVER
    for at in (FVG_REACH, OB_REACH, BRK_REACH):
        real[OPTIONS_F + at], real[OPTIONS_F + at + 1] = -np.inf, np.inf
    for at in (POOL_REACH, POOL_NEXT):
        real[OPTIONS_F + at], real[OPTIONS_F + at + 1] = np.inf, -np.inf
    return whole, real


def make_output(size: int) -> Output:
    """Room for `size` events."""
    return Output(np.zeros((size, EVENT_I), np.int64), np.zeros((size, EVENT_F)))


# --- A: validation ------------------------------------------------------------------------------------------------------


@inner
def _verdict(state: Ints, tf: int, newest: Floats, row: int, time: int, candle: Floats, n: int) -> int:
    """May row `n` of `candle`, opening at `time`, follow a series of `state`, whose newest candle is row `row` of `newest`?"""
    o, h, low, c, v = candle[n, 0], candle[n, 1], candle[n, 2], candle[n, 3], candle[n, 4]
    follows = state[BARS] > 0 and time - state[TIME] == tf  # on the grid, as the one before it
    # No comparison holds of NaN, and what lies between zero and a finite high is finite.
    finite = np.isfinite(h) and np.isfinite(v)
    ordered = low > 0.0 and low <= o and low <= c and h >= o and h >= c
    if not (finite and ordered and v >= 0.0 and (follows or (time >= 0 and time % tf == 0))):
        return MALFORMED
    if follows or state[BARS] == 0:
        return SOUND
    if time < state[TIME]:
        return MALFORMED
    if time == state[TIME]:
        for column in range(5):
            if newest[row, column] != candle[n, column]:
                return REVISED
        return REPEATED
    return GAP


@njit(cache=True)
def inspect(whole: Ints, real: Floats, times: Ints, candles: Floats) -> tuple[int, int]:
    """Step A for a whole column: the first candle that `advance` would not take, and why; (n, SOUND) if it takes all.

    `times` (n,) open times in ms; `candles` (n, 5) open, high, low, close, volume. Changes nothing.
    """
    s = views(whole, real)
    tf, state = s.options_i[TF_MS], s.i.copy()
    newest, row = s.candles, (state[BARS] - 1) % len(s.times)
    for n in range(len(times)):
        verdict = _verdict(state, tf, newest, row, times[n], candles, n)
        if verdict != SOUND:
            return n, verdict
        state[BARS] += 1
        state[TIME] = times[n]
        newest, row = candles, n
    return len(times), SOUND


@outer
def advance(
    whole: Ints, real: Floats, times: Ints, candles: Floats, start: int, rows: Floats, out_i: Ints, out_f: Floats
) -> tuple[int, int, int]:
    """Take candles `start`.. in order, steps A to H. Stops at a candle that may not be taken, nothing changed by it, and
    when the output might not hold the next bar's events.

    `whole` and `real` are the series' memory; `rows` (n, ROW_WIDTH) receives one row a candle; `out_i` and `out_f` are an
    Output. Returns (index of the first candle not taken, events written, verdict on the last one looked at).
    """
    s, out = _borrowed(whole, real), Output(out_i, out_f)
    s.i[EVENTS] = 0
    n, verdict = start, SOUND
    room = len(out.i) - s.options_i[EVENTS_MOST]
    while n < len(times) and s.i[EVENTS] <= room:
        verdict = _take(s, times, candles, n, out)
        if verdict != SOUND:
            break
        _row(s, candles[n, CLOSE], rows, n)
        n += 1
    events = s.i[EVENTS]
    s.i[EVENTS] = 0
    return n, events, verdict


@inner
def _take(s: Arrays, times: Ints, candles: Floats, n: int, out: Output) -> int:
    """Steps A to H for one candle; the verdict on it."""
    ring = len(s.times)
    i = s.i[BARS]
    at = i % ring
    verdict = _verdict(s.i, s.options_i[TF_MS], s.candles, (i - 1) % ring, times[n], candles, n)
    if verdict != SOUND:
        return verdict
    s.times[at] = times[n]
    for column in range(5):
        s.candles[at, column] = candles[n, column]
    if i == 0:
        s.i[ANCHOR_TIME] = times[n]
    s.i[TIME] = times[n]
    high, low = candles[n, HIGH], candles[n, LOW]
    _indicators(s, i)
    if i >= s.i[FVG_DUE] or low <= s.f[FVG_REACH] or high >= s.f[FVG_REACH + 1]:
        _gaps(s, i, out)
    # Breakers before blocks: a block broken by this bar is a breaker from the next one on.
    if i >= s.i[BRK_DUE] or low <= s.f[BRK_REACH] or high >= s.f[BRK_REACH + 1]:
        _breakers(s, i, out)
    if i >= s.i[OB_DUE] or low <= s.f[OB_REACH] or high >= s.f[OB_REACH + 1]:
        _blocks(s, i, out)
    if i >= s.i[POOL_DUE] or high > s.f[POOL_REACH] or low < s.f[POOL_REACH + 1]:
        _pools(s, i, out)
    _break(s, i, out)
    _new_gap(s, i, out)
    _swings(s, i, out)
    _range(s.f, s.candles[at, HIGH], s.candles[at, LOW], s.candles[at, CLOSE])
    s.i[BARS] = i + 1
    return SOUND


@inner
def _emit(
    state: Ints, out: Output, kind: int, d: int, src: int, note: int, count: int, x: float, y: float, z: float
) -> None:
    n = state[EVENTS]
    out.i[n, EV_BAR] = state[BARS]
    out.i[n, EV_TIME] = state[TIME]
    out.i[n, EV_TYPE] = kind
    out.i[n, EV_DIR] = d
    out.i[n, EV_SRC] = src
    out.i[n, EV_NOTE] = note
    out.i[n, EV_COUNT] = count
    out.f[n, 0] = x
    out.f[n, 1] = y
    out.f[n, 2] = z
    state[EVENTS] = n + 1


# --- B: indicators. The order of operations is TA-Lib's, so that the last bits agree too ----------------------------------


@inner
def _indicators(s: Arrays, i: int) -> None:
    ring = len(s.times)
    high, low, close = s.candles[i % ring, HIGH], s.candles[i % ring, LOW], s.candles[i % ring, CLOSE]
    _ema(s.options_i, s.f, i, close)
    if i > 0:
        before = (i - 1) % ring
        high_before, low_before, close_before = (
            s.candles[before, HIGH],
            s.candles[before, LOW],
            s.candles[before, CLOSE],
        )
        true_range = max(high - low, abs(high - close_before), abs(low - close_before))
        _atr(s.options_i, s.f, i, true_range)
        _adx(s.options_i, s.f, i, high - high_before, low_before - low, true_range)
        _rsi(s.options_i, s.f, i, close - close_before)
    s.candles[i % ring, RING_RSI] = s.f[RSI]


@inner
def _ema(options: Ints, f: Floats, i: int, x: float) -> None:
    n = options[EMA_PERIOD]
    if i < n:
        f[EMA_SUM] += x
        if i == n - 1:
            f[EMA] = f[EMA_SUM] / n
    else:
        f[EMA] = (x - f[EMA]) * (2.0 / (n + 1)) + f[EMA]


@inner
def _atr(options: Ints, f: Floats, i: int, true_range: float) -> None:
    n = options[ATR_PERIOD]
    if i <= n:
        f[TR_SUM] += true_range
        if i == n:
            f[ATR] = f[TR_SUM] / n
    else:
        f[ATR] = (f[ATR] * (n - 1) + true_range) / n


@inner
def _adx(options: Ints, f: Floats, i: int, up: float, down: float, true_range: float) -> None:
    n = options[ADX_PERIOD]
    plus, minus = 0.0, 0.0
    if down > 0.0 and up < down:
        minus = down
    elif up > 0.0 and up > down:
        plus = up
    if i < n:
        f[PLUS_DM] += plus
        f[MINUS_DM] += minus
        f[DM_TR] += true_range
        return
    f[PLUS_DM] = f[PLUS_DM] - f[PLUS_DM] / n + plus
    f[MINUS_DM] = f[MINUS_DM] - f[MINUS_DM] / n + minus
    f[DM_TR] = f[DM_TR] - f[DM_TR] / n + true_range
    moved = f[DM_TR] != 0.0
    f[PLUS_DI] = 100.0 * (f[PLUS_DM] / f[DM_TR]) if moved else 0.0
    f[MINUS_DI] = 100.0 * (f[MINUS_DM] / f[DM_TR]) if moved else 0.0
    both = f[MINUS_DI] + f[PLUS_DI]
    defined = moved and both != 0.0
    dx = 100.0 * (abs(f[MINUS_DI] - f[PLUS_DI]) / both) if defined else 0.0
    if i < 2 * n:
        f[DX_SUM] += dx
        if i == 2 * n - 1:
            f[ADX] = f[DX_SUM] / n
    elif defined:
        f[ADX] = (f[ADX] * (n - 1) + dx) / n


@inner
def _rsi(options: Ints, f: Floats, i: int, change: float) -> None:
    n = options[RSI_PERIOD]
    gain = max(change, 0.0)
    loss = max(-change, 0.0)
    if i <= n:
        f[GAIN] += gain
        f[LOSS] += loss
        if i < n:
            return
        f[GAIN] /= n
        f[LOSS] /= n
    else:
        f[GAIN] = (f[GAIN] * (n - 1) + gain) / n
        f[LOSS] = (f[LOSS] * (n - 1) + loss) / n
    both = f[GAIN] + f[LOSS]
    # TA-Lib says 0 when nothing moved; a flat market is neither weak nor strong.
    f[RSI] = 100.0 * (f[GAIN] / both) if both != 0.0 else 50.0


# --- C: lifecycle of what was known before this bar -----------------------------------------------------------------------


@inner
def _keep(table_i: Ints, table_f: Floats, row: int, to: int) -> None:
    """Move a living row up over the dead ones before it: tables stay packed and oldest first."""
    if row != to:
        _copy(table_i, table_f, row, table_i, table_f, to)


@inner
def _copy(from_i: Ints, from_f: Floats, row: int, to_i: Ints, to_f: Floats, to: int) -> None:
    for column in range(from_i.shape[1]):
        to_i[to, column] = from_i[row, column]
    for column in range(from_f.shape[1]):
        to_f[to, column] = from_f[row, column]


@inner
def _oldest(table_i: Ints, d: int) -> int:
    """The first row of side `d`. The caller knows that there is one."""
    row = 0
    while table_i[row, DIR] != d:
        row += 1
    return row


@inner
def _remove(table_i: Ints, table_f: Floats, row: int, count: int) -> int:
    """Take a row out and close up; returns how many remain."""
    for later in range(row + 1, count):
        _copy(table_i, table_f, later, table_i, table_f, later - 1)
    return count - 1


@inner
def _reached(
    s: Arrays, zones: Ints, edges: Floats, r: int, d: int, probe: float, kind: int, far: float, out: Output
) -> None:
    """Tell how far into zone `r` this bar went: near edge, middle, far edge, each once. `kind` is its first event's."""
    named, middle = zones[r, ID_TIME], (edges[r, TOP] + edges[r, BOTTOM]) / 2.0
    if not zones[r, TOUCHED]:
        zones[r, TOUCHED] = 1
        _emit(s.i, out, kind, d, named, 0, 0, NAN, NAN, NAN)
    if kind != BRK_TOUCH and not zones[r, HALF] and d * probe <= d * middle:
        zones[r, HALF] = 1
        _emit(s.i, out, kind + 1, d, named, 0, 0, NAN, NAN, NAN)
    if kind == FVG_TOUCH and not zones[r, FILLED] and d * probe <= d * far:
        zones[r, FILLED] = 1
        _emit(s.i, out, FVG_FILL, d, named, 0, 0, NAN, NAN, NAN)
    edges[r, REACH] = middle if kind != BRK_TOUCH and not zones[r, HALF] else far


@inner
def _watch(s: Arrays, reach: int, due: int, d: int, price: float, bar: int) -> None:
    """Have the table of `reach` and `due` looked through when price comes to `price` or at `bar`."""
    side = 0 if d > 0 else 1
    if d * price > d * s.f[reach + side]:
        s.f[reach + side] = price
    if bar < s.i[due]:
        s.i[due] = bar


@inner
def _unwatch(s: Arrays, reach: int, due: int) -> None:
    s.f[reach], s.f[reach + 1], s.i[due] = -np.inf, np.inf, NEVER


@inner
def _gaps(s: Arrays, i: int, out: Output) -> None:
    at = i % len(s.times)
    high, low, close = s.candles[at, HIGH], s.candles[at, LOW], s.candles[at, CLOSE]
    rule, most = s.options_i[FVG_MITIGATION], s.options_i[FVG_MAX_AGE]
    zones, edges, kept = s.fvg_i, s.fvg_f, 0
    _unwatch(s, FVG_REACH, FVG_DUE)
    for r in range(s.i[FVG_COUNT]):
        if zones[r, MITIGATED] >= 0:
            continue
        d, dead = zones[r, DIR], NOT_DEAD
        probe = low if d > 0 else high
        if i - zones[r, BORN] > most:
            dead = EXPIRED
        elif d * probe <= d * edges[r, REACH]:
            far = edges[r, BOTTOM] if d > 0 else edges[r, TOP]
            _reached(s, zones, edges, r, d, probe, FVG_TOUCH, far, out)
            if d * close < d * far:
                dead = INVALIDATED
            elif rule == BY_TOUCH or (rule == BY_MID and zones[r, HALF]) or (rule == BY_FULL and zones[r, FILLED]):
                dead = MITIGATION
        due = zones[r, BORN] + most + 1
        if dead != NOT_DEAD:
            s.i[FVG_LIVING + (0 if d > 0 else 1)] -= 1
            _emit(s.i, out, FVG_DEAD, d, zones[r, ID_TIME], dead, 0, NAN, NAN, NAN)
            if dead != MITIGATION:
                continue
            zones[r, MITIGATED], due = i, i + 1
        _keep(zones, edges, r, kept)
        _watch(s, FVG_REACH, FVG_DUE, d, edges[kept, REACH], due)
        kept += 1
    s.i[FVG_COUNT] = kept


@inner
def _blocks(s: Arrays, i: int, out: Output) -> None:
    at = i % len(s.times)
    high, low, close = s.candles[at, HIGH], s.candles[at, LOW], s.candles[at, CLOSE]
    rule, most, by_wick = s.options_i[OB_MITIGATION], s.options_i[OB_MAX_AGE], s.options_i[OB_BREAK_BY_WICK]
    zones, edges, kept = s.ob_i, s.ob_f, 0
    _unwatch(s, OB_REACH, OB_DUE)
    for r in range(s.i[OB_COUNT]):
        d, dead = zones[r, DIR], NOT_DEAD
        probe = low if d > 0 else high
        if i - zones[r, BORN] > most:
            dead = EXPIRED
        elif d * probe <= d * edges[r, REACH]:
            far = edges[r, BOTTOM] if d > 0 else edges[r, TOP]
            _reached(s, zones, edges, r, d, probe, OB_TOUCH, far, out)
            if zones[r, MITIGATED] < 0 and (rule == BY_TOUCH or (rule == BY_MID and zones[r, HALF])):
                zones[r, MITIGATED] = i
            if d * (probe if by_wick else close) < d * far:
                dead = BROKEN
        if dead == NOT_DEAD:
            _keep(zones, edges, r, kept)
            _watch(s, OB_REACH, OB_DUE, d, edges[kept, REACH], zones[kept, BORN] + most + 1)
            kept += 1
            continue
        s.i[OB_LIVING + (0 if d > 0 else 1)] -= 1
        _emit(s.i, out, OB_DEAD, d, zones[r, ID_TIME], dead, 0, NAN, NAN, NAN)
        if dead == BROKEN and s.options_i[OB_BREAKER]:
            n = s.i[BRK_COUNT]
            _new_zone(s.brk_i, s.brk_f, n, -d, zones[r, ID_TIME], i, edges[r, TOP], edges[r, BOTTOM], edges[r, EXTREME])
            _watch(s, BRK_REACH, BRK_DUE, -d, s.brk_f[n, REACH], i + most + 1)
            s.i[BRK_COUNT] = n + 1
            _emit(s.i, out, BRK_NEW, -d, zones[r, ID_TIME], 0, 0, NAN, NAN, NAN)
    s.i[OB_COUNT] = kept


@inner
def _breakers(s: Arrays, i: int, out: Output) -> None:
    at = i % len(s.times)
    high, low, close = s.candles[at, HIGH], s.candles[at, LOW], s.candles[at, CLOSE]
    zones, edges, kept, most = s.brk_i, s.brk_f, 0, s.options_i[OB_MAX_AGE]
    _unwatch(s, BRK_REACH, BRK_DUE)
    for r in range(s.i[BRK_COUNT]):
        d, dead = zones[r, DIR], NOT_DEAD
        probe = low if d > 0 else high
        if i - zones[r, BORN] > most:
            dead = EXPIRED
        elif d * probe <= d * edges[r, REACH]:
            far = edges[r, BOTTOM] if d > 0 else edges[r, TOP]
            _reached(s, zones, edges, r, d, probe, BRK_TOUCH, far, out)
            if d * close < d * far:
                dead = RECLAIMED
        if dead != NOT_DEAD:
            _emit(s.i, out, BRK_DEAD, d, zones[r, ID_TIME], dead, 0, NAN, NAN, NAN)
            continue
        _keep(zones, edges, r, kept)
        _watch(s, BRK_REACH, BRK_DUE, d, edges[kept, REACH], zones[kept, BORN] + most + 1)
        kept += 1
    s.i[BRK_COUNT] = kept


@inner
def _pools(s: Arrays, i: int, out: Output) -> None:
    at = i % len(s.times)
    high, low, close = s.candles[at, HIGH], s.candles[at, LOW], s.candles[at, CLOSE]
    zones, edges, kept = s.pool_i, s.pool_f, 0
    for r in range(s.i[POOL_COUNT]):
        d = zones[r, DIR]
        probe = high if d > 0 else low
        level = edges[r, LEVEL]
        dead = NOT_DEAD
        if i - zones[r, LAST] > s.options_i[LIQ_MAX_AGE]:
            dead = EXPIRED
        elif d * (probe - edges[r, ANCHOR]) > edges[r, TOLERANCE]:
            dead = BROKEN if d * close > d * level else SWEPT
        if dead != NOT_DEAD:
            side = 0 if d > 0 else 1
            s.i[POOL_LIVING + side] -= 1
            if dead == SWEPT:
                s.i[SWEPT_BAR + side] = i
            _emit(s.i, out, POOL_DEAD, d, zones[r, ID_TIME], dead, zones[r, COUNT], level, NAN, NAN)
            continue
        _keep(zones, edges, r, kept)
        kept += 1
    s.i[POOL_COUNT] = kept
    _watch_pools(s)


@inner
def _watch_pools(s: Arrays) -> None:
    """Nothing happens to pools before price passes the nearest first member or the oldest one expires."""
    s.i[POOL_DUE] = NEVER
    for side in range(2):
        s.f[POOL_REACH + side] = s.f[POOL_NEXT + side] = -np.inf if side else np.inf
    for r in range(s.i[POOL_COUNT]):
        d = s.pool_i[r, DIR]
        side = 0 if d > 0 else 1
        if d * s.pool_f[r, ANCHOR] < d * s.f[POOL_REACH + side]:
            s.f[POOL_REACH + side] = s.pool_f[r, ANCHOR]
        if d * s.pool_f[r, LEVEL] < d * s.f[POOL_NEXT + side]:
            s.f[POOL_NEXT + side] = s.pool_f[r, LEVEL]
        s.i[POOL_DUE] = min(s.i[POOL_DUE], s.pool_i[r, LAST] + s.options_i[LIQ_MAX_AGE] + 1)


# --- D, E: breaks of structure and the order blocks they reveal -------------------------------------------------------------


@inner
def _note(s: Arrays, slot: int, d: int, time: int, note: int, level: float) -> None:
    s.kept_i[slot, KEPT_DIR] = d
    s.kept_i[slot, KEPT_TIME] = time
    s.kept_i[slot, KEPT_NOTE] = note
    s.kept_f[slot] = level


@inner
def _is_broken(s: Arrays, side: int, at: int) -> bool:
    if s.i[REF_BAR + side] < 0:
        return False
    d = 1 if side == 0 else -1
    wick = s.candles[at, HIGH] if d > 0 else s.candles[at, LOW]
    source = wick if s.options_i[BREAK_BY_WICK] else s.candles[at, CLOSE]
    level = s.f[REF_LEVEL + side] + d * (s.options_f[BREAK_BUFFER_ATR] * s.f[ATR])
    return bool(d * source > d * level)


@inner
def _break(s: Arrays, i: int, out: Output) -> None:
    at = i % len(s.times)
    up, down = _is_broken(s, 0, at), _is_broken(s, 1, at)
    if not up and not down:
        return
    d = 1 if up else -1
    if up and down:
        body = s.candles[at, CLOSE] - s.candles[at, OPEN]
        d = 1 if body > 0.0 else (-1 if body < 0.0 else 0)
    swing_bar, swing_time, level = -1, 0, NAN
    if d != 0:
        side = 0 if d > 0 else 1
        swing_bar, swing_time, level = s.i[REF_BAR + side], s.i[REF_TIME + side], s.f[REF_LEVEL + side]
    if up:
        s.i[REF_BAR] = -1
        s.f[REF_LEVEL] = NAN
    if down:
        s.i[REF_BAR + 1] = -1
        s.f[REF_LEVEL + 1] = NAN
    if d == 0:
        _emit(s.i, out, AMBIG, 0, 0, 0, 0, NAN, NAN, NAN)
        return
    trend = s.i[TREND]
    choch = 1 if trend == -d else 0
    s.i[TREND] = d
    side = 0 if d > 0 else 1
    s.i[BREAK_BAR + side] = i
    s.i[BREAK_IS_CHOCH + side] = choch
    if choch:
        s.i[CHOCH_BAR + side] = i
    slot = SWINGS_KEPT + s.i[BREAKS_SEEN] % BREAKS_KEPT
    s.i[BREAKS_SEEN] += 1
    _note(s, slot, d, s.i[TIME], choch, level)
    _emit(s.i, out, CHOCH if choch else BOS, d, swing_time, trend, 0, level, NAN, NAN)
    _order_block(s, i, d, swing_bar, out)


@inner
def _order_block(s: Arrays, i: int, d: int, swing_bar: int, out: Output) -> None:
    """The last opposite candle at or before the origin of the impulse that broke the swing of `swing_bar`."""
    ring = len(s.times)
    side = 0 if d > 0 else 1
    column = LOW if d > 0 else HIGH
    first = max(swing_bar, i - s.options_i[OB_MAX_LOOKBACK])
    origin = first
    for j in range(first, i):
        if d * s.candles[j % ring, column] <= d * s.candles[origin % ring, column]:
            origin = j
    k = origin
    while k >= first and not d * s.candles[k % ring, CLOSE] < d * s.candles[k % ring, OPEN]:
        k -= 1
    if k < first or k <= s.i[OB_LAST_K + side]:
        return
    at = k % ring
    extreme = s.candles[origin % ring, column]
    if s.options_i[OB_BODY]:
        top = max(s.candles[at, OPEN], s.candles[at, CLOSE])
        bottom = min(s.candles[at, OPEN], s.candles[at, CLOSE])
    else:
        top, bottom = s.candles[at, HIGH], s.candles[at, LOW]
    atr = s.f[ATR]
    if not d * (s.candles[i % ring, CLOSE] - extreme) >= s.options_f[OB_MIN_DISP_ATR] * atr:
        return
    if not top - bottom <= s.options_f[OB_MAX_HEIGHT_ATR] * atr:
        return
    if s.i[OB_LIVING + side] >= s.options_i[OB_MAX_ACTIVE]:
        row = _oldest(s.ob_i, d)
        _emit(s.i, out, OB_DEAD, d, s.ob_i[row, ID_TIME], EVICTED, 0, NAN, NAN, NAN)
        s.i[OB_COUNT] = _remove(s.ob_i, s.ob_f, row, s.i[OB_COUNT])
        s.i[OB_LIVING + side] -= 1
    s.i[OB_LAST_K + side] = k
    n = s.i[OB_COUNT]
    _new_zone(s.ob_i, s.ob_f, n, d, s.times[at], i, top, bottom, extreme)
    _watch(s, OB_REACH, OB_DUE, d, s.ob_f[n, REACH], i + s.options_i[OB_MAX_AGE] + 1)
    s.i[OB_COUNT] = n + 1
    s.i[OB_LIVING + side] += 1
    _emit(s.i, out, OB_NEW, d, s.times[at], 0, 0, top, bottom, extreme)


@inner
def _new_zone(
    table_i: Ints, table_f: Floats, row: int, d: int, named: int, i: int, top: float, bottom: float, extreme: float
) -> None:
    table_i[row, DIR] = d
    table_i[row, ID_TIME] = named
    table_i[row, BORN] = i
    table_i[row, TOUCHED] = 0
    table_i[row, HALF] = 0
    table_i[row, FILLED] = 0
    table_i[row, MITIGATED] = -1
    table_f[row, TOP] = top
    table_f[row, BOTTOM] = bottom
    table_f[row, EXTREME] = extreme
    table_f[row, REACH] = top if d > 0 else bottom


# --- F: a new fair value gap --------------------------------------------------------------------------------------------


@inner
def _new_gap(s: Arrays, i: int, out: Output) -> None:
    if i < 2:
        return
    ring = len(s.times)
    first, middle, last = (i - 2) % ring, (i - 1) % ring, i % ring
    if s.candles[last, LOW] > s.candles[first, HIGH]:
        d, top, bottom = 1, s.candles[last, LOW], s.candles[first, HIGH]
    elif s.candles[last, HIGH] < s.candles[first, LOW]:
        d, top, bottom = -1, s.candles[first, LOW], s.candles[last, HIGH]
    else:
        return
    if s.options_i[FVG_DIRECTED] and not d * s.candles[middle, CLOSE] > d * s.candles[middle, OPEN]:
        return
    if not top - bottom >= s.options_f[FVG_MIN_ATR] * s.f[ATR]:
        return
    side = 0 if d > 0 else 1
    if s.i[FVG_LIVING + side] >= s.options_i[FVG_MAX_ACTIVE]:
        row = 0
        while s.fvg_i[row, DIR] != d or s.fvg_i[row, MITIGATED] >= 0:
            row += 1
        _emit(s.i, out, FVG_DEAD, d, s.fvg_i[row, ID_TIME], EVICTED, 0, NAN, NAN, NAN)
        s.i[FVG_COUNT] = _remove(s.fvg_i, s.fvg_f, row, s.i[FVG_COUNT])
        s.i[FVG_LIVING + side] -= 1
    n = s.i[FVG_COUNT]
    _new_zone(s.fvg_i, s.fvg_f, n, d, s.i[TIME], i, top, bottom, NAN)
    _watch(s, FVG_REACH, FVG_DUE, d, s.fvg_f[n, REACH], i + s.options_i[FVG_MAX_AGE] + 1)
    s.i[FVG_COUNT] = n + 1
    s.i[FVG_LIVING + side] += 1
    _emit(s.i, out, FVG_NEW, d, s.i[TIME], 0, 0, top, bottom, NAN)


# --- G: swings, and what they confirm ---------------------------------------------------------------------------------------


@inner
def _swings(s: Arrays, i: int, out: Output) -> None:
    left, right = s.options_i[SWING_LEFT], s.options_i[SWING_RIGHT]
    p = i - right
    if p < left:
        return
    ring = len(s.times)
    for side in range(2):
        d = 1 if side == 0 else -1
        column = HIGH if d > 0 else LOW
        level = s.candles[p % ring, column]
        is_swing = True
        for j in range(p + 1, i + 1):
            if d * s.candles[j % ring, column] >= d * level:
                is_swing = False
                break
        if is_swing:
            for j in range(p - left, p):
                if d * s.candles[j % ring, column] > d * level:
                    is_swing = False
                    break
        if is_swing:
            _confirm(s, i, p, d, side, level, out)


@inner
def _confirm(s: Arrays, i: int, p: int, d: int, side: int, level: float, out: Output) -> None:
    ring = len(s.times)
    time, rsi = s.times[p % ring], s.candles[p % ring, RING_RSI]
    q = s.i[SWING_BAR + side]
    label = LABEL_FIRST
    if q >= 0:
        before = s.f[SWING_LEVEL + side]
        label = LABEL_EQUAL if level == before else (LABEL_BEYOND if d * level > d * before else LABEL_INSIDE)
    _emit(s.i, out, SWING, d, time, label, 0, level, NAN, NAN)
    slot = s.i[SWINGS_SEEN] % SWINGS_KEPT
    s.i[SWINGS_SEEN] += 1
    _note(s, slot, d, time, label, level)
    # Price went further, momentum did not: a lower low (d = -1) speaks for the bulls.
    lag = d * (s.f[SWING_RSI + side] - rsi)
    if label == LABEL_BEYOND and p - q <= s.options_i[DIV_MAX_BARS] and lag >= s.options_f[DIV_MIN_DELTA]:
        s.i[DIV_BAR + (1 - side)] = i
        _emit(s.i, out, DIV, -d, time, s.i[SWING_TIME + side], 0, NAN, NAN, NAN)
    s.i[SWING_BAR + side] = p
    s.i[SWING_TIME + side] = time
    s.f[SWING_LEVEL + side] = level
    s.f[SWING_RSI + side] = rsi
    s.i[REF_BAR + side] = p
    s.i[REF_TIME + side] = time
    s.f[REF_LEVEL + side] = level
    s.f[RANGE + side] = level
    _to_pool(s, i, d, side, level, time, out)


@inner
def _to_pool(s: Arrays, i: int, d: int, side: int, level: float, time: int, out: Output) -> None:
    best, nearest = -1, NAN
    for r in range(s.i[POOL_COUNT]):
        if s.pool_i[r, DIR] != d:
            continue
        distance = abs(level - s.pool_f[r, ANCHOR])
        # Rows stand oldest first, so at equal distance the latest created wins.
        if distance <= s.pool_f[r, TOLERANCE] and (best < 0 or distance <= nearest):
            best, nearest = r, distance
    if best >= 0:
        if d * level > d * s.pool_f[best, LEVEL]:
            s.pool_f[best, LEVEL] = level
        s.pool_i[best, COUNT] += 1
        s.pool_i[best, LAST] = i
        named, members, reach = s.pool_i[best, ID_TIME], s.pool_i[best, COUNT], s.pool_f[best, LEVEL]
        _emit(s.i, out, POOL_JOIN, d, named, 0, members, reach, NAN, NAN)
        _watch_pools(s)
        return
    tolerance = s.options_f[EQ_TOL_ATR] * s.f[ATR]
    if not tolerance >= 0.0:  # no ATR yet
        return
    if s.i[POOL_LIVING + side] >= s.options_i[LIQ_MAX_POOLS]:
        row = _oldest(s.pool_i, d)
        named, members, reach = s.pool_i[row, ID_TIME], s.pool_i[row, COUNT], s.pool_f[row, LEVEL]
        _emit(s.i, out, POOL_DEAD, d, named, EVICTED, members, reach, NAN, NAN)
        s.i[POOL_COUNT] = _remove(s.pool_i, s.pool_f, row, s.i[POOL_COUNT])
        s.i[POOL_LIVING + side] -= 1
    n = s.i[POOL_COUNT]
    s.pool_i[n, DIR] = d
    s.pool_i[n, ID_TIME] = time
    s.pool_i[n, BORN] = i
    s.pool_i[n, COUNT] = 1
    s.pool_i[n, LAST] = i
    s.pool_f[n, LEVEL] = level
    s.pool_f[n, ANCHOR] = level
    s.pool_f[n, TOLERANCE] = tolerance
    s.i[POOL_COUNT] = n + 1
    s.i[POOL_LIVING + side] += 1
    _emit(s.i, out, POOL_NEW, d, time, 0, 1, level, tolerance, NAN)
    _watch_pools(s)


# --- H: dealing range, and the row of this bar --------------------------------------------------------------------------------


@inner
def _range(f: Floats, high: float, low: float, close: float) -> None:
    # Not max and min: with NaN their answer depends on who computes them.
    if high > f[RANGE]:
        f[RANGE] = high
    if low < f[RANGE + 1]:
        f[RANGE + 1] = low
    top, bottom = f[RANGE], f[RANGE + 1]
    if np.isnan(top) or np.isnan(bottom):
        return
    f[RANGE_POS] = (close - bottom) / (top - bottom) if top > bottom else 0.5


@inner
def _row(s: Arrays, close: float, rows: Floats, n: int) -> None:
    above, below = s.f[POOL_NEXT], s.f[POOL_NEXT + 1]
    if not above > close or not below < close:
        above, below = np.inf, -np.inf
        for r in range(s.i[POOL_COUNT]):
            level = s.pool_f[r, LEVEL]
            if s.pool_i[r, DIR] > 0:
                if level > close and not level >= above:
                    above = level
            elif level < close and not level <= below:
                below = level
    rows[n, ROW_EMA] = s.f[EMA]
    rows[n, ROW_ATR] = s.f[ATR]
    rows[n, ROW_ADX] = s.f[ADX]
    rows[n, ROW_PLUS_DI] = s.f[PLUS_DI]
    rows[n, ROW_MINUS_DI] = s.f[MINUS_DI]
    rows[n, ROW_RSI] = s.f[RSI]
    rows[n, ROW_TREND] = s.i[TREND]
    rows[n, ROW_REF_HIGH] = s.f[REF_LEVEL]
    rows[n, ROW_REF_LOW] = s.f[REF_LEVEL + 1]
    rows[n, ROW_RANGE_HIGH] = s.f[RANGE]
    rows[n, ROW_RANGE_LOW] = s.f[RANGE + 1]
    rows[n, ROW_RANGE_POS] = s.f[RANGE_POS]
    rows[n, ROW_LIQ_ABOVE] = above if above < np.inf else NAN
    rows[n, ROW_LIQ_BELOW] = below if below > -np.inf else NAN


# --- the entry zone of the newest bar (smc-spec 4, C1): a search, it changes nothing --------------------------------------

NO_ROW: Final = -1


@outer
def choose_zone(whole: Ints, real: Floats, d: int, blocks: bool, gaps: bool, only_pairs: bool) -> tuple[int, int]:
    """Rows of the order block and of the gap that make the best usable zone of side `d`; NO_ROW for what is no part of it.

    Two rows are a pair, and its zone is their intersection. `blocks`, `gaps`: which kinds may be used. Smallest key: not
    touched by this bar, kind, distance of the close to the near edge, then the youngest, then the name.
    """
    return _best_zone(_borrowed(whole, real), d, blocks, gaps, only_pairs)


@inner
def _best_zone(s: Arrays, d: int, blocks: bool, gaps: bool, only_pairs: bool) -> tuple[int, int]:
    i = s.i[BARS] - 1
    at = i % len(s.times)
    probe, close = s.candles[at, LOW] if d > 0 else s.candles[at, HIGH], s.candles[at, CLOSE]
    best, best_block, best_gap = (2, 3, NAN, 0), NO_ROW, NO_ROW
    # Row -1 stands for "no block" or "no gap": every block, every gap and every pair is one combination.
    for b in range(-1, s.i[OB_COUNT] if blocks else 0):
        if b >= 0 and not _is_usable(s.ob_i, s.ob_f, b, i, d, close):
            continue
        for g in range(-1, s.i[FVG_COUNT] if gaps else 0):
            if (b < 0 and g < 0) or (only_pairs and (b < 0 or g < 0)):
                continue
            if g >= 0 and not _is_usable(s.fvg_i, s.fvg_f, g, i, d, close):
                continue
            top, bottom, known = np.inf, -np.inf, 0
            if b >= 0:
                top, bottom, known = s.ob_f[b, TOP], s.ob_f[b, BOTTOM], s.ob_i[b, BORN]
            if g >= 0:
                top, bottom = min(top, s.fvg_f[g, TOP]), max(bottom, s.fvg_f[g, BOTTOM])
                known = max(known, s.fvg_i[g, BORN])
            near, far = (top, bottom) if d > 0 else (bottom, top)
            if not top > bottom or d * close < d * far:
                continue
            kind = 0 if b >= 0 and g >= 0 else (1 if b >= 0 else 2)
            key = (0 if d * probe <= d * near else 1, kind, abs(close - near), -known)
            if best[0] == 2 or key < best or (key == best and _is_named_before(s, b, g, best_block, best_gap)):
                best, best_block, best_gap = key, b, g
    return best_block, best_gap


@inner
def _is_usable(table_i: Ints, table_f: Floats, row: int, i: int, d: int, close: float) -> bool:
    """Known before bar i, not mitigated before it, close not beyond the far edge."""
    if table_i[row, DIR] != d or table_i[row, BORN] >= i:
        return False
    if table_i[row, MITIGATED] >= 0 and table_i[row, MITIGATED] != i:
        return False
    far = table_f[row, BOTTOM] if d > 0 else table_f[row, TOP]
    return bool(d * close >= d * far)


@inner
def _is_named_before(s: Arrays, b: int, g: int, other_b: int, other_g: int) -> bool:
    """Whether the id of zone (b, g) sorts before another of the same kind, as strings do: 100 before 99."""
    if b >= 0 and b != other_b:
        return _is_text_less(s.ob_i[b, ID_TIME], s.ob_i[other_b, ID_TIME])
    return g >= 0 and _is_text_less(s.fvg_i[g, ID_TIME], s.fvg_i[other_g, ID_TIME])


@njit(cache=True)
def _is_text_less(a: int, b: int) -> bool:
    """Order of two whole numbers >= 0 as decimal text."""
    x, y = a, b
    for _ in range(_digits(b) - _digits(a)):
        x *= 10
    for _ in range(_digits(a) - _digits(b)):
        y *= 10
    return x < y or (x == y and a < b)


@inner
def _digits(a: int) -> int:
    count = 1
    while a >= 10:
        a //= 10
        count += 1
    return count


# --- a whole history: rules B1 to D3 of smc-spec 4, bar by bar ----------------------------------------------------------

NOT_ASKED: Final = 0
NO_STRUCTURE: Final = 1
OPPOSED: Final = 2
TOO_OLD: Final = 3
NO_ZONE: Final = 4
NO_RETEST: Final = 5
NO_REJECTION: Final = 6
ZONE_USED: Final = 7
NO_RANGE: Final = 8
MIDDLE_OF_RANGE: Final = 9
WRONG_HALF: Final = 10
WEAK_TREND: Final = 11
DI_OPPOSED: Final = 12
ODD_VOLATILITY: Final = 13

SETUP_MAX_AGE: Final = 0
USES_BLOCKS: Final = 1
USES_GAPS: Final = 2
ONLY_PAIRS: Final = 3
BY_TOUCH_ONLY: Final = 4
PD_FILTER: Final = 5
ADX_DI_ALIGN: Final = 6
TERMS: Final = 7

PD_BAND: Final = 0
ADX_MIN: Final = 1
ATR_PCT_MIN: Final = 2
ATR_PCT_MAX: Final = 3
LIMITS: Final = 4


FOUND_EMA: Final = 0
FOUND_ATR: Final = 1
FOUND_TREND: Final = 2
FOUND_SWING: Final = 3  # the last confirmed swing high, then the low
FOUND_WIDTH: Final = 5


class Findings(NamedTuple):
    """What `seek` writes, one entry a candle."""

    values: Floats  # (n, FOUND_WIDTH)
    choch: npt.NDArray[np.int8]  # direction of the change of character known at this bar
    verdict: npt.NDArray[np.int8]  # the first of rules B1 to D3 that fails, NOT_ASKED where no side was given


class Terms(NamedTuple):
    """What `seek` judges by: `whole` (TERMS,) and `real` (LIMITS,) parameters, and the zones that are used up, as `used_key` has them."""

    whole: Ints
    real: Floats
    used: Ints


def used_key(is_gap: bool, d: int, id_time: int) -> int:
    """A zone as one number: kind, direction and the candle it is named after."""
    return id_time * 4 + (2 if is_gap else 0) + (1 if d > 0 else 0)


_used_key = inner(used_key)


@outer
def seek(
    whole: Ints,
    real: Floats,
    times: Ints,
    candles: Floats,
    start: int,
    sides: npt.NDArray[np.int8],
    terms: Terms,
    out_i: Ints,
    out_f: Floats,
    found: Findings,
) -> int:
    """Take candles from `start` on, which `inspect` found sound, and stop after the first that passes rules B1 to D3.

    `sides` (n,): the side that rules A left standing, 0 for none; n candles are taken at most. `out_i` and `out_f` are an Output,
    written over. Returns the index of the candle it stopped after, n when there was none.
    """
    s, out = _borrowed(whole, real), Output(out_i, out_f)
    for n in range(start, len(sides)):
        _take(s, times, candles, n, out)
        s.i[EVENTS] = 0
        i = s.i[BARS] - 1
        found.values[n, FOUND_EMA], found.values[n, FOUND_ATR] = s.f[EMA], s.f[ATR]
        found.values[n, FOUND_TREND] = s.i[TREND]
        found.values[n, FOUND_SWING], found.values[n, FOUND_SWING + 1] = s.f[SWING_LEVEL], s.f[SWING_LEVEL + 1]
        found.choch[n] = 1 if s.i[CHOCH_BAR] == i else (-1 if s.i[CHOCH_BAR + 1] == i else 0)
        d = int(sides[n])
        if d != 0:
            found.verdict[n] = _verdict_on_setup(s, i, d, terms)
            if found.verdict[n] == NOT_ASKED:
                return n
    return len(sides)


@inner
def _verdict_on_setup(s: Arrays, i: int, d: int, by: Terms) -> int:
    """Rules B1 to D3."""
    if s.i[TREND] != d:
        return NO_STRUCTURE if s.i[TREND] == 0 else OPPOSED
    broken = s.i[BREAK_BAR + (0 if d > 0 else 1)]
    if broken < 0 or i - broken > by.whole[SETUP_MAX_AGE]:
        return TOO_OLD
    verdict = _verdict_on_zone(s, i, d, by)
    return verdict if verdict != NOT_ASKED else _verdict_on_market(s.f, s.candles[i % len(s.times), CLOSE], d, by)


@inner
def _verdict_on_zone(s: Arrays, i: int, d: int, by: Terms) -> int:
    """Rules C1 to C4."""
    terms = by.whole
    b, g = _best_zone(s, d, terms[USES_BLOCKS] != 0, terms[USES_GAPS] != 0, terms[ONLY_PAIRS] != 0)
    if b == NO_ROW and g == NO_ROW:
        return NO_ZONE
    top, bottom = np.inf, -np.inf
    if b != NO_ROW:
        top, bottom = s.ob_f[b, TOP], s.ob_f[b, BOTTOM]
    if g != NO_ROW:
        top, bottom = min(top, s.fvg_f[g, TOP]), max(bottom, s.fvg_f[g, BOTTOM])
    at = i % len(s.times)
    near, far = (top, bottom) if d > 0 else (bottom, top)
    if d * (s.candles[at, LOW] if d > 0 else s.candles[at, HIGH]) > d * near:
        return NO_RETEST
    close = s.candles[at, CLOSE]
    if terms[BY_TOUCH_ONLY]:
        rejects = d * close >= d * far
    else:
        rejects = d * close > d * s.candles[at, OPEN] and d * close >= d * ((top + bottom) / 2.0)
    if not rejects:
        return NO_REJECTION
    used_b = _used_key(False, d, s.ob_i[b, ID_TIME]) if b != NO_ROW else -1
    used_g = _used_key(True, d, s.fvg_i[g, ID_TIME]) if g != NO_ROW else -1
    for n in range(len(by.used)):
        if by.used[n] == used_b or by.used[n] == used_g:
            return ZONE_USED
    return NOT_ASKED


@inner
def _verdict_on_market(f: Floats, close: float, d: int, by: Terms) -> int:
    """Rules D1 to D3."""
    if by.whole[PD_FILTER]:
        pos, band = f[RANGE_POS], by.real[PD_BAND]
        if np.isnan(pos):
            return NO_RANGE
        below, above = pos <= 0.5 - band, pos >= 0.5 + band
        if not (below if d > 0 else above):
            return WRONG_HALF if (above if d > 0 else below) else MIDDLE_OF_RANGE
    if not f[ADX] >= by.real[ADX_MIN]:
        return WEAK_TREND
    if by.whole[ADX_DI_ALIGN] and not d * f[PLUS_DI] > d * f[MINUS_DI]:
        return DI_OPPOSED
    share = f[ATR] / close
    return NOT_ASKED if by.real[ATR_PCT_MIN] <= share <= by.real[ATR_PCT_MAX] else ODD_VOLATILITY

"""Indicators and structure of one candle series (smc-spec sections 1 and 2) as one incremental state machine.

`advance` takes one closed candle or a million and writes the same bytes into the state, the rows and the events. It is
compiled; with NUMBA_DISABLE_JIT=1 the same text runs as plain Python. There is no second implementation.

It must not know symbols, bias, entry rules, parameters by name or time: only candles in order, already found sound by `inspect`.

Everything compiled stands in this one file because numba's cache watches only the file of the function that was called: a
helper or constant changed elsewhere would leave stale machine code behind. fastmath stays off: re-association would make
results depend on the compiler.

Conventions: `d` is +1 for bullish, high or buy-side and -1 for its mirror; `side` is 0 for +1 and 1 for -1. `d * x < d * y`
is the mirrored comparison and exact, since multiplying by one is. A missing value is NaN, and a comparison with it is false.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

NAN: Final = float("nan")

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
STATE_I: Final = 36

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
STATE_F: Final = 23

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
ZONE_F: Final = 3

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
KEPT_BAR: Final = 3
KEPT_I: Final = 4

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
    """The whole state of one series, and its parameters. Sizes depend on the parameters, never on how many candles came."""

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
    swings_i: Ints  # (SWINGS_KEPT, KEPT_I) ring
    swings_f: Floats
    breaks_i: Ints  # (BREAKS_KEPT, KEPT_I) ring
    breaks_f: Floats


class Output(NamedTuple):
    """Where events go; enough room for one bar's worst case lets `advance` make progress."""

    i: Ints  # (n, EVENT_I)
    f: Floats  # (n, EVENT_F)


def make_arrays(options_i: Ints, options_f: Floats) -> Arrays:
    """An empty series. `options_i` (OPTIONS_I,) and `options_f` (OPTIONS_F,) as numbered above; EVENTS_MOST is filled in here."""
    ring = int(max(options_i[OB_MAX_LOOKBACK], options_i[SWING_LEFT] + options_i[SWING_RIGHT], 3)) + 2
    # Gaps mitigated at the newest bar stay one bar longer: entries may use the retest that ends them.
    gaps = 2 * int(options_i[FVG_MAX_ACTIVE]) + 2
    blocks = 2 * int(options_i[OB_MAX_ACTIVE]) + 2
    # A bar makes at most one block, a block lives and its breaker after it at most ob_max_age bars each.
    breakers = 2 * int(options_i[OB_MAX_AGE]) + 4
    pools = 2 * int(options_i[LIQ_MAX_POOLS]) + 2
    options_i = options_i.copy()
    options_i[EVENTS_MOST] = 4 * gaps + 4 * blocks + 2 * breakers + pools + 16
    state_i = np.zeros(STATE_I, np.int64)
    for first, last in ((REF_BAR, REF_BAR + 2), (SWING_BAR, SWING_BAR + 2), (BREAK_BAR, BREAK_BAR + 2)):
        state_i[first:last] = -1
    state_i[CHOCH_BAR : OB_LAST_K + 2] = -1
    return Arrays(
        options_i=options_i,
        options_f=options_f.copy(),
        i=state_i,
        f=np.where(np.isin(np.arange(STATE_F), SUMS), 0.0, NAN),
        times=np.zeros(ring, np.int64),
        candles=np.zeros((ring, RING_WIDTH)),
        fvg_i=np.zeros((gaps, ZONE_I), np.int64),
        fvg_f=np.zeros((gaps, ZONE_F)),
        ob_i=np.zeros((blocks, ZONE_I), np.int64),
        ob_f=np.zeros((blocks, ZONE_F)),
        brk_i=np.zeros((breakers, ZONE_I), np.int64),
        brk_f=np.zeros((breakers, ZONE_F)),
        pool_i=np.zeros((pools, POOL_I), np.int64),
        pool_f=np.zeros((pools, POOL_F)),
        swings_i=np.zeros((SWINGS_KEPT, KEPT_I), np.int64),
        swings_f=np.zeros(SWINGS_KEPT),
        breaks_i=np.zeros((BREAKS_KEPT, KEPT_I), np.int64),
        breaks_f=np.zeros(BREAKS_KEPT),
    )


SUMS: Final = (EMA_SUM, TR_SUM, PLUS_DM, MINUS_DM, DM_TR, DX_SUM, GAIN, LOSS)


def make_output(size: int) -> Output:
    """Room for `size` events."""
    return Output(np.zeros((size, EVENT_I), np.int64), np.zeros((size, EVENT_F)))


@njit(cache=True)
def inspect(s: Arrays, times: Ints, candles: Floats) -> tuple[int, int]:
    """Step A: the first candle that must not be taken after this state and those before it, and why; (n, SOUND) if all may.

    `times` (n,) open times in ms; `candles` (n, 5) open, high, low, close, volume. Changes nothing.
    """
    tf = s.options_i[TF_MS]
    seen = s.i[BARS]
    previous = s.i[TIME]
    ring = len(s.times)
    for n in range(len(times)):
        time = times[n]
        o, h, low, c, v = candles[n, 0], candles[n, 1], candles[n, 2], candles[n, 3], candles[n, 4]
        finite = np.isfinite(o) and np.isfinite(h) and np.isfinite(low) and np.isfinite(c) and np.isfinite(v)
        if not finite or low <= 0.0 or v < 0.0 or h < max(o, c) or low > min(o, c) or time < 0 or time % tf != 0:
            return n, MALFORMED
        if seen > 0 and time <= previous:
            if time < previous:
                return n, MALFORMED
            same = True
            for k in range(5):
                newest = candles[n - 1, k] if n > 0 else s.candles[(seen - 1) % ring, k]
                if newest != candles[n, k]:
                    same = False
            return n, REPEATED if same else REVISED
        if seen > 0 and time - previous > tf:
            return n, GAP
        previous = time
        seen += 1
    return len(times), SOUND


@njit(cache=True)
def advance(s: Arrays, times: Ints, candles: Floats, start: int, rows: Floats, out: Output) -> tuple[int, int]:
    """Take candles `start`.. in order, steps B to H; stop early when `out` might not hold the next bar's events.

    `rows` (n, ROW_WIDTH) receives one row a candle. Returns (index of the first candle not taken, events written).
    """
    events = 0
    n = start
    room = len(out.i) - s.options_i[EVENTS_MOST]
    ring = len(s.times)
    while n < len(times) and events <= room:
        i = s.i[BARS]
        at = i % ring
        s.times[at] = times[n]
        for k in range(5):
            s.candles[at, k] = candles[n, k]
        if i == 0:
            s.i[ANCHOR_TIME] = times[n]
        s.i[TIME] = times[n]
        _indicators(s, i)
        events = _gaps(s, i, out, events)
        events = _blocks(s, i, out, events)
        events = _pools(s, i, out, events)
        events = _break(s, i, out, events)
        events = _new_gap(s, i, out, events)
        events = _swings(s, i, out, events)
        _range(s, i)
        s.i[BARS] = i + 1
        _row(s, i, rows, n)
        n += 1
    return n, events


@njit(cache=True)
def _emit(
    s: Arrays,
    i: int,
    out: Output,
    events: int,
    kind: int,
    d: int,
    src: int,
    note: int,
    count: int,
    x: float,
    y: float,
    z: float,
) -> int:
    out.i[events, EV_BAR] = i
    out.i[events, EV_TIME] = s.i[TIME]
    out.i[events, EV_TYPE] = kind
    out.i[events, EV_DIR] = d
    out.i[events, EV_SRC] = src
    out.i[events, EV_NOTE] = note
    out.i[events, EV_COUNT] = count
    out.f[events, 0] = x
    out.f[events, 1] = y
    out.f[events, 2] = z
    return events + 1


# --- B: indicators. The order of operations is TA-Lib's, so that the last bits agree too ----------------------------------


@njit(cache=True)
def _indicators(s: Arrays, i: int) -> None:
    ring = len(s.times)
    high, low, close = s.candles[i % ring, HIGH], s.candles[i % ring, LOW], s.candles[i % ring, CLOSE]
    _ema(s, i, close)
    if i > 0:
        before = (i - 1) % ring
        high_before, low_before, close_before = (
            s.candles[before, HIGH],
            s.candles[before, LOW],
            s.candles[before, CLOSE],
        )
        true_range = max(high - low, abs(high - close_before), abs(low - close_before))
        _atr(s, i, true_range)
        _adx(s, i, high - high_before, low_before - low, true_range)
        _rsi(s, i, close - close_before)
    s.candles[i % ring, RING_RSI] = s.f[RSI]


@njit(cache=True)
def _ema(s: Arrays, i: int, x: float) -> None:
    n = s.options_i[EMA_PERIOD]
    if i < n:
        s.f[EMA_SUM] += x
        if i == n - 1:
            s.f[EMA] = s.f[EMA_SUM] / n
    else:
        s.f[EMA] = (x - s.f[EMA]) * (2.0 / (n + 1)) + s.f[EMA]


@njit(cache=True)
def _atr(s: Arrays, i: int, true_range: float) -> None:
    n = s.options_i[ATR_PERIOD]
    if i <= n:
        s.f[TR_SUM] += true_range
        if i == n:
            s.f[ATR] = s.f[TR_SUM] / n
    else:
        s.f[ATR] = (s.f[ATR] * (n - 1) + true_range) / n


@njit(cache=True)
def _adx(s: Arrays, i: int, up: float, down: float, true_range: float) -> None:
    n = s.options_i[ADX_PERIOD]
    plus, minus = 0.0, 0.0
    if down > 0.0 and up < down:
        minus = down
    elif up > 0.0 and up > down:
        plus = up
    if i < n:
        s.f[PLUS_DM] += plus
        s.f[MINUS_DM] += minus
        s.f[DM_TR] += true_range
        return
    s.f[PLUS_DM] = s.f[PLUS_DM] - s.f[PLUS_DM] / n + plus
    s.f[MINUS_DM] = s.f[MINUS_DM] - s.f[MINUS_DM] / n + minus
    s.f[DM_TR] = s.f[DM_TR] - s.f[DM_TR] / n + true_range
    moved = s.f[DM_TR] != 0.0
    s.f[PLUS_DI] = 100.0 * (s.f[PLUS_DM] / s.f[DM_TR]) if moved else 0.0
    s.f[MINUS_DI] = 100.0 * (s.f[MINUS_DM] / s.f[DM_TR]) if moved else 0.0
    both = s.f[MINUS_DI] + s.f[PLUS_DI]
    defined = moved and both != 0.0
    dx = 100.0 * (abs(s.f[MINUS_DI] - s.f[PLUS_DI]) / both) if defined else 0.0
    if i < 2 * n:
        s.f[DX_SUM] += dx
        if i == 2 * n - 1:
            s.f[ADX] = s.f[DX_SUM] / n
    elif defined:
        s.f[ADX] = (s.f[ADX] * (n - 1) + dx) / n


@njit(cache=True)
def _rsi(s: Arrays, i: int, change: float) -> None:
    n = s.options_i[RSI_PERIOD]
    gain = max(change, 0.0)
    loss = max(-change, 0.0)
    if i <= n:
        s.f[GAIN] += gain
        s.f[LOSS] += loss
        if i < n:
            return
        s.f[GAIN] /= n
        s.f[LOSS] /= n
    else:
        s.f[GAIN] = (s.f[GAIN] * (n - 1) + gain) / n
        s.f[LOSS] = (s.f[LOSS] * (n - 1) + loss) / n
    both = s.f[GAIN] + s.f[LOSS]
    # TA-Lib says 0 when nothing moved; a flat market is neither weak nor strong.
    s.f[RSI] = 100.0 * (s.f[GAIN] / both) if both != 0.0 else 50.0


# --- C: lifecycle of what was known before this bar -----------------------------------------------------------------------


@njit(cache=True)
def _keep(table_i: Ints, table_f: Floats, row: int, to: int) -> None:
    """Move a living row up over the dead ones before it: tables stay packed and oldest first."""
    if row != to:
        table_i[to] = table_i[row]
        table_f[to] = table_f[row]


@njit(cache=True)
def _oldest_out(table_i: Ints, table_f: Floats, count: int, d: int, skip_mitigated: bool) -> int:
    """Remove the oldest row of side `d` and return what names it. The caller knows that there is one."""
    row = 0
    while table_i[row, DIR] != d or (skip_mitigated and table_i[row, MITIGATED] >= 0):
        row += 1
    named = table_i[row, ID_TIME]
    for later in range(row + 1, count):
        _keep(table_i, table_f, later, later - 1)
    return int(named)


@njit(cache=True)
def _gaps(s: Arrays, i: int, out: Output, events: int) -> int:
    at = i % len(s.times)
    close = s.candles[at, CLOSE]
    rule = s.options_i[FVG_MITIGATION]
    kept = 0
    for r in range(s.i[FVG_COUNT]):
        z = s.fvg_i[r]
        if z[MITIGATED] >= 0:
            continue
        d, named = z[DIR], z[ID_TIME]
        side = 0 if d > 0 else 1
        probe = s.candles[at, LOW] if d > 0 else s.candles[at, HIGH]
        near, far = (s.fvg_f[r, TOP], s.fvg_f[r, BOTTOM]) if d > 0 else (s.fvg_f[r, BOTTOM], s.fvg_f[r, TOP])
        dead = -1
        if i - z[BORN] > s.options_i[FVG_MAX_AGE]:
            dead = EXPIRED
        elif d * probe <= d * near:
            if not z[TOUCHED]:
                z[TOUCHED] = 1
                events = _emit(s, i, out, events, FVG_TOUCH, d, named, 0, 0, NAN, NAN, NAN)
            if not z[HALF] and d * probe <= d * ((near + far) / 2.0):
                z[HALF] = 1
                events = _emit(s, i, out, events, FVG_MID, d, named, 0, 0, NAN, NAN, NAN)
            if not z[FILLED] and d * probe <= d * far:
                z[FILLED] = 1
                events = _emit(s, i, out, events, FVG_FILL, d, named, 0, 0, NAN, NAN, NAN)
            if d * close < d * far:
                dead = INVALIDATED
            elif (rule == BY_TOUCH) or (rule == BY_MID and z[HALF]) or (rule == BY_FULL and z[FILLED]):
                dead = MITIGATION
        if dead >= 0:
            s.i[FVG_LIVING + side] -= 1
            events = _emit(s, i, out, events, FVG_DEAD, d, named, dead, 0, NAN, NAN, NAN)
            if dead != MITIGATION:
                continue
            z[MITIGATED] = i
        _keep(s.fvg_i, s.fvg_f, r, kept)
        kept += 1
    s.i[FVG_COUNT] = kept
    return events


@njit(cache=True)
def _blocks(s: Arrays, i: int, out: Output, events: int) -> int:
    events = _breakers(s, i, out, events)  # first: a block broken by this bar is a breaker from the next one on
    at = i % len(s.times)
    close = s.candles[at, CLOSE]
    rule = s.options_i[OB_MITIGATION]
    kept = 0
    for r in range(s.i[OB_COUNT]):
        z = s.ob_i[r]
        d, named = z[DIR], z[ID_TIME]
        side = 0 if d > 0 else 1
        probe = s.candles[at, LOW] if d > 0 else s.candles[at, HIGH]
        near, far = (s.ob_f[r, TOP], s.ob_f[r, BOTTOM]) if d > 0 else (s.ob_f[r, BOTTOM], s.ob_f[r, TOP])
        dead = -1
        if i - z[BORN] > s.options_i[OB_MAX_AGE]:
            dead = EXPIRED
        elif d * probe <= d * near:
            if not z[TOUCHED]:
                z[TOUCHED] = 1
                events = _emit(s, i, out, events, OB_TOUCH, d, named, 0, 0, NAN, NAN, NAN)
                if rule == BY_TOUCH:
                    z[MITIGATED] = i
            if not z[HALF] and d * probe <= d * ((near + far) / 2.0):
                z[HALF] = 1
                events = _emit(s, i, out, events, OB_MID, d, named, 0, 0, NAN, NAN, NAN)
                if rule == BY_MID:
                    z[MITIGATED] = i
            breaking = probe if s.options_i[OB_BREAK_BY_WICK] else close
            if d * breaking < d * far:
                dead = BROKEN
        if dead < 0:
            _keep(s.ob_i, s.ob_f, r, kept)
            kept += 1
            continue
        s.i[OB_LIVING + side] -= 1
        events = _emit(s, i, out, events, OB_DEAD, d, named, dead, 0, NAN, NAN, NAN)
        if dead == BROKEN and s.options_i[OB_BREAKER]:
            n = s.i[BRK_COUNT]
            s.brk_i[n] = z
            s.brk_f[n] = s.ob_f[r]
            s.brk_i[n, DIR] = -d
            s.brk_i[n, BORN] = i
            s.brk_i[n, TOUCHED] = 0
            s.i[BRK_COUNT] = n + 1
            events = _emit(s, i, out, events, BRK_NEW, -d, named, 0, 0, NAN, NAN, NAN)
    s.i[OB_COUNT] = kept
    return events


@njit(cache=True)
def _breakers(s: Arrays, i: int, out: Output, events: int) -> int:
    at = i % len(s.times)
    close = s.candles[at, CLOSE]
    kept = 0
    for r in range(s.i[BRK_COUNT]):
        z = s.brk_i[r]
        d, named = z[DIR], z[ID_TIME]
        probe = s.candles[at, LOW] if d > 0 else s.candles[at, HIGH]
        near, far = (s.brk_f[r, TOP], s.brk_f[r, BOTTOM]) if d > 0 else (s.brk_f[r, BOTTOM], s.brk_f[r, TOP])
        dead = -1
        if i - z[BORN] > s.options_i[OB_MAX_AGE]:
            dead = EXPIRED
        elif d * probe <= d * near:
            if not z[TOUCHED]:
                z[TOUCHED] = 1
                events = _emit(s, i, out, events, BRK_TOUCH, d, named, 0, 0, NAN, NAN, NAN)
            if d * close < d * far:
                dead = RECLAIMED
        if dead >= 0:
            events = _emit(s, i, out, events, BRK_DEAD, d, named, dead, 0, NAN, NAN, NAN)
            continue
        _keep(s.brk_i, s.brk_f, r, kept)
        kept += 1
    s.i[BRK_COUNT] = kept
    return events


@njit(cache=True)
def _pools(s: Arrays, i: int, out: Output, events: int) -> int:
    at = i % len(s.times)
    close = s.candles[at, CLOSE]
    kept = 0
    for r in range(s.i[POOL_COUNT]):
        z = s.pool_i[r]
        d = z[DIR]
        side = 0 if d > 0 else 1
        probe = s.candles[at, HIGH] if d > 0 else s.candles[at, LOW]
        level = s.pool_f[r, LEVEL]
        dead = -1
        if i - z[LAST] > s.options_i[LIQ_MAX_AGE]:
            dead = EXPIRED
        elif d * (probe - s.pool_f[r, ANCHOR]) > s.pool_f[r, TOLERANCE]:
            dead = BROKEN if d * close > d * level else SWEPT
        if dead >= 0:
            s.i[POOL_LIVING + side] -= 1
            if dead == SWEPT:
                s.i[SWEPT_BAR + side] = i
            events = _emit(s, i, out, events, POOL_DEAD, d, z[ID_TIME], dead, z[COUNT], level, NAN, NAN)
            continue
        _keep(s.pool_i, s.pool_f, r, kept)
        kept += 1
    s.i[POOL_COUNT] = kept
    return events


# --- D, E: breaks of structure and the order blocks they reveal -------------------------------------------------------------


@njit(cache=True)
def _is_broken(s: Arrays, side: int, at: int) -> bool:
    if s.i[REF_BAR + side] < 0:
        return False
    d = 1 if side == 0 else -1
    wick = s.candles[at, HIGH] if d > 0 else s.candles[at, LOW]
    source = wick if s.options_i[BREAK_BY_WICK] else s.candles[at, CLOSE]
    level = s.f[REF_LEVEL + side] + d * (s.options_f[BREAK_BUFFER_ATR] * s.f[ATR])
    return bool(d * source > d * level)


@njit(cache=True)
def _break(s: Arrays, i: int, out: Output, events: int) -> int:
    at = i % len(s.times)
    up, down = _is_broken(s, 0, at), _is_broken(s, 1, at)
    if not up and not down:
        return events
    d = 1 if up else -1
    if up and down:
        body = s.candles[at, CLOSE] - s.candles[at, OPEN]
        d = 1 if body > 0.0 else (-1 if body < 0.0 else 0)
    swing_bar, swing_time, level = -1, 0, NAN
    if d != 0:
        side = 0 if d > 0 else 1
        swing_bar, swing_time, level = s.i[REF_BAR + side], s.i[REF_TIME + side], s.f[REF_LEVEL + side]
    for side in range(2):
        if (up, down)[side]:
            s.i[REF_BAR + side] = -1
            s.f[REF_LEVEL + side] = NAN
    if d == 0:
        return _emit(s, i, out, events, AMBIG, 0, 0, 0, 0, NAN, NAN, NAN)
    trend = s.i[TREND]
    choch = 1 if trend == -d else 0
    s.i[TREND] = d
    side = 0 if d > 0 else 1
    s.i[BREAK_BAR + side] = i
    s.i[BREAK_IS_CHOCH + side] = choch
    if choch:
        s.i[CHOCH_BAR + side] = i
    slot = s.i[BREAKS_SEEN] % BREAKS_KEPT
    s.i[BREAKS_SEEN] += 1
    s.breaks_i[slot, KEPT_DIR] = d
    s.breaks_i[slot, KEPT_TIME] = s.i[TIME]
    s.breaks_i[slot, KEPT_NOTE] = choch
    s.breaks_i[slot, KEPT_BAR] = i
    s.breaks_f[slot] = level
    events = _emit(s, i, out, events, CHOCH if choch else BOS, d, swing_time, trend, 0, level, NAN, NAN)
    return _order_block(s, i, d, swing_bar, out, events)


@njit(cache=True)
def _order_block(s: Arrays, i: int, d: int, swing_bar: int, out: Output, events: int) -> int:
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
        return events
    at = k % ring
    extreme = s.candles[origin % ring, column]
    if s.options_i[OB_BODY]:
        top = max(s.candles[at, OPEN], s.candles[at, CLOSE])
        bottom = min(s.candles[at, OPEN], s.candles[at, CLOSE])
    else:
        top, bottom = s.candles[at, HIGH], s.candles[at, LOW]
    atr = s.f[ATR]
    if not d * (s.candles[i % ring, CLOSE] - extreme) >= s.options_f[OB_MIN_DISP_ATR] * atr:
        return events
    if not top - bottom <= s.options_f[OB_MAX_HEIGHT_ATR] * atr:
        return events
    if s.i[OB_LIVING + side] >= s.options_i[OB_MAX_ACTIVE]:
        named = _oldest_out(s.ob_i, s.ob_f, s.i[OB_COUNT], d, False)
        s.i[OB_COUNT] -= 1
        s.i[OB_LIVING + side] -= 1
        events = _emit(s, i, out, events, OB_DEAD, d, named, EVICTED, 0, NAN, NAN, NAN)
    s.i[OB_LAST_K + side] = k
    n = s.i[OB_COUNT]
    _new_zone(s.ob_i, s.ob_f, n, d, s.times[at], i, top, bottom, extreme)
    s.i[OB_COUNT] = n + 1
    s.i[OB_LIVING + side] += 1
    return _emit(s, i, out, events, OB_NEW, d, s.times[at], 0, 0, top, bottom, extreme)


@njit(cache=True)
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


# --- F: a new fair value gap --------------------------------------------------------------------------------------------


@njit(cache=True)
def _new_gap(s: Arrays, i: int, out: Output, events: int) -> int:
    if i < 2:
        return events
    ring = len(s.times)
    first, middle, last = (i - 2) % ring, (i - 1) % ring, i % ring
    if s.candles[last, LOW] > s.candles[first, HIGH]:
        d, top, bottom = 1, s.candles[last, LOW], s.candles[first, HIGH]
    elif s.candles[last, HIGH] < s.candles[first, LOW]:
        d, top, bottom = -1, s.candles[first, LOW], s.candles[last, HIGH]
    else:
        return events
    if s.options_i[FVG_DIRECTED] and not d * s.candles[middle, CLOSE] > d * s.candles[middle, OPEN]:
        return events
    if not top - bottom >= s.options_f[FVG_MIN_ATR] * s.f[ATR]:
        return events
    side = 0 if d > 0 else 1
    if s.i[FVG_LIVING + side] >= s.options_i[FVG_MAX_ACTIVE]:
        named = _oldest_out(s.fvg_i, s.fvg_f, s.i[FVG_COUNT], d, True)
        s.i[FVG_COUNT] -= 1
        s.i[FVG_LIVING + side] -= 1
        events = _emit(s, i, out, events, FVG_DEAD, d, named, EVICTED, 0, NAN, NAN, NAN)
    n = s.i[FVG_COUNT]
    _new_zone(s.fvg_i, s.fvg_f, n, d, s.i[TIME], i, top, bottom, NAN)
    s.i[FVG_COUNT] = n + 1
    s.i[FVG_LIVING + side] += 1
    return _emit(s, i, out, events, FVG_NEW, d, s.i[TIME], 0, 0, top, bottom, NAN)


# --- G: swings, and what they confirm ---------------------------------------------------------------------------------------


@njit(cache=True)
def _swings(s: Arrays, i: int, out: Output, events: int) -> int:
    left, right = s.options_i[SWING_LEFT], s.options_i[SWING_RIGHT]
    p = i - right
    if p < left:
        return events
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
            events = _confirm(s, i, p, d, side, level, out, events)
    return events


@njit(cache=True)
def _confirm(s: Arrays, i: int, p: int, d: int, side: int, level: float, out: Output, events: int) -> int:
    ring = len(s.times)
    time, rsi = s.times[p % ring], s.candles[p % ring, RING_RSI]
    q = s.i[SWING_BAR + side]
    label = LABEL_FIRST
    if q >= 0:
        before = s.f[SWING_LEVEL + side]
        label = LABEL_EQUAL if level == before else (LABEL_BEYOND if d * level > d * before else LABEL_INSIDE)
    events = _emit(s, i, out, events, SWING, d, time, label, 0, level, NAN, NAN)
    slot = s.i[SWINGS_SEEN] % SWINGS_KEPT
    s.i[SWINGS_SEEN] += 1
    s.swings_i[slot, KEPT_DIR] = d
    s.swings_i[slot, KEPT_TIME] = time
    s.swings_i[slot, KEPT_NOTE] = label
    s.swings_i[slot, KEPT_BAR] = i
    s.swings_f[slot] = level
    if label == LABEL_BEYOND and p - q <= s.options_i[DIV_MAX_BARS]:
        # Price went further, momentum did not: a lower low (d = -1) speaks for the bulls.
        if d * (s.f[SWING_RSI + side] - rsi) >= s.options_f[DIV_MIN_DELTA]:
            s.i[DIV_BAR + (1 - side)] = i
            events = _emit(s, i, out, events, DIV, -d, time, s.i[SWING_TIME + side], 0, NAN, NAN, NAN)
    s.i[SWING_BAR + side] = p
    s.i[SWING_TIME + side] = time
    s.f[SWING_LEVEL + side] = level
    s.f[SWING_RSI + side] = rsi
    s.i[REF_BAR + side] = p
    s.i[REF_TIME + side] = time
    s.f[REF_LEVEL + side] = level
    s.f[RANGE + side] = level
    return _to_pool(s, i, d, side, level, time, out, events)


@njit(cache=True)
def _to_pool(s: Arrays, i: int, d: int, side: int, level: float, time: int, out: Output, events: int) -> int:
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
        return _emit(
            s,
            i,
            out,
            events,
            POOL_JOIN,
            d,
            s.pool_i[best, ID_TIME],
            0,
            s.pool_i[best, COUNT],
            s.pool_f[best, LEVEL],
            NAN,
            NAN,
        )
    tolerance = s.options_f[EQ_TOL_ATR] * s.f[ATR]
    if not tolerance >= 0.0:  # no ATR yet
        return events
    if s.i[POOL_LIVING + side] >= s.options_i[LIQ_MAX_POOLS]:
        events = _evict_pool(s, i, d, side, out, events)
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
    return _emit(s, i, out, events, POOL_NEW, d, time, 0, 1, level, tolerance, NAN)


@njit(cache=True)
def _evict_pool(s: Arrays, i: int, d: int, side: int, out: Output, events: int) -> int:
    row = 0
    while s.pool_i[row, DIR] != d:
        row += 1
    events = _emit(
        s,
        i,
        out,
        events,
        POOL_DEAD,
        d,
        s.pool_i[row, ID_TIME],
        EVICTED,
        s.pool_i[row, COUNT],
        s.pool_f[row, LEVEL],
        NAN,
        NAN,
    )
    _oldest_out(s.pool_i, s.pool_f, s.i[POOL_COUNT], d, False)
    s.i[POOL_COUNT] -= 1
    s.i[POOL_LIVING + side] -= 1
    return events


# --- H: dealing range, and the row of this bar --------------------------------------------------------------------------------


@njit(cache=True)
def _range(s: Arrays, i: int) -> None:
    at = i % len(s.times)
    s.f[RANGE] = max(s.f[RANGE], s.candles[at, HIGH])
    s.f[RANGE + 1] = min(s.f[RANGE + 1], s.candles[at, LOW])
    high, low = s.f[RANGE], s.f[RANGE + 1]
    if np.isnan(high) or np.isnan(low):
        return
    s.f[RANGE_POS] = (s.candles[at, CLOSE] - low) / (high - low) if high > low else 0.5


@njit(cache=True)
def _row(s: Arrays, i: int, rows: Floats, n: int) -> None:
    close = s.candles[i % len(s.times), CLOSE]
    above, below = NAN, NAN
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
    rows[n, ROW_LIQ_ABOVE] = above
    rows[n, ROW_LIQ_BELOW] = below

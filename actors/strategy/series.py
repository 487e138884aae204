"""One candle series: the kernel's arrays with their parameters by name, typed refusals, and a form to write down.

Knows one symbol's one timeframe and no other; no bias, no entry rules, no time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, NamedTuple

import msgspec
import numpy as np

from actors.strategy import kernel as k
from config.strategy import StrategyParams
from protocol.units import TIMEFRAME_MS, Timeframe

Role = Literal["exec", "bias"]


class Candle(NamedTuple):
    """A closed candle as the engine passes it around: open time in ms, then float64 prices and volume."""

    open_time_ms: int
    open: float
    high: float
    low: float
    close: float
    volume: float


class Candles(NamedTuple):
    """A column of candles: `times` (n,) int64 ms, `values` (n, 5) float64 open, high, low, close, volume."""

    times: k.Ints
    values: k.Floats


class Events(NamedTuple):
    """What the kernel reported, in the order it happened: (n, EVENT_I) and (n, EVENT_F)."""

    i: k.Ints
    f: k.Floats


class CandleRefused(Exception):
    """A candle that must not enter a series. `code` is a reject code of rule A1; the state is as it was before."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail


REFUSALS: Final[Mapping[int, tuple[str, str]]] = {
    k.MALFORMED: ("data.malformed", "not finite, not positive, inconsistent, off the grid or out of order"),
    k.GAP: ("data.gap", "candles before it are missing; feed them in order"),
    k.REVISED: ("data.revised", "differs from the candle of the same time that was taken before"),
}

MITIGATION: Final = {
    "touch": k.BY_TOUCH,
    "mid": k.BY_MID,
    "full": k.BY_FULL,
    "close_through": k.BY_NOTHING,
    "none": k.BY_NOTHING,
}

BULK_EVENTS: Final = 1 << 16  # a buffer that holds a few thousand bars' events


def options(params: StrategyParams, tf_ms: int, role: Role) -> tuple[k.Ints, k.Floats]:
    """The parameters as the kernel numbers them; bias series differ in their swing arms only."""
    whole = {
        k.EMA_PERIOD: params.ema_period,
        k.ATR_PERIOD: params.atr_period,
        k.ADX_PERIOD: params.adx_period,
        k.RSI_PERIOD: params.rsi_period,
        k.SWING_LEFT: params.swing_left if role == "exec" else params.bias_swing_left,
        k.SWING_RIGHT: params.swing_right if role == "exec" else params.bias_swing_right,
        k.BREAK_BY_WICK: params.break_mode == "wick",
        k.FVG_DIRECTED: params.fvg_middle == "direction",
        k.FVG_MITIGATION: MITIGATION[params.fvg_mitigation],
        k.FVG_MAX_AGE: params.fvg_max_age,
        k.FVG_MAX_ACTIVE: params.fvg_max_active,
        k.OB_MAX_LOOKBACK: params.ob_max_lookback,
        k.OB_BODY: params.ob_zone == "body",
        k.OB_MITIGATION: MITIGATION[params.ob_mitigation],
        k.OB_BREAK_BY_WICK: params.ob_break_mode == "wick",
        k.OB_MAX_AGE: params.ob_max_age,
        k.OB_MAX_ACTIVE: params.ob_max_active,
        k.OB_BREAKER: params.ob_breaker,
        k.LIQ_MAX_AGE: params.liq_max_age,
        k.LIQ_MAX_POOLS: params.liq_max_pools,
        k.DIV_MAX_BARS: params.div_max_bars,
        k.TF_MS: tf_ms,
    }
    real = {
        k.BREAK_BUFFER_ATR: params.break_buffer_atr,
        k.FVG_MIN_ATR: params.fvg_min_atr,
        k.OB_MIN_DISP_ATR: params.ob_min_disp_atr,
        k.OB_MAX_HEIGHT_ATR: params.ob_max_height_atr,
        k.EQ_TOL_ATR: params.eq_tol_atr,
        k.DIV_MIN_DELTA: params.div_min_delta,
    }
    options_i, options_f = np.zeros(k.OPTIONS_I, np.int64), np.zeros(k.OPTIONS_F)
    for at, value in whole.items():
        options_i[at] = value
    for at, number in real.items():
        options_f[at] = number
    return options_i, options_f


class Series:
    """Closed candles in, structure out. `arrays` is the state; everything in it follows from the candles since the anchor."""

    def __init__(self, params: StrategyParams, tf_ms: int, role: Role) -> None:
        self.tf_ms = tf_ms
        self.arrays = k.make_arrays(*options(params, tf_ms, role))
        self._most = int(self.arrays.options_i[k.EVENTS_MOST])
        self._one_time = np.zeros(1, np.int64)
        self._one_candle = np.zeros((1, 5))
        self._one_row = np.zeros((1, k.ROW_WIDTH))
        self._one_output = k.make_output(self._most)

    @classmethod
    def of(cls, params: StrategyParams, timeframe: Timeframe, role: Role) -> Series:
        """The empty series of a timeframe."""
        return cls(params, TIMEFRAME_MS[timeframe], role)

    @property
    def bars(self) -> int:
        """Candles taken since the anchor."""
        return int(self.arrays.i[k.BARS])

    @property
    def open_time_ms(self) -> int:
        """Open time of the newest candle; meaningless before the first."""
        return int(self.arrays.i[k.TIME])

    @property
    def close_time_ms(self) -> int:
        """End of the newest candle; 0 before the first, which is older than any requirement."""
        return int(self.arrays.i[k.TIME]) + self.tf_ms if self.arrays.i[k.BARS] else 0

    def candle(self, back: int = 0) -> Candle:
        """The newest candle, or an older one that is still in the ring. Raises IndexError beyond it."""
        bar = self.bars - 1 - back
        if back < 0 or bar < 0 or back >= len(self.arrays.times):
            raise IndexError(f"no candle {back} bars back")
        at = bar % len(self.arrays.times)
        return Candle(int(self.arrays.times[at]), *self.arrays.candles[at, :5].tolist())

    def take(self, candle: Candle) -> int:
        """Take one candle; returns the number of events, 0 also for an identical repetition.

        Raises CandleRefused, the state unchanged.
        """
        self._one_time[0] = candle[0]
        self._one_candle[0] = candle[1:]
        _, verdict = k.inspect(self.arrays, self._one_time, self._one_candle)
        if verdict == k.REPEATED:
            return 0
        if verdict != k.SOUND:
            raise refusal(verdict, candle.open_time_ms)
        _, count = k.advance(self.arrays, self._one_time, self._one_candle, 0, self._one_row, self._one_output)
        return int(count)

    def feed(self, candles: Candles) -> tuple[k.Floats, Events]:
        """Take many candles; returns their rows (n, ROW_WIDTH) and events.

        Raises CandleRefused before anything is taken when one of them is unsound, repeated or missing.
        """
        times, values = candles
        bad, verdict = k.inspect(self.arrays, times, values)
        if verdict != k.SOUND:
            raise refusal(verdict, int(times[bad]))
        rows = np.empty((len(times), k.ROW_WIDTH))
        output = k.make_output(max(BULK_EVENTS, 2 * self._most)) if len(times) > 1 else self._one_output
        whole, real, done = [], [], 0
        while done < len(times):
            done, count = k.advance(self.arrays, times, values, done, rows, output)
            whole.append(output.i[:count].copy())
            real.append(output.f[:count].copy())
        if not whole:
            return rows, Events(output.i[:0].copy(), output.f[:0].copy())
        return rows, Events(np.concatenate(whole), np.concatenate(real))

    def save(self) -> bytes:
        """The state as bytes: equal states give equal bytes."""
        return msgspec.msgpack.encode([array.tobytes() for array in self.arrays])

    def restore(self, data: bytes) -> None:
        """Back to a state saved under the same parameters. Raises ValueError under others."""
        parts: list[bytes] = msgspec.msgpack.decode(data, type=list[bytes])
        if [len(part) for part in parts] != [array.nbytes for array in self.arrays]:
            raise ValueError("the saved series has other parameters; replay it from its anchor")
        for array, part in zip(self.arrays[:2], parts[:2], strict=True):
            if array.tobytes() != part:
                raise ValueError("the saved series has other parameters; replay it from its anchor")
        for array, part in zip(self.arrays[2:], parts[2:], strict=True):
            array[...] = np.frombuffer(part, array.dtype).reshape(array.shape)


def refusal(verdict: int, open_time_ms: int) -> CandleRefused:
    """The typed error of a verdict of `inspect`."""
    code, text = REFUSALS.get(verdict, ("data.malformed", "the same candle twice in one column"))
    return CandleRefused(code, f"candle {open_time_ms}: {text}")

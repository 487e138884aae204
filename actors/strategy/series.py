"""One candle series: the kernel's arrays with their parameters by name, typed refusals, and a form to write down.

Knows one symbol's one timeframe and no other; no bias, no entry rules, no time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

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
    """Closed candles in, structure out. The memory is the whole state: all of it follows from the candles since the anchor.

    `i` and `f` are the kernel's scalars as plain numbers, `arrays` its tables by name; read them, never write them.
    """

    def __init__(self, params: StrategyParams, tf_ms: int, role: Role) -> None:
        self._over(tf_ms, k.make_memory(*options(params, tf_ms, role)))

    def _over(self, tf_ms: int, memory: tuple[k.Ints, k.Floats]) -> None:
        self.tf_ms = tf_ms
        self._memory = memory
        self.arrays: k.Arrays = k.views(*self._memory)
        self._one_time = np.zeros(1, np.int64)
        self._one_candle = np.zeros((1, 5))
        self._one_row = np.zeros((1, k.ROW_WIDTH))
        self._one_output = k.make_output(int(self.arrays.options_i[k.EVENTS_MOST]))
        self._refresh()

    def _refresh(self, newest: Candle | None = None) -> None:
        self.i: list[int] = self.arrays.i.tolist()
        self.f: list[float] = self.arrays.f.tolist()
        self.bars: int = self.i[k.BARS]  # candles taken since the anchor
        self.open_time_ms: int = self.i[k.TIME]  # of the newest candle; 0 before the first
        # 0 before the first, which is older than any requirement
        self.close_time_ms: int = self.open_time_ms + self.tf_ms if self.bars else 0
        self._newest = newest

    def __getstate__(self) -> tuple[int, tuple[k.Ints, k.Floats]]:
        """A copy or a pickle carries the memory; the rest are views into it and would be left looking at the old one."""
        return self.tf_ms, self._memory

    def __setstate__(self, state: tuple[int, tuple[k.Ints, k.Floats]]) -> None:
        self._over(*state)

    @classmethod
    def of(cls, params: StrategyParams, timeframe: Timeframe, role: Role) -> Series:
        """The empty series of a timeframe."""
        return cls(params, TIMEFRAME_MS[timeframe], role)

    def candle(self, back: int = 0) -> Candle:
        """The newest candle, or an older one that is still in the ring. Raises IndexError beyond it."""
        if back == 0 and self._newest is not None:
            return self._newest
        bar = self.bars - 1 - back
        if back < 0 or bar < 0 or back >= len(self.arrays.times):
            raise IndexError(f"no candle {back} bars back")
        at = bar % len(self.arrays.times)
        return Candle(int(self.arrays.times[at]), *self.arrays.candles[at, :5].tolist())

    def take(self, candle: Candle) -> bool:
        """Take one candle; False for an identical repetition of the newest. Raises CandleRefused, the state unchanged."""
        self._one_time[0] = candle[0]
        self._one_candle[0] = candle[1:]
        _, _, verdict = k.advance(*self._memory, self._one_time, self._one_candle, 0, self._one_row, *self._one_output)
        if verdict == k.REPEATED:
            return False
        if verdict != k.SOUND:
            raise refusal(verdict, candle.open_time_ms)
        self._refresh(candle)
        return True

    def inspect(self, candles: Candles) -> tuple[int, int]:
        """The first candle that `feed` would refuse and the kernel's verdict on it; (n, SOUND) when there is none.

        `candles.values` may lie in memory by candle or by column.
        """
        at, verdict = k.inspect(*self._memory, *candles)
        return int(at), int(verdict)

    def choose_zone(self, d: int, blocks: bool, gaps: bool, only_pairs: bool) -> tuple[int, int]:
        """Rows of the block and the gap that make the best usable zone of side `d`, see `kernel.choose_zone`."""
        block, gap = k.choose_zone(*self._memory, d, blocks, gaps, only_pairs)
        return int(block), int(gap)

    def feed(self, candles: Candles) -> tuple[k.Floats, Events]:
        """Take many candles; returns their rows (n, ROW_WIDTH) and events.

        Raises CandleRefused before anything is taken when one of them is unsound, repeated or missing.
        """
        times, values = candles = owned(candles)
        bad, verdict = self.inspect(candles)
        if verdict != k.SOUND:
            raise refusal(verdict, int(times[bad]))
        rows = np.empty((len(times), k.ROW_WIDTH))
        output = self._one_output if len(times) <= 1 else k.make_output(max(BULK_EVENTS, 2 * len(self._one_output.i)))
        whole, real, done = [output.i[:0]], [output.f[:0]], 0
        while done < len(times):
            done, count, _ = k.advance(*self._memory, times, values, done, rows, *output)
            whole.append(output.i[:count].copy())
            real.append(output.f[:count].copy())
        self._refresh()
        return rows, Events(np.concatenate(whole), np.concatenate(real))

    def seek(
        self,
        candles: Candles,
        start: int,
        sides: npt.NDArray[np.int8],
        terms: k.Terms,
        output: k.Output,
        found: k.Findings,
    ) -> int:
        """Take candles from `start` on of a column that `inspect` found sound, up to the first that passes rules B1 to D3, and report no
        event: see `kernel.seek`. The scalars are as before until `refresh`; the tables are not. `output` is written over.
        """
        return int(k.seek(*self._memory, *candles, start, sides, terms, *output, found))

    def refresh(self, newest: Candle) -> None:
        """Read the scalars anew after `seek`, which ended with `newest`."""
        self._refresh(newest)

    def save(self) -> bytes:
        """The state as bytes: equal states give equal bytes."""
        return msgspec.msgpack.encode([array.tobytes() for array in self._memory])

    def restore(self, data: bytes) -> None:
        """Back to a state saved under the same parameters. Raises ValueError under others."""
        whole, real = msgspec.msgpack.decode(data, type=tuple[bytes, bytes])
        same_options = whole.startswith(self.arrays.options_i.tobytes()) and real.startswith(
            self.arrays.options_f.tobytes()
        )
        if not same_options:
            raise ValueError("the saved series has other parameters; replay it from its anchor")
        self._memory[0][...] = np.frombuffer(whole, np.int64)
        self._memory[1][...] = np.frombuffer(real, np.float64)
        self._refresh()


def owned(candles: Candles) -> Candles:
    """Contiguous and writable, the one form that every kernel function is compiled for. Raises ValueError for another shape."""
    times = np.require(candles.times, np.int64, ["C", "W"])
    values = np.require(candles.values, np.float64, ["C", "W"])
    if values.shape != (len(times), 5):
        raise ValueError(f"candles must be (n,) times and (n, 5) values, not {times.shape} and {values.shape}")
    return Candles(times, values)


def refusal(verdict: int, open_time_ms: int) -> CandleRefused:
    """The typed error of a verdict of `inspect`."""
    code, text = REFUSALS.get(verdict, ("data.malformed", "the same candle twice in one column"))
    return CandleRefused(code, f"candle {open_time_ms}: {text}")

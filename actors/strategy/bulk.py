"""A whole history decided at once: columns first, then the rules on the few candles that reach them.

The bias and what the first rules need of structure are compared as columns; a candle that passes them is looked at with the series in
the state of that candle, by the functions of `rules` and `decide`. Gives the same table as `replay.play`, which steps (a test
proves it). Knows no position.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from actors.strategy import decide, replay
from actors.strategy import kernel as k
from actors.strategy.market import BASE_MS, BIAS, Market
from actors.strategy.names import used_key
from actors.strategy.replay import SIGNAL, Draft, History, Ints, Reads, Table
from actors.strategy.rules import DAY_MS, SIDE_NAME, Extremes, Reading, View, first_failure
from actors.strategy.series import Candle, Candles, Series, owned
from config.strategy import BiasTimeframe, ExecTimeframe, StrategyParams
from protocol.messages.signal import Signal
from protocol.units import TIMEFRAME_MS, Timeframe

EVENTS_AT_ONCE: Final = 4096
"""Room for the events of some hundred candles; they are not read."""
OPEN_STILL: Final = -2
"""In a column of reasons: not known yet."""
VERDICTS: Final = {
    k.NO_STRUCTURE: "structure.none",
    k.OPPOSED: "structure.opposed",
    k.TOO_OLD: "structure.too_old",
    k.NO_ZONE: "zone.none",
    k.NO_RETEST: "zone.no_retest",
    k.NO_REJECTION: "zone.no_rejection",
    k.ZONE_USED: "zone.already_used",
    k.NO_RANGE: "pd.undefined",
    k.MIDDLE_OF_RANGE: "pd.equilibrium",
    k.WRONG_HALF: "pd.wrong_half",
    k.WEAK_TREND: "adx.below_threshold",
    k.DI_OPPOSED: "adx.di_opposed",
    k.ODD_VOLATILITY: "atr.out_of_range",
}
Bools = NDArray[np.bool_]
Sides = NDArray[np.int8]
Names = NDArray[np.int16]


def load(params: StrategyParams) -> None:
    """Fetch the compiled kernel from its cache (compile it, the first time): code, not yet the work of a run."""
    series = Series.of(params, "4h", "bias")
    _scouted(params, series, "4h", History(np.zeros(0, np.int64), np.zeros((0, 5)), np.zeros(0, np.bool_)))
    series.inspect(Candles(np.zeros(1, np.int64), np.ones((5, 2)).T[1:]))  # by column, as a history has them
    series.feed(Candles(np.zeros(1, np.int64), np.ones((1, 5))))
    series.choose_zone(1, True, True, False)


def terms_of(params: StrategyParams, used_zones: Iterable[str] = ()) -> k.Terms:
    """What the kernel judges by, with the names of the zones that signals used up."""
    whole, real = np.zeros(k.TERMS, np.int64), np.zeros(k.LIMITS)
    whole[k.SETUP_MAX_AGE] = params.setup_max_age
    whole[k.USES_BLOCKS], whole[k.USES_GAPS] = "ob" in params.entry_zones, "fvg" in params.entry_zones
    whole[k.ONLY_PAIRS], whole[k.BY_TOUCH_ONLY] = params.require_confluence, params.confirm_mode == "touch"
    whole[k.PD_FILTER], whole[k.ADX_DI_ALIGN] = params.pd_filter, params.adx_di_align
    real[k.PD_BAND], real[k.ADX_MIN] = params.pd_band, params.adx_min
    real[k.ATR_PCT_MIN], real[k.ATR_PCT_MAX] = params.atr_pct_min, params.atr_pct_max
    return k.Terms(whole, real, _used(used_zones))


def _used(zones: Iterable[str]) -> Ints:
    return np.array([used_key(name) for name in zones], np.int64)


def tabulate(state: decide.State, symbol: str, history: History) -> Table:
    """Decide on `history`, going on from `state`, which is changed and then of no more use for `symbol`."""
    draft = Draft.of(state, symbol)
    row = 0
    while row < len(history) and (row == 0 or history.times[row] % DAY_MS):
        draft.take(history.told(symbol, row))  # up to a midnight: from there on longer candles begin with our own
        row += 1
    market = state.markets[symbol]
    rest = History(history.times[row:], history.values[row:], history.synthetic[row:])
    if not _regular(market, rest):
        for later in range(row, len(history)):
            draft.take(history.told(symbol, later))
        return draft.table()
    return _joined(draft.table(), _Bulk(state, symbol, rest).table()) if len(rest) else draft.table()


def _regular(market: Market, rest: History) -> bool:
    """Whether nothing but candles, one after the other, is to be expected."""
    unbroken = bool((np.diff(rest.times) == BASE_MS).all())
    follows = not len(rest) or market.base.close_time_ms == rest.times[0]
    natives = market.mismatched or any(market.seeds.values())
    begun = any(bucket.parts for bucket in market.buckets.values())
    if not (unbroken and follows and market.fault is None and not natives and not begun):
        return False
    return market.base.inspect(Candles(rest.times, rest.values))[1] == k.SOUND


def _joined(first: Table, second: Table) -> Table:
    reads = {tf: _appended(first.reads[tf], second.reads[tf]) for tf in first.reads}
    return Table(reads, first.signals | second.signals)


def _appended(first: Reads, second: Reads) -> Reads:
    names = tuple(dict.fromkeys((*first.reasons, *second.reasons)))

    def column(name: str) -> NDArray[np.generic]:
        return np.concatenate((getattr(first, name), getattr(second, name)))

    def renamed(reads: Reads) -> NDArray[np.int16]:
        places = [names.index(name) for name in reads.reasons]
        return np.array([*places, SIGNAL], np.int16)[reads.reason]

    columns = {name: column(name) for name in replay.COLUMNS}
    reason = np.concatenate((renamed(first), renamed(second)))
    return Reads(timeframe=first.timeframe, reason=reason, reasons=names, **columns)  # type: ignore[arg-type]


@dataclass
class _Column:
    """One series over the whole history: its candles and findings, and the real series, brought up to `done`."""

    series: Series
    candles: Candles
    synthetic: Bools
    first_bar: int
    terms: k.Terms
    found: k.Findings
    output: k.Output
    done: int = 0

    @cached_property
    def close_ms(self) -> Ints:
        """When each candle ended."""
        ends: Ints = self.candles.times + self.series.tf_ms
        return ends

    @cached_property
    def no_sides(self) -> Sides:
        """For whoever asks nothing of any candle."""
        return np.zeros(len(self.candles.times), np.int8)

    def march(self, row: int) -> None:
        """Bring the series up to and including `row`, which lies ahead; its scalars are those of before."""
        self.seek(self.no_sides[: row + 1])

    def seek(self, sides: Sides) -> int | None:
        """Bring the series to the next candle that rules B1 to D3 leave standing; None: to the end of `sides`."""
        row = self.series.seek(self.candles, self.done, sides, self.terms, self.output, self.found)
        self.done = min(row + 1, len(sides))
        return row if row < len(sides) else None

    def settle(self) -> None:
        """Read the scalars of the newest candle, if there is one."""
        if self.done:
            row = self.done - 1
            self.series.refresh(Candle(int(self.candles.times[row]), *self.candles.values[row].tolist()))


def _column(series: Series, history: History, terms: k.Terms) -> _Column:
    candles, synthetic = _longer(history, series.tf_ms)
    n = len(candles.times)
    found = k.Findings(np.empty((n, k.FOUND_WIDTH)), np.zeros(n, np.int8), np.full(n, k.NOT_ASKED, np.int8))
    return _Column(series, owned(candles), synthetic, series.bars, terms, found, k.make_output(EVENTS_AT_ONCE))


def _scouted(params: StrategyParams, series: Series, timeframe: BiasTimeframe, history: History) -> _Column:
    """A bias series' column, its findings known to the end; the real series stands where it stood."""
    column = _column(series, history, terms_of(params))
    scout = Series.of(params, timeframe, "bias")
    scout.restore(series.save())
    scout.seek(column.candles, 0, column.no_sides, column.terms, column.output, column.found)
    return column


def _longer(history: History, tf_ms: int) -> tuple[Candles, Bools]:
    """Whole longer candles of base candles that begin with one; sums in the order of arrival."""
    size = tf_ms // BASE_MS
    n = len(history) // size
    if n == 0:
        return Candles(np.zeros(0, np.int64), np.zeros((0, 5))), np.zeros(0, np.bool_)
    o, h, low, c, v = (history.values[: n * size, column].reshape(n, size) for column in range(5))
    columns = (o[:, 0], _folded(np.maximum, h), _folded(np.minimum, low), c[:, -1], _folded(np.add, v))
    synthetic: Bools = np.logical_or.reduce(history.synthetic[: n * size].reshape(n, size), axis=1)
    return Candles(np.ascontiguousarray(history.times[: n * size : size]), np.stack(columns, axis=1)), synthetic


def _folded(fold: np.ufunc, parts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each row as one number, from left to right; a column at a time, as there are few columns and many rows."""
    folded = parts[:, 0].copy()
    for column in range(1, parts.shape[1]):
        fold(folded, parts[:, column], out=folded)
    return folded


class _Bulk:
    """One symbol's history from a midnight on."""

    def __init__(self, state: decide.State, symbol: str, history: History) -> None:
        self.state, self.params, self.symbol, self.history = state, state.params, symbol, history
        self.market = state.markets[symbol]
        self.start_ms = int(history.times[0])
        params, market = self.params, self.market
        self.bias = {tf: _scouted(params, market.bias[tf], tf, history) for tf in BIAS}
        self.exec = {
            tf: _column(track.series, history, terms_of(params, track.used_zones))
            for tf, track in market.tracks.items()
        }
        self.bias_sides = {tf: self._bias_sides(tf) for tf in BIAS}
        self.sides = {tf: self._combined(column.close_ms) for tf, column in self.exec.items()}
        self.signals: dict[tuple[int, Timeframe], Signal] = {}
        self.names: dict[str, int] = {}
        """Reasons by name: their numbers in the columns."""

    def table(self) -> Table:
        """The decisions, then everything as columns."""
        reasons = {tf: self._first_reasons(tf) for tf in self.exec}
        self._decide(reasons)
        return Table({tf: self._reads(tf, reasons[tf]) for tf in self.exec}, self.signals)

    # --- bias -------------------------------------------------------------------------------------------------

    def _bias_sides(self, timeframe: BiasTimeframe) -> Ints:
        """`series_side` after each candle of a bias series; the first entry is the side from before."""
        column, params = self.bias[timeframe], self.params
        close, found = column.candles.values[:, 3], column.found.values
        ema, band = found[:, k.FOUND_EMA], params.bias_ema_band_atr * found[:, k.FOUND_ATR]
        by_ema = np.where(close > ema + band, 1, np.where(close < ema - band, -1, 0))
        by_structure = found[:, k.FOUND_TREND].astype(np.int64)
        sides = {
            "ema": by_ema,
            "structure": by_structure,
            "both": np.where(by_ema == by_structure, by_ema, 0),
        }[params.bias_mode]
        return np.concatenate(([self.market.sides[timeframe]], sides)).astype(np.int64)

    def _closed(self, timeframe: BiasTimeframe, close_ms: Ints) -> Ints:
        """How many candles of a bias series have ended by then, since the history began."""
        closed: Ints = (close_ms - self.start_ms) // TIMEFRAME_MS[timeframe]
        return closed

    def _fresh(self, timeframe: BiasTimeframe, close_ms: Ints) -> Bools:
        length = TIMEFRAME_MS[timeframe]
        before = self.market.bias[timeframe].close_time_ms
        fresh: Bools = (self._closed(timeframe, close_ms) > 0) | (before >= close_ms // length * length)
        return fresh

    def _combined(self, close_ms: Ints) -> Ints:
        """`combined_side` at each moment."""
        fresh = np.ones(len(close_ms), np.bool_)
        read = []
        for tf in self.params.bias_tfs:
            fresh &= self._fresh(tf, close_ms)
            read.append(self.bias_sides[tf][self._closed(tf, close_ms)])
        primary, others = read[0], read[1:]
        agreed = np.ones(len(close_ms), np.bool_)
        for side in others:
            if self.params.bias_combine == "primary_not_opposed":
                agreed &= side != -primary
            elif self.params.bias_combine == "all":
                agreed &= side == primary
        combined: Ints = np.where(fresh & agreed, primary, 0)
        return combined

    # --- rule A as columns, then the rest ---------------------------------------------------------------------

    def _number(self, name: str) -> int:
        return self.names.setdefault(name, len(self.names))

    def _first_reasons(self, timeframe: ExecTimeframe) -> Names:
        """The code of the first of rules A1 to A4 that fails, OPEN_STILL where all hold."""
        column, params = self.exec[timeframe], self.params
        close_ms, side = column.close_ms, self.sides[timeframe]
        reasons = np.full(len(close_ms), OPEN_STILL, np.int16)

        def fail(code: str, where: Bools) -> None:
            reasons[where & (reasons == OPEN_STILL)] = self._number(code)

        bars = column.first_bar + 1 + np.arange(len(close_ms))
        fail("data.gap", column.synthetic)
        fail("warmup.exec", bars < params.warmup_bars_exec)
        for tf in params.bias_tfs:
            needed = params.warmup_bars_4h if tf == "4h" else params.warmup_bars_1d
            fail(f"warmup.{tf}", self.bias[tf].first_bar + self._closed(tf, close_ms) < needed)
        for tf in params.bias_tfs:
            fail(f"bias.{tf}.stale", ~self._fresh(tf, close_ms))
        primary = self.bias_sides[params.bias_tfs[0]][self._closed(params.bias_tfs[0], close_ms)]
        for place, tf in enumerate(params.bias_tfs):
            read = self.bias_sides[tf][self._closed(tf, close_ms)]
            if place and params.bias_combine != "primary_only":
                fail(f"bias.{tf}.opposed", read == -primary)
            if place == 0 or params.bias_combine == "all":
                fail(f"bias.{tf}.{SIDE_NAME[0]}", read == 0)
        fail("bias.combined.short", side == 0)
        return reasons

    def _decide(self, reasons: dict[ExecTimeframe, Names]) -> None:
        """Rules B1 to F1 where they are reached, in order of time; a signal uses its zone up."""
        sides = {tf: np.where(reasons[tf] == OPEN_STILL, self.sides[tf], 0).astype(np.int8) for tf in self.exec}
        next_row = {tf: column.seek(sides[tf]) for tf, column in self.exec.items()}
        while True:
            waiting = {tf: int(self.exec[tf].close_ms[row]) for tf, row in next_row.items() if row is not None}
            if not waiting:
                break
            close_ms = min(waiting.values())
            standing: list[tuple[ExecTimeframe, int, View]] = []
            closing = [(tf, next_row[tf]) for tf, at in waiting.items() if at == close_ms]
            for tf, row in closing:
                assert row is not None
                view = self._view(tf, row, close_ms)
                reason = first_failure(view, since="D4")
                if reason is None:
                    standing.append((tf, row, view))
                else:
                    reasons[tf][row] = self._number(reason)
            if standing:
                self._enter(standing, close_ms, reasons)
            for tf, row in closing:
                column = self.exec[tf]
                if reasons[tf][row] == SIGNAL:
                    column.terms = column.terms._replace(used=_used(self.market.tracks[tf].used_zones))
                next_row[tf] = column.seek(sides[tf])
        for tf, column in self.exec.items():
            for verdict, code in VERDICTS.items():
                reasons[tf][column.found.verdict == verdict] = self._number(code)

    def _view(self, timeframe: ExecTimeframe, row: int, close_ms: int) -> View:
        """The decision's view, every series as of `close_ms`."""
        column, track = self.exec[timeframe], self.market.tracks[timeframe]
        column.settle()
        closed = {tf: (close_ms - self.start_ms) // TIMEFRAME_MS[tf] for tf in BIAS}
        for tf, bias in self.bias.items():
            if bias.done < closed[tf]:
                bias.march(closed[tf] - 1)
                bias.settle()
        readings = [  # what is stale was refused before
            Reading(tf, self.bias[tf].first_bar + closed[tf], True, int(self.bias_sides[tf][closed[tf]]))
            for tf in self.params.bias_tfs
        ]
        return View(
            params=self.params,
            timeframe=timeframe,
            series=column.series,
            readings=tuple(readings),
            side=int(self.sides[timeframe][row]),
            bias_series=self.market.bias,
            data_fault=None,
            today=self._today(timeframe, row),
            last_signal_bar=track.last_signal_bar,
            used_zones=track.used_zones,
        )

    def _today(self, timeframe: ExecTimeframe, row: int) -> Extremes:
        """Extremes of the candles of one UTC day up to `row`; the history began at a midnight."""
        column = self.exec[timeframe]
        day = int(column.candles.times[row]) // DAY_MS
        first = max(0, (day * DAY_MS - self.start_ms) // column.series.tf_ms)
        _, highs, lows, _, _ = column.candles.values[first : row + 1].T.tolist()
        return Extremes(day, max(highs), min(lows))

    def _enter(
        self, standing: list[tuple[ExecTimeframe, int, View]], close_ms: int, reasons: dict[ExecTimeframe, Names]
    ) -> None:
        """One signal at most at a time: the first by precedence."""
        winner = min((tf for tf, _, _ in standing), key=self.params.exec_precedence.index)
        candle = self.history.told(self.symbol, (close_ms - self.start_ms) // BASE_MS - 1)
        for tf, row, view in standing:
            if tf != winner:
                reasons[tf][row] = self._number(decide.LOST)
                continue
            signal = decide.enter_or_expire(self.state, self.market, candle, view)
            assert isinstance(signal, Signal)
            reasons[tf][row] = SIGNAL
            self.signals[close_ms, tf] = signal

    # --- as columns -------------------------------------------------------------------------------------------

    def _reads(self, timeframe: ExecTimeframe, reasons: Names) -> Reads:
        column = self.exec[timeframe]
        close_ms, values, found = column.close_ms, column.candles.values, column.found.values
        atr, swings = found[:, k.FOUND_ATR], found[:, k.FOUND_SWING :]
        buffer = self.params.sl_buffer_atr * atr
        closed = self._closed("4h", close_ms)
        flips = np.concatenate((np.zeros(1, np.int8), self.bias["4h"].found.choch))
        is_new = (close_ms - self.start_ms) % TIMEFRAME_MS["4h"] < column.series.tf_ms
        return Reads(
            timeframe=timeframe,
            close_ms=close_ms,
            high=values[:, 1].copy(),
            low=values[:, 2].copy(),
            close=values[:, 3].copy(),
            atr=atr.copy(),
            trail_long=swings[:, 1] - buffer,
            trail_short=swings[:, 0] + buffer,
            choch=column.found.choch,
            choch_4h=np.where(is_new, flips[closed], 0).astype(np.int8),
            bias=self.sides[timeframe].astype(np.int8),
            reason=reasons,
            reasons=tuple(self.names),
        )

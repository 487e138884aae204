"""A market as a pure function of time: ask any moment in any order, the answer is the same.

The spot path inside a candle is piecewise linear: open, first extreme, second extreme, close at equal distances (`sim.market.path`); the first
extreme is the one against the candle's direction. Mark = spot path * (1 + basis); the basis is linear between closes of 15m candles.
Prices change on whole multiples of `tick_s` only and hold in between.

Candles the source lacks are flat in the path and, as at an exchange without trades, absent from `candles`. Knows no order.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from itertools import repeat
from operator import mul
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from config.settings import Settings
from protocol.messages.base import from_edge
from protocol.messages.futures import Instrument
from protocol.messages.spot import CandleSeen
from protocol.units import DAY_US, HOUR_US, SECOND_US, TIMEFRAME_MS, Timeframe, decimal
from sim.market import crossing
from sim.market.contracts import contract
from sim.market.files import (
    FINER_MS,
    PERP_MS,
    BadCandleFile,
    BadPeriod,
    Candles,
    GapPolicy,
    Series,
    Span,
    check_period,
    close_gaps,
    intervals_ms,
    parse_moment,
    read_candles,
    read_funding,
    read_steps,
    when,
)
from sim.market.path import Finer, path_of
from sim.market.path import Path as PricePath
from sim.market.synthetic import generate
from sim.market.tick import Tick

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

BAR_MS: Final = TIMEFRAME_MS["15m"]
BAR_US: Final = BAR_MS * 1000
LEG_US: Final = BAR_US // 3
"""Time between two turns of the path inside a 15m candle of which nothing finer is known."""

HOUR_BARS: Final = HOUR_US // BAR_US
HOUR_MS: Final = HOUR_US // 1000
Steps = tuple[tuple[int, ...], tuple[Decimal, ...]]
"""Ends of intervals, and the rate an hour in each."""

HISTORY_DAYS: Final = 450
"""Synthetic candles before the first moment of trading: the daily bias needs 400."""
Quote = tuple[Decimal, Decimal, Decimal, Decimal]
"""Mark, index, bid, ask."""

RATE_DIGITS: Final = 10
ZERO: Final = Decimal(0)


@dataclass(frozen=True)
class Track:
    """One symbol's market: candles without gaps in time, basis at each close, funding as a step function.

    `funding_us[j]` ends the interval in which `funding_rate[j]` an hour is in force; empty: no funding is simulated.
    """

    spot_symbol: str
    instrument: Instrument
    candles: Candles
    basis: Floats
    funding_us: tuple[int, ...] = ()
    funding_rate: tuple[Decimal, ...] = ()
    filled: tuple[Span, ...] = ()
    finer: Finer | None = None

    @cached_property
    def start_us(self) -> int:
        """Open of the first candle."""
        return int(self.candles.time[0]) * 1000

    @cached_property
    def end_us(self) -> int:
        """Close of the last candle."""
        return (int(self.candles.time[-1]) + BAR_MS) * 1000

    @cached_property
    def traded(self) -> Ints:
        """For each candle the newest up to it in which anything was traded, -1 before the first."""
        here = np.where(self.candles.synthetic, -1, np.arange(len(self.candles), dtype=np.int64))
        newest: Ints = np.maximum.accumulate(here)
        return newest

    @cached_property
    def path(self) -> PricePath:
        """The way of spot."""
        return path_of(self.candles, self.finer)

    def place(self, at_us: int) -> tuple[int, int]:
        """(candle, microseconds into it). At and after the end the last candle is over."""
        if at_us < self.start_us:
            raise ValueError(
                f"{self.spot_symbol}: {when(at_us // 1000)} is before the data begins, {when(self.start_us // 1000)}"
            )
        if at_us >= self.end_us:
            return len(self.candles) - 1, BAR_US
        return divmod(at_us - self.start_us, BAR_US)

    def spot(self, at_us: int) -> float:
        """The spot path at a moment."""
        bar, into = self.place(at_us)
        return self.path.price(bar * BAR_US + into)

    def mark(self, at_us: int) -> float:
        """The unrounded mark at a moment."""
        return self.look(at_us)[1]

    def look(self, at_us: int) -> tuple[float, float]:
        """The spot path and the unrounded mark at a moment."""
        bar, into = self.place(at_us)
        spot = self.path.price(bar * BAR_US + into)
        before, after = self.basis_points.item(bar), self.basis_points.item(bar + 1)
        return spot, spot * (1.0 + (before + (after - before) * (into / BAR_US)))

    @cached_property
    def tick_size(self) -> float:
        """The contract's price step."""
        return float(self.instrument.tick)

    def marks(self, at_us: Ints) -> Floats:
        """`mark` of many moments, bit for bit the same."""
        bar, into = np.divmod(np.minimum(at_us, self.end_us) - self.start_us, BAR_US)
        over = bar >= len(self.candles)
        bar, into = np.where(over, bar - 1, bar), np.where(over, BAR_US, into)
        spot = self.path.prices(bar * BAR_US + into)
        basis = self.basis_points
        before, after = basis[bar], basis[bar + 1]
        marks: Floats = spot * (1.0 + (before + (after - before) * (into / BAR_US)))
        return marks

    @cached_property
    def reach(self) -> tuple[Floats, Floats]:
        """Bounds (least, most) of the unrounded mark inside each candle, both of its ends included."""
        before, after = self.basis_points[:-1], self.basis_points[1:]
        return (
            self.candles.low * (1.0 + np.minimum(before, after)),
            self.candles.high * (1.0 + np.maximum(before, after)),
        )

    def bounds(self, start_us: int, end_us: int) -> tuple[float, float]:
        """Bounds of the unrounded mark from `start_us` to `end_us`: those of the candles they lie in."""
        first, last = self.place(start_us)[0], self.place(end_us)[0]
        low, high = self.reach
        if first == last:
            return low.item(first), high.item(first)
        if first + 1 == last:
            return min(low.item(first), low.item(last)), max(high.item(first), high.item(last))
        return low[first : last + 1].min().item(), high[first : last + 1].max().item()

    @cached_property
    def basis_reach(self) -> Floats:
        """Bounds of |mark / spot - 1| at and inside each candle, as two looks at one moment may find it.

        The spot shown at a candle's open is still the close before it.
        """
        size, c = float(self.instrument.tick), self.candles
        wide = np.maximum(np.abs(self.basis_points[:-1]), np.abs(self.basis_points[1:]))
        jump = np.abs(c.open / np.concatenate((c.open[:1], c.close[:-1])) - 1.0)
        bounds: Floats = wide + jump * (1.0 + wide) + size / c.low
        return bounds

    @cached_property
    def opening_marks(self) -> Floats:
        """The mark at each candle's open and at the very end, on its tick."""
        spot = np.concatenate((self.candles.open, self.candles.close[-1:]))
        size = float(self.instrument.tick)
        marks: Floats = np.rint(spot * (1.0 + self.basis_points) / size) * size
        return marks

    @cached_property
    def funding_paid(self) -> Floats:
        """What one contract has paid from the first candle's open to each open after it, USD; about 1e-12 exact."""
        bars = len(self.candles)
        if not self.funding_us:
            return np.zeros(bars + 1)
        # Of each hour the rate and the index; the first may have begun before the data does.
        before = self.start_us % HOUR_US // BAR_US
        hours = -(-(bars + before) // HOUR_BARS)
        opens = np.maximum(np.arange(hours) * HOUR_BARS - before, 0)
        which = self._intervals(self.start_us + opens * BAR_US + 1)
        cap = float(self.instrument.max_relative_funding_rate)
        relative = np.clip(np.array([float(rate) for rate in self.funding_rate])[which], -cap, cap)
        size = self.tick_size
        an_hour = relative * np.rint(self.candles.open[opens] / size) * size * (BAR_US / HOUR_US)
        a_bar = np.repeat(an_hour, HOUR_BARS)[before : before + bars]
        paid: Floats = np.concatenate(([0.0], np.cumsum(a_bar)))
        return paid

    @cached_property
    def hourly(self) -> tuple[int, list[Decimal], list[int]]:
        """The first full hour, and of it and each after it the relative rate in force when it has begun, and the index in ticks.

        Plain numbers: a few hours at a time are asked for.
        """
        begins_us = -(-self.start_us // HOUR_US) * HOUR_US
        opened = self.candles.open[(begins_us - self.start_us) // BAR_US :: HOUR_BARS]
        ticks: list[int] = np.rint(opened / self.tick_size).astype(np.int64).tolist()
        if not self.funding_us:
            return begins_us, [ZERO] * len(ticks), ticks
        began = begins_us + np.arange(len(ticks), dtype=np.int64) * HOUR_US
        rates, which = self.funding_rate, self._intervals(began + 1)
        return begins_us, [rates[step] for step in which.tolist()], ticks

    def _intervals(self, at_us: Ints) -> Ints:
        """Which of the funding's steps each moment lies in; beyond the last that one."""
        return np.minimum(self._funding_ends.searchsorted(at_us), len(self.funding_us) - 1)

    @cached_property
    def _funding_ends(self) -> Ints:
        return np.array(self.funding_us, np.int64)

    @cached_property
    def basis_points(self) -> Floats:
        """Basis at the open of the first candle and at each close."""
        return np.concatenate((self.basis[:1], self.basis))


class Tape:
    """The markets of `settings.symbols` from `start_us` to `end_us`, with history before `start_us`."""

    def __init__(self, tracks: Sequence[Track], settings: Settings, start_us: int, end_us: int) -> None:
        self.start_us, self.end_us = start_us, end_us
        self.symbols: tuple[str, ...] = tuple(track.spot_symbol for track in tracks)
        self.tracks: dict[str, Track] = {track.spot_symbol: track for track in tracks}
        self.tick_us = settings.market.tick_s * SECOND_US
        self._half_spread = float(settings.market.spread_pct) / 200
        self._spread_share = float(settings.market.spread_range_share)
        self._conditions = settings.market.slippage_range_share > 0 or settings.market.slippage_size_pct > 0
        self._contracts = {track.instrument.symbol: track for track in tracks}
        self._lines: dict[str, crossing.Line] = {}
        self._longer: dict[tuple[str, Timeframe], Candles] = {}
        self._natives: dict[tuple[str, Timeframe], Candles] = {}

    @classmethod
    def synthetic(cls, settings: Settings, days: int = 120, history_days: int = HISTORY_DAYS) -> Tape:
        """The seeded market of `settings.market`: `days` from its start, `history_days` before it."""
        start_ms = parse_moment(settings.market.start)
        if start_ms % (DAY_US // 1000):
            raise BadPeriod(f"market.start {settings.market.start} is not midnight UTC")
        first_ms = start_ms - history_days * (DAY_US // 1000)
        bars = (history_days + days) * (DAY_US // BAR_US)
        tracks = []
        for pair in settings.symbols:
            market = generate(pair.spot, settings.market.seed, first_ms, bars)
            hours = tuple(first_ms * 1000 + (j + 1) * HOUR_US for j in range(len(market.funding)))
            instrument = _instrument(pair.futures, market.candles)
            tracks.append(Track(pair.spot, instrument, market.candles, market.basis, hours, _rates(market.funding)))
        return cls(tracks, settings, start_ms * 1000, (first_ms + bars * BAR_MS) * 1000)

    @classmethod
    def recorded(
        cls,
        settings: Settings,
        spot: Mapping[str, Path],
        *,
        perp: Mapping[str, Path] | None = None,
        funding: Mapping[str, Path] | None = None,
        path: Mapping[str, Path] | None = None,
        history: Mapping[tuple[str, Timeframe], Path] | None = None,
        start_ms: int | None = None,
        end_ms: int | None = None,
        gap_policy: GapPolicy = "fill",
    ) -> Tape:
        """Real 15m candles by spot symbol, each file optional but `spot` needed for every configured symbol.

        Without perp candles the basis, without a funding file the funding is that of `settings.market`. `path`: spot candles
        of 1 or 5 minutes, for the way inside the 15m ones. `history`:
        native longer candles from before the data begins, for the bias. Trading begins at `start_ms`
        (default: with the data), what lies before it is history, and ends at `end_ms` or with the shortest file.
        Raises BadCandleFile, BadPeriod.
        """
        check_period(start_ms, end_ms)
        for name in [*spot, *(perp or {}), *(funding or {}), *(path or {}), *(symbol for symbol, _ in history or {})]:
            if name not in settings.futures_of:
                raise BadCandleFile(f"{name} is not among the configured symbols: {', '.join(settings.futures_of)}")
        tracks = []
        for pair in settings.symbols:
            if pair.spot not in spot:
                raise BadCandleFile(f"{pair.spot}: no spot candle file is given")
            # Time goes on without trades: what `reset` starts anew is the strategy, which is shown no filled candle.
            policy: GapPolicy = "halt" if gap_policy == "halt" else "fill"
            candles, filled = close_gaps(read_candles(spot[pair.spot], "15m").between(None, end_ms), "15m", policy)
            steps = (
                _funding_steps(read_funding(funding[pair.spot]))
                if funding and pair.spot in funding
                else _funding_model(pair.spot, candles, settings)
            )
            file = perp.get(pair.spot) if perp else None
            basis = _basis_of(candles, file) if file is not None else _basis_model(pair.spot, candles, settings)
            tracks.append(
                Track(
                    pair.spot,
                    _instrument(pair.futures, candles),
                    candles,
                    basis,
                    *steps,
                    filled=filled,
                    finer=Finer(*read_steps(path[pair.spot], FINER_MS)) if path and pair.spot in path else None,
                )
            )
            _ = tracks[-1].path  # finer candles of another market are refused here
        start_us = max([track.start_us for track in tracks] + ([start_ms * 1000] if start_ms is not None else []))
        end_us = min(track.end_us for track in tracks)
        if start_us >= end_us:
            raise BadPeriod(f"nothing to trade on: the data of all symbols ends {when(end_us // 1000)}")
        tape = cls(tracks, settings, start_us - start_us % -BAR_US, end_us)
        tape._natives = {key: read_candles(file, key[1]) for key, file in (history or {}).items()}
        return tape

    @property
    def futures(self) -> frozenset[str]:
        """The contracts that have a price here."""
        return frozenset(self._contracts)

    @property
    def instruments(self) -> tuple[Instrument, ...]:
        """The contracts traded on this tape, in symbol order; list these at the exchange."""
        return tuple(track.instrument for track in self.tracks.values())

    @property
    def filled(self) -> dict[str, tuple[Span, ...]]:
        """What each symbol's source lacked."""
        return {symbol: track.filled for symbol, track in self.tracks.items()}

    # --- spot -----------------------------------------------------------------------------------------------

    def candles(
        self, spot_symbol: str, timeframe: Timeframe, since_ms: int | None, until_us: int, *, at_us: int | None = None
    ) -> list[CandleSeen]:
        """Closed candles, oldest first: open time >= `since_ms`, over at or before `until_us`. Whole buckets only.

        They are seen at `at_us`, by default at `until_us`.
        """
        at_us = until_us if at_us is None else at_us
        if until_us <= self.tracks[spot_symbol].start_us and (spot_symbol, timeframe) not in self._natives:
            return []  # longer candles are made when there is one
        series = self._series(spot_symbol, timeframe)
        step = TIMEFRAME_MS[timeframe]
        first = 0 if since_ms is None else int(np.searchsorted(series.time, since_ms))
        last = int(np.searchsorted(series.time, until_us // 1000 - step, side="right"))
        return [_seen(spot_symbol, timeframe, series, i, at_us) for i in range(first, last) if not series.synthetic[i]]

    def closed(self, spot_symbol: str, close_us: int, at_us: int) -> CandleSeen | None:
        """The 15m candle that ended at `close_us`, seen at `at_us`; None when nothing was traded in it."""
        track = self.tracks[spot_symbol]
        bar = (close_us - track.start_us) // BAR_US - 1
        if not 0 <= bar < len(track.candles) or track.candles.synthetic[bar]:
            return None
        return _seen(spot_symbol, "15m", track.candles, bar, at_us)

    def running(self, spot_symbol: str, at_us: int) -> CandleSeen:
        """The 15m candle as it stands at `at_us`; at the very end of a candle that candle, whole. Volume 0: no trade yet."""
        track = self.tracks[spot_symbol]
        grid = self._grid(at_us)
        bar, into = track.place(grid)
        if into == 0 and bar > 0:
            bar, into = bar - 1, BAR_US
        reached = track.path.reached(bar, into)
        open_ms = int(track.candles.time[bar])
        return from_edge(
            CandleSeen,
            at_us,
            spot_symbol,
            "15m",
            open_ms,
            at_us,
            symbol=spot_symbol,
            timeframe="15m",
            open_time_ms=open_ms,
            open=reached[0],
            high=max(reached),
            low=min(reached),
            close=reached[-1],
            volume=float(track.candles.volume[bar]) * (into / BAR_US),
            final=False,
        )

    def spot_price(self, spot_symbol: str, at_us: int) -> float:
        """The spot path at `at_us`."""
        return self.tracks[spot_symbol].spot(self._grid(at_us))

    # --- futures --------------------------------------------------------------------------------------------

    def tick(self, futures_symbol: str, at_us: int) -> Tick:
        """The contract's prices at `at_us`, on its tick: bid below and ask above the mark by half the spread."""
        track, grid = self._contracts[futures_symbol], at_us - at_us % self.tick_us
        step, size = track.instrument.tick, track.tick_size
        spot, unrounded = track.look(grid)
        mark = round(unrounded / size)
        marked = mark * step
        half_spread = self._half_spread if not self._spread_share else float(self.half_spread(track, np.array(grid)))
        range_pct, turnover_usd = self._condition(track, grid) if self._conditions else (ZERO, ZERO)
        return Tick(
            at=at_us,
            symbol=futures_symbol,
            mark=marked,
            index=round(spot / size) * step,
            bid=math.floor(mark * (1.0 - half_spread)) * step,
            ask=math.ceil(mark * (1.0 + half_spread)) * step,
            last=marked,
            funding_rate=self._rate(track, at_us),
            range_pct=range_pct,
            turnover_usd=turnover_usd,
        )

    @property
    def plain(self) -> bool:
        """Whether the spread is constant and no tick tells of the candle before: then `quotes` are all there is to a tick."""
        return not (self._spread_share or self._conditions)

    def quotes(self, futures_symbol: str, bar_us: int) -> list[Quote]:
        """The prices of every moment on the grid of the candle that opens at `bar_us`, as `tick` has them on a `plain` tape."""
        track = self._contracts[futures_symbol]
        step = track.instrument.tick
        size = float(step)
        moments = np.arange(bar_us, bar_us + BAR_US, self.tick_us, dtype=np.int64)
        marks = np.rint(track.marks(moments) / size)
        columns = (
            marks,
            np.rint(track.path.prices(moments - track.start_us) / size),
            np.floor(marks * (1.0 - self._half_spread)),
            np.ceil(marks * (1.0 + self._half_spread)),
        )
        ticks = zip(*(column.astype(np.int64).tolist() for column in columns), strict=True)
        return [(mark * step, index * step, bid * step, ask * step) for mark, index, bid, ask in ticks]

    def funding_terms(self, futures_symbol: str, at_us: int) -> tuple[Decimal, Decimal]:
        """Relative rate an hour and index, as a tick at `at_us` would show them."""
        track = self._contracts[futures_symbol]
        step = track.instrument.tick
        return self._rate(track, at_us), round(track.spot(self._grid(at_us)) / float(step)) * step

    def hourly_terms(self, futures_symbol: str, hours: range) -> list[tuple[Decimal, Decimal]]:
        """`funding_terms` at the first tick of each of these full hours (microseconds), which lie before the end."""
        track = self._contracts[futures_symbol]
        begins_us, rates, ticks = track.hourly
        first = (hours.start - begins_us) // HOUR_US
        these = slice(first, first + len(hours))
        return list(zip(rates[these], map(mul, ticks[these], repeat(track.instrument.tick)), strict=True))

    def funding_rate(self, futures_symbol: str, at_us: int) -> Decimal:
        """The relative rate an hour in force at `at_us`, paid by longs when above zero; 0 when none is simulated."""
        return self._rate(self._contracts[futures_symbol], at_us)

    def vertices(self, futures_symbol: str, after_us: int, until_us: int) -> list[int]:
        """The turns of the path in (`after_us`, `until_us`]."""
        track = self._contracts[futures_symbol]
        leg_us = track.path.leg_us
        first = after_us - (after_us - track.start_us) % leg_us + leg_us
        return list(range(first, min(until_us, self.end_us) + 1, leg_us))

    def to_come(self, futures_symbol: str, at_us: int) -> tuple[Decimal, Decimal] | None:
        """Least and greatest mark between `at_us` and the end of the finest candle known, on the tick grid.

        For an exchange that is to be hard on us; nobody else may look. None: nothing is to come, `at_us` is that candle's
        open (a price that was there before all others in it), or the contract is none of ours.
        """
        track = self._contracts.get(futures_symbol)
        if track is None:
            return None
        bar, into = track.place(self._grid(at_us))
        begin, end = track.path.told(bar * BAR_US + into)
        moments = np.arange(self._grid(at_us) + self.tick_us, track.start_us + end, self.tick_us, dtype=np.int64)
        if begin == bar * BAR_US + into or not len(moments):
            return None
        step = track.instrument.tick
        marks = np.rint(track.marks(moments) / float(step))
        return int(marks.min()) * step, int(marks.max()) * step

    def first_crossing(
        self, futures_symbol: str, after_us: int, until_us: int, levels: Iterable[Decimal]
    ) -> int | None:
        """The first moment on the tick grid in (`after_us`, `until_us`] at which mark, bid or ask has come to, or to the
        other side of, one of `levels`, as against `after_us`. None: not in this time.
        """
        bounds = self.reachable(futures_symbol, after_us, until_us, levels)
        return self.first_met(futures_symbol, after_us, until_us, bounds) if bounds else None

    def reachable(
        self, futures_symbol: str, after_us: int, until_us: int, levels: Iterable[Decimal]
    ) -> tuple[float, ...]:
        """Those of `levels`, in ticks, that may be crossed in (`after_us`, `until_us`]: cheap, and never wrongly left out."""
        low, high = self.extent(futures_symbol, after_us, until_us)
        return self.in_ticks(futures_symbol, [level for level in levels if low <= float(level) <= high])

    def in_ticks(self, futures_symbol: str, prices: Iterable[Decimal]) -> tuple[float, ...]:
        """Prices as multiples of the contract's tick."""
        step = self._contracts[futures_symbol].instrument.tick
        return tuple(float(price / step) for price in prices)

    def extent(self, futures_symbol: str, after_us: int, until_us: int) -> tuple[float, float]:
        """Bounds (least, most) of mark, bid and ask from `after_us` to `until_us`."""
        track = self._contracts[futures_symbol]
        until_us = min(until_us, self.end_us)
        low, high = track.bounds(after_us, until_us)
        half_spread, pad = self._half_spread, 2.0 * track.tick_size
        if self._spread_share:
            candles = np.arange(after_us, until_us + BAR_US, BAR_US, dtype=np.int64)
            half_spread = float(self.half_spread(track, candles).max())
        return low * (1.0 - half_spread) - pad, high * (1.0 + half_spread) + pad

    def first_met(self, futures_symbol: str, after_us: int, until_us: int, bounds: Sequence[float]) -> int | None:
        """`first_crossing` of levels in ticks."""
        line, until_us = self._line(futures_symbol), min(until_us, self.end_us)
        found: int = crossing.first(line, self._grid(after_us), until_us, self.tick_us, np.array(bounds))
        return None if found == crossing.NEVER else found

    def _line(self, futures_symbol: str) -> crossing.Line:
        line = self._lines.get(futures_symbol)
        if line is None:
            track = self._contracts[futures_symbol]
            opens_us = track.start_us + np.arange(len(track.candles), dtype=np.int64) * BAR_US
            line = self._lines[futures_symbol] = crossing.Line(
                knots=np.ascontiguousarray(track.path.knots),
                basis=track.basis_points,
                half_spread=self.half_spread(track, opens_us),
                row_us=track.path.step_us,
                bar_us=BAR_US,
                start_us=track.start_us,
                size=float(track.instrument.tick),
            )
        return line

    # --- inside ---------------------------------------------------------------------------------------------

    def _grid(self, at_us: int) -> int:
        return at_us - at_us % self.tick_us

    def half_spread(self, track: Track, at_us: Ints) -> Floats:
        """Half of the spread, as a fraction of the mark, at each moment: wider after a candle of a wide range."""
        if not self._spread_share:
            return np.full(at_us.shape, self._half_spread)
        bar = np.clip((at_us - track.start_us) // BAR_US, 0, len(track.candles) - 1) - 1
        bar = np.where(bar < 0, -1, track.traded[bar])
        c = track.candles
        ranges = np.where(bar < 0, 0.0, (c.high[bar] - c.low[bar]) / c.close[bar])
        wide: Floats = self._half_spread + ranges * self._spread_share / 2
        return wide

    @staticmethod
    def _condition(track: Track, grid_us: int) -> tuple[Decimal, Decimal]:
        """Range (percent of the close) and turnover (USD) of the last closed candle with trades; 0 before there is one."""
        place = track.place(grid_us)[0]
        bar = track.traded.item(place - 1) if place else -1
        if bar < 0:
            return ZERO, ZERO
        c = track.candles
        range_pct = decimal(float((c.high[bar] - c.low[bar]) / c.close[bar])) * 100
        return round(range_pct, RATE_DIGITS), round(decimal(float(c.volume[bar] * c.close[bar])), 2)

    @staticmethod
    def _rate(track: Track, at_us: int) -> Decimal:
        if not track.funding_us:
            return ZERO
        step = bisect_left(track.funding_us, at_us)
        return track.funding_rate[step] if step < len(track.funding_us) else track.funding_rate[-1]

    def _series(self, spot_symbol: str, timeframe: Timeframe) -> Candles:
        if timeframe == "15m":
            return self.tracks[spot_symbol].candles
        key = (spot_symbol, timeframe)
        if key not in self._longer:
            ours = aggregate(self.tracks[spot_symbol].candles, timeframe)
            self._longer[key] = _preceded(self._natives.get(key), ours, self.tracks[spot_symbol].start_us // 1000)
        return self._longer[key]


def aggregate(candles: Candles, timeframe: Timeframe) -> Candles:
    """Longer candles of a 15m series without gaps. A bucket that the series does not fill entirely is left out."""
    step = TIMEFRAME_MS[timeframe]
    size = step // BAR_MS
    skip = int(-candles.time[0] % step) // BAR_MS
    count = max(0, (len(candles) - skip) // size)

    def bucket(values: NDArray[Any]) -> NDArray[Any]:
        return values[skip : skip + count * size].reshape(count, size)

    return Candles(
        bucket(candles.time)[:, 0],
        bucket(candles.open)[:, 0],
        np.max(bucket(candles.high), axis=1),
        np.min(bucket(candles.low), axis=1),
        bucket(candles.close)[:, -1],
        np.sum(bucket(candles.volume), axis=1),
        np.all(bucket(candles.synthetic), axis=1),
    )


def _preceded(natives: Candles | None, ours: Candles, begins_ms: int) -> Candles:
    """Our own longer candles after those native ones that open before them; a bucket cut by the data's beginning is native."""
    if natives is None:
        return ours
    first_ms = int(ours.time[0]) if len(ours) else begins_ms
    rows = slice(0, int(np.searchsorted(natives.time, first_ms)))
    pairs = ((getattr(natives, name)[rows], getattr(ours, name)) for name in natives.__dataclass_fields__)
    return Candles(*(np.concatenate(pair) for pair in pairs))


def _basis_model(spot: str, candles: Candles, settings: Settings) -> Floats:
    """The basis of a market whose perpetual nobody recorded."""
    if settings.market.basis == "static":
        return np.full(len(candles), float(settings.market.basis_pct) / 100.0)
    return generate(spot, settings.market.seed, int(candles.time[0]), len(candles)).basis


def _funding_model(spot: str, candles: Candles, settings: Settings) -> Steps:
    """The funding of a market whose rates nobody recorded, hour by hour; none where the static rate is 0."""
    market, first_ms = settings.market, int(candles.time[0])
    hours = -(-(int(candles.time[-1]) + BAR_MS - first_ms) // HOUR_MS)
    ends = tuple((first_ms - first_ms % HOUR_MS + (hour + 1) * HOUR_MS) * 1000 for hour in range(hours + 1))
    if market.funding == "stochastic":
        return ends, _rates(generate(spot, market.seed, first_ms, 4 * len(ends)).funding)
    return (ends[-1:], (market.funding_pct / 100,)) if market.funding_pct else ((), ())


def _seen(symbol: str, timeframe: Timeframe, series: Candles, i: int, at_us: int) -> CandleSeen:
    open_ms = int(series.time[i])
    return from_edge(
        CandleSeen,
        at_us,
        symbol,
        timeframe,
        open_ms,
        "final",
        symbol=symbol,
        timeframe=timeframe,
        open_time_ms=open_ms,
        open=float(series.open[i]),
        high=float(series.high[i]),
        low=float(series.low[i]),
        close=float(series.close[i]),
        volume=float(series.volume[i]),
        final=True,
    )


def _instrument(futures_symbol: str, candles: Candles) -> Instrument:
    return contract(futures_symbol, decimal(float(candles.open[0])))


def _rates(per_hour: Floats) -> tuple[Decimal, ...]:
    return tuple(decimal(rate) for rate in np.round(per_hour, RATE_DIGITS).tolist())


def _funding_steps(series: Series) -> Steps:
    """Each interval's rate as a rate an hour."""
    return tuple((series.time * 1000).tolist()), _rates(series.value / (intervals_ms(series.time) / HOUR_MS))


def _basis_of(candles: Candles, perp_file: Path) -> Floats:
    """perp close / spot close - 1 where both ended and were traded, linear between, flat beyond."""
    step_ms, perp = read_steps(perp_file, PERP_MS)
    _, ours, theirs = np.intersect1d(
        candles.time + BAR_MS, perp.time + step_ms, assume_unique=True, return_indices=True
    )
    ours, theirs = ours[~candles.synthetic[ours]], theirs[~candles.synthetic[ours]]
    if not len(ours):
        raise BadCandleFile(f"{perp_file}: no candle ends with a spot candle")
    return np.interp(candles.time, candles.time[ours], perp.close[theirs] / candles.close[ours] - 1.0)

"""The markets of all symbols, seen on a grid of ticks: ask any moment in any order, the answer is the same.

Prices (`sim.market.track`) change on whole multiples of `tick_s` only and hold in between. Candles the source lacks are flat in the path
and, as at an exchange without trades, absent from `candles`. Knows no order.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Final

import numpy as np

from config.settings import Settings
from protocol.messages.base import from_edge
from protocol.messages.futures import Instrument
from protocol.messages.spot import CandleSeen
from protocol.units import DAY_US, SECOND_US, TIMEFRAME_MS, Timeframe, decimal
from sim.market import crossing
from sim.market.files import (
    BadCandleFile,
    BadPeriod,
    Candles,
    GapPolicy,
    Span,
    check_period,
    parse_moment,
    read_candles,
    when,
)
from sim.market.longer import aggregate, leading, preceded
from sim.market.sources import recorded_track, synthetic_track
from sim.market.tick import Tick
from sim.market.track import BAR_MS, BAR_US, RATE_DIGITS, ZERO, Bools, Floats, Ints, Track

HISTORY_DAYS: Final = 450
"""Synthetic candles before the first moment of trading: the daily bias needs 400."""
Quote = tuple[Decimal, Decimal, Decimal, Decimal]
"""Mark, index, bid, ask."""


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
        self.led: dict[tuple[str, Timeframe], int] = {}
        """How many native candles lead up to our own without a hole, by series; 0: the strategy can use none of them."""

    @classmethod
    def synthetic(cls, settings: Settings, days: int = 120, history_days: int = HISTORY_DAYS) -> Tape:
        """The seeded market of `settings.market`: `days` from its start, `history_days` before it."""
        start_ms = parse_moment(settings.market.start)
        first_ms = start_ms - history_days * (DAY_US // 1000)
        bars = (history_days + days) * (DAY_US // BAR_US)
        tracks = [synthetic_track(pair, settings, first_ms, bars) for pair in settings.symbols]
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
        (default: with the data), what lies before it is history, and ends at `end_ms` or with the shortest file. Where native
        candles lead up to our own it does not begin before the last of them has settled: one that lacks is a hole, and none would be used.
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
            track = recorded_track(
                pair,
                settings,
                spot[pair.spot],
                perp=(perp or {}).get(pair.spot),
                funding=(funding or {}).get(pair.spot),
                path=(path or {}).get(pair.spot),
                end_ms=end_ms,
                gap_policy=gap_policy,
            )
            tracks.append(track)
        natives = {key: read_candles(file, key[1]) for key, file in (history or {}).items()}
        start_us = max([track.start_us for track in tracks] + ([start_ms * 1000] if start_ms is not None else []))
        end_us = min(track.end_us for track in tracks)
        begins = {track.spot_symbol: track.start_us // 1000 for track in tracks}
        joined = {key: leading(found, begins[key[0]], key[1]) for key, found in natives.items()}
        settled_us = max(((first + BAR_MS) * 1000 for first, count in joined.values() if count), default=start_us)
        if settled_us < end_us:
            start_us = max(start_us, settled_us)
        if start_us >= end_us:
            raise BadPeriod(f"nothing to trade on: the data of all symbols ends {when(end_us // 1000)}")
        tape = cls(tracks, settings, start_us - start_us % -BAR_US, end_us)
        tape._natives = natives
        tape.led = {key: count for key, (_, count) in joined.items()}
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

    def share_pct(self, track: Track, known: Bools) -> int:
        """How much of the run a source of a track tells, if it tells these candles."""
        first, last = ((at - track.start_us) // BAR_US for at in (self.start_us, self.end_us))
        return round(float(known[first:last].mean()) * 100)

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

    def hourly_terms(self, futures_symbol: str, hours: range) -> list[tuple[Decimal, int]]:
        """Relative rate and index, in ticks, at the first tick of each of these full hours (microseconds), which lie before the end."""
        return self._contracts[futures_symbol].hourly_terms(hours)

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
            self._longer[key] = preceded(self._natives.get(key), ours, self.tracks[spot_symbol].start_us // 1000)
        return self._longer[key]


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

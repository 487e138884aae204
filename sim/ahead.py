"""Which stretches of a market change nothing, found in columns, and how the world is moved over them.

Each actor says, purely, when it would next speak (`quiet` modules); here these thresholds are held against whole columns of prices at
once. A candle with anything in it is played in full, moment by moment; what lies between is left out, and every state is brought to
where playing it would have brought it: funding is paid, trailing remembers, the day has rolled. A test proves that skipping changes
no decision, order, fill or trade. Decides nothing about trading.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from actors.executor import quiet as executor
from actors.part import Part
from actors.reconciler import decide as reconciler
from actors.risk import quiet as risk
from actors.spot_feed import decide as spot_feed
from actors.strategy import bulk, replay
from config.settings import Settings
from protocol.units import HOUR_US, seconds_us
from sim.stage import Stage
from sim.tape import BAR_US, LEG_US, Track

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

LATE: Final = "late:"
"""Timers of the spot feed that every candle sets anew."""
DAY: Final = ("risk", "day")
RECONCILE: Final = ("reconciler", "reconcile")
NEAR: Final = 1e-7
"""Relative: nearer than this to a threshold counts as beyond it, so that float64 here never overrules Decimal there."""
FIRST_LOOK: Final = 64
"""Candles scanned at first while a position is open; each further look is twice as far."""


@dataclass(frozen=True)
class _Market:
    """One symbol in columns, indexed by candle from the first that is traded; `opening` and `paid` have one more entry."""

    spot: str
    futures: str
    track: Track
    low: Floats
    high: Floats
    opening: Floats
    paid: Floats
    pad: Floats


@dataclass(frozen=True)
class Leap:
    """Over all that comes before the boundary `to`. `flat`: nothing is held; `glance`: only the marks of `to` are played."""

    to: int
    flat: bool
    glance: bool = False


class Ahead:
    """Looks ahead for the actors of one run. `parts` are read, and moved on by `pass_over` alone."""

    def __init__(self, parts: Mapping[str, Part[Any]], stage: Stage, settings: Settings) -> None:
        self.parts, self.stage, self.settings = parts, stage, settings
        self.reconcile_us = seconds_us(settings.execution.reconcile_s)
        self.last_symbol = settings.symbols[-1].spot
        tape = stage.tape
        self._start_us, self._bars = tape.start_us, (tape.end_us - tape.start_us) // BAR_US
        self._markets = tuple(self._columns(pair.spot, pair.futures) for pair in settings.symbols)
        self._market_of = {market.futures: market for market in self._markets}
        self._tables: replay.Tables = {}
        self._loud: Bools = np.zeros(0, np.bool_)
        self._stops: Ints = np.zeros(0, np.int64)
        self._glanced: int | None = None
        """The candle at whose opening only marks were played: what the candle before it said is still to be taken in."""

    def _columns(self, spot: str, futures: str) -> _Market:
        track = self.stage.tape.tracks[spot]
        first = (self._start_us - track.start_us) // BAR_US
        bars, points = slice(first, first + self._bars), slice(first, first + self._bars + 1)
        low, high = track.reach
        half_spread = float(self.settings.market.spread_pct) / 200
        return _Market(
            spot=spot,
            futures=futures,
            track=track,
            low=low[bars],
            high=high[bars],
            opening=track.opening_marks[points],
            paid=track.funding_paid[points],
            pad=2.0 * float(track.instrument.tick) + high[bars] * half_spread,
        )

    # --- before the market opens ------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Decide on all candles to come, once the back-fill is told. The strategy's part looks its answers up from then on."""
        part = self.parts["strategy"]
        for market in self._markets:
            self._tables[market.spot] = bulk.tabulate(part.state, market.spot, self._to_come(market))
        part.state, part.step = self._tables, replay.step
        self._loud = np.zeros(self._bars + 1, np.bool_)
        stops = [self._bars]
        for market in self._markets:
            self._loud |= self._restless(market)
            signals = np.array([close_ms for close_ms, _ in self._tables[market.spot].signals], np.int64)
            stops += self._bar_at(signals * 1000).tolist()
        stops += np.flatnonzero(self._loud).tolist()
        self._stops = np.unique(np.array(stops, np.int64))

    def _to_come(self, market: _Market) -> replay.History:
        """The closed candles that the spot feed has not told yet, missing ones filled."""
        newest = self.parts["spot_feed"].state.series[market.spot].newest
        c = market.track.candles
        first = 0 if newest is None else int(np.searchsorted(c.time, newest.open_time_ms, side="right"))
        rows = slice(first, int(np.searchsorted(c.time, self.stage.tape.end_us // 1000)))
        values = np.stack([column[rows] for column in (c.open, c.high, c.low, c.close, c.volume)], axis=1)
        return replay.History(c.time[rows], values, c.synthetic[rows])

    def _restless(self, market: _Market) -> Bools:
        """Candles that must be played whatever is held: the basis is wide, or trading stopped and nothing was told."""
        track, settle_us = market.track, self.stage.settle_us
        first = (self._start_us - track.start_us) // BAR_US
        bars = slice(first, first + self._bars)
        basis = track.basis_reach
        if settle_us <= seconds_us(self.settings.risk.basis_skew_max_s):
            # Two looks so near to each other count as one moment: what the path does between them is basis then.
            basis = basis + np.abs(track.knots[:, 1] / track.knots[:, 0] - 1.0) * (settle_us / LEG_US)
        wide = basis[bars] * 100.0 >= risk.basis_pct(self.parts["risk"].state) * (1.0 - NEAR)
        idle = (track.candles.synthetic | (track.candles.volume <= 0.0))[bars]
        restless = np.zeros(self._bars + 1, np.bool_)
        for before, after in ((1, 2), (1, 3)):
            for shift in range(-before, after):
                found = np.flatnonzero(wide if (before, after) == (1, 2) else idle) + shift
                restless[found[(found >= 0) & (found <= self._bars)]] = True
        return restless

    # --- looking ----------------------------------------------------------------------------------------------

    def look(self, now: int, due: Mapping[tuple[str, str], int]) -> Leap | None:
        """Where to go on from `now`, when all that a boundary led to is over; None: with the very next moment."""
        here = self._bar(now)
        engine = self.stage.engine.state
        held = bool(engine.holdings)
        if here + 1 >= self._bars or (engine.working and not held) or self._loud[here]:
            return None
        limits = risk.limits(self.parts["risk"].state)
        if limits is None or not self._settled():
            return None
        stop = int(self._stops[np.searchsorted(self._stops, here + 1)])
        for timer, moment in due.items():
            if not timer[1].startswith(LATE) and timer not in ((DAY,) if held else (DAY, RECONCILE)):
                stop = min(stop, self._bar(moment - 1))
        if not held:
            return Leap(self._start_us + stop * BAR_US, flat=True) if stop > here + 1 else None
        # The day begins with the equity told last: the boundary before midnight is glanced at.
        midnight = self._bar(due[DAY] - 1)
        # With it the limits change: the day's first boundary is played.
        glance = min(stop, midnight) if midnight > here else (stop := min(stop, midnight + 1))
        found, glance = self._held_until(now, here, stop, glance, limits)
        if found <= here:
            return None
        return Leap(self._start_us + found * BAR_US, flat=False, glance=glance)

    def _settled(self) -> bool:
        """Whether nobody waits for anything."""
        parts = self.parts
        return (
            executor.steady(parts["executor"].state)
            and reconciler.settled(parts["reconciler"].state)
            and spot_feed.whole(parts["spot_feed"].state)
            and not parts["kill_switch"].state.latched
            and not parts["futures_feed"].state.refused
        )

    def _held_until(self, now: int, here: int, stop: int, glance: int, limits: risk.Limits) -> tuple[int, bool]:
        """The first candle from `here` (where we are) to `stop` or `glance` that matters while positions are open.

        And whether a glance at its opening is enough: the account told there is remembered, and nothing else happens.
        """
        stop = min(stop, self._structure_acts(here, stop))
        enough = glance < stop
        stop = min(stop, glance)
        begin, width = here, FIRST_LOOK
        while begin < stop:
            end = min(begin + width, stop)
            loud, equity = self._scan(now, here, begin, end, limits)
            found = int(np.argmax(loud)) if loud.any() else end - begin
            # The highest equity is remembered, so it is played: at the boundary where it is told.
            told = equity[:found]
            if begin == here:
                told = told[1:]
            if len(told) and told.max() >= limits.peak_usd * (1.0 - NEAR):
                return begin + (begin == here) + int(np.argmax(told >= told.max() * (1.0 - NEAR))), True
            if found < end - begin:
                return begin + found, False
            begin, width = end, width * 2
        if enough:  # and nothing inside the candle that is only glanced at
            loud, _ = self._scan(now, here, stop, stop + 1, limits)
            enough = not loud.any()
        return stop, enough and stop > here

    def _structure_acts(self, here: int, stop: int) -> int:
        """The first candle at whose opening structure moves a stop or ends a trade."""
        state = self.parts["executor"].state
        for futures, trade in state.memory.trades.items():
            reads = self._reads(futures, trade.plan.timeframe)
            rows = reads.between(self._told_ms(here), self._ms(stop))
            row = executor.acts_at(trade, state.policy, reads, rows)
            if row is not None:
                stop = min(stop, self._bar(int(reads.close_ms[row]) * 1000))
        return stop

    def _scan(self, now: int, here: int, begin: int, end: int, limits: risk.Limits) -> tuple[Bools, Floats]:
        """For candles `begin` to `end`: whether anything may happen inside, and the equity told at their opening."""
        engine = self.stage.engine
        state = engine.state
        size = end - begin
        loud: Bools = np.zeros(size, np.bool_)
        equity = np.full(size, float(engine.books.balance))
        worst, notional = np.zeros(size), np.zeros(size)
        exposures = []
        for symbol, holding in state.holdings.items():
            market = self._market_of[symbol]
            contracts = float(holding.size)
            mark, low, high = market.opening[begin:end], market.low[begin:end], market.high[begin:end]
            into = (now - self._start_us - here * BAR_US) / BAR_US
            paid_now = market.paid[here] + (market.paid[here + 1] - market.paid[here]) * into
            due = float(engine.funding_due_of(symbol))
            equity += contracts * mark - float(holding.cost) - due - contracts * (market.paid[begin:end] - paid_now)
            worst += np.minimum(contracts * (low - mark), contracts * (high - mark))
            exposures.append(abs(contracts) * high)
            notional += exposures[-1]
            price = float(state.ticks[symbol].mark)
            pad = market.pad[begin:end]
            for level in engine.order_levels(symbol):
                loud |= (low - pad <= level) if level <= price else (high + pad >= level)
        worst += equity
        peak = np.maximum.accumulate(np.maximum(equity, limits.peak_usd))
        fallen = np.maximum(limits.equity_least_usd, peak * limits.fall_share)
        told = (equity <= fallen * (1.0 + NEAR)) | (equity >= limits.equity_most_usd * (1.0 - NEAR))
        if begin == here:
            told[0] = False  # it was told
        loud |= told | (notional >= limits.leverage * worst * (1.0 - NEAR))
        least = float(engine.account().maintenance_margin_usd)
        for exposure in exposures:
            loud |= worst - least <= exposure * (limits.liquidation_pct / 100.0 * (1.0 + NEAR))
        return loud, equity

    # --- moving on --------------------------------------------------------------------------------------------

    def pass_over(self, now: int, leap: Leap) -> None:
        """Bring every state from `now` to just before where `leap` ends."""
        to = leap.to
        engine, here, there = self.stage.engine, self._bar(now), self._bar(to)
        hours = range(now - now % HOUR_US + HOUR_US, to, HOUR_US)
        held = bool(engine.state.holdings)
        for hour_us in hours if held else hours[-1:] if to % HOUR_US else ():
            self.stage.pass_hour(hour_us, last=hour_us == hours[-1])
        if held:
            engine.pass_reports(there - here - 1 + len(hours))
            part = self.parts["executor"]
            for futures, trade in part.state.memory.trades.items():
                reads = self._reads(futures, trade.plan.timeframe)
                rows = reads.between(self._told_ms(here), self._ms(there) - 1)
                part.state = executor.passed(part.state, futures, reads, rows)
        self._pass_spot(there)
        self._glanced = there if leap.glance else None

    def _pass_spot(self, there: int) -> None:
        """The feed has told all but the newest candle, which is shown whole at its end."""
        part = self.parts["spot_feed"]
        for market in self._markets:
            told_us = self._start_us + (there - 1) * BAR_US
            newest = self.stage.tape.closed(market.spot, told_us, told_us + self.stage.settle_us)
            if newest is not None and newest.open_time_ms > part.state.series[market.spot].newest.open_time_ms:
                part.state = spot_feed.passed(part.state, newest, newest.at)

    # --- inside -----------------------------------------------------------------------------------------------

    def _reads(self, futures: str, timeframe: Any) -> replay.Reads:
        return self._tables[self._market_of[futures].spot].reads[timeframe]

    def _bar(self, at_us: int) -> int:
        """The candle a moment lies in."""
        return (at_us - self._start_us) // BAR_US

    def _bar_at(self, at_us: Ints) -> Ints:
        bars: Ints = (at_us - self._start_us) // BAR_US
        return bars[bars >= 0]

    def _told_ms(self, here: int) -> int:
        """Candles that ended up to then have been told, in the candle `here`."""
        return self._ms(here) - (self._glanced == here)

    def _ms(self, bar: int) -> int:
        return (self._start_us + bar * BAR_US) // 1000

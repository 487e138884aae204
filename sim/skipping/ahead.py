"""Which stretches of a market change nothing, found in columns, and how the world is moved over them.

Each actor says, purely, when it would next speak (`quiet` modules); here these thresholds are held against whole columns of prices at
once. A candle with anything in it is played, by the contracts that matter in it; what lies between is left out, and every state is
brought to where playing it would have brought it: funding is paid, trailing remembers, the day has rolled. A test proves that skipping
changes no decision, order, fill or trade. Decides nothing about trading.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from actors.door import Door
from actors.executor import quiet as executor
from actors.executor.state import Memory
from actors.part import Part
from actors.reconciler import decide as reconciler
from actors.risk import quiet as risk
from actors.spot_feed import decide as spot_feed
from actors.strategy import bulk, replay
from config.settings import Settings
from protocol.messages.base import from_edge
from protocol.messages.futures import AccountChanged, MarkPrice
from protocol.units import DAY_US, HOUR_US, seconds_us
from sim.market.tape import Tape
from sim.market.tick import Tick
from sim.market.track import BAR_US, Track
from sim.skipping import scan
from sim.stage import Moment, Stage

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

LATE: Final = "late:"
"""Timers of the spot feed that every candle sets anew."""
DAY: Final = ("risk", "day")
RECONCILE: Final = ("reconciler", "reconcile")
EXECUTOR: Final = "executor"
"""Its timers have it look at a trade again: one that is steady has nothing to wait for."""


@dataclass(frozen=True)
class _Market:
    """One symbol and its row in `scan.Prices`."""

    spot: str
    futures: str
    track: Track
    row: int


Landing = Literal["open", "settle", "inside"]
"""Where in a candle play goes on: at its boundary, when the candle before it has settled, or after that, where an order is met."""


class Leap(msgspec.Struct, frozen=True):
    """Over all that comes before `to`, which lies in candle `bar`. `flat`: nothing is held.

    `looks`: boundaries on the way at which the account is worked out, because risk remembers it.
    """

    bar: int
    landing: Landing
    to: int
    flat: bool
    looks: tuple[int, ...] = ()


def skippable(settings: Settings, tape: Tape) -> bool:
    """Whether what is passed over can be known beforehand. The one place to say so of an option: what cannot is visited."""
    starts_anew = settings.strategy.gap_policy == "reset" and any(tape.filled.values())
    return not starts_anew


class Ahead:
    """Looks ahead for the actors of one run. `parts` are read, and moved on by `pass_over` alone, as is what the door knows."""

    def __init__(self, parts: Mapping[str, Part[Any]], door: Door, stage: Stage, settings: Settings) -> None:
        self.parts, self.door, self.stage, self.settings = parts, door, stage, settings
        self.reconcile_us = seconds_us(settings.execution.reconcile_s)
        tape = stage.tape
        self._start_us, self._bars = tape.start_us, (tape.end_us - tape.start_us) // BAR_US
        self._markets = tuple(
            _Market(pair.spot, pair.futures, tape.tracks[pair.spot], row) for row, pair in enumerate(settings.symbols)
        )
        self._market_of = {market.futures: market for market in self._markets}
        self._prices = self._columns()
        self._midnight = -(-self._start_us // DAY_US) * DAY_US
        """The first there is; as a candle it may lie beyond the last."""
        self._tables: replay.Tables = {}
        self._uneventful = 0
        """The moment whose ticks meet nothing."""
        self._onlookers: frozenset[str] = frozenset()
        """Spot symbols whose candle, when it settles at that moment, leads to nothing."""
        self._steady: Memory | None = None
        """What the executor remembers, as it was when all was last found as it should be."""
        self._loud: Bools = np.zeros(0, np.bool_)
        self._stops: list[int] = []
        """Candles that are played whatever prices do, and those of one contract's own; plain numbers, as one is found sooner among them."""
        self._own_stops: dict[str, list[int]] = {}

    def _columns(self) -> scan.Prices:
        """All markets, from the first candle that is traded."""
        tape = self.stage.tape
        columns = []
        for market in self._markets:
            track = market.track
            first = (self._start_us - track.start_us) // BAR_US
            bars, points = slice(first, first + self._bars), slice(first, first + self._bars + 1)
            low, high = track.reach
            opens_us = self._start_us + np.arange(self._bars, dtype=np.int64) * BAR_US
            pad = 2.0 * float(track.instrument.tick) + high[bars] * tape.half_spread(track, opens_us)
            columns.append((track.opening_marks[points], low[bars], high[bars], track.funding_paid[points], pad))
        return scan.Prices(*(np.stack(column) for column in zip(*columns, strict=True)))

    # --- before the market opens ------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Decide on all candles to come, once the back-fill is told. The strategy's part looks its answers up from then on."""
        part = self.parts["strategy"]
        for market in self._markets:
            self._tables[market.spot] = bulk.tabulate(part.state, market.spot, self._to_come(market))
        part.state, part.step = self._tables, replay.step
        self._loud = np.zeros(self._bars + 1, np.bool_)
        for market in self._markets:
            restless = self._restless(market)
            self._loud |= restless
            signals = np.array([close_ms for close_ms, _ in self._tables[market.spot].signals], np.int64)
            stops = (self._bar_at(signals * 1000), np.flatnonzero(restless), np.array([self._bars]))
            self._own_stops[market.futures] = np.unique(np.concatenate(stops)).tolist()
        self._stops = sorted(set().union(*self._own_stops.values()))

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
            basis = basis + track.path.drift(settle_us)
        wide = basis[bars] * 100.0 >= risk.basis_pct(self.parts["risk"].state) * (1.0 - scan.NEAR)
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
        rings = self._bars
        for timer, moment in due.items():
            if timer[0] != EXECUTOR and timer != DAY and not timer[1].startswith(LATE) and (held or timer != RECONCILE):
                rings = min(rings, self._bar(moment - 1))
        stop = min(self._stops[bisect_left(self._stops, here + 1)], rings)
        if stop <= here:
            return None
        limits = risk.limits(self.parts["risk"].state)
        if limits is None or not self._settled():
            return None
        if held:
            if limits.day_share is None:
                stop = min(stop, self._bar(due[DAY] - 1) + 1)
            return self._held_until(now, here, stop, rings, limits)
        landing: Landing = "settle" if self._opens_quietly(stop) and stop < rings else "open"
        return None if landing == "open" and stop == here + 1 else self._leap(stop, landing)

    def _leap(self, bar: int, landing: Landing, *, looks: Collection[int] | None = None) -> Leap:
        """To a candle; `looks`: candles at whose opening the account is worked out, None when nothing is held."""
        after_us = {"open": 0, "settle": self.stage.settle_us, "inside": self.stage.settled_us}[landing]
        moments = tuple(self._opens_us(look) for look in sorted(looks or ()))
        return Leap(bar, landing, self._opens_us(bar) + after_us, flat=looks is None, looks=moments)

    def _opens_quietly(self, bar: int) -> bool:
        """Whether nothing but the account can be of interest at a boundary before the candle that ended there has settled."""
        return bar < self._bars and not self._loud[bar] and (self._opens_us(bar) - self._midnight) % DAY_US != 0

    def _settled(self) -> bool:
        """Whether nobody waits for anything."""
        parts = self.parts
        trading = parts["executor"].state
        if not executor.steady(trading, self._steady):
            return False
        self._steady = trading.memory
        return (
            reconciler.settled(parts["reconciler"].state)
            and spot_feed.whole(parts["spot_feed"].state)
            and not parts["kill_switch"].state.latched
            and not parts["futures_feed"].state.refused
        )

    def _held_until(self, now: int, here: int, stop: int, rings: int, limits: risk.Limits) -> Leap | None:
        """To the first candle from `here` (where we are) to `stop` that matters while positions are open, as far into it as nothing does."""
        stop = self._structure_acts(here, stop)
        settles = self._opens_quietly(stop) and stop < rings
        sight, end, clear = self._sight(now, here, limits), stop + settles, here
        while True:
            found = scan.quiet_until(*sight, (here, end), self._bar(self._midnight), clear)
            met = self._met(now, found.bar) if found.met else None
            if not found.met or met is not None:
                break
            clear = found.bar + 1
        # With two contracts each turn of one path shows the other's mark.
        alone = len(self.stage.engine.state.holdings) == 1
        bar = min(found.bar, stop)
        if bar == here:
            if met is not None and alone:
                self.stage.straight(self._opens_us(here + 1))
            return None
        landing: Landing = "open"
        settled = self._opens_us(bar) + self.stage.settle_us
        if bar == stop:
            if found.bar > stop or (settles and met is not None and met > settled):
                landing = "settle"
        elif alone and met is not None and met > settled and self._opens_quietly(bar):
            landing = "inside"
        looks = {look for look in (found.highest, found.eve) if here < look < bar}
        return self._leap(bar, landing, looks=looks if landing == "open" else {*looks, bar})

    def _met(self, now: int, bar: int) -> int | None:
        """The first moment from now on, in a candle, at which a level of the exchange is met; its opening counts, its end does not."""
        tick_us = self.stage.tape.tick_us
        after, until = max(now, self._opens_us(bar) - tick_us), self._opens_us(bar + 1) - tick_us
        met = (self.stage.met(symbol, after, until) for symbol in self.stage.engine.state.holdings)
        return min((at for at in met if at is not None), default=None)

    def _structure_acts(self, here: int, stop: int) -> int:
        """The first candle, up to `stop`, at whose opening structure moves a stop or ends a trade."""
        state = self.parts["executor"].state
        for futures, trade in state.memory.trades.items():
            reads = self._reads(futures, trade.plan.timeframe)
            row = executor.acts_at(trade, state.policy, reads, reads.between(self._ms(here), self._ms(stop)))
            if row is not None:
                stop = min(stop, self._bar(int(reads.close_ms[row]) * 1000))
        return stop

    def _sight(
        self, now: int, here: int, limits: risk.Limits
    ) -> tuple[scan.Prices, scan.Held, scan.Levels, scan.Bounds]:
        """What `scan` needs to know of positions, orders, account and limits."""
        engine, prices = self.stage.engine, self._prices
        into = (now - self._opens_us(here)) / BAR_US
        held, levels = [], []
        for symbol, holding in engine.state.holdings.items():
            row = self._market_of[symbol].row
            paid, then = prices.paid[row, here : here + 2].tolist()
            cost = float(holding.cost) + float(engine.funding_due_of(symbol))
            held.append((row, float(holding.size), cost, paid + (then - paid) * into))
            mark = float(engine.state.ticks[symbol].mark)
            levels += [(row, price, price <= mark) for price in engine.order_levels(symbol)]
        bounds = scan.Bounds(
            balance=float(engine.books.balance),
            maintenance=float(engine.maintenance_usd),
            equity=limits.equity_usd,
            peak=limits.peak_usd,
            fall_share=limits.fall_share,
            least=limits.equity_least_usd,
            most=limits.equity_most_usd,
            leverage=limits.leverage,
            distance=limits.liquidation_pct / 100.0,
            day_share=limits.day_share or 0.0,
        )
        return prices, scan.table(held), scan.table(levels), bounds

    def woken(self, symbol: str) -> None:
        """The executor's timer for a steady trade, or for one that is over, has rung."""
        part = self.parts[EXECUTOR]
        part.state = executor.woken(part.state, symbol)

    # --- moving on --------------------------------------------------------------------------------------------

    def pass_over(self, now: int, leap: Leap) -> None:
        """Bring every state from `now` to just before where `leap` ends."""
        to, there = leap.to, leap.bar
        self._uneventful = to if leap.landing == "settle" else 0
        engine, here = self.stage.engine, self._bar(now)
        hours = range(now - now % HOUR_US + HOUR_US, to, HOUR_US)
        opened = there if leap.landing != "open" else there - 1
        if leap.flat:
            engine.pass_reports(0, self._opens_us(opened))
            if hours and to % HOUR_US:
                self.stage.pass_hours(hours[-1:])
        else:
            self._pass_held(hours, leap.looks)
            engine.pass_reports(opened - here + len(hours), self._opens_us(opened))
            if leap.landing != "open":
                self._tell_opening(self._opens_us(there), shown_again=leap.landing == "settle")
            part = self.parts["executor"]
            for futures, trade in part.state.memory.trades.items():
                reads = self._reads(futures, trade.plan.timeframe)
                rows = reads.between(self._ms(here), self._ms(there) - (leap.landing != "inside"))
                part.state = executor.passed(part.state, futures, reads, rows)
            self._steady = part.state.memory
        settles = leap.landing == "settle"
        self._onlookers = frozenset(m.spot for m in self._markets if settles and self._looks_on(m, there))
        sleepers = {
            market.futures: wake
            for market in self._markets
            if not engine.busy(market.futures) and (wake := self._next_stop(market, there)) > there
        }
        if len(sleepers) == len(self._markets):
            sleepers = {}  # only a timer rings here: time goes on from it as if all were looked at
        for market in self._markets:
            if market.futures in sleepers:
                wakes = sleepers[market.futures]
                settles_us = self.stage.settle_us if self._opens_quietly(wakes) else 0
                self.stage.sleep(market.futures, self._opens_us(wakes) + settles_us)
            else:
                self.stage.rouse(market.futures)
                if market.spot not in self._onlookers:
                    self._pass_spot(market, there, leap.landing)
        if leap.landing == "inside":
            self.stage.straight(self._opens_us(there + 1))

    def _next_stop(self, market: _Market, bar: int) -> int:
        """The first candle from `bar` on that is played for the sake of this contract."""
        stops = self._own_stops[market.futures]
        return stops[bisect_left(stops, bar)]

    def passes(self, moment: Moment) -> bool:
        """Whether nothing comes of a moment but what is remembered; then it is over."""
        if moment.kind == "closed":
            # A candle that ran on under the feed's eyes was told with the first word of the next one.
            newest = self.parts["spot_feed"].state.series[moment.spot].newest
            if newest is None or newest.open_time_ms * 1000 + BAR_US + self.stage.settle_us != moment.grid:
                return False
            self.stage.omit()
            return True
        if moment.grid != self._uneventful:
            return moment.kind == "running" and self._is_idle_talk(moment)
        if moment.kind == "tick":
            self._tell_price(self.stage.pass_tick(moment))
            return True
        if moment.kind == "running" and moment.spot in self._onlookers:
            self.stage.omit()
            self._look_on(self._market_of[moment.futures], self._bar(moment.grid))
            return True
        return False

    def _is_idle_talk(self, moment: Moment) -> bool:
        """Whether a spot price inside a candle leads to nothing; the candle is shown whole at its end."""
        into = moment.grid % BAR_US
        if into in (0, self.stage.settle_us) or self._loud[self._bar(moment.grid)]:
            return False
        if not risk.indifferent_to_spot(self.parts["risk"].state):
            return False
        self.stage.omit()
        return True

    def _looks_on(self, market: _Market, bar: int) -> bool:
        """Whether nothing comes of a contract's candle that ended with the opening of `bar`."""
        state = self.parts["executor"].state
        trade = state.memory.trades.get(market.futures)
        if self._next_stop(market, bar) == bar:
            return False
        if trade is None:
            return True
        reads = self._reads(market.futures, trade.plan.timeframe)
        return executor.acts_at(trade, state.policy, reads, self._ended(reads, bar)) is None

    def _look_on(self, market: _Market, bar: int) -> None:
        """The candle that ended with the opening of `bar` has settled: the feed has told it, and trailing remembers."""
        self._pass_spot(market, bar, "inside")
        part = self.parts["executor"]
        trade, was_steady = part.state.memory.trades.get(market.futures), part.state.memory is self._steady
        if trade is not None:
            reads = self._reads(market.futures, trade.plan.timeframe)
            part.state = executor.passed(part.state, market.futures, reads, self._ended(reads, bar))
        if was_steady:
            self._steady = part.state.memory

    def _ended(self, reads: replay.Reads, bar: int) -> slice:
        """The row of the candle that ended with the opening of `bar`, if one did."""
        return reads.between(self._ms(bar) - 1, self._ms(bar))

    def wake(self, moment: Moment) -> None:
        """Somebody looks at a contract again: bring its spot feed to where playing would have brought it."""
        self._pass_spot(
            self._market_of[moment.futures], self._bar(moment.grid), "settle" if moment.grid % BAR_US else "open"
        )

    def _pass_held(self, hours: range, looks: Sequence[int]) -> None:
        """Pay for each hour; risk takes in the accounts it would remember, and the midnights between."""
        part = self.parts["risk"]
        for look in looks:
            before, hours = _split(hours, look)
            if before:
                self.stage.pass_hours(before, last=not hours)
            part.state = risk.account_told(part.state, look, self.stage.account_at(look))
        if hours:
            self.stage.pass_hours(hours)
            part.state = risk.day_begins(part.state, hours[-1])

    def _tell_opening(self, boundary: int, *, shown_again: bool) -> None:
        """What risk and the door would have been told at a boundary that is passed; its account is worked out and told already.

        `shown_again`: the next moment is another mark of the first contract.
        """
        engine, part = self.stage.engine, self.parts["risk"]
        for symbol in engine.state.holdings:
            if not (shown_again and symbol == self._markets[0].futures):
                self._tell_price(engine.state.ticks[symbol])
        part.state = risk.positions_told(part.state, boundary, engine.positions())
        self.door.observe(from_edge(AccountChanged, boundary, "passed", boundary, account=part.state.account))

    def _tell_price(self, tick: Tick) -> None:
        """A mark that meets nothing: whoever remembers marks does."""
        trading, judging = self.parts["executor"], self.parts["risk"]
        for mark in self.parts["futures_feed"].receive(self.stage.engine.ticker(tick)):
            if isinstance(mark, MarkPrice):
                self.door.observe(mark)
                trading.state = executor.price_told(trading.state, mark)
                judging.state = risk.price_told(judging.state, mark)

    def _pass_spot(self, market: _Market, there: int, landing: Landing) -> None:
        """The feed has told all but the newest candle, which is shown whole at its end, and told once it has settled."""
        part, tape, settle_us = self.parts["spot_feed"], self.stage.tape, self.stage.settle_us
        opens_us, known = self._opens_us(there), part.state.series[market.spot].newest
        told_us = opens_us if landing == "inside" else opens_us - BAR_US
        newest = tape.closed(market.spot, told_us, told_us + settle_us)
        if newest is None or newest.open_time_ms <= known.open_time_ms:
            newest = known
        ended = tape.running(market.spot, opens_us) if landing == "settle" else None
        if newest is not known or ended is not None:
            part.state = spot_feed.passed(part.state, newest, newest.at if ended is None else ended.at, ended)

    # --- inside -----------------------------------------------------------------------------------------------

    def _reads(self, futures: str, timeframe: Any) -> replay.Reads:
        return self._tables[self._market_of[futures].spot].reads[timeframe]

    def _bar(self, at_us: int) -> int:
        """The candle a moment lies in."""
        return (at_us - self._start_us) // BAR_US

    def _bar_at(self, at_us: Ints) -> Ints:
        bars: Ints = (at_us - self._start_us) // BAR_US
        return bars[bars >= 0]

    def _opens_us(self, bar: int) -> int:
        return self._start_us + bar * BAR_US

    def _ms(self, bar: int) -> int:
        return (self._start_us + bar * BAR_US) // 1000


def _split(hours: range, at_us: int) -> tuple[range, range]:
    """Those up to a moment, and the others."""
    count = max(0, (at_us - hours.start) // HOUR_US + 1)
    return hours[:count], hours[count:]

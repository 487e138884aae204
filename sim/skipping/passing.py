"""How the world is moved over a stretch that changes nothing: every state is brought to where playing would have brought it.

Funding is paid, trailing remembers, the day has rolled, a contract in which nothing happens sleeps. Does not judge which stretch that is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

import msgspec

from actors.door import Door
from actors.executor import quiet as executor
from actors.executor.state import Memory
from actors.part import Part
from actors.risk import quiet as risk
from actors.spot_feed import decide as spot_feed
from actors.strategy import replay
from protocol.messages.base import from_edge
from protocol.messages.futures import AccountChanged, MarkPrice
from protocol.units import HOUR_US
from sim.market.tick import Tick
from sim.market.track import BAR_US
from sim.skipping.horizon import Horizon, Market
from sim.stage import Moment, Stage

EXECUTOR: Final = "executor"
"""Its timers have it look at a trade again: one that is steady has nothing to wait for."""

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


class Passing:
    """Moves `parts`, and what the door knows, over the leaps of one run; nothing else moves them without a message."""

    def __init__(self, parts: Mapping[str, Part[Any]], door: Door, stage: Stage, horizon: Horizon) -> None:
        self._parts, self._door, self._stage, self._horizon = parts, door, stage, horizon
        self.steady: Memory | None = None
        """What the executor remembers, as it was when all was last found as it should be: whoever looks finds it, moving on keeps it."""
        self._uneventful = 0
        """The moment whose ticks meet nothing."""
        self._onlookers: frozenset[str] = frozenset()
        """Spot symbols whose candle, when it settles at that moment, leads to nothing."""

    # --- leaps --------------------------------------------------------------------------------------------------

    def pass_over(self, now: int, leap: Leap) -> None:
        """Bring every state from `now` to just before where `leap` ends."""
        to, there = leap.to, leap.bar
        self._uneventful = to if leap.landing == "settle" else 0
        engine, horizon, here = self._stage.engine, self._horizon, self._horizon.bar(now)
        hours = range(now - now % HOUR_US + HOUR_US, to, HOUR_US)
        opened = there if leap.landing != "open" else there - 1
        if leap.flat:
            engine.pass_reports(0, horizon.opens_us(opened))
            if hours and to % HOUR_US:
                self._stage.pass_hours(hours[-1:])
        else:
            self._pass_held(hours, leap.looks)
            engine.pass_reports(opened - here + len(hours), horizon.opens_us(opened))
            if leap.landing != "open":
                self._tell_opening(horizon.opens_us(there), shown_again=leap.landing == "settle")
            part = self._parts[EXECUTOR]
            for futures, trade in part.state.memory.trades.items():
                reads = horizon.reads(futures, trade.plan.timeframe)
                rows = reads.between(horizon.opens_ms(here), horizon.opens_ms(there) - (leap.landing != "inside"))
                part.state = executor.passed(part.state, futures, reads, rows)
            self.steady = part.state.memory
        settles = leap.landing == "settle"
        self._onlookers = frozenset(m.spot for m in horizon.markets if settles and self._looks_on(m, there))
        self._lay_to_rest(leap)
        if leap.landing == "inside":
            self._stage.straight(horizon.opens_us(there + 1))

    def _lay_to_rest(self, leap: Leap) -> None:
        """Contracts in which nothing happens sleep until something does; the others go on where the leap ends."""
        engine, horizon, stage, there = self._stage.engine, self._horizon, self._stage, leap.bar
        sleepers = {
            market.futures: wake
            for market in horizon.markets
            if not engine.busy(market.futures) and (wake := horizon.next_own_stop(market, there)) > there
        }
        if len(sleepers) == len(horizon.markets):
            sleepers = {}  # only a timer rings here: time goes on from it as if all were looked at
        for market in horizon.markets:
            if market.futures in sleepers:
                wakes = sleepers[market.futures]
                settles_us = stage.settle_us if horizon.opens_quietly(wakes) else 0
                stage.sleep(market.futures, horizon.opens_us(wakes) + settles_us)
            else:
                stage.rouse(market.futures)
                if market.spot not in self._onlookers:
                    self._pass_spot(market, there, leap.landing)

    def _pass_held(self, hours: range, looks: Sequence[int]) -> None:
        """Pay for each hour; risk takes in the accounts it would remember, and the midnights between."""
        part = self._parts["risk"]
        for look in looks:
            before, hours = _split(hours, look)
            if before:
                self._stage.pass_hours(before, last=not hours)
            part.state = risk.account_told(part.state, look, self._stage.account_at(look))
        if hours:
            self._stage.pass_hours(hours)
            part.state = risk.day_begins(part.state, hours[-1])

    def _tell_opening(self, boundary: int, *, shown_again: bool) -> None:
        """What risk and the door would have been told at a boundary that is passed; its account is worked out and told already.

        `shown_again`: the next moment is another mark of the first contract.
        """
        engine, part = self._stage.engine, self._parts["risk"]
        for symbol in engine.state.holdings:
            if not (shown_again and symbol == self._horizon.markets[0].futures):
                self._tell_price(engine.state.ticks[symbol])
        part.state = risk.positions_told(part.state, boundary, engine.positions())
        self._door.observe(from_edge(AccountChanged, boundary, "passed", boundary, account=part.state.account))

    # --- single moments -----------------------------------------------------------------------------------------

    def passes(self, moment: Moment) -> bool:
        """Whether nothing comes of a moment but what is remembered; then it is over."""
        if moment.kind == "closed":
            # A candle that ran on under the feed's eyes was told with the first word of the next one.
            newest = self._parts["spot_feed"].state.series[moment.spot].newest
            if newest is None or newest.open_time_ms * 1000 + BAR_US + self._stage.settle_us != moment.grid:
                return False
            self._stage.omit()
            return True
        if moment.grid != self._uneventful:
            return moment.kind == "running" and self._is_idle_talk(moment)
        if moment.kind == "tick":
            self._tell_price(self._stage.pass_tick(moment))
            return True
        if moment.kind == "running" and moment.spot in self._onlookers:
            self._stage.omit()
            self._look_on(self._horizon.market_of[moment.futures], self._horizon.bar(moment.grid))
            return True
        return False

    def wake(self, moment: Moment) -> None:
        """Somebody looks at a contract again: bring its spot feed to where playing would have brought it."""
        landing: Landing = "settle" if moment.grid % BAR_US else "open"
        self._pass_spot(self._horizon.market_of[moment.futures], self._horizon.bar(moment.grid), landing)

    def woken(self, symbol: str) -> None:
        """The executor's timer for a steady trade, or for one that is over, has rung."""
        part = self._parts[EXECUTOR]
        part.state = executor.woken(part.state, symbol)

    def _is_idle_talk(self, moment: Moment) -> bool:
        """Whether a spot price inside a candle leads to nothing; the candle is shown whole at its end.

        Until the candle before it has settled it is how the feed learns that that one is over.
        """
        into = moment.grid % BAR_US
        if into <= self._stage.settle_us or self._horizon.loud(self._horizon.bar(moment.grid)):
            return False
        if not risk.indifferent_to_spot(self._parts["risk"].state):
            return False
        self._stage.omit()
        return True

    def _looks_on(self, market: Market, bar: int) -> bool:
        """Whether nothing comes of a contract's candle that ended with the opening of `bar`."""
        state = self._parts[EXECUTOR].state
        trade = state.memory.trades.get(market.futures)
        if self._horizon.next_own_stop(market, bar) == bar:
            return False
        if trade is None:
            return True
        reads = self._horizon.reads(market.futures, trade.plan.timeframe)
        return executor.acts_at(trade, state.policy, reads, self._ended(reads, bar)) is None

    def _look_on(self, market: Market, bar: int) -> None:
        """The candle that ended with the opening of `bar` has settled: the feed has told it, and trailing remembers."""
        self._pass_spot(market, bar, "inside")
        part = self._parts[EXECUTOR]
        trade, was_steady = part.state.memory.trades.get(market.futures), part.state.memory is self.steady
        if trade is not None:
            reads = self._horizon.reads(market.futures, trade.plan.timeframe)
            part.state = executor.passed(part.state, market.futures, reads, self._ended(reads, bar))
        if was_steady:
            self.steady = part.state.memory

    def _ended(self, reads: replay.Reads, bar: int) -> slice:
        """The row of the candle that ended with the opening of `bar`, if one did."""
        at_ms = self._horizon.opens_ms(bar)
        return reads.between(at_ms - 1, at_ms)

    # --- what each is told --------------------------------------------------------------------------------------

    def _tell_price(self, tick: Tick) -> None:
        """A mark that meets nothing: whoever remembers marks does."""
        trading, judging = self._parts[EXECUTOR], self._parts["risk"]
        for mark in self._parts["futures_feed"].receive(self._stage.engine.ticker(tick)):
            if isinstance(mark, MarkPrice):
                self._door.observe(mark)
                trading.state = executor.price_told(trading.state, mark)
                judging.state = risk.price_told(judging.state, mark)

    def _pass_spot(self, market: Market, there: int, landing: Landing) -> None:
        """The feed has told all but the newest candle, which is shown whole at its end, and told once it has settled."""
        part, tape, settle_us = self._parts["spot_feed"], self._stage.tape, self._stage.settle_us
        opens_us, known = self._horizon.opens_us(there), part.state.series[market.spot].newest
        told_us = opens_us if landing == "inside" else opens_us - BAR_US
        newest = tape.closed(market.spot, told_us, told_us + settle_us)
        if newest is None or newest.open_time_ms <= known.open_time_ms:
            newest = known
        ended = tape.running(market.spot, opens_us) if landing == "settle" else None
        if newest is not known or ended is not None:
            part.state = spot_feed.passed(part.state, newest, newest.at if ended is None else ended.at, ended)


def _split(hours: range, at_us: int) -> tuple[range, range]:
    """Those up to a moment, and the others."""
    count = max(0, (at_us - hours.start) // HOUR_US + 1)
    return hours[:count], hours[count:]

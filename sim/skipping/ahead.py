"""Which stretches of a market change nothing: found in columns of prices, and left out.

Each actor says, purely, when it would next speak (`quiet` modules); here these thresholds are held against whole columns at once. A candle
with anything in it is played, by the contracts that matter in it. A test proves that skipping changes no decision, order, fill or trade.
Decides nothing about trading and moves nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

from actors.door import Door
from actors.executor import quiet as executor
from actors.part import Part
from actors.reconciler import decide as reconciler
from actors.risk import quiet as risk
from actors.spot_feed import decide as spot_feed
from actors.strategy import replay
from config.settings import Settings
from protocol.units import seconds_us
from sim.market.tape import Tape
from sim.market.track import BAR_US
from sim.skipping import scan
from sim.skipping.horizon import Horizon
from sim.skipping.passing import EXECUTOR, Landing, Leap, Passing
from sim.stage import Stage

LATE: Final = "late:"
"""Timers of the spot feed for candles that do not come; on a tape none is late."""
DAY: Final = ("risk", "day")
RECONCILE: Final = ("reconciler", "reconcile")


def skippable(settings: Settings, tape: Tape) -> bool:
    """Whether what is passed over can be known beforehand. The one place to say so of an option: what cannot is visited."""
    starts_anew = settings.strategy.gap_policy == "reset" and any(tape.filled.values())
    return not starts_anew


class Ahead:
    """Looks ahead for the actors of one run. Made once the back-fill is told: the strategy decides on all candles to come at once, and its
    part looks its answers up from then on.
    """

    def __init__(self, parts: Mapping[str, Part[Any]], door: Door, stage: Stage, settings: Settings) -> None:
        self.reconcile_us = seconds_us(settings.execution.reconcile_s)
        self._parts, self._stage = parts, stage
        self._horizon = Horizon(parts, stage, settings)
        self.passing = Passing(parts, door, stage, self._horizon)
        strategy = parts["strategy"]
        strategy.state, strategy.step = self._horizon.tables, replay.step

    def look(self, now: int, due: Mapping[tuple[str, str], int]) -> Leap | None:
        """Where to go on from `now`, when all that a boundary led to is over; None: with the very next moment. `due`: who waits for what."""
        horizon, engine = self._horizon, self._stage.engine.state
        here, held = horizon.bar(now), bool(engine.holdings)
        if here + 1 >= horizon.bars or (engine.working and not held) or horizon.loud(here):
            return None
        rings_us = horizon.opens_us(horizon.bars + 1)
        for timer, moment in due.items():
            if timer[0] != EXECUTOR and timer != DAY and not timer[1].startswith(LATE) and (held or timer != RECONCILE):
                rings_us = min(rings_us, moment)
        matters = horizon.next_stop(here + 1)
        stop = min(matters, horizon.bar(rings_us - 1))
        if stop <= here:
            return None
        limits = risk.limits(self._parts["risk"].state)
        if limits is None or not self._settled():
            return None
        if held:
            if limits.day_share is None:
                rings_us = min(rings_us, due[DAY])
                stop = min(stop, horizon.bar(rings_us - 1) + 1)
            return self._held_until(now, here, stop, rings_us, limits)
        landing = self._as_far(stop, rings_us, past_settling=stop != matters)
        return None if landing == "open" and stop == here + 1 else self._leap(stop, landing)

    def _as_far(self, bar: int, rings_us: int, *, past_settling: bool = False) -> Landing:
        """How far into a candle nothing of its boundary is of interest, nor does a timer ring. `past_settling`: nor is what the candle before it leads to."""
        if not self._horizon.opens_quietly(bar):
            return "open"
        into_us = rings_us - self._horizon.opens_us(bar)
        if past_settling and into_us > self._stage.settled_us:
            return "inside"
        return "settle" if into_us > self._stage.settle_us else "open"

    def _leap(self, bar: int, landing: Landing, *, looks: Collection[int] | None = None) -> Leap:
        """To a candle; `looks`: candles at whose opening the account is worked out, None when nothing is held."""
        after_us = {"open": 0, "settle": self._stage.settle_us, "inside": self._stage.settled_us}[landing]
        opens_us = self._horizon.opens_us
        moments = tuple(opens_us(look) for look in sorted(looks or ()))
        return Leap(bar, landing, opens_us(bar) + after_us, flat=looks is None, looks=moments)

    def _settled(self) -> bool:
        """Whether nobody waits for anything."""
        parts = self._parts
        trading = parts[EXECUTOR].state
        if not executor.steady(trading, self.passing.steady):
            return False
        self.passing.steady = trading.memory
        return (
            reconciler.settled(parts["reconciler"].state)
            and spot_feed.whole(parts["spot_feed"].state)
            and not parts["kill_switch"].state.latched
            and not parts["futures_feed"].state.refused
        )

    # --- while something is held --------------------------------------------------------------------------------

    def _held_until(self, now: int, here: int, stop: int, rings_us: int, limits: risk.Limits) -> Leap | None:
        """To the first candle from `here` (where we are) to `stop` that matters while positions are open, as far into it as nothing does."""
        horizon, stage = self._horizon, self._stage
        stop = self._structure_acts(here, stop)
        sight, clear = self._sight(now, here, limits), here
        end = stop + (self._as_far(stop, rings_us) != "open")
        while True:
            found = scan.quiet_until(*sight, (here, end), horizon.first_day, clear)
            met = self._met(now, found.bar) if found.met else None
            if not found.met or met is not None:
                break
            clear = found.bar + 1
        # With two contracts each turn of one path shows the other's mark.
        alone = len(stage.engine.state.holdings) == 1
        bar = min(found.bar, stop)
        if bar == here:
            if met is not None and alone:
                stage.straight(horizon.opens_us(here + 1))
            return None
        landing: Landing = "open"
        if found.bar > stop:
            landing = "settle"
        elif met is not None and met > horizon.opens_us(bar) + stage.settle_us:
            landing = self._as_far(bar, rings_us, past_settling=alone and bar < stop)
        looks = {look for look in (found.highest, found.eve) if here < look < bar}
        return self._leap(bar, landing, looks=looks if landing == "open" else {*looks, bar})

    def _met(self, now: int, bar: int) -> int | None:
        """The first moment from now on, in a candle, at which a level of the exchange is met; its opening counts, its end does not."""
        stage, opens_us = self._stage, self._horizon.opens_us
        tick_us = stage.tape.tick_us
        after, until = max(now, opens_us(bar) - tick_us), opens_us(bar + 1) - tick_us
        met = (stage.met(symbol, after, until) for symbol in stage.engine.state.holdings)
        return min((at for at in met if at is not None), default=None)

    def _structure_acts(self, here: int, stop: int) -> int:
        """The first candle, up to `stop`, at whose opening structure moves a stop or ends a trade."""
        horizon, state = self._horizon, self._parts[EXECUTOR].state
        for futures, trade in state.memory.trades.items():
            reads = horizon.reads(futures, trade.plan.timeframe)
            rows = reads.between(horizon.opens_ms(here), horizon.opens_ms(stop))
            row = executor.acts_at(trade, state.policy, reads, rows)
            if row is not None:
                stop = min(stop, horizon.bar(int(reads.close_ms[row]) * 1000))
        return stop

    def _sight(
        self, now: int, here: int, limits: risk.Limits
    ) -> tuple[scan.Prices, scan.Held, scan.Levels, scan.Bounds]:
        """What `scan` needs to know of positions, orders, account and limits."""
        engine, prices = self._stage.engine, self._horizon.prices
        into = (now - self._horizon.opens_us(here)) / BAR_US
        held, levels = [], []
        for symbol, holding in engine.state.holdings.items():
            row = self._horizon.market_of[symbol].row
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

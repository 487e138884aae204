"""Tape and exchange together: which moments matter, and what happens in each. Both drivers play from this one script.

A symbol is visited on the tick grid: at each 15m boundary, at the moment its candle counts as closed, and, while it has a position or
a resting order, also at each turn of its path and wherever its price crosses a level of the exchange. All else is skipped. Who looks
ahead may have a contract sleep, or its turns left out.
Every moment has a microsecond of its own (symbol by symbol, in configured order), so whatever follows from one is over before the next
and no two orders of events are possible. Knows no actor and no scheduler.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from decimal import Decimal
from typing import Final, Literal

import msgspec

from config.settings import Settings
from protocol.messages.base import Message, from_edge
from protocol.messages.futures import Account, AccountSeen, FillSeen, OrderSeen, PositionsSeen, SnapshotSeen
from protocol.messages.spot import CandleSeen
from protocol.ports import Command
from protocol.units import HOUR_US, MILLISECOND_US, Timeframe
from sim.engine import Engine
from sim.market.tape import Tape
from sim.market.tick import Tick
from sim.market.track import BAR_US, LEG_US

Kind = Literal["funding", "tick", "running", "closed"]
SLOTS: Final[tuple[Kind, ...]] = ("funding", "tick", "running", "closed")
"""The order within one visit: mark before spot, both before the closed candle that may give a signal."""
OF_A_LOOK: Final[tuple[tuple[int, Kind], ...]] = ((1, "tick"), (2, "running"))
OF_A_BOUNDARY: Final[tuple[tuple[int, Kind], ...]] = (*OF_A_LOOK, (3, "closed"))
"""What happens in a visit, each with its place in `SLOTS`."""
FIRST_SLOT_US: Final = 1
TICK_US: Final = FIRST_SLOT_US + SLOTS.index("tick")
"""Whole seconds belong to the actors' own timers: midnight comes before the market of midnight."""

CHANGES: Final = frozenset((FillSeen, OrderSeen))
"""What is said when positions or orders are others than before."""

HISTORY_ROWS: Final = 720
"""What a feed is given at a start, here as on Kraken: the strategy then knows no more than it would live."""


class Moment(msgspec.Struct, frozen=True):
    """Something that happens at `at` (microseconds UTC) on the tick grid's moment `grid`."""

    at: int
    grid: int
    kind: Kind
    spot: str
    futures: str


class Stage:
    """One market and one exchange."""

    def __init__(self, tape: Tape, engine: Engine, settings: Settings) -> None:
        self.tape, self.engine = tape, engine
        self.settle_us = settings.feeds.settle_ms * 1000
        self._pairs = tuple((pair.spot, pair.futures) for pair in settings.symbols)
        self._width_us = FIRST_SLOT_US + len(SLOTS) * len(self._pairs)
        self._ticked: dict[str, int] = {}
        self._script: deque[Moment] = deque()
        self._changed = True
        self._grid = 0
        """Of the moments in `_script`."""
        self._straight_until = 0
        """Up to then the turns of paths are of no interest: only levels of the exchange are."""
        self._read = 0
        """When the truth was read last."""
        self._asleep: dict[str, int] = {}
        """Contracts that nobody looks at, and the boundary at which somebody will."""
        self._crossings: dict[str, tuple[int, int | None, int, tuple[float, ...]]] = {}
        """What was looked for last, by contract: from when, what was found, up to when, at which levels in ticks."""
        self._extents: dict[str, tuple[int, tuple[float, float]]] = {}
        """How far prices go in the candle that ends then, and in the one that begins, by contract."""
        self.fees_usd: dict[str, Decimal] = {}
        """Fill id -> what the exchange booked; a fill is told before its fee is."""

    @property
    def settled_us(self) -> int:
        """How long after a boundary all that it leads to is over."""
        return self.settle_us + self._width_us

    @property
    def look_us(self) -> int:
        """How long after a boundary every symbol has shown its mark of that boundary."""
        return FIRST_SLOT_US + len(SLOTS) * (len(self._pairs) - 1) + SLOTS.index("tick")

    # --- which moments ------------------------------------------------------------------------------------------

    def next(self, after: int) -> Moment | None:
        """The first moment after `after`, None when the tape is over. Wishes and fills may change it: ask again."""
        if self._changed or not self._script:
            # Only a change can bring more on the grid moment that is being played.
            begin = after - self._width_us if self._changed else max(after - self._width_us, self._grid)
            self._script = deque(self._upcoming(after, begin))
            self._changed = False
            self._grid = self._script[0].grid if self._script else self._grid
        return self._script[0] if self._script else None

    def _upcoming(self, after: int, grid: int) -> Sequence[Moment]:
        """The next visits after `after`, all on one grid moment, which comes after `grid`."""
        while True:
            due = [self._due(futures, grid) for _, futures in self._pairs]
            grid = min(due)
            if grid > self.tape.end_us:
                return ()
            moments: list[Moment] = []
            for place, when in enumerate(due):
                if when == grid and grid + self._width_us > after:
                    moments += self._visit(grid, place, after)
            if moments and grid % HOUR_US == 0 and after <= grid and moments[0].kind != "funding":
                moments.insert(0, Moment(grid + FIRST_SLOT_US, grid, "funding", *self._pairs[0]))
            if moments:
                return moments

    def settled(self, at: int) -> bool:
        """Whether all that a 15m boundary leads to lies behind `at`, and the next boundary ahead."""
        last = FIRST_SLOT_US + len(SLOTS) * (len(self._pairs) - 1) + SLOTS.index("closed")
        return (at - self.settle_us) % BAR_US >= last and at % BAR_US >= self.settle_us

    def leap(self) -> None:
        """Somebody moved the time on without playing what lies between: look anew for what comes next."""
        self._changed = True

    def horizon(self, now: int, moment: Moment) -> int:
        """When the first thing of `moment`'s grid moment would happen if nobody slept, seen from `now`; all is flat."""
        if now >= moment.grid:
            return moment.at
        return moment.grid + FIRST_SLOT_US + SLOTS.index("tick" if moment.grid % HOUR_US else "funding")

    def sleep(self, futures: str, until: int) -> None:
        """Leave a contract out until a boundary: nothing is held of it, and nobody would say anything of it before."""
        self._asleep[futures] = until
        self._changed = True

    def rouse(self, futures: str) -> None:
        """Look at a contract from now on."""
        self._asleep.pop(futures, None)

    def straight(self, until: int) -> None:
        """Leave out the turns of paths up to a boundary, unless something happens to an order: nobody would say anything there."""
        self._straight_until = until
        self._changed = True

    def wakes(self, moment: Moment) -> bool:
        """Whether this is the first moment of a contract after it was left out; from then on it is not."""
        return moment.kind != "funding" and self._asleep.pop(moment.futures, None) is not None

    def is_last(self, moment: Moment) -> bool:
        """Whether nothing more comes of the boundary that this `closed` belongs to."""
        asleep, grid = self._asleep, moment.grid
        for _, futures in reversed(self._pairs):
            if futures == moment.futures:
                break
            if asleep.get(futures, 0) <= grid:
                return False
        return True

    def busy(self) -> bool:
        """Whether any position or order is open."""
        state = self.engine.state
        return bool(state.holdings or state.working)

    def _due(self, futures: str, after: int) -> int:
        """The first grid moment after `after` at which this contract must be visited."""
        wake = self._asleep.get(futures)
        if wake is not None and after < wake:
            return wake
        # The boundary to come, or when the one before it has settled.
        into = after % BAR_US
        due = after - into + (self.settle_us if into < self.settle_us else BAR_US)
        if self.engine.busy(futures):
            due = due if after < self._straight_until else min(due, _next(after, LEG_US, 0))
            crossing = self._crossing(futures, max(after, self.tape.start_us))
            due = due if crossing is None else min(due, crossing)
        return due

    def _crossing(self, futures: str, after: int) -> int | None:
        """The first moment after `after`, up to the next boundary, at which a level of the exchange is crossed.

        What was found once holds until then, whatever is asked in between.
        """
        until = _next(after, BAR_US, 0)
        extent = self._extents.get(futures)
        if extent is None or extent[0] != until:
            extent = self._extents[futures] = until, self.tape.extent(futures, after, until)
        levels = self.engine.levels(futures, extent[1])
        if not levels:
            return None
        bounds = self.tape.in_ticks(futures, levels)
        known = self._crossings.get(futures)
        if known is not None:
            since, found, *terms = known
            if terms == [until, bounds] and since <= after and (found is None or after < found):
                return found
        found = self.tape.first_met(futures, after, until, bounds)
        self._crossings[futures] = (after, found, until, bounds)
        return found

    def met(self, futures: str, after: int, until: int) -> int | None:
        """The first moment in (`after`, `until`] at which a level of the exchange is crossed."""
        levels = self.engine.levels(futures, self.tape.extent(futures, after, until))
        return self.tape.first_met(futures, after, until, self.tape.in_ticks(futures, levels)) if levels else None

    def _visit(self, grid: int, place: int, after: int) -> list[Moment]:
        """What happens to one symbol on one grid moment, after `after`."""
        kinds = OF_A_BOUNDARY if (grid - self.settle_us) % BAR_US == 0 else OF_A_LOOK
        if place == 0 and grid % HOUR_US == 0:
            kinds = ((0, "funding"), *kinds)
        first = grid + FIRST_SLOT_US + len(SLOTS) * place
        pair = self._pairs[place]
        return [Moment(first + slot, grid, kind, *pair) for slot, kind in kinds if first + slot > after]

    # --- what happens -------------------------------------------------------------------------------------------

    def happen(self, moment: Moment) -> list[Message]:
        """Play the moment that `next` gave: what the exchanges say of it, oldest first."""
        self._script.popleft()
        match moment.kind:
            case "funding":
                self.engine.settle_funding(moment.at)
                first = moment.grid + TICK_US
                self.engine.fix_hour(moment.grid, {name: self.tape.funding_terms(name, first) for name in self._asleep})
                return []  # told microseconds later, with the first mark of the hour
            case "tick":
                said = self._tick(moment.futures, moment.at)
                self._changed = not CHANGES.isdisjoint(map(type, said))
                if self._changed:
                    self._straight_until = 0
                return said
            case "running":
                running = self.tape.running(moment.spot, moment.at)
                return [running] if running.volume > 0 else []  # nothing traded, nothing shown
            case "closed":
                closed = self.tape.closed(moment.spot, moment.grid - self.settle_us, moment.at)
                return [] if closed is None else [closed]

    def omit(self) -> None:
        """Leave out the moment that `next` gave: it would tell what is known."""
        self._script.popleft()

    def pass_tick(self, moment: Moment) -> Tick:
        """Play a tick that `next` gave and of which nothing is to be told, as it meets nothing."""
        self._script.popleft()
        self._ticked[moment.futures] = moment.at
        tick = self.tape.tick(moment.futures, moment.at)
        self.engine.see(tick)
        return tick

    def send(self, command: Command, at: int) -> list[Message]:
        """Carry out a wish at the prices of `at`: what the market did since the last visit comes first."""
        self._changed, self._straight_until = True, 0
        return [*self._refresh(command.symbol, at), *self._noted(self.engine.send(command, at))]

    def pass_hours(self, hours: range, *, last: bool = True) -> None:
        """Full hours begin while nobody looks: what is owed is paid, and the funding rates are fixed; of what is not held with the
        `last` of them.
        """
        terms = {
            futures: self.tape.hourly_terms(futures, hours if held else hours[-1:])
            for _, futures in self._pairs
            if (held := futures in self.engine.state.holdings) or last
        }
        self.engine.pass_hours(hours, FIRST_SLOT_US + SLOTS.index("funding"), terms)

    def account_at(self, boundary: int) -> Account:
        """What the account would be told at a boundary that nobody plays: held contracts show their marks of it."""
        for place, (_, futures) in enumerate(self._pairs):
            if self.engine.held(futures):
                self.engine.see(self.tape.tick(futures, boundary + len(SLOTS) * place + TICK_US))
        return self.engine.account()

    def truth(self, at: int) -> SnapshotSeen:
        """A reading by REST. Its fills are those that no reading has told, as the gateway asks for them on the wire."""
        seen = self.engine.snapshot(at, self._read)
        self._read = at - at % MILLISECOND_US
        return seen

    def opening(self, at: int) -> list[Message]:
        """What the private streams say first: positions and account."""
        number = self.engine.state.frames
        return [
            from_edge(PositionsSeen, at, "opening", at, positions=self.engine.positions(), sequence=number),
            from_edge(AccountSeen, at, "opening", at, account=self.engine.account(), sequence=number),
        ]

    def history(self, spot: str, timeframe: Timeframe, since_ms: int | None, at: int) -> list[CandleSeen]:
        """The newest candles that have settled by `at`, as many as Kraken's REST gives in one answer."""
        return self.tape.candles(spot, timeframe, since_ms, at - self.settle_us, at_us=at)[-HISTORY_ROWS:]

    def _refresh(self, futures: str, at: int) -> list[Message]:
        """A tick, if prices may have moved since the last one."""
        stale = self._ticked.get(futures, -1) // self.tape.tick_us < at // self.tape.tick_us
        return self._tick(futures, at) if stale and futures in self.tape.futures else []

    def _tick(self, futures: str, at: int) -> list[Message]:
        self._ticked[futures] = at
        return self._noted(self.engine.move(self.tape.tick(futures, at)))

    def _noted(self, said: list[Message]) -> list[Message]:
        for message in said if len(said) > 1 else ():
            if isinstance(message, FillSeen) and message.fill.fee_usd is not None:
                self.fees_usd[message.fill.fill_id] = message.fill.fee_usd
        return said


def _next(after: int, step: int, offset: int) -> int:
    """The first multiple of `step`, moved by `offset`, after `after`."""
    return after - (after - offset) % step + step

"""The fast driver: the same actors, routes, gate and door as under trio, in one plain loop without a scheduler.

It decides nothing. Events come from `sim.stage` in one total order; after each the queue is drained to empty, first in, first
out, with fan-out in route order. Timers: while anything is open each rings at its own moment; while all is flat
time moves from event to event, and a timer rings at the first event at or after it was due. Where what changes nothing is left out only
routine waits so: time goes on from the others.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from decimal import Decimal
from heapq import heappop, heappush
from typing import Any, Final

from actors.door import Door
from actors.gate import Gate
from actors.part import Part
from actors.shell import EXCHANGE, SPOT_EXCHANGE, TIMER, Routes, Unrouted, heard
from actors.spot_feed.candle import complete
from actors.spot_feed.decide import BACKFILL
from config.settings import Settings
from protocol import codec
from protocol.ids import derive
from protocol.messages import control, futures, signal
from protocol.messages.base import Message, from_edge
from protocol.messages.control import Latch, Started, WakeAt, Woken
from protocol.messages.futures import (
    CancelOrder,
    EditOrder,
    EntryBlocked,
    PlaceOrder,
    RequestInstruments,
    RequestSnapshot,
)
from protocol.messages.spot import RequestHistory
from protocol.ports import Command
from protocol.units import DAY_US, MILLISECOND_US, Timeframe, day_start_us
from sim.curve import Curve, draw
from sim.engine import Engine
from sim.engine.state import Books
from sim.flights import Flights, Lane
from sim.market.tape import Tape
from sim.skipping.ahead import DAY, LATE, RECONCILE, Ahead
from sim.skipping.passing import EXECUTOR, Leap
from sim.stage import Moment, Stage

Record = Callable[[str, Message, Sequence[Message]], None]

DECISIONS: Final = (
    signal.Signal,
    futures.SignalRefused,
    futures.EnterPosition,
    futures.OrderAdmitted,
    futures.EntryBlocked,
)
ORDERS: Final = (PlaceOrder, EditOrder, CancelOrder)
FILLS: Final = (futures.Filled,)
TRADES: Final = (futures.TradeOpened, futures.Protected, futures.TradeClosed)
NOTICES: Final = (control.Alert, control.Drift, control.Latch, control.KillRequested)
HANDS: Final = (EXCHANGE, SPOT_EXCHANGE)
KEPT: Final = frozenset((*DECISIONS, *ORDERS, *FILLS, *TRADES, *NOTICES))


@dataclass
class Result:
    """What came of a run: every decision, order, fill, trade and notice in order, the books and the curve of the account."""

    start_us: int
    end_us: int
    messages: list[Message] = field(default_factory=list)
    books: Books = field(default_factory=lambda: Books(start=Decimal(0)))
    equity_usd: Decimal = Decimal(0)
    """At the end, open positions at their marks."""
    curve: Curve = field(default_factory=lambda: Curve.of(()))
    fees_usd: dict[str, Decimal] = field(default_factory=dict)
    """Fill id -> its fee as the exchange booked it; the actors know an estimate when a fill is told first."""
    moments: int = 0
    """How many moments of the market were visited."""

    def watch(self, _sender: str, message: Message) -> None:
        """Take in one message as it is sent; `World.watch` of the other driver."""
        if type(message) in KEPT:
            self.messages.append(message)

    def close(self, stage: Stage) -> None:
        """The run is over: take in the exchange's books and draw the curve."""
        self.books, self.equity_usd = stage.engine.books, stage.engine.equity_usd
        self.fees_usd = stage.fees_usd
        self.curve = draw(
            stage.tape,
            self.of(*FILLS),
            self.books.start,
            fees_usd=self.fees_usd,
            look_us=stage.look_us,
        )

    def of(self, *kinds: type[Message]) -> list[Any]:
        """The messages of some kinds, in order."""
        return [message for message in self.messages if isinstance(message, kinds)]

    def digest(self) -> str:
        """One hash over decisions, orders, fills, trades, books and equity: equal digests mean equal runs."""
        told = codec.digest(self.of(*DECISIONS, *ORDERS, *FILLS, *TRADES))
        books = self.books
        sums = (books.start, books.realised, books.fees, books.funding, self.equity_usd)
        return derive(told, *(str(usd) for usd in sums))


def run(
    parts: Sequence[Part[Any]],
    routes: Routes,
    *,
    gate: Gate,
    door: Door,
    engine: Engine,
    tape: Tape,
    settings: Settings,
    record: Record = lambda actor, message, answers: None,
    latch: Callable[[Latch], None] = lambda message: None,
    progress: Callable[[int, int], None] = lambda done_us, total_us: None,
    skip: bool = False,
) -> Result:
    """Play the whole tape. `parts` in tree order; `record` sees every step, `latch` is told before the gate closes for good.
    `skip`: leave out what would change nothing; only for the actors of `actors.tree`.

    What an actor raises comes through: there is no supervisor here, a fault ends the run.
    """
    result = Result(tape.start_us, tape.end_us)
    stage = Stage(tape, engine, settings)
    house = {part.name: part for part in parts}
    flights = Flights(settings.market.latency_ms * MILLISECOND_US)
    loop = _Loop(house, routes, gate, door, stage, record, latch, result, flights)
    loop.begin([pair.spot for pair in settings.symbols])
    if skip:
        loop.ahead = Ahead(house, door, stage, settings)
    with ExitStack() as leases:
        for name in gate.leases():
            leases.enter_context(gate.lease(name))
        loop.play(progress)
    result.close(stage)
    return result


@dataclass
class _Loop:
    """One run: what it drives, the moment it is at, the queue, the timers."""

    parts: dict[str, Part[Any]]
    routes: Routes
    gate: Gate
    door: Door
    stage: Stage
    record: Record
    latch: Callable[[Latch], None]
    result: Result
    flights: Flights
    ahead: Ahead | None = None
    now: int = 0
    queue: deque[tuple[str, str, Message]] = field(default_factory=deque)
    """(sender, receiver, message)."""
    due: dict[tuple[str, str], int] = field(default_factory=dict)
    """When the newest wish of (actor, key) is due; older ones still lie in `alarms`."""
    alarms: list[tuple[int, str, str]] = field(default_factory=list)
    ways: dict[type[Message], tuple[tuple[str, ...], tuple[str, ...], bool]] = field(init=False)
    """Of each kind of message: whose turn comes in the queue, who hears at once, and whether the result keeps it."""

    def __post_init__(self) -> None:
        self.ways = {
            kind: (
                tuple(name for name in names if name in self.parts or name in HANDS),
                tuple(name for name in names if not (name in self.parts or name in HANDS)),
                kind in KEPT,
            )
            for kind, names in self.routes.items()
        }

    def begin(self, spot_symbols: Sequence[str]) -> None:
        """Start every actor, then bring the feeds what they fetch on connecting."""
        self.now = start = self.result.start_us
        for name in self.parts:
            self._deliver(name, from_edge(Started, start, name, start, 1, restarted=False))
        engine = self.stage.engine
        self._bring("futures_feed", [engine.instruments(start), self.stage.truth(start), *self.stage.opening(start)])
        for symbol in spot_symbols:
            for timeframe in BACKFILL:
                self._bring("spot_feed", self._history(symbol, timeframe, None))

    def play(self, progress: Callable[[int, int], None]) -> None:
        """From the first moment of the tape to the last."""
        start, end = self.result.start_us, self.result.end_us
        day = start
        while True:
            moment = self.stage.next(self.now)
            until = end if moment is None else moment.at
            landing = self.flights.next_at if self.flights.latency_us else None
            rings = until if landing is None else min(until, landing)
            if self.alarms and self.alarms[0][0] < rings and self._ring(rings, moment):
                if self.ahead is not None and self.stage.settled(self.now):
                    self._leap(self.ahead)
                continue
            if landing is not None and landing < until:
                self._land()
                continue
            if moment is None:
                break
            self.now = moment.at
            self.result.moments += 1
            if self.ahead is not None and self.stage.wakes(moment):
                self.ahead.passing.wake(moment)
            if self.ahead is None or not self.ahead.passing.passes(moment):
                self._bring("market", self.stage.happen(moment))
            if self.ahead is not None and moment.kind == "closed" and self.stage.is_last(moment):
                self._leap(self.ahead)
            if DAY_US <= self.now - day < end - day:
                day = self.now
                progress(self.now - start, end - start)
        progress(end - start, end - start)

    def _leap(self, ahead: Ahead) -> None:
        """Leave out what would change nothing."""
        leap = None if self.flights else ahead.look(self.now, self.due)
        if leap is None:
            return
        ahead.passing.pass_over(self.now, leap)
        for (owner, key), due in sorted(self.due.items(), key=lambda timer: (timer[1], timer[0])):
            if (owner, key) == RECONCILE and leap.flat:
                self._set(owner, key, due + max(0, -((due - leap.to) // ahead.reconcile_us)) * ahead.reconcile_us)
            elif key.startswith(LATE):
                del self.due[owner, key]
            elif owner == EXECUTOR and due < leap.to:
                del self.due[owner, key]
                ahead.passing.woken(key)
            elif (owner, key) == DAY and not leap.flat:
                self._set(owner, key, max(due, day_start_us(leap.to - 1) + DAY_US))
            elif due < leap.to:
                self._ring_twice(owner, key, due, leap)
        self.now = leap.to - 1
        self.stage.leap()

    def _ring_twice(self, owner: str, key: str, due: int, leap: Leap) -> None:
        """The first and the last ring in `leap` of a timer that is set for the next day each time it rings."""
        for _ in range(2):
            if due >= leap.to:
                return
            del self.due[owner, key]
            self._wake(owner, key, due, due)
            again = self.due[owner, key]
            due = again + max(0, leap.to - 1 - again) // DAY_US * DAY_US
            if due != again:
                self._set(owner, key, due)

    # --- timers -------------------------------------------------------------------------------------------------

    def _ring(self, until: int, moment: Moment | None) -> bool:
        """Ring the next timer that is due before `until`, or, if it may wait, before anything of `moment`; whether there was one."""
        waiting: list[tuple[int, str, str]] = []
        found, at = None, 0
        while found is None and self.alarms and self.alarms[0][0] < until:
            alarm = heappop(self.alarms)
            if self.due.get(alarm[1:]) != alarm[0]:
                continue  # replaced by a later wish for the same key
            if self._may_wait(*alarm[1:]):
                waiting.append(alarm)
            else:
                found = alarm
        if found is None and waiting:
            routine = until if moment is None else min(until, self.stage.horizon(self.now, moment))
            if waiting[0][0] < routine:
                found, at = waiting.pop(0), routine - 1
        for alarm in waiting:
            heappush(self.alarms, alarm)
        if found is None:
            return False
        due, owner, key = found
        del self.due[owner, key]
        self._wake(owner, key, due, max(due, at))
        return True

    def _may_wait(self, owner: str, key: str) -> bool:
        """Whether a timer rings with the next event: all is flat, and nobody who looks ahead waits for it to be over."""
        if self.flights or self.stage.busy():
            return False
        return self.ahead is None or key.startswith(LATE) or (owner, key) == RECONCILE

    def _wake(self, owner: str, key: str, due: int, at: int) -> None:
        self.now = max(self.now, at)
        self._deliver(owner, Woken(id=derive("Woken", owner, key, due), cause="", at=self.now, key=key))

    def _set(self, owner: str, key: str, due: int) -> None:
        self.due[owner, key] = due
        heappush(self.alarms, (due, owner, key))

    # --- messages -----------------------------------------------------------------------------------------------

    def _bring(self, sender: str, messages: Sequence[Message]) -> None:
        """Facts from the world, one at a time, each with all that follows from it."""
        for message in messages:
            self._post(sender, message)
            self._drain()

    def _deliver(self, receiver: str, message: Message) -> None:
        self.queue.append(("", receiver, message))
        self._drain()

    def _post(self, sender: str, message: Message) -> None:
        """Send to every receiver in route order."""
        queued, at_once, is_kept = self.ways[type(message)]
        if is_kept:
            self.result.watch(sender, message)
        for receiver in queued:
            self.queue.append((sender, receiver, message))
        for receiver in at_once:
            if receiver == TIMER:
                assert isinstance(message, WakeAt)
                self._set(sender, message.key, message.due)
            elif not heard(receiver, message, self.gate, self.door, self.latch):
                raise Unrouted(f"{receiver} hears nothing: see actors/tree.py")

    def _drain(self) -> None:
        queue, parts, record, post = self.queue, self.parts, self.record, self._post
        while queue:
            sender, receiver, message = queue.popleft()
            part = parts.get(receiver)
            if part is None:
                for fact in self._carry_out(sender, message):
                    post(f"{sender}.hands", fact)
                continue
            answers = part.receive(message)
            record(receiver, message, answers)
            for answer in answers:
                post(receiver, answer)

    def _carry_out(self, sender: str, wish: Message) -> Sequence[Message]:
        """What an actor's hands do in the world."""
        match wish:
            case RequestSnapshot():
                return (self.stage.truth(self.now),)
            case RequestInstruments():
                return (self.stage.engine.instruments(self.now),)
            case PlaceOrder() | EditOrder() | CancelOrder() if self.flights.latency_us:
                lane = self.flights.enter(sender, wish)
                return () if lane is None else self._depart(lane, wish)
            case PlaceOrder() | EditOrder() | CancelOrder():
                admitted = self.door.pass_through(wish, self.now, self.record, self.result.watch)
                if isinstance(admitted, EntryBlocked):
                    return (admitted,)
                return self.stage.send(admitted, self.now)
            case RequestHistory(symbol=symbol, timeframe=timeframe, since_ms=since_ms):
                return self._history(symbol, timeframe, since_ms)
            case _:
                raise Unrouted(f"no hands for {type(wish).__name__}: see actors/tree.py")

    def _depart(self, lane: Lane, wish: Command | None) -> list[Message]:
        """Through the door and on the way to the exchange; then the next in its lane, if it need not wait."""
        blocked: list[Message] = []
        while wish is not None:
            admitted = self.door.pass_through(wish, self.now, self.record, self.result.watch)
            if isinstance(admitted, EntryBlocked):
                blocked.append(admitted)
            else:
                self.flights.depart(lane, admitted, self.now)
            wish = self.flights.leave(lane)
        return blocked

    def _land(self) -> None:
        """A wish arrives: the exchange answers at the prices of now, and the next in its lane leaves."""
        flight = self.flights.land()
        self.now = flight.at
        facts = self.stage.send(flight.wish, self.now)
        for fact in (*facts, *self._depart(flight.lane, self.flights.leave(flight.lane))):
            self._post(f"{flight.lane[0]}.hands", fact)
        self._drain()

    def _history(self, symbol: str, timeframe: Timeframe, since_ms: int | None) -> list[Message]:
        """Closed candles, then word that these are all."""
        candles = self.stage.history(symbol, timeframe, since_ms, self.now)
        return complete(candles, symbol, timeframe, self.now)

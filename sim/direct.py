"""The ports of the simulated exchanges without a wire: `SpotMarket` and `FuturesExchange` straight over a `Stage`.

For backtests under trio. `Direct.play` runs beside the actors and is the only one that moves the market; its moments, and what is
said in each, are those of `sim.loop`. Knows no actor.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from math import inf
from typing import Final, cast

import trio

from config.settings import Settings
from protocol.messages.base import Message, from_edge
from protocol.messages.futures import InstrumentsSeen, NoticesSeen, SnapshotSeen
from protocol.messages.spot import CandleSeen
from protocol.ports import Command
from protocol.units import MILLISECOND_US, Timeframe, seconds_us
from sim.clock import SimulatedClock
from sim.stage import Stage

BREATH_S: Final = 2e-8
"""Of simulated time, which passes only while every task waits: all that follows from one message is over before the next is told, as
in the plain loop, and whatever the scheduler's order. Far below the microsecond that a moment has."""

Frames = trio.MemorySendChannel[Message | None]


class Direct:
    """One simulated world: `spot` and `futures` are its ports, `play` lets its time happen."""

    def __init__(self, stage: Stage, clock: SimulatedClock, settings: Settings) -> None:
        self.stage, self.clock = stage, clock
        self.spot, self.futures = DirectSpot(self), DirectFutures(self)
        self.latency_us = settings.market.latency_ms * MILLISECOND_US
        self._heartbeat_us = seconds_us(min(settings.feeds.spot_idle_s, settings.feeds.futures_idle_s) / 2)
        self._streams: dict[str, list[Frames]] = {"spot": [], "futures": []}
        self._changed = trio.Event()
        self._arrives = 0.0

    async def play(self) -> None:
        """From the first moment of the tape to the last, as the clock reaches them; then what follows from the last."""
        now = self.stage.tape.start_us
        while (moment := self.stage.next(now)) is not None:
            await self._wait(moment.at)
            if self.clock.now_us() >= moment.at:
                now = moment.at
                which = "spot" if moment.kind in ("running", "closed") else "futures"
                for place, message in enumerate(self.stage.happen(moment)):
                    if place:
                        await trio.sleep(BREATH_S)
                    self._tell(which, message)
            else:
                now = self.clock.now_us()  # a wish changed which moments matter
        await trio.sleep_until(self.clock.trio_time(now + 1))

    def arrival(self) -> float:
        """When a wish that leaves now arrives, in trio's time: a breath behind the one before it, if it left at the same moment."""
        due = self.clock.trio_time(self.clock.now_us() + self.latency_us)
        self._arrives = max(due, self._arrives + BREATH_S)
        return self._arrives

    def send(self, command: Command) -> Sequence[Message]:
        """Carry out a wish now; the market's next moment is looked for anew."""
        said = self.stage.send(command, self.clock.now_us())
        self._changed.set()
        return said

    @asynccontextmanager
    async def open(self, which: str, first: Sequence[Message]) -> AsyncIterator[AsyncIterator[Message | None]]:
        """A stream that begins with `first` and lasts for the block."""
        sender, receiver = trio.open_memory_channel[Message | None](inf)
        with sender, receiver:
            self._streams[which].append(sender)
            for message in first:
                sender.send_nowait(message)
            try:
                yield receiver
            finally:
                self._streams[which].remove(sender)

    async def _wait(self, at_us: int) -> None:
        """Until `at_us` or until a wish was carried out; heartbeats prove life meanwhile."""
        self._changed = trio.Event()
        while (now := self.clock.now_us()) < at_us and not self._changed.is_set():
            beat = now - now % self._heartbeat_us + self._heartbeat_us
            with trio.move_on_at(self.clock.trio_time(min(at_us, beat))):
                await self._changed.wait()
            if self.clock.now_us() >= beat:
                self._tell("spot", None)
                self._tell("futures", None)

    def _tell(self, which: str, frame: Message | None) -> None:
        for stream in self._streams[which]:
            stream.send_nowait(frame)


class DirectSpot:
    """`protocol.ports.SpotMarket`."""

    def __init__(self, world: Direct) -> None:
        self._world = world

    async def traded(self, symbol: str, from_ms: int, to_ms: int) -> bool | None:
        """A recorded market cannot tell a lost candle from a quiet one: the gap policy decides."""
        return None

    async def history(self, symbol: str, timeframe: Timeframe, since_ms: int | None) -> Sequence[CandleSeen]:
        """Candles that have settled, oldest first."""
        await trio.lowlevel.checkpoint()
        return self._world.stage.history(symbol, timeframe, since_ms, self._world.clock.now_us())

    @asynccontextmanager
    async def stream(self, symbols: Sequence[str]) -> AsyncIterator[AsyncIterator[CandleSeen | None]]:
        """Candles of all symbols of the stage as they change; also finished ones, told by the source itself."""
        async with self._world.open("spot", ()) as frames:
            yield cast(AsyncIterator[CandleSeen | None], frames)  # only candles are told on this stream


class DirectFutures:
    """`protocol.ports.FuturesExchange`. A wish is answered at once, private reports included, so nothing is ever unknown."""

    def __init__(self, world: Direct) -> None:
        self._world = world

    async def instruments(self) -> InstrumentsSeen:
        """The contract rules."""
        await trio.lowlevel.checkpoint()
        return self._world.stage.engine.instruments(self._world.clock.now_us())

    async def notices(self) -> NoticesSeen:
        """Nothing is announced: no history of that is kept."""
        await trio.lowlevel.checkpoint()
        now = self._world.clock.now_us()
        return from_edge(NoticesSeen, now, now, maintenance=())

    async def isolated(self) -> Mapping[str, Decimal]:
        """Nobody isolates anything in a backtest."""
        await trio.lowlevel.checkpoint()
        return {}

    @asynccontextmanager
    async def stream(self, symbols: Sequence[str]) -> AsyncIterator[AsyncIterator[Message | None]]:
        """Tickers, orders, fills, positions and account of all contracts of the stage."""
        async with self._world.open("futures", self._world.stage.opening(self._world.clock.now_us())) as frames:
            yield frames

    async def snapshot(self, *, urgent: bool = False) -> SnapshotSeen:
        """The truth, always at once."""
        await trio.lowlevel.checkpoint()
        return self._world.stage.truth(self._world.clock.now_us())

    async def send(self, command: Command) -> Sequence[Message]:
        """Fills, the answer, and what the private streams say of it, after the time that the order takes."""
        if self._world.latency_us:
            await trio.sleep_until(self._world.arrival())
        # No checkpoint else: two wishes of one step are carried out before what follows from the first, as in the plain loop.
        return self._world.send(command)

"""Orders on their way to the exchange of a backtest: each takes as long, and of one lane there is one at a time, or a stop and its target.

Lanes are those of `actors.shell`: an actor's entries and its exits of one symbol. Decides nothing and knows no door; time comes with
each call.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import NamedTuple, cast

from actors.mailbox import Mailbox
from protocol.messages.futures import leaves_beside
from protocol.ports import Command

Lane = tuple[str, str, bool]


class Flight(NamedTuple):
    """A wish that arrives at `at`."""

    at: int
    number: int
    lane: Lane
    wish: Command


@dataclass
class Traffic:
    """One lane: what is on its way, and what waits for its turn."""

    waiting: Mailbox
    flying: deque[Command] = field(default_factory=deque)

    def admits(self, wish: Command) -> bool:
        """Whether `wish` need not wait for what is on its way."""
        return not self.flying or leaves_beside(self.flying[-1], wish)


@dataclass
class Flights:
    """`latency_us` 0: nothing is ever on its way."""

    latency_us: int = 0
    _air: list[Flight] = field(default_factory=list)
    _lanes: dict[Lane, Traffic] = field(default_factory=dict)
    """Lanes in use."""
    _count: int = 0

    def __bool__(self) -> bool:
        return bool(self._lanes)

    @property
    def next_at(self) -> int | None:
        """When the next one arrives."""
        return self._air[0].at if self._air else None

    def enter(self, sender: str, wish: Command) -> Lane | None:
        """Queue a wish; its lane if it is its turn at once."""
        lane = sender, wish.symbol, getattr(wish, "reduce_only", True)
        if lane not in self._lanes:
            self._lanes[lane] = Traffic(Mailbox(f"{sender}: {wish.symbol}"))
        traffic = self._lanes[lane]
        if not traffic.waiting and traffic.admits(wish):
            return lane
        traffic.waiting.put(wish)
        return None

    def depart(self, lane: Lane, wish: Command, now: int) -> None:
        """The door let it pass: it is on its way."""
        self._count += 1
        self._lanes[lane].flying.append(wish)
        heappush(self._air, Flight(now + self.latency_us, self._count, lane, wish))

    def land(self) -> Flight:
        """The next one to arrive. IndexError when there is none."""
        flight = heappop(self._air)
        self._lanes[flight.lane].flying.popleft()
        return flight

    def leave(self, lane: Lane) -> Command | None:
        """Something of a lane left or arrived: the wish whose turn it is now, if one waits."""
        traffic = self._lanes[lane]
        wish = cast(Command | None, traffic.waiting.next)
        if wish is not None and traffic.admits(wish):
            traffic.waiting.take()
            return wish
        if not (traffic.waiting or traffic.flying):
            del self._lanes[lane]
        return None

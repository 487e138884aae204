"""Orders on their way to the exchange of a backtest: each takes as long, and of one lane there is one at a time.

Lanes are those of `actors.shell`: an actor's entries and its exits of one symbol. Decides nothing and knows no door; time comes with
each call.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import NamedTuple

from protocol.ports import Command

Lane = tuple[str, str, bool]


class Flight(NamedTuple):
    """A wish that arrives at `at`."""

    at: int
    number: int
    lane: Lane
    wish: Command


@dataclass
class Flights:
    """`latency_us` 0: nothing is ever on its way."""

    latency_us: int = 0
    _air: list[Flight] = field(default_factory=list)
    _lanes: dict[Lane, deque[Command]] = field(default_factory=dict)
    """Lanes in use, and what waits for its turn in each."""
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
        if lane in self._lanes:
            self._lanes[lane].append(wish)
            return None
        self._lanes[lane] = deque()
        return lane

    def depart(self, lane: Lane, wish: Command, now: int) -> None:
        """The door let it pass: it is on its way."""
        self._count += 1
        heappush(self._air, Flight(now + self.latency_us, self._count, lane, wish))

    def land(self) -> Flight:
        """The next one to arrive. IndexError when there is none."""
        return heappop(self._air)

    def leave(self, lane: Lane) -> Command | None:
        """A lane is free again: the wish whose turn it is, if one waits."""
        if self._lanes[lane]:
            return self._lanes[lane].popleft()
        del self._lanes[lane]
        return None

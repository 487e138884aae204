"""What marks and equity have been lately: a decision rests on numbers that were true a moment ago, and on no others.

So a limit on an entry is judged by the most favourable of them: without a percentage of grace, and without calling wrong what moved
while the order was on its way. Knows no invariant.
"""

from __future__ import annotations

from collections import deque
from decimal import Decimal
from typing import Final

import msgspec

from protocol.units import SECOND_US
from sim.engine import Engine

WINDOW_US: Final = 60 * SECOND_US
"""Older numbers are no excuse: by then the exchange has been read several times."""
Row = deque[tuple[int, Decimal]]
FROZEN_US: Final = 30 * SECOND_US
FROZEN_SHARE: Final = Decimal("0.003")
"""A mark that has not changed for so long while the last trade went so far away counts as stale (fault-catalogue 9)."""


class Still(msgspec.Struct):
    """A mark, since when it has not changed, the last trade's price of then, and since when it counts as frozen."""

    mark: Decimal
    since: int
    last: Decimal
    frozen_at: int | None = None


class Past:
    """The last minute of one exchange."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._marks: dict[str, Row] = {}
        self._equity: Row = deque()
        self.stills: dict[str, Still] = {}
        """By symbol."""

    def look(self, now: int) -> None:
        """Note the marks of now."""
        for symbol, tick in self._engine.state.ticks.items():
            row = self._marks.get(symbol)
            if row is None:
                row = self._marks[symbol] = deque()
            if not row or row[-1][1] != tick.mark:
                _note(row, now, tick.mark)
                self.stills[symbol] = Still(tick.mark, now, tick.last)
            else:
                _stands(self.stills[symbol], now, tick.last)

    def booked(self, now: int) -> None:
        """Note the equity after something was booked."""
        _note(self._equity, now, self._engine.equity_usd)

    def marks(self, symbol: str, now: int) -> tuple[Decimal, Decimal]:
        """The lowest and the highest mark of the last minute."""
        seen = [self._engine.state.ticks[symbol].mark, *_since(self._marks.get(symbol, deque()), now - WINDOW_US)]
        return min(seen), max(seen)

    def equity_usd(self, now: int) -> Decimal:
        """The most that the account can have been worth in the last minute, US dollars."""
        gains = Decimal(0)
        for symbol, holding in self._engine.state.holdings.items():
            low, high = self.marks(symbol, now)
            mark = self._engine.state.ticks[symbol].mark
            gains += holding.size * ((high if holding.size > 0 else low) - mark)
        return max(self._engine.equity_usd, *_since(self._equity, now - WINDOW_US), Decimal(0)) + gains


def _stands(still: Still, now: int, last: Decimal) -> None:
    if (
        still.frozen_at is None
        and now - still.since >= FROZEN_US
        and abs(last - still.last) > still.last * FROZEN_SHARE
    ):
        still.frozen_at = now


def _note(row: Row, now: int, value: Decimal) -> None:
    row.append((now, value))
    while len(row) > 1 and row[1][0] < now - WINDOW_US:
        row.popleft()


def _since(row: Row, since: int) -> list[Decimal]:
    """The values from `since` on, the one that held then included."""
    rows = list(row)
    first = next((place for place, (at, _) in enumerate(rows) if at >= since), len(rows))
    return [value for _, value in rows[max(0, first - 1) :]]

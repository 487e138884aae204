"""A tape read moment after moment: prices are worked out a candle at a time and then looked up, to the digit what `Tape.tick` says.

For whoever visits every moment in turn (the venue of a storm); a backtest, which visits few, asks the tape. Knows no order.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from sim.market.tape import Quote, Tape
from sim.market.tick import Tick
from sim.market.track import BAR_US


class Columns:
    """`sim.venue.markets.Market` over a tape."""

    def __init__(self, tape: Tape) -> None:
        self._tape = tape
        self._columns: dict[str, tuple[int, Sequence[Quote], Decimal | None]] = {}
        """By contract: the candle's beginning, its quotes, and the funding rate after that unless it changes within."""
        self.end_us = tape.end_us
        self.candles, self.running, self.spot_price = tape.candles, tape.running, tape.spot_price

    def tick(self, futures_symbol: str, at_us: int) -> Tick:
        """The contract's prices at `at_us`. Raises ValueError before the data begins."""
        tape = self._tape
        if not tape.plain:
            return tape.tick(futures_symbol, at_us)
        bar_us = at_us - at_us % BAR_US
        known = self._columns.get(futures_symbol)
        if known is None or known[0] != bar_us:
            if not tape.start_us <= bar_us < self.end_us:
                return tape.tick(futures_symbol, at_us)
            # A full hour still belongs to the one before it.
            ends = [tape.funding_rate(futures_symbol, at) for at in (bar_us + 1, bar_us + BAR_US - 1)]
            rate = ends[0] if ends[0] == ends[1] else None
            known = self._columns[futures_symbol] = bar_us, tape.quotes(futures_symbol, bar_us), rate
        _, quotes, rate = known
        mark, index, bid, ask = quotes[(at_us - bar_us) // tape.tick_us]
        if rate is None or at_us == bar_us:
            rate = tape.funding_rate(futures_symbol, at_us)
        return Tick(
            at=at_us, symbol=futures_symbol, mark=mark, index=index, bid=bid, ask=ask, last=mark, funding_rate=rate
        )

"""What happens in a second of the venue: one total order of moments, none of them shared by two events of different markets.

On the market's grid: funding (full hours), then every contract's tick, then, where spot is traded, every spot candle, each one
microsecond after the one before. What the two exchanges say, heartbeats included, leaves at two moments: clients of both hear futures first. Pure.
"""

from __future__ import annotations

from functools import cache
from typing import Final, Literal, NamedTuple

from protocol.units import MINUTE_US, SECOND_US

CANDLE_US: Final = 15 * MINUTE_US
Kind = Literal["funding", "tick", "futures beat", "candle", "spot beat"]


class Moment(NamedTuple):
    """`after_us`: microseconds after its second; `market` is the position of the contract, or of the spot market, in the configured order."""

    after_us: int
    kind: Kind
    market: int


def tick_us(tick_s: int) -> int:
    """The grid. ValueError unless candles end on it."""
    step = tick_s * SECOND_US
    if step <= 0 or CANDLE_US % step:
        raise ValueError(f"tick_s: {tick_s} s does not divide a 15 minute candle")
    return step


@cache
def moments(
    markets: int, contracts: int, *, funding: bool, moves: bool, trades: bool = True, beats: bool = True
) -> tuple[tuple[Moment, ...], tuple[Moment, ...]]:  # the same nearly every second
    """What happens at one full second, in order: at the futures exchange, then at the spot exchange.

    `moves`: the market does, spot is traded if it `trades`, and `funding` is due; `beats`: there is a heartbeat. There may be more
    contracts than spot markets.
    """
    first = (Moment(0, "funding", 0),) if funding and moves else ()
    ticks = tuple(Moment(i, "tick", i) for i in range(contracts)) if moves else ()
    candles = tuple(Moment(contracts + i, "candle", i) for i in range(markets)) if moves and trades else ()
    futures_beat = (Moment(contracts - 1, "futures beat", 0),) if beats else ()
    spot_beat = (Moment(contracts + markets - 1, "spot beat", 0),) if beats else ()
    return (*first, *ticks, *futures_beat), (*candles, *spot_beat)


def next_grid(at: int, step_us: int) -> int:
    """The first grid moment at or after `at`."""
    return at + -at % step_us

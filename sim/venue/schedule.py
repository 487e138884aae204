"""What happens in a second of the venue: one total order of moments, none of them shared by two events of different markets.

On the market's grid: funding (full hours), then every contract's tick, then, where spot is traded, every spot candle, each one
microsecond after the one before. What the two exchanges say, heartbeats included, leaves at two moments: clients of both hear futures first. Pure.
"""

from __future__ import annotations

from functools import cache
from typing import Final, Literal, NamedTuple

from protocol.units import HOUR_US, MINUTE_US, SECOND_US

CANDLE_US: Final = 15 * MINUTE_US
Kind = Literal["funding", "tick", "futures beat", "candle", "spot beat"]
Order = tuple[tuple[int, Kind, int], ...]


class Moment(NamedTuple):
    """`market` is the position of the contract, or of the spot market, in the configured order."""

    at: int
    kind: Kind
    market: int


def tick_us(tick_s: int) -> int:
    """The grid. ValueError unless candles end on it."""
    step = tick_s * SECOND_US
    if step <= 0 or CANDLE_US % step:
        raise ValueError(f"tick_s: {tick_s} s does not divide a 15 minute candle")
    return step


def moments(
    second_us: int, markets: int, contracts: int, *, moves: bool, trades: bool = True, beats: bool = True
) -> tuple[list[Moment], list[Moment]]:
    """What happens at one full second, in order: at the futures exchange, then at the spot exchange.

    `moves`: the market does, and spot is traded if it `trades`; `beats`: there is a heartbeat. There may be more contracts than
    spot markets.
    """
    funding = moves and second_us % HOUR_US == 0
    futures, spot = _order(markets, contracts, funding, moves, moves and trades, beats)
    return (
        [Moment(second_us + after, kind, market) for after, kind, market in futures],
        [Moment(second_us + after, kind, market) for after, kind, market in spot],
    )


@cache
def _order(
    markets: int, contracts: int, funding: bool, moves: bool, trades: bool, beats: bool
) -> tuple[Order, Order]:  # the same nearly every second
    """(microseconds after the second, kind, market) of both halves."""
    first: Order = ((0, "funding", 0),) if funding else ()
    ticks: Order = tuple((i, "tick", i) for i in range(contracts)) if moves else ()
    candles: Order = tuple((contracts + i, "candle", i) for i in range(markets)) if trades else ()
    futures_beat: Order = ((contracts - 1, "futures beat", 0),) if beats else ()
    spot_beat: Order = ((contracts + markets - 1, "spot beat", 0),) if beats else ()
    return (*first, *ticks, *futures_beat), (*candles, *spot_beat)


def next_grid(at: int, step_us: int) -> int:
    """The first grid moment at or after `at`."""
    return at + -at % step_us

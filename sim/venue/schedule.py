"""What happens in a second of the venue: one total order of moments, none of them shared by two events of different markets.

On the market's grid: funding (full hours), then every contract's tick, then, where spot is traded, every spot candle, each one
microsecond after the one before. What the two exchanges say, heartbeats included, leaves at two moments: clients of both hear futures first. Pure.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

from protocol.units import HOUR_US, MINUTE_US, SECOND_US

CANDLE_US: Final = 15 * MINUTE_US


class Moment(NamedTuple):
    """`market` is the position of the contract, or of the spot market, in the configured order."""

    at: int
    kind: Literal["funding", "tick", "futures beat", "candle", "spot beat"]
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
    spot_us = second_us + contracts
    funding = [Moment(second_us, "funding", 0)] if moves and second_us % HOUR_US == 0 else []
    ticks = [Moment(second_us + i, "tick", i) for i in range(contracts)] if moves else []
    candles = [Moment(spot_us + i, "candle", i) for i in range(markets)] if moves and trades else []
    futures_beat = [Moment(spot_us - 1, "futures beat", 0)] if beats else []
    spot_beat = [Moment(spot_us + markets - 1, "spot beat", 0)] if beats else []
    return [*funding, *ticks, *futures_beat], [*candles, *spot_beat]


def next_grid(at: int, step_us: int) -> int:
    """The first grid moment at or after `at`."""
    return at + -at % step_us

"""When the simulated market moves: one total order of moments, none of them shared by two events of different markets.

At each grid moment: funding (full hours), then every contract's tick, then every spot candle, each one microsecond after the one
before. Pure; both drivers take their order from here.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

from protocol.units import HOUR_US, MINUTE_US, SECOND_US

CANDLE_US: Final = 15 * MINUTE_US
BEAT_OFFSET_US: Final = SECOND_US // 2
"""Heartbeats lie half-way between ticks."""


class Moment(NamedTuple):
    """`market` is the position of the contract, or of the spot market, in the configured order."""

    at: int
    kind: Literal["funding", "tick", "candle"]
    market: int


def tick_us(tick_s: int) -> int:
    """The grid. ValueError unless candles end on it."""
    step = tick_s * SECOND_US
    if step <= 0 or CANDLE_US % step:
        raise ValueError(f"tick_s: {tick_s} s does not divide a 15 minute candle")
    return step


def moments(grid_us: int, markets: int, contracts: int | None = None) -> list[Moment]:
    """What happens at one grid moment, in order. There may be more contracts than spot markets."""
    contracts = markets if contracts is None else contracts
    funding = [Moment(grid_us, "funding", 0)] if grid_us % HOUR_US == 0 else []
    ticks = [Moment(grid_us + i, "tick", i) for i in range(contracts)]
    candles = [Moment(grid_us + contracts + i, "candle", i) for i in range(markets)]
    return [*funding, *ticks, *candles]


def next_grid(at: int, step_us: int) -> int:
    """The first grid moment at or after `at`."""
    return at + -at % step_us

"""The compiled look ahead: it stops where something may happen, and tells where equity is highest and which midnight it passes."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sim.skipping import scan

BARS = 200
FREE = scan.Bounds(
    balance=10_000.0,
    maintenance=0.0,
    equity=10_000.0,
    peak=10_000.0,
    fall_share=0.0,
    least=0.0,
    most=float("inf"),
    leverage=float("inf"),
    distance=0.0,
    day_share=0.0,
)
"""An account without limits, flat in worth."""


def prices(opening: list[float]) -> scan.Prices:
    """One market that moves straight from open to open and pays no funding."""
    marks = np.array([opening])
    ends = np.sort(np.stack((marks[:, :-1], marks[:, 1:])), axis=0)
    nothing = np.zeros_like(marks)
    return scan.Prices(marks, ends[0], ends[1], nothing, nothing[:, :-1])


def one(entry: float) -> scan.Held:
    """A long of one contract, bought at `entry`."""
    return scan.table([(0, 1.0, entry, 0.0)])


def at(*levels: tuple[float, bool]) -> scan.Levels:
    """Orders of that market: (price, whether it lies under the market)."""
    return scan.table([(0, price, below) for price, below in levels])


def walk(seed: int) -> list[float]:
    """A random price."""
    return (100.0 + np.random.default_rng(seed).normal(0, 0.3, BARS + 1).cumsum()).tolist()


@given(st.integers(0, 2**32), st.floats(1, 5), st.floats(1, 5), st.integers(0, BARS - 1))
def test_the_first_candle_that_meets_a_level_is_found(seed: int, under: float, over: float, here: int) -> None:
    """As looking at each candle by itself does; nothing met is the end of the span."""
    path = walk(seed)
    low, high = path[here] - under, path[here] + over
    market = prices(path)
    found, *_ = scan.quiet_until(
        market, one(100.0), at((low, True), (high, False)), FREE._replace(peak=1e9), (here, BARS), -1, 0
    )
    met = [bar for bar in range(here, BARS) if market.low[0, bar] <= low or market.high[0, bar] >= high]
    assert found == min(met, default=BARS)


@given(st.integers(0, 2**32), st.integers(1, BARS))
def test_the_highest_equity_on_the_way_is_told(seed: int, stop: int) -> None:
    """At the opening where the price is highest, if that is more than the peak of before, and no candle too late."""
    path = (50.5 + np.random.default_rng(seed).permutation(BARS + 1)).tolist()
    found, highest, *_ = scan.quiet_until(prices(path), one(100.0), at(), FREE, (0, stop), -1, 0)
    top = int(np.argmax(path[1:found])) + 1 if found > 1 else 0
    assert found == stop
    assert highest == (top if found > 1 and path[top] > 100.0 else scan.NOWHERE)


def test_the_day_begins_with_the_equity_of_its_eve() -> None:
    """A fall within the limit of the day is quiet; from midnight on the limit counts from what was told last before."""
    path = [100.0] * 50 + [96.0] * 47 + [92.0] * 104
    limits = FREE._replace(balance=0.0, equity=100.0, peak=101.0, least=95.0, day_share=0.97)
    held = one(0.0)
    assert scan.quiet_until(prices(path), held, at(), limits, (0, BARS), 96, 0) == (97, scan.NOWHERE, 95, False)
    assert scan.quiet_until(prices(path), held, at(), limits._replace(day_share=0.9), (0, 192), 96, 0) == (
        192,
        scan.NOWHERE,
        191,
        False,
    )


def test_a_limit_that_is_come_near_is_played() -> None:
    """Leverage, the distance to liquidation, the least and the greatest equity stop the leap at the candle they are reached in."""
    calm = FREE._replace(peak=20_000.0)
    path = [100.0] * 10 + [110.0] * 10 + [90.0] * 181
    for limits, stops in (
        (calm._replace(balance=100.0, leverage=1.05), 9),
        (calm._replace(balance=20.0, distance=0.1), 19),
        (calm._replace(least=9_991.0), 20),
        (calm._replace(most=10_009.0), 10),
    ):
        assert scan.quiet_until(prices(path), one(100.0), at(), limits, (0, BARS), -1, 0).bar == stops

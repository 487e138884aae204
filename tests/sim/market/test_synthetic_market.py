"""The synthetic market: sound candles, calibrated quantiles, streams that do not disturb one another."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from sim.market.synthetic import PRICES_USD, SyntheticMarket, generate

START_MS = 1_700_006_400_000  # midnight UTC
DAYS = 500
BARS = DAYS * 96


@pytest.fixture(scope="module")
def markets() -> list[SyntheticMarket]:
    """Five hundred days of a few seeds of both main symbols."""
    return [generate(symbol, seed, START_MS, BARS) for symbol in ("BTC/USD", "ETH/USD") for seed in (1, 2, 3)]


def quantiles(values: NDArray[np.float64], *at: float) -> list[float]:
    """Quantiles of absolute values in basis points."""
    return (np.quantile(np.abs(values), at) * 1e4).tolist()


def test_candles_are_sound(markets: list[SyntheticMarket]) -> None:
    """Every candle is well formed, opens where the last one closed, and is on the 15m grid."""
    for market in markets:
        c = market.candles
        assert (c.high >= np.maximum(c.open, c.close)).all()
        assert (c.low <= np.minimum(c.open, c.close)).all()
        assert (c.low > 0).all()
        assert (c.volume > 0).all()
        assert np.array_equal(c.open[1:], c.close[:-1])
        assert np.array_equal(c.time, START_MS + 900_000 * np.arange(BARS))


def test_basis_has_the_measured_quantiles(markets: list[SyntheticMarket]) -> None:
    """Absolute basis: p50 4.4, p95 7.9, p99 10.9 bp as measured, within a quarter, with spikes beyond 30 bp."""
    for market in markets:
        assert quantiles(market.basis, 0.5, 0.95, 0.99) == pytest.approx([4.4, 7.9, 10.9], rel=0.25)
        assert 30e-4 < np.abs(market.basis).max() <= 186e-4


def test_funding_has_the_measured_quantiles(markets: list[SyntheticMarket]) -> None:
    """Funding for 8 h over all seeds: p50 1, p95 5.6, p99 11.6, most 30 bp; mostly paid by longs, sometimes by shorts."""
    funding = np.concatenate([market.funding for market in markets]) * 8
    assert quantiles(funding, 0.5, 0.95) == pytest.approx([1.0, 5.6], rel=0.25)
    assert quantiles(funding, 0.99, 1.0) == pytest.approx([11.6, 30.0], rel=0.35)
    assert 0.03 < (funding < 0).mean() < 0.25


def test_returns_cluster_and_have_fat_tails_like_real_ones(markets: list[SyntheticMarket]) -> None:
    """15m moves: p50 near 11 to 13 bp, p99 near 94 to 116 bp, volatility that follows volatility, nothing beyond 10 %."""
    for market in markets:
        moves = np.abs(np.diff(np.log(market.candles.close)))
        middle, far = quantiles(moves, 0.5, 0.99)
        assert 8 < middle < 18
        assert 70 < far < 150
        assert np.corrcoef(moves[1:], moves[:-1])[0, 1] > 0.15
        assert np.corrcoef(moves[96:], moves[:-96])[0, 1] > 0.02
        assert moves.max() < 0.10


def test_prices_stay_plausible() -> None:
    """Each of more than twenty coins begins at its own level and stays within a factor of five of it."""
    assert len(PRICES_USD) >= 20
    for base, price in PRICES_USD.items():
        close = generate(f"{base}/USD", 11, START_MS, 96 * 60).candles.close
        assert price / 5 < close.min()
        assert close.max() < price * 5


def test_the_same_seed_gives_the_same_market_and_another_seed_another() -> None:
    """A market is a function of seed and symbol."""
    first, again, other = (generate("BTC/USD", seed, START_MS, 500) for seed in (7, 7, 8))
    assert np.array_equal(first.candles.close, again.candles.close)
    assert np.array_equal(first.basis, again.basis)
    assert np.array_equal(first.funding, again.funding)
    assert not np.array_equal(first.candles.close, other.candles.close)


def test_a_longer_market_begins_with_the_shorter_one() -> None:
    """Asking for more days changes nothing that came before."""
    short, long = (generate("SOL/USD", 7, START_MS, bars) for bars in (400, 4000))
    for name in ("open", "high", "low", "close", "volume"):
        assert np.array_equal(getattr(short.candles, name), getattr(long.candles, name)[:400])
    assert np.array_equal(short.basis, long.basis[:400])
    assert np.array_equal(short.funding, long.funding[:100])


def test_symbols_move_together_but_not_alike() -> None:
    """Two symbols of one seed are correlated through the market, and far from equal."""
    returns = [np.diff(np.log(generate(s, 7, START_MS, 9600).candles.close)) for s in ("BTC/USD", "ETH/USD")]
    assert 0.1 < np.corrcoef(*returns)[0, 1] < 0.8


def test_swings_come_in_both_directions() -> None:
    """Over a month the four-hour closes turn often enough, and run far enough, for market structure to form."""
    closes = generate("BTC/USD", 7, START_MS, 96 * 30).candles.close[::16]
    turns = sum((b - a) * (c - b) < 0 for (a, b), (_, c) in pairwise(pairwise(closes.tolist())))
    assert turns > 30
    assert closes.max() / closes.min() > 1.05

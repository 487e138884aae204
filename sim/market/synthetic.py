"""Seeded synthetic markets: spot candles with regimes, jumps and swings, a perpetual's basis, hourly funding.

Calibrated to two and a half years of BTC and ETH (absolute basis at 15m closes: p50 4.4, p95 7.9, p99 10.9 bp; funding for 8 h: p50
1, p95 5.6, p99 11.6, most 30 bp). Every symbol and every purpose has its own random stream, so neither another symbol nor a
longer market changes what came before. Pure: the randomness is an argument. Knows no contract and no order.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from itertools import accumulate
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from protocol.units import TIMEFRAME_MS
from sim.market.files import Candles

Floats = NDArray[np.float64]
Streams = Callable[[str], np.random.Generator]

STEP_MS: Final = TIMEFRAME_MS["15m"]
BARS_AN_HOUR: Final = 4
BARS_A_DAY: Final = 96
STEPS_A_BAR: Final = 8
"""Steps of the walk inside a candle: enough that wicks are as long, against the body, as real ones."""

PRICES_USD: Final = {
    "BTC": 95_000.0, "ETH": 3_400.0, "SOL": 190.0, "XRP": 2.3, "BNB": 680.0, "DOGE": 0.35, "ADA": 0.95, "AVAX": 38.0,
    "LINK": 22.0, "DOT": 7.2, "LTC": 105.0, "BCH": 450.0, "UNI": 13.5, "ATOM": 6.8, "NEAR": 5.4, "AAVE": 310.0,
    "ETC": 26.0, "XLM": 0.4, "FIL": 5.2, "INJ": 22.5, "TRX": 0.25, "SUI": 4.2, "ARB": 0.75, "OP": 1.9,
}  # fmt: skip
OTHER_PRICE_USD: Final = 10.0

SIGMA_15M: Final = 0.0018  # typical standard deviation of a 15m return
ETH_LIKE: Final = 1.3  # smaller coins move this much more than BTC
VOL_SLOW, VOL_FAST = 0.45, 0.50  # standard deviations of the two parts of log volatility
JUMP_DAYS, JUMP_SIZE, JUMP_MOST = 12.0, 0.018, 0.08
TREND_SHARE: Final = 0.10  # of a typical move a candle, held over trend spans
MARKET_SHARE: Final = 0.6  # correlation with the market as a whole
PULL_DAYS: Final = 150.0  # prices come back to their level over this time

BASIS_MEAN, BASIS_SD = 4.4e-4, 2.0e-4
BASIS_SPIKE_DAYS, BASIS_SPIKE, BASIS_SPIKE_DECAY, BASIS_MOST = 1.0, 10e-4, 0.6, 180e-4

FUNDING_MEDIAN, FUNDING_LOG_SD, FUNDING_MOST = 1.0e-4, 1.05, 30e-4
FUNDING_NEGATIVE_Z: Final = -1.2  # a day-scale mood below this pays the longs: about one hour in nine
FUNDING_HOURS: Final = 8


@dataclass(frozen=True)
class SyntheticMarket:
    """One symbol: 15m spot candles, the perpetual's basis at each close, the funding rate an hour for each hour.

    `basis[i]` is mark / spot - 1 at the close of candle i. `funding[j]` belongs to the hour that ends `j + 1` hours after the first
    candle opens.
    """

    candles: Candles
    basis: Floats
    funding: Floats


def streams(seed: int, symbol: str) -> Streams:
    """Independent generators for (seed, symbol, purpose): `streams(7, "BTC/USD")("volume")`."""

    def stream(purpose: str) -> np.random.Generator:
        name = blake2b(f"{symbol}\x1f{purpose}".encode(), digest_size=16).digest()
        return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, int.from_bytes(name)])))

    return stream


def generate(symbol: str, seed: int, start_ms: int, bars: int) -> SyntheticMarket:
    """`bars` candles from `start_ms` (on the 15m grid) of the market that `seed` and `symbol` (`BTC/USD`) stand for."""
    own, market = streams(seed, symbol), streams(seed, "market")
    base = symbol.partition("/")[0]
    walk = _Walk(PRICES_USD.get(base, OTHER_PRICE_USD), SIGMA_15M * (1.0 if base == "BTC" else ETH_LIKE))
    candles = _candles(walk, own, market, start_ms, bars)
    return SyntheticMarket(candles, _basis(own, bars), _funding(own, -(-bars // BARS_AN_HOUR)))


class _Walk(NamedTuple):
    """What tells one coin's candles from another's: its usual price (USD) and the standard deviation of a 15m return."""

    price: float
    scale: float


def _candles(walk: _Walk, own: Streams, market: Streams, start_ms: int, bars: int) -> Candles:
    price, scale = walk
    sigma = scale * np.exp(
        VOL_SLOW * _wave(market("volatility"), bars, 4 * BARS_A_DAY)
        + VOL_FAST * _wave(own("volatility"), bars, 2 * BARS_AN_HOUR)
    )
    drift = scale * TREND_SHARE * _wave(own("trend"), bars, BARS_A_DAY // 2)
    jumps = np.clip(_rare(own("jumps"), bars, JUMP_DAYS, JUMP_SIZE), -JUMP_MOST, JUMP_MOST)
    shared = market("returns").standard_normal((bars, STEPS_A_BAR))
    alone = own("returns").standard_normal((bars, STEPS_A_BAR))
    noise = MARKET_SHARE * shared + np.sqrt(1 - MARKET_SHARE**2) * alone
    steps = sigma[:, None] * noise / np.sqrt(STEPS_A_BAR) + (drift / STEPS_A_BAR)[:, None]
    where = own("jump place").integers(0, STEPS_A_BAR, bars)
    steps[np.arange(bars), where] += jumps

    inside = np.cumsum(steps, axis=1)
    level = _decay(inside[:, -1], 1 - 1 / (PULL_DAYS * BARS_A_DAY))
    before = np.concatenate(([0.0], level[:-1]))
    path = before[:, None] + inside
    digits = 5 - int(np.floor(np.log10(price)))
    close = _rounded(price * np.exp(level), digits)
    opened = np.concatenate((_rounded(np.array([price]), digits), close[:-1]))
    high = np.maximum(_rounded(price * np.exp(path.max(axis=1)), digits), np.maximum(opened, close))
    low = np.minimum(_rounded(price * np.exp(path.min(axis=1)), digits), np.minimum(opened, close))
    volume = np.round(
        np.exp(own("volume").normal(0, 0.4, bars)) * (sigma / scale + (high - low) / opened / scale) * 2e6 / price, 4
    )
    time = start_ms + STEP_MS * np.arange(bars, dtype=np.int64)
    return Candles(time, opened, high, low, close, volume, np.zeros(bars, dtype=np.bool_))


def _basis(own: Streams, bars: int) -> Floats:
    """Mean-reverting round its usual premium, with spikes that fade within the hour."""
    calm = 0.85 * _wave(own("basis"), bars, 3 * BARS_A_DAY) + 0.53 * _wave(own("basis noise"), bars, 1)
    spikes = _decay(_rare(own("basis spikes"), bars, BASIS_SPIKE_DAYS, BASIS_SPIKE), BASIS_SPIKE_DECAY)
    return np.clip(BASIS_MEAN + BASIS_SD * calm + spikes, -BASIS_MOST, BASIS_MOST)


def _funding(own: Streams, hours: int) -> Floats:
    """Log-normal in size, mostly paid by longs; moods of a day or two decide size and sign. An hour's share of 8 h."""
    size = FUNDING_MEDIAN * np.exp(FUNDING_LOG_SD * _wave(own("funding"), hours, 30))
    sign = np.where(_wave(own("funding sign"), hours, 20) < FUNDING_NEGATIVE_Z, -1.0, 1.0)
    return sign * np.minimum(size, FUNDING_MOST) / FUNDING_HOURS


def _decay(values: Floats, keep: float) -> Floats:
    """x_i = keep * x_(i-1) + values_i."""
    return np.fromiter(accumulate(values.tolist(), lambda x, v: keep * x + v), np.float64, len(values))


def _wave(rng: np.random.Generator, size: int, memory: float) -> Floats:
    """A stationary AR(1) of unit variance that forgets over `memory` steps."""
    keep = float(np.exp(-1 / memory))
    noise = rng.standard_normal(size)
    noise[1:] *= np.sqrt(1 - keep**2)
    return _decay(noise, keep)


def _rare(rng: np.random.Generator, bars: int, every_days: float, size: float) -> Floats:
    """Mostly zero; once in `every_days` on average a two-sided exponential shock of mean `size`."""
    draws = rng.random((bars, 3))
    hit = draws[:, 0] < 1 / (every_days * BARS_A_DAY)
    return np.where(hit, np.where(draws[:, 1] < 0.5, size, -size) * -np.log1p(-draws[:, 2]), 0.0)


def _rounded(prices: Floats, digits: int) -> Floats:
    """Prices on a decimal grid of about six significant digits, never zero."""
    return np.maximum(np.round(prices, max(digits, 0)), 10.0**-digits)

"""Where a track comes from: a seeded model, or recorded candles and whatever else was recorded of that market."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Final

import numpy as np

from config.settings import Settings, SymbolSettings
from protocol.messages.futures import Instrument
from protocol.units import HOUR_US, decimal
from sim.market.contracts import contract
from sim.market.files import (
    FINER_MS,
    PERP_MS,
    BadCandleFile,
    BadPeriod,
    Candles,
    GapPolicy,
    Series,
    close_gaps,
    intervals_ms,
    read_candles,
    read_funding,
    read_steps,
)
from sim.market.path import Finer
from sim.market.synthetic import generate
from sim.market.track import BAR_MS, RATE_DIGITS, Bools, Floats, Track

HOUR_MS: Final = HOUR_US // 1000
USUAL_MOST: Final = 0.05
"""A perpetual may part from spot for hours; one that lies so far (relative) from it half of the time is another market's."""
Steps = tuple[tuple[int, ...], tuple[Decimal, ...]]
"""Ends of intervals, and the rate an hour in each."""


def synthetic_track(pair: SymbolSettings, settings: Settings, first_ms: int, bars: int) -> Track:
    """The seeded market of `settings.market`: so many candles from `first_ms` on."""
    market = generate(pair.spot, settings.market.seed, first_ms, bars)
    hours = tuple(first_ms * 1000 + (j + 1) * HOUR_US for j in range(len(market.funding)))
    instrument = _instrument(pair.futures, market.candles)
    return Track(pair.spot, instrument, market.candles, market.basis, hours, _rates(market.funding))


def recorded_track(
    pair: SymbolSettings,
    settings: Settings,
    spot: Path,
    *,
    perp: Path | None,
    funding: Path | None,
    path: Path | None,
    end_ms: int | None,
    gap_policy: GapPolicy,
) -> Track:
    """Of one market's files. Raises BadCandleFile."""
    # Time goes on without trades: what `reset` starts anew is the strategy, which is shown no filled candle.
    policy: GapPolicy = "halt" if gap_policy == "halt" else "fill"
    read = read_candles(spot, "15m")
    with _in_file(spot):
        candles, filled = close_gaps(read.between(None, end_ms), "15m", policy)
    basis, basis_known = (
        (_basis_model(pair.spot, candles, settings), None) if perp is None else _basis_of(candles, perp)
    )
    rates = None if funding is None else read_funding(funding)
    track = Track(
        pair.spot,
        _instrument(pair.futures, candles),
        candles,
        basis,
        *(_funding_model(pair.spot, candles, settings) if rates is None else _funding_steps(rates)),
        filled=filled,
        finer=None if path is None else Finer(*read_steps(path, FINER_MS)),
        basis_known=basis_known,
        funding_known=None if rates is None else _told_by(rates, candles),
    )
    with _in_file(path):
        _ = track.path  # finer candles of another market are refused here
    return track


@contextmanager
def _in_file(file: Path | None) -> Iterator[None]:
    """Whoever knows only the candles does not know where they are from."""
    try:
        yield
    except (BadCandleFile, BadPeriod) as bad:
        raise type(bad)(f"{file}: {bad}") from bad


def _basis_model(spot: str, candles: Candles, settings: Settings) -> Floats:
    """The basis of a market whose perpetual nobody recorded."""
    if settings.market.basis == "static":
        return np.full(len(candles), float(settings.market.basis_pct) / 100.0)
    return generate(spot, settings.market.seed, int(candles.time[0]), len(candles)).basis


def _funding_model(spot: str, candles: Candles, settings: Settings) -> Steps:
    """The funding of a market whose rates nobody recorded, hour by hour; none where the static rate is 0."""
    market, first_ms = settings.market, int(candles.time[0])
    hours = -(-(int(candles.time[-1]) + BAR_MS - first_ms) // HOUR_MS)
    ends = tuple((first_ms - first_ms % HOUR_MS + (hour + 1) * HOUR_MS) * 1000 for hour in range(hours + 1))
    if market.funding == "stochastic":
        return ends, _rates(generate(spot, market.seed, first_ms, 4 * len(ends)).funding)
    return (ends[-1:], (market.funding_pct / 100,)) if market.funding_pct else ((), ())


def _instrument(futures_symbol: str, candles: Candles) -> Instrument:
    return contract(futures_symbol, decimal(float(candles.open[0])))


def _rates(per_hour: Floats) -> tuple[Decimal, ...]:
    return tuple(decimal(rate) for rate in np.round(per_hour, RATE_DIGITS).tolist())


def _funding_steps(series: Series) -> Steps:
    """Each interval's rate as a rate an hour."""
    return tuple((series.time * 1000).tolist()), _rates(series.value / (intervals_ms(series.time) / HOUR_MS))


def _told_by(rates: Series, candles: Candles) -> Bools:
    """The candles of which a funding rate is told: those in an interval as long as the ones beside it."""
    ends = rates.time.searchsorted(candles.time, side="right")
    known: Bools = ends < len(rates.time)
    ends = np.minimum(ends, len(rates.time) - 1)
    known &= candles.time >= (rates.time - intervals_ms(rates.time))[ends]
    return known


def _basis_of(candles: Candles, perp_file: Path) -> tuple[Floats, Bools]:
    """perp close / spot close - 1 where both ended and were traded, linear between, flat beyond; and of which candles the file tells,
    those that spot itself lacks left to it.
    """
    step_ms, perp = read_steps(perp_file, PERP_MS)
    _, ours, theirs = np.intersect1d(
        candles.time + BAR_MS, perp.time + step_ms, assume_unique=True, return_indices=True
    )
    ours, theirs = ours[~candles.synthetic[ours]], theirs[~candles.synthetic[ours]]
    if not len(ours):
        raise BadCandleFile(f"{perp_file}: no candle ends with a spot candle")
    basis = perp.close[theirs] / candles.close[ours] - 1.0
    usual = float(np.median(basis))
    if abs(usual) > USUAL_MOST:
        raise BadCandleFile(
            f"{perp_file}: half of its candles lie {usual:+.0%} or more from spot: they are of another market"
        )
    at = candles.time[ours]
    after = at.searchsorted(candles.time)
    before = np.maximum(at.searchsorted(candles.time, side="right") - 1, 0)
    within = (after < len(at)) & (candles.time >= at[0])
    near = at[np.minimum(after, len(at) - 1)] - at[before] <= max(step_ms, BAR_MS)
    return np.interp(candles.time, at, basis), within & near | candles.synthetic

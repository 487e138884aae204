"""What is known of every candle before the first is played: prices in columns, what the strategy says of each, which are played whatever is held.

Candles are counted here, from the first that is traded on, and moments told by them. Knows nothing that changes while a run goes on.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actors.part import Part
from actors.risk import quiet as risk
from actors.strategy import bulk, replay
from config.settings import Settings
from protocol.units import DAY_US, Timeframe, seconds_us
from sim.market.track import BAR_US, Track
from sim.skipping import scan
from sim.stage import Stage

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Market:
    """One symbol and its row in `scan.Prices`."""

    spot: str
    futures: str
    track: Track
    row: int


class Horizon:
    """The candles of one run, once the back-fill is told: `parts` are asked what came before, and at which basis risk would speak."""

    def __init__(self, parts: Mapping[str, Part[Any]], stage: Stage, settings: Settings) -> None:
        self._parts, self._stage, self._settings = parts, stage, settings
        tape = stage.tape
        self._start_us, self.bars = tape.start_us, (tape.end_us - tape.start_us) // BAR_US
        self.markets = tuple(
            Market(pair.spot, pair.futures, tape.tracks[pair.spot], row) for row, pair in enumerate(settings.symbols)
        )
        self.market_of = {market.futures: market for market in self.markets}
        self.prices = self._columns()
        strategy = parts["strategy"].state
        self.tables: replay.Tables = {
            market.spot: bulk.tabulate(strategy, market.spot, self._to_come(market)) for market in self.markets
        }
        self.first_day = self.bar(-(-self._start_us // DAY_US) * DAY_US)
        """The candle of the first midnight there is; it may lie beyond the last."""
        self._loud: Bools = np.zeros(self.bars + 1, np.bool_)
        self._own_stops: dict[str, list[int]] = {}
        """Candles that are played whatever prices do, for one contract's sake; plain numbers, as one is found sooner among them."""
        for market in self.markets:
            restless = self._restless(market)
            self._loud |= restless
            signals = np.array([close_ms for close_ms, _ in self.tables[market.spot].signals], np.int64)
            signalled = (signals * 1000 - self._start_us) // BAR_US
            stops = (signalled[signalled >= 0], np.flatnonzero(restless), np.array([self.bars]))
            self._own_stops[market.futures] = np.unique(np.concatenate(stops)).tolist()
        self._stops = sorted(set().union(*self._own_stops.values()))

    # --- candles and moments ------------------------------------------------------------------------------------

    def bar(self, at_us: int) -> int:
        """The candle a moment lies in."""
        return (at_us - self._start_us) // BAR_US

    def opens_us(self, bar: int) -> int:
        """When a candle opens."""
        return self._start_us + bar * BAR_US

    def opens_ms(self, bar: int) -> int:
        """The same, as candles are dated."""
        return (self._start_us + bar * BAR_US) // 1000

    # --- what is known of them ----------------------------------------------------------------------------------

    def loud(self, bar: int) -> bool:
        """Whether it must be played whatever is held."""
        return bool(self._loud[bar])

    def next_stop(self, bar: int) -> int:
        """The first candle from `bar` on that is played whatever prices do."""
        return self._stops[bisect_left(self._stops, bar)]

    def next_own_stop(self, market: Market, bar: int) -> int:
        """The first of those for the sake of this contract."""
        stops = self._own_stops[market.futures]
        return stops[bisect_left(stops, bar)]

    def opens_quietly(self, bar: int) -> bool:
        """Whether nothing but the account can be of interest at a boundary before the candle that ended there has settled."""
        return bar < self.bars and not self._loud[bar]

    def reads(self, futures: str, timeframe: Timeframe) -> replay.Reads:
        """What the strategy tells of structure at each close."""
        return self.tables[self.market_of[futures].spot].reads[timeframe]

    # --- finding it out -----------------------------------------------------------------------------------------

    def _columns(self) -> scan.Prices:
        """All markets, from the first candle that is traded."""
        tape, markets = self._stage.tape, len(self.markets)
        inside, opens = (markets, self.bars), (markets, self.bars + 1)
        prices = scan.Prices(*(np.empty(shape) for shape in (opens, inside, inside, opens, inside)))
        for row, market in enumerate(self.markets):
            track = market.track
            first = (self._start_us - track.start_us) // BAR_US
            bars, points = slice(first, first + self.bars), slice(first, first + self.bars + 1)
            opens_us = self._start_us + np.arange(self.bars, dtype=np.int64) * BAR_US
            low, high = prices.low[row], prices.high[row]
            low[:], high[:] = track.reach(bars)
            prices.opening[row], prices.paid[row] = track.opening_marks[points], track.funding_paid[points]
            prices.pad[row] = 2.0 * float(track.instrument.tick) + high * tape.half_spread(track, opens_us)
        return prices

    def _to_come(self, market: Market) -> replay.History:
        """The closed candles that the spot feed has not told yet, missing ones filled."""
        newest = self._parts["spot_feed"].state.series[market.spot].newest
        c = market.track.candles
        first = 0 if newest is None else int(np.searchsorted(c.time, newest.open_time_ms, side="right"))
        rows = slice(first, int(np.searchsorted(c.time, self._stage.tape.end_us // 1000)))
        columns = np.stack([column[rows] for column in (c.open, c.high, c.low, c.close, c.volume)])
        return replay.History(c.time[rows], columns.T, c.synthetic[rows])  # each column lies together, as it is read

    def _restless(self, market: Market) -> Bools:
        """Candles that must be played whatever is held: the basis is wide, or trading stopped and nothing was told."""
        track, settle_us = market.track, self._stage.settle_us
        first = (self._start_us - track.start_us) // BAR_US
        bars = slice(first, first + self.bars)
        basis = track.basis_reach
        if settle_us <= seconds_us(self._settings.risk.basis_skew_max_s):
            # Two looks so near to each other count as one moment: what the path does between them is basis then.
            basis = basis + track.path.drift(settle_us)
        wide = basis[bars] * 100.0 >= risk.basis_pct(self._parts["risk"].state) * (1.0 - scan.NEAR)
        idle = (track.candles.synthetic | (track.candles.volume <= 0.0))[bars]
        restless = np.zeros(self.bars + 1, np.bool_)
        for found, last_shift in ((wide, 1), (idle, 2)):
            for shift in range(-1, last_shift + 1):
                near = np.flatnonzero(found) + shift
                restless[near[(near >= 0) & (near <= self.bars)]] = True
        return restless

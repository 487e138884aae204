"""The strategy: kernel ns a bar, compilation, memory a symbol, and decisions over 2.5 years of real candles."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile

import numpy as np
import pyarrow.parquet as pq

from actors.strategy import bulk, decide
from actors.strategy.history import closed_candles, decide_history
from actors.strategy.market import Market
from actors.strategy.replay import History
from actors.strategy.series import Candle, Candles, Series
from bench.figures import DATA, Figures, best, lap, measure
from config.strategy import StrategyParams, load_preset

BASE_MS = 900_000
SYMBOLS = {"BTC/USD": "binance_spot_BTCUSDT_15m__b.parquet", "ETH/USD": "binance_spot_ETHUSDT_15m__b.parquet"}
BOTH = StrategyParams(exec_tfs=("15m", "1h"), gap_policy="fill")
FIRST_USE = """
from time import process_time
from actors.strategy import kernel
from actors.strategy.series import Candles, Series
from config.strategy import StrategyParams
import numpy as np
begin = process_time()
series = Series(StrategyParams(), 900_000, "exec")
series.feed(Candles(np.arange(2) * 900_000, np.ones((2, 5))))
series.choose_zone(1, True, True, False)
print(process_time() - begin)
"""


def walk(seed: int, n: int) -> Candles:
    """A seeded random walk with the proportions of a 15m market."""
    rng = np.random.default_rng(seed)
    path = 30_000 * np.exp(np.cumsum(rng.normal(0, 0.0012, 4 * n))).reshape(n, 4)
    opens = np.concatenate([[30_000.0], path[:-1, 3]])
    every = np.column_stack([opens, path])
    values = np.column_stack([opens, every.max(axis=1), every.min(axis=1), path[:, 3], np.ones(n)])
    return Candles(np.arange(n, dtype=np.int64) * BASE_MS, values)


def real(name: str) -> Candles | None:
    """Real candles, None where the files are not there."""
    if not (DATA / name).exists():
        return None
    table = pq.read_table(DATA / name)
    columns = [table[column].to_numpy() for column in ("open", "high", "low", "close", "volume")]
    return Candles(table["time"].to_numpy(), np.column_stack(columns))


def kernel_speed(figures: Figures) -> None:
    """One series, all structure on."""
    candles = walk(1, 100_000)

    def bulk(column: Candles) -> float:
        return best(5, lambda: Series(StrategyParams(), BASE_MS, "exec").feed(column)) / len(column.times) * 1e9

    bulk(candles)
    figures.add("kernel in bulk, synthetic", bulk(candles), "ns a bar", 500)
    for symbol, name in SYMBOLS.items():
        column = real(name)
        if column is not None:
            figures.add(
                f"kernel in bulk, real {symbol}",
                bulk(Candles(candles.times[: len(column.times)], column.values)),
                "ns a bar",
                500,
            )
    series = Series(StrategyParams(), BASE_MS, "exec")
    series.feed(Candles(candles.times[:80_000], candles.values[:80_000]))
    singles = [
        Candle(time, *row)
        for time, row in zip(candles.times[80_000:].tolist(), candles.values[80_000:].tolist(), strict=True)
    ]
    with lap() as taken:
        for candle in singles:
            series.take(candle)
    figures.add("kernel, one candle a call", taken.seconds / len(singles) * 1e6, "us a call", 10)


def compilation(figures: Figures) -> None:
    """In fresh processes: without a cache, then with the one the first has left."""
    with tempfile.TemporaryDirectory() as cache:
        for name, aim in (("first use, nothing compiled", 20.0), ("warm start, from the cache", None)):
            done = subprocess.run(
                [sys.executable, "-c", FIRST_USE],
                env=os.environ | {"NUMBA_CACHE_DIR": cache},
                capture_output=True,
                text=True,
                check=True,
            )
            figures.add(name, float(done.stdout), "s", aim)


def _state_bytes(market: Market) -> int:
    """Of all series of one symbol; the 15m series serves as base feed and as execution series."""
    every = {id(series): series for series in (market.base, *market.bias.values())}
    every |= {id(track.series): track.series for track in market.tracks.values()}
    return sum(len(series.save()) for series in every.values())


def many_symbols(figures: Figures) -> None:
    """24 markets in one process."""
    symbols = [f"S{n}/USD" for n in range(24)]
    with lap() as taken:
        state = decide.initial(BOTH, symbols)
    bytes_each = np.mean([_state_bytes(market) for market in state.markets.values()])
    figures.add("state of 24 symbols, made in", taken.seconds, "s")
    figures.add("state of one symbol (15m, 1h, 4h, 1d)", float(bytes_each) / 1024, "KiB")


def filled(candles: Candles) -> History:
    """As a history without gaps: a missing candle is flat."""
    told = list(closed_candles("X/USD", candles, fill=True))
    values = np.array([(c.open, c.high, c.low, c.close, c.volume) for c in told])
    times = np.array([c.open_time_ms for c in told])
    return History(times, values, np.array([c.synthetic for c in told]))


def decisions(figures: Figures) -> None:
    """Whole histories, kept as columns and, for the command, as rows with every failing rule."""
    found = {symbol: column for symbol, name in SYMBOLS.items() if (column := real(name)) is not None}
    if not found:
        print("no real candles here: decisions are measured on synthetic ones", file=sys.stderr)
        found = {symbol: walk(seed, 87_552) for seed, symbol in enumerate(SYMBOLS)}
    bars = sum(len(column.times) for column in found.values())
    whole = {symbol: filled(column) for symbol, column in found.items()}
    for preset, params in (("runner", load_preset("runner")), ("classic", load_preset("classic")), ("both", BOTH)):

        def at_once(params: StrategyParams = params) -> None:
            state = decide.initial(params.model_copy(update={"gap_policy": "fill"}), list(whole))
            for symbol, history in whole.items():
                bulk.tabulate(state, symbol, history)

        series = " and ".join(params.exec_tfs)
        seconds = best(3, at_once)
        figures.add(f"decisions of {preset} at once, 2 symbols, {series}", seconds, "s", 2)
        figures.add(f"decisions of {preset} at once", bars / seconds, "15m candles a second")
    with lap() as taken:
        decide_history(found, BOTH)
    figures.add("decision rows, 2 symbols, 15m and 1h", taken.seconds, "s")
    figures.add("decision rows", bars / taken.seconds, "15m candles a second")


def work(figures: Figures) -> None:
    """All of it."""
    compilation(figures)
    kernel_speed(figures)
    many_symbols(figures)
    decisions(figures)


if __name__ == "__main__":
    measure(__doc__ or "", work)

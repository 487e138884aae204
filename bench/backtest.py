"""Backtest: candles/s through the whole tree, processor and wall time of the process, peak memory; 0.5 to 10 years of two symbols."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path
from subprocess import PIPE, Popen
from time import perf_counter
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

DATA = Path("../shared/data")
COINS = {"BTC/USD": "BTC", "ETH/USD": "ETH"}
BAR_MS, HALF_YEAR = 900_000, 17_520
YEARS = {"0.5 years": 1, "1 year": 2, "2.5 years": 5, "10 years": 20}
"""In half years. What is longer than the data is the data again and again, at the price it ended with."""
AIM_CANDLES_S, AIM_PROCESS_S, AIM_MEMORY_MB = 300_000, 3.0, 400


def columns(name: str) -> dict[str, Any]:
    """One data file as numpy columns."""
    table = pq.read_table(DATA / f"{name}__b.parquet")
    return {column: table[column].to_numpy() for column in table.column_names}


def candles(name: str, bars: int) -> pa.Table:
    """The first `bars` of a candle file, repeated as often as needed."""
    found = columns(name)
    n = len(found["time"])
    start, end = int(found["time"][0]), int(found["time"][-1]) + BAR_MS
    growth = found["close"][-1] / found["open"][0]
    rounds = range(-(-bars * BAR_MS // (end - start)))
    out = {"time": np.concatenate([found["time"] + turn * (end - start) for turn in rounds])}
    for price in ("open", "high", "low", "close"):
        out[price] = np.concatenate([found[price] * growth**turn for turn in rounds])
    out["volume"] = np.tile(found["volume"], len(rounds))
    keep = out["time"] < start + bars * BAR_MS
    assert n
    return pa.table({column: values[keep] for column, values in out.items()})


def funding(name: str, bars: int) -> pa.Table:
    """Funding over the same span."""
    found = columns(name)
    span = 5 * HALF_YEAR * BAR_MS // 28_800_000 * 28_800_000
    rounds = range(-(-bars * BAR_MS // span))
    time = np.concatenate([found["time"] + turn * span for turn in rounds])
    time, first = np.unique(time, return_index=True)
    return pa.table({"time": time, "rate": np.tile(found["rate"], len(rounds))[first]})


def measure(options: list[str]) -> dict[str, float]:
    """One run of the command in a process of its own."""
    command = [sys.executable, "-m", "actors", "backtest", *options, "--json"]
    begin = perf_counter()
    process = Popen(command, stdout=PIPE)
    assert process.stdout is not None
    result = json.loads(process.stdout.read())
    _, status, usage = os.wait4(process.pid, 0)
    wall_s = perf_counter() - begin
    assert status == 0
    return {
        "candles": result["candles"],
        "trades": result["trade_count"],
        "run_s": result["run_s"],
        "candles_per_s": result["candles"] / result["run_s"],
        "process_cpu_s": usage.ru_utime + usage.ru_stime,
        "process_wall_s": wall_s,
        "peak_memory_mb": usage.ru_maxrss / 1024,
    }


def main() -> None:
    """Measure each span, best of `--repeat`, on one core."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON document")
    parser.add_argument("--repeat", type=int, default=3, help="runs of each span; the fastest counts")
    parser.add_argument("--span", action="append", choices=list(YEARS), help="only these spans")
    options = parser.parse_args()
    if not DATA.is_dir():
        raise SystemExit("the real candles are not here: ../shared/data")
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    results: dict[str, dict[str, float]] = {}
    for name, halves in YEARS.items():
        if options.span and name not in options.span:
            continue
        with tempfile.TemporaryDirectory() as directory:
            arguments = []
            for symbol, coin in COINS.items():
                for option, kind in (("data", "spot"), ("perp", "perp")):
                    file = Path(directory) / f"{coin}_{kind}.parquet"
                    pq.write_table(candles(f"binance_{kind}_{coin}USDT_15m", halves * HALF_YEAR), file)
                    arguments += [f"--{option}", f"{symbol}={file}"]
                file = Path(directory) / f"{coin}_funding.parquet"
                pq.write_table(funding(f"binance_funding_{coin}USDT_8h", halves * HALF_YEAR), file)
                arguments += ["--funding", f"{symbol}={file}"]
            runs = [measure(arguments) for _ in range(options.repeat + 1)][1:]  # the first may compile
            results[name] = min(runs, key=lambda run: run["process_cpu_s"])
    if options.json:
        print(json.dumps(results))
        return
    print(
        f"aims: {AIM_CANDLES_S:,} candles/s, {AIM_PROCESS_S:g} s, {AIM_MEMORY_MB} MB; best of {options.repeat}, one core; "
        f"run: processor seconds; load of the machine {os.getloadavg()[0]:.1f}"
    )
    for name, run in results.items():
        print(
            f"{name:>10}: {run['candles']:>9,.0f} candles, {run['trades']:>5.0f} trades, run {run['run_s']:.2f} s, "
            f"{run['candles_per_s']:>9,.0f} candles/s, process {run['process_cpu_s']:.2f} s cpu "
            f"{run['process_wall_s']:.2f} s wall, {run['peak_memory_mb']:.0f} MB"
        )


if __name__ == "__main__":
    main()

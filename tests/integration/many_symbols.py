"""Signals of 24 symbols in one process over synthetic history: `make integration`. Not part of the suite, it takes minutes.

The strategy's `step` takes candles of all symbols interleaved, as live. Every symbol must see decisions that reached each stage of
the rules, A to F, some that ended in each of A to E, and a signal. Exit 1 names what was missing.
"""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from typing import Final

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from actors.strategy.decide import initial, step
from actors.strategy.history import closed_candles
from actors.strategy.series import Candles
from config.strategy import load_preset
from protocol.messages.signal import Held, Signal
from sim.market.files import parse_moment
from sim.market.synthetic import PRICES_USD, generate
from sim.report.funnel import rule_of

SYMBOLS: Final = tuple(f"{base}/USD" for base in PRICES_USD)
STAGES: Final = "ABCDEF"
SEED: Final = 97
START: Final = "2025-01-01"
DAYS: Final = 330
WARM_UP: Final = {"warmup_bars_1d": 210, "warmup_bars_4h": 400}
"""The least the rules allow, nearly: more days of decisions for the same time."""


def main() -> int:
    """Run, show a table, and say what was missing."""
    params = load_preset("classic").model_copy(update=WARM_UP)
    state = initial(params, SYMBOLS)
    histories = []
    for symbol in SYMBOLS:
        c = generate(symbol, SEED, parse_moment(START), DAYS * 96).candles
        values = np.column_stack((c.open, c.high, c.low, c.close, c.volume))
        histories.append(closed_candles(symbol, Candles(c.time, values), fill=False))
    reached: defaultdict[str, Counter[str]] = defaultdict(Counter)
    columns = (TextColumn("days"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        bar = progress.add_task("", total=DAYS)
        for at, candles in enumerate(zip(*histories, strict=True)):
            for candle in candles:
                state, answers = step(state, candle)
                for answer in answers:
                    if isinstance(answer, Held | Signal):
                        stage = "signal" if isinstance(answer, Signal) else rule_of(answer.reason)[0]
                        reached[answer.symbol][stage] += 1
            if at % 96 == 95:
                progress.advance(bar)
    return _report(reached)


def _report(reached: defaultdict[str, Counter[str]]) -> int:
    console = Console(highlight=False)
    table = Table("symbol", *(f"ended in {stage}" for stage in STAGES), "signals", box=None)
    for symbol in SYMBOLS:
        table.add_row(symbol, *(f"{reached[symbol][stage]:,}" for stage in (*STAGES, "signal")))
    console.print(table)
    missing = [
        f"{symbol}: no decision ended in {stage}"
        for symbol in SYMBOLS
        for stage in (*STAGES[:-1], "signal")  # a signal went through F, the cooldown, which seldom refuses
        if not reached[symbol][stage]
    ]
    for line in missing:
        console.print(line, style="red")
    console.print(f"{len(SYMBOLS)} symbols, {sum(sum(c.values()) for c in reached.values()):,} decisions")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())

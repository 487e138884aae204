"""All of the real candles, skipped and visited: `make skipping`. Not part of the suite, visiting every moment takes minutes.

Both runs must say the same, message for message, and end with the same books. Exit 1 shows the first difference; without the real
candles there is nothing to do.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.progress import Progress

from actors.modes.backtest import by_loop, for_history
from config.load import load
from sim.loop import Result
from sim.market.tape import Tape

DATA: Final = Path("../shared/data")
COINS: Final = {"BTC/USD": "BTC", "ETH/USD": "ETH"}


def main() -> int:
    """Play both ways and compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--preset", default="runner", choices=("runner", "classic"))
    console, options = Console(), parser.parse_args()
    if not DATA.is_dir():
        console.print("the real candles are not here: ../shared/data")
        return 0
    files = {
        kind: {symbol: DATA / f"binance_{kind}_{coin}USDT_{step}__b.parquet" for symbol, coin in COINS.items()}
        for kind, step in (("spot", "15m"), ("perp", "15m"), ("funding", "8h"))
    }
    settings = for_history(load("backtest", "paper", None, {"strategy": {"preset": options.preset}}, {}), files["spot"])
    tape = Tape.recorded(settings, files["spot"], perp=files["perp"], funding=files["funding"])
    results = []
    with Progress(console=console, transient=True) as progress:
        for name, skip in (("skipped", True), ("visited", False)):
            bar = progress.add_task(name)
            results.append(
                by_loop(
                    settings,
                    tape,
                    lambda done, total, bar=bar: progress.update(bar, completed=done, total=total),
                    skip=skip,
                )
            )
    skipped, visited = results
    console.print(f"{options.preset}: {skipped.moments:,} moments skipped, {visited.moments:,} visited")
    difference = first_difference(skipped, visited)
    console.print(difference or f"equal: {len(visited.messages):,} messages, digest {visited.digest()}")
    return 1 if difference else 0


def first_difference(skipped: Result, visited: Result) -> str:
    """The first message that differs, or the books; empty when nothing does."""
    for one, other in zip(skipped.messages, visited.messages, strict=False):
        if one != other:
            return f"skipped: {one}\nvisited: {other}"
    if len(skipped.messages) != len(visited.messages):
        return f"{len(skipped.messages)} messages skipped, {len(visited.messages)} visited"
    if (skipped.books, skipped.equity_usd) != (visited.books, visited.equity_usd):
        return f"skipped: {skipped.books}, {skipped.equity_usd}\nvisited: {visited.books}, {visited.equity_usd}"
    return ""


if __name__ == "__main__":
    sys.exit(main())

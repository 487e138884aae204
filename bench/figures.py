"""Not a measurement: how all of them take and print their figures."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import process_time
from typing import Any

DATA = Path("../shared/data")  # real candles; a measurement that wants them says so when they are absent


@dataclass
class Figures:
    """What one script measured. `unit` says what the number is; processor time unless the name says otherwise."""

    title: str
    rows: list[dict[str, Any]] = field(default_factory=list)

    def add(self, name: str, value: float, unit: str, aim: float | None = None) -> None:
        """One figure, and the aim it is held against if there is one."""
        self.rows.append({"name": name, "value": value, "unit": unit, "aim": aim})

    def show(self, as_json: bool) -> None:
        """A table for people, one JSON document for machines."""
        if as_json:
            print(json.dumps({"title": self.title, "figures": self.rows}))
            return
        print(self.title)
        for row in self.rows:
            aim = "" if row["aim"] is None else f"   (aim {row['aim']:,g})"
            print(f"  {row['name']:<58}{row['value']:>14,.4g} {row['unit']}{aim}")


class Lap:
    """`seconds` of processor time, this process only: a loaded machine does not change it much."""

    seconds: float = 0.0


@contextmanager
def lap() -> Iterator[Lap]:
    """Time a block."""
    taken, begin = Lap(), process_time()
    yield taken
    taken.seconds = process_time() - begin


def best(times: int, work: Callable[[], object]) -> float:
    """Seconds of the fastest of several runs."""
    seconds = []
    for _ in range(times):
        with lap() as taken:
            work()
        seconds.append(taken.seconds)
    return min(seconds)


def measure(title: str, work: Callable[[Figures], int | None]) -> None:
    """The whole of a script: parse `--json`, measure, print. What `work` returns is the exit code: an aim may be a promise."""
    parser = argparse.ArgumentParser(description=title)
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    options = parser.parse_args()
    figures = Figures(title)
    code = work(figures)
    figures.show(options.json)
    sys.exit(code or 0)

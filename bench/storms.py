"""Storms: simulated seconds a second of CPU, the whole daemon and exchange under all checkers; `--days N`: memory, day by day."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from figures import Figures, lap
from msgspec.structs import replace

from actors.modes.storms import live, quiet
from protocol.units import DAY_US
from sim.faults import Plan
from sim.market.tape import Tape
from sim.storm import Case, Verdict, case_of, run_case
from sim.storm.scene import BENCH, MARKETS, TEMPOS, USUAL, Scene, market_at, settings_at

AIM = 2000.0
SEEDS = 20
DAY_S = 86_400
HISTORY_DAYS = 450  # the daily bias wants 400 candles before anything trades
MIB = 1 << 20


def speed(figures: Figures) -> None:
    """Whole storms with one mark a second for each of two symbols, start-up included: two hours as the seeds have them, and a day.

    A single seed's faults may have the daemon start up five times: of those the sum over many says more.
    """
    for market in MARKETS:
        market_at(market, BENCH)
    run_case(
        replace(case_of(1, "none", 60), tempo=BENCH, habits=USUAL), live
    )  # what is compiled or kept is not measured
    for seed in (1, 2):
        figures.add(f"seed {seed}, nothing goes wrong", pace((case_of(seed, "none"),)), "simulated s/s", AIM)
    figures.add("a day, nothing goes wrong", pace((case_of(1, "none", DAY_S),)), "simulated s/s", AIM)
    cases = [case_of(seed, "full") for seed in range(1, SEEDS + 1)]
    figures.add(f"{SEEDS} seeds, all faults", pace(cases), "simulated s/s", AIM)


def pace(cases: Sequence[Case]) -> float:
    """Simulated seconds a second of some storms."""
    simulated_s = seconds = 0.0
    for case in cases:
        with lap() as taken:
            verdict = run_case(replace(case, tempo=BENCH, habits=USUAL), live)
        passed(verdict)
        simulated_s, seconds = simulated_s + verdict.simulated_s, seconds + taken.seconds
    return simulated_s / seconds


def memory(figures: Figures, days: int) -> None:
    """One process over so many simulated days of a calm market in which nothing goes wrong; resident memory at the end of each."""
    calm = TEMPOS[-1]
    settings = settings_at(calm)
    settings = settings.model_copy(update={"market": settings.market.model_copy(update={"seed": MARKETS[0]})})
    tape = Tape.synthetic(settings, days=days + 2, history_days=HISTORY_DAYS)
    case = Case(seed=1, plan=Plan(seed=1), safety_s=days * DAY_S)
    with lap() as taken:
        verdict = run_case(case, live, each_day(figures), Scene(MARKETS[0], tape, tape.start_us + DAY_US // 2, calm))
    passed(verdict)
    figures.add("positions opened", verdict.opened, "")
    figures.add("speed", verdict.simulated_s / taken.seconds, "simulated s/s")


def each_day(figures: Figures) -> Callable[[str], None]:
    """Hears every event; notes the memory in use when a day is over."""
    day = 0

    def hear(line: str) -> None:
        nonlocal day
        if float(line.split(" ", 1)[0]) >= (day + 1) * DAY_S:
            day += 1
            figures.add(f"resident after day {day}", resident() / MIB, "MiB")
            print(f"day {day}: {resident() / MIB:.0f} MiB", file=sys.stderr)

    return hear


def resident() -> int:
    """Bytes of this process in memory now."""
    pages = Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * 4096


def passed(verdict: Verdict) -> None:
    """A storm that fails measures nothing."""
    if verdict.failures:
        sys.exit(f"seed {verdict.seed} fails: {verdict.failures[0]}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--days", type=int, default=0, help="simulate so many days and show the memory in use, not the speed"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    options = parser.parse_args()
    quiet()
    figures = Figures(__doc__ or "")
    memory(figures, options.days) if options.days else speed(figures)
    figures.show(options.json)


if __name__ == "__main__":
    main()

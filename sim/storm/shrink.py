"""Of a storm that fails, the fewest faults that still break the same invariant."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from msgspec.structs import replace

from sim.storm.case import Case, Verdict
from sim.storm.host import Live
from sim.storm.storm import run_case

STEPS_MOST: Final = 20
"""It gives up after so many runs."""


def shrink(case: Case, live: Live, first: Verdict, say: Callable[[str], None] = lambda text: None) -> Case:
    """The smallest case found, in a bounded number of runs."""
    wanted, runs = first.failures[0][0], 0
    best = case
    changed = True
    while changed and runs < STEPS_MOST:
        changed = False
        for place in range(len(best.plan.faults)):
            faults = best.plan.faults[:place] + best.plan.faults[place + 1 :]
            smaller = replace(best, plan=replace(best.plan, faults=faults))
            runs += 1
            verdict = run_case(smaller, live)
            if verdict.failures and verdict.failures[0][0] == wanted:
                best, changed = smaller, True
                say(f"{len(faults)} faults are enough")
                break
            if runs >= STEPS_MOST:
                break
    return best

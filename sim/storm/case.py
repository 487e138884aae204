"""What a storm is made of and how it ended, as plain records."""

from __future__ import annotations

from typing import Final

import msgspec

from sim.faults import Plan, draw
from sim.storm.scene import Habits, Tempo

SAFETY_S: Final = 7200.0
LIVENESS_S: Final = 120.0


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """What one run is made of. `schedule` seeds the scheduler's order apart from everything else; `tempo`, `habits`: those, and not the seed's."""

    seed: int
    plan: Plan
    safety_s: float = SAFETY_S
    liveness_s: float = LIVENESS_S
    schedule: int = 0
    tempo: Tempo | None = None
    habits: Habits | None = None


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """How a storm ended. `failures`: (invariant, seconds into the run, what was seen), the first one first."""

    seed: int
    failures: tuple[tuple[int, float, str], ...]
    injected: dict[str, int]
    sometimes: dict[str, int]
    opened: int
    exits: dict[str, int]
    """Positions that were closed, by how."""
    lives: int
    events: int
    simulated_s: float
    run_s: float
    trace: str
    decisions: str
    books: str
    """Hash of the exchange's state at the end; how often it was reported counts for nothing."""

    @property
    def passed(self) -> bool:
        """Whether every invariant held."""
        return not self.failures


def case_of(seed: int, profile: str = "full", safety_s: float = SAFETY_S) -> Case:
    """The storm of a seed."""
    return Case(seed=seed, plan=draw(seed, profile, safety_s), safety_s=safety_s)

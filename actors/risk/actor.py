"""The risk room's place in the tree."""

from __future__ import annotations

from actors.memory import durable, remembered
from actors.part import Part
from actors.risk import decide
from actors.risk.state import State, initial
from actors.shell import World

NAME = "risk"


def build(world: World) -> Part[State]:
    """A life that remembers the day's start, the peak, the streak and the signals it has judged."""
    state = initial(world.settings, world.journal.memory(NAME))
    return Part(NAME, state, decide.step, durable, remembered)

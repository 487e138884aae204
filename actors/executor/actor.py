"""The executor's place in the tree. Its hands are `actors.hands`: through the door, onto the wire."""

from __future__ import annotations

from actors.executor import decide
from actors.executor.state import State, initial
from actors.memory import durable, remembered
from actors.part import Part
from actors.shell import World

NAME = "executor"


def build(world: World) -> Part[State]:
    """A life that remembers its trades and orders; it sends nothing before the first reconciliation."""
    state = initial(world.settings, world.journal.memory(NAME))
    return Part(NAME, state, decide.step, durable, remembered)

"""The executor's place in the tree. Its hands are `actors.hands`: through the door, onto the wire."""

from __future__ import annotations

from actors.executor import decide
from actors.part import Part
from actors.shell import World

NAME = "executor"


def build(world: World) -> Part[decide.State]:
    """A life that remembers its trades and orders; it sends nothing before the first reconciliation."""
    state = decide.initial(world.settings, world.journal.memory(NAME))
    return Part(NAME, state, decide.step, decide.durable, decide.remembered)

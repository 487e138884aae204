"""The reconciler's place in the tree. Its hands read the exchange; the truth comes back through the futures feed."""

from __future__ import annotations

from actors.part import Part
from actors.reconciler import decide
from actors.shell import World

NAME = "reconciler"


def build(world: World) -> Part[decide.State]:
    """A life that remembers what we hold: start-up is a reconciliation like any other."""
    state = decide.initial(world.settings, world.journal.memory(NAME))
    return Part(NAME, state, decide.step, decide.durable, decide.remembered)

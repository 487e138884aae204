"""The reconciler's place in the tree. Its hands read the exchange; the truth comes back through the futures feed."""

from __future__ import annotations

from actors.part import Part
from actors.reconciler import decide
from actors.shell import World

NAME = "reconciler"


def build(world: World) -> Part[decide.State]:
    """A fresh life: it adopts the first truth it sees."""
    return Part(NAME, decide.initial(world.settings, None), decide.step)

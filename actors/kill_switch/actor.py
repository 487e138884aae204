"""The kill switch's place in the tree: it reads the latch before anything else."""

from __future__ import annotations

from actors.kill_switch import decide
from actors.part import Part
from actors.shell import World

NAME = "kill_switch"


def build(world: World) -> Part[decide.State]:
    """A life that begins with what is written down."""
    return Part(NAME, decide.initial(world.settings, world.latch_store.read()), decide.step)

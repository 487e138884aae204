"""The strategy's place in the tree."""

from __future__ import annotations

from actors.part import Part
from actors.shell import World
from actors.strategy import decide

NAME = "strategy"


def build(world: World) -> Part[decide.State]:
    """A fresh life: its state is rebuilt from closed candles."""
    return Part(NAME, decide.initial(world.settings.strategy, [s.spot for s in world.settings.symbols]), decide.step)

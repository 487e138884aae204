"""The kill switch's place in the tree: it reads the latch before anything else, and looks each second whether asked."""

from __future__ import annotations

from collections.abc import Callable

import trio

from actors.kill_switch import decide
from actors.part import Part
from actors.shell import World
from protocol.messages.base import Message, from_edge
from protocol.messages.control import KillRequested

NAME = "kill_switch"
LOOK_EVERY_S = 1.0


def build(world: World) -> Part[decide.State]:
    """A life that begins with what is written down."""
    return Part(NAME, decide.initial(world.settings, world.latch_store.read()), decide.step)


async def edge(world: World, deliver: Callable[[Message], None]) -> None:
    """Tell the switch once when a person asked for it from outside this process."""
    while (reason := world.kill_requested()) is None:  # noqa: ASYNC110  the event is outside this process
        await trio.sleep(LOOK_EVERY_S)
    now = world.clock.now_us()
    deliver(from_edge(KillRequested, now, reason, now, reason=reason, by="command line"))

"""The person's place in the tree: looks for requests that were put down outside this process."""

from __future__ import annotations

from collections.abc import Callable

import trio

from actors.memory import durable, remembered
from actors.part import Part
from actors.person import decide
from actors.shell import World
from protocol.messages.base import Message

NAME = "person"
LOOK_EVERY_S = 1.0


def build(world: World) -> Part[decide.State]:
    """A life that remembers a person's halts."""
    state = decide.initial(world.settings, world.journal.memory(NAME))
    return Part(NAME, state, decide.step, durable, remembered)


async def edge(world: World, deliver: Callable[[Message], None]) -> None:
    """Bring each request once a life."""
    seen: set[str] = set()
    while world.requests is not None:
        for asked in world.requests(world.clock.now_us()):
            if asked.request not in seen:
                seen.add(asked.request)
                deliver(asked)
        await trio.sleep(LOOK_EVERY_S)

"""The kill switch's place in the tree: it reads the latch before anything else, and looks out for what is asked outside."""

from __future__ import annotations

from collections.abc import Callable

from actors.kill_switch import decide
from actors.part import Part
from actors.shell import World
from protocol.messages.base import Message, from_edge
from protocol.messages.control import KillRequested, LeaseChanged

NAME = "kill_switch"


def build(world: World) -> Part[decide.State]:
    """A life that begins with what is written down."""
    return Part(NAME, decide.initial(world.settings, world.latch_store.read()), decide.step)


async def edge(world: World, deliver: Callable[[Message], None]) -> None:
    """Tell the switch once when a person asked for it from outside this process, and of every feed lost or regained."""
    asked, held = False, dict[str, bool]()
    while True:
        now = world.clock.now_us()
        reason = world.kill_requested()
        if reason is not None and not asked:
            asked = True
            deliver(from_edge(KillRequested, now, reason, now, reason=reason, by="person"))
        for lease, is_held in world.gate.leases().items():
            if held.get(lease) != is_held:
                deliver(from_edge(LeaseChanged, now, lease, now, lease=lease, held=is_held))
        held = world.gate.leases()
        await world.kill_hint()

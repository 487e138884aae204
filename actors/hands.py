"""Hands on the futures exchange: what leaves goes through the door, and is written down first.

Used by the executor, the kill switch and the reconciler; each has lanes of its own, so none waits for another.
"""

from __future__ import annotations

from collections.abc import Sequence

from actors.shell import World
from protocol.messages.base import Message
from protocol.messages.futures import CancelOrder, EditOrder, EntryBlocked, PlaceOrder, RequestSnapshot


async def send(world: World, wish: Message) -> Sequence[Message]:
    """Carry out one wish. The intent is durable before the door is asked; after its yes nothing stands before the wire."""
    match wish:
        case RequestSnapshot():
            return (await world.futures.snapshot(),)
        case PlaceOrder() | EditOrder() | CancelOrder():
            world.journal.flush()
            admitted = world.door.admit(wish, world.clock.now_us())
            if isinstance(admitted, EntryBlocked):
                return (admitted,)
            return await world.futures.send(admitted)
        case _:
            raise TypeError(f"no hands for {type(wish).__name__}")

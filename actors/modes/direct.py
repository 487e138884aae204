"""Wishes carried out on the exchange itself: what `kill-switch --emergency` and `close` without a daemon have in common.

Knows no plan and no journal.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import trio

from actors.modes.sites import Site
from protocol.messages.base import Message
from protocol.messages.futures import CancelOrder
from protocol.ports import Command


async def carry_out(site: Site, wishes: Sequence[Command], heard: Callable[[Command, Sequence[Message]], None]) -> None:
    """Send `wishes`: cancels in their order and side by side, then the rest the same way. `heard` is told each answer as it comes.

    The rest waits for the cancels' answers a fifth of a time-out at most: a target that rests may stand in a flatten's way, an answer that
    never comes must not.
    """
    patience_s = site.settings.execution.request_timeout_s / 5
    cancels = [wish for wish in wishes if isinstance(wish, CancelOrder)]
    rest = [wish for wish in wishes if not isinstance(wish, CancelOrder)]
    answered, answer = trio.open_memory_channel[None](len(wishes))

    async def send(wish: Command) -> None:
        heard(wish, await site.futures.send(wish))
        answered.send_nowait(None)

    async with trio.open_nursery() as nursery:
        for side_by_side in (cancels, rest):
            for wish in side_by_side:
                nursery.start_soon(send, wish)
                await trio.lowlevel.checkpoint()  # it has begun before the next one does
            with trio.move_on_after(patience_s):
                for _ in side_by_side:
                    await answer.receive()

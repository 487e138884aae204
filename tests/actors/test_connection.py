"""Keeping a stream up: how often it is opened, and when its losses are forgiven."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, nullcontext
from itertools import pairwise

import pytest
import trio
from trio.testing import MockClock

from actors.connection import keep_connected
from protocol.messages.base import Message
from protocol.ports import FeedLost


async def opened_at(lives_s: float, within_s: float) -> list[float]:
    """When a stream that speaks each second and breaks after `lives_s` is opened, in `within_s` seconds."""
    openings: list[float] = []

    @asynccontextmanager
    async def stream() -> AsyncIterator[AsyncIterator[Message | None]]:
        began = trio.current_time()
        openings.append(began)

        async def frames() -> AsyncIterator[Message | None]:
            while trio.current_time() - began < lives_s:
                yield None
                await trio.sleep(1)
            raise FeedLost("broken")

        yield frames()

    async def nothing() -> Sequence[Message]:
        return ()

    with trio.move_on_after(within_s):
        await keep_connected(
            open_stream=stream,
            prepare=nothing,
            lease=nullcontext,
            deliver=lambda message: None,
            lost=lambda why: None,
            changed=lambda state: None,
            idle_s=5,
            jitter=lambda: 0.5,
        )
    return openings


@pytest.mark.parametrize("lives_s", [0, 1, 5])
async def test_a_stream_that_breaks_early_is_opened_ever_more_seldom(autojump_clock: MockClock, lives_s: float) -> None:
    """A first frame is no recovery: at most ten openings in any minute, whatever comes before the break."""
    openings = await opened_at(lives_s, 600)
    assert max(sum(at <= other < at + 60 for other in openings) for at in openings) <= 10


async def test_a_steady_stream_is_forgiven(autojump_clock: MockClock) -> None:
    """After half a minute up the next loss is answered at once again."""
    openings = await opened_at(60, 600)
    assert {round(later - at - 60, 1) for at, later in pairwise(openings)} == {0.5}

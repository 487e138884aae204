"""Keeping a stream up: open, prepare, hold the lease while frames come, back off and open again.

The lease is held exactly while the stream is connected, prepared and fresh; silence longer than the idle limit ends
it like any other loss. Knows nothing of what the frames mean.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager

import trio

from protocol.messages.base import Message
from protocol.ports import FeedLost

BACKOFF_FIRST_S, BACKOFF_MOST_S, JITTER = 0.5, 30.0, 0.2
NO_JITTER = 0.5
"""For whoever is alone."""
STEADY_S = 30.0
"""Up for so long, a stream's losses are forgiven: one that breaks after its first frame must not be opened every half second."""

Stream = AbstractAsyncContextManager[AsyncIterator[Message | None]]


def backoff_s(failures: int, jitter: float) -> float:
    """Half a second, doubling to thirty, within a fifth either way; `jitter` in [0, 1)."""
    return min(BACKOFF_FIRST_S * 2.0 ** (failures - 1), BACKOFF_MOST_S) * (1 + JITTER * (2 * jitter - 1))


def describe(error: BaseException) -> str:
    """An error in one line; a group by its leaves."""
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(describe(inner) for inner in error.exceptions)
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


async def keep_connected(
    *,
    open_stream: Callable[[], Stream],
    prepare: Callable[[], Awaitable[Sequence[Message]]],
    lease: Callable[[], AbstractContextManager[None]],
    deliver: Callable[[Message], None],
    lost: Callable[[str], None],
    changed: Callable[[str], None] = lambda state: None,
    idle_s: float,
    jitter: Callable[[], float],
) -> None:
    """Deliver frames for ever. `prepare` runs on each connection before the lease is taken; `lost(why)` hears each loss of
    what was up (and that it never came up), `changed(state)` every other step of a connection's life: connecting, failed again, connected, up.
    """
    failures = 0
    while True:
        why, was_up = "", failures == 0
        changed("connecting" if not failures else f"connecting, {failures} failed before")
        try:
            async with open_stream() as frames:
                changed("connected and subscribed, filling in what was missed")
                for message in await prepare():
                    deliver(message)
                    await trio.lowlevel.checkpoint()  # years of history must not fill the mailbox before it is read
                with lease(), trio.move_on_after(idle_s) as patience:
                    changed("up")
                    was_up = True
                    up_at = heard_at = trio.current_time()
                    while True:
                        frame = await anext(frames)
                        now = trio.current_time()
                        if now != heard_at:  # frames come in handfuls
                            heard_at = now
                            patience.deadline = now + idle_s
                            if now - up_at >= STEADY_S:
                                failures = 0
                        if frame is not None:
                            deliver(frame)
                why = f"no frame for {idle_s} s although the connection is open"
        except* (FeedLost, StopAsyncIteration) as group:
            why = describe(group)
        failures += 1
        if was_up:
            lost(why)
        else:
            changed(f"not back, {failures} failed: {why}")
        await trio.sleep(backoff_s(failures, jitter()))

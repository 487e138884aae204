"""The futures feed's place in the tree: its streams, its first snapshot, its lease."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial

import trio

from actors.connection import keep_connected
from actors.futures_feed import decide
from actors.futures_feed.market import DAILY
from actors.futures_feed.state import State
from actors.hands import contract_rules
from actors.memory import unsealed
from actors.part import Part
from actors.shell import World
from protocol.messages.base import Message, from_edge
from protocol.messages.control import Woken
from protocol.ports import FeedLost, Journal, JournalFailed
from protocol.units import DAY_US, SECOND_US

NAME = "futures_feed"
DAY_S = DAY_US / SECOND_US
NOTICES_S, UNREAD_S = 300, 30
"""How often notices are read, and how soon again where they could not be."""


def build(world: World) -> Part[State]:
    """A life that remembers the fills it has told, so that none is told twice."""
    memory = world.journal.memory(NAME)
    state = decide.initial(world.settings, memory, lost=world.lost_memory(NAME))
    return Part(NAME, state, decide.step, decide.durable, decide.remembered)


def booked_until(journal: Journal) -> Callable[[], int | None]:
    """Asks how far fills are booked without a gap, see `decide.fills_until`; the last answer while the journal cannot be read."""
    until: int | None = None

    def ask() -> int | None:
        nonlocal until
        with suppress(JournalFailed):  # whoever writes says so; the exchange must be read all the same
            until = decide.fills_until(unsealed(NAME, journal.memory(NAME)))
        return until

    return ask


async def edge(world: World, deliver: Callable[[Message], None]) -> None:
    """Listen to the futures exchange; every connection begins with the contract rules and the truth by REST. Beside it, what is announced."""
    symbols = [s.futures for s in world.settings.symbols]

    async def prepare() -> Sequence[Message]:
        return [await contract_rules(world), await world.futures.snapshot()]

    def lost(why: str) -> None:
        world.alert(NAME, "FEED_STALE", "warning", f"futures stream lost: {why}; entries wait, reconnecting")

    def changed(state: str) -> None:
        world.alert(NAME, "FEED_STATE", "info", f"futures stream: {state}")

    async def daily() -> None:
        while True:
            await trio.sleep(DAY_S)
            now = world.clock.now_us()
            deliver(from_edge(Woken, now, DAILY, now, key=DAILY))

    async def announced() -> None:
        unread = False
        while True:
            try:
                deliver(await world.futures.notices())
                unread = False
            except FeedLost as error:
                if not unread:
                    text = f"the exchange's notices could not be read: {error}; maintenance may come unannounced"
                    world.alert(NAME, "VENUE_MAINT", "warning", text)
                unread = True
            await trio.sleep(UNREAD_S if unread else NOTICES_S)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(announced)
        nursery.start_soon(daily)
        await keep_connected(
            open_stream=partial(world.futures.stream, symbols),
            prepare=prepare,
            lease=partial(world.gate.lease, NAME),
            deliver=deliver,
            lost=lost,
            changed=changed,
            idle_s=world.settings.feeds.futures_idle_s,
            jitter=world.jitter,
        )

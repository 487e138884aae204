"""A world in which nothing happens: enough to build the actors in."""

from __future__ import annotations

from typing import Any

from actors.door import Door
from actors.gate import Gate
from actors.shell import World
from actors.tree import LEASES, ROUTES
from config.settings import Settings
from protocol.ports import LatchState
from tests.fakes.ports import FakeJournal, FakeLatchStore


def idle_world(settings: Settings | None = None) -> World:
    """Ports that nobody uses, a gate that is shut."""
    settings = settings or Settings()
    gate, nobody = Gate(LEASES, LatchState(latched=False)), Any
    ports: dict[str, Any] = dict.fromkeys(("clock", "spot", "futures"), nobody)
    return World(
        settings=settings,
        journal=FakeJournal(),
        latch_store=FakeLatchStore(),
        gate=gate,
        door=Door(settings, gate),
        routes=ROUTES,
        jitter=lambda: 0.5,
        **ports,
    )

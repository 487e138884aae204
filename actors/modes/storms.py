"""The daemon as a storm runs it: the whole tree with its real clients, on a host that can fail it."""

from __future__ import annotations

from functools import partial

import httpx
import numpy as np

from actors.door import Door
from actors.gate import Gate
from actors.gateway.futures import FuturesGateway
from actors.gateway.secret import Secret
from actors.gateway.spot import SpotGateway
from actors.shell import World
from actors.supervisor import Supervisor
from actors.tree import CHILDREN, LEASES, ROUTES
from protocol.kraken.endpoints import FUTURES_WS_PATH, SPOT_WS_PATH
from sim.storm import Host


async def live(host: Host) -> None:
    """One life, until cancelled. Raises GaveUp when the supervisor does."""
    gate = Gate(LEASES, host.book.read(), host.gate_changed)
    async with httpx.AsyncClient(transport=host.transport(), base_url="http://venue") as http:
        world = World(
            settings=host.settings,
            clock=host.clock,
            spot=SpotGateway(http, partial(host.connect, SPOT_WS_PATH), host.clock),
            futures=FuturesGateway(
                http,
                partial(host.connect, FUTURES_WS_PATH),
                host.clock,
                key=host.venue.key,
                secret=Secret(host.venue.secret),
                settings=host.settings.execution,
            ),
            journal=host.book,
            latch_store=host.book,
            gate=gate,
            door=Door(host.settings, gate),
            routes=ROUTES,
            jitter=np.random.default_rng(7).random,
            kill_requested=host.kill_requested,
            watch=host.watch,
        )
        supervisor = Supervisor(CHILDREN, world)
        host.supervised(supervisor.crash, gate.closed_by)
        await supervisor.run()

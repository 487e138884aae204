"""The venue on loopback TCP, for any client of Kraken: REST and WebSocket on one port."""

from __future__ import annotations

from typing import Any, cast

import trio
from hypercorn.config import Config
from hypercorn.trio import serve as hypercorn_serve

from sim.venue.venue import Venue

LOOPBACK = ("127.0.0.1", "localhost", "::1")


async def serve(
    venue: Venue, host: str, port: int, *, task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED
) -> None:
    """Run the venue and listen until cancelled. Started with the address (`http://127.0.0.1:8080`; `port` 0 takes a free one).

    ValueError for an address that others could reach: the keys of the simulated venue are no secret.
    """
    if host not in LOOPBACK:
        raise ValueError(f"{host}: the simulated venue listens on loopback only ({', '.join(LOOPBACK)})")
    config = Config()
    config.bind = [f"{host}:{port}"]
    config.accesslog = None
    config.errorlog = None
    # In seconds of a clock that may run fast: an idle connection would be closed under the client's next request.
    config.keep_alive_timeout = float("inf")
    async with trio.open_nursery() as nursery:
        await nursery.start(venue.run)
        # Hypercorn's type of an ASGI application is narrower than starlette's.
        addresses = await nursery.start(hypercorn_serve, cast(Any, venue.app), config)
        task_status.started(addresses[0])

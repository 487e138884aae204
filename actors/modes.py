"""The composition root: the only file where backtest, paper and live differ.

Ports meet their real or simulated forms here and nowhere else. Everything below is one tree.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial

from sim.clock import SimulatedClock
from sim.engine import Engine
from sim.tape import Tape
from sim.venue.venue import Venue

from actors.gateway.futures import FuturesGateway
from actors.gateway.spot import SpotGateway
from actors.state import StateDirectory
from config.settings import Settings
from protocol.ports import Clock, FuturesExchange, SpotMarket

HOUSEKEEPING_S = 1.0
FLATTEN_TRIES = 30


class Refused(Exception):
    """A safety gate says no; the text says which and what to do."""


@dataclass(frozen=True)
class Site:
    """The world a tree runs in."""

    clock: Clock
    spot: SpotMarket
    futures: FuturesExchange


OpenSite = Callable[[Settings, StateDirectory], AbstractAsyncContextManager[Site]]


def site_of(settings: Settings) -> OpenSite:
    """Which world this mode and environment mean. Raises Refused for what is not implemented end to end."""
    match settings.mode, settings.env:
        case "paper", "dev":
            return simulated_venue
        case mode, env:
            raise Refused(
                f"mode {mode} in env {env} is not open yet: its path has not been run end to end. "
                "Use `run --mode paper` (env dev): nothing real is traded."
            )


@asynccontextmanager
async def simulated_venue(settings: Settings, state: StateDirectory) -> AsyncIterator[Site]:
    """The simulated exchange in memory, spoken to in Kraken's protocol by the real clients."""
    tape = Tape.synthetic(settings)
    saved = state.venue_file.read_bytes() if state.venue_file.exists() else None
    engine = Engine.restore(saved) if saved is not None else Engine.of(settings)
    clock = SimulatedClock(max(engine.last_at, tape.start_us))
    venue = Venue(engine, tape, clock, settings, persist=partial(state.replace, state.venue_file))
    async with venue.open() as connection:
        yield Site(
            clock,
            SpotGateway(connection.http, partial(connection.connect, "/v2"), clock),
            FuturesGateway(
                connection.http, partial(connection.connect, "/ws/v1"), clock, venue.key, venue.secret, settings
            ),
        )
        venue.save()

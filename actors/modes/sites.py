"""The only file where paper and live differ: which world a mode and an environment mean."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial

import trio

from actors.gateway.futures import FuturesGateway
from actors.gateway.secret import Secret
from actors.gateway.spot import SpotGateway
from actors.state import StateDirectory
from config.settings import Settings
from protocol.kraken.endpoints import FUTURES_WS_PATH, SPOT_WS_PATH
from protocol.ports import Clock, FuturesExchange, SpotMarket
from sim.clock import SimulatedClock
from sim.engine import Engine
from sim.tape import Tape
from sim.venue import Venue

SYNTHETIC_DAYS = 365


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
                "Use `run --mode paper --env dev`: nothing real is traded."
            )


@asynccontextmanager
async def simulated_venue(settings: Settings, state: StateDirectory) -> AsyncIterator[Site]:
    """The simulated exchange in memory, spoken to in Kraken's protocol by the real clients."""
    tape = Tape.synthetic(settings, days=SYNTHETIC_DAYS)
    engine = engine_for(settings, tape)
    if state.venue_file.exists():
        engine.restore(state.venue_file.read_bytes())
    clock = SimulatedClock(max(engine.state.now, tape.start_us))
    persist = partial(state.replace, state.venue_file)
    venue = Venue(
        engine,
        tape,
        clock,
        settings.futures_of,
        tick_s=settings.market.tick_s,
        seed=settings.market.seed,
        persist=persist,
    )
    async with trio.open_nursery() as nursery, venue.http_client() as http:
        await nursery.start(venue.run)
        yield Site(
            clock,
            SpotGateway(http, partial(venue.connect, SPOT_WS_PATH), clock),
            FuturesGateway(
                http,
                partial(venue.connect, FUTURES_WS_PATH),
                clock,
                key=venue.key,
                secret=Secret(venue.secret),
                settings=settings.execution,
            ),
        )
        persist(engine.save())
        nursery.cancel_scope.cancel()


def engine_for(settings: Settings, tape: Tape) -> Engine:
    """A new account on the exchange that lists the tape's contracts."""
    return Engine(
        tape.instruments,
        settings.market.equity_usd,
        taker_fee_pct=settings.risk.taker_fee_pct,
        maker_fee_pct=settings.risk.maker_fee_pct,
        slippage_pct=settings.market.slippage_pct,
    )

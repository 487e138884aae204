"""The only file where paper and live differ: which world a mode and an environment mean."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_address
from math import inf
from typing import Final, Protocol
from urllib.parse import urlsplit

import httpx
import structlog
import trio

from actors.gateway.channel import Connect
from actors.gateway.credentials import Credentials, credentials
from actors.gateway.dial import http_client, websocket
from actors.gateway.futures import FuturesGateway
from actors.gateway.nonce import AHEAD_US, Nonces
from actors.gateway.secret import Secret
from actors.gateway.spot import SpotGateway
from actors.modes.account import SYNTHETIC_DAYS, engine_for
from actors.state import StateDirectory
from config.settings import Settings
from protocol.kraken.endpoints import FUTURES_WS_PATH, SPOT_WS_PATH
from protocol.ports import Clock, FeedLost, FuturesExchange, SpotMarket, SteadyClock
from protocol.units import SECOND_US
from sim.clock import ExchangeClock, SimulatedClock, stopwatch
from sim.engine import Engine
from sim.market.tape import Tape
from sim.venue import Venue

log = structlog.get_logger(__name__)

PACE_WATCHED_S: Final = 0.5
"""Real seconds over which the pace of the venue's time is measured at the start."""
PACE_RATIO_MAX: Final = 2.0
REAL_LIMITS: Final = {
    "execution": ("protect_within_s", "process_before_s", "request_timeout_s"),
    "feeds": ("spot_idle_s", "futures_idle_s", "request_timeout_s", "clock_off_max_s"),
    "risk": ("mark_age_max_s", "spot_age_max_s", "basis_skew_max_s"),
    "kill_switch": ("data_failure_s", "not_converging_s"),
}
"""Limits on the network and the machine, not on the market."""
MAKE_ROOM: Final = "make room there or let this user write; `kill-switch --emergency` needs neither"


class Refused(Exception):
    """A safety gate says no; the text says which and what to do."""


class Unready(Exception):
    """The world is not as the settings say; the text says what was found and what to do."""


class StaleState(Exception):
    """Something saved cannot be taken up: the text names the file and says what to do."""


@contextmanager
def taken(state: StateDirectory) -> Iterator[None]:
    """The state is this command's. Raises AlreadyRunning, Unready."""
    try:
        state.own()
    except OSError as error:
        raise Unready(f"{state.path} could not be locked, nothing was done ({error}): {MAKE_ROOM}") from None
    try:
        yield
    finally:
        state.release()


@dataclass(frozen=True)
class Site:
    """The world a tree runs in, and the settings as they hold there."""

    settings: Settings
    clock: SteadyClock
    spot: SpotMarket
    futures: FuturesExchange


class OpenSite(Protocol):
    """Opens a world. `fills_until`: how far fills are booked, see `FuturesGateway`; who books none needs none."""

    def __call__(
        self, settings: Settings, state: StateDirectory, fills_until: Callable[[], int | None] = lambda: None
    ) -> AbstractAsyncContextManager[Site]: ...


def site_of(settings: Settings) -> OpenSite:
    """Which world this mode and environment mean. Raises Refused for what is not open, BadCredentials."""
    match settings.mode, settings.env:
        case "paper", "dev":
            return simulated_venue
        case "live", "dev":
            require_loopback(settings)
            return partial(loopback_venue, credentials(os.environ))
        case "live", _:
            raise Refused(
                "mode live with real money is closed in this version: its gates (symbols, paper period, preflight) do not exist yet. "
                "`run --mode live --env dev` runs the same path against `venue serve`."
            )
        case mode, env:
            raise Refused(
                f"mode {mode} in env {env} is not open yet: its path has not been run end to end. "
                "Use `run --mode paper --env dev`: nothing real is traded."
            )


def pace_of(settings: Settings, unhurried: bool = True) -> float:
    """Seconds of the run's clock in a real second; a simulation in memory that nobody watches need not be `unhurried`."""
    return settings.market.speed if unhurried or settings.mode == "live" else inf


def pace_in(site: Site, settings: Settings) -> float:
    """How many seconds of the site's clock a pause of one second lasts that is meant for the network: as its time-outs are stretched."""
    return site.settings.execution.request_timeout_s / settings.execution.request_timeout_s


def take_up(engine: Engine, state: StateDirectory) -> None:
    """Restore the paper account. Raises StaleState when what was saved is not this version's or of other markets."""
    try:
        engine.restore(state.venue_file.read_bytes())
    except ValueError as error:
        raise StaleState(
            f"{state.venue_file}: this paper account was saved by another version or for other `symbols` ({error}). Start with those; or "
            f"move {state.path} away and begin with a new one"
        ) from None


@asynccontextmanager
async def simulated_venue(
    settings: Settings, state: StateDirectory, fills_until: Callable[[], int | None] = lambda: None
) -> AsyncIterator[Site]:
    """The simulated exchange in memory, spoken to in Kraken's protocol by the real clients."""
    tape = Tape.synthetic(settings, days=SYNTHETIC_DAYS)
    engine = engine_for(settings, tape)
    if state.venue_file.exists():
        take_up(engine, state)
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
    refused: Refused | None = None
    async with trio.open_nursery() as nursery, venue.http_client() as http:
        await nursery.start(venue.run)
        futures = FuturesGateway(
            http,
            partial(venue.connect, FUTURES_WS_PATH),
            clock,
            key=venue.key,
            secret=Secret(venue.secret),
            settings=settings.execution,
            nonce=nonces(state, clock),
            fills_until=fills_until,
        )
        try:
            yield Site(
                settings, clock, SpotGateway(http, partial(venue.connect, SPOT_WS_PATH), clock, settings.feeds), futures
            )
            persist(engine.save())
        except Refused as error:
            refused = error  # as it is: out of the nursery it would come as a group
        nursery.cancel_scope.cancel()
    if refused is not None:
        raise refused


@asynccontextmanager
async def loopback_venue(
    pair: Credentials,
    settings: Settings,
    state: StateDirectory,
    fills_until: Callable[[], int | None] = lambda: None,
    *,
    http: Callable[[str, float], httpx.AsyncClient] = http_client,
    ws: Callable[[str, float], Connect] = websocket,
) -> AsyncIterator[Site]:
    """The whole live path without Kraken: `venue serve` over TCP. Its time is followed, and runs at `market.speed` here too.

    `http` and `ws` dial an address. Raises Unready.
    """
    settings = in_real_time(settings)
    where, pace = settings.exchange, settings.market.speed
    clock = ExchangeClock(0)
    async with http(where.spot_url, pace) as spot_http, http(where.futures_url, pace) as futures_http:
        futures = FuturesGateway(
            futures_http,
            ws(where.futures_ws_url, pace),
            clock,
            key=pair.key,
            secret=pair.secret,
            settings=settings.execution,
            hear_time=clock.hear,
            nonce=nonces(state, clock, pace),
            fills_until=fills_until,
        )
        await _agree_on_time(futures, clock, settings)
        yield Site(
            settings,
            clock,
            SpotGateway(spot_http, ws(where.spot_ws_url, pace), clock, settings.feeds, hear_time=clock.hear),
            futures,
        )


async def _agree_on_time(futures: FuturesGateway, clock: ExchangeClock, settings: Settings) -> None:
    """Set the clock by the exchange's. Two sides at different paces would find each other's news stale: Unready."""
    pace = settings.market.speed
    try:
        await futures.server_time()  # the first answer takes longer: connecting is no part of the measure
        real_s = stopwatch()
        began_us = await futures.server_time()
        await trio.sleep(PACE_WATCHED_S * pace)
        now_us = await futures.server_time()
    except FeedLost as error:
        raise Unready(
            f"{settings.exchange.futures_url} does not answer ({error}): start `venue serve`, or set exchange.* to where it is"
        ) from error
    found = (now_us - began_us) / SECOND_US / real_s()
    if not 1 / PACE_RATIO_MAX <= found / pace <= PACE_RATIO_MAX:
        raise Unready(
            f"the market at {settings.exchange.futures_url} runs at about {found:.3g}x real time and this daemon at {pace:g}x: "
            "give `run` and `venue serve` the same --speed"
        )
    clock.hear(now_us)


def nonces(state: StateDirectory, clock: Clock, pace: float = 1.0) -> Callable[[], int]:
    """Numbers for signed requests, above all that any earlier life on this state used. Written down once a real minute."""
    file = state.nonce_file
    floor = 0
    try:
        floor = int(file.read_text())
    except FileNotFoundError:
        pass
    except (
        OSError,
        ValueError,
    ) as error:  # another user's, or damaged: no reason to sign no flatten; the clock is above what was used
        log.warning("nonce.not_known", file=str(file), why=str(error))
    ahead_us = round(AHEAD_US * max(1.0, pace))

    def keep(kept: int) -> None:
        try:
            state.replace(file, str(kept).encode())
        except OSError as error:  # a full disk must keep no stop and no flatten from being signed
            log.warning("nonce.not_kept", file=str(file), why=str(error))

    return Nonces(clock.now_us, floor, keep, ahead_us).next


def require_loopback(settings: Settings) -> None:
    """Env dev talks to this machine only. Raises Refused."""
    for address in settings.exchange.addresses:
        host = urlsplit(address).hostname or ""
        if host != "localhost" and not _is_loopback(host):
            raise Refused(f"env dev trades on loopback only, and {address} is not: set exchange.* to `venue serve`")


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def in_real_time(settings: Settings) -> Settings:
    """Limits on the network and the machine in real seconds: so many times more of a market that runs so many times as fast."""
    pace = max(1.0, settings.market.speed)
    sections = {}
    for name, limits in REAL_LIMITS.items():
        section = getattr(settings, name)
        sections[name] = section.model_copy(update={limit: getattr(section, limit) * pace for limit in limits})
    return settings.model_copy(update=sections)

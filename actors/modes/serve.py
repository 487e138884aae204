"""The simulated exchange on loopback, for others."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import trio

from actors.gateway.credentials import KEY, SECRET
from actors.modes.account import SYNTHETIC_DAYS, engine_for
from actors.state import StateDirectory
from config.settings import Settings
from protocol.kraken.endpoints import FUTURES_WS_PATH, SPOT_WS_PATH
from sim.clock import PacedClock, SimulatedClock, SystemClock
from sim.engine import Engine
from sim.faults import Plan
from sim.faults.control import PATH as CONTROL
from sim.faults.control import with_control
from sim.faults.wiring import faulty_venue
from sim.market.tape import Tape
from sim.venue.keys import keys
from sim.venue.serve import serve

LOOPBACK = "127.0.0.1"


class BadBooks(Exception):
    """The kept account is none of this venue's; the text says why."""


@dataclass(frozen=True)
class Wanted:
    """What is served: real 15m candles by spot symbol (none: the synthetic market), from `start_ms` on, with these faults.

    `control`: faults can also be switched at `/control/faults`. `books`: the account is kept in this file and read from it, so that
    a venue killed goes on with what it owed.
    """

    data: Mapping[str, Path] = field(default_factory=dict)
    start_ms: int | None = None
    faults: Plan = field(default_factory=Plan)
    control: bool = False
    books: Path | None = None


def serve_venue(settings: Settings, port: int, say: Callable[[str], None], wanted: Wanted | None = None) -> None:
    """Serve the simulated exchange on loopback until SIGINT or SIGTERM; `say` gets the addresses and the keys.

    Raises BadCandleFile, BadPeriod, BadBooks before anything is served, OSError when the port is taken.
    """
    socket.create_server((LOOPBACK, port)).close()  # a port that is taken is known before the market is made
    wanted = wanted or Wanted()
    tape = _tape(settings, wanted)
    if wanted.data:
        settings = settings.model_copy(update={"symbols": tuple(p for p in settings.symbols if p.spot in wanted.data)})

    engine = engine_for(settings, tape, inverse=True)
    persist = None if wanted.books is None else partial(StateDirectory.replace, wanted.books)
    began_us = 0 if wanted.books is None else take_up(engine, wanted.books, settings.market.speed)

    async def main() -> None:
        market = settings.market
        clock = SimulatedClock(max(tape.start_us, began_us))
        venue, faults = faulty_venue(
            wanted.faults,
            engine,
            tape,
            clock,
            settings.futures_of,
            tick_s=market.tick_s,
            seed=market.seed,
            persist=persist,
        )
        if wanted.control:
            venue.app = with_control(venue.app, faults)
        async with trio.open_nursery() as nursery:
            await nursery.start(faults.run)
            address = await nursery.start(serve, venue, LOOPBACK, port)
            if persist is not None:
                persist(engine.save())
            streams = address.replace("http", "ws", 1)
            say(f"spot REST     {address}/0\nspot WS       {streams}{SPOT_WS_PATH}")
            say(f"futures REST  {address}/derivatives/api/v3\nfutures WS    {streams}{FUTURES_WS_PATH}")
            if wanted.control:
                say(f"faults        {address}{CONTROL}")
            say(environment_of(address, venue.key, venue.secret, market.speed))
            trading, reading = keys(market.seed)
            say(f"API key       {trading.name}\nAPI secret    {trading.secret}")
            say(f"read-only     {reading.name}\n       secret {reading.secret}")
            say("simulated: no real money. Ctrl-C stops.")
            with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
                async for _ in signals:
                    nursery.cancel_scope.cancel()

    trio.run(main, clock=PacedClock(settings.market.speed))


def take_up(engine: Engine, books: Path, speed: float) -> int:
    """Restore the account from its file, if there is one; the market's moment now, microseconds UTC.

    An exchange's time does not stop while it is down: since the books were written it went on at `speed`. Raises BadBooks.
    """
    try:
        written_us, data = books.stat().st_mtime_ns // 1000, books.read_bytes()
    except FileNotFoundError:
        return 0
    try:
        engine.restore(data)
    except ValueError as error:
        raise BadBooks(f"--books {books}: {error}") from error
    return engine.state.now + round((SystemClock().now_us() - written_us) * speed)


def _tape(settings: Settings, wanted: Wanted) -> Tape:
    if not wanted.data:
        return Tape.synthetic(settings, days=SYNTHETIC_DAYS)
    served = tuple(pair for pair in settings.symbols if pair.spot in wanted.data)
    return Tape.recorded(settings.model_copy(update={"symbols": served}), wanted.data, start_ms=wanted.start_ms)


def environment_of(address: str, key: str, secret: str, speed: float) -> str:
    """What `run --mode live --env dev` needs to know of a venue, as lines for a shell."""
    streams = address.replace("http", "ws", 1)
    values = {
        "KRAKEN_SMC__EXCHANGE__SPOT_URL": address,
        "KRAKEN_SMC__EXCHANGE__SPOT_WS_URL": f"{streams}{SPOT_WS_PATH}",
        "KRAKEN_SMC__EXCHANGE__FUTURES_URL": address,
        "KRAKEN_SMC__EXCHANGE__FUTURES_WS_URL": f"{streams}{FUTURES_WS_PATH}",
        "KRAKEN_SMC__MARKET__SPEED": f"{speed:g}",
        KEY: key,
        SECRET: secret,
    }
    return "\n".join(f"export {name}={value}" for name, value in values.items())

"""The simulated exchange on loopback, for others."""

from __future__ import annotations

import signal
from collections.abc import Callable

import trio

from actors.gateway.credentials import KEY, SECRET
from actors.modes.sites import SYNTHETIC_DAYS, engine_for
from config.settings import Settings
from protocol.kraken.endpoints import FUTURES_WS_PATH, SPOT_WS_PATH
from sim.clock import PacedClock, SimulatedClock
from sim.tape import Tape
from sim.venue import Venue
from sim.venue.serve import serve


def serve_venue(settings: Settings, port: int, say: Callable[[str], None]) -> None:
    """Serve the simulated exchange on loopback until Ctrl-C; `say` gets the addresses and the key pair."""

    async def main() -> None:
        tape = Tape.synthetic(settings, days=SYNTHETIC_DAYS)
        clock = SimulatedClock(tape.start_us)
        market = settings.market
        venue = Venue(
            engine_for(settings, tape), tape, clock, settings.futures_of, tick_s=market.tick_s, seed=market.seed
        )
        async with trio.open_nursery() as nursery:
            address = await nursery.start(serve, venue, "127.0.0.1", port)
            socket = address.replace("http", "ws", 1)
            say(f"spot REST     {address}/0\nspot WS       {socket}{SPOT_WS_PATH}")
            say(f"futures REST  {address}/derivatives/api/v3\nfutures WS    {socket}{FUTURES_WS_PATH}")
            say(environment_of(address, venue.key, venue.secret, market.speed))
            say(f"API key       {venue.key}\nAPI secret    {venue.secret}\nsimulated: no real money. Ctrl-C stops.")
            with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
                async for _ in signals:
                    nursery.cancel_scope.cancel()

    trio.run(main, clock=PacedClock(settings.market.speed))


def environment_of(address: str, key: str, secret: str, speed: float) -> str:
    """What `run --mode live --env dev` needs to know of a venue, as lines for a shell."""
    socket = address.replace("http", "ws", 1)
    values = {
        "KRAKEN_SMC__EXCHANGE__SPOT_URL": address,
        "KRAKEN_SMC__EXCHANGE__SPOT_WS_URL": f"{socket}{SPOT_WS_PATH}",
        "KRAKEN_SMC__EXCHANGE__FUTURES_URL": address,
        "KRAKEN_SMC__EXCHANGE__FUTURES_WS_URL": f"{socket}{FUTURES_WS_PATH}",
        "KRAKEN_SMC__MARKET__SPEED": f"{speed:g}",
        KEY: key,
        SECRET: secret,
    }
    return "\n".join(f"export {name}={value}" for name, value in values.items())

"""CPU time of a ticker frame from the simulated market through the venue to a client in memory."""

from __future__ import annotations

import json
import sys
import time
from decimal import Decimal
from pathlib import Path

import trio

sys.path.insert(0, str(Path(__file__).parents[1]))

from config.settings import Settings
from protocol.kraken.endpoints import FUTURES_WS_PATH
from sim.clock import PacedClock, SimulatedClock
from sim.engine import Engine
from sim.market.tape import Tape
from sim.venue import Venue

SECONDS = 3000


async def main() -> None:
    """Two contracts, one mark a second each, and the heartbeat, to a client that only reads."""
    settings = Settings()
    tape = Tape.synthetic(settings, days=1, history_days=2)
    clock = SimulatedClock(tape.start_us)
    venue = Venue(Engine(tape.instruments, Decimal(100_000)), tape, clock, settings.futures_of)
    frames = 0

    async def listen() -> None:
        nonlocal frames
        async with venue.connect(FUTURES_WS_PATH) as stream:
            for request in ({"feed": "ticker", "product_ids": list(venue.contracts)}, {"feed": "heartbeat"}):
                await stream.send_message(json.dumps({"event": "subscribe", **request}))
            while True:
                await stream.get_message()
                frames += 1

    async with trio.open_nursery() as nursery:
        await nursery.start(venue.run)
        nursery.start_soon(listen)
        await trio.sleep(5)
        began, before = time.process_time(), frames
        await trio.sleep(SECONDS)
        spent, told = time.process_time() - began, frames - before
        nursery.cancel_scope.cancel()
    print(f"{told} frames, {spent / told * 1e6:.0f} us CPU each; {SECONDS / spent:,.0f} simulated seconds a CPU second")


trio.run(main, clock=PacedClock())

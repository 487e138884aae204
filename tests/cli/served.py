"""`venue serve` as a process of its own, and what its exchange says of the account."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import trio

from actors.gateway.credentials import credentials
from actors.gateway.dial import http_client, websocket
from actors.gateway.futures import FuturesGateway
from config.settings import ExecutionSettings
from protocol.messages.futures import SnapshotSeen
from sim.clock import SystemClock

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Served:
    """A venue that is up: what it printed as variables, and its settings."""

    process: subprocess.Popen[str]
    variables: dict[str, str]
    config: Path

    def truth(self) -> SnapshotSeen:
        """What rests on the exchange, read by a client of our own."""

        async def look() -> SnapshotSeen:
            pair = credentials(self.variables)
            async with http_client(self.variables["KRAKEN_SMC__EXCHANGE__FUTURES_URL"]) as http:
                unused = websocket("ws://unused")
                gateway = FuturesGateway(
                    http, unused, SystemClock(), key=pair.key, secret=pair.secret, settings=ExecutionSettings()
                )
                seen = await gateway.snapshot()
            assert isinstance(seen, SnapshotSeen)
            return seen

        return trio.run(look)


@contextmanager
def serving(config: Path, *options: str, port: int = 0) -> Iterator[Served]:
    """A venue with these settings, from its first word to SIGKILL at the end."""
    words = ["venue", "serve", "--port", str(port), "--config", str(config), *options]
    with subprocess.Popen(
        [sys.executable, "-m", "actors", *words], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as venue:
        try:
            assert venue.stdout is not None
            told: list[str] = []
            while not told or "Ctrl-C stops" not in told[-1]:
                told.append(venue.stdout.readline())
                assert told[-1], "it ended before it said how to stop it"
            pairs = (line.removeprefix("export ").strip().split("=", 1) for line in told if line.startswith("export "))
            yield Served(venue, dict(pairs), config)
        finally:
            venue.kill()

"""`venue serve` as a process: another client can find it, ask it and stop it."""

from __future__ import annotations

import re
import signal
import subprocess
import sys

import httpx


def test_venue_serve() -> None:
    """It prints where it is, answers there in Kraken's envelope, and ends with exit 0 on Ctrl-C."""
    venue = subprocess.Popen(
        [sys.executable, "-m", "actors", "venue", "serve", "--port", "0", "--speed", "10"],
        stdout=subprocess.PIPE,
        text=True,
    )
    with venue:
        assert venue.stdout is not None
        told = ""
        while "Ctrl-C stops" not in told:
            line = venue.stdout.readline()
            assert line, "it ended before it said how to stop it"
            told += line
        address = re.search(r"http://127\.0\.0\.1:\d+", told)
        assert address is not None
        answer = httpx.get(f"{address[0]}/0/public/SystemStatus", timeout=20).json()
        assert answer["result"]["status"] == "online"
        venue.send_signal(signal.SIGINT)
        venue.wait(timeout=20)
    assert "API secret" in told
    assert venue.returncode == 0

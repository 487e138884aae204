"""`venue serve` as a process: another client can find it, ask it and stop it."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from actors.cli.app import app


@contextmanager
def serving(*options: str) -> Iterator[tuple[subprocess.Popen[str], str, str]]:
    """`venue serve` on a free port: the process, what it told, and its address."""
    command = [sys.executable, "-m", "actors", "venue", "serve", "--port", "0", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as venue:
        assert venue.stdout is not None
        told = ""
        while "Ctrl-C stops" not in told:
            line = venue.stdout.readline()
            assert line, "it ended before it said how to stop it"
            told += line
        address = re.search(r"http://127\.0\.0\.1:\d+", told)
        assert address is not None
        yield venue, told, address[0]


def test_venue_serve() -> None:
    """It prints where it is, answers there in Kraken's envelope, and ends with exit 0 on Ctrl-C."""
    with serving("--speed", "10") as (venue, told, address):
        answer = httpx.get(f"{address}/0/public/SystemStatus", timeout=20).json()
        assert answer["result"]["status"] == "online"
        venue.send_signal(signal.SIGINT)
        venue.wait(timeout=20)
    assert "API secret" in told
    assert venue.returncode == 0


def test_who_stops_reading_ends_it_quietly() -> None:
    """`venue serve | head`: no traceback, as every other command ends there."""
    reads, writes = os.pipe()
    os.close(reads)
    command = [sys.executable, "-m", "actors", "venue", "serve", "--port", "0"]
    ended = subprocess.run(command, stdout=writes, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    os.close(writes)
    assert (ended.returncode, ended.stderr) == (1, "")


PLAN = "faults: [{fault: rest.http, code: 503, body: empty, accepted: 'yes', op: send}]"


def test_it_serves_real_candles_under_a_plan_of_faults(tmp_path: Path) -> None:
    """Only the market with a file is there, from the day asked for; the plan is in force and SIGTERM ends it cleanly."""
    candles, plan = tmp_path / "btc.csv", tmp_path / "plan.yaml"
    start_s = 1_767_225_600  # 2026-01-01
    rows = [f"{(start_s + 900 * bar) * 1000},{bar + 100},{bar + 102},{bar + 99},{bar + 101},5" for bar in range(400)]
    candles.write_text("\n".join(["time,open,high,low,close,volume", *rows]))
    plan.write_text(PLAN)
    options = ["--data", f"BTC/USD={candles}", "--start", "2026-01-02", "--faults", str(plan)]
    with serving(*options) as (venue, _told, address):
        with httpx.Client(base_url=address, timeout=20) as http:
            tickers = {
                row["symbol"]: row["markPrice"] for row in http.get("/derivatives/api/v3/tickers").json()["tickers"]
            }
            assert tickers == {"PF_XBTUSD": 196, "PI_XBTUSD": 196}
            assert http.post("/derivatives/api/v3/sendorder").status_code == 503
            assert http.get("/control/faults").status_code == 404, "the switch is off unless asked for"
        venue.send_signal(signal.SIGTERM)
        venue.wait(timeout=20)
    assert venue.returncode == 0


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["--faults", "none.yaml"], "none.yaml: No such file or directory"),
        (["--data", "BTC/USD"], "write SYMBOL=FILE"),
        (["--data", "DOGE/USD=x.csv"], "unknown symbol 'DOGE/USD'"),
        (["--start", "yesterday"], "is no day: write 2023-01-31"),
    ],
)
def test_bad_input_is_one_line(options: list[str], line: str) -> None:
    """Exit 2, and nothing is served."""
    result = CliRunner().invoke(app, ["venue", "serve", *options])
    assert (result.exit_code, line in result.stderr, result.stderr.count("\n")) == (2, True, 1)


def test_a_port_that_is_taken_is_said_so() -> None:
    """With what to do about it."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = CliRunner().invoke(app, ["venue", "serve", "--port", str(port)])
    assert result.exit_code == 2
    assert f"--port {port}: Address already in use; 0 takes a free one" in result.stderr

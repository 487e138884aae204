"""`venue serve` as a process of its own, for clients that nobody here wrote."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from servers import Server

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A venue whose market runs ten times as fast as time, with faults that can be switched."""
    command = [sys.executable, "-m", "actors", "venue", "serve", "--port", "0", "--speed", "10", "--control"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Server.of(process)
        finally:
            process.terminate()
            process.wait(timeout=20)
            if process.stdout is not None:
                process.stdout.close()

"""A daemon as a process of its own, and the commands in this process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

import trio
from typer.testing import CliRunner, Result

from actors.cli.app import app

T = TypeVar("T")
ROOT = Path(__file__).parents[2]
DEADLINE_S = 60.0


def wait_for(look: Callable[[], T | None]) -> T:
    """The first thing that `look` finds. Fails after DEADLINE_S of real time."""

    async def poll() -> T:
        with trio.fail_after(DEADLINE_S):
            while (found := look()) is None:  # noqa: ASYNC110  the event is in another process
                await trio.sleep(0.02)
            return found

    return trio.run(poll)


class Home:
    """One state directory and the commands on it. `variables` are added to the daemon's environment."""

    def __init__(
        self, root: Path, config: Path, mode: str = "paper", variables: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        self.root, self.path = root, root / f"{mode}-dev"
        self.mode, self.variables = mode, variables
        self.options = ("--config", str(config), "--state", str(root))
        self.daemons: list[subprocess.Popen[str]] = []

    def start(self, *options: str) -> subprocess.Popen[str]:
        """`run` as a process."""
        daemon = subprocess.Popen(
            [sys.executable, "-m", "actors", "run", "--mode", self.mode, *self.options, *options],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "COLUMNS": "200", **self.variables},
        )
        self.daemons.append(daemon)
        return daemon

    def command(self, *words: str) -> Result:
        """Any other command, in this process."""
        return CliRunner().invoke(app, [*words, *self.options])

    @property
    def status(self) -> dict[str, Any] | None:
        """What the daemon published last."""
        file = self.path / "status.json"
        return json.loads(file.read_text()) if file.exists() else None

    def page_where(self, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The first published status of which `holds` is true; the daemon must be up meanwhile."""

        def look() -> dict[str, Any] | None:
            assert self.daemons[-1].poll() is None, self.daemons[-1].communicate()
            page = self.status
            return page if page is not None and holds(page) else None

        return wait_for(look)


def ended(daemon: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a daemon that is about to end."""
    out, err = daemon.communicate(timeout=DEADLINE_S)
    return daemon.returncode, out, err


def stop_all(home: Home) -> None:
    """End whatever is still up."""
    for daemon in home.daemons:
        if daemon.poll() is None:
            daemon.kill()
            daemon.communicate()
        for stream in (daemon.stdout, daemon.stderr):
            if stream is not None:
                stream.close()

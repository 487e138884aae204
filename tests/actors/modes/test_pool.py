"""Processes of a command end with it, and say nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trio

ROOT = Path(__file__).parents[3]
WITHIN_S = 60.0
COMMAND = """
import os, signal, sys
from pathlib import Path
from actors.modes.pool import as_they_end

def call(folder):
    Path(folder, str(os.getpid())).touch()
    signal.pause()

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        list(as_they_end(call, [(sys.argv[1],)] * 4, 2))
    except KeyboardInterrupt:
        print("interrupted")
"""
"""A command with two workers, whose calls never end by themselves and leave their process id in a folder."""


@pytest.fixture
def command(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """The command, in a process group of its own as a terminal has it."""
    script, folder = tmp_path / "script.py", tmp_path / "calls"
    script.write_text(COMMAND)
    folder.mkdir()
    process = subprocess.Popen(
        [sys.executable, str(script), str(folder)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    until(lambda: len(list(folder.iterdir())) == 2)
    yield process
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def until(holds: Callable[[], bool]) -> None:
    """Return when it does. Fails after WITHIN_S of real time."""

    async def poll() -> None:
        with trio.fail_after(WITHIN_S):
            while not holds():  # noqa: ASYNC110  the event is in another process
                await trio.sleep(0.02)

    trio.run(poll)


def test_ctrl_c(command: subprocess.Popen[str]) -> None:
    """A terminal interrupts workers as well: the command ends without waiting for their calls, and they write nothing."""
    os.killpg(command.pid, signal.SIGINT)
    assert command.communicate(timeout=WITHIN_S) == ("interrupted\n", "")


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_killed_command_leaves_no_worker(command: subprocess.Popen[str], how: signal.Signals) -> None:
    """Its pipes are closed when the last process that holds them has ended."""
    command.send_signal(how)
    out, err = command.communicate(timeout=WITHIN_S)
    assert (command.returncode, out) == (-how, "")
    assert "Traceback" not in err

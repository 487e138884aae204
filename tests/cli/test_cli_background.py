"""Text for a person never holds up the daemon."""

from __future__ import annotations

import io
import os
import signal
import threading
from pathlib import Path

from homes import Home, ended, stop_all

from actors.cli.background import BackgroundText


class Held(io.StringIO):
    """A terminal held with Ctrl-S until `released`."""

    def __init__(self) -> None:
        super().__init__()
        self.released = threading.Event()

    def write(self, text: str) -> int:
        self.released.wait()
        return super().write(text)


def test_nobody_reads() -> None:
    """Writing where nobody reads returns at once; what found room arrives later in order, and how much did not is told."""
    file = Held()
    text = BackgroundText(file, room=10)
    for number in range(100):
        text.write(f"{number}\n")
    file.released.set()
    text.close()
    *lines, last = file.getvalue().splitlines()
    assert lines == [str(number) for number in range(len(lines))]
    assert len(lines) in (10, 11)
    assert last == f"[{100 - len(lines)} writes left out: nobody read them]"


class Gone(io.StringIO):
    """A pipe whose reader has left."""

    def write(self, text: str) -> int:
        raise BrokenPipeError


def test_the_reader_goes_away() -> None:
    """A closed pipe is no error of the daemon's."""
    text = BackgroundText(Gone(), room=10)
    for _ in range(100):
        text.write("x")
    text.close()


def test_daemon_whose_output_nobody_reads(tmp_path: Path, fast_config: Path) -> None:
    """The market's time goes on when standard output takes no more: a terminal held with Ctrl-S stops no daemon."""
    home = Home(tmp_path / "state", fast_config)
    try:
        daemon = home.start("--log", "json")
        assert daemon.stderr is not None
        os.set_blocking(daemon.stderr.fileno(), False)
        begun = home.page_where(lambda page: page["entries"] == "open")["at"]
        home.page_where(lambda page: page["at"] > begun + 3600 * 10**6)
        daemon.send_signal(signal.SIGTERM)
        assert ended(daemon)[0] == 0
    finally:
        stop_all(home)

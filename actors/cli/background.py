"""Text for a person, written by a thread: a terminal held with Ctrl-S, or a pipe that nobody reads, must not stop trading.

What finds no room is counted and left out; the journal and the log file have it all. Nothing ever waits for the thread but the end.
"""

from __future__ import annotations

import threading
from queue import Full, Queue
from typing import Final, TextIO

ROOM: Final = 4096
"""Writes that may wait."""
LAST_WORDS_S: Final = 2.0
"""How long the end waits for a reader."""


class BackgroundText:
    """As much of a text file as a console and a log need, in front of `file`. Closing it leaves `file` open."""

    def __init__(self, file: TextIO, room: int = ROOM) -> None:
        self._file = file
        self._queue: Queue[str | None] = Queue(room)
        self._left_out = 0
        self._thread = threading.Thread(target=self._write_all, name="text for a person", daemon=True)
        self._thread.start()

    @property
    def encoding(self) -> str:
        """The file's."""
        return self._file.encoding

    def isatty(self) -> bool:
        """Whether a person's terminal is behind it."""
        return self._file.isatty()

    def fileno(self) -> int:
        """The file's, for the size of the terminal."""
        return self._file.fileno()

    def write(self, text: str) -> int:
        """Never waits."""
        try:
            self._own_up(0)
            self._queue.put_nowait(text)
        except Full:
            self._left_out += 1
        return len(text)

    def flush(self) -> None:
        """The thread flushes when nothing waits."""

    def close(self) -> None:
        """Give a reader a moment to take what is left."""
        try:
            self._own_up(LAST_WORDS_S)
            self._queue.put(None, timeout=LAST_WORDS_S)
        except Full:
            return
        self._thread.join(LAST_WORDS_S)

    def _own_up(self, patience_s: float) -> None:
        if self._left_out:
            self._queue.put(f"[{self._left_out} writes left out: nobody read them]\n", patience_s > 0, patience_s)
            self._left_out = 0

    def _write_all(self) -> None:
        try:
            while (text := self._queue.get()) is not None:
                self._file.write(text)
                if self._queue.empty():
                    self._file.flush()
            self._file.flush()
        except (OSError, ValueError):
            # The reader is gone (`| head`, a closed terminal): trading goes on, and there is nobody to tell.
            while self._queue.get() is not None:
                pass

"""Two ends of a byte stream in memory that holds a few pieces and then makes the sender wait, as TCP does; the reader gets all there is.

Trio's own test streams either hold everything or cannot be used after a cancelled send.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Final

import trio

PIECES: Final = 8


@dataclass
class _Way:
    """One direction. Who waits is woken when pieces come or go, or an end closes."""

    pieces: deque[bytes] = field(default_factory=deque)
    sender_gone: bool = False
    reader_gone: bool = False
    readers: list[trio.lowlevel.Task] = field(default_factory=list)
    """One, and a second when somebody else ends the conversation."""
    sender: trio.Event | None = None

    def wake_reader(self) -> None:
        for reader in self.readers:
            trio.lowlevel.reschedule(reader)
        self.readers.clear()

    def wake_sender(self) -> None:
        if self.sender is not None:
            self.sender.set()
            self.sender = None

    async def something(self) -> None:
        """Until a piece comes or an end closes; half of what a `trio.Event` takes."""
        reader = trio.lowlevel.current_task()

        def give_up(_raise_cancel: object) -> trio.lowlevel.Abort:
            self.readers.remove(reader)
            return trio.lowlevel.Abort.SUCCEEDED

        self.readers.append(reader)
        await trio.lowlevel.wait_task_rescheduled(give_up)


class PipeEnd(trio.abc.Stream):
    """One end. Errors are trio's own: BrokenResourceError when the other end is closed, ClosedResourceError when this one is.

    A call that need not wait does not let others run either: a frame a second and symbol passes here for hours.
    """

    def __init__(self, there: _Way, back: _Way) -> None:
        self._there = there
        self._back = back

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Wait for room, then hand over all of `data`."""
        way = self._there
        while True:
            if way.sender_gone:
                raise trio.ClosedResourceError("this end is closed")
            if way.reader_gone:
                raise trio.BrokenResourceError("the other end is closed")
            if len(way.pieces) < PIECES:
                break
            if way.sender is None:
                way.sender = trio.Event()
            await way.sender.wait()
        way.pieces.append(bytes(data))
        way.wake_reader()

    def send_now(self, data: bytes) -> bool:
        """Hand over all of `data` if there is room and someone to read it; False otherwise, and then nothing was sent."""
        way = self._there
        if way.sender_gone or way.reader_gone or len(way.pieces) >= PIECES:
            return False
        way.pieces.append(data)
        way.wake_reader()
        return True

    async def wait_send_all_might_not_block(self) -> None:
        """There is no knowing short of sending."""
        await trio.lowlevel.checkpoint()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """At least one byte, or none at the end of the stream."""
        way = self._back
        while not way.pieces:
            if way.reader_gone:
                raise trio.ClosedResourceError("this end is closed")
            if way.sender_gone:
                return b""
            await way.something()
        piece = way.pieces.popleft() if len(way.pieces) == 1 else b"".join(way.pieces)
        way.pieces.clear()
        if max_bytes is not None and len(piece) > max_bytes:
            way.pieces.appendleft(piece[max_bytes:])
            piece = piece[:max_bytes]
        way.wake_sender()
        return piece

    async def aclose(self) -> None:
        """Idempotent. The other end reads what is on its way, then the end."""
        self._there.sender_gone = True
        self._back.reader_gone = True
        for way in (self._there, self._back):
            way.wake_reader()
            way.wake_sender()
        await trio.lowlevel.checkpoint()


def pipe() -> tuple[PipeEnd, PipeEnd]:
    """Both ends."""
    there, back = _Way(), _Way()
    return PipeEnd(there, back), PipeEnd(back, there)

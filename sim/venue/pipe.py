"""Two ends of a byte stream in memory that holds a few pieces and then makes the sender wait, as TCP does.

Trio's own test streams either hold everything or cannot be used after a cancelled send.
"""

from __future__ import annotations

from typing import Final

import trio

PIECES: Final = 8


class PipeEnd(trio.abc.Stream):
    """One end. Errors are trio's own: BrokenResourceError when the other end is closed, ClosedResourceError when this one is."""

    def __init__(self, send: trio.MemorySendChannel[bytes], receive: trio.MemoryReceiveChannel[bytes]) -> None:
        self._send = send
        self._receive = receive
        self._left = b""

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Wait for room, then hand over all of `data`."""
        await self._send.send(bytes(data))

    async def wait_send_all_might_not_block(self) -> None:
        """There is no knowing short of sending."""
        await trio.lowlevel.checkpoint()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """At least one byte, or none at the end of the stream."""
        while not self._left:
            try:
                self._left = await self._receive.receive()
            except trio.EndOfChannel:
                return b""
        size = len(self._left) if max_bytes is None else max_bytes
        piece, self._left = self._left[:size], self._left[size:]
        return piece

    async def aclose(self) -> None:
        """Idempotent. The other end reads what is on its way, then the end."""
        self._send.close()
        self._receive.close()
        await trio.lowlevel.checkpoint()


def pipe() -> tuple[PipeEnd, PipeEnd]:
    """Both ends."""
    there_send, there_receive = trio.open_memory_channel[bytes](PIECES)
    back_send, back_receive = trio.open_memory_channel[bytes](PIECES)
    return PipeEnd(there_send, back_receive), PipeEnd(back_send, there_receive)

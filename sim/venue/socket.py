"""One WebSocket connection of the venue: a bounded queue out, a reader, a writer. Knows no protocol of Kraken's.

Two forms of the same small interface: trio-websocket over any stream, and an ASGI websocket (under hypercorn).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol

import trio
from starlette.websockets import WebSocket, WebSocketDisconnect
from trio_websocket import ConnectionClosed

from protocol.units import SECOND_US

FRAMES_MOST: Final = 1024
"""A client that is further behind than this is disconnected: better a reconnect than an old price."""
CLOSE_S: Final = 1.0
TOO_SLOW: Final = 1008


class SocketClosed(Exception):
    """The other side is gone."""


class Socket(Protocol):
    """A WebSocket that was accepted."""

    async def receive(self) -> str:
        """The next message. Raises SocketClosed."""
        ...

    async def send(self, text: str) -> None:
        """Raises SocketClosed."""
        ...

    async def close(self, code: int, reason: str) -> None:
        """Idempotent; never raises for a connection that is gone."""
        ...


class TrioSocket:
    """Over a trio-websocket server connection."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    async def receive(self) -> str:
        try:
            message = await self._connection.get_message()
        except ConnectionClosed as end:
            raise SocketClosed from end
        return message if isinstance(message, str) else message.decode(errors="replace")

    async def send(self, text: str) -> None:
        try:
            await self._connection.send_message(text)
        except ConnectionClosed as end:
            raise SocketClosed from end

    async def close(self, code: int, reason: str) -> None:
        await self._connection.aclose(code, reason)


class AsgiSocket:
    """Over starlette's websocket, already accepted."""

    def __init__(self, websocket: WebSocket) -> None:
        self._websocket = websocket

    async def receive(self) -> str:
        try:
            return await self._websocket.receive_text()
        except (WebSocketDisconnect, RuntimeError, KeyError) as end:  # KeyError: a binary frame
            raise SocketClosed from end

    async def send(self, text: str) -> None:
        try:
            await self._websocket.send_text(text)
        except (WebSocketDisconnect, RuntimeError) as end:
            raise SocketClosed from end

    async def close(self, code: int, reason: str) -> None:
        try:
            await self._websocket.close(code, reason)
        except (WebSocketDisconnect, RuntimeError):
            return  # starlette's way of saying that it is closed already


class Outbox:
    """Frames on their way to one client, each with the moment before which it does not leave."""

    def __init__(self, now_us: Callable[[], int], frames_most: int = FRAMES_MOST) -> None:
        self._now_us = now_us
        self._put, self._take = trio.open_memory_channel[tuple[int, str]](frames_most)
        self.scope = trio.CancelScope()
        self.too_slow = False
        self.last_put_us = 0

    def put(self, text: str, due_us: int) -> None:
        """Queue a frame; when there is no room the connection ends."""
        try:
            self._put.send_nowait((due_us, text))
        except trio.WouldBlock:
            self.too_slow = True
            self.scope.cancel()
        self.last_put_us = due_us

    async def drain(self, socket: Socket) -> None:
        """Send what is queued, in order, for ever. Raises SocketClosed."""
        async for due_us, text in self._take:
            await wait_until(self._now_us, due_us)
            await socket.send(text)


async def wait_until(now_us: Callable[[], int], at: int) -> None:
    """Sleep until the clock says `at` (microseconds UTC); not at all when that is over."""
    wait_us = at - now_us()
    if wait_us > 0:
        await trio.sleep(wait_us / SECOND_US)


async def converse(socket: Socket, outbox: Outbox, hear: Callable[[str], None]) -> None:
    """Run one connection to its end: `hear` gets each message, `outbox` is sent. Closes the socket."""
    with outbox.scope:
        async with trio.open_nursery() as nursery:

            async def write() -> None:
                try:
                    await outbox.drain(socket)
                except SocketClosed:
                    nursery.cancel_scope.cancel()

            nursery.start_soon(write)
            try:
                while True:
                    hear(await socket.receive())
            except SocketClosed:
                nursery.cancel_scope.cancel()
    code, reason = (TOO_SLOW, "too slow") if outbox.too_slow else (1000, "")
    # The venue may itself be ending: closing politely is bounded and not given up for that.
    with trio.move_on_after(CLOSE_S, shield=True):
        await socket.close(code, reason)

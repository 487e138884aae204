"""One WebSocket connection of the venue: a bounded queue out, a reader, a writer. Knows no protocol of Kraken's.

Two forms of the same small interface: over a pipe in memory, and an ASGI websocket (under hypercorn).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

import trio
from starlette.websockets import WebSocket, WebSocketDisconnect
from wsproto import ConnectionType, WSConnection
from wsproto.connection import ConnectionState
from wsproto.events import AcceptConnection, CloseConnection, Event, Message, Ping, Request
from wsproto.utilities import LocalProtocolError, RemoteProtocolError

from protocol.units import SECOND_US
from sim.venue.pipe import PipeEnd

FRAMES_MOST: Final = 1024
"""A client that is further behind than this is disconnected: better a reconnect than an old price."""
CLOSE_S: Final = 1.0
TEXT: Final = 0x81
"""First byte of a frame that is a whole text message."""
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

    def send_now(self, text: str) -> bool:
        """Send without waiting, if that is possible; False otherwise, and then nothing was sent."""
        ...

    async def close(self, code: int, reason: str) -> None:
        """Idempotent; never raises for a connection that is gone."""
        ...


class PipeSocket:
    """The server's end of a WebSocket over a pipe in memory.

    wsproto shakes hands and hears; frames of text, which are nearly all there is, are written here: a length and the text.
    """

    def __init__(self, stream: PipeEnd) -> None:
        self._stream = stream
        self._protocol = WSConnection(ConnectionType.SERVER)
        self._heard: deque[Event] = deque()
        self._text = ""

    async def accept(self) -> None:
        """Shake hands. Raises SocketClosed when the client leaves meanwhile."""
        if not isinstance(await self._hear(), Request):
            raise SocketClosed
        await self._say(AcceptConnection())

    async def receive(self) -> str:
        """The next message. Raises SocketClosed."""
        while True:
            event = await self._hear()
            if isinstance(event, Message):
                self._text += event.data if isinstance(event.data, str) else bytes(event.data).decode(errors="replace")
                if event.message_finished:
                    whole, self._text = self._text, ""
                    return whole
            elif isinstance(event, Ping):
                await self._say(event.response())
            elif isinstance(event, CloseConnection):
                await self._say(event.response())
                raise SocketClosed

    async def send(self, text: str) -> None:
        """Raises SocketClosed."""
        try:
            await self._stream.send_all(text_frame(text))
        except (trio.BrokenResourceError, trio.ClosedResourceError) as end:
            raise SocketClosed from end

    def send_now(self, text: str) -> bool:
        """Send if there is room."""
        return self._stream.send_now(text_frame(text))

    async def close(self, code: int, reason: str) -> None:
        """Idempotent; never raises for a connection that is gone."""
        try:
            if self._protocol.state is ConnectionState.OPEN:
                await self._say(CloseConnection(code, reason))
                while not isinstance(await self._hear(), CloseConnection):
                    pass
        except SocketClosed:
            pass  # it left without a word
        finally:
            await self._stream.aclose()

    async def _hear(self) -> Event:
        while not self._heard:
            try:
                data = await self._stream.receive_some()
            except (trio.BrokenResourceError, trio.ClosedResourceError) as end:
                raise SocketClosed from end
            if not data:
                raise SocketClosed
            try:
                self._protocol.receive_data(data)
                self._heard.extend(self._protocol.events())
            except RemoteProtocolError as nonsense:
                raise SocketClosed from nonsense
        return self._heard.popleft()

    async def _say(self, event: Event) -> None:
        try:
            await self._stream.send_all(self._protocol.send(event))
        except (trio.BrokenResourceError, trio.ClosedResourceError, LocalProtocolError) as end:
            raise SocketClosed from end


def text_frame(text: str) -> bytes:
    """A whole text message of a server: unmasked, in one frame (RFC 6455, 5.2)."""
    data = text.encode()
    size = len(data)
    if size < 126:
        return bytes((TEXT, size)) + data
    if size < 1 << 16:
        return bytes((TEXT, 126)) + size.to_bytes(2) + data
    return bytes((TEXT, 127)) + size.to_bytes(8) + data


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

    def send_now(self, text: str) -> bool:
        """Over TCP sending may always have to wait."""
        return False

    async def close(self, code: int, reason: str) -> None:
        try:
            await self._websocket.close(code, reason)
        except (WebSocketDisconnect, RuntimeError):
            return  # starlette's way of saying that it is closed already


class Outbox:
    """Frames on their way to one client, each with the moment before which it does not leave.

    What may leave at once, with nothing before it, is sent where it is said: most frames need no other task.
    """

    def __init__(self, now_us: Callable[[], int], frames_most: int = FRAMES_MOST) -> None:
        self._now_us = now_us
        self._frames_most = frames_most
        self._waiting: deque[tuple[int, str]] = deque()
        self._more = trio.Event()
        self._socket: Socket | None = None
        self.scope = trio.CancelScope()
        self.too_slow = False
        self.last_put_us = 0

    def put(self, text: str, due_us: int) -> None:
        """Send or queue a frame; when there is no room the connection ends."""
        self.last_put_us = due_us
        if not self._waiting and self._socket is not None and due_us <= self._now_us() and self._socket.send_now(text):
            return
        if len(self._waiting) >= self._frames_most:
            self.too_slow = True
            self.scope.cancel()
            return
        self._waiting.append((due_us, text))
        self._more.set()

    async def drain(self, socket: Socket) -> None:
        """Send what is queued, in order, for ever. Raises SocketClosed."""
        self._socket = socket
        while True:
            while self._waiting:
                due_us, text = self._waiting[0]  # it counts as waiting until it is sent
                await wait_until(self._now_us, due_us)
                await socket.send(text)
                self._waiting.popleft()
            self._more = trio.Event()
            await self._more.wait()


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

"""A clock, a scripted WebSocket server over memory streams, and a REST stub: what the gateway's tests talk to."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import msgspec
import trio
import trio.testing
from trio_websocket import ConnectionClosed, WebSocketConnection, wrap_client_stream, wrap_server_stream

from protocol.kraken.wire import encode

START_US = 1_767_571_200_000_000
Script = Callable[[WebSocketConnection], Awaitable[None]]


class TrioClock:
    """Microseconds since START_US by trio's clock, which the tests let jump."""

    def now_us(self) -> int:
        """See protocol.ports.Clock."""
        return START_US + round(trio.current_time() * 1_000_000)


def server(script: Script) -> Callable[[], Any]:
    """A factory of connections to a server that runs `script` and then hangs up."""

    async def serve(stream: trio.abc.Stream) -> None:
        async with trio.open_nursery() as nursery:
            request = await wrap_server_stream(nursery, stream)
            socket = await request.accept()
            try:
                await script(socket)
            except ConnectionClosed:
                return  # the client left
            await socket.aclose()

    @asynccontextmanager
    async def connect() -> AsyncIterator[WebSocketConnection]:
        near, far = trio.testing.memory_stream_pair()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve, far)
            socket = await wrap_client_stream(nursery, near, "venue", "/")
            async with socket:
                yield socket
            nursery.cancel_scope.cancel()

    return connect


@dataclass
class Listened:
    """A socket whose ping frames are noted, with trio's time, before they go out."""

    socket: WebSocketConnection
    pings: list[float]

    async def send_message(self, message: str | bytes) -> None:
        """As it is."""
        await self.socket.send_message(message)

    async def get_message(self) -> str | bytes:
        """As it comes."""
        return await self.socket.get_message()

    async def ping(self, payload: bytes) -> None:
        """Note it and send it."""
        self.pings.append(trio.current_time())
        await self.socket.ping(payload)


def listened(connect: Callable[[], Any], pings: list[float]) -> Callable[[], Any]:
    """A factory of the same connections that notes ping frames in `pings`."""

    @asynccontextmanager
    async def opened() -> AsyncIterator[Listened]:
        async with connect() as socket:
            yield Listened(socket, pings)

    return opened


async def say(socket: WebSocketConnection, *frames: object) -> None:
    """Send frames: objects as JSON, text as it is."""
    for frame in frames:
        await socket.send_message(frame if isinstance(frame, str) else encode(frame).decode())


async def hear(socket: WebSocketConnection) -> dict[str, Any]:
    """The next request of the client, decoded."""
    value: dict[str, Any] = msgspec.json.decode(await socket.get_message())
    return value


async def hold(socket: WebSocketConnection) -> None:
    """Keep the connection until the client leaves, listening to whatever it says."""
    while True:
        await socket.get_message()


def rest(handler: Callable[[httpx.Request], Any]) -> httpx.AsyncClient:
    """A client whose requests are answered by `handler` (a payload, a Response, an exception, or an awaitable of them)."""

    async def answer(request: httpx.Request) -> httpx.Response:
        said = handler(request)
        if isinstance(said, Awaitable):
            said = await said
        if isinstance(said, Exception):
            raise said
        return said if isinstance(said, httpx.Response) else httpx.Response(200, content=encode(said))

    return httpx.AsyncClient(transport=httpx.MockTransport(answer), base_url="http://venue")


def nothing(_request: httpx.Request) -> Exception:
    """A REST side that is not to be asked."""
    return AssertionError("no request was expected")


async def drain(gateway: Any, symbols: Sequence[str], said: list[Any]) -> None:
    """Everything a stream says, into `said`, until it raises."""
    async with gateway.stream(symbols) as frames:
        async for item in frames:
            said.append(item)


async def forever(_request: httpx.Request) -> None:
    """An answer that never comes."""
    await trio.sleep_forever()

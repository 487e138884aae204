"""The clients over real transports: loopback TCP for WebSocket, an ASGI application in memory for REST."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import trio
from gateway_fakes import START_US, TrioClock, hear, hold, nothing, rest, say
from trio_websocket import WebSocketRequest, serve_websocket

from actors.gateway.dial import http_client, websocket
from actors.gateway.spot import SpotGateway
from protocol.kraken import spot
from protocol.kraken.wire import encode


async def test_a_stream_runs_over_a_dialled_connection() -> None:
    """The factory's connection serves the whole conversation, and leaving it says goodbye."""

    async def venue(request: WebSocketRequest) -> None:
        socket = await request.accept()
        asked = await hear(socket)
        await say(socket, spot.write_spot_subscribed("BTC/USD", 15, asked["req_id"], START_US))
        await say(socket, spot.write_spot_heartbeat())
        await hold(socket)

    async with trio.open_nursery() as nursery:
        listening = await nursery.start(serve_websocket, venue, "127.0.0.1", 0, None)
        dialled = websocket(f"ws://127.0.0.1:{listening.port}/v2")
        async with SpotGateway(rest(nothing), dialled, TrioClock()).stream(["BTC/USD"]) as frames:
            assert await anext(frames) is None
        nursery.cancel_scope.cancel()


async def test_rest_runs_over_an_application_in_memory() -> None:
    """As the simulated venue is reached."""

    async def venue(scope: dict[str, Any], _receive: object, send: Callable[[Any], Awaitable[None]]) -> None:
        assert scope["path"] == "/0/public/Time"
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": encode(spot.write_time(START_US))})

    transport = httpx.ASGITransport(app=venue)  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url="http://venue") as http:
        gateway = SpotGateway(http, websocket("ws://unused"), TrioClock())

        assert await gateway.server_time() == START_US


async def test_the_client_has_no_deadline_of_its_own() -> None:
    """Two deadlines on one request would race; the gateway's is the one."""
    async with http_client("https://api.kraken.com") as http:
        assert http.timeout == httpx.Timeout(None)
        assert http.base_url == "https://api.kraken.com"

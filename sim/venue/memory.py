"""An httpx transport to an ASGI application in this process, for requests and answers that are whole: half of what httpx's own one takes.

Knows no path and no exchange.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

import httpx


class InMemory(httpx.AsyncBaseTransport):
    """What the application raises is raised to the client."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """One request, and its answer."""
        body = await request.aread()
        if "trace" in request.extensions:
            for word in ("http11.send_request_headers.started", "http11.send_request_body.complete"):
                await request.extensions["trace"](word, {})  # as httpcore says it
        status, headers, parts = 0, [], list[bytes]()

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: MutableMapping[str, Any]) -> None:
            nonlocal status, headers
            if message["type"] == "http.response.start":
                status, headers = message["status"], message["headers"]
            else:
                parts.append(message.get("body", b""))

        url = request.url
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": request.method,
            "headers": [(name.lower(), value) for name, value in request.headers.raw],
            "scheme": url.scheme,
            "path": url.path,
            "raw_path": url.raw_path.partition(b"?")[0],
            "query_string": url.query,
            "server": (url.host, url.port),
            "client": ("127.0.0.1", 0),
            "root_path": "",
        }
        await self._app(scope, receive, send)
        return httpx.Response(status, headers=headers, stream=httpx.ByteStream(b"".join(parts)))

"""HTTP/1.1 over connections of its own, as a transport of httpx: a request is one write, its answer is read whole.

An order waits for every turn the scheduler gives to others meanwhile: httpx's own transport takes six of them, this one three, and half
the processor time. h11 knows the protocol and trio the connections; here is only which ones are kept. Knows no exchange, retries nothing.
"""

from __future__ import annotations

import ssl
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

import h11
import httpx
import trio

HEADERS_NEXT: Final = "http11.send_request_headers.started"
BODY_SENT: Final = "http11.send_request_body.complete"
HEADERS_READ: Final = "http11.receive_response_headers.complete"
"""httpcore's words for a request that has a connection and is about to leave, for one on the wire, for an answer that has begun. Its
`trace` extension hears them here too.
"""

READ_MOST: Final = 65_536
HEADERS_MOST: Final = 102_400
"""Bytes of an answer's headers, as httpcore has it; proxies in between write long ones."""
PORTS: Final = {"http": 80, "https": 443}

Trace = Callable[[str, dict[str, Any]], Awaitable[None]]
Stream = trio.SocketStream | trio.SSLStream[trio.SocketStream]


async def _unheard(_event: str, _info: dict[str, Any]) -> None:
    """For requests that nobody follows."""


class Direct(httpx.AsyncBaseTransport):
    """Connections to any hosts, each used by one request at a time and kept for `kept_open_s` seconds of trio's clock after its last.

    Raises httpx.TransportError. Deadlines are the caller's.
    """

    def __init__(self, kept_open_s: float) -> None:
        self._kept_open_s = kept_open_s
        self._tls = httpx.create_ssl_context()
        self._tls.set_alpn_protocols(["http/1.1"])
        self._idle: dict[tuple[str, str, int], deque[_Connection]] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """One request, and its whole answer."""
        url = request.url
        place = url.scheme, url.host, url.port or PORTS[url.scheme]
        idle = self._idle.setdefault(place, deque())
        connection = await self._kept(idle) or await self._opened(*place)
        try:
            async with _as_httpx_says():
                answer = await connection.carry(request)
        except BaseException:
            await trio.aclose_forcefully(connection.stream)
            raise
        if connection.reusable():
            connection.idle_since = trio.current_time()
            idle.append(connection)
        else:
            await trio.aclose_forcefully(connection.stream)
        return answer

    async def aclose(self) -> None:
        """Nothing is kept any longer."""
        for idle in self._idle.values():
            while idle:
                await trio.aclose_forcefully(idle.pop().stream)

    async def _kept(self, idle: deque[_Connection]) -> _Connection | None:
        """The connection last used, if the other side has not closed it; those kept for too long are closed."""
        oldest = trio.current_time() - self._kept_open_s
        while idle and idle[0].idle_since < oldest:
            await trio.aclose_forcefully(idle.popleft().stream)
        while idle:
            connection = idle.pop()
            if not connection.heard():
                return connection
            await trio.aclose_forcefully(connection.stream)
        return None

    async def _opened(self, scheme: str, host: str, port: int) -> _Connection:
        try:
            if scheme == "http":
                return _Connection(await trio.open_tcp_stream(host, port))
            stream = await trio.open_ssl_over_tcp_stream(host, port, https_compatible=True, ssl_context=self._tls)
            try:
                await stream.do_handshake()
            except BaseException:
                await trio.aclose_forcefully(stream)
                raise
            return _Connection(stream)
        except (OSError, trio.BrokenResourceError, ssl.CertificateError) as error:
            raise httpx.ConnectError(str(error.__cause__ or error)) from error


class Client(httpx.AsyncClient):
    """A client over one transport that does nothing a browser does: no cookies, no redirects, no credentials of its own, nothing streamed.

    Who speaks with one interface of one exchange needs none of that, and it took a fifth of a request's time.
    """

    def __init__(self, base_url: str, transport: httpx.AsyncBaseTransport, headers: Mapping[str, str]) -> None:
        self._way = transport
        super().__init__(base_url=base_url, timeout=None, transport=transport, headers=headers)

    async def send(self, request: httpx.Request, **_: object) -> httpx.Response:
        """One request, heard by the hooks, and its whole answer."""
        for hook in self.event_hooks["request"]:
            await hook(request)
        answer = await self._way.handle_async_request(request)
        answer.request = request
        await answer.aread()
        for hook in self.event_hooks["response"]:
            await hook(answer)
        return answer


class _Connection:
    """One connection and how far its conversation got."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.idle_since = 0.0
        self._talk = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEADERS_MOST)

    async def carry(self, request: httpx.Request) -> httpx.Response:
        """Send the request in one piece and read its answer."""
        talk, body = self._talk, await request.aread()
        trace: Trace = request.extensions.get("trace", _unheard)
        head = h11.Request(method=request.method, target=request.url.raw_path, headers=request.headers.raw)
        pieces = [talk.send(head), talk.send(h11.Data(data=body)) if body else b"", talk.send(h11.EndOfMessage())]
        await trace(HEADERS_NEXT, {})
        await self.stream.send_all(b"".join(piece for piece in pieces if piece))
        await trace(BODY_SENT, {})
        parts: list[bytes] = []
        while not isinstance(event := await self._event(), h11.EndOfMessage):
            if isinstance(event, h11.Data):
                parts.append(bytes(event.data))
            elif isinstance(event, h11.Response):
                begun = event
                await trace(HEADERS_READ, {})
        return httpx.Response(
            begun.status_code, headers=begun.headers.raw_items(), stream=httpx.ByteStream(b"".join(parts))
        )

    async def _event(self) -> object:
        while (event := self._talk.next_event()) is h11.NEED_DATA:
            self._talk.receive_data(bytes(await self.stream.receive_some(READ_MOST)))
        return event

    def reusable(self) -> bool:
        """Whether both sides are done and mean to go on, and nothing came that nobody asked for."""
        talk = self._talk
        if (talk.our_state, talk.their_state) != (h11.DONE, h11.DONE) or talk.trailing_data[0]:
            return False
        talk.start_next_cycle()
        return True

    def heard(self) -> bool:
        """Whether there is something to read, which between two requests is the other side's goodbye."""
        stream = self.stream
        transport = stream.transport_stream if isinstance(stream, trio.SSLStream) else stream
        return transport.socket.is_readable()


@asynccontextmanager
async def _as_httpx_says() -> AsyncIterator[None]:
    """The errors of a connection by the names that users of httpx know."""
    try:
        yield
    except h11.RemoteProtocolError as error:
        raise httpx.RemoteProtocolError(str(error)) from error
    except h11.LocalProtocolError as error:
        raise httpx.LocalProtocolError(str(error)) from error
    except (OSError, trio.BrokenResourceError, trio.ClosedResourceError) as error:
        raise httpx.NetworkError(str(error)) from error

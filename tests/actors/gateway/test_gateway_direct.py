"""Requests over connections of our own, against a server that reads and answers bytes."""

from __future__ import annotations

import gzip
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from trio.testing import wait_all_tasks_blocked

from actors.gateway.dial import http_client
from actors.gateway.direct import BODY_SENT, HEADERS_NEXT, HEADERS_READ, Client, Direct

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Server:
    """Answers each request on each connection with the next of `answers`, the last of them for ever; empty: it hangs up."""

    def __init__(self, answers: Sequence[bytes | Sequence[bytes]]) -> None:
        self._answers = list(answers)
        self.port = 0
        self.opened = 0
        self.got: list[bytes] = []
        self.asked = trio.Event()
        self.streams: list[Any] = []

    async def serve(self, stream: Any) -> None:
        self.opened += 1
        self.streams.append(stream)
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):  # the client left
            while request := await stream.receive_some():
                self.got.append(request)
                self.asked.set()
                answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
                for piece in [answer] if isinstance(answer, bytes) else answer:
                    await stream.send_all(piece)
                    await trio.lowlevel.checkpoint()
                if not answer or b"close" in answer:
                    break
            await stream.aclose()


@asynccontextmanager
async def served(*answers: bytes | Sequence[bytes]) -> AsyncIterator[tuple[Server, httpx.AsyncClient]]:
    """A server on loopback and a client of it."""
    server = Server(answers)
    async with trio.open_nursery() as nursery:
        listen = partial(trio.serve_tcp, server.serve, 0, host="127.0.0.1")
        (listener,) = await nursery.start(listen)
        server.port = listener.socket.getsockname()[1]
        base_url = f"http://127.0.0.1:{server.port}"
        async with Client(base_url, Direct(10.0), {"User-Agent": "test"}) as client:
            yield server, client
        nursery.cancel_scope.cancel()


async def test_a_request_is_one_write_and_its_steps_are_told_in_order() -> None:
    """Headers and body leave together; who follows a request hears of it before, after, and when the answer begins."""
    told: list[str] = []

    async def trace(event: str, _info: Any) -> None:
        told.append(event)

    async with served(OK) as (server, client):
        answer = await client.post("/orders", content=b"size=1", extensions={"trace": trace})
    assert (answer.status_code, answer.content) == (200, b"ok")
    (request,) = server.got
    assert request.startswith(b"POST /orders HTTP/1.1\r\n")
    assert request.endswith(b"\r\n\r\nsize=1")
    assert told == [HEADERS_NEXT, BODY_SENT, HEADERS_READ]


async def test_a_client_does_nothing_a_browser_does() -> None:
    """It follows no redirect and gives no cookie back; hooks hear the request and its answer, which knows its request."""
    heard: list[object] = []

    async def hear(said: object) -> None:
        heard.append(said)

    moved = b"HTTP/1.1 302 Found\r\nLocation: /there\r\nSet-Cookie: a=b\r\nContent-Length: 0\r\n\r\n"
    async with served(moved) as (server, client):
        client.event_hooks = {"request": [hear], "response": [hear]}
        answers = [await client.get("/here") for _ in range(2)]
    assert [answer.status_code for answer in answers] == [302, 302]
    assert heard == [answers[0].request, answers[0], answers[1].request, answers[1]]
    assert all(b"ser-Agent: test\r\n" in request and b"ookie" not in request for request in server.got)


async def test_one_connection_serves_requests_in_turn_and_two_at_once_have_one_each() -> None:
    """What was opened is kept, up to as many as were needed at once."""
    async with served(OK) as (server, client):
        for _ in range(3):
            await client.get("/")
        assert server.opened == 1
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.get, "/")
            nursery.start_soon(client.get, "/")
        await client.get("/")
        assert server.opened == 2


@pytest.mark.parametrize(
    "answer",
    [
        OK,
        [b"HTTP/1.1 200 OK\r\nContent-", b"Length: 2\r\n\r\n", b"o", b"k"],
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n1\r\nk\r\n0\r\n\r\n",
        [b"HTTP/1.1 200 OK\r\nContent-Security-Policy: %s" % (b"a" * 40_000), b"\r\nContent-Length: 2\r\n\r\nok"],
        b"HTTP/1.1 100 Continue\r\n\r\n" + OK,
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%s"
        % (len(gzip.compress(b"ok", mtime=0)), gzip.compress(b"ok", mtime=0)),
    ],
)
async def test_an_answer_is_whole_however_it_is_cut_and_coded(answer: bytes | Sequence[bytes]) -> None:
    """By length, in pieces, in chunks, after a word in between, until the end of the connection, compressed."""
    async with served(answer) as (_, client):
        assert [(await client.get("/")).text for _ in range(2)] == ["ok", "ok"]


async def close_all(server: Server) -> None:
    await wait_all_tasks_blocked()
    for stream in server.streams:
        await stream.aclose()


async def say_more(server: Server) -> None:
    await wait_all_tasks_blocked()
    await server.streams[-1].send_all(OK)


@pytest.mark.parametrize("between", [close_all, say_more])
async def test_a_connection_on_which_something_was_heard_is_not_used_again(
    between: Callable[[Server], Awaitable[None]],
) -> None:
    """Closed by the other side, or with an answer nobody asked for: the next request gets a new one, and its own answer."""
    async with served(OK, OK, OK.replace(b"ok", b"no")) as (server, client):
        await client.get("/")
        await between(server)
        assert (await client.get("/")).text == "ok"
        assert server.opened == 2


async def test_an_answer_that_came_with_the_last_one_is_no_answer_to_the_next() -> None:
    """A connection that says more than it was asked is given up."""
    async with served(OK + OK.replace(b"ok", b"no"), OK) as (server, client):
        assert [(await client.get("/")).text for _ in range(2)] == ["ok", "ok"]
        assert server.opened == 2


async def test_a_connection_is_kept_for_its_time(autojump_clock: trio.testing.MockClock) -> None:
    """In seconds of the run's clock since its last request."""
    async with served(OK) as (server, client):
        await client.get("/")
        await trio.sleep(9)
        await client.get("/")
        await trio.sleep(11)
        await client.get("/")
        assert server.opened == 2


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"", httpx.RemoteProtocolError),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nx-close: 1\r\n\r\nok", httpx.RemoteProtocolError),
        (b"no HTTP at all, close\r\n\r\n", httpx.RemoteProtocolError),
    ],
)
async def test_half_an_answer_is_an_error_by_its_httpx_name(answer: bytes, error: type[Exception]) -> None:
    """And the connection is gone."""
    async with served(answer, OK) as (server, client):
        with pytest.raises(error):
            await client.get("/")
        assert (await client.get("/")).text == "ok"
        assert server.opened == 2


async def test_nobody_there_is_an_error_by_its_httpx_name() -> None:
    """As is a server that does not speak TLS."""
    async with served(OK) as (server, client):
        with pytest.raises(httpx.ConnectError):
            await client.get(f"https://127.0.0.1:{server.port}/")
    with pytest.raises(httpx.ConnectError):
        async with httpx.AsyncClient(transport=Direct(10.0)) as client:
            await client.get(f"http://127.0.0.1:{server.port}/")


async def test_a_request_that_was_given_up_takes_its_connection_with_it() -> None:
    """Its answer may still come, and must not be taken for another's."""
    async with served([b"HTTP/1.1 200 OK\r\n"], OK) as (server, client):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.get, "/")
            await server.asked.wait()  # given up before it was read, it would leave its half answer to the next
            nursery.cancel_scope.cancel()
        assert (await client.get("/")).text == "ok"
        assert server.opened == 2


def certificate(directory: Path) -> Path:
    """A certificate for localhost that signed itself, with its key, as a file."""
    key, begins, ends = ec.generate_private_key(ec.SECP256R1()), datetime(2000, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)  # fmt: skip
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), begins, ends)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, SHA256())
    )
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) + made.public_bytes(Encoding.PEM)
    file = directory / "localhost.pem"
    file.write_bytes(pem)
    return file


@pytest.mark.parametrize(("trusted", "host"), [(True, "localhost"), (True, "127.0.0.1"), (False, "localhost")])
async def test_tls_speaks_only_with_who_proves_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trusted: bool, host: str
) -> None:
    """One connection for several requests; another name, or a certificate nobody vouches for, is a connection that fails."""
    file, server = certificate(tmp_path), Server([OK])
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(file))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(file)
    async with trio.open_nursery() as nursery:
        listen = partial(trio.serve_ssl_over_tcp, server.serve, 0, context, host="127.0.0.1", https_compatible=True)
        (listener,) = await nursery.start(listen)
        url = f"https://{host}:{listener.transport_listener.socket.getsockname()[1]}/"
        async with httpx.AsyncClient(timeout=None, transport=Direct(10.0)) as client:
            if trusted and host == "localhost":
                assert [(await client.get(url)).text for _ in range(3)] == ["ok"] * 3
            else:
                with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
                    await client.get(url)
        nursery.cancel_scope.cancel()
    assert server.opened == 1


async def test_a_proxy_of_the_environment_is_left_to_httpx(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without one, requests go by connections of our own."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)

    def is_direct(url: str) -> bool:
        return isinstance(http_client(url), Client)

    assert is_direct("https://futures.kraken.com")
    monkeypatch.setenv("https_proxy", "http://proxy:3128")
    assert not is_direct("https://futures.kraken.com")
    assert is_direct("http://127.0.0.1")
    monkeypatch.setenv("no_proxy", "futures.kraken.com")
    assert is_direct("https://futures.kraken.com")

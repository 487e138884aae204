"""Why there was no answer, in words for a person: host and reason, and nothing that must not be seen."""

from __future__ import annotations

import errno
import ssl

import httpx
import pytest
import trio
from gateway_fakes import TrioClock
from trio_websocket import ConnectionRejected, ConnectionTimeout

from actors.gateway.channel import opened
from actors.gateway.dial import http_client, websocket
from actors.gateway.errors import Unreachable
from actors.gateway.http import FuturesHttp
from actors.gateway.secret import Secret
from actors.gateway.spot import SpotGateway
from actors.gateway.words import reason
from protocol.ports import FeedLost

NOBODY = "127.0.0.1:9"
KEY = "key-that-nobody-may-see"


def caused(error: Exception, cause: BaseException) -> Exception:
    """`error` as it is raised from `cause`."""
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (caused(OSError("all attempts failed"), OSError(errno.ECONNREFUSED, "error connecting to ('::1', 9)")), "connection refused"),
        (caused(OSError("all attempts failed"), ExceptionGroup("", [OSError(errno.EHOSTUNREACH, "No route to host")])), "no route to host"),
        (httpx.ConnectError("[Errno -2] Name or service not known"), "name or service not known"),
        (OSError("connection refused"), "connection refused"),
        (
            ssl.SSLCertVerificationError(1, "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: expired (_ssl.c:1016)"),
            "certificate verify failed: expired",
        ),
        (caused(httpx.NetworkError(""), trio.BrokenResourceError()), "the connection broke"),
        (httpx.RemoteProtocolError("illegal status line: bytearray(b'token')"), "what came is no whole answer"),
        (ConnectionRejected(503, (), b"<html>"), "HTTP 503"),
        (ConnectionTimeout(), "no answer in time"),
        (trio.TooSlowError(), "no answer in time"),
    ],
)  # fmt: skip
def test_the_reason_is_what_the_system_says_at_the_bottom(error: Exception, words: str) -> None:
    """Without its number, its class and the line of somebody's source."""
    assert reason(error) == words


async def test_who_cannot_be_reached_is_named() -> None:
    """By REST and by stream, on both exchanges; a password in an address is not shown."""
    async with http_client(f"http://user:hunter2@{NOBODY}") as http:
        spot = SpotGateway(http, websocket(f"ws://{NOBODY}/v2"), TrioClock())
        futures = FuturesHttp(http, TrioClock(), key=KEY, secret=Secret(""), timeout_s=5)
        with pytest.raises(FeedLost) as by_spot:
            await spot.server_time()
        with pytest.raises(Unreachable) as by_futures:
            await futures.get("/derivatives/api/v3/accounts")
        with pytest.raises(FeedLost) as by_stream:
            async with opened(websocket(f"ws://{NOBODY}/v2")):
                pass
    assert str(by_spot.value) == "127.0.0.1/0/public/Time: cannot be reached: connection refused"
    assert str(by_futures.value) == "127.0.0.1/derivatives/api/v3/accounts: cannot be reached: connection refused"
    assert str(by_stream.value) == "127.0.0.1: cannot be reached: connection refused"


async def test_a_request_that_cannot_be_written_does_not_show_its_key() -> None:
    """HTTP's own complaint of a header quotes it."""
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listeners[0].socket.getsockname()[1]
    async with http_client(f"http://127.0.0.1:{port}") as http:
        futures = FuturesHttp(http, TrioClock(), key=f"{KEY}\n", secret=Secret(""), timeout_s=5)
        with pytest.raises(Unreachable, match=r"no answer: the request could not be written$") as caught:
            await futures.get("/derivatives/api/v3/accounts")
    await trio.aclose_forcefully(listeners[0])
    assert KEY not in str(caught.value)

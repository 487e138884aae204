"""Why there was no answer, as a person reads it: which host, and what the system said. Never a query, a header or an address of ours."""

from __future__ import annotations

import os
import re
import ssl
from typing import Final

import h11
import httpx
import trio
from trio_websocket import ConnectionRejected, ConnectionTimeout

CODE: Final = re.compile(r"^\[[^]]*\] | \(_ssl\.c:\d+\)$")
"""What the system writes around its words: `[Errno 111]`, `[SSL: CERTIFICATE_VERIFY_FAILED]`, a line of its own source."""


def unanswered(http: httpx.AsyncClient, path: str, error: Exception) -> str:
    """A request that came to nothing, in one line."""
    what = "cannot be reached" if isinstance(error, httpx.ConnectError) else "no answer"
    return f"{place(http, path)}: {what}: {reason(error)}"


def place(http: httpx.AsyncClient, path: str) -> str:
    """What was asked, by its host; a base address may hold a password."""
    return f"{http.base_url.host}{path}"


def reason(error: BaseException) -> str:
    """What lies at the bottom of it. A request that could not be written holds the key, and an answer that is none might: they are not quoted."""
    cause = _first(error)
    if isinstance(cause, (httpx.LocalProtocolError, h11.LocalProtocolError)):
        return "the request could not be written"
    if isinstance(cause, (httpx.RemoteProtocolError, h11.RemoteProtocolError)):
        return "what came is no whole answer"
    if isinstance(cause, ConnectionRejected):
        return f"HTTP {cause.status_code}"
    if isinstance(cause, (trio.TooSlowError, ConnectionTimeout)):
        return "no answer in time"
    said = CODE.sub("", str(cause))
    number = cause.errno or 0 if isinstance(cause, OSError) and not isinstance(cause, ssl.SSLError) else 0
    if number > 0:
        said = os.strerror(number)  # whoever raised it has added of its own
    return said[:1].lower() + said[1:] or "the connection broke"


def _first(error: BaseException) -> BaseException:
    """What an error came from, and the first of several that came at once."""
    inner = error.exceptions[0] if isinstance(error, BaseExceptionGroup) else error.__cause__
    return error if inner is None else _first(inner)

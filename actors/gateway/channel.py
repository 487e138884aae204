"""One WebSocket connection: JSON out, frames in, pings in between. Every way it can fail is `FeedLost`.

Knows no exchange.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, contextmanager
from itertools import count
from typing import Final, Generic, Protocol, TypeVar

import trio
from trio_websocket import ConnectionClosed, DisconnectionTimeout, HandshakeError

from actors.gateway.words import reason
from protocol.kraken.wire import MalformedPayload, Refused, encode
from protocol.ports import FeedLost

T = TypeVar("T")

NETWORK: Final = (
    ConnectionClosed, HandshakeError, OSError, trio.TooSlowError, trio.BrokenResourceError, trio.ClosedResourceError,
)  # fmt: skip
"""How a connection fails."""
PING_EVERY_S: Final = 30
"""Kraken closes what is silent for a minute, on both exchanges."""
PONG_WITHIN_S: Final = 10
"""A ping frame that is not answered is let go: whether anything still comes is watched where it is read."""


class Socket(Protocol):
    """What is used of trio_websocket's WebSocketConnection."""

    async def send_message(self, message: str | bytes) -> None:
        """Send one frame."""
        ...

    async def get_message(self) -> str | bytes:
        """Wait for one frame."""
        ...

    async def ping(self, payload: bytes) -> None:
        """Send a ping frame (RFC 6455, 5.5.2) and wait for its pong."""
        ...


Connect = Callable[[], AbstractAsyncContextManager[Socket]]


class Channel:
    """A connected socket that speaks JSON."""

    def __init__(self, socket: Socket) -> None:
        self._socket = socket

    async def send(self, payload: object) -> None:
        """Send one JSON text frame. Raises FeedLost."""
        with network_as_feed_lost():
            await self._socket.send_message(encode(payload).decode())

    async def ping(self, payload: bytes) -> None:
        """A ping frame of the WebSocket protocol, and its pong. Raises FeedLost."""
        with network_as_feed_lost():
            await self._socket.ping(payload)

    async def receive(self) -> str | bytes:
        """The next frame. Raises FeedLost when the connection ends."""
        try:
            return await self._socket.get_message()
        except NETWORK as error:  # written out: a context manager a frame is not for nothing
            raise _feed_lost(error) from error


class Reading(Generic[T]):
    """The frames of a channel as an iterator of what `said` finds in them; `pending` is what was said while subscribing."""

    def __init__(self, channel: Channel, said: Callable[[str | bytes], Iterable[T]], pending: Iterable[T]) -> None:
        self._channel = channel
        self._said = said
        self._pending = deque(pending)

    def __aiter__(self) -> AsyncIterator[T]:
        return self

    async def __anext__(self) -> T:
        while not self._pending:
            self._pending.extend(self._said(await self._channel.receive()))
        return self._pending.popleft()


@asynccontextmanager
async def opened(connect: Connect, ping: Callable[[], object] | None = None) -> AsyncIterator[Channel]:
    """A channel that is pinged for as long as the scope lasts: with what `ping` makes, or by frames of the WebSocket protocol.

    Raises FeedLost, as itself and not in a group.
    """
    with _goodbye_as_feed_lost(), one_error():
        async with AsyncExitStack() as stack:
            with network_as_feed_lost(), one_error():
                socket = await stack.enter_async_context(connect())
            nursery = await stack.enter_async_context(trio.open_nursery())
            channel = Channel(socket)
            nursery.start_soon(_keep_alive, channel, ping)
            yield channel
            nursery.cancel_scope.cancel()


@contextmanager
def answers_as_feed_lost(who: str) -> Iterator[None]:
    """A refusal or an unreadable answer of `who`, as the ports promise it."""
    try:
        yield
    except (Refused, MalformedPayload) as error:
        raise FeedLost(f"{who}: {error}") from error


@contextmanager
def deadline(seconds: float, what: str) -> Iterator[None]:
    """Raises FeedLost naming `what` when the scope takes longer."""
    try:
        with trio.fail_after(seconds):
            yield
    except trio.TooSlowError as error:
        raise FeedLost(f"{what}: no answer within {seconds:g} s") from error


async def _keep_alive(channel: Channel, ping: Callable[[], object] | None) -> None:
    try:
        for number in count(1):
            await trio.sleep(PING_EVERY_S)
            if ping is not None:
                await channel.send(ping())
                continue
            with trio.move_on_after(PONG_WITHIN_S):
                await channel.ping(b"%d" % number)
    except FeedLost:
        return  # whoever receives hears of it too, and says so


@contextmanager
def network_as_feed_lost(what: str = "no connection") -> Iterator[None]:
    """A network that fails, as the ports promise it; `what`: what that means."""
    try:
        yield
    except NETWORK as error:
        raise _feed_lost(error, what) from error


def _feed_lost(error: Exception, what: str = "no connection") -> FeedLost:
    if isinstance(error, ConnectionClosed):
        return FeedLost(f"the connection was closed ({error.reason})")
    return FeedLost(f"{what}: {reason(error)}")


@contextmanager
def _goodbye_as_feed_lost() -> Iterator[None]:
    try:
        yield
    except DisconnectionTimeout as error:
        raise FeedLost("the other side did not answer the goodbye") from error


@contextmanager
def one_error() -> Iterator[None]:
    """A nursery wraps whatever leaves it in a group; the port promises `FeedLost` itself."""
    try:
        yield
    except BaseExceptionGroup as group:
        error = _alone(group)
        if error is None:
            raise
        raise error from error.__cause__


def _alone(group: BaseExceptionGroup[BaseException]) -> BaseException | None:
    """The one error in nested groups, cancellation beside it left out (trio repeats it); None when there are several."""
    leaves = list(_leaves(group))
    errors = [leaf for leaf in leaves if not isinstance(leaf, trio.Cancelled)]
    if len(errors) == 1:
        return errors[0]
    return leaves[0] if len(leaves) == 1 else None


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error

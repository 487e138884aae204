"""What a daemon finds where it runs: all that a storm shows of itself to one. Types alone."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from config.settings import Settings
from protocol.messages.base import Message
from protocol.messages.control import Alert
from sim.faults.host import Book, HostClock
from sim.venue import Venue


class Host(Protocol):
    """What a daemon finds where it runs. `supervised` is told the supervisor, whose children may be let die."""

    settings: Settings
    venue: Venue
    clock: HostClock
    book: Book

    def transport(self) -> Any:
        """An httpx transport."""
        ...

    def connect(self, path: str) -> Any:
        """A WebSocket connection as a context manager."""
        ...

    def kill_requested(self) -> str | None: ...

    async def kill_hint(self) -> None:
        """Waits until it is worth looking whether somebody asked."""
        ...

    def sleep(self, seconds: float) -> Awaitable[None]:
        """What is done every second waits here: cheaper than `trio.sleep`."""
        ...

    def watch(self, sender: str, message: Message) -> None: ...

    def tell(self, sender: str, alert: Alert) -> None: ...

    @property
    def may_hamper(self) -> bool:
        """Whether a child may ever have to wait."""
        ...

    async def pause(self, child: str) -> None:
        """A child waits here before it takes its next message."""
        ...

    def gate_changed(self, what: str, is_open: bool) -> None: ...

    def supervised(
        self,
        crash: Callable[[str, Exception], bool],
        closed_by: Callable[[], tuple[str, ...]],
        waiting: Callable[[], int],
    ) -> None: ...


Live = Callable[[Host], Awaitable[None]]
"""One life of the daemon, until cancelled."""

"""What the system needs of the world, as protocols. Their real forms are in actors.gateway and actors.ledger, their
simulated ones in sim. Every promise is stated here once; both sides are tested against it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from decimal import Decimal
from typing import Protocol

import msgspec

from protocol.messages.base import Message
from protocol.messages.control import Latch
from protocol.messages.futures import (
    CancelOrder,
    EditOrder,
    InstrumentsSeen,
    NoticesSeen,
    PlaceOrder,
    SnapshotFailed,
    SnapshotSeen,
)
from protocol.messages.spot import CandleSeen
from protocol.units import Timeframe

Command = PlaceOrder | EditOrder | CancelOrder


class Clock(Protocol):
    """The one source of `at`."""

    def now_us(self) -> int:
        """Microseconds UTC; never goes back within a run."""
        ...


class SteadyClock(Clock, Protocol):
    """A clock that may be set, and beside it one that nobody sets: where they part, something happened to the host."""

    def steady_us(self) -> int:
        """Microseconds since whenever; they pass evenly, and not while the host sleeps."""
        ...


class FeedLost(Exception):
    """A stream ended, stalled or spoke nonsense: the world is at fault. Reconnect with back-off; entries wait."""


class SpotMarket(Protocol):
    """The spot exchange, public side."""

    async def history(self, symbol: str, timeframe: Timeframe, since_ms: int | None) -> Sequence[CandleSeen]:
        """Finished candles (`final`), oldest first, from `since_ms` (inclusive) or as far back as there are. Raises FeedLost."""
        ...

    async def traded(self, symbol: str, from_ms: int, to_ms: int) -> bool | None:
        """Whether anything traded from `from_ms` to before `to_ms`; None: this source cannot tell. Raises FeedLost."""
        ...

    def stream(self, symbols: Sequence[str]) -> AbstractAsyncContextManager[AsyncIterator[CandleSeen | None]]:
        """Base-feed (15m) candles as they change. None stands for a frame that carries no candle (heartbeat): it proves
        life. The iterator raises FeedLost when the connection ends; the caller judges silence.
        """
        ...


class FuturesExchange(Protocol):
    """The futures exchange, public and private side."""

    async def instruments(self) -> InstrumentsSeen:
        """The contract rules. Raises FeedLost."""
        ...

    async def notices(self) -> NoticesSeen:
        """The maintenance that is announced. Raises FeedLost."""
        ...

    async def isolated(self) -> Mapping[str, Decimal]:
        """The contracts that the account has isolated, and at which leverage; every other is cross-margined. Raises FeedLost, also
        where a part of it cannot be read.
        """
        ...

    def stream(self, symbols: Sequence[str]) -> AbstractAsyncContextManager[AsyncIterator[Message | None]]:
        """TickerSeen, OrderSeen, FillSeen, PositionsSeen, AccountSeen; None for a heartbeat. Entering waits until both
        public and private subscriptions are acknowledged. Raises FeedLost.
        """
        ...

    async def snapshot(self, *, urgent: bool = False) -> SnapshotSeen | SnapshotFailed:
        """The truth by REST; `urgent` may use the reserve of the rate limit. Never raises for the network: a failure is a value."""
        ...

    async def send(self, command: Command) -> Sequence[Message]:
        """Carry out one wish. Answers `FillSeen`* then one `CommandAnswered`; a time-out, a broken connection or an
        unreadable answer is outcome `unknown`. Never raises for the network, never retries.
        """
        ...


class LatchState(msgspec.Struct, frozen=True, kw_only=True):
    """The kill switch as written down."""

    latched: bool
    reason: str = ""
    by: str = ""
    at: int = 0


class LatchStore(Protocol):
    """Where the kill switch is written down. Durable before each call returns."""

    def read(self) -> LatchState: ...

    def latch(self, latch: Latch) -> None: ...

    def acknowledge(self, by: str, reason: str, at: int) -> None: ...


class JournalFailed(Exception):
    """The record could not be written: the disk or the database is at fault. What is not durable may not take effect:
    enter nothing, keep managing exits, restart once the store is well. The journal stays failed: a write is never
    retried on a handle whose last one failed.
    """


class Journal(Protocol):
    """The durable record: every message in and out of every actor, and what each actor must remember."""

    def record(self, actor: str, message: Message, answers: Sequence[Message]) -> None:
        """Write down that `actor` received `message` and said `answers`, in this order. May buffer."""
        ...

    def keep(self, actor: str, memory: Callable[[], bytes]) -> None:
        """Replace what `actor` must remember across a crash; written with the records before it. May buffer.

        `memory` answers the same bytes whenever it is asked: once for many replacements, when they are written or read.
        """
        ...

    def flush(self) -> None:
        """Everything recorded so far is durable when this returns."""
        ...

    def memory(self, actor: str) -> bytes | None:
        """What `actor` last asked to keep, None on a first start."""
        ...

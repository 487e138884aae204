"""In-memory journal and latch store, and a clock over trio's time."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
import trio

from protocol.messages.base import Message
from protocol.messages.control import Latch
from protocol.ports import LatchState
from protocol.units import SECOND_US

EPOCH_US = 1_767_571_200 * SECOND_US


class TrioClock:
    """Microseconds since EPOCH_US, as trio's clock runs."""

    def __init__(self) -> None:
        self._start_s = trio.current_time()

    def now_us(self) -> int:
        return EPOCH_US + round((trio.current_time() - self._start_s) * SECOND_US)

    steady_us = now_us


class FakeJournal:
    """Keeps everything in lists; `flushed` counts the records that were durable at the last flush."""

    def __init__(self) -> None:
        self.records: list[tuple[str, Message, tuple[Message, ...]]] = []
        self.memories: dict[str, bytes] = {}
        self.flushed = 0

    def record(self, actor: str, message: Message, answers: Sequence[Message]) -> None:
        self.records.append((actor, message, tuple(answers)))

    def keep(self, actor: str, memory: Callable[[], bytes]) -> None:
        self.memories[actor] = memory()

    def flush(self) -> None:
        self.flushed = len(self.records)

    def memory(self, actor: str) -> bytes | None:
        return self.memories.get(actor)

    def said(self, kind: type[Message]) -> list[Message]:
        """Every answer of `kind`, in order."""
        return [answer for _, _, answers in self.records for answer in answers if isinstance(answer, kind)]


class FakeLatchStore:
    """A latch in memory."""

    def __init__(self) -> None:
        self.state = LatchState(latched=False)

    def read(self) -> LatchState:
        return self.state

    def latch(self, latch: Latch) -> None:
        if not self.state.latched:
            self.state = LatchState(latched=True, reason=latch.reason, by=latch.by, at=latch.at)

    def acknowledge(self, by: str, reason: str, at: int) -> None:
        self.state = msgspec.structs.replace(self.state, latched=False)

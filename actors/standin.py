"""The journal, and what stands in for it once it fails: money is protected without a record rather than not at all.

While it works every call goes through. The first failure is told once (`on_failure` halts entries and asks for the kill switch); from
then on nothing is recorded, memories are kept in this process, and nothing raises: stops and exits go on leaving.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from actors.memory import MemoryCorrupt, sealed, unsealed
from protocol.messages.base import Message
from protocol.ports import Journal, JournalFailed


class StandIn:
    """A `protocol.ports.Journal` over another one; `failure` is empty while that one works. Memories are kept sealed."""

    def __init__(
        self, journal: Journal, on_failure: Callable[[str], None], on_damage: Callable[[str], None] = lambda text: None
    ) -> None:
        self._journal = journal
        self._on_failure = on_failure
        self._on_damage = on_damage
        self._memories: dict[str, Callable[[], bytes]] = {}
        self.failure = ""
        self.damaged: frozenset[str] = frozenset()
        """Whose memory was there and not whole."""

    def record(self, actor: str, message: Message, answers: Sequence[Message]) -> None:
        """Note one step, while that is possible."""
        if self.failure:
            return
        try:
            self._journal.record(actor, message, answers)
        except JournalFailed as error:
            self._fail(error)

    def keep(self, actor: str, memory: Callable[[], bytes]) -> None:
        """Replace what `actor` remembers, if need be in this process only."""
        self._memories[actor] = memory
        self._try(lambda: self._journal.keep(actor, lambda: sealed(actor, memory())))

    def flush(self) -> None:
        """Make durable what was noted. When this fails entries are halted before it returns."""
        self._try(self._journal.flush)

    def memory(self, actor: str) -> bytes | None:
        """What `actor` last asked to keep; None when nothing, or nothing whole. Raises JournalFailed when it cannot be read."""
        if actor in self._memories:
            return self._memories[actor]()
        try:
            return unsealed(actor, self._journal.memory(actor))
        except MemoryCorrupt as damage:
            self.damaged |= {actor}
            self._on_damage(str(damage))
            return None

    def _try(self, write: Callable[[], None]) -> None:
        if self.failure:
            return
        try:
            write()
        except JournalFailed as error:
            self._fail(error)

    def _fail(self, error: JournalFailed) -> None:
        self.failure = str(error) or "the journal failed"
        self._on_failure(self.failure)

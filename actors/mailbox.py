"""An actor's one inbox: bounded, in order, conflating market data.

`put` never waits, so a slow actor cannot slow the one who sends to it. The newest price replaces one that still waits, and so does the newest
edit of an order: each of a hundred parts of a fill asks for one, and together they used up the exchange's points (storm 80090). A cancel said again
while one waits is the same cancel (storm 32022). Everything else queues, and a full queue is a fault of the receiver: it raises there, and the supervisor decides.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Final

import trio

from protocol.messages.base import Message
from protocol.messages.futures import (
    AccountChanged,
    AccountSeen,
    CancelOrder,
    EditOrder,
    MarkPrice,
    PlaceOrder,
    TickerSeen,
)
from protocol.messages.spot import SpotPrice

CAPACITY = 20_000
IN_A_ROW_MOST = 16
"""Messages taken without letting the others run; waiting for one lets them anyway."""
CONFLATED: Final[dict[type[Message], str]] = {
    **dict.fromkeys((MarkPrice, SpotPrice, TickerSeen, AccountChanged, AccountSeen), "symbol"),
    EditOrder: "client_order_id",
    CancelOrder: "subject",
}
"""What the newest replaces, and the field that says of what it is the newest."""


Key = tuple[type, str]
Slot = list[Any]
"""A message, and its key if a newer one may take its place."""


class MailboxOverflow(Exception):
    """The receiver does not keep up: facts or wishes would be lost, so it must restart and rebuild."""


class Mailbox:
    """First in, first out, for one receiver."""

    def __init__(self, name: str, capacity: int = CAPACITY) -> None:
        self.name = name
        self._capacity = capacity
        self._slots: deque[Slot] = deque()
        self._waiting: dict[Key, Slot] = {}
        self._receiver: trio.lowlevel.Task | None = None
        """Waits for a message."""
        self._overflowed = False
        self._in_a_row = 0
        self._resting = False

    def put(self, message: Message) -> None:
        """Queue `message`; never waits, never raises: an overflow is raised to the receiver."""
        key = None
        kind = type(message)
        of = CONFLATED.get(kind)
        if of is not None:
            key = kind, getattr(message, of, "")
            if key in self._waiting:
                self._waiting[key][0] = message
                return
        elif kind is PlaceOrder:
            # A cancel that waits belongs to what was placed before; one that follows is another.
            self._waiting.pop((CancelOrder, getattr(message, "client_order_id", "")), None)
        if len(self._slots) >= self._capacity:
            self._overflowed = True
        else:
            slot = [message, key]
            self._slots.append(slot)
            if key is not None:
                self._waiting[key] = slot
        if self._receiver is not None:
            trio.lowlevel.reschedule(self._receiver)
            self._receiver = None

    async def get(self) -> Message:
        """The oldest message. Raises MailboxOverflow once something could not be queued."""
        self._in_a_row += 1
        if self._resting or self._in_a_row >= IN_A_ROW_MOST:
            await trio.lowlevel.checkpoint()  # a full mailbox must not starve the others
            if self._resting:
                await trio.lowlevel.checkpoint()  # one round has no order: whoever was woken may come after us in it
            self._resting, self._in_a_row = False, 0
        while not self._slots:
            self._in_a_row = 0
            self._receiver = trio.lowlevel.current_task()
            await trio.lowlevel.wait_task_rescheduled(self._give_up)  # half of what an event takes, each message
        return self.take()

    def take(self) -> Message:
        """The oldest message, which waits. Raises MailboxOverflow as `get` does, IndexError when none waits."""
        if self._overflowed:
            raise MailboxOverflow(f"{self.name}: more than {self._capacity} messages wait")
        slot = self._slots.popleft()
        message: Message = slot[0]
        key = slot[1]
        if key is not None and self._waiting.get(key) is slot:
            del self._waiting[key]
        return message

    def left(self, kinds: tuple[type[Message], ...]) -> list[Message]:
        """What of some kinds nobody took, in order."""
        return [message for message, _ in self._slots if isinstance(message, kinds)]

    def rest(self) -> None:
        """Let the others run before the next message is given."""
        self._resting = True

    def _give_up(self, _raise_cancel: object) -> trio.lowlevel.Abort:
        self._receiver = None
        return trio.lowlevel.Abort.SUCCEEDED

    @property
    def next(self) -> Message | None:
        """The message that `get` would give now; None when none waits."""
        return self._slots[0][0] if self._slots else None

    def __len__(self) -> int:
        return len(self._slots)

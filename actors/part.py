"""One actor as data: a name, a state, a step. Both drivers (actors.shell under trio, sim.loop) run these and nothing else.

Knows no scheduler, no clock and no other actor.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from protocol.messages.base import Message

S = TypeVar("S")


def nothing(_state: object) -> bytes:
    """For actors whose state is rebuilt from the market alone: never asked, as nothing they remember ever changes."""
    return b""


@dataclass
class Part(Generic[S]):
    """`step(state, message) -> (state, answers)` decides; `durable(state)` is what must survive a crash.

    `durable` returns the bytes to keep. `remembered(state)` is the piece of state those bytes are
    made of: they are kept again only when it is another object than before.
    """

    name: str
    state: S
    step: Callable[[S, Message], tuple[S, Sequence[Message]]]
    durable: Callable[[S], bytes] = nothing
    remembered: Callable[[S], object] = field(default=lambda state: None)

    def receive(self, message: Message) -> Sequence[Message]:
        """Take one step and answer with what it says."""
        self.state, answers = self.step(self.state, message)
        return answers

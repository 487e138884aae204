"""What a person asks of a running daemon, from the command line: hold entries, let them go, close a position. Pure.

Each request is answered once, by this actor or by the one it is passed to. A person's halt lasts until a person ends it, restarts
included. Knows no order and no position; passes no control of anybody's by.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from actors.memory import recalled, remember
from config.settings import Settings
from protocol.messages.base import Message, follow
from protocol.messages.control import CloseRequested, HaltEntries, PersonAnswered, PersonAsked, ResumeEntries, Started

OWN: Final = "person"
"""The key of a person's halt; for one market its name is appended."""


class Halt(msgspec.Struct, frozen=True, kw_only=True):
    """A person's halt: of one futures market, or of all when `symbol` is empty."""

    symbol: str
    reason: str


class Memory(msgspec.Struct, frozen=True, kw_only=True):
    """Halts in force, by key."""

    halts: dict[str, Halt] = {}


class State(msgspec.Struct, frozen=True, kw_only=True):
    """What is remembered, and which futures markets there are."""

    memory: Memory
    symbols: tuple[str, ...]


Answers = tuple[State, Sequence[Message]]


def initial(settings: Settings, memory: bytes | None) -> State:
    """A life that remembers a person's halts. Raises msgspec.DecodeError on foreign bytes."""
    return State(memory=recalled(Memory, memory), symbols=tuple(settings.spot_of))


def step(state: State, message: Message) -> Answers:
    """One request, or a new life: halts that still hold are said again."""
    match message:
        case Started():
            return state, tuple(halting(message, key, halt) for key, halt in sorted(state.memory.halts.items()))
        case PersonAsked(ask=ask, symbol=symbol) if ask == "close" or symbol:
            return ASKS[ask](state, message) if symbol in state.symbols else unknown_symbol(state, message)
        case PersonAsked(ask=ask):
            return ASKS[ask](state, message)
        case _:
            return state, ()


def halting(cause: Message, key: str, halt: Halt) -> HaltEntries:
    """The halt, for the gate."""
    return follow(cause, HaltEntries, key, key=key, reason=halt.reason, symbol=halt.symbol)


def answered(cause: PersonAsked, text: str, done: bool = True) -> PersonAnswered:
    """What came of it, for the person."""
    return follow(cause, PersonAnswered, request=cause.request, done=done, text=text)


def unknown_symbol(state: State, message: PersonAsked) -> Answers:
    """A market this daemon does not trade."""
    text = f"{message.symbol} is not traded here; there are {', '.join(state.symbols)}"
    return state, (answered(message, text, done=False),)


def halt(state: State, message: PersonAsked) -> Answers:
    """Hold entries back; exits go on."""
    key = f"{OWN}:{message.symbol}" if message.symbol else OWN
    wanted = Halt(symbol=message.symbol, reason=f"{message.by}: {message.reason}")
    what = f"entries {'of ' + message.symbol if message.symbol else 'of all markets'}"
    if message.dry_run:
        return state, (answered(message, f"dry run: {what} would be halted; nothing was done"),)
    state = remember(state, halts={**state.memory.halts, key: wanted})
    text = f"{what} are halted until `entries resume`; exits go on"
    return state, (halting(message, key, wanted), answered(message, text))


def resume(state: State, message: PersonAsked) -> Answers:
    """End a halt: a person's own, or the one named by its key that only a person may end."""
    key = message.key or (f"{OWN}:{message.symbol}" if message.symbol else OWN)
    if message.dry_run:
        return state, (answered(message, f"dry run: the halt {key} would end; nothing was done"),)
    if key in state.memory.halts:
        state = remember(state, halts={name: held for name, held in state.memory.halts.items() if name != key})
    text = f"the halt {key} has ended; `status` names what else holds entries back"
    return state, (follow(message, ResumeEntries, key, key=key), answered(message, text))


def close(state: State, message: PersonAsked) -> Answers:
    """Whoever holds the trade leaves it, and answers."""
    passed_on = follow(
        message,
        CloseRequested,
        message.symbol,
        request=message.request,
        symbol=message.symbol,
        by=message.by,
        reason=message.reason,
        dry_run=message.dry_run,
    )
    return state, (passed_on,)


ASKS: Final[dict[str, Callable[[State, PersonAsked], Answers]]] = {"halt": halt, "resume": resume, "close": close}

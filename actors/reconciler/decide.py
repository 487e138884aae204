"""Compares, again and again, what we believe of the futures account with what the exchange says; the exchange is right.

The view (`view`) is built from the futures feed's facts, each snapshot is one pass against it (`passes`), and what can differ is a
table (`judge.DIFFERENCES`). Reports drift; repairs nothing itself, and knows neither limits nor trades.
"""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from actors.memory import durable, remembered
from actors.reconciler import view
from actors.reconciler.passes import HALT, judge
from actors.reconciler.view import Answer, State, initial, wake
from protocol.messages.base import Message, follow
from protocol.messages.control import Alert, ResumeEntries, Started, Woken
from protocol.messages.futures import ExchangeSnapshot, RequestSnapshot, SnapshotMissed

__all__ = ["State", "durable", "initial", "remembered", "settled", "step"]

MISSED_MOST: Final = 3


def step(state: State, message: Message) -> tuple[State, tuple[Message, ...]]:
    """Facts change the view, snapshots are judged against it, timers ask for the next one."""
    out: list[Message]
    match message:
        case ExchangeSnapshot():
            state, out = (state, []) if message.began_at <= state.judged else judge(state, message)
        case SnapshotMissed():
            state, out = _missed(state, message)
        case Started() | Woken(key="reconcile"):
            state = view.rung(state, message.at)
            out = [*_let_go(message), _look(message, "periodic"), wake(message, "reconcile", state.every_us)]
        case Woken(key="soon"):
            state, out = view.rung(state, message.at), [_look(message, "soon after an event")]
        case _:
            state, out = view.take_in(state, message)
    return state, tuple(out)


def settled(state: State) -> bool:
    """Whether a further pass would find nothing and ask for nothing, as long as no fact arrives."""
    doubts = any(resting.absent for resting in state.orders.values())
    return state.judged >= 0 and not (
        state.missed or state.unknown or state.orphans or state.lasting or state.unclean or doubts
    )


def _let_go(cause: Started | Woken) -> list[Message]:
    """The gate may hold the halt of an earlier life. Entries wait for a clean pass of this one, which finds what is still wrong."""
    return [follow(cause, ResumeEntries, key=HALT)] if isinstance(cause, Started) and cause.restarted else []


def _missed(state: State, cause: SnapshotMissed) -> Answer:
    state = replace(state, missed=state.missed + 1)
    if state.missed != MISSED_MOST:
        return state, []
    text = f"no exchange truth in {MISSED_MOST} attempts: {cause.reason}; our view is unchecked"
    return state, [follow(cause, Alert, code="RECON_STUCK", severity="critical", text=text)]


def _look(cause: Message, reason: str) -> RequestSnapshot:
    return follow(cause, RequestSnapshot, reason=reason)

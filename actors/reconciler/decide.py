"""Compares, again and again, what we believe of the futures account with what the exchange says; the exchange is right.

The view (`view`) is built from the futures feed's facts, each snapshot is one pass against it (`passes`), and what can differ is a
table (`judge.DIFFERENCES`). Reports drift; repairs nothing itself, and knows neither limits nor trades.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

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
    state, out = HANDLERS.get(type(message), view.take_in)(state, message)
    return state, tuple(out)


def settled(state: State) -> bool:
    """Whether a further pass would find nothing and ask for nothing, as long as no fact arrives."""
    doubts = any(resting.absent for resting in state.orders.values())
    return state.judged >= 0 and not (
        state.missed or state.unknown or state.orphans or state.lasting or state.unclean or doubts
    )


def _read(state: State, truth: ExchangeSnapshot) -> Answer:
    """One reading, one pass; one that began before the last that was judged says nothing."""
    return (state, []) if truth.began_at <= state.judged else judge(state, truth)


def _woken(state: State, cause: Woken) -> Answer:
    """The period is over, or an event was to be looked at soon."""
    match cause.key:
        case "reconcile":
            return _period(state, cause)
        case "soon":
            return view.rung(replace(state, soon_at=None), cause.at), [_look(cause, "soon after an event")]
    return state, []


def _period(state: State, cause: Started | Woken) -> Answer:
    """A period begins with a look."""
    out = [*_let_go(cause), _look(cause, "periodic"), wake(cause, "reconcile", state.every_us)]
    return view.rung(state, cause.at), out


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


HANDLERS: Final[dict[type[Message], Callable[[State, Any], Answer]]] = {
    ExchangeSnapshot: _read,
    SnapshotMissed: _missed,
    Started: _period,
    Woken: _woken,
}
"""All else is for the view."""

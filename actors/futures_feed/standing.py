"""How we stand with the exchange: whether it takes our key and as many requests as we make, refuses our orders, and has our time. Pure."""

from __future__ import annotations

from typing import Final, Literal

from msgspec.structs import replace

from actors.futures_feed.notices import MAINTENANCE
from actors.futures_feed.state import Answer, State
from protocol.kraken.faults import judge
from protocol.messages.base import Message, follow
from protocol.messages.control import Alert, HaltEntries, PersonAsked, ResumeEntries, Started
from protocol.messages.futures import CommandAnswered, SnapshotSeen
from protocol.units import MINUTE_US, SECOND_US

BURST_MOST: Final = 3
BURST_WITHIN_US: Final = 5 * MINUTE_US
"""Fault catalogue, section 2: more than three refused orders in five minutes are a burst."""
BARRED: Final = "futures.key"
"""The halt while the exchange refuses our key."""
CLOCK: Final = "futures.clock"
"""The halt while the host's clock and the exchange's differ."""
ALREADY_THERE: Final = ("clientOrderIdAlreadyExist", "clientOrderIdAlreadyExists")
"""Refusals that prove an earlier copy arrived: what became of it is to be found out."""


def let_go(cause: Started) -> list[Message]:
    """The gate may hold the halts of an earlier life of this child; what is still wrong halts anew."""
    return [follow(cause, ResumeEntries, halt, key=halt) for halt in (BARRED, CLOCK, MAINTENANCE) if cause.restarted]


def key_refused(state: State, cause: Message, action: str, why: str, what: Literal["read", "order"]) -> Answer:
    """Halt entries when the exchange refuses our key, resume when it takes it again: for whatever it refuses it for.

    A key may read and not trade, so reading ends no bar of orders alone; one that was refused a reading meanwhile is taken again when it reads.
    """
    if action == "halt":
        if state.barred:
            return (replace(state, barred="read") if what == "read" else state), []
        text = (
            f"the exchange refuses our key ({why}): check it at Kraken; stops on the exchange stay, entries are halted until it takes the key for that "
            f"again, or you end it: entries resume --key {BARRED}"
        )
        return replace(state, barred=what), [
            follow(cause, HaltEntries, key=BARRED, reason=f"the exchange refuses our key: {why}"),
            follow(cause, Alert, BARRED, code="AUTH_FAILED", severity="critical", text=text),
        ]
    # What is refused for its terms was not refused for the key.
    if action in ("", "reject") and state.barred in ("read", what):
        return replace(state, barred=""), [follow(cause, ResumeEntries, key=BARRED)]
    return state, []


def resumed(state: State, asked: PersonAsked) -> State:
    """A person ended the halt: a key that is refused then is refused anew."""
    is_over = asked.ask == "resume" and asked.key == BARRED and not asked.dry_run
    return replace(state, barred="") if is_over else state


def limited(state: State, cause: Message, word: str) -> Answer:
    """The exchange says that we ask too often: told, not at every refusal. Requests slow down by themselves, reading first."""
    if judge(word).kind != "rate" or cause.at < state.limited_at + MINUTE_US:
        return state, []
    text = f"the exchange limits our requests ({word}): reading and entries slow down, what protects goes first"
    alert = follow(cause, Alert, "limited", code="RATE_LIMITED", severity="warning", text=text)
    return replace(state, limited_at=cause.at), [alert]


def burst(state: State, answer: CommandAnswered) -> Answer:
    """More refused placements than happen by themselves: something is wrong with what we send, or with the account."""
    if answer.wish != "place" or answer.outcome != "rejected" or answer.status in ALREADY_THERE:
        return state, []
    recent = (*(at for at in state.rejected if answer.at - BURST_WITHIN_US < at), answer.at)
    state = replace(state, rejected=recent[-BURST_MOST - 1 :])
    if len(recent) <= BURST_MOST:
        return state, []
    minutes = BURST_WITHIN_US // MINUTE_US
    text = f"more than {BURST_MOST} orders were refused within {minutes} minutes, the last one {answer.symbol} {answer.client_order_id}: {answer.status}"
    return state, [follow(answer, Alert, "burst", code="REJECT_BURST", severity="critical", text=text)]


def clock_off(state: State, seen: SnapshotSeen) -> Answer:
    """Halt entries while the exchange's clock says something else than ours: what is old and what is new cannot be told then."""
    if seen.ahead_us is None:
        return state, []
    was_off, off = state.clock_off, abs(seen.ahead_us) > state.clock_off_max_us
    state = replace(state, ahead_us=seen.ahead_us, clock_off=off)
    if off == was_off:
        return state, []
    if not off:
        return state, [follow(seen, ResumeEntries, CLOCK, key=CLOCK)]
    how = f"{abs(seen.ahead_us) / SECOND_US:.1f} s {'ahead of' if seen.ahead_us > 0 else 'behind'} the exchange's"
    text = f"this host's clock is {how}: set it right; entries are halted, exits go on"
    return state, [
        follow(seen, HaltEntries, CLOCK, key=CLOCK, reason=f"this host's clock is {how}"),
        follow(seen, Alert, CLOCK, code="CLOCK_SKEW", severity="warning", text=text),
    ]

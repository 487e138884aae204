"""The one way in for facts about our futures account: each told once, newest wins, whatever way and however often it came.

Streams, replies and REST tell the same events in any order. Here they become one story: fills de-duplicated by the
exchange's fill id across restarts, older frames dropped, snapshots never set against a newer event of the stream.
Knows no trade, no strategy and no limit; judges nothing but the frames.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from actors.futures_feed.fills import tell_fills
from actors.futures_feed.market import (
    DAILY,
    MARGIN,
    ask_margin,
    ask_rules,
    held_isolated,
    instruments,
    refused_by_rules,
    ticker,
)
from actors.futures_feed.notices import MAINTENANCE, kept_in, noticed
from actors.futures_feed.orders import answered, ended_at_once, learn, tell_order, untold
from actors.futures_feed.positions import tell_account, tell_frame
from actors.futures_feed.snapshots import tell_snapshot
from actors.futures_feed.standing import burst, clock_off, key_refused, let_go, limited, resumed
from actors.futures_feed.state import Answer, State, Told
from config.settings import Settings
from protocol.messages.base import Message, follow
from protocol.messages.control import PersonAsked, Started, Woken
from protocol.messages.futures import (
    AccountSeen,
    CommandAnswered,
    FillSeen,
    InstrumentsSeen,
    NoticesSeen,
    OrderSeen,
    PositionsSeen,
    SnapshotFailed,
    SnapshotMissed,
    SnapshotSeen,
    TickerSeen,
)
from protocol.units import seconds_us

_encoder = msgspec.json.Encoder(order="deterministic")
_decoder = msgspec.json.Decoder(Told)


def initial(settings: Settings, memory: bytes | None, *, lost: bool = False) -> State:
    """A life that has told nothing but the fills in `memory`. Raises msgspec.ValidationError when that is not ours.

    `lost`: there was a memory and it cannot be read.
    """
    told = Told(lost=lost) if memory is None else _decoder.decode(memory)
    return State(
        symbols=tuple(pair.futures for pair in settings.symbols),
        told=told,
        held=told.streamed,
        framed=told.framed,
        clock_off_max_us=seconds_us(settings.feeds.clock_off_max_s),
    )


def fills_until(memory: bytes | None) -> int | None:
    """How far the lives that left `memory` have told fills without a gap: the first reading of the next begins there.

    Lives that never read a fill leave the beginning of the first; None when there was no life.
    """
    if memory is None:
        return None
    told = _decoder.decode(memory)
    return told.since if told.fills_until is None else told.fills_until


def durable(state: State) -> bytes:
    """The fills told, as `initial` takes them."""
    return _encoder.encode(state.told)


def remembered(state: State) -> object:
    """Changes exactly when `durable` would."""
    return state.told


def step(state: State, message: Message) -> tuple[State, tuple[Message, ...]]:
    """One frame in, what is new in it out."""
    handler = HANDLERS.get(type(message))
    if handler is None:
        return state, ()
    state, out = handler(state, message)
    return state, tuple(out)


def on_order(state: State, seen: OrderSeen) -> Answer:
    """An order as the stream tells it."""
    order = seen.order
    state = learn(state, ((order.order_id, order.client_order_id),))
    return tell_order(state, seen, order, is_open=seen.open, reason=seen.reason)


def on_fill(state: State, seen: FillSeen) -> Answer:
    """An execution, from whatever source."""
    return tell_fills(state, seen, (seen.fill,))


def on_positions(state: State, seen: PositionsSeen) -> Answer:
    """All positions; a frame that was overtaken says nothing."""
    if not _newer(seen.sequence, state.positions_sequence):
        return state, []
    return tell_frame(replace(state, positions_sequence=seen.sequence), seen)


def on_account(state: State, seen: AccountSeen) -> Answer:
    """The account; a frame that was overtaken says nothing."""
    if not _newer(seen.sequence, state.account_sequence):
        return state, []
    return tell_account(replace(state, account_sequence=seen.sequence), seen, seen.account, seen.at)


def on_instruments(state: State, seen: InstrumentsSeen) -> Answer:
    """Every connection begins with the rules; a frame that a truth has overtaken is still an old one (storm 52405)."""
    return instruments(_uncounted(state), seen)


def on_answer(state: State, seen: CommandAnswered) -> Answer:
    """The exchange's answer to a wish of ours."""
    state = learn(state, ((seen.order_id, seen.client_order_id),))
    state, out = key_refused(state, seen, seen.action, seen.status, "order")
    state, rules = refused_by_rules(state, seen, seen.status)
    state, slowed = limited(state, seen, seen.status)
    state, many = burst(state, seen)
    answers = answered(seen)
    state, ended = ended_at_once(untold(state, answers), seen)
    return state, [*out, *answers, *ended, *rules, *slowed, *many]


def on_truth(state: State, seen: SnapshotSeen) -> Answer:
    """A whole reading by REST."""
    state, out = key_refused(state, seen, "", "", "read")
    state, off = clock_off(state, seen)
    state, told = tell_snapshot(_begun_by_their_clock(state, seen), seen)
    state, isolated = held_isolated(state, seen)
    return state, [*out, *off, *told, *isolated]


def on_no_truth(state: State, seen: SnapshotFailed) -> Answer:
    """A reading that failed."""
    state, out = key_refused(state, seen, seen.action or "retry", seen.reason, "read")
    state, slowed = limited(state, seen, seen.reason.rpartition(": ")[2])
    missed = follow(seen, SnapshotMissed, reason=seen.reason, action=seen.action, readable=seen.readable)
    return state, [*out, missed, *slowed]


def on_started(state: State, message: Started) -> Answer:
    """A new life."""
    state, out = kept_in(_started(state, message), message)
    return state, [*let_go(message), *out]


def on_woken(state: State, message: Woken) -> Answer:
    """What was to be looked at now."""
    if message.key == MAINTENANCE:
        return kept_in(state, message)
    if message.key == DAILY:
        return ask_rules(state, message, "a day has passed")
    if message.key == MARGIN:
        return ask_margin(state, message)
    return state, []


def on_asked(state: State, message: PersonAsked) -> Answer:
    """A person may have mended what refused us."""
    return resumed(state, message), []


def _newer(sequence: int, newest: int | None) -> bool:
    return newest is None or sequence > newest


def _started(state: State, cause: Started) -> State:
    """A new connection counts its frames anew; the first life of all begins the story."""
    if state.told.since is not None:
        return _uncounted(state)
    return _uncounted(replace(state, told=replace(state.told, since=cause.at), first=True))


def _begun_by_their_clock(state: State, seen: SnapshotSeen) -> State:
    """Executions carry the exchange's time: the story begins by that, or what strangers do while our clock was ahead were history."""
    since = state.told.since
    if not state.first or since is None or seen.ahead_us is None:
        return state
    begun = min(since, seen.began_at) - max(seen.ahead_us, 0)
    return replace(state, told=replace(state.told, since=begun), first=False)


def _uncounted(state: State) -> State:
    """Any number may be the first of a stream that connected anew."""
    return replace(state, positions_sequence=None, account_sequence=None)


HANDLERS: Final[dict[type[Message], Callable[[State, Any], Answer]]] = {
    TickerSeen: ticker,
    OrderSeen: on_order,
    FillSeen: on_fill,
    PositionsSeen: on_positions,
    AccountSeen: on_account,
    InstrumentsSeen: on_instruments,
    NoticesSeen: noticed,
    CommandAnswered: on_answer,
    SnapshotSeen: on_truth,
    SnapshotFailed: on_no_truth,
    Started: on_started,
    Woken: on_woken,
    PersonAsked: on_asked,
}

"""The one way in for facts about our futures account: each told once, newest wins, whatever way and however often it came.

Streams, replies and REST tell the same events in any order. Here they become one story: fills de-duplicated by the
exchange's fill id across restarts, older frames dropped, snapshots never set against a newer event of the stream.
Knows no trade, no strategy and no limit; judges nothing but the frames.
"""

from __future__ import annotations

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
    match message:
        case TickerSeen():
            state, out = ticker(state, message)
        case OrderSeen():
            order = message.order
            state = learn(state, ((order.order_id, order.client_order_id),))
            state, out = tell_order(state, message, order, is_open=message.open, reason=message.reason)
        case FillSeen():
            state, out = tell_fills(state, message, (message.fill,))
        case PositionsSeen(sequence=sequence) if _newer(sequence, state.positions_sequence):
            state, out = tell_frame(replace(state, positions_sequence=sequence), message)
        case AccountSeen(sequence=sequence) if _newer(sequence, state.account_sequence):
            state, out = tell_account(replace(state, account_sequence=sequence), message, message.account, message.at)
        case InstrumentsSeen():
            # Every connection begins with them; a frame that a truth has overtaken is still an old one (storm 52405).
            state, out = instruments(_uncounted(state), message)
        case NoticesSeen():
            state, out = noticed(state, message)
        case CommandAnswered():
            state = learn(state, ((message.order_id, message.client_order_id),))
            state, out = key_refused(state, message, message.action, message.status, "order")
            state, rules = refused_by_rules(state, message, message.status)
            state, slowed = limited(state, message, message.status)
            state, many = burst(state, message)
            answers = answered(message)
            state = untold(state, answers)
            state, ended = ended_at_once(state, message)
            out += [*answers, *ended, *rules, *slowed, *many]
        case SnapshotSeen():
            state, out = key_refused(state, message, "", "", "read")
            state, off = clock_off(state, message)
            state, more = tell_snapshot(_begun_by_their_clock(state, message), message)
            out += [*off, *more]
            state, more = held_isolated(state, message)
            out += more
        case SnapshotFailed():
            state, out = key_refused(state, message, message.action or "retry", message.reason, "read")
            state, more = limited(state, message, message.reason.rpartition(": ")[2])
            missed = follow(
                message, SnapshotMissed, reason=message.reason, action=message.action, readable=message.readable
            )
            out += [missed, *more]
        case Started() | Woken() | PersonAsked():
            state, out = _of_ours(state, message)
        case _:
            return state, ()
    return state, tuple(out)


def _of_ours(state: State, message: Started | Woken | PersonAsked) -> Answer:
    """What the exchange has no part in."""
    match message:
        case Started():
            state, out = kept_in(_started(state, message), message)
            return state, [*let_go(message), *out]
        case Woken(key=key) if key == MAINTENANCE:
            return kept_in(state, message)
        case Woken(key=key) if key == DAILY:
            return ask_rules(state, message, "a day has passed")
        case Woken(key=key) if key == MARGIN:
            return ask_margin(state, message)
        case PersonAsked():
            return resumed(state, message), []
    return state, []


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

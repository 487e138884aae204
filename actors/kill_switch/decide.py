"""Latches, then cancels and flattens until the exchange itself shows nothing open; only a person ends the latch.

Acts on exchange truth alone, reading by reading, so that a restart resumes where the account stands; the next reading
begins as soon as all that was sent has had its effect. Why it latches is `causes`' table. Knows no trade and no signal, and
asks nobody whether it may.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from actors.kill_switch.booked import Booked, Books, book, listed, unlisted
from actors.kill_switch.causes import FUTURES_LEASE, Watch, found, look_again_at, observe
from actors.kill_switch.effort import AGAIN_US, Effort, Wish, happened, heard, left_of, may_work_yet, over, said
from actors.kill_switch.plan import kill_id, plan, plan_of_part
from config.settings import KillSwitchSettings, Settings
from protocol import codec
from protocol.messages.base import Message, follow
from protocol.messages.control import Alert, KillProgress, KillRequested, Latch, LeaseChanged, Started, WakeAt, Woken
from protocol.messages.futures import (
    LIST_LAG_US,
    ExchangeSnapshot,
    Filled,
    OrderGone,
    OrderRejected,
    PlaceOrder,
    Position,
    PositionChanged,
    Readable,
    RequestSnapshot,
    SnapshotMissed,
)
from protocol.ports import LatchState
from protocol.units import SECOND_US, seconds_us

STUCK_US: Final = 15 * SECOND_US
LOCKED_OUT_US: Final = 60 * SECOND_US
"""Between readings while the exchange refuses our key: more would lock it out."""
WAKE: Final = "kill"
WATCH: Final = "watch"
STUCK: Final = "stuck"


class State(msgspec.Struct, frozen=True, kw_only=True):
    """`kill`: the id of this latching. `since`: when this effort began, None while nothing is to be done. `asked`: when
    an unanswered truth was asked for. `left`: what the last reading showed open. `moved`: newest word of the stream on
    each position and when it came; it can only keep a stop in place, never remove one. `books`: what all fills say
    is held. `truth`: the last reading, for the record. Times in microseconds.
    """

    limits: KillSwitchSettings
    effort: Effort
    watch: Watch = Watch()
    truth: ExchangeSnapshot | None = None
    latched: bool = False
    kill: str = ""
    since: int | None = None
    asked: int | None = None
    stuck: bool = False
    left: str = "not read yet"
    moved: dict[str, tuple[Position, int]] = {}
    books: Books = {}


Answer = tuple[State, list[Message]]


def initial(settings: Settings, latch: LatchState) -> State:
    """A life that begins with what is written down."""
    blank = State(
        limits=settings.kill_switch, effort=Effort(patience_us=seconds_us(settings.execution.request_timeout_s))
    )
    if not latch.latched:
        return replace(blank, watch=Watch(acknowledged_at=latch.at))
    return replace(blank, latched=True, kill=kill_id(latch.reason, latch.at))


def step(state: State, message: Message) -> tuple[State, tuple[Message, ...]]:
    """One message in; a cause that holds latches; while latched, what brings the account closer to flat."""
    state, out = _watched(_heard(state, message), message)
    handler = HANDLERS.get(type(message))
    if handler is None:
        return state, tuple(out)
    state, more = handler(state, message)
    return state, (*out, *more)


def _heard(state: State, message: Message) -> State:
    """What is told of our own orders and their markets. Without the stream a market may open again unheard."""
    effort = heard(state.effort, message)
    if effort.closed and isinstance(message, LeaseChanged) and message.lease == FUTURES_LEASE and not message.held:
        effort = replace(effort, closed=())
    return state if effort is state.effort else replace(state, effort=effort)


def _watched(state: State, message: Message) -> Answer:
    """What the switch sees for itself. A cause that was found is found once: latched is latched."""
    watch = observe(state.watch, message)
    if watch is not state.watch and watch == state.watch and not watch.lasts:
        watch = state.watch  # what was no cause before is none now
    truth, books = state.truth, state.books
    if isinstance(message, ExchangeSnapshot):
        truth, books = message, listed(books, message)
    if watch is state.watch and truth is state.truth and not isinstance(message, Woken):
        return state, []
    again = look_again_at(state.watch, watch, state.limits, message)
    state = replace(state, watch=watch, truth=truth, books=books)
    out: list[Message] = [] if again is None else [follow(message, WakeAt, WATCH, key=WATCH, due=again)]
    reason = None if state.latched else found(watch, state.limits, message.at)
    if reason is None:
        return state, out
    state, more = _requested(state, follow(message, KillRequested, reason=reason, by="kill_switch"))
    return state, [*out, *more]


def _requested(state: State, cause: KillRequested) -> Answer:
    """The latch is written down before anything else; a second request only makes it look again."""
    if state.latched:
        return _begin(state, cause)
    text = f"kill switch latched by {cause.by}: {cause.reason}; cancelling and flattening, a person must acknowledge"
    out: list[Message] = [
        follow(cause, Latch, reason=cause.reason, by=cause.by, context=_context(state)),
        follow(cause, Alert, code="KILL_LATCHED", severity="critical", text=text),
    ]
    state, more = _begin(replace(state, latched=True, kill=kill_id(cause.reason, cause.at)), cause)
    return state, [*out, *more]


class Context(msgspec.Struct, frozen=True, kw_only=True):
    """What was known at the moment of latching."""

    watch: Watch
    truth: ExchangeSnapshot | None


def _context(state: State) -> str:
    return codec.encode(Context(watch=state.watch, truth=state.truth)).decode()


def _started(state: State, cause: Started) -> Answer:
    """A life that finds itself latched goes on."""
    return _begin(state, cause) if state.latched else (state, [])


def _begin(state: State, cause: Message) -> Answer:
    """Read the truth now and keep at it."""
    if state.since is None:
        state = replace(state, since=cause.at, stuck=False)
    return replace(state, asked=cause.at), [_ask(cause), _wake(cause)]


def _moved(state: State, cause: PositionChanged) -> Answer:
    """The stream may know of a position before any reading does: while latched that is a reason to look at once."""
    position = cause.position
    state = replace(state, moved={**state.moved, position.symbol: (position, cause.at)})
    if position.size:
        return _begin(state, cause) if state.latched and state.since is None else (state, [])
    return _told(state, cause, position.symbol, None)


def _gone(state: State, cause: OrderGone) -> Answer:
    """An order left the book: what was sent to have it gone has worked."""
    return _told(state, cause, cause.client_order_id, cause.order_id)


def _rejected(state: State, cause: OrderRejected) -> Answer:
    """Of a cancel that was refused no effect is to be waited for: most often the order was gone already."""
    return _told(state, cause, cause.client_order_id) if cause.wish == "cancel" else (state, [])


def _told(state: State, cause: Message, *names: str | None) -> Answer:
    """An effect of what was sent. After the last of them the next reading need not wait for the timer."""
    effort = happened(state.effort, *names)
    if effort is state.effort:
        return state, []
    state = replace(state, effort=effort)
    if effort.awaited or state.since is None or state.asked is not None:
        return state, []
    return replace(state, asked=cause.at), [_ask(cause), _wake(cause)]


def _missed(state: State, cause: SnapshotMissed) -> Answer:
    """No truth this time; what there is of it is acted on, and proves nobody flat. While our key is refused more questions would only lock it out."""
    if state.since is None:
        return state, []
    state, alerts = _stuck(replace(state, asked=None, left=f"unreadable: {cause.reason}"), cause)
    if cause.action == "halt" and state.watch.auth_errors >= state.limits.auth_errors:
        return state, [*alerts, *_alarm(state, cause), _wake(cause, LOCKED_OUT_US)]
    if cause.readable is None:
        return state, alerts
    shown = [position for position in _shown(state, cause.readable) if position.size]
    left = _left(state, shown, unlisted(state.books, cause.readable.began_at))
    part = replace(cause.readable, positions=tuple(left.values()))
    state, commands = _commanded(state, cause, part.began_at, plan_of_part(cause, state.kill, part), left)
    return state, [*commands, *alerts]


def _shown(state: State, part: Readable) -> list[Position]:
    """Positions that could be read, and of the others what the feed last said."""
    shown = {position.symbol: position for position in part.positions}
    told = {symbol: position for symbol, (position, _) in state.moved.items()}
    return list((told | shown).values())


def _left(state: State, positions: Iterable[Position], by_fills: Mapping[str, Decimal]) -> dict[str, Position]:
    return {p.symbol: left_of(state.effort, p, by_fills.get(p.symbol, Decimal(0))) for p in positions}


def _read(state: State, truth: ExchangeSnapshot) -> Answer:
    """Plan from the truth; flat without working orders is done, until a later reading shows otherwise."""
    if not state.latched:
        return state, []
    positions = {p.symbol: p for p in truth.positions if p.size}
    for symbol, (position, at) in state.moved.items():
        if at + LIST_LAG_US >= truth.began_at and position.size:
            positions.setdefault(symbol, position)
            if at >= truth.began_at:
                positions[symbol] = position
    for position in truth.lacks:
        positions.setdefault(position.symbol, position)
    by_fills = unlisted(state.books, truth.began_at, truth.unproved)
    for symbol, size in by_fills.items():
        positions.setdefault(symbol, Position(symbol=symbol, size=size, entry_price=Decimal(0)))
    left = _left(state, positions.values(), by_fills)
    planned = plan(truth, state.kill, truth.began_at, truth.orders, tuple(left.values()))
    state, commands = _commanded(state, truth, truth.began_at, planned, left)
    still_open = tuple(sorted(positions))
    progress = follow(
        truth, KillProgress, flat=not still_open, open_positions=still_open, working_orders=len(truth.orders)
    )
    if not (still_open or truth.orders):
        state, was = replace(state, since=None, stuck=False, effort=over(state.effort)), state.since
        return state, [progress] if was is not None else []
    state = replace(
        state,
        since=truth.at if state.since is None else state.since,
        left=f"positions {', '.join(still_open) or 'none'}; {len(truth.orders)} working orders",
    )
    state, alerts = _stuck(state, truth)
    return state, [*commands, progress, *alerts, _wake(truth)]


def _commanded(
    state: State, reading: Message, began_at: int, planned: Sequence[Wish], left: Mapping[str, Position]
) -> tuple[State, list[Wish]]:
    """What is sent of a plan, and remembered of it."""
    wishes = [wish for wish in planned if not _overtaken(state, reading.at, began_at, wish)]
    return replace(state, asked=None, effort=said(state.effort, wishes, reading.at, left)), wishes


def _overtaken(state: State, at: int, began_at: int, wish: Wish) -> bool:
    """Whether the symbol was told flat since this reading began, or what was sent last may still work."""
    if isinstance(wish, PlaceOrder):
        position, moved_at = state.moved.get(wish.symbol, (None, -1))
        if position is not None and not position.size and moved_at >= began_at:
            return True
    return may_work_yet(state.effort, wish, at, began_at)


def _filled(state: State, cause: Filled) -> Answer:
    """Each fill is booked. One that opens while latched is a reason to look at once: an entry that was on its way may be told by nothing else."""
    fill = cause.fill
    known = state.books if fill.symbol in state.books else {**state.books, fill.symbol: Booked(size=cause.before)}
    books = book(known, fill, cause.at, reduces=fill.client_order_id in state.effort.flattens)
    state = replace(state, books=books)
    opens = fill.symbol in unlisted(books, cause.at)
    return _begin(state, cause) if opens and state.latched and state.since is None else (state, [])


def _alarm(state: State, cause: Message) -> list[Message]:
    """A person hears of what stays open in time although the next question is far (storm 530267)."""
    if state.since is None or state.stuck:
        return []
    return [follow(cause, WakeAt, STUCK, key=STUCK, due=state.since + STUCK_US)]


def _again(state: State, cause: Woken) -> Answer:
    """Ask for the next reading, unless the last question may still be answered, or it is only time to look how long it takes."""
    if cause.key not in (WAKE, STUCK) or state.since is None:
        return state, []
    state, alerts = _stuck(state, cause)
    if cause.key == STUCK:
        return state, alerts
    if state.asked is not None and cause.at - state.asked < state.effort.patience_us:
        return state, [*alerts, _wake(cause)]
    return replace(state, asked=cause.at), [*alerts, _ask(cause), _wake(cause)]


def _stuck(state: State, cause: Message) -> Answer:
    if state.since is None or state.stuck or cause.at - state.since < STUCK_US:
        return state, []
    text = f"not flat {STUCK_US // SECOND_US} s after the kill switch began; still open: {state.left}; act by hand"
    return replace(state, stuck=True), [follow(cause, Alert, code="KILL_STUCK", severity="critical", text=text)]


def _ask(cause: Message) -> RequestSnapshot:
    return follow(cause, RequestSnapshot, reason="kill switch", urgent=True)


def _wake(cause: Message, after_us: int = AGAIN_US) -> WakeAt:
    return follow(cause, WakeAt, key=WAKE, due=cause.at + after_us)


HANDLERS: Final[dict[type[Message], Callable[[State, Any], Answer]]] = {
    KillRequested: _requested,
    Started: _started,
    PositionChanged: _moved,
    OrderGone: _gone,
    OrderRejected: _rejected,
    ExchangeSnapshot: _read,
    SnapshotMissed: _missed,
    Woken: _again,
    Filled: _filled,
}

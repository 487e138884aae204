"""Latches, then cancels and flattens until the exchange itself shows nothing open; only a person ends the latch.

Acts on exchange truth alone, reading by reading, so that a restart resumes where the account stands; the next reading
begins as soon as all that was sent has had its effect. Why it latches is `causes`' table. Knows no trade and no signal, and
asks nobody whether it may.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Final

import msgspec
from msgspec.structs import replace

from actors.kill_switch.booked import Booked, Books, book, listed, unlisted
from actors.kill_switch.causes import FUTURES_LEASE, Watch, found, look_again_at, observe
from actors.kill_switch.plan import kill_id, plan, plan_of_part
from config.settings import KillSwitchSettings, Settings
from protocol import codec
from protocol.kraken.faults import judge
from protocol.messages.base import Message, follow
from protocol.messages.control import Alert, KillProgress, KillRequested, Latch, LeaseChanged, Started, WakeAt, Woken
from protocol.messages.futures import (
    LIST_LAG_US,
    CancelOrder,
    ExchangeSnapshot,
    Fill,
    Filled,
    ModeChanged,
    OrderGone,
    OrderRejected,
    OrderUnknown,
    PlaceOrder,
    Position,
    PositionChanged,
    Readable,
    RequestSnapshot,
    SnapshotMissed,
)
from protocol.ports import LatchState
from protocol.units import SECOND_US, seconds_us

AGAIN_US: Final = SECOND_US
REFUSED_AGAIN_US: Final = 5 * SECOND_US
"""Between attempts to leave that are refused again and again: soon after a market reopens, and no loop meanwhile (fault-catalogue 36)."""
REFUSED_MOST: Final = 3
"""Refusals in a row after which a flatten is said that seldom. Of a closed market one is enough, whatever is answered after it (storm 70010),
and none is needed where it was told closed: every answer may be lost (storm 70042).
"""
UNHEARD_MOST: Final = 3
"""Time-outs after which a flatten that nothing was heard of is said anew."""
STUCK_US: Final = 15 * SECOND_US
LOCKED_OUT_US: Final = 60 * SECOND_US
"""Between readings while the exchange refuses our key: more would lock it out."""
SIZES_KEPT: Final = 64
FLATTENS_KEPT: Final = 64
CANCELS_APART: Final = 3
"""By so much longer it waits, twice, before an order is cancelled again: a crowd of orders that stay must not use up the rate."""
WAKE: Final = "kill"
WATCH: Final = "watch"


class Flattening(msgspec.Struct, frozen=True, kw_only=True):
    """A symbol's last flatten, and the signed sizes that its position has had since the first one, newest last."""

    name: str
    sizes: tuple[Decimal, ...]


class State(msgspec.Struct, frozen=True, kw_only=True):
    """`kill`: the id of this latching. `since`: when this effort began, None while nothing is to be done. `asked`: when
    an unanswered truth was asked for. `left`: what the last reading showed open. `moved`: newest word of the stream on
    each position and when it came; it can only keep a stop in place, never remove one. `sent`: when each symbol was last
    flattened and each order last cancelled; a reading that may not show the effect yet is no reason to sell twice. `awaited`: effects of what was sent
    that nobody has told yet. `asked_for`: by symbol the flatten that nothing was heard of yet. `refused`: by symbol the flattens refused in a row, a closed market's counting in full. `closed`: markets told closed. `flattening`: what our fills have left of each symbol. `flattens`: the newest of our orders, newest last. `cancels`: how often each order was cancelled. `books`: what all fills say
    is held. `truth`: the last reading, for the record.
    """

    patience_us: int
    limits: KillSwitchSettings
    watch: Watch = Watch()
    truth: ExchangeSnapshot | None = None
    awaited: tuple[str, ...] = ()
    latched: bool = False
    kill: str = ""
    since: int | None = None
    asked: int | None = None
    stuck: bool = False
    left: str = "not read yet"
    moved: dict[str, tuple[Position, int]] = {}
    sent: dict[str, int] = {}
    asked_for: dict[str, str] = {}
    refused: dict[str, int] = {}
    closed: tuple[str, ...] = ()
    flattening: dict[str, Flattening] = {}
    flattens: tuple[str, ...] = ()
    cancels: dict[str, int] = {}
    books: Books = {}


Answer = tuple[State, list[Message]]


def initial(settings: Settings, latch: LatchState) -> State:
    """A life that begins with what is written down."""
    patience_us = seconds_us(settings.execution.request_timeout_s)
    if not latch.latched:
        return State(patience_us=patience_us, limits=settings.kill_switch, watch=Watch(acknowledged_at=latch.at))
    kill = kill_id(latch.reason, latch.at)
    return State(patience_us=patience_us, limits=settings.kill_switch, latched=True, kill=kill)


def step(state: State, message: Message) -> tuple[State, tuple[Message, ...]]:
    """One message in; a cause that holds latches; while latched, what brings the account closer to flat."""
    state, out = _watched(_heard_of(state, message), message)
    match message:
        case KillRequested():
            state, more = _requested(state, message)
        case Started() if state.latched:
            state, more = _begin(state, message)
        case PositionChanged(position=position):
            state, more = _moved(state, message, position)
        case OrderGone():
            state, more = _told(state, message, message.client_order_id, message.order_id)
        case OrderRejected(wish="cancel"):
            # No effect to wait for: most often the order was gone already.
            state, more = _told(state, message, message.client_order_id)
        case ExchangeSnapshot() if state.latched:
            state, more = _read(state, message)
        case SnapshotMissed() if state.since is not None:
            state, more = _missed(state, message)
        case Woken(key=key) if key == WAKE and state.since is not None:
            state, more = _again(state, message)
        case Filled(fill=fill):
            state, more = _filled(state, message, fill)
        case ModeChanged():
            state, more = _mode(state, message), []
        case LeaseChanged(lease=lease, held=False) if lease == FUTURES_LEASE:
            state, more = replace(state, closed=()), []  # it may open again unheard
        case _:
            more = []
    return state, (*out, *more)


def _heard_of(state: State, message: Message) -> State:
    """A flatten is answered by whatever names it: its fill, its end, a refusal, doubt. Refusals are counted."""
    match message:
        case Filled(fill=fill):
            name = fill.client_order_id
        case OrderRejected(client_order_id=name) | OrderUnknown(client_order_id=name) | OrderGone(client_order_id=name):
            pass
        case _:
            return state
    symbol = next((symbol for symbol, asked in state.asked_for.items() if asked == name), None)
    if symbol is None:
        return state
    left = {other: asked for other, asked in state.asked_for.items() if other != symbol}
    refused = {**state.refused, symbol: _refusals(state.refused.get(symbol, 0), message)}
    closed = tuple(other for other in state.closed if other != symbol or not isinstance(message, Filled))
    return replace(state, asked_for=left, refused=refused, closed=closed)


def _refusals(before: int, answer: Message) -> int:
    """How often in a row a flatten was refused, with this answer. Doubt and a refusal for the rate of our requests say nothing of it."""
    match answer:
        case Filled() | OrderGone():
            return 0
        case OrderRejected(status=status, limited=False):
            return REFUSED_MOST if judge(status).kind == "mode" else before + 1
        case _:
            return before


def _watched(state: State, message: Message) -> Answer:
    """What the switch sees for itself. A cause that was found is found once: latched is latched."""
    watch = observe(state.watch, message)
    if watch == state.watch and not watch.lasts:
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


def _begin(state: State, cause: Message) -> Answer:
    """Read the truth now and keep at it."""
    if state.since is None:
        state = replace(state, since=cause.at, stuck=False)
    return replace(state, asked=cause.at), [_ask(cause), _wake(cause)]


def _moved(state: State, cause: PositionChanged, position: Position) -> Answer:
    """The stream may know of a position before any reading does: while latched that is a reason to look at once."""
    state = replace(state, moved={**state.moved, position.symbol: (position, cause.at)})
    if position.size:
        return _begin(state, cause) if state.latched and state.since is None else (state, [])
    return _told(state, cause, position.symbol, None)


def _mode(state: State, told: ModeChanged) -> State:
    """A market that opens begins anew: refusals of before say nothing of it."""
    others = tuple(symbol for symbol in state.closed if symbol != told.symbol)
    if told.mode:
        return replace(state, closed=(*others, told.symbol))
    return replace(state, closed=others, refused={**state.refused, told.symbol: 0})


def _told(state: State, cause: Message, *names: str | None) -> Answer:
    """An effect of what was sent. After the last of them the next reading need not wait for the timer."""
    awaited = tuple(name for name in state.awaited if name not in names)
    if len(awaited) == len(state.awaited):
        return state, []
    state = replace(state, awaited=awaited)
    if awaited or state.since is None or state.asked is not None:
        return state, []
    return replace(state, asked=cause.at), [_ask(cause), _wake(cause)]


def _missed(state: State, cause: SnapshotMissed) -> Answer:
    """No truth this time; what there is of it is acted on, and proves nobody flat. While our key is refused more questions would only lock it out."""
    state, alerts = _stuck(replace(state, asked=None, left=f"unreadable: {cause.reason}"), cause)
    if cause.action == "halt" and state.watch.auth_errors >= state.limits.auth_errors:
        return state, [*alerts, _wake(cause, LOCKED_OUT_US)]
    if cause.readable is None:
        return state, alerts
    left = {position.symbol: _left(state, position) for position in _shown(state, cause.readable) if position.size}
    part = replace(cause.readable, positions=tuple(left.values()))
    state, commands = _commanded(state, cause, part.began_at, plan_of_part(cause, state.kill, part), left)
    return state, [*commands, *alerts]


def _shown(state: State, part: Readable) -> list[Position]:
    """Positions that could be read, and of the others what the feed last said."""
    shown = {position.symbol: position for position in part.positions}
    told = {symbol: position for symbol, (position, _) in state.moved.items()}
    return list((told | shown).values())


def _read(state: State, truth: ExchangeSnapshot) -> Answer:
    """Plan from the truth; flat without working orders is done, until a later reading shows otherwise."""
    positions = {p.symbol: p for p in truth.positions if p.size}
    for symbol, (position, at) in state.moved.items():
        if at + LIST_LAG_US >= truth.began_at and position.size:
            positions.setdefault(symbol, position)
            if at >= truth.began_at:
                positions[symbol] = position
    for position in truth.lacks:
        positions.setdefault(position.symbol, position)
    for symbol, size in unlisted(state.books, truth.began_at, truth.unproved).items():
        positions.setdefault(symbol, Position(symbol=symbol, size=size, entry_price=Decimal(0)))
    left = {symbol: _left(state, position) for symbol, position in positions.items()}
    planned = plan(truth, state.kill, truth.began_at, truth.orders, tuple(left.values()))
    state, commands = _commanded(state, truth, truth.began_at, planned, left)
    still_open = tuple(sorted(positions))
    progress = follow(
        truth, KillProgress, flat=not still_open, open_positions=still_open, working_orders=len(truth.orders)
    )
    if not (still_open or truth.orders):
        state, was = replace(state, since=None, stuck=False, refused={}, flattening={}, cancels={}), state.since
        return state, [progress] if was is not None else []
    state = replace(
        state,
        since=truth.at if state.since is None else state.since,
        left=f"positions {', '.join(still_open) or 'none'}; {len(truth.orders)} working orders",
    )
    state, alerts = _stuck(state, truth)
    return state, [*commands, progress, *alerts, _wake(truth)]


def _commanded(
    state: State,
    reading: Message,
    began_at: int,
    planned: Sequence[PlaceOrder | CancelOrder],
    left: Mapping[str, Position],
) -> tuple[State, list[PlaceOrder | CancelOrder]]:
    """What is sent of a plan, and remembered of it."""
    commands = [wish for wish in planned if not _overtaken(state, reading.at, began_at, wish)]
    flattening = {**state.flattening, **_flattening(state, commands, left)}
    sent = {_subject(wish): reading.at for wish in commands}
    asked_for = {wish.symbol: wish.client_order_id for wish in commands if isinstance(wish, PlaceOrder)}
    cancels = {
        wish.subject: state.cancels.get(wish.subject, 0) + 1 for wish in commands if isinstance(wish, CancelOrder)
    }
    state = replace(
        state,
        asked=None,
        flattening=flattening,
        cancels={**state.cancels, **cancels},
        sent={**state.sent, **sent},
        asked_for={**state.asked_for, **asked_for},
        flattens=(*state.flattens, *asked_for.values())[-FLATTENS_KEPT:],
        awaited=tuple(_subject(wish) for wish in commands),
    )
    return state, commands


def _filled(state: State, cause: Filled, fill: Fill) -> Answer:
    """Each fill is booked. One that opens while latched is a reason to look at once: an entry that was on its way may be told by nothing else."""
    known = state.books if fill.symbol in state.books else {**state.books, fill.symbol: Booked(size=cause.before)}
    books = book(known, fill, cause.at, reduces=fill.client_order_id in state.flattens)
    state = _reduced(replace(state, books=books), fill)
    opens = fill.symbol in unlisted(books, cause.at)
    return _begin(state, cause) if opens and state.latched and state.since is None else (state, [])


def _reduced(state: State, fill: Fill) -> State:
    """What a fill of a flatten leaves."""
    last = state.flattening.get(fill.symbol)
    if last is None or last.name != fill.client_order_id:
        return state
    left = last.sizes[-1] + fill.signed_size
    last = replace(last, sizes=(*last.sizes, left)[-SIZES_KEPT:])
    return replace(state, flattening={**state.flattening, fill.symbol: last})


def _left(state: State, position: Position) -> Position:
    """A position less what our flattens have filled of it: a list that shows it as it was before them is stale (fault-catalogue 20).

    Fills that leave nothing do not count against a list: whatever it shows is flattened.
    """
    last = state.flattening.get(position.symbol)
    if last is None or position.size not in last.sizes or last.sizes[-1] * position.size <= 0:
        return position
    return replace(position, size=last.sizes[-1])


def _flattening(
    state: State, commands: Sequence[PlaceOrder | CancelOrder], left: Mapping[str, Position]
) -> dict[str, Flattening]:
    """What follows from now on of the symbols that are flattened; the sizes begin anew where the exchange shows another."""
    following = dict[str, Flattening]()
    for wish in commands:
        if isinstance(wish, PlaceOrder):
            size, last = left[wish.symbol].size, state.flattening.get(wish.symbol)
            sizes = last.sizes if last is not None and last.sizes[-1] == size else (size,)
            following[wish.symbol] = Flattening(name=wish.client_order_id, sizes=sizes)
    return following


def _subject(wish: PlaceOrder | CancelOrder) -> str:
    """What a command is about: a symbol to flatten, or an order to cancel."""
    return wish.symbol if isinstance(wish, PlaceOrder) else wish.subject


def _overtaken(state: State, at: int, began_at: int, wish: PlaceOrder | CancelOrder) -> bool:
    """Whether the symbol was flattened, or told flat, so late that this reading need not show it; or the order's cancel may
    still be answered: said again with each reading, cancels would queue up before the flatten that follows them.
    """
    if isinstance(wish, CancelOrder):
        sent, times = state.sent.get(wish.subject), state.cancels.get(wish.subject, 0)
        return sent is not None and at < sent + state.patience_us * CANCELS_APART ** min(max(times - 1, 0), 2)
    symbol = wish.symbol
    position, moved_at = state.moved.get(symbol, (None, -1))
    told_flat = position is not None and not position.size and moved_at >= began_at
    sent = state.sent.get(symbol)
    if told_flat or sent is None:
        return told_flat
    if symbol in state.asked_for and at < sent + UNHEARD_MOST * state.patience_us:
        return True  # it may still wait behind a cancel whose reply is lost: said each second, flattens would queue up and leave as one
    in_vain = symbol in state.closed or state.refused.get(symbol, 0) >= REFUSED_MOST
    return began_at < sent + (REFUSED_AGAIN_US if in_vain else AGAIN_US)


def _again(state: State, cause: Woken) -> Answer:
    """Ask for the next reading, unless the last question may still be answered."""
    state, alerts = _stuck(state, cause)
    if state.asked is not None and cause.at - state.asked < state.patience_us:
        return state, [*alerts, _wake(cause)]
    return replace(state, asked=cause.at), [*alerts, _ask(cause), _wake(cause)]


def _stuck(state: State, cause: Message) -> Answer:
    if state.since is None or state.stuck or cause.at - state.since <= STUCK_US:
        return state, []
    text = f"not flat {STUCK_US // SECOND_US} s after the kill switch began; still open: {state.left}; act by hand"
    return replace(state, stuck=True), [follow(cause, Alert, code="KILL_STUCK", severity="critical", text=text)]


def _ask(cause: Message) -> RequestSnapshot:
    return follow(cause, RequestSnapshot, reason="kill switch", urgent=True)


def _wake(cause: Message, after_us: int = AGAIN_US) -> WakeAt:
    return follow(cause, WakeAt, key=WAKE, due=cause.at + after_us)

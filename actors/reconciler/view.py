"""Our view of the futures account, built from the facts of the futures feed. Pure; judges nothing."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final, TypeVar

import msgspec
from msgspec.structs import replace

from actors.memory import recalled
from actors.reconciler.judge import Finding, describe
from config.settings import ExecutionSettings, Settings
from protocol.forced import FORCED_FILLS
from protocol.ids import is_ours
from protocol.messages.base import Message, follow
from protocol.messages.control import Alert, WakeAt
from protocol.messages.futures import (
    Filled,
    Instrument,
    InstrumentsListed,
    OpenOrder,
    OrderAccepted,
    OrderGone,
    OrderRejected,
    OrderUnknown,
    Position,
    PositionChanged,
)
from protocol.units import seconds_us

GONE_KEPT: Final = 512
T = TypeVar("T")


class Resting(msgspec.Struct, frozen=True, kw_only=True):
    """An order in our view. `changed_at` its last event, `absent` snapshots in a row without it, `filled` a fill since."""

    order: OpenOrder
    changed_at: int
    absent: int = 0
    filled: bool = False


class Unknown(msgspec.Struct, frozen=True, kw_only=True):
    """A placement whose outcome was not known `at` that moment; from `settles_at` on it can no longer arrive. None: our clock has not told yet
    how late we heard of it.
    """

    symbol: str
    at: int
    settles_at: int | None = None
    absent: int = 0


class Lasting(msgspec.Struct, frozen=True, kw_only=True):
    """A drift that was there in the last pass: since when, in how many passes, and what was said of its lasting."""

    symbol: str
    since: int
    passes: int = 0
    stuck: bool = False
    killed: bool = False


class Memory(msgspec.Struct, frozen=True, kw_only=True):
    """What must survive a crash: signed sizes by our fills, which of them are not ours, and when our fills last made each larger."""

    sizes: dict[str, Decimal] = {}
    foreign: tuple[str, ...] = ()
    enlarged: dict[str, int] = {}


class State(msgspec.Struct, frozen=True, kw_only=True):
    """Our view and the memory of passes.

    `orders` by order id; `unknown` by client id; `names`: order id -> client id, of orders that left too; `changed`: last
    event of a symbol and its cause; `words`: the last word on each position, when and by what cause; `orphans`: order id
    -> snapshots in a row; `disputed`: symbols of which the lists prove nothing, and since when; `learned`: a cause and what we first heard by it, each with when we should have known;
    `unclean`: passes in a row that were not clean; `soon_at`: when the timer of a look soon after an event rings.
    """

    every_us: int
    soon_us: int
    settle_us: int
    kill_after_us: int
    execution: ExecutionSettings
    memory: Memory
    judged: int = -1
    missed: int = 0
    unclean: int = 0
    soon_at: int | None = None
    halted: bool = False
    instruments: dict[str, Instrument] = {}
    orders: dict[str, Resting] = {}
    unknown: dict[str, Unknown] = {}
    names: dict[str, str | None] = {}
    changed: dict[str, tuple[int, str]] = {}
    words: dict[str, tuple[Position, int, str]] = {}
    orphans: dict[str, int] = {}
    disputed: dict[str, int] = {}
    learned: tuple[str, tuple[tuple[int, Finding], ...]] = ("", ())
    lasting: dict[str, Lasting] = {}


Answer = tuple[State, list[Message]]


def initial(settings: Settings, memory: bytes | None = None) -> State:
    """A life that knows the sizes an earlier one kept. Raises msgspec.DecodeError on foreign bytes."""
    kept = recalled(Memory, memory)
    return State(
        every_us=seconds_us(settings.execution.reconcile_s),
        soon_us=seconds_us(settings.execution.reconcile_after_s),
        settle_us=seconds_us(settings.execution.process_before_s),
        kill_after_us=seconds_us(settings.kill_switch.not_converging_s),
        execution=settings.execution,
        memory=kept,
        # Lists trail these fills whoever lives now.
        changed={symbol: (at, "") for symbol, at in kept.enlarged.items()},
    )


def take_in(state: State, message: Message) -> Answer:
    """A fact in; what is not for the view changes nothing."""
    handler = FACTS.get(type(message))
    return (state, []) if handler is None else handler(state, message)


def _touch(state: State, symbol: str, at: int, cause: str = "") -> State:
    """An event of the symbol. One with a `cause` does not disturb the snapshot that follows from the same."""
    return replace(state, changed={**state.changed, symbol: (at, cause)})


def _learn(state: State, cause: Message, since: int, finding: Finding) -> State:
    """Something we should have known since `since`. Drift if it turns out to come by REST and late."""
    learned = state.learned[1] if state.learned[0] == cause.cause else ()
    return replace(state, learned=(cause.cause, (*learned, (since, finding))))


def _filled(state: State, cause: Filled) -> Answer:
    """Our own executions move our view; others are reported and show as drift, which whoever acts must see."""
    fill = cause.fill
    state, soon = look_soon(_touch(state, fill.symbol, cause.at), cause)
    name = fill.client_order_id or state.names.get(fill.order_id)
    if fill.fill_type in FORCED_FILLS or not is_ours(name):
        code = FORCED_FILLS.get(fill.fill_type, "FOREIGN_FILL")
        text = f"{fill.symbol}: {fill.side} {fill.size} at {fill.price}, {fill.fill_type}, not asked for by this system"
        return state, [follow(cause, Alert, code=code, severity="critical", text=text), *soon]
    signed = fill.signed_size
    before = state.memory.sizes.get(fill.symbol, Decimal(0))
    size = before + signed
    sizes = {**state.memory.sizes, fill.symbol: size}
    # A word from before this fill says nothing of what it left.
    words = {k: v for k, v in state.words.items() if k != fill.symbol or v[0].size == size}
    orders = state.orders
    if fill.order_id in orders:
        orders = {**orders, fill.order_id: replace(orders[fill.order_id], changed_at=cause.at, absent=0, filled=True)}
    unknown = _without(state.unknown, name)
    missed = Finding(
        kind="missed_fill",
        symbol=fill.symbol,
        ours="none",
        theirs=f"{fill.side} {fill.size} at {fill.price}",
        client_order_id=name,
        order_id=fill.order_id,
    )
    state = _learn(state, cause, fill.time, missed)
    memory = with_sizes(state.memory, sizes)
    if abs(size) > abs(before):
        memory = replace(memory, enlarged={**memory.enlarged, fill.symbol: cause.at})
    return replace(state, memory=memory, orders=orders, unknown=unknown, words=words), soon


def with_sizes(memory: Memory, sizes: dict[str, Decimal], foreign: tuple[str, ...] | None = None) -> Memory:
    """The memory with these sizes; the very same when nothing changed, so that nothing is written."""
    new = Memory(
        sizes={symbol: size for symbol, size in sizes.items() if size},
        foreign=memory.foreign if foreign is None else foreign,
        enlarged=memory.enlarged,
    )
    return memory if new == memory else new


def _accepted(state: State, cause: OrderAccepted) -> Answer:
    """An order rests, or its terms changed."""
    order = cause.order
    known = state.orders.get(order.order_id)
    if known is not None and describe(known.order) != describe(order):
        changed = Finding(
            kind="order_mismatch",
            symbol=order.symbol,
            ours=describe(known.order),
            theirs=describe(order),
            client_order_id=order.client_order_id,
            order_id=order.order_id,
        )
        state = _learn(state, cause, state.changed.get(order.symbol, (0, ""))[0], changed)
    unknown = _without(state.unknown, order.client_order_id)
    orders = {**state.orders, order.order_id: Resting(order=order, changed_at=cause.at)}
    state = replace(state, unknown=unknown, orders=orders, names=_named(state, order.order_id, order.client_order_id))
    return _touch(state, order.symbol, cause.at, cause.cause), []


def _told(state: State, cause: PositionChanged) -> Answer:
    """The exchange's word on one position. One that our fills do not explain is looked at soon."""
    position = cause.position
    symbol = position.symbol
    known = state.words.get(symbol)
    if known is not None and position.size and known[0].size == position.size:
        ours, theirs = known[0].entry_price, position.entry_price
        if ours != theirs:
            finding = Finding(kind="entry_mismatch", symbol=symbol, ours=f"entry {ours}", theirs=f"entry {theirs}")
            state = _learn(state, cause, known[1], finding)
    state = replace(state, words={**state.words, symbol: (position, cause.at, cause.cause)})
    state = _touch(state, symbol, cause.at, cause.cause)
    explained = state.memory.sizes.get(symbol, Decimal(0)) == position.size
    return (state, []) if explained else look_soon(state, cause)


def _gone(state: State, cause: OrderGone) -> Answer:
    orders, unknown = _without(state.orders, cause.order_id), _without(state.unknown, cause.client_order_id)
    names = _named(state, cause.order_id, cause.client_order_id)
    state = _touch(replace(state, orders=orders, unknown=unknown, names=names), cause.symbol, cause.at)
    return look_soon(state, cause)


def _without(kept: dict[str, T], key: str | None) -> dict[str, T]:
    """The mapping without one of its entries, if it has it."""
    return {k: v for k, v in kept.items() if k != key} if key in kept else kept


def _rejected(state: State, cause: OrderRejected) -> Answer:
    """A refused placement is in doubt no more."""
    if cause.wish != "place":
        return state, []
    unknown = _without(state.unknown, cause.client_order_id)
    return _touch(replace(state, unknown=unknown), cause.symbol, cause.at), []


def _listed(state: State, cause: InstrumentsListed) -> Answer:
    """The rules of the contracts, replaced as a whole."""
    return replace(state, instruments={i.symbol: i for i in cause.instruments}), []


def _unknown(state: State, cause: OrderUnknown) -> Answer:
    """A doubtful placement is settled by evidence; a doubtful edit or cancel shows in the next list by itself."""
    state = _touch(state, cause.symbol, cause.at)
    if cause.wish == "place":
        doubt = Unknown(symbol=cause.symbol, at=cause.at)
        state = replace(state, unknown={**state.unknown, cause.client_order_id: doubt})
    return look_soon(state, cause)


def rung(state: State, at: int) -> State:
    """Our own clock rings. A doubt that a hanging feed told late counts from when we heard of it, not from when it arose: upon that word the order
    is sent again, which no reading from before shows (storm 420088).
    """
    untimed = {name: doubt for name, doubt in state.unknown.items() if doubt.settles_at is None}
    if not untimed:
        return state
    heard_at = at - state.soon_us
    timed = {n: replace(d, settles_at=max(d.at, heard_at) + state.settle_us) for n, d in untimed.items()}
    return replace(state, unknown={**state.unknown, **timed})


def _named(state: State, order_id: str, name: str | None) -> dict[str, str | None]:
    """The names with this one, the oldest of orders that left forgotten."""
    names = {**state.names, order_id: name or state.names.get(order_id)}
    if len(names) > GONE_KEPT:
        names = {k: v for n, (k, v) in enumerate(names.items()) if k in state.orders or n >= len(names) - GONE_KEPT}
    return names


def look_soon(state: State, cause: Message, after_us: int = 0) -> Answer:
    """A look soon after an event, or so long after that; what an event of the same moment has asked for already need not be asked again."""
    due = cause.at + after_us + state.soon_us
    if state.soon_at == due:
        return state, []
    return replace(state, soon_at=due), [wake(cause, "soon", due - cause.at)]


def wake(cause: Message, key: str, after_us: int) -> WakeAt:
    """Ask to be woken for `key`."""
    return follow(cause, WakeAt, key, key=key, due=cause.at + after_us)


FACTS: Final[dict[type[Message], Callable[[State, Any], Answer]]] = {
    Filled: _filled,
    OrderAccepted: _accepted,
    OrderGone: _gone,
    OrderUnknown: _unknown,
    OrderRejected: _rejected,
    PositionChanged: _told,
    InstrumentsListed: _listed,
}

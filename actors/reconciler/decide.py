"""Compares, again and again, what we believe of the futures account with what the exchange says; the exchange is right.

The view is built from the futures feed's facts. A snapshot is set only against what was quiet since its reading began,
and absence counts only when two snapshots agree. Reports drift; repairs nothing, and knows neither limits nor trades.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Final

import msgspec
from msgspec.structs import replace

from actors.reconciler.judge import ADVICE, CODES, Finding, describe, foreign_orders, positions_differ, unprotected
from config.settings import Settings
from protocol.forced import FORCED_FILLS
from protocol.ids import is_ours
from protocol.messages.base import Message, follow
from protocol.messages.control import Alert, Drift, Reconciled, Started, WakeAt, Woken
from protocol.messages.futures import (
    ExchangeSnapshot,
    Fill,
    Filled,
    OpenOrder,
    OrderAccepted,
    OrderGone,
    OrderRejected,
    OrderUnknown,
    PositionChanged,
    RequestSnapshot,
    SnapshotMissed,
)
from protocol.units import SECOND_US, seconds_us

SOON_US: Final = SECOND_US
ABSENT_ENOUGH: Final = 2
STUCK_AFTER: Final = 3
MISSED_MOST: Final = 3
GONE_KEPT: Final = 512


class Resting(msgspec.Struct, frozen=True, kw_only=True):
    """An order in our view. `changed_at` its last event, `absent` snapshots in a row without it, `filled` a fill since."""

    order: OpenOrder
    changed_at: int
    absent: int = 0
    filled: bool = False


class Unknown(msgspec.Struct, frozen=True, kw_only=True):
    """A placement whose outcome we do not know; from `settles_at` on it can no longer arrive."""

    symbol: str
    settles_at: int
    absent: int = 0


class State(msgspec.Struct, frozen=True, kw_only=True):
    """Our view and the memory of passes.

    `sizes`: signed position by our fills; `orders` by order id; `unknown` by client id; `names`: order id -> client id, of
    orders that left too; `changed`: last event of a symbol; `orphans`: order id -> snapshots in a row;
    `passes`: subject of a drift -> (its symbol, passes in a row). `loose`: symbols whose size is not adopted yet, None: all.
    """

    every_us: int
    settle_us: int
    loose: tuple[str, ...] | None = None
    judged: int = -1
    missed: int = 0
    sizes: dict[str, Decimal] = {}
    orders: dict[str, Resting] = {}
    unknown: dict[str, Unknown] = {}
    names: dict[str, str | None] = {}
    changed: dict[str, int] = {}
    orphans: dict[str, int] = {}
    passes: dict[str, tuple[str, int]] = {}


Answer = tuple[State, list[Message]]


def initial(settings: Settings, memory: bytes | None = None) -> State:
    """No view yet: the first snapshot is adopted. `memory` is not used."""
    return State(
        every_us=seconds_us(settings.execution.reconcile_s),
        settle_us=seconds_us(settings.execution.process_before_s),
    )


def step(state: State, message: Message) -> tuple[State, tuple[Message, ...]]:
    """Facts change the view, snapshots are judged against it, timers ask for the next one."""
    match message:
        case ExchangeSnapshot():
            if message.began_at <= state.judged:
                return state, ()
            state, out = _judge(state, message)
        case Filled():
            state, out = _filled(state, message, message.fill)
        case OrderAccepted():
            state, out = _accepted(state, message, message.order), []
        case OrderGone():
            state, out = _gone(state, message)
        case OrderUnknown():
            state, out = _unknown(state, message)
        case OrderRejected(client_order_id=name, symbol=symbol, wish="place"):
            unknown = {k: v for k, v in state.unknown.items() if k != name}
            state, out = _touch(replace(state, unknown=unknown), symbol, message.at), []
        case PositionChanged(position=position):
            state, out = _touch(state, position.symbol, message.at), []
        case SnapshotMissed():
            state, out = _missed(state, message)
        case Started() | Woken(key="reconcile"):
            out = [_look(message, "periodic"), _wake(message, "reconcile", state.every_us)]
        case Woken(key="soon"):
            out = [_look(message, "soon after an event")]
        case _:
            return state, ()
    return state, tuple(out)


def settled(state: State) -> bool:
    """Whether a further pass would find nothing and ask for nothing, as long as no fact arrives."""
    doubts = any(resting.absent for resting in state.orders.values())
    return state.loose is not None and not (state.missed or state.unknown or state.orphans or state.passes or doubts)


# --- the view --------------------------------------------------------------------------------------------------


def _touch(state: State, symbol: str, at: int) -> State:
    return replace(state, changed={**state.changed, symbol: at})


def _filled(state: State, cause: Filled, fill: Fill) -> Answer:
    """Our own executions move our view; others are reported and show as drift, which whoever acts must see."""
    state = _touch(state, fill.symbol, cause.at)
    soon = _wake(cause, "soon", SOON_US)
    name = fill.client_order_id or state.names.get(fill.order_id)
    if fill.fill_type in FORCED_FILLS or not is_ours(name):
        code = FORCED_FILLS.get(fill.fill_type, "FOREIGN_FILL")
        text = f"{fill.symbol}: {fill.side} {fill.size} at {fill.price}, {fill.fill_type}, not asked for by this system"
        return state, [follow(cause, Alert, code=code, severity="critical", text=text), soon]
    signed = fill.size if fill.side == "buy" else -fill.size
    sizes = {**state.sizes, fill.symbol: state.sizes.get(fill.symbol, Decimal(0)) + signed}
    orders = state.orders
    if fill.order_id in orders:
        orders = {**orders, fill.order_id: replace(orders[fill.order_id], changed_at=cause.at, absent=0, filled=True)}
    unknown = {k: v for k, v in state.unknown.items() if k != name}
    return replace(state, sizes=sizes, orders=orders, unknown=unknown), [soon]


def _accepted(state: State, cause: Message, order: OpenOrder) -> State:
    unknown = {k: v for k, v in state.unknown.items() if k != order.client_order_id}
    orders = {**state.orders, order.order_id: Resting(order=order, changed_at=cause.at)}
    state = replace(state, unknown=unknown, orders=orders, names=_named(state, order.order_id, order.client_order_id))
    return _touch(state, order.symbol, cause.at)


def _gone(state: State, cause: OrderGone) -> Answer:
    orders = {k: v for k, v in state.orders.items() if k != cause.order_id}
    unknown = {k: v for k, v in state.unknown.items() if k != cause.client_order_id}
    names = _named(state, cause.order_id, cause.client_order_id)
    state = _touch(replace(state, orders=orders, unknown=unknown, names=names), cause.symbol, cause.at)
    return state, [_wake(cause, "soon", SOON_US)]


def _unknown(state: State, cause: OrderUnknown) -> Answer:
    """A doubtful placement is settled by evidence; a doubtful edit or cancel shows in the next list by itself."""
    state = _touch(state, cause.symbol, cause.at)
    if cause.wish == "place":
        doubt = Unknown(symbol=cause.symbol, settles_at=cause.at + state.settle_us)
        state = replace(state, unknown={**state.unknown, cause.client_order_id: doubt})
    return state, [_wake(cause, "soon", SOON_US)]


def _named(state: State, order_id: str, name: str | None) -> dict[str, str | None]:
    """The names with this one, the oldest of orders that left forgotten."""
    names = {**state.names, order_id: name or state.names.get(order_id)}
    if len(names) > GONE_KEPT:
        names = {k: v for n, (k, v) in enumerate(names.items()) if k in state.orders or n >= len(names) - GONE_KEPT}
    return names


# --- one pass --------------------------------------------------------------------------------------------------


def _judge(state: State, snapshot: ExchangeSnapshot) -> Answer:
    """One complete pass: find, adopt, report."""
    began_at = snapshot.began_at
    theirs = {p.symbol: p.size for p in snapshot.positions}
    symbols = [*dict.fromkeys((*state.sizes, *theirs, *state.changed, *(o.symbol for o in snapshot.orders)))]
    quiet = [s for s in symbols if state.changed.get(s, -1) < began_at]
    firm = [] if state.loose is None else [s for s in quiet if s not in state.loose]
    findings = positions_differ(state.sizes, theirs, firm)
    findings += unprotected(snapshot, quiet)
    findings += foreign_orders(snapshot, state.names)
    orders, missing = _missing_orders(state, snapshot)
    unknown, unsettled = _unsettled(state, snapshot)
    orphans, orphaned = _orphans(state, snapshot, theirs, quiet)
    findings += [*missing, *unsettled, *orphaned]
    sizes = {**state.sizes, **{s: theirs.get(s, Decimal(0)) for s in quiet}}
    # A symbol that was not quiet was not judged: what was wrong with it is not over.
    passes = {k: v for k, v in state.passes.items() if v[0] not in quiet and v[0] in symbols}
    for finding in findings:
        _, before = state.passes.get(finding.subject, ("", 0))
        passes[finding.subject] = (finding.symbol, before + 1)
    out = [message for finding in findings for message in _report(snapshot, finding, passes[finding.subject][1])]
    out.append(follow(snapshot, Reconciled, began_at=began_at, clean=not findings))
    state = replace(
        state,
        loose=tuple(s for s in (symbols if state.loose is None else state.loose) if s not in quiet),
        judged=began_at,
        missed=0,
        sizes={symbol: size for symbol, size in sizes.items() if size},
        orders=orders,
        unknown=unknown,
        orphans=orphans,
        passes=passes,
    )
    return state, [*out, *_look_again(state, snapshot)]


def _missing_orders(state: State, snapshot: ExchangeSnapshot) -> tuple[dict[str, Resting], list[Finding]]:
    """Orders of ours that two snapshots begun after their last event do not list. A fill explains an absence."""
    listed = {order.order_id: order for order in snapshot.orders}
    kept: dict[str, Resting] = {}
    findings = []
    for order_id, resting in state.orders.items():
        if order_id in listed:
            kept[order_id] = replace(resting, absent=0)
        elif resting.changed_at >= snapshot.began_at:
            kept[order_id] = resting
        elif resting.absent + 1 < ABSENT_ENOUGH:
            kept[order_id] = replace(resting, absent=resting.absent + 1)
        elif not resting.filled and is_ours(resting.order.client_order_id):
            findings.append(
                Finding(
                    kind="missing_order",
                    symbol=resting.order.symbol,
                    ours=describe(resting.order),
                    theirs="absent",
                    client_order_id=resting.order.client_order_id,
                    order_id=order_id,
                )
            )
    for order_id, order in listed.items():
        if order_id not in kept and state.changed.get(order.symbol, -1) < snapshot.began_at:
            kept[order_id] = Resting(order=order, changed_at=snapshot.began_at)
    return kept, findings


def _unsettled(state: State, snapshot: ExchangeSnapshot) -> tuple[dict[str, Unknown], list[Finding]]:
    """Placements of unknown outcome: settled as live when listed, as absent by two snapshots that come late enough."""
    listed = {order.client_order_id for order in snapshot.orders}
    kept: dict[str, Unknown] = {}
    findings = []
    for name, doubt in state.unknown.items():
        if name in listed:
            continue
        if snapshot.began_at <= doubt.settles_at:
            kept[name] = doubt
        elif doubt.absent + 1 < ABSENT_ENOUGH:
            kept[name] = replace(doubt, absent=doubt.absent + 1)
        else:
            findings.append(
                Finding(
                    kind="missing_order",
                    symbol=doubt.symbol,
                    ours="unknown",
                    theirs="absent",
                    client_order_id=name,
                )
            )
    return kept, findings


def _orphans(
    state: State, snapshot: ExchangeSnapshot, theirs: dict[str, Decimal], quiet: list[str]
) -> tuple[dict[str, int], list[Finding]]:
    """Reduce-only orders of ours that rest without a position in two snapshots."""
    seen: dict[str, int] = {}
    findings = []
    for order in snapshot.orders:
        name = order.client_order_id or state.names.get(order.order_id)
        if not (order.reduce_only and is_ours(name)) or theirs.get(order.symbol):
            continue
        before = state.orphans.get(order.order_id, 0)
        seen[order.order_id] = before + 1 if order.symbol in quiet else before
        if seen[order.order_id] >= ABSENT_ENOUGH:
            findings.append(
                Finding(
                    kind="orphan_order",
                    symbol=order.symbol,
                    ours="flat",
                    theirs=describe(order),
                    client_order_id=name,
                    order_id=order.order_id,
                )
            )
    return seen, findings


def _report(cause: ExchangeSnapshot, finding: Finding, passes: int) -> list[Message]:
    """Drift in every pass, an alert once per condition, and once more when it does not go away."""
    out: list[Message] = [_drift(cause, finding)]
    if passes == 1:
        out.append(_alert(cause, finding))
    if passes == STUCK_AFTER:
        stuck = replace(finding, kind="stuck", ours=f"{finding.kind}: {finding.ours}")
        out += [_drift(cause, stuck), _alert(cause, stuck)]
    return out


def _drift(cause: ExchangeSnapshot, finding: Finding) -> Drift:
    return follow(
        cause,
        Drift,
        finding.subject,
        kind=finding.kind,
        symbol=finding.symbol,
        ours=finding.ours,
        theirs=finding.theirs,
        client_order_id=finding.client_order_id,
        order_id=finding.order_id,
    )


def _alert(cause: ExchangeSnapshot, finding: Finding) -> Alert:
    code, severity = CODES[finding.kind]
    text = f"{finding.symbol} {finding.kind}: ours {finding.ours}, theirs {finding.theirs}; {ADVICE[finding.kind]}"
    return follow(cause, Alert, finding.subject, code=code, severity=severity, text=text)


def _look_again(state: State, cause: ExchangeSnapshot) -> list[Message]:
    """A second look where one is needed to settle something, as soon as it can."""
    dues = [doubt.settles_at for doubt in state.unknown.values()]
    dues += [cause.at for resting in state.orders.values() if resting.absent > 0]
    dues += [cause.at for seen in state.orphans.values() if seen < ABSENT_ENOUGH]
    return [_wake(cause, "soon", max(min(dues) - cause.at, 0) + SOON_US)] if dues else []


# --- snapshots and timers --------------------------------------------------------------------------------------


def _missed(state: State, cause: SnapshotMissed) -> Answer:
    state = replace(state, missed=state.missed + 1)
    if state.missed != MISSED_MOST:
        return state, []
    text = f"no exchange truth in {MISSED_MOST} attempts: {cause.reason}; our view is unchecked"
    return state, [follow(cause, Alert, code="RECON_STUCK", severity="critical", text=text)]


def _look(cause: Message, reason: str) -> RequestSnapshot:
    return follow(cause, RequestSnapshot, reason=reason)


def _wake(cause: Message, key: str, after_us: int) -> WakeAt:
    return follow(cause, WakeAt, key, key=key, due=cause.at + after_us)

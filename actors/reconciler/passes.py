"""One complete pass: a snapshot set against our view. A snapshot counts only against what was quiet since its reading began,
a size only against events old enough for the exchange's lists to show them, absence only when two snapshots agree. Pure.
"""

from __future__ import annotations

from decimal import Decimal
from math import inf
from typing import Final

from msgspec.structs import replace

from actors.reconciler.judge import (
    DIFFERENCES,
    Finding,
    describe,
    equity_differs,
    foreign_orders,
    leverage_x,
    margin_differs,
    missing_stops,
    positions_differ,
)
from actors.reconciler.view import Answer, Lasting, Resting, State, Unknown, look_soon, with_sizes
from protocol.ids import is_ours
from protocol.messages.base import Message, follow
from protocol.messages.control import (
    Alert,
    Drift,
    DriftPolicy,
    HaltEntries,
    KillRequested,
    Reconciled,
    ResumeEntries,
)
from protocol.messages.futures import LIST_LAG_US, ExchangeSnapshot, RequestInstruments
from protocol.protection import covers, is_stop, is_stop_of
from protocol.units import SECOND_US

LATE_US: Final = 2 * SECOND_US
"""What a list shows and no stream told for longer than this was missed."""
ABSENT_ENOUGH: Final = 2
STUCK_AFTER: Final = 3
"""Periods that a difference may last."""
NAKED_MOST_US: Final = 25 * SECOND_US
"""So long a position may lack its stop: without a mark or the contract's rules the executor can place none, the kill switch needs neither."""
HALT: Final = "reconciliation"
"""The key under which entries wait while a difference does not go away; the next clean pass releases them."""


def judge(state: State, snapshot: ExchangeSnapshot) -> Answer:
    """One complete pass: find, adopt, report."""
    began_at = snapshot.began_at
    theirs = {p.symbol: p.size for p in snapshot.positions}
    ours = state.memory.sizes
    unproved = snapshot.unproved
    symbols = [*dict.fromkeys((*ours, *theirs, *state.changed, *unproved, *(o.symbol for o in snapshot.orders)))]
    quiet = [s for s in symbols if _quiet(state, s, snapshot)]
    firm = [s for s in quiet if _believable(state, s, theirs.get(s, Decimal(0)), began_at)]
    differing = positions_differ(ours, theirs, [s for s in firm if s not in state.memory.foreign])
    differing += [
        Finding(kind="foreign_position", symbol=s, ours="0", theirs=str(theirs[s]))
        for s in firm
        if s in state.memory.foreign and theirs.get(s)
    ]
    naked = missing_stops(snapshot, firm)
    foreign = _foreign(state, differing, naked, theirs, unproved)
    orders, missing = _missing_orders(state, snapshot, quiet)
    unknown, unsettled = _unsettled(state, snapshot)
    orphans, orphaned = _orphans(state, snapshot, theirs, firm)
    found = [*differing, *naked, *foreign_orders(snapshot, state.names), *missing, *unsettled, *orphaned]
    found += _learned(state, snapshot)
    disputed, disputes = _disputed(state, snapshot, theirs)
    found += disputes
    if len(quiet) == len(symbols):
        found += [*margin_differs(snapshot, state.instruments), *equity_differs(snapshot)]
    findings = [finding for f in found if (finding := _by_policy(state, snapshot, f, foreign)) is not None]
    state = replace(
        state,
        judged=began_at,
        missed=0,
        memory=with_sizes(state.memory, {**ours, **{s: theirs.get(s, Decimal(0)) for s in firm}}, foreign),
        orders=orders,
        unknown=unknown,
        orphans=orphans,
        disputed=disputed,
        learned=("", ()),
    )
    clean = not unproved and all(finding.policy == "report" for finding in findings)
    state, out = _report(state, snapshot, findings, quiet, symbols)
    leverage = None if unproved else leverage_x(snapshot, state.instruments)
    state, more = _release(replace(state, unclean=0 if clean else state.unclean + 1), snapshot)
    pass_over = follow(snapshot, Reconciled, began_at=began_at, clean=clean, leverage_x=leverage)
    state, again = _look_again(state, snapshot)
    return state, [*out, pass_over, *more, *again]


def _quiet(state: State, symbol: str, snapshot: ExchangeSnapshot) -> bool:
    """Whether the snapshot proves something of the symbol: nothing else told anything of it since the reading began."""
    if symbol in snapshot.unproved:
        return False
    at, cause = state.changed.get(symbol, (-1, ""))
    return at < snapshot.began_at or (cause != "" and cause == snapshot.cause)


def _believable(state: State, symbol: str, real: Decimal, began_at: int) -> bool:
    """Whether a listed size may be set against ours: lists trail events, but not what the stream says too."""
    if real == state.memory.sizes.get(symbol, Decimal(0)):
        return True
    word, at, _ = state.words.get(symbol, (None, -1, ""))
    since = max(at, state.changed.get(symbol, (-1, ""))[0])
    return (word is not None and word.size == real) or since < 0 or began_at >= since + LIST_LAG_US


def _foreign(
    state: State, differing: list[Finding], naked: list[Finding], theirs: dict[str, Decimal], unproved: tuple[str, ...]
) -> tuple[str, ...]:
    """Symbols whose position is not ours: until it is gone, or adopted, which its stop proves."""
    uncovered = {finding.symbol for finding in naked}
    new = (finding.symbol for finding in differing if finding.kind in ("foreign_position", "side_mismatch"))
    adopts = state.execution.foreign_positions == "adopt"
    return tuple(
        symbol
        for symbol in dict.fromkeys((*state.memory.foreign, *new))
        if symbol in unproved or (theirs.get(symbol) and not (adopts and symbol not in uncovered))
    )


def _disputed(
    state: State, snapshot: ExchangeSnapshot, theirs: dict[str, Decimal]
) -> tuple[dict[str, int], list[Finding]]:
    """Symbols in which the lists show less and the stream goes on saying otherwise: since when, and told to a person when it lasts."""
    disputed = {symbol: state.disputed.get(symbol, snapshot.at) for symbol in snapshot.unproved}
    lasting = (s for s, since in disputed.items() if snapshot.at - since >= (STUCK_AFTER - 1) * state.every_us)
    return disputed, [
        Finding(
            kind="stuck",
            symbol=symbol,
            ours=f"{state.memory.sizes.get(symbol, Decimal(0))} by the stream",
            theirs=f"{theirs.get(symbol, Decimal(0))} by the lists",
            policy="report",
        )
        for symbol in lasting
    ]


def _learned(state: State, snapshot: ExchangeSnapshot) -> list[Finding]:
    """What only this snapshot told us, and late. In a first pass everything is new."""
    cause, learned = state.learned
    if cause != snapshot.cause or not cause or state.judged < 0:
        return []
    return [finding for since, finding in learned if since < snapshot.began_at - LATE_US]


def _by_policy(state: State, snapshot: ExchangeSnapshot, finding: Finding, foreign: tuple[str, ...]) -> Finding | None:
    """The finding with what is to be done about it; None for an order that was adopted."""
    policies: dict[str, DriftPolicy] = {
        "foreign_position": state.execution.foreign_positions,
        "foreign_order": state.execution.foreign_orders,
    }
    policy = policies.get(finding.kind, "correct")
    if finding.kind == "foreign_order" and policy == "adopt" and finding.subject in state.lasting:
        return None
    if finding.kind == "foreign_order" and policy == "flatten" and _protects(state, snapshot, finding):
        policy = "report"
    if finding.kind == "missing_stop" and finding.symbol in foreign:
        policy = state.execution.foreign_positions
    if finding.kind in ("foreign_position", "missing_stop") and policy != "correct" and _not_traded(state, finding):
        policy = "report"
    return finding if policy == "correct" else replace(finding, policy=policy)


def _protects(state: State, snapshot: ExchangeSnapshot, finding: Finding) -> bool:
    """Whether a stranger's order is a stop of what is, or may be, held in its symbol, and no stops of ours cover all of that."""
    symbol, word = finding.symbol, state.words.get(finding.symbol)
    order = next(order for order in snapshot.orders if order.order_id == finding.order_id)
    told = (*snapshot.positions, *snapshot.lacks, *((word[0],) if word is not None else ()))
    sizes = [position.size for position in told if position.symbol == symbol and is_stop_of(order, position.size)]
    if not sizes:
        return is_stop(order) and symbol in snapshot.unproved
    stops = [other for other in snapshot.orders if other.symbol == symbol and covers(other, sizes[0])]
    ours = [stop.size for stop in stops if is_ours(stop.client_order_id or state.names.get(stop.order_id))]
    return any(sum(ours, Decimal(0)) < abs(size) for size in sizes)


def _not_traded(state: State, finding: Finding) -> bool:
    """Whether it is in a contract that we neither trade nor have prices of: nobody here could protect or close it."""
    return bool(state.instruments) and finding.symbol not in state.instruments


def _missing_orders(
    state: State, snapshot: ExchangeSnapshot, quiet: list[str]
) -> tuple[dict[str, Resting], list[Finding]]:
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
        if order_id not in kept and order.symbol in quiet:
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
        if doubt.settles_at is None or snapshot.began_at <= doubt.settles_at:
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
        if not (order.reduce_only and is_ours(name)) or theirs.get(order.symbol) or order.symbol in snapshot.unproved:
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


def _report(
    state: State, cause: ExchangeSnapshot, findings: list[Finding], quiet: list[str], symbols: list[str]
) -> Answer:
    """Drift in every pass, an alert once a condition, and what follows when it does not go away."""
    # A symbol that was not quiet was not judged: what was wrong with it is not over.
    kept = {k: v for k, v in state.lasting.items() if v.symbol not in quiet and v.symbol in symbols}
    out: list[Message] = []
    for finding in findings:
        last = state.lasting.get(finding.subject, Lasting(symbol=finding.symbol, since=cause.at))
        out.append(_drift(cause, finding))
        if last.passes == 0:
            out.append(_alert(cause, finding))
        if last.passes == 0 and finding.kind == "margin_mismatch":
            # What is demanded may have changed, and no stream tells (fault-catalogue 47).
            out.append(follow(cause, RequestInstruments, reason="margin that the known rules do not explain"))
        lasting, more = _stay(state, cause, finding, replace(last, passes=last.passes + 1))
        kept[finding.subject] = lasting
        out += more
    halted = state.halted or any(lasting.stuck for lasting in kept.values())
    if halted and not state.halted:
        out.append(follow(cause, HaltEntries, key=HALT, reason="a difference with the exchange does not go away"))
    return replace(state, lasting=kept, halted=halted), out


def _stay(state: State, cause: Message, finding: Finding, last: Lasting) -> tuple[Lasting, list[Message]]:
    """A difference that stays: said as stuck, and in the end a reason for the kill switch if it was ours to mend."""
    out: list[Message] = []
    for_us = cause.at - last.since
    if finding.policy == "report" or last.passes < STUCK_AFTER:
        return last, out
    if not last.stuck and for_us >= (STUCK_AFTER - 1) * state.every_us:
        last = replace(last, stuck=True)
        stuck = replace(finding, kind="stuck", ours=f"{finding.kind}: {finding.ours}")
        out += [_drift(cause, stuck), _alert(cause, stuck)]
    if not last.killed and for_us >= _kill_after_us(state, finding):
        last = replace(last, killed=True)
        text = f"RECON_STUCK: {finding.kind} of {finding.symbol} for {for_us // SECOND_US} s in {last.passes} passes"
        out.append(follow(cause, KillRequested, finding.subject, reason=text, by="reconciler"))
    return last, out


def _kill_after_us(state: State, finding: Finding) -> float:
    match DIFFERENCES[finding.kind].lasting:
        case "kill":
            return state.kill_after_us
        case "kill soon":
            return min(state.kill_after_us, NAKED_MOST_US)
        case "alert":
            return inf


def _release(state: State, cause: ExchangeSnapshot) -> Answer:
    """A clean pass ends the halt."""
    if not state.halted or state.unclean:
        return state, []
    return replace(state, halted=False), [follow(cause, ResumeEntries, key=HALT)]


def _drift(cause: Message, finding: Finding) -> Drift:
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
        policy=finding.policy,
    )


def _alert(cause: Message, finding: Finding) -> Alert:
    row = DIFFERENCES[finding.kind]
    done = row.correction if finding.policy == "correct" else f"{row.correction}: {finding.policy}"
    what = f"{finding.symbol} {finding.kind}".strip()
    text = f"{what}: ours {finding.ours}, theirs {finding.theirs}; {done}"
    return follow(cause, Alert, finding.subject, code=row.code, severity=row.severity, text=text)


def _look_again(state: State, cause: ExchangeSnapshot) -> Answer:
    """A second look where one is needed to settle something, as soon as it can."""
    dues = [doubt.settles_at for doubt in state.unknown.values() if doubt.settles_at is not None]
    dues += [cause.at for resting in state.orders.values() if resting.absent > 0]
    dues += [cause.at for seen in state.orphans.values() if seen < ABSENT_ENOUGH]
    if state.unclean:
        # Whoever mends has a second; then ever more time, up to the period.
        dues.append(cause.at + min(state.soon_us << min(state.unclean - 1, 8), state.every_us) - state.soon_us)
    return look_soon(state, cause, max(min(dues) - cause.at, 0)) if dues else (state, [])

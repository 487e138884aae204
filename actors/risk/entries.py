"""What became of approved entries: still exposure, filled, or never was; and what the trades they opened won or lost. Pure."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

import msgspec

from actors.memory import remember
from actors.risk import book as books
from actors.risk.state import NONE, Answers, Pending, State
from actors.risk.watch import watch_account
from protocol.forced import forced
from protocol.ids import client_order_id
from protocol.messages.base import Message, follow
from protocol.messages.control import Alert, WakeAt
from protocol.messages.futures import EntryBlocked, Fill, Filled, OrderGone, OrderRejected, OrderUnknown
from protocol.units import HOUR_US

REMEMBERED_FILLS: Final = 256


def on_refused(state: State, message: OrderRejected | EntryBlocked) -> Answers:
    """An entry that never was: its exposure ends. A refused edit or cancel says nothing about the order.

    One that our own door kept in is none of the day's entries; those that the exchange refused are.
    """
    if isinstance(message, OrderRejected) and message.wish != "place":
        return state, NONE
    kept_in = [p.signal_id for p in state.memory.pending if p.client_order_id == message.client_order_id]
    state = settle(state, message.client_order_id)
    if isinstance(message, EntryBlocked) and kept_in:
        state = remember(state, entries=tuple(e for e in state.memory.entries if e.signal_id not in kept_in))
    return state, NONE


def on_gone(state: State, message: OrderGone) -> Answers:
    """An entry that can fill no more."""
    return settle(state, message.client_order_id), NONE


def on_unknown(state: State, message: OrderUnknown) -> Answers:
    """An entry of unknown outcome is exposure until evidence says otherwise: no clock ends it."""
    if message.wish != "place":
        return state, NONE
    pending = tuple(
        msgspec.structs.replace(entry, unknown=True) if entry.client_order_id == message.client_order_id else entry
        for entry in state.memory.pending
    )
    return (remember(state, pending=pending), NONE) if pending != state.memory.pending else (state, NONE)


def settle(state: State, client_order_id: str | None) -> State:
    """Forget a pending entry."""
    pending = tuple(entry for entry in state.memory.pending if entry.client_order_id != client_order_id)
    return state if len(pending) == len(state.memory.pending) else remember(state, pending=pending)


def on_filled(state: State, message: Filled) -> Answers:
    """Book a fill: pending exposure becomes held, an ended trade counts as won or lost.

    Only an entry of ours begins a trade, whoever ends it. What else is bought or sold where the book holds nothing is a stranger's, or
    ends what an earlier life bought: the position is told of it, and nobody knows its result.
    """
    fill = message.fill
    if fill.fill_id in state.memory.fills:
        return state, NONE
    state = remember(state, fills=(*state.memory.fills, fill.fill_id)[-REMEMBERED_FILLS:])
    if fill.symbol not in state.memory.book and not begins(state, fill):
        return heard(state, message)
    instrument = state.instruments.get(fill.symbol)
    # An unlisted contract is booked one to one: the sign of the result, all that is used, does not depend on it.
    contract_size = instrument.contract_size if instrument else Decimal(1)
    holding, result = books.book(
        state.memory.book.get(fill.symbol), fill, message.at, contract_size, state.settings.risk.taker_fee_pct
    )
    others = {symbol: held for symbol, held in state.memory.book.items() if symbol != fill.symbol}
    state = remember(
        state,
        pending=reduce_pending(state.memory.pending, fill.client_order_id, fill.size),
        book=others if holding is None else {**others, fill.symbol: holding},
    )
    if result is None:
        return heard(state, message)
    state, said = heard(count_result(state, result, message.at), message)
    if message.at >= state.memory.cooldown_until:
        return state, said
    return state, (follow(message, WakeAt, "cooldown", key="cooldown", due=state.memory.cooldown_until), *said)


def begins(state: State, fill: Fill) -> bool:
    """Whether the order of a fill is an entry that was approved here in the last day."""
    newest_first = reversed(state.memory.entries)
    return any(client_order_id(entry.signal_id, "entry") == fill.client_order_id for entry in newest_first)


def heard(state: State, message: Filled) -> Answers:
    """What every fill is looked at for: whether the exchange forced it, and what it does to the account."""
    happened, said = forced(message.fill), list[Message]()
    if happened is not None:
        said.append(follow(message, Alert, happened.code, code=happened.code, severity="critical", text=happened.text))
    state, more = watch_account(state, message)
    return state, (*said, *more)


def reduce_pending(pending: tuple[Pending, ...], client_order_id: str | None, size: Decimal) -> tuple[Pending, ...]:
    """Pending entries after `size` of one was filled: the rest still counts, in proportion."""
    if not any(entry.client_order_id == client_order_id for entry in pending):
        return pending
    rest: list[Pending] = []
    for entry in pending:
        if entry.client_order_id != client_order_id:
            rest.append(entry)
        elif entry.size > size:
            left = (entry.size - size) / entry.size
            rest.append(
                msgspec.structs.replace(
                    entry,
                    size=entry.size - size,
                    notional_usd=entry.notional_usd * left,
                    initial_margin_usd=entry.initial_margin_usd * left,
                    maintenance_margin_usd=entry.maintenance_margin_usd * left,
                )
            )
    return tuple(rest)


def count_result(state: State, result_usd: Decimal, at: int) -> State:
    """A loss lengthens the streak, anything else ends it; a full streak starts the cool-down and a new count."""
    if result_usd >= 0:
        return remember(state, losing_streak=0)
    streak = state.memory.losing_streak + 1
    if streak < state.settings.risk.loss_streak_max:
        return remember(state, losing_streak=streak)
    return remember(state, losing_streak=0, cooldown_until=at + state.settings.risk.cooldown_h * HOUR_US)

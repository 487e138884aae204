"""Executions and positions: each fill booked once, wherever it belongs, and the exchange's word on what is held. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Final

from msgspec.structs import replace

from actors.executor.duties import believe, disputed, result
from actors.executor.foreign import forget_stop
from actors.executor.lost import forget, looked_up
from actors.executor.orders import Order, advance, fill
from actors.executor.state import NOTHING, Answers, State, carry_on, desk_of, retire
from actors.executor.trade import ZERO, Trade, book_entry, book_exit, called_flat, update
from actors.executor.wishes import Desk, alert, leave
from actors.memory import remember
from protocol import ids
from protocol.forced import FORCED_FILLS
from protocol.messages.base import Message, follow
from protocol.messages.futures import Fill, Filled, PositionChanged, TradeOpened
from protocol.units import ENTRY_SIDE, SIGN

REMEMBERED_FILLS: Final = 512
REMEMBERED_STRAYS: Final = 64


def on_filled(state: State, message: Filled) -> Answers:
    """Book a fill once, wherever it belongs."""
    execution = message.fill
    if execution.fill_id in state.memory.fills:
        return state, NOTHING
    state = remember(state, fills=(*state.memory.fills, execution.fill_id)[-REMEMBERED_FILLS:])
    name, size = execution.client_order_id, execution.size  # of a lost order's size a fill is all that is known
    state, found, news = looked_up(state, message, execution.symbol, name, size, None, execution.time)
    if found is not None:
        state, said = book_ours(state, message, *found)
        return state, (*news, *said)
    for trade in state.memory.ended:
        order = trade.find(execution.client_order_id) if execution.client_order_id else None
        if order is not None:
            return book_late(state, message, trade, order)
    state = forget(note_stray(state, execution), execution.client_order_id)
    held, said = state.memory.trades.get(execution.symbol), NOTHING
    if held is not None and succeeded(state, execution, held):
        state, said = end(state, message, held)
    elif held is not None and opens_anew(message, held):
        state, said = carry_on(state, message, *flat_beside(desk_of(state, message, execution.symbol), held))
    elif held is not None and not all_closed(held):
        return book_foreign(state, message, held)
    text = f"{execution.side} {execution.size} at {execution.price} belongs to no trade"
    return state, (*said, alert(message, "FOREIGN_FILL", "critical", execution.symbol, text))


def all_closed(trade: Trade) -> bool:
    """Whether every fill of the trade has been told and nothing of it is left: what others do then is no part of it (storm 50142)."""
    return trade.opened_at is not None and trade.held <= 0 and not (trade.untold_entry.size or trade.untold_exit.size)


def opens_anew(message: Filled, trade: Trade) -> bool:
    """Whether a fill on a trade's side is no part of it: nothing was held until then, by all fills and by the trade's own (storms 520432, 521600) or
    the exchange's word (storm 511228).
    """
    flat = all_closed(trade) or (trade.opened_at is not None and disputed(trade) and trade.cover == 0)
    return flat and not message.before and message.fill.side == ENTRY_SIDE[trade.plan.side]


def flat_beside(desk: Desk, trade: Trade) -> tuple[Trade, Sequence[Message]]:
    """Such a trade, flat: as its own fills say, or as the exchange does where they differ."""
    trade = replace(trade, beside=True)
    return (called_flat(trade, desk.at), NOTHING) if all_closed(trade) else believe(desk, trade)


def succeeded(state: State, execution: Fill, trade: Trade) -> bool:
    """Whether a life that the store has lost had done with a trade of which nothing is held: it entered the next in the same market."""
    if state.reconciled or not ids.is_ours(execution.client_order_id):
        return False
    return all_closed(trade) or (trade.opened_at is None and execution.side == ENTRY_SIDE[trade.plan.side])


def end(state: State, message: Filled, trade: Trade) -> Answers:
    """Such a trade is over: what is held from now on is not its. The first pass asks about its orders."""
    if trade.entry is not None and trade.opened_at is None:
        return retire(state, update(trade, advance(trade.entry, "missing", message.at))), NOTHING
    trade = called_flat(trade, message.at)
    return retire(state, trade), result(desk_of(state, message, trade.plan.symbol), trade)


def note_stray(state: State, execution: Fill) -> State:
    """Remember an order of ours that filled and that no trade knows: a life sent it that the store has lost, and it is not to be sent again."""
    known, name = state.memory.strays, execution.client_order_id
    if name is None or not ids.is_ours(name) or name in known:
        return state
    return remember(state, strays=(*known, name)[-REMEMBERED_STRAYS:])


def book_ours(state: State, message: Filled, trade: Trade, order: Order) -> Answers:
    """A fill of one of the trade's own orders. One after the order's end is booked all the same, and said."""
    execution, said = message.fill, list[Message]()
    if order.state in {"cancelled", "rejected"}:
        text = f"{order.role} {order.client_order_id} was {order.state} and filled {execution.size} all the same"
        said.append(alert(message, "RECON_DIFF", "warning", execution.symbol, text))
    after = fill(order, execution.size, message.at)
    trade, more = book(state, message, update(trade, after), order)
    if after.role == "stop" and after.state == "triggered" and trade.through_since is None:
        trade = replace(trade, through_since=message.at)
    return carry_on(state, message, trade, (*said, *more))


def book(state: State, message: Filled, trade: Trade, order: Order) -> tuple[Trade, Sequence[Message]]:
    """Entry fills open, all others close."""
    execution = message.fill
    if order.role != "entry":
        code = {"stop": "exit.stop", "target": "exit.target"}.get(order.role, trade.closing or "exit.external")
        return book_exit(trade, execution, code, message.at, state.taker_fee_pct), NOTHING
    first = trade.opened_at is None
    trade = book_entry(trade, execution, message.at, state.taker_fee_pct)
    return trade, ((opened(message, trade, execution),) if first else NOTHING)


def opened(message: Filled, trade: Trade, execution: Fill) -> TradeOpened:
    """The first fill of an entry."""
    return follow(
        message,
        TradeOpened,
        trade.plan.trade_id,
        trade_id=trade.plan.trade_id,
        symbol=trade.plan.symbol,
        side=trade.plan.side,
        size=execution.size,
        price=execution.price,
    )


def book_late(state: State, message: Filled, trade: Trade, order: Order) -> Answers:
    """A fill of a trade that was over. If it leaves us holding something, the trade lives again, only to leave."""
    execution = message.fill
    text = f"{order.role} {order.client_order_id} filled {execution.size} after its trade was over"
    said = (alert(message, "RECON_DIFF", "critical", execution.symbol, text),)
    booked, more = book(state, message, update(trade, fill(order, execution.size, message.at)), order)
    ended = tuple(known for known in state.memory.ended if known is not trade)
    if booked.held <= 0 or execution.symbol in state.memory.trades:
        return remember(state, ended=(*ended, booked)), (*said, *more)
    # It may have been leaving before: what it waited for is over.
    booked = replace(
        leave(booked, "flatten.late_fill"), position=None, position_fresh=False, exit_due=None, exit_tries=0
    )
    return carry_on(remember(state, ended=ended), message, booked, (*said, *more))


def book_foreign(state: State, message: Filled, trade: Trade) -> Answers:
    """A fill in a symbol of ours by no order of this trade: a triggered stop's child, the kill switch, the exchange, a person."""
    execution = message.fill
    if execution.side == ENTRY_SIDE[trade.plan.side]:
        trade = book_entry(trade, execution, message.at, state.taker_fee_pct)
        text = (
            f"{execution.side} {execution.size} at {execution.price} on our side by no order of ours; {trade.held} held"
        )
        return carry_on(state, message, trade, (alert(message, "FOREIGN_FILL", "critical", execution.symbol, text),))
    child = next(
        (o for role in ("stop", "target") if (o := trade.newest(role)) is not None and o.state == "triggered"), None
    )
    if child is not None and not ids.is_ours(execution.client_order_id) and execution.fill_type not in FORCED_FILLS:
        return book_ours(state, message, trade, child)
    if execution.size > trade.held:
        # Turned round: only what closed ours is ours, told by our fills or by the exchange ahead of them.
        ours = min(execution.size, max(trade.held, trade.cover))
        fee = None if execution.fee_usd is None else execution.fee_usd * ours / execution.size
        execution = replace(execution, size=ours, fee_usd=fee)
    forced = execution.fill_type in FORCED_FILLS
    if ids.is_ours(execution.client_order_id) and not forced:
        # Ours and none of this trade's: the kill switch flattens with ids of its own. It has raised its own alert.
        return carry_on(
            state, message, book_exit(trade, execution, "exit.kill_switch", message.at, state.taker_fee_pct), ()
        )
    name = FORCED_FILLS.get(execution.fill_type, "FOREIGN_FILL")
    code = {"FOREIGN_FILL": "exit.external", "SETTLED": "exit.settled"}.get(name, "exit.liquidated")
    trade = book_exit(trade, execution, code, message.at, state.taker_fee_pct)
    told = message.fill
    text = f"{told.fill_type} {told.side} {told.size} at {told.price} closed ours by no order of ours"
    return carry_on(state, message, trade, (alert(message, name, "critical", execution.symbol, text),))


def on_position(state: State, message: PositionChanged) -> Answers:
    """The exchange's word on what is held. Without a trade of ours it is nobody's here: said, and left alone."""
    return told_position(state, message, message.position.symbol, message.position.size, message.at)


def told_position(state: State, message: Message, symbol: str, size: Decimal, as_of: int) -> Answers:
    """Take in a signed position as of a moment."""
    trade = state.memory.trades.get(symbol)
    if size == 0:
        state = forget_stop(state, symbol)
    if trade is None:
        if size == state.strangers.get(symbol, ZERO):
            return state, NOTHING  # margin and liquidation price move all the time
        state = replace(state, strangers={**state.strangers, symbol: size})
        if size == 0:
            return state, NOTHING
        text = f"{size} held and no trade of ours; not managed here"
        return state, (alert(message, "FOREIGN_POSITION", "critical", symbol, text),)
    signed = size * SIGN[trade.plan.side]
    if (trade.position, trade.position_fresh) == (signed, True):
        return state, NOTHING
    return carry_on(state, message, replace(trade, position=signed, position_fresh=True, position_at=as_of))

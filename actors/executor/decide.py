"""Executor: carries an approved entry from order to flat, protected on the exchange all the while. Pure.

Messages change what is known of a trade; then its duties (`duties`) say what is lacking. Knows no candle, no equity, no limit; must never
act on a position that no entry of ours opened. After a restart it sends nothing until one reconciliation is complete.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from actors.executor import exits
from actors.executor.duties import ANSWER_MARGIN_US, Desk, alert, cancel, leave, next_look, over, perform, place
from actors.executor.exits import Plan, Policy, Trail
from actors.executor.orders import (
    ALREADY_EXISTS,
    GONE_EVENT,
    NOT_FOUND,
    WOULD_NOT_REDUCE,
    Order,
    advance,
    confirm,
    fill,
    forget_wishes,
)
from actors.executor.trade import ZERO, Trade, book_entry, book_exit, update
from config.settings import ExecutionSettings, Settings
from protocol import codec, ids
from protocol.messages.base import Message, follow
from protocol.messages.control import Drift, Reconciled, Severity, Started, WakeAt, Woken
from protocol.messages.futures import (
    EnterPosition,
    EntryBlocked,
    Fill,
    Filled,
    Instrument,
    InstrumentsListed,
    MarkPrice,
    OrderAccepted,
    OrderGone,
    OrderRejected,
    OrderUnknown,
    PositionChanged,
    TradeOpened,
)
from protocol.messages.signal import StructureRead
from protocol.units import ENTRY_SIDE, SIGN, TIMEFRAME_MS, Timeframe, seconds_us

REMEMBERED_SIGNALS: Final = 512
REMEMBERED_FILLS: Final = 512
REMEMBERED_TRADES: Final = 16
ABSENT_PASSES: Final = 2
"""Complete reads of the truth, begun after its deadline, that prove an entry without a fill never was (invariant 15)."""
FORCED_FILLS: Final = ("liquidation", "assignor", "assignee", "unwindBankrupt", "unwindCounterparty")


class Memory(msgspec.Struct, frozen=True, kw_only=True):
    """What must survive a crash: open trades by futures symbol, the newest ended ones, and what was seen before."""

    trades: dict[str, Trade] = {}
    ended: tuple[Trade, ...] = ()
    signals: tuple[str, ...] = ()
    fills: tuple[str, ...] = ()


class State(msgspec.Struct, frozen=True, kw_only=True):
    """Everything the executor knows. Mappings are replaced, never changed in place. `wakes`: the look last asked for."""

    execution: ExecutionSettings
    taker_fee_pct: Decimal
    futures_of: dict[str, str]
    policy: Policy
    memory: Memory
    reconciled: bool
    instruments: dict[str, Instrument] = {}
    marks: dict[str, MarkPrice] = {}
    wakes: dict[str, int] = {}


Answers = tuple[State, Sequence[Message]]
NOTHING: Final[Sequence[Message]] = ()


def initial(settings: Settings, memory: bytes | None) -> State:
    """The state of a new life, with what an earlier one kept. Raises msgspec.DecodeError on foreign bytes."""
    kept = msgspec.json.decode(memory, type=Memory) if memory else Memory()
    return State(
        execution=settings.execution,
        taker_fee_pct=settings.risk.taker_fee_pct,
        futures_of=settings.futures_of,
        policy=exits.policy_of(settings.strategy.model_dump()),
        memory=replace(kept, trades={symbol: reborn(trade) for symbol, trade in kept.trades.items()}),
        reconciled=memory is None,
    )


def reborn(trade: Trade) -> Trade:
    """A trade after a crash: whether its last wishes left is unknown, and so is the position until it is told again."""
    orders = tuple(replace(advance(order, "restarted", order.at), resent=False) for order in trade.orders)
    return replace(trade, orders=orders, position=None, position_fresh=False, naked_since=None)


def durable(state: State) -> bytes:
    """What must survive a crash, as bytes for `initial`."""
    return codec.encode(state.memory)


def remembered(state: State) -> object:
    """The piece of state `durable` is made of."""
    return state.memory


def step(state: State, message: Message) -> Answers:
    """One decision. A message nobody here cares about changes nothing."""
    handler = HANDLERS.get(type(message))
    return (state, NOTHING) if handler is None else handler(state, message)


# --- one trade -----------------------------------------------------------------------------------------------


def remember(state: State, **changes: object) -> State:
    """State with some of its memory replaced."""
    return replace(state, memory=replace(state.memory, **changes))


def carry_on(state: State, cause: Message, trade: Trade, said: Sequence[Message] = NOTHING) -> Answers:
    """Put back a trade that changed, with its duties done: kept while anything is owed, else among the ended."""
    symbol = trade.plan.symbol
    desk = Desk(cause=cause, execution=state.execution, mark=state.marks.get(symbol))
    if state.reconciled:
        trade, more = perform(desk, trade)
        said = (*said, *more)
        if over(trade):
            return retire(state, trade), said
    if state.memory.trades.get(symbol) != trade:
        state = remember(state, trades={**state.memory.trades, symbol: trade})
    due = next_look(desk, trade) if state.reconciled else None
    if due is None or state.wakes.get(symbol) == due:
        return state, said
    state = replace(state, wakes={**state.wakes, symbol: due})
    return state, (*said, follow(cause, WakeAt, symbol, key=symbol, due=due))


def retire(state: State, trade: Trade) -> State:
    """A trade that is over. It is remembered for a while: late fills and leftover orders still belong to it."""
    symbol = trade.plan.symbol
    trades = {name: known for name, known in state.memory.trades.items() if name != symbol}
    return remember(state, trades=trades, ended=(*state.memory.ended, trade)[-REMEMBERED_TRADES:])


def trade_of(state: State, client_order_id: str | None) -> tuple[Trade, Order] | None:
    """The open trade and the order an id belongs to."""
    if client_order_id is None:
        return None
    for trade in state.memory.trades.values():
        order = trade.find(client_order_id)
        if order is not None:
            return trade, order
    return None


def update_ended(state: State, client_order_id: str | None, change: Callable[[Order], Order]) -> State:
    """Follow an order left over from a trade that is over."""
    for trade in state.memory.ended:
        order = trade.find(client_order_id) if client_order_id else None
        if order is not None:
            changed = update(trade, change(order))
            return remember(state, ended=tuple(changed if known is trade else known for known in state.memory.ended))
    return state


# --- life ----------------------------------------------------------------------------------------------------


def on_started(state: State, message: Started) -> Answers:
    """A later life waits for the truth, remembered trades or not."""
    return (replace(state, reconciled=False) if message.restarted else state), NOTHING


def on_reconciled(state: State, message: Reconciled) -> Answers:
    """A complete pass: everything that had been filled before it began has been told. Makes every trade whole."""
    state = replace(state, reconciled=True)
    said: list[Message] = []
    for symbol in sorted(state.memory.trades):
        trade = after_pass(state.memory.trades[symbol], message)
        state, more = carry_on(state, message, trade)
        said += more
    state, more = sweep(state, message)
    return state, (*said, *more)


def sweep(state: State, message: Reconciled) -> Answers:
    """Ask again about orders left from trades that are over: a crash may have swallowed their end, and nobody else knows them."""
    said: list[Message] = []
    for trade in state.memory.ended:
        for order in trade.orders:
            if order.live and order.role != "entry" and order.state != "triggered" and order.at < message.began_at:
                said.append(cancel(message, trade.plan.symbol, order.client_order_id))
    return state, said


def after_pass(trade: Trade, message: Reconciled) -> Trade:
    """What a complete pass proves about a trade."""
    if (
        trade.position is None
        and trade.held <= 0
        and trade.opened_at is not None
        and message.began_at >= trade.filled_at
    ):
        # Closed while we were down: a position would have been told before the pass was.
        trade = replace(trade, position=ZERO, position_fresh=True, position_at=message.began_at)
    if trade.position_fresh and message.began_at >= trade.position_at:
        trade = replace(trade, position_at=0)
    for order in trade.orders:
        if order.resting and order.at < message.began_at:
            trade = update(trade, forget_wishes(order))
    entry = trade.entry
    if entry is None or not entry.live or entry.filled or message.began_at < trade.entry_until:
        return trade
    passes = trade.absent_passes + 1
    if passes >= ABSENT_PASSES:
        trade = update(trade, advance(entry, "missing", message.at))
    return replace(trade, absent_passes=passes)


def on_woken(state: State, message: Woken) -> Answers:
    """Time has passed; look again."""
    trade = state.memory.trades.get(message.key)
    wakes = {symbol: due for symbol, due in state.wakes.items() if symbol != message.key}
    state = replace(state, wakes=wakes)
    return (state, NOTHING) if trade is None else carry_on(state, message, trade)


# --- the market ----------------------------------------------------------------------------------------------


def on_instruments(state: State, message: InstrumentsListed) -> Answers:
    """The rules of the contracts, replaced as a whole."""
    return replace(state, instruments={listed.symbol: listed for listed in message.instruments}), NOTHING


def on_mark(state: State, message: MarkPrice) -> Answers:
    """The mark: is a stop late, is a target reached that does not rest, has a market opened again?"""
    symbol = message.symbol
    before = state.marks.get(symbol)
    state = replace(state, marks={**state.marks, symbol: message})
    trade = state.memory.trades.get(symbol)
    if trade is None or trade.cover == 0:
        return state, NOTHING
    watched = through(trade, message)
    opened = before is not None and (before.suspended or before.post_only)
    if watched.closing and opened and not (message.suspended or message.post_only):
        watched = replace(watched, exit_due=None)
    unchanged = watched is trade and trade.working("target") is not None
    return (state, NOTHING) if unchanged else carry_on(state, message, watched)


def through(trade: Trade, message: MarkPrice) -> Trade:
    """Since when the mark has been beyond the stop. A triggered stop does not recover with the mark."""
    beyond = exits.beyond(trade.plan.side, message.mark, trade.stop_price)
    stop = trade.newest("stop")
    if beyond and trade.through_since is None:
        return replace(trade, through_since=message.at)
    recovered = not beyond and trade.through_since is not None and (stop is None or stop.state != "triggered")
    return replace(trade, through_since=None) if recovered else trade


def on_structure(state: State, message: StructureRead) -> Answers:
    """A closed candle of the trade's own series: leave, or let the stop follow."""
    symbol = state.futures_of.get(message.symbol)
    trade = state.memory.trades.get(symbol) if symbol else None
    if trade is None or trade.opened_at is None or trade.closing or message.timeframe != trade.plan.timeframe:
        return state, NOTHING
    if exits.bars_held(trade.plan, message) <= 0:
        return state, NOTHING
    code = exits.exit_code(trade.plan, state.policy, message)
    if code is not None:
        return carry_on(state, message, leave(trade, code))
    trail, candidate = exits.follow_price(trade.plan, state.policy, trade.trail, message)
    stop = trade.stop_price if candidate is None else exits.tightened(trade.plan.side, trade.stop_price, candidate)
    mark = state.marks.get(trade.plan.symbol)
    if mark is not None and exits.beyond(trade.plan.side, mark.mark, stop):
        # Spot allows it but the mark is already there: such a stop would fire at once.
        stop = trade.stop_price
    return carry_on(state, message, replace(trade, trail=trail, stop_price=stop))


# --- the entry -----------------------------------------------------------------------------------------------


def seen_before(state: State, message: EnterPosition) -> bool:
    """One entry a signal, for ever."""
    return message.signal_id in state.memory.signals


def not_reconciled(state: State, _message: EnterPosition) -> bool:
    """Nothing leaves before exchange truth is known."""
    return not state.reconciled


def already_in(state: State, message: EnterPosition) -> bool:
    """One trade a symbol."""
    return message.symbol in state.memory.trades


def leftovers(state: State, message: EnterPosition) -> bool:
    """A stop or target left from the last trade could fill against the new one."""
    return any(
        order.live and order.role != "entry"
        for trade in state.memory.ended
        if trade.plan.symbol == message.symbol
        for order in trade.orders
    )


def unlisted(state: State, message: EnterPosition) -> bool:
    """Without tick and lot no stop can be placed."""
    return message.symbol not in state.instruments


def too_late(_state: State, message: EnterPosition) -> bool:
    """The signal's time is over."""
    return message.at >= message.valid_until


ENTRY_REFUSALS: Final[tuple[tuple[str, Callable[[State, EnterPosition], bool]], ...]] = (
    ("entry.seen", seen_before),
    ("entry.not_reconciled", not_reconciled),
    ("entry.held", already_in),
    ("entry.leftovers", leftovers),
    ("entry.instrument_unknown", unlisted),
    ("entry.late", too_late),
)
"""Why an approved entry is not sent after all; the first that holds."""


def on_enter(state: State, message: EnterPosition) -> Answers:
    """Send the entry: a market order that the exchange refuses when it comes late."""
    code = next((code for code, refuses in ENTRY_REFUSALS if refuses(state, message)), None)
    if message.signal_id not in state.memory.signals:
        state = remember(state, signals=(*state.memory.signals, message.signal_id)[-REMEMBERED_SIGNALS:])
    if code is not None:
        text = f"entry of signal {message.signal_id} not sent: {code}"
        return state, (alert(message, "ORDER_REJECTED", "warning", message.symbol, text),)
    process_before = min(message.at + seconds_us(state.execution.process_before_s), message.valid_until)
    trade = new_trade(message, state.instruments[message.symbol], process_before)
    desk = Desk(cause=message, execution=state.execution, mark=state.marks.get(message.symbol))
    trade, said = place(desk, trade, "entry", message.size)
    return carry_on(state, message, trade, said)


def new_trade(message: EnterPosition, instrument: Instrument, process_before: int) -> Trade:
    """A trade as agreed, with nothing sent yet."""
    timeframe = msgspec.convert(message.timeframe, Timeframe)
    bar_ms = TIMEFRAME_MS[timeframe]
    plan = Plan(
        trade_id=message.signal_id,
        symbol=message.symbol,
        timeframe=timeframe,
        side=message.side,
        size=message.size,
        stop_pct=message.stop_pct,
        take_profit_pct=message.take_profit_pct,
        spot_entry=message.spot_entry,
        reference=message.mark,
        # The signal was given at the close of the newest candle that is over.
        entry_bar_ms=message.at // 1000 // bar_ms * bar_ms - bar_ms,
        exit_on_choch=message.exit_on_choch,
        max_hold_bars=message.max_hold_bars,
        tick=instrument.tick,
        contract_size=instrument.contract_size,
    )
    stop, target = exits.stop_and_target(plan)
    return Trade(
        plan=plan,
        trail=Trail(best_close=float(message.spot_entry)),
        stop_price=stop,
        target_price=target,
        initial_stop=stop,
        entry_until=process_before + ANSWER_MARGIN_US,
    )


def on_blocked(state: State, message: EntryBlocked) -> Answers:
    """The door kept the entry in: it never left."""
    found = trade_of(state, message.client_order_id)
    if found is None:
        return state, NOTHING
    trade, order = found
    return carry_on(state, message, update(trade, advance(order, "rejected", message.at)))


# --- answers about orders ------------------------------------------------------------------------------------


def on_accepted(state: State, message: OrderAccepted) -> Answers:
    """An order rests, or its terms changed."""
    listed = message.order

    def confirmed(order: Order) -> Order:
        return confirm(order, listed.size, listed.filled, listed.stop_price, message.at)

    found = trade_of(state, listed.client_order_id)
    if found is None:
        return update_ended(state, listed.client_order_id, confirmed), NOTHING
    trade, order = found
    said: list[Message] = []
    if order.state in {"cancelled", "rejected"} and order.role in {"stop", "target"}:
        # Listed though we gave it up: a late frame, or alive and beside its replacement. A cancel is right in both cases.
        said.append(cancel(message, listed.symbol, order.client_order_id))
    return carry_on(state, message, update(trade, confirmed(order)), said)


def on_rejected(state: State, message: OrderRejected) -> Answers:
    """A refusal is definitive for the wish it answers, and evidence about the order in what it says."""
    found = trade_of(state, message.client_order_id)
    if found is None:
        return update_ended(state, message.client_order_id, lambda order: refused(order, message)), NOTHING
    trade, order = found
    changed = refused(order, message)
    trade = update(trade, changed)
    said: list[Message] = []
    if message.wish == "place" and changed.state == "rejected":
        severity: Severity = "critical" if order.role == "stop" else "warning"
        text = f"{order.role} refused: {message.status}"
        said.append(alert(message, "ORDER_REJECTED", severity, message.symbol, text))
        trade = after_refusal(trade, order, message)
    return carry_on(state, message, trade, said)


def refused(order: Order, message: OrderRejected) -> Order:
    """An order after a refused wish about it."""
    if message.status in ALREADY_EXISTS:
        return advance(order, "accepted", message.at)
    if message.wish == "place":
        # The refusal of a resend proves nothing about the first: unknown until evidence, or until time is up.
        return order if order.resent else advance(order, "rejected", message.at)
    if message.status in NOT_FOUND:
        return advance(order, "missing", message.at)
    if message.status == "filled":
        return advance(order, "done", message.at)
    return replace(order, stuck=True) if message.wish == "edit" else order


def after_refusal(trade: Trade, order: Order, message: OrderRejected) -> Trade:
    """A refused stop leaves the position naked: out at once. "Would not reduce" says that there is none."""
    if message.status in WOULD_NOT_REDUCE:
        leaving = order.role in {"exit", "flatten"}
        told_flat = not trade.position or not trade.position_fresh
        if leaving and told_flat and trade.working("target") is None:
            return replace(trade, position=ZERO, position_fresh=True, position_at=message.at)
        return trade
    return leave(trade, "flatten.stop_rejected") if order.role == "stop" and trade.working("stop") is None else trade


def on_unknown(state: State, message: OrderUnknown) -> Answers:
    """We asked and were not answered. Nothing is concluded; reduce-only orders may be sent again under the same id."""
    found = trade_of(state, message.client_order_id)
    if found is None:
        return state, NOTHING
    trade, order = found
    if message.wish == "edit" and not order.resent:
        return carry_on(state, message, update(trade, replace(forget_wishes(order), resent=True)))
    if message.wish != "place":
        return state, NOTHING
    trade = update(trade, advance(order, "unanswered", message.at))
    if order.role == "entry":
        trade = replace(trade, unknown_since=trade.unknown_since or message.at)
    text = f"{order.role} {order.client_order_id} of {order.placed_size}: outcome unknown"
    return carry_on(state, message, trade, (alert(message, "ORDER_UNKNOWN", "warning", message.symbol, text),))


def on_gone(state: State, message: OrderGone) -> Answers:
    """An order left the book. Why decides: filled, triggered, or lost."""
    event = GONE_EVENT.get(message.reason, "gone")
    found = trade_of(state, message.client_order_id)
    if found is None:
        return update_ended(state, message.client_order_id, lambda order: advance(order, event, message.at)), NOTHING
    trade, order = found
    trade = update(trade, advance(order, event, message.at))
    said: list[Message] = []
    if order.role == "stop" and event == "triggered" and trade.through_since is None:
        trade = replace(trade, through_since=message.at)
    if order.role == "stop" and event == "gone" and trade.cover and trade.working("stop") is None:
        text = f"stop at {order.stop_price} is gone: {message.reason}"
        said.append(alert(message, "STOP_LOST", "critical", message.symbol, text))
    return carry_on(state, message, trade, said)


# --- fills and positions -------------------------------------------------------------------------------------


def on_filled(state: State, message: Filled) -> Answers:
    """Book a fill once, wherever it belongs."""
    execution = message.fill
    if execution.fill_id in state.memory.fills:
        return state, NOTHING
    state = remember(state, fills=(*state.memory.fills, execution.fill_id)[-REMEMBERED_FILLS:])
    found = trade_of(state, execution.client_order_id)
    if found is not None:
        return book_ours(state, message, *found)
    for trade in state.memory.ended:
        order = trade.find(execution.client_order_id) if execution.client_order_id else None
        if order is not None:
            return book_late(state, message, trade, order)
    held = state.memory.trades.get(execution.symbol)
    if held is not None:
        return book_foreign(state, message, held)
    text = f"{execution.side} {execution.size} at {execution.price} belongs to no trade"
    return state, (alert(message, "FOREIGN_FILL", "critical", execution.symbol, text),)


def book_ours(state: State, message: Filled, trade: Trade, order: Order) -> Answers:
    """A fill of one of the trade's own orders. One after the order's end is booked all the same, and said."""
    execution, said = message.fill, list[Message]()
    if order.state in {"cancelled", "rejected"}:
        text = f"{order.role} {order.client_order_id} was {order.state} and filled {execution.size} all the same"
        said.append(alert(message, "RECON_DIFF", "warning", execution.symbol, text))
    trade, more = book(state, message, update(trade, fill(order, execution.size, message.at)), order)
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
    booked = replace(leave(booked, "flatten.late_fill"), position=None, position_fresh=False)
    return carry_on(remember(state, ended=ended), message, booked, (*said, *more))


def book_foreign(state: State, message: Filled, trade: Trade) -> Answers:
    """A fill in a symbol of ours by no order of this trade: a triggered stop's child, the kill switch, the exchange, a person."""
    execution = message.fill
    if execution.side == ENTRY_SIDE[trade.plan.side]:
        trade = book_entry(trade, execution, message.at, state.taker_fee_pct)
        text = f"{execution.side} {execution.size} at {execution.price} added to our position by no order of ours"
        return carry_on(state, message, trade, (alert(message, "FOREIGN_FILL", "critical", execution.symbol, text),))
    child = next(
        (o for role in ("stop", "target") if (o := trade.newest(role)) is not None and o.state == "triggered"), None
    )
    if child is not None and not ids.is_ours(execution.client_order_id) and execution.fill_type not in FORCED_FILLS:
        return book_ours(state, message, trade, child)
    forced = execution.fill_type in FORCED_FILLS
    if ids.is_ours(execution.client_order_id) and not forced:
        # Ours and none of this trade's: the kill switch flattens with ids of its own. It has raised its own alert.
        return carry_on(
            state, message, book_exit(trade, execution, "exit.kill_switch", message.at, state.taker_fee_pct), ()
        )
    code = "exit.liquidated" if forced else "exit.external"
    trade = book_exit(trade, execution, code, message.at, state.taker_fee_pct)
    text = (
        f"{execution.fill_type} {execution.side} {execution.size} at {execution.price} closed ours by no order of ours"
    )
    name = "LIQUIDATED" if forced else "FOREIGN_FILL"
    return carry_on(state, message, trade, (alert(message, name, "critical", execution.symbol, text),))


def on_position(state: State, message: PositionChanged) -> Answers:
    """The exchange's word on what is held. Without a trade of ours it is nobody's here: said, and left alone."""
    return told_position(state, message, message.position.symbol, message.position.size, message.at)


def told_position(state: State, message: Message, symbol: str, size: Decimal, as_of: int) -> Answers:
    """Take in a signed position as of a moment."""
    trade = state.memory.trades.get(symbol)
    if trade is None:
        if size == 0:
            return state, NOTHING
        text = f"{size} held and no trade of ours; not managed here"
        return state, (alert(message, "FOREIGN_POSITION", "critical", symbol, text),)
    signed = size * SIGN[trade.plan.side]
    if (trade.position, trade.position_fresh) == (signed, True):
        return state, NOTHING
    return carry_on(state, message, replace(trade, position=signed, position_fresh=True, position_at=as_of))


# --- drift ---------------------------------------------------------------------------------------------------


def on_drift(state: State, message: Drift) -> Answers:
    """The reconciler read the truth and it is not what we think."""
    handler = DRIFTS.get(message.kind)
    return (state, NOTHING) if handler is None else handler(state, message)


def drift_missing(state: State, message: Drift) -> Answers:
    """An order we count on is not there. Its absence is proved."""
    found = trade_of(state, message.client_order_id)
    if found is None:
        gone = update_ended(state, message.client_order_id, lambda order: advance(order, "missing", message.at))
        return gone, NOTHING
    trade, order = found
    trade = update(trade, advance(order, "missing", message.at))
    said: list[Message] = []
    if order.role == "stop" and order.live and trade.cover:
        text = f"stop at {order.stop_price} is not on the exchange"
        said.append(alert(message, "STOP_LOST", "critical", message.symbol, text))
    return carry_on(state, message, trade, said)


def drift_unprotected(state: State, message: Drift) -> Answers:
    """The exchange shows no stop for all of it. One just sent may be on its way; one that rested is doubted and replaced."""
    trade = state.memory.trades.get(message.symbol)
    stop = trade.working("stop") if trade else None
    if trade is None or stop is None:
        return (state, NOTHING) if trade is None else carry_on(state, message, trade)
    settled = message.at - stop.at > seconds_us(state.execution.protect_within_s)
    if settled and stop.resting:
        trade = update(trade, replace(stop, stuck=True, resting_size=None, resting_price=None, at=message.at))
    return carry_on(state, message, trade)


def drift_orphan(state: State, message: Drift) -> Answers:
    """An order of ours rests for no position. Cancelled, unless it is what protects a trade."""
    if not ids.is_ours(message.client_order_id):
        return state, NOTHING
    found = trade_of(state, message.client_order_id)
    if found is not None and found[0].cover and found[1].live:
        return state, NOTHING
    return state, (cancel(message, message.symbol, message.client_order_id, message.order_id),)


def drift_position(state: State, message: Drift) -> Answers:
    """The position differs after every fill was told: taken over at once."""
    try:
        size = Decimal(message.theirs)
    except InvalidOperation:
        # Said in words, not in contracts: the next PositionChanged will say it in contracts.
        return state, NOTHING
    return told_position(state, message, message.symbol, size, 0)


def drift_foreign(state: State, message: Drift) -> Answers:
    """A position no entry of ours opened: not ours to manage."""
    if message.symbol in state.memory.trades:
        return state, NOTHING
    text = f"{message.theirs} held and no trade of ours; not managed here"
    return state, (alert(message, "FOREIGN_POSITION", "critical", message.symbol, text),)


DRIFTS: Final[dict[str, Callable[[State, Drift], Answers]]] = {
    "missing_order": drift_missing,
    "unprotected": drift_unprotected,
    "orphan_order": drift_orphan,
    "position": drift_position,
    "foreign_position": drift_foreign,
}

HANDLERS: Final[dict[type[Message], Callable[[State, Any], Answers]]] = {
    Started: on_started,
    Reconciled: on_reconciled,
    Woken: on_woken,
    InstrumentsListed: on_instruments,
    MarkPrice: on_mark,
    StructureRead: on_structure,
    EnterPosition: on_enter,
    EntryBlocked: on_blocked,
    OrderAccepted: on_accepted,
    OrderRejected: on_rejected,
    OrderUnknown: on_unknown,
    OrderGone: on_gone,
    Filled: on_filled,
    PositionChanged: on_position,
    Drift: on_drift,
}

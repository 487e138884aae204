"""From an approved entry to an order on its way, or the reason why none leaves. Pure; judges no risk."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from actors.executor import exits
from actors.executor.exits import Plan, Trail
from actors.executor.orders import advance
from actors.executor.state import NOTHING, Answers, State, carry_on, desk_of, trade_of
from actors.executor.trade import Trade, update
from actors.executor.wishes import ANSWER_MARGIN_US, alert, place
from actors.memory import remember
from protocol import ids
from protocol.messages.futures import EnterPosition, EntryBlocked, Instrument
from protocol.units import TIMEFRAME_MS, seconds_us

REMEMBERED_SIGNALS: Final = 512


def seen_before(state: State, message: EnterPosition) -> bool:
    """One entry a signal, for ever."""
    return message.signal_id in state.memory.signals


def filled_before(state: State, message: EnterPosition) -> bool:
    """Nor a second one by a life to which the first was lost: the exchange told its fill (storm 41557)."""
    return ids.client_order_id(message.signal_id, "entry") in state.memory.strays


def not_reconciled(state: State, _message: EnterPosition) -> bool:
    """Nothing leaves before exchange truth is known."""
    return not state.reconciled


def already_in(state: State, message: EnterPosition) -> bool:
    """One trade a symbol."""
    return message.symbol in state.memory.trades


def leftovers(state: State, message: EnterPosition) -> bool:
    """A stop or target left from the last trade could fill against the new one, whether we know that trade or not."""
    return any(order.symbol == message.symbol for order in state.unclaimed.values()) or any(
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
    ("entry.filled_before", filled_before),
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
    desk = desk_of(state, message, message.symbol)
    trade, said = place(desk, trade, "entry", message.size)
    return carry_on(state, message, trade, said)


def new_trade(message: EnterPosition, instrument: Instrument, process_before: int) -> Trade:
    """A trade as agreed, with nothing sent yet."""
    bar_ms = TIMEFRAME_MS[message.timeframe]
    plan = Plan(
        trade_id=message.signal_id,
        symbol=message.symbol,
        timeframe=message.timeframe,
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

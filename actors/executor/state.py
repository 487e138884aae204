"""What the executor knows, and how a trade that changed is put back with its duties done. Pure.

Every file of this room that handles messages answers with `Answers`; nobody but `carry_on` decides that a trade is over.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Final

import msgspec
from msgspec.structs import replace

from actors.executor import exits
from actors.executor.duties import at_rest, next_look, over, perform
from actors.executor.exits import Policy
from actors.executor.orders import TERMINAL, Order, advance
from actors.executor.trade import Trade, update
from actors.executor.wishes import Desk
from actors.memory import recalled, remember
from config.settings import ExecutionSettings, Settings
from protocol.messages.base import Message, follow
from protocol.messages.control import WakeAt
from protocol.messages.futures import Instrument, MarkPrice, OpenOrder
from protocol.units import OrderSide

REMEMBERED_TRADES: Final = 16


class SeenStop(msgspec.Struct, frozen=True, kw_only=True):
    """The best stop that was seen to protect a position no trade knows."""

    side: OrderSide
    price: Decimal


class Memory(msgspec.Struct, frozen=True, kw_only=True):
    """What must survive a crash: open trades by futures symbol, the newest ended ones, and what was seen before; by symbol
    the stops of positions that no trade knows; `strays`: orders of ours that filled and belong to no trade, newest last.
    """

    trades: dict[str, Trade] = {}
    ended: tuple[Trade, ...] = ()
    signals: tuple[str, ...] = ()
    fills: tuple[str, ...] = ()
    strays: tuple[str, ...] = ()
    stops: dict[str, SeenStop] = {}


class State(msgspec.Struct, frozen=True, kw_only=True):
    """Everything the executor knows. Mappings are replaced, never changed in place. `wakes`: the look last asked for; `strangers`:
    positions of nobody's here, as a person was told of them; `unclaimed`: orders of ours that rest and that no trade knows, by name;
    `dismissed`: when each of them was last asked to go.
    """

    execution: ExecutionSettings
    taker_fee_pct: Decimal
    futures_of: dict[str, str]
    policy: Policy
    memory: Memory
    reconciled: bool
    instruments: dict[str, Instrument] = {}
    marks: dict[str, MarkPrice] = {}
    wakes: dict[str, int] = {}
    strangers: dict[str, Decimal] = {}
    unclaimed: dict[str, OpenOrder] = {}
    dismissed: dict[str, int] = {}


Answers = tuple[State, Sequence[Message]]
NOTHING: Final[Sequence[Message]] = ()


def initial(settings: Settings, memory: bytes | None) -> State:
    """The state of a new life, with what an earlier one kept. Raises msgspec.DecodeError on foreign bytes."""
    kept = recalled(Memory, memory)
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
    orders = tuple(
        replace(advance(order, "restarted", order.at), resent=False, awaited=False, doubted=False)
        for order in trade.orders
    )
    return replace(trade, orders=orders, position=None, position_fresh=False, naked_since=None)


def desk_of(state: State, cause: Message, symbol: str) -> Desk:
    """What duties may look at now."""
    mark, rules = state.marks.get(symbol), state.instruments.get(symbol)
    return Desk(cause=cause, execution=state.execution, mark=mark, instrument=rules)


def leftovers(memory: Memory) -> bool:
    """Whether an order of a trade that is over may still fill."""
    return any(order.state not in TERMINAL for trade in memory.ended for order in trade.orders)


def carry_on(state: State, cause: Message, trade: Trade, said: Sequence[Message] = NOTHING) -> Answers:
    """Put back a trade that changed, with its duties done: kept while anything is owed, else among the ended."""
    symbol = trade.plan.symbol
    desk = desk_of(state, cause, symbol)
    active = state.reconciled and not at_rest(desk, trade)
    if active:
        trade, more = perform(desk, trade)
        said = (*said, *more)
        if over(trade):
            return retire(state, trade), said
    if state.memory.trades.get(symbol) != trade:
        state = remember(state, trades={**state.memory.trades, symbol: trade})
    due = next_look(desk, trade) if active else None
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
    """Follow an order left over from a trade that is over: most often from the newest."""
    for trade in reversed(state.memory.ended):
        order = trade.find(client_order_id) if client_order_id else None
        if order is not None:
            changed = update(trade, change(order))
            return remember(state, ended=tuple(changed if known is trade else known for known in state.memory.ended))
    return state

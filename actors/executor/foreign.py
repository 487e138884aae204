"""A position that no entry of ours opened, as a trade of ours: protected and managed, or closed. Pure.

What becomes of it is settings' business (`execution.foreign_positions`), told in the drift that found it.
"""

from __future__ import annotations

from decimal import Decimal

from actors.executor import exits
from actors.executor.exits import Plan, Trail
from actors.executor.state import SeenStop, State
from actors.executor.trade import Trade, adopt
from actors.executor.wishes import leave
from actors.memory import remember
from protocol.ids import derive
from protocol.messages.control import Drift
from protocol.messages.futures import Instrument, OpenOrder
from protocol.protection import is_stop_of
from protocol.units import EXIT_SIDE

TARGET_R = 2
"""An adopted position has no signal and so no target of its own: this many times the distance of its stop."""


def note_stop(state: State, order: OpenOrder) -> State:
    """Remember a stop that no trade of ours knows: should it be lost, the position's next one is not to be wider."""
    if order.stop_price is None or not is_stop_of(order, Decimal(1 if order.side == "sell" else -1)):
        return state
    before, price = state.memory.stops.get(order.symbol), order.stop_price
    if before is not None and before.side == order.side:
        price = exits.tightened("long" if order.side == "sell" else "short", before.price, price)
    seen = SeenStop(side=order.side, price=price)
    return state if seen == before else remember(state, stops={**state.memory.stops, order.symbol: seen})


def forget_stop(state: State, symbol: str) -> State:
    """The position that it protected is no more."""
    if symbol not in state.memory.stops:
        return state
    return remember(state, stops={name: stop for name, stop in state.memory.stops.items() if name != symbol})


def taken_over(
    message: Drift,
    size: Decimal,
    mark: Decimal,
    stop_pct: Decimal,
    instrument: Instrument,
    seen: SeenStop | None = None,
) -> Trade:
    """The trade that `size` contracts (signed) at `mark` become; on the way out when the policy says flatten.

    Its stop is `stop_pct` away, or where one was `seen` before if that is nearer: a crash that lost the trade widens no stop.
    """
    plan = Plan(
        trade_id=derive("foreign", message.id),
        symbol=message.symbol,
        timeframe="15m",
        side="long" if size > 0 else "short",
        size=abs(size),
        stop_pct=stop_pct / 100,
        take_profit_pct=stop_pct / 100 * TARGET_R,
        spot_entry=mark,
        reference=mark,
        entry_bar_ms=message.at // 1000,
        exit_on_choch="off",
        max_hold_bars=0,
        tick=instrument.tick,
        contract_size=instrument.contract_size,
    )
    stop, target = exits.stop_and_target(plan)
    if seen is not None and seen.side == EXIT_SIDE[plan.side]:
        stop = exits.tightened(plan.side, stop, seen.price)
    trade = Trade(
        plan=plan,
        trail=Trail(best_close=float(mark)),
        stop_price=stop,
        target_price=target,
        initial_stop=stop,
        entry_until=message.at,
        position=abs(size),
        position_fresh=True,
        position_at=message.at,
        filled_at=message.at,
    )
    trade = adopt(trade, mark, message.at)
    return leave(trade, "flatten.foreign") if message.policy == "flatten" else trade

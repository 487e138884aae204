"""Whether an order is taken: the exchange's checks, in its order. Answers with Kraken's word, None when it is taken.

Reads the state and never changes it.
"""

from __future__ import annotations

from decimal import Decimal

from protocol.messages.futures import EditOrder, OpenOrder
from sim.engine import margin, rules
from sim.engine.margin import Rules
from sim.engine.state import State, Working


def refusal(state: State, instruments: Rules, order: OpenOrder, *, late: bool, taker_fee_pct: Decimal) -> str | None:
    """Why a new order is refused. `late`: it arrived after the moment it was to be processed before."""
    barred = _barred(state, instruments, order)
    if barred is not None:
        return barred
    # Before the deadline: whoever sends again after a time-out must learn that the first one arrived.
    if order.client_order_id in state.client_ids:
        return "clientOrderIdAlreadyExist"
    if late:
        return "wouldProcessAfterSpecifiedTime"
    return unfit(state, instruments, order, taker_fee_pct)


def _barred(state: State, instruments: Rules, order: OpenOrder) -> str | None:
    """The market is not there or not open."""
    if order.symbol not in instruments:
        return "contractNotFound"
    if order.symbol not in state.ticks or not instruments[order.symbol].tradeable:
        return "marketInactive"
    if state.closed_markets.get(order.symbol) == "post_only" and order.order_type != "post":
        return "marketIsPostOnly"
    if state.closed_markets.get(order.symbol) == "limit_only" and order.order_type not in ("lmt", "post"):
        return "marketSuspended"
    if state.closed_markets.get(order.symbol) == "reduce_only" and not order.reduce_only:
        return "marketSuspended"
    return frozen(state, order.symbol)


def frozen(state: State, symbol: str) -> str | None:
    """Whether a market lets orders be cancelled and nothing else."""
    return "marketSuspended" if state.closed_markets.get(symbol) in ("suspended", "cancel_only") else None


def unchangeable(state: State, working: Working, wish: EditOrder) -> str | None:
    """Why a resting order does not take this change, whatever its new terms."""
    if wish.stop_price is not None and working.order.stop_price is None:
        return "orderForEditNotAStop"
    if wish.stop_price is not None and working.trail is not None:
        return "cannotEditTriggerPriceOfTrailingStop"
    return frozen(state, working.order.symbol)


def unfit(state: State, instruments: Rules, order: OpenOrder, taker_fee_pct: Decimal) -> str | None:
    """Why an order's terms, new or edited, are refused."""
    ill_formed = rules.ill_formed(instruments[order.symbol], order)
    if ill_formed is not None:
        return ill_formed
    tick = state.ticks[order.symbol]
    crosses = order.limit_price is not None and rules.crosses(order.side, order.limit_price, tick)
    if order.order_type == "post" and crosses:
        return "postWouldExecute"
    if order.order_type in ("ioc", "fok") and not crosses:
        return "iocWouldNotExecute"
    if order.reduce_only:
        return None if margin.reducible(state, order.symbol, order.side) else "wouldNotReducePosition"
    price = order.stop_price or order.limit_price or rules.touch(order.side, tick)
    return margin.unaffordable(state, instruments, order, price, taker_fee_pct)

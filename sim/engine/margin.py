"""What the account is worth and what it may still do: equity, margin, positions as reported, affordability.

Reads the state and never changes it. The formulas are in `sums`.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from protocol.messages.futures import Account, Instrument, OpenOrder, Position
from protocol.units import OrderSide
from sim.engine import rules, sums
from sim.engine.state import Holding, State
from sim.engine.sums import ZERO

Rules = Mapping[str, Instrument]


def funding_due(state: State, holding: Holding, until: int) -> Decimal:
    """Funding this position has accrued and not realised, as a cost."""
    return sums.funding_due(holding, state.rates[holding.symbol].usd, until)


def total_funding_due(state: State) -> Decimal:
    """The same for all positions, at the last moment seen."""
    return sum((funding_due(state, holding, state.now) for holding in state.holdings.values()), ZERO)


def unrealised(state: State) -> Decimal:
    """Profit of all positions at their marks."""
    ticks = state.ticks
    return sum((sums.unrealised(h, ticks[h.symbol].mark) for h in state.holdings.values()), ZERO)


def equity(state: State) -> Decimal:
    """Cash, unrealised profit and accrued funding."""
    return state.books.balance_usd + unrealised(state) - total_funding_due(state)


def surplus(state: State, instruments: Rules) -> Decimal:
    """What may be lost before the account is liquidated; below zero it is."""
    marks = {symbol: state.ticks[symbol].mark for symbol in state.holdings}
    return sums.surplus(state.books, state.holdings.values(), marks, instruments)


def position(state: State, instruments: Rules, holding: Holding, surplus_usd: Decimal) -> Position:
    """A position as the exchange reports it."""
    mark = state.ticks[holding.symbol].mark
    return Position(
        symbol=holding.symbol,
        size=holding.size,
        entry_price=holding.entry_price,
        liquidation_price=sums.price_at_loss(holding, mark, surplus_usd),
        unrealized_pnl_usd=sums.unrealised(holding, mark),
        margin_usd=sums.initial_margin(instruments[holding.symbol], holding.cost_usd),
    )


def account(state: State, instruments: Rules) -> Account:
    """Balances and margin at the last moment seen."""
    holdings = state.holdings.values()
    worth = equity(state)
    return Account(
        equity_usd=worth,
        balance_usd=state.books.balance_usd,
        available_margin_usd=worth - initial_margin_with_orders(state, instruments),
        initial_margin_usd=sum((sums.initial_margin(instruments[h.symbol], h.cost_usd) for h in holdings), ZERO),
        maintenance_margin_usd=sum(
            (sums.maintenance_margin(instruments[h.symbol], h.cost_usd) for h in holdings), ZERO
        ),
        unrealized_funding_usd=-total_funding_due(state),
    )


def reducible(state: State, symbol: str, side: OrderSide) -> Decimal:
    """Contracts a reduce-only order of this side can close."""
    holding = state.holdings.get(symbol)
    if holding is None or (holding.size > 0) == (side == "buy"):
        return ZERO
    return abs(holding.size)


def unaffordable(
    state: State, instruments: Rules, order: OpenOrder, price: Decimal, taker_fee_pct: Decimal
) -> str | None:
    """`maxPositionViolation` or `insufficientAvailableFunds` for an order at `price` that may add to a position.

    The order itself does not count among the resting ones.
    """
    symbol, change = order.symbol, order.size * rules.SIGNED[order.side]
    holding = state.holdings.get(symbol)
    held = holding.size if holding is not None else ZERO
    if held * change < 0 and abs(change) <= abs(held):
        return None
    beside = [other for other in _resting(state, symbol, order.order_id) if other.side == order.side]
    size = held + change + sum((other.size * rules.SIGNED[other.side] for other in beside), ZERO)
    if abs(size) > instruments[symbol].max_position:
        return "maxPositionViolation"
    before = _margin(state, instruments, symbol, ZERO, order.order_id)
    after = _margin(state, instruments, symbol, change * price, order.order_id)
    needed = after - before + sums.fee(change * price, taker_fee_pct)
    free = equity(state) - initial_margin_with_orders(state, instruments, order.order_id)
    return "insufficientAvailableFunds" if needed > free else None


def initial_margin_with_orders(state: State, instruments: Rules, without: str = "") -> Decimal:
    """Initial margin of positions and resting orders, except the order `without`."""
    symbols = dict.fromkeys(state.holdings)
    symbols.update(dict.fromkeys(working.order.symbol for working in state.working.values()))
    return sum((_margin(state, instruments, symbol, ZERO, without) for symbol in symbols), ZERO)


def _resting(state: State, symbol: str, without: str) -> list[OpenOrder]:
    """Resting limit orders that may add to a position."""
    orders = [working.order for working in state.working.values()]
    return [
        order
        for order in orders
        if order.symbol == symbol and not order.reduce_only and order.stop_price is None and order.order_id != without
    ]


def _margin(state: State, instruments: Rules, symbol: str, more_usd: Decimal, without: str) -> Decimal:
    """Initial margin of a position and whichever side of its orders needs more, with `more_usd` (signed) added."""
    holding = state.holdings.get(symbol)
    cost = holding.cost_usd if holding is not None else ZERO
    orders = [_value(order) for order in _resting(state, symbol, without)]
    long_side = cost + sum((max(value, ZERO) for value in (*orders, more_usd)), ZERO)
    short_side = cost + sum((min(value, ZERO) for value in (*orders, more_usd)), ZERO)
    instrument = instruments[symbol]
    return max(sums.initial_margin(instrument, long_side), sums.initial_margin(instrument, short_side))


def _value(order: OpenOrder) -> Decimal:
    return order.size * (order.limit_price or ZERO) * rules.SIGNED[order.side]

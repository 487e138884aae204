"""What an account is worth and what it may still do: equity, margin, positions as reported, affordability.

Dollars margin all linear contracts together; every inverse contract has an account of its own in its coin. An account is named by
the inverse contract it belongs to, the dollar account by "". Reads the state and never changes it. The formulas are in `sums`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from decimal import Decimal
from typing import Final

from protocol.messages.futures import Account, Instrument, OpenOrder, Position
from protocol.units import OrderSide
from sim.engine import rules, sums
from sim.engine.state import Books, Holding, State
from sim.engine.sums import ZERO

Rules = Mapping[str, Instrument]
DOLLARS: Final = ""
CLEAR: Final = 0.99
"""A loss nearer than this to what may be lost is looked at in Decimal."""


def account_of(instrument: Instrument) -> str:
    """The account that margins a contract."""
    return instrument.symbol if instrument.inverse else DOLLARS


def books(state: State, name: str) -> Books:
    """The totals of an account."""
    return state.coins[name] if name else state.books


def held_in(state: State, name: str) -> Collection[Holding]:
    """The positions of an account."""
    if not state.coins:
        return state.holdings.values()
    return [h for h in state.holdings.values() if (h.symbol == name if name else not h.inverse)]


def funding_due(state: State, holding: Holding, until: int) -> Decimal:
    """Funding this position has accrued and not realised, as a cost."""
    return sums.funding_due(holding, state.rates[holding.symbol].absolute, until)


def total_funding_due(state: State, name: str = DOLLARS) -> Decimal:
    """The same for all positions of an account, at the last moment seen."""
    return sum((funding_due(state, holding, state.now) for holding in held_in(state, name)), ZERO)


def unrealised(state: State, name: str = DOLLARS) -> Decimal:
    """Profit of all positions of an account at their marks."""
    ticks = state.ticks
    return sum((sums.unrealised(h, ticks[h.symbol].mark) for h in held_in(state, name)), ZERO)


def equity(state: State, name: str = DOLLARS) -> Decimal:
    """Cash, unrealised profit and accrued funding."""
    return books(state, name).balance + unrealised(state, name) - total_funding_due(state, name)


def surplus(state: State, instruments: Rules, name: str = DOLLARS) -> Decimal:
    """Margin equity less maintenance margin: what may be lost before the account is liquidated; below zero it is.

    Funding counts once it is realised, at the hour: so whether an account survives a price never depends on how many
    ticks in between were looked at.
    """
    left = books(state, name).balance
    for holding in held_in(state, name):
        left += sums.unrealised(holding, state.ticks[holding.symbol].mark)
        left -= sums.maintenance_margin(instruments[holding.symbol], holding.size, holding.cost)
    return left


def is_safe(state: State, instruments: Rules, holding: Holding, within: tuple[float, float]) -> bool:
    """Whether this position's mark may go to either of two prices with less lost than its share of what may be. In float64, and only
    if it is clear; for a linear contract.
    """
    if holding.inverse:
        return False
    share = float(surplus(state, instruments)) / len(held_in(state, DOLLARS))
    size, mark = float(holding.size), float(state.ticks[holding.symbol].mark)
    return min(size * (within[0] - mark), size * (within[1] - mark)) > -share * CLEAR


def position(state: State, instruments: Rules, holding: Holding, surplus: Decimal) -> Position:
    """A position as the exchange reports it; `surplus` is its account's. Money of an inverse contract is in its coin."""
    mark = state.ticks[holding.symbol].mark
    return Position(
        symbol=holding.symbol,
        size=holding.size,
        entry_price=holding.entry_price,
        liquidation_price=sums.price_at_loss(holding, mark, surplus),
        unrealized_pnl_usd=sums.unrealised(holding, mark),
        margin_usd=sums.initial_margin(instruments[holding.symbol], holding.size, holding.cost),
    )


def account(state: State, instruments: Rules, name: str = DOLLARS) -> Account:
    """Balances and margin at the last moment seen; of a coin account they are in its coin, whatever the names say."""
    balance = books(state, name).balance
    gained = owed = initial = maintained = ZERO
    for holding in held_in(state, name):
        usd, symbol = abs(holding.cost), holding.symbol
        first, then = sums.margin_rates(instruments[symbol], holding.size, holding.cost)
        gained += sums.unrealised(holding, state.ticks[symbol].mark)
        owed += funding_due(state, holding, state.now)
        initial += usd * first
        maintained += usd * then
    worth = balance + gained - owed
    adds = any(may_add(working.order) for working in state.working.values())
    return Account(
        equity_usd=worth,
        balance_usd=balance,
        available_margin_usd=worth - (initial_margin_with_orders(state, instruments, name) if adds else initial),
        initial_margin_usd=initial,
        maintenance_margin_usd=maintained,
        unrealized_funding_usd=-owed,
    )


def maintenance(state: State, instruments: Rules, name: str = DOLLARS) -> Decimal:
    """Maintenance margin of all positions of an account."""
    rows = held_in(state, name)
    return sum((sums.maintenance_margin(instruments[h.symbol], h.size, h.cost) for h in rows), ZERO)


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
    instrument = instruments[symbol]
    holding = state.holdings.get(symbol)
    held = holding.size if holding is not None else ZERO
    if held * change < 0 and abs(change) <= abs(held):
        return None
    beside = [other for other in _resting(state, symbol, order.order_id) if other.side == order.side]
    size = held + change + sum((other.size * rules.SIGNED[other.side] for other in beside), ZERO)
    if abs(size) > instrument.max_position:
        return "maxPositionViolation"
    worth = sums.value(change, price, inverse=instrument.inverse)
    before = _margin(state, instruments, symbol, without=order.order_id)
    after = _margin(state, instruments, symbol, (change, worth), without=order.order_id)
    needed = after - before + sums.fee(worth, taker_fee_pct)
    name = account_of(instrument)
    free = equity(state, name) - initial_margin_with_orders(state, instruments, name, order.order_id)
    return "insufficientAvailableFunds" if needed > free else None


def initial_margin_with_orders(state: State, instruments: Rules, name: str = DOLLARS, without: str = "") -> Decimal:
    """Initial margin of an account's positions and resting orders, except the order `without`."""
    symbols = dict.fromkeys(state.holdings)
    symbols.update(dict.fromkeys(working.order.symbol for working in state.working.values()))
    here = [symbol for symbol in symbols if account_of(instruments[symbol]) == name]
    return sum((_margin(state, instruments, symbol, without=without) for symbol in here), ZERO)


def _resting(state: State, symbol: str, without: str) -> list[OpenOrder]:
    """Resting limit orders that may add to a position."""
    orders = [working.order for working in state.working.values()]
    return [order for order in orders if order.symbol == symbol and may_add(order) and order.order_id != without]


def may_add(order: OpenOrder) -> bool:
    """Whether a resting order is a limit order that may make a position larger."""
    return not order.reduce_only and order.stop_price is None


def _margin(
    state: State,
    instruments: Rules,
    symbol: str,
    more: tuple[Decimal, Decimal] = (ZERO, ZERO),
    *,
    without: str,
) -> Decimal:
    """Initial margin of a position and whichever side of its orders needs more, with `more` (signed size, value) added."""
    holding, instrument = state.holdings.get(symbol), instruments[symbol]
    size, cost = (holding.size, holding.cost) if holding is not None else (ZERO, ZERO)
    orders = [_signed(order, instrument) for order in _resting(state, symbol, without)]
    if not orders and not any(more):
        return sums.initial_margin(instrument, size, cost)
    needed = []
    for sign in (1, -1):
        side = [(change, worth) for change, worth in (*orders, more) if change * sign > 0]
        whole = size + sum((change for change, _ in side), ZERO), cost + sum((worth for _, worth in side), ZERO)
        needed.append(sums.initial_margin(instrument, *whole))
    return max(needed)


def _signed(order: OpenOrder, instrument: Instrument) -> tuple[Decimal, Decimal]:
    """Size and value of a resting order, above zero for a rising long."""
    size = order.size * rules.SIGNED[order.side]
    price = order.limit_price
    return size, ZERO if price is None else sums.value(size, price, inverse=instrument.inverse)

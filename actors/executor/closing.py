"""A person asks to close a position of ours: the way out is the same as for every other reason. Pure."""

from __future__ import annotations

from actors.executor.state import Answers, State, carry_on
from actors.executor.wishes import leave
from protocol.messages.base import follow
from protocol.messages.control import CloseRequested, PersonAnswered
from protocol.messages.futures import CancelOrder, EditOrder, PlaceOrder, RehearseOrders


def on_close(state: State, message: CloseRequested) -> Answers:
    """Leave by market, or show the orders that would; the person is answered either way."""
    symbol = message.symbol
    trade = state.memory.trades.get(symbol)
    if not state.reconciled:
        return state, (
            answered(message, "not reconciled with the exchange yet; ask again in some seconds", done=False),
        )
    if trade is None or trade.cover == 0:
        text = f"no trade of ours holds anything in {symbol}; a foreign position is closed by the kill switch, or by `close` with the daemon stopped"
        return state, (answered(message, text, done=False),)
    if trade.closing:
        return state, (answered(message, f"{symbol} is being closed already: {trade.closing}"),)
    after, said = carry_on(state, message, leave(trade, "exit.manual"))
    if message.dry_run:
        orders = tuple(wish for wish in said if isinstance(wish, PlaceOrder | EditOrder | CancelOrder))
        return state, (follow(message, RehearseOrders, request=message.request, symbol=symbol, orders=orders),)
    return after, (*said, answered(message, f"{symbol}: closing {trade.cover} by a reduce-only market order"))


def answered(cause: CloseRequested, text: str, done: bool = True) -> PersonAnswered:
    """What came of it, for the person."""
    return follow(cause, PersonAnswered, request=cause.request, done=done, text=text)

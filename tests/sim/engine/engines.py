"""Ready-made exchanges, ticks and wishes for the tests of the simulated exchange."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from protocol.messages.base import from_edge
from protocol.messages.futures import CancelOrder, EditOrder, PlaceOrder
from sim.engine import Engine
from sim.market.contracts import PF_ETHUSD, PF_XBTUSD
from sim.market.tick import Tick

START = 1_767_571_200_000_000
"""2026-01-05T00:00:00Z: a full hour."""

BTC, ETH = "PF_XBTUSD", "PF_ETHUSD"


def engine(equity: int = 100_000, **settings: Any) -> Engine:
    """Both contracts, no slippage unless told."""
    return Engine((PF_XBTUSD, PF_ETHUSD), Decimal(equity), **{"slippage_pct": Decimal(0), **settings})


def tick(mark: str | int, at: int = START, symbol: str = BTC, rate: str = "0", half_spread: int = 1) -> Tick:
    """A tick with the spread laid around the mark."""
    price = Decimal(mark)
    return Tick(
        at=at,
        symbol=symbol,
        mark=price,
        index=price,
        bid=price - half_spread,
        ask=price + half_spread,
        last=price,
        funding_rate=Decimal(rate),
    )


def place(name: str, side: str, size: str, order_type: str = "mkt", **terms: object) -> PlaceOrder:
    """A wish to trade `size` contracts of `symbol` (bitcoin unless told); prices as text."""
    for price in ("limit_price", "stop_price"):
        if price in terms:
            terms[price] = Decimal(str(terms[price]))
    terms.setdefault("symbol", BTC)
    return from_edge(
        PlaceOrder,
        START,
        name,
        client_order_id=name,
        signal_id="signal",
        role="entry",
        side=side,
        order_type=order_type,
        size=Decimal(size),
        **terms,
    )


def edit(name: str, size: str, **terms: object) -> EditOrder:
    """A wish to change the terms of order `name`."""
    prices = {key: Decimal(str(value)) for key, value in terms.items()}
    return from_edge(
        EditOrder,
        START,
        "edit",
        name,
        size,
        client_order_id=name,
        role="stop",
        symbol=BTC,
        size=Decimal(size),
        **prices,
    )


def cancel(name: str | None = None, order_id: str | None = None) -> CancelOrder:
    """A wish to take an order off the book."""
    return from_edge(CancelOrder, START, "cancel", str(name), symbol=BTC, client_order_id=name, order_id=order_id)

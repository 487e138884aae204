"""What the exchange refuses, in Kraken's words, and at what price it executes. Pure; changes nothing.

A refusal is the value of `sendStatus.status`; None means that the check passes.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from protocol.messages.futures import Instrument, OpenOrder
from protocol.units import OrderSide, round_ceiling, round_down, round_floor
from sim.engine.state import Trail
from sim.market.tick import Tick

PROTECTION_PCT: Final = Decimal(1)
"""A market order is an immediate-or-cancel order with a limit this far through the touch."""

TRIGGERS: Final = ("stp", "take_profit", "trailing_stop")
STOPS: Final = ("stp", "trailing_stop")
LIMITED: Final = ("lmt", "post", "ioc", "fok")
"""These need a limit price."""
SIGNED: Final[dict[OrderSide, int]] = {"buy": 1, "sell": -1}


def ill_formed(instrument: Instrument, order: OpenOrder) -> str | None:
    """`invalidSize` or `invalidPrice`: off the grid, not above zero, or a price that the type needs and lacks."""
    if order.size <= 0 or order.size % instrument.lot:
        return "invalidSize"
    limit, stop = order.limit_price, order.stop_price
    lacking = (order.order_type in LIMITED and limit is None) or ((order.order_type in TRIGGERS) != (stop is not None))
    given = [price for price in (limit, stop) if price is not None]
    if lacking or any(price <= 0 or price % instrument.tick for price in given):
        return "invalidPrice"
    return None


def signal(order: OpenOrder, tick: Tick) -> Decimal:
    """The price that fires a trigger order."""
    if order.trigger == "last":
        return tick.last
    return tick.index if order.trigger == "index" else tick.mark


def triggered(order: OpenOrder, tick: Tick) -> bool:
    """Whether its price has reached a stop (against the position) or a take-profit (with it)."""
    if order.stop_price is None:
        return False
    price = signal(order, tick)
    return price >= order.stop_price if fires_above(order) else price <= order.stop_price


def fires_above(order: OpenOrder) -> bool:
    """Whether a trigger order waits for a higher price."""
    return (order.side == "buy") != (order.order_type == "take_profit")


def within_reach(order: OpenOrder, least: Decimal, greatest: Decimal) -> bool:
    """Whether marks between these two would fire a trigger order where it stands now."""
    if order.stop_price is None:
        return False
    return greatest >= order.stop_price if fires_above(order) else least <= order.stop_price


def trailed(order: OpenOrder, trail: Trail, tick: Tick, instrument: Instrument) -> Decimal:
    """Where a trailing stop stands at this tick: never further from the market than it stood."""
    price = signal(order, tick)
    distance = price * trail.deviation / 100 if trail.unit == "PERCENT" else trail.deviation
    if order.side == "sell":
        stop = round_floor(price - distance, instrument.tick)
        return stop if order.stop_price is None else max(stop, order.stop_price)
    stop = round_ceiling(price + distance, instrument.tick)
    return stop if order.stop_price is None else min(stop, order.stop_price)


def touch(side: OrderSide, tick: Tick) -> Decimal:
    """The price an aggressive order of this side meets first."""
    return tick.ask if side == "buy" else tick.bid


def crosses(side: OrderSide, limit: Decimal, tick: Tick) -> bool:
    """Whether the other side of the book has reached this limit."""
    return tick.ask <= limit if side == "buy" else tick.bid >= limit


def protected(side: OrderSide, tick: Tick, instrument: Instrument, within_pct: Decimal = PROTECTION_PCT) -> Decimal:
    """The limit a market order is given."""
    price = touch(side, tick) * (1 + SIGNED[side] * within_pct / 100)
    return round_floor(price, instrument.tick) if side == "buy" else round_ceiling(price, instrument.tick)


def taker_price(
    side: OrderSide, limit: Decimal | None, tick: Tick, instrument: Instrument, slippage_pct: Decimal
) -> Decimal:
    """What an order that crosses pays: the touch plus slippage, away from us by the tick, never beyond its limit if it has one."""
    price = touch(side, tick) * (1 + SIGNED[side] * slippage_pct / 100)
    if side == "buy":
        dear = round_ceiling(price, instrument.tick)
        return dear if limit is None else min(dear, limit)
    cheap = max(round_floor(price, instrument.tick), instrument.tick)
    return cheap if limit is None else max(cheap, limit)


def sweep(
    side: OrderSide,
    size: Decimal,
    price: Decimal,
    limit: Decimal,
    *,
    instrument: Instrument,
    depth_usd: Decimal | None,
) -> list[tuple[Decimal, Decimal]]:
    """Executions (size, price) of an order that walks the book from `price` to its limit, `depth_usd` a tick (None: endless).

    They may not fill the whole size.
    """
    if depth_usd is None:
        return [(size, price)]
    executions = []
    while size > 0 and (price <= limit if side == "buy" else price >= limit) and price > 0:
        held = depth_usd if instrument.inverse else depth_usd / price
        part = min(size, max(round_down(held, instrument.lot), instrument.lot))
        executions.append((part, price))
        size -= part
        price += SIGNED[side] * instrument.tick
    return executions

"""What clients of Kraken may say of an order beyond what this system says: other triggers, trailing stops, all or nothing."""

from __future__ import annotations

from decimal import Decimal

import pytest
from engines import BTC, START, cancel, edit, engine, place, tick
from msgspec.structs import replace

from protocol.messages.base import Message
from protocol.messages.futures import CommandAnswered, FillSeen, OpenOrder, OrderSeen
from sim.engine import Engine
from sim.engine.state import Trail
from sim.engine.terms import Terms
from sim.market.tick import Tick

D = Decimal


def holding(side: str = "buy", **settings: object) -> Engine:
    """An exchange on which half a bitcoin is held, bought or sold around 60,000."""
    exchange = engine(**settings)
    exchange.move(tick(60_000))
    exchange.send(place("entry", side, "0.5"), START)
    return exchange


def reasons(messages: list[Message]) -> list[tuple[bool, str]]:
    """What the order feed said, in order."""
    return [(m.open, m.reason) for m in messages if isinstance(m, OrderSeen)]


def resting(exchange: Engine) -> OpenOrder:
    """The one order on the book."""
    (order,) = exchange.snapshot(exchange.last_at).orders
    return order


def only(name: str, price: int) -> Tick:
    """A tick on which only one of mark, last and index has moved."""
    moved: Tick = replace(tick(60_000, START + 1), **{name: D(price)})
    return moved


@pytest.mark.parametrize("signal", ["mark", "last", "index"])
def test_a_trigger_fires_on_its_own_price_alone(signal: str) -> None:
    """The two other prices may be far beyond the stop."""
    for name in ("mark", "last", "index"):
        exchange = holding()
        wish = place("stop", "sell", "0.5", "stp", stop_price=59_000, reduce_only=True)
        exchange.answer(wish, START, Terms(trigger=signal))  # type: ignore[arg-type]
        assert resting(exchange).trigger == signal
        fired = (False, "stop_order_triggered") in reasons(exchange.move(only(name, 58_000)))
        assert fired is (name == signal)


@pytest.mark.parametrize(
    ("side", "trail", "path", "stops"),
    [
        ("buy", Trail(D(1)), [60_000, 61_000, 60_500, 62_000], [59_400, 60_390, 60_390, 61_380]),
        ("sell", Trail(D(500), "QUOTE_CURRENCY"), [60_000, 59_000, 59_400], [60_500, 59_500, 59_500]),
    ],
)
def test_a_trailing_stop_follows_the_market_one_way(side: str, trail: Trail, path: list[int], stops: list[int]) -> None:
    """Percent of the best price or a distance in dollars; it never goes back, and each move is told."""
    exchange = holding(side)
    out = "sell" if side == "buy" else "buy"
    exchange.answer(place("trail", out, "0.5", "trailing_stop", reduce_only=True), START, Terms(trail=trail))
    seen = []
    for second, mark in enumerate(path):
        told = reasons(exchange.move(tick(mark, START + second)))
        assert told in ([], [(True, "trailing_stop_price_updated")])
        seen.append(resting(exchange).stop_price)
    assert seen == stops
    beyond = stops[-1] - 10 if side == "buy" else stops[-1] + 10
    assert (False, "stop_order_triggered") in reasons(exchange.move(tick(beyond, START + 9)))
    assert exchange.positions() == ()


def test_a_trailing_stops_distance_can_be_edited_its_price_cannot() -> None:
    """Kraken's word for the price is cannotEditTriggerPriceOfTrailingStop."""
    exchange = holding()
    exchange.answer(place("trail", "sell", "0.5", "trailing_stop", reduce_only=True), START, Terms(trail=Trail(D(1))))
    refused = exchange.answer(edit("trail", "0.5", stop_price=59_000), START).reply[-1]
    assert isinstance(refused, CommandAnswered)
    assert refused.status == "cannotEditTriggerPriceOfTrailingStop"
    exchange.answer(edit("trail", "0.5"), START, Terms(trail=Trail(D(5))))
    assert resting(exchange).stop_price == D(57_000)


def test_a_distance_means_nothing_to_other_orders() -> None:
    """A limit order that comes with one rests at its limit and becomes no stop."""
    exchange = holding()
    exchange.answer(place("bid", "buy", "0.1", "lmt", limit_price=59_000), START, Terms(trail=Trail(D(1))))
    exchange.move(tick(59_500, START + 1))
    assert (resting(exchange).stop_price, resting(exchange).limit_price) == (None, D(59_000))


def test_a_trailing_stop_survives_a_restart() -> None:
    """Its distance is part of the saved exchange."""
    exchange = holding()
    exchange.answer(place("trail", "sell", "0.5", "trailing_stop", reduce_only=True), START, Terms(trail=Trail(D(1))))
    again = engine()
    again.restore(exchange.save())
    again.move(tick(61_000, START + 1))
    assert resting(again).stop_price == D(60_390)


def test_fill_or_kill_is_all_or_nothing() -> None:
    """With a book of 600 dollars a price, ten dollars of room are not enough for a bitcoin, and enough for a tenth."""
    for size, status in (("1", "iocWouldNotExecute"), ("0.1", "placed")):
        exchange = engine(depth_usd=D(600))
        exchange.move(tick(60_000))
        answer = exchange.answer(place("fok", "buy", size, "fok", limit_price=60_011), START)
        (answered,) = (m for m in answer.reply if isinstance(m, CommandAnswered))
        assert answered.status == status
        filled = sum((m.fill.size for m in answer.reply if isinstance(m, FillSeen)), D(0))
        assert filled == (D(size) if status == "placed" else 0)


def test_an_order_without_a_client_id_is_edited_by_the_exchanges() -> None:
    """`order_id` in the terms names it."""
    exchange = holding()
    exchange.answer(place("", "sell", "0.2", "lmt", limit_price=61_000), START)
    order_id = resting(exchange).order_id
    exchange.answer(edit("unknown", "0.3"), START, Terms(order_id=order_id))
    assert resting(exchange).size == D("0.3")


def test_everything_is_cancelled_for_one_reason() -> None:
    """Stops too, and of one contract only when it is named."""
    exchange = holding()
    exchange.send(place("stop", "sell", "0.5", "stp", stop_price=59_000, reduce_only=True), START)
    exchange.send(place("bid", "buy", "0.1", "lmt", limit_price=50_000), START)
    assert exchange.cancel_all("PF_ETHUSD", "dead_man_switch", START) == ([], [])
    gone, told = exchange.cancel_all(BTC, "dead_man_switch", START)
    assert [working.order.client_order_id for working in gone] == ["stop", "bid"]
    assert reasons(told) == [(False, "dead_man_switch")] * 2
    assert exchange.snapshot(START).orders == ()


@pytest.mark.parametrize(("mode", "status"), [("post_only", "marketIsPostOnly"), ("cancel_only", "marketSuspended")])
def test_a_half_closed_market_takes_no_new_order_and_lets_go_of_old_ones(mode: str, status: str) -> None:
    """Where only makers may trade nothing trades, a stop neither: it fires when the market opens. Where only cancels are taken it fires."""
    exchange = holding()
    exchange.send(place("stop", "sell", "0.5", "stp", stop_price=59_000, reduce_only=True), START)
    exchange.send(place("bid", "buy", "0.1", "lmt", limit_price=50_000), START)
    exchange.close_market(BTC, mode)
    (late,) = exchange.answer(place("late", "buy", "0.1", "lmt", limit_price=50_000), START).reply
    (edited,) = exchange.answer(edit("bid", "0.2", limit_price=50_100), START).reply
    assert isinstance(late, CommandAnswered)
    assert isinstance(edited, CommandAnswered)
    assert late.status == status
    assert edited.outcome == ("edited" if mode == "post_only" else "rejected")
    assert reasons(exchange.send(cancel("bid"), START)) == [(False, "cancelled_by_user")]
    fires = [(False, "stop_order_triggered")]
    assert reasons(exchange.move(tick(58_000, START + 1))) == ([] if mode == "post_only" else fires)
    exchange.close_market(BTC, None)
    assert reasons(exchange.move(tick(58_000, START + 2))) == (fires if mode == "post_only" else [])

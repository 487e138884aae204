"""Orders on the simulated exchange: taken, refused, triggered, edited, cancelled."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest
from engines import BTC, START, cancel, edit, engine, place, tick

from protocol.messages.base import Message
from protocol.messages.futures import (
    AccountSeen,
    CommandAnswered,
    FillSeen,
    OrderSeen,
    PositionsSeen,
    TickerSeen,
)
from sim.engine import Engine

D = Decimal


def answered(messages: list[Message]) -> CommandAnswered:
    """The one answer among the messages."""
    (answer,) = (m for m in messages if isinstance(m, CommandAnswered))
    return answer


def reasons(messages: list[Message]) -> list[tuple[bool, str]]:
    """What the order feed said, in order."""
    return [(m.open, m.reason) for m in messages if isinstance(m, OrderSeen)]


def long(size: str = "0.5", price: int = 60_000) -> Engine:
    """An exchange on which we hold bitcoin."""
    exchange = engine()
    exchange.move(tick(price))
    exchange.send(place("entry", "buy", size), START)
    return exchange


def test_market_order_pays_the_ask_plus_slippage_and_the_taker_fee() -> None:
    """A market buy is filled at the ask moved by the slippage and rounded up to the tick, fee on the notional."""
    exchange = engine(slippage_pct=D("0.01"))
    exchange.move(tick(60_000))
    messages = exchange.send(place("entry", "buy", "0.5"), START)
    fill = next(m.fill for m in messages if isinstance(m, FillSeen) and m.source == "stream")
    assert (fill.price, fill.size, fill.fee_usd) == (D(60_008), D("0.5"), D(60_008) * D("0.5") * D("0.0005"))


def test_a_filled_order_is_told_twice_and_in_order() -> None:
    """The reply carries the fill and the answer; the streams then tell order, the same fill, positions and account."""
    exchange = engine()
    exchange.move(tick(60_000))
    answer = exchange.answer(place("entry", "buy", "0.5"), START)
    assert [type(m) for m in answer.reply] == [FillSeen, CommandAnswered]
    assert [type(m) for m in answer.stream] == [OrderSeen, FillSeen, PositionsSeen, AccountSeen]
    first, again = answer.reply[0], answer.stream[1]
    assert isinstance(first, FillSeen)
    assert isinstance(again, FillSeen)
    assert (first.source, again.source) == ("reply", "stream")
    assert first.fill == msgspec.structs.replace(again.fill, fee_usd=None)


@pytest.mark.parametrize(
    ("status", "wish"),
    [
        ("invalidSize", place("x", "buy", "0.00005")),
        ("invalidSize", place("x", "buy", "0")),
        ("invalidPrice", place("x", "buy", "1", "lmt", limit_price="59000.5")),
        ("invalidPrice", place("x", "buy", "1", "lmt")),
        ("invalidPrice", place("x", "sell", "1", "stp")),
        ("maxPositionViolation", place("x", "buy", "1201")),
        ("insufficientAvailableFunds", place("x", "buy", "50")),
        ("wouldNotReducePosition", place("x", "sell", "1", reduce_only=True)),
        ("postWouldExecute", place("x", "buy", "1", "post", limit_price=60_001)),
        ("iocWouldNotExecute", place("x", "buy", "1", "ioc", limit_price=59_000)),
        ("wouldProcessAfterSpecifiedTime", place("x", "buy", "1", process_before=START - 1)),
        ("contractNotFound", place("x", "buy", "1", symbol="PF_NONE")),
        ("marketInactive", place("x", "buy", "1", symbol="PF_ETHUSD")),
    ],
)
def test_a_bad_order_is_refused_in_krakens_word(status: str, wish: object) -> None:
    """Each broken rule has its own status, nothing is told on the streams and the id is not used up."""
    exchange = engine()
    exchange.move(tick(60_000))
    (only,) = exchange.send(wish, START)  # type: ignore[arg-type]
    assert isinstance(only, CommandAnswered)
    assert (only.outcome, only.status, only.order_id) == ("rejected", status, None)
    assert answered(exchange.send(place("x", "buy", "0.1"), START)).outcome == "filled"


def test_a_client_order_id_is_unique_for_ever() -> None:
    """A second order under a used id is refused, after it was filled and after a restart too."""
    exchange = long()
    late = place("entry", "buy", "0.5", process_before=START - 1)
    again = engine()
    again.restore(exchange.save())
    for one in (exchange, again):
        assert answered(one.send(late, START)).status == "clientOrderIdAlreadyExist"


def test_a_stop_fires_on_mark_and_fills_at_the_book() -> None:
    """Only the mark triggers; the fill is at the bid of that tick, however far it has gapped, and the position is gone."""
    exchange = long()
    exchange.send(place("stop", "sell", "0.5", "stp", stop_price=59_000, reduce_only=True), START)
    wick = msgspec.structs.replace(tick(59_500, START + 1), last=D(58_000), bid=D(58_000))
    assert [type(m) for m in exchange.move(wick)] == [TickerSeen]
    messages = exchange.move(tick(58_000, START + 2))
    assert reasons(messages) == [(False, "stop_order_triggered")]
    fill = next(m.fill for m in messages if isinstance(m, FillSeen))
    assert (fill.price, fill.client_order_id, fill.fill_type) == (D(57_999), "stop", "taker")
    assert exchange.positions() == ()


def test_a_stop_that_is_already_reached_fires_at_once() -> None:
    """Placing or editing a trigger beyond the mark executes it in the answer."""
    exchange = long()
    messages = exchange.send(place("stop", "sell", "0.5", "stp", stop_price=61_000, reduce_only=True), START)
    assert reasons(messages) == [(True, "new_placed_order_by_user"), (False, "stop_order_triggered")]
    assert not exchange.busy(BTC)


def test_leftover_reduce_only_orders_stay_when_the_position_is_gone() -> None:
    """The exchange does not cancel the other leg; when it fires it is thrown out without a fill."""
    exchange = long()
    exchange.send(place("stop", "sell", "0.5", "stp", stop_price=59_000, reduce_only=True), START)
    exchange.send(place("target", "sell", "0.5", "take_profit", stop_price=62_000, reduce_only=True), START)
    exchange.move(tick(62_000, START + 1))
    assert [o.client_order_id for o in exchange.snapshot(START + 1).orders] == ["stop"]
    messages = exchange.move(tick(58_000, START + 2))
    assert reasons(messages) == [(False, "would_not_reduce_position")]
    assert not [m for m in messages if isinstance(m, FillSeen)]


def test_a_reduce_only_order_is_cut_to_the_position() -> None:
    """It never turns the position round."""
    exchange = long("0.2")
    messages = exchange.send(place("exit", "sell", "0.5", reduce_only=True), START)
    assert next(m.fill.size for m in messages if isinstance(m, FillSeen)) == D("0.2")
    assert exchange.positions() == ()


def test_a_stop_goes_before_a_take_profit_when_one_tick_reaches_both() -> None:
    """Whatever the order of arrival."""
    exchange = long()
    exchange.send(place("target", "sell", "0.5", "take_profit", stop_price=61_000, reduce_only=True), START)
    exchange.send(place("reversal", "buy", "0.5", "stp", stop_price=61_000), START)
    messages = exchange.move(tick(61_000, START + 1))
    gone = [m.order.client_order_id for m in messages if isinstance(m, OrderSeen)]
    assert gone == ["reversal", "target"]


def test_a_resting_limit_is_filled_at_its_price_for_the_maker_fee() -> None:
    """When the other side of the book comes to it."""
    exchange = engine()
    exchange.move(tick(60_000))
    exchange.send(place("bid", "buy", "1", "lmt", limit_price=59_500), START)
    assert len(exchange.move(tick(59_500, START + 1))) == 1, "the ask is still above"
    messages = exchange.move(tick(59_499, START + 2))
    fill = next(m.fill for m in messages if isinstance(m, FillSeen))
    assert (fill.price, fill.fill_type, fill.fee_usd) == (D(59_500), "maker", D("11.9"))
    assert reasons(messages) == [(False, "full_fill")]


def test_a_stop_with_a_limit_becomes_a_limit_order_when_the_market_has_gapped() -> None:
    """It stays unfilled through the gap, under the ids it had: recorded histories of Kraken show one id before and after."""
    exchange = long()
    wish = place("stop", "sell", "0.5", "stp", stop_price=59_000, limit_price=58_900, reduce_only=True)
    exchange.send(wish, START)
    messages = exchange.move(tick(58_000, START + 1))
    assert reasons(messages) == [(False, "stop_order_triggered"), (True, "limit_order_from_stop")]
    assert len({m.order.order_id for m in messages if isinstance(m, OrderSeen)}) == 1
    assert answered(exchange.send(cancel("stop"), START + 2)).outcome == "cancelled"


def test_an_edit_changes_size_and_stop_price() -> None:
    """The size is the new total; the order keeps its ids."""
    exchange = long()
    exchange.send(place("stop", "sell", "0.4", "stp", stop_price=59_000, reduce_only=True), START)
    messages = exchange.send(edit("stop", "0.5", stop_price=59_500), START)
    assert (answered(messages).outcome, answered(messages).status) == ("edited", "edited")
    (order,) = exchange.snapshot(START).orders
    assert (order.size, order.stop_price, order.client_order_id) == (D("0.5"), D(59_500), "stop")


def test_what_is_not_there_can_be_neither_edited_nor_cancelled() -> None:
    """The words differ: edit and cancel each have their own, and a filled order says so."""
    exchange = long()
    assert answered(exchange.send(edit("none", "1", stop_price=59_000), START)).status == "orderForEditNotFound"
    assert answered(exchange.send(cancel("none"), START)).status == "notFound"
    assert answered(exchange.send(cancel("entry"), START)).status == "filled"


def test_a_limit_order_has_no_stop_price_to_edit() -> None:
    """Kraken's word for it is orderForEditNotAStop."""
    exchange = engine()
    exchange.move(tick(60_000))
    exchange.send(place("bid", "buy", "1", "lmt", limit_price=59_500), START)
    assert answered(exchange.send(edit("bid", "1", stop_price=59_000), START)).status == "orderForEditNotAStop"


def test_cancel_by_either_id_takes_the_order_off_the_book() -> None:
    """By client id and by the exchange's id."""
    exchange = long()
    for name in ("a", "b"):
        exchange.send(place(name, "sell", "0.1", "stp", stop_price=59_000, reduce_only=True), START)
    order_id = exchange.snapshot(START).orders[1].order_id
    assert reasons(exchange.send(cancel("a"), START)) == [(False, "cancelled_by_user")]
    assert reasons(exchange.send(cancel(order_id=order_id), START)) == [(False, "cancelled_by_user")]
    assert exchange.snapshot(START).orders == ()


def test_a_suspended_market_takes_nothing_and_triggers_nothing() -> None:
    """Orders are refused and stops wait until it opens again; the ticker says so."""
    exchange = long()
    exchange.send(place("stop", "sell", "0.5", "stp", stop_price=59_000, reduce_only=True), START)
    exchange.close_market(BTC, "suspended")
    assert answered(exchange.send(place("y", "buy", "0.1"), START)).status == "marketSuspended"
    (ticker,) = exchange.move(tick(58_000, START + 1))
    assert isinstance(ticker, TickerSeen)
    assert ticker.suspended
    exchange.close_market(BTC, None)
    assert reasons(exchange.move(tick(58_000, START + 2))) == [(False, "stop_order_triggered")]


def test_in_a_shallow_book_an_order_is_filled_in_parts_at_worse_prices() -> None:
    """One execution a price level, all of them in the reply, each with its own id."""
    exchange = engine(depth_usd=D(12_000))
    exchange.move(tick(60_000))
    answer = exchange.answer(place("entry", "buy", "0.5"), START)
    fills = [m.fill for m in answer.reply if isinstance(m, FillSeen)]
    assert [(fill.size, fill.price) for fill in fills] == [
        (D("0.1999"), D(60_001)),
        (D("0.1999"), D(60_002)),
        (D("0.1002"), D(60_003)),
    ]
    assert len({fill.fill_id for fill in fills}) == 3
    assert answered(answer.messages).outcome == "filled"


def test_what_the_book_cannot_give_within_one_percent_is_cancelled() -> None:
    """A market order never rests and never pays more than its protection."""
    exchange = engine(depth_usd=D(1))
    exchange.move(tick(60_000))
    messages = exchange.send(place("entry", "buy", "1"), START)
    assert (answered(messages).outcome, answered(messages).status) == ("cancelled", "placed")
    (position,) = exchange.positions()
    assert D(0) < position.size < D(1)
    assert max(m.fill.price for m in messages if isinstance(m, FillSeen)) <= D(60_001) * D("1.01")


def test_a_resting_limit_is_filled_a_part_a_tick() -> None:
    """What is left rests on, and the last part says full_fill."""
    exchange = engine(depth_usd=D(29_750))
    exchange.move(tick(60_000))
    exchange.send(place("bid", "buy", "1", "lmt", limit_price=59_500), START)
    told = [reasons(exchange.move(tick(59_000, START + at))) for at in (1, 2)]
    assert told == [[(True, "partial_fill")], [(False, "full_fill")]]
    assert exchange.positions()[0].size == D(1)


def test_the_same_wishes_and_ticks_give_the_same_messages() -> None:
    """Nothing but the arguments decides, ids included."""

    def life() -> list[Message]:
        exchange = engine()
        messages = exchange.move(tick(60_000))
        messages += exchange.send(place("entry", "buy", "0.5"), START)
        return messages + exchange.move(tick(61_000, START + 1))

    assert life() == life()


def test_a_limit_may_wait_until_the_market_trades_through_it() -> None:
    """Touched is not filled where others stood in the queue before us: only a price beyond the limit fills it, at the limit."""
    exchange = engine(limits_through=True)
    exchange.move(tick(60_000))
    exchange.send(place("bid", "buy", "1", "lmt", limit_price=59_500), START)
    touched = exchange.move(tick(59_499, START + 1))
    assert not [message for message in touched if isinstance(message, FillSeen)]
    through = exchange.move(tick(59_498, START + 2))
    assert [message.fill.price for message in through if isinstance(message, FillSeen)] == [Decimal(59_500)]


def test_a_restless_market_adds_to_slippage() -> None:
    """What the tick says of volatility is paid on top of the fixed slippage."""
    exchange = engine(slippage=lambda tick, _usd: Decimal("0.01") + tick.range_pct)
    exchange.move(msgspec.structs.replace(tick(60_000), range_pct=Decimal("0.04")))
    said = exchange.send(place("in", "buy", "1"), START)
    assert next(m.fill.price for m in said if isinstance(m, FillSeen)) == Decimal(60_032)


@pytest.mark.parametrize(("side", "paid"), [("buy", 61_802), ("sell", 58_199)])
def test_slippage_is_paid_in_full_in_an_endless_book(side: str, paid: int) -> None:
    """Three percent asked for are three percent paid: the protection of a market order does not make a stress test cheaper."""
    exchange = engine(slippage_pct=D(3))
    exchange.move(tick(60_000))
    said = exchange.send(place("in", side, "1"), START)
    assert next(m.fill.price for m in said if isinstance(m, FillSeen)) == D(paid)


def test_a_contract_that_ends_is_settled_at_the_index_and_taken_off_the_market() -> None:
    """Its orders are cancelled, the whole position closed whatever the book holds, its ticker silent and every new order refused."""
    exchange = long("0.5")
    exchange.matching.depth_usd = D(100)
    exchange.send(place("stop", "sell", "0.5", "stp", stop_price=59_000, reduce_only=True), START)
    messages = exchange.delist(BTC, START + 1)
    assert reasons(messages) == [(False, "contract_expired"), (False, "full_fill")]
    (fill,) = [m.fill for m in messages if isinstance(m, FillSeen)]
    assert (fill.fill_type, fill.side, fill.size, fill.price) == ("settlement", "sell", D("0.5"), D(60_000))
    assert (exchange.positions(), exchange.state.working) == ((), {})
    assert [m for m in exchange.move(tick(60_100, START + 2)) if isinstance(m, TickerSeen)] == []
    assert answered(exchange.send(place("late", "buy", "0.1"), START + 3)).status == "marketInactive"
    assert not next(i for i in exchange.instruments(START + 4).instruments if i.symbol == BTC).tradeable

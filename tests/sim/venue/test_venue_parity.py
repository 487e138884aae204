"""One exchange, two ways to it: what comes over Kraken's wire is what the engine says directly."""

from __future__ import annotations

from typing import Any

import trio
from trio.testing import MockClock
from venues import START, Hands, enter_private, hear_until, moved, say, venue

from protocol.kraken import endpoints, futures_rest, futures_ws, orders
from protocol.messages.base import Message
from protocol.messages.futures import OrderSeen, PlaceOrder
from protocol.units import HOUR_US
from sim.venue import Venue

FEEDS = (endpoints.FEED_OPEN_ORDERS, endpoints.FEED_FILLS, endpoints.FEED_OPEN_POSITIONS, endpoints.FEED_BALANCES)
BASE = {"symbol": "PF_XBTUSD", "reduceOnly": "false"}
LEG = {**BASE, "side": "sell", "size": "0.5", "reduceOnly": "true", "triggerSignal": "mark"}
WISHES: tuple[tuple[str, dict[str, str]], ...] = (
    (endpoints.SEND_ORDER, {**BASE, "orderType": "mkt", "side": "buy", "size": "0.5", "cliOrdId": "entry"}),
    (endpoints.SEND_ORDER, {**LEG, "orderType": "stp", "stopPrice": "59000", "cliOrdId": "stop"}),
    (endpoints.SEND_ORDER, {**LEG, "orderType": "take_profit", "stopPrice": "61000", "cliOrdId": "target"}),
    (endpoints.EDIT_ORDER, {"cliOrdId": "stop", "size": "0.5", "stopPrice": "59500"}),
    (endpoints.CANCEL_ORDER, {"cliOrdId": "target"}),
)
MARKS = (60_100, 59_900, 59_400)


def said(message: Message) -> tuple[Any, ...]:
    """A message without its envelope: id and arrival differ between wire and call."""
    fields = {name: getattr(message, name) for name in message.__struct_fields__ if name not in ("id", "cause", "at")}
    return type(message).__name__, *fields.items()


def directly(place: Venue) -> list[Message]:
    """The same life without a wire."""
    engine = place.engine
    heard: list[Message] = []
    for symbol in place.contracts:
        engine.move(place.market.tick(symbol, START))
    for path, form in WISHES:
        command: Any
        if path == endpoints.SEND_ORDER:
            command = orders.parse_send_order(form, START)
        elif path == endpoints.EDIT_ORDER:
            command = orders.parse_edit_order(form, START, "PF_XBTUSD")
        else:
            command = orders.parse_cancel_order(form, START, "PF_XBTUSD")
        heard += engine.answer(command, START).stream
    for second, mark in enumerate(MARKS, 1):
        at = START + second * 1_000_000
        heard += engine.move(moved(place.market.tick("PF_XBTUSD", at), mark))
    return heard + engine.settle_funding(START + HOUR_US)


async def test_the_streams_say_what_the_engine_says(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Through REST, WebSocket and the gateway's parsers: the same tickers, orders, fills, positions and balances, in order."""
    place = venue(own_market=False)
    await nursery.start(place.run)
    for symbol in place.contracts:
        place.move(place.market.tick(symbol, START))
    heard: list[Message] = []
    known: dict[str, Any] = {}
    async with place.http_client() as http, place.connect(endpoints.FUTURES_WS_PATH) as stream:
        await say(stream, {"event": "subscribe", "feed": "ticker", "product_ids": ["PF_XBTUSD"]})
        await hear_until(stream, feed="ticker")
        await enter_private(stream, place, FEEDS)
        for path, form in WISHES:
            answer = await Hands(place, http).post(path, form)
            assert answer["result"] == "success"
        for second, mark in enumerate(MARKS, 1):
            await trio.sleep(START / 1e6 + second - place.now_us() / 1e6)
            place.move(moved(place.market.tick("PF_XBTUSD", START + second * 1_000_000), mark))
        place.settle_funding(START + HOUR_US)
        expected = directly(venue(own_market=False))
        for _ in expected:
            frame = futures_ws.parse_futures_frame(await stream.get_message(), place.now_us(), known)
            assert isinstance(frame, futures_ws.Told)
            heard += frame.messages
            known |= {m.order.order_id: m.order for m in frame.messages if isinstance(m, OrderSeen)}
    # The engine's book is endlessly deep; what the venue shows at its best prices is its own.
    own = ("sequence", "bid_size", "ask_size")
    unnumbered = [[part for part in said(message) if part[0] not in own] for message in (*heard, *expected)]
    assert unnumbered[: len(heard)] == unnumbered[len(heard) :]
    nursery.cancel_scope.cancel()


async def test_the_snapshot_by_rest_is_the_engines(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Orders, positions, fills and account read back exactly, but for what REST does not carry."""
    place = venue(own_market=False)
    await nursery.start(place.run)
    place.move(place.market.tick("PF_XBTUSD", START))
    async with place.http_client() as http:
        hands = Hands(place, http)
        for path, form in WISHES:
            await hands.post(path, form)
        truth = place.engine.snapshot(place.now_us())
        assert futures_rest.parse_open_orders(await hands.get(endpoints.OPEN_ORDERS)).values == truth.orders
        assert futures_rest.parse_fills(await hands.get(endpoints.FILLS)).values == truth.fills
        assert futures_rest.parse_accounts(await hands.get(endpoints.ACCOUNTS)) == truth.account
        (position,) = futures_rest.parse_open_positions(await hands.get(endpoints.OPEN_POSITIONS)).values
    assert (position.size, position.entry_price) == (truth.positions[0].size, truth.positions[0].entry_price)
    nursery.cancel_scope.cancel()


def test_the_same_wish_has_the_same_name_over_the_wire() -> None:
    """What the gateway writes is what the venue reads, so both engines take the same order."""
    wish = orders.parse_send_order(WISHES[0][1], START)
    path, form = orders.write_command(wish)
    again = orders.parse_send_order(form, START)
    assert isinstance(again, PlaceOrder)
    assert (path, again) == (endpoints.SEND_ORDER, wish)

"""What the venue says on a WebSocket: the spot session (v2) and the futures session (v1), requests in, frames out.

Nothing here waits: frames go into an outbox. Sessions see the venue through `Desk`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

from protocol.ids import derive
from protocol.kraken import futures_ws, spot
from protocol.kraken.endpoints import (
    BASE_INTERVAL,
    FEED_BALANCES,
    FEED_FILLS,
    FEED_HEARTBEAT,
    FEED_OPEN_ORDERS,
    FEED_OPEN_POSITIONS,
    FEED_TICKER,
    PRIVATE_FEEDS,
)
from protocol.kraken.signing import futures_challenge, matches
from protocol.kraken.wire import MalformedPayload, encode
from protocol.messages.base import Message
from protocol.messages.futures import AccountSeen, FillSeen, OrderSeen, PositionsSeen, TickerSeen
from protocol.messages.spot import CandleSeen
from protocol.units import SECOND_US
from sim.engine import Engine
from sim.venue.markets import Market, snapshot
from sim.venue.socket import Outbox

FULL_FORM: Final = ("full_fill", "new_placed_order_by_user", "edited_by_user", "limit_order_from_stop")
"""Reasons that come with the whole order; other departures name only the ids."""


class Desk(Protocol):
    """The venue as its sessions see it."""

    engine: Engine
    market: Market
    key: str
    secret: str
    spot_symbols: tuple[str, ...]

    def now_us(self) -> int: ...


class Session(Protocol):
    """One connection's subscriptions."""

    outbox: Outbox

    def greet(self) -> None:
        """Say what the exchange says first."""
        ...

    def hear(self, text: str) -> None:
        """Answer one request of the client."""
        ...

    def beat(self, at: int) -> None:
        """A second has passed."""
        ...


class SpotSession:
    """WebSocket v2: ohlc of 15 minutes, heartbeats when nothing else is said."""

    def __init__(self, desk: Desk, outbox: Outbox, number: int) -> None:
        self.desk = desk
        self.outbox = outbox
        self.number = number
        self.symbols: list[str] = []

    def greet(self) -> None:
        self._say(spot.write_spot_status("online", self.number))

    def hear(self, text: str) -> None:
        at = self.desk.now_us()
        try:
            request = spot.parse_spot_request(text)
        except MalformedPayload:
            self._say(spot.write_spot_refusal("Malformed request", None, None, at))
            return
        if isinstance(request, spot.SpotPing):
            self._say(spot.write_spot_pong(request.req_id, at))
            return
        for symbol in request.symbols:
            if request.method == "unsubscribe":
                self.symbols = [other for other in self.symbols if other != symbol]
                done = spot.write_spot_subscribed(symbol, BASE_INTERVAL, request.req_id, at)
                self._say({**done, "method": "unsubscribe"})
            else:
                self._subscribe(symbol, request, at)

    def _subscribe(self, symbol: str, request: spot.SpotSubscribe, at: int) -> None:
        refusal = None
        if request.channel != "ohlc":
            refusal = f"Channel not supported {request.channel}"
        elif request.interval != BASE_INTERVAL:
            refusal = "Subscription ohlc interval not supported"
        elif symbol not in self.desk.spot_symbols:
            refusal = f"Currency pair not supported {symbol}"
        elif symbol in self.symbols:
            refusal = "Already subscribed"
        if refusal is not None:
            self._say(spot.write_spot_refusal(refusal, symbol, request.req_id, at))
            return
        self.symbols.append(symbol)
        self._say(spot.write_spot_subscribed(symbol, BASE_INTERVAL, request.req_id, at))
        if request.snapshot:
            candles = snapshot(self.desk.market, symbol, at)
            self._say(spot.write_spot_candles(candles, at, snapshot=True))

    def tell(self, candle: CandleSeen, text: str, at: int) -> None:
        """Pass on an ohlc frame, written once for all, if its symbol is wanted."""
        if candle.symbol in self.symbols:
            self.outbox.put(text, at)

    def beat(self, at: int) -> None:
        if self.symbols and at - self.outbox.last_put_us >= SECOND_US:
            self._say(spot.write_spot_heartbeat())

    def _say(self, frame: dict[str, object]) -> None:
        self.outbox.put(encode(frame).decode(), self.desk.now_us())


class FuturesSession:
    """WebSocket v1: ticker and heartbeat for all, orders, fills, positions and balances after a signed challenge."""

    def __init__(self, desk: Desk, outbox: Outbox, number: int) -> None:
        self.desk = desk
        self.outbox = outbox
        self.number = number
        self.products: list[str] = []
        self.feeds: list[str] = []
        self.challenge = ""

    def greet(self) -> None:
        self._say(futures_ws.write_info())

    def hear(self, text: str) -> None:
        try:
            request = futures_ws.parse_futures_request(text)
        except MalformedPayload:
            self._refuse("Json Error")
            return
        if request.event == "ping":
            self._say(futures_ws.write_pong())
        elif request.event == "challenge":
            self._challenge(request)
        elif request.event == "unsubscribe":
            self._unsubscribe(request)
        elif request.feed == FEED_TICKER:
            self._subscribe_ticker(request.product_ids)
        elif request.feed == FEED_HEARTBEAT:
            self._add(FEED_HEARTBEAT)
            self._say(futures_ws.write_subscribed(FEED_HEARTBEAT))
        elif request.feed in PRIVATE_FEEDS:
            self._subscribe_private(request)
        else:
            self._refuse("Invalid feed")

    def _challenge(self, request: futures_ws.FuturesRequest) -> None:
        if request.api_key != self.desk.key:
            self._refuse("Invalid API key")
            return
        self.challenge = derive("challenge", self.desk.key, self.number, self.desk.now_us())
        self._say(futures_ws.write_challenge(self.challenge))

    def _subscribe_ticker(self, wanted: Sequence[str]) -> None:
        if not wanted or any(symbol not in self.desk.engine.rules for symbol in wanted):
            self._refuse("Invalid product id")
            return
        self.products += [symbol for symbol in wanted if symbol not in self.products]
        self._add(FEED_TICKER)
        self._say(futures_ws.write_subscribed(FEED_TICKER, wanted))
        for ticker in self.desk.engine.tickers():
            if ticker.symbol in wanted:
                self._say(futures_ws.write_ticker(ticker))

    def _subscribe_private(self, request: futures_ws.FuturesRequest) -> None:
        if not self._proven(request):
            self._say(futures_ws.write_refusal("alert", "Failed to subscribe to authenticated feed"))
            return
        if request.feed in self.feeds:
            self._say(futures_ws.write_refusal("alert", "Already subscribed to feed, re-requesting"))
        self._add(request.feed)
        self._say(
            futures_ws.write_subscribed(
                request.feed,
                api_key=request.api_key,
                original_challenge=request.original_challenge,
                signed_challenge=request.signed_challenge,
            )
        )
        self._say(self._first_frame(request.feed))

    def _first_frame(self, feed: str) -> dict[str, object]:
        at = self.desk.now_us()
        truth = self.desk.engine.snapshot(at)
        if feed == FEED_OPEN_ORDERS:
            return futures_ws.write_orders_snapshot(truth.orders, at)
        if feed == FEED_FILLS:
            return futures_ws.write_fills_snapshot(truth.fills)
        positions, account = self.desk.engine.standing(at)
        if feed == FEED_OPEN_POSITIONS:
            return futures_ws.write_positions(positions)
        return futures_ws.write_balances(account, snapshot=True)

    def _proven(self, request: futures_ws.FuturesRequest) -> bool:
        expected = futures_challenge(self.desk.secret, self.challenge)
        return (
            request.api_key == self.desk.key
            and bool(self.challenge)
            and request.original_challenge == self.challenge
            and matches(request.signed_challenge, expected)
        )

    def _unsubscribe(self, request: futures_ws.FuturesRequest) -> None:
        if request.feed == FEED_TICKER:
            self.products = [symbol for symbol in self.products if symbol not in request.product_ids]
        else:
            self.feeds = [feed for feed in self.feeds if feed != request.feed]
        done = futures_ws.write_subscribed(request.feed, request.product_ids)
        self._say({**done, "event": "unsubscribed"})

    def tell(self, message: Message, text: str, due: int) -> None:
        """Pass on a frame, written once for all, if its feed is wanted."""
        if self._wants(message):
            self.outbox.put(text, due)

    def _wants(self, message: Message) -> bool:
        if isinstance(message, TickerSeen):
            return message.symbol in self.products
        return _feed_of(message) in self.feeds

    def beat(self, at: int) -> None:
        if FEED_HEARTBEAT in self.feeds:
            self._say(futures_ws.write_heartbeat(at))

    def _add(self, feed: str) -> None:
        if feed not in self.feeds:
            self.feeds.append(feed)

    def _refuse(self, problem: str) -> None:
        self._say(futures_ws.write_refusal("error", problem))

    def _say(self, frame: dict[str, object]) -> None:
        self.outbox.put(encode(frame).decode(), self.desk.now_us())


def write_report(message: Message, fills_told: int) -> dict[str, object] | None:
    """The frame of one of the engine's reports; None for what no stream tells. `fills_told` numbers the fills frame."""
    match message:
        case TickerSeen():
            return futures_ws.write_ticker(message)
        case OrderSeen():
            short = not message.open and message.reason not in FULL_FORM
            return futures_ws.write_order_gone(message) if short else futures_ws.write_order(message)
        case FillSeen(source="stream"):
            return futures_ws.write_fills_frame((message.fill,), fills_told)
        case PositionsSeen():
            return futures_ws.write_positions(message)
        case AccountSeen():
            return futures_ws.write_balances(message)
    return None


def _feed_of(message: Message) -> str:
    match message:
        case OrderSeen():
            return FEED_OPEN_ORDERS
        case FillSeen():
            return FEED_FILLS
        case PositionsSeen():
            return FEED_OPEN_POSITIONS
        case AccountSeen():
            return FEED_BALANCES
    return ""

"""One connection to the futures streams (WebSocket v1): requests in, frames out. Nothing here waits: frames go into an outbox."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from msgspec import Raw

from protocol.ids import derive
from protocol.kraken import endpoints, futures_ws, markets
from protocol.kraken.markets import Notice
from protocol.kraken.signing import futures_challenge, matches
from protocol.kraken.wire import MalformedPayload, encode
from sim.engine import Engine
from sim.venue.keys import Account
from sim.venue.reports import PRIVATE_FEEDS, PUBLIC_PRODUCT_FEEDS, Reports
from sim.venue.rows import Row
from sim.venue.socket import Outbox


class Desk(Protocol):
    """The venue as its futures sessions see it."""

    engine: Engine
    reports: Reports
    accounts: dict[str, Account]
    notices: list[Notice]

    def now_us(self) -> int: ...


class FuturesSession:
    """Market feeds and heartbeat for all; orders, fills, positions, balances, log and notices after a signed challenge."""

    def __init__(self, desk: Desk, outbox: Outbox, number: int) -> None:
        self.desk = desk
        self.outbox = outbox
        self.number = number
        self.subscribed: dict[tuple[str, str | None], None] = {}
        self.challenges: dict[str, str] = {}

    def wants(self, feed: str, product: str | None) -> bool:
        """Whether a frame of this feed is for this client."""
        return (feed, product) in self.subscribed

    def greet(self) -> None:
        self._say(futures_ws.write_info())

    def beat(self, at: int) -> None:
        """Say that the connection lives."""
        if self.wants(endpoints.FEED_HEARTBEAT, None):
            self._say(futures_ws.write_heartbeat(at))

    def hear(self, text: str) -> None:
        """Answer one request of the client."""
        try:
            request = futures_ws.parse_futures_request(text)
        except MalformedPayload:
            self._refuse("Json Error")
            return
        if request.event == "ping":
            # Only ping frames of the WebSocket protocol count, whatever some clients send.
            self._say(futures_ws.write_refusal("alert", "Bad websocket message"))
        elif request.event == "challenge":
            self._challenge(request)
        elif request.event == "unsubscribe":
            self._unsubscribe(request)
        elif request.feed in PUBLIC_PRODUCT_FEEDS:
            self._subscribe_products(request.feed, request.product_ids)
        elif request.feed == endpoints.FEED_HEARTBEAT:
            self.subscribed[request.feed, None] = None
            self._say(futures_ws.write_subscribed(request.feed))
        elif request.feed in PRIVATE_FEEDS:
            self._subscribe_private(request)
        else:
            self._refuse("Invalid feed")

    # --- market ---------------------------------------------------------------------------------------------------

    def _subscribe_products(self, feed: str, wanted: Sequence[str]) -> None:
        if not wanted:
            self._refuse("Invalid product id")
        for symbol in wanted:  # each is answered for itself
            if symbol not in self.desk.engine.state.ticks:
                problem = f"Couldn't subscribe to invalid product `{symbol}`"
                self._say(futures_ws.write_refusal("alert", problem))
                continue
            self._say(futures_ws.write_subscribed(feed, [symbol]))
            self._say(self._first_of_market(feed, symbol))
            self.subscribed[feed, symbol] = None

    def _first_of_market(self, feed: str, symbol: str) -> Row | Raw:
        reports = self.desk.reports
        if feed == endpoints.FEED_TRADE:
            return reports.trades_snapshot(symbol, self.desk.now_us())
        if feed == endpoints.FEED_BOOK:
            return reports.book_snapshot(symbol)
        tick = self.desk.engine.state.ticks[symbol]
        return reports.ticker(tick) if feed == endpoints.FEED_TICKER else reports.ticker_lite(tick)

    # --- account --------------------------------------------------------------------------------------------------

    def _challenge(self, request: futures_ws.FuturesRequest) -> None:
        if request.api_key not in self.desk.accounts:
            self._refuse("Invalid API key")
            return
        challenge = derive("challenge", request.api_key, self.number, self.desk.now_us())
        self.challenges[request.api_key] = challenge
        self._say(futures_ws.write_challenge(challenge))

    def _subscribe_private(self, request: futures_ws.FuturesRequest) -> None:
        if not self._proven(request):
            self._say(futures_ws.write_refusal("alert", "Failed to subscribe to authenticated feed"))
            return
        if self.wants(request.feed, None):
            self._say(futures_ws.write_refusal("alert", "Already subscribed to feed, re-requesting"))
        self.subscribed[request.feed, None] = None
        self._say(
            futures_ws.write_subscribed(
                request.feed,
                api_key=request.api_key,
                original_challenge=request.original_challenge,
                signed_challenge=request.signed_challenge,
            )
        )
        self._say(self._first_of_account(request.feed))

    def _proven(self, request: futures_ws.FuturesRequest) -> bool:
        account, challenge = self.desk.accounts.get(request.api_key), self.challenges.get(request.api_key)
        if account is None or challenge is None or request.original_challenge != challenge:
            return False
        return matches(request.signed_challenge, futures_challenge(account.key.secret, challenge))

    def _first_of_account(self, feed: str) -> Row:
        at, engine, reports = self.desk.now_us(), self.desk.engine, self.desk.reports
        if feed in (endpoints.FEED_OPEN_ORDERS, endpoints.FEED_OPEN_ORDERS_VERBOSE):
            return reports.orders_snapshot(feed)
        if feed == endpoints.FEED_FILLS:
            return reports.fills_snapshot(engine.snapshot(at).fills)
        if feed == endpoints.FEED_ACCOUNT_LOG:
            return reports.log_snapshot()
        if feed == endpoints.FEED_NOTIFICATIONS:
            return markets.write_notifications_frame(self.desk.notices)
        positions, account = engine.standing(at)
        if feed == endpoints.FEED_OPEN_POSITIONS:
            return reports.positions(positions)
        return reports.balances(account, snapshot=True)

    def _unsubscribe(self, request: futures_ws.FuturesRequest) -> None:
        for product in request.product_ids or (None,):
            self.subscribed.pop((request.feed, product), None)
        done = futures_ws.write_subscribed(request.feed, request.product_ids)
        self._say({**done, "event": "unsubscribed"})

    def _refuse(self, problem: str) -> None:
        self._say(futures_ws.write_refusal("error", problem))

    def _say(self, frame: Row | Raw) -> None:
        self.outbox.put(encode(frame).decode(), self.desk.now_us())

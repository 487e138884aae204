"""One connection to the spot stream (WebSocket v2): requests in, frames out. Nothing here waits: frames go into an outbox."""

from __future__ import annotations

from typing import Protocol

from protocol.kraken import spot
from protocol.kraken.endpoints import BASE_INTERVAL
from protocol.kraken.wire import MalformedPayload, encode
from protocol.messages.spot import CandleSeen
from protocol.units import SECOND_US
from sim.venue.markets import Market, snapshot
from sim.venue.socket import Outbox


class Desk(Protocol):
    """The venue as its spot side sees it."""

    market: Market
    spot_symbols: tuple[str, ...]
    step_us: int

    def now_us(self) -> int: ...


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

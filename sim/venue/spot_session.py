"""One connection to the spot stream (WebSocket v2): requests in, frames out. Nothing here waits: frames go into an outbox."""

from __future__ import annotations

from typing import Protocol

from protocol.kraken import spot
from protocol.kraken.endpoints import BASE_INTERVAL
from protocol.kraken.wire import MalformedPayload, encode
from protocol.units import SECOND_US
from sim.venue.markets import Market, snapshot
from sim.venue.socket import Outbox
from sim.venue.spot_data import CHANNELS, TRADES_SHOWN, SpotData, data_frame


class Desk(Protocol):
    """The venue as its spot side sees it."""

    market: Market
    spot_symbols: tuple[str, ...]
    spot_data: SpotData
    rows_most: int

    def now_us(self) -> int: ...


class SpotSession:
    """WebSocket v2: ohlc of 15 minutes, ticker, trade; heartbeats when nothing else is said."""

    def __init__(self, desk: Desk, outbox: Outbox, number: int) -> None:
        self.desk = desk
        self.outbox = outbox
        self.number = number
        self.subscribed: dict[tuple[str, str], None] = {}

    def wants(self, channel: str, symbol: str) -> bool:
        """Whether a frame of this channel is for this client."""
        return (channel, symbol) in self.subscribed

    def greet(self) -> None:
        self._say(spot.write_spot_status("online", self.number))

    def hear(self, text: str) -> None:
        """Answer one request of the client."""
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
                self.subscribed.pop((request.channel, symbol), None)
                done = self._acknowledged(request, symbol, at)
                self._say({**done, "method": "unsubscribe"})
            else:
                self._subscribe(symbol, request, at)

    def _subscribe(self, symbol: str, request: spot.SpotSubscribe, at: int) -> None:
        refusal = None
        if request.channel not in CHANNELS:
            refusal = f"Channel not supported {request.channel}"
        elif request.channel == "ohlc" and request.interval is None:
            refusal = "Subscription ohlc requires interval"
        elif request.channel == "ohlc" and request.interval != BASE_INTERVAL:
            refusal = "Subscription ohlc interval not supported"
        elif symbol not in self.desk.spot_symbols:
            refusal = f"Currency pair not supported {symbol}"
        elif self.wants(request.channel, symbol):
            refusal = "Already subscribed"
        if refusal is not None:
            self._say(spot.write_spot_refusal(refusal, symbol, request.req_id, at))
            return
        self.subscribed[request.channel, symbol] = None
        self._say(self._acknowledged(request, symbol, at))
        if request.snapshot:
            self._say(self._first(request.channel, symbol, at))

    def _acknowledged(self, request: spot.SpotSubscribe, symbol: str, at: int) -> dict[str, object]:
        interval = BASE_INTERVAL if request.channel == "ohlc" else None
        return spot.write_spot_subscribed(symbol, interval, request.req_id, at, request.channel)

    def _first(self, channel: str, symbol: str, at: int) -> dict[str, object]:
        data = self.desk.spot_data
        if channel == "ticker":
            return data_frame("ticker", [data.frame_row(symbol, at)], snapshot=True)
        if channel == "trade":
            return spot.write_spot_trades(data.trades(symbol, 0, at, TRADES_SHOWN), snapshot=True)
        return spot.write_spot_candles(snapshot(self.desk.market, symbol, at), at, snapshot=True)

    def beat(self, at: int, silence_us: int = SECOND_US) -> None:
        """Say that the connection lives, after so long a silence."""
        if self.subscribed and at - self.outbox.last_put_us >= silence_us:
            self._say(spot.write_spot_heartbeat())

    def _say(self, frame: dict[str, object]) -> None:
        self.outbox.put(encode(frame).decode(), self.desk.now_us())

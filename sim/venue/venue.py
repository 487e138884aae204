"""The simulated Kraken as one running thing: time moves the market, the market moves the engine, the streams tell.

Works under any trio clock: it sleeps until the next moment of `schedule` and never reads another clock than the one given.
Knows Kraken's paths and nothing of who trades.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from functools import partial
from typing import Any, Final, Protocol, cast

import httpx
import trio
from msgspec import Raw
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket
from trio_websocket import ConnectionRejected, wrap_client_stream

from protocol.kraken.endpoints import FUTURES_WS_PATH, SPOT_WS_PATH
from protocol.kraken.markets import Notice
from protocol.kraken.spot import write_spot_candles, write_spot_trades
from protocol.kraken.wire import encode
from protocol.messages.base import Message
from protocol.messages.futures import OpenOrder
from protocol.ports import Clock, Command
from protocol.units import HOUR_US, SECOND_US
from sim.engine import Answer, Engine
from sim.engine.state import Working
from sim.engine.terms import USUAL, Terms
from sim.market.contracts import INVERSE
from sim.market.tick import Tick
from sim.venue import schedule
from sim.venue.futures_rest import FuturesRest
from sim.venue.futures_session import FuturesSession
from sim.venue.keys import Account, keys
from sim.venue.marketdata import MarketData
from sim.venue.markets import ROWS_MOST, Market, WithInverse, updates
from sim.venue.memory import InMemory
from sim.venue.pipe import PIECES, PipeEnd, pipe
from sim.venue.reports import PUBLIC_PRODUCT_FEEDS, Reports
from sim.venue.rows import Row
from sim.venue.socket import CLOSE_S, AsgiSocket, Outbox, PipeSocket, Socket, SocketClosed, converse, wait_until
from sim.venue.spot_data import SpotData, data_frame
from sim.venue.spot_rest import SpotRest
from sim.venue.spot_session import SpotSession

NOTE: Final = Notice(kind="general", priority="low", text="This is a simulated exchange: nothing here is real.")
STREAM_DELAY_US: Final = 500
"""What a wish caused is told on the streams this much after its answer, so that the answer always comes first."""
NORMAL_CLOSURE: Final = 1000


class Network(Protocol):
    """What lies between the venue and its clients; `sim.faults` has a bad one."""

    def rest(self, app: Any) -> Any:
        """The application as clients reach it."""
        ...

    def socket(self, socket: Socket, path: str) -> Socket:
        """A connection as it is at the other end of the wire."""
        ...

    def refused(self, path: str) -> int | None:
        """Whether a new connection fails now: with this status of HTTP, 0 where nobody answers; None: it is let in."""
        ...

    def told(self, messages: Sequence[Message]) -> None:
        """What the exchange reports, before anyone hears it."""
        ...

    def second(self) -> None:
        """All of a second has been told."""
        ...


class Venue:
    """`markets`: spot symbol -> contract, in configured order. The API keys follow from `seed`: one trades, one only reads.

    Inverse contracts that the engine lists are priced after their linear twins. Marks come every `tick_s`, spot trades every
    `candle_s` (a multiple; by default the same), heartbeats every `beat_s`; of spot candles the newest `rows_most` are shown.

    `persist` gets the saved engine after every change of orders, positions or fills; it must be durable when it returns.
    `network` stands between it and its clients; `wait` sleeps until the clock says so (microseconds UTC). `own_market` False: nothing moves by itself, and whoever runs the venue calls `move` and `settle_funding`.
    """

    def __init__(
        self,
        engine: Engine,
        market: Market,
        clock: Clock,
        markets: Mapping[str, str],
        *,
        tick_s: int = 1,
        candle_s: int | None = None,
        beat_s: int = 1,
        rows_most: int = ROWS_MOST,
        seed: int = 0,
        persist: Callable[[bytes], None] | None = None,
        own_market: bool = True,
        network: Network | None = None,
        wait: Callable[[int], Awaitable[None]] | None = None,
    ) -> None:
        self.engine = engine
        self.clock = clock
        self.spot_symbols = tuple(markets)
        twins = {twin.symbol: (linear, twin.tick) for linear, twin in INVERSE.items() if twin.symbol in engine.rules}
        self.market = WithInverse(market, twins) if twins else market
        self.contracts = (*markets.values(), *twins)
        spot_of = {contract: spot for spot, contract in markets.items()}
        self.spot_of = spot_of | {twin: spot_of[linear] for twin, (linear, _) in twins.items()}
        self.step_us = schedule.tick_us(tick_s)
        self.trade_us = schedule.tick_us(tick_s if candle_s is None else candle_s)
        self._beat_us = beat_s * SECOND_US
        self.rows_most = rows_most
        self.accounts = {key.name: Account(key) for key in keys(seed)}
        self.key, self.secret, _ = keys(seed)[0]
        self.leverage: dict[str, Decimal] = {}
        self.pnl_currency: dict[str, str] = {}
        self.notices = [NOTE]
        self.data = MarketData(self)
        self.spot_data = SpotData(self.market, self.trade_us)
        self.reports = Reports(self)
        self._network = network
        self._wait = wait or partial(wait_until, self.now_us)
        self.app = self._app() if network is None else network.rest(self._app())
        self._persist = persist
        self._own_market = own_market
        self._spot: list[SpotSession] = []
        self._futures: list[FuturesSession] = []
        self._audience: dict[tuple[str, str | None], bool] = {}
        """Which feeds of the streams anybody listens to, as far as it was asked since the last request of a client."""
        self._watched_feeds: dict[str, Sequence[str]] = {}
        self._connections = 0
        self._dead_man_us: int | None = None
        self._nursery: trio.Nursery | None = None

    def now_us(self) -> int:
        """The venue's time."""
        return self.clock.now_us()

    # --- running --------------------------------------------------------------------------------------------

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Move the market and keep connections, until cancelled. Started when every contract has a price."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            try:
                if self._own_market:
                    self._catch_up()
                nursery.start_soon(self._pump)
                task_status.started()
                await trio.sleep_forever()
            finally:
                self._nursery = None

    def _catch_up(self) -> None:
        """Give every contract its price of now, and a restored account the funding of the hours that went by."""
        at = self.now_us()
        hour = at - at % HOUR_US
        if 0 < self.engine.last_at < hour:
            self.settle_funding(hour)
        for symbol in self.contracts:
            self.move(self.market.tick(symbol, at))

    async def _pump(self) -> None:
        """Visit every second, and every moment of the market in it to its end. Late is late: no moment is left out.

        What an exchange has to say of a second it says in one go: a microsecond is nothing to a client.
        """
        second = schedule.next_grid(self.now_us() + 1, SECOND_US)
        spots, contracts = len(self.spot_symbols), len(self.contracts)
        while True:
            moves = self._own_market and second % self.step_us == 0 and second <= self.market.end_us
            funding, trades, beats = (second % each_us == 0 for each_us in (HOUR_US, self.trade_us, self._beat_us))
            halves = schedule.moments(spots, contracts, funding=funding, moves=moves, trades=trades, beats=beats)
            if not any(halves):
                await self._wait(second)
            for moments in filter(None, halves):
                await self._wait(second + moments[-1].after_us)
                for moment in moments:
                    self._pass(moment, second)
            if self._network is not None:
                self._network.second()
            second += SECOND_US

    def _pass(self, moment: schedule.Moment, second_us: int) -> None:
        after_us, kind, market = moment
        at = second_us + after_us
        match kind:
            case "tick":
                self.move(self.market.tick(self.contracts[market], at))
            case "candle":
                self._show_spot(self.spot_symbols[market], second_us, at)
            case "funding":
                self.settle_funding(at)
            case "futures beat":
                for futures in self._futures:
                    futures.beat(at)
            case "spot beat":
                for spot in self._spot:
                    spot.beat(at, self._beat_us)

    # --- the market moves, wishes arrive ----------------------------------------------------------------------

    def move(self, tick: Tick) -> None:
        """One contract's prices changed."""
        met = self.engine.meet(tick)
        if self.engine.rules[tick.symbol].tradeable:  # only tradeable markets stream
            for feed in self._watched(tick.symbol):
                for body in self.reports.market(feed, tick):
                    self._spread(feed, tick.symbol, body, tick.at)
        self._tell(met, tick.at)
        if met:
            self._save()

    def settle_funding(self, at: int) -> None:
        """A full hour is over."""
        messages = self.engine.settle_funding(at)
        self._tell(messages, at)
        if messages:
            self._save()

    def carry_out(self, command: Command, terms: Terms = USUAL) -> Answer:
        """One wish arrived."""
        at = self.now_us()
        answer = self.engine.answer(command, at, terms)
        if answer.stream:
            self._save()
            self._tell(answer.stream, at + STREAM_DELAY_US)
        return answer

    def refused(self, order: OpenOrder, status: str) -> None:
        """The book refused an order: the verbose feed tells."""
        at = self.now_us()
        frame = self.reports.refused(order, status, at)
        if frame is not None and self._wanted(frame.feed, frame.product):
            self._spread(*frame, at + STREAM_DELAY_US)

    @property
    def streams(self) -> int:
        """How many connections are open."""
        return len(self._spot) + len(self._futures)

    def delist(self, symbol: str) -> None:
        """End a contract now: see `Engine.delist`. Its ticker falls silent and its rules say that it is not traded."""
        self.tell(self.engine.delist(symbol, self.now_us()))

    def cancel_all(self, symbol: str | None, reason: str) -> list[Working]:
        """Take every order off the book now."""
        at = self.now_us()
        gone, told = self.engine.cancel_all(symbol, reason, at)
        if told:
            self._save()
            self._tell(told, at + STREAM_DELAY_US)
        return gone

    def arm(self, seconds: int) -> int | None:
        """Cancel all after so many seconds (0: never) unless it is armed again: the moment, None when it is off."""
        if self._nursery is None:
            raise RuntimeError("start Venue.run before arming its switch")
        self._dead_man_us = due = self.now_us() + seconds * SECOND_US if seconds else None
        if due is not None:
            self._nursery.start_soon(self._fire, due)
        return due

    async def _fire(self, due: int) -> None:
        await self._wait(due)
        if self._dead_man_us == due:
            self._dead_man_us = None
            self.cancel_all(None, "dead_man_switch")

    def funding(self, symbol: str, hour_us: int) -> tuple[Decimal, Decimal] | None:
        """Relative rate and index of the hour that begins then, None before the market's data begin."""
        try:
            tick = self.market.tick(symbol, hour_us + 1)  # a full hour still belongs to the one before it
        except ValueError:
            return None
        return tick.funding_rate, tick.index

    def _show_spot(self, symbol: str, grid_us: int, at: int) -> None:
        if self._wanted("ohlc", symbol):
            for candle in updates(self.market, symbol, grid_us, self.trade_us):
                self._spread_spot("ohlc", symbol, write_spot_candles((candle,), at), at)
        if self._wanted("ticker", symbol):
            self._spread_spot("ticker", symbol, data_frame("ticker", [self.spot_data.frame_row(symbol, at)]), at)
        if self._wanted("trade", symbol):
            self._spread_spot("trade", symbol, write_spot_trades([self.spot_data.trade(symbol, at)]), at)

    def _spread_spot(self, channel: str, symbol: str, body: dict[str, object], at: int) -> None:
        text = encode(body).decode()
        for session in tuple(self._spot):
            if session.wants(channel, symbol):
                session.outbox.put(text, at)

    def tell(self, messages: Sequence[Message]) -> None:
        """Reports that no wish and no price caused."""
        self._save()
        self._tell(messages, self.now_us())

    def _tell(self, messages: Sequence[Message], due: int) -> None:
        if self._network is not None and messages:
            self._network.told(messages)
        for frame in self.reports.frames(messages, self._wanted):
            self._spread(*frame, due)

    def _wanted(self, feed: str, product: str | None) -> bool:
        name = feed, product
        wanted = self._audience.get(name)
        if wanted is None:
            sessions: list[FuturesSession | SpotSession] = [*self._futures, *self._spot]
            wanted = self._audience[name] = any(name in session.subscribed for session in sessions)
        return wanted

    def _watched(self, symbol: str) -> Sequence[str]:
        """The feeds of a contract's market that anybody listens to."""
        feeds = self._watched_feeds.get(symbol)
        if feeds is None:
            feeds = [feed for feed in PUBLIC_PRODUCT_FEEDS if self._wanted(feed, symbol)]
            self._watched_feeds[symbol] = feeds
        return feeds

    def _spread(self, feed: str, product: str | None, body: Row | Raw, due: int) -> None:
        text = encode(body).decode()
        for session in tuple(self._futures):
            if session.wants(feed, product):
                session.outbox.put(text, due)

    def _save(self) -> None:
        if self._persist is not None:
            self._persist(self.engine.save())

    # --- connections ------------------------------------------------------------------------------------------

    async def serve_socket(self, socket: Socket, path: str) -> None:
        """Talk to one client until either side ends it."""
        if self._network is not None:
            socket = self._network.socket(socket, path)
        self._connections += 1
        outbox = Outbox(self.clock.now_us)
        session: SpotSession | FuturesSession
        if path == SPOT_WS_PATH:
            session = SpotSession(self, outbox, self._connections)
            self._spot.append(session)
        elif path == FUTURES_WS_PATH:
            session = FuturesSession(self, outbox, self._connections)
            self._futures.append(session)
        else:
            await socket.close(NORMAL_CLOSURE, f"nothing is at {path}")
            return
        session.greet()

        def hear(text: str) -> None:
            session.hear(text)
            self._ask_anew()

        try:
            await converse(socket, outbox, hear)
        finally:
            self._ask_anew()
            self._spot = [other for other in self._spot if other is not session]
            self._futures = [other for other in self._futures if other is not session]

    def _ask_anew(self) -> None:
        self._audience.clear()
        self._watched_feeds.clear()

    def http_client(self, base_url: str = "http://venue") -> httpx.AsyncClient:
        """A client of the REST APIs in memory."""
        return httpx.AsyncClient(transport=InMemory(self.app), base_url=base_url)

    @asynccontextmanager
    async def connect(self, path: str) -> AsyncIterator[Any]:
        """A trio-websocket client connection in memory. `run` must be running."""
        if self._nursery is None:
            raise RuntimeError("start Venue.run before connecting to it")
        status = None if self._network is None else self._network.refused(path)
        if status is not None:
            raise ConnectionRejected(status, (), None) if status else OSError("connection refused")
        ours, theirs = pipe()
        self._nursery.start_soon(self._accept, theirs, path)
        # Any stream will do, whatever its annotation says.
        try:
            connection = await wrap_client_stream(
                self._nursery, cast(Any, ours), "venue", path, message_queue_size=PIECES
            )
        except BaseException:
            await trio.aclose_forcefully(ours)  # or the other end would wait for the handshake for ever
            raise
        _unhurried(connection)
        try:
            yield connection
        finally:
            with trio.move_on_after(CLOSE_S, shield=True):
                await connection.aclose()

    async def _accept(self, stream: PipeEnd, path: str) -> None:
        socket = PipeSocket(stream)
        try:
            await socket.accept()
        except SocketClosed:
            return  # the client left during the handshake
        await self.serve_socket(socket, path)

    def _app(self) -> Any:
        async def websocket(client: WebSocket) -> None:
            if self._network is not None and self._network.refused(client.url.path) is not None:
                await client.close()
                return
            await client.accept()
            await self.serve_socket(AsgiSocket(client), client.url.path)

        rest = [*SpotRest(self).routes(), *FuturesRest(self).routes()]
        streams = [WebSocketRoute(path, websocket) for path in (SPOT_WS_PATH, FUTURES_WS_PATH)]
        whole = Starlette(routes=[*rest, *streams])
        straight = [(route.path.removesuffix("{rest:path}"), route) for route in rest]

        async def app(scope: Any, receive: Any, send: Any) -> None:
            """The routes' own answers, without the layers round them; what no route takes is starlette's to refuse."""
            if scope["type"] == "http":
                for root, route in straight:
                    if scope["path"].startswith(root) and scope["method"] in (route.methods or ()):
                        answer = await route.endpoint(Request(scope, receive))
                        await answer(scope, receive, send)
                        return
            await whole(scope, receive, send)

        return app


def _unhurried(connection: Any) -> None:
    """Let a client's frames pass from its reader to its owner without a turn of the scheduler for each, as a `PipeEnd` does: a third of
    all task steps. It still waits where it must. The channel's names are private: trio-websocket is pinned.
    """
    there, back = connection._send_channel, connection._recv_channel
    send, receive, waiting = there.send, back.receive, back._state.data

    async def send_soon(message: object) -> None:
        try:
            there.send_nowait(message)
        except trio.WouldBlock:
            await send(message)

    async def receive_soon() -> object:
        return back.receive_nowait() if waiting else await receive()

    there.send, back.receive = send_soon, receive_soon

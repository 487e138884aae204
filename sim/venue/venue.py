"""The simulated Kraken as one running thing: time moves the market, the market moves the engine, the streams tell.

Works under any trio clock: it sleeps until the next moment of `schedule` and never reads another clock than the one given.
Knows Kraken's paths and nothing of who trades.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from hashlib import blake2b
from typing import Any, Final, Protocol, cast

import httpx
import trio
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket
from trio_websocket import ConnectionClosed, HandshakeError, wrap_client_stream, wrap_server_stream

from protocol.ids import derive
from protocol.kraken.endpoints import FUTURES_WS_PATH, SPOT_WS_PATH
from protocol.kraken.spot import write_spot_candles
from protocol.kraken.wire import encode
from protocol.messages.base import Message
from protocol.messages.futures import FillSeen
from protocol.ports import Clock, Command
from protocol.units import HOUR_US, SECOND_US
from sim.engine import Answer, Engine
from sim.tick import Tick
from sim.venue import schedule
from sim.venue.futures_rest import FuturesRest
from sim.venue.markets import Market, updates
from sim.venue.pipe import pipe
from sim.venue.sessions import FuturesSession, Session, SpotSession, write_report
from sim.venue.socket import CLOSE_S, AsgiSocket, Outbox, Socket, TrioSocket, converse, wait_until
from sim.venue.spot_rest import SpotRest

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

    def refused(self, path: str) -> bool:
        """Whether a new connection fails now."""
        ...

    def told(self, messages: Sequence[Message]) -> None:
        """What the exchange reports, before anyone hears it."""
        ...


class Venue:
    """`markets`: spot symbol -> contract, in configured order. The API key pair follows from `seed`.

    `persist` gets the saved engine after every change of orders, positions or fills; it must be durable when it returns.
    `network` stands between it and its clients. `own_market` False: nothing moves by itself, and whoever runs the venue calls `move` and `settle_funding`.
    """

    def __init__(
        self,
        engine: Engine,
        market: Market,
        clock: Clock,
        markets: Mapping[str, str],
        *,
        tick_s: int = 1,
        seed: int = 0,
        persist: Callable[[bytes], None] | None = None,
        own_market: bool = True,
        network: Network | None = None,
    ) -> None:
        self.engine = engine
        self.market = market
        self.clock = clock
        self.spot_symbols = tuple(markets)
        self.contracts = tuple(markets.values())
        self.step_us = schedule.tick_us(tick_s)
        self.key, self.secret = key_pair(seed)
        self._network = network
        self.app = self._app() if network is None else network.rest(self._app())
        self._persist = persist
        self._own_market = own_market
        self._spot: list[SpotSession] = []
        self._futures: list[FuturesSession] = []
        self._connections = 0
        self._fills_told = 0
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
                nursery.start_soon(self._beat)
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
        """Visit every moment of the market to its end. Late is late: no moment is left out."""
        grid = schedule.next_grid(self.now_us() + 1, self.step_us)
        while grid <= self.market.end_us:
            for moment in schedule.moments(grid, len(self.contracts)):
                await wait_until(self.now_us, moment.at)
                self._pass(moment, grid)
            grid += self.step_us

    def _pass(self, moment: schedule.Moment, grid_us: int) -> None:
        if moment.kind == "funding":
            self.settle_funding(moment.at)
        elif moment.kind == "tick":
            self.move(self.market.tick(self.contracts[moment.market], moment.at))
        else:
            self._show_candles(self.spot_symbols[moment.market], grid_us, moment.at)

    async def _beat(self) -> None:
        at = schedule.next_grid(self.now_us(), SECOND_US) + schedule.BEAT_OFFSET_US
        while True:
            await wait_until(self.now_us, at)
            sessions: list[Session] = [*self._spot, *self._futures]
            for session in sessions:
                session.beat(at)
            at += SECOND_US

    # --- the market moves, wishes arrive ----------------------------------------------------------------------

    def move(self, tick: Tick) -> None:
        """One contract's prices changed."""
        messages = self.engine.move(tick)
        self._tell(messages, tick.at)
        if len(messages) > 1:
            self._save()

    def settle_funding(self, at: int) -> None:
        """A full hour is over."""
        messages = self.engine.settle_funding(at)
        self._tell(messages, at)
        if messages:
            self._save()

    def carry_out(self, command: Command) -> Answer:
        """One wish arrived."""
        at = self.now_us()
        answer = self.engine.answer(command, at)
        if answer.stream:
            self._save()
            self._tell(answer.stream, at + STREAM_DELAY_US)
        return answer

    def funding(self, symbol: str, hour_us: int) -> tuple[Decimal, Decimal] | None:
        """Relative rate and index at a full hour, None before the market's data begin."""
        try:
            tick = self.market.tick(symbol, hour_us)
        except ValueError:
            return None
        return tick.funding_rate, tick.index

    def _show_candles(self, symbol: str, grid_us: int, at: int) -> None:
        if not any(symbol in session.symbols for session in self._spot):
            return
        for candle in updates(self.market, symbol, grid_us, self.step_us):
            text = encode(write_spot_candles((candle,), at)).decode()
            for session in tuple(self._spot):
                session.tell(candle, text, at)

    def tell(self, messages: Sequence[Message]) -> None:
        """Reports that no wish and no price caused."""
        self._save()
        self._tell(messages, self.now_us())

    def _tell(self, messages: Sequence[Message], due: int) -> None:
        if self._network is not None:
            self._network.told(messages)
        for message in messages:
            self._fills_told += isinstance(message, FillSeen)
            if not self._futures:
                continue
            frame = write_report(message, self._fills_told)
            if frame is not None:
                text = encode(frame).decode()
                for session in tuple(self._futures):
                    session.tell(message, text, due)

    def _save(self) -> None:
        if self._persist is not None:
            self._persist(self.engine.save())

    # --- connections ------------------------------------------------------------------------------------------

    async def serve_socket(self, socket: Socket, path: str) -> None:
        """Talk to one client until either side ends it."""
        if self._network is not None:
            socket = self._network.socket(socket, path)
        self._connections += 1
        outbox = Outbox(self.now_us)
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
        try:
            await converse(socket, outbox, session.hear)
        finally:
            self._spot = [other for other in self._spot if other is not session]
            self._futures = [other for other in self._futures if other is not session]

    def http_client(self, base_url: str = "http://venue") -> httpx.AsyncClient:
        """A client of the REST APIs in memory."""
        return httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url=base_url)

    @asynccontextmanager
    async def connect(self, path: str) -> AsyncIterator[Any]:
        """A trio-websocket client connection in memory. `run` must be running."""
        if self._nursery is None:
            raise RuntimeError("start Venue.run before connecting to it")
        if self._network is not None and self._network.refused(path):
            raise OSError("connection refused")
        ours, theirs = pipe()
        self._nursery.start_soon(self._accept, self._nursery, theirs, path)
        # Any stream will do, whatever its annotation says.
        try:
            connection = await wrap_client_stream(self._nursery, cast(Any, ours), "venue", path)
        except BaseException:
            await trio.aclose_forcefully(ours)  # or the other end would wait for the handshake for ever
            raise
        try:
            yield connection
        finally:
            with trio.move_on_after(CLOSE_S, shield=True):
                await connection.aclose()

    async def _accept(self, nursery: trio.Nursery, stream: trio.abc.Stream, path: str) -> None:
        try:
            request = await wrap_server_stream(nursery, stream)
            connection = await request.accept()
        except (ConnectionClosed, HandshakeError):
            return  # the client left during the handshake
        await self.serve_socket(TrioSocket(connection), path)

    def _app(self) -> Starlette:
        async def websocket(client: WebSocket) -> None:
            await client.accept()
            await self.serve_socket(AsgiSocket(client), client.url.path)

        return Starlette(
            routes=[
                *SpotRest(self).routes(),
                *FuturesRest(self).routes(),
                WebSocketRoute(SPOT_WS_PATH, websocket),
                WebSocketRoute(FUTURES_WS_PATH, websocket),
            ]
        )


def key_pair(seed: int) -> tuple[str, str]:
    """API key and secret (base64) of the venue with this seed."""
    secret = blake2b(f"venue secret {seed}".encode(), digest_size=64).digest()
    return derive("venue key", seed), b64encode(secret).decode()

"""The whole daemon in one test: the real tree, gateways, gate and door against the simulated exchange, in simulated time.

A story injects a signal or a fault and then reads the truth from the exchange's engine. What a life did not flush dies
with it (`Life`, `Disk`); the exchange lives on.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from typing import Any, TypeVar

import httpx
import numpy as np
import trio
from script import BTC, START, XBT, Script
from trio.testing import MockClock

from actors.door import Door
from actors.futures_feed.actor import booked_until
from actors.gate import Gate
from actors.gateway.futures import FuturesGateway
from actors.gateway.secret import Secret
from actors.gateway.spot import SpotGateway
from actors.shell import World
from actors.supervisor import Supervisor
from actors.tree import CHILDREN, LEASES, ROUTES
from config.settings import Settings
from protocol.ids import derive
from protocol.kraken.endpoints import FUTURES_WS_PATH, SPOT_WS_PATH
from protocol.messages.base import Message, from_edge
from protocol.messages.control import Alert, KillRequested
from protocol.messages.futures import (
    CancelOrder,
    EnterPosition,
    EntryBlocked,
    Fill,
    InstrumentsSeen,
    NoticesSeen,
    OpenOrder,
    PlaceOrder,
    Protected,
    SignalRefused,
    SnapshotFailed,
    SnapshotSeen,
)
from protocol.messages.signal import Signal, StructureRead
from protocol.ports import Command, FuturesExchange, Journal, LatchStore
from protocol.units import BEHIND_S, SECOND_US, TIMEFRAME_MS, Side
from sim.clock import SimulatedClock
from sim.engine import Engine
from sim.faults import Faults, Plan
from sim.faults.host import HostClock
from sim.faults.wiring import faulty_venue
from sim.market.contracts import PF_ETHUSD, PF_XBTUSD
from sim.venue import Venue
from tests.fakes.ports import FakeLatchStore

M = TypeVar("M", bound=Message)

SETTINGS = Settings.model_validate({"risk": {"risk_pct": "0.1"}})
"""A small risk, so that a tight stop does not ask for more than the order limit."""
STOP_PCT, TARGET_PCT = 0.005, 0.01
QUARTER_MS = TIMEFRAME_MS["15m"]
LOOK_EVERY_S = 0.05


class Disk:
    """What has been flushed, by whatever life."""

    def __init__(self) -> None:
        self.records: list[tuple[str, Message, tuple[Message, ...]]] = []
        self.memories: dict[str, bytes] = {}


class Life:
    """One life's journal on a disk: what it has not flushed is lost when it ends."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._records: list[tuple[str, Message, tuple[Message, ...]]] = []
        self._memories: dict[str, Callable[[], bytes]] = {}

    def record(self, actor: str, message: Message, answers: Sequence[Message]) -> None:
        self._records.append((actor, message, tuple(answers)))

    def keep(self, actor: str, memory: Callable[[], bytes]) -> None:
        self._memories[actor] = memory

    def flush(self) -> None:
        self._disk.records += self._records
        self._disk.memories |= {actor: memory() for actor, memory in self._memories.items()}
        self._records, self._memories = [], {}

    def memory(self, actor: str) -> bytes | None:
        return self._memories[actor]() if actor in self._memories else self._disk.memories.get(actor)


@dataclass
class Line:
    """A connection's wire. `silent`: it stays open, and nothing comes through any more. `cut`: nor can another be opened."""

    venue: Venue
    path: str
    silent: bool = False
    cut: bool = False

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[Any]:
        """A connection over this wire. OSError while it is cut."""
        if self.cut:
            raise OSError("no route to host")
        async with self.venue.connect(self.path) as socket:
            yield Muffled(socket, self)


@dataclass
class Muffled:
    """A socket that reads and drops while its line is silent."""

    socket: Any
    line: Line

    async def send_message(self, message: str | bytes) -> None:
        """Frames to the exchange always arrive."""
        await self.socket.send_message(message)

    async def ping(self, payload: bytes) -> None:
        """Pings are frames to the exchange too."""
        await self.socket.ping(payload)

    async def get_message(self) -> str | bytes:
        """The next frame that comes through."""
        while True:
            frame: str | bytes = await self.socket.get_message()
            if not (self.line.silent or self.line.cut):
                return frame


class Post(httpx.AsyncBaseTransport):
    """REST in memory. `lost(request)`: "request" never arrives, "reply" arrives at the exchange but is never answered."""

    def __init__(self, venue: Venue) -> None:
        self._inner = httpx.ASGITransport(venue.app)
        self.lost: Callable[[str], str | None] = lambda form: None
        self.cut = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Carry a request there and its reply back, or lose one of them."""
        if self.cut:
            raise httpx.ConnectError("no route to host")
        lost = (
            self.lost(request.content.decode()) if request.url.path.endswith(("/sendorder", "/orders/status")) else None
        )
        if lost != "request":
            response = await self._inner.handle_async_request(request)
        if lost is not None:
            await trio.sleep_forever()
        return response


class Hooked:
    """The real futures client, with a word to the story before and after each order."""

    def __init__(self, real: FuturesExchange, house: House) -> None:
        self._real, self._house = real, house

    async def instruments(self) -> InstrumentsSeen:
        return await self._real.instruments()

    async def notices(self) -> NoticesSeen:
        return await self._real.notices()

    async def isolated(self) -> Mapping[str, Decimal]:
        return await self._real.isolated()

    def stream(self, symbols: Sequence[str]) -> AbstractAsyncContextManager[AsyncIterator[Message | None]]:
        return self._real.stream(symbols)

    async def snapshot(self, *, urgent: bool = False) -> SnapshotSeen | SnapshotFailed:
        return await self._real.snapshot(urgent=urgent)

    async def send(self, command: Command) -> Sequence[Message]:
        await self._reach("leaving", command)
        answers = await self._real.send(command)
        await self._reach("arrived", command)
        return answers

    async def _reach(self, moment: str, command: Command) -> None:
        self._house.sent += [command] if moment == "leaving" else []
        if isinstance(command, PlaceOrder) and self._house.strikes_at == (moment, command.role):
            self._house.strikes_at = None
            self._house.strike()
            await trio.lowlevel.checkpoint()


@dataclass
class House:
    """One exchange, one disk, and the lives of a daemon on them. `said` is everything said in all lives, in order."""

    nursery: trio.Nursery
    settings: Settings
    market: Any
    engine: Engine
    clock: SimulatedClock
    venue: Venue
    faults: Faults
    disk: Disk = field(default_factory=Disk)
    latch: LatchStore = field(default_factory=FakeLatchStore)
    journal: Journal | None = None
    said: list[tuple[str, Message]] = field(default_factory=list)
    sent: list[Command] = field(default_factory=list)
    gate_log: list[tuple[int, str, bool]] = field(default_factory=list)
    strikes_at: tuple[str, str] | None = None
    """("leaving" | "arrived", role): once, just before or just after such an order reaches the exchange, `strike` happens."""
    strike: Callable[[], None] = lambda: None

    def __post_init__(self) -> None:
        self.spot_line = Line(self.venue, SPOT_WS_PATH)
        self.futures_line = Line(self.venue, FUTURES_WS_PATH)
        self.post = Post(self.venue)
        self.gate = Gate(LEASES, self.latch.read())

    # --- life ---------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """A new life, until entries may leave (or the latch is found)."""
        self.begin()
        await self.until(lambda: self.gate.closed_by() in ((), ("gate.latched",)))
        await trio.sleep(2)  # prices of both markets have come

    def begin(self) -> None:
        """A new life, from its first moment."""
        self._scope, self._ended = trio.CancelScope(), trio.Event()
        self.gate = Gate(LEASES, self.latch.read(), self._gate_changed)
        self.nursery.start_soon(self._live)

    def end_life(self) -> None:
        """Kill the process: nothing is flushed, nothing is said goodbye to."""
        self._scope.cancel()

    async def die(self) -> None:
        """Kill the process and wait until it is gone."""
        self.end_life()
        await self._ended.wait()

    async def dead(self) -> None:
        """Wait for the death that `strike` brings."""
        with trio.fail_after(60):
            await self._ended.wait()

    async def _live(self) -> None:
        with self._scope:
            journal, clock = self.journal or Life(self.disk), HostClock(self.clock, self.faults)
            async with httpx.AsyncClient(transport=self.post, base_url="http://venue") as http:
                futures = FuturesGateway(
                    http,
                    self.futures_line.connect,
                    clock,
                    key=self.venue.key,
                    secret=Secret(self.venue.secret),
                    settings=self.settings.execution,
                    fills_until=booked_until(journal),
                )
                self.world = World(
                    settings=self.settings,
                    clock=clock,
                    spot=SpotGateway(http, self.spot_line.connect, clock),
                    futures=Hooked(futures, self),
                    journal=journal,
                    latch_store=self.latch,
                    gate=self.gate,
                    door=Door(self.settings, self.gate),
                    routes=ROUTES,
                    jitter=np.random.default_rng(7).random,
                    watch=lambda sender, message: self.said.append((sender, message)),
                    behind_s=BEHIND_S,
                )
                self.supervisor = Supervisor(CHILDREN, self.world)
                await self.supervisor.run()
        self._ended.set()

    def _gate_changed(self, what: str, is_open: bool) -> None:
        self.gate_log.append((self.clock.now_us(), what, is_open))

    # --- what a story does ----------------------------------------------------------------------------------------

    def signal(self, name: str = "first", side: Side = "long") -> Signal:
        """Put a valid signal on bitcoin into risk's mailbox; `name` makes its id."""
        now, price = self.clock.now_us(), self.market.spot_price(BTC, self.clock.now_us())
        sign = 1 if side == "long" else -1
        signal = Signal(
            id=derive("story", name),
            cause="",
            at=now,
            symbol=BTC,
            timeframe="15m",
            side=side,
            candle_time_ms=now // 1000 - QUARTER_MS,
            entry=price,
            stop=price * (1 - sign * STOP_PCT),
            take_profit=price * (1 + sign * TARGET_PCT),
            stop_pct=STOP_PCT,
            take_profit_pct=TARGET_PCT,
            zone_id="zone",
            reason=f"signal.{side}",
            valid_until=now + 900 * SECOND_US,
            rule_version="story",
            params_hash="story",
            snapshot="{}",
        )
        self.world.mailboxes["risk"].put(signal)
        return signal

    def enter(self, name: str) -> None:
        """Put an approved entry into the executor's mailbox, past risk."""
        now = self.clock.now_us()
        entry = from_edge(
            EnterPosition,
            now,
            name,
            signal_id=derive("story", name),
            symbol=XBT,
            spot_symbol=BTC,
            timeframe="15m",
            side="long",
            size=Decimal("0.1"),
            stop_pct=Decimal(str(STOP_PCT)),
            take_profit_pct=Decimal(str(TARGET_PCT)),
            spot_entry=Decimal(60_000),
            mark=Decimal(60_000),
            leverage=Decimal("0.06"),
            valid_until=now + 900 * SECOND_US,
            exit_on_choch="exec",
            max_hold_bars=0,
            verdict="{}",
        )
        self.world.mailboxes["executor"].put(entry)

    def change_of_character(self) -> None:
        """Tell the executor that structure has turned against a long."""
        now, price = self.clock.now_us(), self.market.spot_price(BTC, self.clock.now_us())
        read = from_edge(
            StructureRead,
            now,
            now,
            symbol=BTC,
            timeframe="15m",
            candle_time_ms=now // 1000 // QUARTER_MS * QUARTER_MS,
            high=price,
            low=price,
            close=price,
            atr=None,
            choch=-1,
            choch_4h=-1,
            bias=0,
            trail_long=None,
            trail_short=None,
        )
        self.world.mailboxes["executor"].put(read)

    def kill_switch(self) -> None:
        """A person asks for the kill switch."""
        now = self.clock.now_us()
        self.world.mailboxes["kill_switch"].put(from_edge(KillRequested, now, now, reason="story", by="person"))

    def cancel_behind_our_back(self, order_type: str) -> None:
        """Somebody takes an order of ours off the book by hand."""
        order = self.orders[order_type]
        now = self.clock.now_us()
        self.venue.carry_out(from_edge(CancelOrder, now, order.order_id, symbol=XBT, order_id=order.order_id))

    def cut(self, cut: bool = True) -> None:
        """Take the whole network away, or give it back."""
        self.spot_line.cut = self.futures_line.cut = self.post.cut = cut

    def hang_up(self) -> None:
        """Let the exchange end every connection; another can be opened at once."""
        for session in (*self.venue._spot, *self.venue._futures):
            session.outbox.scope.cancel()

    def crash(self, child: str) -> None:
        """Let a child die of a fault."""
        self.supervisor.crash(child, RuntimeError("story"))

    def go(self, price: float, per_s: float = 50.0) -> int:
        """Send the market to `price`, and answer from what moment on."""
        at: int = self.market.go(self.clock.now_us(), price, per_s)
        return at

    async def sleep_to(self, at: int) -> None:
        """Until the moment `at`, microseconds UTC."""
        await trio.sleep_until(self.clock.trio_time(at))

    async def open_position(self, name: str = "first") -> Signal:
        """A long bitcoin position, protected."""
        before = len(self.heard(Protected))
        signal = self.signal(name)
        await self.until(lambda: len(self.heard(Protected)) > before, 30)
        return signal

    async def until(self, holds: Callable[[], bool], within_s: float = 60) -> None:
        """Let simulated time pass until `holds()`. AssertionError with the state of things when it does not in time."""
        with trio.move_on_after(within_s):
            while not holds():  # noqa: ASYNC110  the exchange's engine tells nobody
                await trio.sleep(LOOK_EVERY_S)
            return
        raise AssertionError(
            f"not within {within_s} s; gate closed by {self.gate.closed_by()}; position {self.position}; orders {self.orders}; "
            f"alerts {[(a.code, a.text) for a in self.heard(Alert)]}; refused {[r.reasons for r in self.heard(SignalRefused)]}"
            f"; blocked {[b.reasons for b in self.heard(EntryBlocked)]}"
        )

    async def settle(self, seconds: float = 30) -> None:
        """Let time pass in which nothing more should happen."""
        await trio.sleep(seconds)

    # --- what is true ---------------------------------------------------------------------------------------------

    def heard(self, kind: type[M]) -> list[M]:
        """Everything of a kind that was said, in order."""
        return [message for _, message in self.said if isinstance(message, kind)]

    @property
    def position(self) -> Decimal:
        """Bitcoin held on the exchange, signed."""
        return next((p.size for p in self.engine.positions() if p.symbol == XBT), Decimal(0))

    @property
    def orders(self) -> dict[str, OpenOrder]:
        """What rests on the exchange, by order type. AssertionError when two of a type do."""
        resting = [working.order for working in self.engine.state.working.values()]
        by_type = {order.order_type: order for order in resting}
        assert len(by_type) == len(resting), f"doubled: {resting}"
        return by_type

    @property
    def entry_fills(self) -> list[Fill]:
        """Executions that bought."""
        return [fill for fill in self.engine.state.fills if fill.side == "buy"]

    @property
    def protected(self) -> bool:
        """Whether one reduce-only stop and one target rest on the mark for exactly what is held."""
        orders = self.orders
        return set(orders) == {"stp", "take_profit"} and all(
            (order.size, order.reduce_only, order.trigger, order.symbol) == (abs(self.position), True, "mark", XBT)
            for order in orders.values()
        )


@asynccontextmanager
async def open_house(
    settings: Settings = SETTINGS,
    market: Any = None,
    engine: Engine | None = None,
    start_us: int = START,
    plan: Plan | None = None,
    **terms: Any,
) -> AsyncIterator[House]:
    """A house in which entries may leave; the faults of `plan` count from then on.

    The test must take `autojump_clock` itself: pytest-trio looks nowhere else.
    """
    assert isinstance(trio.lowlevel.current_clock(), MockClock), "name autojump_clock among the test's arguments"
    market = market or Script()
    engine = engine or Engine((PF_XBTUSD, PF_ETHUSD), Decimal(100_000), slippage_pct=Decimal(0))
    clock = SimulatedClock(start_us, trio.current_time())
    venue, faults = faulty_venue(
        plan or Plan(), engine, market, clock, settings.futures_of, tick_s=settings.market.tick_s
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(venue.run)
        house = House(nursery, settings, market, engine, clock, venue, faults, **terms)
        await nursery.start(partial(faults.run, at_once=False))
        await house.start()
        faults.begin()
        yield house
        nursery.cancel_scope.cancel()

"""Milliseconds on the wire: a candle's close to the entry, a fill to its stop and target, a kill to flat. Live path, real venue, loopback TCP."""

from __future__ import annotations

import gc
import os
import re
import socket
import struct
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import numpy as np
import trio
from figures import Figures, measure
from trio_websocket import wrap_client_stream

from actors.connection import describe
from actors.gateway.channel import Connect
from actors.gateway.credentials import Credentials
from actors.gateway.dial import KEPT_OPEN_S, http_client
from actors.gateway.direct import Direct
from actors.gateway.secret import Secret
from actors.ledger.journal import open_ledger
from actors.modes.daemon import Daemon
from actors.modes.sites import loopback_venue
from actors.shell import World
from actors.state import StateDirectory
from config.settings import Settings
from protocol.messages.base import Message, from_edge
from protocol.messages.control import CloseRequested, KillProgress
from protocol.messages.futures import EntryBlocked, MarkPrice, PlaceOrder, Protected, SignalRefused
from protocol.messages.signal import Signal
from protocol.messages.spot import SpotPrice
from protocol.units import TIMEFRAME_MS, moment
from sim.clock import PacedClock, SystemClock
from tests.fakes.restless import STRATEGY, candle_files

ROUNDS, KILLS = int(os.environ.get("ROUNDS", "100")), int(os.environ.get("KILLS", "20"))
ROUNDS_WITHIN_S, KILLS_WITHIN_S = 420.0, 150.0
"""Real seconds; what is not done by then is left out, and said."""
READY_WITHIN_S, KILL_WITHIN_S = 60.0, 20.0
SETTLE_S = 0.5
"""A daemon that has just started has years of history to write down."""
TRADED_SYMBOLS = {"BTC/USD": "PF_XBTUSD", "ETH/USD": "PF_ETHUSD"}
"""What the daemon trades: both signal on the same candle, and the second order waits for the first."""
KILLED_SYMBOLS = {**TRADED_SYMBOLS, "SOL/USD": "PF_SOLUSD"}
"""A kill meets three positions."""
SPEED = 300.0
"""Of the market that gives signals: a candle every three seconds, and the exchange read every second (15 in real trading) and a second
after a fill: faster would measure the readings. Kills are measured at 1, as their timers are market time.
"""
TRADED = 1_000
"""Candles: more than a run lasts."""
STRANGERS = 2
"""Resting orders a symbol besides stop and target: three symbols, twelve orders."""
CORES = sorted(os.sched_getaffinity(0))
SO_TIMESTAMPNS = 35
"""Linux: the kernel tells when it received what is read. What waits in a busy process has waited already."""
CANDLE = re.compile(rb'"symbol":"([A-Z]+/USD)"[^{}]*?"interval_begin":"([^"]+)"')
FILL = re.compile(rb'"cli_ord_id":"([^"]+)"')
PLACED = re.compile(rb"(?s)^POST [^ ]*/sendorder .*cliOrdId=([^&]+)")

Clock = Callable[[], float]


def market(speed: float) -> dict[str, Any]:
    """What venue and daemon must agree on."""
    symbols = TRADED_SYMBOLS if speed > 1 else KILLED_SYMBOLS
    return {
        "symbols": [{"spot": spot, "futures": futures} for spot, futures in symbols.items()],
        "market": {"speed": speed, "equity_usd": 1_000_000, "tick_s": 60 if speed > 1 else 1},
    }


def settings_for(root: str, port: int, speed: float) -> Settings:
    """Live in env dev, no wait after a candle's end, and limits that let every round trade; a restless strategy in the fast market."""
    http, ws = f"http://127.0.0.1:{port}", f"ws://127.0.0.1:{port}"
    return Settings.model_validate(
        {
            **market(speed),
            "mode": "live",
            "env": "dev",
            "strategy": STRATEGY if speed > 1 else {},
            "risk": {"risk_pct": "0.01", "positions_max": 20, "cost_max_r": 100, "entries_per_day_max": 100, "loss_streak_max": 100, "cooldown_h": 0,
                     "mark_age_max_s": 30, "spot_age_max_s": 60, "basis_skew_max_s": 60},
            "execution": {"orders_per_minute": 100, "order_notional_max_usd": 1_000_000, "reconcile_s": 300 if speed > 1 else 15, "reconcile_after_s": min(speed, 300)},
            "feeds": {"spot_idle_s": 60, "futures_idle_s": 60, "settle_ms": 0},
            "exchange": {"spot_url": http, "spot_ws_url": f"{ws}/v2", "futures_url": http, "futures_ws_url": f"{ws}/ws/v1"},
            "store": {"directory": root},
        }
    )  # fmt: skip


@dataclass
class Wire:
    """Both ends of the daemon's sockets: when bytes came (the kernel's word) and when requests had gone out. Real seconds."""

    seconds: Clock
    candles: dict[tuple[str, str], float] = field(default_factory=dict)
    """(spot symbol, beginning of an interval) -> its first frame: the candle before it has closed."""
    fills: dict[str, float] = field(default_factory=dict)
    """Client order id -> its first fill, by reply or stream."""
    left: dict[str, float] = field(default_factory=dict)
    """Client order id -> its placement was on the wire."""

    def http(self, base_url: str, pace: float) -> httpx.AsyncClient:
        """The daemon's own client, with an ear on each connection."""
        return http_client(base_url, pace, transport=Stamped(KEPT_OPEN_S * pace, self))

    def ws(self, url: str, _pace: float = 1.0) -> Connect:
        """A connection whose bytes are stamped by the kernel."""

        @asynccontextmanager
        async def connect() -> AsyncIterator[Any]:
            parts = urlsplit(url)
            stream = await trio.open_tcp_stream(parts.hostname or "", parts.port or 0)
            async with trio.open_nursery() as nursery:
                ear: Any = Ear(stream, self.seconds, self._hear)
                async with await wrap_client_stream(nursery, ear, parts.netloc, parts.path) as connection:
                    yield connection

        return connect

    def _hear(self, chunk: bytes, at: float) -> None:
        for symbol, begin in CANDLE.findall(chunk):
            self.candles.setdefault((symbol.decode(), begin.decode()[:16]), at)
        if b'"feed":"fills"' in chunk:
            for name in FILL.findall(chunk):
                self.fills.setdefault(name.decode(), at)


class Ear:
    """A TCP stream that tells when the kernel received what is read from it, and when it has taken what is sent."""

    def __init__(
        self,
        stream: trio.SocketStream,
        seconds: Clock,
        hear: Callable[[bytes, float], None],
        say: Callable[[bytes, float], None] = lambda data, at: None,
    ) -> None:
        self._stream, self._seconds, self._hear, self._say, self._tail = stream, seconds, hear, say, b""
        stream.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    async def send_all(self, data: bytes) -> None:
        """As a stream does: trio, too, writes at once and lets the others run afterwards."""
        taken = 0
        with suppress(BlockingIOError):
            taken = os.write(self._stream.socket.fileno(), data)
        self._say(data, self._seconds())
        await self._stream.send_all(data[taken:])

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """As a stream does."""
        data, told, _, _ = await self._stream.socket.recvmsg(max_bytes or 65536, socket.CMSG_SPACE(16))
        for _level, _kind, value in told:
            whole, nanoseconds = struct.unpack("qq", value)
            # A frame may lie across two reads.
            self._hear(self._tail + data, whole + nanoseconds / 1e9)
            self._tail = (self._tail + data)[-500:]
        return data


class Stamped(Direct):
    """The daemon's own transport, with an ear on each connection: a placement leaves by it, and its answer tells of the fill."""

    def __init__(self, kept_open_s: float, wire: Wire) -> None:
        super().__init__(kept_open_s)
        self._wire = wire

    async def _opened(self, scheme: str, host: str, port: int) -> Any:
        connection: Any = await super()._opened(scheme, host, port)
        asked: list[str] = []

        def say(data: bytes, at: float) -> None:
            asked[:] = [name.decode() for name in PLACED.findall(data)]
            self._wire.left.update(dict.fromkeys(asked, at))

        def hear(_data: bytes, at: float) -> None:
            for name in asked:
                self._wire.fills.setdefault(name, at)

        connection.stream = Ear(connection.stream, self._wire.seconds, hear, say)
        return connection


@dataclass
class Desk:
    """One daemon, its wire, and what it said."""

    world: World
    state: StateDirectory
    wire: Wire
    heard: dict[type[Message], list[Any]]

    def count(self, kind: type[Message]) -> int:
        """How many of these were said."""
        return len(self.heard.get(kind, []))

    def refused(self) -> str:
        """Which entries were not taken, by reason."""
        said = [*self.heard.get(SignalRefused, []), *self.heard.get(EntryBlocked, [])]
        reasons = Counter(reason for message in said for reason in message.reasons)
        return ", ".join(f"{reason} {count}" for reason, count in reasons.most_common()) or "none"

    def mark(self, symbol: str) -> Decimal:
        """The newest mark."""
        found: Decimal = next(m.mark for m in reversed(self.heard[MarkPrice]) if m.symbol == symbol)
        return found

    async def until(self, holds: Callable[[], bool], within_s: float) -> bool:
        """Wait for so many real seconds at most; whether it came true."""
        end = self.wire.seconds() + within_s
        while not holds() and self.wire.seconds() < end:  # noqa: ASYNC110  a measurement from outside
            await trio.sleep(0.005 * self.world.settings.market.speed)
        return holds()

    def close(self, symbol: str) -> None:
        """As a person's `close` does."""
        now = self.world.clock.now_us()
        asked = from_edge(CloseRequested, now, symbol, now, request=f"{symbol}{now}", symbol=symbol, by="bench", reason="round over", dry_run=False)  # fmt: skip
        self.world.mailboxes["executor"].put(asked)

    async def open(self, spot: str) -> bool:
        """A position by a signal put into risk's mailbox, as strategy would; whether it is protected."""
        now, protected = self.world.clock.now_us(), self.count(Protected)
        price = float(self.mark(KILLED_SYMBOLS[spot]))
        self.world.mailboxes["risk"].put(from_edge(SpotPrice, now, spot, now, symbol=spot, price=price))
        signal = from_edge(
            Signal, now, spot, now, symbol=spot, timeframe="15m", side="long", candle_time_ms=now // 1000, entry=price,
            stop=price * 0.98, take_profit=price * 1.04, stop_pct=0.02, take_profit_pct=0.04, zone_id="z", reason="signal.long",
            valid_until=now + 900_000_000, rule_version="bench", params_hash="bench", snapshot="{}",
        )  # fmt: skip
        self.world.mailboxes["risk"].put(signal)
        return await self.until(lambda: self.count(Protected) > protected, KILL_WITHIN_S)

    async def rest_strangers(self) -> None:
        """Orders of somebody else, far from the market."""
        for number in range(STRANGERS):
            for symbol in KILLED_SYMBOLS.values():
                now = self.world.clock.now_us()
                price = (self.mark(symbol) / 2).to_integral_value() or Decimal(1)
                await self.world.futures.send(
                    from_edge(PlaceOrder, now, symbol, now, number, client_order_id=f"s{now}{number}", signal_id="s", role="entry",
                              symbol=symbol, side="buy", order_type="lmt", size=Decimal(1), limit_price=price)
                )  # fmt: skip


Work = Callable[[Desk], Awaitable[None]]


def live(settings: Settings, pair: Credentials, work: Work) -> str:
    """The whole daemon, as `run --mode live --env dev` has it, until `work` is done; what kept it from that, if anything did."""
    state = StateDirectory(Path(settings.store.directory), settings.mode, settings.env)
    state.path.mkdir(parents=True, exist_ok=True)
    clock, heard = SystemClock(), dict[type[Message], list[Any]]()
    wire = Wire(lambda: clock.now_us() / 1e6)

    def watch(_sender: str, message: Message) -> None:
        heard.setdefault(type(message), []).append(message)

    async def main() -> None:
        daemon = Daemon(settings, state, ledger, watch, lambda what, is_open: None, None, None)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(daemon.run, partial(loopback_venue, pair, http=wire.http, ws=wire.ws))
            while daemon.world is None:  # noqa: ASYNC110  a measurement from outside
                await trio.sleep(0.01)
            desk = Desk(daemon.world, state, wire, heard)
            marked = len(settings.symbols)
            if await desk.until(lambda: not desk.world.gate.closed_by() and len({m.symbol for m in heard.get(MarkPrice, [])}) == marked, READY_WITHIN_S):  # fmt: skip
                await work(desk)
            else:
                raise TimeoutError(f"not ready within {READY_WITHIN_S:g} s: {desk.world.gate.closed_by()}")
            nursery.cancel_scope.cancel()

    with open_ledger(f"sqlite:///{state.path / 'ledger.sqlite'}", settings=settings.model_dump_json()) as ledger:
        try:
            trio.run(main, clock=PacedClock(settings.market.speed))
        except Exception as error:  # the rounds that were measured are told all the same
            return f"a daemon ended: {describe(error)}"
        finally:
            gc.unfreeze()  # as `run_daemon` does
    return ""


@dataclass
class Found:
    """Milliseconds of each round."""

    entries: list[float] = field(default_factory=list)
    protections: list[float] = field(default_factory=list)
    kills: list[float] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        """Something a reader of the figures must know; empty: nothing."""
        self.notes += [text] * bool(text)

    async def trade(self, desk: Desk) -> None:
        """Let the strategy signal, close each position once it is protected, and look at the wire afterwards."""
        ready, closed, measured = desk.wire.seconds() + SETTLE_S, 0, 0

        def enough() -> bool:
            nonlocal closed, measured
            for message in desk.heard.get(Protected, [])[closed:]:
                desk.close(message.symbol)
                closed += 1
                signal = next(s for s in reversed(desk.heard[Signal]) if s.id == message.trade_id)
                measured += closing(desk.wire, signal) >= ready
            return measured >= ROUNDS

        if not await desk.until(enough, ROUNDS_WITHIN_S):
            self.notes.append(f"{measured} of {ROUNDS} rounds within {ROUNDS_WITHIN_S:g} s")
        signals = {signal.id: signal for signal in desk.heard.get(Signal, [])}
        orders: dict[str, dict[str, str]] = {}
        for order in desk.heard.get(PlaceOrder, []):
            orders.setdefault(order.signal_id, {}).setdefault(order.role, order.client_order_id)
        for name, legs in orders.items():
            with suppress(KeyError):  # a round in the middle of which it ended
                closed_at = closing(desk.wire, signals[name])
                last = max(desk.wire.left[legs[role]] for role in ("stop", "target"))
                if closed_at < ready:  # its candle waited for the daemon, which was starting
                    continue
                self.entries.append((desk.wire.left[legs["entry"]] - closed_at) * 1e3)
                self.protections.append((last - desk.wire.fills[legs["entry"]]) * 1e3)
        self.notes.append(f"signals not taken: {desk.refused()}")

    async def kill(self, desk: Desk) -> None:
        """Three positions, twelve orders, one kill."""
        await trio.sleep(SETTLE_S)
        for spot in KILLED_SYMBOLS:
            if not await desk.open(spot):
                self.notes.append(f"a kill was left out: {spot} was not opened (refused: {desk.refused()})")
                return
        await desk.rest_strangers()
        began, seen = desk.wire.seconds(), desk.count(KillProgress)
        ended: list[float] = []

        def flat() -> bool:
            done = any(m.flat and not m.working_orders for m in desk.heard.get(KillProgress, [])[seen:])
            ended.extend([desk.wire.seconds()] * (done and not ended))
            return done

        desk.state.request_kill("bench")
        if await desk.until(flat, KILL_WITHIN_S):
            self.kills.append((ended[0] - began) * 1e3)
        else:
            self.notes.append(
                f"a kill did not complete within {KILL_WITHIN_S:g} s: {desk.heard.get(KillProgress, [])[-1:]}"
            )


def closing(wire: Wire, signal: Signal) -> float:
    """When the frame came by which the candle of a signal was over: the first of the next interval; 0 if it came before we listened."""
    next_ms = signal.candle_time_ms + TIMEFRAME_MS[signal.timeframe]
    return wire.candles.get((signal.symbol, moment(next_ms * 1000).replace(" ", "T")[:16]), 0.0)


def keep_apart(venue: int) -> None:
    """The venue on a core of its own, as the real one is on a machine of its own: else what it is told wakes it on ours, before our write returns."""
    if len(CORES) > 1:
        os.sched_setaffinity(venue, CORES[-1:])
        os.sched_setaffinity(0, CORES[:-1])


@contextmanager
def serving(root: str, speed: float) -> Iterator[tuple[int, Credentials]]:
    """`venue serve` in a process of its own: its port and its key."""
    config = Path(root) / "venue.json"  # JSON is YAML
    config.write_text(Settings.model_validate(market(speed)).model_dump_json(include={"symbols", "market"}))
    command = [sys.executable, "-m", "actors", "venue", "serve", "--port", "0", "--speed", f"{speed:g}", "--config", str(config)]  # fmt: skip
    command += candle_files(Path(root), TRADED_SYMBOLS, TRADED) if speed > 1 else ()
    venue = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    keep_apart(venue.pid)
    try:
        told: dict[str, str] = {}
        for line in venue.stdout or ():
            name, value = line[:14].strip(), line[14:].strip()
            told.setdefault(name, value)
            if name == "API secret":
                break
        else:
            raise SystemExit(f"venue serve ended with {venue.wait()}")
        yield urlsplit(told["spot REST"]).port or 0, Credentials(told["API key"], Secret(told["API secret"]))
    finally:
        venue.terminate()
        venue.wait()


def work(figures: Figures) -> int:
    """Trades in a fast market first, then one daemon a kill in real time. 1 when a limit is not kept or a round is missing."""
    found, clock = Found(), SystemClock()
    with tempfile.TemporaryDirectory() as root, serving(root, SPEED) as (port, pair):
        found.note(live(settings_for(root, port, SPEED), pair, found.trade))
    end_us = clock.now_us() + KILLS_WITHIN_S * 1e6
    for number in range(KILLS):
        if clock.now_us() > end_us:
            found.notes.append(f"{number} of {KILLS} kills within {KILLS_WITHIN_S:g} s")
            break
        # A venue each: the rate limit of one account does not admit so many kills a minute.
        with tempfile.TemporaryDirectory() as root, serving(root, 1.0) as (port, pair):
            found.note(live(settings_for(root, port, 1.0), pair, found.kill))
    missed = False
    for name, values, rounds, aim in (
        ("candle closed -> entry on the wire", found.entries, ROUNDS, 20.0),
        ("fill seen -> stop and target on the wire", found.protections, ROUNDS, 20.0),
        ("kill asked -> no orders and flat", found.kills, KILLS, 1000.0),
    ):
        figures.add(f"{name}, rounds", len(values), "", rounds)
        for label, at in (("p50", 50), ("p99", 99), ("most", 100)) if values else ():
            figures.add(f"{name}, {label}", float(np.percentile(values, at)), "ms", aim if label == "p99" else None)
        missed |= len(values) < rounds or bool(values and np.percentile(values, 99) > aim)
    figures.add(f"load average of the last minute, {os.cpu_count()} cores", os.getloadavg()[0], "")
    for note in found.notes:
        print(note, file=sys.stderr)
    return int(missed)


if __name__ == "__main__":
    measure(__doc__ or "", work)

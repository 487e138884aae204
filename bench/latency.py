"""Milliseconds from a fill to its stop and target on the wire, from a candle's close to the entry, from a kill to flat: live path over loopback TCP."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import trio

from actors.door import Door
from actors.gate import Gate
from actors.gateway.credentials import Credentials
from actors.gateway.secret import Secret
from actors.ledger.journal import open_ledger
from actors.modes.sites import loopback_venue
from actors.shell import World
from actors.state import StateDirectory
from actors.supervisor import Supervisor
from actors.tree import CHILDREN, LEASES, ROUTES
from config.settings import Settings
from protocol.messages.base import Message, from_edge
from protocol.messages.control import CloseRequested, KillProgress, KillRequested, Latch
from protocol.messages.futures import (
    EntryBlocked,
    Filled,
    MarkPrice,
    PlaceOrder,
    Protected,
    SignalRefused,
    TradeClosed,
)
from protocol.messages.signal import Signal
from protocol.messages.spot import SpotPrice
from protocol.ports import Command, LatchState
from sim.clock import PacedClock, stopwatch

ROUNDS, KILLS = int(os.environ.get("ROUNDS", "100")), int(os.environ.get("KILLS", "30"))
SYMBOLS = {"BTC/USD": "PF_XBTUSD", "ETH/USD": "PF_ETHUSD", "SOL/USD": "PF_SOLUSD"}
LIMIT_MS = {"fill_to_protection": 20.0, "close_to_entry": 20.0, "kill_to_flat": 1000.0}
STRANGERS = 2
"""Resting orders a symbol besides stop and target: three symbols, twelve orders."""


def settings_for(root: str, port: int) -> Settings:
    """Live in env dev, real time, three symbols, and limits that let every round trade."""
    http, ws = f"http://127.0.0.1:{port}", f"ws://127.0.0.1:{port}"
    return Settings.model_validate(
        {
            "mode": "live",
            "env": "dev",
            "symbols": [{"spot": spot, "futures": futures} for spot, futures in SYMBOLS.items()],
            "market": {"speed": 1, "equity_usd": 1_000_000},
            "risk": {"risk_pct": "0.01", "positions_max": 3, "cost_max_r": 9, "entries_per_day_max": 100, "loss_streak_max": 100,
                     "mark_age_max_s": 30, "spot_age_max_s": 60, "basis_skew_max_s": 60},
            "execution": {"orders_per_minute": 100},
            "feeds": {"spot_idle_s": 60, "futures_idle_s": 60},
            "exchange": {"spot_url": http, "spot_ws_url": f"{ws}/v2", "futures_url": http, "futures_ws_url": f"{ws}/ws/v1"},
            "store": {"directory": root},
        }
    )  # fmt: skip


@dataclass
class Wire:
    """The real client, with the moment at which each wish goes out."""

    real: Any
    seconds: Callable[[], float]
    left: dict[str, float] = field(default_factory=dict)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)

    async def send(self, command: Command) -> Sequence[Message]:
        """Note, then send."""
        if isinstance(command, PlaceOrder):
            self.left[f"{command.role}:{command.symbol}"] = self.seconds()
        answers: Sequence[Message] = await self.real.send(command)
        return answers


@dataclass
class Desk:
    """One daemon, what it said, and when (seconds of this process)."""

    world: World
    wire: Wire
    seconds: Callable[[], float]
    heard: dict[type[Message], list[tuple[float, Any]]]

    def count(self, kind: type[Message]) -> int:
        return len(self.heard.get(kind, []))

    async def until(self, holds: Callable[[], bool], within_s: float = 30) -> None:
        with trio.fail_after(within_s):
            while not holds():  # noqa: ASYNC110  a measurement from outside
                await trio.sleep(0.002)

    def refused(self) -> str | None:
        """Why a signal was not taken."""
        said = [*self.heard.get(SignalRefused, []), *self.heard.get(EntryBlocked, [])]
        return str(said[0][1].reasons) if said else None

    def signal(self, spot: str, name: str) -> float:
        """A valid signal into risk's mailbox, as strategy would put it there."""
        now = self.world.clock.now_us()
        price = float(next(m.mark for _, m in reversed(self.heard[MarkPrice]) if m.symbol == SYMBOLS[spot]))
        self.world.mailboxes["risk"].put(from_edge(SpotPrice, now, spot, now, symbol=spot, price=price))
        message = from_edge(
            Signal, now, name, symbol=spot, timeframe="15m", side="long", candle_time_ms=now // 1000, entry=price,
            stop=price * 0.98, take_profit=price * 1.04, stop_pct=0.02, take_profit_pct=0.04, zone_id="z", reason="signal.long",
            valid_until=now + 900_000_000, rule_version="bench", params_hash="bench", snapshot="{}",
        )  # fmt: skip
        at = self.seconds()
        self.world.mailboxes["risk"].put(message)
        return at

    async def open(self, spot: str, name: str) -> tuple[float, float]:
        """Milliseconds from the signal to the entry, and from the fill to the later of stop and target."""
        protected, symbol = self.count(Protected), SYMBOLS[spot]
        fills = self.count(Filled)
        at = self.signal(spot, name)
        await self.until(lambda: self.count(Protected) > protected or self.refused() is not None)
        assert self.refused() is None, self.refused()
        fill = self.heard[Filled][fills][0]
        entry, *legs = (self.wire.left[f"{role}:{symbol}"] for role in ("entry", "stop", "target"))
        return (entry - at) * 1e3, (max(legs) - fill) * 1e3

    async def close(self, spot: str) -> None:
        """As a person's `close` does, and wait until the trade is over."""
        closed, now = self.count(TradeClosed), self.world.clock.now_us()
        asked = from_edge(CloseRequested, now, now, request=str(now), symbol=SYMBOLS[spot], by="bench", reason="round over", dry_run=False)  # fmt: skip
        self.world.mailboxes["executor"].put(asked)
        await self.until(lambda: self.count(TradeClosed) > closed)

    async def rest_strangers(self) -> None:
        """Orders of somebody else, far from the market."""
        for number in range(STRANGERS):
            for symbol in SYMBOLS.values():
                now = self.world.clock.now_us()
                mark = next(m.mark for _, m in reversed(self.heard[MarkPrice]) if m.symbol == symbol)
                price = (mark / 2).to_integral_value() or Decimal(1)
                await self.wire.real.send(
                    from_edge(PlaceOrder, now, symbol, now, number, client_order_id=f"s{now}{number}", signal_id="s", role="entry",
                              symbol=symbol, side="buy", order_type="lmt", size=Decimal(1), limit_price=price)
                )  # fmt: skip


async def live(settings: Settings, pair: Credentials, root: str, then: Callable[[Desk], Awaitable[None]]) -> None:
    """A daemon on a real ledger, until `then` is done."""
    state = StateDirectory(Path(root), settings.mode, settings.env)
    state.path.mkdir(parents=True, exist_ok=True)
    seconds, heard = stopwatch(), dict[type[Message], list[tuple[float, Any]]]()
    hinted = trio.Event()
    with open_ledger(f"sqlite:///{state.path / 'ledger.sqlite'}", settings=settings.model_dump_json()) as ledger:
        async with loopback_venue(pair, settings, state) as site, trio.open_nursery() as nursery:

            def watch(sender: str, message: Message) -> None:
                heard.setdefault(type(message), []).append((seconds(), message))

            async def hints() -> None:
                with state.kill_hints() as descriptor:
                    await trio.lowlevel.wait_readable(descriptor)
                    hinted.set()

            async def hint() -> None:
                with trio.move_on_after(1):
                    await hinted.wait()
                await trio.lowlevel.checkpoint()

            wire = Wire(site.futures, seconds)
            gate = Gate(LEASES, LatchState(latched=False))
            world = World(
                settings=site.settings, clock=site.clock, spot=site.spot, futures=wire, journal=ledger, latch_store=ledger,
                gate=gate, door=Door(site.settings, gate), routes=ROUTES, jitter=np.random.default_rng(7).random,
                kill_requested=state.kill_requested, kill_hint=hint, watch=watch,
            )  # fmt: skip
            nursery.start_soon(hints)
            nursery.start_soon(Supervisor(CHILDREN, world).run)
            desk = Desk(world, wire, seconds, heard)
            await desk.until(
                lambda: not gate.closed_by() and len({m.symbol for _, m in heard.get(MarkPrice, [])}) == 3, 120
            )
            await then(desk)
            nursery.cancel_scope.cancel()
        ledger.acknowledge("bench", "the next round", 0)
    state.forget_kill_request()


async def main(settings: Settings, pair: Credentials, root: str, found: dict[str, list[float]]) -> None:
    """Trades first, then one daemon a kill."""

    async def trade(desk: Desk) -> None:
        for number in range(ROUNDS):
            spot = tuple(SYMBOLS)[number % 3]
            entry_ms, protection_ms = await desk.open(spot, f"t{number}")
            found["close_to_entry"].append(entry_ms)
            found["fill_to_protection"].append(protection_ms)
            await desk.close(spot)
        await trio.sleep(2)  # the last cancellations go out

    async def kill(desk: Desk, number: int) -> None:
        for spot in SYMBOLS:
            await desk.open(spot, f"k{number}{spot}")
        await desk.rest_strangers()
        began = desk.seconds()
        StateDirectory(Path(root), settings.mode, settings.env).request_kill("bench")
        await desk.until(lambda: any(m.flat and not m.working_orders for _, m in desk.heard.get(KillProgress, [])))
        found["kill_to_flat"].append((desk.heard[KillProgress][-1][0] - began) * 1e3)
        assert desk.count(KillRequested) == 0 or desk.count(Latch) == 1

    await live(settings, pair, f"{root}", trade)
    for number in range(KILLS):
        await live(settings, pair, f"{root}", lambda desk, number=number: kill(desk, number))  # type: ignore[misc]


def measure() -> int:
    """Serve, measure, report; 1 when a limit is not kept."""
    with tempfile.TemporaryDirectory() as root:
        config = Path(root) / "venue.yaml"
        rows = ", ".join(f"{{spot: {spot}, futures: {futures}}}" for spot, futures in SYMBOLS.items())
        config.write_text(f"symbols: [{rows}]\nmarket: {{speed: 1, equity_usd: 1000000}}\n")
        command = [sys.executable, "-m", "actors", "venue", "serve", "--port", "0", "--config", str(config)]
        venue = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            assert venue.stdout is not None
            told: dict[str, str] = {}
            for line in venue.stdout:
                for name in ("spot REST", "API key", "API secret"):
                    if line.startswith(name):
                        told[name] = line.removeprefix(name).strip()
                if "API secret" in told:
                    break
            port = int(told["spot REST"].rsplit(":", 1)[1].split("/")[0])
            pair = Credentials(told["API key"], Secret(told["API secret"]))
            found: dict[str, list[float]] = {name: [] for name in LIMIT_MS}
            try:
                trio.run(main, settings_for(root, port), pair, root, found, clock=PacedClock(1.0))
            finally:
                for name, values in found.items():
                    if values:
                        p50, p99, most = np.percentile(values, [50, 99, 100])
                        print(
                            f"{name:20} n {len(values):4}  p50 {p50:7.1f}  p99 {p99:7.1f}  max {most:7.1f}  limit {LIMIT_MS[name]:g} ms"
                        )
                print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
        finally:
            venue.terminate()
            venue.wait()
    return int(any(np.percentile(values, 99) > LIMIT_MS[name] for name, values in found.items()))


if __name__ == "__main__":
    sys.exit(measure())

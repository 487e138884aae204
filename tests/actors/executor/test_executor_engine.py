"""Risk and executor on the simulated exchange, through the real futures feed and reconciler: a signal goes in, a trade comes out."""

from __future__ import annotations

from collections import deque
from decimal import Decimal as D
from typing import Any

import pytest

from actors.executor import decide as executor
from actors.executor import state as executor_state
from actors.futures_feed import decide as futures_feed
from actors.part import Part
from actors.reconciler import decide as reconciler
from actors.risk import decide as risk
from actors.risk import state as risk_state
from actors.tree import ROUTES
from config.settings import Settings
from protocol.messages.base import Message, from_edge
from protocol.messages.control import Started, WakeAt, Woken
from protocol.messages.futures import (
    CancelOrder,
    EditOrder,
    PlaceOrder,
    RequestSnapshot,
    SignalRefused,
    TradeClosed,
)
from protocol.messages.signal import Signal, StructureRead
from protocol.messages.spot import SpotPrice
from protocol.units import HOUR_US, SECOND_US, Side
from sim.engine import Engine
from sim.market.tick import Tick
from tests.fakes import facts
from tests.fakes.facts import XBT

CLOSE = 500_000 * HOUR_US
INSTRUMENT = facts.instrument()


class System:
    """The rooms from the futures feed to the exchange and back, driven in one plain loop."""

    def __init__(self, depth_usd: D | None = None) -> None:
        settings = Settings()
        self.parts: dict[str, Part[Any]] = {
            "futures_feed": Part("futures_feed", futures_feed.initial(settings, None), futures_feed.step),
            "reconciler": Part("reconciler", reconciler.initial(settings), reconciler.step),
            "risk": Part("risk", risk_state.initial(settings, None), risk.step),
            "executor": Part("executor", executor_state.initial(settings, None), executor.step),
        }
        self.engine = Engine((INSTRUMENT,), D(50_000), depth_usd=depth_usd)
        self.at = CLOSE
        self.wakes: dict[tuple[str, str], int] = {}
        self.history: list[Message] = []
        for name, part in self.parts.items():
            self.spread(part.receive(from_edge(Started, self.at, name)), name)
        self.tick(50_000)
        self.spread([self.engine.instruments(self.at), self.engine.snapshot(self.at)])

    def spread(self, messages: Any, speaker: str = "edge") -> None:
        """Deliver messages by the real routes, wishes to the engine, until nothing more is said."""
        queue = deque((speaker, message) for message in messages)
        while queue:
            speaker, message = queue.popleft()
            self.history.append(message)
            if isinstance(message, WakeAt):
                self.wakes[speaker, message.key] = message.due
            elif isinstance(message, PlaceOrder | EditOrder | CancelOrder):
                queue.extend(("edge", answer) for answer in self.engine.send(message, self.at))
            elif isinstance(message, RequestSnapshot):
                queue.append(("edge", self.engine.snapshot(self.at)))
            for name in ROUTES.get(type(message), ()):
                if name in self.parts:
                    queue.extend((name, answer) for answer in self.parts[name].receive(message))

    def tick(self, mark: int) -> None:
        price = D(mark)
        prices = {"mark": price, "index": price, "bid": price - 1, "ask": price + 1, "last": price}
        self.spread(self.engine.move(Tick(at=self.at, symbol=XBT, funding_rate=D(0), **prices)))
        self.spread([from_edge(SpotPrice, self.at, self.at, symbol="BTC/USD", price=float(mark))])

    def later(self, seconds: float, mark: int) -> None:
        """Time passes with its timers, then the market moves."""
        until = self.at + round(seconds * SECOND_US)
        while due := [key for key, when in self.wakes.items() if when <= until]:
            name, key = min(due, key=lambda k: (self.wakes[k], k))
            self.at = max(self.at, self.wakes.pop((name, key)))
            self.spread(self.parts[name].receive(from_edge(Woken, self.at, name, key, self.at, key=key)), name)
        self.at = until
        self.tick(mark)

    def signal(self, side: Side = "long") -> None:
        fields: dict[str, Any] = {
            "zone_id": "z",
            "reason": "r",
            "rule_version": "v",
            "params_hash": "h",
            "snapshot": "",
        }
        prices = {
            "entry": 50_000.0,
            "stop": 49_000.0,
            "take_profit": 54_000.0,
            "stop_pct": 0.02,
            "take_profit_pct": 0.08,
        }
        common = {"symbol": "BTC/USD", "timeframe": "1h", "side": side, "candle_time_ms": CLOSE // 1000 - 3_600_000}
        valid = CLOSE + HOUR_US
        self.spread([Signal(id="s1", cause="", at=self.at, valid_until=valid, **common, **prices, **fields)])

    def flip(self) -> None:
        prices = {"high": 1.0, "low": 1.0, "close": 50_000.0, "atr": None, "trail_long": None, "trail_short": None}
        flips = {"choch": 0, "choch_4h": -1, "bias": 0}
        common = {"symbol": "BTC/USD", "timeframe": "1h", "candle_time_ms": CLOSE // 1000}
        self.spread([from_edge(StructureRead, self.at, self.at, **common, **prices, **flips)])

    def closed(self) -> TradeClosed:
        assert [m.reasons for m in self.history if isinstance(m, SignalRefused)] == []
        (closed,) = [m for m in self.history if isinstance(m, TradeClosed)]
        return closed


@pytest.mark.parametrize("depth_usd", [None, D(5_000)], ids=["deep", "thin"])
@pytest.mark.parametrize(
    ("side", "mark", "reason"),
    [
        ("long", 54_100, "exit.target"),
        ("long", 48_900, "exit.stop"),
        ("short", 45_900, "exit.target"),
        ("short", 51_100, "exit.stop"),
    ],
)
def test_a_signal_becomes_a_trade_and_ends_where_its_plan_says(
    side: Side, mark: int, reason: str, depth_usd: D | None
) -> None:
    """Whole or in parts, long or short: protected while it lives, nothing left when it is over, profit as the engine booked it."""
    system = System(depth_usd)
    system.signal(side)
    system.later(1, 50_000)
    held = sum((abs(p.size) for p in system.engine.positions()), D(0))
    stops = [o for o in system.engine.snapshot(system.at).orders if o.order_type == "stp"]
    assert held > 0
    assert [o.size for o in stops] == [held]

    for second in range(1, 60):
        system.later(1, mark + second % 2)
    assert system.closed().reason == reason or (depth_usd is not None and system.closed().reason.startswith("flatten."))
    assert system.engine.positions() == ()
    assert system.engine.snapshot(system.at).orders == ()
    books = system.engine.books
    assert system.closed().pnl_usd == pytest.approx(books.realised - books.fees)


@pytest.mark.parametrize("depth_usd", [None, D(5_000)], ids=["deep", "thin"])
def test_a_flip_leaves_by_market_until_nothing_is_left(depth_usd: D | None) -> None:
    """A thin book takes several orders; the trade is one."""
    system = System(depth_usd)
    system.signal()
    system.later(1, 50_100)
    system.flip()
    for _ in range(40):
        system.later(1, 50_100)

    assert system.closed().reason == "exit.choch"
    assert system.engine.positions() == ()
    assert system.engine.snapshot(system.at).orders == ()

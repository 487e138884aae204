"""The executor against a hostile exchange: what must hold while it rages, and after it calms down."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from decimal import Decimal as D
from random import Random  # noqa: TID251 - a type only: hypothesis owns the generator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actors.executor import decide
from actors.executor.state import initial
from actors.memory import durable
from config.settings import Settings
from protocol import codec
from protocol.messages.base import Message, from_edge
from protocol.messages.control import Drift, Reconciled, Started, WakeAt, Woken
from protocol.messages.futures import (
    CancelOrder,
    EditOrder,
    EnterPosition,
    Fill,
    Filled,
    InstrumentsListed,
    MarkPrice,
    OpenOrder,
    OrderAccepted,
    OrderGone,
    OrderRejected,
    OrderUnknown,
    PlaceOrder,
    Position,
    PositionChanged,
    TradeClosed,
)
from protocol.messages.signal import StructureRead
from protocol.units import HOUR_US, SECOND_US, Side
from tests.fakes import facts
from tests.fakes.facts import XBT

CLOSE = 500_000 * HOUR_US
SIZE = D(3)


class Venue:
    """An exchange of one contract that may lose requests, lose answers, refuse, fill in parts, and drop orders."""

    def __init__(self, random: Random, side: Side) -> None:
        self.random = random
        self.sign = 1 if side == "long" else -1
        self.hostile = True
        self.mark = D(50_000)
        self.position = D(0)
        self.orders: dict[str, OpenOrder] = {}
        self.seen: set[str] = set()
        self.out: deque[tuple[type[Message], dict[str, Any]]] = deque()
        self.count = 0

    def say(self, kind: type[Message], **fields: Any) -> None:
        self.out.append((kind, fields))

    def chance(self, share: float) -> bool:
        return self.hostile and self.random.random() < share

    def take(self, wish: Message) -> None:
        """Carry out one wish, or not, and say so, or not."""
        name = {PlaceOrder: "place", EditOrder: "edit", CancelOrder: "cancel"}[type(wish)]
        answer = {"client_order_id": wish.client_order_id, "symbol": XBT, "wish": name}
        if self.chance(0.1):
            self.say(OrderUnknown, **answer)
            return
        if name == "place" and self.chance(0.1):
            self.say(OrderRejected, **answer, status="marketSuspended")
            return
        refusal = {"place": self.place, "edit": self.edit, "cancel": self.cancel}[name](wish)
        if self.chance(0.1):
            self.say(OrderUnknown, **answer)
        elif refusal:
            self.say(OrderRejected, **answer, status=refusal)

    def place(self, wish: Any) -> str | None:
        if wish.client_order_id in self.seen:
            return "clientOrderIdAlreadyExist"
        if wish.reduce_only and self.position == 0:
            return "wouldNotReducePosition"
        self.seen.add(wish.client_order_id)
        order = OpenOrder(
            order_id=f"o-{wish.client_order_id}",
            client_order_id=wish.client_order_id,
            symbol=XBT,
            side=wish.side,
            order_type=wish.order_type,
            size=wish.size,
            filled=D(0),
            limit_price=None,
            stop_price=wish.stop_price,
            reduce_only=wish.reduce_only,
            trigger="mark",
        )
        if wish.order_type == "mkt":
            self.execute(order)
            return None
        self.orders[wish.client_order_id] = order
        self.say(OrderAccepted, order=order)
        return None

    def edit(self, wish: Any) -> str | None:
        order = self.orders.get(wish.client_order_id)
        if order is None:
            return "orderForEditNotFound"
        if self.chance(0.1):
            return "invalidSize"
        fields = {name: getattr(order, name) for name in order.__struct_fields__}
        order = OpenOrder(**{**fields, "size": wish.size, "stop_price": wish.stop_price})
        self.orders[wish.client_order_id] = order
        self.say(OrderAccepted, order=order)
        return None

    def cancel(self, wish: Any) -> str | None:
        order = self.orders.pop(wish.client_order_id, None)
        if order is None:
            return "notFound"
        self.gone(order, "cancelled_by_user")
        return None

    def gone(self, order: OpenOrder, reason: str) -> None:
        self.say(OrderGone, client_order_id=order.client_order_id, order_id=order.order_id, symbol=XBT, reason=reason)

    def execute(self, order: OpenOrder) -> None:
        """Fill now, perhaps in parts, perhaps not all of it; a reduce-only order closes at most what there is."""
        size = min(order.size, abs(self.position)) if order.reduce_only else order.size
        parts = [D(1)] * int(size) if self.chance(0.5) else [size]
        if self.chance(0.2):
            parts = parts[:-1] if len(parts) > 1 else parts
        told_first = self.chance(0.3)
        for part in parts:
            if part == 0:
                continue
            self.count += 1
            self.position += part if order.side == "buy" else -part
            if told_first:
                self.tell_position()
            fill = Fill(
                fill_id=f"f{self.count}",
                order_id=order.order_id,
                client_order_id=order.client_order_id,
                symbol=XBT,
                side=order.side,
                size=part,
                price=self.mark,
                time=self.count,
                fill_type="taker",
                fee_usd=None,
            )
            self.say(Filled, fill=fill)
            self.tell_position()
        if sum(parts, D(0)) < order.size:
            self.gone(order, "ioc_order_failed_because_it_would_not_be_executed")

    def tell_position(self) -> None:
        self.say(PositionChanged, position=Position(symbol=XBT, size=self.position, entry_price=self.mark))

    def move(self, mark: D) -> None:
        """The mark moves; what it reaches triggers."""
        self.mark = mark
        fields = {"mark": mark, "index": mark, "bid": mark, "ask": mark, "funding_rate": D(0)}
        self.say(MarkPrice, symbol=XBT, **fields, suspended=False, post_only=False, mark_time=0)
        for order in list(self.orders.values()):
            assert order.stop_price is not None
            below = (order.order_type == "stp") == (self.sign > 0)
            if mark <= order.stop_price if below else mark >= order.stop_price:
                del self.orders[str(order.client_order_id)]
                self.gone(order, "stop_order_triggered" if self.position else "would_not_reduce_position")
                if self.position:
                    self.execute(order)

    def lose_an_order(self) -> None:
        """The exchange drops an order, and says so, or not."""
        if self.orders and self.chance(0.3):
            name = self.random.choice(sorted(self.orders))
            order = self.orders.pop(name)
            if self.chance(0.7):
                self.gone(order, "cancelled_by_admin")


class Storm:
    """Venue, executor, timers and a reconciler that is always right."""

    def __init__(self, random: Random, side: Side) -> None:
        self.random, self.side = random, side
        self.settings = Settings()
        self.state = initial(self.settings, None)
        self.venue = Venue(random, side)
        self.at = CLOSE + 3 * SECOND_US
        self.count = 0
        self.wakes: dict[str, int] = {}
        self.terms: dict[str, tuple[Any, ...]] = {}
        self.best: D | None = None
        self.entries: set[str] = set()
        self.closed = 0
        self.untold: list[dict[str, Any]] = []

    def hear(self, kind: type[Message], /, **fields: Any) -> None:
        self.count += 1
        self.state, said = decide.step(self.state, from_edge(kind, self.at, self.count, **fields))
        self.check(said)
        for message in said:
            if isinstance(message, WakeAt):
                assert message.due > self.at
                self.wakes[message.key] = message.due
            elif isinstance(message, PlaceOrder | EditOrder | CancelOrder):
                self.venue.take(message)

    def check(self, said: Sequence[Message]) -> None:
        """What must hold of every word, however bad the day."""
        for message in said:
            if isinstance(message, PlaceOrder):
                assert message.reduce_only == (message.role != "entry")
                terms = (message.role, message.side, message.size, message.stop_price)
                assert self.terms.setdefault(message.client_order_id, terms) == terms, "an id with two sets of terms"
                self.entries |= {message.client_order_id} if message.role == "entry" else set()
            if isinstance(message, PlaceOrder | EditOrder) and message.role == "stop":
                assert message.stop_price is not None
                worse = self.best is not None and (message.stop_price - self.best) * self.venue.sign < 0
                assert not worse, "a stop was widened"
                self.best = message.stop_price
            self.closed += isinstance(message, TradeClosed)
        assert len(self.entries) <= 1
        assert len(durable(self.state)) < 100_000

    def deliver(self, most: int) -> None:
        """Tell what is waiting, in order on good days; on bad ones frames overtake each other and fills get lost."""
        out = self.venue.out
        while out and most:
            most -= 1
            if self.venue.chance(0.2):
                out.rotate(-1 if len(out) > 1 else 0)
            kind, fields = out.popleft()
            if kind is Filled and self.venue.chance(0.1):
                self.untold.append(fields)
                continue
            self.hear(kind, **fields)
            if kind is PositionChanged and self.venue.chance(0.5):
                self.hear(kind, **fields)

    def pass_time(self, seconds: int) -> None:
        """Let time pass, with every timer that falls due."""
        until = self.at + seconds * SECOND_US
        while self.wakes and min(self.wakes.values()) <= until:
            key = min(self.wakes, key=lambda name: (self.wakes[name], name))
            self.at = max(self.at, self.wakes.pop(key))
            self.hear(Woken, key=key)
        self.at = until

    def crash(self) -> None:
        """Die and live again with what was kept."""
        self.state = initial(self.settings, durable(self.state))
        self.wakes.clear()
        self.hear(Started, restarted=True)
        self.start()

    def start(self) -> None:
        instrument = facts.instrument(lot=D(1), max_position=D(100), margin_levels=())
        self.hear(InstrumentsListed, instruments=(instrument,))
        if self.venue.position:
            self.venue.tell_position()
        for order in list(self.venue.orders.values()):
            self.venue.say(OrderAccepted, order=order)

    def enter(self) -> None:
        self.hear(
            EnterPosition,
            signal_id="s1",
            symbol=XBT,
            spot_symbol="BTC/USD",
            timeframe="1h",
            side=self.side,
            size=SIZE,
            stop_pct=D("0.02"),
            take_profit_pct=D("0.05"),
            spot_entry=D(50_000),
            mark=D(50_000),
            leverage=D(1),
            valid_until=CLOSE + HOUR_US,
            exit_on_choch="4h",
            max_hold_bars=0,
            verdict="{}",
        )

    def reconcile(self) -> None:
        """Tell everything, then what is still wrong, then that the pass is complete."""
        self.deliver(10_000)
        began = self.at
        while self.untold:
            self.hear(Filled, **self.untold.pop(0))
        self.hear(PositionChanged, position=Position(symbol=XBT, size=self.venue.position, entry_price=D(1)))
        for trade in list(self.state.memory.trades.values()):
            for order in trade.orders:
                if order.role in {"stop", "target"} and order.live and order.client_order_id not in self.venue.orders:
                    fields = {"ours": order.state, "theirs": "", "client_order_id": order.client_order_id}
                    self.hear(Drift, kind="missing_order", symbol=XBT, **fields)
        stops = sum((o.size for o in self.venue.orders.values() if o.order_type == "stp"), D(0))
        if stops < abs(self.venue.position):
            self.hear(Drift, kind="missing_stop", symbol=XBT, ours="", theirs="")
        trades = self.state.memory.trades.values()
        ours = {order.client_order_id for trade in trades for order in trade.orders if trade.cover and order.live}
        for name in sorted(self.venue.orders):
            if name not in ours:
                self.hear(Drift, kind="orphan_order", symbol=XBT, ours="", theirs="", client_order_id=name)
        self.hear(Reconciled, began_at=began, clean=False)
        self.deliver(10_000)

    def flip(self) -> None:
        self.hear(
            StructureRead,
            symbol="BTC/USD",
            timeframe="1h",
            candle_time_ms=CLOSE // 1000,
            high=1.0,
            low=1.0,
            close=50_000.0,
            atr=1.0,
            choch=0,
            choch_4h=-self.venue.sign,
            bias=0,
            trail_long=None,
            trail_short=None,
        )


def rage(random: Random, side: Side) -> Storm:
    """A trade in bad weather, then calm and three reconciliations."""
    storm = Storm(random, side)
    storm.start()
    storm.venue.move(D(50_000))
    storm.deliver(10)
    storm.enter()
    for _ in range(random.randint(1, 25)):
        action = random.choice(["deliver", "deliver", "deliver", "time", "move", "lose", "crash", "reconcile", "flip"])
        if action == "deliver":
            storm.deliver(random.randint(1, 4))
        elif action == "time":
            storm.pass_time(random.choice([1, 3, 10]))
        elif action == "move":
            storm.venue.move(D(random.choice([48_900, 49_500, 50_000, 50_500, 51_100, 52_600, 47_400])))
        elif action == "lose":
            storm.venue.lose_an_order()
        elif action == "crash":
            storm.crash()
        elif action == "reconcile":
            storm.reconcile()
        else:
            storm.flip()
    storm.venue.hostile = False
    for _ in range(6):
        storm.reconcile()
        storm.pass_time(15)
    storm.reconcile()
    return storm


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(random=st.randoms(use_true_random=False), side=st.sampled_from(["long", "short"]))
def test_after_the_storm_every_position_is_protected_or_gone(random: Random, side: Side) -> None:
    """Invariants 1, 2, 3, 4, 14 and 25: what we think is what is, and nothing is naked or left over."""
    storm = rage(random, side)
    venue = storm.venue
    trade = storm.state.memory.trades.get(XBT)
    held = trade.held if trade else D(0)
    assert held == venue.position * venue.sign
    stops = [order for order in venue.orders.values() if order.order_type == "stp"]
    if venue.position:
        assert sum(order.size for order in stops) >= abs(venue.position)
        assert len(stops) == 1
    else:
        assert trade is None
        assert venue.orders == {}


@pytest.mark.parametrize("side", ["long", "short"])
def test_the_same_storm_twice_is_the_same_story(side: Side) -> None:
    """Decisions depend on what was heard and on nothing else."""
    first, second = (rage(Random(7), side) for _ in range(2))

    assert codec.encode(first.state.memory) == codec.encode(second.state.memory)

"""An executor in a room with a person at the other end, and the states its tests begin in."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal as D
from typing import Any

from actors.executor import decide
from actors.executor.state import State, initial
from actors.memory import durable
from config.settings import Settings
from protocol import ids
from protocol.messages.base import Message, from_edge
from protocol.messages.control import (
    Alert,
    Drift,
    Started,
    WakeAt,
    Woken,
)
from protocol.messages.futures import (
    EnterPosition,
    Filled,
    InstrumentsListed,
    MarkPrice,
    OrderAccepted,
    OrderGone,
    OrderRejected,
    OrderUnknown,
    PlaceOrder,
    PositionChanged,
    TradeClosed,
)
from protocol.messages.signal import StructureRead
from protocol.units import HOUR_US, SECOND_US
from tests.fakes import facts
from tests.fakes.facts import HOUR_MS, XBT

CLOSE = 500_000 * HOUR_US
NOW = CLOSE + 3 * SECOND_US
ENTRY, STOP, TARGET = (ids.client_order_id("s1", leg) for leg in ("entry", "stop", "target"))


class Room:
    """The executor with a person at the other end: each call is one message in, `said` is what it answered to the last."""

    def __init__(self, state: State | None = None, **sections: Any) -> None:
        self.settings = Settings(**sections)
        self.state = initial(self.settings, None) if state is None else state
        self.at = NOW
        self.count = 0
        self.fills = 0
        self.said: Sequence[Message] = ()
        self.all: list[Message] = []

    def hear(self, kind: type[Message], /, **fields: Any) -> Sequence[Message]:
        self.count += 1
        return self.take(from_edge(kind, self.at, self.count, **fields))

    def take(self, message: Message) -> Sequence[Message]:
        self.state, self.said = decide.step(self.state, message)
        self.all += self.said
        return self.said

    def listed(self) -> None:
        self.hear(InstrumentsListed, instruments=(facts.instrument(max_position=D(100)),))

    def mark(self, price: int, **changes: Any) -> Sequence[Message]:
        return self.hear(MarkPrice, **facts.mark_fields(self.at, price, **changes))

    def enter(self, signal_id: str = "s1", **changes: Any) -> Sequence[Message]:
        fields: dict[str, Any] = {
            "signal_id": signal_id,
            "symbol": XBT,
            "spot_symbol": "BTC/USD",
            "timeframe": "1h",
            "side": "long",
            "size": D(2),
            "stop_pct": D("0.02"),
            "take_profit_pct": D("0.1"),
            "spot_entry": D(50_000),
            "mark": D(50_000),
            "leverage": D(1),
            "valid_until": CLOSE + HOUR_US,
            "exit_on_choch": "4h",
            "max_hold_bars": 0,
            "verdict": "{}",
        }
        return self.hear(EnterPosition, **{**fields, **changes})

    def filled(self, client_order_id: str | None, size: str, price: int, **changes: Any) -> Sequence[Message]:
        self.fills += 1
        side = changes.pop("side", "buy" if client_order_id == ENTRY else "sell")
        name = changes.pop("fill_id", f"f{self.fills}")
        before = D(changes.pop("before", 0))
        known = {
            "client_order_id": client_order_id,
            "order_id": f"o-{client_order_id}",
            "fee_usd": D(10),
            "time": self.at,
        }
        return self.hear(Filled, fill=facts.fill(name, side, size, price, **(known | changes)), before=before)

    def accepted(
        self, client_order_id: str, size: str, price: int | None, filled: str = "0", **changes: Any
    ) -> Sequence[Message]:
        known = {"filled": D(filled), "stop_price": None if price is None else D(price)}
        order = facts.stop_order(f"o-{client_order_id}", client_order_id, size, **(known | changes))
        return self.hear(OrderAccepted, order=order)

    def rejected(
        self, client_order_id: str, status: str, wish: str = "place", limited: bool = False
    ) -> Sequence[Message]:
        known = {"client_order_id": client_order_id, "symbol": XBT, "wish": wish, "status": status}
        return self.hear(OrderRejected, **known, limited=limited)

    def unknown(self, client_order_id: str, wish: str = "place") -> Sequence[Message]:
        return self.hear(OrderUnknown, client_order_id=client_order_id, symbol=XBT, wish=wish)

    def gone(self, client_order_id: str, reason: str) -> Sequence[Message]:
        return self.hear(
            OrderGone, client_order_id=client_order_id, order_id=f"o-{client_order_id}", symbol=XBT, reason=reason
        )

    def position(self, size: str) -> Sequence[Message]:
        return self.hear(PositionChanged, position=facts.position(size))

    def drift(self, kind: str, **changes: Any) -> Sequence[Message]:
        return self.hear(Drift, **{"kind": kind, "symbol": XBT, "ours": "", "theirs": "", **changes})

    def read(self, bar: int = 1, close: float = 50_000.0, **changes: Any) -> Sequence[Message]:
        candle_time_ms = changes.pop("candle_time_ms", CLOSE // 1000 + (bar - 1) * HOUR_MS)
        return self.hear(StructureRead, **facts.structure_fields(candle_time_ms, close, **changes))

    def after(self, seconds: float) -> None:
        self.at += round(seconds * SECOND_US)

    def woken(self) -> Sequence[Message]:
        """Let the timer ring that was asked for last."""
        wakes = [m for m in self.all if isinstance(m, WakeAt)]
        self.at = max(self.at, wakes[-1].due)
        return self.hear(Woken, key=wakes[-1].key)

    def reborn(self) -> Room:
        """Kill the room and start it again with what it kept."""
        memory = durable(self.state)
        room = Room(initial(self.settings, memory))
        room.at, room.count, room.fills = self.at + SECOND_US, self.count + 1000, self.fills
        room.hear(Started, restarted=True)
        room.listed()
        return room

    @property
    def trade(self) -> Any:
        return self.state.memory.trades[XBT]

    def ended(self) -> TradeClosed:
        (closed,) = only(TradeClosed, self.all)
        return closed


def only(kind: type[Any], said: Sequence[Message]) -> list[Any]:
    return [message for message in said if isinstance(message, kind)]


def placed(said: Sequence[Message]) -> list[tuple[str, D]]:
    return [(order.role, order.size) for order in only(PlaceOrder, said)]


def codes(said: Sequence[Message]) -> list[str]:
    return [message.code for message in only(Alert, said)]


def entered(**sections: Any) -> Room:
    """An entry was sent."""
    room = Room(**sections)
    room.listed()
    room.mark(50_000)
    room.enter()
    return room


def naked(**sections: Any) -> Room:
    """The entry filled whole; stop and target were asked for."""
    room = entered(**sections)
    room.filled(ENTRY, "2", 50_010)
    room.position("2")
    return room


def protected(**sections: Any) -> Room:
    """Stop and target rest."""
    room = naked(**sections)
    room.accepted(STOP, "2", 49_000)
    room.accepted(TARGET, "2", 55_000)
    return room

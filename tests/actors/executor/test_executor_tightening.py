"""A stop is never widened: whatever prices do and structure says, each stop sent is at least as tight as the one before."""

from __future__ import annotations

from decimal import Decimal as D
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from actors.executor.decide import step
from actors.executor.state import State, initial
from config.settings import Settings
from protocol.ids import client_order_id
from protocol.messages.base import Message, from_edge
from protocol.messages.control import Reconciled
from protocol.messages.futures import (
    EditOrder,
    EnterPosition,
    Filled,
    InstrumentsListed,
    MarkPrice,
    OrderAccepted,
    OrderGone,
    OrderRejected,
    PlaceOrder,
    PositionChanged,
)
from protocol.messages.signal import StructureRead
from protocol.units import HOUR_US, SECOND_US, Side
from tests.fakes import facts

CLOSE = 500_000 * HOUR_US
EVENTS = st.one_of(
    st.tuples(st.just("read"), st.integers(47_000, 56_000), st.integers(46_000, 55_000), st.integers(10, 900)),
    st.tuples(st.just("mark"), st.integers(49_200, 54_800), st.just(0), st.just(0)),
    st.tuples(st.sampled_from(["confirm", "refuse", "lose", "pass"]), st.just(0), st.just(0), st.just(0)),
)


class Trader:
    """The executor with a position of one contract, on an exchange that does what the test draws."""

    def __init__(self, side: Side, strategy: dict[str, Any]) -> None:
        settings = Settings.model_validate({"strategy": strategy})
        self.side, self.at, self.bar = side, CLOSE + SECOND_US, 0
        self.state: State = initial(settings, None)
        self.stops: list[tuple[str, D]] = []
        fields = {"signal_id": "s", "symbol": facts.XBT, "spot_symbol": "BTC/USD", "timeframe": "1h", "side": side}
        sizes = {"size": D(1), "stop_pct": D("0.02"), "take_profit_pct": D("0.2"), "spot_entry": D(50_000)}
        more = {"mark": D(50_000), "leverage": D(1), "valid_until": CLOSE + HOUR_US, "verdict": "{}"}
        self.hear(InstrumentsListed, instruments=(facts.instrument(),))
        self.hear(MarkPrice, **facts.mark_fields(self.at))
        self.hear(EnterPosition, **fields, **sizes, **more, exit_on_choch="off", max_hold_bars=0)
        buys = "buy" if side == "long" else "sell"
        entry = client_order_id("s", "entry")
        self.hear(Filled, fill=facts.fill("f", buys, 1, client_order_id=entry))
        self.hear(PositionChanged, position=facts.position(1 if side == "long" else -1))

    def hear(self, kind: type[Message], **fields: Any) -> None:
        self.at += 1
        self.state, said = step(self.state, from_edge(kind, self.at, self.at, **fields))
        for wish in said:
            if isinstance(wish, PlaceOrder | EditOrder) and wish.role == "stop" and wish.stop_price is not None:
                self.stops.append((wish.client_order_id, wish.stop_price))

    def live(self, event: tuple[str, int, int, int]) -> None:
        """One thing happens."""
        kind, price, level, atr = event
        if kind == "read":
            self.bar += 1
            when = CLOSE // 1000 + (self.bar - 1) * facts.HOUR_MS
            levels = {"trail_long": float(level), "trail_short": float(level), "atr": float(atr)}
            self.hear(StructureRead, **facts.structure_fields(when, float(price), **levels))
        elif kind == "mark":
            self.hear(MarkPrice, **facts.mark_fields(self.at, price))
        elif kind == "pass":
            self.hear(Reconciled, began_at=self.at, clean=True)
        elif self.stops:
            name, stop = self.stops[-1]
            if kind == "confirm":
                side = "sell" if self.side == "long" else "buy"
                self.hear(OrderAccepted, order=facts.stop_order("o", name, stop_price=stop, side=side))
            elif kind == "refuse":
                self.hear(
                    OrderRejected, client_order_id=name, symbol=facts.XBT, wish="edit", status="orderForEditNotAStop"
                )
            else:
                self.hear(OrderGone, client_order_id=name, order_id="o", symbol=facts.XBT, reason="cancelled_by_user")


@given(
    side=st.sampled_from(["long", "short"]),
    trail=st.sampled_from(["off", "structure", "atr"]),
    breakeven=st.sampled_from([0.0, 0.5, 1.0]),
    events=st.lists(EVENTS, max_size=40),
)
def test_a_stop_is_never_widened(side: Side, trail: str, breakeven: float, events: list[Any]) -> None:
    """Over random candles, marks, confirmations, refusals, losses and passes, for all ways to trail."""
    trader = Trader(side, {"trail_mode": trail, "trail_start_r": 0.5, "breakeven_at_r": breakeven})
    for event in events:
        trader.live(event)
    prices = [price for _, price in trader.stops]
    assert prices, "a stop was asked for at the first fill"
    assert prices == sorted(prices, reverse=side == "short")

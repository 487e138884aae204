"""An exchange for the commands that act without a daemon: it can be read and told, and little more."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal as D

from protocol.messages.base import Message, from_edge
from protocol.messages.futures import (
    CancelOrder,
    CommandAnswered,
    InstrumentsSeen,
    PlaceOrder,
    SnapshotFailed,
    SnapshotSeen,
)
from protocol.ports import Command
from sim.clock import SimulatedClock
from tests.fakes import facts
from tests.fakes.facts import ETH, XBT

START = 1_767_571_200_000_000


class HalfDown:
    """Two positions and a stranger's order. `deaf` symbols take no wish, `blind` shows nothing."""

    def __init__(self, deaf: Sequence[str] = (), *, blind: bool = False) -> None:
        self.clock = SimulatedClock(START)
        self.sizes = {XBT: D(1), ETH: D(-2)}
        self.orders = {"o1": facts.open_order("o1", "someone")}
        self.deaf, self.blind = deaf, blind

    async def snapshot(self, *, urgent: bool = False) -> SnapshotSeen | SnapshotFailed:
        at = self.clock.now_us()
        if self.blind:
            return from_edge(SnapshotFailed, at, at, reason="HTTP 503")
        return from_edge(
            SnapshotSeen,
            at,
            at,
            began_at=at,
            orders=tuple(self.orders.values()),
            positions=tuple(facts.position(str(size), symbol) for symbol, size in self.sizes.items() if size),
            fills=(),
            account=facts.account(),
        )

    async def send(self, command: Command) -> Sequence[Message]:
        deaf = command.symbol in self.deaf
        if not deaf and isinstance(command, PlaceOrder):
            self.sizes[command.symbol] = D(0)
        if not deaf and isinstance(command, CancelOrder):
            self.orders.clear()
        answer = from_edge(
            CommandAnswered,
            self.clock.now_us(),
            command.id,
            command=command.id,
            wish="place" if isinstance(command, PlaceOrder) else "cancel",
            client_order_id=None,
            order_id=None,
            symbol=command.symbol,
            outcome="rejected" if deaf else "placed",
            status="marketSuspended" if deaf else "placed",
        )
        return (answer,)

    async def instruments(self) -> InstrumentsSeen:
        at = self.clock.now_us()
        return from_edge(InstrumentsSeen, at, at, instruments=(facts.instrument(XBT), facts.instrument(ETH)))

"""A venue with a plan of faults at its edges. The one place where the seams are put together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from protocol.messages.base import Message
from protocol.messages.futures import FillSeen, PositionsSeen
from protocol.ports import Clock
from sim.engine import Engine
from sim.faults.account import Account
from sim.faults.frames import Wire, flap, refused, sever
from sim.faults.market import FaultyMarket
from sim.faults.network import App, Edge, Reply, Request
from sim.faults.plan import Plan
from sim.faults.timeline import Active, Faults
from sim.venue import Venue
from sim.venue.markets import Market
from sim.venue.socket import Socket

RequestWatch = Callable[[Request, Reply | None], None]
FrameWatch = Callable[[str, str], None]
ReportWatch = Callable[[Sequence[Message]], None]


class Network:
    """`sim.venue.venue.Network` under `faults`. The watches hear what really crosses the edge."""

    def __init__(
        self,
        faults: Faults,
        on_request: RequestWatch = lambda request, reply: None,
        on_frame: FrameWatch | None = None,
        on_report: ReportWatch = lambda messages: None,
        on_second: Callable[[], None] = lambda: None,
    ) -> None:
        self._faults = faults
        self._on_request = on_request
        self._on_frame = on_frame
        self._on_report = on_report
        self.second = on_second
        self._held: frozenset[str] = frozenset()
        self._wires: list[Wire] = []
        faults.on("md.flap", self._flap)
        faults.on("net.part", self._sever)

    def rest(self, app: App) -> App:
        """The application behind the faulty network."""
        return Edge(app, self._faults, self._on_request)

    def socket(self, socket: Socket, path: str) -> Socket:
        """A connection over the faulty network."""
        wire = Wire(socket, path, self._faults, self._on_frame)
        self._wires = [*self._open(), wire]
        return wire

    def _open(self) -> list[Wire]:
        return [wire for wire in self._wires if wire.open]

    def _flap(self, active: Active) -> None:
        if self._faults.nursery is not None:
            self._faults.nursery.start_soon(flap, active, self._faults, self._open)

    def _sever(self, active: Active) -> None:
        """A network that is gone and says so ends the connections that stand; a silent one leaves them standing."""
        if active.text("set") != "rest" and active.text("how") == "refused" and self._faults.nursery is not None:
            self._faults.nursery.start_soon(sever, self._open())

    def refused(self, path: str) -> int | None:
        """Whether a new connection fails, and with what; see `sim.venue.venue.Network`."""
        return refused(self._faults, path)

    def told(self, messages: Sequence[Message]) -> None:
        """Names the moments that the exchange's books show."""
        self._on_report(messages)
        for message in messages:
            if isinstance(message, FillSeen):
                self._faults.reached("fill")
            elif isinstance(message, PositionsSeen):
                held = frozenset(position.symbol for position in message.positions)
                if held - self._held:
                    self._faults.reached("position.opened")
                if self._held - held:
                    self._faults.reached("position.closed")
                self._held = held


def faulty_venue(
    plan: Plan,
    engine: Engine,
    market: Market,
    clock: Clock,
    markets: Mapping[str, str],
    *,
    on_request: RequestWatch = lambda request, reply: None,
    on_frame: FrameWatch | None = None,
    on_report: ReportWatch = lambda messages: None,
    on_second: Callable[[], None] = lambda: None,
    **terms: Any,
) -> tuple[Venue, Faults]:
    """A venue and the faults at its edges; `terms` are Venue's own. Run both: `Faults.run` and `Venue.run`."""
    faults = Faults(plan, clock.now_us)
    spot_of = {contract: spot for spot, contract in markets.items()}
    network = Network(faults, on_request, on_frame, on_report, on_second)
    venue = Venue(engine, FaultyMarket(market, faults, spot_of), clock, markets, network=network, **terms)
    Account(venue, faults)
    return venue, faults

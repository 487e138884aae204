"""A small house of fake actors that trades by the clock, driven by either driver."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal

from stages import SETTINGS, TAPE, XBT, engine

from actors.door import Door
from actors.gate import Gate
from actors.part import Part
from actors.shell import DOOR, EXCHANGE, GATE, SPOT_EXCHANGE, TIMER, Routes
from protocol.messages import control as c
from protocol.messages import futures as f
from protocol.messages import spot as s
from protocol.messages.base import Message, follow
from protocol.ports import LatchState
from protocol.units import HOUR_US, MINUTE_US, SECOND_US
from sim.loop import Result, run
from sim.market.tape import Tape

Answers = Sequence[Message]

ROUTES: Routes = {
    c.WakeAt: (TIMER,),
    c.Reconciled: (GATE,),
    s.CandleSeen: ("spot_feed",),
    s.HistorySeen: ("spot_feed",),
    s.RequestHistory: (SPOT_EXCHANGE,),
    s.SpotPrice: ("trader",),
    s.CandleClosed: ("trader",),
    f.TickerSeen: ("futures_feed",),
    f.OrderSeen: ("futures_feed",),
    f.FillSeen: ("futures_feed",),
    f.PositionsSeen: ("futures_feed",),
    f.AccountSeen: ("futures_feed",),
    f.InstrumentsSeen: ("futures_feed",),
    f.CommandAnswered: ("futures_feed",),
    f.SnapshotSeen: ("futures_feed",),
    f.MarkPrice: (DOOR, "trader"),
    f.InstrumentsListed: (DOOR,),
    f.AccountChanged: (DOOR,),
    f.PositionChanged: (DOOR, "watcher", "trader"),
    f.Filled: ("trader", "watcher"),
    f.PlaceOrder: (EXCHANGE,),
    f.CancelOrder: (EXCHANGE,),
    f.RequestSnapshot: (EXCHANGE,),
    f.EntryBlocked: ("trader",),
    f.ExchangeSnapshot: ("watcher",),
}


def futures_feed(state: frozenset[str], message: Message) -> tuple[frozenset[str], Answers]:  # noqa: PLR0911  a table
    """Says what the edge saw, each fill once."""
    match message:
        case f.TickerSeen():
            fields = {n: getattr(message, n) for n in ("symbol", "mark", "index", "bid", "ask", "funding_rate")}
            return state, (
                follow(message, f.MarkPrice, suspended=False, post_only=False, mark_time=message.time, **fields),
            )
        case f.FillSeen(fill=fill) if fill.fill_id not in state:
            return state | {fill.fill_id}, (follow(message, f.Filled, fill=fill),)
        case f.PositionsSeen(positions=positions):
            held = {p.symbol: p for p in positions}
            flat = f.Position(symbol=XBT, size=Decimal(0), entry_price=Decimal(0))
            return state, (follow(message, f.PositionChanged, position=held.get(XBT, flat)),)
        case f.AccountSeen(account=account):
            return state, (follow(message, f.AccountChanged, account=account),)
        case f.InstrumentsSeen(instruments=instruments):
            return state, (follow(message, f.InstrumentsListed, instruments=instruments),)
        case f.SnapshotSeen():
            fields = {n: getattr(message, n) for n in ("began_at", "orders", "positions", "account")}
            return state, (follow(message, f.ExchangeSnapshot, **fields),)
        case _:
            return state, ()


def spot_feed(state: int, message: Message) -> tuple[int, Answers]:
    """Every final 15m candle after the history is closed; every running one is a price."""
    match message:
        case s.CandleSeen(timeframe="15m", final=True) if message.open_time_ms > state:
            fields = {n: getattr(message, n) for n in ("symbol", "timeframe", "open_time_ms", "open", "high", "low")}
            closed = follow(message, s.CandleClosed, close=message.close, volume=message.volume, **fields)
            return state, (closed,) if state else ()
        case s.CandleSeen(final=False):
            return state, (follow(message, s.SpotPrice, symbol=message.symbol, price=message.close),)
        case s.HistorySeen(timeframe="15m"):
            return max(state, message.newest_open_time_ms or 0), ()
        case _:
            return state, ()


def watcher(state: None, message: Message) -> tuple[None, Answers]:
    """Reads the truth at the start and every minute."""
    match message:
        case c.Started() | c.Woken():
            due = message.at + MINUTE_US
            return None, (
                follow(message, f.RequestSnapshot, reason="routine"),
                follow(message, c.WakeAt, key="look", due=due),
            )
        case f.ExchangeSnapshot(began_at=began_at):
            return None, (follow(message, c.Reconciled, began_at=began_at, clean=True),)
        case _:
            return None, ()


@dataclass(frozen=True)
class Trading:
    """What the trader knows."""

    mark: Decimal = Decimal(0)
    legs: tuple[str, ...] = ()
    """The orders that protect what is held; none: flat."""


def trader(state: Trading, message: Message) -> tuple[Trading, Answers]:
    """Buys at the close of each hour's first candle when flat, with a stop and a target; out half a second after two hours.

    Not at a candle's own microsecond: what happens in one microsecond has no order under trio.
    """
    match message:
        case f.MarkPrice(symbol="PF_XBTUSD", mark=mark):
            return replace(state, mark=mark), ()
        case s.CandleClosed(symbol="BTC/USD") if message.open_time_ms % 3_600_000 == 0 and not state.legs:
            return state, (_order(message, f"e{message.open_time_ms}", "buy", "mkt", "entry"),)
        case f.Filled(fill=fill) if fill.side == "buy":
            legs = (f"s{fill.order_id}", f"t{fill.order_id}")
            stop, target = (Decimal(round(fill.price * Decimal(far))) for far in ("0.996", "1.005"))
            return replace(state, legs=legs), (
                _order(message, legs[0], "sell", "stp", "stop", stop_price=stop),
                _order(message, legs[1], "sell", "take_profit", "target", stop_price=target),
                follow(message, c.WakeAt, key="out", due=message.at + 2 * HOUR_US + SECOND_US // 2),
            )
        case f.PositionChanged(position=position) if position.size == 0 and state.legs:
            cancels = (follow(message, f.CancelOrder, leg, symbol=XBT, client_order_id=leg) for leg in state.legs)
            return replace(state, legs=()), tuple(cancels)
        case c.Woken(key="out") if state.legs:
            return state, (_order(message, f"x{message.at}", "sell", "mkt", "exit"),)
        case _:
            return state, ()


def _order(
    cause: Message, name: str, side: str, order_type: str, role: str, *, stop_price: Decimal | None = None
) -> Message:
    return follow(
        cause,
        f.PlaceOrder,
        name,
        client_order_id=name,
        signal_id="s",
        role=role,
        symbol=XBT,
        side=side,
        order_type=order_type,
        size=Decimal("0.01"),
        stop_price=stop_price,
        reduce_only=role != "entry",
        process_before=cause.at + 5 * SECOND_US,
    )


STEPS: dict[str, tuple[object, Callable[..., tuple[object, Answers]]]] = {
    "watcher": (None, watcher),
    "trader": (Trading(), trader),
    "futures_feed": (frozenset(), futures_feed),
    "spot_feed": (0, spot_feed),
}


def parts() -> list[Part[object]]:
    """A fresh house in tree order."""
    return [Part(name, state, step) for name, (state, step) in STEPS.items()]


@dataclass
class Log:
    """Everything every actor received, in order."""

    steps: list[tuple[str, Message, Answers]] = field(default_factory=list)

    def __call__(self, actor: str, message: Message, answers: Answers) -> None:
        self.steps.append((actor, message, answers))

    def received(self, actor: str, kind: type[Message]) -> list[Message]:
        """What one actor received of a kind."""
        return [m for name, m, _ in self.steps if name == actor and isinstance(m, kind)]


def gate_and_door() -> tuple[Gate, Door]:
    """Shut until the feeds are up and the first snapshot is read."""
    gate = Gate(("spot_feed", "futures_feed"), LatchState(latched=False))
    return gate, Door(SETTINGS, gate)


def run_loop(tape: Tape = TAPE, house: Sequence[Part[object]] | None = None, log: Log | None = None) -> Result:
    """The house on the fast driver."""
    gate, door = gate_and_door()
    return run(
        parts() if house is None else house,
        ROUTES,
        gate=gate,
        door=door,
        engine=engine(tape),
        tape=tape,
        settings=SETTINGS,
        record=log or Log(),
    )

"""The system on one page: the children in order, what each may say, who hears it, and how each may fail.

Children stand downstream first: whoever speaks to a child comes after it. If one fails, it and all after it restart; what
guards an open position stands before its feeders and is never taken down by them. The only loop runs through the exchange.
"""

from __future__ import annotations

from actors.executor import actor as executor
from actors.futures_feed import actor as futures_feed
from actors.hands import send
from actors.kill_switch import actor as kill_switch
from actors.person import actor as person
from actors.reconciler import actor as reconciler
from actors.risk import actor as risk
from actors.shell import DOOR, EXCHANGE, GATE, LATCH, SPOT_EXCHANGE, TIMER, ChildSpec, Routes
from actors.spot_feed import actor as spot_feed
from actors.strategy import actor as strategy
from protocol.messages import control as c
from protocol.messages import futures as f
from protocol.messages import signal as g
from protocol.messages import spot as s

NOTES = (c.Alert, c.WakeAt)
ORDERS = (f.PlaceOrder, f.EditOrder, f.CancelOrder)

CHILDREN: tuple[ChildSpec, ...] = (
    ChildSpec(
        name=kill_switch.NAME,
        build=kill_switch.build,
        hands=send,
        edge=kill_switch.edge,
        says=(*NOTES, *ORDERS, c.Latch, c.KillProgress, f.RequestSnapshot),
        restarts=3,
        period_s=60,
        escalation="exit",
        guards=True,
        keeps=(c.KillRequested, f.Filled),
    ),
    ChildSpec(
        name=executor.NAME,
        build=executor.build,
        hands=send,
        says=(*NOTES, *ORDERS, f.TradeOpened, f.Protected, f.TradeClosed, f.RehearseOrders, c.PersonAnswered),
        restarts=2,
        period_s=120,
        escalation="kill",
        guards=True,
    ),
    ChildSpec(
        name=risk.NAME,
        build=risk.build,
        says=(*NOTES, f.EnterPosition, f.SignalRefused, c.HaltEntries, c.ResumeEntries, c.KillRequested, c.RiskState),
        restarts=2,
        period_s=120,
        escalation="kill",
        guards=True,
    ),
    ChildSpec(
        name=reconciler.NAME,
        build=reconciler.build,
        hands=send,
        says=(
            *NOTES,
            f.RequestSnapshot,
            f.RequestInstruments,
            c.Drift,
            c.Reconciled,
            c.HaltEntries,
            c.ResumeEntries,
            c.KillRequested,
        ),
        restarts=3,
        period_s=120,
        escalation="kill",
        guards=True,
    ),
    ChildSpec(
        name=futures_feed.NAME,
        build=futures_feed.build,
        hands=send,
        edge=futures_feed.edge,
        says=(
            *NOTES,
            f.MarkPrice,
            f.InstrumentsListed,
            f.OrderAccepted,
            f.OrderRejected,
            f.OrderUnknown,
            f.OrderGone,
            f.Filled,
            f.ModeChanged,
            f.PositionChanged,
            f.AccountChanged,
            f.ExchangeSnapshot,
            f.SnapshotMissed,
            f.RequestInstruments,
            c.HaltEntries,
            c.ResumeEntries,
        ),
        restarts=5,
        period_s=300,
        escalation="halt",
        guards=True,
    ),
    ChildSpec(
        name=strategy.NAME,
        build=lambda world: strategy.build(world.settings.strategy, [pair.spot for pair in world.settings.symbols]),
        says=(g.Signal, g.Held, g.StructureRead, c.Alert),
        restarts=2,
        period_s=600,
        escalation="halt",
    ),
    ChildSpec(
        name=spot_feed.NAME,
        build=spot_feed.build,
        hands=spot_feed.hands,
        edge=spot_feed.edge,
        says=(
            *NOTES,
            s.CandleClosed,
            s.SpotPrice,
            s.SpotFault,
            s.RequestHistory,
            c.HaltEntries,
            c.ResumeEntries,
        ),
        restarts=10,
        period_s=600,
        escalation="halt",
    ),
    ChildSpec(
        name=person.NAME,
        build=person.build,
        edge=person.edge,
        says=(c.HaltEntries, c.ResumeEntries, c.CloseRequested, c.PersonAnswered),
        restarts=10,
        period_s=600,
        escalation="halt",
    ),
)

LEASES = (spot_feed.NAME, futures_feed.NAME)

ROUTES: Routes = {
    # what the edges saw
    s.CandleSeen: ("spot_feed",),
    s.HistorySeen: ("spot_feed",),
    f.TickerSeen: ("futures_feed",),
    f.OrderSeen: ("futures_feed",),
    f.FillSeen: ("futures_feed",),
    f.PositionsSeen: ("futures_feed",),
    f.AccountSeen: ("futures_feed",),
    f.InstrumentsSeen: ("futures_feed",),
    f.NoticesSeen: ("futures_feed",),
    f.CommandAnswered: ("futures_feed",),
    f.SnapshotSeen: ("futures_feed",),
    f.SnapshotFailed: ("futures_feed",),
    # spot facts and what structure says of them
    s.CandleClosed: ("strategy",),
    s.SpotPrice: ("risk",),
    s.SpotFault: (),
    s.RequestHistory: (SPOT_EXCHANGE,),
    g.Signal: ("risk",),
    g.Held: (),
    g.StructureRead: ("executor",),
    # futures facts
    f.MarkPrice: (DOOR, "executor", "risk"),
    f.InstrumentsListed: (DOOR, "executor", "risk", "reconciler"),
    f.OrderAccepted: ("kill_switch", "executor", "reconciler"),
    f.OrderRejected: ("kill_switch", "executor", "risk", "reconciler"),
    f.OrderUnknown: ("kill_switch", "executor", "risk", "reconciler"),
    f.OrderGone: ("kill_switch", "executor", "risk", "reconciler"),
    f.Filled: ("kill_switch", "executor", "risk", "reconciler"),
    f.ModeChanged: ("kill_switch",),
    f.PositionChanged: (DOOR, "kill_switch", "executor", "risk", "reconciler"),
    f.AccountChanged: (DOOR, "kill_switch", "risk"),
    f.ExchangeSnapshot: ("kill_switch", "risk", "reconciler"),
    f.SnapshotMissed: ("kill_switch", "reconciler"),
    # judgements and wishes
    f.EnterPosition: ("executor",),
    f.SignalRefused: (),
    f.PlaceOrder: (EXCHANGE,),
    f.EditOrder: (EXCHANGE,),
    f.CancelOrder: (EXCHANGE,),
    f.RequestSnapshot: (EXCHANGE,),
    f.RequestInstruments: (EXCHANGE,),
    f.RehearseOrders: (EXCHANGE,),
    f.Rehearsed: (),
    f.OrderAdmitted: (),
    f.EntryBlocked: ("executor", "risk"),
    f.TradeOpened: (),
    f.Protected: (),
    f.TradeClosed: (),
    # the system itself
    c.WakeAt: (TIMER,),
    c.Alert: (),
    c.Drift: ("kill_switch", "executor", "risk"),
    c.Reconciled: (GATE, "executor"),
    c.HaltEntries: (GATE,),
    c.ResumeEntries: (GATE,),
    c.LeaseChanged: ("kill_switch",),
    c.KillRequested: ("kill_switch",),
    c.Latch: (LATCH,),
    c.KillProgress: (),
    c.RiskState: (),
    c.PersonAsked: ("person", "risk", "futures_feed"),
    c.CloseRequested: ("executor",),
    c.PersonAnswered: (),
}

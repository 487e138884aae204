"""What the checkers go by: the exchange's books, every request and frame at the network's edge, the journal, what was said.

Gathers and judges nothing. Shares with the daemon the wire formats alone.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import islice
from typing import Final, NamedTuple

from config.settings import Settings
from protocol.messages.base import Message
from protocol.messages.control import Alert
from protocol.messages.futures import (
    CancelOrder,
    EditOrder,
    EnterPosition,
    Fill,
    Filled,
    OrderAdmitted,
    PlaceOrder,
    SignalRefused,
)
from protocol.messages.signal import Signal
from protocol.units import HOUR_US, MILLISECOND_US, SECOND_US
from sim.checkers.past import Past
from sim.engine import Engine
from sim.faults.host import Record
from sim.faults.hosting import CHILD_DOWN, LIFE
from sim.faults.network import Request
from sim.faults.timeline import Faults

ZERO: Final = Decimal(0)
HTTP_OK: Final = 200
KEPT: Final = frozenset(
    {Filled, PlaceOrder, EnterPosition, Signal, SignalRefused, OrderAdmitted, CancelOrder, EditOrder}
)
ORDER_KINDS: Final = frozenset({"send", "edit", "cancel", "cancel_all"})


class Bounds:
    """Section 2 of the catalogue, microseconds."""

    HALT: Final = 1 * SECOND_US
    NAKED: Final = 5 * SECOND_US
    RECON: Final = 15 * SECOND_US
    DETECT: Final = 20 * SECOND_US
    CONV: Final = 30 * SECOND_US
    UNKNOWN: Final = 60 * SECOND_US
    KILL_SEND: Final = 1 * SECOND_US
    KILL_FLAT: Final = 15 * SECOND_US
    REPLACE: Final = 2 * SECOND_US
    ALERT: Final = 10 * SECOND_US


class Load(NamedTuple):
    """How much there is of what must stay bounded: messages in the fullest mailbox, when each request under way left, streams."""

    waiting: int
    requests: tuple[int, ...]
    streams: int


STAMP: Final = re.compile(r'"time":(\d+)')
CAUSES_MOST: Final = 200_000
ROUTINE: Final = frozenset({
    "MarkPrice", "SpotPrice", "WakeAt", "Woken", "Held", "AccountChanged", "AccountSeen", "StructureRead", "TickerSeen", "CandleSeen",
    "CandleClosed", "SpotFault",
})  # fmt: skip
"""Messages that come with every second or candle and hold numbers alone."""


@dataclass(frozen=True)
class Failure:
    """A broken invariant: which, when (microseconds UTC), and what was seen."""

    invariant: int
    at: int
    text: str


@dataclass(frozen=True)
class Sent:
    """A request that changes something, as it left. `positions` are the exchange's at that moment."""

    at: int
    life: int
    op: str
    role: str
    symbol: str
    name: str
    order_id: str
    side: str
    size: Decimal
    order_type: str
    reduce_only: bool
    trigger: str
    stop_price: Decimal | None
    limit_price: Decimal | None
    positions: dict[str, Decimal]

    @property
    def terms(self) -> tuple[object, ...]:
        """What an id may stand for once."""
        return self.symbol, self.side, self.size, self.order_type, self.reduce_only, self.stop_price, self.limit_price

    @property
    def is_entry(self) -> bool:
        """Whether it can open or enlarge a position."""
        return self.op == "send" and not self.reduce_only


CLOCK_MOST_US: Final = round(2.5 * SECOND_US)
"""So much may the host's clock be off: two seconds, and what a request takes."""
PAGE_ROWS: Final = 100
"""Of fills, as Kraken shows them."""
NEWS_US: Final = SECOND_US
"""So long an execution may be on its way to whoever reads the account."""
ACCOUNT_DOWN: Final = frozenset({"ex.mode", "ex.maint"})
LISTS_LIE: Final = frozenset({"rest.stale", "rest.forget", "rest.page"})
"""Faults under which what is read is old, or not all there is."""
THIN: Final = frozenset({"ex.partial", "ex.mkt_protect"})
"""Faults under which an order to leave finds only a part of what it asks for."""
ANSWERED: Final = frozenset(
    {"ex.fast_fill", "ex.hold", "rest.misreport", "rest.cancel_all", "rest.dup_request", "sec.h"}
)
"""Faults of requests under which each is carried out and answered, if not truly: time goes on."""
FEED_FAULTS: Final = frozenset({"md.stall", "md.mute", "md.flap", "md.lag", "md.garble", "md.reorder", "md.burst", "ws.delay",
                                "ws.drop", "ws.snapshot", "ws.reorder", "ws.auth", "ws.stale", "venue.ts"})  # fmt: skip


@dataclass
class Evidence:
    """Everything seen so far in one run. `life` is 0 while no process lives."""

    engine: Engine
    settings: Settings
    faults: Faults
    secrets: tuple[str, ...]
    now_us: Callable[[], int]
    contracts: tuple[str, ...]
    latch_on_disk: Callable[[], bool]
    disk_failed: Callable[[], bool]
    """Whether this life's journal can no longer be written."""
    closed_by: Callable[[], tuple[str, ...]]
    """What keeps entries in, as the gate has it."""
    load: Callable[[], Load]
    asked_to_kill: Callable[[], str | None] = lambda: None
    """What a person asks the kill switch for."""
    clock_off_us: Callable[[], int] = lambda: 0
    """By how much the host's clock is ahead of the exchange's."""
    failures: list[Failure] = field(default_factory=list)
    sent: list[Sent] = field(default_factory=list)
    fills: dict[str, Fill] = field(default_factory=dict)
    fill_reach: dict[str, int] = field(default_factory=dict)
    told: dict[str, int] = field(default_factory=dict)
    before: set[str] = field(default_factory=set)
    """Fills of others before the daemon first listened: the account's past, of which it reads the position that was left."""
    listened: bool = False
    booked: set[str] = field(default_factory=set)
    """Fills that an earlier life had told and made durable."""
    causes: dict[str, str] = field(default_factory=dict)
    """Every durable message of the last hours and what it followed from."""
    records: int = 0
    began_at: int = 0
    leapt_at: int = 0
    """When the host's clock last leapt: nobody ran meanwhile."""
    leapt_wrong_at: int = -HOUR_US
    """When it last leapt while it was wrong: it may have been set right meanwhile."""
    routine: frozenset[str] = ROUTINE
    intents: dict[str, PlaceOrder] = field(default_factory=dict)
    """Durable, by client order id."""
    decided: dict[str, int] = field(default_factory=dict)
    """When each of them became so, of those that the store still knows."""
    forgotten: list[str] = field(default_factory=list)
    """The others, as it was put back."""
    unrecorded: set[str] = field(default_factory=set)
    """Orders that left while no intent of them could be written down."""
    admitted: dict[str, OrderAdmitted] = field(default_factory=dict)
    changes: Counter[str] = field(default_factory=Counter)
    """Durable edits and cancels by the order they name."""
    refused: set[str] = field(default_factory=set)
    """Signals."""
    approved: dict[str, EnterPosition] = field(default_factory=dict)
    signals: dict[str, Signal] = field(default_factory=dict)
    alerts: list[Alert] = field(default_factory=list)
    gate_log: list[tuple[int, str, bool]] = field(default_factory=list)
    heard: dict[str, int] = field(default_factory=dict)
    """Connection -> when a frame was last delivered; `ticker symbol` -> the newest moment that one spoke of."""
    shown_closed: dict[str, int] = field(default_factory=dict)
    """Markets that the newest frame called closed, and since when."""
    life: int = 0
    lives: list[int] = field(default_factory=list)
    reach_us: int = 0
    """How much time has passed in which the exchange could be reached and the daemon was up."""
    off_reach_us: int = 0
    """How much of that has passed, in this life, since its clock is off by more than a person need not know of."""
    disturbed_at: int = 0
    """When a fault that may delay things was last in force, or a life last began."""
    sometimes: dict[str, int] = field(default_factory=dict)
    latched_reach: int | None = None
    under_way: dict[str, int] = field(default_factory=dict)
    """Orders that left and were not answered, and when they left."""
    damaged: bool = False
    """Whether this life began on memories that are not as they were written."""
    forgot: bool = False
    """The journal lost something that the next life would have needed."""
    _last: int = 0
    _tickers: Sequence[tuple[str, str]] = ()
    _listened_at: int = 0
    _durable: dict[str, int] = field(default_factory=dict)
    """Fills that are told in the journal, and since when."""
    _once_durable: set[str] = field(default_factory=set)
    _spoiled: bool = False
    """Whether what was written down was ever damaged: a later damage or an old copy may bring it back whole."""

    def __post_init__(self) -> None:
        self.past = Past(self.engine)
        self._tickers = [(contract, f"ticker {contract}") for contract in self.contracts]

    @property
    def now(self) -> int:
        """The exchange's time."""
        return self.now_us()

    @property
    def positions(self) -> dict[str, Decimal]:
        """What the exchange holds for us."""
        return {symbol: holding.size for symbol, holding in self.engine.state.holdings.items()}

    @property
    def healthy(self) -> bool:
        """Whether nothing has been in the way for a while: then the tight bounds hold."""
        return self.now - self.disturbed_at > 45 * SECOND_US

    def frozen(self, symbol: str) -> int | None:
        """Since when the mark counts as frozen for a daemon that has seen all of it; None: it moves, or something was in the way."""
        still = self.past.stills.get(symbol)
        return None if still is None or self.disturbed_at >= still.since - SECOND_US else still.frozen_at

    def fail(self, invariant: int, text: str) -> None:
        """Write a failure down; the first one counts."""
        self.failures.append(Failure(invariant, self.now, text))

    def once(self, name: str) -> None:
        """A state worth reaching was reached."""
        self.sometimes[name] = self.sometimes.get(name, 0) + 1

    # --- what comes in ------------------------------------------------------------------------------------------

    @property
    def equity_most_usd(self) -> Decimal:
        """What an entry may reckon with: the most that the account was worth in the last minute."""
        return self.past.equity_usd(self.now)

    def pass_time(self) -> None:
        """Called at least once a second."""
        now = self.now_us()
        calm = self.life > 0 and self.faults.calm
        if not calm and self.disturbed():
            self.disturbed_at = now
        off = abs(self.clock_off_us()) > CLOCK_MOST_US
        passed_us = now - self._last if self._last and (calm or self.reachable()) else 0
        self.reach_us += passed_us
        self.off_reach_us = self.off_reach_us + passed_us if off else 0
        self._last = now

    def leapt(self) -> None:
        """Time has passed in which nobody ran: no bound counts it."""
        self.leapt_at = self.disturbed_at = self._last = self.now
        if self.faults.active("clock"):
            self.leapt_wrong_at = self.now

    def reachable(self) -> bool:
        """Whether private requests are answered, markets open, and a process is up."""
        return (
            self.life > 0
            and ANSWERED.issuperset(active.kind for active in self.faults.active("rest"))
            and not any(active.kind in ACCOUNT_DOWN for active in self.faults.active("account"))
            and not any(self.engine.rules[symbol].tradeable for symbol in self.engine.state.closed_markets)
            and not any(active.kind in CHILD_DOWN for active in self.faults.active("process"))
        )

    def thin(self) -> bool:
        """Whether the market is left in parts."""
        return any(active.kind in THIN for active in self.faults.active("account"))

    def disturbed(self) -> bool:
        """Whether anything is in force that may keep news or orders back."""
        return (
            not self.reachable()
            or any(active.kind in FEED_FAULTS for active in self.faults.active("stream"))
            or bool(self.faults.active("clock"))
            or bool(self.faults.active("disk"))
            or bool(self.faults.active("connect"))
        )

    def hindered(self) -> bool:
        """Whether a child of the daemon is held up, or has not run for a while."""
        if self.now_us() - self.leapt_at < 15 * SECOND_US:
            return True
        return not self.faults.calm and any(active.kind in CHILD_DOWN for active in self.faults.active("process"))

    def began(self, life: int, *, damaged: bool = False) -> None:
        """A process starts, on memories that are `damaged` or as they were written."""
        self.life = life
        self.lives.append(self.now)
        self.off_reach_us = 0
        self.disturbed_at = self.now
        self.damaged = damaged
        self.heard.clear()
        self.booked |= self._durable.keys()
        self._forget_untold()

    def _forget_untold(self) -> None:
        """What was told and is not durable died with its life: the next has it to find and to tell anew."""
        kept = self._once_durable if self._spoiled else self._durable.keys()
        for name in self.told.keys() - kept:
            del self.told[name]
            self.fill_reach[name] = self.reach_us

    def ended(self) -> None:
        """The process is gone."""
        self.pass_time()
        self.life = 0

    def request(self, request: Request) -> Sent | None:
        """A request as it leaves; None when it changes nothing."""
        if request.op not in ORDER_KINDS:
            return None
        form = request.form
        order = self._named(form)
        sent = Sent(
            at=request.at,
            life=LIFE.get(),
            op=request.op,
            role=request.role,
            symbol=form.get("symbol", order[0]).upper(),
            name=form.get("cliOrdId", ""),
            order_id=form.get("order_id", form.get("orderId", "")),
            side=form.get("side", ""),
            size=Decimal(form.get("size", "0")),
            order_type=form.get("orderType", order[1]),
            reduce_only=form.get("reduceOnly", "false") == "true",
            trigger=form.get("triggerSignal", ""),
            stop_price=_price(form, "stopPrice"),
            limit_price=_price(form, "limitPrice"),
            positions=self.positions,
        )
        self.sent.append(sent)
        if sent.op == "send":
            self.under_way[sent.name] = sent.at
            if sent.name not in self.intents and self.disk_failed():
                self.unrecorded.add(sent.name)
        return sent

    def replied(self, request: Request) -> None:
        """A reply was delivered."""
        self.under_way.pop(request.form.get("cliOrdId", ""), None)

    def known(self, sent: Sent) -> dict[str, Decimal]:
        """What was held as `sent` left, at least: who decides may not have heard of what strangers have just bought or sold, of the last of
        it or of all (storms 41475, 70849, 910001).
        """
        before, least = dict(sent.positions), dict(sent.positions)
        for fill in reversed(self.fills.values()):
            if self.now - fill.time > NEWS_US:
                break
            if fill.client_order_id not in self.intents:
                before[fill.symbol] = before.get(fill.symbol, ZERO) - fill.signed_size
                least[fill.symbol] = min(before[fill.symbol], least.get(fill.symbol, ZERO), key=abs)
        return {symbol: size for symbol, size in least.items() if size}

    def unanswered(self, name: str, within_us: int) -> bool:
        """Whether the exchange has an order whose reply is still on its way."""
        return self.now - self.under_way[name] < within_us and (self.rests(name) or self.has_filled(name))

    def rests(self, name: str) -> bool:
        """Whether an order rests at the exchange under a name of ours."""
        return any(working.order.client_order_id == name for working in self.engine.state.working.values())

    def has_filled(self, name: str) -> bool:
        """Whether the exchange has executed anything of an order of ours."""
        return any(fill.client_order_id == name for fill in self.fills.values())

    def unknowable(self, name: str) -> bool:
        """Whether the store lost an order, or never had it, and no list of the exchange shows it: nobody can know that its id was used, until the
        exchange refuses it (storms 101355, 320061, 410291, 410313).
        """
        lost = name in self.forgotten or name in self.unrecorded
        return lost and not (self.rests(name) or self.has_filled(name))

    def _named(self, form: Mapping[str, str]) -> tuple[str, str]:
        """Symbol and type of the resting order that a form names."""
        wanted = {form[key] for key in ("orderId", "order_id", "cliOrdId") if key in form}
        for working in self.engine.state.working.values():
            if {working.order.order_id, working.order.client_order_id} & wanted:
                return working.order.symbol, working.order.order_type
        return "", ""

    def frame(self, feed: str, text: str) -> None:
        """A frame was delivered to the daemon."""
        now = self.heard[feed] = self.now_us()
        if '"ticker"' in text:
            for contract, name in self._tickers:
                if contract in text:
                    self._ticker(contract, name, text, now)

    def _ticker(self, contract: str, name: str, text: str, now: int) -> None:
        """What is shown is as old as it says."""
        stamp = STAMP.search(text)
        said = 0 if stamp is None else min(now, int(stamp[1]) * 1000)
        if said > self.heard.get(name, -1):
            self.heard[name] = said
        if '"suspended":true' in text or '"post_only":true' in text:
            self.shown_closed.setdefault(contract, now)
        elif self.shown_closed:
            self.shown_closed.pop(contract, None)

    def filled(self, fill: Fill) -> None:
        """The exchange executed something."""
        if fill.fill_id not in self.fills:
            self.fills[fill.fill_id] = fill
            self.fill_reach[fill.fill_id] = self.reach_us
            if not self.listened and fill.client_order_id not in self.intents:
                self.before.add(fill.fill_id)

    def can_be_had(self, name: str) -> bool:
        """Whether a fill can still be asked for: pages begin at a moment, so of a millisecond that fills more than one only the first is ever
        shown, and what a life heard of the rest by the stream and lost with its journal is lost (storm 72118).
        """
        moment = self.fills[name].time // MILLISECOND_US
        at_once = [other for other, fill in self.fills.items() if fill.time // MILLISECOND_US == moment]
        return len(at_once) <= PAGE_ROWS or len(self.told.keys() & set(at_once)) < PAGE_ROWS

    def wrote(self, records: Sequence[Record]) -> None:
        """Records became durable."""
        self.records += len(records)
        if not self.listened and any(actor == "futures_feed" for actor, _, _ in records):
            self.listened, self._listened_at = True, self.now
        if len(self.causes) > CAUSES_MOST:
            self.causes = dict(islice(self.causes.items(), len(self.causes) // 2, None))  # the older half
        causes, kept = self.causes, KEPT
        for actor, received, answers in records:
            causes[received.id] = received.cause
            if type(received) in kept:  # nearly all there is are prices
                self._keep(received)
            for message in answers:
                causes[message.id] = message.cause
                if type(message) not in kept:
                    continue
                if isinstance(message, Filled) and actor == "futures_feed":
                    self._durable[message.fill.fill_id] = self.now
                    self._once_durable.add(message.fill.fill_id)
                self._keep(message)

    def _keep(self, message: Message) -> None:
        if isinstance(message, PlaceOrder):
            if message.client_order_id not in self.intents or self.unknowable(message.client_order_id):
                self.intents[message.client_order_id] = message
            self.decided.setdefault(message.client_order_id, self.now)
        elif isinstance(message, EnterPosition):
            self.approved.setdefault(message.signal_id, message)
        elif isinstance(message, Signal):
            self.signals.setdefault(message.id, message)
        elif isinstance(message, SignalRefused):
            self.refused.add(message.signal_id)
        elif isinstance(message, CancelOrder):
            self.changes[message.subject] += 1
        elif isinstance(message, EditOrder):
            self.changes[message.client_order_id] += 1
        elif isinstance(message, OrderAdmitted) and isinstance(message.order, PlaceOrder):
            self.admitted[message.order.client_order_id] = message

    def spoiled(self) -> None:
        """Memories of actors are damaged: nothing of them will be read again."""
        self.rolled_back(0)

    def rolled_back(self, to_us: int) -> None:
        """The journal is as it was at `to_us`: what was booked since will be told again."""
        self.forgot, self._spoiled = True, self._spoiled or not to_us
        self._durable = {name: at for name, at in self._durable.items() if at <= to_us}
        self.booked &= self._durable.keys()
        self.forgotten += [name for name, at in self.decided.items() if at > to_us]
        self.decided = {name: at for name, at in self.decided.items() if at <= to_us}
        if 0 < to_us < self._listened_at:
            # A journal from before the daemon first listened is none: again what others did is the account's past (storm 71012).
            others = (name for name, fill in self.fills.items() if fill.client_order_id not in self.intents)
            self.before.update(name for name in others if name in self.told)

    def said(self, sender: str, message: Message) -> None:
        """Somebody said something inside the daemon."""
        if isinstance(message, Alert):
            self.alerts.append(message)
        elif isinstance(message, Filled) and message.fill.fill_id not in self.told:
            self.told[message.fill.fill_id] = self.now


def _price(form: Mapping[str, str], name: str) -> Decimal | None:
    return Decimal(form[name]) if name in form else None

"""What the checkers go by: the exchange's books, what crossed the network's edge, what was written down and said, and what was in the way.

Gathers and judges nothing: what is right is each invariant's to know. Shares with the daemon the wire formats alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final, NamedTuple

from config.settings import Settings
from protocol.messages.base import Message
from protocol.messages.control import Alert
from protocol.messages.futures import Fill, Filled
from protocol.units import HOUR_US, MILLISECOND_US, MINUTE_US, SECOND_US
from sim.checkers.feeds import Feeds
from sim.checkers.journal import Journal
from sim.checkers.past import Past
from sim.checkers.sent import ORDER_KINDS, Sent, sent_of
from sim.engine import Engine
from sim.faults.catalogue import Seam
from sim.faults.hosting import CHILD_DOWN
from sim.faults.network import Request
from sim.faults.timeline import Faults

ZERO: Final = Decimal(0)
HTTP_OK: Final = 200


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


@dataclass(frozen=True)
class Failure:
    """A broken invariant: which, when (microseconds UTC), and what was seen."""

    invariant: int
    at: int
    text: str


CLOCK_MOST_US: Final = round(2.5 * SECOND_US)
"""So much may the host's clock be off: two seconds, and what a request takes."""
PAGE_ROWS: Final = 100
"""Of fills, as Kraken shows them."""
NEWS_US: Final = SECOND_US
"""So long an execution may be on its way to whoever reads the account."""
ACCOUNT_DOWN: Final = frozenset({"ex.mode", "ex.maint"})
LISTS_LIE: Final = frozenset({"rest.stale", "rest.forget", "rest.page"})
"""Faults under which what is read is old, or not all there is."""
CANCELS_LIE: Final = frozenset({"rest.cancel_all"})
"""An order that is called cancelled and is not is seen by a reading, and may be called cancelled again."""
THIN: Final = frozenset({"ex.partial", "ex.mkt_protect"})
"""Faults under which an order to leave finds only a part of what it asks for."""
ANSWERED: Final = frozenset(
    {"ex.fast_fill", "ex.hold", "rest.misreport", "rest.cancel_all", "rest.dup_request", "sec.h"}
)
"""Faults of requests under which each is carried out and answered, if not truly: time goes on."""
FEED_FAULTS: Final = frozenset({"md.stall", "md.mute", "md.flap", "md.lag", "md.garble", "md.reorder", "md.burst", "ws.delay",
                                "ws.drop", "ws.snapshot", "ws.reorder", "ws.auth", "ws.stale", "venue.ts"})  # fmt: skip
DISTURBING: Final[tuple[Seam, ...]] = ("clock", "disk", "connect")
"""Where any fault at all may keep news or orders back."""


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
    """When a fill was told first, of those that the store may know or this life told."""
    before: set[str] = field(default_factory=set)
    """Fills of others before the daemon first listened: the account's past, of which it reads the position that was left."""
    began_at: int = 0
    leapt_at: int = 0
    """When the host's clock last leapt: nobody ran meanwhile."""
    leapt_wrong_at: int = -HOUR_US
    """When it last leapt while it was wrong: it may have been set right meanwhile."""
    alerts: list[Alert] = field(default_factory=list)
    gate_log: list[tuple[int, str, bool]] = field(default_factory=list)
    life: int = 0
    lives: list[int] = field(default_factory=list)
    reach_us: int = 0
    """How much time has passed in which the exchange could be reached and the daemon was up."""
    off_reach_us: int = 0
    """How much of that has passed, in this life, since its clock is off by more than a person need not know of."""
    disturbed_at: int = 0
    """When a fault that may delay things was last in force, or a life last began."""
    lied_at: int = -HOUR_US
    """When a cancellation could last lie about what it did."""
    sometimes: dict[str, int] = field(default_factory=dict)
    latched_reach: int | None = None
    under_way: dict[str, int] = field(default_factory=dict)
    """Orders that left and were not answered, and when they left."""
    _last: int = 0

    def __post_init__(self) -> None:
        self.past = Past(self.engine)
        self.feeds = Feeds(self.now_us, self.contracts, [pair.spot for pair in self.settings.symbols])
        self.journal = Journal(self.now_us, self.is_traced)

    @property
    def now(self) -> int:
        """The exchange's time."""
        return self.now_us()

    @property
    def healthy(self) -> bool:
        """Whether nothing has been in the way for a while: then the tight bounds hold."""
        return self.now - self.disturbed_at > 45 * SECOND_US

    @property
    def cancels_lie(self) -> bool:
        """Whether a cancellation may lie about what it did."""
        return self.in_force("rest", CANCELS_LIE)

    @property
    def obeyed(self) -> bool:
        """Whether none has lied for a while: who cancels again waits longer each time (storm 501906)."""
        return self.now - self.lied_at > MINUTE_US

    def fail(self, invariant: int, text: str) -> None:
        """Write a failure down; the first one counts."""
        self.failures.append(Failure(invariant, self.now, text))

    def once(self, name: str) -> None:
        """A state worth reaching was reached."""
        self.sometimes[name] = self.sometimes.get(name, 0) + 1

    # --- what comes in --------------------------------------------------------------------------------------------

    def pass_time(self) -> None:
        """Called at least once a second."""
        now = self.now_us()
        calm = self.life > 0 and self.faults.calm
        if not calm and self.disturbed():
            self.disturbed_at = now
        if not calm and self.cancels_lie:
            self.lied_at = now
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

    def began(self, life: int, *, damaged: bool = False) -> None:
        """A process starts, on memories that are `damaged` or as they were written."""
        self.life = life
        self.lives.append(self.now)
        self.off_reach_us = 0
        self.disturbed_at = self.now
        self.feeds.began()
        self.journal.began(damaged=damaged)
        self._forget_untold()

    def _forget_untold(self) -> None:
        """What was told and is not durable died with its life: the next has it to find and to tell anew."""
        for name in self.told.keys() - self.journal.fills:
            del self.told[name]
            self.fill_reach[name] = self.reach_us

    def ended(self) -> None:
        """The process is gone."""
        self.pass_time()
        self.life = 0

    def rolled_back(self, to_us: int) -> None:
        """The store is put back. One from before the daemon first listened is none: again what others did is the account's past (storm 71012)."""
        self.journal.rolled_back(to_us)
        if to_us < (self.journal.listened_at or 0):
            self.before.update(name for name, fill in self.fills.items() if self._is_others(fill) and name in self.told)

    def request(self, request: Request) -> Sent | None:
        """A request as it leaves; None when it changes nothing."""
        if request.op not in ORDER_KINDS:
            return None
        sent = sent_of(request, self.engine)
        self.sent.append(sent)
        if sent.op == "send":
            self.under_way[sent.name] = sent.at
            if sent.name not in self.journal.intents and self.disk_failed():
                self.journal.unrecorded.add(sent.name)
        return sent

    def replied(self, request: Request) -> None:
        """A reply was delivered."""
        self.under_way.pop(request.form.get("cliOrdId", ""), None)

    def filled(self, fill: Fill) -> None:
        """The exchange executed something."""
        if fill.fill_id not in self.fills:
            self.fills[fill.fill_id] = fill
            self.fill_reach[fill.fill_id] = self.reach_us
            if self.journal.listened_at is None and self._is_others(fill):
                self.before.add(fill.fill_id)

    def said(self, sender: str, message: Message) -> None:
        """Somebody said something inside the daemon."""
        if isinstance(message, Alert):
            self.alerts.append(message)
        elif isinstance(message, Filled) and message.fill.fill_id not in self.told:
            self.told[message.fill.fill_id] = self.now

    # --- what the exchange has ------------------------------------------------------------------------------------

    @property
    def positions(self) -> dict[str, Decimal]:
        """What the exchange holds for us."""
        return {symbol: holding.size for symbol, holding in self.engine.state.holdings.items()}

    @property
    def equity_most_usd(self) -> Decimal:
        """What an entry may reckon with: the most that the account was worth in the last minute."""
        return self.past.equity_usd(self.now)

    def frozen(self, symbol: str) -> int | None:
        """Since when the mark counts as frozen for a daemon that has seen all of it; None: it moves, something was in the way, or the contract is
        delisted and nothing is shown of it (storm 520431).
        """
        still = self.past.stills.get(symbol)
        if still is None or still.frozen_at is None or not self.engine.rules[symbol].tradeable:
            return None
        missed_at = max(self.disturbed_at, self.feeds.subscribed.get("futures", 0))
        return None if missed_at >= still.since - SECOND_US else still.frozen_at

    def known(self, sent: Sent) -> dict[str, Decimal]:
        """What was held as `sent` left, at least: who decides may not have heard of what strangers have just bought or sold, of the last of
        it or of all (storms 41475, 70849, 910001).
        """
        before, least = dict(sent.positions), dict(sent.positions)
        for fill in reversed(self.fills.values()):
            if self.now - fill.time > NEWS_US:
                break
            if self._is_others(fill):
                before[fill.symbol] = before.get(fill.symbol, ZERO) - fill.signed_size
                least[fill.symbol] = min(before[fill.symbol], least.get(fill.symbol, ZERO), key=abs)
        return {symbol: size for symbol, size in least.items() if size}

    def _is_others(self, fill: Fill) -> bool:
        return fill.client_order_id not in self.journal.intents

    def unanswered(self, name: str, within_us: int) -> bool:
        """Whether the exchange has an order whose reply is still on its way."""
        return self.now - self.under_way[name] < within_us and self.is_traced(name)

    def is_traced(self, name: str) -> bool:
        """Whether the exchange shows anything of an order of ours."""
        return self.rests(name) or self.has_filled(name)

    def rests(self, name: str) -> bool:
        """Whether an order rests at the exchange under a name of ours."""
        return any(working.order.client_order_id == name for working in self.engine.state.working.values())

    def has_filled(self, name: str) -> bool:
        """Whether the exchange has executed anything of an order of ours."""
        return any(fill.client_order_id == name for fill in self.fills.values())

    def can_be_had(self, name: str) -> bool:
        """Whether a fill can still be asked for: pages begin at a moment, so of a millisecond that fills more than one only the first is ever
        shown, and what a life heard of the rest by the stream and lost with its journal is lost (storm 72118).
        """
        moment = self.fills[name].time // MILLISECOND_US
        at_once = [other for other, fill in self.fills.items() if fill.time // MILLISECOND_US == moment]
        return len(at_once) <= PAGE_ROWS or len(self.told.keys() & set(at_once)) < PAGE_ROWS

    # --- what is in the way ---------------------------------------------------------------------------------------

    def in_force(self, seam: Seam, kinds: frozenset[str]) -> bool:
        """Whether one of these faults is."""
        return not kinds.isdisjoint(active.kind for active in self.faults.active(seam))

    def lists_lie(self) -> bool:
        """Whether what is read now may be old, or not all there is."""
        return self.in_force("rest", LISTS_LIE)

    def reachable(self) -> bool:
        """Whether private requests are answered, markets open, and a process is up."""
        return (
            self.life > 0
            and ANSWERED.issuperset(active.kind for active in self.faults.active("rest"))
            and not self.in_force("account", ACCOUNT_DOWN)
            and not any(self.engine.rules[symbol].tradeable for symbol in self.engine.state.closed_markets)
            and not self.in_force("process", CHILD_DOWN)
        )

    def thin(self) -> bool:
        """Whether the market is left in parts."""
        return self.in_force("account", THIN)

    def disturbed(self) -> bool:
        """Whether anything is in force that may keep news or orders back."""
        return (
            not self.reachable()
            or self.in_force("stream", FEED_FAULTS)
            or any(self.faults.active(seam) for seam in DISTURBING)
        )

    def hindered(self) -> bool:
        """Whether a child of the daemon is held up, or has not run for a while."""
        if self.now_us() - self.leapt_at < 15 * SECOND_US:
            return True
        return not self.faults.calm and self.in_force("process", CHILD_DOWN)

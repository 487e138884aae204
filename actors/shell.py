"""Drives one actor under trio: takes a message from its mailbox, steps, writes both sides down, sends on what came out.

A child is a step loop with its timers, its hands (wishes carried out in the world, in lanes, so that no entry's and no other
symbol's time-out delays a stop) and its edge (what listens to the world). All live and die together in one
nursery. Knows nothing of what the messages mean; `World` is what the children of one tree share.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from math import inf
from typing import Any, get_args

import trio

from actors import alerts
from actors.door import Door
from actors.gate import Gate
from actors.mailbox import Mailbox
from actors.part import Part
from actors.pulse import Look, noticed
from actors.standin import StandIn
from config.settings import Settings
from protocol.ids import derive
from protocol.messages.base import Message, from_edge
from protocol.messages.control import Alert, KillRequested, Latch, PersonAsked, Severity, Started, WakeAt, Woken
from protocol.messages.futures import EnterPosition, leaves_beside
from protocol.messages.signal import Signal
from protocol.ports import (
    Clock,
    Command,
    FuturesExchange,
    Journal,
    JournalFailed,
    LatchStore,
    SpotMarket,
    SteadyClock,
)
from protocol.units import SECOND_US

Routes = Mapping[type[Message], tuple[str, ...]]
Hands = Callable[["World", Message], Awaitable[Sequence[Message]]]
Edge = Callable[["World", Callable[[Message], None]], Awaitable[None]]

COMMANDS = frozenset(get_args(Command))
PRESSING = frozenset((Signal, EnterPosition))
"""Heard before whoever says it takes another message: at an hour's end the first order waited for all that the strategy had to decide."""
TIMER, GATE, DOOR, LATCH, EXCHANGE, SPOT_EXCHANGE = "timer", "gate", "door", "latch", "exchange", "spot_exchange"
"""Receivers that are no actors."""


class Unrouted(Exception):
    """A programmer's error: an actor said something that the tree does not let it say."""


@dataclass(frozen=True)
class ChildSpec:
    """One child as data. `says` is everything it may say; more than `restarts` within `period_s` escalates.

    `escalation`: `kill` latches the kill switch, `halt` stops entries until a person restarts the daemon, `exit` ends
    the process. `guards`: entries wait for a reconciliation begun after its restart. `keeps`: what its next life hears if this one did
    not, because nobody says it again.
    """

    name: str
    build: Callable[[World], Part[Any]]
    says: tuple[type[Message], ...]
    hands: Hands | None = None
    edge: Edge | None = None
    restarts: int = 2
    period_s: float = 120
    escalation: str = "kill"
    stop_s: float = 5
    guards: bool = False
    keeps: tuple[type[Message], ...] = ()


async def _a_second() -> None:
    await trio.sleep(1)


@dataclass
class World:
    """What the children of one tree share: the ports, the gate, the door and the way messages take."""

    settings: Settings
    clock: SteadyClock
    spot: SpotMarket
    futures: FuturesExchange
    journal: Journal
    latch_store: LatchStore
    gate: Gate
    door: Door
    routes: Routes
    jitter: Callable[[], float]
    """Draws from [0, 1) of the injected random source."""
    kill_requested: Callable[[], str | None] = lambda: None
    """Why a person outside this process asked for the kill switch, None when nobody did."""
    requests: Callable[[int], Sequence[PersonAsked]] | None = None
    """What persons outside this process ask for and nobody has answered yet, as of now (microseconds UTC)."""
    dry_run: bool = False
    """Whether orders are shown as they would be sent, and stay in."""
    kill_hint: Callable[[], Awaitable[None]] = _a_second
    """Waits until it is worth looking whether somebody asked: a hint from outside, or a second at most."""
    watch: Callable[[str, Message], None] = lambda sender, message: None
    """Hears whatever is said, by whom."""
    tell: Callable[[str, Alert], None] = lambda sender, alert: None
    """Brings an alert to a person: one a code and minute, so that a flood drowns nobody (`actors.alerts`)."""
    behind_s: float | None = 0.0
    """How long after the one ahead a wish starts that leaves beside it: nothing over a real network, where it starts a scheduler's round later.
    None where nothing is ever on its way: one after another.
    """
    intents_open: bool = False
    """Whether an order is wished for that the journal does not hold durably yet."""
    orders_out: int = 0
    """Wishes about orders that are being carried out now."""
    order_seen: float = -inf
    """When the last of them came or went, in trio's time."""
    hurry: Callable[[], None] = lambda: None
    """Told when the kill switch wants to read, which it does by a feed: whoever waits before a child starts again waits no longer."""
    mailboxes: dict[str, Mailbox] = field(default_factory=dict)
    lives: dict[str, int] = field(default_factory=dict)
    _flow: alerts.Flow = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.journal = self._standin = StandIn(self.journal, self.journal_failed, self.memory_damaged)

    def alert(self, sender: str, code: str, severity: Severity, text: str) -> None:
        """Journal and show something that arose outside every step: at an edge, in the supervisor, at the gate."""
        now = self.clock.now_us()
        alert = from_edge(Alert, now, sender, code, now, text, code=code, severity=severity, text=text)
        self.journal.record(sender, alert, ())
        self.see(sender, alert)

    def see(self, sender: str, message: Message) -> None:
        """Something was said: whoever watches hears it, and of an alert a person is told, now or with the count of its minute."""
        self.watch(sender, message)
        if isinstance(message, Alert):
            self._flow, told = alerts.take(self._flow, message, self.clock.now_us())
            for alert in told:
                self.tell(sender, alert)

    def tell_held(self) -> None:
        """Tell what minutes that are over have held back. Whoever keeps house calls it, about once a second."""
        if not self._flow:
            return
        self._flow, told = alerts.due(self._flow, self.clock.now_us())
        for alert in told:
            self.journal.record("alerts", alert, ())
            self.tell("alerts", alert)

    def look(self) -> Look:
        """Now, to `notice` later how time passed."""
        return Look(self.clock.now_us(), self.clock.steady_us())

    def notice(self, before: Look, expected_s: float, pace: float = 1.0) -> Look:
        """Time passed since `before`: now. Where it did not as it should, a person is told, and entries wait for a look at the exchange, which
        is asked at once: what is known is older than it seems.
        """
        after = self.look()
        odd = noticed(before, after, expected_s * SECOND_US, pace)
        if not odd:
            return after
        self.gate.need_reconciliation(after.at)
        for code, text in odd:
            self.alert("host", code, "critical", f"{text}; entries wait for the exchange's truth")
        if "reconciler" in self.mailboxes:
            self.mailboxes["reconciler"].put(from_edge(Woken, after.at, "host", odd[0][0], after.at, key="soon"))
        return after

    @contextmanager
    def order_out(self) -> Iterator[None]:
        """An order is on its way for as long as this is open; its intent is durable before that begins."""
        if self.intents_open:
            # Here and not in the step: once for what all symbols want at a candle's end, and a target does not wait for the disk again.
            self.journal.flush()
            self.intents_open = False
        self.orders_out += 1
        self.order_seen = trio.current_time()
        try:
            yield
        finally:
            self.orders_out -= 1
            self.order_seen = trio.current_time()

    def orders_rest(self, for_s: float) -> bool:
        """Whether no order has been on its way for so many seconds of trio's time."""
        return not self.orders_out and self.order_seen + for_s <= trio.current_time()

    def journal_failed(self, why: str) -> None:
        """Nothing is written down any more: no entry leaves, the kill switch closes what is open, exits go on."""
        text = f"the journal cannot be written: {why}"
        self.gate.halt("journal", text)
        now = self.clock.now_us()
        self.see("journal", from_edge(Alert, now, "journal", now, code="JOURNAL_WRITE", severity="critical", text=text))
        self._ask_to_kill(text, now)

    def memory_damaged(self, why: str) -> None:
        """An actor begins without what it knew: nothing is entered on half a memory, what is open is closed."""
        text = f"{why}: it starts without; look at the store before you acknowledge"
        self.gate.halt("journal", text)
        self.alert("journal", "JOURNAL_CORRUPT", "critical", text)
        self._ask_to_kill(text, self.clock.now_us())

    def _ask_to_kill(self, text: str, now: int) -> None:
        if "kill_switch" in self.mailboxes:
            request = from_edge(KillRequested, now, "journal", now, reason=text, by="journal")
            self.mailboxes["kill_switch"].put(request)

    def lost_memory(self, actor: str) -> bool:
        """Whether an earlier life of `actor` left something that could not be read: not the same as a first life."""
        return actor in self._standin.damaged

    def latch(self, latch: Latch) -> None:
        """Write the kill switch down. Where that fails it holds in this process, and a person is told so."""
        try:
            self.latch_store.latch(latch)
        except JournalFailed as error:
            text = f"the latch is not written down and ends with this process, acknowledged or not: {error}"
            self.alert("latch", "JOURNAL_WRITE", "critical", text)

    def post(self, sender: str, message: Message, carry: Callable[[str, Message], None]) -> None:
        """Send `message` to its receivers in route order; `carry` takes what the sender's own timer or hands do."""
        self.see(sender, message)
        for receiver in self.routes[type(message)]:
            mailbox = self.mailboxes.get(receiver)
            if mailbox is not None:  # most often
                mailbox.put(message)
            elif heard(receiver, message, self.gate, self.door, self.latch):
                continue
            elif receiver in (TIMER, EXCHANGE, SPOT_EXCHANGE):
                carry(receiver, message)
            else:
                raise Unrouted(f"{receiver} has no mailbox for {type(message).__name__}")


def heard(receiver: str, message: Message, gate: Gate, door: Door, latch: Callable[[Latch], None]) -> bool:
    """Tell `message` to the gate, the door or the latch, if that is the receiver: they hear at once, in both drivers."""
    if receiver == GATE:
        gate.observe(message)
    elif receiver == DOOR:
        door.observe(message)
    elif receiver == LATCH:
        assert isinstance(message, Latch)
        latch(message)
        gate.latch()
    else:
        return False
    return True


async def live(spec: ChildSpec, world: World) -> None:
    """One life of a child, from `Started` until it is cancelled or something in it raises."""
    life = world.lives[spec.name] = world.lives.get(spec.name, 0) + 1
    before = world.mailboxes.get(spec.name)
    mailbox = world.mailboxes[spec.name] = Mailbox(spec.name)
    part = spec.build(world)
    mailbox.put(from_edge(Started, world.clock.now_us(), spec.name, world.clock.now_us(), life, restarted=life > 1))
    for unheard in before.left(spec.keeps) if before is not None else ():
        mailbox.put(unheard)
    may_say = frozenset(spec.says)
    async with trio.open_nursery() as nursery:
        timers = Timers(spec.name, world.clock, mailbox.put)
        lanes = Lanes(spec, world, nursery)
        nursery.start_soon(timers.run)
        if spec.edge is not None:
            nursery.start_soon(spec.edge, world, mailbox.put)

        def carry(receiver: str, wish: Message) -> None:
            if isinstance(wish, WakeAt):
                timers.set(wish.key, wish.due)
            else:
                lanes.put(wish)

        while True:
            for answer in _step(part, world.journal, await mailbox.get()):
                kind = type(answer)
                if kind not in may_say:
                    raise Unrouted(f"{spec.name} may not say {kind.__name__}: see actors/tree.py")
                world.post(spec.name, answer, carry)
                if kind in PRESSING:
                    mailbox.rest()


def _step(part: Part[Any], journal: Journal, message: Message) -> Sequence[Message]:
    """One step, both sides written down, and what must survive a crash kept when it changed."""
    before = part.state
    answers = part.receive(message)
    journal.record(part.name, message, answers)
    if part.state is not before and part.remembered(part.state) is not part.remembered(before):
        journal.keep(part.name, partial(part.durable, part.state))
    return answers


class Timers:
    """An actor's alarm clock: the latest `WakeAt` of each key, answered once."""

    def __init__(self, owner: str, clock: Clock, deliver: Callable[[Message], None]) -> None:
        self._owner, self._clock, self._deliver = owner, clock, deliver
        self._due: dict[str, int] = {}
        self._changed = trio.Event()

    def set(self, key: str, due: int) -> None:
        """Ring for `key` at `due`, and no longer at any earlier asked moment."""
        self._due[key] = due
        self._changed.set()

    async def run(self) -> None:
        """Ring what is due, for ever."""
        while True:
            now = self._clock.now_us()
            for due, key in sorted((due, key) for key, due in self._due.items() if due <= now):
                del self._due[key]
                self._deliver(Woken(id=derive("Woken", self._owner, key, due), cause="", at=now, key=key))
            self._changed = trio.Event()
            wait_s = (min(self._due.values()) - now) / SECOND_US if self._due else float("inf")
            with trio.move_on_after(wait_s):
                await self._changed.wait()


class Lanes:
    """A child's hands: wishes for one symbol in order, symbols side by side.

    An entry has a lane of its own: its stop must not wait for a reply that never comes. A target leaves right behind its stop, and what
    comes after them waits for both.
    """

    def __init__(self, spec: ChildSpec, world: World, nursery: trio.Nursery) -> None:
        self._spec, self._world, self._nursery = spec, world, nursery
        self._lanes: dict[tuple[str, bool], Mailbox] = {}

    def put(self, wish: Message) -> None:
        """Queue a wish for its symbol's lane."""
        if self._spec.hands is None:
            raise Unrouted(f"{self._spec.name} has no hands for {type(wish).__name__}: see actors/tree.py")
        lane = getattr(wish, "symbol", ""), getattr(wish, "reduce_only", True)
        if lane not in self._lanes:
            self._lanes[lane] = Mailbox(f"{self._spec.name}.hands:{lane}")
            self._nursery.start_soon(self._work, self._lanes[lane], self._spec.hands)
        self._world.intents_open |= type(wish) in COMMANDS
        self._lanes[lane].put(wish)

    async def _work(self, lane: Mailbox, hands: Hands) -> None:
        while True:
            wish = await lane.get()
            behind_s = self._world.behind_s
            if behind_s is None or lane.next is None or not leaves_beside(wish, lane.next):
                await self._carry_out(hands, wish)
                continue
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._carry_out, hands, await lane.get(), behind_s)
                await self._carry_out(hands, wish)

    async def _carry_out(self, hands: Hands, wish: Message, behind_s: float = 0) -> None:
        if behind_s:
            await trio.sleep(behind_s)
        with self._world.order_out() if type(wish) in COMMANDS else nullcontext():
            facts = await hands(self._world, wish)
        for fact in facts:
            self._world.post(f"{self._spec.name}.hands", fact, self._no_carry)

    def _no_carry(self, receiver: str, message: Message) -> None:
        raise Unrouted(f"hands of {self._spec.name} brought a wish, {type(message).__name__}, for {receiver}")

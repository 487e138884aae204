"""The shell and the supervisor on small trees of toy parts, under the simulated clock."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import pytest
import trio
import trio.testing

from actors.cli.errors import ending_of
from actors.connection import backoff_s, keep_connected
from actors.door import Door
from actors.gate import Gate
from actors.mailbox import Mailbox, MailboxOverflow
from actors.part import Part
from actors.shell import EXCHANGE, TIMER, ChildSpec, World
from actors.supervisor import GaveUp, Supervisor
from config.settings import Settings
from protocol.messages.base import Message, follow, from_edge
from protocol.messages.control import Alert, KillRequested, Started, WakeAt, Woken
from protocol.messages.futures import CancelOrder
from protocol.messages.spot import SpotPrice
from protocol.ports import FeedLost, LatchState
from tests.fakes.ports import FakeJournal, FakeLatchStore, TrioClock


@dataclass
class Bench:
    """A tree under test and what was seen of it."""

    specs: Sequence[ChildSpec]
    lives: list[str] = field(default_factory=list)

    def world(self) -> World:
        settings = Settings()
        gate = Gate((), LatchState(latched=False))
        nowhere: Any = None
        world = World(
            settings=settings,
            clock=TrioClock(),
            spot=nowhere,
            futures=nowhere,
            journal=FakeJournal(),
            latch_store=FakeLatchStore(),
            gate=gate,
            door=Door(settings, gate),
            routes={WakeAt: (TIMER,), Alert: ("a",), KillRequested: ("kill_switch",)},
            jitter=lambda: 0.5,
        )
        world.mailboxes["kill_switch"] = Mailbox("kill_switch")
        return world


def echo(name: str, heard: list[tuple[str, Message]], fail_on: str = "") -> Callable[[World], Part[None]]:
    def step(state: None, message: Message) -> tuple[None, Sequence[Message]]:
        heard.append((name, message))
        if isinstance(message, Alert) and message.code == fail_on:
            raise ValueError(fail_on)
        return state, ()

    return lambda world: Part(name, None, step)


def alert(code: str, at: int = 1) -> Alert:
    return from_edge(Alert, at, code, at, code=code, severity="info", text=code)


async def settle() -> None:
    await trio.testing.wait_all_tasks_blocked()


def starts(heard: list[tuple[str, Message]]) -> list[tuple[str, bool]]:
    return [(name, m.restarted) for name, m in heard if isinstance(m, Started)]


async def test_a_failed_child_restarts_with_its_feeders_and_leaves_its_guards_alone(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """rest_for_one: b dies, b and c live again, a never notices."""
    heard: list[tuple[str, Message]] = []
    specs = [
        ChildSpec("a", echo("a", heard), ()),
        ChildSpec("b", echo("b", heard, "boom"), (), guards=True),
        ChildSpec("c", echo("c", heard), ()),
    ]
    world = Bench(specs).world()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Supervisor(specs, world).run)
        await settle()
        assert starts(heard) == [("a", False), ("b", False), ("c", False)] or len(starts(heard)) == 3
        heard.clear()
        world.mailboxes["b"].put(alert("boom"))
        await settle()
        assert "gate.halt:supervisor.b" in world.gate.closed_by()
        await trio.sleep(1)
        assert sorted(starts(heard)) == [("b", True), ("c", True)]
        assert world.gate.closed_by() == ("gate.not_reconciled",)
        nursery.cancel_scope.cancel()


async def test_what_asks_for_the_kill_switch_outlives_the_life_that_did_not_hear_it(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Nobody asks twice: unread behind what it died of, or said while it was down, the request waits for its next life."""
    heard: list[tuple[str, Message]] = []
    specs = [ChildSpec("kill_switch", echo("kill_switch", heard, "boom"), (), keeps=(KillRequested,))]
    world = Bench(specs).world()
    asked = [from_edge(KillRequested, n, n, reason=f"reason {n}", by="risk") for n in (1, 2)]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Supervisor(specs, world).run)
        await settle()
        heard.clear()
        for message in (alert("boom"), asked[0], alert("stale")):
            world.mailboxes["kill_switch"].put(message)
        await settle()
        world.mailboxes["kill_switch"].put(asked[1])
        await trio.sleep(1)
        nursery.cancel_scope.cancel()
    assert [type(message).__name__ for _, message in heard] == ["Alert", "Started", "KillRequested", "KillRequested"]
    assert [message for _, message in heard if isinstance(message, KillRequested)] == asked


async def test_the_wishes_of_a_step_are_durable_at_once_before_the_first_is_carried_out(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """One flush for stop and target: the second must not wait for a disk that has nothing more to keep."""
    flushes: list[str] = []
    carried: list[tuple[str, int]] = []

    def build(_world: World) -> Part[None]:
        def step(state: None, message: Message) -> tuple[None, Sequence[Message]]:
            if not isinstance(message, Alert):
                return state, ()
            names = [message.code + name for name in "xyz"]
            return state, [follow(message, CancelOrder, name, symbol="PF_XBTUSD", order_id=name) for name in names]

        return Part("a", None, step)

    async def hands(world: World, wish: Message) -> Sequence[Message]:
        carried.append((getattr(wish, "order_id", ""), len(flushes)))
        return ()

    specs = [ChildSpec("a", build, (CancelOrder,), hands=hands)]
    world = Bench(specs).world()
    world.routes = {**world.routes, CancelOrder: (EXCHANGE,)}
    world.journal.flush = lambda: flushes.append("flush")  # type: ignore[method-assign]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Supervisor(specs, world).run)
        await settle()
        assert flushes == []
        for code in ("1", "2"):
            world.mailboxes["a"].put(alert(code))
            await settle()
        nursery.cancel_scope.cancel()
    assert carried == [("1x", 1), ("1y", 1), ("1z", 1), ("2x", 2), ("2y", 2), ("2z", 2)]


@pytest.mark.parametrize(("escalation", "closed"), [("halt", True), ("kill", False)])
async def test_too_many_restarts_escalate(
    autojump_clock: trio.testing.MockClock, escalation: str, closed: bool
) -> None:
    """Beyond the intensity a `halt` child keeps entries halted, a `kill` child asks for the kill switch."""
    heard: list[tuple[str, Message]] = []
    specs = [ChildSpec("b", echo("b", heard, "boom"), (), restarts=1, period_s=60, escalation=escalation)]
    world = Bench(specs).world()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Supervisor(specs, world).run)
        for _ in range(2):
            await trio.sleep(1)
            world.mailboxes["b"].put(alert("boom"))
        await trio.sleep(5)
        assert ("gate.halt:supervisor.b" in world.gate.closed_by()) == closed
        assert len(world.mailboxes["kill_switch"]) == (0 if closed else 1)
        assert len(starts(heard)) == 3
        nursery.cancel_scope.cancel()


async def test_who_guards_does_not_wait_for_the_pause_of_a_feeder(autojump_clock: trio.testing.MockClock) -> None:
    """A feeder that dies at each start is in its longest pause: a guard that dies meanwhile is up again after its own, the feeder with it."""
    heard: list[tuple[str, Message]] = []
    specs = [
        ChildSpec("a", echo("a", heard, "boom"), (), restarts=2, guards=True),
        ChildSpec("b", echo("b", heard, "boom"), (), restarts=99),
    ]
    world = Bench(specs).world()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Supervisor(specs, world).run)
        for _ in range(7):
            await settle()
            world.mailboxes["b"].put(alert("boom"))
            await trio.sleep(40)
        world.mailboxes["b"].put(alert("boom"))
        await trio.sleep(1)
        heard.clear()
        world.mailboxes["a"].put(alert("boom"))
        await trio.sleep(1)
        assert starts(heard) == [("a", True), ("b", True)]
        assert world.gate.closed_by() == ("gate.not_reconciled", "gate.halt:unstable.b")
        nursery.cancel_scope.cancel()


async def test_a_reading_of_the_kill_switch_ends_the_pause_that_is_on(autojump_clock: trio.testing.MockClock) -> None:
    """It reads by a feed: one in a pause of eight seconds is back at once. One that goes on dying is back five seconds later, however often it asks."""
    heard: list[tuple[str, Message]] = []
    specs = [ChildSpec("b", echo("b", heard, "boom"), (), restarts=99)]
    world = Bench(specs).world()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Supervisor(specs, world).run)
        for pause_s in (0.5, 1, 2, 4):
            await settle()
            world.mailboxes["b"].put(alert("boom"))
            await trio.sleep(pause_s)
        await settle()
        world.hurry()  # there is no pause to end, so none was cut short
        world.mailboxes["b"].put(alert("boom"))
        await trio.sleep(1)
        heard.clear()
        world.hurry()
        await settle()
        assert starts(heard) == [("b", True)]
        world.mailboxes["b"].put(alert("boom"))
        for _ in range(4):
            await trio.sleep(1)
            world.hurry()
        await settle()
        assert starts(heard) == [("b", True)]
        await trio.sleep(1)
        world.hurry()
        await settle()
        assert starts(heard) == [("b", True)] * 2
        nursery.cancel_scope.cancel()


async def test_a_child_that_does_not_live_cannot_be_let_die(autojump_clock: trio.testing.MockClock) -> None:
    """Whoever lets a child die twice hears that the second time came too early."""
    specs = [ChildSpec("b", echo("b", []), (), restarts=99)]
    world = Bench(specs).world()
    supervisor = Supervisor(specs, world)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(supervisor.run)
        await settle()
        assert supervisor.crash("b", ValueError("boom"))
        assert not supervisor.crash("b", ValueError("boom"))
        await trio.sleep(0.3)
        assert not supervisor.crash("b", ValueError("boom"))
        await trio.sleep(0.3)
        assert supervisor.crash("b", ValueError("boom"))
        nursery.cancel_scope.cancel()


async def test_a_child_that_gave_up_holds_entries_back_for_good(autojump_clock: trio.testing.MockClock) -> None:
    """One more death long after, alone in its period, is no reason to let entries go: that is a person's restart."""
    specs = [ChildSpec("b", echo("b", [], "boom"), (), restarts=1, period_s=60, escalation="halt")]
    world = Bench(specs).world()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Supervisor(specs, world).run)
        for pause_s in (5, 600, 600):
            await settle()
            world.mailboxes["b"].put(alert("boom"))
            await trio.sleep(pause_s)
        assert "gate.halt:supervisor.b" in world.gate.closed_by()
        nursery.cancel_scope.cancel()


async def test_the_fifth_death_in_a_day_halts_entries_until_a_person_resumes(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """However far apart, one alert tells of it; what dies once more after the person's word is counted anew."""
    specs = [ChildSpec("b", echo("b", [], "boom"), (), restarts=1, period_s=60)]
    world = Bench(specs).world()
    told: list[str] = []
    world.watch = lambda sender, message: told.append(message.code) if isinstance(message, Alert) else None
    halt = "gate.halt:unstable.b"

    async def die(times: int) -> None:
        for _ in range(times):
            world.mailboxes["b"].put(alert("boom"))
            await trio.sleep(3600)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(Supervisor(specs, world).run)
        await settle()
        await die(4)
        assert halt not in world.gate.closed_by()
        await die(3)
        assert halt in world.gate.closed_by()
        assert told.count("CHILD_ESCALATED") == 1
        world.gate.resume("unstable.b")
        await die(4)
        assert halt not in world.gate.closed_by()
        await die(1)
        assert halt in world.gate.closed_by()
        nursery.cancel_scope.cancel()


async def test_deaths_more_than_a_day_apart_from_the_fifth_do_not_count(autojump_clock: trio.testing.MockClock) -> None:
    """The window rolls: four deaths a day, for days, halt nothing."""
    specs = [ChildSpec("b", echo("b", [], "boom"), ())]
    world = Bench(specs).world()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Supervisor(specs, world).run)
        await settle()
        for _ in range(12):
            world.mailboxes["b"].put(alert("boom"))
            await trio.sleep(6 * 3600 + 1)
        assert world.gate.closed_by() == ("gate.not_reconciled",)
        nursery.cancel_scope.cancel()


async def test_a_child_that_must_not_fail_ends_the_process(autojump_clock: trio.testing.MockClock) -> None:
    """Escalation `exit` raises GaveUp out of the supervisor; the latch is written first, so the host restarts it latched."""
    specs = [ChildSpec("b", echo("b", [], "boom"), (), restarts=0, escalation="exit")]
    world = Bench(specs).world()
    with pytest.RaisesGroup(
        pytest.RaisesExc(
            GaveUp, match="b failed more than 0 times in .* s, the last time of .*boom.*: the kill switch is latched"
        ),
        flatten_subgroups=True,
    ) as ended:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(Supervisor(specs, world).run)
            await settle()
            world.mailboxes["b"].put(alert("boom"))
    latch = world.latch_store.read()
    assert (latch.latched, latch.by) == (True, "supervisor")
    assert world.gate.latched
    code, line = ending_of(ended.value) or (0, "")
    assert (code, line.startswith("error: b failed more than"), "\n" in line) == (1, True, False)


async def test_timers_ring_once_at_their_moment_and_a_second_wish_replaces_the_first(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """WakeAt(key, due) is answered by one Woken(key) at the last asked due."""
    heard: list[tuple[str, Message]] = []

    def step(state: None, message: Message) -> tuple[None, Sequence[Message]]:
        heard.append(("b", message))
        if isinstance(message, Started):
            at = message.at
            return state, [follow(message, WakeAt, i, key="k", due=at + i * 1_000_000) for i in (1, 5)]
        return state, ()

    specs = [ChildSpec("b", lambda world: Part("b", None, step), (WakeAt,))]
    world = Bench(specs).world()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Supervisor(specs, world).run)
        await trio.sleep(20)
        nursery.cancel_scope.cancel()
    rung = [m for _, m in heard if isinstance(m, Woken)]
    assert [m.key for m in rung] == ["k"]
    assert rung[0].at - heard[0][1].at == 5_000_000


async def test_prices_conflate_and_facts_do_not() -> None:
    """A waiting price is replaced by a newer one in its place; alerts queue in order."""
    mailbox = Mailbox("m")
    for price in (1.0, 2.0):
        mailbox.put(from_edge(SpotPrice, 1, price, symbol="BTC/USD", price=price))
        mailbox.put(alert(str(price)))
    got = [await mailbox.get() for _ in range(3)]
    assert [getattr(m, "price", None) or getattr(m, "code", None) for m in got] == [2.0, "1.0", "2.0"]


async def test_a_receiver_that_gave_up_is_not_woken() -> None:
    """What comes after its time-out waits for the next who asks."""
    mailbox = Mailbox("m")
    with trio.move_on_after(0):
        await mailbox.get()
    mailbox.put(alert("x"))
    await trio.testing.wait_all_tasks_blocked()
    message = await mailbox.get()
    assert isinstance(message, Alert)
    assert message.code == "x"


async def test_an_overflow_is_the_receivers_fault() -> None:
    """`put` never raises; the receiver does, so that the supervisor restarts it."""
    mailbox = Mailbox("m", capacity=1)
    mailbox.put(alert("x"))
    mailbox.put(alert("y"))
    with pytest.raises(MailboxOverflow):
        await mailbox.get()


def test_backoff_doubles_to_its_ceiling() -> None:
    """Half a second doubling to thirty, a fifth either way."""
    assert [backoff_s(n, 0.5) for n in (1, 2, 3, 7, 20)] == [0.5, 1, 2, 30, 30]
    assert backoff_s(1, 0.0) == pytest.approx(0.4)


async def test_a_lost_or_silent_stream_gives_up_its_lease_and_comes_back(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Loss and silence both end the lease at once; after the back-off the lease is held again."""
    gate = Gate(("feed",), LatchState(latched=False))
    seen: list[Message] = []
    lost: list[str] = []
    endings = iter(["lost", "silent", "up"])

    class Frames:
        def __init__(self, ending: str) -> None:
            self.ending, self.sent = ending, False

        async def __aenter__(self) -> Frames:
            return self

        async def __aexit__(self, *_: object) -> None:
            assert gate.closed_by()[0] == "gate.lease:feed"

        def __aiter__(self) -> Frames:
            return self

        async def __anext__(self) -> Message | None:
            if not self.sent:
                self.sent = True
                return alert(self.ending)
            if self.ending == "lost":
                raise FeedLost("closed by peer")
            if self.ending == "silent":
                await trio.sleep_forever()
            await trio.sleep(1)
            return None

    async def prepare() -> Sequence[Message]:
        return [alert("history")]

    async with trio.open_nursery() as nursery:

        async def run() -> None:
            await keep_connected(
                open_stream=lambda: Frames(next(endings)),
                prepare=prepare,
                lease=lambda: gate.lease("feed"),
                deliver=seen.append,
                lost=lost.append,
                idle_s=3,
                jitter=lambda: 0.5,
            )

        nursery.start_soon(run)
        await trio.sleep(10)
        assert gate.leases() == {"feed": True}
        nursery.cancel_scope.cancel()
    assert [m.code for m in seen if isinstance(m, Alert)] == ["history", "lost", "history", "silent", "history", "up"]
    assert lost == ["FeedLost: closed by peer", "no frame for 3 s although the connection is open"]


async def test_one_loss_is_told_once(autojump_clock: trio.testing.MockClock) -> None:
    """An exchange that stays away is one loss, however often it is tried; each further failure is a change of state."""
    lost: list[str] = []
    states: list[str] = []

    @asynccontextmanager
    async def refused() -> AsyncIterator[AsyncIterator[Message | None]]:
        raise FeedLost("refused")
        yield

    async def nothing() -> Sequence[Message]:
        return ()

    with trio.move_on_after(3):
        await keep_connected(
            open_stream=refused,
            prepare=nothing,
            lease=nullcontext,
            deliver=lambda message: None,
            lost=lost.append,
            changed=states.append,
            idle_s=3,
            jitter=lambda: 0.5,
        )
    assert lost == ["FeedLost: refused"]
    assert states[:4] == [
        "connecting",
        "connecting, 1 failed before",
        "not back, 2 failed: FeedLost: refused",
        "connecting, 2 failed before",
    ]

"""Hands work in lanes: what waits for what, and what leaves beside what."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from actors.mailbox import Mailbox
from actors.shell import ChildSpec, Lanes, World
from protocol.messages.base import Message, from_edge
from protocol.messages.futures import CancelOrder, EditOrder, PlaceOrder, leaves_beside
from tests.fakes.facts import XBT
from tests.fakes.ports import FakeJournal
from tests.fakes.worlds import idle_world


def place(role: Any, cause: str = "fill", symbol: str = XBT) -> PlaceOrder:
    """A placement that a step said because of `cause`."""
    return PlaceOrder(
        id=role, cause=cause, at=0, client_order_id=role, signal_id="s", role=role, symbol=symbol, side="sell",
        order_type="stp", size=Decimal(1), reduce_only=role != "entry",
    )  # fmt: skip


STOP, TARGET = place("stop"), place("target")
EDIT = EditOrder(id="edit", cause="fill", at=0, client_order_id="stop", role="stop", symbol=XBT, size=Decimal(2))
CANCEL = CancelOrder(id="cancel", cause="fill", at=0, symbol=XBT, client_order_id="target")


class Exchange:
    """Hands that note what leaves, and when; each is answered when the test says so."""

    def __init__(self) -> None:
        self.left: list[tuple[str, float]] = []
        self.answers: dict[str, trio.Event] = {}

    @property
    def names(self) -> list[str]:
        """What has left, in order."""
        return [name for name, _ in self.left]

    async def hands(self, _world: World, wish: Message) -> Sequence[Message]:
        """Leave, and wait for the answer."""
        self.left.append((wish.id, trio.current_time()))
        self.answers[wish.id] = trio.Event()
        await self.answers[wish.id].wait()
        return ()

    async def answer(self, *names: str) -> None:
        """Answer these, and let what follows happen."""
        for name in names:
            self.answers[name].set()
        await trio.sleep(1)


@asynccontextmanager
async def lanes(exchange: Exchange, *wishes: Message, behind_s: float | None = 1e-6) -> AsyncIterator[None]:
    """An actor's hands that have just been given `wishes`."""
    world = idle_world()
    world.behind_s = behind_s
    spec = ChildSpec(name="executor", build=lambda world: None, says=(), hands=exchange.hands)  # type: ignore[arg-type,return-value]
    async with trio.open_nursery() as nursery:
        working = Lanes(spec, world, nursery)
        for wish in wishes:
            working.put(wish)
        await trio.sleep(1)
        yield
        nursery.cancel_scope.cancel()


async def test_a_target_leaves_right_behind_its_stop(autojump_clock: MockClock) -> None:
    """It waits for no answer, and starts later by the clock, so that no scheduler can put it first."""
    exchange = Exchange()
    async with lanes(exchange, STOP, TARGET):
        (first, stop_s), (second, target_s) = exchange.left
        assert (first, second) == ("stop", "target")
        assert stop_s < target_s < stop_s + 0.001


@pytest.mark.parametrize("answered", [("stop", "target"), ("target", "stop")])
async def test_what_comes_after_them_waits_for_both(autojump_clock: MockClock, answered: tuple[str, str]) -> None:
    """Whichever is answered first: an edit must not overtake the order it is about."""
    exchange = Exchange()
    async with lanes(exchange, STOP, TARGET, EDIT, CANCEL):
        await exchange.answer(answered[0])
        assert exchange.names == ["stop", "target"]
        await exchange.answer(answered[1])
        assert exchange.names == ["stop", "target", "edit"]
        await exchange.answer("edit")
        assert exchange.names[-1] == "cancel"


@pytest.mark.parametrize(
    ("ahead", "wish"),
    [
        (TARGET, STOP),
        (STOP, place("target", cause="another fill")),
        (STOP, place("exit")),
        (STOP, EDIT),
        (CANCEL, place("flatten")),
    ],
)
async def test_all_else_of_one_symbol_leaves_one_by_one(
    autojump_clock: MockClock, ahead: Message, wish: Message
) -> None:
    """Only a target goes beside, and only beside the stop of the same step."""
    exchange = Exchange()
    assert not leaves_beside(ahead, wish)
    async with lanes(exchange, ahead, wish):
        assert exchange.names == [ahead.id]
        await exchange.answer(ahead.id)
        assert exchange.names == [ahead.id, wish.id]


async def test_where_nothing_is_ever_on_its_way_nothing_leaves_beside(autojump_clock: MockClock) -> None:
    """A backtest without latency carries wishes out at once, in order."""
    exchange = Exchange()
    async with lanes(exchange, STOP, TARGET, behind_s=None):
        assert exchange.names == ["stop"]


async def test_symbols_and_entries_have_lanes_of_their_own(autojump_clock: MockClock) -> None:
    """Neither another symbol's lost reply nor an entry's delays a stop."""
    exchange = Exchange()
    async with lanes(exchange, place("entry"), STOP, place("exit", symbol="PF_ETHUSD")):
        assert sorted(exchange.names) == ["entry", "exit", "stop"]


async def test_the_next_message_can_be_seen_before_it_is_taken() -> None:
    """And is still there afterwards."""
    mailbox = Mailbox("m")
    assert mailbox.next is None
    mailbox.put(STOP)
    mailbox.put(TARGET)
    assert (mailbox.next, await mailbox.get(), mailbox.next) == (STOP, STOP, TARGET)


async def test_an_order_is_on_its_way_until_it_is_answered(autojump_clock: MockClock) -> None:
    """Others may wait for a moment without orders, which begins with the last answer."""
    world, exchange = idle_world(), Exchange()
    spec = ChildSpec(name="executor", build=lambda world: None, says=(), hands=exchange.hands)  # type: ignore[arg-type,return-value]
    assert world.orders_rest(1)
    async with trio.open_nursery() as nursery:
        working = Lanes(spec, world, nursery)
        working.put(STOP)
        working.put(TARGET)
        await trio.sleep(10)
        assert not world.orders_rest(1)
        exchange.answers["stop"].set()
        await trio.sleep(10)
        assert not world.orders_rest(1)
        exchange.answers["target"].set()
        await trio.sleep(0.5)
        assert not world.orders_rest(1)
        await trio.sleep(0.5)
        assert world.orders_rest(1)
        nursery.cancel_scope.cancel()


async def test_the_intents_of_all_symbols_wait_for_the_disk_once(autojump_clock: MockClock) -> None:
    """The first that leaves makes durable what both symbols want by then; what leaves behind it and what is wished for no order wait no more."""
    world, exchange = idle_world(), Exchange()
    before: list[tuple[str, int]] = []
    flushes = 0

    class Disk(FakeJournal):
        def flush(self) -> None:
            nonlocal flushes
            flushes += 1

    async def hands(of: World, wish: Message) -> Sequence[Message]:
        before.append((wish.id, flushes))
        return await exchange.hands(of, wish)

    world.journal = Disk()
    spec = ChildSpec(name="executor", build=lambda world: None, says=(), hands=hands)  # type: ignore[arg-type,return-value]
    async with trio.open_nursery() as nursery:
        working = Lanes(spec, world, nursery)
        for wish in (STOP, TARGET, place("exit", symbol="PF_ETHUSD")):
            working.put(wish)
        await trio.sleep(1)
        assert sorted(before) == [("exit", 1), ("stop", 1), ("target", 1)]
        working.put(EDIT)
        await exchange.answer("stop", "target")
        assert before[-1] == ("edit", 2)
        nursery.cancel_scope.cancel()


async def test_after_a_pressing_word_the_others_run_before_the_next_message() -> None:
    """A mailbox that was told to rest lets them, once; else sixteen messages are given in a row."""
    mailbox, run = Mailbox("m"), list[str]()
    for _ in range(4):
        mailbox.put(STOP)

    async def other() -> None:
        run.append("other")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(other)
        for name in ("first", "second"):
            await mailbox.get()
            run.append(name)
        mailbox.rest()
        for name in ("third", "fourth"):
            await mailbox.get()
            run.append(name)
    assert run == ["first", "second", "other", "third", "fourth"]


async def test_a_cancel_said_again_while_one_waits_is_the_same() -> None:
    """It keeps its place; another order's, and one that follows a new placement, are others (storm 32022)."""
    mailbox = Mailbox("m")
    stop = from_edge(CancelOrder, 1, "stop", symbol=XBT, client_order_id="stop")
    stranger = from_edge(CancelOrder, 1, "stranger", symbol=XBT, order_id="stop")
    other = from_edge(CancelOrder, 1, "other", symbol=XBT, client_order_id="other")
    for wish in (stop, other, stop, STOP, stop, stop):
        mailbox.put(wish)
    assert [await mailbox.get() for _ in range(len(mailbox))] == [stop, other, STOP, stop]

    mailbox.put(stranger)
    assert await mailbox.get() == stranger
    mailbox.put(stop)
    assert await mailbox.get() == stop


async def test_an_edit_that_still_waits_gives_way_to_a_newer_one_of_its_order() -> None:
    """A fill in a hundred parts asks for a hundred edits; those that no reply held up are enough (storm 80090)."""

    def edit(name: str, order: str) -> EditOrder:
        return EditOrder(id=name, cause="part", at=0, client_order_id=order, role="stop", symbol=XBT, size=Decimal(2))

    exchange = Exchange()
    wishes = [edit(f"{order}{part}", order) for part in range(9) for order in ("stop", "target")]
    async with lanes(exchange, STOP, *wishes, CANCEL):
        await exchange.answer("stop")
        await exchange.answer("stop8")
        await exchange.answer("target8")
        assert exchange.names == ["stop", "stop8", "target8", "cancel"]

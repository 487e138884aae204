"""A feed dies or falls silent: no entry leaves until it is well again, and what is held stays guarded all the while."""

from __future__ import annotations

import pytest
from house import House
from trio.testing import MockClock

from actors.tree import LEASES
from protocol.messages.futures import EntryBlocked, PlaceOrder, Protected, SignalRefused, TradeClosed
from protocol.units import SECOND_US

FEEDS = pytest.mark.parametrize("feed", LEASES)


def silence(house: House, feed: str, silent: bool = True) -> None:
    """The feed's connection stays open and nothing comes through any more."""
    line = house.spot_line if feed == "spot_feed" else house.futures_line
    line.silent = silent


def nothing_was_sent(house: House) -> bool:
    """Whether no order ever left and the exchange never saw one."""
    return not (house.sent or house.orders or house.position or house.engine.state.fills)


@FEEDS
async def test_a_feed_that_dies_under_a_signal_keeps_the_entry_in(
    house: House, autojump_clock: MockClock, feed: str
) -> None:
    """The feed is killed at the very moment of the signal: the door stops the approved entry and says why."""
    house.crash(feed)
    house.signal()
    await house.until(lambda: bool(house.heard(EntryBlocked)))
    (blocked,) = house.heard(EntryBlocked)
    assert {f"gate.lease:{feed}", f"gate.halt:supervisor.{feed}"} & set(blocked.reasons)
    assert nothing_was_sent(house)

    await house.until(lambda: house.gate.closed_by() == ())
    await house.settle()
    assert house.position == 0, "a blocked entry is over, not late"
    assert [c for c in house.sent if isinstance(c, PlaceOrder)] == []


@FEEDS
async def test_a_stop_fires_while_the_feed_is_dead(house: House, autojump_clock: MockClock, feed: str) -> None:
    """The stop rests on the exchange and needs nobody; the trade is booked once, by its stop."""
    await house.open_position()
    through_at = house.go(59_600, per_s=1_000) + SECOND_US
    await house.sleep_to(through_at - SECOND_US // 20)
    house.crash(feed)
    await house.until(lambda: house.position == 0, 0.5)
    assert f"gate.lease:{feed}" in house.gate.closed_by(), "nobody was there to see it"
    await house.until(lambda: bool(house.heard(TradeClosed)))
    await house.until(lambda: not house.orders)
    (closed,) = house.heard(TradeClosed)
    assert closed.reason == "exit.stop"


@FEEDS
async def test_a_structure_exit_leaves_while_the_feed_is_dead(
    house: House, autojump_clock: MockClock, feed: str
) -> None:
    """Dead feeds halt entries, never exits: the change of character still closes the position."""
    await house.open_position()
    house.crash(feed)
    house.change_of_character()
    await house.until(lambda: house.position == 0, 2)
    assert house.gate.closed_by(), "the position was closed behind a closed gate"
    await house.until(lambda: bool(house.heard(TradeClosed)) and not house.orders)
    (closed,) = house.heard(TradeClosed)
    assert closed.reason == "exit.choch"


@FEEDS
async def test_a_silent_stream_closes_the_gate(house: House, autojump_clock: MockClock, feed: str) -> None:
    """A socket that is open and says nothing is a dead feed after its idle limit: the signal goes nowhere."""
    silence(house, feed)
    idle_s = house.settings.feeds.spot_idle_s if feed == "spot_feed" else house.settings.feeds.futures_idle_s
    await house.until(lambda: f"gate.lease:{feed}" in house.gate.closed_by(), idle_s + 1)

    house.enter("past risk")  # risk would refuse for the age of its prices: here the door stands alone
    house.signal()
    await house.until(lambda: bool(house.heard(EntryBlocked)) and bool(house.heard(SignalRefused)))
    (blocked,) = house.heard(EntryBlocked)
    assert f"gate.lease:{feed}" in blocked.reasons
    await house.settle()
    assert nothing_was_sent(house)


@FEEDS
async def test_a_stop_that_fires_behind_a_silent_stream_is_booked_when_it_is_back(
    house: House, autojump_clock: MockClock, feed: str
) -> None:
    """The exchange closes the position unheard; afterwards there is one closed trade, by its stop, and no order."""
    await house.open_position()
    silence(house, feed)
    house.go(59_600, per_s=100)
    await house.until(lambda: house.position == 0, 10)
    await house.settle()
    silence(house, feed, False)
    await house.until(lambda: house.gate.closed_by() == (), 120)
    await house.until(lambda: bool(house.heard(TradeClosed)) and not house.orders)
    (closed,) = house.heard(TradeClosed)
    assert closed.reason == "exit.stop"


@pytest.mark.parametrize("fault", ["killed", "silent"])
@FEEDS
async def test_entries_halt_for_exactly_as_long_as_the_feed_is_down(
    house: House, autojump_clock: MockClock, feed: str, fault: str
) -> None:
    """The lease is given up once and taken once, and the next signal after that trades."""
    began = house.clock.now_us()
    if fault == "killed":
        house.crash(feed)
        await house.until(lambda: house.gate.closed_by() != (), 1)
    else:
        silence(house, feed)
        await house.until(lambda: house.gate.closed_by() != (), house.settings.feeds.futures_idle_s + 1)
        silence(house, feed, False)
    await house.until(lambda: house.gate.closed_by() == (), 60)
    changes = [is_open for at, what, is_open in house.gate_log if at >= began and what == f"lease.{feed}"]
    assert changes == [False, True]
    assert house.clock.now_us() - began < 30 * SECOND_US

    await house.settle(2)
    house.signal()
    await house.until(lambda: bool(house.heard(Protected)))
    assert house.protected

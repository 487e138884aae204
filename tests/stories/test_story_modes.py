"""A market that the exchange restricts: entries stay out, what protects goes on, and all ends when the mode ends."""

from __future__ import annotations

import pytest
from house import House
from script import XBT
from trio.testing import MockClock

from protocol.messages.control import Alert
from protocol.messages.futures import EntryBlocked, OrderRejected, SignalRefused, TradeClosed

REFUSES = {
    "suspended": "market.suspended",
    "post_only": "market.post_only",
    "cancel_only": None,  # no feed shows it: the exchange itself refuses
}
MODES = pytest.mark.parametrize("mode", REFUSES)


async def restrict(house: House, mode: str | None) -> None:
    """The exchange changes the market's mode, and its next tickers have come."""
    house.engine.close_market(XBT, mode)
    await house.settle(3)


@MODES
async def test_no_entry_in_a_restricted_market(house: House, autojump_clock: MockClock, mode: str) -> None:
    """A signal buys nothing and leaves nothing; the next one after the mode trades as ever."""
    await restrict(house, mode)
    house.signal()
    await house.settle(20)
    said_by_risk = {reason for refused in house.heard(SignalRefused) for reason in refused.reasons}
    said_by_venue = {rejected.status for rejected in house.heard(OrderRejected)}
    shown = REFUSES[mode]
    assert (said_by_risk, said_by_venue) == (({shown}, set()) if shown else (set(), {"marketSuspended"}))
    assert (house.position, house.orders, house.entry_fills) == (0, {}, [])

    await restrict(house, None)
    await house.settle(60)
    assert house.entry_fills == []
    await house.open_position("second")
    assert house.protected


@pytest.mark.parametrize("mode", [mode for mode, shown in REFUSES.items() if shown])
async def test_the_door_itself_refuses_what_risk_let_through(
    house: House, autojump_clock: MockClock, mode: str
) -> None:
    """An approved entry that meets a restricted market does not leave."""
    await restrict(house, mode)
    house.enter("late")
    await house.until(lambda: bool(house.heard(EntryBlocked)), 10)
    assert [reason.split(":")[0] for reason in house.heard(EntryBlocked)[0].reasons] == ["pretrade.market_mode"]
    assert house.sent == []


@MODES
async def test_an_exit_waits_behind_its_stop_and_goes_when_the_mode_ends(
    house: House, autojump_clock: MockClock, mode: str
) -> None:
    """No exit order can be had meanwhile: stop and target stay where they are, a person is told, and then it is flat."""
    await house.open_position()
    await restrict(house, mode)
    house.change_of_character()
    await house.settle(120)
    assert house.position > 0
    assert "stp" in house.orders
    alerts = {alert.code for alert in house.heard(Alert) if alert.severity == "critical"}
    assert ("VENUE_MODE" if REFUSES[mode] else "STOP_NOT_FILLING") in alerts

    await restrict(house, None)
    await house.until(lambda: house.position == 0 and not house.orders, 30)
    await house.settle(5)
    assert [trade.reason for trade in house.heard(TradeClosed)] == ["exit.choch"]


async def test_the_stop_protects_through_a_cancel_only_market(house: House, autojump_clock: MockClock) -> None:
    """Such a market still triggers what rests: the position is stopped out in the middle of it."""
    await house.open_position()
    await restrict(house, "cancel_only")
    house.go(59_600)
    await house.until(lambda: bool(house.heard(TradeClosed)) and house.position == 0 and not house.orders)
    assert [trade.reason for trade in house.heard(TradeClosed)] == ["exit.stop"]


@pytest.mark.parametrize("mode", ["post_only", "suspended"])
async def test_a_stop_that_cannot_fire_is_made_up_for_when_the_market_opens(
    house: House, autojump_clock: MockClock, mode: str
) -> None:
    """Nothing trades meanwhile: a person is told, nothing is hammered, and with the first open ticker all of it is sold, once."""
    await house.open_position()
    size, sent = house.position, len(house.sent)
    await restrict(house, mode)
    house.go(59_600)
    await house.settle(120)
    assert (house.position, "stp" in house.orders) == (size, True)
    told = [alert.code for alert in house.heard(Alert) if alert.severity == "critical"]
    assert {"STOP_NOT_FILLING", "VENUE_MODE"} <= set(told)
    assert len(told) < 12, told
    assert len(house.sent) == sent

    await restrict(house, None)
    await house.until(lambda: bool(house.heard(TradeClosed)) and house.position == 0 and not house.orders, 30)
    assert sum(fill.size for fill in house.engine.state.fills if fill.side == "sell") == size
    assert len(house.heard(TradeClosed)) == 1
    assert not house.latch.read().latched

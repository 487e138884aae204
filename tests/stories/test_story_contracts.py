"""A contract changes under us, or ends: the next refusal or the exchange's word has its rules read again, and nothing is left open."""

from __future__ import annotations

from decimal import Decimal

import pytest
from house import House, open_house
from msgspec.structs import replace
from script import XBT
from trio.testing import MockClock

from protocol.messages.control import Alert, Drift
from protocol.messages.futures import (
    Filled,
    InstrumentsListed,
    OrderRejected,
    PlaceOrder,
    RequestInstruments,
    SignalRefused,
    TradeClosed,
)
from sim.faults.plan import plan_of


def codes(house: House) -> list[str]:
    """What the person was told, in order."""
    return [alert.code for alert in house.heard(Alert) if alert.severity != "info"]


async def test_a_coarser_tick_costs_one_refusal(house: House, autojump_clock: MockClock) -> None:
    """A stop off the new tick is refused and the position closed at once; the rules are read, and the next trade is protected."""
    house.engine.rules[XBT] = replace(house.engine.rules[XBT], tick=Decimal(10))
    house.go(60_003)
    await house.settle(5)
    house.signal()
    await house.until(lambda: bool(house.heard(TradeClosed)) and house.position == 0 and not house.orders, 30)
    assert {rejected.status for rejected in house.heard(OrderRejected)} == {"invalidPrice"}
    assert house.heard(TradeClosed)[0].reason == "flatten.stop_rejected"
    assert len(house.heard(RequestInstruments)) == 1
    assert house.heard(InstrumentsListed)[-1].instruments[0].tick == 10
    assert "INSTR_CHANGED" in codes(house)

    refused = len(house.heard(OrderRejected))
    await house.settle(60)
    await house.open_position("second")
    assert house.protected
    assert len(house.heard(OrderRejected)) == refused


async def test_the_rules_are_read_again_within_a_day(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A change that nobody stumbles over is known a day later (here: two minutes)."""
    monkeypatch.setattr("actors.futures_feed.actor.DAY_S", 120)
    async with open_house() as house:
        house.engine.rules[XBT] = replace(house.engine.rules[XBT], lot=Decimal("0.001"))
        listed = len(house.heard(InstrumentsListed))
        await house.settle(130)
        assert house.heard(InstrumentsListed)[-1].instruments[0].lot == Decimal("0.001")
        assert len(house.heard(InstrumentsListed)) == listed + 1
        assert [alert.text for alert in house.heard(Alert) if alert.code == "INSTR_CHANGED"] == [
            f"{XBT}: lot 0.0001 -> 0.001"
        ]


@pytest.mark.parametrize("told", ["by the stream", "by REST alone"])
async def test_a_contract_that_ends_leaves_nothing_open(autojump_clock: MockClock, told: str) -> None:
    """Post-only first: the person hears of it, the position keeps stop and target, an exit waits. Then it is settled: booked once
    as what it is, latched, and no entry is taken in a contract that is traded no more.
    """
    silent = [{"fault": "ws.drop", "feed": "fills", "at_s": 60.0, "for_s": 120.0}] if told == "by REST alone" else []
    async with open_house(plan=plan_of({"seed": 45, "faults": silent})) as house:
        await house.open_position()
        size = house.position
        house.engine.close_market(XBT, "post_only")
        await house.settle(10)
        assert [a.severity for a in house.heard(Alert) if a.code == "VENUE_MODE"] == ["critical"]
        house.change_of_character()
        await house.settle(60)
        assert house.protected, "no market order can be had, so the stop stays"
        sent = len(house.sent)

        house.go(59_800)
        await house.settle(10)
        house.venue.delist(XBT)
        await house.until(lambda: bool(house.heard(TradeClosed)), 30)
        await house.settle(30)
        (closed,) = house.heard(TradeClosed)
        assert (closed.reason, closed.size, closed.exit_price) == ("exit.settled", size, 59_800)
        settled = [m.fill for m in house.heard(Filled) if m.fill.fill_type == "settlement"]
        assert [fill.size for fill in settled] == [size], "once, whoever told it"
        assert (house.position, house.orders) == (0, {})
        assert house.latch.read().latched
        assert {"SETTLED", "KILL_LATCHED", "INSTR_DELISTING"} <= set(codes(house))
        assert all(wish.client_order_id for wish in house.sent[sent:]), "nothing of a stranger's was touched"

        house.signal("second")
        await house.settle(5)
        (refused,) = house.heard(SignalRefused)
        assert {"instrument.not_tradeable", "market.post_only", "mark.stale"} <= set(refused.reasons)
        assert len(house.entry_fills) == 1
        assert {drift.kind for drift in house.heard(Drift)} <= {"missed_fill", "ghost_position", "missing_order"}


@pytest.mark.parametrize("leaves_by", ["structure", "the kill switch"])
async def test_a_coarser_lot_leaves_no_dust(house: House, autojump_clock: MockClock, leaves_by: str) -> None:
    """What is held is no whole number of the new lots: a reduce-only order a little too large closes all of it, cut by the exchange."""
    await house.open_position()
    house.engine.rules[XBT] = replace(house.engine.rules[XBT], lot=Decimal("0.01"))
    house.venue.engine.close_market(XBT, "suspended")  # whatever makes the rules be read
    await house.settle(5)
    house.venue.engine.close_market(XBT, None)
    await house.settle(5)
    assert house.position % Decimal("0.01")
    if leaves_by == "structure":
        house.change_of_character()
    else:
        house.kill_switch()
    await house.until(lambda: house.position == 0 and not house.orders, 15)
    await house.settle(60)
    assert sum(isinstance(wish, PlaceOrder) and wish.role in ("exit", "flatten") for wish in house.sent) == 1
    assert len(house.heard(TradeClosed)) == 1

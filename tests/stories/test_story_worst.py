"""The worst moments: two things at once, and a person in between. Flat or protected, nothing doubled, nothing turned round."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal

import pytest
from house import SETTINGS, STOP_PCT, TARGET_PCT, House, open_house
from msgspec.structs import replace
from script import ETH, ETH_PERP, XBT
from trio.testing import MockClock

from protocol.ids import derive
from protocol.messages.control import Alert, Latch
from protocol.messages.futures import EntryBlocked, PlaceOrder, Protected, SignalRefused, TradeClosed
from sim.engine import Engine
from sim.faults.plan import plan_of
from sim.market.contracts import PF_ETHUSD, PF_XBTUSD


def held(house: House) -> dict[str, Decimal]:
    """Positions on the exchange."""
    return {position.symbol: position.size for position in house.engine.positions()}


def resting(house: House) -> Counter[tuple[str, str]]:
    """(symbol, order type) of everything on the book."""
    return Counter((w.order.symbol, w.order.order_type) for w in house.engine.state.working.values())


async def open_both(house: House) -> None:
    """A protected long in each market."""
    signal = house.signal()
    price = 3_000.0
    other = replace(
        signal,
        id=derive("story", "ether"),
        symbol=ETH,
        entry=price,
        stop=price * (1 - STOP_PCT),
        take_profit=price * (1 + TARGET_PCT),
    )
    house.world.mailboxes["risk"].put(other)
    await house.until(lambda: len(house.heard(Protected)) == 2, 30)


@pytest.mark.parametrize("moment_s", [0, 0.0005, 0.5, 2])
async def test_a_kill_during_the_first_reconciliation_of_a_life(
    house: House, autojump_clock: MockClock, moment_s: float
) -> None:
    """Asked for before the truth is known, or while it is read: latched at once and flat in time, whatever the executor still waits for."""
    await house.open_position()
    await house.die()
    before = house.world
    house.begin()
    await house.until(lambda: house.world is not before and "kill_switch" in house.world.mailboxes, 5)
    await house.settle(moment_s)
    house.kill_switch()
    await house.until(lambda: not held(house) and not resting(house), 15)
    assert house.latch.read().latched
    assert len(house.heard(Latch)) == 1
    await house.until(lambda: len(house.heard(TradeClosed)) == 1, 60)
    await house.settle(60)
    house.signal("second")
    await house.settle(5)
    assert len(house.entry_fills) == 1
    assert house.heard(EntryBlocked) or house.heard(SignalRefused)


async def test_both_markets_fall_through_their_stops_at_once(autojump_clock: MockClock) -> None:
    """One gap through both: two trades closed, once each, and nothing rests; each loss counts."""
    wick = {"fault": "px.wick", "target": "mark", "size_pct": -3.0, "sym": "any", "at_s": 20.0, "for_s": 20.0}
    async with open_house(plan=plan_of({"seed": 1, "faults": [wick]})) as house:
        await open_both(house)
        await house.until(lambda: len(house.heard(TradeClosed)) == 2, 60)
        await house.settle(30)
        assert (held(house), resting(house)) == ({}, Counter())
        assert sorted(trade.symbol for trade in house.heard(TradeClosed)) == [ETH_PERP, XBT]
        sold = Counter[str]()
        for fill in house.engine.state.fills:
            sold[fill.symbol] += 1 if fill.side == "sell" else -1
        assert set(sold.values()) == {0}, "as many sells as buys"
        assert not house.latch.read().latched


async def test_both_markets_are_flattened_by_one_kill(house: House, autojump_clock: MockClock) -> None:
    """Side by side, not one after the other's time-out."""
    await open_both(house)
    began = house.clock.now_us()
    house.kill_switch()
    await house.until(lambda: not held(house) and not resting(house), 15)
    assert house.clock.now_us() - began < 3_000_000


@pytest.mark.parametrize("late_s", [-1.0, -0.001, 0.0, 0.0005, 0.001, 1.0])
@pytest.mark.parametrize("price", [60_700, 59_600])
async def test_an_exit_that_meets_its_own_stop_or_target(
    autojump_clock: MockClock, price: float, late_s: float
) -> None:
    """Structure turns in the very moment in which the level fires, in a thin book: sold once, never more than was bought."""
    thin = {"fault": "ex.partial", "depth_usd": 3_000.0, "at_s": 30.0, "for_s": 120.0}
    async with open_house(plan=plan_of({"seed": 7, "faults": [thin]})) as house:
        await house.open_position()
        size = house.position
        await house.settle(35)
        level = 60_600 if price > 60_000 else 59_700
        fires = house.go(price, per_s=100) + abs(level - 60_000) // 100 * 1_000_000
        await house.sleep_to(fires + round(late_s * 1e6))
        house.change_of_character()
        await house.until(lambda: not held(house) and not resting(house), 60)
        await house.settle(60)
        assert sum(f.size for f in house.engine.state.fills if f.side == "sell") == size
        assert not held(house)
        (closed,) = house.heard(TradeClosed)
        assert closed.size == size
        assert closed.reason in {"exit.choch", "exit.target", "exit.stop"}


async def test_refusal_after_refusal_is_no_flood(autojump_clock: MockClock) -> None:
    """Ten minutes in which every order is refused: the person hears of each condition a few times a minute, not at each attempt."""
    refused = {
        "fault": "rest.reject",
        "op": "send",
        "status": "marketSuspended",
        "for_s": 600.0,
        "after": "position.opened",
        "at_s": 5,
    }
    async with open_house(plan=plan_of({"seed": 3, "faults": [refused]})) as house:
        await house.open_position()
        await house.settle(10)
        before = len(house.heard(Alert))
        house.change_of_character()
        await house.settle(590)
        told = Counter(alert.code for alert in house.heard(Alert)[before:])
        assert max(told.values()) <= 10 * 4, told
        assert "stp" in house.orders, "what rests protects meanwhile"
        sent = sum(isinstance(wish, PlaceOrder) and wish.role == "exit" for wish in house.sent)
        assert sent <= 10 * 3, "and the exchange is not hammered"
        await house.until(lambda: not held(house), 120)


async def test_a_position_with_no_prices_keeps_its_stop_and_loses_it_to_nobody(
    house: House, autojump_clock: MockClock
) -> None:
    """The futures stream says nothing for two minutes: entries wait, the stop stays as it is, and it fires unheard."""
    await house.open_position()
    sent = len(house.sent)
    house.futures_line.silent = True
    await house.settle(60)
    assert "gate.lease:futures_feed" in house.gate.closed_by()
    house.signal("blind")
    await house.settle(5)
    assert len(house.sent) == sent
    house.go(59_600, per_s=100)
    await house.settle(60)
    assert not held(house)
    house.futures_line.silent = False
    await house.until(lambda: house.gate.closed_by() == () and not resting(house), 60)
    await house.settle(5)
    assert [trade.reason for trade in house.heard(TradeClosed)] == ["exit.stop"]


@pytest.mark.parametrize(("factor", "killed"), [(87.0, False), (100.0, True)])
async def test_a_margin_call_from_afar(autojump_clock: MockClock, factor: float, killed: bool) -> None:
    """The exchange asks for more: near liquidation no entry leaves and exits go on; too near, everything is closed before it does it."""
    risk = SETTINGS.risk.model_copy(update={"risk_pct": Decimal("0.5")})
    engine = Engine((PF_XBTUSD, PF_ETHUSD), Decimal(10_000), slippage_pct=Decimal(0))
    margin = {"fault": "ex.margin", "factor": factor, "after": "position.opened", "at_s": 5.0, "for_s": 90.0}
    settings = SETTINGS.model_copy(update={"risk": risk})
    async with open_house(settings, engine=engine, plan=plan_of({"seed": 4, "faults": [margin]})) as house:
        house.signal()
        await house.until(lambda: bool(house.heard(Protected) or house.heard(SignalRefused)), 30)
        assert house.heard(Protected), [refusal.reasons for refusal in house.heard(SignalRefused)]
        await house.settle(30)
        codes = {alert.code for alert in house.heard(Alert)}
        assert ("LIQ_NEAR" in codes, house.latch.read().latched) == (True, killed)
        if killed:
            await house.until(lambda: not held(house) and not resting(house), 15)
            assert "LIQUIDATED" not in codes
            return
        assert f"gate.halt:risk.liquidation:{XBT}" in house.gate.closed_by()
        house.change_of_character()
        await house.until(lambda: not held(house) and not resting(house), 15)
        await house.settle(5)
        assert house.gate.closed_by() == (), "with the position the halt ends"

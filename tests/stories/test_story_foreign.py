"""Somebody else trades on our account: what settings say is done with it, at any time, start-up included, and nobody is fought."""

from __future__ import annotations

from decimal import Decimal

import pytest
from house import SETTINGS, House, open_house
from script import ETH_PERP, XBT
from trio.testing import MockClock

from config.settings import Settings
from protocol.ids import is_ours
from protocol.messages.base import from_edge
from protocol.messages.control import Alert, Drift
from protocol.messages.futures import CancelOrder, OpenOrder, PlaceOrder, SignalRefused, TradeClosed, TradeOpened
from protocol.units import OrderSide

HAND = Decimal("0.1")


def settings(positions: str = "report", orders: str = "report") -> Settings:
    """The story's settings with these policies."""
    policies = {"foreign_positions": positions, "foreign_orders": orders}
    return SETTINGS.model_copy(update={"execution": SETTINGS.execution.model_copy(update=policies)})


def by_hand(house: House, side: OrderSide, size: Decimal = HAND, price: int | None = None, symbol: str = XBT) -> None:
    """A person trades on the exchange's own screen."""
    now = house.clock.now_us()
    order = from_edge(
        PlaceOrder,
        now,
        "by hand",
        now,
        client_order_id="",
        signal_id="",
        role="entry",
        symbol=symbol,
        side=side,
        order_type="mkt" if price is None else "lmt",
        size=size,
        limit_price=None if price is None else Decimal(price),
    )
    house.venue.carry_out(order)


def codes(house: House) -> set[str]:
    """What the person was told."""
    return {alert.code for alert in house.heard(Alert)}


def resting(house: House) -> list[OpenOrder]:
    """Everything on the book."""
    return [working.order for working in house.engine.state.working.values()]


@pytest.mark.parametrize("when", ["while we run", "while we were down"])
@pytest.mark.parametrize("side", ["buy", "sell"])
async def test_an_adopted_position_is_protected_and_closed_by_its_stop(
    autojump_clock: MockClock, side: OrderSide, when: str
) -> None:
    """Found by its fill or by the first reading of a life: a stop and a target of ours, for all of it; then a trade like any other."""
    async with open_house(settings(positions="adopt")) as house:
        if when == "while we were down":
            await house.die()
            by_hand(house, side)
            house.begin()
        else:
            by_hand(house, side)
        await house.until(lambda: house.protected, 40)
        assert "FOREIGN_POSITION" in codes(house)
        assert all(is_ours(order.client_order_id) for order in resting(house))
        (opened,) = house.heard(TradeOpened)
        assert opened.size == HAND
        sign = 1 if side == "buy" else -1
        assert house.orders["stp"].stop_price == Decimal(60_000 - sign * 1_200)

        await house.until(lambda: house.gate.closed_by() == (), 60)
        house.go(60_000 - sign * 1_300, per_s=100)
        await house.until(lambda: bool(house.heard(TradeClosed)) and house.position == 0 and not house.orders, 60)
        assert house.heard(TradeClosed)[0].reason == "exit.stop"
        assert not house.latch.read().latched


@pytest.mark.parametrize("when", ["while we run", "while we were down"])
async def test_a_position_to_be_flattened_is_gone_at_once(autojump_clock: MockClock, when: str) -> None:
    """By a reduce-only market order for exactly that; then entries leave again."""
    async with open_house(settings(positions="flatten")) as house:
        if when == "while we were down":
            await house.die()
            by_hand(house, "sell")
            house.begin()
        else:
            by_hand(house, "sell")
        await house.until(lambda: bool(house.heard(TradeClosed)), 40)
        (closed,) = house.heard(TradeClosed)
        assert (closed.reason, closed.size) == ("flatten.foreign", HAND)
        flattens = [wish for wish in house.sent if isinstance(wish, PlaceOrder) and wish.role == "flatten"]
        assert [(wish.side, wish.size, wish.reduce_only) for wish in flattens] == [("buy", HAND, True)]
        await house.settle(60)
        await house.open_position()
        assert house.protected


async def test_a_reported_position_is_left_alone_and_keeps_our_entry_out(autojump_clock: MockClock) -> None:
    """The default: said once, no order sent for it, no entry in its market while it is there, others trade; closed by hand it is over."""
    async with open_house() as house:
        by_hand(house, "buy")
        await house.settle(40)
        assert house.sent == []
        told = [alert.code for alert in house.heard(Alert)].count("FOREIGN_POSITION")
        assert told >= 1
        house.signal()
        await house.settle(5)
        assert "position.held" in house.heard(SignalRefused)[0].reasons
        assert house.sent == []
        await house.settle(120)
        assert [alert.code for alert in house.heard(Alert)].count("FOREIGN_POSITION") == told, (
            "told once, not at every pass"
        )
        by_hand(house, "sell")
        await house.settle(90)
        await house.open_position("second")
        assert not house.latch.read().latched


@pytest.mark.parametrize(("policy", "stays"), [("flatten", False), ("adopt", True), ("report", True)])
async def test_a_foreign_order_is_cancelled_only_if_told_so(
    autojump_clock: MockClock, policy: str, stays: bool
) -> None:
    """By the exchange's own id; ours beside it are untouched."""
    async with open_house(settings(orders=policy)) as house:
        await house.open_position()
        by_hand(house, "buy", price=50_000)
        await house.settle(40)
        foreign = [order for order in resting(house) if not is_ours(order.client_order_id)]
        assert bool(foreign) == stays
        assert len(resting(house)) == 2 + stays
        assert [wish.client_order_id for wish in house.sent if isinstance(wish, CancelOrder)] == [None] * (not stays)
        assert "FOREIGN_ORDER" in codes(house)
        assert {drift.kind for drift in house.heard(Drift)} == {"foreign_order"}


async def test_a_position_turned_round_by_hand_is_not_fought(house: House, autojump_clock: MockClock) -> None:
    """Ours is over at once, its stop and target are gone, nothing is bought back, and the other side is the person's own."""
    await house.open_position()
    size = house.position
    by_hand(house, "sell", 2 * size)
    await house.settle(90)
    assert house.position == -size
    assert resting(house) == []
    assert [trade.reason for trade in house.heard(TradeClosed)] == ["exit.external"]
    assert {"FOREIGN_FILL", "FOREIGN_POSITION"} <= codes(house)
    assert [wish.role for wish in house.sent if isinstance(wish, PlaceOrder)] == ["entry", "stop", "target"]
    assert not house.latch.read().latched


async def test_both_markets_at_once(autojump_clock: MockClock) -> None:
    """A stranger's position in each: both are adopted, each with its own stop, and one exit leaves the other alone."""
    async with open_house(settings(positions="adopt")) as house:
        by_hand(house, "buy")
        by_hand(house, "sell", Decimal(1), symbol=ETH_PERP)
        await house.until(lambda: len(resting(house)) == 4, 40)
        assert {(o.symbol, o.order_type, o.size) for o in resting(house)} == {
            (XBT, "stp", HAND),
            (XBT, "take_profit", HAND),
            (ETH_PERP, "stp", Decimal(1)),
            (ETH_PERP, "take_profit", Decimal(1)),
        }
        house.go(58_700, per_s=100)
        await house.until(lambda: bool(house.heard(TradeClosed)), 60)
        await house.settle(10)
        assert {order.symbol for order in resting(house)} == {ETH_PERP}
        assert [p.symbol for p in house.engine.positions()] == [ETH_PERP]

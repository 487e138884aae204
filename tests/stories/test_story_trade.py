"""A trade from signal to flat, through every actor, the real clients and the exchange's protocol."""

from __future__ import annotations

from house import House
from trio.testing import MockClock

from protocol.messages.futures import EnterPosition, Protected, TradeClosed, TradeOpened


async def test_a_signal_becomes_a_protected_position_and_a_closed_trade(
    house: House, autojump_clock: MockClock
) -> None:
    """Signal, entry, stop and target for exactly the filled size, target reached, sibling cancelled, nothing left."""
    signal = await house.open_position()
    (approved,) = house.heard(EnterPosition)
    assert house.position == approved.size > 0
    assert house.protected
    assert (house.orders["stp"].stop_price, house.orders["take_profit"].stop_price) == (59_700, 60_600)

    house.go(60_700)
    await house.until(lambda: bool(house.heard(TradeClosed)))
    await house.until(lambda: not house.orders)
    (closed,) = house.heard(TradeClosed)
    assert (closed.trade_id, closed.reason, closed.size) == (signal.id, "exit.target", approved.size)
    assert closed.pnl_usd > 0
    assert house.position == 0
    assert [len(house.heard(kind)) for kind in (TradeOpened, Protected)] == [1, 1]

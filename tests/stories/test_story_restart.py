"""The process dies and lives again on the same disk: the exchange is the same, the entry is not repeated, the stop is there."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
from house import House, open_house
from script import ETH_PERP
from trio.testing import MockClock

from actors.ledger.journal import Ledger, open_ledger
from protocol.messages.base import from_edge
from protocol.messages.futures import (
    Filled,
    PlaceOrder,
    SignalRefused,
    TradeClosed,
    TradeOpened,
)

MOMENTS = {
    "the entry was decided, and never left": ("leaving", "entry"),
    "the entry filled, and nobody heard": ("arrived", "entry"),
    "filled and not protected": ("leaving", "stop"),
    "the stop rests, and nobody heard": ("arrived", "stop"),
    "the stop alone": ("leaving", "target"),
    "stop and target rest, and nobody heard": ("arrived", "target"),
}
"""When the process dies: just before or just after an order reaches the exchange."""
DOWN_S = pytest.mark.parametrize("down_s", [0, 40])


def bought_once(house: House) -> bool:
    """Whether the exchange has one entry and no more."""
    return len(house.entry_fills) == 1


async def enter_and_die(house: House, moment: str) -> None:
    """A signal, and death at `moment` of its execution."""
    house.strikes_at, house.strike = MOMENTS[moment], house.end_life
    house.signal()
    await house.dead()


@DOWN_S
@pytest.mark.parametrize("moment", [name for name in MOMENTS if name != "the entry was decided, and never left"])
async def test_a_position_survives_its_daemon(
    house: House, autojump_clock: MockClock, moment: str, down_s: float
) -> None:
    """Whenever it dies, the next life finds the position, protects it within the limit, and does not enter again."""
    await enter_and_die(house, moment)
    assert bought_once(house)
    size = house.position
    await house.settle(down_s)

    house.begin()
    await house.until(lambda: house.protected, house.settings.execution.protect_within_s)
    assert house.position == size

    await house.until(lambda: house.gate.closed_by() == ())
    await house.settle(2)
    house.signal()
    house.enter("first")
    await house.until(lambda: bool(house.heard(SignalRefused)))
    await house.settle()
    assert bought_once(house)
    assert (house.position, house.protected) == (size, True)
    assert len({fill.fill.fill_id for fill in house.heard(Filled)}) == 1

    house.go(60_700)
    await house.until(lambda: bool(house.heard(TradeClosed)) and not house.orders)
    (closed,) = house.heard(TradeClosed)
    assert (closed.reason, closed.size) == ("exit.target", size)
    assert house.position == 0


@DOWN_S
async def test_an_entry_that_never_left_is_not_sent_by_the_next_life(
    house: House, autojump_clock: MockClock, down_s: float
) -> None:
    """Its intent was durable; its absence is proved; the same signal comes again and is refused; another one trades."""
    await enter_and_die(house, "the entry was decided, and never left")
    await house.settle(down_s)
    await house.start()
    house.signal()
    await house.until(lambda: bool(house.heard(SignalRefused)))
    await house.settle(60)
    assert not house.entry_fills
    assert not house.orders

    await house.open_position("second")
    assert bought_once(house)


async def test_a_stop_that_fired_while_we_were_down_is_booked(house: House, autojump_clock: MockClock) -> None:
    """The next life learns of the end by the exchange's fills, closes the trade once, and clears the target."""
    await house.open_position()
    await house.die()
    house.go(59_600)
    await house.until(lambda: house.position == 0)
    await house.start()
    await house.until(lambda: bool(house.heard(TradeClosed)) and not house.orders)
    (closed,) = house.heard(TradeClosed)
    assert (closed.reason, len(house.heard(TradeOpened))) == ("exit.stop", 1)


@DOWN_S
@pytest.mark.parametrize("moment", ["leaving", "arrived"])
async def test_an_exit_cut_short_is_carried_to_its_end(
    house: House, autojump_clock: MockClock, moment: str, down_s: float
) -> None:
    """Dying just before or just after the exit order arrives: the next life ends flat, sells once, and leaves no order."""
    await house.open_position()
    size = house.position
    house.strikes_at, house.strike = (moment, "exit"), house.end_life
    house.change_of_character()
    await house.dead()
    await house.settle(down_s)
    await house.start()
    await house.until(lambda: bool(house.heard(TradeClosed)) and not house.orders)
    await house.settle()
    assert house.position == 0
    assert sum(fill.size for fill in house.engine.state.fills if fill.side == "sell") == size
    assert {trade.reason for trade in house.heard(TradeClosed)} == {"exit.choch"}
    await house.open_position("second")


@pytest.mark.parametrize("price", [59_600, 60_700])
async def test_dying_as_a_trade_ends_does_not_bar_the_next_one(
    house: House, autojump_clock: MockClock, price: float
) -> None:
    """The end of the sibling order was heard and not flushed: the next life asks for it, and the next signal trades."""
    await house.open_position()
    house.go(price)
    await house.until(lambda: bool(house.heard(TradeClosed)) and not house.orders)
    await house.die()
    await house.start()
    await house.settle()
    await house.open_position("second")
    assert len(house.entry_fills) == 2
    assert house.protected


async def test_dying_again_and_again_changes_nothing(house: House, autojump_clock: MockClock) -> None:
    """Five lives in a row on one position: one entry, one stop, one target."""
    await house.open_position()
    held, resting = house.position, house.orders
    for _ in range(4):
        await house.die()
        await house.start()
    await house.settle()
    assert (house.position, house.orders) == (held, resting)
    assert bought_once(house)


async def test_a_stop_cancelled_while_we_were_down_leaves_no_naked_position(
    house: House, autojump_clock: MockClock
) -> None:
    """Somebody took the stop away behind our back: within the limit the next life has a new one there, or is flat."""
    await house.open_position()
    await house.die()
    house.cancel_behind_our_back("stp")
    house.begin()
    limit_s = house.settings.execution.protect_within_s
    await house.until(lambda: house.protected or house.position == 0, limit_s + 1)
    await house.settle()
    assert house.protected or not (house.position or house.orders)
    assert bought_once(house)


@pytest.fixture
def ledger(tmp_path: Path) -> str:
    """Where a real ledger may be."""
    return f"sqlite:///{tmp_path / 'ledger.sqlite'}"


def kill(ledger: Ledger) -> None:
    """What it has not flushed is lost, as in a killed process."""
    ledger.failure = "the process was killed"


@pytest.mark.parametrize("moment", ["the entry filled, and nobody heard", "the stop alone"])
async def test_the_real_ledger_carries_a_position_over(ledger: str, autojump_clock: MockClock, moment: str) -> None:
    """The same on SQLite: what it made durable before the order left is enough for the next life."""
    with open_ledger(ledger) as first:
        async with open_house(journal=first, latch=first) as house:
            await enter_and_die(house, moment)
            kill(first)
            engine, market, at = house.engine, house.market, house.clock.now_us()
    with open_ledger(ledger) as second:
        async with open_house(journal=second, latch=second, engine=engine, market=market, start_us=at) as house:
            await house.until(lambda: house.protected, 5)
            house.signal()
            await house.until(lambda: bool(house.heard(SignalRefused)))
            await house.settle()
            assert bought_once(house)
            house.go(59_600)
            await house.until(lambda: bool(house.heard(TradeClosed)) and not house.orders)
        second.settle()
        assert [trade["reason"] for trade in second.reader().trades()] == ["exit.stop"]


async def test_fills_of_an_outage_longer_than_a_page_are_all_booked(house: House, autojump_clock: MockClock) -> None:
    """Our stop fires while the daemon is down, and 130 fills of somebody else's follow: the trade is closed by its own fill."""
    await house.open_position()
    await house.settle(20)  # a reconciliation has passed
    house.world.journal.flush()  # as the daemon does a few times a second
    await house.die()
    house.go(59_600)
    await house.until(lambda: house.position == 0)
    (stopped,) = [fill for fill in house.engine.state.fills if fill.side == "sell"]
    for n in range(130):
        house.venue.carry_out(
            from_edge(
                PlaceOrder,
                house.clock.now_us(),
                n,
                client_order_id=f"by-hand-{n}",
                signal_id="",
                role="entry",
                symbol=ETH_PERP,
                side="sell" if n % 2 else "buy",
                order_type="mkt",
                size=Decimal("0.1"),
            )
        )
        await house.settle(0.1)
    assert stopped not in house.engine.state.fills[-100:]

    house.begin()
    await house.until(lambda: bool(house.heard(TradeClosed)))
    (closed,) = house.heard(TradeClosed)
    assert closed.reason == "exit.stop"
    assert stopped.fill_id in {told.fill.fill_id for told in house.heard(Filled)}

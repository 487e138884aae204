"""A clock that follows the exchange: it goes on by itself, is put right by what it hears, and never goes back nor stands still."""

from __future__ import annotations

import trio
from trio.testing import MockClock

from protocol.units import SECOND_US
from sim.clock import ExchangeClock

EPOCH_US = 1_767_571_200 * SECOND_US


async def test_it_follows(autojump_clock: MockClock) -> None:
    """Between two sayings time runs on; a later saying moves it forward, an earlier one makes it slow until it is right."""
    await trio.sleep(5)
    clock = ExchangeClock(EPOCH_US)
    await trio.sleep(2)
    assert clock.now_us() == EPOCH_US + 2 * SECOND_US
    clock.hear(EPOCH_US + 10 * SECOND_US)
    assert clock.now_us() == EPOCH_US + 10 * SECOND_US
    clock.hear(EPOCH_US + 7 * SECOND_US)
    await trio.sleep(2)
    assert clock.now_us() == EPOCH_US + 11 * SECOND_US
    await trio.sleep(4)
    assert clock.now_us() == EPOCH_US + 13 * SECOND_US
    await trio.sleep(2)
    assert clock.now_us() == EPOCH_US + 15 * SECOND_US

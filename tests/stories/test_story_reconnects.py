"""Connections that break again and again: every candle is told once, and entries wait exactly while a feed is away."""

from __future__ import annotations

from itertools import pairwise

from house import QUARTER_MS, House
from script import BTC
from trio.testing import MockClock

from protocol.messages.control import Alert
from protocol.messages.spot import CandleClosed
from protocol.units import SECOND_US

TIMES = 50
APART_S = 38.0
"""Fifty of them last half an hour: some break at a candle's end, all within a stretch in which two candles close."""


async def test_fifty_reconnects_lose_no_candle_and_double_none(house: House, autojump_clock: MockClock) -> None:
    """Both streams break fifty times in a row: each candle closes once, in order, and each break is in the journal."""
    began = house.clock.now_us()
    for _ in range(TIMES):
        house.hang_up()
        await house.until(lambda: house.gate.closed_by() != (), 2)
        await house.until(lambda: house.gate.closed_by() == (), 30)
        await house.settle(APART_S)
    await house.sleep_to((house.clock.now_us() // (QUARTER_MS * 1000) + 1) * QUARTER_MS * 1000 + 60 * SECOND_US)

    closed = [c for c in house.heard(CandleClosed) if c.symbol == BTC and c.timeframe == "15m"]
    opened = [c.open_time_ms for c in closed]
    assert {later - earlier for earlier, later in pairwise(opened)} == {QUARTER_MS}
    assert opened[-1] == house.clock.now_us() // 1000 // QUARTER_MS * QUARTER_MS - QUARTER_MS
    assert sum(open_ms * 1000 >= began - QUARTER_MS * 1000 for open_ms in opened) >= 3
    assert not any(c.synthetic for c in closed)
    states = [a.text for a in house.heard(Alert) if a.code == "FEED_STATE"]
    for stream in ("spot", "futures"):
        assert states.count(f"{stream} stream: up") == TIMES + 1
        assert sum(text.startswith(f"{stream} stream: connecting") for text in states) >= TIMES + 1
    assert sum(a.code == "FEED_STALE" for a in house.heard(Alert)) >= 2 * TIMES


async def test_entries_wait_exactly_while_a_feed_is_away(house: House, autojump_clock: MockClock) -> None:
    """Of each break the gate closes at the moment the connection ends and opens with the lease, never in between."""
    for _ in range(5):
        house.gate_log.clear()
        ended = house.clock.now_us()
        house.hang_up()
        await house.until(lambda: house.gate.closed_by() == () and len(house.gate_log) >= 4, 30)
        assert sorted((what, is_open) for _, what, is_open in house.gate_log if what.startswith("lease.")) == [
            ("lease.futures_feed", False),
            ("lease.futures_feed", True),
            ("lease.spot_feed", False),
            ("lease.spot_feed", True),
        ]
        assert max(at for at, _, is_open in house.gate_log if not is_open) - ended < SECOND_US // 10
        await house.settle(5)

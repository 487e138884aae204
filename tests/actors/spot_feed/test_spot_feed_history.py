"""Missing candles: filled when the exchange shows no trade in them, left missing when it shows one, and by policy when nobody can tell."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from actors.spot_feed import actor
from actors.spot_feed.decide import STEP_MS
from protocol.messages.base import Message, from_edge
from protocol.messages.spot import CandleSeen, HistorySeen, RequestHistory
from protocol.ports import FeedLost

START = 1_767_571_200_000
BTC = "BTC/USD"


def candle(number: int, close: float = 100.0) -> CandleSeen:
    """A finished candle, the `number`-th quarter of an hour."""
    opened = START + number * STEP_MS
    prices = {"open": 100.0, "high": 101.0, "low": 99.0, "close": close, "volume": 1.0}
    return from_edge(CandleSeen, START, opened, symbol=BTC, timeframe="15m", open_time_ms=opened, final=True, **prices)


class Spot:
    """A spot market with the candles 0, 1, 4 and 6, whose trades endpoint answers `traded`."""

    def __init__(self, traded: Sequence[bool | Exception | None]) -> None:
        self.answers = list(traded)
        self.asked: list[tuple[int, int]] = []

    async def history(self, *_: Any) -> Sequence[CandleSeen]:
        """Two holes: 2 and 3, then 5."""
        return [candle(0), candle(1, close=99.5), candle(4), candle(6)]

    async def traded(self, _symbol: str, from_ms: int, to_ms: int) -> bool | None:
        """The next answer."""
        self.asked.append(((from_ms - START) // STEP_MS, (to_ms - START) // STEP_MS))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


async def fetched(spot: Spot) -> tuple[list[CandleSeen], int | None, list[str]]:
    """What the hands bring: candles, up to which one they are whole, and the alerts."""
    alerts: list[str] = []
    world: Any = SimpleNamespace(
        spot=spot,
        clock=SimpleNamespace(now_us=lambda: START * 1000),
        alert=lambda _sender, code, _severity, _text: alerts.append(code),
    )
    wish = from_edge(RequestHistory, START, symbol=BTC, timeframe="15m", since_ms=START)
    brought: Sequence[Message] = await actor.hands(world, wish)
    ends = [m.newest_open_time_ms for m in brought if isinstance(m, HistorySeen)]
    proven = None if not ends or ends[0] is None else (ends[0] - START) // STEP_MS
    return [m for m in brought if isinstance(m, CandleSeen)], proven, alerts


def numbers(candles: Sequence[CandleSeen]) -> list[int]:
    """Which quarters of an hour."""
    return [(c.open_time_ms - START) // STEP_MS for c in candles]


async def test_an_interval_without_trades_is_filled_once_that_is_confirmed() -> None:
    """Flat at the last close, no volume, each with an id of its own; the trades of exactly the holes were asked for."""
    spot = Spot([False, False])
    candles, proven, alerts = await fetched(spot)
    assert (numbers(candles), proven, alerts) == ([0, 1, 2, 3, 4, 5, 6], 6, [])
    assert spot.asked == [(2, 4), (5, 6)]
    filled = candles[2]
    assert (filled.open, filled.high, filled.low, filled.close, filled.volume) == (99.5, 99.5, 99.5, 99.5, 0.0)
    assert len({c.id for c in candles}) == 7


async def test_an_interval_with_trades_stays_missing() -> None:
    """Nothing is made up, nothing from there on is proven, and a person hears of it."""
    candles, proven, alerts = await fetched(Spot([False, True]))
    assert (numbers(candles), proven, alerts) == ([0, 1, 2, 3, 4, 6], 4, ["BAR_GAP"])


async def test_a_source_that_cannot_tell_leaves_it_to_the_policy() -> None:
    """As a recorded market does."""
    assert await fetched(Spot([None, None])) == ([candle(0), candle(1, close=99.5), candle(4), candle(6)], 6, [])


@pytest.mark.parametrize("failing", [0, 1])
async def test_without_an_answer_nothing_is_believed(failing: int) -> None:
    """The trades endpoint fails: the whole fetch does, and is asked for again."""
    answers: list[bool | Exception | None] = [False, False]
    answers[failing] = FeedLost("503")
    assert await fetched(Spot(answers)) == ([], None, ["BAR_GAP"])

"""Orders that take their time to the exchange: both drivers, skipping or not, and in whatever order tasks are run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from trio._core import _run

from actors.modes.backtest import MemoryBook, by_loop, by_trio
from config.settings import Settings
from protocol.messages.base import Message
from protocol.messages.futures import Filled, OrderAdmitted, OrderRejected, TradeClosed
from sim.loop import Result
from sim.market.tape import Tape
from sim.market.track import BAR_US
from tests.fakes.hasty import assert_same, hasty, nobody

pytestmark = pytest.mark.slow

DEAR: dict[str, Any] = {
    "latency_ms": 700, "fee_schedule": "kraken", "spread_range_share": "0.05", "slippage_spread_share": "0.5",
    "depth_usd": "3000", "slippage_range_share": "0.02", "slippage_size_pct": "0.5",
}  # fmt: skip
"""Every condition of the market at once."""


def market_of(settings: Settings, bars: int = 52) -> Tape:
    """Half a day with two trades in it."""
    whole = Tape.synthetic(settings, days=1, history_days=20)
    return Tape(list(whole.tracks.values()), settings, whole.start_us, whole.start_us + bars * BAR_US)


def setting(**market: Any) -> Settings:
    """The short backtest under other conditions."""
    settings = hasty(2, {}, {})
    return settings.model_copy(update={"market": settings.market.model_validate({"seed": 2, **market})})


def shell(settings: Settings, seed: int = 0) -> Result:
    """The shell of live trading, its tasks shuffled by a seed."""
    _run._ALLOW_DETERMINISTIC_SCHEDULING = True
    _run._r.seed(seed)
    return by_trio(settings, market_of(settings), nobody)


def first_fill_after(result: Result) -> int:
    """Microseconds from the door's yes to an entry until its fill."""
    admitted = next(m for m in result.messages if isinstance(m, OrderAdmitted))
    return int(next(m for m in result.messages if isinstance(m, Filled)).at - admitted.at)


@pytest.mark.parametrize("latency_ms", [1, 400, 1700])
def test_both_drivers_wait_as_long(latency_ms: int) -> None:
    """Message for message the same, and the fill comes exactly so long after the decision."""
    settings = setting(latency_ms=latency_ms)
    loop = by_loop(settings, market_of(settings), nobody)
    assert first_fill_after(loop) == latency_ms * 1000
    assert len(loop.of(TradeClosed)) >= 2
    assert shell(settings).digest() == loop.digest()


def test_without_latency_nothing_waits() -> None:
    """By default an order meets the price of the moment it was decided on."""
    settings = setting()
    assert settings.market.latency_ms == 0
    assert first_fill_after(by_loop(settings, market_of(settings), nobody)) == 0


def test_an_entry_that_comes_too_late_is_refused_by_the_exchange() -> None:
    """It carries the moment it is to be processed before."""
    settings = setting(latency_ms=2000)
    hurry = settings.execution.model_copy(update={"process_before_s": 1.5})
    settings = settings.model_copy(update={"execution": hurry})
    seen: list[OrderRejected] = []
    tape = market_of(settings)

    def note(_actor: str, message: Message, _answers: Sequence[Message]) -> None:
        if isinstance(message, OrderRejected):
            seen.append(message)

    result = by_loop(settings, tape, nobody, MemoryBook(copy=note))
    assert not result.of(Filled)
    assert {rejected.status for rejected in seen} == {"wouldProcessAfterSpecifiedTime"}


@pytest.mark.parametrize("seed", [2, 5])
def test_skipping_changes_nothing_under_any_conditions(seed: int) -> None:
    """Latency, fee tiers, a spread and a slippage that follow the market: to the last digit, with far fewer moments played."""
    settings = hasty(seed, {}, {})
    settings = settings.model_copy(update={"market": settings.market.model_validate({"seed": seed, **DEAR})})
    tape = Tape.synthetic(settings, days=4, history_days=20)
    skipped, visited = by_loop(settings, tape, nobody), by_loop(settings, tape, nobody, skip=False)
    assert len(visited.of(TradeClosed)) >= 2
    assert_same(skipped, visited)
    assert skipped.moments < visited.moments / 5
    assert skipped.digest() != by_loop(hasty(seed, {}, {}), tape, nobody).digest()


@pytest.mark.parametrize("latency_ms", [0, 700])
def test_the_order_in_which_tasks_run_changes_nothing(latency_ms: int) -> None:
    """Trio shuffles what is ready at the same time: whatever the shuffle, the result is the plain loop's, partial fills and all."""
    settings = setting(**DEAR | {"latency_ms": latency_ms})
    loop = by_loop(settings, market_of(settings), nobody)
    assert len(loop.of(Filled)) > 2 * len(loop.of(TradeClosed))
    assert {shell(settings, seed).digest() for seed in (1, 2, 3)} == {loop.digest()}

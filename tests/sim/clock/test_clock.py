"""Clocks of the simulation: time passes only while everything waits, and at the pace asked for."""

from __future__ import annotations

import socket
import time
from math import inf

import pytest
import trio

from protocol.units import SECOND_US
from sim.clock import PacedClock, SimulatedClock, SystemClock

DAY_S = 86_400.0


def test_sleeping_at_infinite_speed_lands_exactly_on_every_deadline() -> None:
    """A day of sleeps passes at once and each wake-up is at its exact deadline."""

    async def main() -> list[float]:
        seen = []
        for hour in range(1, 25):
            await trio.sleep_until(hour * 3600.0)
            seen.append(trio.current_time())
        return seen

    assert trio.run(main, clock=PacedClock(inf)) == [hour * 3600.0 for hour in range(1, 25)]


@pytest.mark.parametrize("speed", [inf, 1e6, 1000.0])
def test_computation_takes_no_simulated_time(speed: float) -> None:
    """Time stands still between two looks of a running task, whatever it computes and however often it yields."""

    async def main() -> None:
        await trio.sleep(1)
        before = trio.current_time()
        began = time.perf_counter()  # noqa: TID251  real work is the subject here
        while time.perf_counter() - began < 0.005:  # noqa: TID251
            await trio.lowlevel.checkpoint()
        assert trio.current_time() == before

    trio.run(main, clock=PacedClock(speed))


def test_time_reaches_a_deadline_exactly_at_finite_speed() -> None:
    """Pacing changes how long a wait really takes, not when it ends in simulated time."""

    async def main() -> float:
        await trio.sleep_until(2.5)
        return trio.current_time()

    assert trio.run(main, clock=PacedClock(1000.0)) == 2.5


def test_a_wait_ended_by_a_socket_passes_only_the_time_waited() -> None:
    """Real I/O ends a wait long before its deadline, and no simulated timeout fires because of it."""

    async def main(speed: float) -> bool:
        left, right = socket.socketpair()
        with left, right:
            reader, writer = trio.socket.from_stdlib_socket(left), trio.socket.from_stdlib_socket(right)
            async with trio.open_nursery() as nursery:
                with trio.move_on_after(DAY_S) as scope:
                    nursery.start_soon(writer.send, b"x")
                    await reader.recv(1)
            return scope.cancelled_caught

    assert trio.run(main, 600.0, clock=PacedClock(600.0)) is False
    assert trio.run(main, inf, clock=PacedClock(inf)) is False


def test_all_tasks_blocked_can_be_awaited_at_finite_speed() -> None:
    """`wait_all_tasks_blocked` works under pacing and takes far less than the next deadline."""

    async def main() -> float:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep, DAY_S)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        return trio.current_time()

    assert trio.run(main, clock=PacedClock(1.0)) < DAY_S


def test_a_speed_that_is_not_positive_is_refused() -> None:
    """Speed 0 would never wake anyone."""
    with pytest.raises(ValueError, match="speed"):
        PacedClock(0)


def test_simulated_now_is_the_epoch_plus_trio_time_in_whole_microseconds() -> None:
    """`now_us` and `trio_time` are inverse to each other on the microsecond grid, years from the start."""
    epoch = 1_767_571_200 * SECOND_US

    async def main() -> None:
        clock = SimulatedClock(epoch)
        assert clock.now_us() == epoch
        for offset in (1, 2, 1_000_003, 700 * 86_400 * SECOND_US + 7):
            await trio.sleep_until(clock.trio_time(epoch + offset))
            assert clock.now_us() == epoch + offset

    trio.run(main, clock=PacedClock(inf))


def test_the_system_clock_never_goes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a step back of the system's time it runs at half the pace until the system has caught up."""
    told = iter([5_000_000, 3_000_000, 4_000_000, 5_000_000, 7_000_000])
    steady = iter([9_000_000, 9_000_000, 10_000_000, 11_000_000, 13_000_000])
    monkeypatch.setattr(time, "time_ns", lambda: next(told))
    monkeypatch.setattr(time, "monotonic_ns", lambda: next(steady))
    clock = SystemClock()
    assert [clock.now_us() for _ in range(5)] == [5_000, 5_000, 5_500, 6_000, 7_000]

"""The clock of a simulation: time goes from deadline to deadline, alarms among them."""

from __future__ import annotations

import trio

from sim.faults.host import LeapingClock


def test_alarms_and_deadlines_come_in_the_order_of_their_moments() -> None:
    """Whoever waits by `sleep_until` wakes between those who wait by `trio.sleep`, at the very moment asked for."""
    clock = LeapingClock()
    woke: list[tuple[str, float]] = []

    async def by_trio(seconds: float) -> None:
        await trio.sleep(seconds)
        woke.append(("trio", trio.current_time()))

    async def by_alarm(seconds: float) -> None:
        await clock.sleep(seconds)
        woke.append(("alarm", trio.current_time()))

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            for seconds in (3.0, 1.0):
                nursery.start_soon(by_trio, seconds)
            for seconds in (4.0, 2.0, 0.0):
                nursery.start_soon(by_alarm, seconds)

    trio.run(main, clock=clock)
    assert woke == [("alarm", 0.0), ("trio", 1.0), ("alarm", 2.0), ("trio", 3.0), ("alarm", 4.0)]


def test_a_cancelled_alarm_wakes_nobody() -> None:
    """Its task is gone; the others still come."""
    clock = LeapingClock()

    async def main() -> float:
        with trio.move_on_after(1) as given_up:
            await clock.sleep(5)
        assert given_up.cancelled_caught
        await clock.sleep(10)
        return trio.current_time()

    assert trio.run(main, clock=clock) == 11.0


def test_after_a_leap_everything_is_late() -> None:
    """Time passes in which nothing runs; what was due meanwhile wakes at its end."""
    clock = LeapingClock()
    woke: list[float] = []

    async def each_second() -> None:
        for _ in range(2):
            await clock.sleep(1)
            woke.append(trio.current_time())

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(each_second)
            await trio.sleep(0.5)
            clock.leap(10)

    trio.run(main, clock=clock)
    assert woke == [10.5, 11.5]

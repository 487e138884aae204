"""Trio's scheduler under a seed: the order of ready tasks, and when the operating system is asked for news. Knows no storm."""

from __future__ import annotations

from collections.abc import Iterator, MutableSequence, Sequence
from contextlib import contextmanager
from typing import Any, Final

import trio

ASKED_EVERY: Final = 1_000
"""Rounds of the scheduler between two looks at the operating system."""


@contextmanager
def scheduled(seed: int) -> Iterator[None]:
    """Trio's order of ready tasks, as its own hook for Hypothesis sets it, and nothing outside to wait for. The names are private: trio
    is pinned.
    """
    run: Any = trio._core._run
    names = "_ALLOW_DETERMINISTIC_SCHEDULING", "_r", "TheIOManager", "Instruments"
    usual = [getattr(run, name) for name in names]
    ours = True, Shuffler(seed), _deaf(run.TheIOManager), _quick(run.Instruments)
    try:
        for name, value in zip(names, ours, strict=True):
            setattr(run, name, value)
        yield
    finally:
        for name, value in zip(names, usual, strict=True):
            setattr(run, name, value)


def _deaf(manager: Any) -> Any:
    """Trio's way to the operating system, asked once in so many rounds: nothing in a storm waits for it but Ctrl-C."""

    class Deaf(manager):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self._rounds = 0

        def get_events(self, timeout: float) -> Any:
            """What has happened outside."""
            self._rounds += 1
            return super().get_events(timeout) if timeout or self._rounds % ASKED_EVERY == 0 else ()

    return Deaf


def _quick(instruments: Any) -> Any:
    """Trio's collection of instruments as a real dictionary: it is asked forty times a second, and trio's own answers in Python."""

    class Quick(dict[str, Any]):
        add_instrument, remove_instrument, call = (
            instruments.add_instrument, instruments.remove_instrument, instruments.call,
        )  # fmt: skip
        data = property(lambda self: self)
        """Where those three look."""

        def __init__(self, incoming: Sequence[Any]) -> None:
            super().__init__(_all={})
            for instrument in incoming:
                self.add_instrument(instrument)

    return Quick


class Shuffler:
    """The one thing that trio asks of its generator in a storm, ten times a second: Knuth's linear congruence is quick, and good enough."""

    def __init__(self, seed: int) -> None:
        self._state = seed

    def shuffle(self, tasks: MutableSequence[Any]) -> None:
        """Any order, in place."""
        if len(tasks) == 1:
            return  # most often
        for last in range(len(tasks) - 1, 0, -1):
            self._state = (self._state * 6364136223846793005 + 1442695040888963407) % (1 << 64)
            other = (self._state >> 32) % (last + 1)
            tasks[last], tasks[other] = tasks[other], tasks[last]

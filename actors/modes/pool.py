"""Calls in fresh processes of this machine, which end with the command that asked for them. Knows nothing of what is called.

Spawned, not forked: a worker must not inherit anything that could differ from run to run.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from multiprocessing import active_children, get_context, parent_process
from typing import Any, TypeVar

R = TypeVar("R")


def as_they_end(function: Callable[..., R], calls: Sequence[tuple[Any, ...]], workers: int) -> Iterator[tuple[int, R]]:
    """Place and result of each call, whichever ends first. Raises what a call raises; the others are not waited for."""
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_end_with_parent)
    try:
        with _deaf_to_ctrl_c():
            waiting = {pool.submit(function, *call): place for place, call in enumerate(calls)}
        for done in as_completed(waiting):
            yield waiting[done], done.result()
    except BaseException:
        for child in active_children():
            child.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def _deaf_to_ctrl_c() -> Iterator[None]:
    """Workers that start meanwhile are: a terminal's Ctrl-C reaches them too, and each would tell it by a traceback of its own."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _end_with_parent() -> None:
    """A command that is killed cannot end its workers, and they would wait for the next call for ever."""
    parent = parent_process()
    if parent is not None:
        threading.Thread(target=_end_after, args=(parent.join,), daemon=True).start()


def _end_after(wait: Callable[[], None]) -> None:
    wait()
    os._exit(1)

"""Many backtests side by side: in processes here, or on a dask cluster. Knows what a job is, not why there are several."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from typing import Any

import msgspec

from actors.modes.backtest import Sources, run_backtest
from actors.modes.pool import as_they_end
from config.settings import Settings

Progress = Callable[[int, int], None]

LEFT_OUT = ("trades", "open_trades", "filled")
"""Parts of a document that a comparison does not need: one run alone gives them."""


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One backtest: everything it needs, so that it can run in another process or on another machine that sees the files."""

    name: str
    settings: Settings
    sources: Sources = Sources()
    start_us: int | None = None
    end_us: int | None = None


class NoCluster(Exception):
    """The cluster cannot be used; the text says why."""


def carry_out(job: Job) -> dict[str, Any]:
    """The document of one job, without its trades. Raises BadCandleFile, BadPeriod."""
    document = run_backtest(
        job.settings,
        job.sources.only({pair.spot for pair in job.settings.symbols}),
        start_us=job.start_us,
        end_us=job.end_us,
        driver="loop",
    )
    return {"name": job.name, **{name: value for name, value in document.items() if name not in LEFT_OUT}}


def run_many(
    jobs: Sequence[Job], *, workers: int | None, scheduler: str | None, on_progress: Progress = lambda done, total: None
) -> list[dict[str, Any]]:
    """The documents in the order of the jobs, however they were carried out. Raises what a job raises, and NoCluster."""
    found: dict[int, dict[str, Any]] = {}
    carried = _on_cluster(jobs, scheduler) if scheduler is not None else _here(jobs, workers)
    on_progress(0, len(jobs))
    for place, document in carried:
        found[place] = document
        on_progress(len(found), len(jobs))
    return [found[place] for place in range(len(jobs))]


def _here(jobs: Sequence[Job], workers: int | None) -> Iterator[tuple[int, dict[str, Any]]]:
    """In fresh processes of this machine; a single worker is this process itself."""
    workers = min(workers or os.cpu_count() or 1, len(jobs))
    if workers == 1:
        yield from ((place, carry_out(job)) for place, job in enumerate(jobs))
        return
    yield from as_they_end(carry_out, [(job,) for job in jobs], workers)


def _on_cluster(jobs: Sequence[Job], scheduler: str) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        distributed: Any = import_module("distributed")
    except ImportError:
        raise NoCluster("--scheduler needs the extra `cluster`: pip install 'kraken-smc[cluster]'") from None
    try:
        client = distributed.Client(scheduler, timeout=10, set_as_default=False)
    except (OSError, ValueError) as error:
        raise NoCluster(f"--scheduler {scheduler}: {error}") from error
    with client:
        waiting = {client.submit(carry_out, job, pure=False): place for place, job in enumerate(jobs)}
        for future in distributed.as_completed(waiting, loop=client.loop):
            yield waiting[future], future.result()

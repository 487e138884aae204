"""The daemon as a storm runs it: the whole tree with its real clients, on a host that can fail it."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import structlog
import trio
from msgspec.structs import replace

from actors.door import Door
from actors.futures_feed.actor import booked_until
from actors.gate import Gate
from actors.gateway.dial import http_client
from actors.gateway.futures import FuturesGateway
from actors.gateway.secret import Secret
from actors.gateway.spot import SpotGateway
from actors.mailbox import Mailbox
from actors.modes.pool import as_they_end
from actors.shell import World
from actors.supervisor import Supervisor
from actors.tree import CHILDREN, LEASES, ROUTES
from protocol.kraken.endpoints import FUTURES_WS_PATH, SPOT_WS_PATH
from protocol.messages.base import Message
from protocol.units import BEHIND_S
from sim.faults.plan import plan_of
from sim.storm import Case, Host, Verdict, case_of, run_case

CLUSTER_WAIT_S = 10
TWICE_EACH = 50
"""One storm in so many is run twice."""


async def live(host: Host) -> None:
    """One life, until cancelled. Raises GaveUp when the supervisor does."""
    gate = Gate(LEASES, host.book.read(), host.gate_changed)
    async with http_client("http://venue", transport=host.transport()) as http:
        world = World(
            settings=host.settings,
            clock=host.clock,
            spot=SpotGateway(http, partial(host.connect, SPOT_WS_PATH), host.clock),
            futures=FuturesGateway(
                http,
                partial(host.connect, FUTURES_WS_PATH),
                host.clock,
                key=host.venue.key,
                secret=Secret(host.venue.secret),
                settings=host.settings.execution,
                fills_until=booked_until(host.book),
            ),
            journal=host.book,
            latch_store=host.book,
            gate=gate,
            door=Door(host.settings, gate),
            routes=ROUTES,
            jitter=np.random.default_rng(7).random,
            kill_requested=host.kill_requested,
            kill_hint=host.kill_hint,
            watch=host.watch,
            tell=host.tell,
            behind_s=BEHIND_S,
            mailboxes=Boxes(host),
        )
        supervisor = Supervisor(CHILDREN, world)
        host.supervised(supervisor.crash, gate.closed_by, lambda: max(map(len, world.mailboxes.values()), default=0))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_keep_house, world, host)
            await supervisor.run()


class Boxes(dict[str, Mailbox]):
    """Mailboxes whose owner may be held up: a child's step waits for nothing, so this is where it can be slow or hang."""

    def __init__(self, host: Host) -> None:
        super().__init__()
        self._host = host

    def __setitem__(self, name: str, mailbox: Mailbox) -> None:
        take = mailbox.get

        async def get() -> Message:
            message = await take()
            await self._host.pause(name)
            return message

        if self._host.may_hamper:
            mailbox.get = get  # type: ignore[method-assign]
        super().__setitem__(name, mailbox)


async def _keep_house(world: World, host: Host) -> None:
    """Once a second alerts that were held are told and the journal is flushed, as `modes.daemon` does it."""
    before = world.look()
    while True:
        await host.sleep(1)
        before = world.notice(before, 1)
        world.tell_held()
        world.journal.flush()


def one_storm(seed: int, profile: str, safety_s: float) -> Verdict:
    """The storm of one seed; what a worker process does."""
    quiet()
    return run_case(case_of(seed, profile, safety_s), live)


def first_failure(
    seeds: Iterable[int], faults: Sequence[Mapping[str, object]], safety_s: float
) -> dict[str, Any] | None:
    """The first seed that breaks an invariant under these faults (rows of a plan), and which; None when all pass."""
    quiet()
    for seed in seeds:
        plan = plan_of({"seed": seed, "faults": [dict(row) for row in faults]})
        verdict = run_case(Case(seed=seed, plan=plan, safety_s=safety_s), live)
        if not verdict.passed:
            invariant, _, seen = verdict.failures[0]
            return {"seed": seed, "invariant": invariant, "seen": seen}
    return None


def quiet() -> None:
    """The clients log each frame they refuse: in a storm there are thousands, and the journal has what matters."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))


def many_storms(
    seeds: Sequence[int], profile: str, safety_s: float, jobs: int, scheduler: str | None = None
) -> Iterator[Verdict]:
    """Verdicts as they come: in this process, in `jobs` processes, or on the dask cluster whose `scheduler` is named.

    Raises ConnectionError when there is no cluster at that address.
    """
    if scheduler is not None:
        yield from _on_cluster(seeds, profile, safety_s, scheduler)
    elif jobs == 1:
        for seed in seeds:
            yield one_storm(seed, profile, safety_s)
    else:
        for _, verdict in as_they_end(one_storm, [(seed, profile, safety_s) for seed in seeds], jobs):
            yield verdict


def compared(verdicts: Iterable[Verdict], profile: str, safety_s: float, each: int = TWICE_EACH) -> Iterator[Verdict]:
    """The verdicts, one in `each` of them run once more in a process of its own, whose hashing differs: invariant 30."""
    for number, verdict in enumerate(verdicts, 1):
        if number % each:
            yield verdict
            continue
        for _, again in as_they_end(one_storm, [(verdict.seed, profile, safety_s)], 1):
            yield same(verdict, again)


def same(verdict: Verdict, again: Verdict) -> Verdict:
    """The first, broken when the second left another trace."""
    if verdict.trace == again.trace:
        return verdict
    seen = f"run again, the trace is {again.trace} and was {verdict.trace}"
    return replace(verdict, failures=((30, verdict.simulated_s, seen), *verdict.failures))


def _on_cluster(seeds: Sequence[int], profile: str, safety_s: float, scheduler: str) -> Iterator[Verdict]:
    from distributed import Client
    from distributed import as_completed as each_completed

    try:
        client: Any = Client(scheduler, timeout=CLUSTER_WAIT_S)  # type: ignore[no-untyped-call]
    except (OSError, TimeoutError, ValueError) as error:
        raise ConnectionError(f"no dask scheduler answers at {scheduler}: {error}") from error
    with client:
        running = client.map(one_storm, seeds, profile=profile, safety_s=safety_s, pure=False)
        for done in each_completed(running):  # type: ignore[no-untyped-call]
            yield done.result()

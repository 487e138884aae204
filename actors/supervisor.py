"""Starts the children in order, watches them, and answers a death by rest_for_one.

The child that failed and every child after it (its feeders, by the tree's order) stop in reverse and start again in
order; what stands before it, and so guards an open position, is never touched. Restarts back off; more than the
child's intensity escalates. Few deaths each hour are no health either: so many within a day halt entries until a person resumes.
Knows no message beyond a kill request and an alert.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from math import inf

import trio

from actors.connection import backoff_s, describe
from actors.mailbox import Mailbox
from actors.shell import ChildSpec, World, live
from protocol.messages.base import from_edge
from protocol.messages.control import KillRequested, Latch
from protocol.units import DAY_US, seconds_us

FAILURES_MAX = 64
DEATHS_A_DAY = 5
"""Of one child in a rolling day: what heals that often is broken."""
HURRY_S = 5.0
"""Between two pauses that are cut short: who goes on dying must not connect each second for as long as a kill lasts."""
Failure = tuple[str, int, Exception]
"""Who, in which life, and of what."""


class GaveUp(Exception):
    """A child whose failure must end the process failed too often; the host restarts it, latched."""


class StopOverrun(Exception):
    """A child did not stop within its budget."""


class Supervisor:
    """Runs `specs`, downstream first, over `world`."""

    def __init__(self, specs: Sequence[ChildSpec], world: World) -> None:
        self._specs = list(specs)
        self._world = world
        self._scopes: dict[str, trio.CancelScope] = {}
        self._ended: dict[str, trio.Event] = {}
        self._deaths: dict[str, deque[int]] = {spec.name: deque() for spec in specs}
        self._day = {spec.name: deque[int](maxlen=DEATHS_A_DAY) for spec in specs}
        self._gave_up = set[str]()
        self._pause: trio.CancelScope | None = None
        self._hurried_at = -inf
        world.hurry = self._hurry
        self._failed_send, self._failed = trio.open_memory_channel[Failure](FAILURES_MAX)

    async def run(self) -> None:
        """Keep the tree alive until cancelled; then stop it in reverse order. Raises GaveUp."""
        self._world.gate.need_reconciliation(self._world.clock.now_us())
        for spec in self._specs:
            self._world.mailboxes[spec.name] = Mailbox(spec.name)
        async with trio.open_nursery() as nursery:
            try:
                await self._start_from(0, nursery)
                while True:
                    await self._answer(*await self._failed.receive(), nursery)
            finally:
                with trio.CancelScope(shield=True):
                    await self._stop_from(0)

    def crash(self, name: str, error: Exception) -> bool:
        """Let child `name` die of `error`, as a fault would; whether it lived. KeyError: it has never started."""
        if self._scopes[name].cancel_called or self._ended[name].is_set():
            return False
        self._scopes[name].cancel()
        self._failed_send.send_nowait((name, self._world.lives[name], error))
        return True

    async def _start_from(self, index: int, nursery: trio.Nursery) -> None:
        for spec in self._specs[index:]:
            await nursery.start(self._child, spec)

    async def _child(self, spec: ChildSpec, task_status: trio.TaskStatus[None]) -> None:
        ended = self._ended[spec.name] = trio.Event()
        try:
            with trio.CancelScope() as scope:
                self._scopes[spec.name] = scope
                task_status.started()
                await live(spec, self._world)
        except Exception as error:
            self._failed_send.send_nowait((spec.name, self._world.lives[spec.name], error))
        finally:
            ended.set()

    async def _stop_from(self, index: int) -> None:
        for spec in reversed(self._specs[index:]):
            if spec.name not in self._scopes:
                continue
            self._scopes[spec.name].cancel()
            with trio.move_on_after(spec.stop_s) as budget:
                await self._ended[spec.name].wait()
            if budget.cancelled_caught:
                raise StopOverrun(f"{spec.name} did not stop within {spec.stop_s} s")

    async def _answer(self, name: str, life: int, error: Exception, nursery: trio.Nursery) -> None:
        if life != self._world.lives[name]:
            return  # it has restarted since, with a child that failed before it
        index = self._place(name)
        spec = self._specs[index]
        now = self._world.clock.now_us()
        deaths = self._deaths[name]
        deaths.append(now)
        while deaths[0] <= now - seconds_us(spec.period_s):
            deaths.popleft()
        halt = f"supervisor.{name}"
        self._world.gate.halt(halt, f"{name} is restarting")
        self._world.alert(
            "supervisor", "CHILD_RESTART", "warning", f"{name} failed and restarts with its feeders: {describe(error)}"
        )
        self._count_day(name, now)
        await self._stop_from(index)
        if any(s.guards for s in self._specs[index:]):
            self._world.gate.need_reconciliation(now)
        escalated = len(deaths) > spec.restarts
        if escalated:
            self._escalate(spec, now, error)
        guard = await self._failed_before(index, backoff_s(len(deaths), self._world.jitter()))
        if guard is None:
            await self._start_from(index, nursery)
        else:
            await self._answer(*guard, nursery)  # which starts this one, too
        if escalated and spec.escalation == "halt":
            self._gave_up.add(name)
        if name not in self._gave_up:
            self._world.gate.resume(halt)

    def _place(self, name: str) -> int:
        return next(i for i, spec in enumerate(self._specs) if spec.name == name)

    async def _failed_before(self, index: int, within_s: float) -> Failure | None:
        """The failure of a child that stands before `index`, if one comes within the pause: a guard must not wait for its feeder's."""
        try:
            with trio.move_on_after(within_s) as self._pause:
                while True:
                    failure = await self._failed.receive()
                    name, life, _ = failure
                    if self._place(name) < index and life == self._world.lives[name]:
                        return failure
        finally:
            self._pause = None
        return None

    def _hurry(self) -> None:
        """The kill switch wants to read, which it does by a feed: the pause that is on ends, unless one was cut short a moment ago."""
        now = trio.current_time()
        if self._pause is not None and now >= self._hurried_at + HURRY_S:
            self._hurried_at = now
            self._pause.cancel()

    def _count_day(self, name: str, now: int) -> None:
        """Halt entries at the last death that a day may have. While that holds nothing is counted: after a person's word it begins anew."""
        halt, deaths = f"unstable.{name}", self._day[name]
        if halt in self._world.gate.halts():
            return
        deaths.append(now)
        if len(deaths) == DEATHS_A_DAY and deaths[0] > now - DAY_US:
            deaths.clear()
            text = f"{name} failed {DEATHS_A_DAY} times in 24 h"
            self._world.gate.halt(halt, text)
            way_out = f"entries are halted until `entries resume --key {halt}`"
            self._world.alert("supervisor", "CHILD_ESCALATED", "critical", f"{text}: {way_out}")

    def _escalate(self, spec: ChildSpec, now: int, error: Exception) -> None:
        text = f"{spec.name} failed more than {spec.restarts} times in {spec.period_s:.0f} s"
        self._world.alert("supervisor", "CHILD_ESCALATED", "critical", f"{text}: {spec.escalation}")
        if spec.escalation == "exit":
            # Nobody is left to do it: the next life finds the latch and flattens.
            self._world.latch(from_edge(Latch, now, spec.name, now, reason=text, by="supervisor"))
            self._world.gate.latch()
            way_out = "the kill switch is latched, and the next start closes what is open"
            raise GaveUp(f"{text}, the last time of {describe(error)}: {way_out}") from error
        if spec.escalation == "kill":
            request = from_edge(KillRequested, now, spec.name, now, reason=text, by="supervisor")
            self._world.mailboxes["kill_switch"].put(request)

"""Which faults are in force now: started and ended by the clock and by named moments, asked at every seam.

Each fault draws its chances from a stream of its own, so leaving one out changes nothing for the others. Knows no seam's
details: those register with `on` what an event does, and ask `active` for what goes on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf

import numpy as np
import trio

from protocol.units import SECOND_US
from sim.faults.catalogue import CATALOGUE, Seam, Value
from sim.faults.plan import Fault, Plan

Hook = Callable[["Active"], bool | None]
"""False: there was nothing to strike."""


@dataclass
class Active:
    """A fault in force. `until_us` is when it ends by itself; `memory` belongs to the seam."""

    fault: Fault
    place: int
    rng: np.random.Generator
    began_us: int
    until_us: float
    struck: int = 0
    memory: dict[str, object] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        return self.fault.fault

    def text(self, name: str) -> str:
        """A parameter that is a word."""
        return str(self.fault.params[name])

    def number(self, name: str) -> float:
        """A parameter that is a number."""
        return float(self.fault.params[name])

    def get(self, name: str, default: Value) -> Value:
        """A parameter that this kind may lack."""
        return self.fault.params.get(name, default)


class Faults:
    """A plan as it unfolds. `now_us` is the exchange's clock; nothing happens before `run`.

    `injected` counts strikes by kind. `heal` ends every fault for good.
    """

    def __init__(self, plan: Plan, now_us: Callable[[], int]) -> None:
        self.plan = plan
        self.now_us = now_us
        self.injected: Counter[str] = Counter()
        self.healed = False
        self.under_way: dict[int, int] = {}
        """Requests that left and have no answer yet: number -> when."""
        self.nursery: trio.Nursery | None = None
        self._by_seam: dict[str, list[Active]] = {}
        self.calm = True
        """Whether nothing at all is in force: asked before any seam is."""
        self._waiting = dict(enumerate(plan.faults))
        self._due: dict[int, int] = {}
        self._places = len(plan.faults)
        self._changed = trio.Event()
        self._begin: dict[str, Hook] = {}
        self._end: dict[str, Hook] = {}

    # --- asked at the seams -----------------------------------------------------------------------------------

    def active(self, seam: Seam) -> list[Active]:
        """What is in force at a seam, in the plan's order. Empty almost always."""
        return self._by_seam.get(seam, [])

    def strikes(self, active: Active) -> bool:
        """Draw this fault's chance once; counts it."""
        fault = active.fault
        if fault.times and active.struck >= fault.times:
            return False
        if fault.p < 1 and active.rng.random() >= fault.p:
            return False
        active.struck += 1
        self.injected[fault.fault] += 1
        return True

    def missed(self, active: Active) -> None:
        """What was counted last found nothing to change after all."""
        active.struck -= 1
        self.injected[active.kind] -= 1

    def reached(self, moment: str) -> None:
        """A named moment has come; what waits for it is set off at its first occurrence."""
        if self.healed:
            return
        now = self.now_us()
        for place, fault in list(self._waiting.items()):
            if fault.after == moment and place not in self._due:
                self._arm(place, now)
        self._advance()

    def on(self, kind: str, begin: Hook | None = None, end: Hook | None = None) -> None:
        """What a fault of this kind does when it begins and when it ends, beside being consulted."""
        if begin is not None:
            self._begin[kind] = begin
        if end is not None:
            self._end[kind] = end

    # --- time passes ------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """The plan's time 0 is now."""
        now = self.now_us()
        for place, fault in self._waiting.items():
            if not fault.after:
                self._arm(place, now)
        self.reached("start")

    async def run(self, *, at_once: bool = True, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Start and end faults at their moments, until cancelled. Not `at_once`: none before `begin`."""
        async with trio.open_nursery() as nursery:
            self.nursery = nursery
            task_status.started()
            if at_once:
                self.begin()
            while True:
                self._advance()
                self._changed = trio.Event()
                ends = [active.until_us for row in self._by_seam.values() for active in row]
                next_us = min([*self._due.values(), *ends], default=inf)
                with trio.move_on_after(max(0.0, (next_us - self.now_us()) / SECOND_US)):
                    await self._changed.wait()

    def add(self, fault: Fault) -> None:
        """One more, its time counted from now."""
        place = self._places = self._places + 1
        self._waiting[place] = fault
        if not fault.after:
            self._arm(place, self.now_us())
        self._advance()

    def in_force(self) -> list[Active]:
        """All that goes on, in the plan's order."""
        return sorted((active for row in self._by_seam.values() for active in row), key=lambda active: active.place)

    def waiting(self) -> list[Fault]:
        """What has not begun."""
        return list(self._waiting.values())

    def heal(self) -> None:
        """Every fault ends now, and none begins any more."""
        self.healed = True
        self.clear()

    def clear(self) -> None:
        """Every fault ends now, and none that waits begins."""
        self._waiting.clear()
        self._due.clear()
        for row in self._by_seam.values():
            for active in row:
                active.until_us = -inf
        self._advance()
        self._changed.set()

    def _arm(self, place: int, from_us: int) -> None:
        self._due[place] = from_us + round(self._waiting[place].at_s * SECOND_US)
        self._changed.set()

    def _advance(self) -> None:
        now = self.now_us()
        for seam, row in list(self._by_seam.items()):
            over = [active for active in row if active.until_us <= now]
            if over:
                self._by_seam[seam] = [active for active in row if active.until_us > now]
                self.calm = not any(self._by_seam.values())
            for active in over:
                if active.kind in self._end:
                    self._end[active.kind](active)
        # One by one: what a fault does when it begins may be a named moment that sets off the next.
        while due := sorted(place for place, at in self._due.items() if at <= now):
            del self._due[due[0]]
            self._start(due[0], self._waiting.pop(due[0]), now)

    def _start(self, place: int, fault: Fault, now: int) -> None:
        until = inf if fault.for_s is None else now + fault.for_s * SECOND_US
        active = Active(fault, place, np.random.default_rng([self.plan.seed, place, 3]), now, until)
        spec = CATALOGUE[fault.fault]
        if fault.fault in self._begin and self._begin[fault.fault](active) is not False:
            self.injected[fault.fault] += 1
        row = self._by_seam.setdefault(spec.seam, [])
        row.append(active)
        self.calm = False
        row.sort(key=lambda other: other.place)
        if until < inf:
            self._changed.set()

"""Faults of host, process, disk and person: what each does to the daemon of a storm.

Registers with `faults` what happens when one begins; what a fault means while it lasts is asked by whoever stands at that seam (`Book`,
`HostClock`, `pause`). Knows the daemon as something that starts, dies and has children by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from itertools import count
from typing import Any, Final, Protocol

import trio

from config.settings import Settings
from protocol.units import SECOND_US
from sim.faults.host import Disk, Kept, Process
from sim.faults.timeline import Active, Faults, Hook

LIFE: Final[ContextVar[int]] = ContextVar("life", default=0)
"""Which life of the daemon a task belongs to; 0: none, it is the world's."""
CHILD_DOWN: Final = frozenset({"actor.hang", "sched.slow"})
"""Faults that hold up a child."""
DIES_OF: Final = "storm"
"""What the error says of which a fault lets a child die."""
BACK_S: Final = 0.2
"""So often it is looked whether a child that is to die again is back: the supervisor takes ever longer."""


class Daemon(Protocol):
    """The storm as these faults see it."""

    faults: Faults
    disk: Disk
    process: Process
    settings: Settings
    asked_to_kill: str | None

    @property
    def alive(self) -> bool:
        """Whether a process lives."""
        ...

    def crash_child(self, name: str, error: Exception) -> bool:
        """A child dies, if it lives; whether it did."""
        ...

    def end_process(self, *, killed: bool) -> None:
        """The process ends now: killed, or asked to."""
        ...

    def leap(self, seconds: float, *, asleep: bool = False) -> None:
        """Time passes in which nothing runs, the host's steady clock neither while it is `asleep`."""
        ...

    def forget(self) -> None:
        """What was written down until now will not be read again."""
        ...

    def roll_back(self, to_us: int) -> None:
        """The disk is an old copy."""
        ...

    def acknowledge(self) -> None:
        """A person acknowledges the latch: refused while anything is open."""
        ...


class Hosting:
    """The table of these faults. `mutant` is a setting that the next start finds changed."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._faults = daemon.faults
        self.mutant: tuple[str, str] | None = None
        begins: dict[str, Hook] = {
            "actor.raise": self._child_dies,
            "host.exhaust": self._exhaust,
            "sched.block": self._leap,
            "host.suspend": self._sleep,
            "proc.crash": self._crash,
            "proc.term": self._terminate,
            "disk.flip": self._flip,
            "disk.misdirect": self._misdirect,
            "disk.rollback": self._roll_back,
            "cfg.mutate": self._mutate,
            "op.act": self._person_acts,
            **dict.fromkeys(
                ("clock.skew", "clock.step", "clock.drift"), lambda active: None
            ),  # `HostClock` asks; this counts
        }
        for kind, begin in begins.items():
            self._faults.on(kind, begin)

    async def pause(self, child: str) -> None:
        """What a child waits for before it takes its next message."""
        for active in self._faults.active("process"):
            if active.kind == "sched.slow" and active.text("who") == child:
                self._faults.strikes(active)
                await trio.sleep(active.number("d_s"))
        for active in self._faults.active("process"):
            if active.kind == "actor.hang" and active.text("who") == child:
                self._faults.strikes(active)
                await trio.sleep(max(0.0, (active.until_us - self._faults.now_us()) / SECOND_US))

    # --- process ------------------------------------------------------------------------------------------------

    def _child_dies(self, active: Active) -> None:
        assert self._faults.nursery is not None
        self._faults.nursery.start_soon(self._dies_again, active)

    async def _dies_again(self, active: Active) -> None:
        deaths = 0
        while deaths < active.number("n") and not self._faults.healed:
            deaths += self._daemon.crash_child(active.text("who"), RuntimeError(DIES_OF))
            await trio.sleep(BACK_S)

    def _exhaust(self, active: Active) -> None:
        """Without memory whoever asks for some next dies of it; without descriptors nothing new is opened (`frames.refused`)."""
        if active.text("what") == "mem":
            self._daemon.crash_child("strategy", MemoryError(DIES_OF))

    def _leap(self, active: Active) -> None:
        self._daemon.leap((active.until_us - active.began_us) / SECOND_US)

    def _sleep(self, active: Active) -> None:
        self._daemon.leap((active.until_us - active.began_us) / SECOND_US, asleep=True)

    def _crash(self, active: Active) -> bool:
        """At once it counts now; elsewhere once it has come to that."""
        lives = self._daemon.alive
        if active.text("hook") == "now":
            self._daemon.end_process(killed=True)
            return lives
        if active.text("hook") == "step":
            trio.lowlevel.add_instrument(Steps(self._daemon, active))
        return False

    def _terminate(self, active: Active) -> bool:
        lives = self._daemon.alive
        self._daemon.end_process(killed=False)
        return lives

    # --- disk ---------------------------------------------------------------------------------------------------

    def _flip(self, active: Active) -> bool:
        self._daemon.end_process(killed=True)
        memories = self._daemon.disk.memories
        before = dict(memories)
        for name in sorted(memories):
            body = bytearray(memories[name].body)
            for _ in range(int(active.number("n"))):
                body[int(active.rng.integers(len(body)))] ^= 1 << int(active.rng.integers(8))
            if body != memories[name].body:
                memories[name] = Kept("", bytes(body))
        return self._spoiled(before)

    def _misdirect(self, active: Active) -> bool:
        """Each finds what is the next one's; who is alone finds its own."""
        self._daemon.end_process(killed=True)
        memories = self._daemon.disk.memories
        before, names = dict(memories), sorted(memories)
        for name, other in zip(names, [*names[1:], *names[:1]], strict=True):
            memories[name] = before[other]
        return self._spoiled(before)

    def _spoiled(self, before: Mapping[str, Kept]) -> bool:
        """Whether what is remembered is not what it was: then nothing of it will be read again."""
        spoiled = self._daemon.disk.memories != before
        if spoiled:
            self._daemon.forget()
        return spoiled

    def _roll_back(self, active: Active) -> None:
        self._daemon.end_process(killed=True)
        self._daemon.roll_back(self._faults.now_us() - round(active.number("age_s") * SECOND_US))

    # --- configuration and the person -----------------------------------------------------------------------------

    def _mutate(self, active: Active) -> None:
        self.mutant = active.text("field"), active.text("kind")
        self._daemon.end_process(killed=False)

    def mutated(self) -> dict[str, Any] | None:
        """The settings as the next start finds them, once; None: as they were."""
        if self.mutant is None:
            return None
        (field, kind), self.mutant = self.mutant, None
        settings = self._daemon.settings.model_dump(mode="json")
        section, name = field.split(".")
        value = settings[section].pop(name)
        changed: dict[str, object] = {
            "times_100": float(value) * 100,
            "times_1000": float(value) * 1000,
            "negative": -float(value),
            "word": "${HOME}",
            "tag": {"!!python/object/apply:os.system": ["true"]},
            "renamed": value,
        }
        settings[section][f"{name}_new" if kind == "renamed" else name] = changed[kind]
        return settings

    def _person_acts(self, active: Active) -> None:
        for act in active.text("seq").split(","):
            if act == "kill":
                self._daemon.asked_to_kill = "a person asked for it"
            else:
                self._daemon.acknowledge()


class Steps(trio.abc.Instrument):
    """Kills the process at its `nth` task step from now on: every await of every task is such a place."""

    def __init__(self, daemon: Daemon, active: Active) -> None:
        self._daemon = daemon
        self._active = active
        self._left = count(int(active.number("nth")), -1)

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """One more, if it is the daemon's."""
        if not self._daemon.alive or self._daemon.faults.healed:
            if self._daemon.faults.healed:
                trio.lowlevel.remove_instrument(self)
            return
        if task.context.get(LIFE) == self._daemon.process.life and next(self._left) <= 1:
            trio.lowlevel.remove_instrument(self)
            self._daemon.faults.strikes(self._active)
            self._daemon.end_process(killed=True)

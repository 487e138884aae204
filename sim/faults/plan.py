"""A plan of faults: a flat record that is drawn from a seed or written by a person, printed, read back and shortened.

YAML or JSON. `faults` is a list; each has its name, `at_s` (seconds from the start of the run, or from the named moment
in `after`), `for_s`, `p`, `times`, and the parameters of its kind:

    seed: 7
    faults:
      - {fault: rest.drop_reply, after: entry.sent, for_s: 20, op: send}
      - {fault: net.part, at_s: 1800, for_s: 60, set: streams, how: silent}

Knows no seam. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import yaml

from sim.faults.catalogue import CATALOGUE, Value
from sim.faults.passages import PASSAGES, Part

MOMENTS: Final = (
    "start", "restart",
    "entry.sent", "entry.accepted", "stop.sent", "stop.accepted", "target.sent", "target.accepted", "exit.sent",
    "cancel.sent", "fill", "position.opened", "position.closed", "kill.latched", "snapshot.asked",
)  # fmt: skip
"""What a fault may come `after`: seen at the network's edge and in the exchange's books. The first occurrence counts."""
FAULT_FREE: Final = 5
"""One seed in so many has no faults."""
FAULTS_MOST: Final = 12
PASSAGE: Final = 0.8
"""The share of the other seeds that has a passage (`sim.faults.passages`) beside what is drawn one by one."""
BESIDE: Final[Mapping[str, tuple[str, Mapping[str, Value]]]] = {"rest.misreport": ("rest.drop_reply", {"op": "send"})}
"""What else strikes once as a fault begins, without which hardly anybody meets it: who heard the reply does not ask what became of an order."""
EARLY_S: Final = 240.0
PLAN_BYTES_MOST: Final = 1_000_000


class BadPlan(Exception):
    """A plan that cannot be followed. The text names the file, the entry and the field."""


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """One entry. `for_s` None: once, or to the end of the faults. `times` 0: as often as `p` has it."""

    fault: str
    at_s: float = 0.0
    after: str = ""
    for_s: float | None = None
    p: float = 1.0
    times: int = 0
    params: dict[str, Value] = {}

    def __str__(self) -> str:
        when = f"at {self.at_s:g}s" + (f" after {self.after}" if self.after else "")
        lasts = "" if self.for_s is None else f" for {self.for_s:g}s"
        chance = "" if self.p == 1 else f" p={self.p:g}"
        often = f" times={self.times}" if self.times else ""
        return f"{self.fault}{''.join(f' {k}={v}' for k, v in self.params.items())} {when}{lasts}{chance}{often}"


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """The faults of one run, in the order in which they are consulted. `seed` decides each chance."""

    seed: int = 0
    faults: tuple[Fault, ...] = ()

    def __str__(self) -> str:
        return "\n".join(map(str, self.faults)) or "no faults"

    def written(self) -> str:
        """YAML that `read_plan` reads back."""
        rows = [
            {k: v for k, v in msgspec.to_builtins(f).items() if k != "params" and v not in (None, "", 0)} | f.params
            for f in self.faults
        ]
        return str(yaml.safe_dump({"seed": self.seed, "faults": rows}, sort_keys=False))


def draw(seed: int, profile: str = "full", seconds: float = 7200.0) -> Plan:
    """The plan of a seed for a run of so many seconds: a random few of the profile's kinds. ValueError: no such profile.

    A profile may also be kinds themselves, with commas between.
    """
    kinds = sorted(kinds_of(profile))
    rng = np.random.default_rng([seed, 1])
    if not kinds or rng.integers(FAULT_FREE) == 0:
        return Plan(seed=seed)
    few = [str(kind) for kind in rng.choice(kinds, size=min(len(kinds), int(rng.integers(3, 12))), replace=False)]
    faults = [
        _drawn(few[int(rng.integers(len(few)))], rng, seconds) for _ in range(int(rng.integers(2, FAULTS_MOST + 1)))
    ]
    faults += [_beside(fault) for fault in faults if fault.fault in BESIDE and BESIDE[fault.fault][0] in kinds]
    ways = [parts for parts in PASSAGES.values() if all(part.fault in kinds for part in parts)]
    if ways and rng.random() < PASSAGE:
        faults += drawn(ways[int(rng.integers(len(ways)))], rng)
    return Plan(seed=seed, faults=in_order(faults))


def kinds_of(profile: str) -> frozenset[str]:
    """The kinds that a profile, or a list of kinds, stands for. ValueError names what is unknown."""
    if profile in PROFILES:
        return PROFILES[profile]
    kinds = frozenset(profile.split(","))
    unknown = sorted(kinds - CATALOGUE.keys())
    if unknown:
        raise ValueError(f"{unknown[0]!r} is none of {', '.join(PROFILES)}, nor a fault")
    return kinds


DRAWN_AFTER: Final = (
    "entry.sent", "entry.accepted", "stop.sent", "stop.accepted", "fill", "position.opened", "position.closed", "exit.sent",
    "snapshot.asked", "restart",
)  # fmt: skip


def _drawn(kind: str, rng: np.random.Generator, seconds: float) -> Fault:
    """A fault somewhere in the run, or close after something happened: most of what goes wrong goes wrong there."""
    spec = CATALOGUE[kind]
    near = rng.random() < 0.7
    for_s = None if spec.for_s is None else float(spec.for_s.draw(rng))
    return Fault(
        fault=kind,
        after=DRAWN_AFTER[int(rng.integers(len(DRAWN_AFTER)))] if near else "",
        at_s=round(_moment(near, rng, seconds), 3),
        for_s=for_s,
        p=1.0 if spec.p is None else float(spec.p.draw(rng)),
        params={name: values.draw(rng) for name, values in spec.params.items()},
    )


def _beside(fault: Fault) -> Fault:
    """What makes this one matter."""
    kind, params = BESIDE[fault.fault]
    return Fault(fault=kind, after=fault.after, at_s=fault.at_s, for_s=fault.for_s, times=1, params=dict(params))


def in_order(faults: Iterable[Fault]) -> tuple[Fault, ...]:
    """As a plan has them."""
    return tuple(sorted(faults, key=lambda f: (f.after, f.at_s, f.fault)))


def drawn(passage: Sequence[Part], rng: np.random.Generator) -> tuple[Fault, ...]:
    """The faults of a passage."""
    return in_order(_part(part, rng) for part in passage)


def _part(part: Part, rng: np.random.Generator) -> Fault:
    """A fault of a passage: always, at its moment, with what the passage leaves open drawn as usual."""
    spec = CATALOGUE[part.fault]
    lasts = part.for_s or spec.for_s
    given = {name: value if isinstance(value, Value) else value.draw(rng) for name, value in part.params.items()}
    return Fault(
        fault=part.fault,
        after=part.after,
        at_s=round(float(part.at_s.draw(rng)), 3),
        for_s=None if lasts is None else float(lasts.draw(rng)),
        times=part.times,
        params={name: given[name] if name in given else values.draw(rng) for name, values in spec.params.items()},
    )


def _moment(near: bool, rng: np.random.Generator, seconds: float) -> float:
    """At once, within a second or so, or within a minute of what happened; else early, when a position opens, or any time."""
    where = rng.random()
    if near:
        return 0.0 if where < 0.3 else float(rng.exponential(0.5 if where < 0.6 else 20.0))
    return float(rng.uniform(0, min(EARLY_S, seconds) if where < 0.5 else seconds))


def _seams(*names: str) -> frozenset[str]:
    return frozenset(kind for kind, spec in CATALOGUE.items() if spec.seam in names)


PROFILES: Final[Mapping[str, frozenset[str]]] = {
    "full": frozenset(CATALOGUE),
    "none": frozenset(),
    "network": _seams("rest", "stream", "connect"),
    "market": _seams("market", "stream"),
    "exchange": _seams("account", "market"),
    "crash": frozenset({"proc.crash", "proc.term", "actor.raise", "disk.torn"}) | {"rest.drop_reply", "ws.drop"},
    "host": _seams("process", "disk", "clock", "person"),
}
"""Which kinds `draw` chooses from."""


# --- written by a person --------------------------------------------------------------------------------------------


def read_plan(file: Path) -> Plan:
    """The plan in a file. Raises BadPlan."""
    try:
        text = file.read_bytes()
        if len(text) > PLAN_BYTES_MOST:
            raise BadPlan(f"{file}: a plan is smaller than {PLAN_BYTES_MOST} bytes")
        data = yaml.safe_load(text)
    except OSError as error:
        raise BadPlan(f"{file}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise BadPlan(f"{file}: {' '.join(str(error).split())}") from error
    try:
        return plan_of(data)
    except BadPlan as problem:
        raise BadPlan(f"{file}: {problem}") from problem


def plan_of(data: object) -> Plan:
    """The plan that plain data stand for. Raises BadPlan naming entry and field."""
    if not isinstance(data, dict) or not isinstance(data.get("faults", []), list):
        raise BadPlan("a plan is a mapping with `faults`, a list")
    unknown = sorted(map(str, data.keys() - {"seed", "faults"}))
    if unknown:
        raise BadPlan(f"{unknown[0]}: a plan has no such field (seed, faults)")
    seed = data.get("seed", 0)
    if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
        raise BadPlan("seed: must be a whole number from 0")
    return Plan(seed=seed, faults=tuple(_fault(row, n) for n, row in enumerate(data.get("faults", []), 1)))


def _fault(row: object, number: int) -> Fault:
    where = f"faults[{number}]"
    if not isinstance(row, dict):
        raise BadPlan(f"{where}: must be a mapping with `fault`")
    name = row.get("fault")
    spec = CATALOGUE.get(str(name))
    if spec is None:
        raise BadPlan(f"{where}.fault: {name!r} is no fault; `simulate --list` shows them")
    params: dict[str, Any] = {}
    named = {**spec.params, **spec.more}
    for key in row:
        if key in Fault.__struct_fields__ and key != "params":
            continue
        if key not in named:
            raise BadPlan(f"{where}.{key}: {name} has no such parameter ({', '.join(named) or 'none'})")
        params[key] = row[key]
        if (problem := named[key].fault(row[key])) is not None:
            raise BadPlan(f"{where}.{key}: {problem}")
    rng = np.random.default_rng([number, 2])
    for key, allowed in spec.params.items():
        if key not in params:
            params[key] = allowed.draw(rng)
    plain = {k: v for k, v in row.items() if k in Fault.__struct_fields__ and k != "params"}
    try:
        fault = msgspec.convert({**plain, "params": params}, Fault)
    except msgspec.ValidationError as error:
        raise BadPlan(f"{where}: {error}") from error
    return _in_range(fault, where)


def _in_range(fault: Fault, where: str) -> Fault:
    """Raises BadPlan for times that cannot be, or a moment that nobody names."""
    if fault.at_s < 0 or (fault.for_s is not None and fault.for_s <= 0):
        raise BadPlan(f"{where}: at_s must be 0 or more, for_s above 0")
    if not 0 <= fault.p <= 1:
        raise BadPlan(f"{where}.p: must be from 0 to 1")
    if fault.after and fault.after not in MOMENTS:
        raise BadPlan(f"{where}.after: {fault.after!r} is none of {', '.join(MOMENTS)}")
    return fault

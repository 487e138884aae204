"""The funnel: how many execution candles each entry rule refused, from decision rows. Pure; knows no file and no terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

RULE_OF: Final[Mapping[str, str]] = {
    "data": "A1",
    "warmup": "A2",
    "bias": "A3",
    "structure": "B1",
    "structure.too_old": "B2",
    "zone.none": "C1",
    "zone.no_retest": "C2",
    "zone.no_rejection": "C3",
    "zone.already_used": "C4",
    "pd": "D1",
    "adx": "D2",
    "atr": "D3",
    "rsi": "D4",
    "liq": "D5",
    "stop": "E1",
    "target": "E2",
    "rr": "E3",
    "cooldown": "F1",
    "arbitration": "arbitration",
    "signal.expired": "expired",
}
"""The rule that refuses with a code, by the whole code or its first part (smc-spec section 4)."""
ORDER: Final = {rule: place for place, rule in enumerate(dict.fromkeys(RULE_OF.values()))}


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One reject code. `first`: decisions that failed here first; `any`: decisions in which it failed at all.

    `left`: decisions that passed everything up to and including this step.
    """

    rule: str
    code: str
    first: int
    any: int
    left: int


class Funnel(msgspec.Struct, frozen=True, kw_only=True):
    """All decisions of one set of rows. `judged`: those after warm-up with sound data, of which shares are taken."""

    decisions: int
    judged: int
    long: int
    short: int
    steps: tuple[Step, ...]


def rule_of(code: str) -> str:
    """The rule that refuses with `code`. Raises KeyError for a code that is no refusal."""
    return RULE_OF[code] if code in RULE_OF else RULE_OF[code.partition(".")[0]]


def funnel(rows: Iterable[Mapping[str, Any]]) -> Funnel:
    """Count rows with `side`, `primary_reason` and `fails`, as the strategy's history gives them."""
    firsts: Counter[str] = Counter()
    anywhere: Counter[str] = Counter()
    sides: Counter[str] = Counter()
    for row in rows:
        sides[row["side"]] += 1
        if row["side"] == "hold":
            firsts[row["primary_reason"]] += 1
            anywhere.update(set(row["fails"]))
    decisions = left = sides.total()
    steps: list[Step] = []
    codes: Sequence[str] = sorted({*firsts, *anywhere}, key=lambda code: (ORDER[rule_of(code)], code))
    for code in codes:
        left -= firsts[code]
        steps.append(Step(rule=rule_of(code), code=code, first=firsts[code], any=anywhere[code], left=left))
    unfit = sum(step.first for step in steps if step.rule in ("A1", "A2"))
    return Funnel(
        decisions=decisions,
        judged=decisions - unfit,
        long=sides["long"],
        short=sides["short"],
        steps=tuple(steps),
    )

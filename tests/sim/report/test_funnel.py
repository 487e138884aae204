"""The funnel adds up, in the order of the rules."""

from __future__ import annotations

from typing import Any

import pytest

from actors.strategy.rules import RULES
from sim.report.funnel import ORDER, funnel, rule_of


def row(*fails: str, side: str = "hold") -> dict[str, Any]:
    """A decision row."""
    return {"side": side, "primary_reason": fails[0] if fails else f"signal.{side}", "fails": list(fails)}


def test_counts() -> None:
    """Each decision is counted once where it failed first, and everywhere it failed; shares leave warm-up out."""
    rows = [
        row("warmup.1d"),
        row("zone.no_retest", "adx.below_threshold"),
        row("adx.below_threshold"),
        row("bias.4h.neutral"),
        row(side="long"),
        row(side="short"),
    ]
    counted = funnel(rows)
    assert (counted.decisions, counted.judged, counted.long, counted.short) == (6, 5, 1, 1)
    assert [(step.rule, step.code, step.first, step.any, step.left) for step in counted.steps] == [
        ("A2", "warmup.1d", 1, 1, 5),
        ("A3", "bias.4h.neutral", 1, 1, 4),
        ("C2", "zone.no_retest", 1, 1, 3),
        ("D2", "adx.below_threshold", 1, 2, 2),
    ]


def test_rules() -> None:
    """Every rule of the strategy that can refuse has its place, in the strategy's order; A4 fails only where A3 did."""
    rules = [name for name, _ in RULES if name != "A4"]
    assert list(ORDER)[: len(rules)] == rules


def test_no_refusal() -> None:
    """A code that refuses nothing is a mistake of the caller."""
    with pytest.raises(KeyError):
        rule_of("signal.long")

"""Every guard takes hold and lets go, with its alert, its event and, if it is one that halts, its halt; by construction of the table."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal as D
from typing import Any, NamedTuple

import pytest
from test_risk_decide import ETH, NOON, READY, ROUND, XBT, account, initial, mark, only, position, run, settings, spot

from actors.risk.guards import ACCOUNT_GUARDS, SYMBOL_GUARDS, Guard
from protocol.messages.base import Message, from_edge
from protocol.messages.control import Alert, HaltEntries, ResumeEntries, RiskState, Started, Woken
from protocol.units import DAY_US, HOUR_US


class Course(NamedTuple):
    """What makes a guard take hold, and what lets it go; `risk`: settings that it needs."""

    takes: Sequence[Message]
    lets_go: Sequence[Message]
    risk: dict[str, Any] | None = None


MIDNIGHT = from_edge(Woken, NOON + DAY_US // 2, key="day")
RESTED = from_edge(Woken, NOON + 12 * HOUR_US, key="cooldown")
COURSES: dict[str, Course] = {
    "risk.daily_loss": Course([account(NOON + 1, "98000")], [MIDNIGHT]),
    "risk.drawdown": Course([account(NOON + 1, "85000")], [account(NOON + 2, "95000")], {"daily_loss_max_pct": D(20)}),
    "risk.cooldown": Course(ROUND, [RESTED]),
    "risk.leverage": Course([mark(symbol=ETH), position("18.1", symbol=ETH)], [position("0", NOON + 1, symbol=ETH)]),
    "risk.mark": Course([mark(NOON + 1, frozen=True)], [mark(NOON + 2)]),
    "risk.basis": Course([mark(NOON + 1, price="50300")], [mark(NOON + 2, price="50100")]),
    "risk.basis_held": Course([position("0.1"), mark(NOON + 1, price="51000")], [position("0", NOON + 2)]),
    "risk.liquidation": Course([position("1", liquidation="35000")], [position("0", NOON + 1)]),
}
GUARDS: dict[str, Guard] = {guard.key: guard for guard in (*ACCOUNT_GUARDS, *SYMBOL_GUARDS)}


def test_every_guard_has_a_course() -> None:
    """A new guard without one fails here."""
    assert set(COURSES) == set(GUARDS)


@pytest.mark.parametrize("key", COURSES)
def test_each_guard_takes_hold_and_lets_go(key: str) -> None:
    """Said once each way; halted and resumed under one key, or, where it only warns, neither."""
    guard, course = GUARDS[key], COURSES[key]
    state, said = run((*READY, *course.takes), initial(settings(risk=course.risk or {}), None))
    full = f"{key}:{XBT}" if guard in SYMBOL_GUARDS else key
    assert [(m.raised, m.text != "") for m in only(RiskState, said) if m.guard == key] == [(True, True)]
    assert [m.severity for m in only(Alert, said) if m.code == guard.code and m.text.startswith(full)] == [
        guard.severity
    ]
    assert [m.key for m in only(HaltEntries, said) if m.key == full] == [full] * guard.halts

    _, said = run(course.lets_go, state)
    assert [m.raised for m in only(RiskState, said) if m.guard == key] == [False]
    assert [m.key for m in only(ResumeEntries, said) if m.key == full] == [full] * guard.halts


@pytest.mark.parametrize("key", [guard.key for guard in SYMBOL_GUARDS])
def test_a_guard_that_ended_while_we_were_down_lets_go(key: str) -> None:
    """The gate still holds what an earlier life of this child said: with nothing held and prices together, each symbol's halts end."""
    _, said = run((from_edge(Started, NOON, restarted=True), *READY[1:], position("0", NOON + 1)))
    assert [m.key for m in only(ResumeEntries, said) if m.key == f"{key}:{XBT}"] == [f"{key}:{XBT}"]
    assert only(HaltEntries, said) == []


def test_spot_alone_lets_the_basis_go() -> None:
    """Either price may narrow it."""
    state, _ = run((*READY, mark(NOON + 1, price="50300")))
    _, said = run([spot(NOON + 2, price=50_290.0)], state)
    assert [m.key for m in only(ResumeEntries, said)] == [f"risk.basis:{XBT}"]

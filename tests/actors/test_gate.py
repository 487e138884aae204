"""The gate: closed unless every lease is held, nothing is halted or latched, and the truth was read since the start."""

from __future__ import annotations

import pytest

from actors.gate import Gate
from protocol.messages.base import from_edge
from protocol.messages.control import HaltEntries, Reconciled, ResumeEntries
from protocol.ports import LatchState

OPEN = LatchState(latched=False)


def reconciled(gate: Gate, began_at: int = 0) -> None:
    gate.observe(from_edge(Reconciled, began_at, began_at=began_at, clean=True))


def test_a_new_gate_is_closed_by_every_lease_and_by_the_missing_reconciliation() -> None:
    """Nothing may leave before both feeds are up and the truth was read once."""
    assert Gate(("a", "b"), OPEN).closed_by() == ("gate.lease:a", "gate.lease:b", "gate.not_reconciled")


def test_a_lease_given_up_by_an_exception_closes_the_gate_at_once() -> None:
    """Leaving the lease's block by any path closes the gate before the exception is seen outside."""
    gate = Gate(("a",), OPEN)
    reconciled(gate)
    with pytest.raises(ZeroDivisionError), gate.lease("a"):
        assert gate.closed_by() == ()
        _ = 1 // 0
    assert gate.closed_by() == ("gate.lease:a",)


def test_a_reconciliation_begun_before_the_restart_does_not_open_the_gate() -> None:
    """Only a pass begun at or after the restart counts."""
    gate = Gate((), OPEN)
    gate.need_reconciliation(100)
    reconciled(gate, 99)
    assert gate.closed_by() == ("gate.not_reconciled",)
    reconciled(gate, 100)
    assert gate.closed_by() == ()


def test_a_pass_that_found_a_difference_does_not_open_the_gate() -> None:
    """Entries wait for one that found none: what is wrong may be what the restart forgot."""
    gate = Gate((), OPEN)
    gate.observe(from_edge(Reconciled, 1, began_at=1, clean=False))
    assert gate.closed_by() == ("gate.not_reconciled",)
    reconciled(gate, 2)
    assert gate.closed_by() == ()


def test_halts_close_by_key_and_only_their_own_resume_opens() -> None:
    """Two halts need two resumes."""
    gate = Gate((), OPEN)
    reconciled(gate)
    for key in ("x", "y"):
        gate.observe(from_edge(HaltEntries, 1, key, key=key, reason="test"))
    gate.observe(from_edge(ResumeEntries, 2, "x", key="x"))
    assert gate.closed_by() == ("gate.halt:y",)


def test_a_latch_from_the_store_or_by_message_closes_for_good() -> None:
    """No message opens a latched gate."""
    for gate in (Gate((), LatchState(latched=True)), Gate((), OPEN)):
        gate.latch()
        reconciled(gate)
        gate.resume("latch")
        assert gate.closed_by() == ("gate.latched",)


def test_every_change_is_told() -> None:
    """`on_change` hears opening and closing, for the journal."""
    heard: list[tuple[str, bool]] = []
    gate = Gate(("a",), OPEN, lambda what, is_open: heard.append((what, is_open)))
    with gate.lease("a"):
        gate.halt("k", "why")
    assert heard == [("lease.a", True), ("halt.k", False), ("lease.a", False)]


def test_a_halt_of_one_market_keeps_in_its_entries_only() -> None:
    """A halt that names a market, by its spot or its futures name, leaves all others open."""
    gate = Gate((), OPEN)
    gate.observe(from_edge(Reconciled, 1, began_at=1, clean=True))
    gate.observe(from_edge(HaltEntries, 1, key="basis:X", reason="wide", symbol="PF_XBTUSD"))
    gate.observe(from_edge(HaltEntries, 1, key="gap:Y", reason="gap", symbol="ETH/USD"))
    assert gate.closed_by("PF_XBTUSD", "BTC/USD") == ("gate.halt:basis:X",)
    assert gate.closed_by("PF_ETHUSD", "ETH/USD") == ("gate.halt:gap:Y",)
    assert gate.closed_by("PF_SOLUSD", "SOL/USD") == ()
    assert gate.closed_by() == ("gate.halt:basis:X", "gate.halt:gap:Y")
    gate.observe(from_edge(HaltEntries, 1, key="all", reason="a person"))
    assert gate.closed_by("PF_SOLUSD", "SOL/USD") == ("gate.halt:all",)

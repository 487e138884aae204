"""Plans of faults: drawn from seeds, written by people, printed, read back."""

from __future__ import annotations

from pathlib import Path

import pytest

from sim.faults import BadPlan, Faults, draw, read_plan
from sim.faults.catalogue import CATALOGUE
from sim.faults.passages import PASSAGES
from sim.faults.plan import FAULT_FREE, MOMENTS, PROFILES, plan_of

SEEDS = range(2000)


def test_a_seed_is_a_plan() -> None:
    """The same seed draws the same plan, another seed another one."""
    assert draw(7) == draw(7)
    assert len({str(draw(seed)) for seed in range(50)}) > 30


def test_every_kind_is_drawn_and_a_fifth_of_the_seeds_has_none() -> None:
    """Over many seeds every kind of the catalogue comes, and one seed in five or so is free of faults."""
    plans = [draw(seed) for seed in SEEDS]
    assert {fault.fault for plan in plans for fault in plan.faults} == set(CATALOGUE)
    free = sum(not plan.faults for plan in plans)
    assert free == pytest.approx(len(SEEDS) / FAULT_FREE, rel=0.2)


def test_every_passage_is_drawn_within_a_hundred_seeds() -> None:
    """What leads into a state worth reaching strikes together often enough, at moments that somebody names."""
    drawn = [{(fault.fault, fault.after) for fault in draw(seed).faults} for seed in range(100)]
    for name, parts in PASSAGES.items():
        assert any({(part.fault, part.after) for part in parts} <= plan for plan in drawn), name
    assert {part.after for parts in PASSAGES.values() for part in parts} <= set(MOMENTS)
    assert all(
        part.params.keys() <= CATALOGUE[part.fault].params.keys() for parts in PASSAGES.values() for part in parts
    )


def test_who_is_lied_to_of_an_order_has_a_reason_to_ask() -> None:
    """Beside each lie about an order's end one reply is lost as it begins; a profile that loses none draws it alone."""
    for profile, beside in (("full", True), ("rest.misreport", False)):
        plans = [draw(seed, profile).faults for seed in SEEDS]
        lies = [(plan, fault) for plan in plans for fault in plan if fault.fault == "rest.misreport"]
        assert lies
        for plan, lie in lies:
            lost = [(f.after, f.at_s) for f in plan if f.fault == "rest.drop_reply" and f.times == 1]
            assert ((lie.after, lie.at_s) in lost) == beside


@pytest.mark.parametrize("seed", range(0, 200, 7))
def test_what_is_written_is_read_back(tmp_path: Path, seed: int) -> None:
    """A drawn plan as a file is the same plan."""
    file = tmp_path / "plan.yaml"
    file.write_text(draw(seed).written())
    assert read_plan(file) == draw(seed)


def test_a_profile_draws_only_its_kinds() -> None:
    """`network` never touches the disk; an unknown profile is an error that names those there are."""
    drawn = {fault.fault for seed in range(300) for fault in draw(seed, "network").faults}
    assert drawn <= PROFILES["network"]
    assert not draw(1, "none").faults
    with pytest.raises(ValueError, match="'storms' is none of full"):
        draw(1, "storms")


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"fault": "rest.eat_reply"}, r"faults\[1\].fault: 'rest.eat_reply' is no fault"),
        ({"fault": "rest.drop_reply", "opp": "send"}, r"faults\[1\].opp: rest.drop_reply has no such parameter \(op\)"),
        (
            {"fault": "ex.mode", "sym": "last"},
            r"faults\[1\].sym: must be one of any, PF_XBTUSD, BTC/USD, PF_ETHUSD, ETH/USD",
        ),
        ({"fault": "rest.drop_reply", "op": "buy"}, r"faults\[1\].op: must be one of send, edit, cancel"),
        ({"fault": "md.lag", "d_s": "long"}, r"faults\[1\].d_s: must be a number"),
        ({"fault": "md.stall", "at_s": -1}, r"faults\[1\]: at_s must be 0 or more"),
        ({"fault": "md.stall", "p": 2}, r"faults\[1\].p: must be from 0 to 1"),
        ({"fault": "md.stall", "after": "lunch"}, r"faults\[1\].after: 'lunch' is none of start"),
        ({"fault": "md.stall", "at_s": "soon"}, r"faults\[1\]: Expected `float`"),
        ("md.stall", r"faults\[1\]: must be a mapping"),
    ],
)
def test_a_bad_entry_is_named(row: object, says: str) -> None:
    """One line: which entry, which field, what is allowed."""
    with pytest.raises(BadPlan, match=says):
        plan_of({"faults": [row]})


@pytest.mark.parametrize("text", ["- 1", "faults: 3", "seed: -1", "sed: 1", "{", "\x00"])
def test_a_bad_file_is_one_line(tmp_path: Path, text: str) -> None:
    """What is no plan at all says so in one line that begins with the file's name."""
    file = tmp_path / "plan.yaml"
    file.write_text(text)
    with pytest.raises(BadPlan) as caught:
        read_plan(file)
    assert str(caught.value).startswith(str(file))
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    """As every other bad input."""
    with pytest.raises(BadPlan, match="No such file"):
        read_plan(tmp_path / "none.yaml")


def test_a_fault_may_set_off_others_as_it_begins() -> None:
    """What begins at a moment that another fault's beginning names begins once, in the same instant."""
    now = [0]
    rows = [{"fault": "ex.assign", "at_s": 1}, {"fault": "ex.unwind", "at_s": 1}, {"fault": "md.dup", "after": "fill"}]
    faults = Faults(plan_of({"faults": rows}), lambda: now[0])
    for kind in ("ex.assign", "ex.unwind"):
        faults.on(kind, lambda active: faults.reached("fill"))
    faults.begin()
    now[0] = 1_000_000
    faults.reached("start")
    assert faults.injected == {"ex.assign": 1, "ex.unwind": 1}
    assert [active.kind for active in faults.active("stream")] == ["md.dup"]

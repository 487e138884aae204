"""Every fault of the catalogue can be injected; those of host, process, disk, clock and person strike here (the others: stories)."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from actors.modes.storms import live, quiet
from sim.faults import Faults
from sim.faults.catalogue import CATALOGUE
from sim.faults.host import Disk, Kept
from sim.faults.hosting import Hosting
from sim.faults.passages import PASSAGES
from sim.faults.plan import Plan, drawn, plan_of
from sim.storm import Case, Verdict, run_case

HERE = [kind for kind, spec in CATALOGUE.items() if spec.seam in ("process", "disk", "clock", "person")]
PARAMS = {"who": "futures_feed", "nth": 7, "hook": "step", "what": "mem", "n": 2, "d_s": 0.5}


@pytest.fixture(autouse=True)
def _quiet() -> None:
    quiet()


def storm(*rows: dict[str, object], seconds: float = 120.0) -> Verdict:
    """Two minutes in which a position opens, under these faults; then half a minute without."""
    plan = plan_of({"seed": 1, "faults": list(rows)})
    return run_case(Case(seed=3, plan=plan, safety_s=seconds, liveness_s=40.0), live)


def test_all_67_faults_are_in_the_catalogue() -> None:
    """Each number of the fault catalogue has at least one kind."""
    assert {number for spec in CATALOGUE.values() for number in spec.numbers} == set(range(1, 68))


@pytest.mark.parametrize("kind", HERE)
def test_a_fault_of_the_host_strikes_and_is_survived(kind: str) -> None:
    """Close after a position opens: it is counted in the summary, and every invariant holds."""
    spec = CATALOGUE[kind]
    fault = {
        "fault": kind,
        "after": "position.opened",
        "at_s": 2.0,
        **{k: v for k, v in PARAMS.items() if k in spec.params},
    }
    if spec.for_s is not None:
        fault["for_s"] = 15.0
    verdict = storm(fault, {"fault": "md.stall", "after": "position.opened", "feed": "spot", "for_s": 8.0})
    assert verdict.failures == ()
    assert verdict.injected[kind] >= 1


def test_a_mark_that_freezes_is_told_and_keeps_entries_in() -> None:
    """The market moves on, and with it the last trade: after half a minute and 0.3 % the mark counts as stale, until it moves."""
    lines: list[str] = []
    row = {"fault": "px.freeze", "at_s": 60, "for_s": 600, "which": "mark", "sym": "PF_ETHUSD"}
    plan = plan_of({"seed": 4, "faults": [row]})
    verdict = run_case(Case(seed=4, plan=plan, safety_s=900.0, liveness_s=40.0), live, lines.append)
    assert verdict.failures == ()
    gate = [line.split(" ", 1)[1] for line in lines if "risk.mark" in line and "gate" in line]
    assert gate == ["gate closed halt.risk.mark:PF_ETHUSD", "gate open halt.risk.mark:PF_ETHUSD"]


def test_an_isolated_market_is_told_and_keeps_entries_in() -> None:
    """From the first connection on, once, and when it is set back; the entry that was due meanwhile stays in."""
    lines: list[str] = []
    row = {"fault": "ex.margin", "for_s": 600, "isolated_x": 5.5, "sym": "PF_ETHUSD"}
    plan = plan_of({"seed": 4, "faults": [row]})
    verdict = run_case(Case(seed=4, plan=plan, safety_s=900.0, liveness_s=100.0), live, lines.append)
    assert verdict.failures == ()
    said = [line.split(" futures_feed Alert MARGIN_MODE ")[1] for line in lines if "futures_feed Alert MARGIN" in line]
    assert [text.partition(" and ")[0].partition(":")[0] for text in said] == [
        "PF_ETHUSD is isolated at 5.5x",
        "PF_ETHUSD is at cross margin",
    ]
    assert any("executor.hands EntryBlocked" in line for line in lines)


@pytest.mark.parametrize(
    ("who", "deaths", "way_out"),
    [("reconciler", 4, "latched"), ("strategy", 3, ""), ("kill_switch", 4, "process gave up")],
)
def test_a_child_dies_as_often_as_asked(who: str, deaths: int, way_out: str) -> None:
    """Again as soon as it is back, not while it is down: so it dies too often for its intensity, and what follows from that does."""
    lines: list[str] = []
    plan = plan_of({
        "seed": 1,
        "faults": [{"fault": "actor.raise", "after": "position.opened", "at_s": 2.0, "who": who, "n": deaths}],
    })  # fmt: skip
    verdict = run_case(Case(seed=3, plan=plan, safety_s=120.0, liveness_s=40.0), live, lines.append)
    assert verdict.failures == ()
    assert sum(f"Alert CHILD_RESTART {who} " in line for line in lines) == deaths
    assert sum(f"Alert CHILD_ESCALATED {who} " in line for line in lines) == 1
    assert not way_out or verdict.sometimes[way_out]


def test_a_short_position_of_so_much_is_pushed_on_us() -> None:
    """An assignment may be of either side: it is protected, or left."""
    lines: list[str] = []
    row = {"fault": "ex.assign", "at_s": 1, "qty": 0.02, "side": "sell"}
    case = Case(seed=3, plan=plan_of({"seed": 1, "faults": [row]}), safety_s=60, liveness_s=40.0)
    assert run_case(case, live, lines.append).failures == ()
    assert any("sell 0.02 " in line for line in lines)


def test_a_kill_does_not_wait_for_a_feed_that_is_held_back() -> None:
    """The futures feed has died five times and waits for eight seconds; asked for meanwhile, the kill switch reads and flattens at once."""
    raises = {"fault": "actor.raise", "after": "position.opened", "at_s": 2.0, "who": "futures_feed", "n": 5}
    verdict = storm(raises, {"fault": "op.act", "seq": "kill", "after": "position.opened", "at_s": 11.0})
    assert verdict.failures == ()
    assert verdict.sometimes["latched"] == 1


def test_what_finds_nothing_to_strike_is_not_counted() -> None:
    """The summary says what took effect: no order and no position is there yet, no list is so long, the key may read, no life is so long."""
    verdict = storm(
        {"fault": "ex.kill_order", "at_s": 1, "role": "all"},
        {"fault": "ex.liquidate", "at_s": 1, "fraction": 1},
        {"fault": "op.manual", "at_s": 1, "what": "close"},
        {"fault": "ex.stop_gap", "at_s": 1, "for_s": 10},
        {"fault": "rest.page", "at_s": 1, "for_s": 20, "limit": 3},
        {"fault": "rest.forget", "at_s": 1, "for_s": 20, "endpoint": "orders"},
        {"fault": "rest.auth", "at_s": 1, "for_s": 20, "scope": "trade"},
        {"fault": "rest.limit", "at_s": 1, "for_s": 20, "budget": 1000},
        {"fault": "proc.crash", "at_s": 1, "hook": "append", "nth": 10_000_000},
        seconds=30.0,
    )
    assert verdict.failures == ()
    assert {kind: count for kind, count in verdict.injected.items() if count} == {}


@pytest.mark.parametrize(("names", "strikes"), [(("a",), False), (("a", "b"), True), (("a", "b", "c"), True)])
def test_misdirected_memories_lie_in_no_place_of_their_own(names: tuple[str, ...], strikes: bool) -> None:
    """However many there are; where there is one alone nothing is misdirected, and nothing counts."""
    faults = Faults(plan_of({"faults": [{"fault": "disk.misdirect"}]}), lambda: 1)
    disk, forgot = Disk(memories={name: Kept(name, name.encode()) for name in names}), list[bool]()
    daemon = SimpleNamespace(
        faults=faults, disk=disk, end_process=lambda killed: None, forget=lambda: forgot.append(True)
    )
    Hosting(cast(Any, daemon))
    faults.begin()
    assert all((kept.body != name.encode()) == strikes for name, kept in disk.memories.items())
    assert disk.damaged == strikes
    assert (faults.injected["disk.misdirect"], bool(forgot)) == (strikes, strikes)


def test_memories_passed_round_until_they_are_at_home_are_whole() -> None:
    """Three of them, thrice: each lies where it was written, and the next life has no reason to close anything (storm 320194)."""
    faults = Faults(plan_of({"faults": [{"fault": "disk.misdirect"}] * 3}), lambda: 1)
    disk = Disk(memories={name: Kept(name, name.encode()) for name in ("a", "b", "c")})
    before = dict(disk.memories)
    Hosting(cast(Any, SimpleNamespace(faults=faults, disk=disk, end_process=lambda killed: None, forget=lambda: None)))
    faults.begin()
    assert (faults.injected["disk.misdirect"], disk.memories, disk.damaged) == (3, before, False)


def test_a_setting_that_cannot_be_meant_is_refused_at_the_start() -> None:
    """Wrong units, types, names and hostile words: the process does not begin, and the next one under the old setting does."""
    rows = [
        {"fault": "cfg.mutate", "at_s": 25.0 * n, "field": "risk.risk_pct", "kind": kind}
        for n, kind in enumerate(("times_100", "negative", "word", "tag", "renamed"))
    ]
    verdict = storm(*rows, seconds=140.0)
    assert verdict.failures == ()
    assert verdict.sometimes["bad setting refused at the start"] == len(rows)


@pytest.mark.parametrize("kind", ["disk.flip", "disk.misdirect"])
def test_damaged_memories_are_noticed_and_close_everything(kind: str) -> None:
    """Bit rot in what actors remember: told to a person, the kill switch latches, the account ends flat."""
    verdict = storm({"fault": kind, "after": "position.opened", "at_s": 2.0})
    assert verdict.failures == ()
    assert verdict.sometimes["latched"] >= 1


@pytest.mark.parametrize(
    ("passage", "state"),
    [
        ("the reply is lost and the line is down: found filled later", "unknown settled as filled"),
        ("a target is lost on its way, sent again and refused", "unknown settled as rejected"),
        ("the stop fires while nobody listens", "stop triggered while disconnected"),
        ("killed while a flatten fills in parts", "kill while a flatten is partly filled"),
        ("the store is older than the stop that rests", "the store lost an order that rests"),
        ("dies between the order and its reply", "killed between send and reply, the order live"),
    ],
)
def test_a_passage_leads_where_it_says(passage: str, state: str) -> None:
    """Faults that strike one after the other reach the state that none of them reaches alone, and every invariant holds."""
    faults = drawn(PASSAGES[passage], np.random.default_rng(1))
    case = Case(seed=1, plan=Plan(seed=1, faults=faults), safety_s=260.0, liveness_s=60.0)
    verdict = run_case(case, live)
    assert verdict.failures == ()
    assert verdict.sometimes[state] >= 1

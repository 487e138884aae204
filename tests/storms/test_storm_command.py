"""`simulate`: what it prints, and how it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from actors.cli.app import app

RUNNER = CliRunner()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "give either --seeds A..B or --seed N"),
        (["--seeds", "1..2", "--seed", "1"], "give either"),
        (["--seeds", "x..2"], "--seeds 'x..2': write A..B"),
        (["--seeds", "5..2"], "the first lies after the last"),
        (["--seeds", "1..2", "--faults", "rain"], "--faults 'rain' is none of full"),
        (["--seeds", "1..2", "--for", "long"], "--for 'long' is no duration"),
        (["--seeds", "1..2", "--trace", "t"], "--plan and --trace are about one run"),
        (["--seed", "1", "--plan", "nowhere.yaml"], "nowhere.yaml: No such file"),
    ],
)
def test_bad_input_is_one_line(arguments: list[str], says: str) -> None:
    """Exit 2, and the option is named."""
    result = RUNNER.invoke(app, ["simulate", *arguments])
    assert result.exit_code == 2
    assert says in result.output


def test_a_run_prints_one_document_and_writes_its_trace(tmp_path: Path) -> None:
    """`--json`: one document whose trace hash is the last line of the trace file, and the same when run again."""
    hashes = []
    for name in ("a", "b"):
        trace = tmp_path / name
        result = RUNNER.invoke(app, ["simulate", "--seed", "3", "--for", "60s", "--trace", str(trace), "--json"])
        assert result.exit_code == 0, result.output
        document = json.loads(result.stdout)
        assert document["traces"]["3"] == trace.read_text().split()[-1]
        hashes.append(document["traces"]["3"])
    assert hashes[0] == hashes[1]


def test_a_run_that_came_through_too_little_fails_when_asked_to() -> None:
    """`--reach`: exit 1 and a line that names faults and states that came too seldom; the summary shows them at nought."""
    arguments = ["simulate", "--seeds", "3", "--for", "20s", "--faults", "none", "--json"]
    result = RUNNER.invoke(app, arguments)
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document["injected"]["proc.crash"] == 0
    assert document["sometimes"]["liquidation booked"] == 0
    result = RUNNER.invoke(app, [*arguments, "--reach", "1"])
    assert result.exit_code == 1
    assert "error: --reach 1: less often came actor.hang, " in result.stderr


def test_the_list_names_every_fault() -> None:
    """`--list` shows the catalogue."""
    result = RUNNER.invoke(app, ["simulate", "--list"])
    assert "rest.drop_reply" in result.output
    assert result.exit_code == 0


def test_a_plan_that_breaks_something_fails_with_the_way_to_see_it_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit 1; the line names seed, invariant, moment and command; the plan is shortened to what matters."""
    from sim.checkers import protection

    monkeypatch.setattr(protection.Bounds, "NAKED", -100_000_000)
    plan = tmp_path / "plan.yaml"
    plan.write_text(
        "faults: [{fault: ex.kill_order, after: position.opened, at_s: 5, role: stop}, {fault: md.dup, at_s: 1, for_s: 5},"
        "{fault: rest.drop_request, after: position.opened, at_s: 4, for_s: 4, op: send}]"
    )
    result = RUNNER.invoke(app, ["simulate", "--seed", "3", "--for", "5m", "--plan", str(plan)])
    assert result.exit_code == 1, result.output
    assert "FAILED seed 3: invariant 1" in result.output
    assert f"--seed 3 --for 5m --plan {plan}" in result.output

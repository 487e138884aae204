"""`simulate`: storms. The whole daemon under seeds and faults, with every invariant checked from outside."""

from __future__ import annotations

import json as json_text
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from actors.cli.durations import seconds_of
from actors.cli.errors import Exit, bad_input, stop
from actors.cli.options import AsJson
from actors.cli.research import wide_console

if TYPE_CHECKING:
    from sim.storm import Case, Verdict


def simulate(
    seeds: Annotated[
        str | None, typer.Option("--seeds", metavar="A..B", help="Run these seeds, both included.")
    ] = None,
    faults: Annotated[
        str,
        typer.Option("--faults", help="full, none, network, market, exchange, crash, host; or kinds, comma between."),
    ] = "full",
    jobs: Annotated[int, typer.Option("--jobs", min=1, help="Processes.")] = 1,
    duration: Annotated[str, typer.Option("--for", help="Simulated time in which faults strike: 10m, 2h.")] = "2h",
    seed: Annotated[
        int | None, typer.Option("--seed", min=0, help="Run one seed; a failure's plan is shortened.")
    ] = None,
    plan: Annotated[
        Path | None,
        typer.Option("--plan", help="Faults of --seed from a file: an exact timeline instead of the drawn one."),
    ] = None,
    trace: Annotated[
        Path | None, typer.Option("--trace", help="Write every event of --seed to this file, its hash last.")
    ] = None,
    scheduler: Annotated[
        str | None, typer.Option("--scheduler", metavar="ADDRESS", help="Run the seeds on this dask cluster.")
    ] = None,
    reach: Annotated[
        int, typer.Option("--reach", min=0, help="Fail unless each fault struck and each state was reached so often.")
    ] = 0,
    kinds: Annotated[bool, typer.Option("--list", help="Show every fault and its parameters, and stop.")] = False,
    json: AsJson = False,
) -> None:
    """Run storms: the whole daemon in a simulated market, exchange, network and host that fail as the seed has it.

    Exit 0 when every invariant held, 1 when one broke: a line names the seed, the invariant, the event and how to see it again.
    """
    from sim.faults.plan import kinds_of

    if kinds:
        _print_kinds()
        return
    try:
        kinds_of(faults)
    except ValueError as error:
        raise stop(Exit.BAD_INPUT, f"error: --faults {error}") from None
    if (seeds is None) == (seed is None):
        raise stop(Exit.BAD_INPUT, "error: give either --seeds A..B or --seed N")
    if seed is None and (plan is not None or trace is not None):
        raise stop(Exit.BAD_INPUT, "error: --plan and --trace are about one run: give --seed N")
    safety_s = _seconds(duration)
    if seed is not None:
        verdicts = [_one(seed, faults, safety_s, plan, trace, json)]
    else:
        verdicts = _many(_range(str(seeds)), faults, safety_s, jobs, scheduler, json)
    again = f" --faults {faults}" * (faults != "full") + f" --for {duration}" * (duration != "2h")
    figures = summary(verdicts)
    report(figures, verdicts, again + f" --plan {plan}" * (plan is not None), json)
    missed = short_of(figures, reach)
    if missed:
        typer.echo(f"error: --reach {reach}: less often came {', '.join(missed)}", err=True)
    raise typer.Exit(Exit.FAILED if missed or not all(verdict.passed for verdict in verdicts) else Exit.DONE)


def _seconds(duration: str) -> float:
    try:
        return seconds_of(duration)
    except ValueError as error:
        raise stop(Exit.BAD_INPUT, f"error: --for {error}") from None


def _range(text: str) -> range:
    first, dots, last = text.partition("..")
    if not (first.isdigit() and (last.isdigit() or not dots)):
        raise stop(Exit.BAD_INPUT, f"error: --seeds {text!r}: write A..B, as in 1..200")
    found = range(int(first), int(last or first) + 1)
    if not found:
        raise stop(Exit.BAD_INPUT, f"error: --seeds {text!r}: the first lies after the last")
    return found


def _one(seed: int, profile: str, safety_s: float, plan: Path | None, trace: Path | None, json: bool) -> Verdict:
    """One seed, told in full; a failing plan is made as short as it can be."""
    from msgspec.structs import replace

    from actors.modes.storms import live, quiet
    from sim.faults import BadPlan, read_plan
    from sim.storm import case_of, run_case, shrink

    quiet()
    console = Console(stderr=True, highlight=False, soft_wrap=True, quiet=json)
    case = case_of(seed, profile, safety_s)
    if plan is not None:
        with bad_input(BadPlan):
            case = replace(case, plan=read_plan(plan))
    console.print(f"seed {seed}\n{case.plan}", markup=False)
    if trace is None:
        verdict = run_case(case, live)
    else:
        try:
            with trace.open("w") as file:
                verdict = run_case(case, live, lambda line: _write(file, line))
                file.write(f"trace {verdict.trace}\n")
        except OSError as error:
            raise stop(Exit.BAD_INPUT, f"error: --trace {trace}: {error.strerror}") from None
    if not verdict.passed and case.plan.faults:
        _shorten(case, verdict, console, shrink, live)
    return verdict


def _write(file: Any, line: str) -> None:
    file.write(line + "\n")


def _shorten(case: Case, verdict: Verdict, console: Console, shrink: Any, live: Any) -> None:
    console.print("shortening the plan ...", markup=False)
    smallest = shrink(case, live, verdict, lambda text: console.print(text, markup=False))
    console.print(
        f"smallest plan that still fails; keep it in a file for --plan:\n{smallest.plan.written()}", markup=False
    )


def _many(seeds: range, profile: str, safety_s: float, jobs: int, scheduler: str | None, json: bool) -> list[Verdict]:
    from actors.modes.storms import compared, many_storms

    console = Console(stderr=True)
    columns = (
        TextColumn("storms"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[bad]}"),
        TimeRemainingColumn(),
    )
    verdicts: list[Verdict] = []
    with Progress(*columns, console=console, transient=True, disable=json or not console.is_terminal) as progress:
        bar = progress.add_task("", total=len(seeds), bad="")
        try:
            for verdict in compared(many_storms(seeds, profile, safety_s, jobs, scheduler), profile, safety_s):
                verdicts.append(verdict)
                bad = sum(not v.passed for v in verdicts)
                progress.update(bar, advance=1, bad=f"[red]{bad} failed[/]" if bad else "")
        except ConnectionError as error:
            raise stop(Exit.FAILED, f"error: --scheduler: {error}") from None
    return sorted(verdicts, key=lambda verdict: verdict.seed)


def summary(verdicts: Iterable[Verdict]) -> dict[str, Any]:
    """The figures of a set of runs, as `--json` prints them."""
    from sim.checkers import INVARIANTS, SOMETIMES
    from sim.faults.catalogue import CATALOGUE

    rows = list(verdicts)
    injected: Counter[str] = Counter()
    sometimes: Counter[str] = Counter()
    exits: Counter[str] = Counter()
    broken: Counter[int] = Counter()
    for verdict in rows:
        injected.update(verdict.injected)
        sometimes.update(verdict.sometimes)
        exits.update(verdict.exits)
        broken.update(failure[0] for failure in verdict.failures[:1])
    simulated_s, run_s = sum(v.simulated_s for v in rows), sum(v.run_s for v in rows)
    return {
        "seeds": len(rows),
        "failed": [v.seed for v in rows if not v.passed],
        "simulated_days": round(simulated_s / 86_400, 3),
        "events": sum(v.events for v in rows),
        "run_s": round(run_s, 1),
        "simulated_s_per_s": round(simulated_s / run_s) if run_s else None,
        "positions_opened": sum(v.opened for v in rows),
        "positions_closed": exits.total(),
        "exits": dict(sorted(exits.items())),
        "processes": sum(v.lives for v in rows),
        "injected": {kind: injected[kind] for kind in sorted(CATALOGUE)},
        "sometimes": {name: sometimes[name] for name in (*SOMETIMES, *sorted(sometimes.keys() - {*SOMETIMES}))},
        "invariants": {f"{i.number} {i.name}": broken.get(i.number, 0) for i in INVARIANTS},
        "traces": {str(v.seed): v.trace for v in rows},
    }


def short_of(figures: dict[str, Any], reach: int) -> list[str]:
    """What struck or was reached fewer times than `reach` in all."""
    return [name for what in ("injected", "sometimes") for name, count in figures[what].items() if count < reach]


def report(figures: dict[str, Any], verdicts: list[Verdict], again: str, json: bool) -> None:
    """One JSON document, or the tables; then a line for each failure."""
    failures = [
        {"seed": v.seed, "invariant": v.failures[0][0], "at_s": v.failures[0][1], "seen": v.failures[0][2],
         "again": f"python -m actors simulate --seed {v.seed}{again}"}
        for v in verdicts if not v.passed
    ]  # fmt: skip
    if json:
        typer.echo(json_text.dumps({**figures, "failures": failures}))
        return
    console = wide_console()
    console.print(_table("fault", figures["injected"], "struck"))
    console.print(_table("reached", figures["sometimes"], "times"))
    console.print(_table("exit", figures["exits"], "positions"))
    console.print(_table("invariant", figures["invariants"], "broken"))
    console.print(
        f"{figures['seeds']} seeds, {figures['simulated_days']} simulated days, {figures['events']:,} events, "
        f"{figures['positions_opened']} positions opened, {figures['positions_closed']} closed, {figures['processes']} processes, "
        f"{figures['run_s']} s, {figures['simulated_s_per_s']} simulated seconds a second"
    )
    for failure in failures:
        console.print(
            f"FAILED seed {failure['seed']}: invariant {failure['invariant']} at {failure['at_s']:.1f} s: {failure['seen']}\n"
            f"  again: {failure['again']}",
            markup=False,
        )


def _table(what: str, counts: dict[str, int], unit: str) -> Table:
    table = Table(what, unit, box=None, pad_edge=False)
    for name, count in counts.items():
        table.add_row(name, f"{count:,}")
    return table


def _print_kinds() -> None:
    from sim.faults.catalogue import CATALOGUE

    table = Table("number", "fault", "what it does", "parameters (in brackets: not drawn)", box=None, pad_edge=False)
    for name, spec in CATALOGUE.items():
        table.add_row(
            ", ".join(map(str, spec.numbers)),
            name,
            spec.does,
            ", ".join((*spec.params, *(f"({name})" for name in spec.more))),
        )
    wide_console().print(table)

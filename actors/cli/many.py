"""`backtest --walk-forward` and `backtest --matrix`: several backtests from one command, told side by side."""

from __future__ import annotations

import json as json_text
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import typer
from msgspec.structs import replace
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from actors.cli.errors import Exit, bad_input, stop
from actors.cli.options import settings_for
from actors.cli.research import wide_console
from actors.modes.backtest import KINDS, Sources
from actors.modes.many import Job, NoCluster, run_many
from actors.modes.plans import BadPlan, combinations, midnight_us, read_lengths, read_matrix, windows
from config.settings import Settings
from protocol.units import DAY_US, SECOND_US

SHORT = ("trade_count", "return_pct", "max_drawdown_pct", "sharpe", "profit_factor", "expectancy_r")
"""What fits a terminal; the report and --json have it all."""


def walk_forward(
    text: str, settings: Settings, sources: Sources, start_us: int | None, end_us: int | None, **how: Any
) -> None:
    """The same parameters on each window: its train span, which nothing is fitted on, beside the test span after it."""
    with bad_input(BadPlan):
        train, test = read_lengths(text)
        first, last = _span(settings, sources.data, start_us, end_us)
        spans = windows(train, test, first, last)
    jobs = [
        Job(
            name=f"{name} {begin} to {end}",
            settings=settings,
            sources=sources,
            start_us=midnight_us(begin),
            end_us=midnight_us(end),
        )
        for window in spans
        for name, begin, end in (("train", window.train, window.test), ("test", window.test, window.end))
    ]
    note = (
        "Fixed parameters, nothing is fitted: train shows the span before each test, with the same parameters. Every span begins with a fresh account and "
        "the history before it as warm-up."
    )
    _run(jobs, "Walk-forward", text, note, **how)


def _span(settings: Settings, data: Mapping[str, Path], start_us: int | None, end_us: int | None) -> tuple[date, date]:
    """The days that all data covers, within what was asked for."""
    from actors.modes.account import SYNTHETIC_DAYS
    from actors.modes.backtest import for_history
    from sim.market.files import BadCandleFile, parse_moment, read_candles

    if data:
        with bad_input(BadCandleFile):
            read = [read_candles(file, "15m").time for file in data.values()]
        first, last = max(int(t[0]) for t in read) * 1000, (min(int(t[-1]) for t in read) + 900_000) * 1000
    else:
        first = parse_moment(for_history(settings, {}).market.start) * 1000
        last = first + SYNTHETIC_DAYS * DAY_US
    first = max(first, start_us or first)
    last = min(last, end_us or last)
    days = [datetime.fromtimestamp(at // SECOND_US, UTC).date() for at in (first + DAY_US - 1, last)]
    return days[0], days[1]


def matrix(
    file: Path, config: Path | None, sources: Sources, start_us: int | None, end_us: int | None, **how: Any
) -> None:
    """All combinations of a matrix file over `config`; what the command line names goes before the file's own."""
    with bad_input(BadPlan):
        plan = read_matrix(file)
    base = settings_for("backtest", "paper", config)
    sources = replace(
        sources,
        **{kind: getattr(sources, kind) or getattr(plan, kind) for kind in KINDS},
        history=sources.history or plan.series,
    )
    jobs = []
    for name, chosen in combinations(plan):
        settings = settings_for(
            "backtest", "paper", config, _with_symbols(file, chosen, base), overrides_from=f"{file}: {name}"
        )
        if sources.data:
            lacking = [s.spot for s in settings.symbols if s.spot not in sources.data]
            if lacking and "symbols" in chosen:
                raise stop(Exit.BAD_INPUT, f"error: {file}: {name}: no data for {lacking[0]}")
        jobs.append(
            Job(
                name=name,
                settings=settings,
                sources=sources,
                start_us=start_us if plan.start is None or start_us is not None else midnight_us(plan.start),
                end_us=end_us if plan.end is None or end_us is not None else midnight_us(plan.end) + DAY_US,
            )
        )
    _run(jobs, "Matrix", file.name, f"{len(jobs)} runs; each begins with a fresh account.", **how)


def _with_symbols(file: Path, chosen: Mapping[str, Any], base: Settings) -> dict[str, Any]:
    """The settings of one run, spot symbols written out as pairs."""
    if "symbols" not in chosen:
        return dict(chosen)
    wanted = chosen["symbols"] if isinstance(chosen["symbols"], list) else [chosen["symbols"]]
    unknown = [symbol for symbol in wanted if symbol not in base.futures_of]
    if unknown:
        known = ", ".join(base.futures_of)
        raise stop(Exit.BAD_INPUT, f"error: {file}: symbols: unknown symbol {unknown[0]!r}; configured are {known}")
    return {**chosen, "symbols": [{"spot": symbol, "futures": base.futures_of[symbol]} for symbol in wanted]}


def _run(
    jobs: Sequence[Job],
    title: str,
    subtitle: str,
    note: str,
    *,
    workers: int | None,
    scheduler: str | None,
    report: Path | None,
    json: bool,
) -> None:
    from sim.market.files import BadCandleFile, BadPeriod
    from sim.report.comparison import comparison, headings, row
    from sim.report.page import keep

    console = Console(stderr=True)
    columns = (TextColumn("backtests"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with (
        Progress(*columns, console=console, transient=True, disable=json or not console.is_terminal) as progress,
        bad_input(BadCandleFile, BadPeriod),
    ):
        bar = progress.add_task("", total=len(jobs))
        try:
            documents = run_many(
                jobs,
                workers=workers,
                scheduler=scheduler,
                on_progress=lambda done, total: progress.update(bar, completed=done, total=total),
            )
        except NoCluster as error:
            raise stop(Exit.FAILED, f"error: {error}") from error
    if report is not None:
        keep(comparison(title, subtitle, documents, note=note), report)
    if json:
        typer.echo(json_text.dumps({"runs": documents}, default=str, allow_nan=False))
        return
    table = Table(box=None)
    table.add_column("run", no_wrap=True)
    for name in headings(SHORT):
        table.add_column(name, justify="right", no_wrap=True)
    for document in documents:
        table.add_row(document["name"], *row(document, SHORT))
    wide_console().print(table)

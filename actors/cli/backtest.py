"""`backtest`: the same tree over recorded candles and the simulated exchange."""

from __future__ import annotations

import json as json_text
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from actors.cli.errors import Exit, bad_input, stop
from actors.cli.loading import uncollected
from actors.cli.options import AsJson, ConfigFile, day_us, files_by_series, files_by_symbol, one_of, settings_for
from actors.cli.research import folder_of, wide_console
from protocol.units import SECOND_US

if TYPE_CHECKING:
    from sim.market.files import GapPolicy


def backtest(
    data: Annotated[
        list[str] | None,
        typer.Option("--data", metavar="SYMBOL=FILE", help="Spot 15m candles, csv or parquet; repeat."),
    ] = None,
    perp: Annotated[
        list[str] | None,
        typer.Option("--perp", metavar="SYMBOL=FILE", help="Perpetual or mark candles (1m to 1h): the real basis."),
    ] = None,
    funding: Annotated[
        list[str] | None, typer.Option("--funding", metavar="SYMBOL=FILE", help="Funding rates: time, rate per 8 h.")
    ] = None,
    path: Annotated[
        list[str] | None,
        typer.Option(
            "--path", metavar="SYMBOL=FILE", help="Spot candles of 1 or 5 minutes: the way inside the 15m ones."
        ),
    ] = None,
    history: Annotated[
        list[str] | None,
        typer.Option(
            "--history", metavar="SYMBOL:TF=FILE", help="Native 1h, 4h or 1d candles from before: the bias is warm."
        ),
    ] = None,
    gap_policy: Annotated[
        str | None,
        typer.Option(
            "--gap-policy",
            help="Missing candles. fill: flat, without entries. reset: the strategy starts anew. halt: refuse the file "
            "(default: strategy.gap_policy of your own settings, else fill).",
        ),
    ] = None,
    start: Annotated[str | None, typer.Option("--start", help="First day, UTC: 2023-01-01.")] = None,
    end: Annotated[str | None, typer.Option("--end", help="Last day, UTC, included.")] = None,
    config: ConfigFile = None,
    synthetic: Annotated[
        bool, typer.Option("--synthetic", help="The seeded synthetic market, whatever the store holds.")
    ] = False,
    driver: Annotated[str, typer.Option("--driver", help="loop: fast. trio: the shell of live trading.")] = "loop",
    report: Annotated[
        Path | None, typer.Option("--report", metavar="FILE.html", help="The whole report as one file; works offline.")
    ] = None,
    state: Annotated[
        Path | None,
        typer.Option(
            "--state",
            metavar="DIR",
            help="Keep the journal of every step here, for `explain --mode backtest --state DIR`.",
        ),
    ] = None,
    walk_forward: Annotated[
        str | None,
        typer.Option("--walk-forward", metavar="train=12mo,test=3mo", help="Fixed parameters on window after window."),
    ] = None,
    matrix: Annotated[
        Path | None,
        typer.Option("--matrix", metavar="FILE.yaml", help="Several configurations, symbols, seeds side by side."),
    ] = None,
    jobs: Annotated[
        int | None, typer.Option("--jobs", min=1, help="Processes for several backtests (default: one a core).")
    ] = None,
    scheduler: Annotated[
        str | None,
        typer.Option("--scheduler", metavar="ADDRESS", help="Run several backtests on this dask cluster instead."),
    ] = None,
    json: AsJson = False,
) -> None:
    """Run one backtest and print its result, or several side by side. Without --data it reads the store (`data fetch`), and
    where that lacks a symbol's 15m candles it runs on the seeded synthetic market.
    """
    one_of("--driver", driver, "loop", "trio")
    if gap_policy is not None:
        one_of("--gap-policy", gap_policy, "fill", "reset", "halt")
    policy = cast("GapPolicy | None", gap_policy)
    if walk_forward is not None and matrix is not None:
        raise stop(Exit.BAD_INPUT, "error: --walk-forward and --matrix: one of them at a time")
    first, last = day_us(start, "--start"), day_us(end, "--end")
    if first is not None and last is not None and last < first:
        raise stop(Exit.BAD_INPUT, f"error: --end {end} lies before --start {start}")
    if report is not None:
        folder_of("--report", report)
    settings = settings_for("backtest", "paper", config)
    files = {
        name: files_by_symbol(name, pairs, settings)
        for name, pairs in (("data", data), ("perp", perp), ("funding", funding), ("path", path))
    }
    if not files["data"] and not synthetic:
        from actors.cli.store import stored

        files = {kind: found | files[kind] for kind, found in stored(settings).items()} | {"path": files["path"]}
    with uncollected():
        from actors.modes.backtest import Sources, run_backtest

    sources = Sources(**files, history=files_by_series("history", history, settings), gap_policy=policy)
    if state is not None and (walk_forward is not None or matrix is not None):
        raise stop(Exit.BAD_INPUT, "error: --state keeps the journal of one backtest: run that one alone")
    beside = [kind for kind in ("perp", "funding", "path", "history") if getattr(sources, kind)]
    if beside and not sources.data and matrix is None:
        raise stop(Exit.BAD_INPUT, f"error: --{beside[0]} goes with --data: the synthetic market has its own")
    end_us = None if last is None else last + 86_400 * SECOND_US
    if walk_forward is not None or matrix is not None:
        from actors.cli import many

        how: dict[str, Any] = {"workers": jobs, "scheduler": scheduler, "report": report, "json": json}
        if walk_forward is not None:
            many.walk_forward(walk_forward, settings, sources, first, end_us, **how)
        elif matrix is not None:
            many.matrix(matrix, config, sources, first, end_us, **how)
        return
    from sim.market.files import BadCandleFile, BadPeriod

    with _progress(json) as progress, bad_input(BadCandleFile, BadPeriod), _kept(state):
        bar = progress.add_task("", total=None)
        result = run_backtest(
            settings,
            sources,
            start_us=first,
            end_us=end_us,
            driver=driver,
            on_progress=lambda done, total: progress.update(bar, completed=done, total=total),
            report=report,
            state=state,
        )
    if json:
        typer.echo(json_text.dumps(result, default=str, allow_nan=False))
        return
    _print(result)


@contextmanager
def _kept(state: Path | None) -> Iterator[None]:
    """What a full disk does to the journal is one line; an earlier one is as it was. SIGTERM ends as Ctrl-C does, which leaves no half of one."""
    from protocol.ports import JournalFailed

    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    except JournalFailed as error:
        raise stop(Exit.FAILED, f"error: --state {state}: the journal could not be kept: {error}") from None
    finally:
        signal.signal(signal.SIGTERM, before)


def _progress(json: bool) -> Progress:
    console = Console(stderr=True)
    columns = (TextColumn("backtest"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, transient=True, disable=json or not console.is_terminal)


SHOWN = (
    ("net_usd", "net, USD"), ("return_pct", "return, %"), ("cagr_pct", "a year, %"), ("max_drawdown_pct", "deepest drawdown, %"),
    ("trade_count", "closed trades"), ("win_rate_pct", "win rate, %"), ("profit_factor", "profit factor"),
    ("expectancy_r", "expectancy, R"), ("sharpe", "Sharpe"), ("sortino", "Sortino"), ("exposure_pct", "time in the market, %"),
    ("leverage_max_x", "highest leverage, x"), ("candles", "15m candles"), ("run_s", "run, s"), ("digest", "digest"),
)  # fmt: skip


def _print(result: Mapping[str, Any]) -> None:
    """The figures a person looks for, costs split out, and what they were made of."""
    console = wide_console()
    console.print(_header(result), highlight=False, markup=False)
    table = Table(box=None, show_header=False)
    sure = result["confidence"]["intervals"]
    for name, label in SHOWN:
        between = sure.get(name)
        chance = f"95 % between {between[0]:,.2f} and {between[1]:,.2f}" if between else ""
        table.add_row(label, _number(result[name]), chance)
    console.print(table)
    cuts = Table(box=None)
    for name in (
        "closed trades",
        "trades",
        "gross",
        "slippage",
        "fees",
        "funding",
        "net",
        "win rate, %",
        "expectancy, R",
    ):
        cuts.add_column(name, justify="left" if name == "closed trades" else "right")
    groups = {name: one for by, cut in result["by"].items() if by != "month" for name, one in cut.items()}
    groups["all, open ones too"] = result["costs"]
    for name, one in groups.items():
        money = [_number(one[f"{key}_usd"]) for key in ("gross", "slippage", "fees", "funding", "net")]
        cuts.add_row(name, str(one["trades"]), *money, _number(one["win_rate_pct"]), _number(one["expectancy_r"]))
    console.print()
    console.print(cuts)
    for symbol, spans in result["filled"].items():
        if spans:
            console.print(f"{symbol}: no candles in the source, {'; '.join(spans)}", highlight=False)


def _header(result: Mapping[str, Any]) -> str:
    """Of what span and market the figures are, and what became of the signals: without it a run that could not trade looks like one
    that need not.
    """
    from sim.report.prose import course, decided, span

    decisions, assumed = result["decisions"], result["assumed"]
    why = ", ".join(
        f"{reason} {count}" for by in ("refused_by", "blocked_by") for reason, count in decisions[by].items()
    )
    return (
        f"{span(result['period'])}, profile {result['profile']}: {course(decisions)}.\n"
        f"{decided(decisions)}{f' ({why})' if why else ''}.\n"
        f"Basis: {assumed['basis']}. Funding: {assumed['funding']}. Native candles from before: {assumed.get('history', 'none')}.\n"
    )


def _number(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, int):
        return f"{value:,}"
    try:
        return f"{Decimal(str(value)):,.2f}"
    except InvalidOperation:
        return str(value)

"""`backtest`: the same tree over recorded candles and the simulated exchange."""

from __future__ import annotations

import json as json_text
from collections.abc import Mapping
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from actors.cli.errors import Exit, bad_input, stop
from actors.cli.options import AsJson, ConfigFile, day_us, files_by_symbol, one_of, settings_for
from protocol.units import SECOND_US

Files = Annotated[list[str] | None, typer.Option(metavar="SYMBOL=FILE")]


def backtest(
    data: Annotated[
        list[str] | None,
        typer.Option("--data", metavar="SYMBOL=FILE", help="Spot 15m candles, csv or parquet; repeat."),
    ] = None,
    perp: Annotated[
        list[str] | None, typer.Option("--perp", metavar="SYMBOL=FILE", help="Perpetual 15m candles: the real basis.")
    ] = None,
    funding: Annotated[
        list[str] | None, typer.Option("--funding", metavar="SYMBOL=FILE", help="Funding rates: time, rate per 8 h.")
    ] = None,
    start: Annotated[str | None, typer.Option("--start", help="First day, UTC: 2023-01-01.")] = None,
    end: Annotated[str | None, typer.Option("--end", help="Last day, UTC, included.")] = None,
    config: ConfigFile = None,
    driver: Annotated[str, typer.Option("--driver", help="loop: fast. trio: the shell of live trading.")] = "loop",
    json: AsJson = False,
) -> None:
    """Run one backtest and print its result. Without --data it runs on the seeded synthetic market."""
    one_of("--driver", driver, "loop", "trio")
    first, last = day_us(start, "--start"), day_us(end, "--end")
    if first is not None and last is not None and last < first:
        raise stop(Exit.BAD_INPUT, f"error: --end {end} lies before --start {start}")
    settings = settings_for("backtest", "paper", config)
    files = {
        name: files_by_symbol(name, pairs, settings)
        for name, pairs in (("data", data), ("perp", perp), ("funding", funding))
    }
    from actors.modes.backtest import run_backtest
    from sim.files import BadCandleFile, BadPeriod

    end_us = None if last is None else last + 86_400 * SECOND_US
    with _progress(json) as progress, bad_input(BadCandleFile, BadPeriod):
        bar = progress.add_task("", total=None)
        result = run_backtest(
            settings,
            data=files["data"],
            perp=files["perp"],
            funding=files["funding"],
            start_us=first,
            end_us=end_us,
            driver=driver,
            on_progress=lambda done, total: progress.update(bar, completed=done, total=total),
        )
    if json:
        typer.echo(json_text.dumps(result, default=str, allow_nan=False))
        return
    _print(result)


def _progress(json: bool) -> Progress:
    console = Console(stderr=True)
    columns = (TextColumn("backtest"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, transient=True, disable=json or not console.is_terminal)


def _print(result: Mapping[str, object]) -> None:
    console = Console(highlight=False, soft_wrap=True)
    table = Table(box=None, show_header=False)
    for name, value in result.items():
        if isinstance(value, dict | list):
            continue
        table.add_row(name, "none" if value is None else f"{value:,.4f}" if isinstance(value, float) else str(value))
    console.print(table)

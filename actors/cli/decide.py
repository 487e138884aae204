"""`decide`: every entry decision of a candle file, and which rule refused how many."""

from __future__ import annotations

import json as json_text
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer
from rich.table import Table

from actors.cli.errors import ERRORS, bad_input
from actors.cli.options import AsJson
from actors.cli.research import (
    From,
    Preset,
    Sets,
    columns,
    minute,
    missing,
    moment_ms,
    read_base,
    strategy_params,
    symbol_files,
    wide_console,
    working,
)

NEWEST_SIGNALS = 20

NUMBERS = ("entry", "stop", "target", "R", "bars")

Row = Mapping[str, Any]


def decide(
    data: Annotated[list[str], typer.Option("--data", metavar="SYMBOL=FILE", help="15m candles; repeat.")],
    preset: Preset = "runner",
    sets: Sets = None,
    begin: From = None,
    exits: Annotated[
        bool, typer.Option("--exits", help="Follow each signal to its exit, as entered at its close, costs left out.")
    ] = False,
    json: AsJson = False,
) -> None:
    """Decide a whole history: one row for each closed execution candle, and how many each rule refused.

    JSON: a list of rows with `symbol, time` (ms), `tf, side, primary_reason, fails`; signals also have `entry, stop, tp,
    zone_id, tp_source, id`, and with --exits `code, exit_time, exit_price, bars_held, last_stop` (null: still open).
    """
    params = strategy_params(preset, sets)
    files, begin_ms = symbol_files(data), moment_ms("--from", begin)
    from actors.strategy.history import decide_history
    from sim.market.files import BadCandleFile

    with bad_input(BadCandleFile), working("deciding ..."):
        read = {symbol: read_base(file) for symbol, file in files.items()}
        for symbol, candles in read.items():
            lacking = missing(candles, "15m")
            if lacking and params.gap_policy == "halt":
                ERRORS.print(
                    f"{symbol}: {lacking} candles are missing and gap_policy is halt: no decision after the first gap; "
                    "see --set gap_policy=fill"
                )
        rows = decide_history({symbol: columns(candles) for symbol, candles in read.items()}, params, exits=exits)
    rows = [row for row in rows if begin_ms is None or row["time"] >= begin_ms]
    if json:
        typer.echo(json_text.dumps(rows, allow_nan=False))
        return
    console = wide_console()
    for table in (_signals(rows, exits), _funnel(rows)):
        console.print(table)
        console.print()


def _signals(rows: Sequence[Row], exits: bool) -> Table:
    """The newest signals, newest last."""
    signals = [row for row in rows if row["side"] != "hold"]
    names = ["signal", "symbol", "tf", "side", "entry", "stop", "target", "zone"]
    table = Table(box=None)
    for name in [*names, *(["exit", "at", "R", "bars"] if exits else [])]:
        table.add_column(name, no_wrap=True, justify="right" if name in NUMBERS else "left")
    table.title = f"{len(signals)} signals" + (f", the newest {NEWEST_SIGNALS}" * (len(signals) > NEWEST_SIGNALS))
    table.title_justify = "left"
    for row in signals[-NEWEST_SIGNALS:]:
        prices = [f"{row[name]:,.6g}" if row[name] < 1 else f"{row[name]:,.2f}" for name in ("entry", "stop", "tp")]
        cells = [minute(row["time"]), row["symbol"], row["tf"], row["side"], *prices, row["zone_id"]]
        table.add_row(*cells, *(_exit(row) if exits else ()))
    return table


def _exit(row: Row) -> tuple[str, ...]:
    if row["code"] is None:
        return ("open", "", "", "")
    multiple = (row["exit_price"] - row["entry"]) / (row["entry"] - row["stop"])
    return (row["code"], minute(row["exit_time"]), f"{multiple:+.2f}", str(row["bars_held"]))


def _funnel(rows: Sequence[Row]) -> Table:
    """Refusals by rule. Shares are of the decisions that were judged: data sound, warm-up over."""
    from sim.report.funnel import funnel

    counted = funnel(rows)
    table = Table(box=None, title_justify="left")
    table.title = f"{counted.decisions:,} decisions, {counted.judged:,} of them on sound data and after warm-up"
    for name in ("rule", "refused with", "here first", "share", "failed at all", "left"):
        table.add_column(name, justify="left" if name in ("rule", "refused with") else "right")
    for step in counted.steps:
        is_judged = step.rule not in ("A1", "A2")
        share = f"{step.first / counted.judged:.1%}" if is_judged and counted.judged else ""
        table.add_row(step.rule, step.code, f"{step.first:,}", share, f"{step.any:,}", f"{step.left:,}")
    signals = counted.long + counted.short
    share = f"{signals / counted.judged:.2%}" if counted.judged else ""
    table.add_row("", f"signals: {counted.long} long, {counted.short} short", f"{signals:,}", share, "", "")
    return table

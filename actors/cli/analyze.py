"""`analyze`: structure and indicators of a candle file, in the form of smc-spec 2.9."""

from __future__ import annotations

import json as json_text
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, cast

import typer
from rich.table import Table

from actors.cli.errors import Exit, bad_input, stop
from actors.cli.options import AsJson, one_of
from actors.cli.research import Preset, Sets, columns, minute, strategy_params, wide_console, working
from protocol.units import TIMEFRAME_MS, Timeframe

NEWEST_EVENTS = 12


def analyze(
    data: Annotated[Path, typer.Option("--data", metavar="FILE", help="Candles, csv or parquet.")],
    tf: Annotated[str, typer.Option("--tf", help="Timeframe of the file: 15m, 1h, 4h or 1d.")],
    preset: Preset = "runner",
    sets: Sets = None,
    gap_policy: Annotated[
        str | None,
        typer.Option("--gap-policy", help="Missing candles: halt (default) refuses, reset begins anew, fill."),
    ] = None,
    json: AsJson = False,
) -> None:
    """Show what the strategy sees in a candle file: indicators, swings, breaks, gaps, order blocks, liquidity.

    Columns: time (open, ms UTC), open, high, low, close, volume. JSON: `{indicators, bars, events}`.
    """
    timeframe = cast(Timeframe, one_of("--tf", tf, *TIMEFRAME_MS))
    params = strategy_params(preset, sets, gap_policy=gap_policy)
    from actors.strategy.analyze import analyze as analyze_candles
    from actors.strategy.series import CandleRefused
    from sim.market.files import BadCandleFile, close_gaps, read_candles

    with bad_input(BadCandleFile), working("analysing ..."):
        candles, missing = close_gaps(read_candles(data, timeframe), timeframe, "reset")
        if params.gap_policy == "fill":
            candles, _ = close_gaps(candles, timeframe, "fill")
        try:
            found = analyze_candles(columns(candles), params, TIMEFRAME_MS[timeframe])
        except CandleRefused as refused:
            how = "; --gap-policy reset or fill accepts that" if refused.code == "data.gap" else ""
            raise stop(Exit.BAD_INPUT, f"error: {data}: {refused}{how}") from refused
    if json:
        typer.echo(json_text.dumps(found, allow_nan=False))
        return
    console = wide_console()
    first, last = (minute(int(candles.time[at])) for at in (0, -1))
    lacking = "".join(f"\nnot in the file: {span}" for span in missing)
    console.print(f"{len(candles):,} candles of {tf} from {first} to {last}{lacking}")
    for table in (_newest(found), _counts(found["events"]), _last_events(found["events"])):
        console.print()
        console.print(table)


def _newest(found: Mapping[str, Any]) -> Table:
    """Indicators and state at the last candle."""
    table = Table("at the last candle", "", box=None, title_justify="left")
    for name, values in {**found["indicators"], **found["bars"]}.items():
        table.add_row(name, "undefined" if values[-1] is None else f"{values[-1]:,.4f}".rstrip("0").rstrip("."))
    return table


def _counts(events: list[dict[str, Any]]) -> Table:
    """Events by type and direction."""
    counted = Counter((event["type"], event["dir"]) for event in events)
    table = Table("event", "bullish or above", "bearish or below", box=None)
    for name in dict.fromkeys(sorted(event["type"] for event in events)):
        table.add_row(name, f"{counted[name, 1]:,}", f"{counted[name, -1]:,}")
    return table


def _last_events(events: list[dict[str, Any]]) -> Table:
    """The newest events, newest last."""
    table = Table("newest events", "", "", "", box=None)
    for event in events[-NEWEST_EVENTS:]:
        rest = {name: value for name, value in event.items() if name not in ("bar", "time", "type", "dir")}
        rest |= {name: minute(rest[name]) for name in ("src_time", "prev_time") if name in rest}
        said = ", ".join(f"{name} {value}" for name, value in rest.items())
        table.add_row(minute(event["time"]), event["type"], f"{event['dir']:+d}", said)
    return table

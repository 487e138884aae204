"""The command line: which command is in which file. Each file parses, calls and prints; none decides."""

from __future__ import annotations

import typer

from actors.cli import backtest, config, explain, kill_switch, run, status, venue

app = typer.Typer(
    name="kraken-smc",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Trades Kraken Futures perpetuals on Smart Money Concepts signals from spot candles. "
    "Start with `run --mode paper`: nothing real is traded.",
)
app.command("run")(run.run)
app.command("backtest")(backtest.backtest)
app.command("status")(status.status)
app.command("explain")(explain.explain)
app.add_typer(kill_switch.app, name="kill-switch")
app.add_typer(config.app, name="config")
app.add_typer(venue.app, name="venue")

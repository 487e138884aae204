"""The command line: which command is in which file. Each file parses, calls and prints; none decides."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import typer
from typer.core import TyperGroup
from typer.exceptions import TyperException

from actors.cli import (
    analyze,
    backtest,
    chart,
    config,
    decide,
    explain,
    hands,
    journal,
    kill_switch,
    run,
    simulate,
    status,
    venue,
)
from actors.cli.errors import Exit, ending_of, stop
from actors.cli.store import app as data


class Commands(TyperGroup):
    """The commands; what cannot be understood is one line on stderr, as every other bad input."""

    def main(self, args: Sequence[str] | None = None, standalone_mode: bool = True, **extra: Any) -> Any:  # type: ignore[override]
        """Run one command. Exits with its code in `standalone_mode`."""
        try:
            result = super().main(args, standalone_mode=False, **extra)
        except TyperException as error:
            if not standalone_mode:
                raise
            text = " ".join(error.format_message().split())
            if text:  # none: no command was given, and the help is already printed
                stop(Exit.BAD_INPUT, f"error: {text.rstrip('.')}; `--help` after the command shows what it takes")
            raise SystemExit(Exit.BAD_INPUT) from None
        except (OSError, BaseExceptionGroup) as error:
            ending = ending_of(error)
            if ending is None or not standalone_mode:
                raise
            code, text = ending
            if text:
                stop(Exit.FAILED, text)
            raise SystemExit(code) from None
        if standalone_mode:
            raise SystemExit(result if isinstance(result, int) else Exit.DONE)
        return result


app = typer.Typer(
    name="kraken-smc",
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Trades Kraken Futures perpetuals on Smart Money Concepts signals from spot candles. "
    "Start with `run --mode paper`: nothing real is traded.",
)
app.command("run")(run.run)
app.command("backtest")(backtest.backtest)
app.add_typer(data, name="data")
app.command("analyze")(analyze.analyze)
app.command("decide")(decide.decide)
app.command("chart")(chart.chart)
app.command("simulate")(simulate.simulate)
app.command("status")(status.status)
app.command("explain")(explain.explain)
app.command("positions")(hands.positions)
app.command("orders")(hands.orders)
app.command("close")(hands.close)
app.add_typer(hands.entries, name="entries")
app.add_typer(kill_switch.app, name="kill-switch")
app.add_typer(journal.app, name="journal")
app.add_typer(config.app, name="config")
app.add_typer(venue.app, name="venue")

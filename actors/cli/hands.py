"""`positions`, `orders`, `entries halt|resume`, `close`: a person's hands, with the daemon up or down."""

from __future__ import annotations

import json as json_text
from typing import Annotated, Any

import typer
from rich.table import Column, Table

from actors.cli.errors import Exit, no_site, stop
from actors.cli.options import AsJson, ConfigFile, DaemonMode, Env, StateDir, daemon_settings, person, reason
from actors.cli.research import wide_console
from config.settings import Settings
from protocol.units import moment

DryRun = Annotated[bool, typer.Option("--dry-run", help="Validate and show what would be done or sent; do nothing.")]
Why = Annotated[str, typer.Option("--reason", help="Why, for the journal.", callback=reason)]

entries = typer.Typer(no_args_is_help=True, help="Hold entries back, or let them go. Exits go on either way.")

COLUMNS = {
    "positions": ("symbol", "size", "entry_price", "liquidation_price", "stop_price", "target_price"),
    "orders": ("symbol", "side", "order_type", "size", "stop_price", "limit_price", "reduce_only", "order_id"),
}


def positions(
    mode: DaemonMode = "paper",
    env: Env = "dev",
    config: ConfigFile = None,
    state: StateDir = None,
    json: AsJson = False,
) -> None:
    """List what is held: as the running daemon knows it, else as the exchange says."""
    _list("positions", daemon_settings(mode, env, config, state), json)


def orders(
    mode: DaemonMode = "paper",
    env: Env = "dev",
    config: ConfigFile = None,
    state: StateDir = None,
    json: AsJson = False,
) -> None:
    """List what rests on the exchange: as the running daemon knows it, else as the exchange says."""
    _list("orders", daemon_settings(mode, env, config, state), json)


@entries.command("halt")
def halt(
    reason: Why,
    symbol: Annotated[str, typer.Option("--symbol", help="Only this market (default: all).")] = "",
    mode: DaemonMode = "paper",
    env: Env = "dev",
    config: ConfigFile = None,
    state: StateDir = None,
    dry_run: DryRun = False,
    json: AsJson = False,
) -> None:
    """Let no entry leave until `entries resume`, restarts included. Stops, targets and exits go on."""
    settings = daemon_settings(mode, env, config, state)
    _ask(settings, json, ask="halt", reason=reason, symbol=_market(settings, symbol), dry_run=dry_run)


@entries.command("resume")
def resume(
    reason: Why,
    symbol: Annotated[str, typer.Option("--symbol", help="The market that was halted (default: all).")] = "",
    key: Annotated[str, typer.Option("--key", help="Of another halt, as `status` names it after gate.halt.")] = "",
    mode: DaemonMode = "paper",
    env: Env = "dev",
    config: ConfigFile = None,
    state: StateDir = None,
    dry_run: DryRun = False,
    json: AsJson = False,
) -> None:
    """End a person's halt, or one that only a person may end."""
    settings = daemon_settings(mode, env, config, state)
    _ask(settings, json, ask="resume", reason=reason, symbol=_market(settings, symbol), key=key, dry_run=dry_run)


def close(
    symbol: Annotated[str, typer.Argument(metavar="SYMBOL", help="The market, by its futures or its spot name.")],
    reason: Why,
    mode: DaemonMode = "paper",
    env: Env = "dev",
    config: ConfigFile = None,
    state: StateDir = None,
    dry_run: DryRun = False,
    json: AsJson = False,
) -> None:
    """Close one position by a reduce-only market order; its stop rests until it is flat."""
    settings = daemon_settings(mode, env, config, state)
    _ask(settings, json, ask="close", reason=reason, symbol=_market(settings, symbol), dry_run=dry_run)


def _market(settings: Settings, name: str) -> str:
    """The futures name of a configured market; empty stays empty."""
    symbol = settings.futures_of.get(name, name)
    if symbol and symbol not in settings.spot_of:
        raise stop(Exit.BAD_INPUT, f"error: SYMBOL {name!r} is none of {', '.join(settings.spot_of)}")
    return symbol


def _ask(settings: Settings, json: bool, **request: Any) -> None:
    from actors.modes.manual import ask

    with no_site():
        answer = ask(settings, {**request, "by": person()})
    if json:
        typer.echo(json_text.dumps({"done": answer.done, "text": answer.text, "payloads": answer.payloads}))
    else:
        typer.echo(answer.text)
        for line in answer.payloads:
            typer.echo(f"  {line}")
    raise typer.Exit(int(Exit.DONE if answer.done else Exit.FAILED))


def _list(what: str, settings: Settings, json: bool) -> None:
    from actors.modes.manual import open_things

    with no_site():
        found = open_things(settings)
    rows = found[what]
    if json:
        typer.echo(json_text.dumps({"source": found["source"], "at": found["at"], what: rows}))
        return
    console = wide_console()
    if not rows:
        console.print(f"no {what}, says the {found['source']}")
        return
    columns = [column for column in COLUMNS[what] if column in rows[0]]
    table = Table(*(Column(column, overflow="fold") for column in columns), box=None)
    for row in rows:
        table.add_row(*("" if row[column] is None else str(row[column]) for column in columns))
    console.print(f"as the {found['source']} says, {moment(found['at'])} UTC")
    console.print(table)

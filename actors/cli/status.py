"""`status`: may it trade, what is held, is it protected, what is it worth."""

from __future__ import annotations

import json as json_text
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from actors.cli.errors import Exit, stop
from actors.cli.options import AsJson, ConfigFile, Env, StateDir, settings_for, trading_mode
from actors.cli.research import wide_console
from actors.state import StateDirectory
from config.settings import Settings
from protocol.units import moment


def status(
    mode: Annotated[str, typer.Option("--mode", help="paper or live.")] = "paper",
    env: Env = "dev",
    config: ConfigFile = None,
    state: StateDir = None,
    json: AsJson = False,
) -> None:
    """Show positions, protection, leverage, equity, leases, latch and health of the daemon."""
    kind = trading_mode(mode)
    settings = settings_for(kind, env, config, state=state)
    directory = StateDirectory(Path(settings.store.directory), settings.mode, settings.env)
    page = directory.read_status()
    if page is None:
        raise stop(Exit.FAILED, f"no daemon has run on {directory.path} yet: start one with `run --mode {kind}`")
    page = {"running": directory.owned_by_other(), **page}
    if not page["running"]:
        page["latched"] = _latched(settings)  # perhaps since that last word
    if json:
        typer.echo(json_text.dumps(page))
        return
    _print(page)


def _latched(settings: Settings) -> bool | None:
    """Whether the kill switch is latched now, None when nobody can tell."""
    from actors.modes.emergency import latch_state
    from actors.modes.sites import StaleState

    try:
        return latch_state(settings).latched
    except StaleState:
        return None


def _print(page: dict[str, Any]) -> None:
    console = wide_console()
    running = "[green]running[/]" if page["running"] else "[yellow]not running[/] (the exchange keeps the stops)"
    console.print(f"daemon    {running}, last word {moment(page['at'])} UTC")
    closed = f"[yellow]closed[/] by {', '.join(page['closed_by'])}" if page["closed_by"] else "[green]open[/]"
    console.print(f"entries   {closed if page['running'] else '[yellow]closed[/]: no daemon is running'}")
    if page["latched"] is not False:
        latched = "[bold red]latched[/]" if page["latched"] else "[yellow]unknown whether latched[/]"
        console.print(f"kill      {latched}: see `kill-switch status`")
    console.print(f"equity    {page['equity_usd'] or 'unknown'} USD, leverage {page['effective_leverage'] or 'none'}")
    console.print(f"trades    {page['trades_closed']} closed this run, PnL {page['pnl_usd']} USD")
    if not page["positions"]:
        console.print("positions none")
        return
    table = Table("symbol", "size", "entry", "mark", "stop", "target", "liquidation", box=None)
    for row in page["positions"]:
        cells = ("symbol", "size", "entry_price", "mark", "stop_price", "target_price", "liquidation_price")
        table.add_row(*(str(row[cell] if row[cell] is not None else "unknown") for cell in cells))
    console.print(table)

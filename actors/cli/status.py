"""`status`: may it trade, what is held, is it protected, what is it worth."""

from __future__ import annotations

import json as json_text
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from actors.cli.durations import seconds_of
from actors.cli.errors import Exit, stop
from actors.cli.options import AsJson, ConfigFile, Env, StateDir, settings_for, trading_mode
from actors.cli.research import wide_console
from actors.state import StateDirectory
from config.settings import Settings
from protocol.units import SECOND_US, moment


def status(
    mode: Annotated[str, typer.Option("--mode", help="paper or live.")] = "paper",
    env: Env = "dev",
    config: ConfigFile = None,
    state: StateDir = None,
    within: Annotated[
        str | None,
        typer.Option("--within", help="Fail unless a daemon runs and has published within so long (1m): it may hang."),
    ] = None,
    json: AsJson = False,
) -> None:
    """Show positions, protection, leverage, equity, leases, latch and health of the daemon."""
    try:
        within_s = None if within is None else seconds_of(within)
    except ValueError as error:
        raise stop(Exit.BAD_INPUT, f"error: --within {error}") from None
    kind = trading_mode(mode)
    settings = settings_for(kind, env, config, state=state)
    directory = StateDirectory(Path(settings.store.directory), settings.mode, settings.env)
    page = directory.read_status()
    if page is None:
        raise stop(Exit.FAILED, f"no daemon has run on {directory.path} yet: start one with `run --mode {kind}`")
    page = {"running": directory.owned_by_other(), **page}
    if within_s is not None:
        _must_live(directory, bool(page["running"]), within_s)
    if not page["running"]:
        page["latched"] = _latched(settings)  # perhaps since that last word
    if json:
        typer.echo(json_text.dumps(page))
        return
    _print(page)


def _must_live(directory: StateDirectory, running: bool, within_s: float) -> None:
    """A daemon that hangs still holds its lock, and what it published last looks well."""
    from sim.clock import SystemClock

    if not running:
        raise stop(Exit.FAILED, f"no daemon is running on {directory.path}")
    age_s = (SystemClock().now_us() - directory.published_at()) / SECOND_US
    if age_s > within_s:
        text = f"the daemon on {directory.path} has published nothing for {age_s:.0f} s: it hangs, or cannot write"
        raise stop(Exit.FAILED, text)


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
    for symbol, margin in page.get("margin", {}).items():
        if margin != "cross":
            console.print(f"margin    [yellow]{symbol} {margin}[/]: no entry leaves in it, see MARGIN_MODE")
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

"""`kill-switch`: cancel everything, flatten, and stay latched until a person acknowledges."""

from __future__ import annotations

import json as json_text
from typing import Annotated

import typer
from rich.console import Console

from actors.cli.errors import Exit, no_site
from actors.cli.options import AsJson, ConfigFile, DaemonMode, Env, StateDir, daemon_settings, person, written
from actors.cli.options import reason as why
from protocol.units import moment

app = typer.Typer(
    invoke_without_command=True, help="Cancel all orders, flatten all positions, latch until acknowledged."
)


@app.callback()
def emergency(
    context: typer.Context,
    emergency: Annotated[bool, typer.Option("--emergency", help="Do it now, daemon up or down.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the first orders as they would be sent; send and latch nothing.")
    ] = False,
    reason: Annotated[str, typer.Option("--reason", help="Why, for the journal.", callback=written)] = "emergency",
    mode: DaemonMode = "paper",
    env: Env = "dev",
    config: ConfigFile = None,
    state: StateDir = None,
) -> None:
    """Cancel all orders, flatten all positions, latch until acknowledged."""
    if context.invoked_subcommand is not None:
        return
    if not (emergency or dry_run):
        typer.echo(context.get_help())
        raise typer.Exit(int(Exit.DONE))
    from actors.modes.emergency import kill, rehearse

    console = Console(highlight=False, soft_wrap=True)
    if dry_run:
        with no_site():
            payloads = rehearse(daemon_settings(mode, env, config, state))
        for payload in payloads:
            console.print(payload, markup=False)
        console.print("dry run: nothing was sent, nothing is latched" if payloads else "dry run: nothing is open")
        raise typer.Exit(int(Exit.DONE))
    with no_site():
        outcome = kill(daemon_settings(mode, env, config, state), reason, person())
    console.print(outcome.text, markup=False)
    raise typer.Exit(int(Exit.DONE if outcome.flat else Exit.FAILED))


@app.command("status")
def status(
    mode: DaemonMode = "paper",
    env: Env = "dev",
    config: ConfigFile = None,
    state: StateDir = None,
    json: AsJson = False,
) -> None:
    """Say whether the kill switch is latched, since when, by whom and why."""
    from actors.modes.emergency import latch_state

    with no_site():
        latch = latch_state(daemon_settings(mode, env, config, state))
    if json:
        typer.echo(json_text.dumps({"latched": latch.latched, "reason": latch.reason, "by": latch.by, "at": latch.at}))
    elif latch.latched:
        typer.echo(f"latched at {moment(latch.at)} UTC by {latch.by}: {latch.reason}")
    else:
        typer.echo("not latched")


@app.command("ack")
def acknowledge(
    reason: Annotated[str, typer.Option("--reason", help="Why it is safe to trade again.", callback=why)],
    mode: DaemonMode = "paper",
    env: Env = "dev",
    config: ConfigFile = None,
    state: StateDir = None,
) -> None:
    """Acknowledge: clear the latch. Refused while a daemon runs or anything is open."""
    from actors.modes.emergency import acknowledge as clear

    with no_site():
        text = clear(daemon_settings(mode, env, config, state), reason, person())
    typer.echo(text)

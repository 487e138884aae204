"""`journal`: whether the record is whole, and letting go of what is old."""

from __future__ import annotations

import json as json_text
from contextlib import AbstractContextManager
from typing import Annotated

import typer
from rich.console import Console

from actors.cli.durations import seconds_of
from actors.cli.errors import Exit, no_site, stop
from actors.cli.options import AsJson, ConfigFile, DaemonMode, Env, StateDir, daemon_settings
from protocol.units import moment

app = typer.Typer(no_args_is_help=True, help="The daemon's record: checked, and kept from growing for ever.")

MEGABYTE = 1_000_000


@app.command("check")
def check(
    mode: DaemonMode = "paper",
    env: Env = "dev",
    config: ConfigFile = None,
    state: StateDir = None,
    json: AsJson = False,
) -> None:
    """Check the seal of every page. Exit 1 when one was edited, swapped or is missing.

    A cut at the end shows only against an earlier newest seal: keep the one that is printed somewhere else.
    """
    from actors.modes.upkeep import check as check_seals

    with no_site(), working("checking seals"):
        verdict = check_seals(daemon_settings(mode, env, config, state))
    if json:
        typer.echo(json_text.dumps({"steps": verdict.steps, "newest_seal": verdict.head, "fault": verdict.fault}))
    else:
        typer.echo(verdict.fault or f"whole: {verdict.steps:,} steps, newest seal {verdict.head}")
    raise typer.Exit(int(Exit.FAILED if verdict.fault else Exit.DONE))


@app.command("prune")
def prune(
    older_than: Annotated[
        str, typer.Option("--older-than", help="Than the newest record: 90d. The market's time on paper.")
    ],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would go; let nothing go.")] = False,
    mode: DaemonMode = "paper",
    env: Env = "dev",
    config: ConfigFile = None,
    state: StateDir = None,
    json: AsJson = False,
) -> None:
    """Let go of old records: marks, candles, readings and steps. Refused while a daemon runs.

    Trades, orders, fills, equity, signals and what `explain` tells of them by name stay, as do the kill switch and all that the daemon
    remembers. What goes is gone: copy the state directory first if it may be asked for.
    """
    from actors.modes.upkeep import prune as let_go

    try:
        seconds = seconds_of(older_than)
    except ValueError as error:
        raise stop(Exit.BAD_INPUT, f"error: --older-than {error}") from None
    with no_site(), working("letting go of old records"):
        found = let_go(daemon_settings(mode, env, config, state), seconds, dry_run=dry_run)
    gone = found.gone
    if json:
        figures = {"steps": 0, "bytes": 0} if gone is None else {"steps": gone.steps, "bytes": gone.size}
        until = None if gone is None else gone.to_at
        typer.echo(json_text.dumps({**figures, "until": until, "dry_run": dry_run, "note": found.note}))
        return
    if gone is None:
        typer.echo(f"no record is older than {older_than}: nothing is let go")
        return
    would = "dry run: would let go of" if dry_run else "let go of"
    typer.echo(f"{would} {gone.steps:,} steps until {moment(gone.to_at)} UTC, {gone.size / MEGABYTE:,.1f} MB")
    if found.note:
        typer.echo(f"note: {found.note}")


def working(what: str) -> AbstractContextManager[object]:
    """Shows a person that something long goes on; nothing where nobody looks."""
    return Console(stderr=True).status(what)

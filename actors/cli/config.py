"""`config check` and `config show`: what is in force, and whether it is sound."""

from __future__ import annotations

from typing import Annotated, cast

import typer
from rich.console import Console

from actors.cli.options import AsJson, ConfigFile, Env, one_of, settings_for
from config.settings import Mode

app = typer.Typer(no_args_is_help=True, help="Check the settings, or show the ones in force.")
ModeOption = Annotated[str, typer.Option("--mode", help="backtest, paper or live.")]


def _mode(mode: str) -> Mode:
    return cast(Mode, one_of("--mode", mode, "backtest", "paper", "live"))


@app.command("check")
def check(mode: ModeOption = "paper", env: Env = "dev", config: ConfigFile = None) -> None:
    """Read the settings and say whether they are sound: exit 0, or 2 with the field that is not."""
    settings = settings_for(_mode(mode), env, config)
    names = ", ".join(f"{s.spot} -> {s.futures}" for s in settings.symbols)
    Console(highlight=False, soft_wrap=True).print(
        f"ok: mode {settings.mode}, env {settings.env}, profile {settings.profile}, symbols {names}"
    )


@app.command("show")
def show(mode: ModeOption = "paper", env: Env = "dev", config: ConfigFile = None, json: AsJson = False) -> None:
    """Print every effective value."""
    settings = settings_for(_mode(mode), env, config)
    if json:
        typer.echo(settings.model_dump_json(indent=2))
        return
    console = Console(highlight=False, soft_wrap=True)
    for section, values in settings.model_dump(mode="json").items():
        if not isinstance(values, dict):
            console.print(f"{section}: {values}", markup=False)
            continue
        for name, value in values.items():
            console.print(f"{section}.{name}: {value}", markup=False)

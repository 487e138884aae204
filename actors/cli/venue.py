"""`venue serve`: the simulated Kraken on loopback, for any client."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from actors.cli.options import settings_for

app = typer.Typer(no_args_is_help=True, help="The simulated exchange as a server.")


@app.callback()
def venue() -> None:
    """The simulated exchange as a server."""


@app.command("serve")
def serve(
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0 takes a free one.")] = 8787,
    speed: Annotated[float, typer.Option("--speed", min=0.001, help="Market seconds a second.")] = 1.0,
    seed: Annotated[
        int | None, typer.Option("--seed", min=0, help="Seed of the synthetic market and of the key.")
    ] = None,
    config: Annotated[Path | None, typer.Option("--config", help="Settings over the environment's own.")] = None,
) -> None:
    """Serve Kraken's spot and futures protocol on 127.0.0.1 until Ctrl-C; prints the base URLs and a key pair."""
    from actors.modes.serve import serve_venue

    market = {"speed": speed, **({} if seed is None else {"seed": seed})}
    settings = settings_for("paper", "dev", config, {"market": market})
    console = Console(highlight=False, soft_wrap=True)
    serve_venue(settings, port, lambda text: console.print(text, markup=False))

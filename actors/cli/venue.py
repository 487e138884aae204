"""`venue serve`: the simulated Kraken on loopback, for any client."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from actors.cli.errors import Exit, bad_input, stop
from actors.cli.options import ConfigFile, day_us, files_by_symbol, settings_for

app = typer.Typer(no_args_is_help=True, help="The simulated exchange as a server.")


@app.callback()
def venue() -> None:
    """The simulated exchange as a server."""


@app.command("serve")
def serve(
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0 takes a free one.")] = 8787,
    speed: Annotated[float, typer.Option("--speed", min=0.001, help="Market seconds a second.")] = 1.0,
    seed: Annotated[
        int | None, typer.Option("--seed", min=0, help="Seed of the synthetic market and of the keys.")
    ] = None,
    data: Annotated[
        list[str] | None,
        typer.Option(
            "--data", help="SYMBOL=FILE: real 15m spot candles (csv, parquet) instead of the synthetic market."
        ),
    ] = None,
    start: Annotated[str | None, typer.Option("--start", help="With --data: first day of trading, 2023-01-31.")] = None,
    faults: Annotated[
        Path | None, typer.Option("--faults", help="A plan of faults (YAML): what goes wrong, when, for how long.")
    ] = None,
    control: Annotated[
        bool, typer.Option("--control", help="Let faults be switched at /control/faults (GET, POST a plan, DELETE).")
    ] = False,
    books: Annotated[
        Path | None,
        typer.Option("--books", help="Keep orders, positions and money in this file; a venue killed goes on from it."),
    ] = None,
    config: ConfigFile = None,
) -> None:
    """Serve Kraken's spot and futures protocol on 127.0.0.1 until Ctrl-C; prints the base URLs and two key pairs.

    Point any client of Kraken at the URLs. For ccxt's krakenfutures replace in `urls["api"]`: public and private by
    http://127.0.0.1:PORT/derivatives/api/, charts by http://127.0.0.1:PORT/api/charts/, history by .../api/history/, ws by
    ws://127.0.0.1:PORT/ws/v1. For python-kraken-sdk pass url="http://127.0.0.1:PORT".

    A plan that loses every second answer to an order for a minute, ten seconds from now, as a file for --faults or by
    `curl --data-binary @plan.yaml http://127.0.0.1:PORT/control/faults`:

      faults: [{fault: rest.drop_reply, at_s: 10, for_s: 60, p: 0.5, op: send}]
    """
    settings = settings_for(
        "paper", "dev", config, {"market": {"speed": speed, **({} if seed is None else {"seed": seed})}}
    )
    from actors.modes.serve import BadBooks, Wanted, serve_venue
    from sim.faults import BadPlan, Plan, read_plan
    from sim.market.files import BadCandleFile, BadPeriod

    with bad_input(BadPlan):
        plan = Plan() if faults is None else read_plan(faults)
    first = day_us(start, "--start")
    wanted = Wanted(
        files_by_symbol("data", data, settings), None if first is None else first // 1000, plan, control, books
    )
    console = Console(highlight=False, soft_wrap=True)
    try:
        with bad_input(BadBooks, BadCandleFile, BadPeriod):
            serve_venue(settings, port, lambda text: console.print(text, markup=False), wanted)
    except OSError as error:
        if error.filename is not None:  # the books, not the port
            raise
        raise stop(
            Exit.BAD_INPUT, f"error: --port {port}: {os.strerror(error.errno or 0)}; 0 takes a free one"
        ) from error

"""`data`: candles and funding in the store: fetched, imported, checked."""

from __future__ import annotations

import json as json_text
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from actors.cli.errors import Exit, bad_input, stop
from actors.cli.logs import clients_say
from actors.cli.options import AsJson, ConfigFile, StateDir, one_of, settings_for
from actors.cli.research import wide_console
from config.settings import Settings

app = typer.Typer(no_args_is_help=True, help="Candles and funding in the store, for backtests.")
FetchEnv = Annotated[str, typer.Option("--env", help="prod: Kraken's public data, no key. dev: `venue serve`.")]
Symbols = Annotated[
    list[str] | None, typer.Option("--symbol", help="A configured spot market; repeat. Default: all of them.")
]


@app.callback()
def data() -> None:
    """Candles and funding in the store, for backtests."""


def _chosen(settings: Settings, symbols: list[str] | None) -> list[str]:
    return [one_of("--symbol", symbol, *settings.futures_of) for symbol in symbols or settings.futures_of]


@app.command("fetch")
def fetch(
    symbols: Symbols = None,
    env: FetchEnv = "prod",
    config: ConfigFile = None,
    state: StateDir = None,
) -> None:
    """Fetch from where the store ends: spot candles (the last 720 of each timeframe), the perpetual's mark candles, funding.

    Interrupted, it goes on where it was. Older spot candles: Kraken's downloadable files and `data import`.
    """
    from actors.modes.fetch import FetchFailed, steps
    from actors.modes.fetch import fetch as fetch_all
    from sim.market.store import Store

    settings = settings_for("live", env, config, state=state)
    chosen = _chosen(settings, symbols)
    clients_say()
    console = Console(stderr=True, highlight=False)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    new: dict[str, int] = {}
    last = ""
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task("fetching", total=steps(len(chosen)))

        def on_step(name: str, rows: int) -> None:
            nonlocal last
            progress.update(bar, advance=name != last, description=name)
            last = name
            new[name] = new.get(name, 0) + rows

        try:
            fetch_all(settings, Store(store_root(settings)), chosen, on_step)
        except FetchFailed as error:
            done = f"; {sum(new.values())} rows are in the store, the same command goes on from there" if new else ""
            raise stop(Exit.FAILED, f"error: {error}{done}") from None
    out = Console(highlight=False, soft_wrap=True)
    for name, rows in new.items():
        out.print(f"{name}: {rows} new", markup=False)


@app.command("import")
def import_(
    files: Annotated[list[str], typer.Argument(metavar="SYMBOL=FILE...", help="csv or parquet; Kraken's OHLCVT csv.")],
    kind: Annotated[str, typer.Option("--kind", help="spot, perp (candles of the perpetual) or funding.")] = "spot",
    timeframe: Annotated[
        str | None, typer.Option("--tf", help="15m, 1h, 4h, 1d (default: as Kraken's file name says, else 15m).")
    ] = None,
    config: ConfigFile = None,
    state: StateDir = None,
) -> None:
    """Take files into the store: ours (time in ms, open, high, low, close, volume; funding: time, rate) or Kraken's OHLCVT csv."""
    from sim.market.files import BadCandleFile
    from sim.market.store import SeriesName, Store, import_file, timeframe_of

    one_of("--kind", kind, "spot", "perp", "funding")
    if timeframe is not None:
        one_of("--tf", timeframe, "15m", "1h", "4h", "1d")
    settings = settings_for("backtest", "prod", config, state=state)
    pairs = []
    for pair in files:
        symbol, equals, file = pair.partition("=")
        if not equals or not file:
            raise stop(Exit.BAD_INPUT, f"error: {pair!r}: write SYMBOL=FILE, as in BTC/USD=XBTUSD_15.csv")
        one_of(f"{pair!r}: symbol", symbol, *settings.futures_of)
        if not Path(file).is_file():
            raise stop(Exit.BAD_INPUT, f"error: {pair!r}: there is no file {file}")
        pairs.append((symbol, Path(file)))
    store = Store(store_root(settings))
    for symbol, path in pairs:
        chosen: Any = None if kind == "funding" else timeframe or timeframe_of(path) or "15m"
        name = SeriesName(kind, symbol, chosen)  # type: ignore[arg-type]
        with bad_input(BadCandleFile):
            new = import_file(store, path, name)
        typer.echo(f"{name}: {new} new")


@app.command("check")
def check(config: ConfigFile = None, state: StateDir = None, json: AsJson = False) -> None:
    """Look for gaps, duplicates and nonsense in everything that is stored. Exit 1 when a series cannot be used."""
    from sim.market.files import when
    from sim.market.store import Store, describe, inspect, step_of

    settings = settings_for("backtest", "prod", config, state=state)
    store = Store(store_root(settings))
    found = {name: inspect(table, step_of(name)) for name in store.names() if (table := store.read(name)) is not None}
    if json:
        rows = [{"series": str(name), "sound": f.sound, **asdict(f)} for name, f in found.items()]
        typer.echo(json_text.dumps(rows))
    elif not found:
        typer.echo(f"the store in {store.root} is empty: `data fetch` or `data import` fill it")
    else:
        console = wide_console()
        shown = Table("series", "rows", "from", "to", "missing", "sound", box=None)
        for name, f in found.items():
            usable = "yes" if f.sound else "no"
            shown.add_row(str(name), f"{f.rows:,}", when(f.first_ms), when(f.last_ms), f"{f.missing:,}", usable)
        console.print(shown)
        for name, f in found.items():
            if said := describe(f):
                console.print(f"{name}: {said}", markup=False)
    if not all(f.sound for f in found.values()):
        raise typer.Exit(int(Exit.FAILED))


def store_root(settings: Settings) -> Path:
    """Where the candle store is."""
    return Path(settings.store.directory) / "data"


def stored(settings: Settings) -> dict[str, dict[str, Path]]:
    """The files of a backtest by kind and symbol, as the store holds them; none when a symbol's spot candles are not there."""
    from sim.market.store import SeriesName, Store

    store = Store(store_root(settings))
    series = {"data": ("spot", "15m"), "perp": ("perp", "15m"), "funding": ("funding", None)}
    files: dict[str, dict[str, Path]] = {}
    for option, (kind, timeframe) in series.items():
        paths = {symbol: store.path(SeriesName(kind, symbol, timeframe)) for symbol in settings.futures_of}  # type: ignore[arg-type]
        files[option] = {symbol: path for symbol, path in paths.items() if path.exists()}
    return files if len(files["data"]) == len(settings.futures_of) else {option: {} for option in files}

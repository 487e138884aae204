"""`run`: the daemon, on paper or live."""

from __future__ import annotations

import sys
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Annotated, Any, TextIO, cast

import typer
from rich.console import Console
from rich.panel import Panel
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from actors.cli.background import BackgroundText
from actors.cli.console import line
from actors.cli.durations import seconds_of
from actors.cli.errors import ERRORS, Exit, no_site, stop
from actors.cli.logs import clients_say, log_to
from actors.cli.options import ConfigFile, Env, StateDir, one_of, settings_for, trading_mode
from config.settings import Settings
from protocol.messages.base import Message
from protocol.messages.spot import CandleClosed
from protocol.ports import LatchState
from protocol.units import moment

SEED_CANDLES = 4 * 720
"""Candles a symbol is warmed up with: four timeframes, the exchange's most rows each."""


def run(
    mode: Annotated[str, typer.Option("--mode", help="paper: nothing real is traded. live: real orders.")],
    env: Env = "dev",
    config: ConfigFile = None,
    speed: Annotated[float | None, typer.Option("--speed", min=0.001, help="Market seconds a second (dev).")] = None,
    seed: Annotated[int | None, typer.Option("--seed", min=0, help="Seed of the synthetic market (dev).")] = None,
    duration: Annotated[
        str | None, typer.Option("--for", help="Stop after this much market time: 90s, 10m, 2h.")
    ] = None,
    trades: Annotated[int | None, typer.Option("--trades", min=1, help="Stop after this many closed trades.")] = None,
    log: Annotated[
        str, typer.Option("--log", help="file: JSON lines in the state directory. json: on stderr.")
    ] = "file",
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Decide and validate as ever, show each order as it would be sent, send none. State of its own.",
        ),
    ] = False,
    state: StateDir = None,
) -> None:
    """Run the daemon until Ctrl-C or SIGTERM. Positions stay, protected by their stops on the exchange."""
    kind = trading_mode(mode)
    one_of("--log", log, "file", "json")
    market = {k: v for k, v in {"speed": speed, "seed": seed}.items() if v is not None}
    seconds = None if duration is None else _seconds(duration)
    settings = settings_for(kind, env, config, {"market": market} if market else {}, state)
    if dry_run:
        apart = str(Path(settings.store.directory) / "dry-run")
        store = settings.store.model_copy(update={"directory": apart, "database": ""})
        settings = settings.model_copy(update={"store": store})
    raise typer.Exit(_run(settings, seconds, trades, log, dry_run))


def _seconds(duration: str) -> float:
    try:
        return seconds_of(duration)
    except ValueError as error:
        raise stop(Exit.BAD_INPUT, f"error: --for {error}") from None


def _run(settings: Settings, seconds: float | None, trades: int | None, log: str, dry_run: bool) -> int:
    from actors.modes.daemon import run_daemon
    from actors.modes.emergency import latch_state
    from actors.modes.sites import StaleState, site_of
    from actors.state import AlreadyRunning, StateDirectory

    with ExitStack() as stack:
        stack.enter_context(no_site())
        site_of(settings)  # before anything is written
        directory = StateDirectory(Path(settings.store.directory), settings.mode, settings.env)
        try:
            directory.own()
        except AlreadyRunning as error:
            raise stop(Exit.REFUSED, f"refused: {error}") from None
        stack.callback(directory.release)
        shown = stack.enter_context(closing(BackgroundText(sys.stderr if log == "json" else sys.stdout)))
        words = cast(TextIO, shown)  # as much of one as both need
        clients_say(words, json=log == "json")
        file = words if log == "json" else stack.enter_context(directory.log_file.open("a"))
        screen = stack.enter_context(Screen(settings, words, quiet=log == "json"))
        write_log = log_to(file)
        # An older store is brought up to date below, and of a damaged one said what is wrong.
        with suppress(StaleState):
            latch = latch_state(settings)
            if latch.latched:
                ERRORS.print(latched_text(latch), markup=False)

        def watch(sender: str, message: Message) -> None:
            write_log(sender, message)
            screen.show(message)

        return int(
            run_daemon(
                settings,
                directory,
                watch,
                screen.gate_changed,
                seconds=seconds,
                trades=trades,
                dry_run=dry_run,
            )
        )


def latched_text(latch: LatchState) -> str:
    """Why a start trades nothing, in one line."""
    return (
        f"refused: the kill switch is latched since {moment(latch.at)} UTC by {latch.by}: {latch.reason}. "
        "What is open is closed and nothing else done; then `kill-switch ack --reason ...` lets `run` trade again"
    )


class Screen:
    """What a person sees: a banner, a bar while warming up, then a line an event."""

    def __init__(self, settings: Settings, file: TextIO, quiet: bool) -> None:
        self._console = Console(file=file, highlight=False, soft_wrap=True, quiet=quiet)
        self._settings = settings
        self._progress = Progress(
            TextColumn("warming up"),
            BarColumn(),
            TextColumn("{task.completed:.0f} candles"),
            TimeElapsedColumn(),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._bar: TaskID | None = None

    def __enter__(self) -> Screen:
        self._console.print(Panel.fit(banner(self._settings), title="kraken-smc"), soft_wrap=False)
        self._bar = self._progress.add_task("", total=SEED_CANDLES * len(self._settings.symbols))
        self._progress.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._warm()

    def show(self, message: Message) -> None:
        """Print the message's line, if it has one."""
        if self._bar is not None and isinstance(message, CandleClosed):
            self._progress.advance(self._bar)
        text = line(message)
        if text is not None:
            self._console.print(text)

    def gate_changed(self, what: str, is_open: bool) -> None:
        """Leases and halts as they change; the spot lease ends the warm-up."""
        if what == "lease.spot_feed" and is_open:
            self._warm()
        if what.startswith("lease."):
            self._console.print(f"[dim]{what.removeprefix('lease.')}: {'up' if is_open else 'down, entries halted'}[/]")
        if what == "reconciled":
            self._console.print("[dim]reconciled with the exchange[/]")

    def _warm(self) -> None:
        if self._bar is not None:
            self._bar = None
            self._progress.stop()


def banner(settings: Settings) -> str:
    """Which market, which exchange, which profile; and that nothing real is traded, or that it is."""
    symbols = ", ".join(f"{s.spot} -> {s.futures}" for s in settings.symbols)
    market = settings.market
    live = settings.mode == "live"
    source = f"of {settings.exchange.spot_url}" if live else f"synthetic, seed {market.seed}"
    exchange = (
        f"simulated Kraken Futures at {settings.exchange.futures_url}"
        if live
        else "simulated Kraken Futures, in memory"
    )
    return (
        f"market    {source}, {market.speed:g}x real time\n"
        f"symbols   {symbols}\n"
        f"exchange  {exchange}\n"
        f"profile   {settings.profile}: risk {settings.risk.risk_pct} % a trade, "
        f"leverage at most {settings.risk.exposure_max_x}x\n"
        f"[bold green]{'Live against the simulated exchange' if live else 'Paper'}: nothing real is traded.[/] Ctrl-C stops."
    )

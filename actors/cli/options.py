"""Options that several commands share, and how they become settings."""

from __future__ import annotations

import getpass
import os
from collections.abc import Mapping
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from actors.cli.errors import Exit, bad_input, stop
from actors.modes.plans import LONGER
from config.load import BadSetting, load
from config.settings import Environment, Mode, Settings
from protocol.units import SECOND_US, Timeframe

ConfigFile = Annotated[
    Path | None, typer.Option("--config", help="A YAML file of settings over the environment's own.")
]
DaemonMode = Annotated[str, typer.Option("--mode", help="paper or live.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on stdout; logs go to stderr.")]
Env = Annotated[str, typer.Option("--env", help="dev: no network, simulated exchange. paper, prod: Kraken.")]
StateDir = Annotated[Path | None, typer.Option("--state", help="Where state is kept (default: ./state).")]


def written(words: str) -> str:
    """A person's words as they can be kept: what a terminal of another encoding sent is no reason not to act on them."""
    return words.encode(errors="surrogateescape").decode(errors="replace")


def reason(words: str) -> str:
    """Why a person does what can wait for a word."""
    if not words.strip():
        raise stop(Exit.BAD_INPUT, "error: --reason is empty: say why, for the journal")
    return written(words)


def person() -> str:
    """Who asks. In a container a user may have no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def one_of(option: str, text: str, *choices: str) -> str:
    """`text`, if it is one of `choices`; else the command ends with exit 2."""
    if text not in choices:
        raise stop(Exit.BAD_INPUT, f"error: {option} {text!r} is none of {', '.join(choices)}")
    return text


def trading_mode(mode: str) -> Mode:
    """The mode of a command about a daemon's state."""
    return cast(Mode, one_of("--mode", mode, "paper", "live"))


def settings_for(
    mode: Mode,
    env: str,
    file: Path | None,
    overrides: Mapping[str, Any] | None = None,
    state: Path | None = None,
    overrides_from: str = "command line",
) -> Settings:
    """The effective settings; bad ones end the command with exit 2."""
    environment = cast(Environment, one_of("--env", env, "dev", "paper", "prod"))
    store = {"store": {"directory": str(state)}} if state is not None else {}
    with bad_input(BadSetting):
        return load(mode, environment, file, {**(overrides or {}), **store}, os.environ, overrides_from)


def daemon_settings(mode: str, env: str, file: Path | None, state: Path | None) -> Settings:
    """The settings of a command about a daemon and its state."""
    return settings_for(trading_mode(mode), env, file, state=state)


def day_us(text: str | None, option: str) -> int | None:
    """Midnight UTC of a day written 2023-01-31, in microseconds; exit 2 when it is none."""
    if text is None:
        return None
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise stop(Exit.BAD_INPUT, f"error: {option} {text!r} is no day: write 2023-01-31") from None
    return round(datetime.combine(day, time(), UTC).timestamp()) * SECOND_US


def files_by_series(option: str, pairs: list[str] | None, settings: Settings) -> dict[tuple[str, Timeframe], Path]:
    """SYMBOL:TF=FILE options as a mapping; every fault is one line and exit 2."""
    found: dict[tuple[str, Timeframe], Path] = {}
    for pair in pairs or ():
        series, _, file = pair.partition("=")
        symbol, _, wanted = series.partition(":")
        timeframe = next((longer for longer in LONGER if longer == wanted), None)
        if timeframe is None:
            raise stop(
                Exit.BAD_INPUT, f"error: --{option} {pair!r}: write SYMBOL:TF=FILE with TF one of {', '.join(LONGER)}"
            )
        if (symbol, timeframe) in found:
            raise stop(Exit.BAD_INPUT, f"error: --{option} {pair!r}: {symbol} {timeframe} is given twice")
        found[symbol, timeframe] = files_by_symbol(option, [f"{symbol}={file}"], settings)[symbol]
    return found


def files_by_symbol(option: str, pairs: list[str] | None, settings: Settings) -> dict[str, Path]:
    """SYMBOL=FILE options as a mapping; every fault is one line and exit 2."""
    found: dict[str, Path] = {}
    for pair in pairs or ():
        symbol, equals, file = pair.partition("=")
        if not equals or not file:
            raise stop(Exit.BAD_INPUT, f"error: --{option} {pair!r}: write SYMBOL=FILE, as in BTC/USD=candles.parquet")
        if symbol not in settings.futures_of:
            known = ", ".join(settings.futures_of)
            raise stop(Exit.BAD_INPUT, f"error: --{option} {pair!r}: unknown symbol {symbol!r}; configured are {known}")
        if not Path(file).is_file():
            raise stop(Exit.BAD_INPUT, f"error: --{option} {pair!r}: there is no file {file}")
        if symbol in found:
            raise stop(Exit.BAD_INPUT, f"error: --{option} {pair!r}: {symbol} is given twice")
        found[symbol] = Path(file)
    return found

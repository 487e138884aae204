"""Options that several commands share, and how they become settings."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from actors.cli.errors import Exit, bad_input, stop
from config.load import BadSetting, load
from config.settings import Environment, Mode, Settings

ConfigFile = Annotated[
    Path | None, typer.Option("--config", help="A YAML file of settings over the environment's own.")
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on stdout; logs go to stderr.")]
Env = Annotated[str, typer.Option("--env", help="dev: no network, simulated exchange. paper, prod: Kraken.")]
StateDir = Annotated[Path | None, typer.Option("--state", help="Where state is kept [default: ./state].")]


def one_of(option: str, text: str, *choices: str) -> str:
    """`text`, if it is one of `choices`; else the command ends with exit 2."""
    if text not in choices:
        raise stop(Exit.BAD_INPUT, f"error: {option} {text!r} is none of {', '.join(choices)}")
    return text


def trading_mode(mode: str) -> Mode:
    """The mode of a command about a daemon's state."""
    return cast(Mode, one_of("--mode", mode, "paper", "live"))


def settings_for(
    mode: Mode, env: str, file: Path | None, overrides: Mapping[str, Any] | None = None, state: Path | None = None
) -> Settings:
    """The effective settings; bad ones end the command with exit 2."""
    environment = cast(Environment, one_of("--env", env, "dev", "paper", "prod"))
    store = {"store": {"directory": str(state)}} if state is not None else {}
    with bad_input(BadSetting):
        return load(mode, environment, file, {**(overrides or {}), **store}, os.environ)

"""`explain`: why a trade was taken or a signal refused, from candle to exit."""

from __future__ import annotations

import json as json_text
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.text import Text

from actors.cli.console import line
from actors.cli.errors import Exit, stop
from actors.cli.options import AsJson, ConfigFile, Env, StateDir, settings_for, trading_mode
from config.settings import StoreSettings
from protocol.messages.base import Message
from protocol.messages.futures import EntryBlocked, OrderAdmitted
from protocol.units import moment


def explain(
    name: Annotated[str, typer.Argument(metavar="ID", help="Of a signal, trade, order, fill or any message.")],
    mode: Annotated[
        str, typer.Option("--mode", help="paper, live, or backtest (one that was run with --state).")
    ] = "paper",
    env: Env = "dev",
    config: ConfigFile = None,
    state: StateDir = None,
    json: AsJson = False,
) -> None:
    """Tell everything that led to ID and followed from it, in the order it happened, with every rule and threshold."""
    from actors.ledger.journal import open_reader
    from actors.ledger.store import NoLedger, database_url

    if mode == "backtest":
        settings = settings_for("backtest", "paper", config, state=state)
        store = StoreSettings(directory=settings.store.directory)  # always a file of its own
    else:
        settings = settings_for(trading_mode(mode), env, config, state=state)
        store = settings.store
    try:
        with open_reader(database_url(store, settings.mode, settings.env)) as reader:
            told = reader.explain(name)
    except NoLedger as error:
        raise stop(Exit.FAILED, f"error: {error}") from None
    if not told:
        raise stop(Exit.BAD_INPUT, f"error: nothing in the journal goes by {name!r}")
    if json:
        typer.echo(json_text.dumps([{"actor": t.actor, "direction": t.direction, **plain(t.message)} for t in told]))
        return
    console = Console(highlight=False, soft_wrap=True)
    for t in told:
        console.print(line(t.message) or Text(f"{moment(t.message.at)} {type(t.message).__name__} ({t.actor})", "dim"))
        for rule in rules(t.message):
            console.print(f"    {rule}", markup=False)


def plain(message: Message) -> dict[str, Any]:
    """A message as plain data."""
    data: dict[str, Any] = msgspec.to_builtins(message)
    return data


def rules(message: Message) -> list[str]:
    """The rules of a verdict, or what the door's controls found, one a line."""
    if isinstance(message, OrderAdmitted | EntryBlocked):
        return [("" if found.passed else "no: ") + found.text for found in message.findings]
    verdict = getattr(message, "verdict", None) or getattr(message, "snapshot", None)
    if not verdict:
        return []
    content = json_text.loads(verdict)
    found = content.get("rules") if isinstance(content, dict) else content
    return [json_text.dumps(rule) for rule in found] if isinstance(found, list) else []

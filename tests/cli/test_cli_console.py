"""What a person reads of an event: words of others are shown as they are, and take nothing down."""

from __future__ import annotations

import io
from decimal import Decimal
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

import msgspec
import pytest
from homes import Home
from rich.console import Console

from actors.cli.console import LINES, line
from actors.cli.run import Screen
from config.load import load
from protocol.messages.base import Message
from protocol.messages.control import Alert, HaltEntries, Latch

WORDS = r"[/red] half [bold price \ [/"
"""A closing tag that nothing opened, an open end, a lone backslash: markup to a console, words to a person."""


def filled(kind: Any) -> Any:
    """A value of `kind`, every text in it WORDS."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        hints = get_type_hints(kind)
        return kind(**{name: filled(hints[name]) for name in kind.__struct_fields__})
    of, inner = get_origin(kind), get_args(kind)
    if of is tuple:
        return (filled(inner[0]),)
    if of is dict:
        return {}
    if inner:
        return filled(inner[0]) if of is Union or str(of) == "<class 'types.UnionType'>" else inner[0]
    return {str: WORDS, Decimal: Decimal(1), float: 1.0, int: 1, bool: True, type(None): None}[kind]


def shown(message: Message) -> str:
    """The message's line as a console prints it."""
    out = io.StringIO()
    console = Console(file=out, width=1000, highlight=False, soft_wrap=True)
    text = line(message)
    if text is not None:
        console.print(text)
    return out.getvalue()


@pytest.mark.parametrize("kind", LINES, ids=lambda kind: kind.__name__)
def test_words_are_no_markup(kind: type[Message]) -> None:
    """Whatever stands in an event's texts, its line can be printed."""
    assert shown(filled(kind)).count("\n") <= 1


def test_reasons_are_shown_whole() -> None:
    """A person's reason is told as it was written."""
    edge: dict[str, Any] = {"id": "x", "cause": "", "at": 1}
    for message in (
        HaltEntries(**edge, key="person", reason=WORDS),
        Latch(**edge, reason=WORDS, by="root"),
        Alert(**edge, code="GATE", severity="critical", text=WORDS),
    ):
        assert WORDS in shown(message)


def test_a_kill_for_a_reason_with_brackets(home: Home) -> None:
    """Printing the reason is no reason for the kill switch to die: the daemon latches, flattens and says so."""
    daemon = home.start()
    home.page_where(lambda page: page["entries"] == "open")
    killed = home.command("kill-switch", "--emergency", "--reason", WORDS)
    assert (killed.exit_code, daemon.poll()) == (0, None), killed.output
    halted = home.command("entries", "halt", "--reason", WORDS)
    assert (halted.exit_code, daemon.poll()) == (0, None), halted.output


def test_a_warm_up_that_nobody_watches_leaves_no_trace(fast_config: Path) -> None:
    """The bar is for a terminal: in a file it was an empty line between the banner and the first event."""
    out = io.StringIO()
    settings = load("paper", "dev", fast_config, None, {})
    with Screen(settings, out, quiet=False) as screen:
        screen.gate_changed("lease.spot_feed", True)
    assert "" not in out.getvalue().splitlines()

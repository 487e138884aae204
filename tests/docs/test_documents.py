"""What README and docs tell a person to type exists."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from typer.main import get_command

from actors.cli.app import app

ROOT = Path(__file__).parents[2]
FENCE = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def typed(first: str) -> list[str]:
    """The lines of all `sh` blocks that begin with `first`."""
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))]
    lines = [line for page in pages for block in FENCE.findall(page.read_text()) for line in block.splitlines()]
    return [line.strip() for line in lines if f"{first} " in line and line.strip().startswith((first, ".venv/bin/"))]


@pytest.mark.parametrize("line", typed("python -m actors"))
def test_command_exists(line: str) -> None:
    """The command and each of its options exist."""
    words = shlex.split(line, comments=True)
    command = get_command(app)
    rest = words[words.index("actors") + 1 :]
    while rest and rest[0] in getattr(command, "commands", {}):
        command = command.commands[rest.pop(0)]  # type: ignore[attr-defined]
    known = {option for parameter in command.params for option in parameter.opts} | {"--help"}
    assert [word for word in rest if word.startswith("--") and word.split("=")[0] not in known] == []
    assert not (hasattr(command, "commands") and rest and not rest[0].startswith("--")), f"no such command: {rest[0]}"


@pytest.mark.parametrize("line", typed("make"))
def test_target_exists(line: str) -> None:
    """The make target exists."""
    words = [word for word in shlex.split(line, comments=True)[1:] if "=" not in word]
    assert set(words) <= TARGETS


def test_something_is_documented() -> None:
    """The README does name commands: an empty list would prove nothing."""
    assert len(typed("python -m actors")) >= 5
    assert len(typed("make")) >= 2

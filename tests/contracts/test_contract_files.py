"""Facts about what is handed in: nothing of this machine, nothing borrowed, and tools that do what they promise."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from hashlib import sha256
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from project_files import ROOT, text_of, tracked

# Written so that this file does not contain what it looks for.
INDEX = re.compile(r"--(?:(?:extra-)?index-url|find[-]links)|registry[ ]= \"")


def banned_names() -> list[str]:
    """The names pyproject.toml bans."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    return sorted(settings["tool"]["ruff"]["lint"]["flake8-tidy-imports"]["banned-api"])


def lines_refused(code: str, name: str) -> set[int]:
    """Lines of `code`, as a file of that name, that the linter refuses for a banned name."""
    command = [sys.executable, "-m", "ruff", "check", "--output-format=json", "--stdin-filename", name, "-"]
    result = subprocess.run(command, cwd=ROOT, input=code, capture_output=True, text=True, check=False)
    return {found["location"]["row"] for found in json.loads(result.stdout) if found["code"] == "TID251"}


@pytest.mark.parametrize("folder", ["actors/risk", "protocol", "sim", "config"])
def test_ambient_time_randomness_and_identity_are_refused(folder: str) -> None:
    """Each banned name, used in any of the four packages, fails `make check`."""
    names = banned_names()
    code = "".join(f"import {name.split('.')[0]}; {name}\n" for name in names)

    assert {"time.time", "random", "uuid", "datetime.datetime.now"} <= set(names)
    assert lines_refused(code, f"{folder}/snippet.py") == set(range(1, len(names) + 1))


def test_measurements_may_read_the_clock() -> None:
    """bench/ is the one place for it."""
    assert lines_refused("import time; time.perf_counter()\n", "bench/snippet.py") == set()


def test_no_path_of_this_machine_is_handed_in() -> None:
    """A path that exists only here means nothing elsewhere."""
    here = [f"{ROOT}/", f"{ROOT.parent / 'shared'}", f"{Path.home()}/" if Path.home() != Path("/") else f"{ROOT}/"]
    named = [str(file.relative_to(ROOT)) for file in tracked() if any(path in text_of(file) for path in here)]

    assert named == []


def test_no_package_index_is_handed_in() -> None:
    """Locks carry versions and hashes; where packages come from is the machine's business."""
    host = urlsplit(os.environ.get("PIP_INDEX_URL", "")).hostname
    texts = {str(file.relative_to(ROOT)): text_of(file) for file in tracked()}

    assert [name for name, text in texts.items() if INDEX.search(text) or (host and host in text)] == []


def test_no_file_of_shared_is_handed_in() -> None:
    """What others lent is read where it lies, never copied."""
    shared = ROOT.parent / "shared"
    if not shared.is_dir():
        pytest.skip("../shared is not here")
    lent = {
        sha256(file.read_bytes()).digest()
        for file in sorted(shared.rglob("*"))
        if file.is_file() and file.stat().st_size > 200
    }

    assert [file.name for file in tracked() if sha256(file.read_bytes()).digest() in lent] == []


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-dev.lock"])
def test_a_lock_pins_everything_by_hash(lock: str) -> None:
    """Each package has one version a platform and at least one hash, and nothing else stands there."""
    entries = re.sub(r"\\\n\s*", " ", (ROOT / lock).read_text()).splitlines()

    assert [
        line for line in entries if not re.fullmatch(r"[a-z0-9-]+==\S+( ; [^-]+)?( +--hash=sha256:[0-9a-f]{64})+", line)
    ] == []


def test_the_tools_lock_contains_the_daemons() -> None:
    """Tests run on the very versions the daemon runs on; the platforms that need a package may be more for the tools."""
    run, tools = (
        set(re.findall(r"^\S+==\S+", (ROOT / lock).read_text(), re.MULTILINE))
        for lock in ("requirements.lock", "requirements-dev.lock")
    )

    assert sorted(run - tools) == []


def make(*arguments: str) -> str:
    """What `make` prints."""
    if shutil.which("make") is None:
        pytest.skip("no make here")
    command = ["make", "--no-print-directory", *arguments]
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, env=plain).stdout


def test_make_alone_explains_every_target() -> None:
    """Each target a person may call stands in the help, without escape codes when nobody's terminal is there."""
    makefile = (ROOT / "Makefile").read_text()
    phony = re.search(r"^\.PHONY:(.*)$", makefile, re.MULTILINE)
    targets = set(phony[1].split()) if phony else set()
    said = make()

    assert targets == set(re.findall(r"^  make ([\w-]+) ", said, re.MULTILINE)) - {"ARGS"}
    assert "\x1b" not in said


def test_ci_runs_what_a_person_runs() -> None:
    """One definition of what passes."""
    script = ROOT / ".ci" / "run"

    assert os.access(script, os.X_OK)
    assert "set -euo pipefail" in script.read_text()
    assert [line for line in script.read_text().splitlines() if line.startswith("make")] == ["make check", "make test"]


def test_paper_needs_no_tool_of_ours() -> None:
    """`make paper` installs the daemon's lock, not the tools'."""
    commands = make("--dry-run", "--always-make", "paper")

    assert "requirements.lock" in commands
    assert "requirements-dev.lock" not in commands

"""The suite notices a wrong engine: every mutant of the table dies by the test named for it (smc-spec 6.14)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.actors.strategy.mutants import MUTANTS

HERE = Path(__file__).parent
PLAIN = ("-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:cov")


def verdict(test: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A pytest of its own over one test of this directory, in plain Python."""
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-x", "-p", "tests.actors.strategy.mutants", *PLAIN, f"{HERE}/{test}"],
        env=os.environ | {"NUMBA_DISABLE_JIT": "1"} | environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", MUTANTS)
def test_the_mutant_dies(name: str) -> None:
    """An assertion of the named test fails under the mutant, and nothing else goes wrong."""
    mutant = MUTANTS[name]
    done = verdict(f"{mutant.file}::{mutant.killer}", MUTANT=name)
    assert done.returncode == pytest.ExitCode.TESTS_FAILED, done.stdout + done.stderr
    assert f"::{mutant.killer}" in done.stdout
    assert "AssertionError" in done.stdout or "\nE       assert" in done.stdout, done.stdout


@pytest.mark.slow
def test_the_right_engine_lives() -> None:
    """The same tests pass in plain Python when nothing is replaced, so a mutant dies of its mutation alone."""
    tests = sorted({(mutant.file, mutant.killer) for mutant in MUTANTS.values()})
    first, *others = (f"{file}::{killer}" for file, killer in tests)
    done = verdict(first, PYTEST_ADDOPTS=" ".join(f"{HERE}/{other}" for other in others))
    assert done.returncode == pytest.ExitCode.OK, done.stdout + done.stderr

"""The engine still says what was reviewed."""

from __future__ import annotations

import pytest

from tests.actors.strategy.goldens import GOLDEN, GOLDENS


@pytest.mark.parametrize("name", GOLDENS)
def test_the_engine_says_what_was_reviewed(name: str) -> None:
    """Line by line; where the change is meant, `make goldens` writes the files anew and the diff is the review."""
    reviewed = (GOLDEN / name).read_text(encoding="utf-8").splitlines()
    said = GOLDENS[name]().splitlines()
    for number, (before, now) in enumerate(zip(reviewed, said, strict=False), 1):
        assert now == before, f"{name}:{number} differs; if the change is meant: make goldens, then review the diff"
    assert len(said) == len(reviewed), f"{name} has another length; if the change is meant: make goldens, then review"


def test_golden_files_are_small_enough_to_read() -> None:
    """No file that is not made here, and none beyond what a person reviews."""
    assert {path.name for path in GOLDEN.iterdir()} == set(GOLDENS)
    assert all(path.stat().st_size < 64_000 for path in GOLDEN.iterdir())

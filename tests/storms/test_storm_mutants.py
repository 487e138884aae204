"""Planted bugs can be planted: the program still reads as each of them expects, which only a long run would tell otherwise."""

from __future__ import annotations

from collections import Counter

from mutants import MUTANTS, ROOT


def test_every_patch_finds_its_place_once() -> None:
    """A mutant whose place has been rewritten proves nothing."""
    wanted = [(file, old) for mutant in MUTANTS for file, old, _ in mutant.patches]
    assert {(file, old): count for file, old in wanted if (count := (ROOT / file).read_text().count(old)) != 1} == {}


def test_there_are_as_many_mutants_as_were_promised() -> None:
    """At least 25, each under a name of its own."""
    names = Counter(mutant.name for mutant in MUTANTS)
    assert len(names) >= 25
    assert names.most_common(1)[0][1] == 1

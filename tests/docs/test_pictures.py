"""The pictures in the docs are drawn from the tables, and are today's."""

from __future__ import annotations

import runpy
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def test_the_page_of_pictures_is_what_the_tables_say() -> None:
    """After a change to a table `python docs/pictures.py` draws the page anew."""
    drawn = runpy.run_path(str(DOCS / "pictures.py"))
    assert drawn["page"]() == drawn["PAGE"].read_text(encoding="utf-8"), "run `python docs/pictures.py`"


def test_every_state_of_an_order_is_drawn() -> None:
    """No state of the transition table is missing from its picture."""
    drawn = runpy.run_path(str(DOCS / "pictures.py"))
    picture = drawn["life_cycle"]()
    assert all(f"{state} -->" in picture for state in drawn["TRANSITIONS"])

"""What a simulation leaves behind."""

from __future__ import annotations

import gc
import weakref

from sim.garbage import tidied_up


class Knot:
    """Something that holds itself."""

    def __init__(self) -> None:
        self.itself = self


def test_what_a_simulation_leaves_goes_as_it_ends() -> None:
    """A cycle made inside is gone afterwards; nothing stays out of the collector's sight, and it looks as often as before."""
    usual = gc.get_threshold()
    with tidied_up():
        left = weakref.ref(Knot())
        assert left() is not None
    assert left() is None
    assert (gc.get_freeze_count(), gc.get_threshold()) == (0, usual)

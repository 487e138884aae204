"""How often Python looks for garbage while a simulation runs. Knows nothing of what is simulated."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

COLLECTED_AFTER: Final = 200_000
"""Objects made and not yet gone."""


@contextmanager
def rare_collections() -> Iterator[None]:
    """Python looks for cycles less often: what a simulation makes by the million, messages and frames, has none."""
    usual = gc.get_threshold()
    gc.set_threshold(COLLECTED_AFTER, *usual[1:])
    try:
        yield
    finally:
        gc.set_threshold(*usual)


@contextmanager
def tidied_up() -> Iterator[None]:
    """What a simulation leaves behind goes as it ends: the next one uses its memory, which is quicker than to ask for more. What was there
    before is not looked through for it.
    """
    gc.freeze()
    try:
        with rare_collections():
            yield
    finally:
        gc.collect()
        gc.unfreeze()

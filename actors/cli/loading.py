"""How modules are loaded that take long. Imports nothing of ours."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """What loading makes stays: looking for garbage in it meanwhile takes a tenth of the start."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()

"""numba, with the signature kept for the type checker. Whoever uses it is one file, because numba's cache watches no other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from numba import njit

F = TypeVar("F", bound=Callable[..., Any])


def compiled(function: F) -> F:
    """`njit`, cached on disk."""
    made: Any = njit(cache=True)(function)
    return made  # type: ignore[no-any-return]

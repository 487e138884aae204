"""Durations as a person writes them: 90s, 10m, 2h, 3d."""

from __future__ import annotations

import re

UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def seconds_of(text: str) -> float:
    """Seconds of `text`. ValueError says what is allowed."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", text.strip())
    if found is None or float(found[1]) == 0:
        raise ValueError(f"{text!r} is no duration: write 90s, 10m, 2h or 3d")
    return float(found[1]) * UNITS_S[found[2]]

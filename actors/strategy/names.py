"""How zones, pools, swings and reasons of the kernel are called outside it. Knows nothing but the kernel's numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from actors.strategy import kernel as k

# In the kernel's numbering, which is the storage order within one bar.
EVENT_TYPES: Final = (
    "FVG_TOUCH",
    "FVG_MID",
    "FVG_FILL",
    "FVG_DEAD",
    "OB_TOUCH",
    "OB_MID",
    "OB_DEAD",
    "BRK_NEW",
    "BRK_TOUCH",
    "BRK_DEAD",
    "POOL_DEAD",
    "BOS",
    "CHOCH",
    "AMBIG",
    "OB_NEW",
    "FVG_NEW",
    "SWING",
    "POOL_NEW",
    "POOL_JOIN",
    "DIV",
)

REASONS: Final[Mapping[int, str]] = {
    k.EXPIRED: "expired",
    k.MITIGATION: "mitigated",
    k.INVALIDATED: "invalidated",
    k.EVICTED: "evicted",
    k.BROKEN: "broken",
    k.RECLAIMED: "reclaimed",
    k.SWEPT: "swept",
}

LABELS: Final[Mapping[tuple[int, int], str | None]] = {
    (k.LABEL_FIRST, 1): None,
    (k.LABEL_BEYOND, 1): "HH",
    (k.LABEL_INSIDE, 1): "LH",
    (k.LABEL_EQUAL, 1): "EH",
    (k.LABEL_FIRST, -1): None,
    (k.LABEL_BEYOND, -1): "LL",
    (k.LABEL_INSIDE, -1): "HL",
    (k.LABEL_EQUAL, -1): "EL",
}


def fvg_id(d: int, open_time_ms: int) -> str:
    """Name of the gap whose third candle opened then."""
    return f"fvg.{'b' if d > 0 else 's'}.{open_time_ms}"


def ob_id(d: int, open_time_ms: int) -> str:
    """Name of the order block of that candle."""
    return f"ob.{'b' if d > 0 else 's'}.{open_time_ms}"


@lru_cache(maxsize=4096)
def used_key(name: str) -> int:
    """What `fvg_id` or `ob_id` named, as the kernel looks it up among used zones."""
    kind, side, open_time_ms = name.split(".")
    return k.used_key(kind == "fvg", 1 if side == "b" else -1, int(open_time_ms))


def pool_id(d: int, open_time_ms: int) -> str:
    """Name of the pool whose first member is the swing of that candle."""
    return f"liq.{'h' if d > 0 else 'l'}.{open_time_ms}"


def number(value: float) -> float | None:
    """A missing value is null, never NaN."""
    return None if math.isnan(value) else float(value)

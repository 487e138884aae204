"""What a client of Kraken may say of an order and this system's own orders never do. Data only."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from sim.engine.state import Trail

Signal = Literal["mark", "index", "last"]


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """Comes beside a wish. `trigger` is the price that fires it; `trail` belongs to a `trailing_stop`, or replaces that of the
    edited one; `order_id` names the order to edit when the wish does not.
    """

    trigger: Signal = "mark"
    trail: Trail | None = None
    order_id: str | None = None


USUAL: Final = Terms()
"""What this system's own orders mean."""

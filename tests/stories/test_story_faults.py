"""Each kind of fault alone, right after an entry leaves: it strikes, and afterwards the position is protected or flat."""

from __future__ import annotations

import pytest
from house import open_house
from trio.testing import MockClock

from sim.faults.catalogue import CATALOGUE
from sim.faults.plan import plan_of

ELSEWHERE = frozenset({"process", "disk", "clock", "person"})
"""Seams of the storm itself."""
NEEDS_MORE = frozenset({
    "rest.misreport", "rest.cancel_all", "md.partial_last", "md.refuse", "ws.snapshot", "ws.auth", "md.revise", "ws.stale", "sec.h",
})  # fmt: skip
"""Kinds that strike only when something else happens: a reconnection, a history, the end of a candle."""
KINDS = [kind for kind, spec in CATALOGUE.items() if spec.seam not in ELSEWHERE]
PARAMS = {
    "op": "send",
    "endpoint": "orders",
    "channel": "ticker",
    "set": "all",
    "period_s": 2.0,
    "d_s": 2.0,
    "limit": 0,
}


@pytest.mark.parametrize("kind", KINDS)
async def test_a_fault_by_itself(autojump_clock: MockClock, kind: str) -> None:
    """It strikes round an entry; then the world is healed, and within a minute nothing is naked or doubled."""
    spec = CATALOGUE[kind]
    fault: dict[str, object] = {"fault": kind, **{k: v for k, v in PARAMS.items() if k in spec.params}}
    if spec.for_s is not None:
        fault |= {"for_s": 20.0}
    if spec.seam == "account":
        fault |= {"after": "position.opened", "at_s": 5.0}
    if kind.startswith("ws."):
        fault |= {"feed": "fills"} if "fills" in getattr(spec.params.get("feed"), "words", ()) else {}
    async with open_house(plan=plan_of({"seed": 7, "faults": [fault]})) as house:
        house.signal()
        await house.settle(40)
        house.faults.heal()
        await house.settle(60)
        assert house.faults.injected[kind] or kind in NEEDS_MORE
        assert house.position == 0 or house.protected

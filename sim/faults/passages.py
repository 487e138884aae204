"""Passages: faults that lead into a state worth reaching only when they strike one after the other.

Drawn one by one, faults seldom meet: a reply must be lost *and* the line be down for an order to be found filled later. A passage names
the faults, the moments they follow and the ranges of their times; `sim.faults.plan` adds one to some of the drawn plans. A table; knows
no seam.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from sim.faults.catalogue import Between, Draw, OneOf, Value, Whole

AT_ONCE: Final = Between(0, 0)


class Part(NamedTuple):
    """One fault of a passage: what is not given here is drawn as the catalogue has it."""

    fault: str
    after: str
    at_s: Draw = AT_ONCE
    for_s: Draw | None = None
    times: int = 0
    params: Mapping[str, Value | Draw] = MappingProxyType({})


SEND: Final = {"op": "send"}
SOON: Final = Between(1, 60)
FEW_S: Final = Between(6, 30)

PASSAGES: Final[Mapping[str, tuple[Part, ...]]] = MappingProxyType({
    "the reply is lost and the line is down: found filled later": (
        Part("net.part", "entry.sent", for_s=FEW_S, params={"set": "streams", "how": "silent"}),
        Part("rest.drop_reply", "entry.sent", for_s=Between(3, 3), times=1, params=SEND),
        Part("net.part", "entry.accepted", for_s=FEW_S, params={"set": "rest", "how": "silent"}),
    ),
    "a stop rests and nobody is told": (
        Part("net.part", "stop.sent", for_s=FEW_S, params={"set": "streams", "how": "silent"}),
        Part("rest.drop_reply", "entry.accepted", for_s=Between(4, 4), times=1, params=SEND),
        Part("net.part", "stop.accepted", for_s=Between(6, 12), params={"set": "rest", "how": "silent"}),
    ),
    "a target is lost on its way, sent again and refused": (
        Part("rest.drop_request", "stop.accepted", for_s=Between(4, 4), times=1, params=SEND),
        Part("rest.reject", "target.sent", Between(0.1, 2), FEW_S, params={**SEND, "status": "insufficientAvailableFunds"}),
    ),
    "the stream tells no fills: REST does": (
        Part("ws.drop", "position.opened", for_s=Between(600, 3600), params={"feed": "fills"}),
        Part("ex.kill_order", "position.opened", Between(60, 600), params={"role": "stop"}),
    ),
    "the stop fires while nobody listens": (
        Part("net.part", "stop.accepted", Between(1, 30), Between(50, 90), params={"how": "silent", "set": OneOf(("all", "streams"))}),
        Part("ex.stop_gap", "stop.accepted", Between(44, 50), Between(10, 60), params={"pct": Between(0.1, 1)}),
    ),
    "the list of positions is from before the entry": (
        Part("rest.stale", "position.opened", Between(0, 1), Between(5, 14), params={"endpoint": "positions"}),
    ),
    "a new kill switch reads a list that lacks what is held": (
        Part("rest.forget", "position.opened", Between(0, 40), FEW_S, params={"endpoint": "positions"}),
        Part("actor.raise", "position.opened", Between(2, 40), params={"who": "kill_switch", "n": 1}),
        Part("op.act", "position.opened", Between(2, 41), params={"seq": "kill"}),
    ),
    "the stop is lost and another is refused": (
        Part("rest.reject", "stop.accepted", Between(5, 5), FEW_S, params={**SEND, "status": "insufficientAvailableFunds"}),
        Part("ex.kill_order", "stop.accepted", Between(5.1, 9), params={"role": "stop"}),
    ),
    "the store is older than the stop that rests": (
        Part("ex.kill_order", "stop.accepted", Between(8, 8), params={"role": "stop"}),
        Part("disk.rollback", "stop.accepted", Between(13, 16), params={"age_s": Between(8.5, 12)}),
    ),
    "the disk fails while something is open": (Part("disk.full", "position.opened", SOON, FEW_S),),
    "liquidation": (Part("ex.liquidate", "position.opened", SOON),),
    "the process dies latched": (
        Part("op.act", "position.opened", SOON, params={"seq": "kill"}),
        Part("proc.crash", "kill.latched", Between(0, 2), params={"nth": Whole(1, 60)}),
    ),
    "acknowledged while things are open": (
        Part("op.act", "position.opened", SOON, params={"seq": "kill"}),
        Part("op.act", "kill.latched", params={"seq": "ack"}),
    ),
    "killed while a flatten fills in parts": (
        Part("ex.mkt_protect", "position.opened", Between(1, 5), Between(30, 120), params={"pct": Between(0.001, 0.02)}),
        Part("op.act", "position.opened", Between(5, 25), params={"seq": "kill"}),
    ),
    "dies between the order and its reply": (
        Part("rest.delay_reply", "entry.sent", for_s=Between(2, 5), params={**SEND, "d_s": Between(0.5, 3)}),
        Part("proc.crash", "entry.accepted", Between(0, 0.4), params={"hook": "now"}),
    ),
    "dies again while it recovers": (
        Part("proc.crash", "position.opened", SOON, params={"hook": "now"}),
        Part("proc.crash", "restart", Between(0, 2), params={"nth": Whole(1, 200)}),
    ),
})  # fmt: skip
"""By what they lead to."""

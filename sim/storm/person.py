"""The person of a storm: comes when the kill switch has latched, and restarts a daemon that waits for somebody."""

from __future__ import annotations

from typing import Final

import trio

from protocol.ports import Clock
from protocol.units import SECOND_US
from sim.storm.machine import Machine

LOOKS_EVERY_S: Final = 30
ACKNOWLEDGE_S: Final = 300.0
"""Acknowledges so long after the kill switch has latched, if the account is flat by then."""
RESUME_S: Final = 900.0
"""Restarts a daemon that keeps entries halted for so long."""


async def person(machine: Machine, clock: Clock) -> None:
    """Until cancelled. A healed world has to do without."""
    evidence, halted_since = machine.witness.evidence, None
    while True:
        await trio.sleep(LOOKS_EVERY_S)
        now, latch = clock.now_us(), machine.disk.state
        if latch.latched:
            flat = not evidence.positions and not evidence.engine.state.working
            if flat and now - latch.at > ACKNOWLEDGE_S * SECOND_US and not machine.faults.healed:
                machine.acknowledge()
            continue
        if not any(reason.startswith("gate.halt") for reason in machine.closed_by()):
            halted_since = None
        elif halted_since is None:
            halted_since = now
        elif now - halted_since > RESUME_S * SECOND_US:
            halted_since = None
            machine.restart()

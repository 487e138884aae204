"""Faults as data (`catalogue`, `plan`) and as rules at the seams (`timeline`, `network`, `frames`, `market`, `account`, `disk`).

The seams are the network's edge, the market, the exchange's account, storage, the daemon's process and its clock. Nothing
here knows the daemon: it sees requests, frames, records and moments.
"""

from sim.faults.plan import BadPlan, Fault, Plan, draw, read_plan
from sim.faults.timeline import Faults

__all__ = ["BadPlan", "Fault", "Faults", "Plan", "draw", "read_plan"]

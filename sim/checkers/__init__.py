"""The invariants of the fault catalogue (section 4) as independent predicates, and the states a set of runs must have reached.

They read the exchange's books, what crossed the network's edge, and the journal: never the daemon's memory.
"""

from sim.checkers.evidence import Bounds, Evidence, Failure, Load
from sim.checkers.reached import SOMETIMES
from sim.checkers.table import INVARIANTS, PRICES, Watchers

__all__ = ["INVARIANTS", "PRICES", "SOMETIMES", "Bounds", "Evidence", "Failure", "Load", "Watchers"]

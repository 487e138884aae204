"""One storm: a seed stands for a market, a plan of faults and a daemon that must survive them.

Safety phase: faults strike, nothing bad may happen. Then the world is healed; liveness phase: what should be true must become
true. The daemon itself is an argument (`Live`): this room knows processes, a disk and a network, and no actor.
"""

from sim.storm.case import Case, Verdict, case_of
from sim.storm.host import Host, Live
from sim.storm.shrink import shrink
from sim.storm.storm import run_case

__all__ = ["Case", "Host", "Live", "Verdict", "case_of", "run_case", "shrink"]

"""The futures exchange as a state machine: matching, triggers on mark, margin, fees, funding, liquidation. No I/O."""

from sim.engine.exchange import Answer, Engine

__all__ = ["Answer", "Engine"]

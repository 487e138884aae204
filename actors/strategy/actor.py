"""The strategy's place in the tree. It is handed its parameters and symbols, and nothing that knows of futures."""

from __future__ import annotations

from collections.abc import Sequence

from actors.part import Part
from actors.strategy import decide
from config.strategy import StrategyParams

NAME = "strategy"


def build(params: StrategyParams, spot_symbols: Sequence[str]) -> Part[decide.State]:
    """A fresh life: its state is rebuilt from closed candles."""
    return Part(NAME, decide.initial(params, spot_symbols), decide.step)

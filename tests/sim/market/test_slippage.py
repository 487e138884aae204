"""Slippage by condition: each model is off by default, says what it takes, and adds to the others."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from config.settings import MarketSettings
from sim.market.slippage import MODELS, slippage_of, told
from sim.market.tick import Tick

D = Decimal
TICK = Tick(
    at=1, symbol="PF_XBTUSD", mark=D(50_000), index=D(50_000), bid=D(49_990), ask=D(50_010), last=D(50_000),
    funding_rate=D(0), range_pct=D("0.8"), turnover_usd=D(1_000_000),
)  # fmt: skip
"""A spread of 0.04 %, after a candle of 0.8 % and a million dollars."""
ALONE: dict[str, tuple[dict[str, str], str]] = {
    "fixed": ({"slippage_pct": "0.01"}, "0.01"),
    "spread": ({"slippage_spread_share": "0.5"}, "0.02"),
    "volatility": ({"slippage_range_share": "0.1"}, "0.08"),
    "size": ({"slippage_size_pct": "0.3"}, "0.03"),  # ten thousand dollars of a million: the root is a tenth
}


def market(**settings: Any) -> MarketSettings:
    """All models off but those told."""
    return MarketSettings.model_validate({"slippage_pct": 0, **settings})


@pytest.mark.parametrize("name", MODELS)
def test_each_model_alone(name: str) -> None:
    """What it takes of an order of 10,000 USD, and its name in the report."""
    settings, pct = ALONE[name]
    assert slippage_of(market(**settings))(TICK, D(10_000)) == D(pct)
    assert told(market(**settings)).startswith(f"{name}: ")


def test_models_add_up() -> None:
    """All four at once are the sum of the four; none is nothing."""
    every = {key: value for settings, _ in ALONE.values() for key, value in settings.items()}
    assert slippage_of(market(**every))(TICK, D(10_000)) == sum((D(pct) for _, pct in ALONE.values()), D(0))
    assert slippage_of(market())(TICK, D(10_000)) == 0
    assert told(market()) == "none"


def test_a_larger_order_is_dearer_and_an_unknown_turnover_costs_nothing() -> None:
    """Four times the order, twice the price; before the first candle nothing is known."""
    by_size = slippage_of(market(slippage_size_pct="0.3"))
    assert by_size(TICK, D(40_000)) == 2 * by_size(TICK, D(10_000))
    unknown = Tick(**{name: getattr(TICK, name) for name in TICK.__struct_fields__ if name != "turnover_usd"})
    assert by_size(unknown, D(10_000)) == 0

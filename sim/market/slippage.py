"""What a market order pays beyond the touch, in percent, by the condition of the market and its own size: a table of models.

Each model is nothing at its setting's default of 0, but for `fixed`; what they say is added up. Only what was known before the order
counts: the last closed candle, the spread of now. Pure; knows no exchange.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Final, NamedTuple

from config.settings import MarketSettings
from sim.market.tick import Tick

ZERO: Final = Decimal(0)


class Model(NamedTuple):
    """One model. `pct` of an order worth so many dollars at a tick; `told` says what it takes, None: it is switched off."""

    pct: Callable[[MarketSettings, Tick, Decimal], Decimal]
    told: Callable[[MarketSettings], str | None]


def _fixed(market: MarketSettings, _tick: Tick, _usd: Decimal) -> Decimal:
    return market.slippage_pct


def _spread(market: MarketSettings, tick: Tick, _usd: Decimal) -> Decimal:
    return (tick.ask - tick.bid) / tick.mark * 100 * market.slippage_spread_share


def _volatility(market: MarketSettings, tick: Tick, _usd: Decimal) -> Decimal:
    return tick.range_pct * market.slippage_range_share


def _size(market: MarketSettings, tick: Tick, usd: Decimal) -> Decimal:
    return market.slippage_size_pct * (usd / tick.turnover_usd).sqrt() if tick.turnover_usd else ZERO


MODELS: Final[dict[str, Model]] = {
    "fixed": Model(_fixed, lambda m: f"{m.slippage_pct} %" if m.slippage_pct else None),
    "spread": Model(_spread, lambda m: f"{m.slippage_spread_share} of the spread" if m.slippage_spread_share else None),
    "volatility": Model(
        _volatility,
        lambda m: f"{m.slippage_range_share} of the last closed candle's range" if m.slippage_range_share else None,
    ),
    "size": Model(
        _size,
        lambda m: (
            f"{m.slippage_size_pct} % x root of (order / turnover of the last closed candle)"
            if m.slippage_size_pct
            else None
        ),
    ),
}


def slippage_of(market: MarketSettings) -> Callable[[Tick, Decimal], Decimal]:
    """(tick, order's value in USD) -> percent, of the models that are switched on."""
    chosen = [model.pct for model in MODELS.values() if model.told(market) is not None]
    return lambda tick, usd: sum((pct(market, tick, usd) for pct in chosen), ZERO)


def told(market: MarketSettings) -> str:
    """The models switched on, in words."""
    return "; ".join(f"{name}: {text}" for name, model in MODELS.items() if (text := model.told(market))) or "none"

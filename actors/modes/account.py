"""The simulated account that paper, backtests and `venue serve` begin with. Imports no venue and no gateway: a backtest starts fast."""

from __future__ import annotations

from typing import Final

from config.settings import Settings
from sim.engine import Engine
from sim.engine.fees import KRAKEN
from sim.market.contracts import INVERSE
from sim.market.slippage import slippage_of
from sim.market.tape import Tape

SYNTHETIC_DAYS: Final = 365


def engine_for(settings: Settings, tape: Tape, *, inverse: bool = False) -> Engine:
    """A new account on the exchange that lists the tape's contracts, and on request their inverse twins."""
    listed = tape.instruments
    twins = [INVERSE[contract.symbol] for contract in listed if inverse and contract.symbol in INVERSE]
    return Engine(
        [*listed, *twins],
        settings.market.equity_usd,
        taker_fee_pct=settings.risk.taker_fee_pct,
        maker_fee_pct=settings.risk.maker_fee_pct,
        schedule=KRAKEN if settings.market.fee_schedule == "kraken" else None,
        slippage=slippage_of(settings.market),
        depth_usd=settings.market.depth_usd,
        limits_through=settings.market.limit_fills == "through",
        to_come=tape.to_come if settings.market.intrabar == "pessimistic" else None,
    )

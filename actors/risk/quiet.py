"""When risk would next speak, as thresholds of the market: between them its decisions and what it remembers do not change. Pure.

For a driver that skips what is of no consequence. Everything here follows from `guards`: whoever changes a guard changes its threshold.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Final

import msgspec

from actors.risk.guards import LET_GO
from actors.risk.sizing import HUNDRED
from actors.risk.state import State

ONE: Final = Decimal(1)


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Where risk takes notice. Equity is as the account is told; `peak_usd` is remembered, so a higher one must be told.

    `fall_share`: an equity at or below this share of the peak is said; `equity_least_usd`, `equity_most_usd`: so is one at or
    beyond these. `leverage`: notional / equity; `liquidation_pct`: distance of the mark in percent; `basis_pct`.
    """

    peak_usd: float
    fall_share: float
    equity_least_usd: float
    equity_most_usd: float
    leverage: float
    liquidation_pct: float
    basis_pct: float


def basis_pct(state: State) -> float:
    """The basis from which on every pair of prices must be seen, in percent."""
    risk = state.settings.risk
    return float(min(risk.basis_max_pct, risk.basis_max_post_pct) * LET_GO)


def limits(state: State) -> Limits | None:
    """The thresholds in force; None: something is unsettled, so every price must be seen."""
    memory, risk = state.memory, state.settings.risk
    raised = {key.partition(":")[0] for key, held in state.halts.items() if held}
    unsettled = raised - {"risk.daily_loss", "risk.drawdown", "risk.cooldown"}
    if (
        memory.delayed
        or risk.funding_spike_x
        or unsettled
        or state.account is None
        or memory.day_equity_usd is None
        or memory.peak_equity_usd is None
    ):
        return None
    daily = memory.day_equity_usd * (ONE - risk.daily_loss_max_pct / HUNDRED)
    fallen = "risk.drawdown" in raised
    let_go = memory.peak_equity_usd * (ONE - risk.drawdown_max_pct * LET_GO / HUNDRED)
    return Limits(
        peak_usd=float(memory.peak_equity_usd),
        fall_share=0.0 if fallen else float(ONE - risk.drawdown_max_pct / HUNDRED),
        equity_least_usd=0.0 if memory.daily_loss_hit else float(daily),
        equity_most_usd=float(let_go) if fallen else float("inf"),
        leverage=float(risk.leverage_alert * LET_GO),
        liquidation_pct=float(risk.liquidation_buffer_pct / LET_GO),
        basis_pct=basis_pct(state),
    )

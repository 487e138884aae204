"""When risk would next speak, as thresholds of the market: between them its decisions and what it remembers do not change. Pure.

For a driver that skips what is of no consequence. Everything here follows from `guards`: whoever changes a guard changes its threshold.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Final

import msgspec

from actors.risk.guards import LET_GO
from actors.risk.sizing import HUNDRED
from actors.risk.state import State, roll_day, told_account, told_positions
from protocol.messages.futures import Account, MarkPrice, Position

ONE: Final = Decimal(1)


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Where risk takes notice. Equity is as the account is told; a higher one than `peak_usd` is remembered: see `told_account`.

    `fall_share`: an equity at or below this share of the peak is said; `equity_least_usd`, `equity_most_usd`: so is one at or
    beyond these. From midnight on `equity_least_usd` is `day_share` of the equity told last before it; None: midnight is said.
    `leverage`: notional / equity; `liquidation_pct`: distance of the mark in percent.
    """

    equity_usd: float
    peak_usd: float
    fall_share: float
    equity_least_usd: float
    equity_most_usd: float
    day_share: float | None
    leverage: float
    liquidation_pct: float


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
    day_share = ONE - risk.daily_loss_max_pct / HUNDRED
    is_lost = memory.daily_loss_hit or "risk.daily_loss" in raised
    fallen = "risk.drawdown" in raised
    let_go = memory.peak_equity_usd * (ONE - risk.drawdown_max_pct * LET_GO / HUNDRED)
    return Limits(
        equity_usd=float(state.account.equity_usd),
        peak_usd=float(memory.peak_equity_usd),
        fall_share=0.0 if fallen else float(ONE - risk.drawdown_max_pct / HUNDRED),
        equity_least_usd=0.0 if memory.daily_loss_hit else float(memory.day_equity_usd * day_share),
        equity_most_usd=float(let_go) if fallen else float("inf"),
        day_share=None if is_lost else float(day_share),
        leverage=float(risk.leverage_alert * LET_GO),
        liquidation_pct=float(risk.liquidation_buffer_pct / LET_GO),
    )


def indifferent_to_spot(state: State) -> bool:
    """Whether a spot price near the mark is nothing to say or to remember for long: no signal waits for it, and no guard is up."""
    return not (state.memory.delayed or any(state.halts.values()))


def account_told(state: State, at: int, account: Account) -> State:
    """The state after an account that breaks no limit."""
    return told_account(state, at, account)


def price_told(state: State, mark: MarkPrice) -> State:
    """The state after a mark that comes near no limit."""
    return msgspec.structs.replace(state, marks={**state.marks, mark.symbol: mark})


def positions_told(state: State, at: int, positions: Sequence[Position]) -> State:
    """The state after positions that come near no limit."""
    return told_positions(state, at, positions)


def day_begins(state: State, at: int) -> State:
    """The state at `at`, when a midnight that says nothing may have passed."""
    return roll_day(state, at)

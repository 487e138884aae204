"""A position that no entry of ours opened, as a trade of ours: protected and managed, or closed. Pure.

What becomes of it is settings' business (`execution.foreign_positions`), told in the drift that found it.
"""

from __future__ import annotations

from decimal import Decimal

from actors.executor import exits
from actors.executor.exits import Plan, Trail
from actors.executor.trade import Trade, adopt
from actors.executor.wishes import leave
from protocol.ids import derive
from protocol.messages.control import Drift
from protocol.messages.futures import Instrument

TARGET_R = 2
"""An adopted position has no signal and so no target of its own: this many times the distance of its stop."""


def taken_over(message: Drift, size: Decimal, mark: Decimal, stop_pct: Decimal, instrument: Instrument) -> Trade:
    """The trade that `size` contracts (signed) at `mark` become; on the way out when the policy says flatten."""
    plan = Plan(
        trade_id=derive("foreign", message.id),
        symbol=message.symbol,
        timeframe="15m",
        side="long" if size > 0 else "short",
        size=abs(size),
        stop_pct=stop_pct / 100,
        take_profit_pct=stop_pct / 100 * TARGET_R,
        spot_entry=mark,
        reference=mark,
        entry_bar_ms=message.at // 1000,
        exit_on_choch="off",
        max_hold_bars=0,
        tick=instrument.tick,
        contract_size=instrument.contract_size,
    )
    stop, target = exits.stop_and_target(plan)
    trade = Trade(
        plan=plan,
        trail=Trail(best_close=float(mark)),
        stop_price=stop,
        target_price=target,
        initial_stop=stop,
        entry_until=message.at,
        position=abs(size),
        position_fresh=True,
        position_at=message.at,
        filled_at=message.at,
    )
    trade = adopt(trade, mark, message.at)
    return leave(trade, "flatten.foreign") if message.policy == "flatten" else trade

"""Conditions that hold entries back for as long as they last, as one table. Pure.

Each guard answers whether it is breached, or None when it cannot tell, in which case what was said last stays. `raised` is
what was said last: where a guard lets go earlier or later than it took hold, the two thresholds are the hysteresis.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Final

import msgspec

from actors.risk.rules import basis_pct
from actors.risk.sizing import HUNDRED
from config.settings import Settings
from protocol.messages.control import Severity
from protocol.messages.futures import MarkPrice, Position
from protocol.messages.spot import SpotPrice
from protocol.units import moment, seconds_us

LIQUIDATION: Final = "risk.liquidation"
DRAWDOWN: Final = "risk.drawdown"
LET_GO: Final = Decimal("0.8")
"""A guard with hysteresis lets go at this share of the threshold it took hold at."""


class View(msgspec.Struct, frozen=True, kw_only=True):
    """What a guard may look at: one of the account at its figures, one of a symbol at the last three."""

    at: int
    settings: Settings
    daily_loss_hit: bool = False
    daily_loss_pct: Decimal | None = None
    drawdown_hit: bool = False
    drawdown_pct: Decimal | None = None
    cooldown_until: int = 0
    leverage: Decimal | None = None
    mark: MarkPrice | None = None
    basis_pct: Decimal | None = None
    position: Position | None = None


class Reading(msgspec.Struct, frozen=True):
    """One look: breached or not, and what was found: a sentence and the numbers that go into it once a person reads it."""

    breached: bool
    sentence: str
    numbers: tuple[Decimal, ...] = ()

    @property
    def text(self) -> str:
        """The sentence for the person."""
        return self.sentence.format(*self.numbers)


Look = Callable[[View, bool], Reading | None]


class Guard(msgspec.Struct, frozen=True):
    """`key` (a symbol is appended for guards of a symbol), alert `code`, and the look. `halts`: entries wait while it is breached."""

    key: str
    code: str
    severity: Severity
    look: Look
    halts: bool = True


MOVES: Final = Reading(False, "moves")
OVER: Final = Reading(False, "over")


def over(value: Decimal, threshold: Decimal, raised: bool) -> bool:
    """Whether `value` is beyond the threshold in force: the lower one once raised."""
    return value > threshold * LET_GO if raised else value > threshold


def daily_loss(view: View, _raised: bool) -> Reading | None:
    """Lasts until the next UTC day, recovered or not."""
    if view.daily_loss_pct is None and not view.daily_loss_hit:
        return None
    lost, limit = view.daily_loss_pct, view.settings.risk.daily_loss_max_pct
    if lost is None:
        return Reading(view.daily_loss_hit, "the day's loss limit of {} % was reached; until 00:00 UTC", (limit,))
    return Reading(
        view.daily_loss_hit, "lost {:.4f} % of the day's first equity, limit {} %; until 00:00 UTC", (lost, limit)
    )


def drawdown(view: View, raised: bool) -> Reading | None:
    """Lasts until most of it is recovered, through restarts."""
    if view.drawdown_pct is None:
        return None
    limit = view.settings.risk.drawdown_max_pct
    breached = view.drawdown_pct >= limit or ((raised or view.drawdown_hit) and over(view.drawdown_pct, limit, True))
    return Reading(breached, "{:.4f} % below the highest equity, limit {} %", (view.drawdown_pct, limit))


def cooldown(view: View, _raised: bool) -> Reading | None:
    """Lasts a fixed time after a streak of losses."""
    if view.at >= view.cooldown_until:
        return OVER
    return Reading(True, f"loss streak; entries rest until {moment(view.cooldown_until)} UTC")


def leverage(view: View, raised: bool) -> Reading | None:
    """Prices may push leverage towards the cap with nothing bought. A word to the person: what would go beyond the cap is refused by its rule."""
    if view.leverage is None:
        return None
    limit = view.settings.risk.leverage_alert
    return Reading(
        view.leverage >= limit or over(view.leverage, limit, raised),
        "notional is {:.4f} x equity, alert at {}",
        (view.leverage, limit),
    )


def frozen(view: View, _raised: bool) -> Reading | None:
    """A mark that stands still while trades go elsewhere counts as stale, fresh as its stamp may be."""
    if view.mark is None:
        return None
    if not view.mark.frozen:
        return MOVES
    return Reading(True, "mark {} stands still while trades go elsewhere", (view.mark.mark,))


def basis(view: View, raised: bool) -> Reading | None:
    """Spot and mark disagree. Judged only on two prices of one moment."""
    value = view.basis_pct
    if value is None:
        return None
    limit = view.settings.risk.basis_max_pct
    return Reading(over(value, limit, raised), "spot and mark {:.4f} % apart, limit {} %", (value, limit))


def basis_now_pct(mark: MarkPrice | None, spot: SpotPrice | None, settings: Settings) -> Decimal | None:
    """The basis in percent; None when a price is unknown or the two are not of one moment."""
    if mark is None or spot is None or abs(spot.at - mark.mark_time) > seconds_us(settings.risk.basis_skew_max_s):
        return None
    return basis_pct(mark, spot)


def basis_held(view: View, raised: bool) -> Reading | None:
    """The wider limit while a position is open: reduce-only, and said as a risk of the position."""
    if view.position is None or view.position.size == 0:
        return Reading(False, "nothing held") if raised else None
    value = view.basis_pct
    if value is None:
        return None
    limit = view.settings.risk.basis_max_post_pct
    return Reading(
        over(value, limit, raised), "spot and mark {:.4f} % apart with a position open, limit {} %", (value, limit)
    )


def liquidation(view: View, raised: bool) -> Reading | None:
    """The exchange's own liquidation price comes nearer than the buffer."""
    if view.position is None or view.position.size == 0:
        return Reading(False, "nothing held") if raised else None
    distance = liquidation_distance_pct(view.mark, view.position)
    if distance is None:
        return None
    limit = view.settings.risk.liquidation_buffer_pct
    needed = limit / LET_GO if raised else limit
    return Reading(distance < needed, "mark is {:.4f} % from liquidation, buffer {} %", (distance, limit))


def liquidation_distance_pct(mark: MarkPrice | None, position: Position | None) -> Decimal | None:
    """Percent of mark between it and the exchange's liquidation price; below zero beyond it. None: unknown or out of reach."""
    if mark is None or position is None or position.size == 0 or position.liquidation_price is None:
        return None
    towards = 1 if position.size > 0 else -1
    return (mark.mark - position.liquidation_price) * towards / mark.mark * HUNDRED


ACCOUNT_GUARDS: Final = (
    Guard("risk.daily_loss", "DAILY_LOSS", "critical", daily_loss),
    Guard(DRAWDOWN, "DRAWDOWN", "critical", drawdown),
    Guard("risk.cooldown", "LOSS_STREAK", "critical", cooldown),
    Guard("risk.leverage", "LEVERAGE_NEAR", "warning", leverage, halts=False),
)

SYMBOL_GUARDS: Final = (
    Guard("risk.mark", "MARK_FROZEN", "warning", frozen),
    Guard("risk.basis", "BASIS_WIDE", "warning", basis),
    Guard("risk.basis_held", "BASIS_WIDE", "critical", basis_held),
    Guard(LIQUIDATION, "LIQ_NEAR", "critical", liquidation),
)

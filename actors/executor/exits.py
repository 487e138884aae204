"""What structure means for a held position: smc-spec section 5, rules 3 to 6, and how a stop may move. Pure.

Rules 1 and 2, stop and target, rest on the exchange and act on mark. Prices in a `StructureRead` are spot; they become futures prices by
the ratio to the spot entry, as percentages of entry do.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final, Literal

import msgspec

from protocol.messages.signal import StructureRead
from protocol.units import SIGN, TIMEFRAME_MS, Side, Timeframe, decimal, round_ceiling, round_floor


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """The parameters of section 7 that only a holder of a position needs."""

    exit_on_bias: bool = False
    trail_mode: Literal["off", "structure", "atr"] = "off"
    trail_start_r: float = 1.0
    trail_atr: float = 3.0
    breakeven_at_r: float = 0.0


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What was agreed at entry and never changes. `reference` is the mark at entry, `entry_bar_ms` the signal's candle."""

    trade_id: str
    symbol: str
    timeframe: Timeframe
    side: Side
    size: Decimal
    stop_pct: Decimal
    take_profit_pct: Decimal
    spot_entry: Decimal
    reference: Decimal
    entry_bar_ms: int
    exit_on_choch: Literal["exec", "4h", "off"]
    max_hold_bars: int
    tick: Decimal
    contract_size: Decimal


class Trail(msgspec.Struct, frozen=True, kw_only=True):
    """What trailing must remember: the best close since entry (spot) and whether it is armed."""

    best_close: float
    armed: bool = False


def policy_of(params: dict[str, Any]) -> Policy:
    """The policy in a set of strategy parameters; a parameter that is not there keeps its default."""
    known = {name: params[name] for name in Policy.__struct_fields__ if name in params}
    return msgspec.convert(known, Policy)


def bars_held(plan: Plan, read: StructureRead) -> int:
    """Closed execution candles since the entry candle; zero for the entry candle itself."""
    return (read.candle_time_ms - plan.entry_bar_ms) // TIMEFRAME_MS[plan.timeframe]


def flipped(plan: Plan, _policy: Policy, read: StructureRead) -> bool:
    """A change of character against the position became known at this candle."""
    flips = {"exec": read.choch, "4h": read.choch_4h, "off": 0}
    return flips[plan.exit_on_choch] == -SIGN[plan.side]


def opposed(plan: Plan, policy: Policy, read: StructureRead) -> bool:
    """The combined bias is the opposite; stale or neutral (0) is no exit."""
    return policy.exit_on_bias and read.bias == -SIGN[plan.side]


def outlived(plan: Plan, _policy: Policy, read: StructureRead) -> bool:
    """Held for as long as was agreed."""
    return 0 < plan.max_hold_bars <= bars_held(plan, read)


EXITS: Final[tuple[tuple[str, Callable[[Plan, Policy, StructureRead], bool]], ...]] = (
    ("exit.choch", flipped),
    ("exit.bias", opposed),
    ("exit.time", outlived),
)
"""In the specification's order; the first hit wins."""


def exit_code(plan: Plan, policy: Policy, read: StructureRead) -> str | None:
    """Why to leave at this candle, None to stay. Nothing counts on the entry candle."""
    if bars_held(plan, read) <= 0:
        return None
    return next((code for code, rule in EXITS if rule(plan, policy, read)), None)


def follow_price(plan: Plan, policy: Policy, trail: Trail, read: StructureRead) -> tuple[Trail, Decimal | None]:
    """Rule 6: what trailing remembers after this candle, and the futures price it would move the stop to, if any."""
    sign = SIGN[plan.side]
    entry = float(plan.spot_entry)
    gained_r = (read.close - entry) * sign / (entry * float(plan.stop_pct))
    trail = Trail(
        best_close=max(trail.best_close * sign, read.close * sign) * sign,
        armed=trail.armed or gained_r >= policy.trail_start_r,
    )
    candidates: list[float] = []
    if 0 < policy.breakeven_at_r <= gained_r:
        candidates.append(entry)
    if trail.armed and policy.trail_mode == "structure":
        level = read.trail_long if plan.side == "long" else read.trail_short
        candidates += [] if level is None else [level]
    if trail.armed and policy.trail_mode == "atr" and read.atr is not None:
        candidates.append(trail.best_close - sign * policy.trail_atr * read.atr)
    behind = [level for level in candidates if level * sign < read.close * sign]
    if not behind:
        return trail, None
    best = max(level * sign for level in behind) * sign
    return trail, from_spot(plan, best)


def from_spot(plan: Plan, level: float) -> Decimal:
    """A spot level as a futures price at the same distance from entry, rounded to the tick away from profit."""
    return away(plan.side, plan.reference * decimal(level) / plan.spot_entry, plan.tick)


def away(side: Side, price: Decimal, tick: Decimal) -> Decimal:
    """Rounded down for a long, up for a short: a stop goes away from entry, a target towards it."""
    return round_floor(price, tick) if side == "long" else round_ceiling(price, tick)


def stop_and_target(plan: Plan) -> tuple[Decimal, Decimal]:
    """Both distances applied to the mark at entry, never to a last or a fill price."""
    sign = SIGN[plan.side]
    stop = plan.reference * (1 - sign * plan.stop_pct)
    target = plan.reference * (1 + sign * plan.take_profit_pct)
    return away(plan.side, stop, plan.tick), away(plan.side, target, plan.tick)


def tightened(side: Side, stop: Decimal, candidate: Decimal) -> Decimal:
    """The only place a stop price changes: towards profit or not at all."""
    new = max(stop, candidate) if side == "long" else min(stop, candidate)
    assert (new - stop) * SIGN[side] >= 0, "a stop was about to be widened"
    return new


def beyond(side: Side, mark: Decimal, level: Decimal) -> bool:
    """Whether `mark` has reached a stop at `level`."""
    return mark <= level if side == "long" else mark >= level

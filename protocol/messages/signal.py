"""What structure says. Position-blind: a signal never knows whether anything is held. Knows nothing of futures."""

from __future__ import annotations

from protocol.messages.base import Message
from protocol.units import Side, Timeframe


class Signal(Message, frozen=True, kw_only=True):
    """strategy -> risk: an entry that passed every rule. `id` is the spec's signal id (sha256, 32 hex digits).

    Prices are spot; `stop_pct` and `take_profit_pct` are positive fractions of entry, which execution applies
    to the futures mark. `valid_until` is microseconds UTC. `snapshot` is the full decision as JSON.
    """

    symbol: str
    timeframe: Timeframe
    side: Side
    candle_time_ms: int
    entry: float
    stop: float
    take_profit: float
    stop_pct: float
    take_profit_pct: float
    zone_id: str
    reason: str
    valid_until: int
    rule_version: str
    params_hash: str
    snapshot: str


class Held(Message, frozen=True, kw_only=True):
    """strategy -> journal: a closed execution candle without an entry, and the first rule that failed."""

    symbol: str
    timeframe: Timeframe
    candle_time_ms: int
    reason: str


class StructureRead(Message, frozen=True, kw_only=True):
    """strategy -> executor: what a closed execution candle means to whoever holds a position (smc-spec 5).

    `choch`, `choch_4h`: +1 / -1 when a change of character of that direction became known at this candle, else 0.
    `bias`: combined side, 0 when neutral or stale. `trail_long` / `trail_short`: structure trail levels, spot prices.
    """

    symbol: str
    timeframe: Timeframe
    candle_time_ms: int
    high: float
    low: float
    close: float
    atr: float | None
    choch: int
    choch_4h: int
    bias: int
    trail_long: float | None
    trail_short: float | None

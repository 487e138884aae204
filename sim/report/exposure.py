"""What was at stake over time: notional, effective leverage, and how far the marks were from liquidation. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import msgspec
import numpy as np
from numpy.typing import NDArray

from protocol.units import MILLISECOND_US
from sim.engine.sums import maintenance_margin
from sim.report.account import TradeAccount
from sim.report.metrics import Equity
from sim.tape import Tape

Floats = NDArray[np.float64]


class Exposure(msgspec.Struct, frozen=True, kw_only=True):
    """One row a 15m boundary with something open. `leverage_x` = notional / equity.

    `liquidation_pct`: by how much all marks together must move against what is held until margin equity reaches the maintenance
    margin, percent of the marks; the account is cross-margined, so there is one distance.
    """

    at: NDArray[np.int64]
    notional_usd: Floats
    leverage_x: Floats
    liquidation_pct: Floats


def exposure(trades: Sequence[TradeAccount], equity: Equity, tape: Tape) -> Exposure:
    """At every point of `equity` at which a position was open; fills of the same boundary count as done."""
    at = np.array([moment for moment, _ in equity], np.int64)
    worth = np.array([float(usd) for _, usd in equity])
    notional, maintenance = np.zeros(len(at)), np.zeros(len(at))
    tracks = {track.instrument.symbol: track for track in tape.tracks.values()}
    for trade in trades:
        track = tracks[trade.symbol]
        held, cost = Decimal(0), Decimal(0)
        until = [*(fill.at for fill in trade.fills[1:]), tape.end_us + MILLISECOND_US]
        for fill, end in zip(trade.fills, until, strict=True):
            grows = held * fill.size >= 0
            cost = cost + fill.size * fill.price if grows else cost * (held + fill.size) / held
            held += fill.size
            first, last = np.searchsorted(at, (fill.at - MILLISECOND_US, end - MILLISECOND_US))
            if not held or first >= last:
                continue
            notional[first:last] += float(abs(held)) * track.marks(at[first:last])
            maintenance[first:last] += float(maintenance_margin(track.instrument, cost))
    is_open = notional > 0
    worth, notional = worth[is_open], notional[is_open]
    return Exposure(
        at=at[is_open],
        notional_usd=notional,
        leverage_x=notional / worth,
        liquidation_pct=100 * (worth - maintenance[is_open]) / notional,
    )

"""Each trade's own account: what it made at the marks, what slippage, fees and funding took, how far it ran for and against us.

Rebuilt after the run from what was said and from the tape, so that the run itself keeps no books for it. Money is Decimal and adds up:
net = gross - slippage - fees - funding. Pure; knows no page.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Final

import msgspec
import numpy as np

from protocol.messages.base import Message
from protocol.messages.futures import EnterPosition, Filled, Protected, TradeClosed
from protocol.messages.signal import Signal
from protocol.units import HOUR_US, SIGN, Side
from sim.market.tape import Tape
from sim.stage import FIRST_SLOT_US

ZERO: Final = Decimal(0)
BUY: Final = {"buy": 1, "sell": -1}


class Execution(msgspec.Struct, frozen=True, kw_only=True):
    """One fill beside the mark it was made at. `size` is signed: above zero bought. Contracts are one coin each (PF)."""

    at: int
    size: Decimal
    price: Decimal
    mark: Decimal

    @property
    def slippage_usd(self) -> Decimal:
        """What the fill cost against the mark: half the spread and what the order moved the price."""
        return (self.price - self.mark) * self.size


class TradeAccount(msgspec.Struct, frozen=True, kw_only=True):
    """One trade. Moments are microseconds UTC, prices futures prices; `closed_at` None: still open, valued at the last mark.

    `pnl_usd`: realised (open: unrealised) after fees, before funding. `risk_usd`: lost at the first stop, before costs; None
    when none was ever placed. `mae_r`, `mfe_r`: worst and best mark while it was open against the average entry, in R.
    """

    trade_id: str
    symbol: str
    spot_symbol: str
    timeframe: str
    side: Side
    size: Decimal
    opened_at: int
    closed_at: int | None
    entry_price: Decimal
    exit_price: Decimal
    stop_price: Decimal | None
    target_price: Decimal | None
    reason: str
    zone_id: str
    leverage_x: Decimal
    gross_usd: Decimal
    slippage_usd: Decimal
    fees_usd: Decimal
    funding_usd: Decimal
    net_usd: Decimal
    risk_usd: Decimal | None
    net_r: float | None
    mae_r: float | None
    mfe_r: float | None
    fills: tuple[Execution, ...]


def accounts(
    messages: Iterable[Message], tape: Tape, spot_of: dict[str, str], fees_usd: Mapping[str, Decimal]
) -> list[TradeAccount]:
    """All trades in the order in which they closed, those still open last. `spot_of`: futures symbol -> spot symbol.

    `fees_usd`: fill id -> fee as the exchange booked it; what the trades were told with may be an estimate.
    """
    signals: dict[str, Signal] = {}
    entries: dict[str, EnterPosition] = {}
    protections: dict[str, Protected] = {}
    fills: dict[str, list[tuple[int, Filled]]] = {}
    found: list[TradeAccount] = []
    for message in messages:
        match message:
            case Signal():
                signals[message.id] = message
            case EnterPosition():
                entries[message.symbol] = message
            case Protected():
                protections.setdefault(message.trade_id, message)
            case Filled(fill=fill):
                fills.setdefault(fill.symbol, []).append((message.at, message))
            case TradeClosed():
                told = _Told(
                    entries[message.symbol], signals[message.trade_id], protections.get(message.trade_id), message
                )
                found.append(_account(told, fills.pop(message.symbol, []), tape, spot_of, fees_usd))
    for symbol, open_fills in fills.items():
        entry = entries[symbol]
        if entry.signal_id in signals:
            told = _Told(entry, signals[entry.signal_id], protections.get(entry.signal_id), None)
            found.append(_account(told, open_fills, tape, spot_of, fees_usd))
    return found


class _Told(msgspec.Struct, frozen=True):
    """What was said of one trade."""

    entry: EnterPosition
    signal: Signal
    protected: Protected | None
    closed: TradeClosed | None


def _account(
    told: _Told,
    fills: Sequence[tuple[int, Filled]],
    tape: Tape,
    spot_of: dict[str, str],
    fees_usd: Mapping[str, Decimal],
) -> TradeAccount:
    entry, closed, protected = told.entry, told.closed, told.protected
    symbol, d = entry.symbol, SIGN[entry.side]
    done = tuple(
        Execution(
            at=at,
            size=said.fill.size * BUY[said.fill.side],
            price=said.fill.price,
            mark=tape.tick(symbol, at).mark,
        )
        for at, said in fills
    )
    opening = [one for one in done if one.size * d > 0]
    size = sum((abs(one.size) for one in opening), ZERO)
    entry_price = sum((abs(one.size) * one.price for one in opening), ZERO) / size if size else ZERO
    end = tape.end_us if closed is None else closed.at
    opened_at = done[0].at if done else end
    last_mark = tape.tick(symbol, end).mark
    fees = sum((fees_usd[said.fill.fill_id] for _, said in fills), ZERO)
    if closed is not None:
        pnl = closed.pnl_usd + closed.fees_usd - fees
    else:
        held = sum((one.size for one in done), ZERO)
        pnl = held * last_mark - sum((one.size * one.price for one in done), ZERO) - fees
    slippage = sum((one.slippage_usd for one in done), ZERO)
    funding = _funding(symbol, done, end, tape)
    risk = abs(entry_price - protected.stop_price) * size if protected is not None else None
    against, towards = _extremes(symbol, opened_at, end, tape)
    worst, best = (against, towards) if d > 0 else (towards, against)
    distance = float(risk / size) if risk and size else None
    net = pnl - funding
    return TradeAccount(
        trade_id=entry.signal_id,
        symbol=symbol,
        spot_symbol=spot_of[symbol],
        timeframe=entry.timeframe,
        side=entry.side,
        size=size,
        opened_at=opened_at,
        closed_at=None if closed is None else closed.at,
        entry_price=entry_price,
        exit_price=last_mark if closed is None else closed.exit_price,
        stop_price=None if protected is None else protected.stop_price,
        target_price=None if protected is None else protected.target_price,
        reason="open" if closed is None else closed.reason,
        zone_id=told.signal.zone_id,
        leverage_x=entry.leverage,
        gross_usd=pnl + fees + slippage,
        slippage_usd=slippage,
        fees_usd=fees,
        funding_usd=funding,
        net_usd=net,
        risk_usd=risk,
        net_r=float(net / risk) if risk else None,
        mae_r=None if distance is None else (worst - float(entry_price)) * d / distance,
        mfe_r=None if distance is None else (best - float(entry_price)) * d / distance,
        fills=done,
    )


def _funding(symbol: str, fills: Sequence[Execution], end: int, tape: Tape) -> Decimal:
    """What the position paid (above zero) hour by hour, at the rate the exchange fixes at each hour's first tick."""
    paid, held = ZERO, ZERO
    rules = next(one for one in tape.instruments if one.symbol == symbol)
    cap, tick = rules.max_relative_funding_rate, rules.tick
    for one, until in zip(fills, [*(one.at for one in fills[1:]), end], strict=True):
        held += one.size
        since = one.at
        # The exchange settles a microsecond after the full hour; until then the old hour's rate holds.
        hours = range((since - FIRST_SLOT_US) // HOUR_US * HOUR_US, until - FIRST_SLOT_US if held else 0, HOUR_US)
        for hour, (rate, ticks) in zip(hours, tape.hourly_terms(symbol, hours), strict=True):
            stop = min(until, hour + HOUR_US + FIRST_SLOT_US)
            paid += held * (max(-cap, min(cap, rate)) * ticks * tick) * (stop - since) / HOUR_US
            since = stop
    return paid


def _extremes(symbol: str, start: int, end: int, tape: Tape) -> tuple[float, float]:
    """Lowest and highest mark of the path from `start` to `end`: its turns and both ends."""
    track = next(track for track in tape.tracks.values() if track.instrument.symbol == symbol)
    at = np.array([start, *tape.vertices(symbol, start, end), end], np.int64)
    jumps = at[(at - track.start_us) % track.path.step_us == 0] - 1  # a candle may open away from the close before
    marks = track.marks(np.clip(np.concatenate((at, jumps)), start, end))
    return float(marks.min()), float(marks.max())

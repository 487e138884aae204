"""The pre-trade controls and the one place that normalises orders. Pure: facts in, reasons out. Fails closed.

Every control is a named function in `CONTROLS`; it answers what it measured, its limit, and why the entry stays in, if so. Reduce-only
orders pass: nothing here may keep a position from being closed. Knows no gate, no clock, no wire.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import NamedTuple

import msgspec

from config.settings import Settings
from protocol.messages.base import Message
from protocol.messages.futures import (
    Account,
    AccountChanged,
    EditOrder,
    Finding,
    Instrument,
    InstrumentsListed,
    MarkPrice,
    PlaceOrder,
    PositionChanged,
)
from protocol.units import MINUTE_US, round_ceiling, round_down, round_floor, seconds_us

MAX_POSITION_SHARE = Decimal("0.1")
REMEMBERED_ENTRIES = 1000


class Facts(msgspec.Struct, frozen=True):
    """What the door knows of the market and the account, read from the stream by itself."""

    marks: dict[str, MarkPrice] = {}
    instruments: dict[str, Instrument] = {}
    positions: dict[str, Decimal] = {}
    account: Account | None = None
    entries: tuple[tuple[int, str, str], ...] = ()
    """(when, symbol, client order id) of the newest entries let out."""

    def observe(self, message: Message) -> Facts:
        """These facts and what `message` adds."""
        match message:
            case MarkPrice(symbol=symbol):
                return msgspec.structs.replace(self, marks={**self.marks, symbol: message})
            case InstrumentsListed(instruments=instruments):
                return msgspec.structs.replace(self, instruments={i.symbol: i for i in instruments})
            case PositionChanged(position=position):
                return msgspec.structs.replace(self, positions={**self.positions, position.symbol: position.size})
            case AccountChanged(account=account):
                return msgspec.structs.replace(self, account=account)
            case _:
                return self

    def let_out(self, order: PlaceOrder, at: int) -> Facts:
        """These facts after entry `order` left at `at`."""
        entry = (at, order.symbol, order.client_order_id)
        return msgspec.structs.replace(self, entries=(*self.entries, entry)[-REMEMBERED_ENTRIES:])


class Seen(NamedTuple):
    """What a control measured, its limit, and why the entry stays in; None: it may pass."""

    measure: str
    limit: str
    refusal: str | None


Control = Callable[[PlaceOrder, Facts, Settings, int], Seen]
UNKNOWN = "unknown"
"""Measured where a fact is missing whose absence another control refuses."""


def _judged(measure: str, limit: str, passes: bool, refusal: str) -> Seen:
    return Seen(measure, limit, None if passes else refusal)


def _reduce_only_role(order: PlaceOrder, facts: Facts, settings: Settings, at: int) -> Seen:
    return _judged(order.role, "entry", order.role == "entry", f"role {order.role} must be reduce-only")


def _authorised_symbol(order: PlaceOrder, facts: Facts, settings: Settings, at: int) -> Seen:
    configured = order.symbol in settings.spot_of
    return _judged(order.symbol, "configured", configured, f"{order.symbol} is not configured")


def _tradeable(order: PlaceOrder, facts: Facts, settings: Settings, at: int) -> Seen:
    instrument = facts.instruments.get(order.symbol)
    if instrument is None:
        return Seen(UNKNOWN, "tradeable", "contract rules unknown")
    if instrument.inverse:
        return Seen("inverse", "tradeable", "inverse contracts are off")
    measure = "tradeable" if instrument.tradeable else "not tradeable"
    return _judged(measure, "tradeable", instrument.tradeable, measure)


def _market_mode(order: PlaceOrder, facts: Facts, settings: Settings, at: int) -> Seen:
    mark = facts.marks.get(order.symbol)
    if mark is None:
        return Seen(UNKNOWN, "open", None)
    mode = "suspended" if mark.suspended else "post-only" if mark.post_only else "open"
    return _judged(mode, "open", mode == "open", mode)


def _fresh_mark(order: PlaceOrder, facts: Facts, settings: Settings, at: int) -> Seen:
    limit = f"{settings.risk.mark_age_max_s} s"
    mark = facts.marks.get(order.symbol)
    if mark is None:
        return Seen(UNKNOWN, limit, "no mark")
    age_us = at - mark.at
    fresh = age_us <= seconds_us(settings.risk.mark_age_max_s)
    return _judged(f"{age_us / 1e6:.3f} s", limit, fresh, f"mark is {age_us / 1e6:.1f} s old")


def _size(order: PlaceOrder, facts: Facts, settings: Settings, at: int) -> Seen:
    instrument = facts.instruments.get(order.symbol)
    largest = None if instrument is None else instrument.max_position * MAX_POSITION_SHARE
    limit = UNKNOWN if largest is None else str(largest)
    if order.size <= 0:
        return Seen(str(order.size), limit, "rounds to nothing")
    fits = largest is None or order.size <= largest
    return _judged(str(order.size), limit, fits, f"size {order.size} above a tenth of the exchange's position limit")


def _price_collar(order: PlaceOrder, facts: Facts, settings: Settings, at: int) -> Seen:
    collar_pct = settings.execution.entry_collar_pct
    mark = facts.marks.get(order.symbol)
    if order.limit_price is None or mark is None:
        return Seen("no limit price" if order.limit_price is None else UNKNOWN, f"{collar_pct} %", None)
    away_pct = abs(order.limit_price - mark.mark) / mark.mark * 100
    return _judged(f"{away_pct:.4f} %", f"{collar_pct} %", away_pct <= collar_pct, f"limit {away_pct:.2f} % from mark")


def _notional(order: PlaceOrder, facts: Facts) -> Decimal | None:
    mark = facts.marks.get(order.symbol)
    return None if mark is None else order.size * mark.mark


def _order_value(order: PlaceOrder, facts: Facts, settings: Settings, at: int) -> Seen:
    notional, largest = _notional(order, facts), settings.execution.order_notional_max_usd
    if notional is None:
        return Seen(UNKNOWN, f"{largest} USD", None)
    return _judged(f"{notional:.2f} USD", f"{largest} USD", notional <= largest, f"order of {notional:.0f} USD")


def _aggregate_exposure(order: PlaceOrder, facts: Facts, settings: Settings, at: int) -> Seen:
    cap = min(settings.risk.exposure_max_x, settings.risk.leverage_cap, Decimal(10))
    limit = f"{cap}x"
    notional = _notional(order, facts)
    if facts.account is None or facts.account.equity_usd <= 0:
        return Seen(UNKNOWN, limit, "equity unknown or gone")
    if notional is None:
        return Seen(UNKNOWN, limit, None)
    held = [(abs(size), facts.marks.get(symbol)) for symbol, size in sorted(facts.positions.items()) if size]
    if any(mark is None for _, mark in held):
        return Seen(UNKNOWN, limit, "a held position has no mark")
    total = notional + sum((size * mark.mark for size, mark in held if mark is not None), Decimal(0))
    multiple = total / facts.account.equity_usd
    return _judged(f"{multiple:.4f}x", limit, multiple <= cap, f"exposure {multiple:.2f}x above {limit}")


def _no_pyramiding(order: PlaceOrder, facts: Facts, settings: Settings, at: int) -> Seen:
    held = facts.positions.get(order.symbol, Decimal(0))
    return _judged(f"{held} held", "0 held", not held, f"{order.symbol} is already held")


def _duplicate(order: PlaceOrder, facts: Facts, settings: Settings, at: int) -> Seen:
    times = sum(1 for _, _, sent in facts.entries if sent == order.client_order_id)
    return _judged(f"sent {times} times", "sent 0 times", times == 0, "already sent")


def _rate(order: PlaceOrder, facts: Facts, settings: Settings, at: int) -> Seen:
    recent = sum(1 for when, symbol, _ in facts.entries if symbol == order.symbol and when > at - MINUTE_US)
    most = settings.execution.orders_per_minute
    limit = f"fewer than {most} in a minute"
    return _judged(f"{recent} in a minute", limit, recent < most, f"{recent} entries in a minute")


CONTROLS: dict[str, Control] = {
    "pretrade.reduce_only": _reduce_only_role,
    "pretrade.symbol": _authorised_symbol,
    "pretrade.tradeable": _tradeable,
    "pretrade.market_mode": _market_mode,
    "pretrade.mark_age": _fresh_mark,
    "pretrade.size": _size,
    "pretrade.price_collar": _price_collar,
    "pretrade.order_value": _order_value,
    "pretrade.exposure": _aggregate_exposure,
    "pretrade.pyramiding": _no_pyramiding,
    "pretrade.duplicate": _duplicate,
    "pretrade.rate": _rate,
}


def examine(
    order: PlaceOrder, facts: Facts, settings: Settings, at: int
) -> tuple[tuple[Finding, ...], tuple[str, ...]]:
    """What every control measured, and of those that keep `order` in, `code: what it saw`; reduce-only is asked nothing."""
    if order.reduce_only:
        return (), ()
    seen = [(code, control(order, facts, settings, at)) for code, control in CONTROLS.items()]
    findings = tuple(Finding(control=code, measure=found.measure, limit=found.limit) for code, found in seen)
    return findings, tuple(f"{code}: {found.refusal}" for code, found in seen if found.refusal is not None)


def refusals(order: PlaceOrder, facts: Facts, settings: Settings, at: int) -> tuple[str, ...]:
    """Every control that keeps `order` in, as `code: what it saw`; empty when it may pass."""
    return examine(order, facts, settings, at)[1]


def normalise(order: PlaceOrder, instrument: Instrument) -> tuple[PlaceOrder, tuple[str, ...]]:
    """`order` on the contract's tick and lot, and what that changed.

    Sizes go down. A stop moves away from entry and a target towards it, which is down for a sell and up for a buy in
    both cases; a limit never gets worse than asked: down for a buy, up for a sell.
    """
    outwards, inwards = (round_floor, round_ceiling) if order.side == "sell" else (round_ceiling, round_floor)
    normal = msgspec.structs.replace(
        order,
        size=round_down(order.size, instrument.lot),
        stop_price=None if order.stop_price is None else outwards(order.stop_price, instrument.tick),
        limit_price=None if order.limit_price is None else inwards(order.limit_price, instrument.tick),
    )
    return normal, _changes(order, normal)


def normalise_edit(edit: EditOrder, instrument: Instrument) -> tuple[EditOrder, tuple[str, ...]]:
    """`edit` on the contract's lot; its prices were rounded by whoever placed the order and must already fit."""
    normal = msgspec.structs.replace(edit, size=round_down(edit.size, instrument.lot))
    return normal, _changes(edit, normal)


def _changes(before: PlaceOrder | EditOrder, after: PlaceOrder | EditOrder) -> tuple[str, ...]:
    pairs = ((name, getattr(before, name), getattr(after, name)) for name in ("size", "stop_price", "limit_price"))
    return tuple(f"{name} {old} -> {new}" for name, old, new in pairs if old != new)

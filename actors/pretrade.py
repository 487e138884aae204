"""The pre-trade controls and the one place that normalises orders. Pure: facts in, reasons out. Fails closed.

Every control is a named function in `CONTROLS`; it answers what it measured, its limit, and whether the entry may pass. Reduce-only
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
    Position,
    PositionChanged,
    worth_usd,
)
from protocol.units import MINUTE_US, SECOND_US, decimal, round_ceiling, round_down, round_floor

MAX_POSITION_SHARE = Decimal("0.1")
REMEMBERED_ENTRIES = 1000


class Facts(msgspec.Struct, frozen=True):
    """What the door knows of the market and the account, read from the stream by itself."""

    marks: dict[str, MarkPrice] = {}
    instruments: dict[str, Instrument] = {}
    positions: dict[str, Position] = {}
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
                return msgspec.structs.replace(self, positions={**self.positions, position.symbol: position})
            case AccountChanged(account=account):
                return msgspec.structs.replace(self, account=account)
            case _:
                return self

    def let_out(self, order: PlaceOrder, at: int) -> Facts:
        """These facts after entry `order` left at `at`."""
        entry = (at, order.symbol, order.client_order_id)
        return msgspec.structs.replace(self, entries=(*self.entries, entry)[-REMEMBERED_ENTRIES:])


class Seen(NamedTuple):
    """What a control found: whether the entry may pass, and the number of `unit` with its limit, or the word, that says so."""

    passes: bool
    measure: Decimal | None = None
    limit: Decimal | None = None
    unit: str = ""
    word: str = ""


Control = Callable[[PlaceOrder, Facts, Settings, int], Seen]
UNKNOWN = "unknown"
"""Found where a fact is missing whose absence another control refuses."""


def _reduce_only_role(order: PlaceOrder, facts: Facts, settings: Settings, at: int) -> Seen:
    return Seen(order.role == "entry", word=order.role)


def _authorised_symbol(order: PlaceOrder, facts: Facts, settings: Settings, at: int) -> Seen:
    configured = order.symbol in settings.spot_of
    return Seen(configured, word="configured" if configured else "not configured")


def _tradeable(order: PlaceOrder, facts: Facts, settings: Settings, at: int) -> Seen:
    instrument = facts.instruments.get(order.symbol)
    if instrument is None:
        return Seen(False, word="contract rules unknown")
    if instrument.inverse:
        return Seen(False, word="inverse contracts are off")
    if instrument.margin != "cross":
        return Seen(False, word=f"margin is {instrument.margin}")
    return Seen(instrument.tradeable, word="tradeable" if instrument.tradeable else "not tradeable")


def _market_mode(order: PlaceOrder, facts: Facts, settings: Settings, at: int) -> Seen:
    mark = facts.marks.get(order.symbol)
    if mark is None:
        return Seen(True, word=UNKNOWN)
    mode = "suspended" if mark.suspended else "post-only" if mark.post_only else "open"
    return Seen(mode == "open", word=mode)


def _fresh_mark(order: PlaceOrder, facts: Facts, settings: Settings, at: int) -> Seen:
    oldest_s = decimal(settings.risk.mark_age_max_s)
    mark = facts.marks.get(order.symbol)
    if mark is None:
        return Seen(False, None, oldest_s, " s", "no mark")
    age_s = Decimal(at - mark.at) / SECOND_US
    return Seen(age_s <= oldest_s, age_s, oldest_s, " s")


def _size(order: PlaceOrder, facts: Facts, settings: Settings, at: int) -> Seen:
    instrument = facts.instruments.get(order.symbol)
    largest = None if instrument is None else instrument.max_position * MAX_POSITION_SHARE
    return Seen(order.size > 0 and (largest is None or order.size <= largest), order.size, largest, " contracts")


def _price_collar(order: PlaceOrder, facts: Facts, settings: Settings, at: int) -> Seen:
    """How far from the mark it may fill at first: its limit, or at market what the other side of the book asks."""
    collar_pct = settings.execution.entry_collar_pct
    mark = facts.marks.get(order.symbol)
    if mark is None:
        return Seen(True, None, collar_pct, " %", UNKNOWN)
    touch = mark.ask if order.side == "buy" else mark.bid
    price = touch if order.limit_price is None else order.limit_price
    away_pct = abs(price - mark.mark) / mark.mark * 100
    return Seen(away_pct <= collar_pct, away_pct, collar_pct, " %")


def _notional(order: PlaceOrder, facts: Facts) -> Decimal | None:
    mark = facts.marks.get(order.symbol)
    return None if mark is None else order.size * mark.mark


def _order_value(order: PlaceOrder, facts: Facts, settings: Settings, at: int) -> Seen:
    notional, largest = _notional(order, facts), settings.execution.order_notional_max_usd
    if notional is None:
        return Seen(True, None, largest, " USD", UNKNOWN)
    return Seen(notional <= largest, notional, largest, " USD")


def _held_notional(position: Position, facts: Facts) -> Decimal:
    """In USD at the mark; of a contract that is not ours to trade, which has none here, at what was paid."""
    mark = facts.marks.get(position.symbol)
    return worth_usd(position.symbol, position.size, position.entry_price if mark is None else mark.mark)


def _aggregate_exposure(order: PlaceOrder, facts: Facts, settings: Settings, at: int) -> Seen:
    cap = min(settings.risk.exposure_max_x, settings.risk.leverage_cap, Decimal(10))
    notional = _notional(order, facts)
    if facts.account is None or facts.account.equity_usd <= 0:
        return Seen(False, None, cap, "x", "equity unknown or gone")
    if notional is None:
        return Seen(True, None, cap, "x", UNKNOWN)
    held = [position for _, position in sorted(facts.positions.items()) if position.size]
    if any(position.symbol in settings.spot_of and position.symbol not in facts.marks for position in held):
        return Seen(False, None, cap, "x", "a held position has no mark")
    multiple = sum((_held_notional(position, facts) for position in held), notional) / facts.account.equity_usd
    return Seen(multiple <= cap, multiple, cap, "x")


def _no_pyramiding(order: PlaceOrder, facts: Facts, settings: Settings, at: int) -> Seen:
    position = facts.positions.get(order.symbol)
    held = Decimal(0) if position is None else position.size
    return Seen(not held, held, Decimal(0), " held")


def _duplicate(order: PlaceOrder, facts: Facts, settings: Settings, at: int) -> Seen:
    times = sum(1 for _, _, sent in facts.entries if sent == order.client_order_id)
    return Seen(times == 0, Decimal(times), Decimal(0), " times sent")


def _rate(order: PlaceOrder, facts: Facts, settings: Settings, at: int) -> Seen:
    recent = 1 + sum(1 for when, symbol, _ in facts.entries if symbol == order.symbol and when > at - MINUTE_US)
    most = settings.execution.orders_per_minute
    return Seen(recent <= most, Decimal(recent), Decimal(most), " in a minute")


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


def examine(order: PlaceOrder, facts: Facts, settings: Settings, at: int) -> tuple[Finding, ...]:
    """What every control found, in their order; reduce-only is asked nothing."""
    if order.reduce_only:
        return ()
    seen = [(code, control(order, facts, settings, at)) for code, control in CONTROLS.items()]
    return tuple(
        Finding(control=code, passed=passes, measure=measure, limit=limit, unit=unit, word=word)
        for code, (passes, measure, limit, unit, word) in seen
    )


def normalise(order: PlaceOrder, instrument: Instrument) -> tuple[PlaceOrder, tuple[str, ...]]:
    """`order` on the contract's tick and lot, and what that changed.

    Sizes go down, those of reduce-only orders up: what is too much the exchange cuts away, what is too little stays. A stop moves away from entry and a target towards it, which is down for a sell and up for a buy in
    both cases; a limit never gets worse than asked: down for a buy, up for a sell.
    """
    outwards, inwards = (round_floor, round_ceiling) if order.side == "sell" else (round_ceiling, round_floor)
    normal = msgspec.structs.replace(
        order,
        size=(round_ceiling if order.reduce_only else round_down)(order.size, instrument.lot),
        stop_price=None if order.stop_price is None else outwards(order.stop_price, instrument.tick),
        limit_price=None if order.limit_price is None else inwards(order.limit_price, instrument.tick),
    )
    return normal, _changes(order, normal)


def normalise_edit(edit: EditOrder, instrument: Instrument) -> tuple[EditOrder, tuple[str, ...]]:
    """`edit` on the contract's lot, up unless it is an entry; its prices were rounded by whoever placed the order and must already fit."""
    rounded = (round_down if edit.role == "entry" else round_ceiling)(edit.size, instrument.lot)
    normal = msgspec.structs.replace(edit, size=rounded)
    return normal, _changes(edit, normal)


def _changes(before: PlaceOrder | EditOrder, after: PlaceOrder | EditOrder) -> tuple[str, ...]:
    pairs = ((name, getattr(before, name), getattr(after, name)) for name in ("size", "stop_price", "limit_price"))
    return tuple(f"{name} {old} -> {new}" for name, old, new in pairs if old != new)

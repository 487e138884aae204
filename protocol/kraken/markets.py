"""Futures market data that anybody may read: books, trades, funding rates, charts, fees, the state of a contract, notices.

REST payloads and the public WebSocket feeds of the same things become the same types. Knows no transport and no account.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final, Literal

import msgspec
from pydantic import Field

from protocol.kraken.futures_rest import parse_envelope, write_success
from protocol.kraken.wire import (
    Json,
    MalformedPayload,
    Milliseconds,
    Name,
    NonNegative,
    Number,
    Parsed,
    Positive,
    Record,
    Symbol,
    check,
    decode,
    member,
    ms_us,
    one_by_one,
    parse_iso_us,
    showable,
    us_ms,
    us_s,
    without_none,
    write_iso_ms,
)
from protocol.messages.futures import Maintenance
from protocol.units import MINUTE_US, OrderSide

# --- values ----------------------------------------------------------------------------------------------------------

Level = tuple[Decimal, Decimal]
"""(price, size)."""


class Book(msgspec.Struct, frozen=True, kw_only=True):
    """A whole order book, best levels first. `sequence` None: by REST, which numbers nothing."""

    symbol: str
    bids: tuple[Level, ...]
    asks: tuple[Level, ...]
    sequence: int | None = None
    time: int | None = None


class BookChange(msgspec.Struct, frozen=True, kw_only=True):
    """One level's new size, 0 removes it. A gap in `sequence` means: subscribe anew."""

    symbol: str
    side: OrderSide
    price: Decimal
    size: Decimal
    sequence: int
    time: int


class Trade(msgspec.Struct, frozen=True, kw_only=True):
    """A public trade; `side` is the taker's. `kind` verbatim (`fill`, `liquidation`, ...). `time` microseconds UTC."""

    symbol: str
    trade_id: str
    side: OrderSide
    price: Decimal
    size: Decimal
    kind: str
    time: int


class FundingRate(msgspec.Struct, frozen=True, kw_only=True):
    """The rate of the hour that ended at `time` (microseconds UTC). `relative`: fraction an hour; `absolute`: USD a contract."""

    time: int
    absolute: Decimal
    relative: Decimal | None


class FeeTier(msgspec.Struct, frozen=True, kw_only=True):
    """Fees in percent from a 30-day volume in USD on."""

    from_volume_usd: Decimal
    maker_pct: Decimal
    taker_pct: Decimal


class FeeSchedule(msgspec.Struct, frozen=True, kw_only=True):
    """A named schedule, tiers ascending."""

    uid: str
    name: str
    tiers: tuple[FeeTier, ...]


class InstrumentStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a contract trades as usual. `dislocation` verbatim, None without one."""

    symbol: str
    dislocated: bool
    dislocation: str | None
    volatile: bool
    margin_multiplier: Decimal


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """Something Kraken announces. `effective` microseconds UTC, None when it does not say."""

    kind: str
    priority: str
    text: str
    effective: int | None = None
    downtime_minutes: int | None = None


class ChartCandle(msgspec.Struct, frozen=True, kw_only=True):
    """A candle of the charts API. Mark and spot candles have no volume: 0."""

    open_time_ms: int
    open: float
    high: float
    low: float
    close: float
    volume: float


class Candles(msgspec.Struct, frozen=True, kw_only=True):
    """One page of a chart, oldest first; `more`: later candles exist within what was asked for."""

    candles: tuple[ChartCandle, ...]
    quarantined: tuple[MalformedPayload, ...]
    more: bool


class Lite(msgspec.Struct, frozen=True, kw_only=True):
    """The short ticker."""

    symbol: str
    bid: Decimal
    ask: Decimal


# --- order book ------------------------------------------------------------------------------------------------------


class _Levels(Record):
    bids: list[tuple[Positive, NonNegative]]
    asks: list[tuple[Positive, NonNegative]]


class _LevelRow(Record):
    price: Positive
    size: NonNegative = Field(alias="qty")


class _BookFrame(Record):
    symbol: Symbol = Field(alias="product_id")
    bids: list[_LevelRow]
    asks: list[_LevelRow]
    sequence: int = Field(alias="seq", ge=0)
    time_ms: Milliseconds = Field(alias="timestamp")


class _ChangeFrame(Record):
    symbol: Symbol = Field(alias="product_id")
    side: OrderSide
    price: Positive
    size: NonNegative = Field(alias="qty")
    sequence: int = Field(alias="seq", ge=0)
    time_ms: Milliseconds = Field(alias="timestamp")


def parse_order_book(data: Json, symbol: str) -> Book:
    """The answer to `orderbook`. Raises Refused, MalformedPayload."""
    payload = parse_envelope(data, "orderbook")
    row = check(_Levels, member(payload, "orderBook", dict, "orderbook"), "orderbook")
    return Book(symbol=symbol, bids=tuple(row.bids), asks=tuple(row.asks))


def write_order_book(book: Book, at: int) -> dict[str, object]:
    """The answer to `orderbook`."""
    levels = {name: [list(level) for level in side] for name, side in (("bids", book.bids), ("asks", book.asks))}
    return write_success(at, orderBook=levels)


def parse_book_snapshot(payload: Mapping[str, Any]) -> Book:
    """A `book_snapshot` frame. Raises MalformedPayload."""
    row = check(_BookFrame, payload, "book_snapshot")
    bids, asks = (tuple((level.price, level.size) for level in side) for side in (row.bids, row.asks))
    return Book(symbol=row.symbol, bids=bids, asks=asks, sequence=row.sequence, time=ms_us(row.time_ms))


def write_book_snapshot(book: Book) -> dict[str, object]:
    """A `book_snapshot` frame."""
    bids, asks = ([{"price": price, "qty": size} for price, size in side] for side in (book.bids, book.asks))
    return {
        "feed": "book_snapshot",
        "product_id": book.symbol,
        "timestamp": us_ms(book.time or 0),
        "seq": book.sequence or 0,
        "tickSize": None,
        "bids": bids,
        "asks": asks,
    }


def parse_book_change(payload: Mapping[str, Any]) -> BookChange:
    """A `book` frame. Raises MalformedPayload."""
    row = check(_ChangeFrame, payload, "book")
    return BookChange(**row.model_dump(exclude={"time_ms"}), time=ms_us(row.time_ms))


def write_book_change(change: BookChange) -> dict[str, object]:
    """A `book` frame."""
    return {
        "feed": "book",
        "product_id": change.symbol,
        "side": change.side,
        "seq": change.sequence,
        "price": change.price,
        "qty": change.size,
        "timestamp": us_ms(change.time),
    }


# --- trades ----------------------------------------------------------------------------------------------------------


class _HistoryRow(Record):
    time: str
    trade_id: int | str | None = None
    uid: str | None = None
    price: Positive
    size: NonNegative
    side: OrderSide
    kind: str = Field("unknown", alias="type")


class _TradeFrame(Record):
    symbol: Symbol = Field(alias="product_id")
    uid: Name
    side: OrderSide
    kind: str = Field("unknown", alias="type")
    time_ms: Milliseconds = Field(alias="time")
    size: NonNegative = Field(alias="qty")
    price: Positive


def parse_trade_history(data: Json, symbol: str) -> Parsed[Trade]:
    """The answer to `history`, oldest first."""
    rows = member(parse_envelope(data, "history"), "history", list, "history")

    def read(value: object) -> Trade:
        row = check(_HistoryRow, value, "history")
        name = row.uid or row.trade_id
        if name is None:
            raise MalformedPayload("history", "uid", "missing")
        return Trade(
            symbol=symbol,
            trade_id=str(name),
            side=row.side,
            price=row.price,
            size=row.size,
            kind=row.kind,
            time=parse_iso_us(row.time, "history", "time"),
        )

    return _by_time(one_by_one(reversed(rows), read, "history"))


def write_trade_history(trades: Sequence[Trade], at: int) -> dict[str, object]:
    """The answer to `history`, given oldest first, written newest first."""
    rows = [
        {
            "time": write_iso_ms(trade.time),
            "trade_id": position,
            "price": trade.price,
            "size": trade.size,
            "side": trade.side,
            "type": trade.kind,
            "uid": trade.trade_id,
        }
        for position, trade in reversed(list(enumerate(trades, 1)))
    ]
    return write_success(at, history=rows)


def parse_trade_frame(payload: Mapping[str, Any]) -> Trade:
    """A `trade` frame, or one row of a `trade_snapshot`. Raises MalformedPayload."""
    row = check(_TradeFrame, payload, "trade")
    return Trade(trade_id=row.uid, time=ms_us(row.time_ms), **row.model_dump(exclude={"uid", "time_ms"}))


def parse_trade_snapshot(payload: Mapping[str, Any]) -> Parsed[Trade]:
    """A `trade_snapshot` frame, oldest first."""
    rows = member(payload, "trades", list, "trade_snapshot")

    def read(value: object) -> Trade:
        if not isinstance(value, dict):
            raise MalformedPayload("trade_snapshot", "", "an object was expected")
        return parse_trade_frame({"product_id": payload.get("product_id"), **value})

    return _by_time(one_by_one(reversed(rows), read, "trade_snapshot"))


def write_trade_frame(trade: Trade, sequence: int) -> dict[str, object]:
    """A `trade` frame."""
    return {
        "feed": "trade",
        "product_id": trade.symbol,
        "uid": trade.trade_id,
        "side": trade.side,
        "type": trade.kind,
        "seq": sequence,
        "time": us_ms(trade.time),
        "qty": trade.size,
        "price": trade.price,
    }


def write_trade_snapshot(symbol: str, trades: Sequence[Trade]) -> dict[str, object]:
    """A `trade_snapshot` frame, given oldest first, written newest first."""
    rows = [write_trade_frame(trade, sequence) for sequence, trade in reversed(list(enumerate(trades, 1)))]
    return {"feed": "trade_snapshot", "product_id": symbol, "trades": rows}


def _by_time(parsed: Parsed[Trade]) -> Parsed[Trade]:
    return Parsed(tuple(sorted(parsed.values, key=lambda trade: trade.time)), parsed.quarantined)


# --- executions of the history API -------------------------------------------------------------------------------------


class _TakerOrder(Record):
    direction: Literal["Buy", "Sell"]


class _MarketExecution(Record):
    uid: Name
    time_ms: Milliseconds = Field(alias="timestamp")
    size: Positive = Field(alias="quantity")
    price: Positive
    taker: _TakerOrder = Field(alias="takerOrder")


class TradePage(msgspec.Struct, frozen=True, kw_only=True):
    """One page of a history, oldest first; `more` is the token of the next page, None at its end."""

    trades: tuple[Trade, ...]
    quarantined: tuple[MalformedPayload, ...]
    more: str | None


def parse_market_executions(data: Json, symbol: str) -> TradePage:
    """The answer to `/api/history/v2/market/{symbol}/executions`; numbers are text there."""
    what = "market executions"
    payload = decode(data, what)

    def read(value: object) -> Trade | None:
        event = value.get("event") if isinstance(value, dict) else None
        if not isinstance(event, dict):
            raise MalformedPayload(what, "event", "missing")
        if "Execution" not in event:
            return None
        inner = member(event, "Execution", dict, what)
        row = check(_MarketExecution, member(inner, "execution", dict, what), what)
        return Trade(
            symbol=symbol,
            trade_id=row.uid,
            side="buy" if row.taker.direction == "Buy" else "sell",
            price=row.price,
            size=row.size,
            kind="fill",
            time=ms_us(row.time_ms),
        )

    parsed = _by_time(one_by_one(reversed(member(payload, "elements", list, what)), read, what))
    token = payload.get("continuationToken")
    more = token if isinstance(token, str) and token else None
    return TradePage(trades=parsed.values, quarantined=parsed.quarantined, more=more)


def write_market_executions(page: TradePage) -> dict[str, object]:
    """The answer to `/api/history/v2/market/{symbol}/executions`, newest first."""
    elements = [_write_execution(trade) for trade in reversed(page.trades)]
    return without_none(elements=elements, len=len(elements), continuationToken=page.more)


def _write_execution(trade: Trade) -> dict[str, object]:
    moment = us_ms(trade.time)
    order = {
        "uid": trade.trade_id,
        "tradeable": trade.symbol,
        "direction": trade.side.capitalize(),
        "quantity": str(trade.size),
        "timestamp": moment,
        "limitPrice": str(trade.price),
        "orderType": "IoC",
        "reduceOnly": False,
        "lastUpdateTimestamp": moment,
    }
    execution = {
        "uid": trade.trade_id,
        "makerOrder": {**order, "direction": "Sell" if trade.side == "buy" else "Buy", "orderType": "Post"},
        "takerOrder": order,
        "timestamp": moment,
        "quantity": str(trade.size),
        "price": str(trade.price),
        "limitFilled": False,
    }
    event = {"Execution": {"execution": execution, "takerReducedQuantity": ""}}
    return {"uid": trade.trade_id, "timestamp": moment, "event": event}


# --- funding -----------------------------------------------------------------------------------------------------------


class _Rate(Record):
    time: str = Field(alias="timestamp")
    absolute: Number = Field(alias="fundingRate")
    relative: Number | None = Field(None, alias="relativeFundingRate")


def parse_funding_rates(data: Json) -> Parsed[FundingRate]:
    """The answer to `historical-funding-rates`, oldest first whatever order it came in."""
    what = "historical-funding-rates"
    rows = member(parse_envelope(data, what), "rates", list, what)

    def read(value: object) -> FundingRate:
        row = check(_Rate, value, what)
        return FundingRate(time=parse_iso_us(row.time, what, "timestamp"), absolute=row.absolute, relative=row.relative)

    parsed = one_by_one(rows, read, what)
    return Parsed(tuple(sorted(parsed.values, key=lambda rate: rate.time)), parsed.quarantined)


def write_funding_rates(rates: Sequence[FundingRate], at: int) -> dict[str, object]:
    """The answer to `historical-funding-rates`."""
    rows = [
        without_none(timestamp=write_iso_ms(rate.time), fundingRate=rate.absolute, relativeFundingRate=rate.relative)
        for rate in rates
    ]
    return write_success(at, rates=rows)


# --- fees --------------------------------------------------------------------------------------------------------------


class _Tier(Record):
    from_volume_usd: NonNegative = Field(alias="usdVolume")
    maker_pct: Number = Field(alias="makerFee")
    taker_pct: Number = Field(alias="takerFee")


class _Schedule(Record):
    uid: Name
    name: str = ""
    tiers: list[_Tier] = Field(min_length=1)


def parse_fee_schedules(data: Json) -> Parsed[FeeSchedule]:
    """The answer to `feeschedules` (deprecated by Kraken; the configured fees stay the rule)."""
    rows = member(parse_envelope(data, "feeschedules"), "feeSchedules", list, "feeschedules")

    def read(value: object) -> FeeSchedule:
        row = check(_Schedule, value, "feeschedules")
        tiers = sorted((FeeTier(**tier.model_dump()) for tier in row.tiers), key=lambda tier: tier.from_volume_usd)
        return FeeSchedule(uid=row.uid, name=row.name, tiers=tuple(tiers))

    return one_by_one(rows, read, "feeschedules")


def write_fee_schedules(schedules: Sequence[FeeSchedule], at: int) -> dict[str, object]:
    """The answer to `feeschedules`."""
    rows = [
        {
            "uid": schedule.uid,
            "name": schedule.name,
            "tiers": [
                {"makerFee": tier.maker_pct, "takerFee": tier.taker_pct, "usdVolume": tier.from_volume_usd}
                for tier in schedule.tiers
            ],
        }
        for schedule in schedules
    ]
    return write_success(at, feeSchedules=rows)


# --- the state of a contract --------------------------------------------------------------------------------------------


class _InstrumentStatus(Record):
    symbol: Symbol = Field(alias="tradeable")
    dislocated: bool = Field(alias="experiencingDislocation")
    dislocation: str | None = Field(None, alias="priceDislocationDirection")
    volatile: bool = Field(alias="experiencingExtremeVolatility")
    margin_multiplier: Positive = Field(Decimal(1), alias="extremeVolatilityInitialMarginMultiplier")


def parse_instruments_status(data: Json) -> Parsed[InstrumentStatus]:
    """The answer to `instruments/status`, or to `instruments/{symbol}/status`, which has its members at the top."""
    what = "instruments/status"
    payload = parse_envelope(data, what)
    rows = [payload] if "tradeable" in payload else member(payload, "instrumentStatus", list, what)
    return one_by_one(rows, lambda row: InstrumentStatus(**check(_InstrumentStatus, row, what).model_dump()), what)


def write_instruments_status(
    statuses: Sequence[InstrumentStatus], at: int, *, single: bool = False
) -> dict[str, object]:
    """The answer to `instruments/status`; `single` for the form of one contract."""
    rows = [
        {
            "tradeable": status.symbol,
            "experiencingDislocation": status.dislocated,
            "priceDislocationDirection": status.dislocation,
            "experiencingExtremeVolatility": status.volatile,
            "extremeVolatilityInitialMarginMultiplier": status.margin_multiplier,
        }
        for status in statuses
    ]
    return write_success(at, **rows[0]) if single else write_success(at, instrumentStatus=rows)


# --- notices ------------------------------------------------------------------------------------------------------------


class _Notice(Record):
    kind: str = Field("unknown", alias="type")
    priority: str = "unknown"
    text: str = Field("", alias="note")
    effective: str | None = Field(None, alias="effectiveTime")
    effective_ms: Milliseconds | None = Field(None, alias="effective_time")
    downtime_rest: int | None = Field(None, alias="expectedDowntimeMinutes")
    downtime_stream: int | None = Field(None, alias="expected_downtime_minutes")


def parse_notifications(data: Json) -> Parsed[Notice]:
    """The answer to `notifications`."""
    return read_notices(member(parse_envelope(data, "notifications"), "notifications", list, "notifications"))


def read_notices(rows: Sequence[object]) -> Parsed[Notice]:
    """Notices of REST (ISO times) or of the stream (milliseconds)."""

    def read(value: object) -> Notice:
        row = check(_Notice, value, "notifications")
        if row.effective is not None:
            effective: int | None = parse_iso_us(row.effective, "notifications", "effectiveTime")
        else:
            effective = None if row.effective_ms is None else ms_us(row.effective_ms)
        downtime = row.downtime_rest if row.downtime_rest is not None else row.downtime_stream
        return Notice(
            kind=row.kind, priority=row.priority, text=row.text, effective=effective, downtime_minutes=downtime
        )

    return one_by_one(rows, read, "notifications")


def maintenance(notices: Sequence[Notice]) -> tuple[Maintenance, ...]:
    """What of the notices is planned maintenance, in their order."""
    return tuple(
        Maintenance(begins=notice.effective, ends=_ends(notice), text=showable(notice.text))
        for notice in notices
        if notice.kind == "maintenance"
    )


def _ends(notice: Notice) -> int | None:
    if notice.effective is None or notice.downtime_minutes is None:
        return None
    return notice.effective + notice.downtime_minutes * MINUTE_US


def write_notifications(notices: Sequence[Notice], at: int) -> dict[str, object]:
    """The answer to `notifications`."""
    rows = [
        without_none(
            type=notice.kind,
            priority=notice.priority,
            note=notice.text,
            effectiveTime=None if notice.effective is None else write_iso_ms(notice.effective),
            expectedDowntimeMinutes=notice.downtime_minutes,
        )
        for notice in notices
    ]
    return write_success(at, notifications=rows)


def write_notifications_frame(notices: Sequence[Notice]) -> dict[str, object]:
    """A `notifications_auth` frame."""
    rows = [
        without_none(
            id=position,
            type=notice.kind,
            priority=notice.priority,
            note=notice.text,
            effective_time=None if notice.effective is None else us_ms(notice.effective),
            expected_downtime_minutes=notice.downtime_minutes,
        )
        for position, notice in enumerate(notices, 1)
    ]
    return {"feed": "notifications_auth", "notifications": rows}


# --- charts -------------------------------------------------------------------------------------------------------------

CHART_RESOLUTIONS: Final = ("1m", "5m", "15m", "30m", "1h", "4h", "12h", "1d", "1w")
CHART_PAGE_MOST: Final = 2000
"""Candles a call, in other clients' experience."""


class _ChartCandle(Record):
    open_time_ms: Milliseconds = Field(alias="time")
    open: Positive
    high: Positive
    low: Positive
    close: Positive
    volume: NonNegative = Decimal(0)


def parse_chart(data: Json) -> Candles:
    """The answer to `/api/charts/v1/{tick type}/{symbol}/{resolution}`; it has no envelope, and prices are text."""
    payload = decode(data, "charts")

    def read(value: object) -> ChartCandle:
        row = check(_ChartCandle, value, "charts")
        prices = {name: float(getattr(row, name)) for name in ("open", "high", "low", "close", "volume")}
        return ChartCandle(open_time_ms=row.open_time_ms, **prices)

    parsed = one_by_one(member(payload, "candles", list, "charts"), read, "charts")
    candles = tuple(sorted(parsed.values, key=lambda candle: candle.open_time_ms))
    return Candles(candles=candles, quarantined=parsed.quarantined, more=payload.get("more_candles") is True)


def write_chart(candles: Sequence[ChartCandle], *, more: bool) -> dict[str, object]:
    """One page of a chart."""
    rows = [
        {
            "time": candle.open_time_ms,
            **{name: format(Decimal(repr(getattr(candle, name))), "f") for name in ("open", "high", "low", "close")},
            "volume": format(Decimal(repr(candle.volume)), "f"),
        }
        for candle in candles
    ]
    return {"candles": rows, "more_candles": more}


def chart_query(from_us: int, to_us: int) -> dict[str, str]:
    """`from` and `to` of a chart, in seconds."""
    return {"from": str(us_s(from_us)), "to": str(us_s(to_us))}


# --- the short ticker ----------------------------------------------------------------------------------------------------


class _Lite(Record):
    symbol: Symbol = Field(alias="product_id")
    bid: Positive
    ask: Positive


def parse_ticker_lite(payload: Mapping[str, Any]) -> Lite:
    """A `ticker_lite` frame. Raises MalformedPayload."""
    return Lite(**check(_Lite, payload, "ticker_lite").model_dump())


def write_ticker_lite(lite: Lite) -> dict[str, object]:
    """A `ticker_lite` frame."""
    return {
        "feed": "ticker_lite",
        "product_id": lite.symbol,
        "bid": lite.bid,
        "ask": lite.ask,
        "change": 0,
        "premium": 0,
        "volume": 0,
        "tag": "perpetual",
        "dtm": 0,
        "maturityTime": 0,
    }

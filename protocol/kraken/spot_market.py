"""What spot trades at: tickers and public trades, by REST and by WebSocket v2, both directions, row by row.

Envelopes and frames are in `spot`. Knows no futures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

import msgspec

from protocol.kraken.wire import (
    MalformedPayload,
    Name,
    NonNegative,
    Positive,
    Record,
    check,
    member,
    parse_iso_us,
    whole,
    write_iso_us,
)
from protocol.units import SECOND_US, OrderSide

TRADE_ROW_MEMBERS: Final = 7
NANOSECONDS: Final = 1000
_SIDE: Final[Mapping[str, OrderSide]] = {"b": "buy", "s": "sell"}
_ORDER: Final[Mapping[str, str]] = {"m": "market", "l": "limit"}


class SpotTicker(msgspec.Struct, frozen=True, kw_only=True):
    """The best prices and the last trade of a spot market. `time` microseconds UTC, None when the source does not say."""

    symbol: str
    bid: Decimal
    ask: Decimal
    last: Decimal
    volume: Decimal
    """Of the last 24 hours, in the base coin."""
    time: int | None = None


class SpotTrade(msgspec.Struct, frozen=True, kw_only=True):
    """A public trade; `side` is the taker's. `kind`: market or limit. `time` microseconds UTC."""

    symbol: str
    trade_id: int
    side: OrderSide
    price: Decimal
    size: Decimal
    kind: str
    time: int


class _RestTicker(Record):
    ask: tuple[Positive, ...]
    bid: tuple[Positive, ...]
    last: tuple[Positive, ...]
    volume: tuple[NonNegative, ...]


class _Ticker(Record):
    symbol: Name
    bid: Positive
    ask: Positive
    last: Positive
    volume: NonNegative
    timestamp: str | None = None


class _Trade(Record):
    symbol: Name
    side: OrderSide
    price: Positive
    qty: Positive
    ord_type: str = "unknown"
    trade_id: int
    timestamp: str


class _Numbers(Record):
    price: Positive
    size: Positive
    time_s: Positive


def read_rest_ticker(row: Mapping[str, Any], symbol: str) -> SpotTicker:
    """The ticker of one market: lists of text under one-letter names. Raises MalformedPayload."""
    letters = {"ask": "a", "bid": "b", "last": "c", "volume": "v"}
    lists = {name: member(row, letter, list, "Ticker") for name, letter in letters.items()}
    ticker = check(
        _RestTicker,
        {name: values[:1] for name, values in lists.items() if name != "volume"} | {"volume": lists["volume"][1:2]},
        "Ticker",
    )
    if not (ticker.ask and ticker.bid and ticker.last and ticker.volume):
        raise MalformedPayload("Ticker", "a, b, c, v", "too short")
    return SpotTicker(symbol=symbol, bid=ticker.bid[0], ask=ticker.ask[0], last=ticker.last[0], volume=ticker.volume[0])


def write_rest_ticker(ticker: SpotTicker) -> dict[str, object]:
    """The ticker of one market, by REST."""
    volume, last = str(ticker.volume), str(ticker.last)
    return {
        "a": [str(ticker.ask), "1", "1.000"],
        "b": [str(ticker.bid), "1", "1.000"],
        "c": [last, "0.00000000"],
        "v": [volume, volume],
        "p": [last, last],
        "t": [0, 0],
        "l": [last, last],
        "h": [last, last],
        "o": last,
    }


def read_rest_trade(row: object, symbol: str) -> SpotTrade:
    """`[price, volume, time, side, type, misc, id]`. Raises MalformedPayload."""
    if not isinstance(row, list) or len(row) < TRADE_ROW_MEMBERS:
        raise MalformedPayload("Trades", "", f"{TRADE_ROW_MEMBERS} members expected")
    price, size, time_s, side, kind, _, trade_id = row[:TRADE_ROW_MEMBERS]
    numbers = check(_Numbers, {"price": price, "size": size, "time_s": time_s}, "Trades")
    if not isinstance(side, str) or side not in _SIDE:
        raise MalformedPayload("Trades", "side", "b or s expected")
    return SpotTrade(
        symbol=symbol,
        trade_id=whole({"id": trade_id}, "id", "Trades"),
        side=_SIDE[side],
        price=numbers.price,
        size=numbers.size,
        kind=_ORDER.get(kind, str(kind)) if isinstance(kind, str) else "unknown",
        time=int(numbers.time_s * SECOND_US),
    )


def write_rest_trade(trade: SpotTrade) -> list[object]:
    """One row of Trades."""
    kind = {word: letter for letter, word in _ORDER.items()}.get(trade.kind, "l")
    seconds = Decimal(trade.time) / SECOND_US
    return [str(trade.price), str(trade.size), seconds, trade.side[0], kind, "", trade.trade_id]


def read_ticker(value: object) -> SpotTicker:
    """One row of a ticker frame. Raises MalformedPayload."""
    row = check(_Ticker, value, "ticker")
    time = None if row.timestamp is None else parse_iso_us(row.timestamp, "ticker", "timestamp")
    return SpotTicker(symbol=row.symbol, bid=row.bid, ask=row.ask, last=row.last, volume=row.volume, time=time)


def write_ticker(ticker: SpotTicker) -> dict[str, object]:
    """One row of a ticker frame."""
    stamp = {} if ticker.time is None else {"timestamp": write_iso_us(ticker.time)}
    return {
        "symbol": ticker.symbol,
        "bid": ticker.bid,
        "bid_qty": 1,
        "ask": ticker.ask,
        "ask_qty": 1,
        "last": ticker.last,
        "volume": ticker.volume,
        "vwap": ticker.last,
        "low": ticker.last,
        "high": ticker.last,
        "change": 0,
        "change_pct": 0,
        **stamp,
    }


def read_trade(value: object) -> SpotTrade:
    """One row of a trade frame. Raises MalformedPayload."""
    row = check(_Trade, value, "trade")
    return SpotTrade(
        symbol=row.symbol,
        trade_id=whole({"trade_id": row.trade_id}, "trade_id", "trade"),
        side=row.side,
        price=row.price,
        size=row.qty,
        kind=row.ord_type,
        time=parse_iso_us(row.timestamp, "trade", "timestamp"),
    )


def write_trade(trade: SpotTrade) -> dict[str, object]:
    """One row of a trade frame."""
    return {
        "symbol": trade.symbol,
        "side": trade.side,
        "price": trade.price,
        "qty": trade.size,
        "ord_type": trade.kind,
        "trade_id": trade.trade_id,
        "timestamp": write_iso_us(trade.time),
    }


def last_id(trades: Sequence[SpotTrade], since: str) -> str:
    """`last` of Trades: the moment of the newest trade in nanoseconds, or what was asked for when there is none."""
    return str(max(trade.time for trade in trades) * NANOSECONDS) if trades else since

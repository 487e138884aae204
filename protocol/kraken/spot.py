"""Spot payloads, public side: REST OHLC, ticker, trades, time, status, pairs; WebSocket v2 ohlc, ticker, trade and control frames.

Knows no futures. A candle's sense (high above low, volume at least zero) is judged by spot_feed, its shape here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Final, Literal

import msgspec
from pydantic import Field

from protocol.kraken import quick
from protocol.kraken.endpoints import BASE_INTERVAL, INTERVAL_MINUTES, TIMEFRAME, spot_symbol
from protocol.kraken.spot_market import (
    SpotTicker,
    SpotTrade,
    last_id,
    read_rest_ticker,
    read_rest_trade,
    read_ticker,
    read_trade,
    write_rest_ticker,
    write_rest_trade,
    write_ticker,
    write_trade,
)
from protocol.kraken.wire import (
    Json,
    MalformedPayload,
    Name,
    Number,
    Parsed,
    Positive,
    Record,
    Refused,
    check,
    decode,
    member,
    one_by_one,
    parse_iso_us,
    us_s,
    whole,
    without_none,
    write_iso_us,
)
from protocol.messages.base import from_edge
from protocol.messages.spot import CandleSeen
from protocol.units import TIMEFRAME_MS, Timeframe, decimal

OHLC_ROW_MEMBERS = 8


def candle_seen(at: int, **fields: Any) -> CandleSeen:
    """A candle as it entered the system at `at`; the id tells apart every state of a running candle."""
    seen = (fields["symbol"], fields["timeframe"], fields["open_time_ms"], at)
    return from_edge(CandleSeen, at, *seen, str(fields["close"]), str(fields["volume"]), **fields)


# --- REST --------------------------------------------------------------------------------------------------------


def parse_spot_result(data: Json, what: str) -> dict[str, Any]:
    """The `result` of a spot envelope. Raises Refused with the first error, MalformedPayload when it is no envelope."""
    payload = decode(data, what)
    errors = [str(error) for error in member(payload, "error", list, what) if not str(error).startswith("W")]
    if errors:
        raise Refused(errors[0])
    return member(payload, "result", dict, what)


def write_spot_result(result: Mapping[str, object]) -> dict[str, object]:
    """A success envelope."""
    return {"error": [], "result": result}


def write_spot_error(error: str) -> dict[str, object]:
    """A failure envelope, `error` as `E<Class>:<Text>`; `result` is absent."""
    return {"error": [error]}


def parse_ohlc(data: Json, symbol: str, timeframe: Timeframe, at: int) -> Parsed[CandleSeen]:
    """The finished candles of an OHLC answer, oldest first. Rows after `last` are still forming and are left out.

    The key of the answer is Kraken's internal pair name, so the rows are whatever is not `last`.
    """
    what = f"OHLC {symbol} {timeframe}"
    result = parse_spot_result(data, what)
    last_s = whole(result, "last", what)
    rows = next((value for name, value in result.items() if name != "last"), None)
    if not isinstance(rows, list):
        raise MalformedPayload(what, "result", "no rows")

    def read(row: object) -> CandleSeen | None:
        if not isinstance(row, list) or len(row) < OHLC_ROW_MEMBERS:
            raise MalformedPayload(what, "", f"{OHLC_ROW_MEMBERS} members expected")
        time_s = whole({"time": row[0]}, "time", what)
        if time_s > last_s:
            return None
        open_, high, low, close, volume = (
            _float(row[column], what, name)
            for column, name in ((1, "open"), (2, "high"), (3, "low"), (4, "close"), (6, "volume"))
        )
        return candle_seen(
            at,
            symbol=symbol,
            timeframe=timeframe,
            open_time_ms=time_s * 1000,
            open=open_,
            high=high,
            low=low,
            close=close,
            volume=volume,
            final=True,
        )

    parsed = one_by_one(rows, read, what)
    return Parsed(tuple(sorted(parsed.values, key=lambda candle: candle.open_time_ms)), parsed.quarantined)


def write_ohlc(pair: str, candles: Sequence[CandleSeen]) -> dict[str, object]:
    """An OHLC answer, candles oldest first; the running one (not `final`) comes last. `last` is the newest finished."""
    rows = [
        [
            candle.open_time_ms // 1000,
            *(str(decimal(price)) for price in (candle.open, candle.high, candle.low, candle.close, candle.close)),
            str(decimal(candle.volume)),
            1 if candle.volume else 0,
        ]
        for candle in candles
    ]
    last = max((candle.open_time_ms // 1000 for candle in candles if candle.final), default=0)
    return write_spot_result({pair: rows, "last": last})


def parse_ticker(data: Json, symbol: str) -> SpotTicker:
    """The answer to Ticker for the one market `symbol`. Raises Refused, MalformedPayload."""
    for row in parse_spot_result(data, "Ticker").values():
        if isinstance(row, dict):
            return read_rest_ticker(row, symbol)
    raise MalformedPayload("Ticker", "result", "no market")


def write_tickers(tickers: Mapping[str, SpotTicker]) -> dict[str, object]:
    """The answer to Ticker, by Kraken's internal pair names."""
    return write_spot_result({pair: write_rest_ticker(ticker) for pair, ticker in tickers.items()})


class TradePage(msgspec.Struct, frozen=True, kw_only=True):
    """Trades after `since`, oldest first; asking again with `last` gives the next page."""

    trades: tuple[SpotTrade, ...]
    quarantined: tuple[MalformedPayload, ...]
    last: str


def parse_trades(data: Json, symbol: str) -> TradePage:
    """The answer to Trades for the one market `symbol`. Raises Refused, MalformedPayload."""
    what = f"Trades {symbol}"
    result = parse_spot_result(data, what)
    last = member(result, "last", str, what)
    if not last.isdecimal():
        raise MalformedPayload(what, "last", "digits expected")
    rows = next((value for name, value in result.items() if name != "last"), None)
    if not isinstance(rows, list):
        raise MalformedPayload(what, "result", "no rows")
    parsed = one_by_one(rows, lambda row: read_rest_trade(row, symbol), what)
    return TradePage(trades=parsed.values, quarantined=parsed.quarantined, last=last)


def write_trades(pair: str, trades: Sequence[SpotTrade], since: str = "0") -> dict[str, object]:
    """The answer to Trades, oldest first."""
    return write_spot_result({pair: [write_rest_trade(trade) for trade in trades], "last": last_id(trades, since)})


def parse_time(data: Json) -> int:
    """The server's clock, microseconds UTC (whole seconds)."""
    return whole(parse_spot_result(data, "Time"), "unixtime", "Time") * 1_000_000


def write_time(at: int) -> dict[str, object]:
    """The answer to Time."""
    return write_spot_result({"unixtime": us_s(at), "rfc1123": write_iso_us(at)})


def parse_system_status(data: Json) -> str:
    """`online`, `maintenance`, `cancel_only`, `post_only`, or a word we do not know yet."""
    return member(parse_spot_result(data, "SystemStatus"), "status", str, "SystemStatus")


def write_system_status(status: str, at: int) -> dict[str, object]:
    """The answer to SystemStatus."""
    return write_spot_result({"status": status, "timestamp": write_iso_us(at)})


class AssetPair(Record):
    """A spot market's rules. `symbol` as this system spells it."""

    name: Name
    altname: Name
    wsname: Name
    status: str = "unknown"
    pair_decimals: int
    lot_decimals: int
    tick_size: Positive | None = None
    ordermin: Number | None = None

    @property
    def symbol(self) -> str:
        """`BTC/USD`."""
        return spot_symbol(self.wsname)


def parse_asset_pairs(data: Json) -> Parsed[AssetPair]:
    """The spot markets, in Kraken's order."""
    pairs = parse_spot_result(data, "AssetPairs")

    def read(item: object) -> AssetPair:
        name, row = item if isinstance(item, tuple) else ("", None)
        if not isinstance(row, dict):
            raise MalformedPayload("AssetPairs", str(name), "an object was expected")
        return check(AssetPair, {**row, "name": name}, "AssetPairs")

    return one_by_one(pairs.items(), read, "AssetPairs")


def write_asset_pairs(pairs: Sequence[AssetPair]) -> dict[str, object]:
    """The answer to AssetPairs."""
    return write_spot_result(
        {
            pair.name: without_none(
                altname=pair.altname,
                wsname=pair.wsname,
                status=pair.status,
                pair_decimals=pair.pair_decimals,
                lot_decimals=pair.lot_decimals,
                tick_size=None if pair.tick_size is None else str(pair.tick_size),
                ordermin=None if pair.ordermin is None else str(pair.ordermin),
            )
            for pair in pairs
        }
    )


# --- WebSocket v2: frames from the server -------------------------------------------------------------------------


class Candles(msgspec.Struct, frozen=True, kw_only=True):
    """An ohlc frame. Never final: no frame says that a candle is over."""

    candles: tuple[CandleSeen, ...]
    quarantined: tuple[MalformedPayload, ...]
    snapshot: bool
    time: int | None = None
    """When the exchange wrote the frame, microseconds UTC; None when it does not say."""


class Tickers(msgspec.Struct, frozen=True, kw_only=True):
    """A ticker frame."""

    tickers: tuple[SpotTicker, ...]
    quarantined: tuple[MalformedPayload, ...]


class Trades(msgspec.Struct, frozen=True, kw_only=True):
    """A trade frame."""

    trades: tuple[SpotTrade, ...]
    quarantined: tuple[MalformedPayload, ...]
    snapshot: bool


class SpotHeartbeat(msgspec.Struct, frozen=True):
    """Nothing else happened."""


class SpotStatus(msgspec.Struct, frozen=True):
    """The system's state, first frame of a connection."""

    system: str


class SpotSubscribed(msgspec.Struct, frozen=True, kw_only=True):
    """One symbol's acknowledgement."""

    symbol: str
    interval: int | None
    req_id: int | None
    channel: str = "ohlc"


class SpotRefusal(msgspec.Struct, frozen=True, kw_only=True):
    """A request was refused; `symbol` None when the refusal does not say which."""

    error: str
    symbol: str | None
    req_id: int | None


class SpotPong(msgspec.Struct, frozen=True):
    """The answer to a ping."""

    req_id: int | None


class SpotOther(msgspec.Struct, frozen=True):
    """A frame of a channel that we did not ask for: life, no more."""

    channel: str


SpotFrame = (
    Candles | Tickers | Trades | SpotHeartbeat | SpotStatus | SpotSubscribed | SpotRefusal | SpotPong | SpotOther
)


class _Ohlc(Record):
    symbol: Name
    open: Number
    high: Number
    low: Number
    close: Number
    volume: Number
    interval_begin: str
    interval: int


class _Reply(Record):
    method: str
    success: bool | None = None
    error: str | None = None
    symbol: str | None = None
    req_id: int | None = None
    result: dict[str, Any] | None = None


def parse_spot_frame(data: Json, at: int) -> SpotFrame:
    """One WebSocket v2 frame. Raises MalformedPayload when the frame itself cannot be read."""
    usual = quick.spot(data)
    if usual is not None:
        return _shown(usual.data, usual.timestamp, at, snapshot=False)
    payload = decode(data, "spot frame")
    if "Error" in payload:
        return SpotRefusal(error=str(payload["Error"]), symbol=None, req_id=None)
    if "method" in payload:
        return _spot_reply(check(_Reply, payload, "spot reply"))
    channel = member(payload, "channel", str, "spot frame")
    read = _CHANNELS.get(channel)
    return SpotOther(channel) if read is None else read(payload, at)


def _status(payload: Mapping[str, Any], _at: int) -> SpotStatus:
    rows = member(payload, "data", list, "spot status")
    if not rows or not isinstance(rows[0], dict):
        raise MalformedPayload("spot status", "data", "empty")
    return SpotStatus(member(rows[0], "system", str, "spot status"))


def _candles(payload: Mapping[str, Any], at: int) -> Candles:
    rows = member(payload, "data", list, "ohlc")
    return _shown(rows, payload.get("timestamp"), at, snapshot=payload.get("type") == "snapshot")


def _shown(rows: Sequence[object], stamp: object, at: int, *, snapshot: bool) -> Candles:
    parsed = one_by_one(rows, lambda row: _candle(row, at), "ohlc")
    return Candles(
        candles=parsed.values,
        quarantined=parsed.quarantined,
        snapshot=snapshot,
        time=None if stamp is None else parse_iso_us(stamp, "ohlc", "timestamp"),
    )


def _tickers(payload: Mapping[str, Any], _at: int) -> Tickers:
    parsed = one_by_one(member(payload, "data", list, "ticker"), read_ticker, "ticker")
    return Tickers(tickers=parsed.values, quarantined=parsed.quarantined)


def _trades(payload: Mapping[str, Any], _at: int) -> Trades:
    parsed = one_by_one(member(payload, "data", list, "trade"), read_trade, "trade")
    snapshot = payload.get("type") == "snapshot"
    return Trades(trades=parsed.values, quarantined=parsed.quarantined, snapshot=snapshot)


_CHANNELS: Final[Mapping[str, Callable[[Mapping[str, Any], int], SpotFrame]]] = {
    "heartbeat": lambda _payload, _at: SpotHeartbeat(),
    "status": _status,
    "ohlc": _candles,
    "ticker": _tickers,
    "trade": _trades,
}


def _spot_reply(reply: _Reply) -> SpotFrame:
    if reply.method == "pong":
        return SpotPong(reply.req_id)
    if reply.success is False or reply.error is not None:
        return SpotRefusal(error=reply.error or "refused", symbol=reply.symbol, req_id=reply.req_id)
    if reply.method != "subscribe":
        return SpotOther(reply.method)
    result = reply.result or {}
    interval = result.get("interval")
    return SpotSubscribed(
        symbol=member(result, "symbol", str, "subscribe"),
        interval=None if interval is None else whole(result, "interval", "subscribe"),
        req_id=reply.req_id,
        channel=str(result.get("channel", "ohlc")),
    )


def _candle(value: object, at: int) -> CandleSeen:
    row = value if isinstance(value, quick.Row) else check(_Ohlc, value, "ohlc")
    timeframe = TIMEFRAME.get(row.interval)
    if timeframe is None:
        raise MalformedPayload("ohlc", "interval", f"{row.interval} minutes is not a timeframe of this system")
    return candle_seen(
        at,
        symbol=row.symbol,
        timeframe=timeframe,
        open_time_ms=parse_iso_us(row.interval_begin, "ohlc", "interval_begin") // 1000,
        open=float(row.open),
        high=float(row.high),
        low=float(row.low),
        close=float(row.close),
        volume=float(row.volume),
        final=False,
    )


def write_spot_candles(candles: Sequence[CandleSeen], at: int, *, snapshot: bool = False) -> dict[str, object]:
    """An ohlc frame."""
    return {
        "channel": "ohlc",
        "type": "snapshot" if snapshot else "update",
        "timestamp": write_iso_us(at),
        "data": [_write_candle(candle) for candle in candles],
    }


def _write_candle(candle: CandleSeen) -> dict[str, object]:
    end_us = (candle.open_time_ms + TIMEFRAME_MS[candle.timeframe]) * 1000
    return {
        "symbol": candle.symbol,
        "open": candle.open,
        "high": candle.high,
        "low": candle.low,
        "close": candle.close,
        "vwap": candle.close,
        "trades": 1 if candle.volume else 0,
        "volume": candle.volume,
        "interval_begin": write_iso_us(candle.open_time_ms * 1000)[:-1] + "000Z",
        "interval": INTERVAL_MINUTES[candle.timeframe],
        "timestamp": write_iso_us(end_us),
    }


def write_spot_tickers(tickers: Sequence[SpotTicker], *, snapshot: bool = False) -> dict[str, object]:
    """A ticker frame."""
    kind = "snapshot" if snapshot else "update"
    return {"channel": "ticker", "type": kind, "data": [write_ticker(ticker) for ticker in tickers]}


def write_spot_trades(trades: Sequence[SpotTrade], *, snapshot: bool = False) -> dict[str, object]:
    """A trade frame."""
    kind = "snapshot" if snapshot else "update"
    return {"channel": "trade", "type": kind, "data": [write_trade(trade) for trade in trades]}


def write_spot_heartbeat() -> dict[str, object]:
    """A heartbeat frame."""
    return {"channel": "heartbeat"}


def write_spot_status(system: str, connection_id: int) -> dict[str, object]:
    """The greeting of a connection."""
    row = {"version": "2.0.10", "system": system, "api_version": "v2", "connection_id": connection_id}
    return {"channel": "status", "type": "update", "data": [row]}


def write_spot_subscribed(
    symbol: str, interval: int | None, req_id: int | None, at: int, channel: str = "ohlc"
) -> dict[str, object]:
    """One symbol's acknowledgement; only ohlc has an interval."""
    result = without_none(channel=channel, interval=interval, snapshot=True, symbol=symbol)
    return _stamped(at, req_id, method="subscribe", result=result, success=True)


def write_spot_refusal(error: str, symbol: str | None, req_id: int | None, at: int) -> dict[str, object]:
    """One symbol's refusal, e.g. `Currency pair not supported XBT/USD`."""
    return _stamped(at, req_id, method="subscribe", success=False, error=error, symbol=symbol)


def write_spot_pong(req_id: int | None, at: int) -> dict[str, object]:
    """The answer to a ping."""
    return _stamped(at, req_id, method="pong")


def _stamped(at: int, req_id: int | None, **members: object) -> dict[str, object]:
    moment = write_iso_us(at)
    return without_none(**members, time_in=moment, time_out=moment, req_id=req_id)


# --- WebSocket v2: requests from the client -----------------------------------------------------------------------


class SpotSubscribe(Record):
    """A client asks for (or, `method` unsubscribe, gives up) ohlc of some symbols."""

    method: Literal["subscribe", "unsubscribe"]
    channel: str
    symbols: tuple[str, ...] = Field(alias="symbol")
    interval: int | None = None
    snapshot: bool = True
    req_id: int | None = None


class SpotPing(Record):
    """A client proves life."""

    method: Literal["ping"]
    req_id: int | None = None


class _SpotRequest(Record):
    request: Annotated[SpotSubscribe | SpotPing, Field(discriminator="method")]


def parse_spot_request(data: Json) -> SpotSubscribe | SpotPing:
    """What a client asks. Raises MalformedPayload (answer `Malformed request`)."""
    payload = decode(data, "spot request")
    params = payload.get("params")
    flat = {**payload, **(params if isinstance(params, dict) else {})}
    return check(_SpotRequest, {"request": flat}, "spot request").request


def write_spot_subscribe(
    symbols: Sequence[str], req_id: int, interval: int = BASE_INTERVAL, channel: str = "ohlc"
) -> dict[str, object]:
    """Ask for a channel of `symbols`; one acknowledgement a symbol comes back. Only ohlc takes an interval."""
    chosen = {"interval": interval} if channel == "ohlc" else {}
    params = {"channel": channel, "symbol": list(symbols), **chosen, "snapshot": True}
    return {"method": "subscribe", "params": params, "req_id": req_id}


def write_spot_ping(req_id: int) -> dict[str, object]:
    """Prove life."""
    return {"method": "ping", "req_id": req_id}


def _float(value: object, what: str, field: str) -> float:
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise MalformedPayload(what, field, "a number was expected") from None
    if not math.isfinite(number):
        raise MalformedPayload(what, field, "not finite")
    return number

"""Futures REST payloads that are read: instruments, tickers, account, positions, orders, fills, order status.

Orders sent and their answers are in `orders`. Lists are read one by one: a record that cannot be read is set aside
and named, and whoever asked decides whether the rest is still the truth.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final, Literal

import msgspec
from pydantic import AliasChoices, Field

from protocol.kraken.faults import VERDICTS
from protocol.kraken.wire import (
    Json,
    MalformedPayload,
    Name,
    NonNegative,
    Number,
    OptionalPrice,
    Parsed,
    Positive,
    Record,
    Refused,
    Sparse,
    Symbol,
    check,
    decode,
    member,
    one_by_one,
    parse_iso_us,
    without_none,
    write_iso_ms,
    write_iso_us,
)
from protocol.messages.base import from_edge
from protocol.messages.futures import PERPETUAL, Account, Fill, Instrument, OpenOrder, Position, TickerSeen
from protocol.units import OrderSide

FUNDING_CAP_DEFAULT: Final = Decimal("0.0025")
"""Kraken's documented cap an hour, for a row that leaves it out."""

TRIGGER: Final[Mapping[str, str]] = {
    "mark": "mark", "mark_price": "mark",
    "last": "last", "last_price": "last",
    "index": "index", "spot": "index", "spot_price": "index",
}  # fmt: skip
"""Kraken's spellings of one idea (any case), and ours."""
ORDER_TYPE: Final[Mapping[str, str]] = {"limit": "lmt", "stop": "stp", "market": "mkt", "post-only": "post"}
"""Words that read back differently from how they are sent; others are the same."""


def our_trigger(signal: str | None) -> str | None:
    """`mark`, `last` or `index` from any spelling; a word we do not know stays as it is."""
    return None if signal is None else TRIGGER.get(signal.lower(), signal)


def our_order_type(word: str) -> str:
    """`stop` -> `stp`, `limit` -> `lmt`; a word we do not know stays as it is."""
    return ORDER_TYPE.get(word.lower(), word)


def fee_in_usd(paid: Decimal | None, currency: str | None) -> Decimal | None:
    """The fee when it is in dollars; None when this source does not say it in dollars."""
    return paid if currency is not None and currency.upper() == "USD" else None


# --- envelope ------------------------------------------------------------------------------------------------------


def parse_envelope(data: Json, what: str) -> dict[str, Any]:
    """The payload of a success. Raises Refused with Kraken's word, MalformedPayload when it is neither."""
    payload = decode(data, what)
    if payload.get("result") == "success":
        return payload
    if payload.get("result") == "error":
        raise Refused(_error_word(payload))
    raise MalformedPayload(what, "result", "neither success nor error")


def parse_server_time(data: Json) -> int:
    """When a success was written, by the exchange's clock, microseconds UTC."""
    return parse_iso_us(parse_envelope(data, "envelope").get("serverTime"), "envelope", "serverTime")


def _error_word(payload: Mapping[str, Any]) -> str:
    word = payload.get("error")
    if isinstance(word, str) and word:
        return word
    # The older form: no `error`, a status and a list of {code, message}.
    status, rows = str(payload.get("status") or "unknownError"), payload.get("errors")
    if isinstance(rows, list) and rows and isinstance(rows[0], dict) and "message" in rows[0]:
        message = str(rows[0]["message"])
        return message if message in VERDICTS else f"{status}: {message}"
    return status


def write_success(at: int, **members: object) -> dict[str, object]:
    """A success envelope."""
    return {"result": "success", **members, "serverTime": write_iso_ms(at)}


def write_error(error: str, at: int) -> dict[str, object]:
    """A failure envelope (sent with HTTP 200), e.g. `authenticationError`, `apiLimitExceeded`."""
    return {"result": "error", "error": error, "serverTime": write_iso_ms(at)}


# --- instruments ----------------------------------------------------------------------------------------------------


class _MarginLevel(Record):
    # One of the two; the other is absent or null.
    units: NonNegative | None = Field(None, alias="numNonContractUnits")
    contracts: NonNegative | None = None
    initial: Positive = Field(alias="initialMargin")
    maintenance: Positive = Field(alias="maintenanceMargin")


class _Instrument(Record):
    symbol: Symbol
    type: str
    tick: Positive = Field(alias="tickSize")
    precision: int = Field(alias="contractValueTradePrecision", ge=-12, le=12)
    contract_size: Positive = Field(Decimal(1), alias="contractSize")
    max_position: Positive = Field(alias="maxPositionSize")
    tradeable: bool = False
    margin_levels: list[_MarginLevel] = Field(alias="marginLevels", min_length=1)
    max_relative_funding_rate: Positive = Field(FUNDING_CAP_DEFAULT, alias="maxRelativeFundingRate")


def parse_instruments(data: Json) -> Parsed[Instrument]:
    """The perpetual contracts; other kinds are not read."""
    payload = parse_envelope(data, "instruments")
    return one_by_one(member(payload, "instruments", list, "instruments"), _instrument, "instruments")


def _instrument(value: object) -> Instrument | None:
    if isinstance(value, dict) and not str(value.get("symbol", "PF_")).upper().startswith(PERPETUAL):
        return None
    row = check(_Instrument, value, "instruments")
    levels = [(_begins(level), level.initial, level.maintenance) for level in row.margin_levels]
    return Instrument(
        symbol=row.symbol,
        tick=row.tick,
        lot=Decimal(1).scaleb(-row.precision),
        max_position=row.max_position,
        contract_size=row.contract_size,
        inverse=row.type == "futures_inverse",
        tradeable=row.tradeable,
        margin_levels=tuple(sorted(levels)),
        max_relative_funding_rate=row.max_relative_funding_rate,
    )


def _begins(level: _MarginLevel) -> Decimal:
    """From which size on a margin level holds: quote units, or contracts of an inverse one."""
    start = level.contracts if level.units is None else level.units
    if start is None:
        raise MalformedPayload("instruments", "marginLevels", "neither numNonContractUnits nor contracts")
    return start


def write_instruments(instruments: Sequence[Instrument], at: int) -> dict[str, object]:
    """The answer to `instruments`."""
    return write_success(at, instruments=[_write_instrument(instrument) for instrument in instruments])


def _write_instrument(instrument: Instrument) -> dict[str, object]:
    from_name = "contracts" if instrument.inverse else "numNonContractUnits"
    levels = [
        {from_name: start, "initialMargin": initial, "maintenanceMargin": maintenance}
        for start, initial, maintenance in instrument.margin_levels
    ]
    return {
        "symbol": instrument.symbol,
        "type": "futures_inverse" if instrument.inverse else "flexible_futures",
        "tickSize": instrument.tick,
        "contractSize": instrument.contract_size,
        "tradeable": instrument.tradeable,
        "impactMidSize": Decimal(1),
        "maxPositionSize": instrument.max_position,
        "openingDate": "2022-03-22T13:18:45Z",
        "marginLevels": levels,
        "retailMarginLevels": levels,
        "fundingRateCoefficient": 24,
        "maxRelativeFundingRate": instrument.max_relative_funding_rate,
        "contractValueTradePrecision": -instrument.lot.adjusted(),
        "postOnly": False,
    }


# --- tickers --------------------------------------------------------------------------------------------------------


class _Ticker(Record):
    symbol: Symbol
    mark: Positive = Field(alias="markPrice")
    index: Positive = Field(alias="indexPrice")
    bid: Positive
    ask: Positive
    last: Positive
    suspended: bool = False
    post_only: bool = Field(False, alias="postOnly")


def parse_tickers(data: Json, at: int) -> Parsed[TickerSeen]:
    """Tickers of the perpetuals. REST gives no relative funding rate (None), and no time but the server's."""
    payload = parse_envelope(data, "tickers")
    time = parse_iso_us(payload.get("serverTime"), "tickers", "serverTime")

    def read(value: object) -> TickerSeen | None:
        if isinstance(value, dict) and not str(value.get("symbol", "PF_")).upper().startswith(PERPETUAL):
            return None
        row = check(_Ticker, value, "tickers")
        return from_edge(TickerSeen, at, row.symbol, time, at, funding_rate=None, time=time, **row.model_dump())

    return one_by_one(member(payload, "tickers", list, "tickers"), read, "tickers")


def write_tickers(tickers: Sequence[TickerSeen], at: int) -> dict[str, object]:
    """The answer to `tickers`; the rate is written in absolute form, as REST does."""
    return write_success(at, tickers=[_write_ticker(ticker) for ticker in tickers])


def _write_ticker(ticker: TickerSeen) -> dict[str, object]:
    return without_none(
        symbol=ticker.symbol,
        last=ticker.last,
        lastTime=write_iso_us(ticker.time),
        tag="perpetual",
        markPrice=ticker.mark,
        indexPrice=ticker.index,
        bid=ticker.bid,
        ask=ticker.ask,
        fundingRate=None if ticker.funding_rate is None else ticker.funding_rate * ticker.index,
        suspended=ticker.suspended,
        postOnly=ticker.post_only,
    )


# --- account --------------------------------------------------------------------------------------------------------


class _Flex(Record):
    balance: Number = Field(alias="balanceValue")
    portfolio: Number = Field(alias="portfolioValue")
    available: Number = Field(alias="availableMargin")
    initial: Number = Field(alias="initialMargin")
    # One recorded page of Kraken has it misspelt.
    maintenance: Number = Field(validation_alias=AliasChoices("maintenanceMargin", "mnaintenanceMargin"))
    funding: Number = Field(Decimal(0), alias="unrealizedFunding")


def parse_accounts(data: Json) -> Account:
    """The multi-collateral account (`flex`). Margin is that of positions, without resting orders. Raises MalformedPayload."""
    accounts = member(parse_envelope(data, "accounts"), "accounts", dict, "accounts")
    flex = check(_Flex, member(accounts, "flex", dict, "accounts"), "accounts.flex")
    return Account(
        equity_usd=flex.portfolio,
        balance_usd=flex.balance,
        available_margin_usd=flex.available,
        initial_margin_usd=flex.initial,
        maintenance_margin_usd=flex.maintenance,
        unrealized_funding_usd=flex.funding,
    )


def write_accounts(account: Account, at: int) -> dict[str, object]:
    """The answer to `accounts` of a wallet that holds only dollars."""
    unrealized = account.equity_usd - account.balance_usd
    dollars = {
        "quantity": account.balance_usd,
        "value": account.balance_usd,
        "collateral": account.balance_usd,
        "available": account.available_margin_usd,
    }
    flex = {
        "type": "multiCollateralMarginAccount",
        "currencies": {"USD": dollars},
        "initialMargin": account.initial_margin_usd,
        "initialMarginWithOrders": account.initial_margin_usd,
        "maintenanceMargin": account.maintenance_margin_usd,
        "balanceValue": account.balance_usd,
        "portfolioValue": account.equity_usd,
        "collateralValue": account.balance_usd,
        "pnl": unrealized - account.unrealized_funding_usd,
        "unrealizedFunding": account.unrealized_funding_usd,
        "totalUnrealized": unrealized,
        "totalUnrealizedAsMargin": unrealized,
        "availableMargin": account.available_margin_usd,
        "marginEquity": account.equity_usd,
    }
    return write_success(at, accounts={"cash": {"type": "cashAccount", "balances": {}}, "flex": flex})


# --- positions ------------------------------------------------------------------------------------------------------


class _Position(Record):
    symbol: Symbol
    side: Literal["long", "short"]
    size: NonNegative
    price: NonNegative | None
    pnl: Number | None = Field(None, alias="unrealizedPnl")
    pnl_currency: str | None = Field(None, alias="pnlCurrency")
    isolated_x: Number | None = Field(None, alias="maxFixedLeverage")


def parse_open_positions(data: Json) -> Parsed[Position]:
    """Positions by REST: side and size become a signed size. REST knows neither liquidation price nor margin (None).

    A row of nothing is no position, whatever its price.
    """
    rows = member(parse_envelope(data, "openpositions"), "openPositions", list, "openpositions")

    def read(value: object) -> Position | None:
        row = check(_Position, value, "openpositions")
        if not row.size:
            return None
        if not row.price:
            raise MalformedPayload("openpositions", "price", "missing")
        return Position(
            symbol=row.symbol,
            size=row.size if row.side == "long" else -row.size,
            entry_price=row.price,
            unrealized_pnl_usd=fee_in_usd(row.pnl, row.pnl_currency or "USD"),
            isolated_x=row.isolated_x,
        )

    return one_by_one(rows, read, "openpositions")


def write_open_positions(positions: Sequence[Position], at: int) -> dict[str, object]:
    """The answer to `openpositions`; flat positions have no row."""
    rows = [
        without_none(
            side="long" if position.size > 0 else "short",
            symbol=position.symbol,
            price=position.entry_price,
            fillTime=write_iso_ms(at),
            size=abs(position.size),
            unrealizedFunding=None,
            unrealizedPnl=position.unrealized_pnl_usd,
            pnlCurrency="USD",
            maxFixedLeverage=position.isolated_x,
        )
        for position in positions
        if position.size
    ]
    return write_success(at, openPositions=rows)


# --- orders ---------------------------------------------------------------------------------------------------------


class _OpenOrder(Sparse):
    order_id: Name
    client_order_id: str | None = Field(None, validation_alias=AliasChoices("cliOrdId", "cli_ord_id"))
    symbol: Symbol
    side: OrderSide
    order_type: Name = Field(alias="orderType")
    size: NonNegative | None = Field(None, validation_alias=AliasChoices("unfilledSize", "quantity", "size"))
    filled: NonNegative = Field(Decimal(0), alias="filledSize")
    limit_price: OptionalPrice = Field(None, alias="limitPrice")
    stop_price: OptionalPrice = Field(None, alias="stopPrice")
    reduce_only: bool = Field(False, alias="reduceOnly")
    trigger: str | None = Field(None, alias="triggerSignal")


def parse_open_orders(data: Json, known: Mapping[str, OpenOrder] | None = None) -> Parsed[OpenOrder]:
    """Resting orders. Rows of untouched trigger orders may leave out `unfilledSize`: then `known` (by order id, from
    the private stream) tells, else the row is set aside, as a guessed size could pass for protection.
    """
    rows = member(parse_envelope(data, "openorders"), "openOrders", list, "openorders")

    def read(value: object) -> OpenOrder:
        row = check(_OpenOrder, value, "openorders")
        earlier = (known or {}).get(row.order_id)
        size = row.size if row.size is not None else (earlier.size if earlier else None)
        if size is None:
            raise MalformedPayload("openorders", "unfilledSize", "missing")
        return OpenOrder(
            order_id=row.order_id,
            client_order_id=row.client_order_id or (earlier.client_order_id if earlier else None),
            symbol=row.symbol,
            side=row.side,
            order_type=our_order_type(row.order_type),
            size=size,
            filled=row.filled,
            limit_price=row.limit_price,
            stop_price=row.stop_price,
            reduce_only=row.reduce_only,
            trigger=our_trigger(row.trigger),
        )

    return one_by_one(rows, read, "openorders")


def write_open_orders(orders: Sequence[OpenOrder], at: int) -> dict[str, object]:
    """The answer to `openorders`: `stp` reads back as `stop`, every limit order as `lmt`, `index` as `spot`."""
    rows = [
        without_none(
            order_id=order.order_id,
            cliOrdId=order.client_order_id,
            symbol=order.symbol,
            side=order.side,
            orderType={"stp": "stop", "post": "lmt"}.get(order.order_type, order.order_type),
            limitPrice=order.limit_price,
            stopPrice=order.stop_price,
            unfilledSize=order.size,
            filledSize=order.filled,
            receivedTime=write_iso_ms(at),
            lastUpdateTime=write_iso_ms(at),
            status="partiallyFilled" if order.filled else "untouched",
            reduceOnly=order.reduce_only,
            triggerSignal="spot" if order.trigger == "index" else order.trigger,
        )
        for order in orders
    ]
    return write_success(at, openOrders=rows)


# --- fills ----------------------------------------------------------------------------------------------------------


class _Fill(Record):
    fill_id: Name
    order_id: Name
    client_order_id: str | None = Field(None, validation_alias=AliasChoices("cliOrdId", "cli_ord_id"))
    symbol: Symbol
    side: OrderSide
    size: Positive
    price: Positive
    time: str = Field(alias="fillTime")
    fill_type: str = Field("unknown", alias="fillType")
    fee_paid: Number | None = None
    fee_currency: str | None = None


class _Listed(msgspec.Struct):
    """A success, its fills as they are written."""

    result: Literal["success"]
    fills: msgspec.Raw


_listed: Final = msgspec.json.Decoder(_Listed)


def parse_fills(data: Json) -> Parsed[Fill]:
    """Executions, oldest first (Kraken sends newest first). A fill type we do not know is kept as it is."""
    written = None if isinstance(data, Mapping) else _as_written(data)
    return _read_fills(parse_envelope(data, "fills")) if written is None else _read_anew(written)


def _as_written(data: str | bytes) -> bytes | None:
    """The list of a success; None for any other answer."""
    try:
        return bytes(_listed.decode(data).fills)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


@lru_cache(maxsize=1)
def _read_anew(written: bytes) -> Parsed[Fill]:
    """Most readings list what the last one did."""
    return _read_fills(decode(b'{"fills":%b}' % written, "fills"))


def _read_fills(payload: Mapping[str, Any]) -> Parsed[Fill]:
    rows = member(payload, "fills", list, "fills")

    def read(value: object) -> Fill:
        row = check(_Fill, value, "fills")
        return Fill(
            fill_id=row.fill_id,
            order_id=row.order_id,
            client_order_id=row.client_order_id or None,
            symbol=row.symbol,
            side=row.side,
            size=row.size,
            price=row.price,
            time=parse_iso_us(row.time, "fills", "fillTime"),
            fill_type=row.fill_type,
            fee_usd=fee_in_usd(row.fee_paid, row.fee_currency),
        )

    parsed = one_by_one(reversed(rows), read, "fills")
    return Parsed(tuple(sorted(parsed.values, key=lambda fill: fill.time)), parsed.quarantined)


def write_fills(fills: Sequence[Fill], at: int) -> dict[str, object]:
    """The answer to `fills`, given oldest first, written newest first; times are cut to milliseconds."""
    rows = [
        without_none(
            fill_id=fill.fill_id,
            symbol=fill.symbol,
            side=fill.side,
            order_id=fill.order_id,
            cliOrdId=fill.client_order_id,
            fillTime=write_iso_ms(fill.time),
            size=fill.size,
            price=fill.price,
            fillType=fill.fill_type,
            fee_paid=fill.fee_usd,
            fee_currency=None if fill.fee_usd is None else "USD",
        )
        for fill in reversed(fills)
    ]
    return write_success(at, fills=rows)


# --- orders/status --------------------------------------------------------------------------------------------------


class OrderStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What became of an order, as far as Kraken remembers (five seconds after its end). Absent is no evidence."""

    order_id: str
    client_order_id: str | None
    symbol: str
    filled: Decimal | None
    status: str
    reason: str | None
    error: str | None


class _StatusOrder(Record):
    order_id: Name = Field(alias="orderId")
    client_order_id: str | None = Field(None, alias="cliOrdId")
    symbol: Symbol
    filled: NonNegative | None = None


class _Status(Record):
    order: _StatusOrder
    status: str
    reason: str | None = Field(None, alias="updateReason")
    error: str | None = None


def parse_orders_status(data: Json) -> Parsed[OrderStatus]:
    """The answer to `orders/status`."""
    rows = member(parse_envelope(data, "orders/status"), "orders", list, "orders/status")

    def read(value: object) -> OrderStatus:
        row = check(_Status, value, "orders/status")
        return OrderStatus(
            order_id=row.order.order_id,
            client_order_id=row.order.client_order_id,
            symbol=row.order.symbol,
            filled=row.order.filled,
            status=row.status,
            reason=row.reason,
            error=row.error,
        )

    return one_by_one(rows, read, "orders/status")


def write_orders_status(statuses: Sequence[OrderStatus], at: int) -> dict[str, object]:
    """The answer to `orders/status`."""
    rows = [
        {
            "order": {
                "type": "ORDER",
                "orderId": status.order_id,
                "cliOrdId": status.client_order_id,
                "symbol": status.symbol,
                "filled": status.filled,
            },
            "status": status.status,
            "updateReason": status.reason,
            "error": status.error,
        }
        for status in statuses
    ]
    return write_success(at, orders=rows)

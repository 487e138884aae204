"""Futures WebSocket v1, both directions: control events, ticker, and the four private feeds.

One frame becomes one value: a control event, or `Told` with our messages. Three habits of Kraken are undone here:
`is_cancel` means "no longer open" (a complete fill too), a short cancellation names no order terms (they come from
`known`), and zero stands for "none" in prices.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Annotated, Any, Final, Literal

import msgspec
from pydantic import AfterValidator, Field

from protocol.kraken import markets, quick
from protocol.kraken.account import LogEntry, read_log_entry
from protocol.kraken.endpoints import FEED_BALANCES, FEED_FILLS, FEED_OPEN_ORDERS, FEED_OPEN_POSITIONS, FEED_TICKER
from protocol.kraken.futures_rest import fee_in_usd, our_order_type, our_trigger
from protocol.kraken.markets import Book, BookChange, Lite, Notice, Trade
from protocol.kraken.wire import (
    Json,
    MalformedPayload,
    Milliseconds,
    Name,
    NonNegative,
    Number,
    OptionalPrice,
    Parsed,
    Positive,
    Record,
    Sparse,
    Symbol,
    check,
    decode,
    member,
    ms_us,
    one_by_one,
    us_ms,
    whole,
    without_none,
)
from protocol.messages.base import Message, from_edge
from protocol.messages.futures import (
    Account,
    AccountSeen,
    Fill,
    FillSeen,
    OpenOrder,
    OrderSeen,
    Position,
    PositionsSeen,
    TickerSeen,
)
from protocol.units import HOUR_US

SNAPSHOT_REASON: Final = "snapshot"
"""`OrderSeen.reason` of an order that rested already when the stream began."""

# --- control ---------------------------------------------------------------------------------------------------------


class Info(msgspec.Struct, frozen=True):
    """The greeting of a connection."""

    version: int | None


class Challenge(msgspec.Struct, frozen=True):
    """Sign `message` to open private feeds on this connection."""

    message: str


class Subscribed(msgspec.Struct, frozen=True, kw_only=True):
    """A feed is on. Private feeds name no products."""

    feed: str
    product_ids: tuple[str, ...] = ()


class FuturesRefusal(msgspec.Struct, frozen=True):
    """An `error`, an `alert` or a failed subscription; Kraken does not say which request it answers."""

    event: str
    message: str


class FuturesHeartbeat(msgspec.Struct, frozen=True):
    """The connection lives. `time` is the exchange's, microseconds UTC; None for the answer to a ping."""

    time: int | None


class FuturesOther(msgspec.Struct, frozen=True):
    """A frame we did not ask for: life, no more."""

    name: str


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What a data frame says, and the records of it that could not be read."""

    feed: str
    messages: tuple[Message, ...]
    quarantined: tuple[MalformedPayload, ...] = ()


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """What a feed shows that is no message of this system: books, public trades, bookings, notices."""

    feed: str
    values: tuple[Book | BookChange | Trade | Lite | LogEntry | Notice, ...]
    quarantined: tuple[MalformedPayload, ...] = ()
    snapshot: bool = False


FuturesFrame = Info | Challenge | Subscribed | FuturesRefusal | FuturesHeartbeat | FuturesOther | Told | Shown

Reachable = Annotated[Number | None, AfterValidator(lambda price: price if price is not None and price > 0 else None)]
"""A price that is documented as signed: at or below zero it cannot be reached, and there is none."""

# --- records -----------------------------------------------------------------------------------------------------------


class _Ticker(Record):
    symbol: Symbol = Field(alias="product_id")
    mark: Positive = Field(alias="markPrice")
    index: Positive
    bid: Positive
    ask: Positive
    bid_size: NonNegative | None = None
    ask_size: NonNegative | None = None
    last: Positive
    funding_rate: Number | None = Field(None, alias="relative_funding_rate")
    absolute: Any = Field(None, alias="funding_rate")
    next_funding: Any = Field(None, alias="next_funding_rate_time")
    suspended: bool = False
    post_only: bool = False
    time_ms: Milliseconds = Field(alias="time")


class _Order(Sparse):
    order_id: Name
    client_order_id: str | None = Field(None, alias="cli_ord_id")
    symbol: Symbol = Field(alias="instrument")
    direction: Literal[0, 1]
    order_type: Name = Field(alias="type")
    size: NonNegative = Field(alias="qty")
    filled: NonNegative = Decimal(0)
    limit_price: OptionalPrice = None
    stop_price: OptionalPrice = None
    reduce_only: bool = False
    trigger: str | None = Field(None, alias="triggerSignal")


class _OrderFrame(Sparse):
    order: dict[str, Any] | None = None
    order_id: str | None = None
    client_order_id: str | None = Field(None, alias="cli_ord_id")
    is_cancel: bool
    reason: str = "unknown"


class _Fill(Record):
    fill_id: Name
    order_id: Name
    client_order_id: str | None = Field(None, alias="cli_ord_id")
    symbol: Symbol = Field(alias="instrument")
    buy: bool
    size: Positive = Field(alias="qty")
    price: Positive
    time_ms: Milliseconds = Field(alias="time")
    fill_type: str = "unknown"
    fee_paid: Number | None = None
    fee_currency: str | None = None


class _Position(Record):
    symbol: Symbol = Field(alias="instrument")
    balance: Number
    entry_price: NonNegative | None
    liquidation_price: Reachable = Field(None, alias="liquidation_threshold")
    pnl: Number | None = None
    pnl_currency: str | None = None
    margin: NonNegative | None = Field(None, alias="initial_margin")


class _Flex(Record):
    balance: Number = Field(alias="balance_value")
    portfolio: Number = Field(alias="portfolio_value")
    available: Number = Field(alias="available_margin")
    initial_with_orders: Number = Field(alias="initial_margin")
    initial: Number | None = Field(None, alias="initial_margin_without_orders")
    maintenance: Number = Field(alias="maintenance_margin")
    funding: Number = Field(Decimal(0), alias="unrealized_funding")


# --- frames to messages ------------------------------------------------------------------------------------------------


def parse_futures_frame(data: Json, at: int, known: Mapping[str, OpenOrder] | None = None) -> FuturesFrame:
    """One WebSocket v1 frame. `known` are the orders shown on this connection by order id: they complete what a short
    cancellation leaves out. A data frame that cannot be read is `Told` with the reason among `quarantined`.
    Raises MalformedPayload when it is not even known what kind of frame it is, or a control event is broken.
    """
    usual = quick.futures(data)
    return _general(data, at, known or {}) if usual is None else _usual(usual, at)


def _general(data: Json, at: int, known: Mapping[str, OpenOrder]) -> FuturesFrame:
    payload = decode(data, "futures frame")
    event = payload.get("event")
    if event is not None:
        return _control(str(event), payload)
    feed = member(payload, "feed", str, "futures frame")
    if feed == "heartbeat":
        return FuturesHeartbeat(ms_us(whole(payload, "time", "heartbeat")))
    if feed in _SHOWN:
        return _shown(feed, payload)
    read = _FEEDS.get(feed)
    if read is None:
        return FuturesOther(feed)
    try:
        return read(payload, at, known)
    except MalformedPayload as problem:
        return Told(feed=feed.removesuffix("_snapshot"), messages=(), quarantined=(problem,))


def _usual(frame: quick.Ticker | quick.Heartbeat, at: int) -> Told | FuturesHeartbeat:
    if isinstance(frame, quick.Heartbeat):
        return FuturesHeartbeat(ms_us(frame.time))
    symbol, time = frame.product_id.upper(), ms_us(frame.time)
    message = from_edge(
        TickerSeen,
        at,
        symbol,
        time,
        at,
        symbol=symbol,
        mark=frame.mark,
        index=frame.index,
        bid=frame.bid,
        ask=frame.ask,
        last=frame.last,
        funding_rate=frame.funding_rate,
        suspended=frame.suspended,
        post_only=frame.post_only,
        time=time,
        bid_size=frame.bid_size,
        ask_size=frame.ask_size,
    )
    return Told(feed=FEED_TICKER, messages=(message,))


def _control(event: str, payload: Mapping[str, Any]) -> FuturesFrame:
    if event == "info":
        version = payload.get("version")
        return Info(version if isinstance(version, int) else None)
    if event == "challenge":
        return Challenge(member(payload, "message", str, "challenge"))
    if event == "pong":
        return FuturesHeartbeat(None)
    if event == "subscribed":
        products = payload.get("product_ids")
        names = tuple(str(name).upper() for name in products) if isinstance(products, list) else ()
        return Subscribed(feed=member(payload, "feed", str, "subscribed"), product_ids=names)
    if event in ("error", "alert", "subscribed_failed"):
        return FuturesRefusal(event, str(payload.get("message") or payload.get("feed") or ""))
    return FuturesOther(event)


def _ticker(payload: Mapping[str, Any], at: int, _known: Mapping[str, OpenOrder]) -> Told:
    row = check(_Ticker, payload, "ticker")
    fields = row.model_dump(exclude={"time_ms", "absolute", "next_funding"})
    if row.funding_rate is None and not row.absolute and row.next_funding is not None:
        fields["funding_rate"] = Decimal(0)  # rates of zero are not written
    time = ms_us(row.time_ms)
    message = from_edge(TickerSeen, at, row.symbol, time, at, time=time, **fields)
    return Told(feed=FEED_TICKER, messages=(message,))


def _order_seen(order: OpenOrder, at: int, *, still_open: bool, reason: str) -> OrderSeen:
    terms = f"{order.size} {order.filled} {order.limit_price} {order.stop_price}"
    return from_edge(OrderSeen, at, order.order_id, reason, terms, at, order=order, open=still_open, reason=reason)


def _open_order(value: object, known: Mapping[str, OpenOrder]) -> OpenOrder:
    row = check(_Order, value, FEED_OPEN_ORDERS)
    earlier = known.get(row.order_id)
    return OpenOrder(
        order_id=row.order_id,
        client_order_id=row.client_order_id or (earlier.client_order_id if earlier else None),
        symbol=row.symbol,
        side="sell" if row.direction else "buy",
        order_type=our_order_type(row.order_type),
        size=row.size,
        filled=row.filled,
        limit_price=row.limit_price,
        stop_price=row.stop_price,
        reduce_only=row.reduce_only,
        trigger=our_trigger(row.trigger),
    )


def _orders_snapshot(payload: Mapping[str, Any], at: int, known: Mapping[str, OpenOrder]) -> Told:
    rows = member(payload, "orders", list, "open_orders_snapshot")
    orders = one_by_one(rows, lambda row: _open_order(row, known), "open_orders_snapshot")
    messages = tuple(_order_seen(order, at, still_open=True, reason=SNAPSHOT_REASON) for order in orders.values)
    return Told(feed=FEED_OPEN_ORDERS, messages=messages, quarantined=orders.quarantined)


def _orders_delta(payload: Mapping[str, Any], at: int, known: Mapping[str, OpenOrder]) -> Told:
    frame = check(_OrderFrame, payload, FEED_OPEN_ORDERS)
    order = _gone_order(frame, known) if frame.order is None else _open_order(frame.order, known)
    seen = _order_seen(order, at, still_open=not frame.is_cancel, reason=frame.reason)
    return Told(feed=FEED_OPEN_ORDERS, messages=(seen,))


def _gone_order(frame: _OrderFrame, known: Mapping[str, OpenOrder]) -> OpenOrder:
    order = known.get(frame.order_id or "")
    if order is None or not frame.is_cancel:
        problem = f"{frame.order_id}: an order that was never shown here ({frame.reason})"
        raise MalformedPayload(FEED_OPEN_ORDERS, "order_id", problem)
    return msgspec.structs.replace(order, client_order_id=order.client_order_id or frame.client_order_id)


def _fills(source: Literal["stream", "snapshot"]) -> Callable[[Mapping[str, Any], int, Mapping[str, OpenOrder]], Told]:
    def read(payload: Mapping[str, Any], at: int, known: Mapping[str, OpenOrder]) -> Told:
        fills = one_by_one(member(payload, "fills", list, FEED_FILLS), lambda row: _fill(row, known), FEED_FILLS)
        messages = tuple(
            from_edge(FillSeen, at, fill.fill_id, source, at, fill=fill, source=source) for fill in fills.values
        )
        return Told(feed=FEED_FILLS, messages=messages, quarantined=fills.quarantined)

    return read


def _fill(value: object, known: Mapping[str, OpenOrder]) -> Fill:
    row = check(_Fill, value, FEED_FILLS)
    earlier = known.get(row.order_id)
    return Fill(
        fill_id=row.fill_id,
        order_id=row.order_id,
        client_order_id=row.client_order_id or (earlier.client_order_id if earlier else None),
        symbol=row.symbol,
        side="buy" if row.buy else "sell",
        size=row.size,
        price=row.price,
        time=ms_us(row.time_ms),
        fill_type=row.fill_type,
        fee_usd=fee_in_usd(row.fee_paid, row.fee_currency),
    )


def _positions(payload: Mapping[str, Any], at: int, _known: Mapping[str, OpenOrder]) -> Told:
    rows = member(payload, "positions", list, FEED_OPEN_POSITIONS)
    positions = one_by_one(rows, _position, FEED_OPEN_POSITIONS)
    if positions.quarantined:
        # The list is whole or it is nothing: a symbol that is left out would read as flat.
        return Told(feed=FEED_OPEN_POSITIONS, messages=(), quarantined=positions.quarantined)
    sequence = whole(payload, "seq", FEED_OPEN_POSITIONS)
    time = ms_us(whole(payload, "timestamp", FEED_OPEN_POSITIONS)) if "timestamp" in payload else None
    seen = from_edge(PositionsSeen, at, sequence, at, positions=positions.values, sequence=sequence, time=time)
    return Told(feed=FEED_OPEN_POSITIONS, messages=(seen,))


def _position(value: object) -> Position:
    row = check(_Position, value, FEED_OPEN_POSITIONS)
    if row.balance and row.entry_price is None:
        raise MalformedPayload(FEED_OPEN_POSITIONS, "entry_price", "missing")
    return Position(
        symbol=row.symbol,
        size=row.balance,
        entry_price=row.entry_price or Decimal(0),
        liquidation_price=row.liquidation_price,
        unrealized_pnl_usd=fee_in_usd(row.pnl, row.pnl_currency or "USD"),
        margin_usd=row.margin,
    )


def _balances(payload: Mapping[str, Any], at: int, _known: Mapping[str, OpenOrder]) -> Told:
    if "flex_futures" not in payload:
        return Told(feed=FEED_BALANCES, messages=())  # another wallet changed
    flex = check(_Flex, payload["flex_futures"], "flex_futures")
    sequence = whole(payload, "seq", FEED_BALANCES)
    account = Account(
        equity_usd=flex.portfolio,
        balance_usd=flex.balance,
        available_margin_usd=flex.available,
        # Without resting orders, as in REST: `initial_margin` here includes them.
        initial_margin_usd=flex.initial_with_orders if flex.initial is None else flex.initial,
        maintenance_margin_usd=flex.maintenance,
        unrealized_funding_usd=flex.funding,
    )
    seen = from_edge(AccountSeen, at, sequence, at, account=account, sequence=sequence)
    return Told(feed=FEED_BALANCES, messages=(seen,))


_FEEDS: Final[Mapping[str, Callable[[Mapping[str, Any], int, Mapping[str, OpenOrder]], Told]]] = {
    "ticker": _ticker,
    "open_orders_snapshot": _orders_snapshot,
    "open_orders": _orders_delta,
    "fills_snapshot": _fills("snapshot"),
    "fills": _fills("stream"),
    "open_positions": _positions,
    "balances_snapshot": _balances,
    "balances": _balances,
}


def _single(
    read: Callable[[Mapping[str, Any]], Any],
) -> Callable[[Mapping[str, Any]], Parsed[Any]]:
    return lambda payload: Parsed((read(payload),))


_SHOWN: Final[Mapping[str, Callable[[Mapping[str, Any]], Parsed[Any]]]] = {
    "book_snapshot": _single(markets.parse_book_snapshot),
    "book": _single(markets.parse_book_change),
    "trade_snapshot": markets.parse_trade_snapshot,
    "trade": _single(markets.parse_trade_frame),
    "ticker_lite": _single(markets.parse_ticker_lite),
    "account_log_snapshot": lambda payload: one_by_one(
        member(payload, "logs", list, "account_log"), read_log_entry, "account_log"
    ),
    "account_log": _single(lambda payload: read_log_entry(payload.get("new_entry"))),
    "notifications_auth": lambda payload: markets.read_notices(
        member(payload, "notifications", list, "notifications_auth")
    ),
}


def _shown(feed: str, payload: Mapping[str, Any]) -> Shown:
    name, snapshot = feed.removesuffix("_snapshot"), feed.endswith("_snapshot")
    try:
        parsed = _SHOWN[feed](payload)
    except MalformedPayload as problem:
        return Shown(feed=name, values=(), quarantined=(problem,), snapshot=snapshot)
    return Shown(feed=name, values=parsed.values, quarantined=parsed.quarantined, snapshot=snapshot)


# --- messages to frames (the venue's side) -----------------------------------------------------------------------------


def write_info() -> dict[str, object]:
    """The greeting."""
    return {"event": "info", "version": 1}


def write_challenge(message: str) -> dict[str, object]:
    """What the client must sign."""
    return {"event": "challenge", "message": message}


def write_subscribed(feed: str, product_ids: Sequence[str] = (), **echoed: str) -> dict[str, object]:
    """An acknowledgement; private ones echo api_key and challenges and name no products."""
    products = {"product_ids": list(product_ids)} if product_ids else {}
    return {"event": "subscribed", "feed": feed, **products, **echoed}


def write_refusal(event: Literal["error", "alert"], message: str) -> dict[str, object]:
    """`Invalid product id`, `Invalid feed`, `Json Error`; or an alert."""
    return {"event": event, "message": message}


def write_pong() -> dict[str, object]:
    """The answer to a ping event."""
    return {"event": "pong"}


def write_heartbeat(at: int) -> dict[str, object]:
    """A heartbeat."""
    return {"feed": "heartbeat", "time": us_ms(at)}


def write_ticker(ticker: TickerSeen) -> dict[str, object]:
    """A ticker frame; the time is cut to milliseconds. No funding members when the rate is None, no rates when it is zero."""
    rate = ticker.funding_rate
    funding: dict[str, object] = {}
    if rate is not None:
        funding = {"funding_rate": rate * ticker.index, "relative_funding_rate": rate} if rate else {}
        funding["next_funding_rate_time"] = us_ms(ticker.time - ticker.time % HOUR_US + HOUR_US)
    return {
        "time": us_ms(ticker.time),
        "product_id": ticker.symbol,
        **funding,
        "feed": "ticker",
        "bid": ticker.bid,
        "ask": ticker.ask,
        **without_none(bid_size=ticker.bid_size, ask_size=ticker.ask_size),
        "volume": 0,
        "dtm": 0,
        "index": ticker.index,
        "last": ticker.last,
        "suspended": ticker.suspended,
        "tag": "perpetual",
        "markPrice": ticker.mark,
        "maturityTime": 0,
        "post_only": ticker.post_only,
    }


_WRITTEN_TYPE: Final = {"lmt": "limit", "post": "limit", "stp": "stop", "mkt": "market"}


def write_order_row(order: OpenOrder, at: int) -> dict[str, object]:
    """An order as the feeds show it."""
    return without_none(
        instrument=order.symbol,
        time=us_ms(at),
        last_update_time=us_ms(at),
        qty=order.size,
        filled=order.filled,
        limit_price=order.limit_price or Decimal(0),
        stop_price=order.stop_price or Decimal(0),
        type=_WRITTEN_TYPE.get(order.order_type, order.order_type),
        order_id=order.order_id,
        cli_ord_id=order.client_order_id,
        direction=1 if order.side == "sell" else 0,
        reduce_only=order.reduce_only,
        triggerSignal="spot" if order.trigger == "index" else order.trigger,
    )


def write_orders_snapshot(orders: Iterable[OpenOrder], at: int, account: str = "simulated") -> dict[str, object]:
    """The resting orders, first frame of the feed."""
    return {
        "feed": "open_orders_snapshot",
        "account": account,
        "orders": [write_order_row(order, at) for order in orders],
    }


def write_order(seen: OrderSeen) -> dict[str, object]:
    """An order opened, changed or gone, with all its terms."""
    order = write_order_row(seen.order, seen.at)
    return {"feed": FEED_OPEN_ORDERS, "order": order, "is_cancel": not seen.open, "reason": seen.reason}


def write_order_gone(seen: OrderSeen) -> dict[str, object]:
    """The short form of an order that left: ids and reason only."""
    return without_none(
        feed=FEED_OPEN_ORDERS,
        order_id=seen.order.order_id,
        cli_ord_id=seen.order.client_order_id,
        is_cancel=True,
        reason=seen.reason,
    )


def _write_fill(fill: Fill, sequence: int) -> dict[str, object]:
    return without_none(
        instrument=fill.symbol,
        time=us_ms(fill.time),
        price=fill.price,
        seq=sequence,
        buy=fill.side == "buy",
        qty=fill.size,
        remaining_order_qty=Decimal(0),
        order_id=fill.order_id,
        cli_ord_id=fill.client_order_id,
        fill_id=fill.fill_id,
        fill_type=fill.fill_type,
        fee_paid=fill.fee_usd,
        fee_currency=None if fill.fee_usd is None else "USD",
    )


def write_fills_snapshot(fills: Sequence[Fill], account: str = "simulated") -> dict[str, object]:
    """Recent fills, first frame of the feed."""
    rows = [_write_fill(fill, sequence) for sequence, fill in enumerate(fills)]
    return {"feed": "fills_snapshot", "account": account, "fills": rows}


def write_fills_frame(fills: Sequence[Fill], first_sequence: int = 1, username: str = "simulated") -> dict[str, object]:
    """New fills. The account is called `username` here, as Kraken does."""
    rows = [_write_fill(fill, first_sequence + offset) for offset, fill in enumerate(fills)]
    return {"feed": FEED_FILLS, "username": username, "fills": rows}


def write_positions(seen: PositionsSeen, account: str = "simulated") -> dict[str, object]:
    """The whole list of positions."""
    rows = [
        without_none(
            instrument=position.symbol,
            balance=position.size,
            pnl=position.unrealized_pnl_usd,
            entry_price=position.entry_price,
            liquidation_threshold=position.liquidation_price or Decimal(0),
            initial_margin=position.margin_usd,
            pnl_currency="USD",
        )
        for position in seen.positions
    ]
    frame = {"feed": FEED_OPEN_POSITIONS, "account": account, "positions": rows}
    return {**frame, "seq": seen.sequence, "timestamp": us_ms(seen.at)}


def write_balances(seen: AccountSeen, *, snapshot: bool = False, account: str = "simulated") -> dict[str, object]:
    """The multi-collateral wallet."""
    money = seen.account
    unrealized = money.equity_usd - money.balance_usd
    flex: dict[str, object] = {
        "balance_value": money.balance_usd,
        "portfolio_value": money.equity_usd,
        "collateral_value": money.balance_usd,
        "initial_margin": money.initial_margin_usd,
        "initial_margin_without_orders": money.initial_margin_usd,
        "maintenance_margin": money.maintenance_margin_usd,
        "pnl": unrealized - money.unrealized_funding_usd,
        "unrealized_funding": money.unrealized_funding_usd,
        "total_unrealized": unrealized,
        "total_unrealized_as_margin": unrealized,
        "margin_equity": money.equity_usd,
        "available_margin": money.available_margin_usd,
    }
    wallets = {"holding": {}, "futures": {}, "flex_futures": flex} if snapshot else {"flex_futures": flex}
    feed = "balances_snapshot" if snapshot else FEED_BALANCES
    return {"feed": feed, "account": account, **wallets, "timestamp": us_ms(seen.at), "seq": seen.sequence}


# --- requests ----------------------------------------------------------------------------------------------------------


def write_subscribe(feed: str, product_ids: Sequence[str] = ()) -> dict[str, object]:
    """Ask for a public feed."""
    products = {"product_ids": list(product_ids)} if product_ids else {}
    return {"event": "subscribe", "feed": feed, **products}


def write_challenge_request(api_key: str) -> dict[str, object]:
    """Ask for a challenge, once a connection."""
    return {"event": "challenge", "api_key": api_key}


def write_private_subscribe(feed: str, api_key: str, challenge: str, signed: str) -> dict[str, object]:
    """Ask for a private feed."""
    proof = {"api_key": api_key, "original_challenge": challenge, "signed_challenge": signed}
    return {"event": "subscribe", "feed": feed, **proof}


class FuturesRequest(Record):
    """What a client asks; members that its event does not carry are empty."""

    event: Literal["subscribe", "unsubscribe", "challenge", "ping"]
    feed: str = ""
    product_ids: tuple[Symbol, ...] = ()
    api_key: str = ""
    original_challenge: str = ""
    signed_challenge: str = ""


def parse_futures_request(data: Json) -> FuturesRequest:
    """What a client asks. Raises MalformedPayload (answer `Json Error`)."""
    return check(FuturesRequest, decode(data, "futures request"), "futures request")

"""What the venue writes, the gateway reads back: the two ends of the wire agree for every value."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from protocol.kraken import futures_rest, futures_ws, orders, spot
from protocol.kraken.wire import decode, encode
from protocol.messages.base import from_edge
from protocol.messages.futures import (
    Account,
    AccountSeen,
    CancelOrder,
    CommandAnswered,
    EditOrder,
    Fill,
    FillSeen,
    Instrument,
    OpenOrder,
    OrderSeen,
    PlaceOrder,
    Position,
    PositionsSeen,
    TickerSeen,
)
from protocol.messages.spot import CandleSeen

AT = 1_767_571_200_000_000
SYMBOLS = st.sampled_from(["PF_XBTUSD", "PF_ETHUSD", "PI_XBTUSD"])
IDS = st.text("abcdef0123456789-", min_size=1, max_size=36)
PRICES = st.decimals("0.0001", "1000000", places=4)
SIZES = st.decimals("0.0001", "100000", places=4)
AMOUNTS = st.decimals("-1000000", "1000000", places=6)
RATES = st.decimals("-0.0025", "0.0025", places=12)
MILLISECONDS = st.integers(1_600_000_000_000, 1_900_000_000_000)
FLOATS = st.floats(0.0001, 1e6)


def struct(kind: type[Any], **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Values of one of our structs."""
    return st.builds(kind, **fields)


ORDERS = struct(
    OpenOrder,
    order_id=IDS,
    client_order_id=st.none() | IDS,
    symbol=SYMBOLS,
    side=st.sampled_from(["buy", "sell"]),
    order_type=st.sampled_from(["lmt", "stp", "take_profit"]),
    size=SIZES,
    filled=SIZES | st.just(Decimal(0)),
    limit_price=st.none() | PRICES,
    stop_price=st.none() | PRICES,
    reduce_only=st.booleans(),
    trigger=st.sampled_from([None, "mark", "last", "index"]),
)
FILLS = struct(
    Fill,
    fill_id=IDS,
    order_id=IDS,
    client_order_id=st.none() | IDS,
    symbol=SYMBOLS,
    side=st.sampled_from(["buy", "sell"]),
    size=SIZES,
    price=PRICES,
    time=MILLISECONDS.map(lambda ms: ms * 1000),
    fill_type=st.sampled_from(["maker", "taker", "liquidation", "assignee", "aWordOfNextYear"]),
    fee_usd=st.none() | AMOUNTS,
)
POSITIONS = struct(
    Position,
    symbol=SYMBOLS,
    size=SIZES | SIZES.map(lambda size: -size),
    entry_price=PRICES,
    liquidation_price=st.none() | PRICES,
    unrealized_pnl_usd=st.none() | AMOUNTS,
    margin_usd=st.none() | PRICES,
)
ACCOUNTS = struct(
    Account,
    equity_usd=AMOUNTS,
    balance_usd=AMOUNTS,
    available_margin_usd=AMOUNTS,
    initial_margin_usd=PRICES,
    maintenance_margin_usd=PRICES,
    unrealized_funding_usd=AMOUNTS,
)
INSTRUMENTS = struct(
    Instrument,
    symbol=SYMBOLS,
    tick=st.sampled_from([Decimal("0.05"), Decimal("0.5"), Decimal(1)]),
    lot=st.sampled_from([Decimal("0.0001"), Decimal("0.001"), Decimal(1), Decimal("1E+1")]),
    max_position=PRICES,
    contract_size=st.just(Decimal(1)),
    inverse=st.booleans(),
    tradeable=st.booleans(),
    margin_levels=st.lists(st.tuples(PRICES, PRICES, PRICES), min_size=1, max_size=4).map(lambda x: tuple(sorted(x))),
    max_relative_funding_rate=PRICES,
)


def read(frame: dict[str, object], known: dict[str, OpenOrder] | None = None) -> tuple[Any, ...]:
    """The messages of a frame that went over the wire."""
    told = futures_ws.parse_futures_frame(encode(frame), AT, known)
    assert isinstance(told, futures_ws.Told)
    assert not told.quarantined
    return told.messages


@given(st.lists(ORDERS, max_size=4, unique_by=lambda order: order.order_id))
def test_orders_survive_rest_and_stream(given_orders: list[OpenOrder]) -> None:
    """The same orders by `openorders`, by snapshot and by delta."""
    rest = futures_rest.parse_open_orders(encode(futures_rest.write_open_orders(given_orders, AT)))
    snapshot = read(futures_ws.write_orders_snapshot(given_orders, AT))

    assert rest.values == tuple(given_orders)
    assert [seen.order for seen in snapshot] == given_orders
    for order in given_orders:
        seen = from_edge(OrderSeen, AT, "x", order=order, open=False, reason="full_fill")
        (full,) = read(futures_ws.write_order(seen))
        (short,) = read(futures_ws.write_order_gone(seen), {order.order_id: order})
        assert (full.order, full.open, full.reason) == (order, False, "full_fill")
        assert (short.order, short.open, short.reason) == (order, False, "full_fill")


@given(st.lists(FILLS, max_size=4))
def test_fills_survive_rest_and_stream(fills: list[Fill]) -> None:
    """The same fills by `fills`, by snapshot and by update."""
    in_order = sorted(fills, key=lambda fill: fill.time)
    rest = futures_rest.parse_fills(encode(futures_rest.write_fills(in_order, AT)))
    live = read(futures_ws.write_fills_frame(fills))
    snapshot = read(futures_ws.write_fills_snapshot(fills))

    assert rest.values == tuple(in_order)
    assert [seen.fill for seen in live] == fills
    assert [seen.fill for seen in snapshot] == fills
    assert {seen.source for seen in (*live, *snapshot)} <= {"stream", "snapshot"}


@given(st.lists(FILLS, min_size=1, max_size=4))
def test_a_list_of_fills_that_says_the_same_is_not_read_again(fills: list[Fill]) -> None:
    """At a later moment of the exchange's the rows are those of before; of a row that changed nothing is remembered."""
    first, later = (encode(futures_rest.write_fills(fills, at)) for at in (AT, AT + 1_000_000))
    spoilt = first.replace(b'"side"', b'"aside"', 1)

    read = futures_rest.parse_fills(first)
    assert futures_rest.parse_fills(later) is read
    assert futures_rest.parse_fills(decode(first, "fills")) == read
    less = futures_rest.parse_fills(spoilt)
    assert (len(less.values), len(less.quarantined)) == (len(fills) - 1, 1)


@given(st.lists(POSITIONS, max_size=3), st.integers(0, 10**9))
def test_positions_survive_rest_and_stream(positions: list[Position], sequence: int) -> None:
    """The stream tells all, REST all but the liquidation price and the margin."""
    seen = from_edge(PositionsSeen, AT, "x", positions=tuple(positions), sequence=sequence)
    (live,) = read(futures_ws.write_positions(seen))
    rest = futures_rest.parse_open_positions(encode(futures_rest.write_open_positions(positions, AT)))
    poorer = [msgspec.structs.replace(p, liquidation_price=None, margin_usd=None) for p in positions]

    assert (live.positions, live.sequence) == (tuple(positions), sequence)
    assert rest.values == tuple(poorer)


@given(ACCOUNTS, st.booleans())
def test_the_account_survives_rest_and_stream(account: Account, snapshot: bool) -> None:
    """Equity, balance and margins are the same by both ways."""
    seen = from_edge(AccountSeen, AT, "x", account=account, sequence=3)
    (live,) = read(futures_ws.write_balances(seen, snapshot=snapshot))

    assert live.account == account
    assert futures_rest.parse_accounts(encode(futures_rest.write_accounts(account, AT))) == account


@given(st.lists(INSTRUMENTS, max_size=3))
def test_instruments_survive(instruments: list[Instrument]) -> None:
    """Lots from decimals of size, above one too."""
    parsed = futures_rest.parse_instruments(encode(futures_rest.write_instruments(instruments, AT)))

    assert parsed.values == tuple(instruments)


TICKERS = struct(
    TickerSeen,
    id=IDS,
    cause=st.just(""),
    at=st.just(AT),
    symbol=SYMBOLS,
    mark=PRICES,
    index=PRICES,
    bid=PRICES,
    ask=PRICES,
    last=PRICES,
    funding_rate=st.none() | RATES,
    suspended=st.booleans(),
    post_only=st.booleans(),
    time=MILLISECONDS.map(lambda ms: ms * 1000),
)


@given(TICKERS)
def test_tickers_survive(ticker: TickerSeen) -> None:
    """Whole by the stream; by REST all but the relative rate and the time."""
    (live,) = read(futures_ws.write_ticker(ticker))
    (rest,) = futures_rest.parse_tickers(encode(futures_rest.write_tickers([ticker], AT)), AT).values

    assert live == msgspec.structs.replace(ticker, id=live.id)
    assert rest == msgspec.structs.replace(ticker, id=rest.id, funding_rate=None, time=AT)


VOLUMES = st.floats(0, 1e9).map(lambda volume: round(volume, 8))
ROWS = st.lists(st.tuples(FLOATS, FLOATS, FLOATS, FLOATS, VOLUMES), min_size=1, max_size=5)


@given(ROWS, st.booleans())
def test_candles_survive_rest_and_stream(rows: list[tuple[float, ...]], running: bool) -> None:
    """Every float to the last bit; by REST only the finished ones."""
    candles = [
        from_edge(
            CandleSeen, AT, i, symbol="BTC/USD", timeframe="15m", open_time_ms=1_767_571_200_000 + i * 900_000,
            open=o, high=h, low=lo, close=c, volume=v, final=not (running and i == len(rows) - 1),
        )
        for i, (o, h, lo, c, v) in enumerate(rows)
    ]  # fmt: skip
    rest = spot.parse_ohlc(encode(spot.write_ohlc("XXBTZUSD", candles)), "BTC/USD", "15m", AT)
    frame = spot.parse_spot_frame(encode(spot.write_spot_candles(candles, AT)), AT)

    assert isinstance(frame, spot.Candles)
    assert [bare(candle) for candle in rest.values] == [bare(candle) for candle in candles if candle.final]
    assert [bare(candle)[:-1] for candle in frame.candles] == [bare(candle)[:-1] for candle in candles]


def bare(candle: CandleSeen) -> tuple[object, ...]:
    """A candle without its id."""
    return msgspec.structs.astuple(candle)[1:]


PLACES = struct(
    PlaceOrder,
    id=IDS,
    cause=st.just(""),
    at=st.just(AT),
    client_order_id=IDS,
    signal_id=st.just(""),
    role=st.just("entry"),
    symbol=SYMBOLS,
    side=st.sampled_from(["buy", "sell"]),
    order_type=st.sampled_from(["lmt", "post", "ioc", "mkt", "stp", "take_profit"]),
    size=SIZES | st.just(Decimal("1E+2")),
    limit_price=PRICES,
    stop_price=PRICES,
    reduce_only=st.booleans(),
    process_before=st.none() | MILLISECONDS.map(lambda ms: ms * 1000),
)


@given(PLACES)
def test_orders_sent_arrive_with_the_same_terms(command: PlaceOrder) -> None:
    """Form and back; triggers always say mark."""
    _, form = orders.write_command(command)
    arrived = orders.parse_send_order(form, AT)

    role = "exit" if command.reduce_only else "entry"
    assert arrived == msgspec.structs.replace(command, id=arrived.id, role=role)
    assert ("triggerSignal" in form) == (command.order_type in ("stp", "take_profit"))
    assert form.get("triggerSignal", "mark") == "mark"
    assert "E" not in form["size"]


@given(IDS, SYMBOLS, SIZES, st.none() | PRICES)
def test_edits_and_cancellations_arrive_with_the_same_terms(
    name: str, symbol: str, size: Decimal, stop: Decimal | None
) -> None:
    """Form and back."""
    edit = from_edge(EditOrder, AT, "e", client_order_id=name, role="exit", symbol=symbol, size=size, stop_price=stop)
    cancel = from_edge(CancelOrder, AT, "c", symbol=symbol, client_order_id=name)
    foreign = from_edge(CancelOrder, AT, "c", symbol=symbol, order_id=name)

    arrived = orders.parse_edit_order(orders.write_command(edit)[1], AT, symbol)
    assert arrived == msgspec.structs.replace(edit, id=arrived.id)
    for wish in (cancel, foreign):
        back = orders.parse_cancel_order(orders.write_command(wish)[1], AT, symbol)
        assert back == msgspec.structs.replace(wish, id=back.id)


@given(PLACES, st.lists(FILLS, max_size=3), st.sampled_from(sorted(orders.OUTCOMES[PlaceOrder])), st.none() | IDS)
def test_answers_survive(command: PlaceOrder, fills: list[Fill], status: str, order_id: str | None) -> None:
    """The status verbatim, the outcome by the table, and every execution, when the order reached the book."""
    outcome = orders.OUTCOMES[PlaceOrder][status]
    said = orders.answered(command, AT, outcome, status, order_id=order_id)
    parsed = orders.parse_answer(command, encode(orders.write_answer(command, said, fills, AT)), AT)
    *seen, last = parsed.values

    assert not parsed.quarantined
    assert isinstance(last, CommandAnswered)
    assert (last.status, last.order_id, last.client_order_id) == (status, order_id, command.client_order_id)
    if outcome != "placed":
        assert last == said
    traded = order_id is not None and outcome != "rejected" and command.order_type not in orders.TRIGGER_TYPES
    told = [message.fill for message in seen if isinstance(message, FillSeen)]
    assert [(f.fill_id, f.size, f.price) for f in told] == [(f.fill_id, f.size, f.price) for f in fills if traded]


@given(IDS, st.none() | IDS, SYMBOLS, st.none() | SIZES, st.none() | IDS)
def test_order_statuses_survive(
    order_id: str, name: str | None, symbol: str, filled: Decimal | None, reason: str | None
) -> None:
    """What is null stays unknown."""
    status = futures_rest.OrderStatus(
        order_id=order_id,
        client_order_id=name,
        symbol=symbol,
        filled=filled,
        status="CANCELLED",
        reason=reason,
        error=None,
    )
    parsed = futures_rest.parse_orders_status(encode(futures_rest.write_orders_status([status], AT)))

    assert parsed.values == (status,)


def test_small_spot_answers_survive() -> None:
    """Status and time, both ways."""
    assert spot.parse_system_status(encode(spot.write_system_status("post_only", AT))) == "post_only"
    assert spot.parse_time(encode(spot.write_time(AT))) == AT
    assert orders.parse_cancel_all(encode(orders.write_cancel_all([], None, AT))) == ()

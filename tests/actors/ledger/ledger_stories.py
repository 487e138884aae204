"""One trade from candle to exit, as the actors would tell it; and market noise around it."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal as D

from protocol.ids import client_order_id
from protocol.messages.base import Message, follow, from_edge
from protocol.messages.futures import (
    Account,
    AccountChanged,
    AccountSeen,
    EnterPosition,
    Fill,
    Filled,
    FillSeen,
    MarkPrice,
    OpenOrder,
    OrderAccepted,
    OrderGone,
    OrderSeen,
    PlaceOrder,
    Position,
    PositionChanged,
    PositionsSeen,
    Protected,
    TickerSeen,
    TradeClosed,
    TradeOpened,
)
from protocol.messages.signal import Signal
from protocol.messages.spot import CandleClosed, CandleSeen

Step = tuple[str, Message, Sequence[Message]]

CANDLE_TIME_MS = 1_767_571_200_000
AT = (CANDLE_TIME_MS + 900_000) * 1000


def candle_seen(number: int = 0) -> CandleSeen:
    """A finished 15m candle, `number` candles after the first."""
    time = CANDLE_TIME_MS + 900_000 * number
    return from_edge(
        CandleSeen,
        (time + 900_000) * 1000,
        "candle",
        time,
        symbol="BTC/USD",
        timeframe="15m",
        open_time_ms=time,
        open=60_000.1,
        high=60_100.0,
        low=59_900.0,
        close=60_050.5,
        volume=1.25,
        final=True,
    )


def candle_closed(seen: CandleSeen) -> CandleClosed:
    """What the spot feed says of it."""
    return follow(
        seen,
        CandleClosed,
        symbol=seen.symbol,
        timeframe=seen.timeframe,
        open_time_ms=seen.open_time_ms,
        open=seen.open,
        high=seen.high,
        low=seen.low,
        close=seen.close,
        volume=seen.volume,
    )


def signal_of(candle: CandleClosed) -> Signal:
    """A long signal on a candle."""
    return follow(
        candle,
        Signal,
        symbol=candle.symbol,
        timeframe=candle.timeframe,
        side="long",
        candle_time_ms=candle.open_time_ms,
        entry=candle.close,
        stop=59_000.0,
        take_profit=62_000.0,
        stop_pct=0.0175,
        take_profit_pct=0.0325,
        zone_id="zone",
        reason="order_block",
        valid_until=candle.at + 900_000_000,
        rule_version="smc-1",
        params_hash="hash",
        snapshot="{}",
    )


def place(cause: Message, signal_id: str, leg: str) -> PlaceOrder:
    """The order of one leg."""
    entry = leg == "entry"
    return follow(
        cause,
        PlaceOrder,
        leg,
        client_order_id=client_order_id(signal_id, leg),
        signal_id=signal_id,
        role="entry" if entry else "stop",
        symbol="PF_XBTUSD",
        side="buy" if entry else "sell",
        order_type="ioc" if entry else "stp",
        size=D("0.1000"),
        limit_price=D("60080.5") if entry else None,
        stop_price=None if entry else D("59000"),
        reduce_only=not entry,
    )


def resting(order: PlaceOrder, order_id: str) -> OpenOrder:
    """The order as the exchange lists it."""
    return OpenOrder(
        order_id=order_id,
        client_order_id=order.client_order_id,
        symbol=order.symbol,
        side=order.side,
        order_type=order.order_type,
        size=order.size,
        filled=D(0),
        limit_price=order.limit_price,
        stop_price=order.stop_price,
        reduce_only=order.reduce_only,
        trigger=None,
    )


def fill_seen(order: PlaceOrder, order_id: str, price: str, at: int) -> FillSeen:
    """The whole order executed."""
    fill = Fill(
        fill_id=f"fill-{order_id}",
        order_id=order_id,
        client_order_id=order.client_order_id,
        symbol=order.symbol,
        side=order.side,
        size=order.size,
        price=D(price),
        time=at,
        fill_type="taker",
        fee_usd=D("3.00"),
    )
    return from_edge(FillSeen, at, "fill", fill.fill_id, fill=fill, source="stream")


def one_trade() -> list[Step]:
    """Candle, signal, sized entry, fill, stop at the exchange, stop filled: as steps in journal order."""
    seen = candle_seen()
    candle = candle_closed(seen)
    signal = signal_of(candle)
    entered = follow(
        signal,
        EnterPosition,
        signal_id=signal.id,
        symbol="PF_XBTUSD",
        spot_symbol="BTC/USD",
        timeframe="15m",
        side="long",
        size=D("0.1000"),
        stop_pct=D("0.0175"),
        take_profit_pct=D("0.0325"),
        spot_entry=D("60050.5"),
        mark=D("60051"),
        leverage=D("0.06"),
        valid_until=signal.valid_until,
        exit_on_choch="exec",
        max_hold_bars=96,
        verdict='{"rules":[]}',
    )
    entry = place(entered, signal.id, "entry")
    bought = fill_seen(entry, "E1", "60051", AT + 200_000)
    filled = follow(bought, Filled, fill=bought.fill)
    opened = follow(
        filled,
        TradeOpened,
        trade_id=signal.id,
        symbol="PF_XBTUSD",
        side="long",
        size=D("0.1000"),
        price=D("60051"),
    )
    stop = place(filled, signal.id, "stop")
    order = resting(stop, "S1")
    listed = from_edge(
        OrderSeen, AT + 300_000, "order", "S1", order=order, open=True, reason="new_placed_order_by_user"
    )
    accepted = follow(listed, OrderAccepted, order=order)
    protected = follow(
        accepted,
        Protected,
        trade_id=signal.id,
        symbol="PF_XBTUSD",
        size=D("0.1000"),
        stop_price=D("59000"),
        target_price=D("62000"),
    )
    sold = fill_seen(stop, "S1", "58990.5", AT + 900_000_000)
    out = follow(sold, Filled, fill=sold.fill)
    gone = follow(
        sold, OrderGone, client_order_id=stop.client_order_id, order_id="S1", symbol="PF_XBTUSD", reason="full_fill"
    )
    closed = follow(
        out,
        TradeClosed,
        trade_id=signal.id,
        symbol="PF_XBTUSD",
        side="long",
        size=D("0.1000"),
        entry_price=D("60051"),
        exit_price=D("58990.5"),
        pnl_usd=D("-112.05"),
        fees_usd=D("6.00"),
        opened_at=opened.at,
        reason="stop",
        r_multiple=D("-1.07"),
    )
    return [
        ("spot_feed", seen, [candle]),
        ("strategy", candle, [signal]),
        ("risk", signal, [entered]),
        *noise(AT + 50_000),
        ("executor", entered, [entry]),
        ("futures_feed", bought, [filled]),
        ("executor", filled, [opened, stop]),
        ("futures_feed", listed, [accepted]),
        ("executor", accepted, [protected]),
        *noise(AT + 1_000_000),
        ("futures_feed", sold, [out, gone]),
        ("executor", out, [closed]),
        ("executor", gone, []),
    ]


def noise(at: int) -> list[Step]:
    """One mark, told to three, a position and an account."""
    ticker = from_edge(
        TickerSeen,
        at,
        "ticker",
        at,
        symbol="PF_XBTUSD",
        mark=D("60051.5"),
        index=D("60050"),
        bid=D("60051"),
        ask=D("60052"),
        last=D("60051"),
        funding_rate=D("0.0000125"),
        suspended=False,
        post_only=False,
        time=at,
    )
    mark = follow(
        ticker,
        MarkPrice,
        symbol=ticker.symbol,
        mark=ticker.mark,
        index=ticker.index,
        bid=ticker.bid,
        ask=ticker.ask,
        funding_rate=ticker.funding_rate,
        suspended=False,
        post_only=False,
        mark_time=at,
    )
    position = Position(symbol="PF_XBTUSD", size=D("0.1000"), entry_price=D("60051"))
    positions = from_edge(PositionsSeen, at, "positions", at, positions=(position,), sequence=at)
    account = Account(
        equity_usd=D("100000.25"),
        balance_usd=D(100_000),
        available_margin_usd=D(99_000),
        initial_margin_usd=D(1000),
        maintenance_margin_usd=D(500),
    )
    accounts = from_edge(AccountSeen, at, "account", at, account=account, sequence=at)
    return [
        ("futures_feed", ticker, [mark]),
        ("risk", mark, []),
        ("executor", mark, []),
        ("kill_switch", mark, []),
        ("futures_feed", positions, [follow(positions, PositionChanged, position=position)]),
        ("futures_feed", accounts, [follow(accounts, AccountChanged, account=account)]),
    ]

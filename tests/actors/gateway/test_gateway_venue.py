"""The gateway against the simulated venue: the whole wire in memory, both ends ours, one protocol between."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from decimal import Decimal
from typing import Any

import pytest
import trio
from gateway_fakes import START_US as START
from gateway_fakes import TrioClock
from trio.testing import MockClock

from actors.gateway.futures import FuturesGateway
from actors.gateway.secret import Secret
from actors.gateway.spot import SpotGateway
from config.settings import ExecutionSettings
from protocol.kraken import endpoints
from protocol.messages.base import Message, from_edge
from protocol.messages.futures import (
    AccountSeen,
    CancelOrder,
    CommandAnswered,
    EditOrder,
    FillSeen,
    OrderSeen,
    PlaceOrder,
    PositionsSeen,
    SnapshotSeen,
    TickerSeen,
)
from protocol.messages.spot import CandleSeen
from protocol.units import TIMEFRAME_MS, Timeframe

venues = pytest.importorskip("sim.venue", reason="the simulated venue is not in this tree")
engines = pytest.importorskip("sim.engine", reason="the simulated exchange is not in this tree")

BTC = "PF_XBTUSD"
MARKETS = {"BTC/USD": BTC, "ETH/USD": "PF_ETHUSD"}


class Falling:
    """A market at 60,000 that falls by `slope` dollars a second; its past is flat."""

    end_us = START + 7_200_000_000
    slope = 0

    def spot_price(self, _symbol: str, at_us: int) -> float:
        """Dollars."""
        return 60_000.0 - self.slope * max(0, (at_us - START) // 1_000_000)

    def candles(self, symbol: str, timeframe: Timeframe, since_ms: int | None, until_us: int) -> Sequence[CandleSeen]:
        """Closed candles."""
        step = TIMEFRAME_MS[timeframe]
        end = until_us // 1000 // step * step
        first = max(end - 800 * step, since_ms or 0)
        return [self._candle(symbol, timeframe, opened, final=True) for opened in range(first, end, step)]

    def running(self, symbol: str, at_us: int) -> CandleSeen:
        """The 15m candle as it stands."""
        return self._candle(symbol, "15m", (at_us - 1) // 900_000_000 * 900_000, final=False)

    def tick(self, symbol: str, at_us: int) -> Any:
        """Bid and ask a dollar off the mark."""
        from sim.market.tick import Tick

        mark = Decimal(round(self.spot_price(symbol, at_us)))
        prices = {"mark": mark, "index": mark, "bid": mark - 1, "ask": mark + 1, "last": mark}
        return Tick(at=at_us, symbol=symbol, funding_rate=Decimal("0.0001"), **prices)

    def _candle(self, symbol: str, timeframe: Timeframe, opened: int, *, final: bool) -> CandleSeen:
        price = self.spot_price(symbol, opened * 1000)
        prices = {"open": price, "high": price, "low": price, "close": price, "volume": 1.0}
        return from_edge(
            CandleSeen,
            START,
            symbol,
            opened,
            symbol=symbol,
            timeframe=timeframe,
            open_time_ms=opened,
            final=final,
            **prices,
        )


@pytest.fixture
async def venue(nursery: trio.Nursery, autojump_clock: MockClock) -> AsyncIterator[Any]:
    """A running venue with a hundred thousand dollars."""
    from sim.market.contracts import PF_ETHUSD, PF_XBTUSD

    engine = engines.Engine((PF_XBTUSD, PF_ETHUSD), Decimal(100_000), slippage_pct=Decimal(0))
    running = venues.Venue(engine, Falling(), TrioClock(), MARKETS)
    await nursery.start(running.run)
    yield running
    nursery.cancel_scope.cancel()


@pytest.fixture
async def gateway(venue: Any) -> AsyncIterator[FuturesGateway]:
    """A client of it with the right key."""
    async with venue.http_client() as http:
        yield FuturesGateway(
            http,
            lambda: venue.connect(endpoints.FUTURES_WS_PATH),
            TrioClock(),
            key=venue.key,
            secret=Secret(venue.secret),
            settings=ExecutionSettings(),
        )


def place(name: str, **fields: Any) -> PlaceOrder:
    """A market buy of half a coin, but for `fields`."""
    terms: dict[str, Any] = {"client_order_id": name, "signal_id": "", "role": "entry", "symbol": BTC, "side": "buy"}
    return from_edge(PlaceOrder, START, name, **(terms | {"order_type": "mkt", "size": Decimal("0.5")} | fields))


async def until(said: AsyncIterator[Message | None], wanted: Callable[[Any], bool]) -> Any:
    """The next message that is wanted."""
    with trio.fail_after(600):
        async for message in said:
            if message is not None and wanted(message):
                return message
    raise AssertionError("the stream ended")


async def test_a_trade_from_entry_to_triggered_stop(
    venue: Any, gateway: FuturesGateway, autojump_clock: MockClock
) -> None:
    """Reply, streams and REST agree at every step: entry, protection, its change, its end."""
    async with gateway.stream(list(MARKETS.values())) as said:
        assert isinstance(await until(said, lambda m: isinstance(m, TickerSeen)), TickerSeen)
        fill, entered = await gateway.send(place("ks-entry"))
        assert isinstance(fill, FillSeen)
        assert isinstance(entered, CommandAnswered)
        assert (entered.outcome, fill.fill.price, fill.fill.client_order_id) == ("filled", 60_001, "ks-entry")
        told = await until(said, lambda m: isinstance(m, FillSeen) and m.source == "stream")
        assert (told.fill.fill_id, told.fill.size) == (fill.fill.fill_id, fill.fill.size)
        positions = await until(said, lambda m: isinstance(m, PositionsSeen) and m.positions)
        account = await until(said, lambda m: isinstance(m, AccountSeen))

        terms = {"role": "stop", "side": "sell", "order_type": "stp", "reduce_only": True}
        (protected,) = await gateway.send(place("ks-stop", **terms, stop_price=Decimal(59_000)))
        assert isinstance(protected, CommandAnswered)
        assert protected.outcome == "placed"
        resting = await until(said, lambda m: isinstance(m, OrderSeen) and m.open)
        assert (resting.order.client_order_id, resting.order.trigger) == ("ks-stop", "mark")

        raised = from_edge(
            EditOrder, START, client_order_id="ks-stop", role="stop", symbol=BTC, size=Decimal("0.5"), stop_price=Decimal(59_990),
        )  # fmt: skip
        (edited,) = await gateway.send(raised)
        assert isinstance(edited, CommandAnswered)
        assert (edited.outcome, edited.order_id) == ("edited", resting.order.order_id)

        truth = await gateway.snapshot()
        assert isinstance(truth, SnapshotSeen)
        assert [(o.client_order_id, o.stop_price) for o in truth.orders] == [("ks-stop", 59_990)]
        assert [(p.symbol, p.size) for p in truth.positions] == [(p.symbol, p.size) for p in positions.positions]
        assert truth.account.balance_usd == account.account.balance_usd
        assert [f.fill_id for f in truth.fills] == [fill.fill.fill_id]

        venue.market.slope = 1
        gone = await until(said, lambda m: isinstance(m, OrderSeen) and not m.open)
        assert (gone.order.client_order_id, gone.reason) == ("ks-stop", "stop_order_triggered")
        assert (await until(said, lambda m: isinstance(m, PositionsSeen) and not m.positions)).positions == ()


async def test_refusals_and_resends_end_as_promised(gateway: FuturesGateway, autojump_clock: MockClock) -> None:
    """A resend is not a second order, and is answered with what became of the first; what is not there cannot be cancelled; reduce-only needs a position."""
    limit = place("ks-1", order_type="lmt", limit_price=Decimal(50_000))
    cancel = from_edge(CancelOrder, START, symbol=BTC, client_order_id="ks-1")
    naked = place("ks-2", side="sell", reduce_only=True)
    outcomes = [(await gateway.send(command))[-1] for command in (limit, limit, cancel, cancel, naked)]

    assert [answer.outcome for answer in outcomes if isinstance(answer, CommandAnswered)] == [
        "placed",
        "placed",
        "cancelled",
        "not_found",
        "rejected",
    ]


async def test_instruments_and_candles(venue: Any, gateway: FuturesGateway, autojump_clock: MockClock) -> None:
    """The rules, the history and the running candle."""
    listed = await gateway.instruments()
    assert listed.instruments == tuple(venue.engine.rules.values())

    async with venue.http_client() as http:
        spot = SpotGateway(http, lambda: venue.connect(endpoints.SPOT_WS_PATH), TrioClock())
        history = await spot.history("BTC/USD", "1h", START // 1000 - 3 * TIMEFRAME_MS["1h"])
        assert [c.open_time_ms for c in history] == [START // 1000 - n * TIMEFRAME_MS["1h"] for n in (3, 2, 1)]
        async with spot.stream(list(MARKETS)) as said:
            candle = await until(said, lambda m: m.symbol == "ETH/USD")
            assert not candle.final
            assert {type(await anext(said)) for _ in range(10)} <= {CandleSeen, type(None)}

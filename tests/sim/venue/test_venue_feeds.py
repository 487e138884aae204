"""What the futures streams tell beyond the daemon's four feeds: book, trades, day figures, margin of positions, account log."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from decimal import Decimal
from typing import Any

import pytest
import trio
from msgspec.structs import replace
from trio.testing import MockClock
from venues import START, Hands, enter_private, hear, hear_until, say, venue

from protocol.kraken import endpoints, futures_ws, markets
from protocol.kraken.wire import encode
from protocol.units import HOUR_US, SECOND_US
from sim.engine import Engine
from sim.engine.state import Holding
from sim.market.contracts import INVERSE, PF_ETHUSD, PF_XBTUSD
from sim.venue import Venue
from sim.venue.reports import Reports

BTC, PI = "PF_XBTUSD", "PI_XBTUSD"
ENTRY = {"orderType": "mkt", "symbol": BTC, "side": "buy", "size": "0.5", "cliOrdId": "entry"}


@pytest.fixture
async def place(nursery: trio.Nursery, autojump_clock: MockClock) -> AsyncIterator[Venue]:
    """A running venue with an inverse contract; the price rises three dollars a second."""
    running = venue(3.0, engine=Engine((PF_XBTUSD, PF_ETHUSD, INVERSE[BTC]), Decimal(100_000), slippage_pct=Decimal(0)))
    await nursery.start(running.run)
    yield running
    nursery.cancel_scope.cancel()


async def subscribe(stream: Any, feed: str, product: str = BTC) -> dict[str, Any]:
    """Ask for a market feed; the frame with which it begins."""
    await say(stream, {"event": "subscribe", "feed": feed, "product_ids": [product]})
    assert (await hear_until(stream, event="subscribed", feed=feed))["product_ids"] == [product]
    return await hear(stream)


async def test_a_book_kept_by_its_changes_is_the_book(place: Venue, autojump_clock: MockClock) -> None:
    """Snapshot and then a level a frame, numbered without a gap, lead to what REST shows; our own bid is in it."""
    async with place.http_client() as http, place.connect(endpoints.FUTURES_WS_PATH) as stream:
        bid = {**ENTRY, "orderType": "lmt", "limitPrice": "50000", "size": "0.25", "cliOrdId": "bid"}
        await Hands(place, http).post(endpoints.SEND_ORDER, bid)
        book = markets.parse_book_snapshot(await subscribe(stream, "book"))
        sides, number = {"buy": dict(book.bids), "sell": dict(book.asks)}, book.sequence or 0
        assert sides["buy"][Decimal(50_000)] == Decimal("0.25")
        with trio.move_on_after(3.25):
            while True:
                change = markets.parse_book_change(await hear(stream))
                number += 1
                assert change.sequence == number
                sides[change.side][change.price] = change.size
                if not change.size:
                    del sides[change.side][change.price]
        shown = markets.parse_order_book((await http.get(endpoints.ORDER_BOOK, params={"symbol": BTC})).content, BTC)
    assert (tuple(sorted(sides["buy"].items(), reverse=True)), tuple(sorted(sides["sell"].items()))) == (
        shown.bids,
        shown.asks,
    )


async def test_trades_of_the_stream_are_those_of_rest(place: Venue, autojump_clock: MockClock) -> None:
    """The last fifty at first, newest first, then one as it happens; REST shows the same ones."""
    async with place.http_client() as http, place.connect(endpoints.FUTURES_WS_PATH) as stream:
        first = await subscribe(stream, "trade")
        assert (len(first["trades"]), first["trades"][0]["time"]) == (50, START // 1000)
        seen = [markets.parse_trade_frame(await hear_until(stream, feed="trade")) for _ in range(3)]
        history = await http.get(endpoints.TRADE_HISTORY, params={"symbol": BTC})
        pages = await http.get(endpoints.MARKET_EXECUTIONS.format(symbol=BTC), params={"count": "3"})
    assert [trade.time - START for trade in seen] == [SECOND_US, 2 * SECOND_US, 3 * SECOND_US]
    assert tuple(seen) == markets.parse_trade_history(history.content, BTC).values[-3:]
    assert [t.trade_id for t in markets.parse_market_executions(pages.content, BTC).trades] == [
        t.trade_id for t in seen
    ]


async def test_a_ticker_has_the_figures_of_its_day(place: Venue, autojump_clock: MockClock) -> None:
    """Open, high, low, volume of 24 hours, funding now and next, the hour it changes, by stream and by REST alike."""
    async with place.http_client() as http, place.connect(endpoints.FUTURES_WS_PATH) as stream:
        frame = await subscribe(stream, "ticker")
        lite = await subscribe(stream, "ticker_lite")
        rest = (await http.get(f"{endpoints.TICKERS}/{BTC.lower()}")).json()["ticker"]
    assert frame["next_funding_rate_time"] == (START + HOUR_US) // 1000
    assert (frame["relative_funding_rate"], frame["funding_rate"]) == (0.0001, 6)
    assert frame["low"] <= frame["open"] <= frame["last"] <= frame["high"]
    assert (frame["open"], frame["volume"]) == (rest["open24h"], rest["vol24h"]) == (60_000 - 3 * 86_400, 86_400)
    assert (lite["bid"], lite["ask"], lite["volume"]) == (frame["bid"], frame["ask"], frame["volume"])
    assert rest["fundingRate"] == 6


async def test_an_inverse_ticker_counts_in_dollars_and_pays_in_coin(place: Venue, autojump_clock: MockClock) -> None:
    """Its price is the linear contract's on its own tick; its absolute rate is coins a dollar."""
    async with place.connect(endpoints.FUTURES_WS_PATH) as stream:
        frame = await subscribe(stream, "ticker", PI)
    assert (frame["markPrice"], frame["bid"]) == (60_000, 59_999)
    assert frame["funding_rate"] == pytest.approx(0.0001 / 60_000)
    assert frame["volume"] == 86_400 * 60_000


async def test_positions_carry_margin_and_the_price_of_liquidation(place: Venue, autojump_clock: MockClock) -> None:
    """Also of an inverse one, in its coin; leverage is value over equity."""
    async with place.http_client() as http, place.connect(endpoints.FUTURES_WS_PATH) as stream:
        hands = Hands(place, http)
        await hands.post(endpoints.SEND_ORDER, {**ENTRY, "size": "2"})
        await hands.post(
            endpoints.SEND_ORDER, {**ENTRY, "symbol": PI, "size": "6000", "side": "sell", "cliOrdId": "pi"}
        )
        first = await enter_private(stream, place, ["open_positions", "balances"])
    linear, inverse = first["open_positions"]["positions"]
    assert (linear["instrument"], inverse["instrument"]) == (BTC, PI)
    assert linear["effective_leverage"] == pytest.approx(2 * 60_000 / 100_000, rel=0.01)
    assert (linear["initial_margin"], linear["maintenance_margin"]) == (2_400.04, 1_200.02)
    expected = 60_000 - (100_000 - 2 - 60.001 - linear["maintenance_margin"]) / 2
    assert linear["liquidation_threshold"] == pytest.approx(expected, rel=1e-6)
    assert (inverse["balance"], inverse["pnl_currency"]) == (-6000, "XBT")
    flex = first["balances"]["flex_futures"]
    assert flex["currencies"]["USD"]["quantity"] == flex["balance_value"]
    assert first["balances"]["futures"]["pi_xbtusd"]["unit"] == "XBT"


async def test_initial_margin_of_the_stream_includes_resting_orders(place: Venue, autojump_clock: MockClock) -> None:
    """Unlike REST's."""
    async with place.http_client() as http, place.connect(endpoints.FUTURES_WS_PATH) as stream:
        bid = {**ENTRY, "orderType": "lmt", "limitPrice": "50000", "size": "1"}
        await Hands(place, http).post(endpoints.SEND_ORDER, bid)
        flex = (await enter_private(stream, place, ["balances"]))["balances"]["flex_futures"]
        rest = (await Hands(place, http).get(endpoints.ACCOUNTS))["accounts"]["flex"]
    assert (flex["initial_margin"], flex["initial_margin_without_orders"]) == (1_000, 0)
    assert (rest["initialMargin"], rest["initialMarginWithOrders"]) == (0, 1_000)


async def test_the_account_log_is_told_as_it_is_written(place: Venue, autojump_clock: MockClock) -> None:
    """Money and position legs of a fill, then the hour's funding; the snapshot of a later client has them all."""
    async with place.http_client() as http, place.connect(endpoints.FUTURES_WS_PATH) as stream:
        first = await enter_private(stream, place, ["account_log", "notifications_auth"])
        assert (first["account_log"]["logs"], len(first["notifications_auth"]["notifications"])) == ([], 1)
        await Hands(place, http).post(endpoints.SEND_ORDER, ENTRY)
        legs = [(await hear_until(stream, feed="account_log"))["new_entry"] for _ in range(2)]
        assert [leg["asset"] for leg in legs] == ["usd", "pf_xbtusd"]
        assert (legs[1]["new_balance"], legs[1]["new_average_entry_price"]) == (0.5, 60_001)
        paid = (await hear_until(stream, feed="account_log"))["new_entry"]
        assert (paid["info"], paid["funding_rate"]) == ("funding rate change", 6)
        frame = futures_ws.parse_futures_frame({"feed": "account_log", "new_entry": paid}, 0)
        assert isinstance(frame, futures_ws.Shown)
    async with place.connect(endpoints.FUTURES_WS_PATH) as stream:
        assert len((await enter_private(stream, place, ["account_log"]))["account_log"]["logs"]) == 3


async def test_a_fill_says_what_of_its_order_is_left(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """And of what type order and taker were."""
    shallow = Engine((PF_XBTUSD, PF_ETHUSD), Decimal(100_000), slippage_pct=Decimal(0), depth_usd=Decimal(6_000))
    place = venue(engine=shallow)
    await nursery.start(place.run)
    async with place.http_client() as http, place.connect(endpoints.FUTURES_WS_PATH) as stream:
        await enter_private(stream, place, ["fills"])
        form = {**ENTRY, "orderType": "lmt", "limitPrice": "60001"}
        await Hands(place, http).post(endpoints.SEND_ORDER, form)
        (fill,) = (await hear_until(stream, feed="fills"))["fills"]
    assert (fill["qty"], fill["remaining_order_qty"], fill["order_type"], fill["taker_order_type"]) == (
        0.0999, 0.4001, "limit", "limit",
    )  # fmt: skip
    nursery.cancel_scope.cancel()


async def test_after_unsubscribing_a_feed_is_silent(place: Venue, autojump_clock: MockClock) -> None:
    """One product of one feed; the others go on."""
    async with place.connect(endpoints.FUTURES_WS_PATH) as stream:
        await subscribe(stream, "ticker")
        await subscribe(stream, "trade")
        await say(stream, {"event": "unsubscribe", "feed": "trade", "product_ids": [BTC]})
        await hear_until(stream, event="unsubscribed")
        assert {(await hear(stream))["feed"] for _ in range(4)} == {"ticker"}


async def test_candles_of_a_contract(place: Venue, autojump_clock: MockClock) -> None:
    """Of mark, trade and spot, of any length, from seconds to seconds; a page says whether there is more."""
    start_s = START // SECOND_US
    async with place.http_client() as http:

        async def page(path: str, **query: object) -> dict[str, Any]:
            return dict((await http.get(f"{endpoints.CHARTS}/{path}", params=dict(query))).json())  # type: ignore[arg-type]

        hours = await page(f"mark/{BTC}/1h", **{"from": start_s - 3 * 3600, "to": start_s})
        minutes = await page(f"trade/{BTC}/1m", **{"from": start_s - 600, "to": start_s, "count": 4})
        days = await page(f"spot/{BTC.lower()}/12h", **{"from": start_s - 86_400, "to": start_s})
        assert (await page("mood/PF_XBTUSD/1h"))["error"] == "invalidArgument: tick_type"
        assert (await page(f"mark/{BTC}/7m"))["error"] == "invalidArgument: resolution"
    assert [row["time"] // 1000 - start_s for row in hours["candles"]] == [-10_800, -7200, -3600]
    assert (hours["candles"][-1]["close"], hours["candles"][-1]["volume"]) == ("60000.0", "0.0")
    assert (len(minutes["candles"]), minutes["more_candles"]) == (4, True)
    assert minutes["candles"][0] == {
        "time": (start_s - 600) * 1000, "open": "58200.0", "high": "58380.0", "low": "58200.0", "close": "58380.0", "volume": "1.0",
    }  # fmt: skip
    assert len(days["candles"]) == 2


async def test_what_a_ticker_keeps_from_the_last_one_never_shows(place: Venue) -> None:
    """Whatever happened in between, each is what a venue that tells its first one would write."""
    engine, at = place.engine, place.now_us()
    held = Holding(symbol=BTC, size=Decimal("0.5"), cost=Decimal(30_000), since=at, filled_at=at)
    happenings: list[Callable[[], object]] = [
        lambda: None,
        lambda: engine.state.holdings.update({BTC: held}),
        lambda: engine.close_market(BTC, "post_only"),
        lambda: engine.close_market(BTC, None),
        lambda: engine.state.holdings.pop(BTC),
    ]
    for happen in happenings:
        happen()
        for tick in engine.state.ticks.values():
            for later in (0, 1, 3_600):
                place.move(replace(tick, at=tick.at + later * SECOND_US, mark=tick.mark + later, index=tick.index))
                moved = engine.state.ticks[tick.symbol]
                assert encode(place.reports.ticker(moved)) == encode(Reports(place).ticker(moved))

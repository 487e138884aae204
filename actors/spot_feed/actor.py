"""The spot feed's place in the tree: its stream, its back-fill, its lease. Knows no futures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from actors.connection import keep_connected
from actors.part import Part
from actors.shell import World
from actors.spot_feed import decide
from actors.spot_feed.candle import complete, untraded
from protocol.messages.base import Message
from protocol.messages.spot import CandleSeen, RequestHistory
from protocol.ports import FeedLost
from protocol.units import Timeframe

NAME = "spot_feed"


def build(world: World) -> Part[decide.State]:
    """A fresh life: its state is rebuilt from the market."""
    return Part(NAME, decide.initial(world.settings), decide.step)


async def edge(world: World, deliver: Callable[[Message], None]) -> None:
    """Listen to the spot exchange; on every connection fill what is missing before the lease is taken."""
    symbols = [s.spot for s in world.settings.symbols]
    newest: dict[tuple[str, Timeframe], int] = {}

    def deliver_candle(message: Message) -> None:
        if isinstance(message, CandleSeen):
            newest[message.symbol, message.timeframe] = message.open_time_ms
        deliver(message)

    async def prepare() -> Sequence[Message]:
        wanted = [(s, tf) for s in symbols for tf in decide.BACKFILL if tf == decide.BASE or (s, tf) not in newest]
        return [m for s, tf in wanted for m in await _history(world, s, tf, newest.get((s, tf)))]

    def lost(why: str) -> None:
        world.alert(NAME, "FEED_STALE", "warning", f"spot stream lost: {why}; entries wait, reconnecting")

    def changed(state: str) -> None:
        world.alert(NAME, "FEED_STATE", "info", f"spot stream: {state}")

    await keep_connected(
        open_stream=partial(world.spot.stream, symbols),
        prepare=prepare,
        lease=partial(world.gate.lease, NAME),
        deliver=deliver_candle,
        lost=lost,
        changed=changed,
        idle_s=world.settings.feeds.spot_idle_s,
        jitter=world.jitter,
    )


async def hands(world: World, wish: Message) -> Sequence[Message]:
    """Fetch what the feed found missing. A failure brings nothing; the feed asks again by its own timer."""
    assert isinstance(wish, RequestHistory)
    try:
        return await _history(world, wish.symbol, wish.timeframe, wish.since_ms)
    except FeedLost as error:
        text = f"{wish.symbol} {wish.timeframe} history not to be had: {error}"
        world.alert(NAME, "BAR_GAP", "warning", text)
        return ()


async def _history(world: World, symbol: str, timeframe: Timeframe, since_ms: int | None) -> Sequence[Message]:
    candles = await world.spot.history(symbol, timeframe, since_ms)
    at = world.clock.now_us()
    if timeframe != decide.BASE:
        return complete(candles, symbol, timeframe, at)
    whole, proven_ms = await _confirmed(world, symbol, candles)
    return complete(whole, symbol, timeframe, at, proven_ms)


async def _confirmed(world: World, symbol: str, candles: Sequence[CandleSeen]) -> tuple[list[CandleSeen], int | None]:
    """The candles with intervals without trades filled in, and up to which open time they are whole.

    An interval that is missing is filled once the trades endpoint shows none in it. One that has trades is lost, and nothing
    after it is proven.
    """
    whole: list[CandleSeen] = []
    for candle in candles:
        if whole and candle.open_time_ms > (first_ms := whole[-1].open_time_ms + decide.STEP_MS):
            traded = await world.spot.traded(symbol, first_ms, candle.open_time_ms)
            if traded:
                text = (
                    f"{symbol}: the candles from {first_ms} to {candle.open_time_ms} are missing although it was traded"
                )
                world.alert(NAME, "BAR_GAP", "warning", text)
                return [*whole, *(c for c in candles if c.open_time_ms >= candle.open_time_ms)], whole[-1].open_time_ms
            if traded is False:
                whole += untraded(whole[-1], candle.open_time_ms)
        whole.append(candle)
    return whole, whole[-1].open_time_ms if whole else None

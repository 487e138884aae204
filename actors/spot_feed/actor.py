"""The spot feed's place in the tree: its stream, its back-fill, its lease. Knows no futures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from actors.connection import keep_connected
from actors.part import Part
from actors.shell import World
from actors.spot_feed import decide
from actors.spot_feed.candle import complete
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
    return complete(candles, symbol, timeframe, world.clock.now_us())

"""The direct ports under trio: the same house gives the same decisions, orders, fills and equity as on the fast driver."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

import pytest
import trio
from houses import ROUTES, STEPS, gate_and_door, run_loop
from stages import BTC, SETTINGS, TAPE, XBT, order, stage

from actors.connection import keep_connected
from actors.hands import send
from actors.part import Part
from actors.shell import ChildSpec, World, live
from protocol.codec import message_types
from protocol.messages.base import Message, from_edge
from protocol.messages.futures import AccountSeen, CommandAnswered, PositionsSeen, TickerSeen
from protocol.messages.spot import CandleSeen, HistorySeen
from protocol.units import SECOND_US
from sim.clock import PacedClock, SimulatedClock
from sim.direct import Direct
from sim.loop import Result
from sim.market.tape import Tape
from sim.stage import Stage

SHORT = Tape(list(TAPE.tracks.values()), SETTINGS, TAPE.start_us, TAPE.start_us + 24 * 3600 * SECOND_US)
Deliver = Callable[[Message], None]


class NoJournal:
    """Remembers nothing."""

    def record(self, *_: object) -> None: ...

    def keep(self, *_: object) -> None: ...

    def flush(self) -> None: ...

    def memory(self, actor: str) -> None:
        return None


async def spot_edge(world: World, deliver: Deliver) -> None:
    """History of every symbol, then the stream, as the real feed."""

    async def prepare() -> list[Message]:
        found: list[Message] = []
        for pair in world.settings.symbols:
            candles = await world.spot.history(pair.spot, "15m", None)
            newest = candles[-1].open_time_ms
            fields = {"symbol": pair.spot, "timeframe": "15m", "newest_open_time_ms": newest}
            found += [*candles, from_edge(HistorySeen, world.clock.now_us(), pair.spot, **fields)]
        return found

    await _edge(world, deliver, "spot_feed", partial(world.spot.stream, ()), prepare)


async def futures_edge(world: World, deliver: Deliver) -> None:
    """Rules and truth, then the stream, as the real feed."""

    async def prepare() -> list[Message]:
        return [await world.futures.instruments(), await world.futures.snapshot()]

    await _edge(world, deliver, "futures_feed", partial(world.futures.stream, ()), prepare)


async def _edge(
    world: World,
    deliver: Deliver,
    name: str,
    stream: Callable[[], object],
    prepare: Callable[[], Awaitable[list[Message]]],
) -> None:
    def lost(why: str) -> None:
        raise AssertionError(f"{name}: {why}")

    await keep_connected(
        open_stream=stream,
        prepare=prepare,
        lease=partial(world.gate.lease, name),
        deliver=deliver,
        lost=lost,
        idle_s=SETTINGS.feeds.futures_idle_s,
        jitter=world.jitter,
    )


def specs() -> list[ChildSpec]:
    """The house as children of the shell."""
    edges = {"spot_feed": spot_edge, "futures_feed": futures_edge}
    return [
        ChildSpec(
            name=name,
            build=lambda world, name=name, state=state, step=step: Part(name, state, step),  # type: ignore[misc]
            says=tuple(message_types()),
            hands=send,
            edge=edges.get(name),
        )
        for name, (state, step) in STEPS.items()
    ]


def run_trio(tape: Tape) -> Result:
    """The house on the shell, over the direct ports."""
    gate, door = gate_and_door()
    result = Result(tape.start_us, tape.end_us)
    played: Stage = stage(tape)

    async def main() -> None:
        clock = SimulatedClock(tape.start_us)
        direct = Direct(played, clock, SETTINGS)
        world = World(
            settings=SETTINGS,
            clock=clock,
            spot=direct.spot,
            futures=direct.futures,
            journal=NoJournal(),
            latch_store=None,
            gate=gate,
            door=door,
            routes=ROUTES,
            jitter=lambda: 0.5,
            watch=result.watch,
        )  # type: ignore[arg-type]
        async with trio.open_nursery() as nursery:
            for spec in specs():
                nursery.start_soon(live, spec, world)
            await direct.play()
            nursery.cancel_scope.cancel()

    trio.run(main, clock=PacedClock())
    result.close(played)
    return result


def test_both_drivers_give_the_same_run() -> None:
    """Message for message the same wishes, fills and blocks, at the same microseconds, and the same equity."""
    fast, shell = run_loop(SHORT), run_trio(SHORT)
    assert [(type(m).__name__, m.at, m.id) for m in shell.messages] == [
        (type(m).__name__, m.at, m.id) for m in fast.messages
    ]
    assert shell.books == fast.books
    assert shell.equity_usd == fast.equity_usd
    assert shell.digest() == fast.digest()
    assert len(fast.messages) > 10


def in_simulation(main: Callable[[Direct], Awaitable[None]]) -> None:
    """Run `main` beside the market."""

    async def beside() -> None:
        direct = Direct(stage(SHORT), SimulatedClock(SHORT.start_us), SETTINGS)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(direct.play)
            await main(direct)
            nursery.cancel_scope.cancel()

    trio.run(beside, clock=PacedClock())


def test_streams_beat_while_nothing_happens() -> None:
    """Between two visits heartbeats come often enough that neither stream ever looks stale."""

    async def main(direct: Direct) -> None:
        idle_s = SETTINGS.feeds.futures_idle_s
        async with direct.futures.stream([XBT]) as futures, direct.spot.stream([BTC]) as spot:
            frames: list[Message | None] = []
            while trio.current_time() < 1200:
                with trio.fail_after(idle_s):
                    frames.append(await anext(futures))
                with trio.fail_after(idle_s):
                    await anext(spot)
        assert [type(frame) for frame in frames[:3]] == [PositionsSeen, AccountSeen, TickerSeen]
        assert frames.count(None) > 30

    in_simulation(main)


def test_the_spot_stream_tells_candles_as_they_stand() -> None:
    """The first candle after the start is running; the closed one before it follows, final."""

    async def main(direct: Direct) -> None:
        async with direct.spot.stream([BTC]) as frames:
            seen: list[CandleSeen] = []
            while len(seen) < 5:
                frame = await anext(frames)
                seen += [frame] if frame is not None and frame.symbol == BTC else []
            assert [c.final for c in seen] == [False, False, True, False, False]

    in_simulation(main)


def test_a_wish_is_carried_out_at_the_moment_it_is_sent() -> None:
    """An order between two visits fills at its own time, and the position's path is visited from then on."""

    async def main(direct: Direct) -> None:
        await trio.sleep(100)
        now = direct.clock.now_us()
        said = await direct.futures.send(order("entry", now, "buy", "mkt"))
        assert [m.outcome for m in said if isinstance(m, CommandAnswered)] == ["filled"]
        assert {m.at for m in said} == {now}
        async with direct.futures.stream([XBT]) as frames:
            while not isinstance(frame := await anext(frames), TickerSeen):
                pass
        assert frame.at // SECOND_US == SHORT.start_us // SECOND_US + 300
        assert (await direct.futures.snapshot()).positions[0].symbol == XBT

    in_simulation(main)


@pytest.mark.parametrize("timeframe", ["15m", "1d"])
def test_history_ends_with_what_has_settled(timeframe: str) -> None:
    """The candle that ends now is not final before it has settled."""

    async def main(direct: Direct) -> None:
        early = await direct.spot.history(BTC, timeframe, None)  # type: ignore[arg-type]
        await trio.sleep(SETTINGS.feeds.settle_ms / 1000)
        late = await direct.spot.history(BTC, timeframe, None)  # type: ignore[arg-type]
        assert len(late) == len(early) + 1

    in_simulation(main)

"""The venue's connections: slow and vanishing clients, loopback TCP, the real tape, equal runs."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import httpx
import pytest
import trio
from trio.testing import MockClock
from trio_websocket import ConnectionClosed, open_websocket_url
from venues import Hands, hear, hear_until, say, venue

from config.settings import Settings
from protocol.kraken import endpoints
from sim.clock import PacedClock, SimulatedClock
from sim.engine import Engine
from sim.market.tape import Tape
from sim.venue import Venue
from sim.venue.serve import serve
from sim.venue.socket import TOO_SLOW, SocketClosed

TICKERS = {"event": "subscribe", "feed": "ticker", "product_ids": ["PF_XBTUSD", "PF_ETHUSD"]}


class Deaf:
    """A client that asks for tickers and then takes nothing more."""

    def __init__(self) -> None:
        self.asked = False
        self.closed: tuple[int, str] | None = None

    async def receive(self) -> str:
        if self.asked:
            await trio.sleep_forever()
        self.asked = True
        return '{"event":"subscribe","feed":"ticker","product_ids":["PF_XBTUSD"]}'

    async def send(self, text: str) -> None:
        await trio.sleep_forever()

    def send_now(self, text: str) -> bool:
        return False

    async def close(self, code: int, reason: str) -> None:
        self.closed = (code, reason)


class Gone(Deaf):
    """A client whose connection breaks as soon as something is sent to it."""

    async def send(self, text: str) -> None:
        raise SocketClosed


async def test_a_client_that_does_not_read_is_disconnected(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Its queue is bounded; the others go on."""
    place = venue()
    await nursery.start(place.run)
    deaf = Deaf()
    with trio.fail_after(3600):
        await place.serve_socket(deaf, endpoints.FUTURES_WS_PATH)
    assert deaf.closed == (TOO_SLOW, "too slow")
    nursery.cancel_scope.cancel()


async def test_a_client_in_memory_that_does_not_read_is_disconnected_too(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """The stream between has no room of its own, so no old frames pile up in it."""
    place = venue()
    await nursery.start(place.run)
    async with place.connect(endpoints.FUTURES_WS_PATH) as stream:
        await say(stream, TICKERS)
        await trio.sleep(700)
        frames = 0
        with pytest.raises(ConnectionClosed):
            while True:
                await hear(stream)
                frames += 1
        assert frames < 50
    nursery.cancel_scope.cancel()


async def test_a_client_that_vanishes_is_forgotten(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Its conversation ends without an error."""
    place = venue()
    await nursery.start(place.run)
    with trio.fail_after(10):
        await place.serve_socket(Gone(), endpoints.FUTURES_WS_PATH)
    nursery.cancel_scope.cancel()


async def test_an_unknown_path_is_closed_at_once(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """There are two addresses only."""
    place = venue()
    await nursery.start(place.run)
    async with place.connect("/v3") as stream:
        with pytest.raises(ConnectionClosed):
            await hear(stream)
    nursery.cancel_scope.cancel()


async def test_connecting_to_a_venue_that_does_not_run_is_an_error() -> None:
    """It says what to do."""
    with pytest.raises(RuntimeError, match=r"start Venue\.run"):
        async with venue().connect(endpoints.SPOT_WS_PATH):
            pass


async def test_connections_end_when_the_venue_ends(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A client sees its connection closed."""
    place = venue()
    async with trio.open_nursery() as life:
        await life.start(place.run)
        async with place.connect(endpoints.FUTURES_WS_PATH) as stream:
            await hear(stream)
            life.cancel_scope.cancel()


@pytest.mark.slow
def test_the_same_port_serves_rest_and_streams_over_tcp() -> None:
    """Through real sockets, with time running a hundred times as fast: the same answers as in memory."""

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            place = venue()
            address = str(await nursery.start(serve, place, "127.0.0.1", 0))
            async with httpx.AsyncClient(base_url=address) as http:
                sent = await Hands(place, http).post(
                    endpoints.SEND_ORDER,
                    {"orderType": "mkt", "symbol": "PF_XBTUSD", "side": "buy", "size": "0.5", "cliOrdId": "entry"},
                )
                assert sent["sendStatus"]["status"] == "placed"
            url = address.replace("http", "ws") + endpoints.FUTURES_WS_PATH
            async with open_websocket_url(url) as stream:
                assert (await hear(stream))["event"] == "info"
                await say(stream, TICKERS)
                first = await hear_until(stream, feed="ticker", product_id="PF_XBTUSD")
                second = await hear_until(stream, feed="ticker", product_id="PF_XBTUSD")
                assert second["time"] > first["time"]
            nursery.cancel_scope.cancel()

    trio.run(main, clock=PacedClock(100))


async def test_the_venue_listens_on_loopback_only() -> None:
    """Whoever asks for more is told why not."""
    with pytest.raises(ValueError, match="loopback only"):
        await serve(venue(), "0.0.0.0", 8080)


def test_two_runs_on_the_same_tape_say_the_same() -> None:
    """The seeded market, an order in the middle, and every frame of both exchanges: equal, whatever trio's scheduler does."""

    def run() -> list[tuple[int, str]]:
        frames: list[tuple[int, str]] = []

        async def main() -> None:
            settings = Settings()
            tape = Tape.synthetic(settings, days=1, history_days=2)
            clock = SimulatedClock(tape.start_us)
            place = Venue(Engine(tape.instruments, Decimal(100_000)), tape, clock, settings.futures_of)

            async def listen(path: str, request: dict[str, Any]) -> None:
                async with place.connect(path) as stream:
                    await say(stream, request)
                    while True:
                        frames.append((clock.now_us(), await stream.get_message()))

            async with trio.open_nursery() as nursery:
                await nursery.start(place.run)
                nursery.start_soon(listen, endpoints.FUTURES_WS_PATH, TICKERS)
                ohlc = {"channel": "ohlc", "symbol": ["BTC/USD", "ETH/USD"], "interval": 15}
                nursery.start_soon(listen, endpoints.SPOT_WS_PATH, {"method": "subscribe", "params": ohlc})
                await trio.sleep(905.25)
                nursery.cancel_scope.cancel()

        trio.run(main, clock=PacedClock())
        # Frames of the first moment go to two connections at once; from then on no two share a moment.
        return [frame for frame in frames if frame[0] > frames[0][0]]

    first = run()
    assert len(first) > 900 * 4
    assert first == run()

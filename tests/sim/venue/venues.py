"""A venue on a market of straight lines, and a client's hands, for the tests of the venue."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import httpx
from msgspec.structs import replace

from protocol.kraken.signing import futures_authent, futures_challenge
from protocol.messages.base import from_edge
from protocol.messages.spot import CandleSeen
from protocol.units import TIMEFRAME_MS, Timeframe, decimal
from sim.clock import SimulatedClock
from sim.engine import Engine
from sim.market.contracts import PF_ETHUSD, PF_XBTUSD
from sim.market.tick import Tick
from sim.venue import Venue
from sim.venue.schedule import CANDLE_US

START = 1_767_571_200_000_000
"""2026-01-05T00:00:00Z: a full hour."""
MARKETS = {"BTC/USD": "PF_XBTUSD", "ETH/USD": "PF_ETHUSD"}


class Straight:
    """Prices rise by `rise` dollars a second from 60,000; the whole past is known. Bid and ask lie a dollar off the mark."""

    def __init__(self, rise: float = 0.0, end_s: int = 7200) -> None:
        self.rise = rise
        self.end_us = START + end_s * 1_000_000

    def spot_price(self, _symbol: str, at_us: int) -> float:
        return 60_000 + self.rise * ((at_us - START) // 1_000_000)

    def candles(self, symbol: str, timeframe: Timeframe, since_ms: int | None, until_us: int) -> Sequence[CandleSeen]:
        step = TIMEFRAME_MS[timeframe]
        end = until_us // 1000 - until_us // 1000 % step
        first = max(end - 1000 * step, -(-(since_ms or 0) // step) * step)
        return [self._candle(symbol, timeframe, open_ms, open_ms + step, True) for open_ms in range(first, end, step)]

    def running(self, symbol: str, at_us: int) -> CandleSeen:
        """As a tape with a step of a second: the candle before, whole, until the first step of the next is over."""
        at_us -= at_us % 1_000_000
        open_us = (at_us - 1) - (at_us - 1) % CANDLE_US
        return self._candle(symbol, "15m", open_us // 1000, at_us // 1000, False)

    def tick(self, symbol: str, at_us: int) -> Tick:
        mark = decimal(self.spot_price(symbol, at_us)).quantize(Decimal(1))
        return Tick(
            at=at_us,
            symbol=symbol,
            mark=mark,
            index=mark,
            bid=mark - 1,
            ask=mark + 1,
            last=mark,
            funding_rate=Decimal("0.0001"),
        )

    def _candle(self, symbol: str, timeframe: Timeframe, open_ms: int, until_ms: int, final: bool) -> CandleSeen:
        open_, close = self.spot_price(symbol, open_ms * 1000), self.spot_price(symbol, until_ms * 1000)
        return from_edge(
            CandleSeen,
            until_ms * 1000,
            symbol,
            timeframe,
            open_ms,
            symbol=symbol,
            timeframe=timeframe,
            open_time_ms=open_ms,
            open=open_,
            high=max(open_, close),
            low=min(open_, close),
            close=close,
            volume=(until_ms - open_ms) / 1000,
            final=final,
        )


def engine() -> Engine:
    """A hundred thousand dollars, no slippage."""
    return Engine((PF_XBTUSD, PF_ETHUSD), Decimal(100_000), slippage_pct=Decimal(0))


def venue(rise: float = 0.0, start_us: int = START, **terms: Any) -> Venue:
    """A venue whose time begins with the test."""
    terms.setdefault("engine", engine())
    own = terms.pop("engine")
    return Venue(own, Straight(rise), SimulatedClock(start_us), MARKETS, **terms)


class Hands:
    """A client of the venue's REST APIs that signs what it sends."""

    def __init__(self, place: Venue, http: httpx.AsyncClient, secret: str | None = None) -> None:
        self.key, self.secret = place.key, secret or place.secret
        self.http = http

    async def post(self, path: str, form: Mapping[str, str]) -> dict[str, Any]:
        """A signed call with its parameters in the body."""
        body = str(httpx.QueryParams(form))
        response = await self.http.post(
            path,
            content=body,
            headers={"Content-Type": "application/x-www-form-urlencoded", **self._signed(path, body)},
        )
        return dict(response.json())

    async def get(self, path: str, form: Mapping[str, str] | None = None) -> dict[str, Any]:
        """A signed call with its parameters in the query."""
        query = str(httpx.QueryParams(form or {}))
        address = f"{path}?{query}" if query else path
        return dict((await self.http.get(address, headers=self._signed(path, query))).json())

    def _signed(self, path: str, data: str) -> dict[str, str]:
        return {"APIKey": self.key, "Authent": futures_authent(self.secret, data, path)}


async def hear(connection: Any) -> dict[str, Any]:
    """The next frame."""
    return dict(json.loads(await connection.get_message()))


async def hear_until(connection: Any, **wanted: object) -> dict[str, Any]:
    """The next frame that has these members; others are passed over."""
    while True:
        frame = await hear(connection)
        if all(frame.get(name) == value for name, value in wanted.items()):
            return frame


async def say(connection: Any, frame: Mapping[str, object]) -> None:
    """Send one request."""
    await connection.send_message(json.dumps(frame))


async def enter_private(connection: Any, place: Venue, feeds: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Answer the challenge and subscribe; the first frame of each feed by its name."""
    await say(connection, {"event": "challenge", "api_key": place.key})
    challenge = (await hear_until(connection, event="challenge"))["message"]
    first = {}
    for feed in feeds:
        proof = {"original_challenge": challenge, "signed_challenge": futures_challenge(place.secret, challenge)}
        await say(connection, {"event": "subscribe", "feed": feed, "api_key": place.key, **proof})
        await hear_until(connection, event="subscribed", feed=feed)
        first[feed] = await hear(connection)
    return first


def moved(tick: Tick, mark: int) -> Tick:
    """The same moment at another price."""
    price = Decimal(mark)
    return replace(tick, mark=price, index=price, bid=price - 1, ask=price + 1, last=price)

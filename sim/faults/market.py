"""Faults of prices: a market that says other things for a while. Knows no order."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Final

from msgspec.structs import replace

from protocol.messages.spot import CandleSeen
from protocol.units import Timeframe
from sim.faults.timeline import Active, Faults
from sim.market.tick import Tick
from sim.venue.markets import Market

THIN_PCT: Final = Decimal(3)
"""How far bid and ask lie from the mark in a thin or an empty book."""


class FaultyMarket:
    """`sim.venue.markets.Market` as the faults have it. `spot_of`: contract -> spot symbol."""

    def __init__(self, market: Market, faults: Faults, spot_of: dict[str, str]) -> None:
        self._market = market
        self._faults = faults
        self._spot_of = spot_of

    @property
    def end_us(self) -> int:
        """The last moment there are prices of."""
        return self._market.end_us

    def candles(
        self, spot_symbol: str, timeframe: Timeframe, since_ms: int | None, until_us: int
    ) -> Sequence[CandleSeen]:
        """Closed candles; history itself is never false."""
        return self._market.candles(spot_symbol, timeframe, since_ms, until_us)

    def running(self, spot_symbol: str, at_us: int) -> CandleSeen | None:
        """The running candle; volume 0 while nothing is traded."""
        shown = self._market.running(spot_symbol, at_us)
        for active in self._concerned(spot_symbol):
            if active.kind == "md.notrade" and shown is not None:
                self._faults.strikes(active)
                return replace(shown, volume=0.0)
            if active.kind == "px.wick" and active.text("target") == "spot" and shown is not None:
                self._faults.strikes(active)
                return _spike(shown, 1 + active.number("size_pct") / 100)
        return shown

    def spot_price(self, spot_symbol: str, at_us: int) -> float:
        """The spot path."""
        return self._market.spot_price(spot_symbol, at_us)

    def tick(self, futures_symbol: str, at_us: int) -> Tick:
        """The contract's prices."""
        tick = self._market.tick(futures_symbol, at_us)
        if self._faults.calm:
            return tick
        for active in self._concerned(self._spot_of[futures_symbol], futures_symbol):
            changed = _changed(active, tick)
            if changed is not tick:
                self._faults.strikes(active)
                tick = changed
        return tick

    def _concerned(self, *symbols: str) -> list[Active]:
        active = self._faults.active("market")
        return [a for a in active if a.get("sym", "any") in ("any", *symbols)] if active else active


def _changed(active: Active, tick: Tick) -> Tick:
    change = CHANGES.get(active.kind)
    return tick if change is None else change(active, tick)


def _freeze(active: Active, tick: Tick) -> Tick:
    first = active.memory.setdefault(f"frozen {tick.symbol}", tick)
    assert isinstance(first, Tick)
    return replace(tick, index=first.index) if active.text("which") == "index" else replace(tick, mark=first.mark)


def _part(active: Active, tick: Tick) -> Tick:
    return _moved(tick, Decimal(str(active.number("bps"))) / 10_000)


def _fund(active: Active, tick: Tick) -> Tick:
    return replace(tick, funding_rate=Decimal(str(active.number("rate_pct"))) / 100)


def _wick(active: Active, tick: Tick) -> Tick:
    target, size_pct = active.text("target"), Decimal(str(active.number("size_pct")))
    if target == "spot":
        return tick
    if target == "last":
        return replace(tick, last=_like(tick.last, tick.last * (1 + size_pct / 100)))
    return _moved(tick, size_pct / 100)


def _moved(tick: Tick, share: Decimal) -> Tick:
    """Mark, bid, ask and last moved; the index stays."""
    prices = {
        name: _like(getattr(tick, name), getattr(tick, name) * (1 + share)) for name in ("mark", "bid", "ask", "last")
    }
    return replace(tick, **prices)


def _book(active: Active, tick: Tick) -> Tick:
    if active.text("how") == "crossed":
        return replace(tick, bid=tick.ask, ask=tick.bid)
    share = THIN_PCT / 100
    return replace(tick, bid=_like(tick.bid, tick.bid * (1 - share)), ask=_like(tick.ask, tick.ask * (1 + share)))


def _like(price: Decimal, wanted: Decimal) -> Decimal:
    """`wanted` with the digits of `price`, above zero."""
    return max(
        wanted.quantize(price, ROUND_HALF_EVEN), price - price + Decimal(1).scaleb(int(price.as_tuple().exponent))
    )


def _spike(candle: CandleSeen, factor: float) -> CandleSeen:
    """The candle's last price far away for the moment."""
    price = round(candle.close * factor, 8)
    return replace(candle, close=price, high=max(candle.high, price), low=min(candle.low, price))


CHANGES: Final[Mapping[str, Callable[[Active, Tick], Tick]]] = {
    "px.wick": _wick,
    "px.freeze": _freeze,
    "px.basis": _part,
    "px.book": _book,
    "ex.funding": _fund,
}

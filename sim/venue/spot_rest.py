"""The public spot REST API of the venue: time, status, pairs, candles, ticker. Kraken's envelope."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from protocol.kraken import endpoints, spot
from protocol.kraken.wire import encode
from protocol.units import SECOND_US
from sim.venue.markets import rows
from sim.venue.spot_session import Desk

Body = dict[str, object]

LEGACY_ASSETS: Final = ("XBT", "ETH", "ETC", "LTC", "XRP", "XLM", "XDG", "XMR", "ZEC", "REP", "MLN")
"""Kraken writes these with a letter before: XXBTZUSD, XETHZUSD."""
ASSETS: Final = "/0/public/Assets"
TRADES_MOST: Final = 1000
SECONDS_MOST: Final = 10**12
"""A `since` of Trades below this is in seconds."""


def pair_name(symbol: str) -> str:
    """Kraken's internal name of a pair: `BTC/USD` -> `XXBTZUSD`, `SOL/USD` -> `SOLUSD`."""
    altname = endpoints.spot_rest_pair(symbol)
    quote = symbol.partition("/")[2]
    base = altname.removesuffix(quote)
    return f"X{base}Z{quote}" if base in LEGACY_ASSETS and quote == "USD" else altname


class SpotRest:
    """The table of calls and what each answers."""

    def __init__(self, venue: Desk) -> None:
        self.venue = venue
        self.calls: Mapping[str, Callable[[Mapping[str, str], int], Body]] = {
            endpoints.TIME: lambda _query, at: spot.write_time(at),
            endpoints.SYSTEM_STATUS: lambda _query, at: spot.write_system_status("online", at),
            ASSETS: self._assets,
            endpoints.ASSET_PAIRS: self._pairs,
            endpoints.OHLC: self._ohlc,
            endpoints.SPOT_TICKER: self._ticker,
            endpoints.SPOT_TRADES: self._trades,
        }

    def routes(self) -> list[Route]:
        """One route: the table decides."""
        return [Route("/0/public/{rest:path}", self.answer, methods=["GET"])]

    async def answer(self, request: Request) -> Response:
        """Any call under /0/public."""
        call = self.calls.get(request.scope["path"])
        if call is None:
            body = spot.write_spot_error("EGeneral:Unknown method")
        else:
            body = call(request.query_params, self.venue.now_us())
        return Response(encode(body), media_type="application/json")

    def _symbols(self, query: Mapping[str, str]) -> list[str] | None:
        """The symbols of the `pair` parameter, all when it is absent, None when one is unknown."""
        if "pair" not in query:
            return list(self.venue.spot_symbols)
        known = {
            name: symbol
            for symbol in self.venue.spot_symbols
            for name in (pair_name(symbol), endpoints.spot_rest_pair(symbol), symbol)
        }
        wanted = [known.get(name.strip().upper()) for name in query["pair"].split(",")]
        return None if None in wanted else [symbol for symbol in wanted if symbol is not None]

    def _assets(self, _query: Mapping[str, str], _at: int) -> Body:
        found: Body = {}
        for symbol in self.venue.spot_symbols:
            for name, places in zip(_assets_of(symbol), (5, 2), strict=True):
                found[asset_name(name)] = {
                    "aclass": "currency",
                    "altname": name,
                    "decimals": 10,
                    "display_decimals": places,
                    "status": "enabled",
                }
        return spot.write_spot_result(found)

    def _pairs(self, query: Mapping[str, str], _at: int) -> Body:
        symbols = self._symbols(query)
        if symbols is None:
            return spot.write_spot_error("EQuery:Unknown asset pair")
        pairs: Any = spot.write_asset_pairs([_pair(symbol) for symbol in symbols])["result"]
        for symbol in symbols:
            base, quote = _assets_of(symbol)
            pairs[pair_name(symbol)] |= {
                "aclass_base": "currency",
                "base": asset_name(base),
                "aclass_quote": "currency",
                "quote": asset_name(quote),
                "lot": "unit",
                "cost_decimals": 5,
                "lot_multiplier": 1,
                "leverage_buy": [],
                "leverage_sell": [],
                "fees": [[0, 0.4]],
                "fees_maker": [[0, 0.25]],
                "fee_volume_currency": "ZUSD",
                "margin_call": 80,
                "margin_stop": 40,
                "costmin": "0.5",
            }
        return spot.write_spot_result(pairs)

    def _ohlc(self, query: Mapping[str, str], at: int) -> Body:
        symbols = self._symbols(query) if "pair" in query else None
        if symbols is None or len(symbols) != 1:
            return spot.write_spot_error("EQuery:Unknown asset pair")
        try:
            timeframe = endpoints.TIMEFRAME[int(query.get("interval", "1"))]
            since_ms = int(query["since"]) * 1000 if "since" in query else None
        except (KeyError, ValueError):
            return spot.write_spot_error("EGeneral:Invalid arguments")
        candles = rows(self.venue.market, symbols[0], timeframe, since_ms, at, self.venue.rows_most)
        return spot.write_ohlc(pair_name(symbols[0]), candles)

    def _ticker(self, query: Mapping[str, str], at: int) -> Body:
        symbols = self._symbols(query)
        if symbols is None:
            return spot.write_spot_error("EQuery:Unknown asset pair")
        data = self.venue.spot_data
        return spot.write_spot_result({pair_name(symbol): data.rest_row(symbol, at) for symbol in symbols})

    def _trades(self, query: Mapping[str, str], at: int) -> Body:
        """The newest, or the first ones after `since` (nanoseconds; seconds are taken too)."""
        symbols = self._symbols(query) if "pair" in query else None
        if symbols is None or len(symbols) != 1:
            return spot.write_spot_error("EQuery:Unknown asset pair")
        since = query.get("since", "0")
        try:
            number, count = int(since), int(query.get("count", str(TRADES_MOST)))
        except ValueError:
            return spot.write_spot_error("EGeneral:Invalid arguments")
        since_us = number * SECOND_US if number < SECONDS_MOST else number // 1000
        trades = self.venue.spot_data.trades(symbols[0], since_us, at, max(1, min(count, TRADES_MOST)))
        return spot.write_trades(pair_name(symbols[0]), trades, since)


def asset_name(asset: str) -> str:
    """Kraken's internal name of an asset: `XBT` -> `XXBT`, `USD` -> `ZUSD`, `SOL` as it is."""
    return f"X{asset}" if asset in LEGACY_ASSETS else f"Z{asset}" if asset == "USD" else asset


def _assets_of(symbol: str) -> tuple[str, str]:
    """`BTC/USD` -> XBT and USD."""
    quote = symbol.partition("/")[2]
    return endpoints.spot_rest_pair(symbol).removesuffix(quote), quote


def _pair(symbol: str) -> spot.AssetPair:
    altname = endpoints.spot_rest_pair(symbol)
    quote = symbol.partition("/")[2]
    return spot.AssetPair(
        name=pair_name(symbol),
        altname=altname,
        wsname=f"{altname.removesuffix(quote)}/{quote}",
        status="online",
        pair_decimals=5,
        lot_decimals=8,
        tick_size=Decimal("0.00001"),
        ordermin=Decimal("0.0001"),
    )

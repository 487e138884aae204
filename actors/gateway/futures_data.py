"""Kraken futures beside orders and streams: market data and the account's own records, typed. Decides nothing, retries nothing.

Every method raises GatewayError (no usable answer), Refused (Kraken's word), MalformedPayload (unreadable).
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Final, Literal

from actors.gateway.http import FuturesHttp
from actors.gateway.quarantine import report
from protocol.kraken import account, batch, endpoints, futures_rest, markets, orders
from protocol.kraken.orders import Command
from protocol.kraken.wire import us_ms, write_iso_ms
from protocol.messages.base import Message
from protocol.messages.futures import Fill, TickerSeen
from protocol.ports import Clock

TickType = Literal["trade", "mark", "spot"]
LOG_ROWS: Final = 500


class FuturesData:
    """Over the same signed requests as `FuturesGateway`, and from the same purse."""

    def __init__(self, http: FuturesHttp, clock: Clock) -> None:
        self._http = http
        self._clock = clock

    # --- market data ------------------------------------------------------------------------------------------------

    async def tickers(self) -> Sequence[TickerSeen]:
        """Every perpetual's prices."""
        parsed = futures_rest.parse_tickers(await self._http.public(endpoints.TICKERS), self._clock.now_us())
        report(parsed.quarantined)
        return parsed.values

    async def order_book(self, symbol: str) -> markets.Book:
        """The whole book."""
        return markets.parse_order_book(await self._http.public(endpoints.ORDER_BOOK, {"symbol": symbol}), symbol)

    async def trades(self, symbol: str, before_us: int | None = None) -> Sequence[markets.Trade]:
        """Up to a hundred public trades, oldest first: the last ones, or the last before a moment."""
        query = {"symbol": symbol} | ({} if before_us is None else {"lastTime": write_iso_ms(before_us)})
        parsed = markets.parse_trade_history(await self._http.public(endpoints.TRADE_HISTORY, query), symbol)
        report(parsed.quarantined)
        return parsed.values

    async def executions(self, symbol: str, token: str | None = None) -> markets.TradePage:
        """One page of the market's history; `token` is the last page's `more`."""
        query = {} if token is None else {"continuation_token": token}
        path = endpoints.MARKET_EXECUTIONS.format(symbol=symbol)
        page = markets.parse_market_executions(await self._http.public(path, query), symbol)
        report(page.quarantined)
        return page

    async def funding_rates(self, symbol: str) -> Sequence[markets.FundingRate]:
        """Every rate there is, oldest first."""
        data = await self._http.public(endpoints.FUNDING_RATES, {"symbol": symbol})
        parsed = markets.parse_funding_rates(data)
        report(parsed.quarantined)
        return parsed.values

    async def chart(self, kind: TickType, symbol: str, resolution: str, from_us: int, to_us: int) -> markets.Candles:
        """One page of candles; ask again from the last one's end while there are `more`."""
        path = f"{endpoints.CHARTS}/{kind}/{symbol}/{resolution}"
        page = markets.parse_chart(await self._http.public(path, markets.chart_query(from_us, to_us)))
        report(page.quarantined)
        return page

    async def instruments_status(self) -> Sequence[markets.InstrumentStatus]:
        """Which contracts are dislocated or volatile."""
        parsed = markets.parse_instruments_status(await self._http.public(endpoints.INSTRUMENTS_STATUS))
        report(parsed.quarantined)
        return parsed.values

    async def fee_schedules(self) -> Sequence[markets.FeeSchedule]:
        """Fees by volume (deprecated by Kraken)."""
        parsed = markets.parse_fee_schedules(await self._http.public(endpoints.FEE_SCHEDULES))
        report(parsed.quarantined)
        return parsed.values

    async def notifications(self) -> Sequence[markets.Notice]:
        """What Kraken announces: maintenance, settlements."""
        parsed = markets.parse_notifications(await self._http.get(endpoints.NOTIFICATIONS))
        report(parsed.quarantined)
        return parsed.values

    # --- the account ------------------------------------------------------------------------------------------------

    async def account_log(self, since_us: int | None = None, rows: int = LOG_ROWS) -> Sequence[account.LogEntry]:
        """Bookings, oldest first; from the history API's own purse."""
        query = {"count": str(rows)} | ({} if since_us is None else {"since": str(us_ms(since_us))})
        cost = next(
            (cost for most, cost in endpoints.COST_ACCOUNT_LOG if rows <= most), endpoints.COST_ACCOUNT_LOG[-1][1]
        )
        parsed = account.parse_account_log(await self._http.get(endpoints.ACCOUNT_LOG, query, cost=cost))
        report(parsed.quarantined)
        return parsed.values

    async def fills(self, before_us: int | None = None) -> Sequence[Fill]:
        """Up to a hundred executions, oldest first: the last ones, or the last before a moment."""
        query = {} if before_us is None else {"lastFillTime": write_iso_ms(before_us)}
        cost = None if before_us is None else endpoints.COST_FILLS_PAGED
        parsed = futures_rest.parse_fills(await self._http.get(endpoints.FILLS, query, cost=cost))
        report(parsed.quarantined)
        return parsed.values

    async def orders_status(self, client_order_ids: Sequence[str]) -> Sequence[futures_rest.OrderStatus]:
        """Orders that are open or ended within five seconds; whoever is absent proves nothing."""
        form = [("cliOrdIds", name) for name in client_order_ids]
        parsed = futures_rest.parse_orders_status(await self._http.post(endpoints.ORDERS_STATUS, form, "read"))
        report(parsed.quarantined)
        return parsed.values

    async def leverage_preferences(self) -> dict[str, Decimal]:
        """Isolated symbols and their leverage; every other symbol is cross-margined."""
        parsed = account.parse_leverage_preferences(await self._http.get(endpoints.LEVERAGE_PREFERENCES))
        report(parsed.quarantined)
        return dict(parsed.values)

    async def set_leverage(self, symbol: str, leverage: Decimal | None) -> None:
        """Isolate a symbol at a leverage, or (None) return it to cross margin."""
        query = {"symbol": symbol} | ({} if leverage is None else {"maxLeverage": format(leverage, "f")})
        data = await self._http.put(endpoints.LEVERAGE_PREFERENCES, query, cost=endpoints.COST_PREFERENCE_SET)
        account.parse_done(data, "leveragepreferences")

    async def pnl_preferences(self) -> dict[str, str]:
        """In which currency a symbol's profit is paid."""
        parsed = account.parse_pnl_preferences(await self._http.get(endpoints.PNL_PREFERENCES))
        report(parsed.quarantined)
        return dict(parsed.values)

    # --- wishes that the daemon does not have, and a person's tools may ------------------------------------------------

    async def cancel_all(self, symbol: str | None = None) -> Sequence[str]:
        """Cancel every order, stops included; the ids said to be cancelled. No proof: read the open orders again."""
        form = {} if symbol is None else {"symbol": symbol}
        return orders.parse_cancel_all(await self._http.post(endpoints.CANCEL_ALL_ORDERS, form, "protect"))

    async def cancel_all_after(self, timeout_s: int) -> account.DeadMan:
        """Arm the dead man's switch, 0 disarms. It takes protective stops with it and leaves positions: see decisions."""
        form = {"timeout": str(timeout_s)}
        return account.parse_cancel_all_after(await self._http.post(endpoints.CANCEL_ALL_AFTER, form, "protect"))

    async def send_batch(self, commands: Sequence[Command]) -> Sequence[Message]:
        """Several wishes in one request, each answered for itself. A doubt is the caller's: nothing is looked up."""
        path, form = batch.write_batch(commands)
        cost = endpoints.COST[path] + len(commands)
        data = await self._http.post(path, form, "enter", cost=cost)
        parsed = batch.parse_batch(commands, data, self._clock.now_us())
        report(parsed.quarantined)
        return parsed.values

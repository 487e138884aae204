"""The venue's private reading calls: accounts, positions, orders, fills, preferences, history. Knows no signature."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Final, Protocol, TypeVar

from protocol.kraken import endpoints
from protocol.kraken import futures_rest as forms
from protocol.kraken.account import write_leverage_preferences, write_pnl_preferences
from protocol.kraken.markets import Notice, write_notifications
from protocol.kraken.wire import MalformedPayload, ms_us, parse_iso_us, us_ms, write_iso_ms
from protocol.messages.futures import Fill
from protocol.units import SECOND_US
from sim.engine import Engine, margin, sums
from sim.engine.state import Ended, LogEntry, Working
from sim.venue import rows
from sim.venue.asking import Ask, Body, Call
from sim.venue.rows import Row

STATUS_REMEMBERED_US: Final = 5 * SECOND_US
"""`orders/status` forgets an order this long after its end."""
ROWS_A_PAGE: Final = 100
LOG_ROWS: Final = 500
SCHEDULE_UID: Final = "simulated-fees"
T = TypeVar("T")


class Books(Protocol):
    """The venue as these calls see it."""

    engine: Engine
    leverage: dict[str, Decimal]
    """Contract -> the maximum its holder asked for."""
    pnl_currency: dict[str, str]
    notices: list[Notice]


class AccountCalls:
    """The table of private reading calls and what each answers."""

    def __init__(self, venue: Books) -> None:
        self.venue = venue
        history = f"{endpoints.HISTORY}/v"
        self.calls: Mapping[str, Call] = {
            endpoints.ACCOUNTS: self._accounts,
            endpoints.OPEN_POSITIONS: self._positions,
            endpoints.OPEN_ORDERS: self._orders,
            endpoints.FILLS: self._fills,
            endpoints.ORDERS_STATUS: self._status,
            endpoints.NOTIFICATIONS: lambda ask: write_notifications(venue.notices, ask.at),
            endpoints.FEE_VOLUMES: self._volumes,
            endpoints.LEVERAGE_PREFERENCES: self._leverage,
            endpoints.PNL_PREFERENCES: self._pnl,
            **dict.fromkeys((f"{history}2/account-log", f"{history}3/account-log"), self._log),
            f"{history}2/orders": self._order_events,
            f"{history}3/orders": self._order_events,
            f"{history}2/executions": self._executions,
            f"{history}3/executions": self._executions,
            f"{history}2/triggers": self._triggers,
            f"{history}3/triggers": self._triggers,
            f"{history}3/positions": self._position_events,
        }

    # --- now ----------------------------------------------------------------------------------------------------

    def _accounts(self, ask: Ask) -> Body:
        engine = self.venue.engine
        engine.state.now = ask.at
        account = engine.account()
        body = forms.write_accounts(account, ask.at)
        named = body["accounts"]
        if isinstance(named, dict):
            worth = account.equity_usd - account.available_margin_usd
            named["flex"] = {**named["flex"], "initialMarginWithOrders": worth}
            named |= {rows.margin_account(name): self._coin_account(name) for name in engine.state.coins}
        return body

    def _coin_account(self, name: str) -> Row:
        """The margin account of an inverse contract, in its coin."""
        engine = self.venue.engine
        account, coin = engine.account(name), rows.coin(name)
        tick = engine.state.ticks.get(name)
        liquidation = next((p.liquidation_price for p in engine.positions() if p.symbol == name), None)
        unrealized = account.equity_usd - account.balance_usd - account.unrealized_funding_usd
        return {
            "type": "marginAccount",
            "currency": coin,
            "balances": {coin: account.balance_usd, name.lower(): engine.held(name)},
            "auxiliary": {
                "usd": Decimal(0) if tick is None else account.equity_usd * tick.mark,
                "pv": account.equity_usd,
                "pnl": unrealized,
                "af": account.available_margin_usd,
                "funding": account.unrealized_funding_usd,
            },
            "marginRequirements": {
                "im": account.initial_margin_usd,
                "mm": account.maintenance_margin_usd,
                "lt": account.maintenance_margin_usd,
                "tt": Decimal(0),
            },
            "triggerEstimates": {"im": 0, "mm": 0, "lt": liquidation or 0, "tt": 0},
        }

    def _positions(self, ask: Ask) -> Body:
        engine = self.venue.engine
        engine.state.now = ask.at
        holdings = engine.state.holdings
        found = []
        for position in sorted(engine.positions(), key=lambda p: (-holdings[p.symbol].filled_at, p.symbol)):
            holding = holdings[position.symbol]
            coin = rows.coin(position.symbol).upper() if holding.inverse else "USD"
            leverage = self.venue.leverage.get(position.symbol)
            found.append(
                {
                    "side": "long" if position.size > 0 else "short",
                    "symbol": position.symbol,
                    "price": position.entry_price,
                    "fillTime": write_iso_ms(holding.filled_at),
                    "size": abs(position.size),
                    "unrealizedFunding": -margin.funding_due(engine.state, holding, ask.at),
                    "unrealizedPnl": position.unrealized_pnl_usd,
                    "pnlCurrency": self.venue.pnl_currency.get(position.symbol, coin),
                    **({} if leverage is None else {"maxFixedLeverage": leverage}),
                }
            )
        return forms.write_success(ask.at, openPositions=found)

    def _orders(self, ask: Ask) -> Body:
        working = self.venue.engine.state.working.values()
        return forms.write_success(ask.at, openOrders=[rows.open_order_row(order) for order in working])

    def _status(self, ask: Ask) -> Body:
        wanted = {*ask.all("orderIds"), *ask.all("cliOrdIds")}
        state = self.venue.engine.state
        records: list[Working | Ended] = [*state.working.values(), *self._recently_ended(ask.at)]
        found = [
            rows.status_row(record)
            for record in records
            if record.order.order_id in wanted or record.order.client_order_id in wanted
        ]
        return forms.write_success(ask.at, orders=found)

    def _recently_ended(self, at: int) -> Iterable[Ended]:
        return (ended for ended in self.venue.engine.state.ended.values() if at - ended.at <= STATUS_REMEMBERED_US)

    def _fills(self, ask: Ask) -> Body:
        """The newest hundred, or those before `lastFillTime`."""
        fills: Sequence[Fill] = self.venue.engine.state.fills
        before = ask.get("lastFillTime")
        if before is not None:
            moment = parse_iso_us(before, "fills", "lastFillTime")
            fills = [fill for fill in fills if fill.time < moment]
        body = forms.write_fills(fills[-ROWS_A_PAGE:], ask.at)
        for row in body["fills"] if isinstance(body["fills"], list) else ():
            if self.venue.engine.rules[row["symbol"]].inverse:
                row["fee_currency"] = rows.coin(row["symbol"]).upper()
        return body

    def _volumes(self, ask: Ask) -> Body:
        fills, named = self.venue.engine.state.fills, self.venue.engine.rules
        volume = sum((fill.size if named[fill.symbol].inverse else fill.size * fill.price for fill in fills), sums.ZERO)
        return forms.write_success(ask.at, volumesByFeeSchedule={SCHEDULE_UID: volume})

    # --- preferences ----------------------------------------------------------------------------------------------

    def _leverage(self, ask: Ask) -> Body:
        """Kept and told; margin and liquidation stay those of a cross-margined account."""
        if ask.method != "PUT":
            return write_leverage_preferences(self.venue.leverage, ask.at)
        symbol, most = self._preferred(ask), ask.number("maxLeverage")
        if most is None:
            self.venue.leverage.pop(symbol, None)
        elif 1 <= most <= 1 / self.venue.engine.rules[symbol].margin_levels[0][1]:
            self.venue.leverage[symbol] = most
        else:
            raise MalformedPayload("leveragepreferences", "maxLeverage", "beyond what the contract allows")
        return forms.write_success(ask.at)

    def _pnl(self, ask: Ask) -> Body:
        if ask.method != "PUT":
            return write_pnl_preferences(self.venue.pnl_currency, ask.at)
        self.venue.pnl_currency[self._preferred(ask)] = ask.needs("pnlPreference").upper()
        return forms.write_success(ask.at)

    def _preferred(self, ask: Ask) -> str:
        ask.needs("symbol")
        return ask.symbol(self.venue.engine.rules) or ""

    # --- history --------------------------------------------------------------------------------------------------

    def _log(self, ask: Ask) -> Body:
        logs = [
            row for entry in self.venue.engine.state.log for row in rows.log_rows(entry, rows.currency(entry.account))
        ]
        wanted = ask.get("info")
        logs = [row for row in logs if wanted is None or row["info"] == wanted]
        first, last = ask.whole("from", 0), ask.whole("to", 1 << 62)
        logs = [row for row in logs if isinstance(row["id"], int) and first <= row["id"] <= last]
        page = self._page(ask, logs, lambda row: parse_iso_us(row["date"], "account-log", "date"), LOG_ROWS)
        return {"accountUid": "simulated", "logs": page}

    def log_csv(self, ask: Ask) -> str:
        """The account log as Kraken's csv download."""
        logs = [
            row for entry in self.venue.engine.state.log for row in rows.log_rows(entry, rows.currency(entry.account))
        ]
        out = io.StringIO()
        names = list(logs[0]) if logs else ["id", "date", "asset", "contract", "info"]
        writer = csv.DictWriter(out, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(logs)
        return out.getvalue()

    def _order_events(self, ask: Ask) -> Body:
        events: list[tuple[int, Row]] = []
        state = self.venue.engine.state
        records: list[Working | Ended] = [*state.ended.values(), *state.working.values()]
        for record in records:
            at = record.at if isinstance(record, Ended) else record.updated_at
            order = rows.historical_order(record.order, record.placed_at, at)
            placed = {"OrderPlaced": {"order": order, "reason": "new_user_order", "reducedQuantity": "", "algoId": ""}}
            events.append((record.placed_at, _event(record.order.order_id, "placed", record.placed_at, placed)))
            if isinstance(record, Ended) and record.reason not in ("full_fill", "stop_order_triggered"):
                gone = {"OrderCancelled": {"order": order, "reason": record.reason}}
                events.append((at, _event(record.order.order_id, "gone", at, gone)))
        return self._elements(ask, events)

    def _executions(self, ask: Ask) -> Body:
        events = []
        for fill in self.venue.engine.state.fills:
            execution = {
                "uid": fill.fill_id,
                "timestamp": us_ms(fill.time),
                "quantity": str(fill.size),
                "price": str(fill.price),
                "usdValue": str(fill.size * fill.price),
                "orderUid": fill.order_id,
                "clientId": fill.client_order_id or "",
                "tradeable": fill.symbol,
                "direction": fill.side.capitalize(),
                "executionType": fill.fill_type,
                "fee": str(fill.fee_usd),
            }
            event = {"Execution": {"execution": execution, "takerReducedQuantity": ""}}
            events.append((fill.time, _event(fill.fill_id, "execution", fill.time, event)))
        return self._elements(ask, events)

    def _triggers(self, ask: Ask) -> Body:
        events = []
        state = self.venue.engine.state
        records: list[Working | Ended] = [*state.ended.values(), *state.working.values()]
        for record in records:
            if record.order.trigger is None:
                continue
            event = {"OrderTriggerPlaced": {"order": rows.trigger_row(record), "reason": "new_user_order"}}
            events.append((record.placed_at, _event(record.order.order_id, "trigger", record.placed_at, event)))
        return self._elements(ask, events)

    def _position_events(self, ask: Ask) -> Body:
        events = []
        for entry in self.venue.engine.state.log:
            change = "close" if not entry.new_size else "open" if not entry.old_size else _change(entry)
            event = {
                "PositionUpdate": {
                    "accountUid": "simulated",
                    "tradeable": entry.symbol,
                    "oldPosition": str(entry.old_size),
                    "oldAverageEntryPrice": str(entry.old_entry),
                    "newPosition": str(entry.new_size),
                    "newAverageEntryPrice": str(entry.new_entry),
                    "fillTime": us_ms(entry.at),
                    "fee": str(entry.fee or 0),
                    "feeCurrency": rows.currency(entry.account).upper(),
                    "realizedPnL": str(entry.realised or 0),
                    "positionChange": change,
                    "executionUid": entry.fill_id,
                    "executionPrice": str(entry.price or 0),
                    "executionSize": str(abs(entry.new_size - entry.old_size)),
                    "tradeType": "userExecution",
                    "fundingRealizationTime": us_ms(entry.at),
                    "realizedFunding": str(entry.funding or 0),
                    "timestamp": us_ms(entry.at),
                    "updateReason": "trade" if entry.fill_id else "periodic",
                }
            }
            events.append((entry.at, _event(f"position-{entry.number}", "position", entry.at, event)))
        return self._elements(ask, events)

    def _elements(self, ask: Ask, events: list[tuple[int, Row]]) -> Body:
        page = self._page(ask, sorted(events, key=lambda event: event[0]), lambda event: event[0], 1000)
        return {"accountUid": "simulated", "elements": [row for _, row in page], "len": len(page)}

    def _page(self, ask: Ask, items: list[T], moment: Callable[[T], int], most: int) -> list[T]:
        """`since`, `before`, `sort` and `count` as the history API means them; newest first unless told."""
        since, before = ms_us(ask.whole("since", 0)), ms_us(ask.whole("before", 1 << 52))
        inside = [item for item in items if since <= moment(item) <= before]
        if (ask.get("sort") or "desc").lower() != "asc":
            inside.reverse()
        return inside[: ask.whole("count", most)]


def _event(uid: str, kind: str, at: int, event: Mapping[str, object]) -> Row:
    return {"uid": f"{uid}-{kind}", "timestamp": us_ms(at), "event": event}


def _change(entry: LogEntry) -> str:
    if entry.old_size * entry.new_size < 0:
        return "reverse"
    if entry.old_size == entry.new_size:
        return "none"
    return "increase" if abs(entry.new_size) > abs(entry.old_size) else "decrease"

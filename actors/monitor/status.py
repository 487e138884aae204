"""What `status` shows, gathered from the messages that pass. Decides nothing."""

from __future__ import annotations

from decimal import Decimal
from typing import NamedTuple

import msgspec

from actors.gate import Gate
from protocol.messages.base import Message
from protocol.messages.control import KillProgress
from protocol.messages.futures import (
    Account,
    AccountChanged,
    ExchangeSnapshot,
    InstrumentsListed,
    MarkPrice,
    OpenOrder,
    OrderAccepted,
    OrderGone,
    Position,
    PositionChanged,
    Protected,
    TradeClosed,
)
from protocol.protection import STOP_TYPES


class Levels(NamedTuple):
    """Stop and target of a position as known at `at`; None: none rests on the exchange."""

    at: int
    stop_price: Decimal | None
    target_price: Decimal | None


class StatusPage:
    """`observe` each message that is said; `page` is plain data for JSON."""

    def __init__(self) -> None:
        self._at = 0
        self._marks: dict[str, Decimal] = {}
        self._positions: dict[str, Position] = {}
        self._protection: dict[str, Levels] = {}
        self._account: Account | None = None
        self._trades = 0
        self._pnl_usd = Decimal(0)
        self._kill: KillProgress | None = None
        self._orders: dict[str, OpenOrder] = {}
        self._margin: dict[str, str] = {}

    def observe(self, message: Message) -> None:
        """Take in what was said."""
        self._at = max(self._at, message.at)
        match message:
            case MarkPrice(symbol=symbol, mark=mark):
                self._marks[symbol] = mark
            case PositionChanged(position=position):
                self._positions[position.symbol] = position
                if not position.size:
                    self._protection.pop(position.symbol, None)
            case AccountChanged(account=account):
                self._account = account
            case Protected():
                self._protection[message.symbol] = Levels(message.at, message.stop_price, message.target_price)
            case OrderAccepted(order=order):
                self._orders[order.order_id] = order
            case OrderGone(order_id=order_id):
                self._orders.pop(order_id, None)
            case ExchangeSnapshot(began_at=began_at, orders=orders):
                self._orders = {order.order_id: order for order in orders}
                self._read(began_at, orders)
            case InstrumentsListed(instruments=instruments):
                self._margin = {rules.symbol: rules.margin for rules in instruments}
            case TradeClosed(pnl_usd=pnl_usd):
                self._trades += 1
                self._pnl_usd += pnl_usd
            case KillProgress():
                self._kill = message
            case _:
                pass

    def _read(self, began_at: int, orders: tuple[OpenOrder, ...]) -> None:
        """What rests on the exchange: after a restart nobody says `Protected` again, and a lost stop must not look held."""
        for symbol, position in self._positions.items():
            said = self._protection.get(symbol)
            if position.size and (said is None or said.at < began_at):
                closing = [o for o in orders if o.symbol == symbol and o.reduce_only]
                stop = next((o.stop_price for o in closing if o.order_type in STOP_TYPES), None)
                target = next((o.stop_price or o.limit_price for o in closing if o.order_type not in STOP_TYPES), None)
                self._protection[symbol] = Levels(began_at, stop, target)

    def page(self, gate: Gate, lives: dict[str, int]) -> dict[str, object]:
        """Everything a person asks first: may it trade, what is held, is it protected, what is it worth."""
        account = self._account
        return {
            "at": self._at,
            "entries": "open" if not gate.closed_by() else "closed",
            "closed_by": list(gate.closed_by()),
            "latched": gate.latched,
            "kill_done": self._kill is not None and self._kill.flat and not self._kill.working_orders,
            "leases": gate.leases(),
            "restarts": {name: life - 1 for name, life in lives.items()},
            "equity_usd": None if account is None else account.equity_usd,
            "available_margin_usd": None if account is None else account.available_margin_usd,
            "effective_leverage": self._effective_leverage(),
            "margin": dict(sorted(self._margin.items())),
            "positions": [self._row(p) for _, p in sorted(self._positions.items()) if p.size],
            "orders": [msgspec.structs.asdict(order) for _, order in sorted(self._orders.items())],
            "trades_closed": self._trades,
            "pnl_usd": self._pnl_usd,
        }

    def _effective_leverage(self) -> Decimal | None:
        if self._account is None or self._account.equity_usd <= 0:
            return None
        held = [(abs(p.size), self._marks.get(p.symbol)) for p in self._positions.values() if p.size]
        if any(mark is None for _, mark in held):
            return None
        notional = sum((size * mark for size, mark in held if mark is not None), Decimal(0))
        return round(notional / self._account.equity_usd, 4)

    def _row(self, position: Position) -> dict[str, object]:
        protection = self._protection.get(position.symbol)
        return {
            "symbol": position.symbol,
            "size": position.size,
            "entry_price": position.entry_price,
            "mark": self._marks.get(position.symbol),
            "liquidation_price": position.liquidation_price,
            "stop_price": None if protection is None else protection.stop_price,
            "target_price": None if protection is None else protection.target_price,
        }

"""Compares our view of the futures account with one snapshot of the exchange. Knows no history of snapshots and no timer."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

import msgspec

from protocol.ids import is_ours
from protocol.messages.control import Severity
from protocol.messages.futures import ExchangeSnapshot, OpenOrder
from protocol.protection import covers


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One difference, as `Drift` reports it. Equal subjects in consecutive passes are the same drift."""

    kind: str
    symbol: str
    ours: str
    theirs: str
    client_order_id: str | None = None
    order_id: str | None = None

    @property
    def subject(self) -> str:
        """What it is about, whatever the sizes."""
        return "|".join((self.kind, self.symbol, self.client_order_id or "", self.order_id or ""))


CODES: Final[dict[str, tuple[str, Severity]]] = {
    "position": ("RECON_DIFF", "warning"),
    "unprotected": ("NAKED_POSITION", "critical"),
    "missing_order": ("RECON_DIFF", "warning"),
    "foreign_order": ("FOREIGN_ORDER", "critical"),
    "foreign_position": ("FOREIGN_POSITION", "critical"),
    "orphan_order": ("STOP_EXCESS", "critical"),
    "stuck": ("RECON_STUCK", "critical"),
}
"""Alert code and severity of each kind of drift (fault catalogue, section 2)."""

ADVICE: Final[dict[str, str]] = {
    "position": "the exchange's size is adopted",
    "unprotected": "no reduce-only stop on mark covers it",
    "missing_order": "two readings do not list it and no fill explains it",
    "foreign_order": "not placed by this system; cancel it or expect its effects",
    "foreign_position": "no fill of this system explains it; close it by hand or let the kill switch do so",
    "orphan_order": "reduce-only and nothing to reduce",
    "stuck": "the same drift in three passes: look at it",
}


def positions_differ(ours: dict[str, Decimal], theirs: dict[str, Decimal], symbols: list[str]) -> list[Finding]:
    """Sizes that are not equal; a position where our fills leave none is foreign."""
    findings = []
    for symbol in symbols:
        mine, real = ours.get(symbol, Decimal(0)), theirs.get(symbol, Decimal(0))
        if mine != real:
            kind = "position" if mine else "foreign_position"
            findings.append(Finding(kind=kind, symbol=symbol, ours=str(mine), theirs=str(real)))
    return findings


def unprotected(snapshot: ExchangeSnapshot, symbols: list[str]) -> list[Finding]:
    """Open positions whose stops do not cover the whole of them."""
    findings = []
    for position in snapshot.positions:
        cover = sum(
            (o.size for o in snapshot.orders if o.symbol == position.symbol and covers(o, position.size)), Decimal(0)
        )
        if position.symbol in symbols and cover < abs(position.size):
            findings.append(
                Finding(kind="unprotected", symbol=position.symbol, ours=str(cover), theirs=str(position.size))
            )
    return findings


def foreign_orders(snapshot: ExchangeSnapshot, known: dict[str, str | None]) -> list[Finding]:
    """Orders this system did not make. `known`: order id -> client id, for lists that leave the client id out."""
    return [
        Finding(
            kind="foreign_order",
            symbol=order.symbol,
            ours="none",
            theirs=describe(order),
            client_order_id=order.client_order_id,
            order_id=order.order_id,
        )
        for order in snapshot.orders
        if not is_ours(order.client_order_id or known.get(order.order_id))
    ]


def describe(order: OpenOrder) -> str:
    """The order's terms in one line."""
    price = order.stop_price if order.limit_price is None else order.limit_price
    return f"{order.side} {order.size} {order.order_type} at {price}"

"""The ways our view and the exchange can differ, as one table, and what finds each in one snapshot. Knows no timer and no past."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Final, Literal, NamedTuple

import msgspec

from protocol.ids import is_ours
from protocol.margin import asked_usd, unexplained_usd
from protocol.messages.control import DriftKind, DriftPolicy, Severity
from protocol.messages.futures import ExchangeSnapshot, Instrument, OpenOrder
from protocol.protection import covers

EQUITY_LEAST_USD: Final = Decimal(1)


class Difference(NamedTuple):
    """What is said of one kind of difference, who mends it, and what follows when it does not go away.

    `lasting`: "kill" when a difference that we should have mended stays, "kill soon" when it also leaves a position without protection,
    "alert" when mending is not ours.
    """

    code: str
    severity: Severity
    correction: str
    lasting: Literal["kill", "kill soon", "alert"]


DIFFERENCES: Final[dict[DriftKind, Difference]] = {
    "ghost_position": Difference("RECON_DIFF", "warning", "flat is believed; what rests for it is cancelled", "kill"),
    "size_mismatch": Difference("RECON_DIFF", "warning", "the exchange's size is adopted, the stop follows it", "kill"),
    "side_mismatch": Difference("RECON_DIFF", "critical", "our trade is over, the other side is foreign", "kill"),
    "entry_mismatch": Difference("RECON_DIFF", "warning", "the exchange's entry price is adopted", "kill"),
    "foreign_position": Difference("FOREIGN_POSITION", "critical", "by `execution.foreign_positions`", "kill"),
    "missing_stop": Difference("NAKED_POSITION", "critical", "the executor places a stop or leaves", "kill soon"),
    "missing_order": Difference("RECON_DIFF", "warning", "two readings lack it: it is over, or sent anew", "kill"),
    "order_mismatch": Difference("RECON_DIFF", "warning", "the exchange's terms are adopted, then mended", "kill"),
    "orphan_order": Difference("STOP_EXCESS", "critical", "nothing to reduce: it is cancelled", "kill"),
    "foreign_order": Difference("FOREIGN_ORDER", "critical", "by `execution.foreign_orders`", "kill"),
    "missed_fill": Difference("RECON_DIFF", "warning", "the stream never told it; booked from the list", "kill"),
    "margin_mismatch": Difference(
        "RECON_DIFF",
        "critical",
        "the rules are read again; else a position or a leverage preference is hidden: look at the account",
        "alert",
    ),
    "equity_mismatch": Difference(
        "EQUITY_MISMATCH",
        "critical",
        "nothing listed explains it: look at the account",
        "alert",
    ),
    "stuck": Difference("RECON_STUCK", "critical", "the same difference pass after pass: look at it", "alert"),
}
"""Alert codes and severities are those of the fault catalogue, section 2."""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One difference, as `Drift` reports it. Equal subjects in consecutive passes are the same drift."""

    kind: DriftKind
    symbol: str
    ours: str
    theirs: str
    client_order_id: str | None = None
    order_id: str | None = None
    policy: DriftPolicy = "correct"

    @property
    def subject(self) -> str:
        """What it is about, whatever the sizes."""
        return "|".join((self.kind, self.symbol, self.client_order_id or "", self.order_id or ""))


def position_kind(mine: Decimal, real: Decimal) -> DriftKind:
    """What two unequal signed sizes are to one another."""
    if not real:
        return "ghost_position"
    if not mine:
        return "foreign_position"
    return "size_mismatch" if (mine > 0) == (real > 0) else "side_mismatch"


def positions_differ(ours: dict[str, Decimal], theirs: dict[str, Decimal], symbols: Sequence[str]) -> list[Finding]:
    """Signed sizes that are not equal."""
    pairs = ((symbol, ours.get(symbol, Decimal(0)), theirs.get(symbol, Decimal(0))) for symbol in symbols)
    return [
        Finding(kind=position_kind(mine, real), symbol=symbol, ours=str(mine), theirs=str(real))
        for symbol, mine, real in pairs
        if mine != real
    ]


def missing_stops(snapshot: ExchangeSnapshot, symbols: Sequence[str]) -> list[Finding]:
    """Open positions whose stops do not cover the whole of them."""
    findings = []
    for position in snapshot.positions:
        cover = sum(
            (o.size for o in snapshot.orders if o.symbol == position.symbol and covers(o, position.size)), Decimal(0)
        )
        if position.symbol in symbols and cover < abs(position.size):
            findings.append(
                Finding(kind="missing_stop", symbol=position.symbol, ours=str(cover), theirs=str(position.size))
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


def margin_differs(snapshot: ExchangeSnapshot, instruments: dict[str, Instrument]) -> list[Finding]:
    """Initial margin in use that the listed positions do not explain, or positions that use none."""
    asked = asked_usd(snapshot.positions, instruments)
    used = snapshot.account.initial_margin_usd
    if asked is None or not unexplained_usd(used, asked):
        return []
    return [Finding(kind="margin_mismatch", symbol="", ours=f"{asked:.2f} USD", theirs=f"{used:.2f} USD")]


def equity_differs(snapshot: ExchangeSnapshot) -> list[Finding]:
    """Equity that is not balance and unrealised funding while nothing is held: with a position it moves between two readings."""
    if any(position.size for position in snapshot.positions):
        return []
    account = snapshot.account
    difference = account.equity_usd - account.balance_usd - account.unrealized_funding_usd
    if abs(difference) <= EQUITY_LEAST_USD:
        return []
    ours = f"balance {account.balance_usd:.2f} + unrealised 0 + funding {account.unrealized_funding_usd:.2f} USD"
    theirs = f"equity {account.equity_usd:.2f} USD, {difference:+.2f}"
    return [Finding(kind="equity_mismatch", symbol="", ours=ours, theirs=theirs)]


def leverage_x(snapshot: ExchangeSnapshot, instruments: dict[str, Instrument]) -> Decimal | None:
    """Effective leverage: notional at entry prices / equity; None while a contract's rules or equity are unknown."""
    held = [position for position in snapshot.positions if position.size]
    if snapshot.account.equity_usd <= 0 or any(position.symbol not in instruments for position in held):
        return None
    notional = sum((abs(p.size) * p.entry_price * instruments[p.symbol].contract_size for p in held), Decimal(0))
    return notional / snapshot.account.equity_usd


def describe(order: OpenOrder) -> str:
    """The order's terms in one line; the size is the whole, filled part included, so that a fill changes nothing."""
    price = order.stop_price if order.limit_price is None else order.limit_price
    return f"{order.side} {order.size + order.filled} {order.order_type} at {price}"

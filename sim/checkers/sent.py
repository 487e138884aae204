"""A request that changes something, as it left: its form, and what the exchange's books were at that moment. Knows nothing of why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from sim.engine import Engine
from sim.faults.hosting import LIFE
from sim.faults.network import Request

ORDER_KINDS: Final = frozenset({"send", "edit", "cancel", "cancel_all"})


@dataclass(frozen=True)
class Sent:
    """`symbol` and `order_type` of an edit or a cancel are those of the order it names. `positions` are the exchange's."""

    at: int
    life: int
    op: str
    role: str
    symbol: str
    name: str
    order_id: str
    side: str
    size: Decimal
    order_type: str
    reduce_only: bool
    trigger: str
    stop_price: Decimal | None
    limit_price: Decimal | None
    positions: dict[str, Decimal]

    @property
    def terms(self) -> tuple[object, ...]:
        """What an id may stand for once."""
        return self.symbol, self.side, self.size, self.order_type, self.reduce_only, self.stop_price, self.limit_price

    @property
    def is_entry(self) -> bool:
        """Whether it can open or enlarge a position."""
        return self.op == "send" and not self.reduce_only


def sent_of(request: Request, engine: Engine) -> Sent:
    """A request of `ORDER_KINDS` as it leaves."""
    form = request.form
    symbol, order_type = _named(form, engine)
    return Sent(
        at=request.at,
        life=LIFE.get(),
        op=request.op,
        role=request.role,
        symbol=form.get("symbol", symbol).upper(),
        name=form.get("cliOrdId", ""),
        order_id=form.get("order_id", form.get("orderId", "")),
        side=form.get("side", ""),
        size=Decimal(form.get("size", "0")),
        order_type=form.get("orderType", order_type),
        reduce_only=form.get("reduceOnly", "false") == "true",
        trigger=form.get("triggerSignal", ""),
        stop_price=_price(form, "stopPrice"),
        limit_price=_price(form, "limitPrice"),
        positions={symbol: holding.size for symbol, holding in engine.state.holdings.items()},
    )


def _named(form: Mapping[str, str], engine: Engine) -> tuple[str, str]:
    """Symbol and type of the resting order that a form names."""
    wanted = {form[key] for key in ("orderId", "order_id", "cliOrdId") if key in form}
    for working in engine.state.working.values():
        if {working.order.order_id, working.order.client_order_id} & wanted:
            return working.order.symbol, working.order.order_type
    return "", ""


def _price(form: Mapping[str, str], name: str) -> Decimal | None:
    return Decimal(form[name]) if name in form else None

"""The status page never claims a stop that the exchange does not show."""

from __future__ import annotations

from decimal import Decimal

from actors.gate import Gate
from actors.monitor.status import StatusPage
from protocol.messages.base import from_edge
from protocol.messages.control import KillProgress
from protocol.messages.futures import (
    Account,
    ExchangeSnapshot,
    InstrumentsListed,
    OpenOrder,
    Position,
    PositionChanged,
    Protected,
)
from protocol.ports import LatchState
from tests.fakes import facts

LONG = Position(symbol="PF_XBTUSD", size=Decimal(1), entry_price=Decimal(100))
STOP = OpenOrder(
    order_id="1",
    client_order_id=None,
    symbol="PF_XBTUSD",
    side="sell",
    order_type="stp",
    size=Decimal(1),
    filled=Decimal(0),
    limit_price=None,
    stop_price=Decimal(90),
    reduce_only=True,
    trigger="mark",
)
NOTHING = Decimal(0)
ACCOUNT = Account(
    equity_usd=NOTHING,
    balance_usd=NOTHING,
    available_margin_usd=NOTHING,
    initial_margin_usd=NOTHING,
    maintenance_margin_usd=NOTHING,
)


def truth(at: int, *orders: OpenOrder) -> ExchangeSnapshot:
    """What the exchange showed at a reading begun at `at`."""
    return from_edge(ExchangeSnapshot, at, "t", at, began_at=at, orders=orders, positions=(LONG,), account=ACCOUNT)


def stop_of(page: StatusPage) -> object:
    """The stop of the one position shown."""
    (row,) = page.page(Gate((), LatchState(latched=False)), {})["positions"]  # type: ignore[misc, attr-defined]
    return row["stop_price"]


def held() -> StatusPage:
    """A page on which one position is open."""
    page = StatusPage()
    page.observe(from_edge(PositionChanged, 1, "p", position=LONG))
    return page


def test_stop_from_the_exchange() -> None:
    """After a restart the stop is read from the exchange, and one that is gone is no longer shown."""
    page = held()
    assert stop_of(page) is None
    page.observe(truth(2, STOP))
    assert stop_of(page) == Decimal(90)
    page.observe(truth(3))
    assert stop_of(page) is None


def test_older_reading() -> None:
    """A reading begun before the stop was told does not take it away."""
    page = held()
    told = Protected(
        id="1",
        cause="",
        at=5,
        trade_id="t",
        symbol="PF_XBTUSD",
        size=Decimal(1),
        stop_price=Decimal(91),
        target_price=Decimal(120),
    )
    page.observe(told)
    page.observe(truth(4))
    assert stop_of(page) == Decimal(91)


def test_kill_done() -> None:
    """The kill is done only when nothing is open and no order works."""
    page, gate = StatusPage(), Gate((), LatchState(latched=True))
    for working, done in ((1, False), (0, True)):
        page.observe(from_edge(KillProgress, 1, working, flat=True, open_positions=(), working_orders=working))
        assert page.page(gate, {})["kill_done"] is done


def test_how_the_account_margins_a_contract_is_shown() -> None:
    """Cross, isolated or unknown, as it was listed last: no entry leaves in the latter two."""
    page = StatusPage()
    isolated = facts.instrument("PF_XBTUSD", isolated_x=Decimal(3))
    unknown = facts.instrument("PF_ETHUSD", margin_known=False)
    for rules in ((facts.instrument("PF_XBTUSD"),), (isolated, unknown)):
        page.observe(from_edge(InstrumentsListed, 1, "i", instruments=rules))
    shown = page.page(Gate((), LatchState(latched=False)), {})["margin"]
    assert shown == {"PF_ETHUSD": "unknown", "PF_XBTUSD": "isolated at 3x"}

"""The reconciler reports every difference between our view and the exchange, and never mistakes haste for drift."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from actors.reconciler import decide
from actors.reconciler.decide import GONE_KEPT, State
from config.settings import ExecutionSettings, Settings
from protocol.ids import client_order_id
from protocol.messages.base import Message, from_edge
from protocol.messages.control import Alert, Drift, Reconciled, Started, WakeAt, Woken
from protocol.messages.futures import (
    Account,
    ExchangeSnapshot,
    Fill,
    Filled,
    MarkPrice,
    OpenOrder,
    OrderAccepted,
    OrderGone,
    OrderRejected,
    OrderUnknown,
    Position,
    PositionChanged,
    RequestSnapshot,
    SnapshotMissed,
)

XBT = "PF_XBTUSD"
SECOND = 1_000_000
T = 1_767_571_200 * SECOND
ENTRY, STOP = client_order_id("signal", "entry"), client_order_id("signal", "stop")
D = Decimal
SETTINGS = Settings(execution=ExecutionSettings(reconcile_s=15, process_before_s=5))
ACCOUNT = Account(
    equity_usd=D(1000),
    balance_usd=D(1000),
    available_margin_usd=D(1000),
    initial_margin_usd=D(0),
    maintenance_margin_usd=D(0),
)


def order(order_id: str, name: str | None, **values: Any) -> OpenOrder:
    """A resting limit entry."""
    fields: dict[str, Any] = {
        "symbol": XBT,
        "side": "buy",
        "order_type": "lmt",
        "size": D(1),
        "filled": D(0),
        "limit_price": D(100),
        "stop_price": None,
        "reduce_only": False,
        "trigger": None,
    }
    return OpenOrder(order_id=order_id, client_order_id=name, **(fields | values))


def stop(size: int = 1, name: str | None = STOP, **values: Any) -> OpenOrder:
    """The protective stop of a long."""
    fields: dict[str, Any] = {
        "side": "sell",
        "order_type": "stop",
        "size": D(size),
        "limit_price": None,
        "stop_price": D(90),
        "reduce_only": True,
        "trigger": "mark",
    }
    return order("stop", name, **(fields | values))


def position(size: int) -> Position:
    """A position at 100."""
    return Position(symbol=XBT, size=D(size), entry_price=D(100))


def snapshot(began_s: float, size: int = 0, *orders: OpenOrder) -> ExchangeSnapshot:
    """The truth read from `began_s` seconds on, in hand half a second later."""
    began_at = T + round(began_s * SECOND)
    positions = (position(size),) if size else ()
    return from_edge(
        ExchangeSnapshot,
        began_at + SECOND // 2,
        began_at,
        began_at=began_at,
        orders=orders,
        positions=positions,
        account=ACCOUNT,
    )


def filled(at_s: float, size: int, name: str | None = ENTRY, order_id: str = "o1", fill_type: str = "taker") -> Filled:
    """An execution, bought above zero, sold below."""
    at = T + round(at_s * SECOND)
    fill = Fill(
        fill_id=f"f{at}",
        order_id=order_id,
        client_order_id=name,
        symbol=XBT,
        side="buy" if size > 0 else "sell",
        size=D(abs(size)),
        price=D(100),
        time=at,
        fill_type=fill_type,
    )
    return from_edge(Filled, at, at, fill=fill)


def accepted(at_s: float, resting: OpenOrder) -> OrderAccepted:
    """The order rests."""
    return from_edge(OrderAccepted, T + round(at_s * SECOND), resting.order_id, at_s, order=resting)


def gone(at_s: float, order_id: str, name: str | None) -> OrderGone:
    """The order left."""
    at = T + round(at_s * SECOND)
    return from_edge(OrderGone, at, at, client_order_id=name, order_id=order_id, symbol=XBT, reason="x")


def unknown(at_s: float, wish: str = "place") -> OrderUnknown:
    """We asked and do not know."""
    at = T + round(at_s * SECOND)
    return from_edge(OrderUnknown, at, at, client_order_id=ENTRY, symbol=XBT, wish=wish)


def run(state: State, *messages: Message) -> tuple[State, list[Message]]:
    """Every answer to the messages, in order."""
    out: list[Message] = []
    for message in messages:
        state, answers = decide.step(state, message)
        out.extend(answers)
    return state, out


def fresh() -> State:
    """Before the first snapshot."""
    return decide.initial(SETTINGS)


def adopted(size: int = 0, *orders: OpenOrder) -> State:
    """After a first snapshot at second 0."""
    return run(fresh(), snapshot(0, size, *orders))[0]


def drifts(messages: list[Message]) -> list[tuple[str, str, str]]:
    """Kind, ours and theirs of every drift."""
    return [(m.kind, m.ours, m.theirs) for m in messages if isinstance(m, Drift)]


def codes(messages: list[Message]) -> list[str]:
    """Codes of the alerts."""
    return [m.code for m in messages if isinstance(m, Alert)]


def clean(messages: list[Message]) -> list[bool]:
    """Whether each pass was clean."""
    return [m.clean for m in messages if isinstance(m, Reconciled)]


def wakes(messages: list[Message]) -> list[tuple[str, int]]:
    """Timers asked for, due in seconds after T."""
    return [(m.key, (m.due - T) // SECOND) for m in messages if isinstance(m, WakeAt)]


# --- when it looks ---------------------------------------------------------------------------------------------


def test_it_looks_at_the_start_and_every_period() -> None:
    """Each look asks for the truth and sets the next timer."""
    _, out = run(fresh(), from_edge(Started, T), from_edge(Woken, T + 15 * SECOND, key="reconcile"))

    assert [type(m) for m in out] == [RequestSnapshot, WakeAt, RequestSnapshot, WakeAt]
    assert wakes(out) == [("reconcile", 15), ("reconcile", 30)]


@pytest.mark.parametrize("event", [filled(10, 1), gone(10, "o1", ENTRY), unknown(10)])
def test_it_looks_soon_after_an_event_that_may_leave_a_difference(event: Message) -> None:
    """Fills, departures and doubts are checked a second later."""
    state, out = run(adopted(), event)

    assert wakes(out) == [("soon", 11)]
    assert [type(m) for m in run(state, from_edge(Woken, T, key="soon"))[1]] == [RequestSnapshot]


def test_a_pass_ends_with_reconciled_and_an_older_snapshot_is_no_pass() -> None:
    """Snapshots that overtake one another are judged once, in order of their beginning."""
    state, out = run(fresh(), snapshot(5))
    assert [(m.began_at, m.clean) for m in out if isinstance(m, Reconciled)] == [(T + 5 * SECOND, True)]

    assert run(state, snapshot(5), snapshot(4)) == (state, [])


def test_missed_snapshots_alert_at_the_third_in_a_row() -> None:
    """No truth is no pass; the third miss is told once, and a truth begins the count again."""
    miss = from_edge(SnapshotMissed, T, reason="timeout")
    state, out = run(adopted(), *[miss] * 5)
    assert [type(m) for m in out] == [Alert]
    assert codes(out) == ["RECON_STUCK"]

    assert codes(run(state, snapshot(9), miss, miss)[1]) == []


# --- positions -------------------------------------------------------------------------------------------------


def test_agreement_is_clean() -> None:
    """A position by our fills, covered by our stop, equals the exchange's."""
    _, out = run(adopted(), filled(1, 1), accepted(1.1, stop()), snapshot(2, 1, stop()))

    assert drifts(out) == []
    assert clean(out) == [True]


def test_a_different_size_is_drift_and_the_exchange_is_adopted() -> None:
    """Reported once, because the next view starts from the truth."""
    _, out = run(adopted(2, stop(2)), snapshot(1, 1, stop(2)), snapshot(2, 1, stop(2)))

    assert drifts(out) == [("position", "2", "1")]
    assert codes(out) == ["RECON_DIFF"]
    assert clean(out) == [False, True]


def test_a_position_without_our_fills_is_foreign() -> None:
    """Where our fills leave nothing, what the exchange holds is somebody else's."""
    _, out = run(adopted(), snapshot(1, 3, stop(3)))

    assert drifts(out) == [("foreign_position", "0", "3")]
    assert codes(out) == ["FOREIGN_POSITION"]


@pytest.mark.parametrize(
    "event",
    [
        filled(2, 1),
        from_edge(PositionChanged, T + 2 * SECOND, position=position(1)),
        from_edge(OrderRejected, T + 2 * SECOND, client_order_id=STOP, symbol=XBT, wish="place", status="x"),
    ],
)
def test_what_changed_after_the_reading_began_is_not_judged(event: Message) -> None:
    """A snapshot that is older than our knowledge says nothing about it."""
    _, out = run(adopted(), event, snapshot(1, 5))

    assert drifts(out) == []
    assert clean(out) == [True]


def test_the_first_truth_is_adopted() -> None:
    """After a restart there is no view to differ; only what the exchange shows by itself is judged."""
    foreign = order("o9", "someone")
    _, out = run(fresh(), snapshot(0, 1, foreign))

    assert [kind for kind, _, _ in drifts(out)] == ["unprotected", "foreign_order"]
    assert sorted(codes(out)) == ["FOREIGN_ORDER", "NAKED_POSITION"]


def test_fills_told_with_the_first_truth_are_no_drift() -> None:
    """What filled while we were down comes with the snapshot; the size is adopted when the symbol is quiet."""
    _, out = run(fresh(), filled(0.5, -1), snapshot(0), snapshot(2), snapshot(3, 1, stop()))

    assert drifts(out) == [("foreign_position", "0", "1")]
    assert clean(out) == [True, True, False]


@pytest.mark.parametrize(
    ("fill", "code"),
    [
        (filled(1, -1, name=None, order_id="o9"), "FOREIGN_FILL"),
        (filled(1, -1, name=None, fill_type="liquidation"), "LIQUIDATED"),
        (filled(1, -1, name=None, fill_type="unwindBankrupt"), "DELEVERAGED"),
        (filled(1, -1, name=None, fill_type="assignee"), "ASSIGNED"),
    ],
)
def test_an_execution_not_asked_for_is_reported_and_shows_as_drift(fill: Filled, code: str) -> None:
    """It is not booked as ours, so that whoever acts on drift hears the new size."""
    _, out = run(adopted(2, stop(2)), fill, snapshot(2, 1, stop(2)))

    assert codes(out) == [code, "RECON_DIFF"]
    assert drifts(out) == [("position", "2", "1")]


def test_a_fill_without_a_client_id_is_ours_when_its_order_was() -> None:
    """Lists leave the client id out; the order's own events named it, even after it left."""
    _, out = run(
        adopted(1, stop()),
        accepted(1, stop()),
        gone(2, "stop", None),
        filled(3, -1, name=None, order_id="stop"),
        snapshot(4),
    )

    assert codes(out) == []
    assert drifts(out) == []


# --- protection ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "orders",
    [
        (),
        (stop(1),),
        (stop(2, reduce_only=False),),
        (stop(2, trigger="last"),),
        (stop(2, side="buy"),),
        (stop(2, order_type="take_profit"),),
        (stop(2, symbol="PF_ETHUSD"),),
    ],
)
def test_a_position_not_covered_by_its_stops_is_unprotected(orders: tuple[OpenOrder, ...]) -> None:
    """Cover is reduce-only, of stop type, triggered by mark, on the other side and of the full size."""
    _, out = run(adopted(2, stop(2)), snapshot(1, 2, *orders))

    assert "unprotected" in [kind for kind, _, _ in drifts(out)]
    assert "NAKED_POSITION" in codes(out)


def test_two_stops_may_cover_a_short_together() -> None:
    """Cover is summed, on the buying side."""
    stops = [stop(1, side="buy"), stop(2, side="buy", order_type="stp", name=ENTRY)]

    assert drifts(run(adopted(-3, *stops), snapshot(1, -3, *stops))[1]) == []


def test_lasting_drift_alerts_once_and_is_stuck_in_the_third_pass() -> None:
    """Drift is repeated for whoever can act, the alert is not; a pass that could not judge does not end it."""
    state, out = run(fresh(), snapshot(1, 1), snapshot(2, 1))
    assert (len(drifts(out)), codes(out)) == (2, ["NAKED_POSITION"])

    changed = from_edge(PositionChanged, T + 4 * SECOND, position=position(1))
    state, out = run(state, changed, snapshot(3, 1), snapshot(5, 1))
    assert [kind for kind, _, _ in drifts(out)] == ["unprotected", "stuck"]
    assert codes(out) == ["RECON_STUCK"]

    _, out = run(state, snapshot(6, 1), snapshot(7, 1, stop()), snapshot(8, 1))
    assert codes(out) == ["NAKED_POSITION"]


# --- orders ----------------------------------------------------------------------------------------------------


def test_an_order_missing_twice_is_reported() -> None:
    """One list is no proof, and the second look comes soon."""
    state, out = run(adopted(), accepted(1, order("o1", ENTRY)), snapshot(2))
    assert drifts(out) == []
    assert wakes(out) == [("soon", 3)]

    state, out = run(state, snapshot(4))
    assert drifts(out) == [("missing_order", "buy 1 lmt at 100", "absent")]
    assert [m.order_id for m in out if isinstance(m, Drift)] == ["o1"]

    assert drifts(run(state, snapshot(5))[1]) == []


@pytest.mark.parametrize(
    "between",
    [
        [snapshot(2), snapshot(3, 0, order("o1", ENTRY)), snapshot(4)],  # listed again
        [snapshot(2), accepted(2.7, order("o1", ENTRY)), snapshot(2.8)],  # changed since
        [snapshot(0.5), snapshot(0.6)],  # begun before its last event
        [snapshot(2), gone(3, "o1", ENTRY), snapshot(4)],  # told as gone
    ],
)
def test_an_order_is_not_missing_without_two_later_lists(between: list[Message]) -> None:
    """Any sign of life, or its proper end, stops the count."""
    assert drifts(run(adopted(), accepted(1, order("o1", ENTRY)), *between)[1]) == []


def test_a_fill_explains_an_absence() -> None:
    """An order that executed left the list rightly."""
    _, out = run(adopted(), accepted(1, order("o1", ENTRY)), filled(2, 1), *(snapshot(s, 1, stop()) for s in (3, 4, 5)))

    assert drifts(out) == []


def test_an_unknown_placement_is_settled_as_absent_by_two_late_lists() -> None:
    """Not before it can no longer arrive: the deadline it carried must have passed."""
    state, out = run(adopted(), unknown(1), snapshot(2), snapshot(6))
    assert drifts(out) == []
    assert wakes(out)[-1] == ("soon", 7)

    state, out = run(state, snapshot(7))
    assert drifts(out) == []

    state, out = run(state, snapshot(8))
    assert drifts(out) == [("missing_order", "unknown", "absent")]
    assert [m.client_order_id for m in out if isinstance(m, Drift)] == [ENTRY]
    assert state.unknown == {}


@pytest.mark.parametrize(
    "evidence",
    [
        accepted(2, order("o1", ENTRY)),
        filled(2, 1),
        gone(2, "o1", ENTRY),
        from_edge(OrderRejected, T + 2 * SECOND, client_order_id=ENTRY, symbol=XBT, wish="place", status="x"),
        snapshot(2, 0, order("o1", ENTRY)),
    ],
)
def test_evidence_settles_an_unknown_placement(evidence: Message) -> None:
    """Its order, its fill, its end, its refusal or its place in a list."""
    assert run(adopted(), unknown(1), evidence)[0].unknown == {}


def test_a_doubtful_edit_or_cancel_needs_no_settling() -> None:
    """The next list shows what became of the order."""
    state, out = run(adopted(), unknown(1, "cancel"))

    assert state.unknown == {}
    assert wakes(out) == [("soon", 2)]


def test_foreign_orders_are_told_by_their_ids() -> None:
    """A list may leave our client id out; the order is still ours when its events named it."""
    nameless = order("o1", None)
    _, out = run(adopted(), accepted(1, order("o1", ENTRY)), snapshot(2, 0, nameless, order("o9", None)))

    assert [m.order_id for m in out if isinstance(m, Drift)] == ["o9"]


def test_an_orphan_is_reported_by_the_second_snapshot() -> None:
    """A reduce-only order of ours without a position; one list may have been read between fill and cancel."""
    state, out = run(adopted(), accepted(1, stop()), snapshot(2, 0, stop()))
    assert drifts(out) == []
    assert wakes(out) == [("soon", 3)]

    _, out = run(state, snapshot(4, 0, stop()))
    assert [kind for kind, _, _ in drifts(out)] == ["orphan_order"]
    assert codes(out) == ["STOP_EXCESS"]


def test_the_memory_of_orders_that_left_is_bounded() -> None:
    """Names of resting orders are kept whatever their age."""
    state, _ = run(adopted(), accepted(1, stop()), *(gone(n, f"o{n}", ENTRY) for n in range(2, GONE_KEPT + 10)))

    assert len(state.names) <= GONE_KEPT + 1
    assert state.names["stop"] == STOP


def test_unknown_messages_are_tolerated() -> None:
    """What is not for the reconciler changes nothing."""
    state = adopted()
    mark = from_edge(
        MarkPrice,
        T,
        symbol=XBT,
        mark=D(1),
        index=D(1),
        bid=D(1),
        ask=D(1),
        funding_rate=None,
        suspended=False,
        post_only=False,
        mark_time=T,
    )

    assert run(state, mark, from_edge(Woken, T, key="other")) == (state, [])

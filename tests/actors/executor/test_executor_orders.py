"""The order table: complete, and honest about what it may conclude."""

from __future__ import annotations

from decimal import Decimal as D
from typing import get_args

import pytest

from actors.executor.orders import TERMINAL, TRANSITIONS, Order, OrderEvent, OrderState, advance, confirm, fill

STATES, EVENTS = get_args(OrderState), get_args(OrderEvent)
EVIDENCE = {"accepted", "relisted", "part_filled", "fully_filled", "done", "triggered", "gone", "rejected", "missing"}


def order(**changes: object) -> Order:
    fields: dict[str, object] = {
        "client_order_id": "ks-1",
        "role": "stop",
        "side": "sell",
        "order_type": "stp",
        "size": D(2),
        "placed_size": D(2),
        "at": 0,
    }
    return Order(**{**fields, **changes})  # type: ignore[arg-type]


def test_every_state_answers_every_event() -> None:
    """The table is total: no order of events can fall through."""
    assert {state: set(row) for state, row in TRANSITIONS.items()} == {state: set(EVENTS) for state in STATES}


def test_only_evidence_leaves_unknown() -> None:
    """A time-out or a restart is no evidence; an order of unknown outcome stays so."""
    row = TRANSITIONS["unknown"]

    assert {event for event in EVENTS if row[event] != "unknown"} == EVIDENCE


@pytest.mark.parametrize("state", TERMINAL)
def test_nothing_revives_an_order_but_every_fill_counts(state: OrderState) -> None:
    """Late frames change nothing about an order that ended, except that it may turn out to have filled; one that was given up may be listed."""
    row = TRANSITIONS[state]

    assert {row[event] for event in EVENTS if event != "relisted"} <= {state, "filled"}
    assert row["relisted"] == ("filled" if state == "filled" else "submitted")
    assert row["fully_filled"] == "filled"


@pytest.mark.parametrize(
    ("role", "state"),
    [("entry", "partial"), ("exit", "partial"), ("flatten", "partial"), ("stop", "triggered"), ("target", "triggered")],
)
def test_fills_add_up_to_filled(role: str, state: OrderState) -> None:
    """Two parts make a whole; a part of what waited for a trigger says that it fired."""
    half = fill(order(role=role), D(1), 1)

    assert (half.state, half.filled) == (state, D(1))
    assert fill(half, D(1), 2).state == "filled"


def test_a_listing_confirms_terms() -> None:
    """What is open and what was filled together are the size that rests."""
    listed = confirm(order(), D("1.5"), D("0.5"), D(100), 1)

    assert (listed.state, listed.resting_size, listed.resting_price, listed.size) == ("submitted", D(2), D(100), D(2))


def test_after_a_silence_the_listing_is_also_what_we_asked_for() -> None:
    """Which edits arrived is unknown: the exchange's terms are taken as the last ones."""
    silent = advance(order(size=D(3)), "restarted", 1)

    assert confirm(silent, D(2), D(0), D(100), 2).size == D(2)

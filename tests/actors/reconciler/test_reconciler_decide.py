"""The reconciler reports every difference between our view and the exchange, and never mistakes haste for drift."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, get_args

import pytest
from msgspec.structs import replace

from actors.reconciler import decide
from actors.reconciler.judge import DIFFERENCES
from actors.reconciler.passes import HALT
from actors.reconciler.view import GONE_KEPT, Memory, State
from config.settings import ExecutionSettings, Settings
from protocol import codec
from protocol.ids import client_order_id
from protocol.messages.base import Message, from_edge
from protocol.messages.control import (
    Alert,
    Drift,
    DriftKind,
    HaltEntries,
    KillRequested,
    Reconciled,
    ResumeEntries,
    Started,
    WakeAt,
    Woken,
)
from protocol.messages.futures import (
    Account,
    ExchangeSnapshot,
    Fill,
    Filled,
    InstrumentsListed,
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
from sim.market.contracts import PF_XBTUSD

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


def rung(at_s: float) -> Woken:
    """Our own clock rings."""
    return from_edge(Woken, T + round(at_s * SECOND), key="soon")


def run(state: State, *messages: Message) -> tuple[State, list[Message]]:
    """Every answer to the messages, in order."""
    out: list[Message] = []
    for message in messages:
        state, answers = decide.step(state, message)
        out.extend(answers)
    return state, out


def fresh(size: int = 0, **policies: str) -> State:
    """A life that remembers `size`, before its first snapshot."""
    settings = SETTINGS.model_copy(update={"execution": SETTINGS.execution.model_copy(update=policies)})
    return decide.initial(settings, codec.encode(Memory(sizes={XBT: D(size)})) if size else None)


def adopted(size: int = 0, *orders: OpenOrder) -> State:
    """After a first snapshot at second 0."""
    return run(fresh(size), snapshot(0, size, *orders))[0]


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

    assert drifts(out) == [("size_mismatch", "2", "1")]
    assert codes(out) == ["RECON_DIFF"]
    assert clean(out) == [False, True]


@pytest.mark.parametrize(
    ("ours", "theirs", "kind"),
    [(2, 0, "ghost_position"), (2, 1, "size_mismatch"), (2, -1, "side_mismatch"), (0, 1, "foreign_position")],
)
def test_positions_differ_in_four_ways(ours: int, theirs: int, kind: str) -> None:
    """Ours alone, theirs alone, another size, another side."""
    _, out = run(adopted(ours, stop(ours)), snapshot(1, theirs, stop(2), stop(2, side="buy")))

    assert kind in [k for k, _, _ in drifts(out)]


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


def test_start_up_is_a_reconciliation() -> None:
    """A new life knows what the last one held: what is not of its making is foreign in the very first pass."""
    foreign = order("o9", "someone")
    _, out = run(fresh(), snapshot(0, 1, foreign))
    assert [kind for kind, _, _ in drifts(out)] == ["foreign_position", "missing_stop", "foreign_order"]

    _, out = run(fresh(1), snapshot(0, 1, stop()))
    assert (drifts(out), clean(out)) == ([], [True])

    _, out = run(fresh(1), snapshot(0))
    assert drifts(out) == [("ghost_position", "1", "0")]


def test_fills_told_with_the_first_truth_are_no_drift() -> None:
    """What filled while we were down comes with the snapshot: it explains the size, and is no missed fill."""
    fill = replace(filled(0, -1), cause="truth", at=T + 40 * SECOND)
    first = replace(snapshot(40), cause="truth")
    _, out = run(fresh(1), fill, first, snapshot(80))

    assert drifts(out) == []
    assert clean(out) == [True, True]


def test_a_fill_that_only_the_list_told_is_a_missed_fill() -> None:
    """The stream should have told it long ago; it is booked once and the pass is not clean."""
    fill = replace(filled(10, 1), cause="truth", at=T + 20 * SECOND)
    _, out = run(adopted(), fill, replace(snapshot(15, 1, stop()), cause="truth"), snapshot(60, 1, stop()))
    assert drifts(out) == [("missed_fill", "none", "buy 1 at 100")]
    assert clean(out) == [False, True]

    fresh_fill = replace(filled(14.5, 1), cause="truth", at=T + 20 * SECOND)
    _, out = run(adopted(), fresh_fill, replace(snapshot(15, 1, stop()), cause="truth"))
    assert drifts(out) == []


def test_terms_that_only_the_list_told_are_a_mismatch() -> None:
    """The order rests with another price than the stream ever said, or the position with another entry."""
    state, _ = run(adopted(), accepted(1, order("o1", ENTRY)))
    moved = order("o1", ENTRY, limit_price=D(90))
    told = from_edge(OrderAccepted, T + 20 * SECOND, "late", order=moved)
    _, out = run(state, replace(told, cause="truth"), replace(snapshot(15, 0, moved), cause="truth"))
    assert drifts(out) == [("order_mismatch", "buy 1 lmt at 100", "buy 1 lmt at 90")]

    held = from_edge(PositionChanged, T + SECOND, "first", position=position(1))
    other = from_edge(PositionChanged, T + 20 * SECOND, "late", position=replace(position(1), entry_price=D(99)))
    state, _ = run(adopted(1, stop()), held)
    _, out = run(state, replace(other, cause="truth"), replace(snapshot(15, 1, stop()), cause="truth"))
    assert drifts(out) == [("entry_mismatch", "entry 100", "entry 99")]


def test_a_list_that_trails_proves_nothing_against_an_event() -> None:
    """Half a minute after a fill the size is believed; at once when the stream says the same."""
    state, _ = run(adopted(), filled(1, 1), accepted(1.1, stop()))
    assert drifts(run(state, snapshot(2, 0, stop()))[1]) == []
    assert drifts(run(state, snapshot(32, 0, stop()))[1]) == [("ghost_position", "1", "0")]

    flat = from_edge(PositionChanged, T + 3 * SECOND, position=position(0))
    assert drifts(run(state, flat, snapshot(4, 0, stop()))[1]) == [("ghost_position", "1", "0")]


def test_a_word_from_before_a_fill_says_nothing_of_what_it_left() -> None:
    """The stream called it flat, then we bought: a list from before that is not confirmed by it, nor are orders called orphans."""
    flat = from_edge(PositionChanged, T, position=position(0))
    state, _ = run(adopted(), flat, filled(1, 1), accepted(1.1, stop()))
    _, out = run(state, snapshot(2, 0, stop()), snapshot(3, 0, stop()), snapshot(4, 0, stop()))
    assert drifts(out) == []


def test_a_list_trails_a_fill_of_an_earlier_life_too() -> None:
    """A crash right after the entry: the first lists of the next life may still show what was before it."""
    state, _ = run(adopted(), filled(1, 1))
    again = decide.initial(Settings(), decide.durable(state))
    assert drifts(run(again, snapshot(3))[1]) == []
    assert drifts(run(again, snapshot(31))[1]) == [("ghost_position", "1", "0")]


def test_a_list_that_proves_nothing_is_not_judged_and_another_follows_soon() -> None:
    """The feed calls it unproved: no drift, no orphan, no margin that nothing explains, leverage unknown; a foreign position stays foreign."""
    state, _ = run(adopted(1, stop()), LISTED)
    empty = replace(snapshot(68, 0, stop()), account=MARGIN, unproved=(XBT,))
    state, out = run(state, empty)
    assert drifts(out) == []
    assert [(m.clean, m.leverage_x) for m in out if isinstance(m, Reconciled)] == [(False, None)]
    assert wakes(out) == [("soon", 69)]
    assert drifts(run(state, snapshot(70, 1, stop()))[1]) == []
    assert "ghost_position" in [kind for kind, _, _ in drifts(run(state, snapshot(70, 0, stop()))[1])]

    state, _ = run(fresh(), snapshot(0, 1), replace(snapshot(40), unproved=(XBT,)))
    assert "foreign_position" in [kind for kind, _, _ in drifts(run(state, snapshot(55, 1))[1])]


def test_lists_that_go_on_against_the_stream_are_told_to_a_person_and_change_nothing() -> None:
    """One of the two is broken: said once, in no hurry, and nothing is closed by it."""
    lists = [replace(snapshot(40 + 15 * n, 0, stop()), unproved=(XBT,)) for n in range(20)]
    state, out = run(adopted(1, stop()), *lists)
    assert codes(out) == ["RECON_STUCK"]
    assert {kind for kind, _, _ in drifts(out)} == {"stuck"}
    assert not [m for m in out if isinstance(m, KillRequested)]
    assert wakes(out)[-1] == ("soon", 40 + 15 * 19 + 15)
    _, out = run(state, snapshot(400, 1, stop()))
    assert clean(out) == [True]


LISTED = from_edge(InstrumentsListed, T, instruments=(PF_XBTUSD,))
MARGIN = replace(ACCOUNT, initial_margin_usd=D(500))


def test_margin_that_no_position_explains_is_a_mismatch() -> None:
    """What is listed uses about its tier's margin, resting orders none of it; anything else is hidden from us, and entries wait."""
    state, _ = run(adopted(), from_edge(InstrumentsListed, T, instruments=(PF_XBTUSD,)))
    _, out = run(state, replace(snapshot(1), account=MARGIN))
    assert drifts(out) == [("margin_mismatch", "0.00 USD", "500.00 USD")]
    assert clean(out) == [False]
    assert [type(m).__name__ for m in out].count("RequestInstruments") == 1, "what is demanded may have changed"

    _, out = run(state, replace(snapshot(1, 0, order("o1", ENTRY)), account=MARGIN))
    assert "margin_mismatch" in [kind for kind, _, _ in drifts(out)]


def test_equity_that_balance_and_funding_do_not_explain_is_a_mismatch() -> None:
    """Judged when nothing is held, since a position's worth moves between two readings; each term is told."""
    funded = replace(ACCOUNT, equity_usd=D(1098), balance_usd=D(1100), unrealized_funding_usd=D(-2))
    for account, held, terms in (
        (replace(ACCOUNT, equity_usd=D(1100)), 0, [("balance 1000.00 + unrealised 0 + funding 0.00 USD", "equity 1100.00 USD, +100.00")]),
        (replace(ACCOUNT, equity_usd=D(1100)), 1, []),
        (funded, 0, []),
        (replace(funded, equity_usd=D("1098.99")), 0, []),
    ):  # fmt: skip
        _, out = run(
            adopted(held, *([stop()] * held)), replace(snapshot(40, held, *([stop()] * held)), account=account)
        )
        found = [(ours, theirs) for kind, ours, theirs in drifts(out) if kind == "equity_mismatch"]
        assert found == terms


def test_effective_leverage_is_read_in_every_pass() -> None:
    """Notional at entry over equity; unknown without the contract's rules."""
    listed = from_edge(InstrumentsListed, T, instruments=(PF_XBTUSD,))
    state = adopted(2, stop(2))
    for known, leverage in ((run(state, listed)[0], D("0.2")), (state, None)):
        _, out = run(known, snapshot(1, 2, stop(2)))
        assert [m.leverage_x for m in out if isinstance(m, Reconciled)] == [leverage]


@pytest.mark.parametrize(("policy", "is_clean"), [("report", True), ("adopt", False), ("flatten", False)])
def test_what_is_foreign_carries_the_policy(policy: str, is_clean: bool) -> None:
    """By settings, in every pass while it is there; merely reported it keeps nobody waiting."""
    state = fresh(foreign_positions=policy, foreign_orders=policy)
    state, out = run(state, snapshot(0, 3, order("o9", None)))
    assert {m.policy for m in out if isinstance(m, Drift)} == {policy}
    assert clean(out) == [is_clean]

    _, out = run(state, snapshot(1, 3, order("o9", None)))
    assert "foreign_position" in [kind for kind, _, _ in drifts(out)]
    assert ("foreign_order" in [kind for kind, _, _ in drifts(out)]) == (policy != "adopt")
    assert codes(out) == []

    assert "foreign_position" not in [kind for kind, _, _ in drifts(run(state, snapshot(1), snapshot(2))[1])]


def test_a_strangers_stop_stays_for_as_long_as_it_is_all_that_protects() -> None:
    """Whoever has strangers' orders cancelled does not want a position without its stop, his own by hand included; one too many goes."""
    hand = replace(stop(3, None), order_id="hand")

    def policy(state: State, truth: ExchangeSnapshot) -> list[str]:
        _, out = run(state, truth)
        return [m.policy for m in out if isinstance(m, Drift) and m.kind == "foreign_order"]

    state = fresh(foreign_orders="flatten")
    assert policy(state, snapshot(0, 3, hand)) == ["report"]
    assert policy(state, snapshot(0, 3, hand, stop(2))) == ["report"], "ours covers a part"
    assert policy(state, snapshot(0, 3, hand, stop(3))) == ["flatten"]
    assert policy(state, snapshot(0, -3, hand)) == ["flatten"], "it would add to a short, could it do anything"
    assert policy(state, snapshot(0, 0, hand)) == ["flatten"]
    assert policy(state, replace(snapshot(0, 0, hand), unproved=(XBT,))) == ["report"], "the list may lack a position"
    assert policy(state, replace(snapshot(0, 0, hand), lacks=(position(3),))) == ["report"]
    told, _ = run(state, from_edge(PositionChanged, T, position=position(3)))
    assert policy(told, snapshot(0, 0, hand)) == ["report"], "the stream knows of it already"


@pytest.mark.parametrize("policy", ["adopt", "flatten"])
def test_what_is_held_in_a_contract_we_do_not_trade_is_only_reported(policy: str) -> None:
    """Nobody here has its prices: a person is told, entries go on, and it never asks for the kill switch."""
    state, _ = run(fresh(foreign_positions=policy), from_edge(InstrumentsListed, T, instruments=(PF_XBTUSD,)))
    away = replace(position(3), symbol="PF_SOLUSD")
    passes = [replace(snapshot(15 * n), positions=(away,)) for n in range(20)]
    state, out = run(state, *passes)
    assert {m.policy for m in out if isinstance(m, Drift) and m.kind != "margin_mismatch"} == {"report"}
    assert codes(out).count("FOREIGN_POSITION") == 1
    assert not [m for m in out if isinstance(m, KillRequested)]
    assert all(clean(out))


def test_an_adopted_position_is_ours_once_its_stop_rests() -> None:
    """Adopted means protected: from then on it is like any other."""
    state, out = run(fresh(foreign_positions="adopt"), snapshot(0, 3))
    state, out = run(state, accepted(0.8, stop(3)), snapshot(1, 3, stop(3)), snapshot(2, 3, stop(3)))

    assert state.memory.foreign == ()
    assert clean(out) == [False, True]


def test_every_kind_of_difference_is_in_the_table() -> None:
    """Code, severity, correction and what follows when it lasts: nothing can be found that the table does not know."""
    assert set(DIFFERENCES) == set(get_args(DriftKind))


HELD = adopted(1, stop())
USED = replace(ACCOUNT, initial_margin_usd=D(500))
MOVED = order("o1", ENTRY, limit_price=D(90))
FOUND: dict[DriftKind, tuple[State, tuple[Message, ...]]] = {
    "ghost_position": (HELD, (snapshot(40),)),
    "size_mismatch": (HELD, (snapshot(40, 2, stop(2)),)),
    "side_mismatch": (HELD, (snapshot(40, -1),)),
    "entry_mismatch": (
        run(HELD, from_edge(PositionChanged, T + SECOND, "first", position=position(1)))[0],
        (
            replace(
                from_edge(PositionChanged, T + 40 * SECOND, position=replace(position(1), entry_price=D(9))), cause="t"
            ),
            replace(snapshot(40, 1, stop()), cause="t"),
        ),
    ),
    "foreign_position": (adopted(), (snapshot(40, 1, stop()),)),
    "missing_stop": (HELD, (snapshot(40, 1),)),
    "missing_order": (adopted(0, order("o1", ENTRY)), (snapshot(40), snapshot(55))),
    "order_mismatch": (
        adopted(0, order("o1", ENTRY)),
        (
            replace(from_edge(OrderAccepted, T + 40 * SECOND, order=MOVED), cause="t"),
            replace(snapshot(40, 0, MOVED), cause="t"),
        ),
    ),
    "orphan_order": (HELD, (snapshot(40, 0, stop()), snapshot(55, 0, stop()))),
    "foreign_order": (adopted(), (snapshot(40, 0, order("o9", None)),)),
    "missed_fill": (adopted(), (replace(filled(1, 1), cause="t"), replace(snapshot(40, 1, stop()), cause="t"))),
    "margin_mismatch": (run(adopted(), LISTED)[0], (replace(snapshot(40), account=USED),)),
    "equity_mismatch": (adopted(), (replace(snapshot(40), account=replace(ACCOUNT, equity_usd=D(1100))),)),
    "stuck": (HELD, tuple(snapshot(40 + 15 * n, 1) for n in range(4))),
}


def test_every_kind_of_difference_has_a_case() -> None:
    """A new kind without one fails here."""
    assert set(FOUND) == set(DIFFERENCES)


@pytest.mark.parametrize("kind", FOUND)
def test_every_kind_of_difference_is_found_and_told(kind: DriftKind) -> None:
    """Drift for whoever acts, and the alert of its row for the person."""
    state, messages = FOUND[kind]
    _, out = run(state, *messages)
    assert kind in [found for found, _, _ in drifts(out)]
    row = DIFFERENCES[kind]
    assert (row.code, row.severity) in [(m.code, m.severity) for m in out if isinstance(m, Alert)]


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
    _, out = run(adopted(2, stop(2)), fill, snapshot(32, 1, stop(2)))

    assert codes(out) == [code, "RECON_DIFF"]
    assert drifts(out) == [("size_mismatch", "2", "1")]


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
def test_a_position_not_covered_by_its_stops_lacks_a_stop(orders: tuple[OpenOrder, ...]) -> None:
    """Cover is reduce-only, of stop type, triggered by mark, on the other side and of the full size."""
    _, out = run(adopted(2, stop(2)), snapshot(1, 2, *orders))

    assert "missing_stop" in [kind for kind, _, _ in drifts(out)]
    assert "NAKED_POSITION" in codes(out)


def test_two_stops_may_cover_a_short_together() -> None:
    """Cover is summed, on the buying side."""
    stops = [stop(1, side="buy"), stop(2, side="buy", order_type="stp", name=ENTRY)]

    assert drifts(run(adopted(-3, *stops), snapshot(1, -3, *stops))[1]) == []


def test_a_lasting_difference_alerts_once_is_stuck_after_three_periods_and_kills_in_the_end() -> None:
    """Drift is repeated for whoever can act, the alert is not; entries wait until a pass is clean again. A position without a stop kills
    soon: who has neither mark nor rules can place none (storm 31707).
    """
    state, out = run(adopted(1, stop()), gone(0.7, "stop", STOP), snapshot(1, 1), snapshot(2, 1))
    assert (len(drifts(out)), codes(out)) == (2, ["NAKED_POSITION"])

    changed = from_edge(PositionChanged, T + 4 * SECOND, position=position(1))
    state, out = run(state, changed, snapshot(3, 1), snapshot(32, 1))
    assert [kind for kind, _, _ in drifts(out)] == ["missing_stop", "stuck"]
    assert codes(out) == ["RECON_STUCK"]
    assert [m.key for m in out if isinstance(m, HaltEntries)] == ["reconciliation"]
    (kill,) = [m for m in out if isinstance(m, KillRequested)]
    assert (kill.by, kill.reason) == ("reconciler", "RECON_STUCK: missing_stop of PF_XBTUSD for 31 s in 3 passes")

    _, out = run(state, snapshot(40, 1, stop()), gone(40.7, "stop", STOP), snapshot(41, 1))
    assert [m.key for m in out if isinstance(m, ResumeEntries)] == ["reconciliation"]
    assert codes(out) == ["NAKED_POSITION"]

    _, out = run(adopted(), *(snapshot(second, 0, stop()) for second in range(15, 151, 15)))
    (kill,) = [m for m in out if isinstance(m, KillRequested)]
    assert (kill.by, kill.reason) == ("reconciler", "RECON_STUCK: orphan_order of PF_XBTUSD for 120 s in 9 passes")


def test_what_is_only_reported_never_kills() -> None:
    """A stranger's order may rest for ever."""
    _, out = run(fresh(), *(snapshot(s, 0, order("o9", None)) for s in range(0, 200, 15)))

    assert not [m for m in out if isinstance(m, (KillRequested, HaltEntries))]
    assert codes(out) == ["FOREIGN_ORDER"]


def test_after_a_pass_that_is_not_clean_it_looks_again_soon_and_then_ever_later() -> None:
    """Whoever mends has a second, then two, up to the period."""
    passes = (31, 32, 34, 38, 46, 61)
    _, out = run(adopted(1, stop()), gone(0.7, "stop", STOP), *(snapshot(s, 1) for s in passes))

    assert [due - at for (_, due), at in zip(wakes(out)[1:], passes, strict=True)] == [1, 2, 4, 8, 15, 15]


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
    state, out = run(adopted(), unknown(1), rung(2), snapshot(2), snapshot(6))
    assert drifts(out) == []
    assert wakes(out)[-1] == ("soon", 7)

    state, out = run(state, snapshot(7))
    assert drifts(out) == []

    state, out = run(state, snapshot(8))
    assert drifts(out) == [("missing_order", "unknown", "absent")]
    assert [m.client_order_id for m in out if isinstance(m, Drift)] == [ENTRY]
    assert state.unknown == {}


def test_an_unknown_placement_told_late_is_not_settled_by_what_was_read_before() -> None:
    """A feed that hung tells the doubt and two readings at once: what is sent again upon that doubt is in neither of them (storm 420088)."""
    state, out = run(adopted(), unknown(1), snapshot(7), snapshot(12), rung(14), snapshot(14), snapshot(15))
    assert drifts(out) == []

    assert drifts(run(state, snapshot(18.5), snapshot(19.5))[1]) == [("missing_order", "unknown", "absent")]


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


def test_the_next_life_ends_the_halt_of_the_one_before() -> None:
    """The gate may hold it although the difference is gone; entries wait for a clean pass of the new life in any case."""
    state = decide.initial(SETTINGS)
    _, out = decide.step(state, from_edge(Started, T, restarted=True))
    assert [m.key for m in out if isinstance(m, ResumeEntries)] == [HALT]
    _, out = decide.step(state, from_edge(Started, T))
    assert not any(isinstance(m, ResumeEntries) for m in out)

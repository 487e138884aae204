"""Positions no entry of ours opened, and contracts whose rules changed under a trade: taken over, closed or left alone, as told."""

from __future__ import annotations

from decimal import Decimal as D

import pytest
from executor_room import ENTRY, NOW, STOP, TARGET, Room, codes, entered, only, placed, protected

from actors.executor.foreign import taken_over
from protocol.ids import client_order_id, is_ours
from protocol.messages.base import from_edge
from protocol.messages.control import CloseRequested, Drift, Reconciled, Woken
from protocol.messages.futures import CancelOrder, EditOrder, InstrumentsListed, PlaceOrder, TradeClosed, TradeOpened
from protocol.units import SECOND_US
from tests.fakes import facts
from tests.fakes.facts import XBT


def foreign(size: str, policy: str, kind: str = "foreign_position", **changes: str) -> Drift:
    """What the reconciler says of something that is not ours."""
    return from_edge(Drift, NOW, kind, kind=kind, symbol=XBT, ours="0", theirs=size, policy=policy, **changes)


def looking() -> Room:
    """Nothing is held; the contract and its mark are known."""
    room = Room()
    room.listed()
    room.mark(50_000)
    return room


@pytest.mark.parametrize(("size", "stop", "target"), [("2", 49_000, 52_000), ("-2", 51_000, 48_000)])
def test_what_is_taken_over_has_a_stop_from_the_mark_and_a_target_twice_as_far(
    size: str, stop: int, target: int
) -> None:
    """There is no signal to take them from: `adopt_stop_pct` it is, mirrored for a short, and all of it counts as held."""
    trade = taken_over(foreign(size, "adopt"), D(size), D(50_000), D(2), facts.instrument())
    assert (trade.stop_price, trade.target_price, trade.initial_stop) == (stop, target, stop)
    assert (trade.held, trade.cover, trade.closing) == (2, 2, None)
    assert (trade.plan.side, trade.opened_at) == ("long" if size == "2" else "short", NOW)
    assert (trade.plan.exit_on_choch, trade.plan.max_hold_bars) == ("off", 0), "structure has no say in it"


@pytest.mark.parametrize(("seen", "stop"), [(49_500, 49_500), (48_000, 49_000)])
def test_a_lost_memory_widens_no_stop(seen: int, stop: int) -> None:
    """A position whose trade is forgotten, its stop seen on the exchange and then gone: the next one is not further away (storm 7036)."""
    room = looking()
    room.position("2")
    room.accepted("ks-of-an-earlier-life", "2", seen)
    said = room.take(foreign("2", "correct", "missing_stop"))
    assert [m.stop_price for m in only(PlaceOrder, said) if m.role == "stop"] == [D(stop)]


def test_the_stop_of_a_position_that_is_over_is_no_measure() -> None:
    """Once the account was flat in that market, whatever comes next has a stop from its own mark."""
    room = looking()
    room.position("2")
    room.accepted("ks-of-an-earlier-life", "2", 49_500)
    room.position("0")
    said = room.take(foreign("2", "correct", "missing_stop"))
    assert [m.stop_price for m in only(PlaceOrder, said) if m.role == "stop"] == [D(49_000)]


def test_an_adopted_position_is_protected_and_managed_to_its_end() -> None:
    """It is told as a trade, gets stop and target under ids of ours, and is closed like any other."""
    room = looking()
    said = room.take(foreign("2", "adopt"))
    (opened,) = only(TradeOpened, said)
    assert (opened.side, opened.size, opened.price) == ("long", D(2), D(50_000))
    stop, target = only(PlaceOrder, said)
    assert (stop.role, stop.side, stop.size, stop.stop_price, stop.reduce_only) == (
        "stop",
        "sell",
        D(2),
        D(49_000),
        True,
    )
    assert (target.role, target.stop_price, target.reduce_only) == ("target", D(52_000), True)
    assert is_ours(stop.client_order_id)
    room.accepted(stop.client_order_id, "2", 49_000)
    room.accepted(target.client_order_id, "2", 52_000)
    room.filled(stop.client_order_id, "2", 48_990)
    said = room.position("0")
    assert room.ended().reason == "exit.stop"
    assert [m.client_order_id for m in only(CancelOrder, said)] == [target.client_order_id]


def test_an_adopted_position_is_not_doubled_by_the_fill_that_opened_it() -> None:
    """It was ours, by an entry that was lost with the journal: its fill is older than the taking over."""
    room = looking()
    room.take(foreign("2", "adopt"))
    room.after(1)
    room.filled(client_order_id("lost", "entry"), "2", 50_010, side="buy", time=NOW)
    assert room.trade.held == 2
    assert room.trade.entry_usd == 2 * 50_010


def test_an_adopted_position_grows_and_shrinks_with_the_exchange() -> None:
    """What its owner does to it is followed: the stop covers what is held."""
    room = looking()
    stop = next(m for m in room.take(foreign("2", "adopt")) if isinstance(m, PlaceOrder))
    room.accepted(stop.client_order_id, "2", 49_000)
    room.position("3")
    room.after(21)
    room.woken()
    assert [(m.role, m.size) for m in only(EditOrder, room.all) if m.role == "stop"] == [("stop", D(3))]


@pytest.mark.parametrize(("policy", "asked"), [("adopt", ["stop", "target"]), ("flatten", ["flatten"]), ("report", [])])
def test_a_stranger_who_trades_as_ours_is_stopped_does_not_keep_our_trade_open(policy: str, asked: list[str]) -> None:
    """By every fill nothing of ours is left, and never was the account flat: the trade is over, what is held is the stranger's (storm 480092)."""
    room = protected()
    room.gone(STOP, "stop_order_triggered")
    room.position("0.5")
    room.filled(STOP, "2", 48_990)
    assert only(TradeClosed, room.all) == []
    said = room.take(foreign("0.5", policy))
    assert [(m.reason, m.size) for m in only(TradeClosed, said)] == [("exit.stop", D(2))]
    assert [m.client_order_id for m in only(CancelOrder, said)] == [TARGET]
    assert [role for role, size in placed(said)] == asked
    assert {size for _, size in placed(said)} <= {D("0.5")}


def test_a_trade_whose_exit_was_not_told_is_not_ended_by_a_strangers_position() -> None:
    """By its fills it still holds."""
    room = protected()
    room.position("2.5")
    assert only(TradeClosed, room.take(foreign("0.5", "adopt"))) == []


@pytest.mark.parametrize("before", ["0", "2"])
def test_a_fill_after_the_exchange_called_it_flat_opens_a_position_of_its_own(before: str) -> None:
    """Taken over from an old list, called flat, then assigned to us anew: not both together, unless fills say that it was still held (storm 511228)."""
    room = looking()
    room.take(foreign("2", "adopt"))
    room.after(1)
    room.position("0")
    assert only(TradeClosed, room.all) == []
    room.after(1)
    said = room.filled(None, "3", 50_010, side="buy", fill_type="assignee", before=before)
    assert codes(said)[-1] == "FOREIGN_FILL"
    if before == "2":
        assert room.trade.held == 5
        return
    assert [(m.reason, m.size, m.exit_price) for m in only(TradeClosed, said)] == [("exit.external", D(2), D(50_000))]
    assert not room.state.memory.trades
    assert placed(said) == []


@pytest.mark.parametrize("policy", ["adopt", "flatten"])
@pytest.mark.parametrize("told", ["fill", "position"])
def test_the_stop_of_a_trade_that_is_over_stays_until_what_a_stranger_holds_has_one(told: str, policy: str) -> None:
    """Whether his fill was told or only his position: it is the only one until another rests, or nothing is held (storms 521600, 521839)."""
    room = protected()
    room.filled("ks-of-the-kill-switch", "2", 49_500)
    room.after(1)
    said = room.filled(None, "0.5", 49_500, side="buy") if told == "fill" else room.position("0.5")
    room.after(1)
    said = (*said, *room.take(foreign("0.5", policy)), *room.hear(Reconciled, began_at=room.at, clean=True))
    assert {m.client_order_id for m in only(CancelOrder, said)} == {TARGET}
    orders = [m for m in only(PlaceOrder, said) if m.size == D("0.5")]
    assert [m.role for m in orders] == (["stop", "target"] if policy == "adopt" else ["flatten"])
    if policy == "adopt":
        room.accepted(orders[0].client_order_id, "0.5", 49_000)
    else:
        room.position("0")
    room.after(1)
    assert STOP in [m.client_order_id for m in only(CancelOrder, room.hear(Reconciled, began_at=room.at, clean=True))]


@pytest.mark.parametrize("before", ["0", "0.5"])
def test_a_strangers_fill_after_all_of_ours_was_sold_opens_a_position_of_its_own(before: str) -> None:
    """Told together with our stop's, and the account never shown flat: what is held then gets no stop at our price (storm 520432)."""
    room = protected()
    room.filled(STOP, "2", 48_990)
    said = room.filled(None, "0.5", 48_000, side="buy", before=before)
    if before == "0":
        assert [(m.reason, m.size) for m in only(TradeClosed, said)] == [("exit.stop", D(2))]
        assert [m.client_order_id for m in only(CancelOrder, said)] == [TARGET]
    assert codes(said)[-1] == "FOREIGN_FILL"
    said = room.position("0.5")
    assert (placed(said) == []) == (before == "0")


def test_the_same_position_is_taken_over_once() -> None:
    """The next pass finds it again; the trade is there."""
    room = looking()
    room.take(foreign("2", "adopt"))
    assert room.take(foreign("2", "adopt")) == ()
    assert len(only(PlaceOrder, room.all)) == 2


def test_a_position_to_be_flattened_leaves_by_market_at_once() -> None:
    """Reduce-only, for all of it, with no stop of its own on the way."""
    room = looking()
    said = room.take(foreign("-2", "flatten"))
    assert placed(said) == [("flatten", D(2))]
    (order,) = only(PlaceOrder, said)
    assert (order.side, order.order_type, order.reduce_only) == ("buy", "mkt", True)
    room.filled(order.client_order_id, "2", 50_010, side="buy")
    room.position("0")
    (closed,) = only(TradeClosed, room.all)
    assert (closed.reason, closed.side) == ("flatten.foreign", "short")


def test_a_flatten_that_fills_in_part_goes_on() -> None:
    """Until nothing is held."""
    room = looking()
    (order,) = only(PlaceOrder, room.take(foreign("2", "flatten")))
    room.filled(order.client_order_id, "0.5", 50_000)
    room.gone(order.client_order_id, "ioc_order_failed_because_it_would_not_be_executed")
    assert placed(room.said) == [("flatten", D("1.5"))]


@pytest.mark.parametrize("policy", ["report", "adopt", "flatten"])
@pytest.mark.parametrize("known", ["neither", "only the rules"])
def test_without_a_mark_and_rules_it_waits_for_the_next_pass(policy: str, known: str) -> None:
    """A stop cannot be placed at an unknown distance; the next pass tries again."""
    room = Room()
    if known == "only the rules":
        room.listed()
    assert room.take(foreign("2", policy)) == ()


def test_a_reported_position_is_left_alone() -> None:
    """The default: nothing sent, and nothing said at every pass: the reconciler says it once."""
    assert looking().take(foreign("2", "report")) == ()


@pytest.mark.parametrize(("policy", "cancelled"), [("flatten", ["x1"]), ("adopt", []), ("report", [])])
def test_a_foreign_order_is_cancelled_only_if_told_so(policy: str, cancelled: list[str]) -> None:
    """By the exchange's id: it has none of ours."""
    said = looking().take(foreign("buy 1 lmt at 40000", policy, "foreign_order", order_id="x1"))
    assert [m.order_id for m in only(CancelOrder, said)] == cancelled
    assert codes(said) == []


def test_a_trade_of_ours_is_never_taken_for_foreign() -> None:
    """An entry on its way is ours, whatever a late list says."""
    room = entered()
    assert room.take(foreign("2", "flatten")) == ()


def test_what_differs_is_told_in_contracts_or_waited_for() -> None:
    """A drift that says it in words changes nothing: the position itself will come."""
    room = protected()
    assert room.take(foreign("some", "correct", "size_mismatch")) == ()
    room.take(foreign("3", "correct", "size_mismatch"))
    assert [m.size for m in only(EditOrder, room.said) if m.role == "stop"] == [D(3)]


# --- rules that change under a trade ---------------------------------------------------------------------------


def test_a_changed_tick_moves_no_stop_back() -> None:
    """When it must be edited, its price goes to the new grid towards profit; the target goes towards entry."""
    room = protected()
    rules = facts.instrument(tick=D(300), max_position=D(100))
    assert room.hear(InstrumentsListed, instruments=(rules,)) == ()
    edits = {m.role: (m.size, m.stop_price) for m in only(EditOrder, room.position("3"))}
    assert edits == {"stop": (D(3), D(49_200)), "target": (D(3), D(54_900))}


@pytest.mark.parametrize("tick", [1, 7])
def test_a_tick_that_changes_again_widens_no_stop(tick: int) -> None:
    """What was once put on a coarser grid stays at least as near on the next one (invariant 3)."""
    room = protected()
    room.hear(InstrumentsListed, instruments=(facts.instrument(tick=D(300), max_position=D(100)),))
    room.position("3")
    room.accepted(STOP, "3", 49_200)
    room.hear(InstrumentsListed, instruments=(facts.instrument(tick=D(tick), max_position=D(100)),))
    prices = [m.stop_price for m in only(EditOrder, room.position("4")) if m.role == "stop"]
    assert len(prices) == 1
    assert prices[0] >= 49_200


def test_a_changed_lot_leaves_nothing_over() -> None:
    """An order that can only reduce is a whole number of lots and never less than what is held."""
    room = protected()
    room.hear(InstrumentsListed, instruments=(facts.instrument(lot=D("0.3"), max_position=D(100)),))
    room.hear(CloseRequested, request="r", symbol=XBT, by="me", reason="done", dry_run=False)
    assert placed(room.said) == [("exit", D("2.1"))]


def test_a_strangers_position_is_told_when_it_changes_and_not_whenever_it_is_mentioned() -> None:
    """Its margin and liquidation price move with every mark."""
    room = looking()
    told = [codes(room.position(size)) for size in ("2", "2", "3", "3", "0", "0", "2")]
    assert told == [["FOREIGN_POSITION"], [], ["FOREIGN_POSITION"], [], [], [], ["FOREIGN_POSITION"]]


# --- a hand on a trade of ours ---------------------------------------------------------------------------------


def test_a_position_turned_round_ends_the_trade_with_what_was_ours() -> None:
    """A person sold twice what we held: our part is booked with its part of the fee, our orders go, the short is not ours."""
    room = protected()
    room.filled(None, "5", 49_500, fee_usd=D(20))
    said = room.position("-3")
    closed = room.ended()
    assert (closed.size, closed.exit_price, closed.fees_usd, closed.reason) == (
        D(2),
        D(49_500),
        D(10) + D(8),
        "exit.external",
    )
    assert [m.client_order_id for m in only(CancelOrder, said)] == [STOP, TARGET]
    assert placed(room.said) == []
    assert XBT not in room.state.memory.trades


def test_a_turn_told_by_the_position_first_ends_the_trade_with_its_fill() -> None:
    """Either may come first."""
    room = protected()
    assert only(TradeClosed, room.position("-1")) == []
    room.filled(None, "3", 49_500)
    assert room.ended().size == 2


def test_an_entry_refused_beside_a_strangers_position_is_over() -> None:
    """A stranger's short neither keeps the stillborn trade alive nor is touched."""
    room = entered()
    room.position("-1")
    room.rejected(ENTRY, "insufficientAvailableFunds")
    assert XBT not in room.state.memory.trades
    assert len(only(PlaceOrder, room.all)) == 1


def test_a_stop_that_a_person_tightened_stays_where_it_is() -> None:
    """It is the trade's from now on: said once, and neither the next pass, nor a crash, nor its loss puts ours back."""
    room = protected()
    room.mark(53_000)
    said = room.accepted(STOP, "2", 52_500)
    assert (codes(said), only(EditOrder, said), room.trade.stop_price) == (["STOP_TIGHTENED"], [], D(52_500))
    room.after(2)
    assert codes(room.accepted(STOP, "2", 52_500)) == []
    for life in (room, room.reborn()):
        life.accepted(STOP, "2", 52_500)
        life.accepted(TARGET, "2", 55_000)
        life.after(1)
        assert only(EditOrder, life.hear(Reconciled, began_at=life.at, clean=True)) == []
        said = life.gone(STOP, "cancelled_by_admin")
        assert [m.stop_price for m in only(PlaceOrder, said) if m.role == "stop"] == [D(52_500)]


def test_a_stop_that_a_person_tightened_while_the_daemon_was_down_stays() -> None:
    """The first life's wish is not known to be the last word."""
    room = protected().reborn()
    room.position("2")
    room.mark(53_000)
    room.accepted(TARGET, "2", 55_000)
    assert codes(room.accepted(STOP, "2", 52_500)) == ["STOP_TIGHTENED"]
    room.after(1)
    assert only(EditOrder, room.hear(Reconciled, began_at=room.at, clean=True)) == []
    assert room.trade.stop_price == D(52_500)


def test_a_stop_that_a_person_widened_is_put_back() -> None:
    """The next complete pass that an edit of ours would have been heard of before asks for ours again."""
    room = protected()
    assert codes(room.accepted(STOP, "2", 48_000)) == []
    room.after(2)
    said = room.hear(Reconciled, began_at=room.at, clean=True)
    assert [(m.role, m.stop_price) for m in only(EditOrder, said)] == [("stop", D(49_000))]


def test_what_we_asked_for_ourselves_is_no_persons_hand() -> None:
    """Neither a target, nor the frame of a tighter stop before its edit's, nor our own price on a grid that was coarser."""
    room = protected(strategy={"breakeven_at_r": 0.5})
    room.accepted(TARGET, "2", 55_500)
    room.mark(51_000)
    room.read(1, 51_000)
    assert room.trade.stop_price == D(50_000)
    assert [codes(room.accepted(STOP, "2", price)) for price in (49_000, 50_000, 49_000)] == [[], [], []]
    assert room.trade.stop_price == D(50_000)

    room = protected()
    room.hear(InstrumentsListed, instruments=(facts.instrument(tick=D(300), max_position=D(100)),))
    room.position("3")
    room.hear(InstrumentsListed, instruments=(facts.instrument(max_position=D(100)),))
    said = room.accepted(STOP, "3", 49_200)
    assert (codes(said), only(EditOrder, said), room.trade.stop_price) == ([], [], D(49_200))


def test_a_stop_that_a_person_made_smaller_is_made_whole_before_anybody_leaves() -> None:
    """An own stop of the person's for the other half is no protection of ours; a second later ours is asked for all of it, once."""
    room = protected()
    room.after(60)
    cut = room.at
    room.accepted(STOP, "1", 49_000)
    room.accepted("by-hand", "1", 48_500)
    said = room.woken()
    assert room.at == cut + SECOND_US
    assert [(m.role, m.size, m.stop_price) for m in only(EditOrder, said)] == [("stop", D(2), D(49_000))]
    room.after(1)
    assert only(EditOrder, room.hear(Woken, key=XBT)) == []
    room.accepted(STOP, "2", 49_000)
    room.after(10)
    assert (placed(room.hear(Woken, key=XBT)), room.trade.closing) == ([], None)

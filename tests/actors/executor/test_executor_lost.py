"""A life whose memory is older than what was done: the orders of the life between are known again, and none of their ids is used for other terms."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal as D

from executor_room import ENTRY, NOW, STOP, TARGET, Room, codes, entered, only, placed, protected

from protocol import ids
from protocol.messages.base import Message, from_edge
from protocol.messages.control import Alert, CloseRequested, Drift, Reconciled
from protocol.messages.futures import CancelOrder, EditOrder, PlaceOrder
from tests.fakes.facts import XBT

OTHER_ENTRY, OTHER_STOP, OTHER_TARGET = (ids.client_order_id("s2", leg) for leg in ("entry", "stop", "target"))
EXIT = ids.client_order_id("s1", "exit")


def passes(room: Room, clean: bool = True) -> Sequence[Message]:
    """A complete pass a second later."""
    room.after(1)
    return room.hear(Reconciled, began_at=room.at, clean=clean)


def asked(said: Sequence[Message]) -> list[Message]:
    """What was asked of the exchange."""
    return [message for message in said if isinstance(message, PlaceOrder | EditOrder | CancelOrder)]


def listed_again() -> Room:
    """The entry alone is remembered; the life that was lost filled it in two parts, protected the first and edited stop and target for both."""
    return known_again("0.5", "1.5")


def known_again(*fills: str, resting: str = "2", stop: int = 49_000) -> Room:
    """The entry alone is remembered; its fills are told, and a stop and target of the lost life are listed."""
    room = entered().reborn()
    for size in fills:
        room.filled(ENTRY, size, 50_000)
    room.accepted(STOP, resting, stop)
    room.accepted(TARGET, resting, 55_000)
    room.position("2")
    return room


def close(room: Room) -> Sequence[Message]:
    """A person asks to leave."""
    return room.hear(CloseRequested, request="r", symbol=XBT, by="me", reason="done", dry_run=False)


def test_stop_and_target_of_a_lost_life_are_the_trades() -> None:
    """They were placed for a part and edited: placed again under their ids they would be other terms."""
    room = listed_again()
    assert asked(passes(room)) == []
    assert [(o.client_order_id, o.resting_size) for o in room.trade.orders[1:]] == [(STOP, D(2)), (TARGET, D(2))]
    assert codes(room.all) == ["JOURNAL_BEHIND"] * 2


def test_a_person_hears_that_the_store_is_older_than_what_was_done() -> None:
    """Of each order that it does not know; told again, the same order is known."""
    room = listed_again()
    room.accepted(STOP, "2", 49_000)
    texts = [alert.text for alert in only(Alert, room.all)]
    assert [text.split(":", 2)[1] for text in texts] == [
        f" the store does not know our {role} {name}" for role, name in (("stop", STOP), ("target", TARGET))
    ]


def test_a_stop_of_a_lost_life_is_edited_to_what_is_held() -> None:
    """It died between a fill and its edit."""
    said = asked(passes(known_again("2", resting="0.5")))
    assert [(type(m), m.client_order_id, m.size) for m in said] == [(EditOrder, STOP, D(2)), (EditOrder, TARGET, D(2))]


def test_a_stop_that_a_lost_life_moved_stays_where_it_is() -> None:
    """It is never widened, and nobody's hand was at it."""
    room = known_again("2", stop=49_500)
    assert asked(passes(room)) == []
    assert (room.trade.stop_price, codes(room.all)) == (D(49_500), ["JOURNAL_BEHIND"] * 2)


def test_a_replacement_of_a_lost_life_is_the_trades() -> None:
    """The stop that is remembered is gone, the one after it rests."""
    room = protected().reborn()
    room.accepted(ids.client_order_id("s1", "stop", 1), "2", 49_500)
    room.accepted(TARGET, "2", 55_000)
    room.position("2")
    assert asked(passes(room)) == []
    said = room.gone(ids.client_order_id("s1", "stop", 1), "cancelled_by_admin")
    assert [m.client_order_id for m in only(PlaceOrder, said)] == [ids.client_order_id("s1", "stop", 2)]


def test_a_stop_whose_first_terms_nobody_knows_is_not_sent_again() -> None:
    """Another life later neither is listed: the stop gets a new id, at once, and the target too."""
    room = listed_again()
    passes(room)
    room = room.reborn()
    room.position("2")
    said = only(PlaceOrder, passes(room))
    assert [m.client_order_id for m in said] == [ids.client_order_id("s1", role, 1) for role in ("stop", "target")]


def test_a_stop_whose_first_terms_nobody_knows_is_not_sent_again_by_a_clock_that_was_set_back() -> None:
    """The pass seems older than what was heard last: in doubt it is, and a resend would be of other terms."""
    room = listed_again()
    passes(room)
    room = room.reborn()
    room.position("2")
    room.at = NOW
    said = passes(room)
    assert [m.client_order_id for m in only(PlaceOrder, said)] == [ids.client_order_id("s1", "stop", 1)]


def test_an_exit_of_a_lost_life_is_not_sent_again_on_other_terms() -> None:
    """It filled in part: the next is another order, for the rest."""
    room = protected().reborn()
    room.filled(EXIT, "0.5", 50_000)
    room.accepted(STOP, "1.5", 49_000)
    room.accepted(TARGET, "1.5", 55_000)
    room.position("1.5")
    passes(room)
    (order,) = only(PlaceOrder, close(room))
    assert (order.client_order_id, order.size) == (ids.client_order_id("s1", "exit", 1), D("1.5"))


def test_a_stop_of_a_lost_life_that_filled_is_booked_as_a_stop() -> None:
    """And its id is used up."""
    room = entered().reborn()
    room.filled(ENTRY, "2", 50_000)
    room.filled(STOP, "1", 48_990)
    room.position("1")
    (stop, _) = only(PlaceOrder, passes(room))
    assert (stop.client_order_id, stop.size) == (ids.client_order_id("s1", "stop", 1), D(1))
    room.filled(stop.client_order_id, "1", 48_990)
    room.position("0")
    assert (room.ended().size, room.ended().reason) == (D(2), "exit.stop")
    assert codes(room.all) == ["JOURNAL_BEHIND"]


def next_trade(room: Room, side: str) -> None:
    """What a lost life did after ours was over: it entered another in the same market, whose orders rest."""
    sign, closing, stop, target = ("", "sell", 49_700, 51_900) if side == "buy" else ("-", "buy", 50_300, 48_100)
    room.filled(OTHER_ENTRY, "3", 50_000, side=side)
    room.accepted(OTHER_STOP, "3", stop, side=closing)
    room.accepted(OTHER_TARGET, "3", target, side=closing, order_type="take_profit")
    room.position(sign + "3")


def test_the_next_trade_of_a_lost_life_is_no_part_of_the_one_before() -> None:
    """That one ends with its own fills; of the other's position it places no second stop."""
    for side in ("buy", "sell"):
        room = protected().reborn()
        room.filled(EXIT, "2", 50_500)
        next_trade(room, side)
        said = [*passes(room), *passes(room)]
        assert placed(said) == []
        assert {m.client_order_id for m in only(CancelOrder, said)} == {STOP, TARGET}
        assert (room.ended().size, room.ended().exit_price) == (D(2), D(50_500))
        assert room.state.memory.trades == {}


def test_the_next_trade_of_a_lost_life_does_not_open_an_entry_that_never_filled() -> None:
    """One trade a market: whoever entered the next knew that nothing came of this one."""
    room = entered().reborn()
    next_trade(room, "buy")
    said = [*passes(room), *passes(room)]
    assert asked(said) == []
    assert room.state.memory.trades == {}


def test_neither_is_entered_again() -> None:
    """The signals may still be good."""
    room = entered().reborn()
    next_trade(room, "buy")
    passes(room)
    assert [placed(room.enter(name)) for name in ("s1", "s2")] == [[], []]


def test_a_position_whose_trade_is_lost_keeps_its_stop_and_target() -> None:
    """A stranger enlarged it: the stop that rests is edited, not doubled, and not widened; the target stays where it is."""
    room = Room()
    room.listed()
    room.mark(50_000)
    room = room.reborn()
    room.mark(50_000)
    next_trade(room, "buy")
    passes(room)
    room.position("4")
    said = room.take(missing_stop("3", "4"))
    assert placed(said) == []
    edits = [(m.client_order_id, m.size, m.stop_price) for m in only(EditOrder, said) if m.role == "stop"]
    assert edits == [(OTHER_STOP, D(4), D(49_700))]
    edits = [(m.client_order_id, m.size, m.stop_price) for m in only(EditOrder, said) if m.role == "target"]
    assert edits == [(OTHER_TARGET, D(4), D(51_900))]


def test_what_rests_of_a_lost_trade_bars_the_next_entry_until_it_is_gone() -> None:
    """Its target filled; its stop, cancelled soon, would be a second one beside the next trade's (2)."""
    room = Room()
    room.listed()
    room.mark(50_000)
    next_trade(room, "buy")
    room.filled(OTHER_TARGET, "3", 51_900)
    room.position("0")
    assert placed(room.enter("s3")) == []
    room.gone(OTHER_STOP, "cancelled_by_user")
    assert placed(room.enter("s4")) == [("entry", D(2))]


def test_an_order_that_is_gone_is_no_part_of_what_is_taken_over() -> None:
    """Told by the exchange, or missing from its lists."""
    for how in ("gone", "missing"):
        room = Room()
        room.listed()
        room.mark(50_000)
        next_trade(room, "buy")
        if how == "gone":
            room.gone(OTHER_STOP, "cancelled_by_admin")
        else:
            room.drift("missing_order", client_order_id=OTHER_STOP)
        said = room.take(missing_stop("1", "3"))
        assert placed(said) == [("stop", D(3))]


def test_what_a_lost_trade_left_goes_when_it_shows_beside_our_own() -> None:
    """Lists forgot it until its position was taken over: it is cancelled once ours serve, and asked for again; what is nearer is followed first."""
    room = Room()
    room.listed()
    room.mark(50_000)
    room.position("3")
    ours = {m.role: m.client_order_id for m in only(PlaceOrder, room.take(missing_stop("0", "3")))}
    room.accepted(OTHER_STOP, "3", 49_700)
    room.accepted(OTHER_TARGET, "3", 51_900, order_type="take_profit")
    assert asked(passes(room)) == []  # ours do not rest yet
    room.accepted(ours["stop"], "3", 49_000)
    room.accepted(ours["target"], "3", 52_000, order_type="take_profit")
    edit, cancel = asked(passes(room))
    assert isinstance(edit, EditOrder)
    assert (edit.client_order_id, edit.stop_price) == (ours["stop"], D(49_700))
    assert isinstance(cancel, CancelOrder)
    assert cancel.client_order_id == OTHER_TARGET
    room.accepted(ours["stop"], "3", 49_700)
    assert [m.client_order_id for m in only(CancelOrder, passes(room))] == [OTHER_STOP]
    assert asked(passes(room)) == []  # asked a moment ago
    room.after(15)
    assert [m.client_order_id for m in only(CancelOrder, passes(room))] == [OTHER_STOP, OTHER_TARGET]
    room.gone(OTHER_STOP, "cancelled_by_user")
    room.gone(OTHER_TARGET, "cancelled_by_user")
    room.after(15)
    assert asked(passes(room)) == []
    assert room.trade.working("stop").client_order_id == ours["stop"]


def missing_stop(covered: str, held: str) -> Drift:
    """The reconciler finds a position of ours that is covered in part."""
    return from_edge(Drift, NOW, "naked", kind="missing_stop", symbol=XBT, ours=covered, theirs=held, policy="correct")

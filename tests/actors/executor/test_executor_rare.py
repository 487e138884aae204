"""Orders of events that come once in years: each led into a state that nothing left, or left late or for no reason."""

from __future__ import annotations

from decimal import Decimal as D

import pytest
from executor_room import ENTRY, NOW, STOP, TARGET, Room, codes, entered, only, placed, protected

from actors.executor.decide import LIST_LAG_US
from actors.executor.duties import STOPS_MAX
from protocol import ids
from protocol.messages.control import CloseRequested, Reconciled, Woken
from protocol.messages.futures import EditOrder, PlaceOrder, TradeClosed
from protocol.units import SECOND_US
from tests.fakes.facts import XBT


def test_a_target_that_triggered_and_did_not_fill_leaves_by_market() -> None:
    """Its market order is an IOC with price protection: in a thin book the rest would have had no target any more."""
    room = protected()
    room.mark(55_000)
    room.gone(TARGET, "stop_order_triggered")
    room.after(1)
    room.filled(TARGET, "0.5", 55_000)
    room.position("1.5")
    room.accepted(STOP, "1.5", 49_000)
    assert placed(room.mark(54_000)) == []

    said = room.woken()
    assert room.at == NOW + 3 * SECOND_US, "two seconds after the last that was heard of it"
    assert placed(said) == [("exit", D("1.5"))]
    assert room.trade.closing == "exit.target"
    assert "STOP_NOT_FILLING" in codes(said)


def test_a_target_whose_fill_comes_late_is_not_followed_by_an_order() -> None:
    """The exchange says flat before the fill is told: there is nothing to leave."""
    room = protected()
    room.gone(TARGET, "stop_order_triggered")
    room.position("0")
    assert placed(room.woken()) == []
    room.filled(TARGET, "2", 55_000)
    assert room.ended().reason == "exit.target"


def test_a_target_of_which_only_a_part_is_heard_leaves_by_market() -> None:
    """The stream did not tell its end, and REST told the fill that explains why it is listed no more: the mark would turn, and the profit be lost."""
    room = protected()
    room.filled(TARGET, "0.8", 55_000)
    room.position("1.2")
    room.accepted(STOP, "1.2", 49_000)
    room.mark(54_000)
    room.hear(Reconciled, began_at=room.at, clean=True)

    said = room.woken()
    assert room.at == NOW + 2 * SECOND_US
    assert placed(said) == [("exit", D("1.2"))]
    assert room.trade.closing == "exit.target"


def test_a_stop_of_which_only_a_part_is_heard_is_watched() -> None:
    """Nothing of it rests any more, wherever the mark goes; whole within two seconds it was a stop like any other."""
    room, whole = protected(), protected()
    for each in (room, whole):
        each.filled(STOP, "0.8", 48_990)
        each.position("1.2")
        each.mark(49_500)
        each.after(1)
    whole.filled(STOP, "1.2", 48_980)
    whole.position("0")
    assert (whole.ended().reason, placed(whole.said)) == ("exit.stop", [])

    said = room.woken()
    assert (room.at, placed(said)) == (NOW + 2 * SECOND_US, [("flatten", D("1.2"))])
    assert room.trade.closing == "flatten.stop_not_filling"


def test_a_stop_that_triggered_is_watched_though_its_replacements_were_refused() -> None:
    """The newest stop is not the one that fired: the mark comes back, and the position must not stay as it is."""
    room = protected()
    room.after(10)
    room.drift("missing_stop")
    for attempt in range(1, STOPS_MAX):
        room.rejected(ids.client_order_id("s1", "stop", attempt), "invalidPrice")
        room.after(1)
        room.hear(Woken, key=XBT)
    assert not room.trade.closing
    room.mark(48_990)
    room.gone(STOP, "stop_order_triggered")
    room.mark(49_100)

    room.after(2)
    assert placed(room.hear(Woken, key=XBT)) == [("flatten", D(2))]


def test_a_stop_protects_until_its_replacement_does() -> None:
    """An edit is refused and the tighter stop's answer is lost: the one before rests for all of it, which is no reason to leave."""
    room = protected(strategy={"breakeven_at_r": 0.5})
    room.mark(51_000)
    room.read(1, 51_000)
    assert placed(room.rejected(STOP, "invalidPrice", "edit")) == [("stop", D(2))]
    room.after(room.settings.execution.protect_within_s + 1)

    assert "NAKED_POSITION" not in codes(room.hear(Woken, key=XBT))
    assert room.trade.closing is None
    room.gone(STOP, "cancelled_by_admin")
    room.after(room.settings.execution.protect_within_s)
    assert placed(room.woken()) == [("flatten", D(2))]


def test_a_fill_after_the_end_does_not_wait_for_what_its_trade_waited_for() -> None:
    """The last attempts to leave were half a minute apart; what fills late is naked and goes at once."""
    room = protected()
    room.hear(CloseRequested, request="r", symbol=XBT, by="person", reason="done", dry_run=False)
    for _ in range(5):
        room.woken()
    room.after(1)
    room.filled(room.trade.newest("exit").client_order_id, "2", 50_000)
    room.position("0")
    assert only(TradeClosed, room.all)

    assert placed(room.filled(ENTRY, "1", 50_000)) == [("exit", D(1))]


def filled_and_untold() -> Room:
    """The exchange said that the entry filled; which fill, and that it was closed since, was lost with an earlier life."""
    room = entered()
    room.gone(ENTRY, "full_fill")
    return room.reborn()


def test_an_entry_whose_fill_nobody_tells_bars_its_symbol_no_longer_than_lists_trail() -> None:
    """Two complete passes half a minute later without a position or a fill: there is none."""
    room = filled_and_untold()
    for _ in range(4):
        room.after(7)
        room.hear(Reconciled, began_at=room.at, clean=True)
        assert XBT in room.state.memory.trades
    room.at = NOW + LIST_LAG_US
    for _ in range(2):
        room.hear(Reconciled, began_at=room.at, clean=True)
    assert room.state.memory.trades == {}


def test_an_entry_whose_fill_is_told_late_is_protected() -> None:
    """Also by the exchange's word on the position alone."""
    room = filled_and_untold()
    room.position("2")
    for _ in range(6):
        room.after(15)
        room.hear(Reconciled, began_at=room.at, clean=True)
    assert ("stop", D(2)) in placed(room.all)
    assert room.trade.held == 2


def take_over(room: Room, size: str) -> int:
    """The exchange's word on the position becomes ours by a complete pass; returns the moment before, when fills that are told late were executed."""
    executed = room.at
    room.after(1)
    room.position(size)
    room.hear(Reconciled, began_at=room.at, clean=False)
    return executed


def test_a_position_taken_over_is_not_doubled_by_its_own_fill() -> None:
    """The exchange told the position, and a complete pass made it ours; the entry's fill, told late, is what it was and says at which price."""
    room = entered()
    executed = take_over(room, "2")
    assert room.trade.held == 2
    room.accepted(STOP, "2", 49_000)

    room.after(20)
    said = room.filled(ENTRY, "1.5", 50_010, time=executed)
    assert (room.trade.held, room.trade.cover, only(EditOrder, said)) == (D(2), D(2), [])
    room.filled(ENTRY, "0.5", 50_030, time=executed)
    assert (room.trade.held, room.trade.entry_usd) == (D(2), D("1.5") * 50_010 + D("0.5") * 50_030)

    room.filled(None, "1", 50_000, side="buy")
    assert room.trade.held == 3, "what is bought later is more"


def test_what_was_sold_untold_is_not_sold_twice() -> None:
    """The target filled in part, unheard, and the exchange's word was taken: its fill, told late, leaves the rest protected."""
    room = protected()
    executed = take_over(room, "1.5")
    assert room.trade.held == D("1.5")

    room.after(20)
    room.filled(TARGET, "0.5", 55_000, time=executed)
    assert (room.trade.held, room.trade.cover) == (D("1.5"), D("1.5"))
    assert room.trade.exit_usd == D("0.5") * 55_000


def test_a_fill_of_what_was_over_before_it_was_told_opens_nothing() -> None:
    """Taken over, flattened by the kill switch and closed: the entry's fill comes last, and there is nothing to leave."""
    room = entered()
    executed = take_over(room, "2")
    room.filled(ids.client_order_id("kill", "flatten"), "2", 50_000)
    room.position("0")
    assert room.ended().size == 2

    room.after(20)
    assert placed(room.filled(ENTRY, "2", 50_010, time=executed)) == []
    assert room.state.memory.trades == {}


def test_a_position_that_was_closed_before_its_fill_was_told_is_not_held() -> None:
    """The exchange told of it, a stranger closed it, nothing was read between: the entry's fill, told last, is no position to protect."""
    room = entered()
    executed = room.at
    room.after(0.5)
    room.position("2")
    room.filled(None, "2", 50_000, side="sell")
    room.position("0")
    room.after(0.5)
    said = room.filled(ENTRY, "2", 50_010, time=executed)
    assert placed(said) == []
    room.after(1)
    room.hear(Reconciled, began_at=room.at, clean=True)
    assert room.ended().size == 2


# --- what passes by itself uses nothing up ---------------------------------------------------------------------


def trailing(price: int = 51_000, **market: bool) -> Room:
    """A protected trade whose stop is to go to break-even."""
    room = protected(strategy={"breakeven_at_r": 0.5, "trail_mode": "atr", "trail_start_r": 0.5, "trail_atr": 1.0})
    room.mark(price, **market)
    room.read(1, price, atr=1_000.0)
    return room


def stop_edits(room: Room) -> list[D]:
    return [m.stop_price for m in only(EditOrder, room.said) if m.role == "stop"]


@pytest.mark.parametrize(
    ("status", "limited", "after_s"),
    [("marketSuspended", False, 10), ("marketIsPostOnly", False, 10), ("apiLimitExceeded", True, 1), ("x", True, 1)],
)
def test_an_edit_refused_for_what_passes_is_asked_again(status: str, limited: bool, after_s: int) -> None:
    """A closed market and too many requests say nothing of the order: no replacement is tried, the stop that rests protects meanwhile."""
    room = trailing()
    assert stop_edits(room) == [D(50_000)]
    for times in range(1, 10):
        assert placed(room.rejected(STOP, status, "edit", limited=limited)) == []
        assert stop_edits(room) == []
        room.woken()
        assert (room.at, stop_edits(room)) == (NOW + times * after_s * SECOND_US, [D(50_000)])
    room.accepted(STOP, "2", 50_000)
    assert placed(room.all).count(("stop", D(2))) == 1
    assert room.trade.mend_due is None


def test_a_market_told_closed_is_asked_for_no_tighter_stop() -> None:
    """The first mark of an open one brings the newest, and so does half a minute without a word."""
    room = trailing(suspended=True)
    assert stop_edits(room) == []
    room.mark(53_000, suspended=True)
    room.read(2, 53_000, atr=1_000.0)
    assert (stop_edits(room), room.trade.stop_price) == ([], D(52_000))
    room.mark(53_000)
    assert stop_edits(room) == [D(52_000)]

    room = trailing(suspended=True)
    room.woken()
    assert (room.at, stop_edits(room)) == (NOW + 30 * SECOND_US, [D(50_000)])


def test_a_stop_that_does_not_cover_cannot_wait_for_the_market_to_open() -> None:
    """Each second, until the time without protection is up."""
    room = entered()
    room.filled(ENTRY, "0.5", 50_000)
    room.accepted(STOP, "0.5", 49_000)
    room.filled(ENTRY, "1.5", 50_000)
    for second in range(1, 5):
        assert placed(room.rejected(STOP, "marketSuspended", "edit")) == []
        room.woken()
        assert (room.at, [m.size for m in only(EditOrder, room.said)]) == (NOW + second * SECOND_US, [D(2)])
    assert placed(room.woken()) == [("flatten", D(2))]


def test_a_tighter_stop_waits_no_longer_once_the_old_one_does_not_cover() -> None:
    """Ten seconds were for a stop that protects as it is."""
    room = trailing()
    room.rejected(STOP, "marketSuspended", "edit")
    room.after(3)
    room.filled(ENTRY, "1", 50_000)
    assert [m.size for m in only(EditOrder, room.said) if m.role == "stop"] == [D(3)]


def test_replacements_wait_for_a_closed_market_too() -> None:
    """An edit was refused for good; the second stop beside the one that protects is asked for each ten seconds."""
    room = trailing()
    room.rejected(STOP, "invalidPrice", "edit")
    assert placed(room.rejected(ids.client_order_id("s1", "stop", 1), "marketSuspended")) == []
    assert placed(room.woken()) == [("stop", D(2))]
    assert room.at == NOW + 10 * SECOND_US

    room.rejected(ids.client_order_id("s1", "stop", 2), "marketSuspended")
    room.after(1)
    assert placed(room.gone(STOP, "cancelled_by_admin")) == [("stop", D(2))], "none rests: at once"


def test_another_price_is_another_question() -> None:
    """An edit and all its replacements were refused: with the next candle's price the stop is asked anew, and rests there."""
    room = trailing()
    room.rejected(STOP, "invalidPrice", "edit")
    for attempt in range(1, STOPS_MAX):
        room.rejected(ids.client_order_id("s1", "stop", attempt), "invalidPrice")
        room.after(1)
        room.hear(Woken, key=XBT)
    room.mark(53_000)
    room.read(2, 53_000, atr=1_000.0)
    assert stop_edits(room) == [D(52_000)]
    room.accepted(STOP, "2", 52_000)
    assert (room.trade.working("stop").client_order_id, room.trade.closing) == (STOP, None)


@pytest.mark.parametrize("clean", [True, False])
def test_stops_lost_long_ago_are_no_reason_to_leave(clean: bool) -> None:
    """Each was followed by one that rested over a clean pass; only such a pass counts, and no id is ever used again."""
    room = protected()
    for _ in range(STOPS_MAX + 3):
        room.after(60)
        room.hear(Reconciled, began_at=room.at, clean=clean)
        if room.trade.closing:
            break
        room.gone(room.trade.working("stop").client_order_id, "cancelled_by_admin")
        if not room.trade.closing:
            room.accepted(room.trade.working("stop").client_order_id, "2", 49_000)
    assert room.trade.closing == (None if clean else "flatten.stop_lost")
    names = [m.client_order_id for m in only(PlaceOrder, room.all) if m.role == "stop"]
    assert len(names) == len(set(names))

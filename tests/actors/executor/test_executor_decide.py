"""Stories of a trade, from an approved entry to flat, on good days and bad ones."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal as D
from typing import Any

import msgspec
import pytest
from executor_room import ENTRY, NOW, STOP, TARGET, Room, codes, entered, naked, only, placed, protected

from actors.executor.duties import STOPS_MAX
from actors.executor.entries import ENTRY_REFUSALS
from actors.executor.state import Memory, initial
from actors.memory import durable, remembered
from protocol import codec, ids
from protocol.messages.base import Message
from protocol.messages.control import (
    Alert,
    CloseRequested,
    HaltEntries,
    PersonAnswered,
    Reconciled,
    Started,
    Woken,
)
from protocol.messages.futures import (
    CancelOrder,
    EditOrder,
    EntryBlocked,
    InstrumentsListed,
    PlaceOrder,
    Protected,
    TradeClosed,
    TradeOpened,
)
from protocol.units import SECOND_US
from sim.market.contracts import PF_XBTUSD
from tests.fakes import facts
from tests.fakes.facts import XBT

# --- good days -----------------------------------------------------------------------------------------------


def test_an_entry_is_a_market_order_that_must_arrive_in_time() -> None:
    """The id comes from the signal, and the exchange refuses the order after process_before."""
    room = entered()

    (order,) = only(PlaceOrder, room.said)
    assert (order.client_order_id, order.role, order.order_type, order.side) == (ENTRY, "entry", "mkt", "buy")
    assert (order.size, order.reduce_only, order.limit_price) == (D(2), False, None)
    assert order.process_before == NOW + 5 * SECOND_US


def test_the_first_fill_is_protected_at_once() -> None:
    """Stop-market and take-profit, reduce-only, for exactly what filled, at distances from the mark at entry."""
    room = entered()
    said = room.filled(ENTRY, "2", 50_010)

    assert [(m.size, m.price) for m in only(TradeOpened, said)] == [(D(2), D(50_010))]
    stop, target = only(PlaceOrder, said)
    assert (stop.client_order_id, stop.order_type, stop.side, stop.size) == (STOP, "stp", "sell", D(2))
    assert (stop.stop_price, stop.limit_price, stop.reduce_only) == (D(49_000), None, True)
    assert (target.client_order_id, target.order_type, target.stop_price) == (TARGET, "take_profit", D(55_000))


def test_protected_is_said_when_both_rest() -> None:
    """Asked for is not protected; listed by the exchange is."""
    room = naked()
    assert only(Protected, room.accepted(STOP, "2", 49_000)) == []

    (message,) = only(Protected, room.accepted(TARGET, "2", 55_000))
    assert (message.size, message.stop_price, message.target_price) == (D(2), D(49_000), D(55_000))
    assert only(Protected, room.accepted(TARGET, "2", 55_000)) == []


def test_a_trade_that_reaches_its_target_is_told_with_its_sums() -> None:
    """The stop rests until the exchange says flat, then it goes; profit is after fees, measured in R."""
    room = protected()
    room.gone(TARGET, "stop_order_triggered")
    assert room.filled(TARGET, "2", 54_990) == ()

    said = room.position("0")
    assert [m.client_order_id for m in only(CancelOrder, said)] == [STOP]
    (closed,) = only(TradeClosed, said)
    assert (closed.reason, closed.size) == ("exit.target", D(2))
    assert (closed.entry_price, closed.exit_price) == (D(50_010), D(54_990))
    assert (closed.fees_usd, closed.pnl_usd) == (D(20), D(2 * 4_980 - 20))
    assert closed.r_multiple == (D(9_940) / (2 * 1_010)).quantize(D("0.0001"))
    assert XBT not in room.state.memory.trades


def test_a_trade_that_is_stopped_cancels_its_target() -> None:
    """The mirror of a target."""
    room = protected()
    room.mark(48_990)
    room.gone(STOP, "stop_order_triggered")
    room.filled(STOP, "2", 48_980)
    said = room.position("0")

    assert [m.client_order_id for m in only(CancelOrder, said)] == [TARGET]
    assert room.ended().reason == "exit.stop"
    assert room.ended().r_multiple < -1


def test_a_flat_word_ahead_of_its_fill_is_waited_out() -> None:
    """The position may be told before the fill that explains it."""
    room = protected()
    assert only(TradeClosed, room.position("0")) == []
    room.filled(STOP, "2", 49_000)

    assert room.ended().reason == "exit.stop"


def test_a_flat_word_from_before_the_entry_filled_ends_no_trade() -> None:
    """The last trade's end is told late, the entry fills in part and is stopped at once: the rest of the entry is still this trade's."""
    room = entered()
    room.position("0")
    room.filled(ENTRY, "1", 50_010)
    room.accepted(STOP, "1", 49_000)
    assert not only(TradeClosed, room.filled(STOP, "1", 49_000))
    assert ("stop", D(1)) in placed(room.filled(ENTRY, "1", 50_010))
    room.hear(Reconciled, began_at=room.at, clean=True)
    assert only(TradeClosed, room.all) == []


def test_a_trade_closed_within_a_moment_is_told_when_a_pass_proves_it() -> None:
    """The exchange may tell only that it is flat again, which is no change of its word: the next complete pass counts as that word."""
    room = entered()
    room.position("0")
    room.filled(ENTRY, "2", 50_010)
    room.accepted(STOP, "2", 49_000)
    room.filled(STOP, "2", 49_000)
    room.after(1)
    room.hear(Reconciled, began_at=room.at, clean=True)
    assert room.ended().reason == "exit.stop"


def test_further_fills_enlarge_the_protection() -> None:
    """Each part is covered by an edit of what rests; sizes are totals."""
    room = entered()
    room.filled(ENTRY, "0.5", 50_000)
    room.accepted(STOP, "0.5", 49_000)
    room.accepted(TARGET, "0.5", 55_000)
    said = room.filled(ENTRY, "1.5", 50_000)

    edits = only(EditOrder, said)
    assert [(m.client_order_id, m.size, m.stop_price) for m in edits] == [
        (STOP, D(2), D(49_000)),
        (TARGET, D(2), D(55_000)),
    ]
    assert placed(said) == []
    room.accepted(STOP, "2", 49_000)
    assert [m.size for m in only(Protected, room.accepted(TARGET, "2", 55_000))] == [D(2)]


def test_a_fill_before_the_stop_is_listed_is_covered_once_it_is() -> None:
    """An order on its way is not edited; the moment it rests it is."""
    room = entered()
    room.filled(ENTRY, "0.5", 50_000)
    assert only(EditOrder, room.filled(ENTRY, "1.5", 50_000)) == []

    assert [m.size for m in only(EditOrder, room.accepted(STOP, "0.5", 49_000))] == [D(2)]


def test_a_part_filled_target_shrinks_the_stop_when_the_position_says_so() -> None:
    """What is still held stays covered, and not more than that."""
    room = protected()
    room.filled(TARGET, "0.5", 55_000)
    said = room.position("1.5")

    assert [(m.client_order_id, m.size) for m in only(EditOrder, room.all)] == [(STOP, D("1.5"))]
    assert said == ()


def test_a_fill_told_twice_counts_once() -> None:
    """Idempotent by the exchange's fill id."""
    room = naked()
    before = room.state

    assert room.filled(ENTRY, "2", 50_010, fill_id="f1") == ()
    assert room.state == before


def test_a_fee_that_is_not_told_is_estimated_and_said() -> None:
    """Unknown is not zero: the taker rate is taken."""
    room = protected()
    room.filled(TARGET, "2", 55_000, fee_usd=None)
    said = room.position("0")

    assert "FEE_ESTIMATED" in codes(said)
    assert room.ended().fees_usd == D(10) + D(110_000) * D("0.0005")


# --- entries that go wrong -----------------------------------------------------------------------------------


def test_one_entry_a_signal_for_ever() -> None:
    """The same approval again, now or after a restart, sends nothing."""
    room = entered()
    assert placed(room.enter()) == []
    room.hear(EntryBlocked, client_order_id=ENTRY, symbol=XBT, reasons=("gate.lease:spot_feed",))
    assert room.state.memory.trades == {}
    assert placed(room.enter()) == []

    again = room.reborn()
    again.hear(Reconciled, began_at=again.at, clean=True)
    assert placed(again.enter()) == []
    assert codes(again.said) == ["ORDER_REJECTED"]


@pytest.mark.parametrize(
    ("code", "prepare"),
    [
        ("entry.held", lambda room: room.enter("s0")),
        ("entry.late", lambda room: room.after(7200)),
        ("entry.instrument_unknown", lambda room: room.hear(InstrumentsListed, instruments=())),
        ("entry.not_reconciled", lambda room: room.hear(Started, restarted=True)),
    ],
)
def test_an_entry_that_may_not_be_sent_is_dropped_and_said(code: str, prepare: Any) -> None:
    """An approval is necessary, not sufficient."""
    room = Room()
    room.listed()
    prepare(room)

    assert placed(room.enter()) == []
    assert code in only(Alert, room.said)[0].text


@pytest.mark.parametrize("end", ["blocked", "rejected", "gone"])
def test_an_entry_that_ends_without_a_fill_is_over(end: str) -> None:
    """Nothing held, nothing owed."""
    room = entered()
    if end == "blocked":
        room.hear(EntryBlocked, client_order_id=ENTRY, symbol=XBT, reasons=("halt",))
    elif end == "rejected":
        assert codes(room.rejected(ENTRY, "insufficientAvailableFunds")) == ["ORDER_REJECTED"]
    else:
        room.gone(ENTRY, "ioc_order_failed_because_it_would_not_be_executed")

    assert room.state.memory.trades == {}
    assert only(TradeClosed, room.all) == []


def test_an_unknown_entry_stays_unknown_and_is_not_resent() -> None:
    """No time ends it; after a minute a person is told."""
    room = entered()
    assert codes(room.unknown(ENTRY)) == ["ORDER_UNKNOWN"]
    room.after(61)
    said = room.hear(Woken, key=XBT)

    assert [(m.code, m.severity) for m in only(Alert, said)] == [("ORDER_UNKNOWN", "critical")]
    assert placed(said) == []
    assert room.trade.entry.state == "unknown"


def test_an_unknown_entry_that_filled_is_protected() -> None:
    """The fill is the evidence."""
    room = entered()
    room.unknown(ENTRY)

    assert placed(room.filled(ENTRY, "2", 50_000)) == [("stop", D(2)), ("target", D(2))]


def test_an_unanswered_entry_becomes_unknown_by_itself() -> None:
    """Silence is not a refusal."""
    room = entered()

    assert codes(room.woken()) == ["ORDER_UNKNOWN"]
    assert room.trade.entry.state == "unknown"


def test_an_unknown_entry_is_settled_by_proof_of_absence() -> None:
    """The reconciler's word, or two complete passes begun after the exchange would have refused it."""
    by_word = entered()
    by_word.unknown(ENTRY)
    by_word.drift("missing_order", client_order_id=ENTRY)
    assert by_word.state.memory.trades == {}

    by_passes = entered()
    by_passes.unknown(ENTRY)
    by_passes.hear(Reconciled, began_at=by_passes.at, clean=True)
    by_passes.after(15)
    by_passes.hear(Reconciled, began_at=by_passes.at, clean=True)
    assert XBT in by_passes.state.memory.trades
    by_passes.after(15)
    by_passes.hear(Reconciled, began_at=by_passes.at, clean=True)
    assert by_passes.state.memory.trades == {}


def test_an_entry_that_filled_after_it_was_refused_is_closed() -> None:
    """Fills outrank every other word; a trade given up is not taken up again, it is flattened."""
    room = entered()
    room.rejected(ENTRY, "insufficientAvailableFunds")
    said = room.filled(ENTRY, "2", 50_000)

    assert "RECON_DIFF" in codes(said)
    assert placed(said) == [("flatten", D(2))]


def test_a_duplicate_refusal_is_evidence_of_the_first() -> None:
    """ "Already exists" means that the order arrived."""
    room = entered()
    room.unknown(ENTRY)
    room.rejected(ENTRY, "clientOrderIdAlreadyExist")

    assert room.trade.entry.state == "submitted"


# --- protection that goes wrong ------------------------------------------------------------------------------


def test_a_refused_stop_flattens_at_once() -> None:
    """A position without a stop is not held on to."""
    room = naked()
    said = room.rejected(STOP, "outsidePriceCollar")

    assert placed(said) == [("flatten", D(2))]
    assert only(PlaceOrder, said)[0].reduce_only
    assert [m.severity for m in only(Alert, said)] == ["critical"]
    flatten = only(PlaceOrder, said)[0].client_order_id
    room.filled(flatten, "2", 49_900)
    room.position("0")
    assert room.ended().reason == "flatten.stop_rejected"


def test_a_stop_refused_for_the_rate_is_tried_again_a_second_later() -> None:
    """Nothing is wrong with the stop, and a market order would be refused as it was."""
    room = naked()
    room.rejected(STOP, "apiLimitExceeded", limited=True)
    assert placed(room.said) == []
    assert placed(room.mark(50_000)) == []
    assert placed(room.woken()) == [("stop", D(2))]
    assert room.at == NOW + SECOND_US
    again = room.trade.working("stop").client_order_id
    assert again != STOP
    room.accepted(again, "2", 49_000)
    assert (room.trade.closing, room.trade.naked_since) == (None, None)


def test_stops_refused_for_the_rate_again_and_again_flatten_when_time_is_up() -> None:
    """The limit of a position without protection holds, whoever is at fault."""
    room = naked()
    while not room.trade.closing:
        room.rejected(room.trade.working("stop").client_order_id, "apiLimitExceeded", limited=True)
        assert room.trade.closing or room.woken()
    assert NOW + 3 * SECOND_US < room.at <= NOW + 5 * SECOND_US
    assert ("flatten", D(2)) in placed(room.all)


def test_no_stop_is_waited_for_that_the_mark_is_already_beyond() -> None:
    """It would fire at once: leave."""
    room = naked()
    room.rejected(STOP, "apiLimitExceeded", limited=True)
    assert placed(room.mark(48_900)) == [("flatten", D(2))]


def test_a_stop_nobody_confirms_flattens_in_time() -> None:
    """Five seconds without a listed stop."""
    room = naked()
    assert placed(room.woken()) == [("flatten", D(2))]

    assert codes(room.said) == ["NAKED_POSITION"]
    assert room.at == NOW + 5 * SECOND_US


def test_an_unknown_stop_is_sent_again_once_under_the_same_id() -> None:
    """The exchange refuses the second if the first arrived; still unknown, the limit flattens."""
    room = naked()
    (again,) = only(PlaceOrder, room.unknown(STOP))
    assert (again.client_order_id, again.size, again.stop_price, again.again) == (STOP, D(2), D(49_000), True)
    assert only(PlaceOrder, room.unknown(STOP)) == []

    assert placed(room.woken()) == [("flatten", D(2))]


def test_a_resent_stop_that_already_rests_is_fine() -> None:
    """The refusal of the duplicate does not flatten."""
    room = naked()
    room.unknown(STOP)
    assert placed(room.rejected(STOP, "clientOrderIdAlreadyExist")) == []
    room.accepted(STOP, "2", 49_000)

    assert room.trade.naked_since is None


def test_a_refused_resend_proves_nothing_about_the_first() -> None:
    """The first may rest: nothing is concluded until it is listed or the time is up."""
    room = naked()
    room.unknown(STOP)
    assert placed(room.rejected(STOP, "marketSuspended")) == []

    assert placed(room.woken()) == [("flatten", D(2))]


def doubtful_target() -> Room:
    """The stop rests, and of the target that was sent first nobody answered: it was sent again."""
    room = naked()
    room.accepted(STOP, "2", 49_000)
    room.after(5)
    assert [m.client_order_id for m in only(PlaceOrder, room.unknown(TARGET))] == [TARGET]
    return room


def test_what_was_read_before_a_resend_was_answered_does_not_prove_a_target_absent() -> None:
    """A doubt that a hanging feed tells late is older than the resend it causes, and than readings that cannot show that (storm 420088)."""
    room = doubtful_target()
    room.after(11)
    assert placed(room.hear(Reconciled, began_at=room.at, clean=True)) == []
    assert placed(room.drift("missing_order", client_order_id=TARGET)) == []
    assert placed(room.hear(Reconciled, began_at=room.at, clean=False)) == []
    said = room.accepted(TARGET, "2", 55_000)
    assert only(CancelOrder, said) == []
    assert room.trade.working("target").resting


@pytest.mark.parametrize("answer", ["unknown", "rejected", "nothing"])
def test_a_target_whose_resend_did_not_help_is_placed_anew(answer: str) -> None:
    """With the first reading after its answer, or after half a minute: an answer may die with a feed."""
    room = doubtful_target()
    room.after(5)
    if answer == "unknown":
        assert placed(room.unknown(TARGET)) == []
    elif answer == "rejected":
        assert placed(room.rejected(TARGET, "insufficientAvailableFunds")) == []
    room.after(1 if answer != "nothing" else 26)
    said = room.hear(Reconciled, began_at=room.at, clean=True)
    assert [m.client_order_id for m in only(PlaceOrder, said)] == [ids.client_order_id("s1", "target", 1)]


def test_a_target_that_nobody_speaks_of_is_sent_again() -> None:
    """The first answer died with its feed, too: what half a minute later no reading lists is in doubt."""
    room = naked()
    room.accepted(STOP, "2", 49_000)
    room.after(29)
    assert placed(room.hear(Reconciled, began_at=room.at, clean=True)) == []
    room.after(2)
    (again,) = only(PlaceOrder, room.hear(Reconciled, began_at=room.at, clean=True))
    assert (again.client_order_id, again.again) == (TARGET, True)


def test_a_stop_in_doubt_is_placed_anew_though_its_resend_is_not_answered() -> None:
    """One too many is cancelled when it shows, one too few is a naked position."""
    room = naked()
    room.unknown(STOP)
    room.after(1)
    assert placed(room.hear(Reconciled, began_at=room.at, clean=True)) == [("stop", D(2))]


SECOND_STOP = ids.client_order_id("s1", "stop", 1)


def test_an_order_given_up_and_listed_all_the_same_is_cancelled() -> None:
    """It would stand beside its replacement."""
    room = protected()
    room.drift("missing_order", client_order_id=STOP)
    room.accepted(SECOND_STOP, "2", 49_000)

    assert [m.client_order_id for m in only(CancelOrder, room.accepted(STOP, "2", 49_000))] == [STOP]


def test_a_stop_given_up_and_listed_all_the_same_stays_until_another_rests() -> None:
    """It may be all that protects; its listed terms are what we go by (storm 80015)."""
    room = protected()
    room.drift("missing_order", client_order_id=STOP)

    assert only(CancelOrder, room.accepted(STOP, "1", 48_900)) == []
    assert (room.trade.find(STOP).size, room.trade.find(STOP).stop_price) == (D(1), D(48_900))
    assert [m.client_order_id for m in only(CancelOrder, room.accepted(SECOND_STOP, "2", 49_000))] == [STOP]


def test_a_stop_given_up_is_kept_when_its_replacement_is_refused() -> None:
    """While we leave, too: the market may be closed to everything but cancels."""
    room = protected()
    room.drift("missing_order", client_order_id=STOP)
    assert placed(room.rejected(SECOND_STOP, "marketSuspended")) == [("flatten", D(2))]

    assert only(CancelOrder, room.accepted(STOP, "2", 49_000)) == []
    assert room.trade.working("stop").client_order_id == STOP
    room.drift("missing_order", client_order_id=STOP)
    assert room.trade.working("stop") is None, "two readings without it take it away again"


def test_replacements_of_a_stop_are_not_refused_in_one_breath() -> None:
    """While the one before may rest the next is tried a second later (storm 80015)."""
    room = protected()
    room.after(10)
    (stop,) = only(PlaceOrder, room.drift("missing_stop"))
    assert stop.client_order_id == SECOND_STOP

    assert placed(room.rejected(SECOND_STOP, "marketSuspended")) == []
    assert placed(room.woken()) == [("stop", D(2))]
    assert room.at >= NOW + 11 * SECOND_US


def test_a_closed_market_that_somebody_else_asks_is_not_asked_too() -> None:
    """The kill switch does, every five seconds; ten seconds after its last refusal we ask again ourselves (storm 70583)."""
    room = naked()
    room.rejected(STOP, "marketSuspended")
    room.rejected(ids.client_order_id("s1", "flatten"), "marketSuspended")
    for _ in range(6):
        room.after(5)
        room.rejected("ks-kill", "marketSuspended")
        room.hear(Woken, key=XBT)
    assert placed(room.all).count(("flatten", D(2))) == 1
    room.after(10)
    assert placed(room.hear(Woken, key=XBT)) == [("flatten", D(2))]


def test_a_refusal_of_a_stranger_for_another_reason_holds_nobody_up() -> None:
    """Only that the market is closed is true for us too."""
    room = naked()
    room.rejected(STOP, "invalidSize")
    room.rejected(ids.client_order_id("s1", "flatten"), "marketSuspended")
    room.after(5)
    room.rejected("ks-kill", "insufficientAvailableFunds")
    assert placed(room.hear(Woken, key=XBT)) == [("flatten", D(2))]


def test_a_lost_stop_is_replaced_at_the_same_price() -> None:
    """With a new id, and said."""
    room = protected()
    said = room.gone(STOP, "dead_man_switch")

    assert codes(said) == ["STOP_LOST"]
    (stop,) = only(PlaceOrder, said)
    assert (stop.client_order_id, stop.stop_price) == (ids.client_order_id("s1", "stop", 1), D(49_000))


def test_a_lost_stop_the_mark_is_already_beyond_flattens() -> None:
    """A stop placed now would be too late."""
    room = protected()
    room.mark(48_900)
    said = room.drift("missing_order", client_order_id=STOP)

    assert placed(said) == [("flatten", D(2))]
    assert room.trade.closing == "flatten.beyond_stop"


def test_a_stop_that_is_lost_again_and_again_flattens() -> None:
    """Replacing is bounded."""
    room = protected()
    for attempt in range(STOPS_MAX):
        assert room.trade.closing is None
        room.gone(ids.client_order_id("s1", "stop", attempt), "cancelled_by_admin")

    assert room.trade.closing == "flatten.stop_lost"


def test_a_stop_that_should_have_filled_and_did_not_flattens() -> None:
    """Two seconds beyond the stop is no protection any more."""
    room = protected()
    room.mark(48_990)
    room.gone(STOP, "stop_order_triggered")
    room.after(1)
    assert placed(room.mark(49_100)) == []
    said = room.woken()

    assert placed(said) == [("flatten", D(2))]
    assert "STOP_NOT_FILLING" in codes(said)
    assert room.at == NOW + 2 * SECOND_US


@pytest.mark.parametrize(("mark", "index", "left"), [(49_500, 48_000, False), (48_990, 50_000, True)])
def test_a_stop_is_watched_by_the_mark_alone(mark: int, index: int, left: bool) -> None:
    """As the exchange triggers it: an index beyond it is no reason to leave, a mark beyond it is whatever the index says."""
    room = protected()
    room.mark(mark, index=D(index))
    room.after(3)
    assert placed(room.hear(Woken, key=XBT)) == ([("flatten", D(2))] if left else [])


@pytest.mark.parametrize(("mark", "index", "leaves"), [(49_500, 48_000, "stop"), (48_900, 50_000, "flatten")])
def test_whether_a_missing_stop_comes_too_late_is_told_by_the_mark_alone(mark: int, index: int, leaves: str) -> None:
    """One that the mark has passed would fire at once or be refused; the index says nothing of that."""
    room = protected()
    room.mark(mark, index=D(index))
    assert placed(room.drift("missing_order", client_order_id=STOP)) == [(leaves, D(2))]


def test_a_pass_makes_every_trade_whole() -> None:
    """After a restart nothing leaves before the first one; the second market's stop must not wait for a word of its own."""
    rules = tuple(facts.instrument(name, max_position=D(100)) for name in (XBT, "PF_ETHUSD"))
    room = Room()
    room.hear(InstrumentsListed, instruments=rules)
    for name, spot in ((XBT, "BTC/USD"), ("PF_ETHUSD", "ETH/USD")):
        room.enter(name, symbol=name, spot_symbol=spot)
        room.filled(ids.client_order_id(name, "entry"), "2", 50_010, symbol=name, side="buy")
    room = room.reborn()
    room.hear(InstrumentsListed, instruments=rules)
    said = room.hear(Reconciled, began_at=room.at, clean=True)
    assert [order.symbol for order in only(PlaceOrder, said) if order.role == "stop"] == ["PF_ETHUSD", XBT]


def test_a_wick_through_an_untriggered_stop_is_forgiven() -> None:
    """The mark came back before the stop even triggered."""
    room = protected()
    room.mark(48_990)
    room.after(1)
    room.mark(49_100)
    room.after(2)

    assert placed(room.hear(Woken, key=XBT)) == []


def test_the_child_of_a_triggered_stop_counts_as_the_stop() -> None:
    """A triggered stop may fill under an order id of the exchange's own."""
    room = protected()
    room.gone(STOP, "stop_order_triggered")
    room.filled(None, "2", 48_990)
    room.position("0")

    assert room.ended().reason == "exit.stop"


def test_a_refused_edit_is_answered_by_a_second_stop_before_the_first_goes() -> None:
    """A replacement places before it cancels (invariant 3)."""
    room = entered()
    room.filled(ENTRY, "0.5", 50_000)
    room.accepted(STOP, "0.5", 49_000)
    room.filled(ENTRY, "1.5", 50_000)
    said = room.rejected(STOP, "invalidSize", "edit")
    second = ids.client_order_id("s1", "stop", 1)
    assert [(m.client_order_id, m.size) for m in only(PlaceOrder, said) if m.role == "stop"] == [(second, D(2))]
    assert only(CancelOrder, said) == []

    said = room.accepted(second, "2", 49_000)
    assert [m.client_order_id for m in only(CancelOrder, said)] == [STOP]
    assert only(CancelOrder, room.accepted(second, "2", 49_000)) == []


def test_an_edit_of_unknown_outcome_is_asked_again_once() -> None:
    """An edit to a total is the same however often it arrives."""
    room = entered()
    room.filled(ENTRY, "0.5", 50_000)
    room.accepted(STOP, "0.5", 49_000)
    room.filled(ENTRY, "1.5", 50_000)

    assert [m.size for m in only(EditOrder, room.unknown(STOP, "edit"))] == [D(2)]
    assert only(EditOrder, room.unknown(STOP, "edit")) == []


def test_a_refused_target_leaves_the_stop_and_watches_the_mark() -> None:
    """The position is protected without it; reaching the price still ends the trade."""
    room = naked()
    room.accepted(STOP, "2", 49_000)
    assert placed(room.rejected(TARGET, "tooManySmallOrders")) == []
    assert placed(room.mark(54_999)) == []

    assert placed(room.mark(55_000)) == [("exit", D(2))]
    assert room.trade.closing == "exit.target"


def test_a_stop_refused_because_nothing_is_held_does_not_flatten() -> None:
    """ "Would not reduce" says that the position is gone; its fill or the position will follow, and the same is not asked again in one breath."""
    room = naked()
    assert placed(room.rejected(STOP, "wouldNotReducePosition")) == []

    assert placed(room.woken()) == [("stop", D(2))]
    assert room.at == NOW + SECOND_US
    assert placed(room.rejected(ids.client_order_id("s1", "stop", 1), "wouldNotReducePosition")) == []
    assert placed(room.woken()) == [("stop", D(2))]
    assert room.at == NOW + 3 * SECOND_US
    room.rejected(ids.client_order_id("s1", "stop", 2), "wouldNotReducePosition")
    assert placed(room.woken()) == [("flatten", D(2))]
    assert room.at == NOW + 5 * SECOND_US, "naked no longer than it may be"


def test_a_target_makes_room_for_a_stop_that_is_refused_beside_it() -> None:
    """Where the exchange takes one reduce-only order alone it is to be the stop (fault-catalogue 48)."""
    room = protected()
    room.gone(STOP, "cancelled_by_admin")
    said = room.rejected(ids.client_order_id("s1", "stop", 1), "wouldNotReducePosition")
    assert [type(m) for m in said if isinstance(m, CancelOrder | PlaceOrder)] == [CancelOrder, PlaceOrder]
    assert [m.client_order_id for m in only(CancelOrder, said)] == [TARGET]
    assert placed(said) == [("stop", D(2))]
    assert placed(room.gone(TARGET, "cancelled_by_user")) == [("target", D(2))]
    room.accepted(ids.client_order_id("s1", "stop", 2), "2", 49_000)
    room.rejected(ids.client_order_id("s1", "target", 1), "wouldNotReducePosition")
    assert not room.trade.closing
    assert placed(room.mark(55_000)) == [("exit", D(2))], "the mark is watched in its place"


# --- leaving -------------------------------------------------------------------------------------------------


def test_a_flip_leaves_by_market_with_the_stop_still_resting() -> None:
    """The stop is not cancelled first (invariant 10): it goes when the exchange says flat."""
    room = protected()
    said = room.read(1, choch_4h=-1)
    (order,) = only(PlaceOrder, said)
    assert (order.role, order.order_type, order.size, order.reduce_only) == ("exit", "mkt", D(2), True)
    assert only(CancelOrder, said) == []

    room.filled(order.client_order_id, "2", 50_500)
    said = room.position("0")
    assert {m.client_order_id for m in only(CancelOrder, said)} == {STOP, TARGET}
    assert room.ended().reason == "exit.choch"


def test_time_is_up() -> None:
    """max_hold_bars candles after the entry candle."""
    room = Room()
    room.listed()
    room.enter(max_hold_bars=2)
    room.filled(ENTRY, "2", 50_000)
    assert placed(room.read(1)) == []

    assert placed(room.read(2)) == [("exit", D(2))]


@pytest.mark.parametrize(
    "changes", [{"bar": 0}, {"timeframe": "15m"}, {"symbol": "ETH/USD"}], ids=["entry candle", "timeframe", "symbol"]
)
def test_a_candle_that_is_not_the_trades_own_says_nothing(changes: dict[str, Any]) -> None:
    """Exits follow the series that signalled, after the entry candle."""
    room = protected()

    assert room.read(**{"bar": 1, "choch_4h": -1, **changes}) == ()


def test_a_market_exit_cut_short_is_repeated_for_the_rest() -> None:
    """A market order is an IOC with price protection: the remainder follows under a new id."""
    room = protected()
    first = only(PlaceOrder, room.read(1, choch_4h=-1))[0].client_order_id
    room.filled(first, "1.5", 50_000)
    room.position("0.5")
    said = room.gone(first, "ioc_order_failed_because_it_would_not_be_executed")

    (second,) = only(PlaceOrder, said)
    assert (second.client_order_id, second.size) == (ids.client_order_id("s1", "exit", 1), D("0.5"))


def test_a_thin_market_is_left_a_part_a_second() -> None:
    """After the first rest, which follows at once: each part found something, so patience does not grow (storm 410425)."""
    room = protected()
    room.read(1, choch_4h=-1)
    sent = []
    for attempt, left in enumerate(("1.5", "1", "0.5")):
        name = ids.client_order_id("s1", "exit", attempt)
        began = room.at
        room.filled(name, "0.5", 50_000)
        room.position(left)
        said = room.gone(name, "placed")
        if not only(PlaceOrder, said):
            said = room.woken()
        (order,) = only(PlaceOrder, said)
        sent.append((order.size, (room.at - began) // SECOND_US))

    assert [size for size, _ in sent] == [D("1.5"), D(1), D("0.5")]
    assert [seconds for _, seconds in sent] == [0, 1, 1]
    room.unknown(ids.client_order_id("s1", "exit", 3))
    began = room.at
    assert placed(room.woken()) == [("exit", D("0.5"))]
    assert (room.at - began) // SECOND_US == 5, "what found a part was not in vain: patience begins anew"


def test_an_exit_that_is_not_answered_is_repeated_with_growing_patience() -> None:
    """Reduce-only, so a second one cannot overshoot; each repetition is said, and a target in the way goes."""
    room = protected()
    room.read(1, choch_4h=-1)
    room.unknown(ids.client_order_id("s1", "exit"))
    start = room.at
    said = room.woken()
    assert placed(said) == [("exit", D(2))]
    assert [m.client_order_id for m in only(CancelOrder, said)] == [TARGET]
    assert "STOP_NOT_FILLING" in codes(said)
    room.woken()
    room.woken()

    assert room.at - start > 3 * 5 * SECOND_US


def test_an_exit_in_doubt_is_asked_again_under_its_own_id() -> None:
    """An hour without an answer is one order in doubt, and a few words of it; what is held is left by a new one as soon as it is another size."""
    room = protected()
    (first,) = only(PlaceOrder, room.read(1, choch_4h=-1))
    said = list[Message]()
    for _ in range(120):
        said += room.unknown(first.client_order_id)
        said += room.woken()
    assert {order.client_order_id for order in only(PlaceOrder, said)} == {first.client_order_id}
    assert sum(order.live for order in room.trade.orders if order.role == "exit") == 1
    assert codes(said) == ["ORDER_UNKNOWN", "STOP_NOT_FILLING"]
    assert codes(room.reborn().unknown(first.client_order_id)) == ["ORDER_UNKNOWN"], "each life says it once"

    room.filled(STOP, "0.5", 49_000)
    room.position("1.5")
    (rest,) = only(PlaceOrder, room.woken())
    assert (rest.client_order_id, rest.size) == (ids.client_order_id("s1", "exit", 1), D("1.5"))


def test_an_exit_in_doubt_is_followed_by_another_once_the_truth_was_read() -> None:
    """What is still held then was not left by it: a duplicate, refused as known, would leave nothing either."""
    room = protected()
    (first,) = only(PlaceOrder, room.read(1, choch_4h=-1))
    room.unknown(first.client_order_id)
    room.after(1)
    assert placed(room.hear(Reconciled, began_at=room.at, clean=False)) == []
    (second,) = only(PlaceOrder, room.woken())
    assert second.client_order_id == ids.client_order_id("s1", "exit", 1)


def test_a_refusal_of_an_exit_that_was_in_doubt_is_a_refusal() -> None:
    """Who refuses it has not taken it, and was it taken before it only reduces: it is said, and the next one has an id of its own."""
    room = protected()
    (first,) = only(PlaceOrder, room.read(1, choch_4h=-1))
    room.unknown(first.client_order_id)
    room.woken()
    assert "ORDER_REJECTED" in codes(room.rejected(first.client_order_id, "marketSuspended"))
    (second,) = only(PlaceOrder, room.woken())
    assert second.client_order_id == ids.client_order_id("s1", "exit", 1)


def test_an_exit_waits_for_a_market_that_is_closed() -> None:
    """Queued and not retried in a loop; the first mark of an open market lets it go (fault-catalogue 36)."""
    room = protected()
    room.mark(50_000, suspended=True)
    said = room.read(1, choch_4h=-1)
    assert (placed(said), codes(said)) == ([], ["VENUE_MODE"])
    assert placed(room.mark(50_000, suspended=True)) == []

    assert placed(room.mark(50_000)) == [("exit", D(2))]


def test_the_last_word_of_a_stream_that_died_holds_no_exit_back() -> None:
    """Half a minute after it was said that a market is closed it is as good as unknown: the exchange is asked. One that is said anew counts anew."""
    room = protected()
    room.mark(50_000, suspended=True)
    room.after(10)
    assert placed(room.read(1, choch_4h=-1)) == []
    room.mark(50_000, suspended=True)
    room.after(20)
    assert placed(room.hear(Woken, key=XBT)) == []

    room.at += 10 * SECOND_US
    assert placed(room.hear(Woken, key=XBT)) == [("exit", D(2))]


def test_a_flatten_refused_because_nothing_is_held_ends_the_trade() -> None:
    """The exchange has no position of ours: closed elsewhere, told as such."""
    room = entered()
    room.filled(ENTRY, "2", 50_000)
    flatten = only(PlaceOrder, room.rejected(STOP, "invalidPrice"))[0].client_order_id
    room.gone(TARGET, "cancelled_by_user")
    room.rejected(flatten, "wouldNotReducePosition")
    room.woken()

    assert room.ended().reason == "exit.external"


def test_a_target_that_somebody_took_away_returns_with_a_later_complete_pass() -> None:
    """The kill switch cancels a target just before it flattens: a new one at once would stand in its way. Until then the mark is watched."""
    room = protected()
    assert placed(room.gone(TARGET, "cancelled_by_user")) == []
    room.after(1)
    assert placed(room.mark(50_100)) == []
    assert placed(room.hear(Reconciled, began_at=room.at, clean=True)) == [], "the kill switch's own reading is a pass"
    room.after(15)
    assert placed(room.hear(Reconciled, began_at=room.at, clean=True)) == [("target", D(2))]

    room = protected()
    room.gone(TARGET, "cancelled_by_user")
    room.mark(55_000)
    assert room.trade.closing == "exit.target"


def test_a_trailed_stop_is_edited_and_only_ever_tightens() -> None:
    """The stop follows the best close; a worse candidate changes nothing."""
    room = protected()
    policy = msgspec.structs.replace(room.state.policy, trail_mode="atr", trail_start_r=1.0)
    room.state = msgspec.structs.replace(room.state, policy=policy)
    room.mark(51_500)
    (edit,) = only(EditOrder, room.read(1, 51_500.0))
    assert (edit.client_order_id, edit.stop_price, edit.size) == (STOP, D(51_200), D(2))

    room.accepted(STOP, "2", 51_200)
    assert only(EditOrder, room.read(2, 51_450.0, atr=1_000.0)) == []
    assert room.trade.stop_price == D(51_200)


@pytest.mark.parametrize(("seconds", "asked"), [(1, 0), (2, 1)])
def test_an_edit_nobody_confirmed_is_asked_for_again_by_a_pass_it_would_have_been_heard_of_before(
    seconds: int, asked: int
) -> None:
    """The stream's word may trail the lists: each of many readings asked again."""
    room = protected()
    room.accepted(STOP, "2", 48_000)
    room.after(2)
    assert len(only(EditOrder, room.hear(Reconciled, began_at=room.at, clean=True))) == 1
    room.after(seconds)
    assert len(only(EditOrder, room.hear(Reconciled, began_at=room.at, clean=True))) == asked


def test_a_trail_the_mark_is_already_beyond_is_not_taken() -> None:
    """Spot allows it, the mark does not: such a stop would fire at once."""
    room = protected()
    room.state = msgspec.structs.replace(
        room.state, policy=msgspec.structs.replace(room.state.policy, trail_mode="atr", trail_start_r=1.0)
    )
    room.mark(51_000)

    assert only(EditOrder, room.read(1, 51_500.0)) == []


# --- the exchange is right -----------------------------------------------------------------------------------


def test_a_position_closed_by_hand_is_believed_after_a_complete_pass() -> None:
    """No fill explained it: the trade is over at the mark, our orders go, nothing is re-opened."""
    room = protected()
    room.position("0")
    room.after(1)
    said = room.hear(Reconciled, began_at=room.at, clean=True)

    assert {m.client_order_id for m in only(CancelOrder, said)} == {STOP, TARGET}
    assert (room.ended().reason, room.ended().exit_price) == ("exit.external", D(50_000))


def test_a_position_closed_by_hand_is_believed_after_a_while_in_any_case() -> None:
    """Also when no reconciliation comes."""
    room = protected()
    room.position("0")
    room.woken()

    assert room.at == NOW + 20 * SECOND_US
    assert room.ended().reason == "exit.external"


@pytest.mark.parametrize(("size", "wanted"), [("3", D(3)), ("1", D(1))])
def test_protection_follows_a_position_changed_by_hand(size: str, wanted: D) -> None:
    """Larger at once, smaller when no fill explains it."""
    room = protected()
    room.position(size)
    if wanted > 2:
        room.accepted(STOP, size, 49_000)
    room.woken()

    assert [m.size for m in only(EditOrder, room.all) if m.client_order_id == STOP] == [wanted]
    assert "FOREIGN_FILL" in codes(room.all)


def test_a_foreign_fill_that_adds_is_protected_and_said() -> None:
    """A person bought more: ours to protect, not ours to like."""
    room = protected()
    said = room.filled(None, "1", 50_000, side="buy")

    assert codes(said) == ["FOREIGN_FILL"]
    assert [m.size for m in only(EditOrder, said)] == [D(3), D(3)]


def test_a_foreign_fill_after_all_was_closed_is_nobodys() -> None:
    """What a life that begins reads at once: our trade, its end, a position the other way round and how that was closed. Nothing of it is held (storm 50142)."""
    room = entered().reborn()
    room.filled(ENTRY, "2", 50_010, side="buy")
    room.filled("ks-of-the-kill-switch", "2", 49_500)
    assert codes(room.filled(None, "1", 49_500)) == ["FOREIGN_FILL"]
    assert codes(room.filled("ks-of-the-kill-switch", "1", 49_500, side="buy")) == ["FOREIGN_FILL"]
    room.after(1)
    said = room.hear(Reconciled, began_at=room.at, clean=True)
    assert placed(said) == []
    assert (room.ended().size, room.ended().reason) == (D(2), "exit.kill_switch")


def test_a_liquidation_is_booked_as_what_it_is() -> None:
    """With its own reason."""
    room = protected()
    said = room.filled(None, "2", 30_000, fill_type="liquidation")
    room.position("0")

    assert codes(said) == ["LIQUIDATED"]
    assert room.ended().reason == "exit.liquidated"


def test_the_kill_switchs_own_fill_is_booked_without_an_alarm() -> None:
    """It flattens with an id of ours that is none of the trade's: expected, and named as what it was."""
    room = protected()
    said = room.filled("ks-of-the-kill-switch", "2", 49_500)
    room.position("0")

    assert codes(said) == []
    assert room.ended().reason == "exit.kill_switch"


def test_a_foreign_position_is_said_and_left_alone() -> None:
    """No entry of ours opened it."""
    room = Room()

    assert codes(room.position("1")) == ["FOREIGN_POSITION"]
    assert codes(room.drift("foreign_position", theirs="1")) == [], "the reconciler says it, once"
    assert codes(room.filled(None, "1", 50_000)) == ["FOREIGN_FILL"]
    assert room.position("0") == ()
    assert placed(room.all) == []


def test_drift_missing_stop_makes_a_settled_stop_count_as_lost() -> None:
    """One just sent may be on its way; one thought to rest is not there."""
    room = protected()
    assert room.drift("missing_stop") == ()
    room.after(6)

    assert placed(room.drift("missing_stop")) == [("stop", D(2))]
    second = ids.client_order_id("s1", "stop", 1)
    assert [m.client_order_id for m in only(CancelOrder, room.accepted(second, "2", 49_000))] == [STOP]


def test_drift_in_position_is_believed_at_once() -> None:
    """The reconciler speaks after every fill was told. What is no number is left to the next PositionChanged."""
    room = protected()
    assert room.drift("size_mismatch", theirs="long, about two") == ()
    room.drift("ghost_position", theirs="0")

    assert room.ended().reason == "exit.external"


def test_an_orphan_of_ours_is_cancelled_and_a_protection_is_not() -> None:
    """Orders of ours without a position go; the stop of a trade never does; foreign orders are not touched."""
    room = protected()
    assert room.drift("orphan_order", client_order_id=STOP, order_id="o1") == ()
    assert room.drift("orphan_order", client_order_id="someone", order_id="o2") == ()
    orphan = ids.client_order_id("old", "stop")

    assert [m.client_order_id for m in only(CancelOrder, room.drift("orphan_order", client_order_id=orphan))] == [
        orphan
    ]


def test_leftovers_of_the_last_trade_keep_the_next_entry_in() -> None:
    """An old stop could fill against the new position; once it is known to be gone the next entry may leave."""
    room = protected()
    room.filled(TARGET, "2", 55_000)
    room.position("0")
    room.enter("s2")
    assert "entry.leftovers" in only(Alert, room.said)[0].text

    room.rejected(STOP, "notFound", "cancel")
    assert placed(room.enter("s3")) == [("entry", D(2))]


@pytest.mark.parametrize("how", ["gone", "filled", "missing", "accepted"])
def test_orders_of_an_ended_trade_are_followed_to_their_end(how: str) -> None:
    """A cancel may be overtaken by anything."""
    room = protected()
    room.filled(TARGET, "2", 55_000)
    room.position("0")
    if how == "gone":
        room.gone(STOP, "cancelled_by_user")
    elif how == "filled":
        room.rejected(STOP, "filled", "cancel")
    elif how == "missing":
        room.drift("missing_order", client_order_id=STOP)
    else:
        room.accepted(STOP, "2", 49_000)

    stop = room.state.memory.ended[0].find(STOP)
    assert stop is not None
    assert stop.live == (how == "accepted")


# --- later lives ---------------------------------------------------------------------------------------------

LIVES = {"entered": entered, "naked": naked, "protected": protected}


@pytest.mark.parametrize("life", LIVES)
def test_a_restart_sends_nothing_before_the_truth_is_known(life: str) -> None:
    """Whatever happens, not one order leaves before the first complete pass."""
    room = LIVES[life]().reborn()
    room.mark(50_000)
    room.filled(ENTRY, "0.5", 50_000)
    room.read(1, choch_4h=-1)
    room.after(60)
    room.hear(Woken, key=XBT)
    room.drift("missing_order", client_order_id=STOP)

    assert [m for m in room.all if isinstance(m, PlaceOrder | EditOrder | CancelOrder)] == []


def test_a_restart_with_an_entry_in_flight_protects_what_filled_meanwhile() -> None:
    """The fill is told before the pass; protection follows it."""
    room = entered().reborn()
    room.filled(ENTRY, "2", 50_000)
    room.position("2")

    assert placed(room.hear(Reconciled, began_at=room.at, clean=False)) == [("stop", D(2)), ("target", D(2))]


def test_a_restart_with_protection_asked_for_asks_again_under_the_same_ids() -> None:
    """Whether the wishes left is unknown: a resend cannot double them."""
    room = naked().reborn()
    room.position("2")
    said = room.hear(Reconciled, began_at=room.at, clean=True)

    assert [m.client_order_id for m in only(PlaceOrder, said)] == [STOP, TARGET]


def test_an_order_in_doubt_is_not_asked_for_again_on_other_rules() -> None:
    """Its terms would be rounded anew under the old id: the stop gets a new one, the target waits for evidence."""
    room = naked().reborn()
    room.hear(InstrumentsListed, instruments=(msgspec.structs.replace(PF_XBTUSD, lot=D("0.3")),))
    room.position("2")
    said = room.hear(Reconciled, began_at=room.at, clean=True)

    assert [(m.client_order_id != STOP, m.role, m.size) for m in only(PlaceOrder, said)] == [(True, "stop", D("2.1"))]


def test_a_restart_with_protection_listed_has_nothing_to_do() -> None:
    """The exchange lists both orders at the terms we know."""
    room = protected().reborn()
    room.position("2")
    room.accepted(STOP, "2", 49_000)
    room.accepted(TARGET, "2", 55_000)
    said = room.hear(Reconciled, began_at=room.at, clean=True)

    assert [m for m in said if isinstance(m, PlaceOrder | EditOrder | CancelOrder)] == []


def test_a_restart_after_the_stop_filled_closes_the_trade() -> None:
    """Flat is not told of a symbol nobody knew: a complete pass without a position is the word."""
    room = protected().reborn()
    room.filled(STOP, "2", 49_000)
    room.hear(Reconciled, began_at=room.at, clean=True)

    assert room.ended().reason == "exit.stop"


def test_a_restart_in_the_middle_of_leaving_goes_on_leaving() -> None:
    """The decision to leave is remembered; the next attempt has a new id."""
    room = protected()
    room.read(1, choch_4h=-1)
    again = room.reborn()
    again.position("2")
    again.after(10)
    said = again.hear(Reconciled, began_at=again.at, clean=True)

    assert [m.client_order_id for m in only(PlaceOrder, said)] == [ids.client_order_id("s1", "exit", 1)]


def test_a_restart_finds_an_edit_that_never_arrived() -> None:
    """What the exchange lists is what was last asked for, so the difference is asked for again."""
    room = entered()
    room.filled(ENTRY, "0.5", 50_000)
    room.accepted(STOP, "0.5", 49_000)
    room.filled(ENTRY, "1.5", 50_000)
    again = room.reborn()
    again.accepted(STOP, "0.5", 49_000)
    again.position("2")
    said = again.hear(Reconciled, began_at=again.at, clean=True)

    assert [(m.client_order_id, m.size) for m in only(EditOrder, said)] == [(STOP, D(2))]


def test_what_is_durable_is_the_same_in_the_next_life() -> None:
    """A trade written and read is the same trade."""
    room = protected()
    kept = durable(room.state)

    assert msgspec.json.decode(kept, type=Memory) == room.state.memory
    with pytest.raises(msgspec.DecodeError):
        initial(room.settings, b"{")


def test_marks_that_change_nothing_cost_no_write() -> None:
    """Remembered state is the same object."""
    room = protected()
    before = remembered(room.state)
    room.mark(50_500)
    room.hear(Woken, key=XBT)

    assert remembered(room.state) is before


def test_messages_of_no_concern_change_nothing() -> None:
    """Any message type is tolerated, and so are answers about orders of nobody here."""
    room = protected()
    before = room.state
    room.hear(HaltEntries, key="x", reason="y")
    room.gone("ks-other", "cancelled_by_user")
    room.unknown("ks-other")
    room.rejected("ks-other", "notFound", "cancel")
    room.drift("stuck")
    room.drift("missing_order", client_order_id="ks-other")
    room.hear(EntryBlocked, client_order_id="ks-other", symbol=XBT, reasons=())
    room.unknown(STOP, "cancel")

    assert room.state == before


def test_equal_stories_give_equal_bytes() -> None:
    """Two runs over the same messages say the same."""
    assert codec.digest(protected().all) == codec.digest(protected().all)


def test_a_stop_cancelled_by_hand_while_the_daemon_was_down_is_placed_again_at_once() -> None:
    """The first complete pass does not list it: a new stop goes out, long before the limit that flattens."""
    room = protected().reborn()
    room.position("2")
    room.accepted(TARGET, "2", 55_000)
    said = room.hear(Reconciled, began_at=room.at, clean=False)
    ((role, size),) = placed(said)
    assert (role, size) == ("stop", D(2))
    (order,) = only(PlaceOrder, said)
    assert order.client_order_id != STOP, "the old id is used up on the exchange"
    assert order.stop_price == D(49_000)
    room.accepted(order.client_order_id, "2", 49_000)
    room.after(60)
    assert placed(room.mark(50_000)) == []


def test_an_order_left_from_a_trade_that_is_over_is_asked_about_now_and_then() -> None:
    """Not in each pass: each question may wait for a time-out, and they would queue (storm seed 9312)."""
    room = protected()
    room.filled(TARGET, "2", 55_000)
    room.position("0")
    asked = []
    for _ in range(40):
        room.after(1)
        asked += [room.at] * len(only(CancelOrder, room.hear(Reconciled, began_at=room.at, clean=True)))
    assert [round((at - NOW) / SECOND_US) for at in asked] == [1, 16, 31]


def test_an_order_without_an_answer_is_told_though_its_trade_is_over() -> None:
    """Its stop was sent anew and answered by nobody before the target filled (storm seed 9211); so is one of the kill switch."""
    room = protected()
    room.filled(TARGET, "2", 55_000)
    room.position("0")
    assert room.ended().reason == "exit.target"
    assert codes(room.unknown(STOP)) == codes(room.unknown("ks-of-the-kill-switch")) == ["ORDER_UNKNOWN"]
    assert codes(room.unknown(STOP, "cancel")) == []


def test_a_triggered_order_of_a_trade_that_is_over_bars_no_entry_after_a_pass() -> None:
    """Its market order found nothing to reduce; exchange truth read afterwards ends it."""
    room = protected()
    room.gone(STOP, "stop_order_triggered")
    room.filled(TARGET, "2", 55_000)
    room.position("0")
    assert room.ended().reason == "exit.target"
    room.gone(TARGET, "full_fill")
    room.after(1)
    room.enter("s2")
    assert codes(room.said) == ["ORDER_REJECTED"], "an order may still fill"
    room.after(1)
    room.hear(Reconciled, began_at=room.at, clean=True)
    room.mark(50_000)
    assert placed(room.enter("s3")) == [("entry", D(2))]


# --- a person's hands ----------------------------------------------------------------------------------------


def close(room: Room, **changes: Any) -> Sequence[Message]:
    """Ann asks to close PF_XBTUSD."""
    fields = {"request": "r1", "symbol": XBT, "by": "ann", "reason": "news", "dry_run": False}
    return room.hear(CloseRequested, **(fields | changes))


def test_a_position_closed_by_a_person_leaves_by_market_and_says_so() -> None:
    """The order is reduce-only for all that is held; the result carries the reason, the person an answer."""
    room = protected()
    said = close(room)
    assert placed(said) == [("exit", D(2))]
    assert [m.done for m in only(PersonAnswered, said)] == [True]
    (order,) = only(PlaceOrder, said)
    assert order.reduce_only
    again = close(room)
    assert placed(again) == [], "asked twice, sent once"
    assert [m.done for m in only(PersonAnswered, again)] == [True]
    room.filled(order.client_order_id, "2", 50_500)
    room.position("0")
    assert room.ended().reason == "exit.manual"


def test_a_rehearsed_close_changes_nothing() -> None:
    """The orders go to be shown, and the trade is held as before."""
    room = protected()
    before = room.state
    (rehearsal,) = close(room, dry_run=True)
    assert [(order.role, order.size) for order in rehearsal.orders] == [("exit", D(2))]
    assert room.state is before


def test_what_cannot_be_closed_is_said() -> None:
    """Nothing held, or the truth not known yet: an answer, and no order."""
    room = entered()
    assert [m.done for m in only(PersonAnswered, close(room))] == [False]
    unsure = protected().reborn()
    said = close(unsure)
    assert placed(said) == []
    assert "reconciled" in only(PersonAnswered, said)[0].text


def refusing(code: str) -> Room:
    """A room that refuses signal s2 with `code`."""
    late = {"valid_until": NOW - 1} if code == "entry.late" else {}
    room = {
        "entry.seen": entered,
        "entry.filled_before": forgotten,
        "entry.not_reconciled": lambda: protected().reborn(),
        "entry.held": protected,
        "entry.leftovers": leftover,
        "entry.instrument_unknown": Room,
        "entry.late": listed,
    }[code]()
    room.enter("s1" if code == "entry.seen" else "s2", **late)
    return room


def forgotten() -> Room:
    """The entry of signal s2 was sent by a life that the store has lost, and its fill is told to this one."""
    room = listed()
    room.filled(ids.client_order_id("s2", "entry"), "2", 50_010, side="buy")
    return room.reborn()


def listed() -> Room:
    """The contract is known, and nothing more."""
    room = Room()
    room.listed()
    return room


def leftover() -> Room:
    """A trade is over and its stop still rests."""
    room = protected()
    room.filled(TARGET, "2", 55_000)
    room.position("0")
    return room


@pytest.mark.parametrize("code", [code for code, _ in ENTRY_REFUSALS])
def test_each_reason_keeps_an_approved_entry_in(code: str) -> None:
    """Every row of the table can refuse; nothing is sent, and the reason is said."""
    room = refusing(code)
    assert placed(room.said) == []
    (told,) = only(Alert, room.said)
    assert told.text.endswith(code)

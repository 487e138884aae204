"""The kill switch latches first, ends flat, and never removes a stop before its symbol is flat."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.kill_switch import decide
from actors.kill_switch.decide import State
from actors.kill_switch.plan import kill_id, plan
from config.settings import Settings
from protocol.ids import client_order_id
from protocol.messages.base import Message, from_edge
from protocol.messages.control import (
    Alert,
    Drift,
    KillProgress,
    KillRequested,
    Latch,
    LeaseChanged,
    Started,
    WakeAt,
    Woken,
)
from protocol.messages.futures import (
    Account,
    CancelOrder,
    ExchangeSnapshot,
    Filled,
    ModeChanged,
    OpenOrder,
    OrderRejected,
    OrderUnknown,
    PlaceOrder,
    Position,
    PositionChanged,
    Readable,
    RequestSnapshot,
    SnapshotMissed,
)
from protocol.ports import LatchState
from protocol.protection import is_stop_of
from tests.fakes import facts

XBT, ETH = "PF_XBTUSD", "PF_ETHUSD"
SECOND = 1_000_000
T = 1_767_571_200 * SECOND
OURS = client_order_id("signal", "stop")
D = Decimal
ACCOUNT = Account(
    equity_usd=D(1000),
    balance_usd=D(1000),
    available_margin_usd=D(1000),
    initial_margin_usd=D(0),
    maintenance_margin_usd=D(0),
)


def order(order_id: str, **values: Any) -> OpenOrder:
    """A resting limit entry of ours."""
    fields: dict[str, Any] = {
        "client_order_id": client_order_id(order_id, "entry"),
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
    return OpenOrder(order_id=order_id, **(fields | values))


def stop(order_id: str = "stop", **values: Any) -> OpenOrder:
    """The protective stop of a long."""
    fields = {"side": "sell", "order_type": "stop", "reduce_only": True, "trigger": "mark", "stop_price": D(90)}
    return order(order_id, **(fields | values))


def target() -> OpenOrder:
    """The target of a long."""
    return stop("target", order_type="take_profit")


def position(size: int, symbol: str = XBT) -> Position:
    """A position at 100."""
    return Position(symbol=symbol, size=D(size), entry_price=D(100))


def snapshot(
    began_s: float, positions: tuple[Position, ...] = (), orders: tuple[OpenOrder, ...] = ()
) -> ExchangeSnapshot:
    """The truth read from `began_s` seconds on, in hand half a second later."""
    began_at = T + round(began_s * SECOND)
    return from_edge(
        ExchangeSnapshot,
        began_at + SECOND // 2,
        began_at,
        began_at=began_at,
        orders=orders,
        positions=positions,
        account=ACCOUNT,
    )


def requested(at_s: float = 0) -> KillRequested:
    """A person asks."""
    at = T + round(at_s * SECOND)
    return from_edge(KillRequested, at, at, reason="test", by="a person")


def woken(at_s: float) -> Woken:
    """The timer rings."""
    return from_edge(Woken, T + round(at_s * SECOND), at_s, key="kill")


def run(state: State, *messages: Message) -> tuple[State, list[Message]]:
    """Every answer to the messages, in order."""
    out: list[Message] = []
    for message in messages:
        state, answers = decide.step(state, message)
        out.extend(answers)
    return state, out


def answered(state: State, *messages: Message) -> tuple[State, list[Message]]:
    """Every answer, where each flatten fills in part at once."""
    out: list[Message] = []
    for message in messages:
        state, said = run(state, message)
        out += said
        for wish in of(PlaceOrder, said):
            fill = facts.fill(wish.client_order_id, wish.side, "0.1", client_order_id=wish.client_order_id)
            state, said = run(state, from_edge(Filled, wish.at, wish.id, fill=fill))
            out += said
    return state, out


def idle() -> State:
    """A switch that nobody has asked."""
    return decide.initial(Settings(), LatchState(latched=False))


def latched() -> State:
    """A switch asked at second 0."""
    return run(idle(), requested())[0]


def of(kind: type[Message], messages: list[Message]) -> list[Any]:
    """The messages of one kind."""
    return [m for m in messages if isinstance(m, kind)]


def kinds(messages: list[Message]) -> list[str]:
    """The names of the messages."""
    return [type(m).__name__ for m in messages]


# --- latching --------------------------------------------------------------------------------------------------


def test_the_latch_is_written_before_anything_else() -> None:
    """Latch, alert, then at once the question for the truth."""
    _, out = run(idle(), requested())

    assert kinds(out) == ["Latch", "Alert", "RequestSnapshot", "WakeAt"]
    assert all(asked.urgent for asked in of(RequestSnapshot, out)), "reading may use the reserve of what protects"
    assert (of(Latch, out)[0].reason, of(Alert, out)[0].code) == ("test", "KILL_LATCHED")
    assert of(WakeAt, out)[0].due == T + SECOND


def test_it_latches_once() -> None:
    """A second request looks again and writes nothing."""
    assert kinds(run(latched(), requested(1))[1]) == ["RequestSnapshot", "WakeAt"]


def test_a_life_that_begins_latched_resumes() -> None:
    """A restart neither forgets the latch nor writes it again, and its kill keeps its name."""
    state = decide.initial(Settings(), LatchState(latched=True, reason="test", by="a person", at=T))
    _, out = run(state, from_edge(Started, T + 60 * SECOND, restarted=True), snapshot(61, (position(1),)))

    assert kinds(out) == ["RequestSnapshot", "WakeAt", "PlaceOrder", "KillProgress", "WakeAt"]
    assert of(PlaceOrder, out)[0].signal_id == latched().kill


def test_unasked_it_does_nothing() -> None:
    """No message but a request or a cause moves it."""
    drift = from_edge(Drift, T, kind="size_mismatch", symbol=XBT, ours="0", theirs="1")
    messages = [
        from_edge(Started, T),
        snapshot(1, (position(1),), (order("o1"),)),
        from_edge(SnapshotMissed, T, reason="x"),
        woken(2),
        drift,
    ]

    state, out = run(idle(), *messages)
    assert (state.latched, out) == (False, [])


# --- acting ----------------------------------------------------------------------------------------------------


def test_it_cancels_entries_first_keeps_the_stop_and_flattens() -> None:
    """The order of commands on one reading of a long with stop, target and entries, one of them foreign."""
    foreign = order("foreign", client_order_id=None, symbol=ETH)
    _, out = run(latched(), snapshot(1, (position(2),), (target(), stop(), foreign, order("entry"))))
    cancels, flattens = of(CancelOrder, out), of(PlaceOrder, out)

    assert kinds(out) == ["CancelOrder", "CancelOrder", "CancelOrder", "PlaceOrder", "KillProgress", "WakeAt"]
    assert [(c.client_order_id, c.order_id) for c in cancels] == [
        (None, "foreign"),
        (client_order_id("entry", "entry"), None),
        (client_order_id("target", "entry"), None),
    ]
    assert [(f.side, f.size, f.order_type, f.reduce_only, f.role) for f in flattens] == [
        ("sell", D(2), "mkt", True, "flatten")
    ]
    assert (of(KillProgress, out)[0].open_positions, of(KillProgress, out)[0].working_orders) == ((XBT,), 4)


def test_a_short_is_bought_back_and_every_symbol_is_flattened() -> None:
    """Traded by us or not: the account ends flat."""
    _, out = run(latched(), snapshot(1, (position(-3), position(1, "PF_DOGEUSD")), ()))

    assert [(f.symbol, f.side, f.size) for f in of(PlaceOrder, out)] == [
        ("PF_DOGEUSD", "sell", D(1)),
        (XBT, "buy", D(3)),
    ]


def test_the_stop_goes_when_its_symbol_is_flat_and_then_it_is_done() -> None:
    """After the last reading shows nothing the switch rests, latched."""
    state, out = run(latched(), snapshot(1, (), (stop(),)), snapshot(2))
    assert kinds(out) == ["CancelOrder", "KillProgress", "WakeAt", "KillProgress"]
    assert [(m.flat, m.working_orders) for m in of(KillProgress, out)] == [(True, 1), (True, 0)]

    assert run(state, woken(3), snapshot(4))[1] == []
    assert state.latched


def test_each_reading_is_a_new_attempt_with_its_own_id() -> None:
    """A partly filled flatten is sent again for the rest under another id; the same reading gives the same id."""
    _, out = answered(latched(), snapshot(1, (position(2),)), snapshot(2.5, (position(1),)))
    _, again = run(latched(), snapshot(1, (position(2),)))
    first, second = of(PlaceOrder, out)

    assert first.client_order_id != second.client_order_id
    assert (first.size, second.size) == (D(2), D(1))
    assert of(PlaceOrder, again)[0].client_order_id == first.client_order_id


def test_a_stop_stays_when_the_stream_knows_of_a_position_the_reading_missed() -> None:
    """A late fill between the two halves of a reading must not cost its protection."""
    changed = from_edge(PositionChanged, T + 1_200_000, position=position(1))
    _, out = run(latched(), changed, snapshot(1, (), (stop(),)))

    assert of(CancelOrder, out) == []
    assert [f.size for f in of(PlaceOrder, out)] == [D(1)]


def test_a_stream_that_says_flat_stops_the_selling_but_removes_no_stop() -> None:
    """Only a reading that shows the symbol flat costs its stop."""
    changed = from_edge(PositionChanged, T + 1_200_000, position=position(0))
    _, out = run(latched(), changed, snapshot(1, (position(1),), (stop(),)))

    assert kinds(out) == ["KillProgress", "WakeAt"]


def test_a_reading_too_early_to_show_the_flatten_sends_no_second_one() -> None:
    """The reconciler's readings arrive too: what they show may have been sold already."""
    long = (position(2),)
    _, out = answered(latched(), snapshot(1, long), snapshot(1.2, long), snapshot(2.4, long), snapshot(2.5, long))

    assert len(of(PlaceOrder, out)) == 2
    assert len(of(KillProgress, out)) == 4


def refused_flattens(*statuses: str, seconds: int = 30) -> list[float]:
    """When a flatten leaves, seconds, while each is refused with the next of the statuses, and then with the last of them."""
    state, left = latched(), list[float]()
    for second in range(1, seconds):
        state, out = run(state, snapshot(second, (position(2),)))
        for wish in of(PlaceOrder, out):
            status = statuses[min(len(left), len(statuses) - 1)]
            left.append((wish.at - T) / SECOND)
            refused = from_edge(
                OrderRejected,
                wish.at + 1,
                symbol=XBT,
                client_order_id=wish.client_order_id,
                wish="place",
                status=status,
                limited=status == "apiLimitExceeded",
            )
            state, _ = run(state, refused)
    return left


@pytest.mark.parametrize("status", ["marketIsPostOnly", "marketSuspended"])
def test_a_closed_market_is_asked_seldom(status: str) -> None:
    """Where the exchange calls the market closed a flatten is tried again after five seconds, not in a loop (storm 9106)."""
    assert refused_flattens(status, seconds=20) == [1.5, 7.5, 13.5, 19.5]


def test_a_closed_market_stays_closed_whatever_else_is_answered() -> None:
    """Another word of refusal does not say that it is open again (storm 70010)."""
    assert refused_flattens("marketSuspended", "insufficientAvailableFunds", seconds=20) == [1.5, 7.5, 13.5, 19.5]


def mode(at_s: float, told: str) -> ModeChanged:
    """The market's own word on whether it is open."""
    return from_edge(ModeChanged, T + round(at_s * SECOND), at_s, symbol=XBT, mode=told)


def flattens(state: State, seconds: range) -> tuple[State, list[float]]:
    """When a flatten leaves, seconds, while nobody knows what became of any of them."""
    left = list[float]()
    for second in seconds:
        state, out = run(state, snapshot(second, (position(2),)))
        for wish in of(PlaceOrder, out):
            left.append((wish.at - T) / SECOND)
            doubt = from_edge(OrderUnknown, wish.at + 1, client_order_id=wish.client_order_id, symbol=XBT, wish="place")
            state, _ = run(state, doubt)
    return state, left


def test_a_market_told_closed_is_asked_seldom_though_every_answer_is_lost() -> None:
    """No refusal ever comes: what the market itself said is enough, until it says that it is open (storm 70042)."""
    state, left = flattens(run(latched(), mode(0.5, "suspended"))[0], range(1, 20))
    assert left == [1.5, 7.5, 13.5, 19.5]
    assert flattens(run(state, mode(19.7, ""))[0], range(20, 26))[1] == [21.5, 23.5, 25.5]


def test_a_market_told_closed_counts_as_open_once_it_trades_or_nobody_watches_it() -> None:
    """The stream may be gone when it opens: what it said of it holds no longer."""
    closed, _ = run(latched(), mode(0.5, "suspended"))
    lost = from_edge(LeaseChanged, T + SECOND, lease="futures_feed", held=False)
    assert flattens(run(closed, lost)[0], range(2, 7))[1] == [2.5, 4.5, 6.5]

    state, out = run(closed, snapshot(1, (position(3),)))
    (wish,) = of(PlaceOrder, out)
    part = facts.fill("part", "sell", 1, client_order_id=wish.client_order_id)
    assert flattens(run(state, from_edge(Filled, wish.at, fill=part))[0], range(3, 8))[1] == [3.5, 5.5, 7.5]


def test_a_market_that_opens_is_asked_at_once() -> None:
    """Refusals of before it opened do not hold the flatten back."""
    state, out = run(latched(), snapshot(1, (position(2),)))
    (wish,) = of(PlaceOrder, out)
    refusal = from_edge(
        OrderRejected, wish.at, symbol=XBT, client_order_id=wish.client_order_id, wish="place", status="marketSuspended"
    )
    again = run(state, mode(1.2, "suspended"), refusal, mode(2.8, ""), snapshot(3, (position(2),)))[1]
    assert len(of(PlaceOrder, again)) == 1


def test_what_is_refused_again_and_again_is_asked_seldom() -> None:
    """Three times as soon as a reading can show it, then every five seconds: nothing is tried in a loop."""
    assert refused_flattens("invalidSize", seconds=20) == [1.5, 3.5, 5.5, 11.5, 17.5]


def test_a_refusal_for_the_rate_of_requests_makes_no_flatten_seldom() -> None:
    """The gateway slows down by itself; nothing is wrong with the order."""
    assert refused_flattens("apiLimitExceeded", seconds=10) == [1.5, 3.5, 5.5, 7.5, 9.5]


def test_a_flatten_that_fills_in_part_ends_the_row_of_refusals() -> None:
    """The market takes orders again: the rest follows as soon as a reading shows it."""
    state, out = run(latched(), snapshot(1, (position(2),)))
    (wish,) = of(PlaceOrder, out)
    refusal = from_edge(
        OrderRejected, wish.at, symbol=XBT, client_order_id=wish.client_order_id, wish="place", status="marketSuspended"
    )
    state, out = run(state, refusal, snapshot(7, (position(2),)))
    (wish,) = of(PlaceOrder, out)
    part = facts.fill("part", "sell", 1, client_order_id=wish.client_order_id)
    _, out = run(state, from_edge(Filled, wish.at, fill=part), snapshot(9, (position(1),)))
    assert [wish.size for wish in of(PlaceOrder, out)] == [D(1)]


def parts_of(state: State, sizes: tuple[str, ...], *listed: str) -> tuple[State, list[Decimal]]:
    """What each flatten is of while readings list these sizes and each flatten fills in the next of `sizes`."""
    said, parts = list[Decimal](), iter(sizes)
    for number, size in enumerate(listed):
        held = Position(symbol=XBT, size=D(size), entry_price=D(100))
        state, out = run(state, snapshot(1 + 2 * number, (held,)))
        for wish in of(PlaceOrder, out):
            said.append(wish.size)
            part = next(parts, None)
            if part is not None:
                done = facts.fill(wish.client_order_id, wish.side, part, client_order_id=wish.client_order_id)
                state, _ = run(state, from_edge(Filled, wish.at, fill=done))
    return state, said


def test_a_list_that_shows_the_position_as_it_was_is_stale() -> None:
    """What our own flattens have filled is off, however often the old size is listed, of a short as of a long (storm 70248)."""
    for sign in ("", "-"):
        _, said = parts_of(latched(), ("1", "2", "1", "1"), f"{sign}9", f"{sign}9", f"{sign}9", f"{sign}8", f"{sign}5")
        assert said == [D(9), D(8), D(6), D(5), D(4)]


def test_a_size_that_nobody_explains_is_flattened_as_listed() -> None:
    """More than there was, or something left although the fills leave nothing: the exchange is right."""
    _, said = parts_of(latched(), ("1", "2"), "9", "10", "8")
    assert said == [D(9), D(10), D(8)]
    _, said = parts_of(latched(), ("9",), "9", "9")
    assert said == [D(9), D(9)]


def test_a_cancel_that_may_still_be_answered_is_not_said_again() -> None:
    """Lost replies must not let cancels queue up before the flatten: each order's cancel goes once in a request's time-out."""
    resting = (target(),)
    _, out = answered(latched(), *(snapshot(second, (position(2),), resting) for second in range(1, 8)))

    assert len(of(CancelOrder, out)) == 2
    assert len(of(PlaceOrder, out)) > 2


def test_cancels_of_an_order_that_stays_go_ever_further_apart() -> None:
    """A crowd of orders whose cancels are refused must not use up the rate of requests (storm 31708)."""
    moments = range(1, 121)
    state, said = latched(), list[int]()
    for second in moments:
        state, out = answered(state, snapshot(second, (), (target(),)))
        said += [second] * len(of(CancelOrder, out))
    assert said == [1, 6, 21, 66, 111]


def test_a_flatten_that_nothing_was_heard_of_is_not_said_again() -> None:
    """Behind a cancel whose reply is lost flattens would queue up, and leave at once with sizes of long ago (storm 50040); an answer of
    any kind, or three time-outs, and it is said anew.
    """
    long = (position(2),)
    state, out = run(latched(), *(snapshot(second, long) for second in range(1, 15)))
    (first,) = of(PlaceOrder, out)
    doubt = from_edge(OrderUnknown, T + 15 * SECOND, client_order_id=first.client_order_id, symbol=XBT, wish="place")
    assert len(of(PlaceOrder, run(state, doubt, snapshot(15, long))[1])) == 1
    assert len(of(PlaceOrder, run(state, snapshot(15, long), snapshot(16, long))[1])) == 1


def bought(at_s: float, executed_s: float, size: str = "1") -> Filled:
    """An entry's fill, told perhaps long after it was executed."""
    name = client_order_id("signal", "entry")
    fill = facts.fill("bought", "buy", size, client_order_id=name, time=T + round(executed_s * SECOND))
    return from_edge(Filled, T + round(at_s * SECOND), at_s, fill=fill)


def test_what_appears_after_it_was_done_is_dealt_with() -> None:
    """An entry that was on its way when the latch fell is cancelled or flattened when it becomes known."""
    state, _ = run(latched(), snapshot(1))

    assert kinds(run(state, snapshot(2, (), (order("late"),)))[1]) == ["CancelOrder", "KillProgress", "WakeAt"]
    changed = from_edge(PositionChanged, T + 3 * SECOND, position=position(1))
    assert kinds(run(state, changed, changed)[1]) == ["RequestSnapshot", "WakeAt"]
    assert kinds(run(state, bought(3, 2.9))[1]) == ["RequestSnapshot", "WakeAt"]
    assert run(idle(), changed, bought(3, 2.9))[1] == []


def test_a_list_is_not_believed_against_a_fill_it_may_lack() -> None:
    """No stream tells of the position: for as long as lists trail it is flattened as its fill says, and its stop stays."""
    state, out = run(latched(), bought(0.4, 0.3), snapshot(0.5, (), (stop(),)))
    assert kinds(out) == ["PlaceOrder", "KillProgress", "WakeAt"]
    (wish,) = of(PlaceOrder, out)
    assert (wish.side, wish.size, wish.reduce_only) == ("sell", D(1), True)
    assert [told.flat for told in of(KillProgress, out)] == [False]

    done = facts.fill("done", "sell", 1, client_order_id=wish.client_order_id, time=T + SECOND)
    flat = run(state, from_edge(Filled, T + SECOND, fill=done), snapshot(2, (), (stop(),)))[1]
    assert kinds(flat) == ["CancelOrder", "KillProgress", "WakeAt"]

    late = run(state, snapshot(31, (), (stop(),)))[1]
    assert of(PlaceOrder, late) == [], "by now the list would show it"


def sold(at_s: float, size: str = "1", before: str = "0") -> Filled:
    """An exit's fill, and what was held until then."""
    name = client_order_id("signal", "stop")
    fill = facts.fill("sold", "sell", size, client_order_id=name, time=T + round(at_s * SECOND))
    return from_edge(Filled, T + round(at_s * SECOND), at_s, fill=fill, before=D(before))


def test_a_life_that_knows_nothing_yet_takes_no_exit_for_a_new_position() -> None:
    """The first word it hears is what a stop sold, or a settlement: the account is flat, nothing is bought back (storm 70042)."""
    assert of(PlaceOrder, run(latched(), sold(0.4, before="1"), snapshot(0.5))[1]) == []
    (wish,) = of(PlaceOrder, run(latched(), sold(0.4, before="0"), snapshot(0.5))[1])
    assert (wish.side, wish.size) == ("buy", D(1))


def test_what_a_list_may_lack_is_held_though_this_life_never_heard_of_it() -> None:
    """The feed remembers across lives what stream and fills said: the stop stays, the position is flattened."""
    lacking = msgspec.structs.replace(snapshot(0.5, (), (stop(),)), lacks=(position(1),))
    _, out = run(latched(), lacking)
    assert (len(of(CancelOrder, out)), [told.flat for told in of(KillProgress, out)]) == (0, [False])
    assert [(wish.side, wish.size) for wish in of(PlaceOrder, out)] == [("sell", D(1))]


def test_a_stale_list_is_not_believed_against_what_has_come_since_the_flatten() -> None:
    """The flatten left nothing, then the exchange assigned a position: that is what is flattened, and of it what is left (storm 76154)."""
    state, said = parts_of(latched(), ("9",), "9")
    assigned = facts.fill("assigned", "buy", "4", client_order_id=None, fill_type="assignee", time=T + 2 * SECOND)
    state, _ = run(state, from_edge(Filled, T + 2 * SECOND, fill=assigned))
    stale = [snapshot(second, (position(9),)) for second in (3, 5)]
    state, out = run(state, stale[0])
    (wish,) = of(PlaceOrder, out)
    part = facts.fill("part", "sell", "3", client_order_id=wish.client_order_id, time=T + 4 * SECOND)
    _, again = run(state, from_edge(Filled, T + 4 * SECOND, fill=part), stale[1])
    assert (said, wish.size, [wish.size for wish in of(PlaceOrder, again)]) == ([D(9)], D(4), [D(1)])


def test_a_list_that_proves_nothing_of_a_position_does_not_cost_its_stop() -> None:
    """The account uses margin for more than is listed: the position is flattened as its fills say, however old they are, until a list proves it gone."""
    unproved = msgspec.structs.replace(snapshot(61, (), (stop(),)), unproved=(XBT,))
    state, out = run(latched(), bought(0.4, 0.3), unproved)
    assert of(CancelOrder, out) == []
    assert [(wish.side, wish.size) for wish in of(PlaceOrder, out)] == [("sell", D(1))]

    proved = run(state, snapshot(62, (), (stop(),)))[1]
    assert (len(of(CancelOrder, proved)), of(PlaceOrder, proved)) == (1, [])


def test_a_fill_that_was_listed_before_it_was_told_opens_nothing() -> None:
    """The list showed the position, it was flattened; its own fill, told half a minute late, is no second position."""
    state, out = run(latched(), snapshot(1, (position(1),)))
    (wish,) = of(PlaceOrder, out)
    done = facts.fill("done", "sell", 1, client_order_id=wish.client_order_id, time=T + 2 * SECOND)
    state, _ = run(state, from_edge(Filled, T + 2 * SECOND, fill=done), snapshot(3))
    assert run(state, bought(28, 0.5), snapshot(29))[1] == []


# --- keeping at it ---------------------------------------------------------------------------------------------


def test_it_asks_again_each_second_but_not_over_an_unanswered_question() -> None:
    """A slow exchange is not flooded; a question that was lost is repeated after the request time-out."""
    state, out = run(latched(), woken(1), woken(4.9))
    assert kinds(out) == ["WakeAt", "WakeAt"]

    state, out = run(state, woken(5))
    assert kinds(out) == ["RequestSnapshot", "WakeAt"]

    state, out = run(state, from_edge(SnapshotMissed, T + 6 * SECOND, reason="x"), woken(6))
    assert kinds(out) == ["RequestSnapshot", "WakeAt"]


def missed(at_s: float, positions: tuple[Position, ...], orders: tuple[OpenOrder, ...]) -> SnapshotMissed:
    """A reading of which some row could not be read."""
    at = T + round(at_s * SECOND)
    rows = Readable(began_at=at, orders=orders, positions=positions)
    return from_edge(SnapshotMissed, at, at, reason="MalformedPayload", readable=rows)


def test_what_can_be_read_is_cancelled_and_flattened_and_nobody_is_called_flat() -> None:
    """A row of a new kind must not hold a kill up for as long as the exchange writes it; the same is not sent again each second."""
    state, out = run(latched(), missed(1, (position(1),), (order("entry"), stop(), target())))
    assert [(w.side, w.size, w.reduce_only) for w in of(PlaceOrder, out)] == [("sell", D(1), True)]
    assert [w.subject for w in of(CancelOrder, out)] == [order("entry").client_order_id, target().client_order_id]
    assert of(KillProgress, out) == []

    _, out = run(state, missed(1.5, (position(1),), (order("entry"), stop(), target())))
    assert of(PlaceOrder, out) == of(CancelOrder, out) == []


def test_every_stop_stays_while_a_position_may_be_held_that_cannot_be_read() -> None:
    """It may be the only one of what is held; what can add exposure is cancelled all the same, and what was told is held is flattened."""
    state, out = run(latched(), missed(1, (), (order("entry"), stop())))
    assert [w.subject for w in of(CancelOrder, out)] == [order("entry").client_order_id]
    assert of(PlaceOrder, out) == []

    told = from_edge(PositionChanged, T + 2 * SECOND, position=position(1))
    _, out = run(state, told, missed(40, (), (stop(),)))
    assert [(w.side, w.size, w.reduce_only) for w in of(PlaceOrder, out)] == [("sell", D(1), True)]
    assert of(CancelOrder, out) == []


def test_a_cancel_that_came_too_late_is_no_reason_to_wait() -> None:
    """The executor takes its stop off a flat market as well: whose cancel is refused looks again at once, and once."""
    ours = f"ks-{'a' * 24}"
    refused = from_edge(
        OrderRejected, T + 2 * SECOND, client_order_id=ours, symbol=XBT, wish="cancel", status="notFound"
    )
    state, out = run(latched(), snapshot(1, (), (stop(client_order_id=ours),)))
    assert kinds(out) == ["CancelOrder", "KillProgress", "WakeAt"]

    state, out = run(state, refused, refused)
    assert kinds(out) == ["RequestSnapshot", "WakeAt"]
    assert kinds(run(state, snapshot(3))[1]) == ["KillProgress"]


@pytest.mark.parametrize(
    "late",
    [snapshot(15, (position(1),)), from_edge(SnapshotMissed, T + 15 * SECOND, reason="timeout"), woken(15.1)],
)
def test_not_flat_after_fifteen_seconds_is_an_alert_once(late: Message) -> None:
    """However it becomes known, a person hears what is still open."""
    state, out = run(latched(), snapshot(1, (position(1),)), late, late)

    assert [(m.code, m.severity) for m in of(Alert, out)] == [("KILL_STUCK", "critical")]
    assert kinds(run(state, snapshot(20))[1]) == ["KillProgress"]


def test_who_is_locked_out_says_in_time_what_stays_open() -> None:
    """While our key is refused the next question is a minute away; that nothing has closed yet is told after fifteen seconds, and asks nothing."""
    refused = from_edge(SnapshotMissed, T + SECOND, reason="authenticationError", action="halt")
    state, out = run(latched(), refused, refused, refused)
    alarms = {wake.key: (wake.due - T) // SECOND for wake in of(WakeAt, out)}

    assert alarms == {"kill": 61, "stuck": 15}
    state, out = run(state, from_edge(Woken, T + 15 * SECOND, key="stuck"))
    assert [(m.code, m.severity) for m in out] == [("KILL_STUCK", "critical")]
    assert run(state, from_edge(Woken, T + 16 * SECOND, key="stuck"))[1] == []


def test_the_patience_counts_from_the_beginning_of_each_effort() -> None:
    """Something new long after the account was flat is not stuck at once."""
    state, _ = run(latched(), snapshot(1))

    assert of(Alert, run(state, snapshot(100, (position(1),)))[1]) == []
    assert of(RequestSnapshot, run(state, requested(200))[1]) != []


# --- the planner -----------------------------------------------------------------------------------------------

orders_anyhow = st.lists(
    st.builds(
        order,
        st.sampled_from([f"o{n}" for n in range(8)]),
        symbol=st.sampled_from([XBT, ETH]),
        side=st.sampled_from(["buy", "sell"]),
        order_type=st.sampled_from(["lmt", "stp", "stop", "take_profit"]),
        reduce_only=st.booleans(),
        client_order_id=st.sampled_from([OURS, None, "someone"]),
    ),
    max_size=8,
    unique_by=lambda o: o.order_id,
)


@given(orders=orders_anyhow, xbt=st.integers(-2, 2), eth=st.integers(-2, 2))
def test_the_plan_never_cancels_the_stop_of_an_open_position(orders: list[OpenOrder], xbt: int, eth: int) -> None:
    """Law: protection stays, everything else goes, exposure before reductions, and only reductions are sent."""
    cause = from_edge(Started, T)
    positions = (position(xbt, XBT), position(eth, ETH))
    commands = plan(cause, kill_id("test", T), T, orders, positions)
    cancelled = {c.order_id for c in commands if isinstance(c, CancelOrder) and c.order_id} | {
        o.order_id
        for o in orders
        for c in commands
        if isinstance(c, CancelOrder) and c.client_order_id and c.id == _cancel_id(cause, o)
    }
    sizes = {p.symbol: p.size for p in positions}
    kept = {o.order_id for o in orders if is_stop_of(o, sizes[o.symbol])}
    flattens = [c for c in commands if isinstance(c, PlaceOrder)]

    assert cancelled == {o.order_id for o in orders} - kept
    assert all(sizes[o.symbol] != 0 for o in orders if o.order_id in kept)
    assert all(f.reduce_only and f.size == abs(sizes[f.symbol]) for f in flattens)
    assert {f.symbol for f in flattens} == {s for s, size in sizes.items() if size}
    assert len({c.id for c in commands}) == len(commands)


def _cancel_id(cause: Message, resting: OpenOrder) -> str:
    return plan(cause, "k", T, (resting,), ())[0].id


@given(orders=orders_anyhow)
def test_the_plan_does_not_depend_on_the_order_of_the_list(orders: list[OpenOrder]) -> None:
    """Law: the same account gives the same commands."""
    cause = from_edge(Started, T)
    positions = (position(1), position(-1, ETH))

    assert plan(cause, "k", T, orders, positions) == plan(cause, "k", T, orders[::-1], positions[::-1])

"""The futures feed tells each fact once, newest wins, whatever way and however often it came."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from actors.futures_feed import decide, standing
from actors.futures_feed.actor import booked_until
from actors.futures_feed.fills import FILLS_KEPT
from actors.futures_feed.market import ASK_MARGIN_US, ASK_RULES_US, DAILY, MARGIN, RULES_CHANGED
from actors.futures_feed.notices import MAINTENANCE
from actors.futures_feed.state import State
from config.settings import Settings
from protocol.ids import client_order_id
from protocol.messages.base import Message, from_edge
from protocol.messages.control import Alert, HaltEntries, PersonAsked, ResumeEntries, Started, WakeAt, Woken
from protocol.messages.futures import (
    LIST_LAG_US,
    Account,
    AccountChanged,
    AccountSeen,
    CommandAnswered,
    ExchangeSnapshot,
    Fill,
    Filled,
    FillSeen,
    Instrument,
    InstrumentsListed,
    InstrumentsSeen,
    MarkPrice,
    ModeChanged,
    OpenOrder,
    OrderAccepted,
    OrderGone,
    OrderRejected,
    OrderSeen,
    OrderUnknown,
    Position,
    PositionChanged,
    PositionsSeen,
    Readable,
    RequestInstruments,
    SnapshotFailed,
    SnapshotMissed,
    SnapshotSeen,
    TickerSeen,
)
from protocol.ports import JournalFailed
from protocol.units import SECOND_US
from tests.fakes import facts

XBT, ETH = "PF_XBTUSD", "PF_ETHUSD"
T = 1_767_571_200_000_000
SECOND = 1_000_000
OURS = client_order_id("signal", "entry")
D = Decimal


def ticker(*, at: int = T, time: int | None = None, **values: Any) -> TickerSeen:
    """A whole ticker frame."""
    prices = {"mark": D(100), "index": D(100), "bid": D("99.5"), "ask": D("100.5"), "last": D(100)}
    fields: dict[str, Any] = {"symbol": XBT, "funding_rate": None, "suspended": False, "post_only": False, **prices}
    return from_edge(TickerSeen, at, at, time or at, time=at if time is None else time, **(fields | values))


def order(order_id: str = "o1", **values: Any) -> OpenOrder:
    """A resting entry of ours."""
    fields: dict[str, Any] = {
        "order_id": order_id,
        "client_order_id": OURS,
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
    return OpenOrder(**(fields | values))


def order_seen(resting: OpenOrder, *, at: int = T, is_open: bool = True, reason: str = "new") -> OrderSeen:
    """The private stream tells of an order."""
    return from_edge(OrderSeen, at, resting.order_id, at, is_open, order=resting, open=is_open, reason=reason)


def fill(fill_id: str, **values: Any) -> Fill:
    """One execution."""
    fields: dict[str, Any] = {
        "fill_id": fill_id,
        "order_id": "o1",
        "client_order_id": OURS,
        "symbol": XBT,
        "side": "buy",
        "size": D(1),
        "price": D(100),
        "time": T,
        "fill_type": "taker",
    }
    return Fill(**(fields | values))


def fill_seen(execution: Fill, *, at: int = T, source: Any = "stream") -> FillSeen:
    """Somebody tells of an execution."""
    return from_edge(FillSeen, at, execution.fill_id, source, at, fill=execution, source=source)


def position(size: int, symbol: str = XBT, **values: Any) -> Position:
    """A position at 100."""
    return Position(symbol=symbol, size=D(size), entry_price=D(100), **values)


def positions_seen(*listed: Position, sequence: int, at: int = T, time: int | None = None) -> PositionsSeen:
    """A frame of the positions stream."""
    return from_edge(PositionsSeen, at, sequence, at, positions=listed, sequence=sequence, time=time)


def account(equity: int) -> Account:
    """An account without positions."""
    return Account(
        equity_usd=D(equity),
        balance_usd=D(equity),
        available_margin_usd=D(equity),
        initial_margin_usd=D(0),
        maintenance_margin_usd=D(0),
    )


def account_seen(equity: int, sequence: int, at: int = T) -> AccountSeen:
    """A frame of the balances stream."""
    return from_edge(AccountSeen, at, sequence, at, account=account(equity), sequence=sequence)


def snapshot(*, began_at: int = T, at: int | None = None, **values: Any) -> SnapshotSeen:
    """A whole truth by REST."""
    fields: dict[str, Any] = {"orders": (), "positions": (), "fills": (), "account": account(1000)}
    at = began_at + 1 if at is None else at
    return from_edge(SnapshotSeen, at, began_at, at, began_at=began_at, **(fields | values))


def answered(outcome: Any, status: str = "said so", *, at: int = T, **values: Any) -> CommandAnswered:
    """How the exchange answered one of our wishes."""
    fields: dict[str, Any] = {"client_order_id": OURS, "order_id": "o1", "symbol": XBT, "wish": "place"}
    return from_edge(
        CommandAnswered, at, outcome, at, command="c1", outcome=outcome, status=status, **(fields | values)
    )


def run(state: State, *messages: Message) -> tuple[State, list[Message]]:
    """Every answer to the messages, in order."""
    out: list[Message] = []
    for message in messages:
        state, answers = decide.step(state, message)
        out.extend(answers)
    return state, out


def fresh(memory: bytes | None = None) -> State:
    """A feed at the beginning of a life."""
    return decide.initial(Settings(), memory)


def kinds(messages: list[Message]) -> list[str]:
    """The names of the messages."""
    return [type(m).__name__ for m in messages]


def of(kind: type[Message], messages: list[Message]) -> list[Any]:
    """The messages of one kind."""
    return [m for m in messages if isinstance(m, kind)]


# --- market ----------------------------------------------------------------------------------------------------


def test_marks_are_told_and_older_frames_dropped() -> None:
    """A frame stamped before the newest never turns the mark back; untraded symbols are not ours to tell."""
    _, out = run(
        fresh(),
        ticker(time=T, mark=D(101)),
        ticker(time=T - 1, mark=D(99)),
        ticker(time=T, mark=D(102)),
        ticker(symbol="PF_DOGEUSD"),
    )

    assert [(m.mark, m.mark_time) for m in of(MarkPrice, out)] == [(D(101), T), (D(102), T)]
    assert len(out) == 2


@pytest.mark.parametrize(
    "values",
    [{"mark": D(0)}, {"index": D(-1)}, {"bid": D("NaN")}, {"ask": D(0)}, {"time": T + 61 * SECOND}],
)
def test_garbled_prices_are_refused_with_one_alert(values: dict[str, Any]) -> None:
    """Nothing of the frame is believed; the alert is raised again only after a good frame."""
    state, out = run(fresh(), ticker(**values), ticker(**values))

    assert [m.code for m in of(Alert, out)] == ["PRICE_REJECTED"]
    assert len(out) == 1
    assert kinds(run(state, ticker(), ticker(**values))[1]) == ["MarkPrice", "Alert"]


def test_prices_of_a_host_whose_clock_is_behind_are_believed() -> None:
    """Once a reading has shown by how much: a position must not lack its stop for want of a mark (storm 200092)."""
    stamped = ticker(at=T + 2, time=T + 435 * SECOND), ticker(at=T + 3, time=T + 510 * SECOND)
    state, out = run(fresh(), stamped[0])
    assert kinds(out) == ["Alert"]
    state, _ = run(state, snapshot(began_at=T + 1, ahead_us=-435 * SECOND))
    assert [kinds(run(state, seen)[1]) for seen in stamped] == [["MarkPrice"], []]


@pytest.mark.parametrize(
    ("still_s", "last", "frozen"),
    [(30, "100.4", True), (30, "99.6", True), (30, "100.3", False), (29, "110", False)],
)
def test_a_mark_that_stands_still_while_trades_go_elsewhere_is_frozen(still_s: int, last: str, frozen: bool) -> None:
    """To the tick for half a minute, trades by more than 0.3 %: until the mark moves, wherever trades go (fault-catalogue 9)."""
    state, out = run(
        fresh(), ticker(time=T), ticker(time=T + SECOND), ticker(time=T + still_s * SECOND, last=D(last)),
        ticker(time=T + (still_s + 1) * SECOND),
    )  # fmt: skip
    assert [m.frozen for m in of(MarkPrice, out)] == [False, False, frozen, frozen]
    _, out = run(state, ticker(time=T + 60 * SECOND, mark=D("100.5"), last=D("90")))
    assert [m.frozen for m in of(MarkPrice, out)] == [False]


def contract(symbol: str = XBT, **changes: Any) -> Instrument:
    """A contract's rules."""
    fields: dict[str, Any] = {
        "tick": D("0.5"),
        "lot": D("0.001"),
        "max_position": D(100),
        "contract_size": D(1),
        "inverse": False,
        "tradeable": True,
        "margin_levels": ((D(0), D("0.1"), D("0.05")),),
        "max_relative_funding_rate": D("0.001"),
    }
    return Instrument(symbol=symbol, **(fields | changes))


def rules_of(*contracts: Instrument, at: int = T) -> InstrumentsSeen:
    return from_edge(InstrumentsSeen, at, at, instruments=contracts)


def test_only_traded_contracts_are_listed_and_a_missing_one_is_reported_once() -> None:
    """A traded symbol the exchange does not list is a fault of the settings or a delisting."""
    listing = rules_of(contract(XBT), contract("PF_DOGEUSD"))
    _, out = run(fresh(), listing, listing)

    assert kinds(out) == ["InstrumentsListed", "Alert", "InstrumentsListed"]
    assert [i.symbol for i in of(InstrumentsListed, out)[0].instruments] == [XBT]
    assert ETH in of(Alert, out)[0].text


def test_the_only_traded_contract_is_forgotten_when_it_is_listed_no_more() -> None:
    """Whoever trades one market must not enter on the rules of a contract that is gone."""
    only = Settings.model_validate({"symbols": [{"spot": "BTC/USD", "futures": XBT}]})
    _, out = run(decide.initial(only, None), rules_of(contract(XBT)), rules_of(contract(ETH), at=T + 1))

    assert [[i.symbol for i in m.instruments] for m in of(InstrumentsListed, out)] == [[XBT], []]
    assert [m.code for m in of(Alert, out)] == ["INSTR_DELISTING"]


def test_a_list_of_no_contracts_at_all_is_no_delisting() -> None:
    """During maintenance lists may be empty: the rules that are known stand, for the feed's own reckoning too."""
    both = (contract(XBT), contract(ETH))
    state, out = run(fresh(), rules_of(*both), rules_of(at=T + 1))

    assert kinds(out) == ["InstrumentsListed", "Alert"]
    assert [(m.code, m.severity) for m in of(Alert, out)] == [("INSTR_CHANGED", "warning")]
    assert set(state.instruments) == {XBT, ETH}


def test_a_contract_whose_rules_change_is_told_with_what_was_and_what_is() -> None:
    """The same list again is no news; another tick is; a contract that is traded no more is a delisting, told once."""
    both = (contract(XBT), contract(ETH))
    _, out = run(
        fresh(),
        rules_of(*both),
        rules_of(*both, at=T + 1),
        rules_of(contract(XBT, tick=D(5)), contract(ETH), at=T + 2),
        rules_of(contract(XBT, tick=D(5), tradeable=False), contract(ETH), at=T + 3),
        rules_of(contract(XBT, tick=D(1), tradeable=False), contract(ETH), at=T + 4),
    )
    assert [(m.code, m.severity) for m in of(Alert, out)] == [
        ("INSTR_CHANGED", "warning"),
        ("INSTR_DELISTING", "critical"),
        ("INSTR_CHANGED", "warning"),
    ]
    assert "tick 0.5 -> 5" in of(Alert, out)[0].text
    assert "tradeable True -> False" in of(Alert, out)[1].text
    assert len(of(InstrumentsListed, out)) == 5


def test_a_contract_that_is_not_traded_at_the_start_is_told() -> None:
    """Whoever configured it should know at once."""
    _, out = run(fresh(), rules_of(contract(XBT, tradeable=False), contract(ETH)))
    assert [m.code for m in of(Alert, out)] == ["INSTR_DELISTING"]


def margins(out: list[Message]) -> list[str]:
    """How bitcoin was listed to be margined, each time."""
    return [next(i.margin for i in m.instruments if i.symbol == XBT) for m in of(InstrumentsListed, out)]


def test_an_isolated_market_is_told_once_and_again_when_it_is_back() -> None:
    """Also where the first reading shows it; with its leverage and what to do, and looked for again each minute meanwhile."""
    cross, isolated = contract(XBT), contract(XBT, isolated_x=D("10.0"))
    _, out = run(fresh(), rules_of(isolated), rules_of(isolated, at=T + 1), rules_of(cross, at=T + 2))
    said = [(m.code, m.severity, m.text) for m in of(Alert, out) if m.code != "INSTR_DELISTING"]
    assert said == [
        (
            "MARGIN_MODE",
            "warning",
            f"{XBT} is isolated at 10x and sizes are reckoned for cross margin: no entry leaves in it, exits go on. Set it back to "
            "cross on Kraken, the daemon never does; it looks each minute",
        ),
        ("MARGIN_MODE", "warning", f"{XBT} is at cross margin: entries may leave in it"),
    ]
    assert margins(out) == ["isolated at 10x", "isolated at 10x", "cross"]
    assert [(m.key, m.due) for m in of(WakeAt, out)] == [(MARGIN, T + ASK_MARGIN_US), (MARGIN, T + 1 + ASK_MARGIN_US)]


def test_an_isolated_market_with_a_position_is_critical() -> None:
    """Its liquidation is nearer than was reckoned when it was opened."""
    held = from_edge(PositionsSeen, T, positions=(facts.position(1),), sequence=1)
    _, out = run(fresh(), held, rules_of(contract(XBT, isolated_x=D(3))))
    (alert,) = (m for m in of(Alert, out) if m.code == "MARGIN_MODE")
    assert (alert.severity, "a position is open in it" in alert.text) == ("critical", True)


def test_a_margin_that_nobody_knows_is_not_cross_and_what_is_known_stands() -> None:
    """Unknown is told once; a reading that fails later forgets nothing, and both are asked after a minute later."""
    unknown, isolated = contract(XBT, margin_known=False), contract(XBT, isolated_x=D(3))
    _, out = run(fresh(), rules_of(unknown), rules_of(unknown, at=T + 1), rules_of(contract(XBT), at=T + 2))
    assert margins(out) == ["unknown", "unknown", "cross"]
    texts = [m.text.partition(" ")[2] for m in of(Alert, out) if m.code == "MARGIN_MODE"]
    assert [text.partition(":")[0] for text in texts] == [
        "Kraken does not tell whether the account has it isolated",
        "is at cross margin",
    ]
    assert len(of(WakeAt, out)) == 2
    _, out = run(fresh(), rules_of(isolated), rules_of(unknown, at=T + 1))
    assert (margins(out), len(of(WakeAt, out))) == (["isolated at 3x"] * 2, 2)
    _, out = run(fresh(), rules_of(contract(XBT)), rules_of(unknown, at=T + 1))
    assert (margins(out), len(of(WakeAt, out))) == (["cross"] * 2, 1)


@pytest.mark.parametrize(("isolated_x", "again"), [(D(3), 1), (None, 0)])
def test_the_settings_are_read_again_each_minute_while_a_market_is_isolated(isolated_x: D | None, again: int) -> None:
    """Whether or not the last reading came through."""
    woken = from_edge(Woken, T + ASK_MARGIN_US, key=MARGIN)
    state, _ = run(fresh(), rules_of(contract(XBT, isolated_x=isolated_x)))
    _, out = run(state, woken)
    assert (len(of(RequestInstruments, out)), len(of(WakeAt, out))) == (1, again)


def test_a_position_shown_isolated_in_a_cross_market_has_the_settings_read() -> None:
    """A person set it since they were read; where that is known it is no news."""
    held = replace(facts.position(1), isolated_x=D(3))
    _, out = run(fresh(), rules_of(contract(XBT)), snapshot(positions=(held,)))
    assert [m.reason for m in of(RequestInstruments, out)] == [f"{XBT} is held isolated"]
    _, out = run(fresh(), rules_of(contract(XBT, isolated_x=D(3))), snapshot(positions=(held,)))
    assert of(RequestInstruments, out) == []


def test_a_market_that_closes_or_opens_is_told_once_and_its_rules_are_read_again() -> None:
    """Critical while a position is open in it; a second ticker of the same mode is no news."""
    wait = ASK_RULES_US
    _, out = run(
        fresh(),
        ticker(),
        ticker(at=T + 1, post_only=True),
        ticker(at=T + 2, post_only=True),
        ticker(at=T + wait + 1, suspended=True),
        from_edge(PositionsSeen, T + wait + 2, positions=(facts.position(1),), sequence=1),
        ticker(at=T + wait + 3, post_only=True),
        ticker(at=T + 3 * wait),
    )
    told = [(m.severity, m.text) for m in of(Alert, out)]
    assert told == [
        ("warning", f"{XBT} is post-only (was open)"),
        ("warning", f"{XBT} is suspended (was post-only)"),
        ("critical", f"{XBT} is post-only (was suspended); a position is open in it"),
        ("warning", f"{XBT} is open (was post-only)"),
    ]
    assert {m.code for m in of(Alert, out)} == {"VENUE_MODE"}
    assert [m.mode for m in of(ModeChanged, out)] == ["post-only", "suspended", "post-only", ""]
    assert len(of(RequestInstruments, out)) == 3, "at most once in a while"


@pytest.mark.parametrize("status", sorted(RULES_CHANGED))
def test_a_refusal_that_speaks_of_the_rules_reads_them_again(status: str) -> None:
    """At most once in a while: refusals come in bursts. Others say nothing about the rules."""
    refusals = [answered("rejected", status, at=T + n) for n in range(3)]
    _, out = run(fresh(), *refusals, answered("rejected", "outsidePriceCollar", at=T + 2 * ASK_RULES_US))
    assert len(of(RequestInstruments, out)) == 1


def test_a_rate_limit_is_told_once_in_a_while() -> None:
    """Whether it met a wish or a reading; a minute later it is said again."""
    refused = from_edge(SnapshotFailed, T, reason="Refused: apiLimitExceeded", action="retry")
    _, out = run(
        fresh(),
        refused,
        answered("rejected", "apiLimitExceeded", at=T + 1),
        answered("rejected", "apiLimitExceeded", at=T + 60 * SECOND),
        from_edge(SnapshotFailed, T + 200 * SECOND, reason="Unreachable: no route to host"),
    )
    assert [(m.code, m.at) for m in of(Alert, out)] == [("RATE_LIMITED", T), ("RATE_LIMITED", T + 60 * SECOND)]


def test_more_than_three_refused_orders_in_five_minutes_are_a_burst() -> None:
    """Old ones, refused cancels and ids that are taken do not count; each refusal beyond the third says so."""
    times = (0, 301, 302, 303, 304, 305)
    refused = [answered("rejected", "invalidSize", at=T + n * SECOND) for n in times]
    others = (
        answered("rejected", "clientOrderIdAlreadyExist", at=T + 304 * SECOND),
        answered("not_found", "notFound", at=T + 304 * SECOND, wish="cancel"),
    )
    _, out = run(fresh(), *refused[:4], *others, *refused[4:])
    bursts = [m for m in of(Alert, out) if m.code == "REJECT_BURST"]
    assert [(m.severity, m.at) for m in bursts] == [("critical", T + n * SECOND) for n in (304, 305)]
    assert all(word in bursts[0].text for word in ("3", "5 minutes", XBT, OURS, "invalidSize"))


@pytest.mark.parametrize(
    ("status", "action", "limited"),
    [
        ("apiLimitExceeded", "", True),
        ("our own rate limit, nothing was sent", "retry", True),
        ("invalidSize", "", False),
    ],
)
def test_a_refusal_says_whether_the_rate_alone_was_at_fault(status: str, action: str, limited: bool) -> None:
    """By Kraken's word, or by what the gateway says of a request that never left."""
    _, out = run(fresh(), answered("rejected", status, action=action))
    assert [m.limited for m in of(OrderRejected, out)] == [limited]


def test_the_rules_are_read_once_a_day() -> None:
    """The edge calls."""
    _, out = run(fresh(), from_edge(Woken, T, key=DAILY), from_edge(Woken, T, key="another"))
    assert kinds(out) == ["RequestInstruments"]


def test_a_settled_position_is_a_reason_to_read_the_rules() -> None:
    """The contract has ended."""
    _, out = run(
        fresh(),
        from_edge(FillSeen, T, fill=facts.fill("f", "sell", 1, fill_type="settlement", time=T), source="stream"),
    )
    assert kinds(out) == ["Filled", "RequestInstruments"]


# --- orders ----------------------------------------------------------------------------------------------------


def test_an_order_is_told_when_it_appears_changes_and_goes() -> None:
    """The same frame again is silent; the reason of the end is the exchange's word."""
    _, out = run(
        fresh(),
        order_seen(order()),
        order_seen(order(), at=T + 1),
        order_seen(order(size=D("0.5"), filled=D("0.5")), at=T + 2),
        order_seen(order(), at=T + 3, is_open=False, reason="full_fill"),
        order_seen(order(), at=T + 4, is_open=False, reason="cancelled_by_user"),
    )

    assert kinds(out) == ["OrderAccepted", "OrderAccepted", "OrderGone"]
    assert of(OrderAccepted, out)[1].order.size == D("0.5")
    assert of(OrderGone, out)[0].reason == "full_fill"


def test_an_order_that_never_rests_ends_with_its_answer() -> None:
    """What it did not get at once is gone: told once, by its name, as the stream may only name an id that was never shown (storm 410425)."""
    later = order_seen(order(client_order_id=None, symbol=""), at=T + 1, is_open=False)
    state, said = run(fresh(), answered("cancelled", "placed"), later)
    (gone,) = of(OrderGone, said)
    assert (gone.client_order_id, gone.order_id, gone.symbol) == (OURS, "o1", XBT)
    _, said = run(state, answered("cancelled", "placed"), answered("cancelled", "cancelled", wish="cancel"))
    assert said == []


def test_an_order_that_is_gone_stays_gone() -> None:
    """An acknowledgement that arrives after the end does not raise the dead; only a list begun much later may."""
    state, out = run(fresh(), order_seen(order(), is_open=False), order_seen(order(), at=T + 1))
    assert kinds(out) == ["OrderGone"]

    state, out = run(state, snapshot(began_at=T + LIST_LAG_US, orders=(order(),)))
    assert of(OrderAccepted, out) == []

    _, out = run(state, snapshot(began_at=T + LIST_LAG_US + 1, orders=(order(),)))
    assert len(of(OrderAccepted, out)) == 1


def test_a_frame_without_a_client_id_gets_the_one_we_know() -> None:
    """Cancel frames and fills may name only the exchange's id; the answer to our request taught us which is which."""
    state, _ = run(fresh(), answered("placed"))
    nameless = order(client_order_id=None, symbol="")
    _, out = run(
        state,
        order_seen(order()),
        fill_seen(fill("f1", client_order_id=None)),
        fill_seen(fill("f2", client_order_id=None, order_id="stranger")),
        order_seen(nameless, is_open=False),
    )

    assert [m.fill.client_order_id for m in of(Filled, out)] == [OURS, None]
    assert [(m.client_order_id, m.symbol) for m in of(OrderGone, out)] == [(OURS, XBT)]


@pytest.mark.parametrize(
    ("outcome", "wish"), [("placed", "place"), ("edited", "edit"), ("cancelled", "cancel"), ("filled", "place")]
)
def test_a_good_answer_tells_nothing_by_itself(outcome: str, wish: str) -> None:
    """What happened is told by the order's and the fills' own events."""
    assert run(fresh(), answered(outcome, wish=wish))[1] == []


@pytest.mark.parametrize("outcome", ["rejected", "not_found"])
def test_a_refusal_names_the_wish(outcome: str) -> None:
    """A definitive no carries what was asked and the exchange's word."""
    _, out = run(fresh(), answered(outcome, "notFound", wish="cancel"))

    assert kinds(out) == ["OrderRejected"]
    assert [(m.client_order_id, m.wish, m.status) for m in of(OrderRejected, out)] == [(OURS, "cancel", "notFound")]


def test_an_unknown_outcome_is_told_as_unknown() -> None:
    """A time-out is evidence of nothing, and a duplicate's refusal proves that the first copy arrived."""
    _, out = run(
        fresh(), answered("unknown", "timeout", wish="edit"), answered("rejected", "clientOrderIdAlreadyExist")
    )

    assert [(type(m), m.wish) for m in of(OrderUnknown, out)] == [(OrderUnknown, "edit"), (OrderUnknown, "place")]


@pytest.mark.parametrize(("outcome", "code"), [("rejected", "ORDER_REJECTED"), ("unknown", "ORDER_UNKNOWN")])
def test_trouble_with_a_foreign_order_is_an_alert(outcome: str, code: str) -> None:
    """Without a client id no actor can act on it; a person hears it."""
    assert [m.code for m in of(Alert, run(fresh(), answered(outcome, client_order_id=None))[1])] == [code]


# --- fills -----------------------------------------------------------------------------------------------------


def test_a_fill_is_told_once_across_a_crash() -> None:
    """What was told is remembered by the next life."""
    state, out = run(fresh(), from_edge(Started, T), fill_seen(fill("f1")), fill_seen(fill("f1"), source="reply"))
    assert len(of(Filled, out)) == 1

    memory = decide.durable(state)
    _, out = run(fresh(memory), from_edge(Started, T + 9, restarted=True), snapshot(fills=(fill("f2"), fill("f1"))))
    assert [m.fill.fill_id for m in of(Filled, out)] == ["f2"]


def test_what_happened_before_is_told_when_an_earlier_life_left_a_damaged_memory() -> None:
    """A stranger's fill from before the first life of all is nobody's story here; after a lost memory it may never have been told
    (storm 7025).
    """
    old = snapshot(fills=(fill("f1", client_order_id=None, time=T - 1),))
    _, out = run(fresh(), from_edge(Started, T), old)
    assert of(Filled, out) == []
    state, out = run(decide.initial(Settings(), None, lost=True), from_edge(Started, T), old)
    assert [m.fill.fill_id for m in of(Filled, out)] == ["f1"]
    _, out = run(fresh(decide.durable(state)), from_edge(Started, T + 9, restarted=True), old)
    assert of(Filled, out) == [], "it is told once"


@pytest.mark.parametrize(("read_at", "ahead_us"), [(T + 1, 240 * SECOND_US), (T - 239 * SECOND_US, 0)])
def test_a_first_life_under_a_clock_that_is_ahead_begins_by_the_exchanges(read_at: int, ahead_us: int) -> None:
    """Whether it is still ahead at the first reading or was set right before it: what strangers do from now on is told (storm 217 for an hour)."""
    now = T - 240 * SECOND_US
    old, new = (
        fill(name, client_order_id=None, time=at) for name, at in (("f1", now - 1), ("f2", now + 5 * SECOND_US))
    )
    first = snapshot(began_at=read_at, fills=(old,), ahead_us=ahead_us)
    state, out = run(fresh(), from_edge(Started, T), first, fill_seen(new))
    assert [m.fill.fill_id for m in of(Filled, out)] == ["f2"]
    again, _ = run(state, snapshot(began_at=read_at + 15 * SECOND_US, fills=(old, new), ahead_us=ahead_us))
    assert again.told.since == state.told.since, "once is enough"


def test_memory_changes_only_with_fills() -> None:
    """The remembered piece is the same object until a new fill is told."""
    state, _ = run(fresh(), fill_seen(fill("f1")))
    after, _ = run(state, fill_seen(fill("f1")), ticker(), order_seen(order()))

    assert decide.remembered(after) is decide.remembered(state)
    assert decide.remembered(run(after, fill_seen(fill("f2")))[0]) is not decide.remembered(state)


def test_how_far_fills_were_read_survives_and_only_snapshots_move_it() -> None:
    """A fill of the stream may come before older ones that were missed; a list that lags does not take it back."""
    assert decide.fills_until(None) is None
    state, _ = run(fresh(), from_edge(Started, T), fill_seen(fill("f9", time=T + 9)))
    assert decide.fills_until(decide.durable(state)) == T  # the first life began
    state, _ = run(state, snapshot(fills=(fill("f1", time=T + 1), fill("f9", time=T + 9))))
    assert decide.fills_until(decide.durable(state)) == T + 9
    state, _ = run(fresh(decide.durable(state)), snapshot(), snapshot(fills=(fill("f1", time=T + 1),)))
    assert decide.fills_until(decide.durable(state)) == T + 9


def test_how_far_fills_are_booked_stands_when_the_journal_fails() -> None:
    """The exchange is read with a journal that cannot be: from where it was last known to be booked."""
    state, _ = run(fresh(), snapshot(fills=(fill("f1", time=T + 1),)))
    kept: list[bytes] = []

    class Failing:
        def memory(self, _actor: str) -> bytes | None:
            if not kept:
                raise JournalFailed("disk full")
            return kept[0]

    journal: Any = Failing()
    until = booked_until(journal)
    assert until() is None
    kept.append(decide.durable(state) or b"")
    assert until() == T + 1
    kept.clear()
    assert until() == T + 1


def test_a_foreign_memory_is_refused() -> None:
    """Bytes that are not ours are an error, never an empty memory."""
    with pytest.raises(msgspec.ValidationError):
        fresh(b'{"fills": 3}')


def test_fills_from_before_the_first_life_are_history() -> None:
    """Old executions of the account belong to nobody's story here; ours are told however old."""
    _, out = run(
        fresh(),
        from_edge(Started, T),
        snapshot(
            fills=(
                fill("old", client_order_id=None, time=T - 2),
                fill("ours", time=T - 1),
                fill("new", client_order_id=None, time=T),
            )
        ),
    )

    assert [m.fill.fill_id for m in of(Filled, out)] == ["ours", "new"]


def test_executions_of_ours_prove_that_an_earlier_life_is_lost() -> None:
    """A journal restored from before it began remembers nothing: what came with or after our oldest execution is told, a stranger's too
    (storm 70310). Later readings change nothing.
    """
    lost = (
        fill("before", client_order_id=None, time=T - 9),
        fill("ours", time=T - 8),
        fill("unwound", client_order_id=None, time=T - 8, fill_type="unwindBankrupt"),
        fill("hand", client_order_id=None, time=T - 1),
    )
    state, out = run(fresh(), from_edge(Started, T), snapshot(fills=lost))
    assert {m.fill.fill_id for m in of(Filled, out)} == {"ours", "unwound", "hand"}
    _, out = run(
        state, snapshot(fills=(fill("early", time=T - 20), fill("stranger", client_order_id=None, time=T - 19)))
    )
    assert [m.fill.fill_id for m in of(Filled, out)] == ["early"]


def test_the_memory_of_fills_is_bounded() -> None:
    """Only the newest ids are kept."""
    state, _ = run(fresh(), snapshot(fills=tuple(fill(f"{n:05}") for n in range(FILLS_KEPT + 5))))

    assert len(state.told.fills) == FILLS_KEPT
    assert "00004" not in state.told.fills
    assert "00005" in state.told.fills


@given(
    order_of_telling=st.lists(st.tuples(st.integers(0, 7), st.sampled_from(["stream", "reply", "rest"])), max_size=40),
    crash_at=st.integers(0, 40),
)
def test_each_fill_is_told_exactly_once(order_of_telling: list[tuple[int, str]], crash_at: int) -> None:
    """Law: any order, any number of tellings, any sources, a crash anywhere: each fill is told once."""
    messages = [fill_seen(fill(f"f{n}", time=T + n), source=source) for n, source in order_of_telling]
    truth = snapshot(fills=tuple(fill(f"f{n}", time=T + n) for n in range(8)))
    state, before = run(fresh(), *messages[:crash_at])
    _, after = run(fresh(decide.durable(state)), truth, *messages[crash_at:], truth)

    assert sorted(m.fill.fill_id for m in of(Filled, before + after)) == [f"f{n}" for n in range(8)]


# --- positions and account -------------------------------------------------------------------------------------


def test_positions_are_told_when_they_differ() -> None:
    """The first list tells every traded symbol; later ones what changed; absence is flat."""
    state, out = run(fresh(), positions_seen(position(1), sequence=1))
    assert [(m.position.symbol, m.position.size) for m in of(PositionChanged, out)] == [(XBT, D(1)), (ETH, D(0))]

    state, out = run(state, positions_seen(position(1, unrealized_pnl_usd=D(5)), sequence=2))
    assert out == []

    state, out = run(state, positions_seen(position(3, "PF_DOGEUSD"), sequence=3))
    assert [(m.position.symbol, m.position.size) for m in of(PositionChanged, out)] == [
        ("PF_DOGEUSD", D(3)),
        (XBT, D(0)),
    ]

    _, out = run(state, positions_seen(sequence=4))
    assert [(m.position.symbol, m.position.size) for m in of(PositionChanged, out)] == [("PF_DOGEUSD", D(0))]


def test_a_source_that_does_not_say_keeps_the_last_word() -> None:
    """None is not a value: the liquidation price stands until the position changes."""
    state, _ = run(fresh(), positions_seen(position(1, liquidation_price=D(50)), sequence=1))
    state, out = run(state, positions_seen(position(1), sequence=2))
    assert out == []

    _, out = run(state, positions_seen(position(2), sequence=3))
    assert of(PositionChanged, out)[0].position.liquidation_price is None


def test_older_frames_never_overwrite_until_the_stream_starts_anew() -> None:
    """Sequences order frames; a new life lets them begin again, as the stream is another."""
    state, out = run(fresh(), positions_seen(position(2), sequence=9), positions_seen(position(1), sequence=8))
    assert [m.position.size for m in of(PositionChanged, out) if m.position.symbol == XBT] == [D(2)]

    _, out = run(state, from_edge(Started, T, restarted=True), positions_seen(position(1), sequence=1, at=T + 1))
    assert [m.position.size for m in of(PositionChanged, out)] == [D(1)]

    state, out = run(state, snapshot(began_at=T + 2, positions=(position(2),)), account_seen(5, sequence=1, at=T + 4))
    assert of(PositionChanged, out) == []
    assert [m.account.equity_usd for m in of(AccountChanged, out)] == [D(1000), D(5)]


def test_an_older_frame_stays_old_when_a_truth_came_between() -> None:
    """Two frames that changed places are one story whatever is read meanwhile; only a new connection counts anew (storm 52405)."""
    state, _ = run(fresh(), positions_seen(position(1), sequence=4), snapshot(at=T + 1, positions=(position(1),)))
    state, out = run(state, positions_seen(position(2), sequence=3, at=T + 2))
    assert of(PositionChanged, out) == []

    _, out = run(state, rules_of(at=T + 3), positions_seen(position(2), sequence=1, at=T + 3))
    assert [m.position.size for m in of(PositionChanged, out)] == [D(2)]


@pytest.mark.parametrize(
    ("time", "at", "late"),
    [
        (T - 1, T + 2, True),
        (T, T + 2, True),
        (T + 1, T + 2, False),
        (None, T + 2, False),
        (T - 1, T + 30 * SECOND, False),
    ],
)
def test_a_frame_of_before_an_execution_that_was_told_says_nothing_of_its_symbol(
    time: int | None, at: int, late: bool
) -> None:
    """It was late, by the exchange's own time; of other symbols it is news, and a wrong time makes nobody deaf for long (storm 64360)."""
    state, _ = run(
        fresh(),
        positions_seen(position(2), sequence=1),
        fill_seen(fill("f", side="sell"), at=T),
        snapshot(at=T + 1, positions=(position(1),)),
    )
    state, out = run(state, positions_seen(position(2), position(3, ETH), sequence=2, at=at, time=time))
    changed = {m.position.symbol: m.position.size for m in of(PositionChanged, out)}
    assert changed == ({ETH: D(3)} if late else {ETH: D(3), XBT: D(2)})
    assert state.told.streamed[XBT] == (1 if late else 2)


def test_of_frames_of_one_millisecond_the_one_that_shows_all_that_was_executed_is_heard() -> None:
    """The reply told our fill before the stream told of what the exchange did to us just before it (storm 71699)."""
    state, _ = run(
        fresh(),
        positions_seen(sequence=1, time=T - 1),
        fill_seen(fill("ours", size=3, side="sell"), at=T),
        fill_seen(fill("theirs", size=1), at=T),
    )
    state, out = run(state, positions_seen(position(1), sequence=2, at=T, time=T))
    assert of(PositionChanged, out) == []
    state, out = run(state, positions_seen(position(-2), sequence=3, at=T, time=T))
    assert [m.position.size for m in of(PositionChanged, out)] == [D(-2)]
    state, _ = run(state, fill_seen(fill("flat", size=2), at=T))
    state, out = run(state, positions_seen(position(-2), sequence=4, at=T, time=T))
    assert of(PositionChanged, out) == []
    _, out = run(state, positions_seen(sequence=5, at=T, time=T))
    assert [m.position.size for m in of(PositionChanged, out)] == [D(0)]


def test_the_account_is_told_when_it_differs() -> None:
    """Repetitions and older frames are silent."""
    _, out = run(fresh(), account_seen(5, 2), account_seen(5, 3), account_seen(4, 1), account_seen(6, 4))

    assert [m.account.equity_usd for m in of(AccountChanged, out)] == [D(5), D(6)]


# --- snapshots -------------------------------------------------------------------------------------------------


def test_a_snapshot_tells_fills_first_and_itself_last() -> None:
    """Whoever compares has booked the fills and knows the positions before the truth arrives."""
    truth = snapshot(orders=(order(),), positions=(position(1),), fills=(fill("b", time=T + 1), fill("a")))
    _, out = run(fresh(), truth)

    assert kinds(out) == [
        "Filled",
        "Filled",
        "OrderAccepted",
        "PositionChanged",
        "PositionChanged",
        "AccountChanged",
        "ExchangeSnapshot",
    ]
    assert [m.fill.fill_id for m in of(Filled, out)] == ["a", "b"]
    assert of(ExchangeSnapshot, out)[0].orders == (order(),)


def test_fills_of_one_millisecond_are_told_as_they_came() -> None:
    """An exit told before the entry that it closes would not be booked, whatever the exchange called it (storm 40404)."""
    _, out = run(fresh(), snapshot(fills=(fill("b"), fill("a"))))
    assert [m.fill.fill_id for m in of(Filled, out)] == ["b", "a"]


def test_a_snapshot_never_overrules_a_newer_event() -> None:
    """What the stream said after the reading began stands; the truth itself is handed on verbatim."""
    stream = [
        order_seen(order(size=D(2)), at=T + 5),
        positions_seen(position(2), sequence=1, at=T + 5),
        account_seen(7, 1, at=T + 5),
    ]
    state, _ = run(fresh(), *stream)
    old = snapshot(began_at=T, at=T + 9, orders=(order(),), positions=(position(1),))
    state, out = run(state, old)

    assert kinds(out) == ["ExchangeSnapshot"]
    assert kinds(run(state, stream[0])[1]) == []


def test_a_list_that_trails_a_fill_takes_nothing_off_the_stream() -> None:
    """Half a minute after a fill a list may show what was before it; a list that shows more, and a larger one later, are told."""
    state, _ = run(fresh(), positions_seen(sequence=1), fill_seen(fill("entry", size=D(2))))
    state, _ = run(state, positions_seen(position(2), sequence=2, at=T + 1))

    old, out = run(
        state, snapshot(began_at=T + SECOND), snapshot(began_at=T + LIST_LAG_US - 1, positions=(position(1),))
    )
    assert of(PositionChanged, out) == []
    _, out = run(old, snapshot(began_at=T + 9 * SECOND, positions=(position(3),)))
    assert [m.position.size for m in of(PositionChanged, out)] == [D(3)]
    _, out = run(old, snapshot(began_at=T + LIST_LAG_US), snapshot(began_at=T + LIST_LAG_US + SECOND))
    assert [m.position.size for m in of(PositionChanged, out)] == [D(0)]


def test_what_the_stream_said_before_a_crash_stands_against_a_list_that_trails() -> None:
    """The next life begins with a reading, which may be as old; it tells nothing of that symbol, and the stream soon does."""
    state, _ = run(fresh(), positions_seen(sequence=1), fill_seen(fill("entry", size=D(2))))
    state, _ = run(state, positions_seen(position(2), sequence=2, at=T + 1))
    again = decide.initial(Settings(), decide.durable(state))

    _, out = run(again, snapshot(began_at=T + SECOND))
    assert [m.position.symbol for m in of(PositionChanged, out)] == [ETH]
    _, out = run(again, snapshot(began_at=T + LIST_LAG_US), snapshot(began_at=T + LIST_LAG_US + SECOND))
    assert [m.position.symbol for m in of(PositionChanged, out)] == [ETH, XBT]
    quiet, _ = run(state, positions_seen(position(2), sequence=3, at=T + 2))
    assert decide.remembered(quiet) is decide.remembered(state), "nothing new to keep"


def test_a_list_that_fills_explain_is_believed_at_once() -> None:
    """What was sold since the stream spoke may be missing from the list, and no more than that."""
    state, _ = run(fresh(), positions_seen(sequence=1), fill_seen(fill("entry", size=D(2))))
    state, _ = run(state, positions_seen(position(2), sequence=2, at=T + 1))
    sold = fill("out", side="sell", size=D(1), time=T + SECOND)

    _, out = run(state, snapshot(began_at=T + SECOND, fills=(sold,), positions=(position(1),)))
    assert [m.position.size for m in of(PositionChanged, out)] == [D(1)]
    _, out = run(state, snapshot(began_at=T + SECOND, fills=(sold,)))
    assert of(PositionChanged, out) == []
    _, out = run(state, snapshot(began_at=T + SECOND, fills=(replace(sold, size=D(2)),)))
    assert [m.position.size for m in of(PositionChanged, out)] == [D(0)]


@pytest.mark.parametrize(("held", "listed"), [(2, 0), (2, 1), (-2, 0), (2, -1)])
def test_a_list_that_shows_less_needs_a_second(held: int, listed: int) -> None:
    """Neither the stream nor a fill took it off: the first list is told as unproved, the second that agrees is believed."""
    rows = (position(listed),) if listed else ()
    state, _ = run(fresh(), positions_seen(position(held), sequence=1))

    state, out = run(state, snapshot(began_at=T + SECOND, positions=rows))
    assert kinds(out) == ["AccountChanged", "ExchangeSnapshot"]
    assert [m.unproved for m in of(ExchangeSnapshot, out)] == [(XBT,)]
    assert of(ExchangeSnapshot, out)[0].positions == rows, "the truth is handed on verbatim all the same"

    _, out = run(
        state, snapshot(began_at=T + 2 * SECOND, positions=rows), snapshot(began_at=T + 3 * SECOND, positions=rows)
    )
    assert [m.position.size for m in of(PositionChanged, out)] == [D(listed)]
    assert [m.unproved for m in of(ExchangeSnapshot, out)] == [(), ()]


@pytest.mark.parametrize(
    "between",
    [
        positions_seen(position(2), sequence=2, at=T + 2 * SECOND),
        snapshot(began_at=T + 2 * SECOND, positions=(position(2),)),
    ],
    ids=["the stream", "a list"],
)
def test_whoever_shows_the_whole_between_two_lists_that_show_less_begins_the_count_anew(between: Message) -> None:
    """The stream says held every second: no list outweighs it, however often one leaves the row out."""
    state, _ = run(fresh(), positions_seen(position(2), sequence=1), snapshot(began_at=T + SECOND), between)
    _, out = run(state, snapshot(began_at=T + 3 * SECOND))
    assert of(PositionChanged, out) == []
    assert [m.unproved for m in of(ExchangeSnapshot, out)] == [(XBT,)]


def test_a_small_position_does_not_hide_behind_a_large_one() -> None:
    """The margin in use is nearer to what both ask for than to what is listed, though less than half as much again."""
    two = positions_seen(position(40), position(10, symbol=ETH), sequence=1)
    state, _ = run(fresh(), rules_of(contract(), contract(ETH)), two)
    asked = [D("0.1") * row.size * row.entry_price for row in two.positions]
    used, free = (replace(account(100_000), initial_margin_usd=usd) for usd in (sum(asked), asked[0]))
    one = (position(40),)
    state, out = run(state, *(snapshot(began_at=T + n * SECOND, positions=one, account=used) for n in (1, 2, 3)))
    assert of(PositionChanged, out) == []
    _, out = run(state, *(snapshot(began_at=T + n * SECOND, positions=one, account=free) for n in (4, 5)))
    assert [(m.position.symbol, m.position.size) for m in of(PositionChanged, out)] == [(ETH, D(0))]


def test_a_new_life_says_what_its_first_list_may_lack() -> None:
    """It remembers what was told: an entry of a moment ago, and a position that one list leaves out."""
    state, _ = run(fresh(), fill_seen(fill("entry", size=D(2))))
    again = decide.initial(Settings(), decide.durable(state))
    (truth,) = of(ExchangeSnapshot, run(again, snapshot(began_at=T + SECOND))[1])
    assert [(row.symbol, row.size) for row in truth.lacks] == [(XBT, D(2))]
    (truth,) = of(ExchangeSnapshot, run(again, snapshot(began_at=T + LIST_LAG_US + SECOND))[1])
    assert (truth.unproved, [row.size for row in truth.lacks]) == ((XBT,), [D(2)])
    (truth,) = of(ExchangeSnapshot, run(again, snapshot(began_at=T + SECOND, positions=(position(2),)))[1])
    assert truth.lacks == ()


def test_a_fill_older_than_the_streams_word_on_its_position_changes_nothing_of_it() -> None:
    """The stream showed the position and its end; the fill that opened it is told at last."""
    shown = (positions_seen(position(2), sequence=1), positions_seen(sequence=2, at=T + SECOND))
    state, _ = run(fresh(), *(replace(seen, time=seen.at) for seen in shown))
    state, out = run(state, fill_seen(fill("entry", size=D(2), time=T - 1)), snapshot(began_at=T + 2 * SECOND))
    assert [truth.lacks for truth in of(ExchangeSnapshot, out)] == [()]


@pytest.mark.parametrize("dies_after", [1, 2, 3])
def test_a_life_that_dies_between_a_frame_and_its_fills_leaves_what_the_frame_showed(dies_after: int) -> None:
    """The next life is told of the fills: they are not taken off again, whichever frames it has heard itself."""
    frames = [
        positions_seen(position(size), sequence=at, at=at, time=at) for size, at in ((10, T - 2), (6, T - 1), (2, T))
    ]
    state, _ = run(fresh(), *frames[:dies_after])
    state = decide.initial(Settings(), decide.durable(state))
    again = frames[dies_after:] or [positions_seen(position(2), sequence=1, at=T + SECOND, time=T + SECOND)]
    first, second = fill("first", side="sell", size=D(4), time=T - 1), fill("second", side="sell", size=D(4))
    state, out = run(
        state, from_edge(Started, T, restarted=True), *again, snapshot(began_at=T + 2 * SECOND, fills=(first, second))
    )
    assert state.told.streamed == {XBT: D(2)}
    assert [m.unproved for m in of(ExchangeSnapshot, out)] == [(XBT,)]
    assert [m.before for m in of(Filled, out)] == [D(10), D(6)]


def test_a_life_that_is_told_of_fills_before_any_frame_knows_those_that_a_frame_showed_the_last_one() -> None:
    """The last frame of the life before showed both; the list that leaves the rest out is no proof that it is gone."""
    frames = ((10, T - 2), (6, T - 1), (2, T))
    state, _ = run(fresh(), *(positions_seen(position(size), sequence=at, at=at, time=at) for size, at in frames))
    state = decide.initial(Settings(), decide.durable(state))
    first, second = fill("first", side="sell", size=D(4), time=T - 1), fill("second", side="sell", size=D(4))
    _, out = run(state, snapshot(began_at=T + SECOND, fills=(first, second)))
    assert [m.unproved for m in of(ExchangeSnapshot, out)] == [(XBT,)]
    assert [m.before for m in of(Filled, out)] == [D(10), D(6)]


@pytest.mark.parametrize("sign", [1, -1])
def test_a_fill_of_the_millisecond_of_a_frame_that_showed_it_is_not_taken_off_again(sign: int) -> None:
    """The exchange unwound in parts, told by frames before fills: the rest counted as sold, and one list that left it out took its stop (storm 460120)."""
    frames = ((10, T - 2), (6, T - 1), (2, T))
    state, _ = run(
        fresh(), *(positions_seen(position(sign * size), sequence=at, at=at, time=at) for size, at in frames)
    )
    side = "sell" if sign > 0 else "buy"
    first, second = fill("first", side=side, size=D(4), time=T - 1), fill("second", side=side, size=D(4))
    state, out = run(state, snapshot(began_at=T + SECOND, fills=(first, second)))
    assert of(PositionChanged, out) == []
    assert [m.unproved for m in of(ExchangeSnapshot, out)] == [(XBT,)]
    assert [m.before for m in of(Filled, out)] == [D(sign * 10), D(sign * 6)]

    stale, out = run(state, snapshot(began_at=T + 2 * SECOND, positions=(position(sign * 6),)))
    assert of(PositionChanged, out) == [], "a list may show what was before the fills"
    state, _ = run(stale, fill_seen(fill("third", side=side, size=D(2)), at=T + 3 * SECOND))
    _, out = run(state, snapshot(began_at=T + 4 * SECOND))
    assert [m.position.size for m in of(PositionChanged, out)] == [D(0)], "one that no frame showed counts at once"


def test_a_fill_says_what_was_held_until_then() -> None:
    """Whoever hears of it first in a new life must know whether it opened."""
    state, first = run(fresh(), positions_seen(sequence=1), fill_seen(fill("entry", size=D(2))))
    _, then = run(state, fill_seen(fill("out", side="sell", size=D(2), time=T + SECOND)))
    assert [m.before for m in (*of(Filled, first), *of(Filled, then))] == [D(0), D(2)]


@pytest.mark.parametrize("orders", [(), (order(),)], ids=["nothing rests", "a stranger's order rests"])
def test_no_list_outweighs_the_margin_that_the_account_uses(orders: tuple[OpenOrder, ...]) -> None:
    """The account knows of more than is listed: the second list proves nothing either, until the margin is free (storm 50899)."""
    used = replace(account(1000), initial_margin_usd=D(50))
    state, _ = run(fresh(), positions_seen(position(2), sequence=1))
    state, out = run(state, *(snapshot(began_at=T + n * SECOND, account=used, orders=orders) for n in range(1, 9)))
    assert of(PositionChanged, out) == []
    assert {m.unproved for m in of(ExchangeSnapshot, out)} == {(XBT,)}

    _, out = run(state, snapshot(began_at=T + 9 * SECOND))
    assert [m.position.size for m in of(PositionChanged, out)] == [D(0)]


def test_a_list_is_no_second_for_one_that_began_after_it() -> None:
    """A reading that was overtaken is as old as what it shows."""
    state, _ = run(fresh(), positions_seen(position(2), sequence=1), snapshot(began_at=T + 2 * SECOND))
    _, out = run(state, snapshot(began_at=T + SECOND, at=T + 3 * SECOND))
    assert of(PositionChanged, out) == []


def test_a_list_that_trails_an_exit_brings_nothing_back() -> None:
    """Half a minute after fills that closed a position a list may show what was before any of them; more than that, the other side and a later list are told."""
    state, _ = run(fresh(), positions_seen(position(2), sequence=1))
    state, _ = run(
        state, *(fill_seen(fill(name, side="sell", size=D(1), time=T + SECOND)) for name in ("half", "rest"))
    )
    state, _ = run(state, positions_seen(sequence=2, at=T + SECOND))

    def told(size: int, began_at: int) -> list[Decimal]:
        _, out = run(state, snapshot(began_at=began_at, positions=(position(size),)))
        return [m.position.size for m in of(PositionChanged, out)]

    soon = T + SECOND + 1
    assert [told(size, soon) for size in (2, 1)] == [[], []]
    assert [told(size, soon) for size in (3, -1)] == [[D(3)], [D(-1)]]
    assert told(2, T + SECOND + LIST_LAG_US) == [D(2)]


def test_an_order_in_doubt_is_told_anew_by_the_next_list_that_shows_it() -> None:
    """It was told before it was asked for again under its own name: who waits for evidence would wait for ever (storm 32448)."""
    listed = order()
    state, _ = run(fresh(), snapshot(orders=(listed,)))
    assert kinds(run(state, snapshot(began_at=T + SECOND, orders=(listed,)))[1]) == ["ExchangeSnapshot"]

    state, out = run(state, answered("unknown", at=T + SECOND))
    assert kinds(out) == ["OrderUnknown"]
    _, out = run(state, snapshot(began_at=T + 2 * SECOND, orders=(listed,)))
    assert kinds(out) == ["OrderAccepted", "ExchangeSnapshot"]


def test_a_list_without_an_order_kills_nothing() -> None:
    """Absence from one list is no proof: no OrderGone is told, whatever the age of the list."""
    state, _ = run(fresh(), order_seen(order()))
    state, out = run(state, snapshot(began_at=T + SECOND), snapshot(began_at=T + 2 * SECOND))

    assert of(OrderGone, out) == []


def test_a_failed_snapshot_is_missed() -> None:
    """No truth is told as no truth; of the rows that could be read nothing is told but themselves."""
    rows = Readable(began_at=T, orders=(), positions=(position(1),))
    _, out = run(fresh(), from_edge(SnapshotFailed, T, reason="timeout", readable=rows))

    assert [(m.reason, m.readable) for m in of(SnapshotMissed, out)] == [("timeout", rows)]
    assert len(out) == 1


def test_unknown_messages_are_tolerated() -> None:
    """What is not for the feed changes nothing."""
    state = fresh()

    assert run(state, from_edge(Woken, T, key="x")) == (state, [])
    assert replace(state) == state


def test_a_refused_key_halts_entries_until_it_is_taken_again() -> None:
    """Told once; a read that works ends the halt of a refused read, not that of a refused order, unless a read was refused, too.

    An order that is judged by its terms was not refused for its key.
    """

    def answered(number: int, outcome: str, action: str) -> CommandAnswered:
        fields: dict[str, Any] = {"command": "c", "wish": "place", "client_order_id": OURS, "order_id": None}
        return from_edge(
            CommandAnswered, T + number, number, **fields, symbol=XBT, outcome=outcome, status="x", action=action
        )

    def halts(*messages: Message) -> list[str]:
        state = decide.initial(Settings(), None)
        said: list[str] = []
        for message in messages:
            state, out = decide.step(state, message)
            said += [type(m).__name__ for m in out if isinstance(m, (HaltEntries, ResumeEntries, Alert))]
        return said

    failed = from_edge(SnapshotFailed, T, reason="KeyRefused: HTTP 401", action="halt")
    down = from_edge(SnapshotFailed, T, reason="Unreachable", action="look_up")
    read = from_edge(
        SnapshotSeen, T, began_at=T, orders=(), positions=(), fills=(),
        account=Account(equity_usd=D(1), balance_usd=D(1), available_margin_usd=D(1), initial_margin_usd=D(0), maintenance_margin_usd=D(0)),
    )  # fmt: skip
    refused, placed = answered(1, "rejected", "halt"), answered(2, "placed", "")

    assert halts(failed, failed, down, read, read) == ["HaltEntries", "Alert", "ResumeEntries"]
    assert halts(refused, read, refused) == ["HaltEntries", "Alert"]
    assert halts(refused, failed, refused, read) == ["HaltEntries", "Alert", "ResumeEntries"]
    resumed = from_edge(PersonAsked, T + 9, request="r", ask="resume", key=standing.BARRED, by="ann", reason="mended")
    assert halts(refused, resumed, refused) == ["HaltEntries", "Alert"] * 2
    assert halts(refused, replace(resumed, dry_run=True), refused) == ["HaltEntries", "Alert"]
    assert halts(refused, answered(4, "rejected", "reject")) == ["HaltEntries", "Alert", "ResumeEntries"]
    assert halts(refused, read, placed) == ["HaltEntries", "Alert", "ResumeEntries"]
    assert halts(answered(3, "rejected", "reject"), placed) == []


def test_the_next_life_ends_the_halts_of_this_one() -> None:
    """The gate may hold them although the key is taken again and the clock right; a key that is still refused halts anew."""
    state, out = run(fresh(), from_edge(Started, T, restarted=True))
    assert [m.key for m in of(ResumeEntries, out)] == [standing.BARRED, standing.CLOCK, MAINTENANCE]
    at = T + 1
    _, out = run(state, from_edge(SnapshotFailed, at, at, reason="authenticationError", action="halt"))
    assert [m.key for m in of(HaltEntries, out)] == [standing.BARRED]
    assert of(ResumeEntries, run(fresh(), from_edge(Started, T))[1]) == []


def test_a_clock_that_is_off_halts_entries_until_it_is_right() -> None:
    """Told once, with how far; a reading that does not show the exchange's time changes nothing."""
    state, out = run(fresh(), snapshot(began_at=T, ahead_us=2_000_000), snapshot(began_at=T + 1, ahead_us=-2_000_000))
    assert of(HaltEntries, out) == []
    state, out = run(
        state, snapshot(began_at=T + 2, ahead_us=-2_400_000), snapshot(began_at=T + 3, ahead_us=-9_000_000)
    )
    assert [(halt.key, halt.reason) for halt in of(HaltEntries, out)] == [
        (standing.CLOCK, "this host's clock is 2.4 s behind the exchange's")
    ]
    assert [(alert.code, alert.severity) for alert in of(Alert, out)] == [("CLOCK_SKEW", "warning")]
    state, out = run(state, snapshot(began_at=T + 4, ahead_us=None))
    assert of(ResumeEntries, out) == []
    state, out = run(state, snapshot(began_at=T + 5, ahead_us=1_000))
    assert [resume.key for resume in of(ResumeEntries, out)] == [standing.CLOCK]
    assert of(Alert, run(state, snapshot(began_at=T + 6, ahead_us=600_000_000))[1])[0].text.startswith(
        "this host's clock is 600.0 s ahead of the exchange's: set it right"
    )


def test_entries_are_halted_before_the_truth_is_told_that_would_let_them_out() -> None:
    """A first clean reconciliation follows from the very reading that shows the clock to be off."""
    _, out = run(fresh(), snapshot(ahead_us=5_000_000))
    kinds = [type(message) for message in out]
    assert kinds.index(HaltEntries) < kinds.index(ExchangeSnapshot)


def test_every_reading_shows_what_the_exchange_did_to_us() -> None:
    """However often it was told: who must hear of it may have died. What lies before our first life is not ours."""
    past, did, asked = fill("f0", time=T - 1), fill("f1"), fill("f2", fill_type="taker")
    past, did = (msgspec.structs.replace(f, fill_type="liquidation", client_order_id=None) for f in (past, did))
    state, _ = run(fresh(), from_edge(Started, T))
    for number in (1, 2):
        state, out = run(state, snapshot(began_at=T + number, fills=(past, did, asked)))
        assert [seen.forced for seen in of(ExchangeSnapshot, out)] == [(did,)]
        assert len(of(Filled, out)) == (2 if number == 1 else 0)

"""The door: every control refuses what it must, normalising never makes an order riskier, exits always pass."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.door import Door
from actors.gate import Gate
from actors.pretrade import CONTROLS, Facts, examine, normalise
from config.settings import Settings
from protocol.codec import decode, encode
from protocol.messages.base import from_edge
from protocol.messages.futures import (
    AccountChanged,
    CancelOrder,
    EditOrder,
    EntryBlocked,
    InstrumentsListed,
    OrderAdmitted,
    PlaceOrder,
    Position,
    PositionChanged,
)
from protocol.ports import LatchState
from protocol.units import OrderSide
from tests.fakes import facts

SETTINGS = Settings()
AT = 1_000_000_000

INSTRUMENT = facts.instrument()
MARK = facts.mark(AT, bid=Decimal(49_999), ask=Decimal(50_001))
ACCOUNT = facts.account()
ENTRY = from_edge(
    PlaceOrder,
    AT,
    client_order_id="ks-1",
    signal_id="s",
    role="entry",
    symbol="PF_XBTUSD",
    side="buy",
    order_type="mkt",
    size=Decimal("0.1"),
)
FACTS = Facts(marks={"PF_XBTUSD": MARK}, instruments={"PF_XBTUSD": INSTRUMENT}, account=ACCOUNT)
change = msgspec.structs.replace

REFUSED: dict[str, tuple[PlaceOrder, Facts]] = {
    "pretrade.reduce_only": (change(ENTRY, role="stop"), FACTS),
    "pretrade.symbol": (change(ENTRY, symbol="PF_DOGEUSD"), FACTS),
    "pretrade.tradeable": (ENTRY, change(FACTS, instruments={"PF_XBTUSD": change(INSTRUMENT, inverse=True)})),
    "pretrade.market_mode": (ENTRY, change(FACTS, marks={"PF_XBTUSD": change(MARK, post_only=True)})),
    "pretrade.mark_age": (ENTRY, change(FACTS, marks={"PF_XBTUSD": change(MARK, at=AT - 3_000_001)})),
    "pretrade.size": (change(ENTRY, size=Decimal(0)), FACTS),
    "pretrade.price_collar": (change(ENTRY, limit_price=Decimal(51_001)), FACTS),
    "pretrade.order_value": (change(ENTRY, size=Decimal("0.51")), FACTS),
    "pretrade.exposure": (change(ENTRY, size=Decimal("0.7")), FACTS),
    "pretrade.pyramiding": (ENTRY, change(FACTS, positions={"PF_XBTUSD": facts.position("0.1")})),
    "pretrade.duplicate": (ENTRY, change(FACTS, entries=((1, "PF_XBTUSD", "ks-1"),))),
    "pretrade.rate": (ENTRY, change(FACTS, entries=tuple((AT, "PF_XBTUSD", f"ks-x{i}") for i in range(10)))),
}


def codes(order: PlaceOrder, facts: Facts) -> list[str]:
    """The controls that keep `order` in."""
    return [found.control for found in examine(order, facts, SETTINGS, AT) if not found.passed]


@pytest.mark.parametrize(
    ("margin", "word"),
    [
        ({"isolated_x": Decimal(5)}, "margin is isolated at 5x"),
        ({"margin_known": False}, "margin is unknown"),
    ],
)
def test_an_entry_leaves_at_cross_margin_only(margin: dict[str, object], word: str) -> None:
    """The way to liquidation is reckoned for it; an exit is asked nothing."""
    facts = change(FACTS, instruments={"PF_XBTUSD": change(INSTRUMENT, **margin)})
    (found,) = (found for found in examine(ENTRY, facts, SETTINGS, AT) if not found.passed)
    assert (found.control, found.word) == ("pretrade.tradeable", word)
    assert codes(change(ENTRY, role="exit", reduce_only=True), facts) == []


@pytest.mark.parametrize(("side", "passes"), [("buy", False), ("sell", True)])
def test_an_entry_at_market_is_held_to_what_the_book_asks(side: OrderSide, passes: bool) -> None:
    """A thin book asks more than the collar allows: nothing is bought there, and selling is no worse for it."""
    thin = change(FACTS, marks={"PF_XBTUSD": change(MARK, ask=MARK.mark * Decimal("1.021"))})
    assert ("pretrade.price_collar" not in codes(change(ENTRY, side=side), thin)) == passes


@pytest.mark.parametrize(
    ("symbol", "size", "passes"), [("PF_SOLUSD", "1", True), ("PF_SOLUSD", "1000", False), ("PF_ETHUSD", "1", False)]
)
def test_a_position_without_a_mark_counts_at_its_price_unless_we_trade_it(symbol: str, size: str, passes: bool) -> None:
    """A contract of a stranger has no mark here, which keeps no entry in; one of ours without a mark is a market we do not see."""
    held = {symbol: facts.position(size, symbol, entry_price=Decimal(150))}
    assert ("pretrade.exposure" not in codes(ENTRY, change(FACTS, positions=held))) == passes


@pytest.mark.parametrize(("size", "passes"), [("-1000", True), ("-30000", False)])
def test_a_strangers_inverse_contract_counts_a_dollar_each(size: str, passes: bool) -> None:
    """A hedge of a thousand dollars is no exposure of fifty million, which would keep every entry in."""
    held = {"PI_XBTUSD": facts.position(size, "PI_XBTUSD")}
    assert ("pretrade.exposure" not in codes(ENTRY, change(FACTS, positions=held))) == passes


def test_every_control_has_a_case_here() -> None:
    """No control can be added without a test of its refusal."""
    assert list(REFUSED) == list(CONTROLS)


@pytest.mark.parametrize("code", list(CONTROLS))
def test_each_control_refuses(code: str) -> None:
    """The control refuses the entry it exists for."""
    order, facts = REFUSED[code]
    assert code in codes(order, facts)


def test_a_sound_entry_passes_and_an_empty_door_fails_closed() -> None:
    """With all facts there is no refusal; with none there are several."""
    assert codes(ENTRY, FACTS) == []
    assert {"pretrade.tradeable", "pretrade.mark_age", "pretrade.exposure"} <= set(codes(ENTRY, Facts()))


def test_the_door_asks_the_gate_last_and_lets_exits_pass() -> None:
    """A closed gate blocks the entry and names itself; reduce-only, edits and cancels leave."""
    gate = Gate(("spot_feed",), LatchState(latched=False))
    door = Door(SETTINGS, gate)
    for fact in (
        from_edge(InstrumentsListed, AT, instruments=(INSTRUMENT,)),
        MARK,
        from_edge(AccountChanged, AT, account=ACCOUNT),
    ):
        door.observe(fact)
    blocked = door.admit(ENTRY, AT)
    assert isinstance(blocked, EntryBlocked)
    assert blocked.reasons == ("gate.lease:spot_feed", "gate.not_reconciled")
    stop = change(ENTRY, role="stop", reduce_only=True, order_type="stp", side="sell", stop_price=Decimal("49000.5"))
    out = door.admit(stop, AT)
    assert isinstance(out, OrderAdmitted)
    assert (out.order, out.findings) == (change(stop, stop_price=Decimal(49_000)), ())
    assert out.changes == ("stop_price 49000.5 -> 49000",)
    resent = door.admit(change(stop, again=True), AT)
    assert isinstance(resent, OrderAdmitted)
    assert (resent.order, resent.changes) == (change(stop, again=True), ()), "an id stands for one set of terms"
    cancel = from_edge(CancelOrder, AT, symbol="PF_XBTUSD", client_order_id="ks-1")
    let_go = door.admit(cancel, AT)
    assert isinstance(let_go, OrderAdmitted)
    assert let_go.order is cancel
    edit = from_edge(EditOrder, AT, client_order_id="ks-1", role="stop", symbol="PF_XBTUSD", size=Decimal("0.12345"))
    admitted = door.admit(edit, AT)
    assert isinstance(admitted, OrderAdmitted)
    assert isinstance(admitted.order, EditOrder)
    assert admitted.order.size == Decimal("0.1235"), "an order that can only reduce covers all of it"
    assert admitted.changes == ("size 0.12345 -> 0.1235",)


def test_the_same_entry_leaves_once() -> None:
    """A second wish with the same client order id is a duplicate, whatever else is true."""
    gate = Gate((), LatchState(latched=False))
    gate._reconcile_after = None
    door = Door(SETTINGS, gate)
    for fact in (
        from_edge(InstrumentsListed, AT, instruments=(INSTRUMENT,)),
        MARK,
        from_edge(AccountChanged, AT, account=ACCOUNT),
        from_edge(PositionChanged, AT, position=Position(symbol="PF_XBTUSD", size=Decimal(0), entry_price=Decimal(0))),
    ):
        door.observe(fact)
    yes = door.admit(ENTRY, AT)
    assert isinstance(yes, OrderAdmitted)
    assert [found.control for found in yes.findings] == ["gate", *CONTROLS]
    assert all(found.passed and "unknown" not in found.text for found in yes.findings)
    worth = next(found for found in yes.findings if found.control == "pretrade.order_value")
    assert (worth.measure, worth.limit) == (Decimal(5000), SETTINGS.execution.order_notional_max_usd)
    assert worth.text == "pretrade.order_value: 5000 USD (limit 25000 USD)"
    again = door.admit(ENTRY, AT)
    assert isinstance(again, EntryBlocked)
    assert again.reasons == ("pretrade.duplicate",)
    assert again.text == "pretrade.duplicate: 1 times sent (limit 0 times sent)"


def test_a_refusal_names_every_control_with_its_number_and_limit() -> None:
    """What would have passed is written down beside what did not, the gate first, and survives the journal."""
    door = Door(SETTINGS, Gate(("spot_feed",), LatchState(latched=False)))
    for fact in (from_edge(InstrumentsListed, AT, instruments=(INSTRUMENT,)), MARK):
        door.observe(fact)
    no = door.admit(change(ENTRY, size=Decimal("0.51")), AT)
    assert isinstance(no, EntryBlocked)
    assert [found.control for found in no.findings] == ["gate", *CONTROLS]
    assert no.reasons == ("gate.lease:spot_feed", "gate.not_reconciled", "pretrade.order_value", "pretrade.exposure")
    assert {found.control for found in no.findings if not found.passed} == {
        "gate",
        "pretrade.order_value",
        "pretrade.exposure",
    }
    assert decode(encode(no)) == no
    assert "pretrade.order_value: 25500 USD (limit 25000 USD)" in no.text
    assert "gate.lease:spot_feed" in no.text


prices = st.decimals("1000", "100000", places=3)


@given(price=prices, side=st.sampled_from(["buy", "sell"]), size=st.decimals("0.0001", "10", places=6))
def test_normalising_never_adds_risk(price: Decimal, side: str, size: Decimal) -> None:
    """Sizes shrink, and grow by less than a lot where they can only reduce; stops move away from entry by less than a tick; limits never get worse."""
    order = change(ENTRY, side=side, size=size, stop_price=price, limit_price=price)
    normal, changes = normalise(order, INSTRUMENT)
    assert normal.stop_price is not None
    assert normal.limit_price is not None
    assert 0 <= size - normal.size < INSTRUMENT.lot
    reducing, _ = normalise(change(order, reduce_only=True), INSTRUMENT)
    assert 0 <= reducing.size - size < INSTRUMENT.lot
    direction = -1 if side == "sell" else 1
    assert 0 <= (normal.stop_price - price) * direction < 1
    assert 0 <= (price - normal.limit_price) * direction < 1
    assert (normal == order) == (not changes)
    assert normalise(normal, INSTRUMENT) == (normal, ())

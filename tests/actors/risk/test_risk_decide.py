"""Risk as a person meets it: a signal goes in, an entry or a refusal with reasons comes out."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from decimal import Decimal as D
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.memory import durable, remember, remembered
from actors.risk import decide
from actors.risk.figures import exposure, held_size
from actors.risk.rules import RULES
from actors.risk.state import Entry, State
from actors.risk.state import initial as first_state
from config.settings import Settings
from protocol import codec, ids
from protocol.forced import FORCED_FILLS
from protocol.messages.base import Message, from_edge
from protocol.messages.control import (
    Alert,
    Drift,
    DriftKind,
    HaltEntries,
    KillRequested,
    PersonAsked,
    ResumeEntries,
    RiskState,
    Started,
    WakeAt,
    Woken,
)
from protocol.messages.futures import (
    LIST_LAG_US,
    AccountChanged,
    EnterPosition,
    EntryBlocked,
    ExchangeSnapshot,
    Filled,
    Instrument,
    InstrumentsListed,
    MarkPrice,
    OrderGone,
    OrderRejected,
    OrderUnknown,
    PositionChanged,
    SignalRefused,
)
from protocol.messages.signal import Signal
from protocol.messages.spot import SpotPrice
from protocol.units import DAY_US, HOUR_US, SECOND_US
from tests.fakes import facts
from tests.fakes.facts import ETH, XBT

NOON = 20_000 * DAY_US + 12 * HOUR_US
SOL = "PF_SOLUSD"
EARLIER = Entry(signal_id="earlier", symbol=SOL, side="long", at=NOON - 18 * HOUR_US)
LEVELS = ((D(0), D("0.02"), D("0.01")), (D(1_000_000), D("0.04"), D("0.02")))


def settings(**sections: dict[str, Any]) -> Settings:
    """The defaults with three markets and room for orders of any value."""
    markets = [{"spot": f"{spot}/USD", "futures": f} for spot, f in (("BTC", XBT), ("ETH", ETH), ("SOL", SOL))]
    execution = {"order_notional_max_usd": D(1_000_000), **sections.pop("execution", {})}
    return Settings.model_validate({"symbols": markets, "execution": execution, **sections})


def instrument(symbol: str = XBT, **changes: Any) -> Instrument:
    return facts.instrument(symbol, **({"margin_levels": LEVELS} | changes))


def mark(at: int = NOON, symbol: str = XBT, price: str = "50000", **changes: Any) -> MarkPrice:
    return facts.mark(at, price, symbol, **changes)


def spot(at: int = NOON, symbol: str = "BTC/USD", price: float = 50_000.0) -> SpotPrice:
    return from_edge(SpotPrice, at, symbol, at, str(price), symbol=symbol, price=price)


def initial(settings: Settings, memory: bytes | None) -> State:
    """A life that remembers an entry approved the evening before."""
    state = first_state(settings, memory)
    return state if memory is not None else remember(state, entries=(EARLIER,))


def account(at: int = NOON, equity: str = "100000", **changes: Any) -> AccountChanged:
    return from_edge(AccountChanged, at, at, equity, account=facts.account(equity, **changes))


def signal(at: int = NOON, name: str = "s1", **changes: Any) -> Signal:
    return facts.signal(at, name, **changes)


def position(size: str, at: int = NOON, symbol: str = XBT, liquidation: str | None = None) -> PositionChanged:
    held = facts.position(size, symbol, liquidation_price=None if liquidation is None else D(liquidation))
    return from_edge(PositionChanged, at, symbol, size, at, position=held)


def fill(name: str, side: str, size: str, price: str, at: int = NOON, **changes: Any) -> Filled:
    """Of an entry of ours, approved before, unless told otherwise."""
    fields = {"client_order_id": ids.client_order_id(EARLIER.signal_id, "entry"), "time": at} | changes
    return from_edge(Filled, at, name, at, fill=facts.fill(name, side, size, price, **fields))


def truth(began_at: int, size: str | None = None) -> ExchangeSnapshot:
    """A reading that lists so many contracts, or none."""
    positions = () if size is None else (facts.position(size, XBT),)
    return from_edge(
        ExchangeSnapshot, began_at + 1, began_at=began_at, orders=(), positions=positions, account=account().account
    )


def drift(kind: DriftKind = "size_mismatch", at: int = NOON, client_order_id: str | None = None) -> Drift:
    return from_edge(Drift, at, kind, at, kind=kind, symbol=XBT, ours="0", theirs="1", client_order_id=client_order_id)


LISTED = from_edge(InstrumentsListed, NOON, instruments=(instrument(XBT), instrument(ETH), instrument(SOL)))
READY: tuple[Message, ...] = (
    from_edge(Started, NOON - 1),
    LISTED,
    account(),
    spot(),
    mark(),
)


def run(messages: Sequence[Message], state: State | None = None) -> tuple[State, list[Message]]:
    """Every message in order, and everything that was said."""
    state = initial(settings(), None) if state is None else state
    said: list[Message] = []
    for message in messages:
        state, answers = decide.step(state, message)
        said += answers
    return state, said


def only(kind: type[Any], said: Sequence[Message]) -> list[Any]:
    return [message for message in said if isinstance(message, kind)]


def reasons(messages: Sequence[Message], **sections: dict[str, Any]) -> tuple[str, ...]:
    """Why the last message, a signal, was refused; empty when it was taken."""
    _, said = run(messages, initial(settings(**sections), None))
    refused = only(SignalRefused, said[-1:])
    return refused[0].reasons if refused else ()


def without(kind: type[Message]) -> list[Message]:
    return [message for message in READY if not isinstance(message, kind)]


LOSS = (fill("a", "buy", "1", "50000"), fill("b", "sell", "1", "49000"))
ROUND = [
    fill(f"r{i}{side}", side, "1", price) for i in range(3) for side, price in (("buy", "50000"), ("sell", "49000"))
]
EXPOSED = (mark(symbol=ETH), position("5.9", symbol=ETH))

CALM_HOURS = [mark(NOON - hours * HOUR_US, funding_rate=D("0.00001")) for hours in range(12, 0, -1)]
"""Half a day of a funding rate of no consequence."""

REFUSALS: dict[str, Callable[[], tuple[str, ...]]] = {
    "signal.expired": lambda: reasons((*READY, signal(valid_until=NOON))),
    "signal.seen": lambda: reasons((*READY, signal(), signal())),
    "signal.before_start": lambda: reasons((*READY, signal(candle_time_ms=(NOON - HOUR_US) // 1000 - 1))),
    "signal.stop_out_of_range": lambda: reasons((*READY, signal(stop_pct=0.001))),
    "signal.target_out_of_range": lambda: reasons((*READY, signal(side="short", take_profit_pct=1.0))),
    "symbol.unknown": lambda: reasons((*READY, signal(symbol="XRP/USD"))),
    "symbol.drift": lambda: reasons((*READY, drift(), signal())),
    "instrument.unknown": lambda: reasons((*without(InstrumentsListed), signal())),
    "instrument.inverse": lambda: reasons(
        (*READY, from_edge(InstrumentsListed, NOON, instruments=(instrument(inverse=True),)), signal())
    ),
    "instrument.not_tradeable": lambda: reasons(
        (*READY, from_edge(InstrumentsListed, NOON, instruments=(instrument(tradeable=False),)), signal())
    ),
    "market.suspended": lambda: reasons((*READY, mark(suspended=True), signal())),
    "market.post_only": lambda: reasons((*READY, mark(post_only=True), signal())),
    "mark.unknown": lambda: reasons((*without(MarkPrice), signal())),
    "mark.stale": lambda: reasons((*READY, spot(NOON + 4 * SECOND_US), signal(NOON + 4 * SECOND_US))),
    "spot.unknown": lambda: reasons((*without(SpotPrice), signal())),
    "spot.stale": lambda: reasons((*READY, mark(NOON + 6 * SECOND_US), signal(NOON + 6 * SECOND_US))),
    "basis.skewed": lambda: reasons((*READY, mark(NOON + 3 * SECOND_US), signal(NOON + 3 * SECOND_US))),
    "basis.wide": lambda: reasons((*READY, mark(price="50300"), signal())),
    "book.wide": lambda: reasons((*READY, mark(bid=D(0)), signal())),
    "book.unknown": lambda: reasons((*READY, signal()), risk={"book_share_max_pct": 50}),
    "position.held": lambda: reasons((*READY, position("1"), signal())),
    "position.pending": lambda: reasons((*READY, signal(), signal(name="s2"))),
    "positions.max": lambda: reasons((*READY, position("1", symbol=ETH), position("1", symbol=SOL), signal())),
    "entries.max": lambda: reasons((*READY, signal(), signal(name="s2")), risk={"entries_per_day_max": 1}),
    "equity.unknown": lambda: reasons((*without(AccountChanged), signal())),
    "loss.daily": lambda: reasons((*READY, account(equity="98000"), signal())),
    "loss.drawdown": lambda: reasons((*READY, account(equity="85000"), signal())),
    "loss.cooldown": lambda: reasons((*READY, *ROUND, signal())),
    "funding.unknown": lambda: reasons((*READY, mark(funding_rate=None), signal())),
    "funding.adverse": lambda: reasons((*READY, mark(funding_rate=D("0.0003")), signal())),
    "funding.spike": lambda: reasons(
        (*CALM_HOURS, *READY, mark(funding_rate=D("0.0001")), signal()), risk={"funding_spike_x": D(3)}
    ),
    "cost.max": lambda: reasons((*READY, signal(stop_pct=0.003))),
    "size.zero": lambda: reasons((*READY, account(equity="0.1"), signal())),
    "size.max": lambda: reasons(
        (*READY, from_edge(InstrumentsListed, NOON, instruments=(instrument(max_position=D(1)),)), signal())
    ),
    "notional.max": lambda: reasons((*READY, signal()), execution={"order_notional_max_usd": D(1000)}),
    "exposure.max": lambda: reasons((*READY, *EXPOSED, signal())),
    "leverage.max": lambda: reasons((*READY, *EXPOSED, signal()), risk={"leverage_cap": 2, "leverage_alert": 2}),
    "margin.insufficient": lambda: reasons((*READY, account(available_margin_usd=D(100)), signal())),
    "liquidation.near": lambda: reasons((*READY, account(maintenance_margin_usd=D(95_000)), signal())),
    "liquidation.stop_beyond": lambda: reasons(
        (*READY, account(maintenance_margin_usd=D(99_000)), signal(stop_pct=0.15, take_profit_pct=0.5))
    ),
}


def test_a_clean_signal_becomes_a_sized_entry_with_its_exit_plan() -> None:
    """A fit market, a fit account and a fresh signal give one entry that carries everything the executor needs."""
    state, said = run((*READY, signal()))

    (entry,) = only(EnterPosition, said)
    assert (entry.symbol, entry.side, entry.signal_id) == (XBT, "long", "s1")
    # 500 USD at risk over 2 % to the stop and 0.1 % of fees, at 50,000 USD a contract
    assert entry.size == D("0.4761")
    assert (entry.stop_pct, entry.take_profit_pct, entry.mark) == (D("0.02"), D("0.08"), D(50_000))
    assert entry.leverage == D("0.4761") * 50_000 / 100_000
    assert (entry.exit_on_choch, entry.max_hold_bars) == ("4h", 0)
    assert state.memory.pending[0].client_order_id == ids.client_order_id("s1", "entry")


def test_a_verdict_names_every_rule_also_when_approved() -> None:
    """The journal form lists each rule in table order with what it measured and the threshold."""
    _, said = run((*READY, signal()))

    verdict = json.loads(only(EnterPosition, said)[0].verdict)
    assert [rule["code"] for rule in verdict["rules"]] == [code for code, _ in RULES]
    assert all(rule["passed"] for rule in verdict["rules"])
    assert verdict["approved"] is True


def test_the_table_of_refusals_is_complete() -> None:
    """No rule is without a case below that makes it fail."""
    assert list(REFUSALS) == [code for code, _ in RULES]


def test_a_crossed_book_is_no_narrow_one() -> None:
    """A spread below zero is nonsense, not a bargain."""
    assert "book.wide" in reasons((*READY, mark(bid=D(50_001), ask=D(50_000)), signal()))


@pytest.mark.parametrize("code", REFUSALS)
def test_each_rule_can_refuse(code: str) -> None:
    """A signal that breaks one rule is refused with that rule's code."""
    assert code in REFUSALS[code]()


def test_unknown_inputs_skip_the_rules_that_need_them() -> None:
    """Without an account the size cannot be judged: those rules are null, and only the missing account is blamed."""
    _, said = run((*without(AccountChanged), signal()))

    (refused,) = only(SignalRefused, said)
    assert refused.reasons == ("equity.unknown",)
    skipped = [rule["code"] for rule in json.loads(refused.verdict)["rules"] if rule["passed"] is None]
    assert {"size.zero", "exposure.max", "liquidation.near"} <= set(skipped)


@pytest.mark.parametrize("stop_pct", [float("nan"), float("inf"), 0.0, -0.01, 1.0])
def test_an_absurd_stop_is_refused_not_computed_with(stop_pct: float) -> None:
    """No division by a stop distance that is none."""
    assert "signal.stop_out_of_range" in reasons((*READY, signal(stop_pct=stop_pct)))


@pytest.mark.parametrize("bad", [mark(NOON + 1, price="NaN"), mark(NOON + 1, price="0"), spot(NOON + 1, price=-1.0)])
def test_what_is_no_price_changes_nothing(bad: Message) -> None:
    """A garbled price is not taken in; the last good one ages instead."""
    state, _ = run(READY)

    assert decide.step(state, bad) == (state, ())


def test_a_mark_older_than_the_last_is_no_news() -> None:
    """Frames out of order do not turn the mark back."""
    state, _ = run((*READY, mark(NOON + 2 * SECOND_US, price="50100"), mark(NOON + SECOND_US, price="50050")))

    assert state.marks[XBT].mark == D(50_100)


@given(
    equity=st.decimals(1_000, 10_000_000, places=2),
    stop_pct=st.floats(0.002, 0.15),
    price=st.integers(100, 100_000),
    side=st.sampled_from(["long", "short"]),
)
def test_a_stopped_trade_costs_no_more_than_the_risk(equity: D, stop_pct: float, price: int, side: str) -> None:
    """Invariant 7: size x |entry - stop| and fees both ways stay within risk_pct of equity."""
    fitting = settings(risk={"cost_max_r": 100, "exposure_max_x": 10})
    prices = (spot(price=float(price)), mark(price=str(price)))
    _, said = run(
        (*READY, account(equity=str(equity)), *prices, signal(stop_pct=stop_pct, take_profit_pct=0.5, side=side)),
        initial(fitting, None),
    )
    verdicts = [m.verdict for m in said if isinstance(m, EnterPosition | SignalRefused)]
    plan = json.loads(verdicts[0])["plan"]
    size, stop = D(plan["size"]), D(plan["stop_price"])
    loss = size * abs(price - stop) + size * (price + stop) * D("0.0005")
    assert loss <= equity * D("0.005") * D("1.001")


@pytest.mark.parametrize("symbol", ["PI_XBTUSD", "FI_XBTUSD_261225"])
def test_a_strangers_inverse_contract_is_worth_a_dollar(symbol: str) -> None:
    """A hedge of 9,000 dollars is 0.9 x the equity, whatever the coin costs: no alert, and room for an entry."""
    state, said = run((*READY, position("-9000", symbol=symbol)))
    assert exposure(state, NOON).notional_usd == 9_000
    assert [m.code for m in said if isinstance(m, Alert)] == []


# --- exposure in flight --------------------------------------------------------------------------------------


def pending_symbols(state: State, at: int) -> tuple[str, ...]:
    return exposure(state, at).pending


ENTRY_ID = ids.client_order_id("s1", "entry")


def test_an_entry_that_the_door_kept_in_is_none_of_the_days() -> None:
    """A night behind a closed gate leaves the morning its entries; what the exchange refused was an entry."""
    blocked = from_edge(EntryBlocked, NOON, client_order_id=ENTRY_ID, symbol=XBT, reasons=("lease",))
    refused = from_edge(OrderRejected, NOON, client_order_id=ENTRY_ID, symbol=XBT, wish="place", status="invalidSize")
    for evidence, entries in ((blocked, 1), (refused, 2)):
        assert len(run((*READY, signal(), evidence))[0].memory.entries) == entries


def test_a_pending_entry_is_exposure_until_its_time_is_over() -> None:
    """The exchange refuses an entry after process_before: then, and a margin later, it no longer counts."""
    state, _ = run((*READY, signal()))

    assert pending_symbols(state, NOON + 7 * SECOND_US) == (XBT,)
    assert pending_symbols(state, NOON + 7 * SECOND_US + 1) == ()


def test_an_unknown_entry_is_exposure_until_evidence() -> None:
    """No clock ends the exposure of an entry whose outcome is unknown; a proof of absence does."""
    unknown = from_edge(OrderUnknown, NOON, client_order_id=ENTRY_ID, symbol=XBT, wish="place")
    state, _ = run((*READY, signal(), unknown))
    assert pending_symbols(state, NOON + DAY_US) == (XBT,)

    state, _ = run([drift("missing_order", client_order_id=ENTRY_ID)], state)
    assert pending_symbols(state, NOON) == ()


def test_an_unknown_entry_is_settled_by_a_list_of_later() -> None:
    """Its time was over before any list still trails: it never was, or is among the positions. Nobody need remember to ask."""
    unknown = from_edge(OrderUnknown, NOON, client_order_id=ENTRY_ID, symbol=XBT, wish="place")
    over_at = NOON + 7 * SECOND_US + LIST_LAG_US
    state, _ = run((*READY, signal(), unknown, truth(over_at - 1)))
    assert pending_symbols(state, over_at) == (XBT,)
    state, _ = run([truth(over_at)], state)
    assert pending_symbols(state, over_at) == ()


@pytest.mark.parametrize(
    "evidence",
    [
        from_edge(OrderRejected, NOON, client_order_id=ENTRY_ID, symbol=XBT, wish="place", status="invalidSize"),
        from_edge(EntryBlocked, NOON, client_order_id=ENTRY_ID, symbol=XBT, reasons=("lease",)),
        from_edge(OrderGone, NOON, client_order_id=ENTRY_ID, order_id="o", symbol=XBT, reason="cancelled_by_user"),
        fill("f", "buy", "0.4761", "50000", client_order_id=ENTRY_ID),
    ],
    ids=lambda message: type(message).__name__,
)
def test_an_answer_ends_what_is_pending(evidence: Message) -> None:
    """Refused, blocked, gone or filled: nothing more is on the way."""
    state, _ = run((*READY, signal(), evidence))

    assert pending_symbols(state, NOON) == ()


@pytest.mark.parametrize("kind", [OrderRejected, OrderUnknown])
def test_answers_about_edits_say_nothing_about_an_entry(kind: type[Message]) -> None:
    """Only the fate of the placing counts."""
    extra = {"status": "x"} if kind is OrderRejected else {}
    state, _ = run((*READY, signal()))
    answer = from_edge(kind, NOON, client_order_id=ENTRY_ID, symbol=XBT, wish="edit", **extra)

    assert decide.step(state, answer) == (state, ())


def test_a_part_fill_leaves_the_rest_pending() -> None:
    """Held and pending together stay what was approved."""
    state, _ = run((*READY, signal()))
    before = exposure(state, NOON).notional_usd
    state, _ = run([fill("f", "buy", "0.1761", "50000", client_order_id=ENTRY_ID)], state)

    assert state.memory.pending[0].size == D("0.3")
    assert held_size(state, XBT) == D("0.1761")
    # A fill before any word of a position is held at the mark.
    assert exposure(state, NOON).notional_usd == before


def test_the_exchanges_newer_word_on_a_position_beats_the_book() -> None:
    """Fills explain a position, they do not overrule it."""
    state, _ = run((*READY, fill("f", "buy", "1", "50000"), position("0", NOON + 1)))

    assert exposure(state, NOON).held == ()


def test_a_snapshot_is_the_whole_truth() -> None:
    """Begun when no list trails any more, a symbol it does not list is flat, and a book that says otherwise is dropped."""
    state, _ = run((*READY, fill("f", "buy", "1", "50000"), position("1"), truth(NOON + LIST_LAG_US)))

    assert exposure(state, NOON).held == ()
    assert state.memory.book == {}


@pytest.mark.parametrize("told", [True, False], ids=["by the stream, too", "by the fill alone"])
def test_a_list_that_trails_a_fill_takes_nothing_back(told: bool) -> None:
    """The entry of a moment ago stays held, and what its end brought is counted (fault-catalogue 20)."""
    entry = [fill("f", "buy", "1", "50000", NOON + 1), *([position("1", NOON + 1)] if told else [])]
    state, _ = run((*READY, *entry, truth(NOON + LIST_LAG_US)))
    assert exposure(state, NOON).held == (XBT,)

    state, _ = run([fill("g", "sell", "1", "49000", NOON + 9), position("0", NOON + 9), truth(NOON + 10, "1")], state)
    assert exposure(state, NOON).held == ()
    assert state.memory.losing_streak == 1


def test_what_a_snapshot_does_not_prove_is_held_as_before() -> None:
    """One list that lacks a position frees no exposure and forgets no book."""
    lacking = msgspec.structs.replace(truth(NOON + LIST_LAG_US), unproved=(XBT,))
    before, _ = run((*READY, fill("f", "buy", "1", "50000"), position("1")))
    after, _ = run((lacking,), before)

    assert exposure(after, NOON).held == exposure(before, NOON).held != ()
    assert after.memory.book == before.memory.book


def test_an_entry_drops_a_book_left_over_from_a_position_that_is_gone() -> None:
    """A trade closed where we could not see it does not colour the next one."""
    state, said = run((*READY, fill("f", "buy", "1", "50000"), position("0", NOON + 1), signal()))

    assert only(EnterPosition, said)
    assert state.memory.book == {}


def test_a_held_symbol_without_a_mark_is_held_at_its_entry_price() -> None:
    """Unknown is not zero."""
    state, _ = run((*READY, position("2", symbol=ETH)))

    assert exposure(state, NOON).notional_usd == D(100_000)


def test_throttled_entries_are_free_again_after_a_day() -> None:
    """Entries count for 24 hours."""
    later = NOON + DAY_US
    tomorrow = (account(later), spot(later), mark(later), signal(later, "s2"))
    _, said = run((*READY, signal(), *tomorrow), initial(settings(risk={"entries_per_day_max": 1}), None))

    assert len(only(EnterPosition, said)) == 2


# --- losses and halts ----------------------------------------------------------------------------------------


def test_the_daily_loss_holds_entries_until_the_next_utc_day() -> None:
    """Reaching the limit halts, recovering does not resume, midnight does."""
    midnight = NOON + 12 * HOUR_US
    state, said = run((*READY, account(NOON + 1, "98000")))
    (halt,) = only(HaltEntries, said)
    assert halt.key == "risk.daily_loss"
    assert only(Alert, said)[0].code == "DAILY_LOSS"

    state, said = run([account(NOON + 2, "99500")], state)
    assert said == []

    state, said = run([from_edge(Woken, midnight, key="day")], state)
    assert [m.key for m in only(ResumeEntries, said)] == ["risk.daily_loss"]
    assert only(WakeAt, said)[0].due == midnight + DAY_US
    assert state.memory.day_equity_usd == D(99_500)


def test_a_clock_that_steps_back_does_not_renew_the_day() -> None:
    """The loss window is not reset by a step of the clock."""
    state, _ = run((*READY, account(NOON + 1, "98000"), account(NOON - 2 * DAY_US, "98000")))

    assert state.memory.daily_loss_hit
    assert state.memory.day_equity_usd == D(100_000)


def test_a_clock_that_leaps_over_midnight_and_is_set_right_does_not_renew_the_day() -> None:
    """Nor is a loss forgotten that was reached under the wrong date. The real midnight begins the next day with no less than there is."""
    tomorrow, midnight = NOON + DAY_US, from_edge(Woken, NOON + 12 * HOUR_US, key="day")
    state, said = run((*READY, account(NOON + 1, "98000"), account(tomorrow, "98000"), account(NOON + 2, "98500")))
    assert (state.memory.day_equity_usd, state.memory.daily_loss_hit) == (100_000, True)
    assert [m.key for m in only(HaltEntries, said)] == ["risk.daily_loss"] * 2
    state, said = run([midnight], state)
    assert [m.key for m in only(ResumeEntries, said)] == ["risk.daily_loss"]
    assert state.memory.day_equity_usd == 98_500

    astray = account(tomorrow, "99000"), account(tomorrow + 1, "97000"), account(NOON + 1, "97000")
    state, _ = run((*READY, *astray))
    assert (state.memory.day_equity_usd, state.memory.daily_loss_hit) == (100_000, True)


def test_a_clock_that_steps_back_over_midnight_and_is_set_right_does_not_renew_the_day() -> None:
    """The day that comes again is taken up as it was left."""
    yesterday = NOON - DAY_US
    lost = account(yesterday, "101000"), *READY, account(NOON + 1, "98000")
    state, _ = run((*lost, account(yesterday + 1, "98000")))
    assert state.memory.daily_loss_hit
    state, _ = run([account(NOON + 2, "98000")], state)
    assert (state.memory.day_equity_usd, state.memory.daily_loss_hit) == (101_000, True)


def test_a_drawdown_lets_go_only_when_most_of_it_is_recovered() -> None:
    """The halt has hysteresis: 15 % takes hold, 12 % lets go."""
    state, said = run((*READY, account(equity="85000")))
    assert "risk.drawdown" in [m.key for m in only(HaltEntries, said)]

    state, said = run([account(NOON + 1, equity="86000")], state)
    assert said == []
    _, said = run([account(NOON + 2, equity="88000")], state)
    assert [m.key for m in only(ResumeEntries, said)] == ["risk.drawdown"]


def test_a_person_who_ends_the_halt_of_a_drawdown_has_it_counted_anew() -> None:
    """Flat after 15 % nothing else would ever end it; a rehearsal and the end of another halt leave the highest equity as it was."""
    state, _ = run((*READY, account(equity="85000")))
    asked = {"ask": "resume", "by": "ann", "reason": "reviewed", "request": "1"}

    for other in ({"key": "risk.basis"}, {"key": "risk.drawdown", "dry_run": True}):
        state, said = run([from_edge(PersonAsked, NOON + 1, "", **asked, **other)], state)
        assert said == []
    state, said = run([from_edge(PersonAsked, NOON + 2, "", **asked, key="risk.drawdown")], state)
    assert [m.key for m in only(ResumeEntries, said)] == ["risk.drawdown"]
    assert state.memory.peak_equity_usd == D(85_000)
    _, said = run([account(NOON + 3, "72250")], state)
    assert "risk.drawdown" in [m.key for m in only(HaltEntries, said)]


def test_a_restart_does_not_end_the_halt_of_a_drawdown() -> None:
    """What lets go at 12 % only still holds at 14 % in the next life."""
    state, _ = run((*READY, account(equity="85000"), account(NOON + 1, "86000")))
    again = initial(settings(), durable(state))
    restarted = from_edge(Started, NOON + 2, restarted=True)
    state, said = run((restarted, account(NOON + 2, "86000")), again)
    assert "risk.drawdown" in [m.key for m in only(HaltEntries, said)]

    state, said = run([account(NOON + 3, "88000")], state)
    assert [m.key for m in only(ResumeEntries, said)] == ["risk.drawdown"]
    _, said = run((restarted, account(NOON + 4, "86000")), initial(settings(), durable(state)))
    assert "risk.drawdown" not in [m.key for m in only(HaltEntries, said)]


def test_a_streak_of_losses_starts_a_cool_down_that_ends_by_itself() -> None:
    """Three losing trades in a row: halted for twelve hours, then resumed by the timer."""
    state, said = run((*READY, *ROUND))
    due = NOON + 12 * HOUR_US
    assert [m.key for m in only(HaltEntries, said)] == ["risk.cooldown"]
    assert [m.due for m in only(WakeAt, said) if m.key == "cooldown"] == [due]

    _, said = run([from_edge(Woken, due, key="cooldown")], state)
    assert [m.key for m in only(ResumeEntries, said)] == ["risk.cooldown"]


@pytest.mark.parametrize("exit_price", ["51000", "49000"], ids=["won", "lost"])
def test_what_a_person_won_or_lost_by_hand_is_not_of_our_streak(exit_price: str) -> None:
    """Only trades that an entry of ours began count, whoever ended them."""
    by_hand = {"client_order_id": None, "symbol": SOL}
    theirs = (fill("h1", "buy", "1", "50000", **by_hand), fill("h2", "sell", "1", exit_price, **by_hand))
    state, _ = run((*READY, *ROUND[:2], *theirs))
    assert state.memory.losing_streak == 1

    stopped = (fill("a", "buy", "1", "50000"), fill("b", "sell", "1", "49000", client_order_id=None))
    assert run(stopped, state)[0].memory.losing_streak == 2


def test_a_win_ends_a_streak() -> None:
    """Losses count only in a row."""
    win = (fill("w1", "sell", "1", "50000"), fill("w2", "buy", "1", "49000"))
    state, _ = run((*READY, *ROUND[:4], *win))

    assert state.memory.losing_streak == 0


def test_a_fill_told_twice_is_booked_once() -> None:
    """Booking is idempotent by the exchange's fill id."""
    state, _ = run((*READY, LOSS[0], LOSS[0]))

    assert state.memory.book[XBT].size == D(1)


def test_a_fill_through_zero_ends_one_trade_and_begins_another() -> None:
    """A reversal books the loss of the closed part and holds the rest."""
    state, _ = run((*READY, fill("a", "buy", "1", "50000"), fill("b", "sell", "3", "49000", fee_usd=None)))

    assert state.memory.losing_streak == 1
    assert state.memory.book[XBT].size == D(-2)
    # sold two at 49,000 less a taker's fee on them
    assert state.memory.book[XBT].cash_usd == D(98_000) * (1 - D("0.0005"))


def test_the_basis_halt_has_hysteresis() -> None:
    """Beyond 0.5 % entries in the symbol halt, and they stay so until 0.4 %."""
    state, said = run((*READY, mark(price="50300")))
    assert [m.key for m in only(HaltEntries, said)] == [f"risk.basis:{XBT}"]

    state, said = run([mark(NOON + 1, price="50220")], state)
    assert said == []
    _, said = run([mark(NOON + 2, price="50100")], state)
    assert [m.key for m in only(ResumeEntries, said)] == [f"risk.basis:{XBT}"]


def test_a_wide_basis_with_a_position_open_is_told_as_its_own_risk() -> None:
    """Beyond the wider limit the open position is named, and it ends with the position."""
    state, said = run((*READY, position("0.1"), mark(price="51000")))
    assert [m.key for m in only(HaltEntries, said)] == [f"risk.basis:{XBT}", f"risk.basis_held:{XBT}"]

    _, said = run([position("0", NOON + 1)], state)
    assert [m.key for m in only(ResumeEntries, said)] == [f"risk.basis_held:{XBT}"]


def test_a_mark_ahead_of_spot_is_no_basis_risk_of_a_position() -> None:
    """With a position open too, the basis is only judged on two prices of one moment."""
    _, said = run((*READY, position("1"), mark(NOON + 3 * SECOND_US, price="51000")))
    assert only(HaltEntries, said) == []


def test_prices_of_different_moments_do_not_touch_the_basis_halt() -> None:
    """A lagging feed is not a wide basis."""
    _, said = run((*READY, mark(NOON + 3 * SECOND_US, price="52000")))

    assert said[1:] == []


def test_leverage_near_the_cap_is_told_and_beyond_the_cap_refused() -> None:
    """From nine times equity a person is told and nothing halts; an entry that would go beyond the cap is refused by its rule."""
    wide = {"risk": {"exposure_max_x": 10}}
    state, said = run((*READY, mark(symbol=ETH), position("18.1", symbol=ETH)), initial(settings(**wide), None))

    assert [(m.code, m.text) for m in only(Alert, said)] == [
        ("LEVERAGE_NEAR", "risk.leverage: notional is 9.0500 x equity, alert at 9")
    ]
    assert only(HaltEntries, said) == []
    _, said = run([signal()], state)
    assert "leverage.max" not in only(SignalRefused, said)[0].reasons
    _, said = run([position("19.9", NOON, symbol=ETH), signal(name="s2")], state)
    assert "leverage.max" in only(SignalRefused, said)[0].reasons
    _, said = run([position("14", NOON + 1, symbol=ETH)], state)
    assert [(m.guard, m.raised) for m in only(RiskState, said)] == [("risk.leverage", False)]
    assert only(ResumeEntries, said) == []


def test_collateral_that_counts_for_less_brings_liquidation_nearer() -> None:
    """Liquidation is on margin equity: what coins and euros are worth above what they back does not keep it away."""
    assert reasons((*READY, account(available_margin_usd=D(100_000)), signal())) == ()
    assert reasons((*READY, account(available_margin_usd=D(7_000)), signal())) == ("liquidation.near",)
    held = account(available_margin_usd=D(90_000), initial_margin_usd=D(10_000), maintenance_margin_usd=D(5_000))
    assert reasons((*READY, held, signal())) == ()


def test_a_near_liquidation_halts_and_a_very_near_one_kills() -> None:
    """Inside the buffer entries stop; inside half of it the kill switch is asked to reduce."""
    state, said = run((*READY, position("1", liquidation="35000")))
    assert [m.key for m in only(HaltEntries, said)] == [f"risk.liquidation:{XBT}"]
    assert only(KillRequested, said) == []

    state, said = run([position("1", NOON + 1, liquidation="45000")], state)
    assert [m.by for m in only(KillRequested, said)] == ["risk"]
    _, said = run([position("0", NOON + 2)], state)
    assert [m.key for m in only(ResumeEntries, said)] == [f"risk.liquidation:{XBT}"]


def test_liquidation_is_watched_at_every_mark() -> None:
    """No word on the position is needed: the mark that comes too near asks for the kill switch, once each time."""
    state, said = run((*READY, position("1", liquidation="35000")))
    prices = [("43000", 1), ("42000", 2), ("41900", 3), ("45000", 4), ("42000", 5)]
    moves = [mark(NOON + at, price=price) for price, at in prices]
    _, said = run(moves, state)
    assert [m.at - NOON for m in only(KillRequested, said)] == [2, 5]
    assert only(KillRequested, said)[0].reason == f"LIQ_NEAR: {XBT} is 16.67 % from liquidation"


def test_a_list_that_knows_no_liquidation_price_ends_no_halt() -> None:
    """Kraken's list of positions by REST has none: what the stream told stands until the size is another."""
    state, said = run((*READY, position("1", liquidation="35000")))
    listed = from_edge(
        ExchangeSnapshot,
        NOON + 2,
        began_at=NOON + 2,
        orders=(),
        positions=(facts.position("1"),),
        account=facts.account("100000"),
    )
    state, said = run([listed, mark(NOON + 3)], state)
    assert only(ResumeEntries, said) == []
    assert state.positions[XBT].position.liquidation_price == 35_000
    state, said = run([position("2", NOON + 4)], state)
    assert only(ResumeEntries, said) == [], "unknown is not far away"
    _, said = run([position("0", NOON + 5)], state)
    assert [m.key for m in only(ResumeEntries, said)] == [f"risk.liquidation:{XBT}"]


@pytest.mark.parametrize(("fill_type", "code"), FORCED_FILLS.items())
def test_what_the_exchange_did_to_us_is_told(fill_type: str, code: str) -> None:
    """A liquidation, an assignment or a deleverage is never business as usual."""
    _, said = run((*READY, fill("f", "sell", "1", "40000", fill_type=fill_type)))

    assert [m.code for m in only(Alert, said)] == [code]


# --- a second life -------------------------------------------------------------------------------------------


def test_what_is_durable_survives_a_restart() -> None:
    """Day start, peak, streak, seen signals and exposure are the same in the next life."""
    state, _ = run((*READY, signal(), *ROUND[:2]))
    again = initial(settings(), durable(state))

    assert again.memory == state.memory
    _, said = run((*READY, signal()), again)
    assert "signal.seen" in only(SignalRefused, said)[0].reasons


def test_a_restarted_child_takes_up_a_signal_of_its_process_and_a_new_process_does_not() -> None:
    """A process before may have asked for an entry on it, on other terms, and the store may have lost that."""
    state, _ = run(READY)
    late = NOON + SECOND_US
    child = (from_edge(Started, late, restarted=True), *READY[1:], signal())
    process = (from_edge(Started, late), *READY[1:], signal())

    assert only(EnterPosition, run(child, initial(settings(), durable(state)))[1])
    refused = only(SignalRefused, run(process, initial(settings(), durable(state)))[1])
    assert refused[0].reasons == ("signal.before_start",)


def test_remembered_is_the_same_object_while_nothing_durable_changed() -> None:
    """Prices and positions cost no write."""
    state, _ = run(READY)
    later, _ = run([mark(NOON + 1), spot(NOON + 1), position("1", NOON + 1)], state)

    assert remembered(later) is remembered(state)


def test_a_restart_says_every_halt_anew() -> None:
    """The gate may hold a halt that ended while we were down, or miss one that goes on."""
    state, _ = run((*READY, *ROUND))
    again = initial(settings(), durable(state))
    restarted = from_edge(Started, NOON + 5, restarted=True)
    _, said = run((restarted, LISTED, account(NOON + 5)), again)

    assert [m.key for m in only(HaltEntries, said)] == ["risk.cooldown"]
    assert "risk.daily_loss" in [m.key for m in only(ResumeEntries, said)]
    assert [m.key for m in only(WakeAt, said)] == ["day", "cooldown"]


def test_foreign_bytes_are_refused() -> None:
    """A memory that is none of ours ends the start, not the money."""
    with pytest.raises(msgspec.DecodeError):
        initial(settings(), b"not json")


def test_unknown_messages_change_nothing() -> None:
    """Any message type is tolerated."""
    state, _ = run(READY)

    assert decide.step(state, from_edge(ResumeEntries, NOON, key="x")) == (state, ())


def test_equal_inputs_give_equal_bytes() -> None:
    """Two runs over the same messages say the same and keep the same."""
    first, second = (run((*READY, signal(), *LOSS, account(NOON + 1, "97000"))) for _ in range(2))

    assert codec.digest(first[1]) == codec.digest(second[1])
    assert durable(first[0]) == durable(second[0])


# --- conditions of the market --------------------------------------------------------------------------------

DELAYED = settings(risk={"basis_on_wide": "delay"})


def test_a_signal_may_wait_for_the_basis_to_narrow() -> None:
    """With `delay` it is neither taken nor refused, survives a restart, and is taken at the first narrow basis."""
    state, said = run((*READY, mark(price="50300"), signal()), initial(DELAYED, None))
    assert only(SignalRefused, said) == only(EnterPosition, said) == []
    state, said = run((mark(NOON + 1, price="50310"),), state)
    assert only(Alert, said) == [], "said once"
    state, said = run(
        (LISTED, account(NOON + 2), spot(NOON + 2), mark(NOON + 2, price="50100")), initial(DELAYED, durable(state))
    )
    (entry,) = only(EnterPosition, said)
    assert (entry.signal_id, entry.mark) == ("s1", D(50_100))
    assert state.memory.delayed == ()
    assert only(EnterPosition, run((mark(NOON + 3, price="50100"),), state)[1]) == []


def test_a_signal_that_waited_too_long_is_refused() -> None:
    """Its own time ends the waiting."""
    late = NOON + HOUR_US
    state, _ = run((*READY, mark(price="50300"), signal()), initial(DELAYED, None))
    _, said = run((spot(late), mark(late, price="50000")), state)
    assert only(SignalRefused, said)[0].reasons[0] == "signal.expired"


def test_only_the_basis_is_waited_for() -> None:
    """A second reason refuses at once."""
    _, said = run((*READY, mark(price="50300", post_only=True), signal()), initial(DELAYED, None))
    assert set(only(SignalRefused, said)[0].reasons) == {"market.post_only", "basis.wide"}


def test_a_wide_spread_shrinks_the_entry_and_costs_more() -> None:
    """The share kept and the slippage reckoned with are in the verdict."""
    thin = {"spread_wide_pct": D("0.1"), "spread_wide_size_x": D("0.5"), "slippage_wide_pct": D("0.05")}
    prices = mark(bid=D(49_970), ask=D(50_030))
    _, said = run((*READY, prices, signal()), initial(settings(risk=thin), None))
    (entry,) = only(EnterPosition, said)
    assert entry.size == D("0.2380"), "half of 0.4761, rounded down to the lot"
    verdict = json.loads(entry.verdict)
    assert (verdict["plan"]["weight"], verdict["inputs"]["slippage"]) == ("0.5", "0.0005")
    assert "cost.max" in reasons((*READY, prices, signal(stop_pct=0.007)), risk=thin)
    assert reasons((*READY, mark(), signal(stop_pct=0.007)), risk=thin) == ()


@pytest.mark.parametrize(("side", "size"), [("long", "0.1000"), ("short", "0.3000")])
def test_a_thin_book_shrinks_the_entry(side: str, size: str) -> None:
    """An entry takes no more than its share of what it meets: the ask for a long, the bid for a short. The verdict says so."""
    prices = mark(bid_size=D("0.6"), ask_size=D("0.2"))
    half = settings(risk={"book_share_max_pct": 50})
    _, said = run((*READY, prices, signal(side=side)), initial(half, None))
    (entry,) = only(EnterPosition, said)
    verdict = json.loads(entry.verdict)
    assert (entry.size, D(verdict["plan"]["most"])) == (D(size), D(size))
    assert D(verdict["inputs"]["best_size"]) == D(size) * 2
    _, said = run((*READY, mark(bid_size=D(9), ask_size=D(9)), signal(side=side)), initial(half, None))
    assert only(EnterPosition, said)[0].size == D("0.4761"), "a deep book takes nothing away"
    _, said = run((*READY, prices, signal(side=side)))
    assert only(EnterPosition, said)[0].size == D("0.4761"), "off unless asked for"


def test_an_empty_book_leaves_nothing_to_trade() -> None:
    """A size of zero is no unknown size: nothing is left of the entry, and it is refused."""
    empty = mark(bid_size=D(0), ask_size=D(0))
    assert reasons((*READY, empty, signal()), risk={"book_share_max_pct": 50}) == ("size.zero",)


def test_a_spread_and_a_book_shrink_together() -> None:
    """The smaller of the two counts, not their product."""
    both = {"spread_wide_pct": D("0.1"), "spread_wide_size_x": D("0.5"), "book_share_max_pct": 100}
    prices = mark(bid=D(49_970), ask=D(50_030), bid_size=D(1), ask_size=D("0.2"))
    _, said = run((*READY, prices, signal()), initial(settings(risk=both), None))
    assert only(EnterPosition, said)[0].size == D("0.2000")


def test_dear_funding_is_told_beside_the_refusal() -> None:
    """An open position pays it too."""
    _, said = run((*READY, mark(funding_rate=D("0.0003")), signal()))
    (told,) = only(Alert, said)
    assert (told.code, told.text) == (
        "FUNDING_SPIKE",
        f"{XBT}: a long would pay 0.0300 % an hour in funding, limit 0.02 %",
    )


def test_funding_is_reckoned_for_as_long_as_a_trade_lasts() -> None:
    """The preset's average hours, or the longest hold when that is shorter; the verdict says how many."""
    dear = (*READY, mark(funding_rate=D("0.0001")), signal(stop_pct=0.02))
    assert reasons(dear) == ("cost.max",), "72 hours at 0.01 % and two fees are over a quarter of 2 %"
    assert reasons(dear, strategy={"max_hold_bars": 5}) == ()
    _, said = run(dear, initial(settings(risk={"expected_hold_h": 5}), None))
    (entry,) = only(EnterPosition, said)
    assert json.loads(entry.verdict)["inputs"]["expected_hold_h"] == "5"


def test_too_few_hours_tell_no_spike() -> None:
    """Unknown is not zero: without a mean the multiple is not judged, the absolute limit still is."""
    assert reasons((*READY, mark(funding_rate=D("0.00005")), signal()), risk={"funding_spike_x": D(3)}) == ()


@pytest.mark.parametrize("messages", [(*READY, signal()), (*READY, mark(price="50300"), signal())])
def test_every_verdict_carries_its_inputs(messages: tuple[Message, ...]) -> None:
    """Approved or refused: margin mode, prices, equity and exposure stand beside the rules."""
    _, said = run(messages)
    (verdict,) = [json.loads(m.verdict) for m in said if isinstance(m, EnterPosition | SignalRefused)]
    found = verdict["inputs"]
    assert (found["margin_mode"], found["equity_usd"], found["spot"]) == ("cross", "100000", 50_000.0)
    assert D(found["effective_leverage"]) == D(verdict["plan"]["leverage"])


def test_a_guard_that_takes_hold_or_lets_go_is_an_event() -> None:
    """The basis of a held position: raised beyond its limit, cleared with hysteresis, each once."""
    prices = [("50600", 1), ("50450", 2), ("50300", 3)]
    moves = [m for price, at in prices for m in (spot(NOON + at), mark(NOON + at, price=price))]
    _, said = run((*READY, position("1"), *moves))
    told = [(m.raised, m.symbol) for m in only(RiskState, said) if m.guard == "risk.basis_held"]
    assert told == [(True, XBT), (False, XBT)]

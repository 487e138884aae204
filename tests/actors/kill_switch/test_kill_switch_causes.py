"""Every cause of the kill switch, produced: by whoever finds it, and by the switch's own watch over what passes."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal as D
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from actors.kill_switch import decide
from actors.kill_switch.causes import CAUSES, WATCHED
from actors.reconciler import decide as reconciler
from actors.risk import decide as risk
from actors.risk.state import initial as initial_risk
from actors.state import StateDirectory
from config.settings import Settings
from protocol.forced import FORCED_FILLS
from protocol.messages.base import Message, from_edge
from protocol.messages.control import Alert, KillRequested, Latch, LeaseChanged, WakeAt, Woken
from protocol.messages.futures import (
    AccountChanged,
    ExchangeSnapshot,
    Filled,
    OrderAccepted,
    OrderRejected,
    OrderUnknown,
    PositionChanged,
    SnapshotMissed,
)
from protocol.ports import LatchState
from tests.fakes import facts
from tests.fakes.facts import XBT

SECOND = 1_000_000
T = 1_767_571_200 * SECOND
KILL_ON_LOSS = Settings.model_validate({"risk": {"daily_loss_action": "kill"}})


def switch(*messages: Message) -> list[Message]:
    """Everything a switch that nobody asked says of the messages."""
    state, said = decide.initial(Settings(), LatchState(latched=False)), list[Message]()
    for message in messages:
        state, out = decide.step(state, message)
        said += out
    return said


def latched(*messages: Message) -> str | None:
    """Why the switch latched."""
    return next((m.reason for m in switch(*messages) if isinstance(m, Latch)), None)


def asked(*messages: Message) -> str | None:
    """Why risk asked for the kill switch."""
    state, said = initial_risk(KILL_ON_LOSS, None), list[Message]()
    for message in messages:
        state, out = risk.step(state, message)
        said += out
    return next((m.reason for m in said if isinstance(m, KillRequested)), None)


def at(seconds: float) -> int:
    return T + round(seconds * SECOND)


def truth(seconds: float, size: int = 0, stops: bool = True) -> ExchangeSnapshot:
    """The exchange's truth, a position protected or not."""
    stop = facts.stop_order("stop", "someone", abs(size))
    return from_edge(
        ExchangeSnapshot,
        at(seconds),
        seconds,
        began_at=at(seconds),
        orders=(stop,) if size and stops else (),
        positions=(facts.position(size),) if size else (),
        account=facts.account(),
    )


def missed(seconds: float, action: str = "") -> SnapshotMissed:
    return from_edge(SnapshotMissed, at(seconds), seconds, reason="x", action=action)


def unanswered(seconds: float) -> OrderUnknown:
    return from_edge(OrderUnknown, at(seconds), seconds, client_order_id="c", symbol=XBT, wish="place")


def refused(seconds: float, status: str = "authenticationError") -> OrderRejected:
    return from_edge(OrderRejected, at(seconds), seconds, client_order_id="c", symbol=XBT, wish="place", status=status)


def stream(seconds: float, held: bool) -> LeaseChanged:
    return from_edge(LeaseChanged, at(seconds), seconds, lease="futures_feed", held=held)


def account(seconds: float, equity: str, maintenance: str = "0") -> AccountChanged:
    purse = facts.account(equity, maintenance_margin_usd=D(maintenance))
    return from_edge(AccountChanged, at(seconds), seconds, account=purse)


def test_collateral_counts_as_the_exchange_counts_it() -> None:
    """Half of the equity is cut off by haircuts: what backs the positions decides, not what the wallet is worth."""
    purse = facts.account("1000", available_margin_usd=D(400), initial_margin_usd=D(100), maintenance_margin_usd=D(450))
    reason = latched(from_edge(AccountChanged, at(0), 0, account=purse))
    assert reason == "MARGIN_HIGH: maintenance margin is 90.0 % of equity, limit 80 %"


def not_converging() -> str | None:
    """A foreign position that was to be flattened and is not, pass after pass."""
    settings = Settings.model_validate({"execution": {"foreign_positions": "flatten"}})
    state, said = reconciler.initial(settings), list[Message]()
    for seconds in range(0, 200, 15):
        state, out = reconciler.step(state, truth(seconds + 100, 1, stops=False))
        said += out
    return next((m.reason for m in said if isinstance(m, KillRequested)), None)


PRODUCED: dict[str, Callable[[], str | None]] = {
    "liquidation": lambda: latched(
        from_edge(Filled, T, fill=facts.fill("f", "sell", 1, fill_type="liquidation", client_order_id=None))
    ),
    "near_liquidation": lambda: asked(
        facts.mark(T), from_edge(PositionChanged, T, position=facts.position(1, liquidation_price=D(49_000)))
    ),
    "daily_loss": lambda: asked(account(0, "10000"), account(1, "9799")),
    "not_converging": not_converging,
    "auth_errors": lambda: latched(missed(1, "halt"), refused(2), missed(3, "halt")),
    "api_errors": lambda: latched(*(unanswered(n) for n in range(10))),
    "data_failure": lambda: latched(truth(0, 1), stream(1, False), from_edge(Woken, at(601), key="watch")),
    "margin_critical": lambda: latched(account(0, "1000", "800")),
}
ELSEWHERE = {
    "command": "tests/cli/test_cli_daemon.py",
    "dashboard": "tests/cli/test_cli_daemon.py",
    "signal": "tests/cli/test_cli_daemon.py",
    "gave_up": "tests/actors/test_supervisor.py",
}
"""Causes that need a process or a tree, and where they are produced."""


def test_every_cause_is_produced() -> None:
    """No row of the table without a test."""
    assert set(PRODUCED) | set(ELSEWHERE) == set(CAUSES)
    assert set(WATCHED) == {name for name, cause in CAUSES.items() if cause.source == "switch"}


@pytest.mark.parametrize(("symbol", "latches"), [(XBT, True), ("FF_XBTUSD_261225", False), ("FI_XBTUSD_261225", False)])
def test_a_strangers_dated_contract_that_ends_as_agreed_closes_nothing(symbol: str, latches: bool) -> None:
    """A perpetual is settled by a delisting alone, a dated one on its date: no reason to sell all else that is held."""
    did = facts.fill("f", "sell", 1, symbol=symbol, fill_type="settlement", client_order_id=None, time=T)
    assert (latched(from_edge(Filled, T, fill=did)) is not None) == latches
    assert (latched(replace(truth(1), forced=(did,))) is not None) == latches


@pytest.mark.parametrize(("fill_type", "code"), FORCED_FILLS.items())
def test_what_the_exchange_did_to_us_latches(fill_type: str, code: str) -> None:
    """A liquidation, an assignment or a deleverage, by the switch's own eyes: whoever else hears of it may die of it."""
    reason = latched(from_edge(Filled, T, fill=facts.fill("f", "sell", 1, fill_type=fill_type, client_order_id=None)))
    assert reason is not None
    assert reason.startswith(f"{code}: {fill_type} of 1 ")


def test_what_was_done_to_us_is_news_until_a_person_acknowledged_it() -> None:
    """A reading shows it however often it was told before: the life that heard of it may have died before it latched."""
    did = facts.fill("f", "sell", 1, fill_type="liquidation", client_order_id=None, time=T)
    reading = replace(truth(1, 0), forced=(did,))
    for acknowledged_at, news in ((0, True), (did.time - 1, True), (did.time, False)):
        state = decide.initial(Settings(), LatchState(latched=False, at=acknowledged_at))
        _, out = decide.step(state, reading)
        assert [m.reason.startswith("LIQUIDATED: liquidation of 1 ") for m in out if isinstance(m, Latch)] == [
            True
        ] * news


@pytest.mark.parametrize("name", PRODUCED)
def test_a_cause_asks_for_the_switch(name: str) -> None:
    """Each, in the messages that stand for it, with a reason that says what was seen."""
    reason = PRODUCED[name]()
    assert reason is not None
    assert any(digit.isdigit() for digit in reason) or "liquidation" in reason


@pytest.mark.parametrize(
    "messages",
    [
        (missed(1, "halt"), missed(2, "halt"), truth(3), missed(4, "halt")),
        (refused(1), refused(2), refused(3, "insufficientAvailableFunds"), refused(4)),
        (
            *(unanswered(n) for n in range(9)),
            from_edge(OrderAccepted, T, order=facts.open_order("o", "c")),
            unanswered(9),
        ),
        (truth(0), stream(1, False), from_edge(Woken, at(700), key="watch")),
        (truth(0, 1), stream(1, False), stream(300, True), from_edge(Woken, at(601), key="watch")),
        (truth(0, 1), missed(1), truth(500, 1), missed(601)),
        (account(0, "1000", "799"),),
    ],
)
def test_what_ends_or_falls_short_is_no_cause(messages: tuple[Message, ...]) -> None:
    """A success between errors, a stream that came back, a loss with nothing held, a figure below its limit."""
    assert latched(*messages) is None


def test_a_list_that_proves_nothing_ends_no_watch_over_a_position() -> None:
    """A reading that leaves the held position out is not flat: a stream that stays away kills all the same."""
    unproved = replace(truth(2), unproved=(XBT,))
    assert latched(truth(0, 1), stream(1, False), unproved, from_edge(Woken, at(601), key="watch")) is not None


def test_no_truth_for_too_long_with_a_position_is_a_data_failure() -> None:
    """The stream may be up: without readings nothing proves that what is held is protected."""
    reason = latched(truth(0, 1), missed(1), missed(601))
    assert reason == "FEED_STALE: no futures exchange truth for 600 s with a position open"


@pytest.mark.parametrize(
    "word",
    [
        from_edge(Filled, at(1), fill=facts.fill("f", "buy", 1)),
        from_edge(PositionChanged, at(1), position=facts.position(1)),
    ],
    ids=["fill", "position"],
)
def test_what_was_opened_since_the_last_reading_is_held(word: Message) -> None:
    """Readings may fail from the entry on: nobody else would ever say that a position is blind."""
    assert latched(truth(0), word, missed(2), missed(602)) is not None
    assert latched(truth(0), missed(2), missed(602)) is None


def test_a_lost_stream_is_looked_at_again_when_it_would_be_a_cause() -> None:
    """Nothing else may come: the switch sets its own alarm."""
    (wake,) = [m for m in switch(stream(1, False)) if isinstance(m, WakeAt)]
    assert (wake.key, wake.due) == ("watch", at(601))


def test_the_latch_carries_what_was_known() -> None:
    """The record has the last truth and what was watched, for whoever must acknowledge."""
    said = switch(truth(0, 1), account(1, "1000", "900"))
    (latch,) = [m for m in said if isinstance(m, Latch)]
    context = msgspec.json.decode(latch.context)
    assert context["truth"]["positions"][0]["symbol"] == XBT
    assert context["watch"]["maintenance_usd"] == "900"
    assert [m.code for m in said if isinstance(m, Alert)] == ["KILL_LATCHED"]


def test_a_refused_key_is_asked_once_a_minute() -> None:
    """More questions with a key that is refused would lock it out at the exchange."""
    said = switch(*(missed(n, "halt") for n in range(3)), missed(4, "halt"))
    assert [m for m in said if isinstance(m, WakeAt)][-1].due == at(64)


@pytest.mark.parametrize("reason", ["command: drill", "dashboard: drill", "signal SIGUSR1"])
def test_a_request_from_outside_is_one_file(tmp_path: Path, reason: str) -> None:
    """Command, dashboard and signal leave the same durable request."""
    state = StateDirectory(tmp_path, "paper", "dev")
    state.own()
    state.request_kill(reason)
    assert state.kill_requested() == reason
    state.release()

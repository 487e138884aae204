"""Every way out of a trade that the code names ends a trade, or leaves by market, in a case here."""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal as D
from pathlib import Path

import pytest
from executor_room import ENTRY, STOP, TARGET, Room, entered, naked, only, protected

from actors import executor
from actors.executor.duties import STOPS_MAX
from protocol import ids
from protocol.messages.base import from_edge
from protocol.messages.control import CloseRequested, Drift
from protocol.messages.futures import InstrumentsListed, PlaceOrder
from tests.fakes import facts
from tests.fakes.facts import XBT

CODE = re.compile(r'"((?:exit|flatten)\.[a-z_]+)"')
SOURCES = Path(str(executor.__file__)).parent.glob("*.py")
NAMED = {code for file in SOURCES for code in CODE.findall(file.read_text())}


def closed_by(name: str | None, price: int = 49_000, **changes: object) -> Room:
    """A protected trade whose end one fill brings."""
    room = protected()
    room.filled(name, "2", price, **changes)
    room.position("0")
    return room


def beyond_stop() -> Room:
    """The stop is gone, and the mark is where it was."""
    room = protected()
    room.mark(48_900)
    room.drift("missing_order", client_order_id=STOP)
    return room


def stops_lost() -> Room:
    """One stop after the other goes."""
    room = protected()
    for attempt in range(STOPS_MAX):
        room.gone(ids.client_order_id("s1", "stop", attempt), "cancelled_by_admin")
    return room


def not_filling() -> Room:
    """The mark is beyond the stop, and nothing happens."""
    room = protected()
    room.mark(48_900)
    room.woken()
    return room


def unprotected() -> Room:
    """Nobody confirms the stop."""
    room = naked()
    room.after(6)
    room.woken()
    return room


def stop_rejected() -> Room:
    """The exchange does not take the stop."""
    room = naked()
    room.rejected(STOP, "outsidePriceCollar")
    return room


def late_fill() -> Room:
    """The entry was refused, and filled all the same."""
    room = entered()
    room.rejected(ENTRY, "insufficientAvailableFunds")
    room.filled(ENTRY, "2", 50_000)
    return room


def foreign() -> Room:
    """A stranger's position is to be closed."""
    room = Room()
    room.listed()
    room.mark(50_000)
    fields = {"kind": "foreign_position", "symbol": XBT, "ours": "0", "theirs": "2", "policy": "flatten"}
    room.take(from_edge(Drift, room.at, **fields))
    return room


def by_hand() -> Room:
    """A person asks to close."""
    room = protected()
    room.hear(CloseRequested, request="r", symbol=XBT, by="me", reason="done", dry_run=False)
    return room


def structure(**read: object) -> Room:
    """What a closed candle said."""
    room = protected(strategy={"exit_on_bias": True})
    room.read(1, **read)
    return room


def outlived() -> Room:
    """Held for as long as was agreed."""
    room = Room()
    room.hear(InstrumentsListed, instruments=(facts.instrument(max_position=D(100)),))
    room.mark(50_000)
    room.enter(max_hold_bars=1)
    room.filled(ENTRY, "2", 50_010)
    room.position("2")
    room.read(1)
    return room


CASES: dict[str, Callable[[], Room]] = {
    "exit.stop": lambda: closed_by(STOP),
    "exit.target": lambda: closed_by(TARGET, 55_000),
    "exit.choch": lambda: structure(choch_4h=-1),
    "exit.bias": lambda: structure(bias=-1),
    "exit.time": outlived,
    "exit.manual": by_hand,
    "exit.external": lambda: closed_by(None),
    "exit.kill_switch": lambda: closed_by("ks-of-the-kill-switch"),
    "exit.liquidated": lambda: closed_by(None, fill_type="liquidation"),
    "exit.settled": lambda: closed_by(None, fill_type="settlement"),
    "flatten.beyond_stop": beyond_stop,
    "flatten.foreign": foreign,
    "flatten.late_fill": late_fill,
    "flatten.stop_lost": stops_lost,
    "flatten.stop_not_filling": not_filling,
    "flatten.stop_rejected": stop_rejected,
    "flatten.unprotected": unprotected,
}


def test_every_reason_has_a_case() -> None:
    """A new way out without one fails here; so does a case of a reason that is gone."""
    assert set(CASES) == NAMED


@pytest.mark.parametrize("code", CASES)
def test_each_reason_ends_a_trade_or_leaves_by_market(code: str) -> None:
    """Told as the trade's reason when it is over; until then a reduce-only market order for all of it is on its way."""
    room = CASES[code]()
    trade = room.state.memory.trades.get(XBT)
    if trade is None:
        assert room.ended().reason == code
        return
    assert trade.closing == code
    leaving = [order for order in only(PlaceOrder, room.all) if order.role in ("exit", "flatten")]
    assert [(order.order_type, order.size, order.reduce_only) for order in leaving] == [("mkt", D(2), True)]

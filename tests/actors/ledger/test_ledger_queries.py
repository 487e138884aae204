"""Facts about asking: tables say what happened, `explain` walks from any name, the seals show any edit."""

from __future__ import annotations

from decimal import Decimal as D

import msgspec
import pytest
from ledger_stories import AT, candle_closed, candle_seen, noise, one_trade, place, resting, signal_of
from sqlalchemy import delete, update

from actors.ledger import tables
from actors.ledger.journal import open_ledger, open_reader
from protocol.messages.base import follow
from protocol.messages.control import Alert
from protocol.messages.futures import EntryBlocked, OrderAccepted, OrderUnknown, SignalRefused


@pytest.fixture
def traded(url: str) -> str:
    """A ledger in which one trade happened, each step flushed on its own."""
    with open_ledger(url, at=AT, settings="{}") as ledger:
        for step in one_trade():
            ledger.record(*step)
            ledger.settle()
    return url


def test_a_trade_ends_in_its_tables(traded: str) -> None:
    """Trade, orders, fills and signal carry what the messages said."""
    with open_reader(traded) as reader:
        (trade,) = reader.trades()
        (signal,) = reader.signals()

        assert ("stop", D("-112.05"), D("59000")) == (trade["reason"], trade["pnl_usd"], trade["stop_price"])
        assert [(o["role"], o["status"]) for o in reader.orders()] == [("entry", "sent"), ("stop", "gone")]
        assert [fill["fill_id"] for fill in reader.fills()] == ["fill-E1", "fill-S1"]
        assert (signal["verdict"], signal["reason"]) == ("entered", "order_block")
        assert [D("0.1000")] == [position["size"] for position in reader.positions()]
        assert reader.trades(open_only=True) == []
        assert [order["role"] for order in reader.orders(working_only=True)] == ["entry"]


def test_the_summary_adds_up_the_closed_trades(traded: str) -> None:
    """PnL, fees and R of what is closed; equity as last seen."""
    with open_reader(traded) as reader:
        summary = reader.summary()

        assert (1, 0, D("-112.05"), D("6.00"), 0.0) == (
            summary.closed_trades,
            summary.open_trades,
            summary.pnl_usd,
            summary.fees_usd,
            summary.win_rate,
        )
        assert D("100000.25") == summary.equity_usd


def test_an_empty_ledger_knows_no_win_rate(url: str) -> None:
    """Unknown is not zero."""
    with open_ledger(url) as ledger:
        summary = ledger.reader().summary()

        assert (summary.win_rate, summary.equity_usd, summary.closed_trades) == (None, None, 0)


STORY = [
    "CandleSeen",
    "CandleClosed",
    "Signal",
    "EnterPosition",
    "PlaceOrder",
    "FillSeen",
    "Filled",
    "TradeOpened",
    "PlaceOrder",
    "OrderSeen",
    "OrderAccepted",
    "Protected",
    "FillSeen",
    "Filled",
    "OrderGone",
    "TradeClosed",
]


@pytest.mark.parametrize("kind", ["signal", "message", "client order", "exchange order", "fill"])
def test_every_name_leads_from_candle_to_exit(traded: str, kind: str) -> None:
    """Asked by any id the trade is known under, the whole story comes back in order, and nothing else."""
    signal = signal_of(candle_closed(candle_seen()))
    with open_reader(traded) as reader:
        name = {
            "signal": signal.id,
            "message": one_trade()[2][2][0].id,
            "client order": str(reader.orders()[0]["client_order_id"]),
            "exchange order": "S1",
            "fill": "fill-E1",
        }[kind]

        assert [type(told.message).__name__ for told in reader.explain(name)] == STORY


def test_the_story_is_the_same_from_one_page(url: str) -> None:
    """Causes are found inside a page as well as in the ones before it."""
    with open_ledger(url) as ledger:
        for step in one_trade():
            ledger.record(*step)
        ledger.settle()

        story = ledger.reader().explain("fill-S1")

        assert [type(told.message).__name__ for told in story] == STORY
        assert (story[0].actor, story[0].direction) == ("spot_feed", "in")
        assert (story[2].actor, story[2].direction) == ("strategy", "out")


def test_a_refusal_is_explained_by_its_signal(url: str) -> None:
    """A signal that was not taken leads to every rule that failed."""
    seen = candle_seen()
    candle = candle_closed(seen)
    signal = signal_of(candle)
    refused = follow(
        signal, SignalRefused, signal_id=signal.id, symbol="PF_XBTUSD", reasons=("basis", "positions"), verdict="{}"
    )
    with open_ledger(url) as ledger:
        for step in [("spot_feed", seen, [candle]), ("strategy", candle, [signal]), ("risk", signal, [refused])]:
            ledger.record(*step)
        ledger.settle()
        told = ledger.reader().explain(signal.id)

        assert [type(t.message).__name__ for t in told] == ["CandleSeen", "CandleClosed", "Signal", "SignalRefused"]
        assert (
            ledger.reader().signals()[0]["verdict"],
            ledger.reader().signals()[0]["verdict_reasons"],
        ) == ("refused", "basis,positions")


def test_an_order_that_is_unknown_or_blocked_says_so(url: str) -> None:
    """Unknown still counts as working; a blocked entry names what blocked it. A foreign order is known by its own id."""
    candle = candle_closed(candle_seen())
    unknown, blocked = (place(candle, signal, "entry") for signal in ("s1", "s2"))
    foreign = msgspec.structs.replace(resting(unknown, "X1"), client_order_id=None)
    refusal = {"symbol": "PF_XBTUSD", "reasons": ("lease.spot_feed", "latched")}
    with open_ledger(url) as ledger:
        ledger.record("executor", candle, [unknown, blocked])
        for message in (
            follow(unknown, OrderUnknown, client_order_id=unknown.client_order_id, symbol="PF_XBTUSD", wish="place"),
            follow(blocked, EntryBlocked, client_order_id=blocked.client_order_id, **refusal),
            follow(candle, OrderAccepted, order=foreign),
        ):
            ledger.record("executor", message, [])
        ledger.settle()
        orders = {row["order_key"]: row for row in ledger.reader().orders()}
        working = {row["order_key"] for row in ledger.reader().orders(working_only=True)}

        assert (
            orders[blocked.client_order_id]["status"],
            orders[blocked.client_order_id]["reason"],
        ) == ("blocked", "lease.spot_feed,latched")
        assert {unknown.client_order_id, "X1"} == working


def test_nobody_goes_by_an_unknown_name(traded: str) -> None:
    """An id that was never told explains nothing, without an error."""
    with open_reader(traded) as reader:
        assert reader.explain("no such id") == []


def test_alerts_can_be_listed_newest_last(url: str) -> None:
    """Messages of a kind, whatever their cause."""
    with open_ledger(url) as ledger:
        mark = noise(AT)[1][1]
        alerts = [follow(mark, Alert, n, code="BASIS_WIDE", severity="warning", text=str(n)) for n in range(3)]
        ledger.record("risk", mark, alerts)
        ledger.settle()

        assert alerts[1:] == [told.message for told in ledger.reader().told(Alert, limit=2)]


def test_a_run_is_known_with_its_settings(traded: str) -> None:
    """Each life of the daemon is a row."""
    with open_reader(traded) as reader:
        assert [(run.run, run.at, run.settings) for run in reader.runs()] == [(1, AT, "{}")]


def test_an_untouched_record_verifies(traded: str) -> None:
    """The chain holds from the first step to the last."""
    with open_reader(traded) as reader:
        verdict = reader.verify()

        assert ("", len(one_trade())) == (verdict.fault, verdict.steps)


@pytest.mark.parametrize("damage", ["edit", "cut", "swap"])
def test_a_touched_record_does_not(traded: str, damage: str) -> None:
    """An edited, a missing or a swapped page is found where it is."""
    journal = tables.journal
    with open_ledger(traded) as ledger, ledger._engine.begin() as connection:
        rows = connection.execute(journal.select().order_by(journal.c.first_seq)).mappings().all()
        if damage == "cut":
            connection.execute(delete(journal).where(journal.c.first_seq == 3))
        for target, source in {"edit": [(3, 4)], "cut": [], "swap": [(3, 4), (4, 3)]}[damage]:
            new = {"records": rows[source - 1]["records"], "seal": rows[source - 1]["seal"]}
            connection.execute(update(journal).where(journal.c.first_seq == target).values(new))
    with open_reader(traded) as reader:
        verdict = reader.verify()

        assert verdict.steps == 2
        assert "steps 3 to 3" in verdict.fault

"""The fast driver: one total order, timers that do not cost while nothing is open, the same door, the same result twice."""

from __future__ import annotations

from decimal import Decimal
from itertools import pairwise

import pytest
from houses import ROUTES, Log, gate_and_door, parts, run_loop
from stages import BTC, SETTINGS, TAPE, engine

from actors.part import Part
from actors.shell import LATCH, Unrouted
from protocol.messages import control as c
from protocol.messages import futures as f
from protocol.messages import spot as s
from protocol.messages.base import Message, follow
from protocol.units import MINUTE_US, SECOND_US
from sim.loop import Result, run


@pytest.fixture(scope="module")
def ran() -> tuple[Result, Log]:
    """Three days of the little house, and what its actors received."""
    log = Log()
    return run_loop(log=log), log


@pytest.fixture(scope="module")
def result(ran: tuple[Result, Log]) -> Result:
    return ran[0]


@pytest.fixture(scope="module")
def log(ran: tuple[Result, Log]) -> Log:
    return ran[1]


def test_the_house_trades_through_the_door_and_out_again(result: Result) -> None:
    """Entries fill, each is closed by stop, target or time before the next, and nothing was blocked."""
    sides = [filled.fill.side for filled in result.of(f.Filled)]
    assert sides.count("buy") >= 10
    assert all(a != b for a, b in pairwise(sides))
    assert result.of(f.EntryBlocked) == []
    assert result.equity_usd != result.books.start == Decimal(100_000)


def test_nothing_is_received_out_of_time(result: Result, log: Log) -> None:
    """What actors receive never goes back in time, over the whole run."""
    times = [message.at for _, message, _ in log.steps]
    assert times == sorted(times)
    assert times[-1] <= result.end_us + SECOND_US


def test_history_comes_before_the_market(result: Result, log: Log) -> None:
    """Every actor starts first; all of history arrives at the first moment, longest candles first, before any mark."""
    assert [type(m) for _, m, _ in log.steps[:1]] == [c.Started]
    seen = log.received("spot_feed", s.HistorySeen)
    assert [m.timeframe for m in seen if m.symbol == BTC] == ["1d", "4h", "1h", "15m"]  # type: ignore[attr-defined]
    assert {m.at for m in seen} == {result.start_us}
    assert log.received("trader", f.MarkPrice)[0].at > result.start_us


def test_a_routine_timer_rings_rarely_while_flat_and_on_time_while_not(result: Result, log: Log) -> None:
    """The fifteen-second routine rings about once a quarter of an hour while flat, and on time while a position is open."""
    rings = [m.at for m in log.received("watcher", c.Woken)]
    fills = [*((m.fill.side, m.at) for m in result.of(f.Filled)), ("end", result.end_us)]
    held = [(a, b) for (side, a), (_, b) in pairwise(fills) if side == "buy"]
    busy = [at for at in rings if any(a < at < b for a, b in held)]
    flat = len(rings) - len(busy)
    quarters_flat = (result.end_us - result.start_us - sum(b - a for a, b in held)) / (15 * MINUTE_US)
    assert flat <= quarters_flat + 2 * len(held)
    for begin, end in held:
        inside = [at for at in busy if begin < at < end]
        assert all(0 < b - a <= MINUTE_US for a, b in pairwise([begin, *inside]))


def test_a_timer_of_an_open_trade_rings_to_the_microsecond(log: Log) -> None:
    """Two hours after the fill is two hours after the fill."""
    wished = {
        answer.due
        for name, _, answers in log.steps
        for answer in answers
        if name == "trader" and isinstance(answer, c.WakeAt)
    }
    rung = [m.at for m in log.received("trader", c.Woken)]
    assert rung
    held_to_the_end = [at for at in rung if at in wished]
    assert held_to_the_end


def test_the_same_run_twice_is_the_same_run(result: Result) -> None:
    """Equal digests, message for message."""
    again = run_loop()
    assert again.digest() == result.digest()
    assert again.messages == result.messages


def test_a_blocked_entry_comes_back_to_the_one_who_wished() -> None:
    """While the gate is shut nothing reaches the exchange, and the trader hears why."""
    gate, door = gate_and_door()
    gate.halt("person", "test")
    log, venue = Log(), engine()
    result = run(parts(), ROUTES, gate=gate, door=door, engine=venue, tape=TAPE, settings=SETTINGS, record=log)
    blocked = result.of(f.EntryBlocked)
    assert blocked
    assert set(blocked[0].reasons) == {"gate.halt:person"}
    assert log.received("trader", f.EntryBlocked) == blocked
    assert result.of(f.Filled) == []
    assert set(result.curve.equity_usd.tolist()) == {100_000.0}


def test_messages_are_handled_first_in_first_out_in_route_order() -> None:
    """One fact to two actors is taken in route order, and their answers wait until both have it."""
    heard: list[tuple[str, str]] = []

    def step(name: str):  # type: ignore[no-untyped-def]
        def inner(state: None, message: Message) -> tuple[None, tuple[Message, ...]]:
            heard.append((name, type(message).__name__))
            if isinstance(message, c.Started) and name == "first":
                return None, (
                    follow(message, c.KillRequested, reason="x", by="x"),
                    follow(message, c.Latch, reason="x", by="x"),
                )
            if isinstance(message, c.KillRequested):
                return None, (follow(message, c.Drift, name, kind="x", symbol="x", ours="", theirs=""),)
            return None, ()

        return inner

    names = ("first", "second", "futures_feed", "spot_feed", "trader", "watcher")
    house = [Part(name, None, step(name)) for name in names]
    routes = {**ROUTES, c.KillRequested: ("second", "first"), c.Drift: ("first",), c.Latch: (LATCH,)}
    gate, door = gate_and_door()
    told: list[c.Latch] = []
    run(house, routes, gate=gate, door=door, engine=engine(), tape=TAPE, settings=SETTINGS, latch=told.append)
    assert heard[:5] == [
        ("first", "Started"),
        ("second", "KillRequested"),
        ("first", "KillRequested"),
        ("first", "Drift"),
        ("first", "Drift"),
    ]
    assert len(told) == 1
    assert gate.latched


def test_missing_history_is_fetched_when_asked_for() -> None:
    """A request for candles is answered with the closed ones and word that these are all."""
    asked: list[Message] = []

    def step(state: int, message: Message) -> tuple[int, tuple[Message, ...]]:
        if isinstance(message, s.CandleSeen) and message.final and message.at > TAPE.start_us:
            asked.append(message)
            if state == 0:
                wish = follow(
                    message, s.RequestHistory, symbol=BTC, timeframe="1h", since_ms=TAPE.start_us // 1000 - 7_200_000
                )
                return 1, (wish,)
        if isinstance(message, s.HistorySeen) and message.at > TAPE.start_us:
            asked.append(message)
        return state, ()

    house = [part if part.name != "spot_feed" else Part("spot_feed", 0, step) for part in parts()]
    run_loop(house=house)
    assert [type(m).__name__ for m in asked[1:4]] == ["CandleSeen", "CandleSeen", "HistorySeen"]
    assert [m.timeframe for m in asked[1:4]] == ["1h"] * 3  # type: ignore[attr-defined]


def test_a_wish_nobody_can_carry_out_is_a_programming_error() -> None:
    """A message routed to the exchange that is no wish ends the run by name."""

    def step(state: None, message: Message) -> tuple[None, tuple[Message, ...]]:
        return None, (follow(message, c.Alert, code="x", severity="info", text="x"),)

    gate, door = gate_and_door()
    with pytest.raises(Unrouted, match="no hands for Alert"):
        run(
            [Part("only", None, step)],
            {c.Alert: ("exchange",)},
            gate=gate,
            door=door,
            engine=engine(),
            tape=TAPE,
            settings=SETTINGS,
        )


def test_progress_is_told_a_day_at_a_time() -> None:
    """Done and total in microseconds, ending with all of it."""
    gate, door = gate_and_door()
    told: list[tuple[int, int]] = []
    run(
        parts(),
        ROUTES,
        gate=gate,
        door=door,
        engine=engine(),
        tape=TAPE,
        settings=SETTINGS,
        progress=lambda done, total: told.append((done, total)),
    )
    total = TAPE.end_us - TAPE.start_us
    assert [round(done / total, 3) for done, _ in told] == [0.333, 0.667, 1.0]
    assert told[-1] == (total, total)

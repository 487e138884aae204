"""Exit rules of smc-spec section 5, one bar at a time: order, fills, trailing."""

from __future__ import annotations

from typing import Any

import pytest

from actors.strategy.exits import Exit, Trade, follow_bar
from actors.strategy.history import decide_history
from actors.strategy.snapshot import exit_id
from config.strategy import StrategyParams
from protocol.messages.base import from_edge
from protocol.messages.signal import StructureRead
from tests.actors.strategy.strategy_candles import QUICK, messages, walk

LONG = Trade(id="s", direction=1, entry=100.0, initial_stop=90.0, stop=90.0, target=130.0, best_close=100.0)
SHORT = Trade(id="s", direction=-1, entry=100.0, initial_stop=110.0, stop=110.0, target=70.0, best_close=100.0)


def bar(high: float, low: float, close: float, **readings: Any) -> StructureRead:
    given = {"atr": 2.0, "choch": 0, "choch_4h": 0, "bias": 0, "trail_long": None, "trail_short": None} | readings
    return from_edge(
        StructureRead,
        0,
        symbol="BTC/USD",
        timeframe="1h",
        candle_time_ms=3_600_000,
        high=high,
        low=low,
        close=close,
        **given,
    )


def ended(trade: Trade, read: StructureRead, open_price: float = 100.0, **changes: Any) -> tuple[str, float] | None:
    """Code and price of the exit, None while the trade goes on."""
    _, out = follow_bar(trade, read, open_price, StrategyParams(**changes))
    return None if out is None else (out.code, out.price)


@pytest.mark.parametrize(
    ("trade", "read", "open_price", "expected"),
    [
        (LONG, bar(101, 90, 95), 100, ("exit.stop", 90)),  # equality is a touch
        (LONG, bar(101, 90.5, 95), 100, None),
        (LONG, bar(89, 80, 85), 88, ("exit.stop", 88)),  # opened beyond the stop
        (LONG, bar(130, 99, 120), 100, ("exit.target", 130)),
        (LONG, bar(140, 135, 136), 137, ("exit.target", 130)),  # never better than the target
        (LONG, bar(131, 89, 100), 100, ("exit.stop", 90)),  # both in one bar: the worse one
        (SHORT, bar(110, 99, 105), 100, ("exit.stop", 110)),
        (SHORT, bar(115, 111, 112), 111, ("exit.stop", 111)),
        (SHORT, bar(101, 70, 75), 100, ("exit.target", 70)),
        (SHORT, bar(109, 71, 75), 100, None),
    ],
)
def test_stop_and_target(
    trade: Trade, read: StructureRead, open_price: float, expected: tuple[str, float] | None
) -> None:
    """The stop comes first, gaps fill at the open, the target never better than itself."""
    assert ended(trade, read, open_price) == expected


def test_a_change_of_character_against_the_trade_ends_it_at_the_close() -> None:
    """Only of the series that is listened to, and only against."""
    assert ended(LONG, bar(101, 99, 100, choch_4h=-1)) == ("exit.choch", 100)
    assert ended(LONG, bar(101, 99, 100, choch_4h=1)) is None
    assert ended(LONG, bar(101, 99, 100, choch=-1)) is None
    assert ended(LONG, bar(101, 99, 100, choch=-1), exit_on_choch="exec") == ("exit.choch", 100)
    assert ended(LONG, bar(101, 99, 100, choch=-1, choch_4h=-1), exit_on_choch="off") is None


def test_bias_and_time_end_a_trade_when_asked_to() -> None:
    """Both are off by default; a neutral bias is no exit."""
    assert ended(LONG, bar(101, 99, 100, bias=-1)) is None
    assert ended(LONG, bar(101, 99, 100, bias=-1), exit_on_bias=True) == ("exit.bias", 100)
    assert ended(LONG, bar(101, 99, 100, bias=0), exit_on_bias=True) is None
    assert ended(LONG, bar(101, 99, 100), max_hold_bars=1) == ("exit.time", 100)
    assert ended(LONG, bar(101, 99, 100), max_hold_bars=2) is None


def after(trade: Trade, read: StructureRead, **changes: Any) -> Trade:
    held, out = follow_bar(trade, read, 100.0, StrategyParams(**changes))
    assert out is None
    return held


def test_a_trailed_stop_counts_from_the_next_bar_and_only_tightens() -> None:
    """Armed by a close one R away and for good; never loosened; the bar that moves the stop is not stopped by it."""
    armed = after(LONG, bar(112, 99, 110), trail_mode="atr")
    assert (armed.is_trailing, armed.stop) == (True, 104.0)
    later = after(armed, bar(108, 104.5, 105), trail_mode="atr", trail_atr=1.0)
    assert later.stop == 104.0  # 110 - 2 = 108 is not below the close
    looser = after(armed, bar(112, 105, 111, atr=8.0), trail_mode="atr")
    assert looser.stop == 104.0
    assert after(LONG, bar(109, 99, 109), trail_mode="atr").stop == 90.0


def test_structure_trails_and_breakeven_is_a_candidate() -> None:
    """The last swing's level as published with the bar; entry once the price was worth it."""
    assert after(LONG, bar(112, 99, 111, trail_long=95.0), trail_mode="structure").stop == 95.0
    assert after(SHORT, bar(101, 88, 89, trail_short=104.0), trail_mode="structure").stop == 104.0
    assert after(LONG, bar(112, 99, 111), breakeven_at_r=1.0).stop == 100.0
    assert after(LONG, bar(112, 99, 109), breakeven_at_r=1.0).stop == 90.0
    assert after(LONG, bar(112, 99, 111, trail_long=95.0)).stop == 90.0  # trail_mode off


def test_an_exit_is_named_after_its_entry_candle_and_code() -> None:
    """A re-run names the same exit the same; its stop is the one that was in force."""
    _, out = follow_bar(LONG, bar(101, 80, 95), 100.0, StrategyParams())
    assert out == Exit(
        id=exit_id(3_600_000, "exit.stop", "s"),
        code="exit.stop",
        candle_time_ms=3_600_000,
        price=90.0,
        bars_held=1,
        stop=90.0,
    )


def test_history_rows_tell_every_execution_candle_and_follow_signals() -> None:
    """One row a candle, fails listed, and exits lie after their entry."""
    candles = walk(21, 30 * 96, start=4000.0)
    rows = decide_history({"BTC/USD": candles}, QUICK, exits=True)
    assert len(rows) == len(candles.times) + len(candles.times) // 4
    entries = [row for row in rows if row["side"] != "hold"]
    assert entries
    for row in rows:
        assert row["primary_reason"] == (row["fails"][0] if row["side"] == "hold" else f"signal.{row['side']}")
    ended_rows = [row for row in entries if row["code"] is not None]
    assert ended_rows
    assert all(row["exit_time"] > row["time"] and row["bars_held"] >= 1 for row in ended_rows)


def test_history_says_what_the_actor_says() -> None:
    """The bulk path and `step` give the same reasons for the same candles."""
    from actors.strategy.decide import initial, step
    from protocol.messages.signal import Held, Signal

    candles = walk(21, 20 * 96, start=4000.0)
    state, told = initial(QUICK, ["BTC/USD"]), []
    for message in messages(candles):
        _, answers = step(state, message)
        told += [(a.timeframe, a.candle_time_ms, a.reason) for a in answers if isinstance(a, Held | Signal)]
    rows = decide_history({"BTC/USD": candles}, QUICK)
    assert [(row["tf"], row["time"], row["primary_reason"]) for row in rows] == told

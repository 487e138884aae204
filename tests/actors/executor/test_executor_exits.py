"""smc-spec section 5, rules 3 to 6, and the law that a stop only tightens."""

from __future__ import annotations

from decimal import Decimal as D
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.executor import exits
from actors.executor.exits import Plan, Policy, Trail
from protocol.messages.signal import StructureRead
from protocol.units import Side
from tests.fakes import facts
from tests.fakes.facts import HOUR_MS


def plan(side: Side = "long", **changes: Any) -> Plan:
    fields: dict[str, Any] = {
        "trade_id": "s1",
        "symbol": "PF_XBTUSD",
        "timeframe": "1h",
        "side": side,
        "size": D(1),
        "stop_pct": D("0.02"),
        "take_profit_pct": D("0.1"),
        "spot_entry": D(50_000),
        "reference": D(50_100),
        "entry_bar_ms": 0,
        "exit_on_choch": "4h",
        "max_hold_bars": 0,
        "tick": D(1),
        "contract_size": D(1),
    }
    return Plan(**{**fields, **changes})


def read(bar: int = 1, close: float = 50_000.0, **changes: Any) -> StructureRead:
    return facts.structure(0, bar * HOUR_MS, close, **changes)


START = Trail(best_close=50_000.0)


@pytest.mark.parametrize(
    ("mode", "changes", "code"),
    [
        ("4h", {"choch_4h": -1}, "exit.choch"),
        ("4h", {"choch_4h": 1}, None),
        ("4h", {"choch": -1}, None),
        ("exec", {"choch": -1}, "exit.choch"),
        ("exec", {"choch_4h": -1}, None),
        ("off", {"choch": -1, "choch_4h": -1}, None),
    ],
)
def test_a_flip_against_the_position_is_an_exit(mode: str, changes: dict[str, int], code: str | None) -> None:
    """Only a change of character against the position, on the timeframe agreed at entry."""
    assert exits.exit_code(plan(exit_on_choch=mode), Policy(), read(**changes)) == code


def test_a_short_is_flipped_by_a_bullish_change() -> None:
    """The mirror."""
    assert exits.exit_code(plan("short"), Policy(), read(choch_4h=1)) == "exit.choch"


def test_an_opposed_bias_is_an_exit_only_when_asked_for() -> None:
    """Off by default; neutral is never an exit."""
    wanted = Policy(exit_on_bias=True)

    assert exits.exit_code(plan(), Policy(), read(bias=-1)) is None
    assert exits.exit_code(plan(), wanted, read(bias=-1)) == "exit.bias"
    assert exits.exit_code(plan(), wanted, read(bias=0)) is None


def test_time_is_up_after_the_agreed_number_of_candles() -> None:
    """Bars held are counted from the entry candle; zero means no limit."""
    agreed = plan(max_hold_bars=3)

    assert [exits.exit_code(agreed, Policy(), read(bar)) for bar in (2, 3, 4)] == [None, "exit.time", "exit.time"]
    assert exits.exit_code(plan(), Policy(), read(10_000)) is None


def test_nothing_exits_on_the_entry_candle() -> None:
    """Entry is at its close: what became known there is part of the signal."""
    assert exits.exit_code(plan(max_hold_bars=1), Policy(), read(0, choch_4h=-1)) is None


def test_the_first_exit_of_the_table_wins() -> None:
    """A flip comes before a bias, a bias before time."""
    everything = read(5, choch_4h=-1, bias=-1)

    assert exits.exit_code(plan(max_hold_bars=1), Policy(exit_on_bias=True), everything) == "exit.choch"


def test_stop_and_target_are_distances_from_the_mark_rounded_to_safety() -> None:
    """Stop away from entry, target towards it."""
    long, short = plan(reference=D("50100.5"), tick=D(10)), plan("short", reference=D("50100.5"), tick=D(10))

    assert exits.stop_and_target(long) == (D(49_090), D(55_110))
    assert exits.stop_and_target(short) == (D(51_110), D(45_100))


def test_an_atr_trail_arms_at_its_start_and_stays_armed() -> None:
    """One R of gain on a close arms it; afterwards it follows the best close, also when price falls back."""
    policy = Policy(trail_mode="atr", trail_start_r=1.0, trail_atr=3.0)
    trail, candidate = exits.follow_price(plan(), policy, START, read(1, 50_900.0))
    assert (trail.armed, candidate) == (False, None)

    trail, candidate = exits.follow_price(plan(), policy, trail, read(2, 51_000.0))
    # 51,000 - 3 x 100 on spot, at the same distance from the futures reference
    assert (trail.armed, candidate) == (True, D(50_801))
    trail, candidate = exits.follow_price(plan(), policy, trail, read(3, 50_950.0))
    assert (trail.best_close, candidate) == (51_000.0, D(50_801))


def test_a_structure_trail_takes_the_level_of_its_side() -> None:
    """A short follows the level above."""
    policy = Policy(trail_mode="structure", trail_start_r=0.0)
    _, candidate = exits.follow_price(plan("short"), policy, START, read(1, 49_000.0, trail_short=49_500.0))

    assert candidate == D(49_599)


def test_a_candidate_beyond_the_close_is_none() -> None:
    """A stop must lie behind the price it protects."""
    policy = Policy(trail_mode="structure", trail_start_r=0.0)
    _, candidate = exits.follow_price(plan(), policy, START, read(1, 50_000.0, trail_long=50_000.0))

    assert candidate is None


def test_break_even_needs_no_trailing() -> None:
    """A close at the agreed R makes entry a candidate in every mode."""
    _, candidate = exits.follow_price(plan(), Policy(breakeven_at_r=1.0), START, read(1, 51_000.0))

    assert candidate == D(50_100)


@given(
    side=st.sampled_from(["long", "short"]),
    moves=st.lists(st.tuples(st.floats(30_000, 80_000), st.floats(30_000, 80_000), st.floats(1, 2_000)), max_size=30),
    mode=st.sampled_from(["off", "structure", "atr"]),
)
def test_a_stop_is_never_widened(side: Side, moves: list[tuple[float, float, float]], mode: Any) -> None:
    """Whatever the market does, the sequence of stop prices is monotone towards profit (invariant 3)."""
    agreed, policy = plan(side), Policy(trail_mode=mode, trail_start_r=0.5, breakeven_at_r=1.0)
    trail, stop = START, exits.stop_and_target(plan(side))[0]
    for bar, (close, level, atr) in enumerate(moves, 1):
        candle = read(bar, close, atr=atr, trail_long=level, trail_short=level)
        trail, candidate = exits.follow_price(agreed, policy, trail, candle)
        new = stop if candidate is None else exits.tightened(side, stop, candidate)
        assert new >= stop if side == "long" else new <= stop
        stop = new


def test_the_policy_is_read_from_the_parameters_that_exist() -> None:
    """Parameters a build lacks keep their defaults; a wrong type is refused."""
    assert exits.policy_of({"trail_mode": "atr", "ema_period": 200}) == Policy(trail_mode="atr")
    with pytest.raises(msgspec.ValidationError):
        exits.policy_of({"trail_mode": "sideways"})

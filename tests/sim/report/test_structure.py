"""Zones, breaks, swings and pools as drawn are what the events say, no longer and no shorter."""

from __future__ import annotations

from typing import Any

from actors.cli.research import columns
from actors.strategy.analyze import analyze
from config.strategy import StrategyParams
from protocol.units import TIMEFRAME_MS
from sim.market.synthetic import generate
from sim.report.labels import CHARACTER_PX, Frame, Label, place
from sim.report.structure import read_structure

TF = TIMEFRAME_MS["15m"]


def event(name: str, bar: int, **details: Any) -> dict[str, Any]:
    """An event of the given candle."""
    return {"bar": bar, "time": bar * TF, "type": name, "dir": 1, **details}


def test_gap() -> None:
    """A gap begins with its middle candle and ends where it died, with the reason."""
    events = [
        event("FVG_NEW", 2, id="fvg.b.2", top=12.0, bottom=10.0),
        event("FVG_FILL", 5, id="fvg.b.2"),
        event("FVG_DEAD", 5, id="fvg.b.2", reason="mitigated"),
    ]
    (zone,) = read_structure(events, TF, "mid", 0, 9 * TF).zones
    assert (zone.start_ms, zone.known_ms, zone.end_ms, zone.fate) == (TF, 2 * TF, 5 * TF, "mitigated")
    (still_open,) = read_structure(events, TF, "mid", 0, 4 * TF).zones
    assert (still_open.end_ms, still_open.fate) == (None, "open")
    assert read_structure(events, TF, "mid", 6 * TF, 9 * TF).zones == ()


def test_order_block() -> None:
    """A block begins with its candle and ends at the event that mitigates it; the breaker it becomes begins there."""
    events = [
        event("OB_NEW", 4, id="ob.b.1", src_time=TF, top=12.0, bottom=10.0, extreme=9.5),
        event("OB_TOUCH", 6, id="ob.b.1"),
        event("OB_MID", 7, id="ob.b.1"),
        event("OB_DEAD", 8, id="ob.b.1", reason="broken"),
        event("BRK_NEW", 8, id="ob.b.1") | {"dir": -1},
        event("BRK_TOUCH", 9, id="ob.b.1") | {"dir": -1},
    ]
    block, breaker = read_structure(events, TF, "mid", 0, 20 * TF).zones
    assert (block.start_ms, block.end_ms, block.fate) == (TF, 7 * TF, "mitigated")
    assert (breaker.kind, breaker.direction, breaker.start_ms, breaker.end_ms) == ("breaker", -1, 8 * TF, 9 * TF)
    assert read_structure(events, TF, "touch", 0, 20 * TF).zones[0].end_ms == 6 * TF
    assert read_structure(events, TF, "none", 0, 20 * TF).zones[0].fate == "broken"


def test_pool() -> None:
    """A pool begins with its first swing, takes the joined level and count, and ends when it is swept."""
    events = [
        event("POOL_NEW", 6, id=f"liq.h.{TF}", level=20.0, tol=0.1),
        event("POOL_JOIN", 9, id=f"liq.h.{TF}", level=20.05, count=2),
        event("POOL_DEAD", 11, id=f"liq.h.{TF}", reason="swept", level=20.05, count=2),
    ]
    (pool,) = read_structure(events, TF, "mid", 0, 20 * TF).pools
    assert (pool.level, pool.count, pool.start_ms, pool.end_ms, pool.fate) == (20.05, 2, TF, 11 * TF, "swept")


def test_real_events() -> None:
    """Of a whole market: every zone, break, swing and pool of the events is there once, none begins after it ended."""
    candles = generate("ETH/USD", 5, 0, 3000).candles
    params = StrategyParams()
    events = analyze(columns(candles), params, TF)["events"]
    found = read_structure(events, TF, params.ob_mitigation, 0, int(candles.time[-1]))
    counts = {
        name: sum(one["type"] == name for one in events)
        for name in ("SWING", "BOS", "CHOCH", "FVG_NEW", "OB_NEW", "BRK_NEW", "POOL_NEW")
    }
    assert len(found.swings) == counts["SWING"] > 100
    assert len(found.breaks) == counts["BOS"] + counts["CHOCH"] > 50
    assert len(found.zones) == counts["FVG_NEW"] + counts["OB_NEW"] + counts["BRK_NEW"] > 50
    assert len(found.pools) == counts["POOL_NEW"] > 50
    assert all(thing.end_ms is None or thing.start_ms <= thing.end_ms for thing in (*found.zones, *found.pools))
    assert all(one.start_ms < one.end_ms for one in found.breaks)


def test_labels() -> None:
    """The earlier of two labels that would lie on one another is shown, one beside or below it too, one outside not."""
    frame = Frame(0, 100, 0, 100, 1000, 500)
    width = 4 * CHARACTER_PX / 10
    labels = [
        Label(50, 50, "ABCD", True),
        Label(50 + width - 0.5, 50, "ABCD", True),
        Label(50 + width + 0.5, 50, "ABCD", True),
        Label(50, 50, "ABCD", False),
        Label(101, 50, "X", True),
    ]
    assert place(labels, frame) == [True, False, True, True, False]

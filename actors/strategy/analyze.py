"""Structure and indicators of a candle list in the output form of smc-spec 2.9: what tests compare and charts draw.

Pure, and built on the incremental engine: there is no second way to compute anything. Knows no bias and no decision.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from actors.strategy import kernel as k
from actors.strategy.names import EVENT_TYPES, LABELS, REASONS, fvg_id, number, ob_id, pool_id
from actors.strategy.series import Candles, Events, Series, owned, refusal
from config.strategy import StrategyParams

INDICATORS: Final = {
    "ema": k.ROW_EMA,
    "atr": k.ROW_ATR,
    "adx": k.ROW_ADX,
    "plus_di": k.ROW_PLUS_DI,
    "minus_di": k.ROW_MINUS_DI,
    "rsi": k.ROW_RSI,
}
BARS: Final = {
    "ref_high": k.ROW_REF_HIGH,
    "ref_low": k.ROW_REF_LOW,
    "range_high": k.ROW_RANGE_HIGH,
    "range_low": k.ROW_RANGE_LOW,
    "range_pos": k.ROW_RANGE_POS,
    "next_liq_above": k.ROW_LIQ_ABOVE,
    "next_liq_below": k.ROW_LIQ_BELOW,
}


def candle_table(candles: Iterable[Sequence[float]]) -> Candles:
    """Columns from rows of (open time ms, open, high, low, close, volume)."""
    rows = [tuple(row) for row in candles]
    times = np.array([int(row[0]) for row in rows], np.int64)
    return Candles(times, np.array([row[1:6] for row in rows], np.float64).reshape(len(rows), 5))


def analyze(candles: Candles, params: StrategyParams, tf_ms: int) -> dict[str, Any]:
    """`{indicators, bars, events}` of closed candles in order, undefined values None (smc-spec 2.9).

    An identical repetition of the candle before is skipped and has no row of its own. A gap follows `gap_policy`: `reset`
    starts a new segment, `halt` and `fill` raise CandleRefused (the data layer fills). Other unsound candles raise always.
    """
    columns: dict[str, list[Any]] = {name: [] for name in (*INDICATORS, "trend", *BARS)}
    events: list[dict[str, Any]] = []
    for first, segment in segments(candles, params, tf_ms):
        rows, seen = Series(params, tf_ms, "exec").feed(segment)
        for name, column in {**INDICATORS, **BARS}.items():
            columns[name] += [number(value) for value in rows[:, column].tolist()]
        columns["trend"] += rows[:, k.ROW_TREND].astype(np.int64).tolist()
        events += event_records(seen, first)
    return {
        "indicators": {name: columns[name] for name in INDICATORS},
        "bars": {name: columns[name] for name in ("trend", *BARS)},
        "events": events,
    }


def segments(candles: Candles, params: StrategyParams, tf_ms: int) -> list[tuple[int, Candles]]:
    """Runs of sound candles without a gap, each with the row of its first one."""
    found: list[tuple[int, Candles]] = []
    times, values = owned(candles)
    empty, first = Series(params, tf_ms, "exec"), 0
    while first < len(times):
        length, verdict = empty.inspect(Candles(times[first:], values[first:]))
        if verdict == k.REPEATED:
            times, values = np.delete(times, first + length), np.delete(values, first + length, axis=0)
            continue
        if verdict != k.SOUND and not (verdict == k.GAP and params.gap_policy == "reset"):
            raise refusal(verdict, int(times[first + length]))
        found.append((first, Candles(times[first : first + length], values[first : first + length])))
        first += length
    return found


def event_records(events: Events, first_bar: int = 0) -> list[dict[str, Any]]:
    """Events as records in storage order: by bar, type, direction (bullish first), id, source time."""
    records = [
        _record(whole, real, first_bar) for whole, real in zip(events.i.tolist(), events.f.tolist(), strict=True)
    ]
    records.sort(key=_storage_order)
    return records


RANK: Final[Mapping[str, int]] = {name: rank for rank, name in enumerate(EVENT_TYPES)}


def _storage_order(record: Mapping[str, Any]) -> tuple[int, int, int, str, int]:
    return (
        record["bar"],
        RANK[record["type"]],
        -record["dir"],
        record.get("id", ""),
        record.get("src_time", 0),
    )


def _record(whole: Sequence[int], real: Sequence[float], first_bar: int) -> dict[str, Any]:
    bar, time, kind, d, src, note, count = whole
    name = EVENT_TYPES[kind]
    return {"bar": bar + first_bar, "time": time, "type": name, "dir": d} | _details(name, d, src, note, count, real)


def _details(name: str, d: int, src: int, note: int, count: int, real: Sequence[float]) -> dict[str, Any]:  # noqa: PLR0911
    family, _, what = name.partition("_")
    match family, what:
        case "SWING", _:
            return {"src_time": src, "level": real[0], "label": LABELS[note, d]}
        case (("BOS" | "CHOCH"), _):
            return {"src_time": src, "level": real[0], "trend_before": note}
        case "DIV", _:
            return {"src_time": src, "prev_time": note}
        case "OB", "NEW":
            return {"id": ob_id(d, src), "src_time": src, "top": real[0], "bottom": real[1], "extreme": real[2]}
        case "FVG", "NEW":
            return {"id": fvg_id(d, src), "top": real[0], "bottom": real[1]}
        case "POOL", "NEW":
            return {"id": pool_id(d, src), "level": real[0], "tol": real[1]}
        case "POOL", "JOIN":
            return {"id": pool_id(d, src), "level": real[0], "count": count}
        case "POOL", _:
            return {"id": pool_id(d, src), "reason": REASONS[note], "level": real[0], "count": count}
        case "AMBIG", _:
            return {}
    # A breaker keeps the name of the block it was.
    named = {"FVG": fvg_id(d, src), "OB": ob_id(d, src), "BRK": ob_id(-d, src)}[family]
    return {"id": named, "reason": REASONS[note]} if what == "DEAD" else {"id": named}

"""A decision written down in full: what was seen, what every rule said, and the names of it all. Canonical JSON, no NaN.

Knows the view of one decision and no message.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import sha256
from math import inf
from operator import itemgetter
from typing import Any, Final

import msgspec

from actors.strategy import kernel as k
from actors.strategy.names import LABELS, fvg_id, number, ob_id, pool_id
from actors.strategy.rules import Result, View
from actors.strategy.series import Series
from config.strategy import RULE_VERSION

ZONES_SHOWN: Final = 5
POOLS_SHOWN: Final = 5
ID_DIGITS: Final = 32

Row = tuple[float, Callable[[int, int], str], list[int], list[float]]
"""Distance from the close, and what a zone or a pool is shown from: how it is named, whole numbers, prices."""
Shown = Callable[[Callable[[int, int], str], list[int], list[float]], dict[str, Any]]

_encoder = msgspec.json.Encoder(order="sorted")
"""The text of `canonical_json` (but for the exponents of very small and very large numbers) in a seventh of the time."""


def signal_id(symbol: str, timeframe: str, candle_time_ms: int, params_hash: str) -> str:
    """The decision's name. Side is not part of it, so that another answer to the same question collides with this one."""
    return _name(
        {
            "candle_time": candle_time_ms,
            "params_hash": params_hash,
            "rule_version": RULE_VERSION,
            "symbol": symbol,
            "tf": timeframe,
        }
    )


def exit_id(candle_time_ms: int, code: str, entry_id: str) -> str:
    """The name of an exit of the signal `entry_id`."""
    return _name({"candle_time": candle_time_ms, "code": code, "entry_id": entry_id})


def _name(value: dict[str, Any]) -> str:
    return sha256(_encoder.encode(value)).hexdigest()[:ID_DIGITS]


def take_snapshot(
    view: View,
    *,
    symbol: str,
    results: Sequence[tuple[str, Result]],
    params_hash: str,
    data_epoch: int,
    valid_until_ms: int,
) -> str:
    """The full record of one decision as canonical JSON."""
    candle = view.candle
    zone = view.zone if view.side else None
    record = _encoder.encode(
        {
            "symbol": symbol,
            "tf": view.timeframe,
            "candle": candle._asdict(),
            "rules": [
                {"rule": rule, "code": r.code, "pass": r.passed, "value": r.value, "threshold": r.threshold}
                for rule, r in results
            ],
            "side": view.side,
            "indicators": {view.timeframe: indicators(view.series)}
            | {tf: indicators(series) for tf, series in view.bias_series.items()},
            "structure": structure(view.series),
            "zone": zone,
            "zones": zones(view.series),
            "pools": pools(view.series),
            "targets": view.targets if view.side else [],
            "bias": {
                reading.timeframe: {
                    "side": reading.side,
                    "fresh": reading.is_fresh,
                    "bars_seen": reading.bars,
                    "candle_time": view.bias_series[reading.timeframe].open_time_ms if reading.bars else None,
                }
                for reading in view.readings
            },
            "anchor_time": view.series.i[k.ANCHOR_TIME],
            "bars_seen": view.series.bars,
            "data_epoch": data_epoch,
            "params_hash": params_hash,
            "rule_version": RULE_VERSION,
            "valid_until": valid_until_ms,
        }
    )
    return record.decode()


def indicators(series: Series) -> dict[str, float | None]:
    """Indicator values at the newest candle, null before they exist."""
    f = series.f
    columns = {
        "ema": k.EMA,
        "atr": k.ATR,
        "adx": k.ADX,
        "plus_di": k.PLUS_DI,
        "minus_di": k.MINUS_DI,
        "rsi": k.RSI,
    }
    return {name: number(f[column]) for name, column in columns.items()}


def structure(series: Series) -> dict[str, Any]:
    """Trend, reference levels, dealing range, the last swings and breaks, oldest first."""
    i, f = series.i, series.f
    return {
        "trend": i[k.TREND],
        "ref_high": number(f[k.REF_LEVEL]),
        "ref_low": number(f[k.REF_LEVEL + 1]),
        "range_high": number(f[k.RANGE]),
        "range_low": number(f[k.RANGE + 1]),
        "range_pos": number(f[k.RANGE_POS]),
        "swings": [
            {"dir": d, "src_time": time, "label": LABELS[note, d], "level": level}
            for d, time, note, level in _newest(series, 0, k.SWINGS_KEPT, i[k.SWINGS_SEEN])
        ],
        "breaks": [
            {"dir": d, "time": time, "type": "CHOCH" if note else "BOS", "level": level}
            for d, time, note, level in _newest(series, k.SWINGS_KEPT, k.BREAKS_KEPT, i[k.BREAKS_SEEN])
        ],
    }


def _newest(series: Series, first: int, size: int, seen: int) -> list[tuple[int, int, int, float]]:
    """The content of one ring, oldest first: direction, time, note, level."""
    whole = series.arrays.kept_i[first : first + size].tolist()
    levels = series.arrays.kept_f[first : first + size].tolist()
    return [(*whole[n % size], levels[n % size]) for n in range(max(0, seen - size), seen)]


def zones(series: Series) -> dict[str, list[dict[str, Any]]]:
    """The living zones nearest to the close, a few per side."""
    a, close = series.arrays, series.candle().close
    sides: dict[int, list[Row]] = {1: [], -1: []}
    for table_i, table_f, count, name in (
        (a.ob_i, a.ob_f, series.i[k.OB_COUNT], ob_id),
        (a.fvg_i, a.fvg_f, series.i[k.FVG_COUNT], fvg_id),
    ):
        for whole, edges in zip(table_i[:count].tolist(), table_f[:count].tolist(), strict=True):
            d = whole[k.DIR]
            sides[d].append((abs(close - (edges[0] if d > 0 else edges[1])), name, whole, edges))
    return {side: nearest(sides[d], _zone, ZONES_SHOWN) for side, d in (("bullish", 1), ("bearish", -1))}


def _zone(name: Callable[[int, int], str], whole: list[int], edges: list[float]) -> dict[str, Any]:
    d, named, _, touched, half, filled, mitigated = whole
    state = "FILLED" if filled else "HALF" if half else "PARTIAL" if touched else "OPEN"
    return {
        "id": name(d, named),
        "dir": d,
        "top": edges[0],
        "bottom": edges[1],
        "state": state,
        "mitigated": mitigated >= 0,
    }


def pools(series: Series) -> dict[str, list[dict[str, Any]]]:
    """The living pools nearest to the close, a few per side."""
    a, close = series.arrays, series.candle().close
    count = series.i[k.POOL_COUNT]
    sides: dict[int, list[Row]] = {1: [], -1: []}
    for whole, level in zip(a.pool_i[:count].tolist(), a.pool_f[:count, k.LEVEL].tolist(), strict=True):
        sides[whole[k.DIR]].append((abs(close - level), pool_id, whole, [level]))
    return {side: nearest(sides[d], _pool, POOLS_SHOWN) for side, d in (("above", 1), ("below", -1))}


def _pool(name: Callable[[int, int], str], whole: list[int], edges: list[float]) -> dict[str, Any]:
    d = whole[k.DIR]
    return {"id": name(d, whole[k.ID_TIME]), "dir": d, "level": edges[0], "count": whole[k.COUNT]}


def nearest(rows: list[Row], shown: Shown, most: int) -> list[dict[str, Any]]:
    """The `most` nearest rows as they are shown, the nearest first; where two are as near the id decides."""
    rows.sort(key=_distance)
    limit = rows[most - 1][0] if len(rows) > most else inf
    found = [(distance, shown(name, whole, edges)) for distance, name, whole, edges in rows if distance <= limit]
    found.sort(key=lambda pair: (pair[0], pair[1]["id"]))
    return [table for _, table in found[:most]]


_distance = itemgetter(0)

"""A decision written down in full: what was seen, what every rule said, and the names of it all. Canonical JSON, no NaN.

Knows the view of one decision and no message.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from actors.strategy import kernel as k
from actors.strategy.names import LABELS, fvg_id, number, ob_id, pool_id
from actors.strategy.rules import Result, View
from actors.strategy.series import Series
from config.strategy import RULE_VERSION, canonical_json

ZONES_SHOWN: Final = 5
POOLS_SHOWN: Final = 5
ID_DIGITS: Final = 32

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
    return sha256(canonical_json(value).encode()).hexdigest()[:ID_DIGITS]


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
            "zone": None if zone is None else zone._asdict(),
            "zones": zones(view.series),
            "pools": pools(view.series),
            "targets": [target._asdict() for target in view.targets] if view.side else [],
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
    rows = []
    for n in range(max(0, seen - size), seen):
        at = first + n % size
        d, time, note = series.arrays.kept_i[at].tolist()
        rows.append((d, time, note, float(series.arrays.kept_f[at])))
    return rows


def zones(series: Series) -> dict[str, list[dict[str, Any]]]:
    """The living zones nearest to the close, a few per side."""
    a, close = series.arrays, series.candle().close
    sides: dict[int, list[tuple[float, dict[str, Any]]]] = {1: [], -1: []}
    for table_i, table_f, count, name in (
        (a.ob_i, a.ob_f, series.i[k.OB_COUNT], ob_id),
        (a.fvg_i, a.fvg_f, series.i[k.FVG_COUNT], fvg_id),
    ):
        whole, edges = table_i[:count], table_f[:count, :2]
        for d, edge in ((1, 0), (-1, 1)):
            rows = np.flatnonzero(whole[:, k.DIR] == d)
            away = np.abs(close - edges[rows, edge])
            near = nearest(away, ZONES_SHOWN)
            sides[d] += [
                (distance, zone(name, *row, *ends))
                for distance, row, ends in zip(
                    away[near].tolist(), whole[rows[near]].tolist(), edges[rows[near]].tolist(), strict=True
                )
            ]
    return {
        side: [shown for _, shown in sorted(sides[d], key=by_distance)[:ZONES_SHOWN]]
        for side, d in (("bullish", 1), ("bearish", -1))
    }


def zone(
    name: Callable[[int, int], str],
    d: int,
    named: int,
    _born: int,
    touched: int,
    half: int,
    filled: int,
    mitigated: int,
    top: float,
    bottom: float,
) -> dict[str, Any]:
    """One zone as it is shown."""
    state = "FILLED" if filled else "HALF" if half else "PARTIAL" if touched else "OPEN"
    return {"id": name(d, named), "dir": d, "top": top, "bottom": bottom, "state": state, "mitigated": mitigated >= 0}


def nearest(away: k.Floats, most: int) -> NDArray[np.intp]:
    """Which are among the `most` smallest, and those as small as the last of them."""
    if len(away) <= most:
        return np.arange(len(away))
    return np.flatnonzero(away <= np.partition(away, most - 1)[most - 1])


def by_distance(found: tuple[float, dict[str, Any]]) -> tuple[float, str]:
    """The nearest first; where two are as near the id decides."""
    return found[0], found[1]["id"]


def pools(series: Series) -> dict[str, list[dict[str, Any]]]:
    """The living pools nearest to the close, a few per side."""
    a, close = series.arrays, series.candle().close
    count = series.i[k.POOL_COUNT]
    whole, levels = a.pool_i[:count], a.pool_f[:count, k.LEVEL]

    def side(d: int) -> list[dict[str, Any]]:
        rows = np.flatnonzero(whole[:, k.DIR] == d)
        away = np.abs(close - levels[rows])
        near = nearest(away, POOLS_SHOWN)
        found = [
            (distance, {"id": pool_id(d, row[k.ID_TIME]), "dir": d, "level": level, "count": row[k.COUNT]})
            for distance, row, level in zip(
                away[near].tolist(), whole[rows[near]].tolist(), levels[rows[near]].tolist(), strict=True
            )
        ]
        return [pool for _, pool in sorted(found, key=by_distance)[:POOLS_SHOWN]]

    return {"above": side(1), "below": side(-1)}

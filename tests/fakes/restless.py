"""A market in which every second candle signals, as files for `venue serve --data`, and the strategy that finds the signals."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from protocol.units import TIMEFRAME_MS, moment

START_MS: Final = 1_735_689_600_000  # 2025-01-01
HISTORY: Final = 24_000
"""15m candles before it: the daily bias wants them."""
CYCLE: Final = ((0, 3.1, -0.1, 3), (3, 4.6, 2.5, 4.3), (4.3, 4.4, 2.2, 2.6), (2.6, 2.8, 0.5, 1))
"""Open, high, low, close of four candles that begin again one unit higher: a rise that leaves zones and comes back to them."""
UNIT: Final = 0.002
STRATEGY: Final[dict[str, Any]] = {
    "exec_tfs": ["15m"], "adx_min": 0, "bias_mode": "ema", "bias_combine": "primary_only", "rr_min": 0.5, "cooldown_bars": 0,
    "confirm_mode": "touch", "atr_pct_min": 0, "tp_fallback_r": 2, "sl_min_atr": 1.0, "ob_min_disp_atr": 0, "fvg_min_atr": 0,
    "exit_on_choch": "off", "warmup_bars_exec": 100, "warmup_bars_4h": 210, "warmup_bars_1d": 210, "swing_left": 1, "swing_right": 1,
}  # fmt: skip


def candle_files(folder: Path, symbols: Iterable[str], traded: int) -> Iterator[str]:
    """So many candles to trade and the history before them: `--data` with its value, a symbol each, and `--start`. Each symbol is at another place
    of the cycle.
    """
    for place, symbol in enumerate(symbols):
        file, level = folder / f"{place}.csv", 0.01
        rows = ["time,open,high,low,close,volume"]
        for number in range(place, HISTORY + traded + place):
            prices = ",".join(f"{level * (1 + UNIT * units):.12g}" for units in CYCLE[number % len(CYCLE)])
            rows.append(f"{START_MS + (number - place - HISTORY) * TIMEFRAME_MS['15m']},{prices},10")
            level *= 1 + UNIT * (number % len(CYCLE) == len(CYCLE) - 1)
        file.write_text("\n".join(rows))
        yield from ("--data", f"{symbol}={file}")
    yield from ("--start", moment(START_MS * 1000)[:10])

"""The engine's own output on small seeded candles, written down for a person to review. `make goldens` writes it anew.

A changed golden is a changed engine: the diff is read line by line before it is committed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

from actors.strategy.analyze import analyze
from actors.strategy.decide import initial, step
from actors.strategy.history import decide_history
from protocol.messages.signal import Signal
from tests.actors.strategy.strategy_candles import QUICK, TF_MS, messages, walk

GOLDEN: Final = Path(__file__).parent / "golden"
SYMBOL: Final = "BTC/USD"
DAY: Final = 96


def lines(rows: Iterable[Any]) -> str:
    return "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows)


def structure() -> str:
    """Each bar of a coarse walk, full of ties: its candle, its row and its indicators, then the events it made known."""
    candles = walk(31, 60, tick=2.0)
    result = analyze(candles, QUICK, TF_MS)
    told: list[dict[str, Any]] = []
    for n, (o, h, low, c, _) in enumerate(candles.values.tolist()):
        row = {name: column[n] for name, column in (result["bars"] | result["indicators"]).items()}
        told.append({"bar": n, "o": o, "h": h, "l": low, "c": c} | row)
        told += [{"event": event.pop("type")} | event for event in result["events"] if event["bar"] == n]
    return lines(told)


def decisions() -> str:
    """Ten days after warm-up: runs of equal reasons by timeframe, and every entry with its exit."""
    rows = decide_history({SYMBOL: walk(21, 20 * DAY, start=4000.0)}, QUICK, exits=True)
    told: list[dict[str, Any]] = []
    for timeframe in QUICK.exec_tfs:
        for row in rows:
            if row["tf"] != timeframe:
                continue
            if row["side"] != "hold":
                told.append(row)
            elif told and told[-1].get("holds") == row["primary_reason"] and told[-1]["tf"] == timeframe:
                told[-1]["bars"] += 1
            else:
                told.append({"tf": timeframe, "time": row["time"], "holds": row["primary_reason"], "bars": 1})
    return lines(told)


def signal() -> str:
    """The first signal of that market in full, its snapshot opened."""
    state = initial(QUICK, [SYMBOL])
    for message in messages(walk(21, 20 * DAY, start=4000.0)):
        for answer in step(state, message)[1]:
            if isinstance(answer, Signal):
                whole = {name: getattr(answer, name) for name in answer.__struct_fields__}
                whole["snapshot"] = json.loads(answer.snapshot)
                return json.dumps(whole, indent=1, allow_nan=False) + "\n"
    raise AssertionError("this market gives signals")


GOLDENS: Final[dict[str, Callable[[], str]]] = {
    "structure.jsonl": structure,
    "decisions.jsonl": decisions,
    "signal.json": signal,
}


def write() -> None:
    """Write every golden file, each whole or not at all."""
    texts = {name: make() for name, make in GOLDENS.items()}
    GOLDEN.mkdir(exist_ok=True)
    for name, text in texts.items():
        (GOLDEN / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write()

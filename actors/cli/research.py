"""What `analyze`, `decide` and `chart` share: strategy parameters from options, and candle files as the strategy takes them.

The settings of a deployment play no part: what these commands print depends on the file and the options alone.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from actors.cli.errors import Exit, bad_input, stop
from config.load import BadSetting, load, scalar
from config.strategy import StrategyParams
from protocol.units import TIMEFRAME_MS, Timeframe, moment

if TYPE_CHECKING:
    from actors.strategy.series import Candles as Columns
    from sim.market.files import Candles

Sets = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="A strategy parameter, as in swing_left=3; repeat."),
]
Preset = Annotated[str, typer.Option("--preset", help="Parameters to begin with: runner or classic.")]
From = Annotated[str | None, typer.Option("--from", help="Show from here on, UTC; all before it is still computed.")]


def strategy_params(preset: str, sets: Sequence[str] | None, **given: Any) -> StrategyParams:
    """The preset with `sets` (NAME=VALUE) and `given` (None: not given) over it; a fault is one line and exit 2."""
    chosen: dict[str, Any] = {}
    for pair in sets or ():
        name, equals, text = pair.partition("=")
        if not equals or not name:
            raise stop(Exit.BAD_INPUT, f"error: --set {pair!r}: write NAME=VALUE, as in --set swing_left=3")
        if name == "preset":
            raise stop(Exit.BAD_INPUT, f"error: --set {pair!r}: write --preset {text}")
        chosen[name] = scalar(text)
    chosen |= {name: value for name, value in given.items() if value is not None}
    # Nothing waits for a candle here, so the deployment's wait is whatever was asked for.
    wait = {"feeds": {"settle_ms": chosen["settle_ms"]}} if "settle_ms" in chosen else {}
    with bad_input(BadSetting):
        return load("backtest", "paper", None, {"strategy": {"preset": preset, **chosen}, **wait}, {}).strategy


def columns(candles: Candles) -> Columns:
    """Candles of a file as the strategy takes them."""
    import numpy as np

    from actors.strategy.series import Candles as Columns

    values = np.column_stack((candles.open, candles.high, candles.low, candles.close, candles.volume))
    return Columns(candles.time, values)


def read_base(file: Path) -> Candles:
    """The 15m candles of a file. Raises BadCandleFile, also when its candles are longer ones."""
    import numpy as np

    from sim.market.files import BadCandleFile, read_candles

    candles = read_candles(file, "15m")
    step_min = int(np.median(np.diff(candles.time))) // 60_000 if len(candles) > 1 else 15
    if step_min > 15:
        raise BadCandleFile(f"{file}: holds candles of {step_min} minutes; 15m candles are needed")
    return candles


def folder_of(option: str, file: Path) -> None:
    """End with exit 2 unless `file` can be written: better known before the work than after."""
    if not file.parent.is_dir():
        raise stop(Exit.BAD_INPUT, f"error: {option} {file}: there is no folder {file.parent}")
    if file.is_dir():
        raise stop(Exit.BAD_INPUT, f"error: {option} {file}: is a directory")
    if not os.access(file.parent, os.W_OK):
        raise stop(Exit.BAD_INPUT, f"error: {option} {file}: nothing may be written to {file.parent}")


def missing(candles: Candles, timeframe: Timeframe) -> int:
    """How many candles the file lacks."""
    step = TIMEFRAME_MS[timeframe]
    return int(candles.time[-1] - candles.time[0]) // step + 1 - len(candles)


def moment_ms(option: str, text: str | None) -> int | None:
    """A date or an ISO moment as ms."""
    from sim.market.files import BadPeriod, parse_moment

    if text is None:
        return None
    try:
        return parse_moment(text)
    except BadPeriod as error:
        raise stop(Exit.BAD_INPUT, f"error: {option}: {error}") from error


def symbol_files(pairs: Sequence[str]) -> dict[str, Path]:
    """SYMBOL=FILE options in order; any symbol will do."""
    found: dict[str, Path] = {}
    for pair in pairs:
        symbol, equals, file = pair.partition("=")
        if not equals or not symbol or not file:
            raise stop(Exit.BAD_INPUT, f"error: --data {pair!r}: write SYMBOL=FILE, as in BTC/USD=candles.parquet")
        if symbol in found:
            raise stop(Exit.BAD_INPUT, f"error: --data {pair!r}: {symbol} is given twice")
        found[symbol] = Path(file)
    return found


def minute(time_ms: int) -> str:
    """A candle's time for a person."""
    return moment(time_ms * 1000)[:16]


def wide_console() -> Console:
    """Stdout for tables; a file or a pipe gets them unfolded."""
    console = Console(highlight=False, soft_wrap=True)
    return console if console.is_terminal else Console(highlight=False, soft_wrap=True, width=200)


@contextmanager
def working(text: str) -> Iterator[None]:
    """Tell a person at a terminal what takes a moment."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield
        return
    with console.status(text):
        yield

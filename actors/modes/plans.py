"""Which backtests to run: the windows of a walk-forward, and the combinations of a matrix file. Pure but for reading that file."""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import product
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from config.load import BadSetting, parsed
from protocol.units import SECOND_US, Timeframe

LENGTH = re.compile(r"(\d+)(mo|w|d)")


class BadPlan(ValueError):
    """A plan that cannot be carried out; the text says why, in one line."""


# --- walk-forward --------------------------------------------------------------------------------------------------------


class Length(BaseModel):
    """A span of calendar months or of days."""

    model_config = ConfigDict(frozen=True)

    months: int = 0
    days: int = 0

    def after(self, day: date, times: int = 1) -> date:
        """The day so much later, or so many times as much; what a month has too few days for is its last."""
        year, month = divmod(day.year * 12 + day.month - 1 + times * self.months, 12)
        return date(year, month + 1, min(day.day, monthrange(year, month + 1)[1])) + timedelta(days=times * self.days)


class Window(BaseModel):
    """Days [train, test) and [test, end)."""

    model_config = ConfigDict(frozen=True)

    train: date
    test: date
    end: date


def read_lengths(text: str) -> tuple[Length, Length]:
    """`train=12mo,test=3mo` (mo, w or d). Raises BadPlan."""
    parts = dict(part.partition("=")[::2] for part in text.split(","))
    found = {name: LENGTH.fullmatch(parts.get(name, "")) for name in ("train", "test")}
    if set(parts) != set(found) or not all(found.values()):
        raise BadPlan(f"--walk-forward {text!r}: write train=12mo,test=3mo (mo, w or d)")
    lengths = [_length(int(match[1]), match[2]) for match in found.values() if match is not None]
    if any(length.after(date(2024, 1, 1)) == date(2024, 1, 1) for length in lengths):
        raise BadPlan(f"--walk-forward {text!r}: a span of nothing")
    return lengths[0], lengths[1]


def _length(count: int, unit: str) -> Length:
    return Length(months=count) if unit == "mo" else Length(days=count * (7 if unit == "w" else 1))


def windows(train: Length, test: Length, start: date, end: date) -> list[Window]:
    """Whole windows from `start` on, each a test further, none beyond `end`. Raises BadPlan when there is none."""
    found: list[Window] = []
    first = train.after(start)
    # Each counted from the start, as a month after a shortened month is not two months: tests would no longer touch.
    while (until := test.after(first, len(found) + 1)) <= end:
        done = len(found)
        found.append(Window(train=test.after(start, done), test=test.after(first, done), end=until))
    if not found:
        raise BadPlan(f"--walk-forward: {start} to {end} is shorter than one window")
    return found


def midnight_us(day: date) -> int:
    """00:00 UTC of a day, microseconds."""
    return round(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * SECOND_US


# --- matrix --------------------------------------------------------------------------------------------------------------


class Matrix(BaseModel):
    """A matrix file. `vary`: setting -> values, all combinations; `runs`: name -> settings. Files are relative to the matrix file;
    those of `history` go by `BTC/USD:1d`.

    The setting `symbols` takes spot symbols, of those configured or of `data`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: dict[str, Path] = {}
    perp: dict[str, Path] = {}
    funding: dict[str, Path] = {}
    path: dict[str, Path] = {}
    history: dict[str, Path] = {}
    start: date | None = None
    end: date | None = None
    vary: dict[str, list[Any]] = {}
    runs: dict[str, dict[str, Any]] = {}

    @property
    def series(self) -> dict[tuple[str, Timeframe], Path]:
        """`history` by (symbol, timeframe)."""
        return {key: f for name, f in self.history.items() for key in (_series(name),) if key}


def read_matrix(file: Path) -> Matrix:
    """The checked file, its paths made absolute. Raises BadPlan."""
    try:
        matrix = Matrix.model_validate(parsed(str(file), file.read_text(encoding="utf-8")))
    except OSError as error:
        raise BadPlan(f"{file}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise BadPlan(f"{file}: is not UTF-8 text") from error
    except BadSetting as error:
        raise BadPlan(str(error)) from error
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        known = f"; there are {', '.join(Matrix.model_fields)}" if first["type"] == "extra_forbidden" else ""
        raise BadPlan(f"{file}: {field or 'file'}: {first['msg'].lower()}{known}") from error
    if not matrix.vary and not matrix.runs:
        raise BadPlan(f"{file}: needs vary or runs")
    for name in matrix.history:
        if _series(name) is None:
            raise BadPlan(f"{file}: history.{name}: write SYMBOL:TF with TF one of {', '.join(LONGER)}")
    empty = [name for name, values in matrix.vary.items() if not values]
    if empty:
        raise BadPlan(f"{file}: vary.{empty[0]}: has no values")
    files = {kind: {s: file.parent / path for s, path in getattr(matrix, kind).items()} for kind in FILES}
    for kind, by_symbol in files.items():
        for symbol, path in by_symbol.items():
            if not path.is_file():
                raise BadPlan(f"{file}: {kind}.{symbol}: there is no file {path}")
    return matrix.model_copy(update=files)


LONGER: tuple[Timeframe, ...] = ("1h", "4h", "1d")
FILES = ("data", "perp", "funding", "path", "history")


def _series(name: str) -> tuple[str, Timeframe] | None:
    """`BTC/USD:1d`; None when it is none."""
    symbol, _, wanted = name.partition(":")
    timeframe = next((known for known in LONGER if known == wanted), None)
    return None if timeframe is None else (symbol, timeframe)


def combinations(matrix: Matrix) -> list[tuple[str, dict[str, Any]]]:
    """(name, settings by dotted name) of every run: named ones first, then all combinations, the last axis fastest."""
    found = [(name, _dotted(settings)) for name, settings in matrix.runs.items()]
    if matrix.vary:
        axes = [[(name, value) for value in values] for name, values in matrix.vary.items()]
        found += [(", ".join(f"{_short(n)} {_said(v)}" for n, v in chosen), dict(chosen)) for chosen in product(*axes)]
    return found


def _short(name: str) -> str:
    return name.rpartition(".")[2]


def _said(value: Any) -> str:
    return "+".join(map(str, value)) if isinstance(value, Sequence) and not isinstance(value, str) else str(value)


def _dotted(settings: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            found |= _dotted(value, f"{before}{name}.")
        else:
            found[before + name] = value
    return found

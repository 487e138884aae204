"""What the strategy says over a whole history, known before it is played: a table looked up by candle.

The decisions depend on candles alone, so they may be made in bulk; what is looked up is, message for message, what `decide.step`
would have answered (a test proves it). Between the candles that matter the table is read as columns. Knows no position.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import isnan
from typing import Final

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from actors.strategy import decide
from actors.strategy.history import closed_candle
from protocol.messages.base import Message, follow
from protocol.messages.signal import Held, Signal, StructureRead
from protocol.messages.spot import CandleClosed
from protocol.units import TIMEFRAME_MS, Timeframe

BASE_MS: Final = TIMEFRAME_MS["15m"]
SIGNAL: Final = -1
"""In a column of reasons: not held."""

COLUMNS: Final = (
    "close_ms",
    "high",
    "low",
    "close",
    "atr",
    "trail_long",
    "trail_short",
    "choch",
    "choch_4h",
    "bias",
)

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Reads:
    """One execution series: every `StructureRead` and the reason of every decision, oldest first, as columns of equal length.

    `close_ms`: when the candle ended; `reason`: index into `reasons`, SIGNAL for an entry. NaN: not known.
    """

    timeframe: Timeframe
    close_ms: Ints
    high: Floats
    low: Floats
    close: Floats
    atr: Floats
    trail_long: Floats
    trail_short: Floats
    choch: NDArray[np.int8]
    choch_4h: NDArray[np.int8]
    bias: NDArray[np.int8]
    reason: NDArray[np.int16]
    reasons: tuple[str, ...]

    def between(self, after_ms: int, until_ms: int) -> slice:
        """The candles that ended after `after_ms` and not after `until_ms`."""
        return slice(bisect_right(self.ends, after_ms), bisect_right(self.ends, until_ms))

    @cached_property
    def ends(self) -> memoryview:
        """`close_ms` as plain numbers: a single one is found sooner among them."""
        return self.close_ms.data

    def read(self, row: int, cause: CandleClosed) -> StructureRead:
        """What the candle of `row` said of structure, as it follows from `cause`."""
        return follow(
            cause,
            StructureRead,
            self.timeframe,
            symbol=cause.symbol,
            timeframe=self.timeframe,
            candle_time_ms=self.close_ms.item(row) - TIMEFRAME_MS[self.timeframe],
            high=self.high.item(row),
            low=self.low.item(row),
            close=self.close.item(row),
            atr=_known(self.atr.item(row)),
            choch=self.choch.item(row),
            choch_4h=self.choch_4h.item(row),
            bias=self.bias.item(row),
            trail_long=_known(self.trail_long.item(row)),
            trail_short=_known(self.trail_short.item(row)),
        )


@dataclass(frozen=True)
class Table:
    """One symbol's history decided. `signals`: (close of the base candle in ms, timeframe) -> the signal, in time order."""

    reads: dict[Timeframe, Reads]
    signals: dict[tuple[int, Timeframe], Signal]

    def answers(self, candle: CandleClosed) -> list[Message]:
        """What the strategy says to one base candle: structure of every series it completes, then the decisions."""
        close_ms = candle.open_time_ms + BASE_MS
        closing = [
            (reads, row)
            for reads in self.reads.values()
            if (row := bisect_left(reads.ends, close_ms)) < len(reads.ends) and reads.ends[row] == close_ms
        ]
        said: list[Message] = [reads.read(row, candle) for reads, row in closing]
        for reads, row in closing:
            reason = int(reads.reason[row])
            signal = self.signals[close_ms, reads.timeframe] if reason == SIGNAL else None
            if signal is not None and candle.at < signal.valid_until:
                said.append(replace(signal, cause=candle.id, at=candle.at))
                continue
            said.append(
                follow(
                    candle,
                    Held,
                    reads.timeframe,
                    symbol=candle.symbol,
                    timeframe=reads.timeframe,
                    candle_time_ms=close_ms - TIMEFRAME_MS[reads.timeframe],
                    reason=decide.EXPIRED if signal is not None else reads.reasons[reason],
                )
            )
        return said


Tables = dict[str, Table]


@dataclass(frozen=True)
class History:
    """Base candles of one symbol as columns, oldest first: `times` open times in ms, `values` (n, 5); `synthetic`: filled in."""

    times: Ints
    values: Floats
    synthetic: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.times)

    def told(self, symbol: str, row: int) -> CandleClosed:
        """One of them as the message of the moment it ends."""
        return closed_candle(
            symbol, int(self.times[row]), *self.values[row].tolist(), synthetic=bool(self.synthetic[row])
        )


def step(tables: Tables, message: Message) -> tuple[Tables, Sequence[Message]]:
    """`decide.step` by looking up."""
    if not isinstance(message, CandleClosed) or message.symbol not in tables:
        return tables, ()
    return tables, tables[message.symbol].answers(message)


@dataclass
class Rows:
    """Columns of one execution series in the making, candle by candle."""

    reads: list[tuple[float, ...]] = field(default_factory=list)
    reasons: list[str | None] = field(default_factory=list)
    """None: a signal."""


@dataclass
class Draft:
    """A table in the making: `take` decides on the next candle as `decide.step` does."""

    state: decide.State
    symbol: str
    rows: dict[Timeframe, Rows]
    signals: dict[tuple[int, Timeframe], Signal] = field(default_factory=dict)

    @classmethod
    def of(cls, state: decide.State, symbol: str) -> Draft:
        """Nothing decided yet; `state` is gone on with, and changed."""
        return cls(state, symbol, {tf: Rows() for tf in state.markets[symbol].tracks})

    def take(self, candle: CandleClosed) -> None:
        """The next base candle."""
        close_ms = candle.open_time_ms + BASE_MS
        for said in decide.step(self.state, candle)[1]:
            match said:
                case StructureRead():
                    self.rows[said.timeframe].reads.append(_row(said, close_ms))
                case Held():
                    self.rows[said.timeframe].reasons.append(said.reason)
                case Signal():
                    self.rows[said.timeframe].reasons.append(None)
                    self.signals[close_ms, said.timeframe] = said

    def table(self) -> Table:
        """All that was taken."""
        return Table({tf: _columns(tf, rows) for tf, rows in self.rows.items()}, self.signals)


def play(state: decide.State, symbol: str, history: History) -> Table:
    """Decide on `history` one candle after the other, going on from `state`, which is changed."""
    draft = Draft.of(state, symbol)
    for row in range(len(history)):
        draft.take(history.told(symbol, row))
    return draft.table()


def _row(read: StructureRead, close_ms: int) -> tuple[float, ...]:
    return (
        close_ms,
        read.high,
        read.low,
        read.close,
        _number(read.atr),
        _number(read.trail_long),
        _number(read.trail_short),
        read.choch,
        read.choch_4h,
        read.bias,
    )


def _columns(timeframe: Timeframe, rows: Rows) -> Reads:
    table = np.array(rows.reads, np.float64).reshape(-1, 10).T
    names = tuple(dict.fromkeys(reason for reason in rows.reasons if reason is not None))
    number = {None: SIGNAL} | {name: n for n, name in enumerate(names)}
    choch, choch_4h, bias = table[7:].astype(np.int8)
    return Reads(
        timeframe=timeframe,
        close_ms=table[0].astype(np.int64),
        high=table[1],
        low=table[2],
        close=table[3],
        atr=table[4],
        trail_long=table[5],
        trail_short=table[6],
        choch=choch,
        choch_4h=choch_4h,
        bias=bias,
        reason=np.array([number[reason] for reason in rows.reasons], np.int16),
        reasons=names,
    )


def _number(value: float | None) -> float:
    return np.nan if value is None else value


def _known(value: float) -> float | None:
    return None if isnan(value) else value

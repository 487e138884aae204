"""What the futures feed last told, and what of it survives a crash. Pure data; decides nothing."""

from __future__ import annotations

from decimal import Decimal
from typing import Final, Literal, TypeVar

import msgspec

from protocol.messages.base import Message
from protocol.messages.futures import Account, Instrument, Maintenance, OpenOrder, Position
from protocol.units import MINUTE_US, SECOND_US

ASK_RULES_US: Final = 10 * SECOND_US

T = TypeVar("T")


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What must survive a crash. `fills`: ids told, oldest first. `since`: when the first life began, microseconds;
    executions up to then that are not ours belong to nobody's story here. `fills_until`: how far snapshots have told them
    without a gap, exchange time in microseconds; the stream alone proves nothing of what came before it. `lost`: an earlier life left a
    memory that could not be read, so this was not the first: what is listed may never have been told. `streamed`: signed sizes as the stream last
    said them, less what fills took off since; `enlarged`: when a fill that made a position larger was told, microseconds; `lessened`: when one
    made it smaller, and the signed size that a list may still show; `foretold`: signed sizes by which frames were ahead of the fills told, and
    `framed`: the exchange's time of the frame that last changed what is said here of positions. `maintenance`: what of it was announced, and told to a person.
    """

    fills: dict[str, None] = {}
    since: int | None = None
    fills_until: int | None = None
    lost: bool = False
    streamed: dict[str, Decimal] = {}
    enlarged: dict[str, int] = {}
    lessened: dict[str, tuple[int, Decimal]] = {}
    foretold: dict[str, Decimal] = {}
    framed: int = 0
    maintenance: tuple[Maintenance, ...] = ()


class Marked(msgspec.Struct, frozen=True):
    """The newest ticker of a symbol by the exchange's `time`; its mark, since when that has not changed, and the last trade's price of then.

    `frozen`: trades have gone elsewhere meanwhile, as long as the mark stays.
    """

    time: int
    mark: Decimal
    since: int
    last: Decimal
    frozen: bool = False


class State(msgspec.Struct, frozen=True, kw_only=True):
    """What was last told. `orders`: order id -> (terms, when); `gone`: order id -> when; `positions`: symbol -> (.., when).

    `names`: order id -> client order id, for frames that carry only the first. `*_sequence`: newest frame of the stream, None before the first. `filled`: symbol -> (the exchange's time of its newest execution, when that was told). `held`: signed sizes, what the stream's last frame and fills since make of each position. `framed`: the exchange's time of the newest frame of positions. `doubted`: symbols of which the last list showed less than the stream and fills, unspoken of since -> when its reading began. `refused`: symbols whose last price was refused. `closed`: markets that are not open, and how; `asked_rules`: when the contracts' rules were last asked for again; `limited_at`: when it was last said that we ask too often; `rejected`: when placements were refused not long ago. `barred`: what the exchange refuses our key for; entries are halted meanwhile. `ahead_us`: by how much our clock was ahead of the exchange's in the last reading that showed it, `clock_off`: whether by more than `clock_off_max_us`, either way. `maintained`: entries are halted for maintenance. `first`: this is the first life of all, and has read nothing yet.
    """

    symbols: tuple[str, ...]
    told: Told
    clock_off_max_us: int
    marked: dict[str, Marked] = {}
    refused: tuple[str, ...] = ()
    unlisted: tuple[str, ...] = ()
    instruments: dict[str, Instrument] = {}
    closed: dict[str, str] = {}
    asked_rules: int = -ASK_RULES_US
    limited_at: int = -MINUTE_US
    rejected: tuple[int, ...] = ()
    barred: Literal["", "read", "order"] = ""
    ahead_us: int = 0
    clock_off: bool = False
    maintained: bool = False
    first: bool = False
    orders: dict[str, tuple[OpenOrder, int]] = {}
    gone: dict[str, int] = {}
    names: dict[str, str] = {}
    positions: dict[str, tuple[Position, int]] = {}
    positions_sequence: int | None = None
    filled: dict[str, tuple[int, int]] = {}
    held: dict[str, Decimal] = {}
    framed: int = 0
    doubted: dict[str, int] = {}
    account: tuple[Account, int] | None = None
    account_sequence: int | None = None


Answer = tuple[State, list[Message]]


def newest(kept: dict[str, T], most: int) -> dict[str, T]:
    """The last `most` entries, in order."""
    return kept if len(kept) <= most else dict(list(kept.items())[-most:])

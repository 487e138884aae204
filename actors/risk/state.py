"""What risk knows, and what of it survives a crash. Pure data; decides nothing."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Final, Literal

import msgspec

from actors.memory import recalled, remember
from actors.risk import book as books
from config.settings import Settings
from protocol.messages.base import Message
from protocol.messages.futures import Account, Instrument, MarkPrice, Position
from protocol.messages.signal import Signal
from protocol.messages.spot import SpotPrice
from protocol.units import Side, day_start_us

ZERO: Final = Decimal(0)


class Pending(msgspec.Struct, frozen=True, kw_only=True):
    """An approved entry that may still fill: exposure until it is filled, refused, or out of time. `unknown` never times out."""

    signal_id: str
    client_order_id: str
    symbol: str
    side: Side
    size: Decimal
    notional_usd: Decimal
    initial_margin_usd: Decimal
    maintenance_margin_usd: Decimal
    expires: int
    unknown: bool = False


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """An entry that was approved."""

    signal_id: str
    symbol: str
    side: Side
    at: int


class Day(msgspec.Struct, frozen=True, kw_only=True):
    """A UTC day as it was left: its 00:00, its first equity, whether its loss limit was reached."""

    began_at: int
    equity_usd: Decimal | None
    loss_hit: bool


class Memory(msgspec.Struct, frozen=True, kw_only=True):
    """What must survive a crash. `day` is 00:00 UTC of the day `day_equity_usd` belongs to; None: not known. `left`: the day before it, or the one that the clock was set back from."""

    day: int = 0
    day_equity_usd: Decimal | None = None
    daily_loss_hit: bool = False
    peak_equity_usd: Decimal | None = None
    drawdown_hit: bool = False
    losing_streak: int = 0
    cooldown_until: int = 0
    signals: tuple[str, ...] = ()
    entries: tuple[Entry, ...] = ()
    pending: tuple[Pending, ...] = ()
    fills: tuple[str, ...] = ()
    book: dict[str, books.Holding] = {}
    delayed: tuple[Signal, ...] = ()
    life_began_at: int = 0
    left: Day | None = None


class Held(msgspec.Struct, frozen=True):
    """A position as last told, and when."""

    position: Position
    at: int


class State(msgspec.Struct, frozen=True, kw_only=True):
    """Everything risk knows. Mappings are replaced, never changed in place. `halts`: what was last said under each key (`kill:SYMBOL`: whether the switch was asked for).

    `funding`: of each symbol the last rate of each of the newest hours, (hour in microseconds, rate), newest last.
    """

    settings: Settings
    futures_of: dict[str, str]
    spot_of: dict[str, str]
    exit_on_choch: Literal["exec", "4h", "off"]
    max_hold_bars: int
    memory: Memory
    restarted: bool = False
    instruments: dict[str, Instrument] = {}
    marks: dict[str, MarkPrice] = {}
    spots: dict[str, SpotPrice] = {}
    positions: dict[str, Held] = {}
    account: Account | None = None
    drifts: dict[str, int] = {}
    halts: dict[str, bool] = {}
    funding: dict[str, tuple[tuple[int, Decimal], ...]] = {}


Answers = tuple[State, Sequence[Message]]
NONE: Final[Sequence[Message]] = ()


def initial(settings: Settings, memory: bytes | None) -> State:
    """The state of a new life, with what an earlier one kept. Raises msgspec.DecodeError on foreign bytes."""
    params = settings.strategy.model_dump()
    return State(
        settings=settings,
        futures_of=settings.futures_of,
        spot_of=settings.spot_of,
        exit_on_choch=params.get("exit_on_choch", "4h"),
        max_hold_bars=params.get("max_hold_bars", 0),
        memory=recalled(Memory, memory),
    )


def told_account(state: State, at: int, account: Account) -> State:
    """The account as told at `at`: the day's first equity and the highest are remembered."""
    state = msgspec.structs.replace(roll_day(state, at), account=account)
    equity, memory = account.equity_usd, state.memory
    if memory.day_equity_usd is None:
        state = remember(state, day_equity_usd=equity)
    if memory.peak_equity_usd is None or equity > memory.peak_equity_usd:
        state = remember(state, peak_equity_usd=equity)
    return state


def told_positions(state: State, at: int, positions: Sequence[Position]) -> State:
    """The positions as told at `at`; what is not among them stays."""
    held = state.positions | {p.symbol: Held(still_liquidated_at(state, p), at) for p in positions}
    return msgspec.structs.replace(state, positions=held)


def roll_day(state: State, at: int) -> State:
    """Begin a new UTC day with the equity last known. A clock that steps back begins nothing.

    Over the last midnight and back, whichever of the two was wrong, each day is taken up as it was left: what was lost beyond the limit
    in the later counts in the earlier, too, and a day that comes again begins with no less than there is.
    """
    day, memory, left = day_start_us(at), state.memory, state.memory.left
    if day == memory.day:
        return state
    equity = state.account.equity_usd if state.account else None
    ended = Day(began_at=memory.day, equity_usd=memory.day_equity_usd, loss_hit=memory.daily_loss_hit)
    if left is None or day != left.began_at:
        begun = remember(state, day=day, day_equity_usd=equity, daily_loss_hit=False, left=ended)
        return begun if day > memory.day else state
    if day < memory.day:
        first, hit = left.equity_usd, left.loss_hit or memory.daily_loss_hit
    else:
        first, hit = max((usd for usd in (left.equity_usd, equity) if usd is not None), default=None), left.loss_hit
    return remember(state, day=day, day_equity_usd=first, daily_loss_hit=hit, left=ended)


def still_liquidated_at(state: State, position: Position) -> Position:
    """A position with the liquidation price last told for it: the list by REST carries none."""
    known = state.positions.get(position.symbol)
    if known is None or position.liquidation_price is not None or known.position.size != position.size:
        return position
    return msgspec.structs.replace(position, liquidation_price=known.position.liquidation_price)

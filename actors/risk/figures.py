"""Loss, exposure and leverage, computed from what risk knows. Pure; compares nothing with a limit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Final

from msgspec.structs import replace

from actors.risk.rules import Exposure
from actors.risk.sizing import HUNDRED
from actors.risk.state import ZERO, Pending, State
from protocol.messages.futures import MarkPrice, worth_usd
from protocol.units import HOUR_US

FUNDING_HOURS: Final = 24
FUNDING_HOURS_LEAST: Final = 8


def lost_pct(equity: Decimal, of: Decimal | None) -> Decimal | None:
    """How far `equity` is below `of`, in percent; None when there is nothing to compare with."""
    if of is None or of <= 0:
        return None
    return ZERO if equity >= of else (of - equity) / of * HUNDRED


def daily_loss_pct(state: State) -> Decimal | None:
    """Of equity at 00:00 UTC."""
    return lost_pct(state.account.equity_usd, state.memory.day_equity_usd) if state.account else None


def drawdown_pct(state: State) -> Decimal | None:
    """From the highest equity seen."""
    return lost_pct(state.account.equity_usd, state.memory.peak_equity_usd) if state.account else None


def held_size(state: State, symbol: str) -> Decimal:
    """Contracts held (unsigned): the exchange's word, and a fill it has not answered yet if that makes it more."""
    held, holding = state.positions.get(symbol), state.memory.book.get(symbol)
    told = ZERO if held is None else abs(held.position.size)
    if holding is None or (held is not None and held.at > holding.at):
        return told
    return max(told, abs(holding.size))


def held_notional_usd(state: State, symbol: str, size: Decimal) -> Decimal:
    """Of so many contracts at the mark; without one, at what was paid."""
    instrument, mark = state.instruments.get(symbol), state.marks.get(symbol)
    if mark is not None:
        price = mark.mark
    else:
        held = state.positions.get(symbol)
        price = ZERO if held is None else held.position.entry_price
    worth = worth_usd(symbol, size, price)
    return worth if instrument is None else worth * instrument.contract_size


def held_sizes(state: State) -> dict[str, Decimal]:
    """Contracts held (unsigned) where there are any, by symbol."""
    known = {**state.positions, **state.memory.book}
    return {symbol: size for symbol in known if (size := held_size(state, symbol))}


def still_pending(state: State, at: int) -> list[Pending]:
    """Entries that may still fill."""
    return [entry for entry in state.memory.pending if entry.unknown or at <= entry.expires]


def notional_usd(state: State, held: Mapping[str, Decimal], pending: Sequence[Pending]) -> Decimal:
    """Of all that is held, by symbol, and of what is pending."""
    notional = ZERO
    for symbol, size in held.items():
        notional += held_notional_usd(state, symbol, size)
    for entry in pending:
        notional += entry.notional_usd
    return notional


def exposure(state: State, at: int) -> Exposure:
    """Held and pending together. Pending that is out of time and not unknown no longer counts."""
    held, pending = held_sizes(state), still_pending(state, at)
    return Exposure(
        held=tuple(sorted(held)),
        pending=tuple(entry.symbol for entry in pending),
        notional_usd=notional_usd(state, held, pending),
        pending_margin_usd=sum((entry.initial_margin_usd for entry in pending), ZERO),
        pending_maintenance_usd=sum((entry.maintenance_margin_usd for entry in pending), ZERO),
    )


def with_rate(state: State, mark: MarkPrice) -> State:
    """State with the funding rate of this hour noted; nothing is noted while nobody asks for it."""
    if state.settings.risk.funding_spike_x == 0 or mark.funding_rate is None:
        return state
    hour = mark.at - mark.at % HOUR_US
    noted = tuple(row for row in state.funding.get(mark.symbol, ()) if row[0] != hour)
    rates = (*noted, (hour, mark.funding_rate))[-FUNDING_HOURS - 1 :]
    return (
        state
        if rates == state.funding.get(mark.symbol)
        else replace(state, funding={**state.funding, mark.symbol: rates})
    )


def funding_mean(state: State, symbol: str) -> Decimal | None:
    """Mean size of the hourly rates before this hour's, None while there are too few to tell."""
    rates = [abs(rate) for _, rate in state.funding.get(symbol, ())[:-1]]
    return sum(rates, ZERO) / len(rates) if len(rates) >= FUNDING_HOURS_LEAST else None


def total_leverage(state: State, at: int) -> Decimal | None:
    """Notional of everything held and pending / equity; None when equity is unknown or gone."""
    if state.account is None or state.account.equity_usd <= 0:
        return None
    held, pending = held_sizes(state), still_pending(state, at)
    return notional_usd(state, held, pending) / state.account.equity_usd if held or pending else ZERO

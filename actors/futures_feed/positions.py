"""Positions and account as the futures feed tells them: what differs, by whatever is newest; a frame that lacks an execution says nothing. Pure."""

from __future__ import annotations

from decimal import Decimal

from msgspec.structs import replace

from actors.futures_feed.state import Answer, State
from protocol.messages.base import Message, follow
from protocol.messages.futures import (
    LIST_LAG_US,
    Account,
    AccountChanged,
    Position,
    PositionChanged,
    PositionsSeen,
    flat,
)


def tell_frame(state: State, seen: PositionsSeen) -> Answer:
    """A frame of the stream: of a symbol with an execution told that it lacks, it was late and says nothing."""
    sizes = sizes_of(seen.positions)
    late = tuple(s for s in state.filled if _late(state, seen, s, sizes.get(s, Decimal(0))))
    foretold, framed = _foretold(state, sizes, late), max(state.framed, seen.time or 0)
    state, out = tell_positions(state, seen, seen.positions, seen.at, trailing=late)
    said = {symbol: size for symbol, size in sizes.items() if symbol not in late}
    held = {symbol: size for symbol, size in state.held.items() if symbol in late}
    streamed = {symbol: size for symbol, size in state.told.streamed.items() if symbol in late}
    doubted = {symbol: since for symbol, since in state.doubted.items() if symbol in late}
    if (said | streamed, foretold) != (state.told.streamed, state.told.foretold):
        told = replace(state.told, streamed=said | streamed, foretold=foretold, framed=framed)
        state = replace(state, told=told)
    return replace(state, doubted=doubted, held=said | held, framed=framed), out


def _foretold(state: State, sizes: dict[str, Decimal], late: tuple[str, ...]) -> dict[str, Decimal]:
    """What frames show and no fill has told, by symbol; what was before the first of all is no news."""
    if not state.framed:
        return {}
    before = state.told.foretold
    told = {s: before.get(s, Decimal(0)) - state.held.get(s, Decimal(0)) for s in (*state.held, *before)}
    now = {s: told.get(s, Decimal(0)) + sizes.get(s, Decimal(0)) for s in (*told, *sizes)}
    kept = {s: size for s, size in before.items() if s in late}
    return {s: size for s, size in now.items() if size and s not in late} | kept


def tell_positions(
    state: State, cause: Message, listed: tuple[Position, ...], as_of: int, *, trailing: tuple[str, ...] = ()
) -> Answer:
    """Tell what differs. The list is whole: who is not in it is flat. Knowledge newer than `as_of` stands, and so does
    what is known of symbols in which the list is `trailing`.
    """
    by_symbol = {p.symbol: p for p in listed}
    absent = (s for s in (*state.symbols, *state.positions) if s not in by_symbol)
    every = {**by_symbol, **{s: flat(s) for s in absent}}
    positions, out = dict(state.positions), list[Message]()
    for symbol, seen in every.items():
        known = positions.get(symbol)
        if symbol in trailing:
            continue
        if known is None:
            positions[symbol] = (seen, as_of)
            out.append(follow(cause, PositionChanged, symbol, position=seen))
        elif known[1] <= as_of:
            position = _with_what_is_known(seen, known[0])
            positions[symbol] = (position, as_of)
            if _terms(position) != _terms(known[0]):
                out.append(follow(cause, PositionChanged, symbol, position=position))
    return replace(state, positions=positions), out


def _late(state: State, frame: PositionsSeen, symbol: str, size: Decimal) -> bool:
    """Whether a frame lacks an execution told lately: one that the exchange dates after it (storm 64360), or of its millisecond, where all
    that was told makes another size (storm 71699).
    """
    executed_at, told_at = state.filled[symbol]
    if frame.time is None or frame.at >= told_at + LIST_LAG_US:
        return False
    return frame.time < executed_at or (frame.time == executed_at and size != state.held.get(symbol, Decimal(0)))


def _with_what_is_known(seen: Position, known: Position) -> Position:
    """None means that this source does not say: of an unchanged position the last word stands."""
    if (seen.size, seen.entry_price) != (known.size, known.entry_price):
        return seen
    return replace(
        seen,
        liquidation_price=known.liquidation_price if seen.liquidation_price is None else seen.liquidation_price,
        margin_usd=known.margin_usd if seen.margin_usd is None else seen.margin_usd,
    )


def _terms(position: Position) -> tuple[object, ...]:
    """All but the unrealised profit, which changes with every mark and can be computed from it."""
    return position.size, position.entry_price, position.liquidation_price, position.margin_usd


def tell_account(state: State, cause: Message, account: Account, as_of: int) -> Answer:
    if state.account is not None and state.account[1] > as_of:
        return state, []
    same = state.account is not None and state.account[0] == account
    out: list[Message] = [] if same else [follow(cause, AccountChanged, account=account)]
    return replace(state, account=(account, as_of)), out


def sizes_of(positions: tuple[Position, ...]) -> dict[str, Decimal]:
    return {position.symbol: position.size for position in positions}


def is_less(said: Decimal, seen: Decimal) -> bool:
    """Whether a signed size is less than what was said, the other side included."""
    return (said - seen) * said > 0

"""Executions as the futures feed tells them: each once across restarts, and what it does to a position that lists may not show yet. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Final

from msgspec.structs import replace

from actors.futures_feed.market import ask_rules
from actors.futures_feed.state import Answer, State, Told, newest
from protocol.forced import forced
from protocol.ids import is_ours
from protocol.messages.base import Message, follow
from protocol.messages.futures import LIST_LAG_US, Fill, Filled

FILLS_KEPT: Final = 4_096
"""Fill ids remembered. The exchange repeats at most its last hundred or so."""


def tell_fills(state: State, cause: Message, fills: Iterable[Fill]) -> Answer:
    """Tell each execution not told before, oldest first; those of one millisecond in the order in which they came (storm 40404)."""
    told = state.told
    unheard = [_named(state, fill) for fill in fills if fill.fill_id not in told.fills]
    if not unheard:
        return state, []
    new = {fill.fill_id: fill for fill in sorted(unheard, key=lambda fill: fill.time) if not before_us(told, fill)}
    if not new:
        return state, []
    kept = newest({**told.fills, **dict.fromkeys(new)}, FILLS_KEPT)
    state, out = replace(state, told=replace(told, fills=kept)), list[Message]()
    for fill_id, fill in new.items():
        out.append(follow(cause, Filled, fill_id, fill=fill, before=_before(state, fill)))
        state = _counted(state, fill, cause.at)
    if not any(did.code == "SETTLED" for fill in new.values() if (did := forced(fill))):
        return state, out
    state, more = ask_rules(state, cause, "a position was settled")
    return state, [*out, *more]


def _foretold(state: State, fill: Fill) -> Decimal:
    """What the frames showed and no fill had told, if this fill is part of it."""
    foretold = state.told.foretold.get(fill.symbol, Decimal(0))
    shown = fill.time <= state.framed and foretold * fill.signed_size > 0 and fill.size <= abs(foretold)
    return foretold if shown else Decimal(0)


def _before(state: State, fill: Fill) -> Decimal:
    """The signed size held until a fill, by stream and fills."""
    return state.told.streamed.get(fill.symbol, Decimal(0)) - _foretold(state, fill)


def _counted(state: State, fill: Fill, at: int) -> State:
    """What a fill does to a position: take off what the stream said of it, or make it larger; a list may not show either yet. Of one that
    the stream called flat, or has not spoken of, the fill is the first word; the stream's next may be of what was before or after it.
    What a frame of the fill's millisecond showed of it already is not taken off again (storm 460120).
    """
    symbol = fill.symbol
    executed_at = max(fill.time, state.filled.get(symbol, (0, 0))[0])
    state = replace(state, filled={**state.filled, symbol: (executed_at, at)})
    before, foretold = _before(state, fill), _foretold(state, fill)
    if foretold:
        untold = {**state.told.foretold, symbol: foretold - fill.signed_size}
        state = replace(state, told=replace(state.told, foretold=untold))
    if fill.time < state.framed:
        return state  # the stream's word is from after it
    if not foretold:
        state = replace(state, held={**state.held, symbol: state.held.get(symbol, Decimal(0)) + fill.signed_size})
    told, after = state.told, before + fill.signed_size
    shown = told.streamed.get(symbol, Decimal(0))
    if (before - after) * before > 0:
        since, size = told.lessened.get(symbol, (at, before))
        less = (at, size if at < since + LIST_LAG_US else before)
        left = shown if foretold else after if after * before > 0 else Decimal(0)
        told = replace(told, streamed={**told.streamed, symbol: left}, lessened={**told.lessened, symbol: less})
    else:
        lessened = {other: less for other, less in told.lessened.items() if other != symbol}
        enlarged, streamed = {**told.enlarged, symbol: at}, {**told.streamed, symbol: shown or after}
        told = replace(told, streamed=streamed, enlarged=enlarged, lessened=lessened)
    return replace(state, told=told)


def with_ours(told: Told, fills: Sequence[Fill]) -> Told:
    """A first reading that lists executions of ours: the memory of an earlier life is lost, and the story began with the oldest of them."""
    ours = [fill.time for fill in fills if is_ours(fill.client_order_id)]
    if told.since is None or told.fills_until is not None or not ours:
        return told
    return replace(told, since=min(told.since, *ours))


def _named(state: State, fill: Fill) -> Fill:
    """The fill with our name for its order, where the frame left it out."""
    if fill.client_order_id is not None or fill.order_id not in state.names:
        return fill
    return replace(fill, client_order_id=state.names[fill.order_id])


def before_us(told: Told, fill: Fill) -> bool:
    """Whether it is history of the account from before the first life, and not of our making."""
    if told.lost or told.since is None:
        return False
    return fill.time < told.since and not is_ours(fill.client_order_id)

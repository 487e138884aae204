"""What the kill switch has sent, and what became of it: nothing is said twice that may still work, and all that came to nothing is said
again. Pure; knows neither latch nor list.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Final

import msgspec
from msgspec.structs import replace

from protocol.kraken.faults import judge
from protocol.messages.base import Message
from protocol.messages.futures import (
    CancelOrder,
    Fill,
    Filled,
    ModeChanged,
    OrderGone,
    OrderRejected,
    OrderUnknown,
    PlaceOrder,
    Position,
)
from protocol.units import SECOND_US

AGAIN_US: Final = SECOND_US
REFUSED_AGAIN_US: Final = 5 * SECOND_US
"""Between attempts to leave that are refused again and again: soon after a market reopens, and no loop meanwhile (fault-catalogue 36)."""
REFUSED_MOST: Final = 3
"""Refusals in a row after which a flatten is said that seldom. Of a closed market one is enough, whatever is answered after it (storm 70010),
and none is needed where it was told closed: every answer may be lost (storm 70042).
"""
UNHEARD_MOST: Final = 3
"""Time-outs after which a flatten that nothing was heard of is said anew."""
CANCELS_APART: Final = 3
"""By so much longer it waits, twice, before an order is cancelled again: a crowd of orders that stay must not use up the rate."""
SIZES_KEPT: Final = 64
FLATTENS_KEPT: Final = 64

Wish = PlaceOrder | CancelOrder


class Flattening(msgspec.Struct, frozen=True, kw_only=True):
    """A symbol's last flatten, and the signed sizes that its position has had since the first one, newest last."""

    name: str
    sizes: tuple[Decimal, ...]


class Effort(msgspec.Struct, frozen=True, kw_only=True):
    """Orders by name, markets by symbol, times in microseconds."""

    patience_us: int
    """So long an answer may take."""
    sent: dict[str, int] = {}
    """When each symbol was last flattened and each order last cancelled: a reading that may not show the effect yet is no reason to sell twice."""
    awaited: tuple[str, ...] = ()
    """Symbols and orders of the last reading's wishes whose effect nobody has told yet."""
    asked_for: dict[str, str] = {}
    """By symbol the flatten that nothing was heard of yet."""
    refused: dict[str, int] = {}
    """By symbol the flattens refused in a row, a closed market's counting in full."""
    closed: tuple[str, ...] = ()
    """Markets told closed."""
    cancels: dict[str, int] = {}
    """How often each order was cancelled."""
    flattening: dict[str, Flattening] = {}
    """What our fills have left of each symbol."""
    flattens: tuple[str, ...] = ()
    """The newest of our flattens, newest last."""


# --- what is sent ----------------------------------------------------------------------------------------------------


def said(effort: Effort, wishes: Sequence[Wish], at: int, left: Mapping[str, Position]) -> Effort:
    """All wishes of one reading leave. `left`: what there is to flatten of each symbol."""
    places = [wish for wish in wishes if isinstance(wish, PlaceOrder)]
    asked_for = {wish.symbol: wish.client_order_id for wish in places}
    flattening = {wish.symbol: _flattening(effort, wish, left[wish.symbol].size) for wish in places}
    cancels = {
        wish.subject: effort.cancels.get(wish.subject, 0) + 1 for wish in wishes if isinstance(wish, CancelOrder)
    }
    return replace(
        effort,
        flattening={**effort.flattening, **flattening},
        cancels={**effort.cancels, **cancels},
        sent={**effort.sent, **{_subject(wish): at for wish in wishes}},
        asked_for={**effort.asked_for, **asked_for},
        flattens=(*effort.flattens, *asked_for.values())[-FLATTENS_KEPT:],
        awaited=tuple(_subject(wish) for wish in wishes),
    )


def _flattening(effort: Effort, wish: PlaceOrder, size: Decimal) -> Flattening:
    """What follows from now on of a symbol that is flattened."""
    last = effort.flattening.get(wish.symbol)
    before = () if last is None else last.sizes
    sizes = before if before[-1:] == (size,) else (*before, size)[-SIZES_KEPT:]
    return Flattening(name=wish.client_order_id, sizes=sizes)


def _subject(wish: Wish) -> str:
    """What a wish is about: a symbol to flatten, or an order to cancel."""
    return wish.symbol if isinstance(wish, PlaceOrder) else wish.subject


def may_work_yet(effort: Effort, wish: Wish, at: int, began_at: int) -> bool:
    """Whether a wish was sent so late that a reading which began then need not show its effect; or an order's cancel may still be
    answered: said again with each reading, cancels would queue up before the flatten that follows them.
    """
    sent = effort.sent.get(_subject(wish))
    if sent is None:
        return False
    if isinstance(wish, CancelOrder):
        before = min(max(effort.cancels.get(wish.subject, 0) - 1, 0), 2)
        patience_us: int = effort.patience_us * CANCELS_APART**before
        return at < sent + patience_us
    if wish.symbol in effort.asked_for and at < sent + UNHEARD_MOST * effort.patience_us:
        return True  # it may still wait behind a cancel whose reply is lost: said each second, flattens would queue up and leave as one
    in_vain = wish.symbol in effort.closed or effort.refused.get(wish.symbol, 0) >= REFUSED_MOST
    return began_at < sent + (REFUSED_AGAIN_US if in_vain else AGAIN_US)


# --- what is heard of it ---------------------------------------------------------------------------------------------


def heard(effort: Effort, message: Message) -> Effort:
    """A flatten is answered by whatever names it: its fill, its end, a refusal, doubt. Refusals are counted."""
    if not (effort.asked_for or effort.flattening or isinstance(message, ModeChanged)):
        return effort  # nothing of ours is on its way
    match message:
        case Filled(fill=fill):
            effort, name = _reduced(effort, fill), fill.client_order_id
        case OrderRejected(client_order_id=name) | OrderUnknown(client_order_id=name) | OrderGone(client_order_id=name):
            pass
        case ModeChanged():
            return _mode(effort, message)
        case _:
            return effort
    symbol = next((symbol for symbol, asked in effort.asked_for.items() if asked == name), None)
    if symbol is None:
        return effort
    left = {other: asked for other, asked in effort.asked_for.items() if other != symbol}
    refused = {**effort.refused, symbol: _refusals(effort.refused.get(symbol, 0), message)}
    closed = tuple(other for other in effort.closed if other != symbol or not isinstance(message, Filled))
    return replace(effort, asked_for=left, refused=refused, closed=closed)


def _refusals(before: int, answer: Message) -> int:
    """How often in a row a flatten was refused, with this answer. Doubt and a refusal for the rate of our requests say nothing of it."""
    match answer:
        case Filled() | OrderGone():
            return 0
        case OrderRejected(status=status, limited=False):
            return REFUSED_MOST if judge(status).kind == "mode" else before + 1
        case _:
            return before


def _mode(effort: Effort, told: ModeChanged) -> Effort:
    """A market that opens begins anew: refusals of before say nothing of it."""
    others = tuple(symbol for symbol in effort.closed if symbol != told.symbol)
    if told.mode:
        return replace(effort, closed=(*others, told.symbol))
    return replace(effort, closed=others, refused={**effort.refused, told.symbol: 0})


def _reduced(effort: Effort, fill: Fill) -> Effort:
    """What a fill of a flatten leaves."""
    last = effort.flattening.get(fill.symbol)
    if last is None or last.name != fill.client_order_id:
        return effort
    left = last.sizes[-1] + fill.signed_size
    last = replace(last, sizes=(*last.sizes, left)[-SIZES_KEPT:])
    return replace(effort, flattening={**effort.flattening, fill.symbol: last})


def happened(effort: Effort, *names: str | None) -> Effort:
    """Somebody told an effect on these symbols and orders."""
    awaited = tuple(name for name in effort.awaited if name not in names)
    return effort if len(awaited) == len(effort.awaited) else replace(effort, awaited=awaited)


def left_of(effort: Effort, position: Position, since: Decimal) -> Position:
    """A listed position less what our flattens have filled of it: a list that shows it as it was before them is stale (fault-catalogue 20).

    Where they leave nothing, what fills say has come `since` is left (storm 76154). Where that is nothing either they do not count against a
    list: whatever it shows is flattened.
    """
    last = effort.flattening.get(position.symbol)
    if last is None or position.size not in last.sizes:
        return position
    left = last.sizes[-1] or since
    return replace(position, size=left) if left * position.size > 0 else position


def over(effort: Effort) -> Effort:
    """All is flat: what was refused and cancelled on the way there counts no more."""
    return replace(effort, refused={}, flattening={}, cancels={})

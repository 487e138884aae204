"""A reading of the truth as the futures feed tells it: its news first, then itself, and of which symbols it proves nothing. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from msgspec.structs import replace

from actors.futures_feed.fills import before_us, tell_fills, with_ours
from actors.futures_feed.orders import learn, tell_order
from actors.futures_feed.positions import is_less, sizes_of, tell_account, tell_positions
from actors.futures_feed.state import Answer, State
from protocol.forced import forced
from protocol.margin import asked_usd, unexplained_usd
from protocol.messages.base import follow
from protocol.messages.futures import LIST_LAG_US, ExchangeSnapshot, Position, SnapshotSeen


def tell_snapshot(state: State, seen: SnapshotSeen) -> Answer:
    """Fills first, so that whoever compares has booked them; then what differs; then the truth itself, verbatim.

    Orders missing from the list are not told as gone: one list is no proof. The reconciler asks for a second.
    """
    state = learn(state, ((order.order_id, order.client_order_id) for order in seen.orders))
    state = replace(state, told=with_ours(state.told, seen.fills))
    state, out = tell_fills(state, seen, seen.fills)
    newest = max((fill.time for fill in seen.fills), default=0)
    if newest > (state.told.fills_until or 0):
        state = replace(state, told=replace(state.told, fills_until=newest))
    for order in seen.orders:
        if _proves(state, order.order_id, seen.began_at):
            if order.order_id in state.gone:
                state = replace(state, gone={k: v for k, v in state.gone.items() if k != order.order_id})
            state, more = tell_order(state, seen, order, is_open=True)
            out += more
    listed = {order.order_id for order in seen.orders}
    orders = {k: v for k, v in state.orders.items() if k in listed or v[1] >= seen.began_at}
    sizes = sizes_of(seen.positions)
    trailing = _trailing(state, sizes, seen.began_at)
    state, unproved = _proved(replace(state, orders=orders), seen, trailing)
    state, positions = tell_positions(state, seen, seen.positions, seen.began_at, trailing=(*trailing, *unproved))
    state, account = tell_account(state, seen, seen.account, seen.began_at)
    truth = follow(
        seen,
        ExchangeSnapshot,
        began_at=seen.began_at,
        orders=seen.orders,
        positions=seen.positions,
        account=seen.account,
        unproved=unproved,
        lacks=_lacked(state, sizes, (*unproved, *trailing)),
        forced=tuple(fill for fill in seen.fills if forced(fill) and not before_us(state.told, fill)),
    )
    return state, [*out, *positions, *account, truth]


def _lacked(state: State, listed: dict[str, Decimal], doubted: Sequence[str]) -> tuple[Position, ...]:
    """What stream and fills say is held, in this life and before, where a list that may not know it shows less."""
    said = (
        (s, size)
        for s, size in state.told.streamed.items()
        if s in doubted and is_less(size, listed.get(s, Decimal(0)))
    )
    return tuple(Position(symbol=symbol, size=size, entry_price=Decimal(0)) for symbol, size in said)


def _proves(state: State, order_id: str, began_at: int) -> bool:
    """Whether a list begun at `began_at` can be set against what the stream last said of the order."""
    if order_id in state.gone:
        return began_at > state.gone[order_id] + LIST_LAG_US
    return order_id not in state.orders or state.orders[order_id][1] < began_at


def _proved(state: State, seen: SnapshotSeen, trailing: tuple[str, ...]) -> tuple[State, tuple[str, ...]]:
    """Take over what two lists in a row say against the stream, which was silent between them; name what this list does not prove.

    A wrong list would take the stop from a held position: it is no second either while the account uses margin for more than it shows.
    What fills took off is no longer the stream's word, and needs no second list.
    """
    told, listed, began_at = state.told, sizes_of(seen.positions), seen.began_at
    less = [s for s, size in told.streamed.items() if is_less(size, listed.get(s, Decimal(0))) and s not in trailing]
    if not less:
        return replace(state, doubted={}), ()
    hidden = _hidden(state, seen, less)
    doubted = {s: state.doubted.get(s, began_at) for s in less if hidden or began_at <= state.doubted.get(s, began_at)}
    agreed = {s: listed.get(s, Decimal(0)) for s in less if s not in doubted}
    if agreed:
        told = replace(told, streamed={**told.streamed, **agreed})
    return replace(state, doubted=doubted, told=told), tuple(doubted)


def _hidden(state: State, seen: SnapshotSeen, less: Sequence[str]) -> bool:
    """Whether the account uses margin for more than is listed; or, as that may be small beside the rest, rather for what is doubted than not."""
    used, asked = seen.account.initial_margin_usd, asked_usd(seen.positions, state.instruments)
    if asked is None or unexplained_usd(used, asked) > 0:
        return asked is not None
    doubted = {s: replace(state.positions[s][0], size=state.told.streamed[s]) for s in less if s in state.positions}
    others = (position for position in seen.positions if position.symbol not in doubted)
    whole = asked_usd((*others, *doubted.values()), state.instruments) if doubted else None
    return whole is not None and abs(used - whole) < abs(used - asked)


def _trailing(state: State, listed: dict[str, Decimal], began_at: int) -> tuple[str, ...]:
    """Where a list shows what may have been before a fill: less than the stream said and no fill took off, soon after one that made it
    larger, or what was held, soon after one that made it smaller.
    """
    told, since = state.told, began_at - LIST_LAG_US

    def before_a_fill(symbol: str) -> bool:
        size, seen = told.streamed.get(symbol, Decimal(0)), listed.get(symbol, Decimal(0))
        lessened_at, most = told.lessened.get(symbol, (-LIST_LAG_US, Decimal(0)))
        less = is_less(size, seen) and since < told.enlarged.get(symbol, -LIST_LAG_US)
        more = (seen - size) * most > 0 and abs(seen) <= abs(most) and since < lessened_at
        return less or more

    return tuple(symbol for symbol in dict.fromkeys((*told.streamed, *told.lessened)) if before_a_fill(symbol))

"""The one way in for facts about our futures account: each told once, newest wins, whatever way and however often it came.

Streams, replies and REST tell the same events in any order. Here they become one story: fills de-duplicated by the
exchange's fill id across restarts, older frames dropped, snapshots never set against a newer event of the stream.
Knows no trade, no strategy and no limit; judges nothing but the frames.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Final, TypeVar

import msgspec
from msgspec.structs import replace

from actors.futures_feed.market import DAILY, ask_rules, instruments, refused_by_rules, ticker
from actors.futures_feed.standing import ALREADY_THERE, burst, clock_off, key_refused, let_go, limited
from actors.futures_feed.state import Answer, State, Told
from config.settings import Settings
from protocol.forced import forced
from protocol.ids import is_ours
from protocol.kraken.faults import judge
from protocol.margin import asked_usd, unexplained_usd
from protocol.messages.base import Message, follow
from protocol.messages.control import Alert, Started, Woken
from protocol.messages.futures import (
    LIST_LAG_US,
    Account,
    AccountChanged,
    AccountSeen,
    CommandAnswered,
    ExchangeSnapshot,
    Fill,
    Filled,
    FillSeen,
    InstrumentsSeen,
    OpenOrder,
    OrderAccepted,
    OrderGone,
    OrderRejected,
    OrderSeen,
    OrderUnknown,
    Position,
    PositionChanged,
    PositionsSeen,
    SnapshotFailed,
    SnapshotMissed,
    SnapshotSeen,
    TickerSeen,
    flat,
)
from protocol.units import seconds_us

FILLS_KEPT: Final = 4_096
"""Fill ids remembered. The exchange repeats at most its last hundred or so."""
ORDERS_KEPT: Final = 1_024
"""Orders remembered as gone, and orders whose client id is remembered."""


T = TypeVar("T")

_encoder = msgspec.json.Encoder(order="deterministic")
_decoder = msgspec.json.Decoder(Told)


def initial(settings: Settings, memory: bytes | None, *, lost: bool = False) -> State:
    """A life that has told nothing but the fills in `memory`. Raises msgspec.ValidationError when that is not ours.

    `lost`: there was a memory and it cannot be read.
    """
    return State(
        symbols=tuple(pair.futures for pair in settings.symbols),
        told=Told(lost=lost) if memory is None else _decoder.decode(memory),
        clock_off_max_us=seconds_us(settings.feeds.clock_off_max_s),
    )


def fills_until(memory: bytes | None) -> int | None:
    """How far the lives that left `memory` have told fills without a gap: the first reading of the next begins there.

    Lives that never read a fill leave the beginning of the first; None when there was no life.
    """
    if memory is None:
        return None
    told = _decoder.decode(memory)
    return told.since if told.fills_until is None else told.fills_until


def durable(state: State) -> bytes:
    """The fills told, as `initial` takes them."""
    return _encoder.encode(state.told)


def remembered(state: State) -> object:
    """Changes exactly when `durable` would."""
    return state.told


def step(state: State, message: Message) -> tuple[State, tuple[Message, ...]]:
    """One frame in, what is new in it out."""
    match message:
        case TickerSeen():
            state, out = ticker(state, message)
        case OrderSeen():
            order = message.order
            state = _learn(state, ((order.order_id, order.client_order_id),))
            state, out = _order(state, message, order, is_open=message.open, reason=message.reason)
        case FillSeen():
            state, out = _fills(state, message, (message.fill,))
        case PositionsSeen(sequence=sequence) if _newer(sequence, state.positions_sequence):
            state, out = _frame(replace(state, positions_sequence=sequence), message)
        case AccountSeen(sequence=sequence) if _newer(sequence, state.account_sequence):
            state, out = _account(replace(state, account_sequence=sequence), message, message.account, message.at)
        case InstrumentsSeen():
            # Every connection begins with them; a frame that a truth has overtaken is still an old one (storm 52405).
            state, out = instruments(_uncounted(state), message)
        case CommandAnswered():
            state = _learn(state, ((message.order_id, message.client_order_id),))
            state, out = key_refused(state, message, message.action, message.status, "order")
            state, rules = refused_by_rules(state, message, message.status)
            state, slowed = limited(state, message, message.status)
            state, many = burst(state, message)
            answers = _answered(message)
            state = _untold(state, answers)
            out += [*answers, *rules, *slowed, *many]
        case SnapshotSeen():
            state, out = key_refused(state, message, "", "", "read")
            state, off = clock_off(state, message)
            state, more = _snapshot(state, message)
            out += [*off, *more]
        case SnapshotFailed():
            state, out = key_refused(state, message, message.action or "retry", message.reason, "read")
            state, more = limited(state, message, message.reason.rpartition(": ")[2])
            missed = follow(
                message, SnapshotMissed, reason=message.reason, action=message.action, readable=message.readable
            )
            out += [missed, *more]
        case Started():
            state, out = _started(state, message), let_go(message)
        case Woken(key=key) if key == DAILY:
            state, out = ask_rules(state, message, "a day has passed")
        case _:
            return state, ()
    return state, tuple(out)


def _newer(sequence: int, newest: int | None) -> bool:
    return newest is None or sequence > newest


def _started(state: State, cause: Started) -> State:
    """A new connection counts its frames anew; the first life of all begins the story."""
    told = state.told if state.told.since is not None else replace(state.told, since=cause.at)
    return _uncounted(replace(state, told=told))


def _uncounted(state: State) -> State:
    """Any number may be the first of a stream that connected anew."""
    return replace(state, positions_sequence=None, account_sequence=None)


# --- orders ----------------------------------------------------------------------------------------------------


def _learn(state: State, pairs: Iterable[tuple[str | None, str | None]]) -> State:
    """Remember which client id belongs to which order."""
    new = {order_id: name for order_id, name in pairs if order_id and name and state.names.get(order_id) != name}
    return replace(state, names=_newest({**state.names, **new}, ORDERS_KEPT)) if new else state


def _order(state: State, cause: Message, order: OpenOrder, *, is_open: bool, reason: str = "") -> Answer:
    """An event of one order. Ids are never used twice, so an order that is gone stays gone."""
    key = order.order_id
    if key in state.gone:
        return state, []
    known = state.orders[key][0] if key in state.orders else None
    if order.client_order_id is None:
        order = replace(order, client_order_id=state.names.get(key))
    if is_open:
        state = replace(state, orders={**state.orders, key: (order, cause.at)})
        return state, [] if known == order else [follow(cause, OrderAccepted, key, order=order)]
    orders = {k: v for k, v in state.orders.items() if k != key}
    gone = follow(
        cause,
        OrderGone,
        key,
        client_order_id=order.client_order_id,
        order_id=key,
        symbol=order.symbol or (known.symbol if known else ""),
        reason=reason,
    )
    return replace(state, orders=orders, gone=_newest({**state.gone, key: cause.at}, ORDERS_KEPT)), [gone]


def _newest(kept: dict[str, T], most: int) -> dict[str, T]:
    """The last `most` entries, in order."""
    return kept if len(kept) <= most else dict(list(kept.items())[-most:])


def _answered(answer: CommandAnswered) -> list[Message]:
    """Refusals and doubts. What did happen is told by the events themselves, not by the word of the answer."""
    rejected = answer.outcome in {"rejected", "not_found"}
    unknown = answer.outcome == "unknown" or (rejected and answer.status in ALREADY_THERE)
    if not (rejected or unknown):
        return []
    if answer.client_order_id is None:
        code = "ORDER_UNKNOWN" if unknown else "ORDER_REJECTED"
        text = f"{answer.symbol}: {answer.wish} of order {answer.order_id}: {answer.outcome}, {answer.status}"
        return [follow(answer, Alert, code=code, severity="warning", text=text)]
    if unknown:
        return [
            follow(answer, OrderUnknown, client_order_id=answer.client_order_id, symbol=answer.symbol, wish=answer.wish)
        ]
    return [
        follow(
            answer,
            OrderRejected,
            client_order_id=answer.client_order_id,
            symbol=answer.symbol,
            wish=answer.wish,
            status=answer.status,
            limited=answer.action == "retry" or judge(answer.status).kind == "rate",
        )
    ]


def _untold(state: State, answers: Sequence[Message]) -> State:
    """Whoever hears that an order is in doubt waits for evidence: it is told anew when it shows, whatever was told before (storm 32448)."""
    doubted = [answer.client_order_id for answer in answers if isinstance(answer, OrderUnknown)]
    if not doubted:
        return state
    return replace(state, orders={k: v for k, v in state.orders.items() if v[0].client_order_id not in doubted})


# --- fills -----------------------------------------------------------------------------------------------------


def _fills(state: State, cause: Message, fills: Iterable[Fill]) -> Answer:
    """Tell each execution not told before, oldest first; those of one millisecond in the order in which they came (storm 40404)."""
    told = state.told
    named = (_named(state, fill) for fill in fills if fill.fill_id not in told.fills)
    new = {fill.fill_id: fill for fill in sorted(named, key=lambda fill: fill.time) if not _before_us(told, fill)}
    if not new:
        return state, []
    kept = _newest({**told.fills, **dict.fromkeys(new)}, FILLS_KEPT)
    state, out = replace(state, told=replace(told, fills=kept)), list[Message]()
    for fill_id, fill in new.items():
        out.append(follow(cause, Filled, fill_id, fill=fill, before=state.told.streamed.get(fill.symbol, Decimal(0))))
        state = _counted(state, fill, cause.at)
    if not any(did.code == "SETTLED" for fill in new.values() if (did := forced(fill))):
        return state, out
    state, more = ask_rules(state, cause, "a position was settled")
    return state, [*out, *more]


def _counted(state: State, fill: Fill, at: int) -> State:
    """What a fill does to a position: take off what the stream said of it, or make it larger; a list may not show either yet. Of one that
    the stream called flat, or has not spoken of, the fill is the first word; the stream's next may be of what was before or after it.
    """
    told, symbol = state.told, fill.symbol
    executed_at = max(fill.time, state.filled.get(symbol, (0, 0))[0])
    state = replace(state, filled={**state.filled, symbol: (executed_at, at)})
    if fill.time < state.framed:
        return state  # the stream's word is from after it
    state = replace(state, held={**state.held, symbol: state.held.get(symbol, Decimal(0)) + fill.signed_size})
    before = told.streamed.get(symbol, Decimal(0))
    after = before + fill.signed_size
    if (before - after) * before > 0:
        since, size = told.lessened.get(symbol, (at, before))
        less = (at, size if at < since + LIST_LAG_US else before)
        left = after if after * before > 0 else Decimal(0)
        told = replace(told, streamed={**told.streamed, symbol: left}, lessened={**told.lessened, symbol: less})
    else:
        lessened = {other: less for other, less in told.lessened.items() if other != symbol}
        enlarged, streamed = {**told.enlarged, symbol: at}, {**told.streamed, symbol: before or after}
        told = replace(told, streamed=streamed, enlarged=enlarged, lessened=lessened)
    return replace(state, told=told)


def _with_ours(told: Told, fills: Sequence[Fill]) -> Told:
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


def _before_us(told: Told, fill: Fill) -> bool:
    """Whether it is history of the account from before the first life, and not of our making."""
    if told.lost or told.since is None:
        return False
    return fill.time < told.since and not is_ours(fill.client_order_id)


# --- positions and account -----------------------------------------------------------------------------------------


def _positions(
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


def _frame(state: State, seen: PositionsSeen) -> Answer:
    """A frame of the stream: of a symbol with an execution told that it lacks, it was late and says nothing."""
    sizes = _sizes(seen.positions)
    late = tuple(s for s in state.filled if _late(state, seen, s, sizes.get(s, Decimal(0))))
    state = replace(state, framed=max(state.framed, seen.time or 0))
    state, out = _positions(state, seen, seen.positions, seen.at, trailing=late)
    said = {symbol: size for symbol, size in sizes.items() if symbol not in late}
    held = {symbol: size for symbol, size in state.held.items() if symbol in late}
    streamed = {symbol: size for symbol, size in state.told.streamed.items() if symbol in late}
    doubted = {symbol: since for symbol, since in state.doubted.items() if symbol in late}
    return _streamed(replace(state, doubted=doubted, held=said | held), said | streamed), out


def _late(state: State, frame: PositionsSeen, symbol: str, size: Decimal) -> bool:
    """Whether a frame lacks an execution told lately: one that the exchange dates after it (storm 64360), or of its millisecond, where all
    that was told makes another size (storm 71699).
    """
    executed_at, told_at = state.filled[symbol]
    if frame.time is None or frame.at >= told_at + LIST_LAG_US:
        return False
    return frame.time < executed_at or (frame.time == executed_at and size != state.held.get(symbol, Decimal(0)))


def _streamed(state: State, sizes: dict[str, Decimal]) -> State:
    """What the stream says is held, kept where that changed."""
    return state if sizes == state.told.streamed else replace(state, told=replace(state.told, streamed=sizes))


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


def _account(state: State, cause: Message, account: Account, as_of: int) -> Answer:
    if state.account is not None and state.account[1] > as_of:
        return state, []
    same = state.account is not None and state.account[0] == account
    out: list[Message] = [] if same else [follow(cause, AccountChanged, account=account)]
    return replace(state, account=(account, as_of)), out


# --- snapshots -------------------------------------------------------------------------------------------------


def _snapshot(state: State, seen: SnapshotSeen) -> Answer:
    """Fills first, so that whoever compares has booked them; then what differs; then the truth itself, verbatim.

    Orders missing from the list are not told as gone: one list is no proof. The reconciler asks for a second.
    """
    state = _learn(state, ((order.order_id, order.client_order_id) for order in seen.orders))
    state = replace(state, told=_with_ours(state.told, seen.fills))
    state, out = _fills(state, seen, seen.fills)
    newest = max((fill.time for fill in seen.fills), default=0)
    if newest > (state.told.fills_until or 0):
        state = replace(state, told=replace(state.told, fills_until=newest))
    for order in seen.orders:
        if _proves(state, order.order_id, seen.began_at):
            if order.order_id in state.gone:
                state = replace(state, gone={k: v for k, v in state.gone.items() if k != order.order_id})
            state, more = _order(state, seen, order, is_open=True)
            out += more
    listed = {order.order_id for order in seen.orders}
    orders = {k: v for k, v in state.orders.items() if k in listed or v[1] >= seen.began_at}
    sizes = _sizes(seen.positions)
    trailing = _trailing(state, sizes, seen.began_at)
    state, unproved = _proved(replace(state, orders=orders), seen, trailing)
    state, positions = _positions(state, seen, seen.positions, seen.began_at, trailing=(*trailing, *unproved))
    state, account = _account(state, seen, seen.account, seen.began_at)
    truth = follow(
        seen,
        ExchangeSnapshot,
        began_at=seen.began_at,
        orders=seen.orders,
        positions=seen.positions,
        account=seen.account,
        unproved=unproved,
        lacks=_lacked(state, sizes, (*unproved, *trailing)),
        forced=tuple(fill for fill in seen.fills if forced(fill) and not _before_us(state.told, fill)),
    )
    return state, [*out, *positions, *account, truth]


def _lacked(state: State, listed: dict[str, Decimal], doubted: Sequence[str]) -> tuple[Position, ...]:
    """What stream and fills say is held, in this life and before, where a list that may not know it shows less."""
    said = (
        (s, size) for s, size in state.told.streamed.items() if s in doubted and _less(size, listed.get(s, Decimal(0)))
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
    told, listed, began_at = state.told, _sizes(seen.positions), seen.began_at
    less = [s for s, size in told.streamed.items() if _less(size, listed.get(s, Decimal(0))) and s not in trailing]
    hidden = _hidden(state, seen, less)
    doubted = {s: state.doubted.get(s, began_at) for s in less if hidden or began_at <= state.doubted.get(s, began_at)}
    agreed = {s: listed.get(s, Decimal(0)) for s in less if s not in doubted}
    return _streamed(replace(state, doubted=doubted), {**told.streamed, **agreed}), tuple(doubted)


def _hidden(state: State, seen: SnapshotSeen, less: Sequence[str]) -> bool:
    """Whether the account uses margin for more than is listed; or, as that may be small beside the rest, rather for what is doubted than not."""
    used, asked = seen.account.initial_margin_usd, asked_usd(seen.positions, state.instruments)
    if asked is None or unexplained_usd(used, asked) > 0:
        return asked is not None
    doubted = {s: replace(state.positions[s][0], size=state.told.streamed[s]) for s in less if s in state.positions}
    others = (position for position in seen.positions if position.symbol not in doubted)
    whole = asked_usd((*others, *doubted.values()), state.instruments) if doubted else None
    return whole is not None and abs(used - whole) < abs(used - asked)


def _sizes(positions: tuple[Position, ...]) -> dict[str, Decimal]:
    return {position.symbol: position.size for position in positions}


def _less(said: Decimal, seen: Decimal) -> bool:
    """Whether a signed size is less than what was said, the other side included."""
    return (said - seen) * said > 0


def _trailing(state: State, listed: dict[str, Decimal], began_at: int) -> tuple[str, ...]:
    """Where a list shows what may have been before a fill: less than the stream said and no fill took off, soon after one that made it
    larger, or what was held, soon after one that made it smaller.
    """
    told, since = state.told, began_at - LIST_LAG_US

    def before_a_fill(symbol: str) -> bool:
        size, seen = told.streamed.get(symbol, Decimal(0)), listed.get(symbol, Decimal(0))
        lessened_at, most = told.lessened.get(symbol, (-LIST_LAG_US, Decimal(0)))
        less = _less(size, seen) and since < told.enlarged.get(symbol, -LIST_LAG_US)
        more = (seen - size) * most > 0 and abs(seen) <= abs(most) and since < lessened_at
        return less or more

    return tuple(symbol for symbol in dict.fromkeys((*told.streamed, *told.lessened)) if before_a_fill(symbol))

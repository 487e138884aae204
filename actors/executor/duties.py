"""What a trade owes at any moment, as a table of duties looked at after every message. Pure.

A duty compares what should be with what is known and says what is lacking. Nothing is remembered of how we came here, so a
partial fill, a lost stop, a late answer and a restart are one case: whatever is missing is made whole.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from msgspec.structs import replace

from actors.executor.exits import beyond
from actors.executor.orders import TERMINAL, Order, advance, forget_wishes
from actors.executor.trade import ZERO, Trade, adopt, average, pnl_usd, r_multiple, update
from actors.executor.wishes import NOTHING, Desk, Result, alert, cancel, edit, leave, place, resend
from protocol.messages.base import Message, follow
from protocol.messages.control import Severity
from protocol.messages.futures import Protected, Role, TradeClosed
from protocol.units import SECOND_US, seconds_us

NOT_FILLING_US: Final = 2 * SECOND_US
"""A stop that should have filled for this long is no protection (invariant 1)."""
STOP_AGAIN_US: Final = SECOND_US
"""After a second at Kraken's rate there are points for five orders; a market order to leave would be refused as the stop was."""
CUT_FOR_US: Final = SECOND_US
"""The exchange cuts an order that reduces with the position itself; the fill that explains it is told sooner."""
ADOPT_AFTER_S: Final = 5
"""Beyond one reconcile period: by then every fill the exchange knows has been told."""
RETRY_FIRST_US: Final = 2 * SECOND_US
RETRY_MOST_US: Final = 30 * SECOND_US
NEXT_PART_US: Final = SECOND_US
ABSENT_PASSES: Final = 2
"""Complete reads of the truth, begun after its deadline, that prove an entry without a fill never was (invariant 15)."""
STOPS_MAX: Final = 5
TARGETS_MAX: Final = 3
"""So many attempts to keep a stop or a target on the exchange, then other means: flattening, watching the mark."""
Duty = Callable[[Desk, Trade], Result]


def covered(trade: Trade, stop: Order | None) -> bool:
    """Whether a stop known to rest covers all that is held."""
    held = trade.cover
    if stop is None or not stop.resting or stop.resting_size is None:
        return held == 0
    return (stop.resting_size - stop.filled if stop.filled else stop.resting_size) >= held


# --- duties --------------------------------------------------------------------------------------------------


def expect_answer(desk: Desk, trade: Trade) -> Result:
    """An entry nobody answered in time is of unknown outcome; one unknown for too long is a person's business."""
    entry = trade.entry
    if entry is not None and entry.state == "pending" and desk.at >= trade.entry_until:
        trade = update(trade, advance(entry, "unanswered", desk.at))
        trade = replace(trade, unknown_since=trade.unknown_since or desk.at)
        return trade, (alert(desk.cause, "ORDER_UNKNOWN", "warning", trade.plan.symbol, "no answer to the entry"),)
    if trade.unknown_since is None or desk.at < trade.unknown_since + seconds_us(desk.execution.unknown_within_s):
        return trade, NOTHING
    trade = replace(trade, unknown_since=None)
    if entry is None or entry.state != "unknown":
        return trade, NOTHING
    text = f"entry {entry.client_order_id} of {entry.size} is still of unknown outcome"
    return trade, (alert(desk.cause, "ORDER_UNKNOWN", "critical", trade.plan.symbol, text),)


def believe_position(desk: Desk, trade: Trade) -> Result:
    """The exchange's position outranks our fills once every fill it knows has had time to be told."""
    return (trade, NOTHING) if not disputed(trade) or desk.at < adopt_at(desk, trade) else believe(desk, trade)


def believe(desk: Desk, trade: Trade) -> Result:
    """Take over a disputed position as the exchange says it is, and say so."""
    price = desk.mark.mark if desk.mark else trade.plan.reference
    text = f"position is {trade.position}, our fills say {trade.held}; taken over at mark {price}"
    said = alert(desk.cause, "FOREIGN_FILL", "critical", trade.plan.symbol, text)
    return adopt(trade, price, desk.at), (said,)


def disputed(trade: Trade) -> bool:
    """Whether the exchange's newer word differs from our fills."""
    return trade.position_fresh and trade.position is not None and max(trade.position, ZERO) != trade.held


def adopt_at(desk: Desk, trade: Trade) -> int:
    """When a disputed position is taken over without a reconciliation having said so."""
    return trade.position_at + seconds_us(desk.execution.reconcile_s + ADOPT_AFTER_S)


def finish(desk: Desk, trade: Trade) -> Result:
    """Flat by every account: cancel what still rests, and tell the result. Beside what a stranger holds the stop stays until a later pass is
    through (`decide.sweep`), as what is held gets one of its own before that (storm 521839).
    """
    if not trade.flat:
        return trade, NOTHING
    rests = [order for order in trade.orders if order.live and not (trade.beside and order.role == "stop")]
    cancels = [cancel(desk.cause, trade.plan.symbol, order.client_order_id) for order in rests]
    return trade, (*cancels, *result(desk, trade))


def result(desk: Desk, trade: Trade) -> Sequence[Message]:
    """What came of a trade."""
    plan, said = trade.plan, list[Message]()
    if trade.fees_estimated:
        said.append(
            alert(desk.cause, "FEE_ESTIMATED", "info", plan.symbol, "the exchange named no fee; taker rate taken")
        )
    closed = follow(
        desk.cause,
        TradeClosed,
        plan.trade_id,
        trade_id=plan.trade_id,
        symbol=plan.symbol,
        side=plan.side,
        size=trade.entry_size,
        entry_price=average(trade.entry_usd, trade.entry_size, plan.contract_size),
        exit_price=average(trade.exit_usd, trade.exit_size, plan.contract_size),
        pnl_usd=pnl_usd(trade),
        fees_usd=trade.fees_usd,
        opened_at=trade.opened_at,
        reason=trade.last_exit,
        r_multiple=r_multiple(trade),
    )
    return (*said, closed)


def over(trade: Trade) -> bool:
    """Whether nothing more is owed: flat again, or an entry that ended without a fill, or with one that nobody will tell any more."""
    entry = trade.entry
    stillborn = (
        trade.opened_at is None
        and entry is not None
        and (
            entry.state in {"cancelled", "rejected"}
            or (entry.state == "filled" and trade.absent_passes >= ABSENT_PASSES)
        )
        and (trade.position or ZERO) <= 0
    )
    return trade.flat or stillborn


def watch_stop(desk: Desk, trade: Trade) -> Result:
    """A stop that should have filled and did not is no protection: leave by market."""
    since = trade.through_since
    if since is None:
        return trade, NOTHING
    return see_through(desk, trade, since, f"stop at {trade.stop_price}", "critical", "flatten.stop_not_filling")


def see_through(desk: Desk, trade: Trade, since: int, what: str, severity: Severity, reason: str) -> Result:
    """Leave by market when what fired at `since`, microseconds UTC, has not filled in time."""
    if trade.closing or trade.cover == 0 or desk.at < since + NOT_FILLING_US:
        return trade, NOTHING
    text = f"{what} should have filled; leaving by market"
    return leave(trade, reason), (alert(desk.cause, "STOP_NOT_FILLING", severity, trade.plan.symbol, text),)


def keep_stop(desk: Desk, trade: Trade) -> Result:
    """One stop on the exchange for exactly what is held, at the stop price: once on a coarser grid it stays there, as the next may be finer."""
    if trade.closing or trade.cover == 0:
        return trade, NOTHING
    price = desk.stop_price(trade)
    if price != trade.stop_price:
        trade = replace(trade, stop_price=price)
    stop = trade.working("stop")
    return place_stop(desk, trade) if stop is None else mend_stop(desk, trade, stop)


def place_stop(desk: Desk, trade: Trade) -> Result:
    """The missing stop at the same price as before or better; if that is too late or hopeless, leave."""
    symbol = trade.plan.symbol
    if desk.mark is not None and beyond(trade.plan.side, desk.mark.mark, trade.stop_price):
        text = f"no stop rests and mark {desk.mark.mark} is beyond {trade.stop_price}; leaving by market"
        return leave(trade, "flatten.beyond_stop"), (alert(desk.cause, "NAKED_POSITION", "critical", symbol, text),)
    if trade.stops_spent >= STOPS_MAX:
        text = f"{STOPS_MAX} stops were lost; leaving by market"
        return leave(trade, "flatten.stop_lost"), (alert(desk.cause, "STOP_LOST", "critical", symbol, text),)
    if trade.stop_due is not None and desk.at < trade.stop_due:
        return trade, NOTHING
    return place(desk, replace(trade, stop_due=None), "stop", desk.lots(trade.cover), desk.stop_price(trade))


def mend_stop(desk: Desk, trade: Trade, stop: Order) -> Result:
    """Bring a stop to the size and price wanted: by an edit, or where edits are refused by a second stop before it goes."""
    if stop.state == "unknown" and not stop.resent:
        return resend(desk, trade, stop)
    again, due = short_at(trade, stop), mend_at(trade, stop)
    if again is not None and desk.at >= again:
        stop = forget_wishes(stop)
    if due is not None and desk.at >= due:
        trade = replace(trade, mend_due=None)
    price, wanted = desk.stop_price(trade), desk.lots(trade.cover + stop.filled)
    if stop.stuck:
        amiss = not covered(trade, stop) or stop.resting_price != price
    else:
        amiss = stop.resting and (stop.size, stop.stop_price) != (wanted, price)
    if amiss and (until := desk.closed_until) is not None and covered(trade, stop):
        # Refused whatever is asked, and it protects as it is: the first mark of an open market resumes it.
        return replace(trade, mend_due=until), NOTHING
    if not amiss or trade.mend_due is not None:
        return trade, NOTHING
    if not stop.stuck:
        return edit(desk, trade, stop, wanted, price)
    if trade.stops_spent >= STOPS_MAX or (trade.stop_due is not None and desk.at < trade.stop_due):
        return trade, NOTHING
    return place(desk, replace(trade, stop_due=None), "stop", desk.lots(trade.cover), price)


def mend_at(trade: Trade, stop: Order) -> int | None:
    """When a stop may be changed again after a refusal that passes by itself; None: at once. One that does not cover cannot wait long."""
    due = trade.mend_due
    return due if due is None or covered(trade, stop) else min(due, stop.at + STOP_AGAIN_US)


def short_at(trade: Trade, stop: Order) -> int | None:
    """When a stop that somebody cut to less than is held is asked for all of it again, whatever was asked before; None when it is not."""
    owed = stop.cut and stop.resting and not (stop.stuck or trade.closing or covered(trade, stop))
    return stop.at + CUT_FOR_US if owed else None


def keep_one_stop(desk: Desk, trade: Trade) -> Result:
    """Once a replacement covers the position the stop before it goes."""
    newest = trade.working("stop")
    if newest is None or not covered(trade, newest):
        return trade, NOTHING
    older = [o for o in trade.orders if o.role == "stop" and o is not newest and o.resting and not o.leaving]
    if not older:
        return trade, NOTHING
    for order in older:
        trade = update(trade, replace(order, leaving=True))
    return trade, [cancel(desk.cause, trade.plan.symbol, order.client_order_id) for order in older]


def keep_target(desk: Desk, trade: Trade) -> Result:
    """One target for exactly what is held. The position is protected without it, so a refusal is not a disaster."""
    if trade.cover == 0 or trade.closing or trade.working("stop") is None:
        return trade, NOTHING
    target = trade.working("target")
    if target is None:
        newest = trade.newest("target")
        # Taken by the kill switch, a new one would stand in the way of the flatten that follows.
        given_up = newest is not None and (newest.state == "rejected" or newest.taken)
        if given_up or trade.attempts.get("target", 0) >= TARGETS_MAX:
            return watch_target(desk, trade)
        return place(desk, trade, "target", desk.lots(trade.cover), desk.target_price(trade))
    if target.state == "unknown" and not target.resent:
        return resend(desk, trade, target)
    wanted = desk.lots(trade.cover + target.filled)
    if target.size == wanted or not target.resting or target.stuck or trade.mend_due is not None:
        return trade, NOTHING
    return edit(desk, trade, target, wanted, desk.target_price(trade))


def finish_target(desk: Desk, trade: Trade) -> Result:
    """A target that fired and did not fill is listed no more: leave by market, as it would have."""
    target = trade.working("target")
    if target is None or target.state != "triggered":
        return trade, NOTHING
    return see_through(desk, trade, target.at, f"target at {trade.target_price}", "warning", "exit.target")


def watch_target(desk: Desk, trade: Trade) -> Result:
    """Without a target on the exchange the mark is watched instead."""
    side = trade.plan.side
    reached = desk.mark is not None and beyond(
        "short" if side == "long" else "long", desk.mark.mark, trade.target_price
    )
    return (leave(trade, "exit.target") if reached else trade), NOTHING


def mind_nakedness(desk: Desk, trade: Trade) -> Result:
    """Unprotected for longer than the limit: leave. A triggered stop is the watchdog's; one that is to be replaced protects as long as it rests."""
    stop = trade.working("stop")
    protected = covered(trade, stop) or any(covered(trade, order) for order in trade.orders if order.role == "stop")
    if trade.closing or protected:
        return (replace(trade, naked_since=None) if trade.naked_since is not None else trade), NOTHING
    if trade.naked_since is None:
        return replace(trade, naked_since=desk.at), NOTHING
    if desk.at < naked_until(desk, trade.naked_since) or (stop is not None and stop.state == "triggered"):
        return trade, NOTHING
    text = f"{trade.cover} held and no stop confirmed within {desk.execution.protect_within_s} s; leaving by market"
    said = alert(desk.cause, "NAKED_POSITION", "critical", trade.plan.symbol, text)
    return leave(trade, "flatten.unprotected"), (said,)


def naked_until(desk: Desk, since: int) -> int:
    """The end of the time a position may be without a confirmed stop."""
    return since + seconds_us(desk.execution.protect_within_s)


def leave_market(desk: Desk, trade: Trade) -> Result:
    """Reduce-only market orders, one after another, until nothing is held. The stop rests until then."""
    if not trade.closing or trade.cover == 0:
        return trade, NOTHING
    role: Role = "exit" if trade.closing.startswith("exit.") else "flatten"
    last = trade.newest(role)
    if trade.exit_due is not None and desk.at < trade.exit_due:
        if not cut_short(last):
            return trade, NOTHING
        if trade.exit_tries > 1:  # a thin book fills up anew, and others need requests, too
            return replace(trade, exit_due=min(trade.exit_due, desk.at + NEXT_PART_US)), NOTHING
    if (until := desk.closed_until) is not None:
        # Queued, not retried: the first mark of an open market resumes it (fault-catalogue 36).
        return replace(trade, exit_due=until), (
            alert(
                desk.cause, "VENUE_MODE", "critical", trade.plan.symbol, f"{trade.closing} waits for the market to open"
            ),
        )
    size, said = desk.lots(trade.cover), list[Message]()
    doubtful = last if last is not None and in_doubt(last) and last.placed_size == size else None
    if trade.exit_tries:
        if doubtful is None or not doubtful.resent:
            text = f"{trade.closing}: attempt {trade.attempts.get(role, 0) + 1} to leave with {trade.cover}"
            said.append(alert(desk.cause, "STOP_NOT_FILLING", "critical", trade.plan.symbol, text))
        # A full-size target can keep a second reduce-only order out (fault-catalogue 48).
        said += [
            cancel(desk.cause, trade.plan.symbol, order.client_order_id)
            for order in trade.orders
            if order.role == "target" and order.resting
        ]
    # One in doubt may still arrive: under its own id it is there once, however long nobody answers.
    trade, orders = resend(desk, trade, doubtful) if doubtful else place(desk, trade, role, size)
    tries = 1 if cut_short(last) else trade.exit_tries  # what found a part was not in vain
    due = desk.at + max(seconds_us(desk.execution.request_timeout_s), back_off_us(tries))
    return replace(trade, exit_due=due, exit_tries=tries + 1), (*said, *orders)


def in_doubt(order: Order) -> bool:
    """Whether a market order may still arrive, for all that nobody answers and nothing can be read."""
    return order.state in {"pending", "unknown"} and not order.stuck


def cut_short(order: Order | None) -> bool:
    """Whether a market order ended in a part: the rest follows at once, then one a second (fault-catalogue 38)."""
    return order is not None and order.state == "cancelled" and order.filled > 0


def back_off_us(tries: int) -> int:
    """Two seconds doubling to thirty."""
    return min(RETRY_FIRST_US << min(tries, 8), RETRY_MOST_US)


def tell_protected(desk: Desk, trade: Trade) -> Result:
    """Say once that stop and target rest for all that is held."""
    held = trade.cover
    if held == 0:
        return trade, NOTHING
    stop, target = trade.working("stop"), trade.working("target")
    if stop is None or target is None or not (covered(trade, stop) and covered(trade, target)):
        return trade, NOTHING
    told = (held, stop.resting_price or trade.stop_price, target.resting_price or trade.target_price)
    if told == trade.told:
        return trade, NOTHING
    size, stop_price, target_price = told
    message = follow(
        desk.cause,
        Protected,
        trade.plan.trade_id,
        trade_id=trade.plan.trade_id,
        symbol=trade.plan.symbol,
        size=size,
        stop_price=stop_price,
        target_price=target_price,
    )
    return replace(trade, told=told), (message,)


DUTIES: Final[tuple[tuple[str, Duty], ...]] = (
    ("expect an answer to the entry", expect_answer),
    ("believe the exchange's position", believe_position),
    ("finish when flat", finish),
    ("watch that a stop fills", watch_stop),
    ("keep a stop on the exchange", keep_stop),
    ("keep only one", keep_one_stop),
    ("keep a target on the exchange", keep_target),
    ("see a target through that fired", finish_target),
    ("mind how long the position is naked", mind_nakedness),
    ("leave by market", leave_market),
    ("tell when protected", tell_protected),
)
"""In this order: what is true first, then what is wanted, then the way out that a failing duty before it asked for."""


def at_rest(desk: Desk, trade: Trade) -> bool:
    """Whether a trade is open, protected in full and told so, and waits for nothing: then no duty finds anything to do, now or later.

    For the sake of speed alone; a test holds it against the duties.
    """
    waits = trade.unknown_since, trade.through_since, trade.naked_since, trade.stop_due, trade.mend_due, trade.closing
    held, told = trade.held, trade.told
    if waits != NOTHING_AWAITED or told is None or not trade.position_fresh or held != trade.position or held <= 0:
        return False
    stop = target = None
    for order in trade.orders:
        if order.state in TERMINAL:
            continue
        if order.role == "stop" and stop is None:
            stop = order
        elif order.role == "target" and target is None:
            target = order
        else:
            return False
    if stop is None or target is None or stop.stop_price != desk.stop_price(trade) or desk.lots(held) != held:
        return False
    return told == (held, stop.resting_price, target.resting_price) and all(
        order.state == "submitted" and not (order.stuck or order.filled) and held == order.size == order.resting_size
        for order in (stop, target)
    )


NOTHING_AWAITED: Final = (None,) * 6


def perform(desk: Desk, trade: Trade) -> Result:
    """Every duty once. Of a trade `at_rest` there is nothing to do: whoever calls often asks that first."""
    said: list[Message] = []
    for _name, duty in DUTIES:
        trade, more = duty(desk, trade)
        if more:
            said += more
    return trade, said


def next_look(desk: Desk, trade: Trade) -> int | None:
    """When time alone would next change what is owed, None when it would not. Later than now."""
    entry, stop, target = trade.entry, trade.working("stop"), trade.working("target")
    moments = (
        trade.entry_until if entry is not None and entry.state == "pending" else None,
        trade.unknown_since + seconds_us(desk.execution.unknown_within_s) if trade.unknown_since is not None else None,
        adopt_at(desk, trade) if disputed(trade) else None,
        trade.through_since + NOT_FILLING_US if trade.through_since is not None and not trade.closing else None,
        short_at(trade, stop) if stop is not None else None,
        mend_at(trade, stop) if stop is not None and trade.cover and not trade.closing else None,
        naked_until(desk, trade.naked_since) if trade.naked_since is not None and not trade.closing else None,
        target.at + NOT_FILLING_US if target is not None and target.state == "triggered" else None,
        trade.exit_due if trade.closing and trade.cover else None,
        trade.stop_due if trade.stop_due is not None and trade.cover and not trade.closing else None,
    )
    at = desk.cause.at
    return min([moment for moment in moments if moment is not None and moment > at], default=None)

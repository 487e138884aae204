"""The fault catalogue's items that concern risk, executor, reconciler and kill switch: one story told end to end for each.

Each story is a plan of faults, what happens meanwhile, the course it must take, and what must be true once the world is well again. In all of them
nothing is doubled, nothing is left naked, and no order is left over.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any, NamedTuple

import pytest
from house import House, open_house
from script import START, XBT
from trio.testing import MockClock

from protocol.messages.base import Message
from protocol.messages.control import Alert, Drift, Reconciled
from protocol.messages.futures import (
    AccountChanged,
    EditOrder,
    EnterPosition,
    Filled,
    OrderRejected,
    PlaceOrder,
    Protected,
    RequestInstruments,
    SignalRefused,
    TradeClosed,
    TradeOpened,
)
from protocol.units import SECOND_US
from sim.faults.plan import plan_of

Then = Callable[[House], Awaitable[None]]
Check = Callable[[House], bool]
Row = dict[str, Any]
OPENED: Row = {"after": "position.opened"}


class Step(NamedTuple):
    """A message of a kind with these values."""

    kind: type[Message]
    fields: Row

    def fits(self, message: Message) -> bool:
        return isinstance(message, self.kind) and all(getattr(message, k) == v for k, v in self.fields.items())


def told(kind: type[Message], /, **fields: Any) -> Step:
    return Step(kind, fields)


class Story(NamedTuple):
    """`faults`: the plan. `then`: what is done after the signal. `holds`: what must be true at the end, by name."""

    faults: tuple[Row, ...] = ()
    then: tuple[Then, ...] = ()
    holds: tuple[Check, ...] = ()
    codes: tuple[str, ...] = ()
    """Alerts that must have been raised."""
    course: tuple[Step, ...] = ()
    """What must have been said on the way, in this order."""
    start_s: int = 0
    """After midnight."""


# --- what happens ----------------------------------------------------------------------------------------------


def wait(seconds: float) -> Then:
    async def let_time_pass(house: House) -> None:
        await house.settle(seconds)

    return let_time_pass


def go(price: float) -> Then:
    async def send_the_market(house: House) -> None:
        house.go(price, per_s=100)
        await house.settle(30)

    return send_the_market


async def flip(house: House) -> None:
    """Structure turns against the position."""
    house.change_of_character()


async def kill(house: House) -> None:
    """A person asks for the kill switch."""
    house.kill_switch()


async def second(house: House) -> None:
    """Another signal."""
    house.signal("second")


async def post_only(house: House) -> None:
    """The exchange begins to close the contract down."""
    house.engine.close_market(XBT, "post_only")


async def delist(house: House) -> None:
    """The contract ends: what is held is settled at a price nobody chose."""
    house.venue.delist(XBT)


async def third(house: House) -> None:
    """And another."""
    house.signal("third")


async def healed(house: House) -> None:
    """The faults end."""
    house.faults.heal()
    await house.settle(45)


# --- what must hold ---------------------------------------------------------------------------------------------


def entries(house: House) -> int:
    return len({wish.client_order_id for wish in house.sent if isinstance(wish, PlaceOrder) and wish.role == "entry"})


def entered_once(house: House) -> bool:
    return len(house.entry_fills) >= 1 and entries(house) == 1


def never_entered(house: House) -> bool:
    return not house.entry_fills


def protected(house: House) -> bool:
    return house.protected and house.position > 0


def flat(house: House) -> bool:
    return house.position == 0 and not house.orders


def latched(house: House) -> bool:
    return house.latch.read().latched


def not_latched(house: House) -> bool:
    return not latched(house)


def gate_open(house: House) -> bool:
    return house.gate.closed_by() == ()


def closed_once(house: House) -> bool:
    return len(house.heard(TradeClosed)) == 1


def not_closed(house: House) -> bool:
    return not house.heard(TradeClosed)


def fills_told_once(house: House) -> bool:
    told = [m.fill.fill_id for m in house.heard(Filled)]
    return len(told) == len(set(told)) == len(house.engine.state.fills)


def refused(house: House) -> bool:
    return bool(house.heard(SignalRefused))


def left_by(*reasons: str) -> Check:
    def left(house: House) -> bool:
        return [trade.reason for trade in house.heard(TradeClosed)] == list(reasons)

    return left


def no_refusal_made_up(house: House) -> bool:
    return not house.heard(OrderRejected)


def found_by_reconciliation(kind: str) -> Check:
    def found(house: House) -> bool:
        return kind in {drift.kind for drift in house.heard(Drift)}

    return found


def refused_for(*reasons: str) -> Check:
    def refused_so(house: House) -> bool:
        return [refusal.reasons for refusal in house.heard(SignalRefused)] == [reasons]

    return refused_so


def sent_only(*roles: str) -> Check:
    """Orders of these roles in this order, and not one more request."""

    def nothing_else(house: House) -> bool:
        return [getattr(wish, "role", "cancel") for wish in house.sent] == list(roles)

    return nothing_else


def lease_lost(name: str, times: int) -> Check:
    def so_often(house: House) -> bool:
        return [is_open for _, what, is_open in house.gate_log if what == f"lease.{name}"].count(False) >= times

    return so_often


def filled_in_part(house: House) -> bool:
    """The entry ended before all of it was filled, and what was filled is what is held."""
    entry = next(wish for wish in house.sent if isinstance(wish, PlaceOrder) and wish.role == "entry")
    return len(house.entry_fills) > 100 and house.position == sum(f.size for f in house.entry_fills) < entry.size


def stop_follows(house: House) -> bool:
    """No stop was ever asked for more than was filled by then, and the last one for all of it."""
    filled, asked = Decimal(0), Decimal(0)
    for _, message in house.said:
        if isinstance(message, Filled) and message.fill.side == "buy":
            filled += message.fill.size
        elif isinstance(message, PlaceOrder | EditOrder) and message.role == "stop":
            asked = message.size
            if asked > filled:
                return False
    return asked == filled == house.position


def funding_told(house: House) -> bool:
    """A part of an hour was paid at the exit, and the account as it was told is the exchange's to the cent."""
    account = house.heard(AccountChanged)[-1].account
    return house.engine.books.funding > Decimal("0.3") and abs(
        account.balance_usd - house.engine.books.balance
    ) < Decimal("0.01")


def left_within(seconds: float) -> Check:
    """From the first exit order to the end of the trade."""

    def soon(house: House) -> bool:
        first = next(wish.at for wish in house.heard(PlaceOrder) if wish.role == "exit")
        return house.heard(TradeClosed)[0].at - first <= seconds * SECOND_US

    return soon


HELD = (entered_once, protected, not_closed, not_latched, fills_told_once)
"""The position is as if nothing had been."""

STORIES: dict[int, Story] = {
    # B. REST
    14: Story(({"fault": "rest.drop_reply", "op": "send", "times": 1},), holds=HELD),
    15: Story(({"fault": "rest.drop_request", "op": "send", "times": 1},), (wait(90), second), (protected,)),
    16: Story(({"fault": "rest.delay_request", "op": "send", "d_s": 30.0, "times": 1},), (wait(60),), (never_entered, flat)),
    17: Story(({"fault": "rest.http", "op": "send", "code": 502, "body": "html", "accepted": "yes", "times": 1},), holds=HELD),
    18: Story(
        ({"fault": "rest.limit", "budget": 2, "window_s": 5.0, "ban_s": 5.0, "for_s": 60.0, **OPENED},), (flip, wait(40)),
        (flat, left_by("exit.choch"), left_within(10), not_latched), ("RATE_LIMITED",),
        (told(Protected), told(Alert, code="RATE_LIMITED"), told(PlaceOrder, role="exit", reduce_only=True), told(TradeClosed)),
    ),
    19: Story(
        ({"fault": "rest.reject", "op": "send", "status": "outsidePriceCollar", "times": 1, "after": "entry.accepted"},),
        (wait(20),), (flat, closed_once), ("ORDER_REJECTED",),
    ),
    20: Story(({"fault": "rest.stale", "endpoint": "positions", "for_s": 28.0},), (wait(40),), HELD),
    21: Story(
        ({"fault": "rest.drop_reply", "op": "send", "times": 1}, {"fault": "ws.drop", "feed": "fills", "for_s": 40.0}),
        (wait(40),), (entered_once, protected, not_closed, no_refusal_made_up),
    ),
    22: Story(
        ({"fault": "rest.drop_reply", "op": "send", "times": 1}, {"fault": "rest.misreport", "for_s": 30.0}),
        (wait(40),), (entered_once, protected, not_closed),
    ),
    23: Story(({"fault": "rest.cancel_all", "mode": "nothing", "for_s": 60.0},), (wait(5), kill, wait(20)), (flat, latched)),
    24: Story(
        ({"fault": "rest.schema", "endpoint": "orders", "kind": "unknown", "for_s": 60.0, **OPENED},),
        (wait(70),), HELD, ("RECON_STUCK",),
    ),
    25: Story(
        ({"fault": "rest.page", "limit": 0, "for_s": 50.0}, {"fault": "ws.drop", "feed": "fills", "for_s": 50.0}),
        (wait(60),), (entered_once, protected, not_closed),
    ),
    26: Story(
        ({"fault": "rest.auth", "scope": "all", "for_s": 90.0, **OPENED},), (wait(95),), (flat, latched), ("AUTH_FAILED", "KILL_LATCHED"),
    ),
    27: Story(({"fault": "rest.dup_request", "op": "send", "for_s": 60.0},), holds=HELD),
    # C. private stream
    28: Story(({"fault": "ws.delay", "feed": "fills", "d_s": 20.0, "for_s": 60.0},), (wait(30),), HELD),
    29: Story(
        tuple({"fault": "ws.drop", "feed": feed, "for_s": 90.0, "at_s": 10.0} for feed in ("fills", "open_orders", "open_positions")),
        (go(59_600),),
        (flat, closed_once, fills_told_once, found_by_reconciliation("missed_fill")), ("RECON_DIFF",),
    ),
    30: Story(
        ({"fault": "md.flap", "feed": "futures", "period_s": 3.0, "for_s": 20.0}, {"fault": "ws.snapshot", "n_old": 50, "lag": 1, "for_s": 40.0}),
        (wait(30),), (*HELD, gate_open, lease_lost("futures_feed", 3), sent_only("entry", "stop", "target")), ("FEED_STALE",),
        (told(Filled), told(Protected), told(Alert, code="FEED_STALE"), told(Alert, code="FEED_STALE"), told(Reconciled, clean=True)),
    ),
    31: Story(({"fault": "ws.reorder", "window_s": 1.5, "for_s": 60.0},), (wait(10), go(60_700)), (flat, closed_once, fills_told_once)),
    32: Story(
        ({"fault": "ws.auth", "mode": "refuse", "for_s": 40.0, **OPENED}, {"fault": "md.flap", "feed": "futures", "period_s": 5.0, "for_s": 10.0, **OPENED}),
        (wait(60),), (*HELD, gate_open),
    ),
    33: Story((), (wait(5), go(60_700)), (flat, left_by("exit.target"))),
    34: Story(({"fault": "ws.stale", "feed": "open_positions", "for_s": 60.0},), (wait(60),), HELD),
    # D. the exchange
    35: Story(
        ({"fault": "ex.partial", "depth_usd": 20.0, "for_s": 30.0},), (wait(60),),
        (*HELD, filled_in_part, stop_follows), (),
        (told(TradeOpened), told(PlaceOrder, role="stop"), told(PlaceOrder, role="target"), told(EditOrder, role="stop"),
         told(EditOrder, role="target"), told(Protected)),
    ),
    36: Story(
        ({"fault": "ex.mode", "mode": "suspended", "sym": "PF_XBTUSD", "for_s": 40.0, "at_s": 10.0, **OPENED},), (flip, wait(60)),
        (flat, left_by("exit.choch")), ("VENUE_MODE",),
    ),
    37: Story(
        ({"fault": "ex.maint", "lead_s": 600.0, "for_s": 660.0, "at_s": 5.0, **OPENED},), (wait(700),), (*HELD, gate_open), ("VENUE_MAINT", "VENUE_MODE"),
    ),
    38: Story(({"fault": "ex.partial", "depth_usd": 2000.0, "for_s": 40.0, **OPENED},), (wait(5), kill, wait(30)), (flat, latched)),
    39: Story(
        ({"fault": "px.book", "how": "empty", "sym": "PF_XBTUSD", "for_s": 40.0, **OPENED},), (wait(5), go(59_600)), (flat, closed_once),
    ),
    40: Story(({"fault": "ex.kill_order", "role": "stop", "at_s": 5.0, **OPENED},), (wait(30),), HELD, ("STOP_LOST",)),
    41: Story(({"fault": "ex.liquidate", "fraction": 0.5, "at_s": 5.0, **OPENED},), (wait(30),), (flat, latched), ("LIQUIDATED",)),
    42: Story(({"fault": "ex.unwind", "fraction": 0.5, "at_s": 5.0, **OPENED},), (wait(30),), (flat, latched), ("DELEVERAGED",)),
    43: Story(
        ({"fault": "ex.funding", "rate_pct": 0.2, "for_s": 300.0, **OPENED},), (wait(5), second, wait(90), flip, wait(10)),
        (flat, left_by("exit.choch"), refused_for("position.held", "funding.adverse", "cost.max"), funding_told), ("FUNDING_SPIKE",),
        (told(Protected), told(Alert, code="FUNDING_SPIKE"), told(SignalRefused), told(PlaceOrder, role="exit"), told(TradeClosed)),
        start_s=3540,
    ),
    44: Story(
        ({"fault": "ex.spec", "field": "tick", "factor": 10, "at_s": 5.0, **OPENED},), (flip, go(60_003), second, wait(40), third, wait(20)),
        (protected, left_by("exit.choch", "flatten.stop_rejected"), not_latched, fills_told_once), ("ORDER_REJECTED", "INSTR_CHANGED"),
        (
            told(TradeClosed, reason="exit.choch"), told(PlaceOrder, role="stop"), told(OrderRejected, status="invalidPrice"),
            told(RequestInstruments), told(Alert, code="ORDER_REJECTED", severity="critical"), told(PlaceOrder, role="flatten"),
            told(TradeClosed), told(EnterPosition), told(Protected),
        ),
    ),
    45: Story((), (post_only, wait(20), delist, wait(20), second, wait(5)), (flat, latched, left_by("exit.settled"), refused),
        ("VENUE_MODE", "SETTLED", "INSTR_DELISTING")),
    46: Story(({"fault": "ex.hold", "ms": 100.0, "for_s": 60.0},), holds=HELD),
    47: Story(
        ({"fault": "ex.margin", "factor": 3.0, "for_s": 60.0, **OPENED},), (wait(30),), HELD, ("RECON_DIFF", "INSTR_CHANGED"),
        (
            told(Protected), told(Drift, kind="margin_mismatch"), told(RequestInstruments), told(Reconciled, clean=False),
            told(Alert, code="INSTR_CHANGED"), told(Reconciled, clean=True),
        ),
    ),
    48: Story((), (wait(5), flip, wait(10)), (flat, left_by("exit.choch"))),
    49: Story(({"fault": "op.manual", "what": "close", "at_s": 5.0, **OPENED},), (wait(30),), (flat, closed_once, entered_once)),
}  # fmt: skip

GROUPS = range(14, 50)
"""B, C and D of the catalogue: REST, the private stream, the exchange."""


def test_the_catalogue_is_told_completely() -> None:
    """Each number of the three groups has its story."""
    assert sorted(STORIES) == list(GROUPS)


@pytest.mark.parametrize("number", STORIES)
async def test_a_fault_of_the_catalogue(autojump_clock: MockClock, number: int) -> None:
    """The fault strikes, what must hold meanwhile and afterwards holds, and the person was told."""
    story = STORIES[number]
    async with open_house(
        plan=plan_of({"seed": number, "faults": list(story.faults)}), start_us=START + story.start_s * SECOND_US
    ) as house:
        house.signal()
        await house.settle(20)
        for happen in (*story.then, healed):
            await happen(house)
        for holds in story.holds:
            assert holds(house), f"{number}: not {holds.__qualname__}; {state_of(house)}"
        assert house.position == 0 or house.protected, state_of(house)
        assert set(story.codes) <= {alert.code for alert in house.heard(Alert)}, state_of(house)
        said = iter(message for _, message in house.said)
        for step in story.course:
            assert any(step.fits(message) for message in said), f"{number}: no {step} in its place; {state_of(house)}"


def state_of(house: House) -> str:
    """What a person needs to see of a story that ended badly."""
    alerts = [(a.code, a.text) for a in house.heard(Alert) if a.severity != "info"]
    trades = [trade.reason for trade in house.heard(TradeClosed)]
    return f"position {house.position}, orders {house.orders}, closed {trades}, gate {house.gate.closed_by()}, alerts {alerts}"

"""One trade from entry to flat: its orders, its fills, what the exchange says is held, and the sums. Pure; sends nothing."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal
from typing import Final

import msgspec
from msgspec.structs import replace

from actors.executor.exits import Plan, Trail
from actors.executor.orders import TERMINAL, Order
from protocol.messages.futures import Fill, Role
from protocol.units import SIGN

ZERO: Final = Decimal(0)
R_PLACES: Final = Decimal("0.0001")
KEPT_ENDED_ORDERS: Final = 12


class Untold(msgspec.Struct, frozen=True, kw_only=True):
    """Contracts that were booked on the exchange's word, and their value, whose fills had not been told at `at`."""

    size: Decimal = ZERO
    usd: Decimal = ZERO
    at: int = 0

    def part(self, fill: Fill) -> Untold:
        """What of a fill is booked already."""
        if not self.size or fill.time > self.at:
            return Untold()
        size = min(self.size, fill.size)
        return Untold(size=size, usd=self.usd * (size / self.size))

    def less(self, part: Untold) -> Untold:
        """What is still untold."""
        return replace(self, size=self.size - part.size, usd=self.usd - part.usd)

    def more(self, size: Decimal, usd: Decimal, at: int) -> Untold:
        """With another difference."""
        return Untold(size=self.size + size, usd=self.usd + usd, at=at)


class Trade(msgspec.Struct, frozen=True, kw_only=True):
    """Sizes are contracts, positive in the trade's direction; times microseconds UTC, None for "not now".

    `position` is the exchange's word, None before it spoke; `position_fresh`: no fill was told since. `closing` is the reason we
    are leaving, `beside` that it is over while a stranger holds something. `exit_due` when to try (again) to leave, `stop_due` when to try again to place a stop, `mend_due` when to try again to change one, `naked_since` since when the stop does not cover the position,
    `through_since` since when the stop should have filled. `attempts`: orders placed, by role; `stops_before`: the stops among them that no longer count. `untold_entry`, `untold_exit`: what of the sums no fill has told yet.
    """

    plan: Plan
    trail: Trail
    stop_price: Decimal
    target_price: Decimal
    initial_stop: Decimal
    entry_until: int
    orders: tuple[Order, ...] = ()
    attempts: dict[str, int] = {}
    stops_before: int = 0
    entry_size: Decimal = ZERO
    entry_usd: Decimal = ZERO
    exit_size: Decimal = ZERO
    exit_usd: Decimal = ZERO
    untold_entry: Untold = Untold()
    untold_exit: Untold = Untold()
    fees_usd: Decimal = ZERO
    fees_estimated: bool = False
    opened_at: int | None = None
    filled_at: int = 0
    last_exit: str = "exit.external"
    position: Decimal | None = None
    position_at: int = 0
    position_fresh: bool = False
    closing: str | None = None
    exit_due: int | None = None
    stop_due: int | None = None
    mend_due: int | None = None
    exit_tries: int = 0
    naked_since: int | None = None
    through_since: int | None = None
    unknown_since: int | None = None
    absent_passes: int = 0
    told: tuple[Decimal, Decimal, Decimal] | None = None
    beside: bool = False

    @property
    def held(self) -> Decimal:
        """Contracts held by our fills."""
        return self.entry_size - self.exit_size

    @property
    def cover(self) -> Decimal:
        """Contracts to protect or to close: what fills say, or the exchange's newer word if that is more, or flat."""
        held, told = self.entry_size - self.exit_size, self.position
        if self.position_fresh and told is not None:
            return ZERO if told <= 0 else told if told > held else held
        return held if held >= 0 else ZERO

    @property
    def flat(self) -> bool:
        """Opened, and both the fills and the exchange say that nothing of it is left; what is held the other way round is not ours."""
        return self.opened_at is not None and self.held <= 0 and self.position is not None and self.position <= 0

    @property
    def stops_spent(self) -> int:
        """Stops placed since one was last known to rest as it should."""
        return self.attempts.get("stop", 0) - self.stops_before

    @property
    def entry(self) -> Order | None:
        """The entry order."""
        return self.newest("entry")

    def newest(self, role: Role) -> Order | None:
        """The latest order of a role, dead or alive."""
        for order in reversed(self.orders):
            if order.role == role:
                return order
        return None

    def working(self, role: Role) -> Order | None:
        """The latest order of a role that may still fill."""
        for order in reversed(self.orders):
            if order.role == role and order.state not in TERMINAL:
                return order
        return None

    def find(self, client_order_id: str | None) -> Order | None:
        """The order with this id."""
        for order in self.orders:
            if order.client_order_id == client_order_id:
                return order
        return None


def add(trade: Trade, order: Order) -> Trade:
    """The trade with one more order; of those that ended only the newest are kept."""
    ended = [known for known in trade.orders if not known.live and known.role != "entry"]
    old = ended[:-KEPT_ENDED_ORDERS]
    attempts = {**trade.attempts, order.role: trade.attempts.get(order.role, 0) + 1}
    orders = tuple(known for known in trade.orders if known not in old)
    return replace(trade, orders=(*orders, order), attempts=attempts)


def update(trade: Trade, order: Order) -> Trade:
    """The trade with one of its orders replaced."""
    orders = tuple(order if known.client_order_id == order.client_order_id else known for known in trade.orders)
    return replace(trade, orders=orders)


def fee_of(trade: Trade, fill: Fill, taker_fee_pct: Decimal) -> Decimal:
    """The fee as told, else as a taker would pay it."""
    if fill.fee_usd is not None:
        return fill.fee_usd
    return fill.size * trade.plan.contract_size * fill.price * taker_fee_pct / 100


def book_entry(trade: Trade, fill: Fill, at: int, taker_fee_pct: Decimal) -> Trade:
    """Add a fill that opened; what was booked on the exchange's word is told at last."""
    known = trade.untold_entry.part(fill)
    new = known.size < fill.size
    # A flat word from before this fill says nothing of what it opened.
    flat_word = trade.position is not None and trade.position <= 0
    return replace(
        trade,
        entry_size=trade.entry_size + fill.size - known.size,
        entry_usd=trade.entry_usd + fill.size * fill.price * trade.plan.contract_size - known.usd,
        untold_entry=trade.untold_entry.less(known),
        fees_usd=trade.fees_usd + fee_of(trade, fill, taker_fee_pct),
        fees_estimated=trade.fees_estimated or fill.fee_usd is None,
        opened_at=at if trade.opened_at is None else trade.opened_at,
        filled_at=at,
        position=None if new and flat_word else trade.position,
        position_fresh=trade.position_fresh and not new,
    )


def book_exit(trade: Trade, fill: Fill, code: str, at: int, taker_fee_pct: Decimal) -> Trade:
    """Add a fill that closed, and why; what was booked on the exchange's word is told at last."""
    known = trade.untold_exit.part(fill)
    # A flat word that came ahead of the fill it tells of stays true.
    ahead = known.size == fill.size or (trade.position is not None and trade.position <= 0)
    return replace(
        trade,
        exit_size=trade.exit_size + fill.size - known.size,
        exit_usd=trade.exit_usd + fill.size * fill.price * trade.plan.contract_size - known.usd,
        untold_exit=trade.untold_exit.less(known),
        fees_usd=trade.fees_usd + fee_of(trade, fill, taker_fee_pct),
        fees_estimated=trade.fees_estimated or fill.fee_usd is None,
        last_exit=code,
        filled_at=at,
        position_fresh=trade.position_fresh and ahead,
    )


def called_flat(trade: Trade, at: int) -> Trade:
    """As if the exchange had said, as of `at`, that nothing is held."""
    return replace(trade, position=ZERO, position_fresh=True, position_at=at)


def adopt(trade: Trade, price: Decimal, at: int) -> Trade:
    """Take over the exchange's position where no fill explains the difference, valued at `price`."""
    if trade.position is None:
        return trade
    missing = max(trade.position, ZERO) - trade.held
    usd = abs(missing) * price * trade.plan.contract_size
    if missing > 0:
        return replace(
            trade,
            entry_size=trade.entry_size + missing,
            entry_usd=trade.entry_usd + usd,
            untold_entry=trade.untold_entry.more(missing, usd, at),
            opened_at=at if trade.opened_at is None else trade.opened_at,
        )
    return replace(
        trade,
        exit_size=trade.exit_size - missing,
        exit_usd=trade.exit_usd + usd,
        untold_exit=trade.untold_exit.more(-missing, usd, at),
        last_exit="exit.external",
    )


def average(usd: Decimal, size: Decimal, contract_size: Decimal) -> Decimal:
    """Price per contract of a sum, zero for nothing."""
    return usd / (size * contract_size) if size else ZERO


def pnl_usd(trade: Trade) -> Decimal:
    """Realised, after fees, before funding."""
    return (trade.exit_usd - trade.entry_usd) * SIGN[trade.plan.side] - trade.fees_usd


def r_multiple(trade: Trade) -> Decimal:
    """Result in units of what was risked at entry, four places; zero when nothing was."""
    plan = trade.plan
    entry = average(trade.entry_usd, trade.entry_size, plan.contract_size)
    risked = abs(entry - trade.initial_stop) * trade.entry_size * plan.contract_size
    return (pnl_usd(trade) / risked).quantize(R_PLACES, ROUND_HALF_EVEN) if risked else ZERO

"""Facts and wishes about the futures exchange. The strategy may not import this file.

Three groups: what the edge saw (`*Seen`, to the futures feed, the one way in), what the futures feed says of it
(facts), and what we want of the exchange (wishes, through the one door).
"""

from __future__ import annotations

from decimal import Decimal
from typing import Final, Literal

import msgspec

from protocol.messages.base import Message
from protocol.units import SECOND_US, OrderSide, Side, Timeframe

OrderType = Literal["lmt", "post", "ioc", "mkt", "fok", "stp", "take_profit", "trailing_stop"]
"""Kraken's words. This system sends neither `fok` nor `trailing_stop`."""
Role = Literal["entry", "stop", "target", "exit", "flatten"]
Wish = Literal["place", "edit", "cancel"]
Outcome = Literal["placed", "edited", "cancelled", "filled", "rejected", "not_found", "unknown"]
"""`unknown`: a time-out or an ambiguous answer. Never evidence; only reconciliation may leave it."""
LIST_LAG_US: Final = 30 * SECOND_US
"""How long the exchange's lists have been seen to trail its events: until then they prove nothing against them."""
PERPETUAL: Final = ("PF_", "PI_")
"""How Kraken's names of contracts without a date begin; this system may trade no others."""
INVERSE: Final = ("PI_", "FI_")
"""How Kraken's names of inverse contracts begin: a dollar each, margined and paid in their coin."""


class Instrument(msgspec.Struct, frozen=True, kw_only=True):
    """A contract's rules as the exchange lists them. Sizes in contracts (PF: base coin), prices in USD."""

    symbol: str
    tick: Decimal
    lot: Decimal
    max_position: Decimal
    contract_size: Decimal
    inverse: bool
    tradeable: bool
    margin_levels: tuple[tuple[Decimal, Decimal, Decimal], ...]
    """(from notional USD, initial margin fraction, maintenance margin fraction), ascending."""
    max_relative_funding_rate: Decimal
    isolated_x: Decimal | None = None
    """The leverage at which the account has isolated it; None: cross margin, which everything here reckons with."""
    margin_known: bool = True
    """False: nobody has been told which of the two it is."""

    @property
    def margin(self) -> str:
        """`cross`, `unknown` or `isolated at 3x`."""
        isolated = "cross" if self.isolated_x is None else f"isolated at {self.isolated_x.normalize():f}x"
        return isolated if self.margin_known else "unknown"


class OpenOrder(msgspec.Struct, frozen=True, kw_only=True):
    """An order resting on the exchange. `size` is what is still open, `filled` what is done."""

    order_id: str
    client_order_id: str | None
    symbol: str
    side: OrderSide
    order_type: str
    size: Decimal
    filled: Decimal
    limit_price: Decimal | None
    stop_price: Decimal | None
    reduce_only: bool
    trigger: str | None


class Position(msgspec.Struct, frozen=True, kw_only=True):
    """A position as the exchange reports it. `size` is signed: above zero long, below short, zero flat.

    `liquidation_price` None: not reported by this source or not reachable. `margin_usd` initial margin. `isolated_x`: the leverage at
    which it is isolated, None: it is not, or this source does not say.
    """

    symbol: str
    size: Decimal
    entry_price: Decimal
    liquidation_price: Decimal | None = None
    unrealized_pnl_usd: Decimal | None = None
    margin_usd: Decimal | None = None
    isolated_x: Decimal | None = None


def worth_usd(symbol: str, size: Decimal, price: Decimal) -> Decimal:
    """Notional of so many contracts (of one coin each), unsigned; an inverse one is a dollar, whatever its price."""
    return abs(size) if symbol.startswith(INVERSE) else abs(size) * price


def flat(symbol: str) -> Position:
    """Nothing held."""
    return Position(symbol=symbol, size=Decimal(0), entry_price=Decimal(0))


class Fill(msgspec.Struct, frozen=True, kw_only=True):
    """One execution. `fill_id` is the exchange's and the key of de-duplication; `time` microseconds UTC.

    `fee_usd` None: this source does not say.
    """

    fill_id: str
    order_id: str
    client_order_id: str | None
    symbol: str
    side: OrderSide
    size: Decimal
    price: Decimal
    time: int
    fill_type: str
    fee_usd: Decimal | None = None

    @property
    def signed_size(self) -> Decimal:
        """What it adds to a signed position: below zero where it sells."""
        return self.size if self.side == "buy" else -self.size


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """The multi-collateral account in USD. `equity_usd` = balance + unrealised pnl and funding."""

    equity_usd: Decimal
    balance_usd: Decimal
    available_margin_usd: Decimal
    initial_margin_usd: Decimal
    maintenance_margin_usd: Decimal
    unrealized_funding_usd: Decimal = Decimal(0)

    @property
    def margin_equity_usd(self) -> Decimal:
        """What backs the positions, at least: equity, or less where collateral counts below its value or orders bind it."""
        return min(self.equity_usd, self.available_margin_usd + self.initial_margin_usd)


# --- what the edge saw -------------------------------------------------------------------------------------


class TickerSeen(Message, frozen=True, kw_only=True):
    """Edge -> futures_feed: whole ticker state. `funding_rate` is the relative rate per hour, None when absent.

    `time` is the exchange's own timestamp in microseconds; `at` when it reached us. `bid_size`, `ask_size`: contracts at the
    best prices, None where this source does not say.
    """

    symbol: str
    mark: Decimal
    index: Decimal
    bid: Decimal
    ask: Decimal
    last: Decimal
    funding_rate: Decimal | None
    suspended: bool
    post_only: bool
    time: int
    bid_size: Decimal | None = None
    ask_size: Decimal | None = None


class OrderSeen(Message, frozen=True, kw_only=True):
    """Edge -> futures_feed: an order opened, changed or left the book. `reason` verbatim; `open` False: no longer there."""

    order: OpenOrder
    open: bool
    reason: str


class FillSeen(Message, frozen=True, kw_only=True):
    """Edge -> futures_feed: an execution, perhaps not for the first time."""

    fill: Fill
    source: Literal["stream", "snapshot", "reply", "rest"]


class PositionsSeen(Message, frozen=True, kw_only=True):
    """Edge -> futures_feed: the whole list of positions; a symbol that is absent is flat. `sequence` orders frames.

    `time`: the exchange's own, microseconds UTC; None: it does not say.
    """

    positions: tuple[Position, ...]
    sequence: int
    time: int | None = None


class AccountSeen(Message, frozen=True, kw_only=True):
    """Edge -> futures_feed: balances and margin. `sequence` orders frames."""

    account: Account
    sequence: int


class InstrumentsSeen(Message, frozen=True, kw_only=True):
    """Edge -> futures_feed: the contract list."""

    instruments: tuple[Instrument, ...]


class Maintenance(msgspec.Struct, frozen=True, kw_only=True):
    """Planned by the exchange, microseconds UTC. None: it does not say when, or for how long. `text` is the exchange's own."""

    begins: int | None
    ends: int | None
    text: str


class NoticesSeen(Message, frozen=True, kw_only=True):
    """Edge -> futures_feed: the maintenance that the exchange announces now; what was announced before and is missing was taken back."""

    maintenance: tuple[Maintenance, ...]


class CommandAnswered(Message, frozen=True, kw_only=True):
    """Edge -> futures_feed: how the exchange answered one of our wishes. `command` is the wish's id.

    `status` is the exchange's word verbatim; executions inside the answer come as `FillSeen` before it.
    `wish`: what was asked for. `action`: what a failure calls for (retry, reject, look_up, halt), empty after a success.
    """

    command: str
    wish: Wish
    client_order_id: str | None
    order_id: str | None
    symbol: str
    outcome: Outcome
    status: str
    action: str = ""


class SnapshotSeen(Message, frozen=True, kw_only=True):
    """Edge -> futures_feed: exchange truth by REST, reads begun at `began_at`. Marks are the freshest known.

    `ahead_us`: by how much at least our clock was ahead of the exchange's, negative: behind it. None: it did not say its time.
    """

    began_at: int
    orders: tuple[OpenOrder, ...]
    positions: tuple[Position, ...]
    fills: tuple[Fill, ...]
    account: Account
    ahead_us: int | None = None


class Readable(msgspec.Struct, frozen=True, kw_only=True):
    """The rows that could be read of lists that could not be read whole: evidence of what is there, never of what is not.

    `began_at`: microseconds UTC.
    """

    began_at: int
    orders: tuple[OpenOrder, ...]
    positions: tuple[Position, ...]


class SnapshotFailed(Message, frozen=True, kw_only=True):
    """Edge -> futures_feed: the truth could not be read. Not evidence of anything. `action` as in `CommandAnswered`."""

    reason: str
    action: str = ""
    readable: Readable | None = None


# --- facts: futures_feed -> risk, executor, reconciler -------------------------------------------------------


class MarkPrice(Message, frozen=True, kw_only=True):
    """The sole reference for risk. Conflates. `mark_time` is the exchange's time, microseconds UTC. `frozen`: it stands still while trades go elsewhere."""

    symbol: str
    mark: Decimal
    index: Decimal
    bid: Decimal
    ask: Decimal
    funding_rate: Decimal | None
    suspended: bool
    post_only: bool
    mark_time: int
    bid_size: Decimal | None = None
    ask_size: Decimal | None = None
    frozen: bool = False


class InstrumentsListed(Message, frozen=True, kw_only=True):
    """The rules of the contracts we trade."""

    instruments: tuple[Instrument, ...]


class OrderAccepted(Message, frozen=True, kw_only=True):
    """The order rests on the exchange, or its terms changed there."""

    order: OpenOrder


class OrderRejected(Message, frozen=True, kw_only=True):
    """The exchange refused our wish. `wish`: place | edit | cancel. Definitive: not resent without a new decision."""

    client_order_id: str
    symbol: str
    wish: str
    status: str
    limited: bool = False
    """Refused for the rate of our requests alone: a moment later the same may be taken."""


class OrderUnknown(Message, frozen=True, kw_only=True):
    """We asked and do not know the outcome. Exposure counts as if live until evidence settles it."""

    client_order_id: str
    symbol: str
    wish: str


class OrderGone(Message, frozen=True, kw_only=True):
    """The order no longer rests: filled, cancelled, triggered, expired. `reason` verbatim; fills come separately."""

    client_order_id: str | None
    order_id: str
    symbol: str
    reason: str


class Filled(Message, frozen=True, kw_only=True):
    """One execution, exactly once, whatever number of ways it was told. `before`: signed size held until then, by stream and fills."""

    fill: Fill
    before: Decimal = Decimal(0)


class ModeChanged(Message, frozen=True, kw_only=True):
    """futures_feed -> kill_switch: a market was told `suspended` or `post-only`, or open again (empty)."""

    symbol: str
    mode: str


class PositionChanged(Message, frozen=True, kw_only=True):
    """The exchange's position in one symbol differs from what was last said."""

    position: Position


class AccountChanged(Message, frozen=True, kw_only=True):
    """Equity or margin differs from what was last said. Conflates."""

    account: Account


class ExchangeSnapshot(Message, frozen=True, kw_only=True):
    """futures_feed -> kill_switch, risk, reconciler: exchange truth by REST, after its new fills were told as `Filled`.

    `unproved`: symbols of which `positions` shows less than the stream said and fills left, when no second list agrees yet or the
    account uses margin for more than is listed. `lacks`: what stream and fills, across lives, say is held where `positions` shows less and is
    unproved or may trail; at no price. `forced`: what the newest fills show that the exchange did to positions of ours by itself, however often that
    was told before: whoever must not miss it may have been dead.
    """

    began_at: int
    orders: tuple[OpenOrder, ...]
    positions: tuple[Position, ...]
    account: Account
    unproved: tuple[str, ...] = ()
    lacks: tuple[Position, ...] = ()
    forced: tuple[Fill, ...] = ()


class SnapshotMissed(Message, frozen=True, kw_only=True):
    """futures_feed -> kill_switch, reconciler: no truth this time. `action` as in `CommandAnswered`. `readable` is for a kill alone, which
    cannot wait until the exchange writes every row as it used to.
    """

    reason: str
    action: str = ""
    readable: Readable | None = None


# --- wishes --------------------------------------------------------------------------------------------------


class EnterPosition(Message, frozen=True, kw_only=True):
    """risk -> executor: a sized, approved entry that carries its whole exit plan.

    `size` in contracts, already rounded. `leverage` = notional / equity of this entry. `verdict` is the journal form of
    every rule with inputs and thresholds (JSON).
    """

    signal_id: str
    symbol: str
    spot_symbol: str
    timeframe: Timeframe
    side: Side
    size: Decimal
    stop_pct: Decimal
    take_profit_pct: Decimal
    spot_entry: Decimal
    mark: Decimal
    leverage: Decimal
    valid_until: int
    exit_on_choch: Literal["exec", "4h", "off"]
    max_hold_bars: int
    verdict: str


class SignalRefused(Message, frozen=True, kw_only=True):
    """risk -> journal: a signal that is not taken, with every rule that failed."""

    signal_id: str
    symbol: str
    reasons: tuple[str, ...]
    verdict: str


class PlaceOrder(Message, frozen=True, kw_only=True):
    """executor, kill_switch -> door -> exchange. `again`: it may have left before, so it leaves on its terms or not at all."""

    client_order_id: str
    signal_id: str
    role: Role
    symbol: str
    side: OrderSide
    order_type: OrderType
    size: Decimal
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    reduce_only: bool = False
    process_before: int | None = None
    again: bool = False


class EditOrder(Message, frozen=True, kw_only=True):
    """executor -> door -> exchange. `size` is the new total."""

    client_order_id: str
    role: Role
    symbol: str
    size: Decimal
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None


class CancelOrder(Message, frozen=True, kw_only=True):
    """executor, kill_switch -> door -> exchange. One of the two ids is set; foreign orders have only `order_id`."""

    symbol: str
    client_order_id: str | None = None
    order_id: str | None = None

    @property
    def subject(self) -> str:
        """The order, by the id that is set."""
        return self.client_order_id or self.order_id or ""


WISHES: dict[type[Message], Wish] = {PlaceOrder: "place", EditOrder: "edit", CancelOrder: "cancel"}
"""What each kind of order wish is called in its answer."""


def leaves_beside(ahead: Message, wish: Message) -> bool:
    """Whether a wish need not wait for the answer to the one ahead: a target, behind the stop that the same step asked for.

    Both only reduce, under ids of their own, so neither's answer changes what the other should be.
    """
    pair = (
        isinstance(ahead, PlaceOrder) and isinstance(wish, PlaceOrder) and (ahead.role, wish.role) == ("stop", "target")
    )
    return pair and ahead.cause == wish.cause


class RequestSnapshot(Message, frozen=True, kw_only=True):
    """reconciler, kill_switch -> exchange: read the truth; it comes back through the futures feed. `urgent`: as protection is paid for."""

    reason: str
    urgent: bool = False


class RequestInstruments(Message, frozen=True, kw_only=True):
    """futures_feed -> exchange: read the rules of the contracts again; they come back through the futures feed."""

    reason: str


class RehearseOrders(Message, frozen=True, kw_only=True):
    """executor -> hands: what would be sent for a person's `request`, shown to them as it would go on the wire; nothing is sent."""

    request: str
    symbol: str
    orders: tuple[PlaceOrder | EditOrder | CancelOrder, ...]


class Rehearsed(Message, frozen=True, kw_only=True):
    """hands -> journal and the person, in a dry run: an order that passed every control, as it would go on the wire. Not sent."""

    symbol: str
    payload: str


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What one control found: a number of `unit` and the limit it was held against, or a word. It is put into words when read."""

    control: str
    passed: bool
    measure: Decimal | None = None
    limit: Decimal | None = None
    unit: str = ""
    word: str = ""

    @property
    def text(self) -> str:
        """For a person: `pretrade.exposure: 3.2x (limit 3x)`."""
        found = self.word if self.measure is None else f"{_brief(self.measure)}{self.unit}"
        return f"{self.control}: {found}" + ("" if self.limit is None else f" (limit {_brief(self.limit)}{self.unit})")


def _brief(number: Decimal) -> str:
    return f"{number:.6f}".rstrip("0").rstrip(".")


class OrderAdmitted(Message, frozen=True, kw_only=True):
    """door -> journal: this may leave. `order` as it goes on the wire, `changes` what normalising changed (`size 0.12 -> 0.1`).

    `findings` of every control an entry passed, in their order; orders that can only reduce are asked nothing.
    """

    symbol: str
    order: PlaceOrder | EditOrder | CancelOrder
    findings: tuple[Finding, ...] = ()
    changes: tuple[str, ...] = ()


class EntryBlocked(Message, frozen=True, kw_only=True):
    """door -> executor, risk: the entry did not leave. `reasons` name each lease not held, halt, or pre-trade control.

    `findings` of the gate and of every control, those that would have let it pass too.
    """

    client_order_id: str
    symbol: str
    reasons: tuple[str, ...]
    findings: tuple[Finding, ...] = ()

    @property
    def text(self) -> str:
        """Why, with the numbers."""
        failed = {found.control: found.text for found in self.findings if not found.passed}
        return "; ".join(failed.get(reason, reason) for reason in self.reasons)


# --- trades, for the journal and the person ----------------------------------------------------------------


class TradeOpened(Message, frozen=True, kw_only=True):
    """executor -> journal: first fill of an entry."""

    trade_id: str
    symbol: str
    side: Side
    size: Decimal
    price: Decimal


class Protected(Message, frozen=True, kw_only=True):
    """executor -> journal: stop and target rest on the exchange for the filled size."""

    trade_id: str
    symbol: str
    size: Decimal
    stop_price: Decimal
    target_price: Decimal


class TradeClosed(Message, frozen=True, kw_only=True):
    """executor -> journal: the position is flat. `pnl_usd` is after fees, before funding; `reason` an exit code."""

    trade_id: str
    symbol: str
    side: Side
    size: Decimal
    entry_price: Decimal
    exit_price: Decimal
    pnl_usd: Decimal
    fees_usd: Decimal
    opened_at: int
    reason: str
    r_multiple: Decimal

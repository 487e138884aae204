"""Messages about the system itself: time, life, halts, the latch, drift."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

from protocol.messages.base import Message

Severity = Literal["info", "warning", "critical"]
DriftKind = Literal[
    "ghost_position",  # held by our fills, not by the exchange
    "size_mismatch",
    "side_mismatch",
    "entry_mismatch",
    "foreign_position",  # held by the exchange, not by our fills
    "missing_stop",
    "missing_order",
    "order_mismatch",
    "orphan_order",
    "foreign_order",
    "missed_fill",
    "margin_mismatch",
    "equity_mismatch",
    "stuck",  # any of these that does not go away
]
DriftPolicy = Literal["correct", "adopt", "flatten", "report"]
"""What is to be done: `correct` a difference of our own; what is foreign is adopted, flattened or reported, by settings."""


class Started(Message, frozen=True, kw_only=True):
    """shell -> every actor: first message after each start; `restarted` says it is not the first life."""

    restarted: bool = False


class WakeAt(Message, frozen=True, kw_only=True):
    """actor -> its own timer: answer with `Woken(key)` at `due` (microseconds UTC). A second one replaces the first."""

    key: str
    due: int


class Woken(Message, frozen=True, kw_only=True):
    """timer -> the actor that asked."""

    key: str


class Alert(Message, frozen=True, kw_only=True):
    """anyone -> journal and the person: something worth a line. `code` as in the fault catalogue, section 2."""

    code: str
    severity: Severity
    text: str
    count: int = 1
    """How many it stands for: a person is told once a minute of what comes often (`actors.alerts`)."""


class Drift(Message, frozen=True, kw_only=True):
    """reconciler -> risk, executor, kill_switch: our view and the exchange's differ; the exchange is right.

    `symbol` is empty for the account as a whole.
    """

    kind: DriftKind
    symbol: str
    ours: str
    theirs: str
    client_order_id: str | None = None
    order_id: str | None = None
    policy: DriftPolicy = "correct"


class Reconciled(Message, frozen=True, kw_only=True):
    """reconciler -> gate, executor: one complete pass against a snapshot begun at `began_at`.

    `clean`: nothing was found that we have to mend. `leverage_x`: effective leverage, notional / equity, None: unknown.
    """

    began_at: int
    clean: bool
    leverage_x: Decimal | None = None


class HaltEntries(Message, frozen=True, kw_only=True):
    """risk, a person, the supervisor -> gate: no entry leaves while `key` is halted. Exits go on.

    `symbol`: only this market's entries, spot or futures name; empty: all.
    """

    key: str
    reason: str
    symbol: str = ""


class ResumeEntries(Message, frozen=True, kw_only=True):
    """-> gate: the halt under `key` is over."""

    key: str


class LeaseChanged(Message, frozen=True, kw_only=True):
    """edge -> kill_switch: a feed's lease was taken or given up."""

    lease: str
    held: bool


class KillRequested(Message, frozen=True, kw_only=True):
    """a person, the supervisor, risk's breach -> kill_switch: latch, cancel, flatten."""

    reason: str
    by: str


class Latch(Message, frozen=True, kw_only=True):
    """kill_switch -> latch store and gate: write it down before anything else happens.

    `context`: JSON of what was known: the last exchange truth and what the switch had watched.
    """

    reason: str
    by: str
    context: str = ""


class KillProgress(Message, frozen=True, kw_only=True):
    """kill_switch -> journal: what is still open after a step; `flat` and no `working` orders is done."""

    flat: bool
    open_positions: tuple[str, ...]
    working_orders: int


class PersonAsked(Message, frozen=True, kw_only=True):
    """command line -> person: `request` names it, `by` and `reason` say who and why. `dry_run`: only say what would be done.

    `symbol`: a futures market, empty for all. `key`: of the halt to end, empty for a person's own.
    """

    request: str
    ask: Literal["halt", "resume", "close"]
    by: str
    reason: str
    symbol: str = ""
    key: str = ""
    dry_run: bool = False


class PersonAnswered(Message, frozen=True, kw_only=True):
    """person, executor, hands -> journal and command line: what came of a request. `payloads`: orders as they would be sent."""

    request: str
    done: bool
    text: str
    payloads: tuple[str, ...] = ()


class CloseRequested(Message, frozen=True, kw_only=True):
    """person -> executor: leave the trade in `symbol` by market."""

    request: str
    symbol: str
    by: str
    reason: str
    dry_run: bool


class RiskState(Message, frozen=True, kw_only=True):
    """risk -> journal: a guard took hold of the account or of one market (`basis_held`: reduce-only there), or let it go."""

    guard: str
    symbol: str
    raised: bool
    text: str

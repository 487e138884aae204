"""Why the kill switch latches, as one table, and the watch over what nobody else would notice. Pure.

Most causes are told by whoever finds them; those of `WATCHED` the switch sees for itself in the facts that pass.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final, Literal, NamedTuple

import msgspec
from msgspec.structs import replace

from config.settings import KillSwitchSettings
from protocol.forced import forced
from protocol.kraken.faults import judge
from protocol.messages.base import Message
from protocol.messages.control import LeaseChanged, Woken
from protocol.messages.futures import (
    AccountChanged,
    ExchangeSnapshot,
    Fill,
    Filled,
    OrderAccepted,
    OrderGone,
    OrderRejected,
    OrderUnknown,
    PositionChanged,
    SnapshotMissed,
)
from protocol.units import SECOND_US, seconds_us

Source = Literal["person", "risk", "reconciler", "supervisor", "switch"]
FUTURES_LEASE: Final = "futures_feed"
HUNDRED: Final = Decimal(100)


class Cause(NamedTuple):
    """Who finds it, and when."""

    source: Source
    when: str


CAUSES: Final[dict[str, Cause]] = {
    "command": Cause("person", "`kill-switch --emergency`"),
    "dashboard": Cause("person", "a person on the dashboard: the same request as the command's"),
    "signal": Cause("person", "SIGUSR1 to the process"),
    "liquidation": Cause("switch", "the exchange reports a liquidation, an assignment or an unwind of ours"),
    "near_liquidation": Cause("risk", "less than half of `risk.liquidation_buffer_pct` to the reported liquidation price"),
    "daily_loss": Cause("risk", "`risk.daily_loss_max_pct` lost and `risk.daily_loss_action` is kill"),
    "not_converging": Cause("reconciler", "a difference of ours to mend for `kill_switch.not_converging_s`"),
    "gave_up": Cause("supervisor", "a child beyond its restart intensity"),
    "auth_errors": Cause("switch", "`kill_switch.auth_errors` refusals of our key in a row"),
    "api_errors": Cause("switch", "`kill_switch.api_errors` orders in a row whose outcome nobody answered"),
    "data_failure": Cause("switch", "`kill_switch.data_failure_s` with a position and no stream, or no exchange truth"),
    "margin_critical": Cause("switch", "maintenance margin is `kill_switch.margin_critical_pct` of equity"),
}  # fmt: skip


class Watch(msgspec.Struct, frozen=True, kw_only=True):
    """What the switch has seen. `*_since`: microseconds, None while all is well; `held`: contracts are held,
    or were bought or sold since the last reading: readings may fail from then on. `forced`: what the exchange did to a position of ours;
    `acknowledged_at`: up to when a person knows of that.
    """

    auth_errors: int = 0
    api_errors: int = 0
    stream_lost_since: int | None = None
    truth_lost_since: int | None = None
    equity_usd: Decimal | None = None
    maintenance_usd: Decimal = Decimal(0)
    held: bool = False
    forced: str = ""
    acknowledged_at: int = 0

    @property
    def lasts(self) -> bool:
        """Whether time alone may make a cause of what was seen."""
        return self.stream_lost_since is not None or self.truth_lost_since is not None


def observe(watch: Watch, message: Message) -> Watch:
    """The watch after a fact."""
    watcher = WATCHERS.get(type(message))
    return watch if watcher is None else watcher(watch, message)


def _read(watch: Watch, truth: ExchangeSnapshot) -> Watch:
    held = bool(truth.unproved) or any(p.size for p in truth.positions)
    news = [_did(fill) for fill in truth.forced if fill.time > watch.acknowledged_at]
    return replace(watch, auth_errors=0, truth_lost_since=None, held=held, forced=news[-1] if news else watch.forced)


def _missed(watch: Watch, missed: SnapshotMissed) -> Watch:
    since = missed.at if watch.truth_lost_since is None else watch.truth_lost_since
    return replace(watch, truth_lost_since=since, auth_errors=watch.auth_errors + (missed.action == "halt"))


def _rejected(watch: Watch, rejected: OrderRejected) -> Watch:
    refused = judge(rejected.status).kind in ("auth", "nonce")
    return replace(watch, api_errors=0, auth_errors=watch.auth_errors + 1 if refused else 0)


def _unknown(watch: Watch, _unknown: OrderUnknown) -> Watch:
    return replace(watch, api_errors=watch.api_errors + 1)


def _filled(watch: Watch, filled: Filled) -> Watch:
    return replace(watch, api_errors=0, auth_errors=0, held=True, forced=_did(filled.fill) or watch.forced)


def _answered(watch: Watch, _answer: OrderAccepted | OrderGone) -> Watch:
    return replace(watch, api_errors=0, auth_errors=0)


def _moved(watch: Watch, moved: PositionChanged) -> Watch:
    return replace(watch, held=True) if moved.position.size else watch


def _valued(watch: Watch, changed: AccountChanged) -> Watch:
    account = changed.account
    return replace(watch, equity_usd=account.margin_equity_usd, maintenance_usd=account.maintenance_margin_usd)


def _leased(watch: Watch, changed: LeaseChanged) -> Watch:
    if changed.lease != FUTURES_LEASE:
        return watch
    return replace(watch, stream_lost_since=None if changed.held else changed.at)


WATCHERS: Final[dict[type[Message], Callable[[Watch, Any], Watch]]] = {
    ExchangeSnapshot: _read,
    SnapshotMissed: _missed,
    OrderRejected: _rejected,
    OrderUnknown: _unknown,
    Filled: _filled,
    OrderAccepted: _answered,
    OrderGone: _answered,
    PositionChanged: _moved,
    AccountChanged: _valued,
    LeaseChanged: _leased,
}
"""What each fact does to the watch."""


def _did(fill: Fill) -> str:
    """What the exchange did of its own with a fill; empty for one that an order asked for."""
    happened = forced(fill)
    return happened.text if happened else ""


def _liquidation(watch: Watch, limits: KillSwitchSettings, at: int) -> str | None:
    return watch.forced or None


def _auth_errors(watch: Watch, limits: KillSwitchSettings, at: int) -> str | None:
    if watch.auth_errors < limits.auth_errors:
        return None
    return f"AUTH_FAILED: our key was refused {watch.auth_errors} times in a row: flatten by hand at the exchange"


def _api_errors(watch: Watch, limits: KillSwitchSettings, at: int) -> str | None:
    if watch.api_errors < limits.api_errors:
        return None
    return f"API_ERRORS: {watch.api_errors} orders in a row without an answer"


def _data_failure(watch: Watch, limits: KillSwitchSettings, at: int) -> str | None:
    limit_us = seconds_us(limits.data_failure_s)
    for what, since in (("stream", watch.stream_lost_since), ("exchange truth", watch.truth_lost_since)):
        if watch.held and since is not None and at - since >= limit_us:
            return f"FEED_STALE: no futures {what} for {(at - since) // SECOND_US} s with a position open"
    return None


def _margin_critical(watch: Watch, limits: KillSwitchSettings, at: int) -> str | None:
    if watch.equity_usd is None or watch.maintenance_usd <= 0:
        return None
    if watch.equity_usd <= 0:
        return f"MARGIN_HIGH: equity is {watch.equity_usd} USD"
    used_pct = watch.maintenance_usd / watch.equity_usd * HUNDRED
    if used_pct < limits.margin_critical_pct:
        return None
    return f"MARGIN_HIGH: maintenance margin is {used_pct:.1f} % of equity, limit {limits.margin_critical_pct} %"


WATCHED: Final[dict[str, Callable[[Watch, KillSwitchSettings, int], str | None]]] = {
    "liquidation": _liquidation,
    "auth_errors": _auth_errors,
    "api_errors": _api_errors,
    "data_failure": _data_failure,
    "margin_critical": _margin_critical,
}


def found(watch: Watch, limits: KillSwitchSettings, at: int) -> str | None:
    """The first cause that holds, as a reason; None when all is well."""
    for look in WATCHED.values():
        reason = look(watch, limits, at)
        if reason is not None:
            return reason
    return None


def look_again_at(before: Watch, after: Watch, limits: KillSwitchSettings, message: Message) -> int | None:
    """When time alone would make a loss that has just begun a cause; None when nothing has begun."""
    if isinstance(message, Woken) or after.stream_lost_since in (None, before.stream_lost_since):
        return None
    return message.at + seconds_us(limits.data_failure_s)

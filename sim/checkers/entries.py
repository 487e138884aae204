"""Invariants 4 to 8, 20, 22 and 23: what must be true of each order that leaves, entries above all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from typing import Final

from protocol.kraken.account import parse_leverage_preferences
from protocol.kraken.endpoints import COST, COST_BUDGET, COST_FILLS_PAGED, COST_WINDOW_S
from protocol.kraken.markets import parse_notifications
from protocol.kraken.wire import MalformedPayload, Refused, decode
from protocol.messages.base import Message
from protocol.messages.control import Drift
from protocol.messages.futures import (
    EnterPosition,
    Fill,
    Filled,
    Instrument,
    OrderGone,
    OrderRejected,
    OrderUnknown,
)
from protocol.units import HOUR_US, MINUTE_US, SECOND_US, moment
from sim.checkers.evidence import HTTP_OK, ZERO, Bounds, Evidence
from sim.checkers.invariant import Invariant
from sim.checkers.sent import Sent
from sim.engine.state import Working
from sim.faults.network import Reply, Request

ROUNDING: Final = Decimal("1.001")
"""Of the catalogue's own wording of 7."""
PROBES_MOST: Final = 16
"""A minute, of one closed market: one each five seconds of the kill switch's, and a few of the executor's where its stream has died (storm 32168)."""
VAIN_MOST: Final = 150
"""Changing requests a minute, half of what the exchange grants, but for the first cancel of each stranger's order: a crowd of them is cancelled one by one (storm 32366)."""
EXITS: Final = 2
"""Orders that follow a change of what is held: stop and target."""
MAINTENANCE_US: Final = 15 * MINUTE_US
"""No entry so long before it (fault-catalogue 37); a minute is given to whoever must read that and act."""
CAP: Final = Decimal(10)
"""Leverage beyond which nothing may be configured."""


class OneEntryPerSignal(Invariant):
    """4: at any time one live entry a signal, and never more filled than was sized."""

    number, name = 4, "one entry per signal"

    def __init__(self, evidence: Evidence) -> None:
        super().__init__(evidence)
        self._names: dict[str, str] = {}
        self._filled: dict[str, Decimal] = {}

    def sent(self, sent: Sent) -> None:
        if not sent.is_entry:
            return
        intent = self.e.journal.intents.get(sent.name)
        if intent is not None:
            before = self._names.setdefault(intent.signal_id, sent.name)
            if before != sent.name:
                self.fail(f"signal {intent.signal_id} sends a second entry {sent.name} after {before}")

    def filled(self, fill: Fill) -> None:
        intent = self.e.journal.intents.get(fill.client_order_id or "")
        if intent is None or intent.role != "entry":
            return
        done = self._filled[intent.signal_id] = self._filled.get(intent.signal_id, ZERO) + fill.size
        approved = self.e.journal.approved.get(intent.signal_id)
        if approved is not None and done > approved.size:
            self.fail(f"signal {intent.signal_id} filled {done}, sized {approved.size}")


class Limits(Invariant):
    """5: what is held, what rests or may rest, and this entry stay within the exposure; positions stay few."""

    number, name = 5, "exposure"
    hears = (OrderUnknown, OrderRejected, OrderGone, Drift, Filled)

    def __init__(self, evidence: Evidence) -> None:
        super().__init__(evidence)
        self._unknown: dict[str, tuple[str, Decimal]] = {}
        self._sent: dict[str, Sent] = {}

    def said(self, sender: str, message: Message) -> None:
        match message:
            case OrderUnknown(wish="place", client_order_id=name) if name in self._sent:
                self._unknown[name] = self._sent[name].symbol, self._sent[name].size
            case (
                OrderRejected(wish="place", client_order_id=name)
                | OrderGone(client_order_id=name)
                | Drift(kind="missing_order", client_order_id=name)
            ):
                self._unknown.pop(name or "", None)
            case Filled(fill=fill):
                self._unknown.pop(fill.client_order_id or "", None)

    def sent(self, sent: Sent) -> None:
        if not sent.is_entry:
            return
        self._sent[sent.name] = sent
        e, risk = self.e, self.e.settings.risk
        ours = {w.order.client_order_id: (w.order.symbol, w.order.size) for w in resting_entries(e)}
        # By then it rests, was filled, or can no longer arrive, though a life that forgot it says nothing of it.
        doubtful = {name: o for name, o in self._unknown.items() if sent.at - self._sent[name].at <= Bounds.UNKNOWN}
        pending = {**doubtful, **{name: order for name, order in ours.items() if name in self._sent}}
        pending.pop(sent.name, None)
        worth = exposure(e, sent, [*pending.values()])
        if worth > risk.exposure_max_x * e.equity_most_usd:
            self.fail(f"{sent.symbol} entry {sent.size}: exposure {worth:.0f} of equity {e.equity_most_usd:.0f}")
        held = e.known(sent)
        if len({*held, *(symbol for symbol, _ in pending.values()), sent.symbol}) > risk.positions_max:
            self.fail(f"{sent.symbol} entry: {len(held)} positions are held, {risk.positions_max} allowed")
        if sent.symbol in held:
            self.fail(f"{sent.symbol} entry while {held[sent.symbol]} is held: no pyramiding")


def resting_entries(evidence: Evidence) -> list[Working]:
    """Orders on the book that could open or enlarge a position."""
    return [w for w in evidence.engine.state.working.values() if not w.order.reduce_only]


def exposure(evidence: Evidence, sent: Sent, beside: Sequence[tuple[str, Decimal]]) -> Decimal:
    """US dollars at the lowest mark of the last minute: what is held, this entry, and (symbol, size) of others."""
    sizes = [*evidence.known(sent).items(), (sent.symbol, sent.size), *beside]
    return sum((abs(size) * evidence.past.marks(symbol, evidence.now)[0] for symbol, size in sizes), ZERO)


class Leverage(Invariant):
    """6: with this entry the account stays within the configured leverage, and within ten whatever is configured."""

    number, name = 6, "leverage"

    def sent(self, sent: Sent) -> None:
        if sent.is_entry:
            worth, equity = exposure(self.e, sent, ()), self.e.equity_most_usd
            if worth > min(self.e.settings.risk.leverage_cap, CAP) * equity:
                self.fail(f"{sent.symbol} entry: {worth:.0f} USD on {equity:.0f} USD")


class RiskPerTrade(Invariant):
    """7: what the stop would lose, fees included, is within the risk of one trade, and the stop rests where that was reckoned from."""

    number, name = 7, "risk per trade"

    def sent(self, sent: Sent) -> None:
        intent = self.e.journal.intents.get(sent.name)
        if intent is None or intent.signal_id not in self.e.journal.approved:
            return
        approved = self.e.journal.approved[intent.signal_id]
        if sent.is_entry:
            self._entry(sent, approved)
        elif sent.op == "send" and sent.role == "stop" and sent.stop_price is not None:
            self._stop(sent, approved, sent.stop_price)

    def _stop(self, sent: Sent, approved: EnterPosition, price: Decimal) -> None:
        long = approved.side == "long"
        agreed = approved.mark * (1 - approved.stop_pct if long else 1 + approved.stop_pct)
        # Rounded to the tick, away from entry.
        if (agreed - price if long else price - agreed) >= self.e.engine.rules[sent.symbol].tick:
            self.fail(f"{sent.symbol} stop at {price}, further away than {agreed:.2f} as approved")

    def _entry(self, sent: Sent, approved: EnterPosition) -> None:
        risk, price = self.e.settings.risk, approved.mark
        loss = sent.size * price * (approved.stop_pct + 2 * risk.taker_fee_pct / 100)
        allowed = risk.risk_pct / 100 * self.e.equity_most_usd * ROUNDING
        if loss > allowed:
            self.fail(f"{sent.symbol} entry {sent.size} risks {loss:.2f} USD of {allowed:.2f}")


class LiquidationBuffer(Invariant):
    """8: after the entry, liquidation is further from the mark than the buffer and than the stop, by the contracts' rules as they were
    last shown to the daemon.
    """

    number, name = 8, "liquidation buffer"

    def __init__(self, evidence: Evidence) -> None:
        super().__init__(evidence)
        self._rules: dict[str, Instrument] = dict(evidence.engine.rules)

    def answered(self, request: Request, reply: Reply) -> None:
        if request.op == "instruments" and reply.status == HTTP_OK:
            self._rules = dict(self.e.engine.rules)

    def sent(self, sent: Sent) -> None:
        if not sent.is_entry:
            return
        e = self.e
        notional, maintenance = ZERO, ZERO
        held = e.known(sent)
        sizes = {**held, sent.symbol: abs(held.get(sent.symbol, ZERO)) + sent.size}
        for symbol, size in sizes.items():
            value = abs(size) * e.past.marks(symbol, e.now)[0]
            levels = [mm for start, _, mm in self._rules[symbol].margin_levels if start <= value]
            notional, maintenance = notional + value, maintenance + value * levels[-1]
        distance = (e.equity_most_usd - maintenance) / notional
        buffer = e.settings.risk.liquidation_buffer_pct / 100
        if distance < buffer:
            self.fail(f"{sent.symbol} entry: liquidation {distance:.3f} away, {buffer} demanded")
        intent = e.journal.intents.get(sent.name)
        approved = None if intent is None else e.journal.approved.get(intent.signal_id)
        if approved is not None and distance - approved.stop_pct < buffer / 2:
            self.fail(
                f"{sent.symbol} entry: the stop {approved.stop_pct} away is too near liquidation, {distance:.3f} away"
            )


class FreshData(Invariant):
    """20: an entry leaves only on data that came in time, and a lease falls soon after its stream falls silent."""

    number, name = 20, "stale data halts entries"

    def __init__(self, evidence: Evidence) -> None:
        super().__init__(evidence)
        feeds = evidence.settings.feeds
        self._idle_us = {
            "spot_feed": ("spot", round(feeds.spot_idle_s * SECOND_US)),
            "futures_feed": ("futures", round(feeds.futures_idle_s * SECOND_US)),
        }
        self._leased: dict[str, int] = {}
        self._held = dict.fromkeys(self._idle_us, 0)
        self._read = 0

    def sent(self, sent: Sent) -> None:
        if not sent.is_entry:
            return
        if self.e.off_reach_us > MINUTE_US:
            self.fail(
                f"{sent.symbol} entry although the clock has been {self.e.clock_off_us() / 1e6:.1f} s off for a minute"
            )
        risk = self.e.settings.risk
        age = sent.at - self.e.feeds.heard.get(f"ticker {sent.symbol}", 0)
        if age > risk.mark_age_max_s * SECOND_US + Bounds.HALT:
            self.fail(f"{sent.symbol} entry on a mark {age / 1e6:.1f} s old")
        for lease, (feed, idle_us) in self._idle_us.items():
            age = sent.at - self.e.feeds.heard.get(feed, 0)
            if age > idle_us + Bounds.HALT:
                self.fail(f"{sent.symbol} entry while {lease} had heard nothing for {age / 1e6:.1f} s")

    def began(self) -> None:
        self._leased.clear()
        self._held = dict.fromkeys(self._idle_us, 0)
        self._read = len(self.e.gate_log)

    def second(self) -> None:
        held, now = self._held, self.e.now
        if self._read < len(self.e.gate_log):
            for _, what, is_open in self.e.gate_log[self._read :]:
                name = what.removeprefix("lease.")
                if name in held:
                    held[name] += 1 if is_open else -1
            self._read = len(self.e.gate_log)
        since = self.e.lives[-1] if self.e.lives else 0
        for lease, (feed, idle_us) in self._idle_us.items():
            age = now - self.e.feeds.heard.get(feed, since)
            if not (held[lease] > 0 and age > idle_us + 2 * Bounds.HALT and self.e.life):
                self._leased.pop(lease, None)
            elif self._leased.setdefault(lease, now) < now - Bounds.HALT:
                # for a second look: after a leap of the clock nobody has run yet
                self.fail(f"{lease} is held although nothing came for {age / 1e6:.1f} s")


class ModeAndRefusal(Invariant):
    """22: no entry into a market that was told to be closed or isolated, nor before the account was asked for that, nor near maintenance that
    was announced; exits only probe a closed one; nothing is sent again after a definitive refusal.

    A probe a minute, as the catalogue has it, would find a reopened market too late for its own 36 (within five seconds).
    """

    number, name = 22, "mode and refusal"

    def __init__(self, evidence: Evidence) -> None:
        super().__init__(evidence)
        self._refused: dict[str, str] = {}
        self._probes: dict[str, list[int]] = {}
        self.began()

    def began(self) -> None:
        self._isolated: dict[str, int] | None = None
        """Since when this life has been told, without a word to the contrary; None: it was told nothing."""
        self._maintenance: dict[tuple[int, int], int] = {}
        """From when to when no entry may leave, and when this life first read that."""

    def answered(self, request: Request, reply: Reply) -> None:
        if reply.status != HTTP_OK:
            return
        try:
            if request.op == "send" and request.form.get("reduceOnly") == "false":
                self._entry_answered(request.form["cliOrdId"], reply.body)
            elif request.op == "notices":
                self._announced(reply.body)
            elif request.op == "preferences":
                before = self._isolated or {}
                isolated = parse_leverage_preferences(reply.body).values
                self._isolated = {symbol: before.get(symbol, self.e.now) for symbol, _ in isolated}
        except (MalformedPayload, Refused):
            pass  # it tells the daemon nothing either

    def _entry_answered(self, name: str, answer: bytes) -> None:
        status = decode(answer, "sendorder").get("sendStatus", {}).get("status", "placed")
        if status not in ("placed", "clientOrderIdAlreadyExist"):
            self._refused[name] = status

    def _announced(self, answer: bytes) -> None:
        spans = [
            (n.effective - MAINTENANCE_US, n.effective + n.downtime_minutes * MINUTE_US)
            for n in parse_notifications(answer).values
            if n.kind == "maintenance" and n.effective is not None and n.downtime_minutes is not None
        ]
        self._maintenance = {span: self._maintenance.get(span, self.e.now) for span in spans}

    def sent(self, sent: Sent) -> None:
        closed = self.e.feeds.closed.get(sent.symbol)
        if sent.op == "send" and sent.order_type == "mkt" and closed is not None and sent.at - closed > Bounds.HALT:
            self._probe(sent)
        if not sent.is_entry:
            return
        if closed is not None and sent.at - closed > Bounds.HALT:
            self.fail(f"{sent.symbol} entry {(sent.at - closed) / 1e6:.1f} s after the market was told closed")
        if self._isolated is None:
            self.fail(f"{sent.symbol} entry before the account has said which markets are isolated")
        isolated = (self._isolated or {}).get(sent.symbol)
        if isolated is not None and sent.at - isolated > Bounds.HALT:
            self.fail(f"{sent.symbol} entry {(sent.at - isolated) / 1e6:.1f} s after the market was told isolated")
        for (first, end), read_at in self._maintenance.items():
            if max(first, read_at) + MINUTE_US < sent.at < end - MINUTE_US:
                begins = moment(first + MAINTENANCE_US)
                self.fail(f"{sent.symbol} entry although maintenance was announced for {begins}")
        if sent.name in self._refused:
            self.fail(f"{sent.symbol} entry {sent.name} is sent again after {self._refused[sent.name]}")

    def _probe(self, sent: Sent) -> None:
        probes = [at for at in self._probes.get(sent.symbol, []) if at > sent.at - MINUTE_US]
        self._probes[sent.symbol] = [*probes, sent.at]
        if len(probes) >= PROBES_MOST:
            self.fail(
                f"{sent.symbol}: {len(probes) + 1} market orders within a minute into a market that was told closed"
            )

    def filled(self, fill: Fill) -> None:
        """What trades is no vain probe: the market is open whatever was told, and a thin one is left in parts."""
        self._probes.pop(fill.symbol, None)


class Rates(Invariant):
    """23: requests stay within the exchange's limit, orders a minute and an hour within bounds, whatever goes wrong."""

    number, name = 23, "rates and reserve"

    def __init__(self, evidence: Evidence) -> None:
        super().__init__(evidence)
        self._entries: dict[str, list[int]] = {}
        self._vain: list[tuple[int, str]] = []
        """Changing requests of the last minute that executed nothing: what flattens in parts may go on for as long as parts are found,
        and the exit orders follow each.
        """
        self._followed: Counter[str] = Counter()
        self._cancelled = frozenset[str]()
        """Orders without a name of ours that were cancelled."""
        self._points, self._counted_at = float(COST_BUDGET), 0

    def asked(self, request: Request) -> None:
        """The exchange's purse of points, refilled evenly: a new life of ours finds it as the last one left it."""
        refilled = (request.at - self._counted_at) / SECOND_US * COST_BUDGET / COST_WINDOW_S
        paged = request.op == "fills" and "lastFillTime" in request.form
        cost = COST_FILLS_PAGED if paged else COST.get(request.path, 0)
        self._points, self._counted_at = min(COST_BUDGET, self._points + refilled) - cost, request.at
        if self._points < -1:  # not for a rounding
            self.fail(f"{request.op}: the exchange's {COST_BUDGET} points in {COST_WINDOW_S} s are used up")

    def sent(self, sent: Sent) -> None:
        follows = sent.op == "edit" and self._followed[sent.symbol] > 0
        self._followed[sent.symbol] -= follows
        stranger = frozenset({sent.order_id} if sent.op == "cancel" and sent.order_id else ())
        now = [] if follows or stranger - self._cancelled else [(sent.at, sent.name)]
        self._cancelled |= stranger
        self._vain = [*(row for row in self._vain if row[0] > sent.at - MINUTE_US), *now]
        if len(self._vain) > VAIN_MOST:
            self.fail(f"{len(self._vain)} changing requests within a minute")
        if not sent.is_entry:
            return
        mine = self._entries[sent.symbol] = [a for a in self._entries.get(sent.symbol, []) if a > sent.at - HOUR_US]
        mine.append(sent.at)
        if sum(at > sent.at - MINUTE_US for at in mine) > self.e.settings.execution.orders_per_minute:
            self.fail(f"{sent.symbol}: too many entries within a minute")
        if sum(len(ats) for ats in self._entries.values()) > 60:
            self.fail("more than 60 entries within an hour")

    def filled(self, fill: Fill) -> None:
        self._vain = [row for row in self._vain if row[1] != fill.client_order_id]
        self._followed[fill.symbol] = EXITS

"""The signal: one case, every rule, and an entry or a refusal with the whole verdict. Pure; the rules are in `rules`."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final

import msgspec

from actors.memory import remember
from actors.risk.figures import daily_loss_pct, drawdown_pct, exposure, funding_mean
from actors.risk.rules import Case, Finding, best_size, book_leaves, expected_hold_h, judge, slippage, spread_is_wide
from actors.risk.sizing import Plan, plan
from actors.risk.state import Answers, Entry, Pending, State, roll_day
from protocol import codec, ids
from protocol.messages.base import Message, follow
from protocol.messages.control import Alert
from protocol.messages.futures import EnterPosition, Instrument, MarkPrice, SignalRefused
from protocol.messages.signal import Signal
from protocol.units import DAY_US, Side, decimal, seconds_us

REMEMBERED_SIGNALS: Final = 256
BASIS: Final = frozenset({"basis.wide", "basis.skewed"})
FUNDING: Final = frozenset({"funding.adverse", "funding.spike"})
UNKNOWN: Final = frozenset(
    f"{what}.{lack}" for what in ("mark", "spot", "equity", "instrument", "funding") for lack in ("unknown", "stale")
)
PENDING_MARGIN_S: Final = 2
"""After `process_before` the exchange refuses an entry; a reply may still be on its way for so long."""


def on_signal(state: State, message: Signal) -> Answers:
    """Judge a signal by every rule, then enter or refuse, and say why either way."""
    state = roll_day(state, message.at)
    return decide(state, message)


def retry(state: State, cause: Message, symbol: str) -> Answers:
    """Judge again the signals of a symbol that wait for its basis to narrow: a price has come."""
    said: list[Message] = []
    for signal in state.memory.delayed:
        if state.futures_of.get(signal.symbol) == symbol:
            waiting = tuple(other for other in state.memory.delayed if other is not signal)
            state, more = decide(
                remember(state, delayed=waiting), msgspec.structs.replace(signal, at=cause.at), again=True
            )
            said += more
    return state, said


def may_wait(state: State, reasons: tuple[str, ...], again: bool) -> bool:
    """Whether nothing but the basis keeps an entry back, and settings say to wait for it.

    One that waits goes on while something is unknown: after a restart the facts come one by one.
    """
    bearable = BASIS | UNKNOWN if again else BASIS
    return state.settings.risk.basis_on_wide == "delay" and bool(reasons) and set(reasons) <= bearable


def decide(state: State, message: Signal, again: bool = False) -> Answers:
    """Enter, refuse, or wait; that one waits is said once."""
    case = build_case(state, message)
    findings = judge(case)
    reasons = tuple(code for code, finding in findings if finding.passed is False)
    if may_wait(state, reasons, again):
        state = remember(state, delayed=(*state.memory.delayed, message))
        text = f"{message.symbol}: signal {message.id} waits for the basis to narrow"
        said = follow(message, Alert, "delayed", code="BASIS_WIDE", severity="info", text=text)
        return state, () if again else (said,)
    verdict = codec.encode(
        Verdict(
            signal_id=message.id,
            approved=not reasons,
            reasons=reasons,
            rules=tuple(
                RuleResult(code=code, passed=finding.passed, value=finding.value, threshold=finding.threshold)
                for code, finding in findings
            ),
            plan=case.plan,
            inputs=inputs(case),
        )
    ).decode()
    if not case.seen:
        state = remember(state, signals=(*state.memory.signals, message.id)[-REMEMBERED_SIGNALS:])
    if reasons or case.plan is None or case.symbol is None or case.mark is None:
        symbol = case.symbol or message.symbol
        refusal = follow(message, SignalRefused, signal_id=message.id, symbol=symbol, reasons=reasons, verdict=verdict)
        return state, (*told_apart(message, symbol, findings), refusal)
    return enter(state, case, verdict, planned=case.plan, symbol=case.symbol, mark=case.mark.mark)


def told_apart(signal: Signal, symbol: str, findings: Sequence[tuple[str, Finding]]) -> Sequence[Message]:
    """What a person should hear of beside the refusal: funding that an open position pays too."""
    found = next((f for code, f in findings if code in FUNDING and f.passed is False), None)
    if found is None:
        return ()
    text = f"{symbol}: a {signal.side} would pay {found.value} % an hour in funding, limit {found.threshold} %"
    return (follow(signal, Alert, "funding", code="FUNDING_SPIKE", severity="warning", text=text),)


class RuleResult(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a verdict."""

    code: str
    passed: bool | None
    value: Any
    threshold: Any


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """The journal form of a decision: every rule with what it measured, also when it passed."""

    signal_id: str
    approved: bool
    reasons: tuple[str, ...]
    rules: tuple[RuleResult, ...]
    plan: Plan | None
    inputs: dict[str, Any]


def inputs(case: Case) -> dict[str, Any]:
    """What the rules looked at besides their own values; margin is cross: no leverage preference is ever set, and a market that a person isolates is kept in by the door."""
    mark, account, planned = case.mark, case.account, case.plan
    equity = None if account is None else account.equity_usd
    return {
        "margin_mode": "cross",
        "mark": mark and mark.mark,
        "bid": mark and mark.bid,
        "ask": mark and mark.ask,
        "best_size": mark and best_size(mark, case.signal.side),
        "funding_rate": mark and mark.funding_rate,
        "funding_mean": case.funding_mean,
        "expected_hold_h": expected_hold_h(case),
        "slippage": mark and slippage(mark, case.settings),
        "spot": case.spot and case.spot.price,
        "equity_usd": equity,
        "exposure_usd": case.exposure.notional_usd,
        "effective_leverage": (case.exposure.notional_usd + planned.notional_usd) / equity
        if planned and equity
        else None,
        "held": case.exposure.held,
        "pending": case.exposure.pending,
    }


def build_case(state: State, signal: Signal) -> Case:
    """Gather what is known for one signal."""
    memory = state.memory
    symbol = state.futures_of.get(signal.symbol)
    mark = state.marks.get(symbol) if symbol else None
    instrument = state.instruments.get(symbol) if symbol else None
    stop_pct = decimal(signal.stop_pct)
    day_ago = signal.at - DAY_US
    return Case(
        at=signal.at,
        settings=state.settings,
        signal=signal,
        stop_pct=stop_pct,
        take_profit_pct=decimal(signal.take_profit_pct),
        seen=signal.id in memory.signals,
        life_began_at=memory.life_began_at,
        symbol=symbol,
        instrument=instrument,
        mark=mark,
        spot=state.spots.get(signal.symbol),
        account=state.account,
        plan=sized(state, signal.side, stop_pct, mark, instrument),
        exposure=exposure(state, signal.at),
        daily_loss_hit=memory.daily_loss_hit,
        daily_loss_pct=daily_loss_pct(state),
        drawdown_pct=drawdown_pct(state),
        cooldown_until=memory.cooldown_until,
        entries_today=sum(
            entry.symbol == symbol and entry.side == signal.side and entry.at > day_ago for entry in memory.entries
        ),
        max_hold_bars=state.max_hold_bars,
        drifted_at=state.drifts.get(symbol) if symbol else None,
        funding_mean=funding_mean(state, symbol) if symbol else None,
    )


def sized(
    state: State, side: Side, stop_pct: Decimal, mark: MarkPrice | None, instrument: Instrument | None
) -> Plan | None:
    """The entry as it would be sent, None while anything it is computed from is unknown or absurd."""
    if mark is None or instrument is None or instrument.inverse or state.account is None:
        return None
    if not (stop_pct.is_finite() and 0 < stop_pct < 1 and state.account.equity_usd > 0):
        return None
    risk = state.settings.risk
    return plan(
        side=side,
        stop_pct=stop_pct,
        mark=mark.mark,
        equity_usd=state.account.equity_usd,
        risk_pct=risk.risk_pct,
        taker_fee_pct=risk.taker_fee_pct,
        instrument=instrument,
        weight=risk.spread_wide_size_x if spread_is_wide(mark, state.settings) else Decimal(1),
        most=book_leaves(mark, side, state.settings),
    )


def enter(state: State, case: Case, verdict: str, *, planned: Plan, symbol: str, mark: Decimal) -> Answers:
    """Approve: the entry counts as exposure from now on. A book left over from a position that is gone is dropped."""
    signal = case.signal
    window_s = state.settings.execution.process_before_s + PENDING_MARGIN_S
    pending = Pending(
        signal_id=signal.id,
        client_order_id=ids.client_order_id(signal.id, "entry"),
        symbol=symbol,
        side=signal.side,
        size=planned.size,
        notional_usd=planned.notional_usd,
        initial_margin_usd=planned.initial_margin_usd,
        maintenance_margin_usd=planned.maintenance_margin_usd,
        expires=signal.at + seconds_us(window_s),
    )
    entry = Entry(signal_id=signal.id, symbol=symbol, side=signal.side, at=signal.at)
    state = remember(
        state,
        pending=(*(p for p in state.memory.pending if p.unknown or signal.at <= p.expires), pending),
        entries=(*(e for e in state.memory.entries if e.at > signal.at - DAY_US), entry),
        book={held: holding for held, holding in state.memory.book.items() if held != symbol},
    )
    order = follow(
        signal,
        EnterPosition,
        signal_id=signal.id,
        symbol=symbol,
        spot_symbol=signal.symbol,
        timeframe=signal.timeframe,
        side=signal.side,
        size=planned.size,
        stop_pct=case.stop_pct,
        take_profit_pct=case.take_profit_pct,
        spot_entry=decimal(signal.entry),
        mark=mark,
        leverage=planned.leverage,
        valid_until=signal.valid_until,
        exit_on_choch=state.exit_on_choch,
        max_hold_bars=state.max_hold_bars,
        verdict=verdict,
    )
    return state, (order,)

"""Risk: turns a signal into a sized entry or a refusal, and holds entries back while the account or the market is unfit. Pure.

Knows what is held, what it costs and what was lost. Must not know orders, candles or why a signal was given.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any, Final, Literal

import msgspec

from actors.risk import book as books
from actors.risk.guards import ACCOUNT_GUARDS, SYMBOL_GUARDS, Guard, View, liquidation_distance_pct
from actors.risk.rules import Case, Exposure, judge
from actors.risk.sizing import HUNDRED, Plan, plan
from config.settings import Settings
from protocol import codec, ids
from protocol.messages.base import Message, follow
from protocol.messages.control import Alert, Drift, HaltEntries, KillRequested, ResumeEntries, Started, WakeAt, Woken
from protocol.messages.futures import (
    Account,
    AccountChanged,
    EnterPosition,
    EntryBlocked,
    ExchangeSnapshot,
    Filled,
    Instrument,
    InstrumentsListed,
    MarkPrice,
    OrderGone,
    OrderRejected,
    OrderUnknown,
    Position,
    PositionChanged,
    SignalRefused,
)
from protocol.messages.signal import Signal
from protocol.messages.spot import SpotPrice
from protocol.units import DAY_US, HOUR_US, Side, day_start_us, decimal, seconds_us

REMEMBERED_SIGNALS: Final = 256
REMEMBERED_FILLS: Final = 256
PENDING_MARGIN_S: Final = 2
"""After `process_before` the exchange refuses an entry; a reply may still be on its way for so long."""
ZERO: Final = Decimal(0)
FORCED: Final = {
    "liquidation": "LIQUIDATED",
    "assignor": "LIQUIDATED",
    "assignee": "ASSIGNED",
    "unwindBankrupt": "LIQUIDATED",
    "unwindCounterparty": "DELEVERAGED",
}
"""Fill types that are the exchange's doing. Each latches the kill switch (fault-catalogue 41, 42)."""


class Pending(msgspec.Struct, frozen=True, kw_only=True):
    """An approved entry that may still fill: exposure until it is filled, refused, or out of time. `unknown` never times out."""

    signal_id: str
    client_order_id: str
    symbol: str
    side: Side
    size: Decimal
    notional_usd: Decimal
    initial_margin_usd: Decimal
    maintenance_margin_usd: Decimal
    expires: int
    unknown: bool = False


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """An entry that was approved."""

    signal_id: str
    symbol: str
    side: Side
    at: int


class Memory(msgspec.Struct, frozen=True, kw_only=True):
    """What must survive a crash. `day` is 00:00 UTC of the day `day_equity_usd` belongs to; None: not known."""

    day: int = 0
    day_equity_usd: Decimal | None = None
    daily_loss_hit: bool = False
    peak_equity_usd: Decimal | None = None
    losing_streak: int = 0
    cooldown_until: int = 0
    signals: tuple[str, ...] = ()
    entries: tuple[Entry, ...] = ()
    pending: tuple[Pending, ...] = ()
    fills: tuple[str, ...] = ()
    book: dict[str, books.Holding] = {}


class Held(msgspec.Struct, frozen=True):
    """A position as last told, and when."""

    position: Position
    at: int


class State(msgspec.Struct, frozen=True, kw_only=True):
    """Everything risk knows. Mappings are replaced, never changed in place. `halts`: what was last said under each key."""

    settings: Settings
    exit_on_choch: Literal["exec", "4h", "off"]
    max_hold_bars: int
    memory: Memory
    restarted: bool = False
    instruments: dict[str, Instrument] = {}
    marks: dict[str, MarkPrice] = {}
    spots: dict[str, SpotPrice] = {}
    positions: dict[str, Held] = {}
    account: Account | None = None
    drifts: dict[str, int] = {}
    halts: dict[str, bool] = {}


Answers = tuple[State, Sequence[Message]]
NONE: Final[Sequence[Message]] = ()


def initial(settings: Settings, memory: bytes | None) -> State:
    """The state of a new life, with what an earlier one kept. Raises msgspec.DecodeError on foreign bytes."""
    params = settings.strategy.model_dump()
    return State(
        settings=settings,
        exit_on_choch=params.get("exit_on_choch", "4h"),
        max_hold_bars=params.get("max_hold_bars", 0),
        memory=msgspec.json.decode(memory, type=Memory) if memory else Memory(),
    )


def durable(state: State) -> bytes:
    """What must survive a crash, as bytes for `initial`."""
    return codec.encode(state.memory)


def remembered(state: State) -> object:
    """The piece of state `durable` is made of."""
    return state.memory


def step(state: State, message: Message) -> Answers:
    """One decision. A message nobody here cares about changes nothing."""
    handler = HANDLERS.get(type(message))
    return (state, NONE) if handler is None else handler(state, message)


def remember(state: State, **changes: object) -> State:
    """State with some of its memory replaced."""
    return msgspec.structs.replace(state, memory=msgspec.structs.replace(state.memory, **changes))


# --- time ----------------------------------------------------------------------------------------------------


def on_started(state: State, message: Started) -> Answers:
    """Arm the timers. After a restart every halt is said anew, as the gate may still hold one that is over."""
    state = msgspec.structs.replace(state, restarted=message.restarted, halts={})
    state = roll_day(state, message.at)
    wakes = [day_wake(message)]
    if message.at < state.memory.cooldown_until:
        wakes.append(follow(message, WakeAt, "cooldown", key="cooldown", due=state.memory.cooldown_until))
    state, said = watch_account(state, message)
    return state, (*wakes, *said)


def on_woken(state: State, message: Woken) -> Answers:
    """A new day, or the end of a cool-down."""
    state = roll_day(state, message.at)
    state, said = watch_account(state, message)
    return state, ((day_wake(message), *said) if message.key == "day" else said)


def day_wake(cause: Message) -> WakeAt:
    """Wake at the next 00:00 UTC."""
    return follow(cause, WakeAt, "day", key="day", due=day_start_us(cause.at) + DAY_US)


def roll_day(state: State, at: int) -> State:
    """Begin a new UTC day with the equity last known. A clock that steps back begins nothing."""
    day = day_start_us(at)
    if day <= state.memory.day:
        return state
    equity = state.account.equity_usd if state.account else None
    return remember(state, day=day, day_equity_usd=equity, daily_loss_hit=False)


# --- facts ---------------------------------------------------------------------------------------------------


def on_instruments(state: State, message: InstrumentsListed) -> Answers:
    """The rules of the contracts, replaced as a whole."""
    listed = {instrument.symbol: instrument for instrument in message.instruments}
    return msgspec.structs.replace(state, instruments=listed), NONE


def on_mark(state: State, message: MarkPrice) -> Answers:
    """A newer mark. One older than the last is not news, and what is no price is no mark: the last one ages instead."""
    last = state.marks.get(message.symbol)
    if last is not None and message.mark_time < last.mark_time:
        return state, NONE
    if not (message.mark.is_finite() and message.mark > 0):
        return state, NONE
    state = msgspec.structs.replace(state, marks={**state.marks, message.symbol: message})
    state, said = watch_symbol(state, message, message.symbol)
    if message.symbol not in state.positions or state.account is None:
        return state, said
    state, more = watch_account(state, message)
    return state, (*said, *more)


def on_spot(state: State, message: SpotPrice) -> Answers:
    """A newer spot price. What is no price is ignored: the last one ages instead."""
    if not (math.isfinite(message.price) and message.price > 0):
        return state, NONE
    state = msgspec.structs.replace(state, spots={**state.spots, message.symbol: message})
    symbol = state.settings.futures_of.get(message.symbol)
    return watch_symbol(state, message, symbol) if symbol else (state, NONE)


def on_account(state: State, message: AccountChanged) -> Answers:
    """Equity: the day's first, the highest, and whether too much of either is gone."""
    state = roll_day(state, message.at)
    equity = message.account.equity_usd
    state = msgspec.structs.replace(state, account=message.account)
    memory = state.memory
    if memory.day_equity_usd is None:
        state = remember(state, day_equity_usd=equity)
    if memory.peak_equity_usd is None or equity > memory.peak_equity_usd:
        state = remember(state, peak_equity_usd=equity)
    lost = daily_loss_pct(state)
    if not memory.daily_loss_hit and lost is not None and lost >= state.settings.risk.daily_loss_max_pct:
        state = remember(state, daily_loss_hit=True)
    return watch_account(state, message)


def on_position(state: State, message: PositionChanged) -> Answers:
    """The exchange's word on what is held."""
    return hold(state, message, (message.position,), message.at)


def hold(state: State, cause: Message, positions: Sequence[Position], at: int) -> Answers:
    """Take over positions, then look at their symbols and the account again."""
    held = state.positions | {position.symbol: Held(position, at) for position in positions}
    state = msgspec.structs.replace(state, positions=held)
    said: list[Message] = []
    for position in positions:
        state, more = watch_symbol(state, cause, position.symbol)
        said += more
        said += kill_near_liquidation(state, cause, position)
    state, more = watch_account(state, cause)
    return state, (*said, *more)


def kill_near_liquidation(state: State, cause: Message, position: Position) -> Sequence[Message]:
    """Under half the buffer the stop has failed its purpose: reduce, not only alert (fault-catalogue 47)."""
    distance = liquidation_distance_pct(state.marks.get(position.symbol), position)
    if distance is None or distance >= state.settings.risk.liquidation_buffer_pct / 2:
        return NONE
    reason = f"LIQ_NEAR: {position.symbol} is {distance:.2f} % from liquidation"
    return (follow(cause, KillRequested, position.symbol, reason=reason, by="risk"),)


def on_snapshot(state: State, message: ExchangeSnapshot) -> Answers:
    """The whole truth: what it does not list is flat; a book that disagrees and is older is corrected."""
    listed = {position.symbol: position for position in message.positions}
    known = sorted(
        symbol for symbol, held in state.positions.items() if symbol not in listed and held.at <= message.began_at
    )
    flat = [Position(symbol=symbol, size=ZERO, entry_price=ZERO) for symbol in known]
    book = dict(state.memory.book)
    for symbol, holding in state.memory.book.items():
        position = listed.get(symbol)
        size = position.size if position else ZERO
        if holding.at <= message.began_at and size != holding.size:
            del book[symbol]
    if book != state.memory.book:
        state = remember(state, book=book)
    return hold(state, message, [*message.positions, *flat], message.began_at)


def on_drift(state: State, message: Drift) -> Answers:
    """The reconciler found us wrong about a symbol. A missing order is evidence that a pending entry never was."""
    state = msgspec.structs.replace(state, drifts={**state.drifts, message.symbol: message.at})
    if message.kind == "missing_order" and message.client_order_id is not None:
        state = settle(state, message.client_order_id)
    return state, NONE


# --- our entries ---------------------------------------------------------------------------------------------


def on_refused(state: State, message: OrderRejected | EntryBlocked) -> Answers:
    """An entry that never was: its exposure ends. A refused edit or cancel says nothing about the order."""
    if isinstance(message, OrderRejected) and message.wish != "place":
        return state, NONE
    return settle(state, message.client_order_id), NONE


def on_gone(state: State, message: OrderGone) -> Answers:
    """An entry that can fill no more."""
    return settle(state, message.client_order_id), NONE


def on_unknown(state: State, message: OrderUnknown) -> Answers:
    """An entry of unknown outcome is exposure until evidence says otherwise: no clock ends it."""
    if message.wish != "place":
        return state, NONE
    pending = tuple(
        msgspec.structs.replace(entry, unknown=True) if entry.client_order_id == message.client_order_id else entry
        for entry in state.memory.pending
    )
    return (remember(state, pending=pending), NONE) if pending != state.memory.pending else (state, NONE)


def settle(state: State, client_order_id: str | None) -> State:
    """Forget a pending entry."""
    pending = tuple(entry for entry in state.memory.pending if entry.client_order_id != client_order_id)
    return state if len(pending) == len(state.memory.pending) else remember(state, pending=pending)


def on_filled(state: State, message: Filled) -> Answers:
    """Book a fill: pending exposure becomes held, an ended trade counts as won or lost."""
    fill = message.fill
    if fill.fill_id in state.memory.fills:
        return state, NONE
    instrument = state.instruments.get(fill.symbol)
    # An unlisted contract is booked one to one: the sign of the result, all that is used, does not depend on it.
    contract_size = instrument.contract_size if instrument else Decimal(1)
    holding, result = books.book(
        state.memory.book.get(fill.symbol), fill, message.at, contract_size, state.settings.risk.taker_fee_pct
    )
    others = {symbol: held for symbol, held in state.memory.book.items() if symbol != fill.symbol}
    state = remember(
        state,
        fills=(*state.memory.fills, fill.fill_id)[-REMEMBERED_FILLS:],
        pending=reduce_pending(state.memory.pending, fill.client_order_id, fill.size),
        book=others if holding is None else {**others, fill.symbol: holding},
    )
    said: list[Message] = []
    if result is not None:
        state = count_result(state, result, message.at)
        if message.at < state.memory.cooldown_until:
            said.append(follow(message, WakeAt, "cooldown", key="cooldown", due=state.memory.cooldown_until))
    code = FORCED.get(fill.fill_type)
    if code is not None:
        text = f"{code}: {fill.fill_type} of {fill.size} {fill.symbol} at {fill.price}, fill {fill.fill_id}"
        said.append(follow(message, Alert, code, code=code, severity="critical", text=text))
        said.append(follow(message, KillRequested, code, reason=text, by="risk"))
    state, more = watch_account(state, message)
    return state, (*said, *more)


def reduce_pending(pending: tuple[Pending, ...], client_order_id: str | None, size: Decimal) -> tuple[Pending, ...]:
    """Pending entries after `size` of one was filled: the rest still counts, in proportion."""
    if not any(entry.client_order_id == client_order_id for entry in pending):
        return pending
    rest: list[Pending] = []
    for entry in pending:
        if entry.client_order_id != client_order_id:
            rest.append(entry)
        elif entry.size > size:
            left = (entry.size - size) / entry.size
            rest.append(
                msgspec.structs.replace(
                    entry,
                    size=entry.size - size,
                    notional_usd=entry.notional_usd * left,
                    initial_margin_usd=entry.initial_margin_usd * left,
                    maintenance_margin_usd=entry.maintenance_margin_usd * left,
                )
            )
    return tuple(rest)


def count_result(state: State, result_usd: Decimal, at: int) -> State:
    """A loss lengthens the streak, anything else ends it; a full streak starts the cool-down and a new count."""
    if result_usd >= 0:
        return remember(state, losing_streak=0)
    streak = state.memory.losing_streak + 1
    if streak < state.settings.risk.loss_streak_max:
        return remember(state, losing_streak=streak)
    return remember(state, losing_streak=0, cooldown_until=at + state.settings.risk.cooldown_h * HOUR_US)


# --- figures -------------------------------------------------------------------------------------------------


def lost_pct(equity: Decimal, of: Decimal | None) -> Decimal | None:
    """How far `equity` is below `of`, in percent; None when there is nothing to compare with."""
    return None if of is None or of <= 0 else max(ZERO, (of - equity) / of * HUNDRED)


def daily_loss_pct(state: State) -> Decimal | None:
    """Of equity at 00:00 UTC."""
    return lost_pct(state.account.equity_usd, state.memory.day_equity_usd) if state.account else None


def drawdown_pct(state: State) -> Decimal | None:
    """From the highest equity seen."""
    return lost_pct(state.account.equity_usd, state.memory.peak_equity_usd) if state.account else None


def held_size(state: State, symbol: str) -> Decimal:
    """Contracts held (unsigned): the exchange's word, and a fill it has not answered yet if that makes it more."""
    held = state.positions.get(symbol)
    told = abs(held.position.size) if held else ZERO
    holding = state.memory.book.get(symbol)
    if holding is None or (held is not None and held.at > holding.at):
        return told
    return max(told, abs(holding.size))


def held_notional_usd(state: State, symbol: str) -> Decimal:
    """At the mark; without one, at what was paid."""
    size = held_size(state, symbol)
    instrument, mark, held = state.instruments.get(symbol), state.marks.get(symbol), state.positions.get(symbol)
    price = mark.mark if mark else held.position.entry_price if held else ZERO
    return size * price * (instrument.contract_size if instrument else Decimal(1))


def held_symbols(state: State) -> tuple[str, ...]:
    """Symbols with anything in them, in order."""
    known = sorted({*state.positions, *state.memory.book})
    return tuple(symbol for symbol in known if held_size(state, symbol) > 0)


def exposure(state: State, at: int) -> Exposure:
    """Held and pending together. Pending that is out of time and not unknown no longer counts."""
    held = held_symbols(state)
    pending = [entry for entry in state.memory.pending if entry.unknown or at <= entry.expires]
    return Exposure(
        held=held,
        pending=tuple(entry.symbol for entry in pending),
        notional_usd=sum((held_notional_usd(state, symbol) for symbol in held), ZERO)
        + sum((entry.notional_usd for entry in pending), ZERO),
        pending_margin_usd=sum((entry.initial_margin_usd for entry in pending), ZERO),
        pending_maintenance_usd=sum((entry.maintenance_margin_usd for entry in pending), ZERO),
    )


def total_leverage(state: State, at: int) -> Decimal | None:
    """Notional of everything held and pending / equity; None when equity is unknown or gone."""
    if state.account is None or state.account.equity_usd <= 0:
        return None
    return exposure(state, at).notional_usd / state.account.equity_usd


# --- guards --------------------------------------------------------------------------------------------------


def watch_account(state: State, cause: Message) -> Answers:
    """Look at every guard of the account."""
    return watch(state, cause, ACCOUNT_GUARDS, view(state, cause.at), "")


def watch_symbol(state: State, cause: Message, symbol: str) -> Answers:
    """Look at every guard of a symbol."""
    spot_symbol = state.settings.spot_of.get(symbol)
    held = state.positions.get(symbol)
    seen = msgspec.structs.replace(
        view(state, cause.at),
        mark=state.marks.get(symbol),
        spot=state.spots.get(spot_symbol) if spot_symbol else None,
        position=held.position if held else None,
    )
    return watch(state, cause, SYMBOL_GUARDS, seen, f":{symbol}")


def view(state: State, at: int) -> View:
    """What guards may look at."""
    return View(
        at=at,
        settings=state.settings,
        daily_loss_hit=state.memory.daily_loss_hit,
        daily_loss_pct=daily_loss_pct(state),
        drawdown_pct=drawdown_pct(state),
        cooldown_until=state.memory.cooldown_until,
        leverage=total_leverage(state, at),
    )


def watch(state: State, cause: Message, guards: Sequence[Guard], seen: View, suffix: str) -> Answers:
    """Say what changed: a halt and an alert when a guard takes hold, a resume when it lets go."""
    said: list[Message] = []
    halts = state.halts
    for guard in guards:
        key = guard.key + suffix
        # In a first life nothing was ever said; after a restart even "all clear" must be said once.
        last = halts.get(key, None if state.restarted else False)
        reading = guard.look(seen, bool(last))
        if reading is None or reading.breached == last:
            continue
        halts = {**halts, key: reading.breached}
        if reading.breached:
            said.append(follow(cause, HaltEntries, key, key=key, reason=reading.text))
            text = f"{key}: {reading.text}"
            said.append(follow(cause, Alert, key, code=guard.code, severity=guard.severity, text=text))
        else:
            said.append(follow(cause, ResumeEntries, key, key=key))
    return (state if halts is state.halts else msgspec.structs.replace(state, halts=halts)), said


# --- the signal ----------------------------------------------------------------------------------------------


def on_signal(state: State, message: Signal) -> Answers:
    """Judge a signal by every rule, then enter or refuse, and say why either way."""
    state = roll_day(state, message.at)
    case = build_case(state, message)
    findings = judge(case)
    reasons = tuple(code for code, finding in findings if finding.passed is False)
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
        )
    ).decode()
    if not case.seen:
        state = remember(state, signals=(*state.memory.signals, message.id)[-REMEMBERED_SIGNALS:])
    if reasons or case.plan is None or case.symbol is None or case.mark is None:
        symbol = case.symbol or message.symbol
        refusal = follow(message, SignalRefused, signal_id=message.id, symbol=symbol, reasons=reasons, verdict=verdict)
        return state, (refusal,)
    return enter(state, case, verdict, planned=case.plan, symbol=case.symbol, mark=case.mark.mark)


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


def build_case(state: State, signal: Signal) -> Case:
    """Gather what is known for one signal."""
    memory = state.memory
    symbol = state.settings.futures_of.get(signal.symbol)
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


HANDLERS: Final[dict[type[Message], Callable[[State, Any], Answers]]] = {
    Started: on_started,
    Woken: on_woken,
    InstrumentsListed: on_instruments,
    MarkPrice: on_mark,
    SpotPrice: on_spot,
    AccountChanged: on_account,
    PositionChanged: on_position,
    ExchangeSnapshot: on_snapshot,
    Drift: on_drift,
    OrderRejected: on_refused,
    EntryBlocked: on_refused,
    OrderGone: on_gone,
    OrderUnknown: on_unknown,
    Filled: on_filled,
    Signal: on_signal,
}

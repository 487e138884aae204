"""The market as the futures feed tells it: marks, the mode of each market, the rules of the contracts. Pure."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from msgspec import to_builtins
from msgspec.structs import replace

from actors.futures_feed.state import ASK_RULES_US, Answer, Marked, State
from protocol.messages.base import Message, follow
from protocol.messages.control import Alert, Severity, WakeAt
from protocol.messages.futures import (
    Instrument,
    InstrumentsListed,
    InstrumentsSeen,
    MarkPrice,
    ModeChanged,
    RequestInstruments,
    SnapshotSeen,
    TickerSeen,
)
from protocol.units import MINUTE_US, SECOND_US

AHEAD_MOST_US: Final = MINUTE_US
"""A price stamped further ahead than this is garbled: taken in, it would keep every later one out."""
RULES_CHANGED: Final = frozenset(
    ("invalidPrice", "invalidSize", "invalidAmount", "contractNotFound", "marketInactive", "marketUnavailable")
)
"""Refusals that say that the contract is no longer what we take it for."""
FROZEN_US: Final = 30 * SECOND_US
FROZEN_SHARE: Final = Decimal("0.003")
"""A mark that has not changed for so long, while trades went so far from where they were then, is as good as none (fault-catalogue 9)."""
DAILY: Final = "instruments"
"""The edge's call to read the contracts' rules once a day."""
MARGIN: Final = "margin"
"""Our own, while a market is isolated or nobody knows: the exchange does not say when a person sets it back."""
ASK_MARGIN_US: Final = MINUTE_US
RULES: Final = tuple(name for name in Instrument.__struct_fields__ if name not in ("isolated_x", "margin_known"))
"""What the exchange lists of a contract; how it is margined is the account's setting."""


def ticker(state: State, seen: TickerSeen) -> Answer:
    before = state.marked.get(seen.symbol)
    if seen.symbol not in state.symbols or (before is not None and seen.time < before.time):
        return state, []
    why = garbled(seen, state.ahead_us)
    if why is not None:
        if seen.symbol in state.refused:
            return state, []
        text = f"{seen.symbol}: price frame refused: {why}; the last good mark stands until it is too old"
        alert = follow(seen, Alert, seen.symbol, code="PRICE_REJECTED", severity="warning", text=text)
        return replace(state, refused=(*state.refused, seen.symbol)), [alert]
    marked = moved(before, seen)
    mark = follow(
        seen,
        MarkPrice,
        seen.symbol,
        symbol=seen.symbol,
        mark=seen.mark,
        index=seen.index,
        bid=seen.bid,
        ask=seen.ask,
        funding_rate=seen.funding_rate,
        suspended=seen.suspended,
        post_only=seen.post_only,
        mark_time=seen.time,
        bid_size=seen.bid_size,
        ask_size=seen.ask_size,
        frozen=marked.frozen,
    )
    refused = tuple(s for s in state.refused if s != seen.symbol) if state.refused else ()
    state = replace(state, marked={**state.marked, seen.symbol: marked}, refused=refused)
    if not (seen.suspended or seen.post_only or seen.symbol in state.closed):
        return state, [mark]
    state, more = changed_mode(state, seen)
    return state, [mark, *more]


def moved(before: Marked | None, seen: TickerSeen) -> Marked:
    """What is known of a symbol's mark after its newest ticker."""
    if before is None or before.mark != seen.mark:
        return Marked(seen.time, seen.mark, seen.time, seen.last)
    still_us, away = seen.time - before.since, abs(seen.last - before.last)
    frozen = before.frozen or (still_us >= FROZEN_US and away > before.last * FROZEN_SHARE)
    return Marked(seen.time, before.mark, before.since, before.last, frozen)


def garbled(seen: TickerSeen, clock_ahead_us: int) -> str | None:
    """Why the frame cannot be believed, or None. A clock that is known to be behind makes no price one of the future."""
    for name, price in (("mark", seen.mark), ("index", seen.index), ("bid", seen.bid), ("ask", seen.ask)):
        if not price.is_finite() or price <= 0:
            return f"{name} is {price}"
    ahead_us = seen.time - (seen.at - clock_ahead_us)
    if ahead_us > AHEAD_MOST_US:
        return f"stamped {ahead_us // SECOND_US} s ahead"
    return None


def changed_mode(state: State, seen: TickerSeen) -> Answer:
    """A market closed, or opened again: a person is told, and the contract's rules are read anew (it may be on its way out)."""
    mode = "suspended" if seen.suspended else "post-only" if seen.post_only else ""
    before = state.closed.get(seen.symbol, "")
    if mode == before:
        return state, []
    closed = {symbol: how for symbol, how in state.closed.items() if symbol != seen.symbol}
    held = state.positions.get(seen.symbol)
    exposed = bool(mode and held is not None and held[0].size)
    text = f"{seen.symbol} is {mode or 'open'} (was {before or 'open'})" + (
        "; a position is open in it" if exposed else ""
    )
    severity: Severity = "critical" if exposed else "warning"
    changed = follow(seen, ModeChanged, symbol=seen.symbol, mode=mode)
    alert = follow(seen, Alert, "mode", code="VENUE_MODE", severity=severity, text=text)
    state, out = ask_rules(replace(state, closed={**closed, seen.symbol: mode} if mode else closed), seen, text)
    return state, [changed, alert, *out]


def refused_by_rules(state: State, cause: Message, status: str) -> Answer:
    """A refusal that says that the contract is no longer what we take it for."""
    return ask_rules(state, cause, status) if status.partition(":")[0] in RULES_CHANGED else (state, [])


def ask_rules(state: State, cause: Message, reason: str) -> Answer:
    """Read the contracts' rules again, at most once in a while: refusals come in bursts."""
    if cause.at < state.asked_rules + ASK_RULES_US:
        return state, []
    return replace(state, asked_rules=cause.at), [follow(cause, RequestInstruments, reason=reason)]


def instruments(state: State, seen: InstrumentsSeen) -> Answer:
    if not seen.instruments:
        text = "the exchange lists no contract that can be read, as during maintenance; the rules known stand"
        return state, [follow(seen, Alert, code="INSTR_CHANGED", severity="warning", text=text)]
    ours = tuple(_margined(i, state.instruments.get(i.symbol)) for i in seen.instruments if i.symbol in state.symbols)
    listed = {i.symbol for i in ours}
    unlisted = tuple(s for s in state.symbols if s not in listed)
    out: list[Message] = [follow(seen, InstrumentsListed, instruments=ours)]
    for instrument in ours:
        before, held = state.instruments.get(instrument.symbol), state.positions.get(instrument.symbol)
        out += told_changes(seen, before, instrument)
        out += told_margin(seen, before, instrument, exposed=held is not None and bool(held[0].size))
    if any(i.margin != "cross" for i in (*ours, *seen.instruments) if i.symbol in state.symbols):
        out.append(_wake(seen))
    state = replace(state, instruments={i.symbol: i for i in ours})
    for symbol in unlisted:
        if symbol not in state.unlisted:
            text = (
                f"{symbol} is not in the exchange's contract list: check `symbols` in the settings, or it was delisted"
            )
            out.append(follow(seen, Alert, symbol, code="INSTR_DELISTING", severity="critical", text=text))
    return replace(state, unlisted=unlisted), out


def told_changes(cause: Message, before: Instrument | None, now: Instrument) -> list[Message]:
    """What a person must know of a contract whose rules are others than before; of a new one only that it is not traded."""
    names = RULES if before is not None else () if now.tradeable else ("tradeable",)
    pairs = [(name, getattr(before, name, True), getattr(now, name)) for name in names]
    changes = [f"{name} {to_builtins(old)} -> {to_builtins(new)}" for name, old, new in pairs if old != new]
    if not changes:
        return []
    told = f"{now.symbol}: {'; '.join(changes)}"
    if now.tradeable or (before is not None and not before.tradeable):
        return [follow(cause, Alert, now.symbol, code="INSTR_CHANGED", severity="warning", text=told)]
    told += "; it is traded no more: no order can be had, a position is settled by the exchange"
    return [follow(cause, Alert, now.symbol, code="INSTR_DELISTING", severity="critical", text=told)]


def _margined(now: Instrument, before: Instrument | None) -> Instrument:
    """What was known before of how it is margined stands while that cannot be read."""
    if now.margin_known or before is None:
        return now
    return replace(now, isolated_x=before.isolated_x, margin_known=before.margin_known)


def told_margin(cause: Message, before: Instrument | None, now: Instrument, *, exposed: bool) -> list[Message]:
    """A market that the account isolates, or that it does not tell of; and that it is at cross margin again. Told once."""
    if now.margin == ("cross" if before is None else before.margin):
        return []
    if now.margin == "cross":
        text = f"{now.symbol} is at cross margin: entries may leave in it"
    elif now.margin_known:
        near = "; a position is open in it, nearer to liquidation than was reckoned" if exposed else ""
        text = (
            f"{now.symbol} is {now.margin} and sizes are reckoned for cross margin: no entry leaves in it, exits go on{near}. Set it "
            "back to cross on Kraken, the daemon never does; it looks each minute"
        )
    else:
        text = (
            f"{now.symbol}: Kraken does not tell whether the account has it isolated: no entry leaves in it until it does, exits go "
            "on; asked each minute"
        )
    severity: Severity = "critical" if exposed and now.isolated_x is not None else "warning"
    return [follow(cause, Alert, f"{MARGIN} {now.symbol}", code="MARGIN_MODE", severity=severity, text=text)]


def ask_margin(state: State, cause: Message) -> Answer:
    """A minute later a person may have set it back, and the account may say."""
    state, out = ask_rules(state, cause, "a market is not known to be at cross margin")
    again = any(i.margin != "cross" for i in state.instruments.values())
    return state, [*out, _wake(cause)] if again else out


def held_isolated(state: State, seen: SnapshotSeen) -> Answer:
    """A position that the exchange shows isolated in a market that we take for cross: a person set it since it was read."""
    rules = state.instruments
    found = [p.symbol for p in seen.positions if p.isolated_x and p.symbol in rules]
    wrong = [symbol for symbol in found if rules[symbol].margin == "cross"]
    return ask_rules(state, seen, f"{wrong[0]} is held isolated") if wrong else (state, [])


def _wake(cause: Message) -> Message:
    return follow(cause, WakeAt, MARGIN, key=MARGIN, due=cause.at + ASK_MARGIN_US)

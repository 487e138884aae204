"""Looks at every guard whenever a fact changed, and says what took hold or let go. Pure; the guards are in `guards`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import msgspec

from actors.memory import remember
from actors.risk.figures import daily_loss_pct, drawdown_pct, total_leverage
from actors.risk.guards import (
    ACCOUNT_GUARDS,
    DRAWDOWN,
    SYMBOL_GUARDS,
    Guard,
    View,
    basis_now_pct,
    liquidation_distance_pct,
)
from actors.risk.state import NONE, Answers, State
from protocol.messages.base import Message, follow
from protocol.messages.control import Alert, HaltEntries, KillRequested, ResumeEntries, RiskState

Watched = Sequence[tuple[str, Guard]]
"""Guards, each with the key by which it is known."""
OF_ACCOUNT: Final[Watched] = tuple((guard.key, guard) for guard in ACCOUNT_GUARDS)


@lru_cache(maxsize=64)
def of_symbol(symbol: str) -> Watched:
    """The guards of a symbol."""
    return tuple((f"{guard.key}:{symbol}", guard) for guard in SYMBOL_GUARDS)


def kill_near_liquidation(state: State, cause: Message, symbol: str) -> Answers:
    """Under half the buffer the stop has failed its purpose: reduce, not only alert (fault-catalogue 47). Asked for once."""
    held, key = state.positions.get(symbol), f"kill:{symbol}"
    distance = liquidation_distance_pct(state.marks.get(symbol), held.position if held else None)
    near = distance is not None and distance < state.settings.risk.liquidation_buffer_pct / 2
    if near == state.halts.get(key, False):
        return state, NONE
    state = msgspec.structs.replace(state, halts={**state.halts, key: near})
    if not near:
        return state, NONE
    reason = f"LIQ_NEAR: {symbol} is {distance:.2f} % from liquidation"
    return state, (follow(cause, KillRequested, symbol, reason=reason, by="risk"),)


def watch_account(state: State, cause: Message) -> Answers:
    """Look at every guard of the account. Whether the drawdown's took hold outlives a crash: it lets go later than it takes hold."""
    state, said = watch(state, cause, OF_ACCOUNT, view(state, cause.at))
    hit = state.halts.get(DRAWDOWN, state.memory.drawdown_hit)
    return (state if hit == state.memory.drawdown_hit else remember(state, drawdown_hit=hit)), said


def watch_symbol(state: State, cause: Message, symbol: str) -> Answers:
    """Look at every guard of a symbol."""
    spot_symbol = state.spot_of.get(symbol)
    held, mark = state.positions.get(symbol), state.marks.get(symbol)
    seen = View(
        at=cause.at,
        settings=state.settings,
        mark=mark,
        basis_pct=basis_now_pct(mark, state.spots.get(spot_symbol) if spot_symbol else None, state.settings),
        position=held.position if held else None,
    )
    return watch(state, cause, of_symbol(symbol), seen, symbol)


def view(state: State, at: int) -> View:
    """What guards of the account may look at."""
    return View(
        at=at,
        settings=state.settings,
        daily_loss_hit=state.memory.daily_loss_hit,
        daily_loss_pct=daily_loss_pct(state),
        drawdown_hit=state.memory.drawdown_hit,
        drawdown_pct=drawdown_pct(state),
        cooldown_until=state.memory.cooldown_until,
        leverage=total_leverage(state, at),
    )


def watch(state: State, cause: Message, guards: Watched, seen: View, symbol: str = "") -> Answers:
    """Say what changed: an alert and, of most, a halt (of one symbol or of all) when a guard takes hold, a resume when it lets go."""
    said: list[Message] = []
    halts = state.halts
    # In a first life nothing was ever said; after a restart even "all clear" must be said once.
    unsaid = None if state.restarted else False
    for key, guard in guards:
        last = halts.get(key, unsaid)
        reading = guard.look(seen, bool(last))
        if reading is None and last is None and seen.position is not None:
            # An earlier life may have raised it: that nothing is held must be said, too.
            reading = guard.look(seen, True)
        if reading is None or reading.breached == last:
            continue
        halts = {**halts, key: reading.breached}
        told = {"guard": guard.key, "symbol": symbol, "raised": reading.breached, "text": reading.text}
        said.append(follow(cause, RiskState, key, **told))
        if guard.halts and reading.breached:
            said.append(follow(cause, HaltEntries, key, key=key, reason=reading.text, symbol=symbol))
        elif guard.halts:
            said.append(follow(cause, ResumeEntries, key, key=key))
        if reading.breached:
            text = f"{key}: {reading.text}"
            said.append(follow(cause, Alert, key, code=guard.code, severity=guard.severity, text=text))
    return (state if halts is state.halts else msgspec.structs.replace(state, halts=halts)), said

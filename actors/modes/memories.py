"""What earlier lives left behind, looked at before a new one begins: unreadable memory is a line for a person, and no trading.

A daemon that started without it would take its own positions for a stranger's; one that died of it, again and again, would ask for
the kill switch. Whatever is protected on the exchange stays so meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

import msgspec

from actors.executor import state as executor
from actors.futures_feed import decide as futures_feed
from actors.ledger.journal import Ledger, open_ledger
from actors.ledger.store import NoLedger, NoServer, SecondInstance, database_url, hidden
from actors.memory import MemoryCorrupt, unsealed
from actors.modes.sites import Refused, StaleState, Unready
from actors.person import decide as person
from actors.reconciler import view as reconciler
from actors.risk import state as risk
from config.settings import Settings
from protocol.ports import Journal, JournalFailed

REMEMBERING: Final[dict[str, Callable[[Settings, bytes | None], object]]] = {
    "executor": executor.initial,
    "risk": risk.initial,
    "reconciler": reconciler.initial,
    "futures_feed": futures_feed.initial,
    "person": person.initial,
}
"""Every actor that keeps something across lives, and what takes it up."""


@contextmanager
def ledger_of(settings: Settings, run_settings: str = "") -> Iterator[Ledger]:
    """The ledger of these settings, readable from end to end. `run_settings`: JSON, noted with the run. Raises StaleState, Unready, Refused."""
    url = database_url(settings.store, settings.mode, settings.env)
    place = hidden(url).removeprefix("sqlite:///")
    with ExitStack() as stack:
        try:
            ledger = stack.enter_context(open_ledger(url, settings=run_settings))
        except SecondInstance as error:
            raise Refused(str(error)) from None
        except NoServer as error:
            raise Unready(str(error)) from None
        except (NoLedger, JournalFailed) as error:
            advice = "start the version that wrote it, or restore a copy; move it away only when nothing is open"
            raise StaleState(f"{place}: the ledger cannot be opened ({error}): {advice}") from None
        must_be_readable(settings, ledger, place)
        yield ledger


def must_serve_what_is_open(settings: Settings, journal: Journal) -> None:
    """Raises StaleState when these settings would leave an open trade without the candles or prices that it is left by."""
    try:
        trades = executor.initial(settings, unsealed("executor", journal.memory("executor"))).memory.trades
    except MemoryCorrupt:
        return
    for symbol, trade in sorted(trades.items()):
        plan, missing = trade.plan, ""
        if symbol not in settings.spot_of:
            missing = f"symbols: {symbol} is not among them"
        elif plan.timeframe not in settings.strategy.exec_tfs and (plan.exit_on_choch != "off" or plan.max_hold_bars):
            missing = f"strategy.exec_tfs: {plan.timeframe} is not among them"
        if missing:
            raise StaleState(
                f"{missing}, and a trade of {symbol} is open that these settings would never leave but by its stop and target, which rest. "
                f"Start with the settings it was opened under and `close {symbol}`, or wait for its end"
            )


def must_be_readable(settings: Settings, journal: Journal, place: str) -> None:
    """Raises StaleState when an actor would not understand what `journal` (at `place`) kept for it.

    What was damaged is no other version's: it is told, and closes everything, when its actor asks for it.
    """
    for name, initial in REMEMBERING.items():
        try:
            initial(settings, unsealed(name, journal.memory(name)))
        except MemoryCorrupt:
            continue
        except msgspec.MsgspecError as error:
            raise StaleState(
                f"{place}: what {name} remembers was written by another version ({error}). Start that version, close what is open and "
                f"stop it; then move {place} away and start this one"
            ) from None

"""Looking after the journal while no daemon runs: whether it is whole, and letting go of what is old."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from actors.ledger.journal import open_reader
from actors.ledger.queries import Prunable, Verdict
from actors.ledger.store import NoLedger, database_url
from actors.modes.memories import ledger_of
from actors.modes.sites import Refused, StaleState, Unready, taken
from actors.state import AlreadyRunning, StateDirectory
from config.settings import Settings
from protocol.ports import JournalFailed
from protocol.units import seconds_us


@dataclass(frozen=True)
class Pruned:
    """What was let go, None when there was nothing; `note`: why the file is as large as before, empty when it is not."""

    gone: Prunable | None
    note: str = ""


def check(settings: Settings) -> Verdict:
    """What the seals say; a daemon may run meanwhile. Raises StaleState where there is no journal, or none that can be read."""
    try:
        with open_reader(database_url(settings.store, settings.mode, settings.env)) as reader:
            return reader.verify()
    except NoLedger as error:
        raise StaleState(str(error)) from None


def prune(settings: Settings, older_than_s: float, *, dry_run: bool = False) -> Pruned:
    """Let go of pages so much older than the newest. Raises Refused while a daemon runs, StaleState, Unready."""
    older_than_us = seconds_us(older_than_s)
    state = StateDirectory(Path(settings.store.directory), settings.mode, settings.env)
    try:
        with open_reader(database_url(settings.store, settings.mode, settings.env)) as reader:
            would = reader.prunable(older_than_us)
    except NoLedger as error:
        raise StaleState(str(error)) from None
    if dry_run or would is None:
        return Pruned(would)
    try:
        with taken(state), ledger_of(settings) as ledger:
            gone = ledger.prune(older_than_us)
            try:
                ledger.give_back()
            except JournalFailed as error:
                return Pruned(gone, f"{error}: its room is taken by what is written next")
            return Pruned(gone)
    except AlreadyRunning:
        raise Refused(
            "a daemon is running: stop it, prune, and start it again; its positions keep their stops"
        ) from None
    except JournalFailed as error:
        raise Unready(f"nothing was let go: {error}") from None

"""One run of the daemon in this process: what is done by the time entries may leave."""

from __future__ import annotations

import gc
from pathlib import Path

from actors.modes.daemon import End, run_daemon
from actors.state import StateDirectory
from config.load import load


def test_what_was_loaded_is_collected_before_entries_may_leave_and_never_looked_at_again(tmp_path: Path) -> None:
    """A collection of everything takes a tenth of a second, in which an order would wait."""
    settings = load("paper", "dev", None, {"store": {"directory": str(tmp_path)}, "market": {"speed": 100_000}}, {})
    state = StateDirectory(tmp_path, settings.mode, settings.env)
    state.own()
    kept: list[tuple[str, int]] = []

    def gate_changed(what: str, is_open: bool) -> None:
        kept.append((what, gc.get_freeze_count()))

    before = gc.get_freeze_count()
    assert run_daemon(settings, state, lambda _sender, _message: None, gate_changed, seconds=30) is End.DONE
    state.release()

    assert min(count for _, count in kept) == before, "nothing is kept while it is starting"
    assert max(count for _, count in kept) > before + 10_000
    assert gc.get_freeze_count() == before

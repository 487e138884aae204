"""Whether an entry may leave: every lease held, nothing halted, nothing latched, a clean reconciliation since the last start.

A lease is a context manager round a feed's connected-and-fresh scope. Leaving that scope by any path (exception,
cancellation, time-out) gives the lease up before anything else can run: a feed failure halts entries by construction,
not by a message that could be late. Knows no order and no exchange; never waits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from protocol.messages.base import Message
from protocol.messages.control import HaltEntries, Reconciled, ResumeEntries
from protocol.ports import LatchState


class Gate:
    """Leases, halts, the latch. `on_change(what, open)` hears every change, for the journal and the person."""

    def __init__(
        self,
        leases: Sequence[str],
        latch: LatchState,
        on_change: Callable[[str, bool], None] = lambda what, is_open: None,
    ) -> None:
        self._leases: dict[str, int] = dict.fromkeys(leases, 0)
        self._halts: dict[str, tuple[str, str]] = {}
        self._latched = latch.latched
        self._reconcile_after: int | None = 0
        self._on_change = on_change

    @contextmanager
    def lease(self, name: str) -> Iterator[None]:
        """Hold lease `name` for as long as the block runs. KeyError: a lease nobody asked for."""
        self._leases[name] += 1
        self._on_change(f"lease.{name}", True)
        try:
            yield
        finally:
            self._leases[name] -= 1
            self._on_change(f"lease.{name}", False)

    def halt(self, key: str, reason: str, symbol: str = "") -> None:
        """No entry leaves until `resume(key)`; with a `symbol` none of that market."""
        if key not in self._halts:
            self._on_change(f"halt.{key}", False)
        self._halts[key] = symbol, reason

    def resume(self, key: str) -> None:
        """End the halt under `key`, if any."""
        if self._halts.pop(key, None) is not None:
            self._on_change(f"halt.{key}", True)

    def latch(self) -> None:
        """The kill switch has latched; only a restart after a person's acknowledgement clears it."""
        if not self._latched:
            self._latched = True
            self._on_change("latch", False)

    def need_reconciliation(self, at: int) -> None:
        """Entries wait for a complete and clean pass against exchange truth begun at or after `at`."""
        self._reconcile_after = at

    def observe(self, message: Message) -> None:
        """Take in a message routed to the gate."""
        match message:
            case HaltEntries(key=key, reason=reason, symbol=symbol):
                self.halt(key, reason, symbol)
            case ResumeEntries(key=key):
                self.resume(key)
            case Reconciled(began_at=began_at, clean=True) if self._reconcile_after is not None:
                if began_at >= self._reconcile_after:
                    self._reconcile_after = None
                    self._on_change("reconciled", True)
            case _:
                pass

    def closed_by(self, *names: str) -> tuple[str, ...]:
        """Everything that keeps entries of a market in, in a fixed order; empty when they may leave.

        `names`: what the market is called, spot and futures; none: everything that keeps any entry in.
        """
        return (
            *(("gate.latched",) if self._latched else ()),
            *(f"gate.lease:{name}" for name, held in self._leases.items() if held == 0),
            *(("gate.not_reconciled",) if self._reconcile_after is not None else ()),
            *(
                f"gate.halt:{key}"
                for key, (symbol, _) in sorted(self._halts.items())
                if not (symbol and names) or symbol in names
            ),
        )

    def leases(self) -> dict[str, bool]:
        """Each lease and whether it is held."""
        return {name: held > 0 for name, held in self._leases.items()}

    def halts(self) -> dict[str, str]:
        """Each halt in force and its reason."""
        return {key: reason for key, (_, reason) in sorted(self._halts.items())}

    @property
    def latched(self) -> bool:
        """Whether the kill switch is on."""
        return self._latched

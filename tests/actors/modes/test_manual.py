"""A person's hands without a daemon: what they send, how often, and what they say."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import trio

from actors.modes import manual
from actors.modes.manual import Answer, ask
from actors.modes.sites import Site
from config.settings import Settings
from protocol.messages.base import Message
from protocol.messages.futures import PlaceOrder, SnapshotFailed, SnapshotSeen
from protocol.ports import Command
from sim.clock import SimulatedClock
from tests.fakes.exchanges import START, HalfDown
from tests.fakes.facts import XBT

CLOSE = {"ask": "close", "symbol": XBT, "by": "ann", "reason": "done"}


class Watched(HalfDown):
    """`sent`: when each order left. `flat_from`: the reading from which on nothing is held, while those before fail."""

    def __init__(self, flat_from: int = 0, **how: Any) -> None:
        super().__init__(**how)
        self.flat_from, self.readings = flat_from, 0
        self.clock = SimulatedClock(START, trio.current_time())
        self.sent: list[float] = []

    async def snapshot(self, *, urgent: bool = False) -> SnapshotSeen | SnapshotFailed:
        self.readings += 1
        if self.flat_from:
            self.blind, self.sizes, self.orders = self.readings < self.flat_from, {}, {}
        return await super().snapshot(urgent=urgent)

    async def send(self, command: Command) -> Sequence[Message]:
        if isinstance(command, PlaceOrder):
            self.sent.append(trio.current_time())
        return await super().send(command)


def asked(
    root: Path, monkeypatch: pytest.MonkeyPatch, request: dict[str, Any], **how: Any
) -> tuple[Answer, list[float]]:
    """What a person is answered without a daemon, and when orders left."""
    exchanges: list[Watched] = []

    @asynccontextmanager
    async def open_site(settings: Settings, *_: Any) -> AsyncIterator[Site]:
        exchanges.append(Watched(**how))
        nowhere: Any = None
        yield Site(settings, exchanges[0].clock, nowhere, exchanges[0])  # type: ignore[arg-type]

    monkeypatch.setattr(manual, "site_of", lambda settings: open_site)
    answer = ask(Settings.model_validate({"store": {"directory": str(root)}}), request)
    return answer, exchanges[0].sent


def closed(root: Path, monkeypatch: pytest.MonkeyPatch, **how: Any) -> tuple[Answer, list[float]]:
    """What `close` says of an exchange, and when its orders left."""
    return asked(root, monkeypatch, CLOSE, **how)


def test_without_a_daemon_only_a_persons_own_halts_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What risk holds it would hold again at the next start: to say that it has ended would be untrue."""
    person = {"by": "ann", "reason": "reviewed"}
    for request, done in (
        ({"ask": "halt"}, True),
        ({"ask": "resume"}, True),
        ({"ask": "resume", "key": "risk.drawdown"}, False),
    ):
        assert asked(tmp_path, monkeypatch, request | person)[0].done == done


def test_a_position_is_closed_by_one_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And nothing of its market rests afterwards."""
    answer, sent = closed(tmp_path, monkeypatch)
    assert (answer.done, len(sent), len(answer.payloads)) == (True, 1, 2)


def test_an_exchange_that_is_read_late_shows_nothing_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first reading that comes says so, not only the first that is tried: nothing was closed."""
    answer, sent = closed(tmp_path, monkeypatch, deaf=[XBT], flat_from=2)
    assert (answer.done, sent, answer.text) == (False, [], f"nothing is held in {XBT}")


def test_what_does_not_close_is_asked_again_ever_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Orders as fast as answers come would use up the exchange's points; a minute of them is said to be in vain."""
    answer, sent = closed(tmp_path, monkeypatch, deaf=[XBT])
    assert not answer.done
    assert "still shows it open" in answer.text
    pauses = [later - earlier for earlier, later in pairwise(sent)]
    assert pauses == pytest.approx([0.5, 1, 2, 4, 8, 16])


def test_an_exchange_that_is_never_read_is_not_called_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unknown is neither open nor closed, and the reason is told."""
    answer, sent = closed(tmp_path, monkeypatch, blind=True)
    assert (answer.done, sent) == (False, [])
    assert "could not be read (HTTP 503), it may be open" in answer.text

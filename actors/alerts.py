"""How often a person is told: one alert a code and minute, with a count of those that came after it.

The first of a code is told at once. What follows within a minute is held and told as one alert that says how many there were, so a
flood costs a person one line a minute and nothing is lost; each stands in the journal on its own. A critical alert never waits behind
warnings. Pure; knows neither journal nor screen.
"""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec.structs import replace

from protocol.messages.base import from_edge
from protocol.messages.control import Alert, Severity
from protocol.units import MINUTE_US

TEXTS_MOST: Final = 3
"""So many different texts stand in an alert that tells of many; the journal has the others."""
Key = tuple[str, Severity]


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """A code that was told of at `since`, and what came since: how many, and the first few different texts."""

    since: int
    count: int = 0
    texts: tuple[str, ...] = ()

    def over(self, now: int) -> bool:
        """Whether its minute has passed. A clock that went back ends it too: rather too soon than an hour late."""
        return not 0 <= now - self.since < MINUTE_US


Flow = dict[Key, Held]


def take(flow: Flow, alert: Alert, now: int) -> tuple[Flow, tuple[Alert, ...]]:
    """One more alert; what a person is told of it now. What is for the journal alone passes as it is."""
    key: Key = alert.code, alert.severity
    if alert.severity == "info":
        return flow, (alert,)
    held = flow.get(key)
    if held is None:
        return {**flow, key: Held(since=now)}, (alert,)
    new = alert.text not in held.texts and len(held.texts) < TEXTS_MOST
    texts = (*held.texts, alert.text) if new else held.texts
    return {**flow, key: replace(held, count=held.count + alert.count, texts=texts)}, ()


def due(flow: Flow, now: int) -> tuple[Flow, tuple[Alert, ...]]:
    """What the minutes that are over have held back, an alert a code; those that held nothing are forgotten."""
    ended = {key: held for key, held in flow.items() if held.over(now)}
    if not ended:
        return flow, ()
    told = tuple(_sum(key, held, now) for key, held in ended.items() if held.count)
    again = {key: Held(since=now) for key, held in ended.items() if held.count}
    return {key: held for key, held in flow.items() if key not in ended} | again, told


def _sum(key: Key, held: Held, now: int) -> Alert:
    code, severity = key
    more = "" if held.count == 1 else f"{held.count} within a minute: "
    text = more + "; ".join(held.texts)
    return from_edge(
        Alert, now, "alerts", code, severity, held.since, code=code, severity=severity, text=text, count=held.count
    )

"""The tree as a table: what its rows must satisfy for the design's promises to hold."""

from __future__ import annotations

import subprocess
import sys

from actors.executor import decide as executor
from actors.risk import decide as risk
from actors.shell import DOOR, EXCHANGE, GATE, LATCH, SPOT_EXCHANGE, TIMER
from actors.tree import CHILDREN, LEASES, ROUTES
from protocol.codec import message_types
from protocol.messages import control
from protocol.messages import futures as futures_messages

ORDER = [spec.name for spec in CHILDREN]
ELSEWHERE = {TIMER, GATE, DOOR, LATCH, EXCHANGE, SPOT_EXCHANGE}
FROM_OUTSIDE = {control.Started, control.Woken}


def test_every_message_type_has_a_route() -> None:
    """Nothing can be said that the tree does not know where to send."""
    assert {kind for kind in message_types() if kind not in FROM_OUTSIDE} == set(ROUTES)


def test_messages_travel_one_way() -> None:
    """Whoever speaks to a child stands after it, so the graph of children has no loop of its own."""
    upstream = [
        (spec.name, kind.__name__, receiver)
        for index, spec in enumerate(CHILDREN)
        for kind in spec.says
        for receiver in ROUTES[kind]
        if receiver not in ELSEWHERE and ORDER.index(receiver) >= index
    ]
    assert upstream == []


def test_every_route_leads_somewhere() -> None:
    """Receivers are children of this tree or one of the named places."""
    assert {r for receivers in ROUTES.values() for r in receivers} <= set(ORDER) | ELSEWHERE


def test_what_an_actor_handles_is_sent_to_it() -> None:
    """No handler waits for a message that never comes."""
    handled = {"executor": executor.HANDLERS, "risk": risk.HANDLERS}
    deaf = [
        (name, kind.__name__)
        for name, handlers in handled.items()
        for kind in handlers
        if kind not in FROM_OUTSIDE and name not in ROUTES[kind]
    ]
    assert deaf == []


def test_no_futures_message_reaches_the_strategy() -> None:
    """The strategy sees spot facts only."""
    assert not [kind for kind in ROUTES if kind.__module__ == futures_messages.__name__ and "strategy" in ROUTES[kind]]


def test_what_guards_a_position_stands_before_every_feeder() -> None:
    """A fault of the feeds or of the strategy never takes the kill switch, executor, risk or reconciler down."""
    guards = [ORDER.index(name) for name in ("kill_switch", "executor", "risk", "reconciler")]
    feeders = [ORDER.index(name) for name in ("futures_feed", "strategy", "spot_feed")]
    assert max(guards) < min(feeders)
    assert set(LEASES) <= set(ORDER)


def test_importing_the_strategy_loads_no_futures_module() -> None:
    """At run time, too: a process that imports the strategy's decisions has no futures module in it."""
    script = "import sys, actors.strategy.decide; print([m for m in sys.modules if 'futures' in m or 'gateway' in m])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

"""100,000 spoilt payloads through every parser of Kraken's wire: a value or a typed error, never another exception, never a hang.

`python -m tests.fuzz.payloads [count]`; `make fuzz`. The same seed gives the same payloads, so that a finding can be repeated.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from itertools import islice
from multiprocessing import get_context
from typing import Any, Final, NamedTuple

from protocol.codec import encode as journal
from protocol.kraken.wire import MalformedPayload, Refused
from protocol.messages.base import Message
from tests.fakes.kraken_payloads import READERS
from tests.fuzz.mutation import mutations

COUNT: Final = 100_000
HANG_S: Final = 2.0
"""No payload takes this long to read: a few thousand bytes of JSON."""
SEED: Final = 97


class Hang(BaseException):
    """A reader took too long."""


class Outcome(NamedTuple):
    """What became of one parser's payloads; `finding` is the first that broke the promise."""

    name: str
    values: int
    refusals: int
    quarantined: int
    finding: str


def check(name: str, count: int, seed: int = SEED) -> Outcome:
    """Read `count` spoilt payloads. Stops at the first finding."""
    payload, reader = READERS[name]
    values = refusals = quarantined = 0
    for data in islice(mutations(payload, seed), count):
        try:
            value = reader(data)
        except (MalformedPayload, Refused):
            refusals += 1
            continue
        except Exception as error:  # what this is for
            return Outcome(name, values, refusals, quarantined, f"{type(error).__name__}: {error}: {data[:500]!r}")
        values += 1
        quarantined += bool(getattr(value, "quarantined", ()))
        finding = _unfit(value)
        if finding:
            return Outcome(name, values, refusals, quarantined, f"{finding}: {data[:500]!r}")
    return Outcome(name, values, refusals, quarantined, "")


def _unfit(value: Any) -> str:
    """Why what was read cannot be used: a message that the journal cannot hold."""
    for message in (*getattr(value, "values", ()), *getattr(value, "messages", ()), *getattr(value, "candles", ())):
        if isinstance(message, Message):
            try:
                journal(message)
            except Exception as error:  # what this is for
                return f"cannot be journalled: {type(error).__name__}: {error}"
    return ""


def _watched(job: tuple[str, int]) -> Outcome:
    """`check` in pieces, each within a time in which no reader may hang."""
    name, count = job
    step = 1000

    def hang(*_: object) -> None:
        raise Hang

    signal.signal(signal.SIGALRM, hang)
    total = Outcome(name, 0, 0, 0, "")
    for position in range(0, count, step):
        signal.setitimer(signal.ITIMER_REAL, HANG_S + step / 1000)
        try:
            part = check(name, min(step, count - position), SEED + position)
        except Hang:
            part = Outcome(name, 0, 0, 0, f"hangs within {step} payloads of seed {SEED + position}")
        signal.setitimer(signal.ITIMER_REAL, 0)
        total = Outcome(name, *(a + b for a, b in zip(total[1:4], part[1:4], strict=True)), part.finding)
        if part.finding:
            return total
    return total


def main(arguments: list[str], say: Callable[[str], object] = sys.stdout.write) -> int:
    """Run all parsers side by side. Exit code 0 when every promise held, 1 after a finding."""
    count = int(arguments[0]) if arguments else COUNT
    findings = 0
    with get_context("spawn").Pool() as pool:
        for outcome in pool.imap_unordered(_watched, [(name, count) for name in READERS]):
            findings += bool(outcome.finding)
            told = outcome.finding or (
                f"{outcome.values:7d} values ({outcome.quarantined} with rows set aside), {outcome.refusals:7d} typed errors"
            )
            say(f"{outcome.name:24s} {told}\n")
    say(f"{len(READERS)} parsers, {count} payloads each, {findings} findings\n")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

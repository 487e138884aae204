"""How a command fails: one clear line on stderr and an exit code, never a traceback for what a person can mend."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum

import typer
from rich.console import Console

from actors.cli.logs import clients_say

ERRORS = Console(stderr=True, highlight=False, soft_wrap=True)


INTERRUPTED = 130
"""By Ctrl-C: what a shell expects."""


class Exit(IntEnum):
    """What a caller can rely on."""

    DONE = 0
    FAILED = 1
    BAD_INPUT = 2
    REFUSED = 3


def stop(code: Exit, text: str) -> typer.Exit:
    """An exit with `text` on stderr. `raise stop(...)`."""
    ERRORS.print(text, markup=False)
    return typer.Exit(int(code))


def ending_of(error: BaseException) -> tuple[int, str] | None:
    """Exit code and line of what a traceback does not tell better: Ctrl-C, a reader who is gone, a full disk, a file of another user, a daemon that
    gave up and has told of each failure. None: a fault of the program.
    """
    from actors.supervisor import GaveUp

    found = _leaves(error)
    if all(isinstance(one, GaveUp) for one in found):
        return int(Exit.FAILED), f"error: {found[0]}"
    if all(isinstance(one, KeyboardInterrupt) for one in found):
        return INTERRUPTED, ""
    if all(isinstance(one, SystemExit) for one in found):  # so the console ends whose output nobody reads (`| head`)
        return int(Exit.FAILED), ""
    files = [
        one
        for one in found
        if isinstance(one, OSError) and (one is error or one.filename is not None or one.errno == errno.ENOSPC)
    ]
    if len(files) < len(found):
        return None
    where = "" if files[0].filename is None else f"{files[0].filename}: "
    return int(Exit.FAILED), f"error: {where}{files[0].strerror or files[0]}"


def _leaves(error: BaseException) -> list[BaseException]:
    """What trio's nurseries wrapped."""
    if isinstance(error, BaseExceptionGroup):
        return [leaf for one in error.exceptions for leaf in _leaves(one)]
    return [error]


@contextmanager
def no_site() -> Iterator[None]:
    """Turn what stands between a command and its exchange into an exit: a gate 3, a key pair or a saved state 2, a world that is not there 1."""
    from actors.gateway.credentials import BadCredentials
    from actors.modes.sites import Refused, StaleState, Unready

    clients_say()
    try:
        yield
    except Refused as error:
        raise stop(Exit.REFUSED, f"refused: {error}") from None
    except (BadCredentials, StaleState) as error:
        raise stop(Exit.BAD_INPUT, f"error: {error}") from None
    except Unready as error:
        raise stop(Exit.FAILED, f"error: {error}") from None


@contextmanager
def bad_input(*kinds: type[Exception]) -> Iterator[None]:
    """Turn errors of `kinds`, whose text names the field and the file, into exit 2."""
    try:
        yield
    except kinds as error:
        raise stop(Exit.BAD_INPUT, f"error: {error}") from error

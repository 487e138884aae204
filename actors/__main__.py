"""`python -m actors`: hands over to the command line."""

from __future__ import annotations

import os
import sys

from actors.cli.loading import uncollected


def main() -> None:
    """Run the command line. Ctrl-C while it loads is no error either."""
    _take_any_text()
    try:
        with uncollected():
            from actors.cli.app import app
    except KeyboardInterrupt:
        raise SystemExit(130) from None

    app()


def _take_any_text() -> None:
    """A terminal that lacks a letter gets its code, a closed output nothing: neither ends a command, or silences a daemon."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115  for as long as the process lives
        else:
            stream.reconfigure(errors="backslashreplace")


if __name__ == "__main__":
    main()

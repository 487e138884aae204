"""`python -m actors`: hands over to the command line."""

from __future__ import annotations

from actors.cli.loading import uncollected


def main() -> None:
    """Run the command line. Ctrl-C while it loads is no error either."""
    try:
        with uncollected():
            from actors.cli.app import app
    except KeyboardInterrupt:
        raise SystemExit(130) from None

    app()


if __name__ == "__main__":
    main()

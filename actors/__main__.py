"""`python -m actors`: hands over to the command line."""

from __future__ import annotations

from actors.cli.loading import uncollected


def main() -> None:
    """Run the command line."""
    with uncollected():
        from actors.cli.app import app

    app()


if __name__ == "__main__":
    main()

"""A value that must not be seen. Knows nothing of what it is used for."""

from __future__ import annotations

from typing import Final, NoReturn

MASK: Final = "***"


class Secret:
    """Prints as `***` everywhere; `reveal` is the one way to the text, so that a search finds every use."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself: hand it to the signer and to nobody else."""
        return self._text

    def __repr__(self) -> str:
        return MASK

    __str__ = __repr__

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not written down")

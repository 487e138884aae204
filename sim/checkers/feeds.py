"""What the streams showed the daemon, and when. Knows neither what is true nor what the daemon made of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final

STAMP: Final = re.compile(r'"time":(\d+)')


class Feeds:
    """The frames that were delivered in this life."""

    def __init__(self, now_us: Callable[[], int], contracts: Sequence[str]) -> None:
        self._now_us = now_us
        self._tickers = [(contract, f"ticker {contract}") for contract in contracts]
        self.subscribed: dict[str, int] = {}
        """Connection -> when it was last subscribed to: of what came before, who listens now may know nothing."""
        self.heard: dict[str, int] = {}
        """Connection -> when a frame was last delivered; `ticker symbol` -> the newest moment that one spoke of."""
        self.closed: dict[str, int] = {}
        """Markets that the newest frame called closed, and since when."""

    def frame(self, feed: str, text: str) -> None:
        """A frame was delivered to the daemon."""
        now = self.heard[feed] = self._now_us()
        if text.startswith('{"event":"subscribed"'):
            self.subscribed[feed] = now
        if '"ticker"' in text:
            for contract, name in self._tickers:
                if contract in text:
                    self._ticker(contract, name, text, now)

    def _ticker(self, contract: str, name: str, text: str, now: int) -> None:
        """What is shown is as old as it says."""
        stamp = STAMP.search(text)
        said = 0 if stamp is None else min(now, int(stamp[1]) * 1000)
        if said > self.heard.get(name, -1):
            self.heard[name] = said
        if '"suspended":true' in text or '"post_only":true' in text:
            self.closed.setdefault(contract, now)
        elif self.closed:
            self.closed.pop(contract, None)

"""What the streams showed the daemon, and when. Knows neither what is true nor what the daemon made of it."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

STAMP: Final = re.compile(r'"time":(\d+)')
CONTRACT: Final = re.compile(r'"product_id":"(\w+)"')
SHOWN_MOST: Final = 16
"""Frames of prices kept, a market."""


class Feeds:
    """The frames that were delivered in this life."""

    def __init__(self, now_us: Callable[[], int], contracts: Sequence[str], spots: Sequence[str]) -> None:
        self._now_us = now_us
        self._shown = {market: deque[tuple[int, str]](maxlen=SHOWN_MOST) for market in (*contracts, *spots)}
        self._spots = spots
        self._tickers = {contract: f"ticker {contract}" for contract in contracts}
        self.subscribed: dict[str, int] = {}
        """Connection -> when it was last subscribed to: of what came before, who listens now may know nothing."""
        self.heard: dict[str, int] = {}
        """Connection -> when a frame was last delivered; `ticker symbol` -> the newest moment that one spoke of."""
        self.closed: dict[str, int] = {}
        """Markets that the newest frame called closed, and since when."""

    def began(self) -> None:
        """A life has heard nothing yet."""
        self.heard.clear()
        for frames in self._shown.values():
            frames.clear()

    def shown(self, market: str) -> Sequence[tuple[int, str]]:
        """The newest frames of a market's prices, tickers of a contract and running candles of a spot market, and when each was delivered."""
        return tuple(self._shown.get(market, ()))

    def frame(self, feed: str, text: str) -> None:
        """A frame was delivered to the daemon."""
        now = self.heard[feed] = self._now_us()
        if text.startswith('{"event":"subscribed"'):
            self.subscribed[feed] = now
        if '"ticker"' in text:
            named = CONTRACT.search(text)
            if named is not None and named[1] in self._tickers:
                self._ticker(named[1], text, now)
        elif '"ohlc"' in text and '"update"' in text:
            for spot in self._spots:
                if spot in text:
                    self._shown[spot].append((now, text))

    def _ticker(self, contract: str, text: str, now: int) -> None:
        """What is shown is as old as it says."""
        name, stamp = self._tickers[contract], STAMP.search(text)
        said = 0 if stamp is None else min(now, int(stamp[1]) * 1000)
        if said > self.heard.get(name, 0):
            self.heard[name] = said
            self._shown[contract].append((now, text))
        if ":true" in text and ('"suspended":true' in text or '"post_only":true' in text):
            self.closed.setdefault(contract, now)
        elif self.closed:
            self.closed.pop(contract, None)

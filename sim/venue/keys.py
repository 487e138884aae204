"""Who may ask the venue what: API keys, signatures, nonces, and what calls cost. Pure but for what it has seen."""

from __future__ import annotations

from base64 import b64encode
from bisect import insort
from hashlib import blake2b
from typing import Final, NamedTuple

from protocol.ids import derive
from protocol.kraken import endpoints
from protocol.kraken.signing import futures_authent, matches
from protocol.units import SECOND_US

NONCES_REMEMBERED: Final = 64
"""A nonce may come late by so many others; below them it is refused."""
SECONDS_DIGITS: Final = 10


class Key(NamedTuple):
    """`trades` False: this key may read only."""

    name: str
    secret: str
    trades: bool


class Budget:
    """A counter of Kraken's: so many points, refilled evenly over the window."""

    def __init__(self, points: int = endpoints.COST_BUDGET, window_s: int = endpoints.COST_WINDOW_S) -> None:
        self.points = points
        self._refill = points / (window_s * SECOND_US)
        self._left = float(points)
        self._at = 0

    def spend(self, cost: int, at: int) -> bool:
        """Take `cost` points; False, and nothing taken, when they are not there."""
        self._left = min(float(self.points), self._left + (at - self._at) * self._refill)
        self._at = at
        if cost > self._left:
            return False
        self._left -= cost
        return True


class Account:
    """One key: what it has sent and may still send."""

    def __init__(self, key: Key) -> None:
        self.key = key
        self.budget = Budget()
        self.history = Budget(endpoints.HISTORY_POOL, endpoints.HISTORY_WINDOW_S)
        self._nonces: list[int] = []

    def refuses(self, post_data: str, path: str, authent: str, nonce: str) -> str | None:
        """Kraken's word for a request that is not signed as it should be, None when it is. A nonce is optional."""
        if not matches(authent, futures_authent(self.key.secret, post_data, path, nonce)):
            return "authenticationError"
        if not nonce:
            return None
        if not nonce.isascii() or not nonce.isdigit():
            return "nonceBelowThreshold"
        return self._nonce(int(nonce))

    def _nonce(self, nonce: int) -> str | None:
        if nonce in self._nonces:
            return "nonceDuplicate"
        if self._nonces:
            # As long as few were seen, calls that overtook one another at the start may be ten seconds late.
            late = 10 ** max(len(str(nonce)) - SECONDS_DIGITS + 1, 0) if len(self._nonces) < NONCES_REMEMBERED else 0
            if nonce < self._nonces[0] - late:
                return "nonceBelowThreshold"
        insort(self._nonces, nonce)
        del self._nonces[:-NONCES_REMEMBERED]
        return None


def keys(seed: int) -> tuple[Key, Key]:
    """The keys of the venue with this seed: one that trades, one that only reads."""
    return _key("venue", seed, trades=True), _key("venue read-only", seed, trades=False)


def _key(name: str, seed: int, *, trades: bool) -> Key:
    secret = blake2b(f"{name} secret {seed}".encode(), digest_size=64).digest()
    return Key(derive(f"{name} key", seed), b64encode(secret).decode(), trades)

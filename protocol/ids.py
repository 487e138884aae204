"""Identity: every id is a hash of the logical event it names.

Never a counter, never random: the same event has the same id in every run, so a replay after a crash
de-duplicates by itself, and an order sent twice is refused by the exchange instead of doubling the position.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Final

ID_BYTES: Final = 12
CLIENT_ORDER_ID_PREFIX: Final = "ks-"
JOINED: Final = ("", *("%s" + "\x1f%s" * more for more in range(15)))
"""The text of so many parts, in half of the time that joining them takes."""
_empty = blake2b(digest_size=ID_BYTES)


def derive(*parts: str | int) -> str:
    """An id of 24 hex digits from the parts that make the event unique, in order."""
    return named(JOINED[len(parts)] % parts)


def named(text: str) -> str:
    """`derive` of parts that are joined already."""
    hasher = _empty.copy()  # a fifth less than to make one
    hasher.update(text.encode())
    return hasher.hexdigest()


def client_order_id(signal_id: str, leg: str, attempt: int = 0) -> str:
    """The `cliOrdId` of one leg (`entry`, `stop`, `target`, `exit`, ...) of a signal's trade.

    A new `attempt` is a new economic intention (other terms); a resend of the same terms keeps its attempt.
    """
    return CLIENT_ORDER_ID_PREFIX + derive("order", signal_id, leg, attempt)


def is_ours(client_order_id: str | None) -> bool:
    """Whether an order on the exchange carries an id this system made."""
    return client_order_id is not None and client_order_id.startswith(CLIENT_ORDER_ID_PREFIX)

"""How Kraken knows a request is ours: three signatures. Pure; secrets come in as text and never leave."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from functools import lru_cache
from typing import Final

TRIMMED_PREFIX: Final = "/derivatives"
"""Cut off the path before signing; charts and history paths are signed whole."""


class BadSecret(ValueError):
    """The configured secret is not base64: the operator is at fault. Copy it again from Kraken. Never quotes it."""


@lru_cache(maxsize=32)  # the same reading is asked for again and again
def futures_authent(secret_base64: str, post_data: str, path: str, nonce: str = "") -> str:
    """The `Authent` header: `post_data` is the query string or body byte for byte as sent, `path` without host or `?`."""
    signed = post_data + nonce + path.removeprefix(TRIMMED_PREFIX)
    return _sign(secret_base64, hashlib.sha256(signed.encode()).digest())


def futures_challenge(secret_base64: str, challenge: str) -> str:
    """The `signed_challenge` that opens private feeds on the connection that gave `challenge`."""
    return _sign(secret_base64, hashlib.sha256(challenge.encode()).digest())


def spot_api_sign(secret_base64: str, path: str, nonce: str, body: str) -> str:
    """The `API-Sign` header of a private spot POST; `body` contains `nonce=...` and is signed as sent."""
    return _sign(secret_base64, path.encode() + hashlib.sha256((nonce + body).encode()).digest())


def matches(given: str, expected: str) -> bool:
    """Whether two signatures are equal, in constant time (for whoever verifies)."""
    return hmac.compare_digest(given.encode(), expected.encode())


def _sign(secret_base64: str, message: bytes) -> str:
    try:
        key = base64.b64decode(secret_base64, validate=True)
    except (binascii.Error, ValueError):
        raise BadSecret("the API secret is not base64: copy it again from Kraken") from None
    return base64.b64encode(hmac.digest(key, message, "sha512")).decode()

"""Why a request gave no answer, by who is at fault. What the exchange *said* is in `protocol.kraken.wire`."""

from __future__ import annotations


class GatewayError(Exception):
    """A request without a usable answer. Raised as one of the kinds below."""


class Unreachable(GatewayError):
    """The network or the exchange is at fault. Whether the request took effect is not known: never resend blindly."""


class Throttled(GatewayError):
    """We asked for more than our budget allows. Nothing was sent: ask less often."""


class KeyRefused(GatewayError):
    """The operator's key is at fault: missing, revoked or without permission. Nothing took effect. Fix it at Kraken."""

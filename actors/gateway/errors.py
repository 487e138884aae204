"""Why a request gave no usable answer: who is at fault and what to do. What the exchange's words mean is in `protocol.kraken.faults`."""

from __future__ import annotations

from typing import ClassVar

from protocol.kraken.faults import Action, Fault


class GatewayError(Exception):
    """A request without a usable answer. Raised as one of the kinds below."""

    fault: ClassVar[Fault]
    action: ClassVar[Action]


class Unreachable(GatewayError):
    """Network or exchange: no answer, a time-out, a 5xx. Whether the request took effect is not known: never resend blindly."""

    fault = "network"
    action = "look_up"


class Throttled(GatewayError):
    """We asked for more than the exchange or our own budget allows. Nothing took effect: ask later."""

    fault = "us"
    action = "retry"


class KeyRefused(GatewayError):
    """The operator's key: missing, revoked or without permission. Nothing took effect. Fix it at Kraken."""

    fault = "operator"
    action = "halt"

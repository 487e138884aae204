"""What Kraken's words for failure mean: who is at fault, and what to do. Tables; a word in none of them is `unknown`.

Pure; whether an order took effect is told by `orders.OUTCOMES`, this tells what to do about it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, NamedTuple

Kind = Literal[
    "margin", "terms", "limit", "rate", "auth", "nonce", "mode", "unavailable", "duplicate", "gone", "unknown"
]
Fault = Literal["us", "operator", "exchange", "network"]
Action = Literal["retry", "reject", "look_up", "halt"]


class Verdict(NamedTuple):
    """`retry`: later, by the caller's own clock. `reject`: not without a new decision. `look_up`: find out what happened
    before anything else. `halt`: no entry until a person has acted.
    """

    kind: Kind
    fault: Fault
    action: Action


_MARGIN = Verdict("margin", "us", "reject")
_TERMS = Verdict("terms", "us", "reject")
_LIMIT = Verdict("limit", "us", "reject")
_RATE = Verdict("rate", "us", "retry")
_AUTH = Verdict("auth", "operator", "halt")
_NONCE = Verdict("nonce", "operator", "halt")
_MODE = Verdict("mode", "exchange", "reject")
_DOWN = Verdict("unavailable", "exchange", "look_up")
_GONE = Verdict("gone", "exchange", "look_up")
UNKNOWN: Final = Verdict("unknown", "exchange", "look_up")

VERDICTS: Final[Mapping[str, Verdict]] = {
    **dict.fromkeys(("insufficientAvailableFunds", "insufficientFunds", "wouldCauseLiquidation", "INSUFFICIENT_MARGIN"), _MARGIN),
    **dict.fromkeys(
        (
            "invalidPrice", "invalidSize", "outsidePriceCollar", "wouldIncreasePriceDislocation", "postWouldExecute",
            "iocWouldNotExecute", "selfFill", "wouldNotReducePosition", "orderForEditNotAStop", "invalidOrderType",
            "invalid order type", "invalidSide", "requiredArgumentMissing", "clientOrderIdTooBig", "clientOrderIdTooLong",
            "clientOrderIdInvalid", "wouldProcessAfterSpecifiedTime", "fixedLeverageTooHigh", "invalidArgument",
            "invalidAmount", "invalidUnit", "contractNotFound", "Json Parse Error", "Bad Request", "BAD_REQUEST",
            "cannotEditTriggerPriceOfTrailingStop", "cannotEditLimitPriceOfTrailingStop", "EGeneral:Invalid arguments",
            "EQuery:Unknown asset pair",
        ),
        _TERMS,
    ),
    **dict.fromkeys(("tooManySmallOrders", "maxPositionViolation", "tooManyOrders"), _LIMIT),
    **dict.fromkeys(("apiLimitExceeded", "EGeneral:Too many requests", "EAPI:Rate limit exceeded"), _RATE),
    **dict.fromkeys(
        (
            "authenticationError", "accountInactive", "invalidAccount", "EAPI:Invalid key", "EAPI:Invalid signature",
            "EGeneral:Temporary lockout",
        ),
        _AUTH,
    ),
    **dict.fromkeys(("nonceBelowThreshold", "nonceDuplicate", "EAPI:Invalid nonce"), _NONCE),
    **dict.fromkeys(
        (
            "marketSuspended", "marketInactive", "marketIsPostOnly", "marketUnavailable",
            "EService:Market in cancel_only mode", "EService:Market in post_only mode",
        ),
        _MODE,
    ),
    **dict.fromkeys(("Unavailable", "Server Error", "EService:Unavailable", "EService:Deadline elapsed", "unknownError"), _DOWN),
    **dict.fromkeys(("clientOrderIdAlreadyExist", "clientOrderIdAlreadyExists"), Verdict("duplicate", "us", "look_up")),
    **dict.fromkeys(("notFound", "orderForEditNotFound"), _GONE),
}  # fmt: skip

ADVICE: Final[Mapping[Kind, str]] = {
    "margin": "the account has not the margin: the order was not placed",
    "terms": "the exchange does not take these terms: the order was not placed",
    "limit": "a limit of the exchange on this account is reached: the order was not placed",
    "rate": "we asked too often: requests slow down by themselves",
    "auth": "the API key is refused: check it at Kraken (permissions, revoked, IP); stops on the exchange stay",
    "nonce": "another process uses this API key, or the clock went back: give each process a key of its own",
    "mode": "the market is suspended, post-only or cancel-only: wait for it to reopen",
    "unavailable": "the exchange is not answering properly: what became of the request is being found out",
    "duplicate": "an earlier request with this id arrived: what became of it is being found out",
    "gone": "the exchange does not know the order: what became of it is being found out",
    "unknown": "a word this version does not know: what became of the request is being found out",
}
"""For a person."""


def judge(word: str) -> Verdict:
    """The verdict on one of Kraken's words (`invalidArgument: size` is `invalidArgument`); `UNKNOWN` when it is in no table."""
    return VERDICTS.get(word) or VERDICTS.get(word.partition(":")[0].strip(), UNKNOWN)

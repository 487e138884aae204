"""Signatures against published and recorded vectors."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from protocol.kraken.signing import BadSecret, futures_authent, futures_challenge, matches, spot_api_sign

VECTORS = Path(__file__).parents[3].parent / "shared" / "kraken" / "auth-vectors.json"


def vectors(kind: str) -> list[dict[str, object]]:
    """The recorded vectors of one kind, none when they are not at hand."""
    if not VECTORS.exists():
        return []
    return [vector for vector in json.loads(VECTORS.read_text())["vectors"] if vector["kind"] == kind]


def need(found: list[dict[str, object]]) -> list[dict[str, object]]:
    """The vectors, or skip."""
    if not found:
        pytest.skip("auth-vectors.json is not at hand")
    return found


def test_futures_requests_sign_as_the_recorded_clients_did() -> None:
    """Query or body, nonce or none, trimmed or whole path: every recorded `Authent` comes out."""
    for vector in need(vectors("futures_rest")):
        post_data = str(vector["query_string"]) + str(vector["body"])
        nonce = str(vector["nonce"] or "")
        signature = futures_authent(str(vector["secret_b64"]), post_data, str(vector["path"]), nonce)

        assert vector["expect"] == {"Authent": signature}, vector["id"]


def test_the_challenge_is_signed_as_in_the_published_example() -> None:
    """Every recorded challenge, Kraken's own worked example among them, comes out."""
    for vector in need(vectors("futures_ws_challenge")):
        signature = futures_challenge(str(vector["secret_b64"]), str(vector["challenge"]))

        assert vector["expect"] == {"signed_challenge": signature}, vector["id"]


def test_spot_private_calls_sign_as_in_the_published_example() -> None:
    """Every recorded `API-Sign` comes out."""
    for vector in need(vectors("spot_rest")):
        secret, path = str(vector["secret_b64"]), str(vector["path"])
        signature = spot_api_sign(secret, path, str(vector["nonce"]), str(vector["body"]))

        assert vector["expect"] == {"API-Sign": signature}, vector["id"]


def test_signatures_stay_what_they_are() -> None:
    """Our own vectors, made with the secret `c2VjcmV0` ("secret"), hold without any file beside the project."""
    sendorder = futures_authent("c2VjcmV0", "size=0.1&symbol=PF_XBTUSD", "/derivatives/api/v3/sendorder")

    assert sendorder == futures_authent("c2VjcmV0", "size=0.1&symbol=PF_XBTUSD", "/api/v3/sendorder")
    assert sendorder == "R979QSrZsJNa91q0A9l0lRjgnDRHd1iV0hX5aX2eI+rSB7mMBnHowHozWJiJY+YyJrKVY1LGrg07qbkhhyM/kg=="
    assert (
        futures_challenge("c2VjcmV0", "226aee50")
        == "jzUbs4uQXHf6UTPs7XFXpEcQzrTI2cXV3aGCNhW2+lhiwmST4z1oWJyMQ5OeGGAiKK95NyZWXprZ0BrEcWhqbw=="
    )
    assert (
        spot_api_sign("c2VjcmV0", "/0/private/Balance", "1", "nonce=1")
        == "nY4IAKuG38VpZFG2WtHCXiB+yIZUjzAX+LaXP78n/EBNkXvsCpfR5l9/RBCQbWcaBzjYAQKSOZ4p+7NFBKSG1w=="
    )


def test_history_paths_are_signed_whole() -> None:
    """Only `/derivatives` is trimmed."""
    whole = futures_authent("c2VjcmV0", "", "/api/history/v3/account-log")

    assert whole != futures_authent("c2VjcmV0", "", "/v3/account-log")


def test_a_secret_that_is_not_base64_is_the_operators_fault_and_is_not_quoted() -> None:
    """The error names the remedy and never the secret."""
    with pytest.raises(BadSecret, match="copy it again") as caught:
        futures_challenge("not base64!", "x")

    assert "not base64!" not in str(caught.value)


def test_signatures_compare_by_value() -> None:
    """A verifier can compare in constant time."""
    assert matches("abc", "abc")
    assert not matches("abc", "abd")

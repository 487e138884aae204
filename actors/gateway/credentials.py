"""The API key pair: from the environment, or from files that it names. Never from settings, which are shown and journalled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from actors.gateway.secret import Secret
from protocol.kraken.signing import BadSecret, futures_challenge

KEY: Final = "KRAKEN_SMC_API_KEY"
SECRET: Final = "KRAKEN_SMC_API_SECRET"
FILE: Final = "_FILE"
"""`KRAKEN_SMC_API_SECRET_FILE` names a file that holds the value, as Docker and systemd hand out secrets."""


class BadCredentials(ValueError):
    """No usable key pair: the operator is at fault. One line that names the variable and never quotes its value."""


@dataclass(frozen=True)
class Credentials:
    """A futures API key and its secret."""

    key: str
    secret: Secret


def credentials(environ: Mapping[str, str]) -> Credentials:
    """The key pair that `environ` holds or points to. Raises BadCredentials."""
    key, secret = (_value(environ, name) for name in (KEY, SECRET))
    try:
        futures_challenge(secret, "")
    except BadSecret as error:
        raise BadCredentials(f"{SECRET}: {error}") from None
    return Credentials(key, Secret(secret))


def _value(environ: Mapping[str, str], name: str) -> str:
    file = environ.get(name + FILE, "")
    if not file:
        value = environ.get(name, "").strip()
        if not value:
            raise BadCredentials(f"environment variable {name} (or {name}{FILE}): mode live needs an API key pair")
        return value
    if environ.get(name):
        raise BadCredentials(f"environment variables {name} and {name}{FILE}: give one of them")
    try:
        value = Path(file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise BadCredentials(f"{name}{FILE}: {file} cannot be read ({type(error).__name__})") from None
    if not value:
        raise BadCredentials(f"{name}{FILE}: {file} is empty")
    return value

"""Where a served venue is and how to get in, read from what it prints."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True)
class Server:
    """`address` is `http://127.0.0.1:8080`; two key pairs."""

    address: str
    key: str
    secret: str
    reading_key: str
    reading_secret: str

    @property
    def host(self) -> str:
        """Without the scheme."""
        return self.address.removeprefix("http://")

    @classmethod
    def of(cls, process: subprocess.Popen[str]) -> Self:
        """Wait until it has said all; fails when it ends before."""
        assert process.stdout is not None
        told = ""
        while "Ctrl-C stops" not in told:
            line = process.stdout.readline()
            assert line, f"it ended before it said how to stop it: {told}"
            told += line
        found = [
            re.search(rf"^{name} +(\S+)$", told, re.M)
            for name in ("API key", "API secret", "read-only", "       secret")
        ]
        address = re.search(r"http://127\.0\.0\.1:\d+", told)
        assert address is not None
        key, secret, reading_key, reading_secret = (match[1] for match in found if match is not None)
        return cls(address[0], key, secret, reading_key, reading_secret)

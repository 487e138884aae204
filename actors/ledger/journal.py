"""The one writer: buffers steps and writes them as pages of the record; the tables that people ask follow when nobody waits.

Runs in the thread that calls it and reads no clock. Knows the ports it fulfils, not who records.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from itertools import chain
from typing import Any, Final

from sqlalchemy import Connection, Engine, Table, func, insert, select
from sqlalchemy.dialects import postgresql, sqlite

from actors.ledger import tables
from actors.ledger.pages import DAMAGED, NO_SEAL, Record, pack, seal, unpack
from actors.ledger.project import ROUTINE, Row, changes, names_of
from actors.ledger.queries import PRUNED, Prunable, Reader, latch_state, prunable
from actors.ledger.store import failing_as, fold_log, give_back, hidden, owned, reading_engine, upgrade, writing_engine
from protocol.codec import encode
from protocol.messages.base import Message
from protocol.messages.control import Latch
from protocol.messages.spot import CandleClosed
from protocol.ports import JournalFailed, LatchState

BUFFER_MAX: Final = 512
"""Steps held back before they are written unasked: an order's flush writes at most so many others first, some milliseconds after a start that
reads years of candles. No bound on durability: that is `flush`.
"""

FOLDED_AFTER: Final = 8
"""Writes after which the next `settle` brings SQLite's log into its file: the database would do so by itself in the middle of a write, which
takes some milliseconds longer then, and an order may wait for that one.
"""

TOLD: Final = "ledger.told"
"""The memory of the ledger itself: the last step that the tables know."""

_INSERT: Final = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


class LatchBook:
    """protocol.ports.LatchStore. On a connection of its own for each call: it works when the journal has failed."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def read(self) -> LatchState:
        """The kill switch as last written; not latched when nothing was."""
        with failing_as(JournalFailed, "the latch could not be read"), self._engine.connect() as connection:
            return latch_state(connection)

    def latch(self, latch: Latch) -> None:
        """Latch. A latch that is on stays as it is: the first cause is the one to explain."""
        self._turn(LatchState(latched=True, reason=latch.reason, by=latch.by, at=latch.at))

    def acknowledge(self, by: str, reason: str, at: int) -> None:
        """Clear the latch in a person's name; nothing happens when it is not on."""
        self._turn(LatchState(latched=False, reason=reason, by=by, at=at))

    def _turn(self, wanted: LatchState) -> None:
        row = {"latched": wanted.latched, "reason": wanted.reason, "by": wanted.by, "at": wanted.at}
        with failing_as(JournalFailed, "the ledger could not be written"), self._engine.begin() as connection:
            if latch_state(connection).latched != wanted.latched:
                connection.execute(insert(tables.latch), row)


class Ledger(LatchBook):
    """protocol.ports.Journal and LatchStore over one database. Made by `open_ledger`, which gives it the only pen.

    `run` numbers this life of the daemon, from 1. After a JournalFailed every further write raises it again.
    """

    def __init__(self, engine: Engine, connection: Connection, *, at: int = 0, settings: str = "") -> None:
        super().__init__(engine)
        self._connection = connection
        self._records: list[Record] = []
        self._memories: dict[str, Callable[[], bytes]] = {}
        self._unfolded = 0
        self.failure = ""
        """Why nothing can be written any more; empty while all is well."""
        with connection.begin():
            self.run: int = 1 + (connection.scalar(select(func.max(tables.runs.c.run))) or 0)
            connection.execute(insert(tables.runs), {"run": self.run, "at": at, "settings": settings})
            newest = select(tables.journal).order_by(tables.journal.c.first_seq.desc()).limit(1)
            page = connection.execute(newest).one_or_none()
            self._untold: list[tuple[int, list[Record]]] = self._left_behind(page.last_seq if page else 0)
            """Pages of the record that the tables do not know yet, each with its first step's number."""
        self._next_seq: int = page.last_seq + 1 if page else 1
        self._seal: str = page.seal if page else NO_SEAL

    def record(self, actor: str, message: Message, answers: Sequence[Message]) -> None:
        """Note one step; it is durable after the next `flush`. Raises JournalFailed."""
        self._must_be_well()
        self._records.append((actor, message, tuple(answers)))
        if len(self._records) >= BUFFER_MAX:
            self.settle()

    def keep(self, actor: str, memory: Callable[[], bytes]) -> None:
        """Replace what `actor` remembers, with the next `flush`, which asks for the bytes."""
        self._memories[actor] = memory

    def memory(self, actor: str) -> bytes | None:
        """What `actor` last asked to keep, flushed or not."""
        if actor in self._memories:
            return self._memories[actor]()
        with failing_as(JournalFailed, "the ledger could not be read"), self._connection.begin():
            body: bytes | None = self._connection.scalar(
                select(tables.memory.c.body).where(tables.memory.c.actor == actor)
            )
        return body

    def flush(self) -> None:
        """Write everything noted so far into the record, durably, in one transaction. Raises JournalFailed; nothing is written then.

        An order waits for this, so the tables do not follow before `settle`.
        """
        self._must_be_well()
        if self._records or self._memories:
            self._write(tell=False)

    def settle(self) -> None:
        """`flush`, and bring the tables up to the record in the same transaction. Raises JournalFailed.

        Whatever else can wait for a moment without orders is done here.
        """
        self._must_be_well()
        if self._records or self._memories or self._untold:
            self._write(tell=True)
        if self._unfolded >= FOLDED_AFTER:
            self._fold()

    def _write(self, tell: bool) -> None:
        pages = [*self._untold, (self._next_seq, self._records)] if self._records else self._untold
        memories = [{"actor": actor, "body": memory()} for actor, memory in self._memories.items()]
        try:
            with failing_as(JournalFailed, "the ledger could not be written"), self._connection.begin():
                sealed = self._write_page() if self._records else self._seal
                self._upsert(tables.memory, memories)
                if tell:
                    self._tell(pages)
        except JournalFailed as failure:
            self.failure = str(failure)
            raise
        self._unfolded += 1
        self._seal = sealed
        self._next_seq += len(self._records)
        self._untold = [] if tell else pages
        self._records = []
        self._memories.clear()

    def _fold(self) -> None:
        self._unfolded = 0
        try:
            with failing_as(JournalFailed, "the ledger could not be written"):
                fold_log(self._connection)
        except JournalFailed as failure:
            self.failure = str(failure)
            raise

    def import_candles(self, candles: Iterable[CandleClosed]) -> None:
        """Add closed candles to the store; those already there stand."""
        with failing_as(JournalFailed, "the ledger could not be written"), self._connection.begin():
            self._state(*changes(list(candles)))

    def prune(self, older_than_us: int) -> Prunable | None:
        """Let go of the record's pages that are so much older than its newest, and note whose seal the rest begins with; None: there are none.

        What messages made of the tables stays, and so do memories and the latch. Raises JournalFailed; nothing is gone then.
        """
        self.settle()
        with failing_as(JournalFailed, "the ledger could not be pruned"), self._connection.begin():
            gone = prunable(self._connection, older_than_us)
            if gone is not None:
                self._connection.execute(tables.journal.delete().where(tables.journal.c.last_seq <= gone.last_seq))
                self._upsert(tables.memory, [{"actor": PRUNED, "body": f"{gone.last_seq} {gone.seal}".encode()}])
        return gone

    def give_back(self) -> None:
        """Give the disk the room of what was let go; without that new pages take it. Raises JournalFailed; nothing is lost then."""
        with failing_as(JournalFailed, "the ledger's file could not be made smaller"):
            give_back(self._connection)

    def reader(self) -> Reader:
        """The queries, on this process's own engine; sees what was flushed."""
        return Reader(self._engine)

    def _must_be_well(self) -> None:
        if self.failure:
            raise JournalFailed(self.failure)

    def _write_page(self) -> str:
        """One page of the record. Answers its seal."""
        records, first_seq = self._records, self._next_seq
        last_seq = first_seq + len(records) - 1
        body = pack(records)
        sealed = seal(self._seal, self.run, first_seq, last_seq, body)
        times = [message.at for _, message, _ in records]
        page = {"first_seq": first_seq, "last_seq": last_seq, "run": self.run, "records": body, "seal": sealed}
        self._connection.execute(_PAGE, {**page, "from_at": min(times), "to_at": max(times)})
        return sealed

    def _left_behind(self, last_seq: int) -> list[tuple[int, list[Record]]]:
        """What an earlier life wrote into the record and did not live to tell. Older programs told everything at once."""
        told = self._connection.scalar(select(tables.memory.c.body).where(tables.memory.c.actor == TOLD))
        if told is None:
            self._upsert(tables.memory, [{"actor": TOLD, "body": str(last_seq).encode()}])
            return []
        pages = (
            select(tables.journal).where(tables.journal.c.first_seq > int(told)).order_by(tables.journal.c.first_seq)
        )
        try:
            return [
                (
                    page.first_seq,
                    [(actor, message, answers) for _, actor, message, answers in unpack(page.records, page.first_seq)],
                )
                for page in self._connection.execute(pages)
            ]
        except DAMAGED as error:
            raise JournalFailed(f"what an earlier life wrote last cannot be read ({error})") from error

    def _tell(self, pages: Sequence[tuple[int, Sequence[Record]]]) -> None:
        """What the messages of these pages mean for the tables."""
        if not pages:
            return
        told = _told(pages)
        rows = [row for message, row in told.values() if row]
        names = [
            {"name": name, "message": message.id} for message, row in told.values() if row for name in names_of(message)
        ]
        self._state({tables.messages: rows, tables.names: names}, {})
        self._state(*changes([message for message, _ in told.values()]))
        first_seq, records = pages[-1]
        self._upsert(tables.memory, [{"actor": TOLD, "body": str(first_seq + len(records) - 1).encode()}])

    def _state(self, first: dict[Table, list[Row]], last: dict[Table, list[Row]]) -> None:
        for table, rows in first.items():
            if rows:
                self._connection.execute(_stating(self._connection.dialect.name, table), rows)
        for table, rows in last.items():
            self._upsert(table, rows)

    def _upsert(self, table: Table, rows: list[Row]) -> None:
        """Set the columns each row names, leaving the others; rows that name the same ones go together."""
        groups: dict[tuple[str, ...], list[Row]] = {}
        for row in rows:
            groups.setdefault(tuple(row), []).append(row)
        for columns, group in groups.items():
            self._connection.execute(_setting(self._connection.dialect.name, table, columns), group)


_PAGE: Final = insert(tables.journal)

# Statements are made once: more than a quarter of a small flush, for which an order waits, went into making them again.


@cache
def _stating(dialect: str, table: Table) -> Any:
    statement: Any = _INSERT[dialect](table)
    return statement.on_conflict_do_nothing()


@cache
def _setting(dialect: str, table: Table, columns: tuple[str, ...]) -> Any:
    keys = [column.name for column in table.primary_key]
    statement: Any = _INSERT[dialect](table)
    new = {name: statement.excluded[name] for name in columns if name not in keys}
    return statement.on_conflict_do_update(index_elements=keys, set_=new)


def _told(pages: Sequence[tuple[int, Sequence[Record]]]) -> dict[str, tuple[Message, Row | None]]:
    """Each message of the pages once, where it was first told; with its row unless it is routine."""
    told: dict[str, tuple[Message, Row | None]] = {}
    steps = chain.from_iterable(enumerate(records, first_seq) for first_seq, records in pages)
    for seq, (actor, received, answers) in steps:
        for place, message in enumerate((received, *answers)):
            if message.id in told:
                continue
            row = None if type(message) in ROUTINE else _row(seq, place, actor, message)
            told[message.id] = message, row
    return told


def _row(seq: int, place: int, actor: str, message: Message) -> Row:
    return {
        "id": message.id,
        "seq": seq,
        "place": place,
        "actor": actor,
        "direction": "out" if place else "in",
        "kind": type(message).__name__,
        "cause": message.cause,
        "at": message.at,
        "body": encode(message).decode(),
    }


@contextmanager
def open_ledger(url: str, *, at: int = 0, settings: str = "") -> Iterator[Ledger]:
    """The ledger at `url`, this process its one writer: schema made or migrated, a new run begun at `at` (microseconds
    UTC) under `settings` (JSON). Settles on the way out unless it has failed. Raises
    SecondInstance, NoServer, and JournalFailed when the database cannot be had.
    """
    engine = writing_engine(url)
    try:
        with failing_as(JournalFailed, f"the ledger at {hidden(url)} failed"), owned(engine) as connection:
            upgrade(connection)
            ledger = Ledger(engine, connection, at=at, settings=settings)
            try:
                yield ledger
            finally:
                if not ledger.failure:
                    ledger.settle()
    finally:
        engine.dispose()


@contextmanager
def open_latch(url: str) -> Iterator[LatchBook]:
    """The kill switch alone, whoever else is writing. Raises NoLedger when there is no ledger at `url`."""
    reading_engine(url).dispose()
    engine = writing_engine(url)
    try:
        yield LatchBook(engine)
    finally:
        engine.dispose()


@contextmanager
def open_reader(url: str) -> Iterator[Reader]:
    """Everything one can ask, on connections that cannot write. Raises NoLedger."""
    engine = reading_engine(url)
    try:
        yield Reader(engine)
    finally:
        engine.dispose()

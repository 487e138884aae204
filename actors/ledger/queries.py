"""What a person can ask of the ledger. Reads only; never blocks the writer."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, Engine, Select, func, select

from actors.ledger import tables
from actors.ledger.pages import NO_SEAL, Step, seal, unpack
from actors.ledger.project import Row
from protocol.codec import decode
from protocol.messages.base import Message
from protocol.messages.spot import CandleClosed
from protocol.ports import LatchState
from protocol.units import Timeframe

PAGES_BACK_MAX: Final = 256
"""How far before a message its cause is looked for. They share a moment, so it is in the same page or the one before."""

PRUNED: Final = "ledger.pruned"
"""The memory of the ledger itself: the last step that was pruned and its seal, from which the others are checked."""

EXPLAIN_MAX: Final = 2000
"""Messages one explanation may name; a trade takes some fifty."""


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """A message where it was first told: step `seq`, `place` 0 received by `actor`, from 1 on said by it."""

    seq: int
    place: int
    actor: str
    direction: str
    message: Message


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One life of the daemon, under which settings (JSON)."""

    run: int
    at: int
    settings: str


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """Closed trades in one line, in USD. `equity_usd` None: no account was seen yet. `win_rate` None: no trade closed."""

    equity_usd: Decimal | None
    equity_at: int | None
    closed_trades: int
    open_trades: int
    win_rate: float | None
    pnl_usd: Decimal
    fees_usd: Decimal
    sum_r: Decimal


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What the seals say. `fault` is empty when the record is whole; `head` is the newest seal, to be kept elsewhere:
    only that shows a cut at the end.
    """

    steps: int
    head: str
    fault: str


class Prunable(msgspec.Struct, frozen=True, kw_only=True):
    """Pages that a prune lets go: so many steps, up to step `last_seq` of the moment `to_at`, whose seal is `seal`. `size`: their bytes."""

    steps: int
    size: int
    last_seq: int
    to_at: int
    seal: str


class Reader:
    """Every query, over an engine. Rows come as plain dicts, oldest first; times are microseconds UTC."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def _rows(self, query: Select[Any]) -> list[Row]:
        with self._engine.connect() as connection:
            return [dict(row) for row in connection.execute(query).mappings()]

    # --- tables ------------------------------------------------------------------------------------------------

    def trades(self, *, open_only: bool = False) -> list[Row]:
        """Trades by opening time."""
        query = select(tables.trades).order_by(tables.trades.c.opened_at, tables.trades.c.trade_id)
        return self._rows(query.where(tables.trades.c.closed_at.is_(None)) if open_only else query)

    def positions(self) -> list[Row]:
        """Positions that are open, by symbol."""
        rows = self._rows(select(tables.positions).order_by(tables.positions.c.symbol))
        return [row for row in rows if row["size"]]

    def orders(self, *, working_only: bool = False) -> list[Row]:
        """Orders by the time they were sent. Working: sent, open, or unknown."""
        query = select(tables.orders).order_by(tables.orders.c.changed_at, tables.orders.c.order_key)
        return self._rows(
            query.where(tables.orders.c.status.in_(("sent", "open", "unknown"))) if working_only else query
        )

    def fills(self) -> list[Row]:
        """Executions by exchange time."""
        return self._rows(select(tables.fills).order_by(tables.fills.c.time, tables.fills.c.fill_id))

    def signals(self) -> list[Row]:
        """Signals and what risk made of them."""
        return self._rows(select(tables.signals).order_by(tables.signals.c.at, tables.signals.c.signal_id))

    def equity(self) -> list[Row]:
        """The account, its last state in each minute."""
        return self._rows(select(tables.equity).order_by(tables.equity.c.minute))

    def candles(self, symbol: str, timeframe: Timeframe) -> list[CandleClosed]:
        """Closed candles of one series, oldest first; `id` names the candle, `at` is its open time."""
        table = tables.candles
        series = (table.c.symbol == symbol) & (table.c.timeframe == timeframe)
        rows = self._rows(select(table).where(series).order_by(table.c.open_time_ms))
        return [
            CandleClosed(
                id=f"{symbol} {timeframe} {row['open_time_ms']}", cause="", at=row["open_time_ms"] * 1000, **row
            )
            for row in rows
        ]

    def latch(self) -> LatchState:
        """The kill switch as written down."""
        with self._engine.connect() as connection:
            return latch_state(connection)

    def told(self, kind: type[Message], limit: int = 100) -> list[Told]:
        """The newest messages of one kind (not a routine one), newest last."""
        query = select(tables.messages).where(tables.messages.c.kind == kind.__name__)
        rows = self._rows(query.order_by(tables.messages.c.seq.desc(), tables.messages.c.place.desc()).limit(limit))
        return [_told(row) for row in reversed(rows)]

    def summary(self) -> Summary:
        """Equity and what the closed trades made."""
        trades = self.trades()
        closed = [row for row in trades if row["closed_at"] is not None]
        account = next(iter(self._rows(select(tables.equity).order_by(tables.equity.c.minute.desc()).limit(1))), None)
        won = sum(row["pnl_usd"] > 0 for row in closed)
        return Summary(
            equity_usd=account["equity_usd"] if account else None,
            equity_at=account["at"] if account else None,
            closed_trades=len(closed),
            open_trades=len(trades) - len(closed),
            win_rate=won / len(closed) if closed else None,
            pnl_usd=sum((row["pnl_usd"] for row in closed), Decimal(0)),
            fees_usd=sum((row["fees_usd"] for row in closed), Decimal(0)),
            sum_r=sum((row["r_multiple"] for row in closed), Decimal(0)),
        )

    # --- from candle to exit -----------------------------------------------------------------------------------

    def explain(self, name: str) -> list[Told]:
        """Everything told of the thing that `name` names (signal, trade, order, fill or message id), each message with
        the chain of causes that led to it, in the order it happened. Empty: nobody goes by that name.
        """
        with self._engine.connect() as connection:
            found = _of_one_thread(connection, name)
            wanted = deque(found.values())
            while wanted:
                cause = _cause(connection, wanted.popleft())
                if cause and cause.message.id not in found:
                    found[cause.message.id] = cause
                    wanted.append(cause)
        return sorted(found.values(), key=lambda told: (told.seq, told.place))

    # --- the record --------------------------------------------------------------------------------------------

    def runs(self) -> list[Run]:
        """The lives of the daemon, oldest first."""
        return [Run(**row) for row in self._rows(select(tables.runs).order_by(tables.runs.c.run))]

    def steps(self, run: int | None = None) -> Iterator[Step]:
        """Every recorded step in order, of one run or of all."""
        for page in self._pages(run):
            yield from unpack(page["records"], page["first_seq"])

    def verify(self) -> Verdict:
        """Check every seal from the first page on that was not pruned; the first fault found ends it."""
        with self._engine.connect() as connection:
            before, steps = pruned(connection)
        for page in self._pages(None):
            first, last = page["first_seq"], page["last_seq"]
            if first != steps + 1:
                return Verdict(steps=steps, head=before, fault=f"steps {steps + 1} to {first - 1} are missing")
            if seal(before, page["run"], first, last, page["records"]) != page["seal"]:
                return Verdict(steps=steps, head=before, fault=f"steps {first} to {last} are not what was sealed")
            before, steps = page["seal"], last
        return Verdict(steps=steps, head=before, fault="")

    def prunable(self, older_than_us: int) -> Prunable | None:
        """What `Ledger.prune` would let go; None: nothing."""
        with self._engine.connect() as connection:
            return prunable(connection, older_than_us)

    def _pages(self, run: int | None) -> Iterator[Row]:
        """Pages in order, each read on its own: a reader that takes long holds nothing."""
        query = select(tables.journal).order_by(tables.journal.c.first_seq).limit(1)
        if run is not None:
            query = query.where(tables.journal.c.run == run)
        after = 0
        while rows := self._rows(query.where(tables.journal.c.first_seq > after)):
            yield rows[0]
            after = rows[0]["first_seq"]


def pruned(connection: Connection) -> tuple[str, int]:
    """The seal and the last step of what was pruned; of an untouched record: no seal and no step."""
    body = connection.scalar(select(tables.memory.c.body).where(tables.memory.c.actor == PRUNED))
    if body is None:
        return NO_SEAL, 0
    last_seq, seal = body.decode().split()
    return seal, int(last_seq)


def prunable(connection: Connection, older_than_us: int) -> Prunable | None:
    """The pages before the first that is not so much older than the newest. By the record's own time, which in paper is the market's."""
    journal = tables.journal
    newest = select(journal.c.to_at).order_by(journal.c.first_seq.desc()).limit(1)
    newest_at = connection.scalar(newest)
    if newest_at is None:
        return None
    young = journal.c.to_at >= newest_at - older_than_us
    kept = connection.scalar(select(journal.c.first_seq).where(young).order_by(journal.c.first_seq).limit(1))
    steps = func.sum(journal.c.last_seq - journal.c.first_seq + 1)
    figures = (steps, func.sum(func.length(journal.c.records)), func.max(journal.c.last_seq), func.max(journal.c.to_at))
    found = connection.execute(select(*figures).where(journal.c.first_seq < kept)).one()
    if found[0] is None:
        return None
    last = connection.scalar(select(journal.c.seal).where(journal.c.last_seq == found[2]))
    return Prunable(steps=int(found[0]), size=int(found[1]), last_seq=found[2], to_at=found[3], seal=str(last))


def latch_state(connection: Connection) -> LatchState:
    """The newest row of the latch, or not latched."""
    row = connection.execute(select(tables.latch).order_by(tables.latch.c.number.desc()).limit(1)).one_or_none()
    if row is None:
        return LatchState(latched=False)
    return LatchState(latched=row.latched, reason=row.reason, by=row.by, at=row.at)


def _told(row: Any) -> Told:
    return Told(
        seq=row["seq"],
        place=row["place"],
        actor=row["actor"],
        direction=row["direction"],
        message=decode(row["body"]),
    )


def _of_one_thread(connection: Connection, name: str) -> dict[str, Told]:
    """Messages that share a name with one that shares a name ... with `name`; a routine message has none."""
    found: dict[str, Told] = {}
    known: set[str] = set()
    asked = [name]
    while asked and len(found) < EXPLAIN_MAX:
        known.update(asked)
        rows = connection.execute(_named(asked)).mappings().all()
        new = {row["id"]: _told(row) for row in rows if row["id"] not in found}
        found.update(new)
        asked = [each for each in _names(connection, new) if each not in known]
    return found


def _named(names: Iterable[str]) -> Select[Any]:
    linked = select(tables.names.c.message).where(tables.names.c.name.in_(names))
    return select(tables.messages).where(tables.messages.c.id.in_(linked)).order_by(tables.messages.c.seq)


def _names(connection: Connection, ids: Iterable[str]) -> list[str]:
    query = select(tables.names.c.name).where(tables.names.c.message.in_(list(ids))).distinct()
    return sorted(connection.scalars(query.order_by(tables.names.c.name)))


def _cause(connection: Connection, told: Told) -> Told | None:
    """The message that led to this one: by its row, or, for a routine one, out of the pages just before."""
    message = told.message
    if not message.cause:
        return None
    row = connection.execute(select(tables.messages).where(tables.messages.c.id == message.cause)).mappings().first()
    return _told(row) if row else _in_pages(connection, message.cause, told.seq, message.at)


def _in_pages(connection: Connection, wanted: str, seq: int, at: int) -> Told | None:
    """Where `wanted` was first told, looking back from step `seq` through pages that reach the moment `at`."""
    journal = tables.journal
    backwards = select(journal).order_by(journal.c.first_seq.desc()).limit(1)
    found: Told | None = None
    for _ in range(PAGES_BACK_MAX):
        page = connection.execute(backwards.where(journal.c.first_seq <= seq)).mappings().first()
        if page is None or page["to_at"] < at:
            break
        found = _first_in(unpack(page["records"], page["first_seq"]), wanted) or found
        seq = page["first_seq"] - 1
    return found


def _first_in(steps: Iterator[Step], wanted: str) -> Told | None:
    for step in steps:
        for place, message in enumerate((step.message, *step.answers)):
            if message.id == wanted:
                direction = "out" if place else "in"
                return Told(seq=step.seq, place=place, actor=step.actor, direction=direction, message=message)
    return None

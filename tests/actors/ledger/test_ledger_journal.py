"""Facts about writing: nothing lost, nothing twice, all or nothing; the latch; the one writer."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from decimal import Decimal as D
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ledger_stories import AT, Step, candle_closed, candle_seen, noise, one_trade
from sqlalchemy import func, insert, select
from sqlalchemy.exc import DBAPIError

from actors.ledger import tables
from actors.ledger.journal import BUFFER_MAX, FOLDED_AFTER, Ledger, open_latch, open_ledger, open_reader
from actors.ledger.store import SecondInstance
from protocol.messages.base import from_edge
from protocol.messages.control import Latch
from protocol.messages.futures import OrderRejected
from protocol.ports import Journal, JournalFailed, LatchState, LatchStore


def write(ledger: Ledger, steps: Sequence[Step], settle: bool = True) -> None:
    """Record steps and make them durable, in the tables too."""
    for actor, message, answers in steps:
        ledger.record(actor, message, answers)
    if settle:
        ledger.settle()
    else:
        ledger.flush()


def latch(reason: str, at: int = AT) -> Latch:
    """A wish to latch."""
    return from_edge(Latch, at, reason, reason=reason, by="operator")


def test_it_fulfils_both_ports(url: str) -> None:
    """The ledger is a journal and a latch store (checked by the type checker as well)."""
    with open_ledger(url) as ledger:
        journal: Journal = ledger
        latches: LatchStore = ledger
        journal.flush()

        assert LatchState(latched=False) == latches.read()


def test_every_step_comes_back_in_order_with_its_messages(url: str) -> None:
    """What was recorded is what is read, across pages and runs."""
    steps = one_trade()
    with open_ledger(url) as ledger:
        write(ledger, steps[:3])
        write(ledger, steps[3:7])
    with open_ledger(url) as ledger:
        write(ledger, steps[7:])
        read = list(ledger.reader().steps())

        assert [(actor, message, tuple(answers)) for actor, message, answers in steps] == [step[1:] for step in read]
        assert list(range(1, len(steps) + 1)) == [step.seq for step in read]
        assert steps[7][1] == next(ledger.reader().steps(run=2)).message


def test_nothing_is_durable_before_flush_and_all_is_after(url: str) -> None:
    """`record` and `keep` buffer; `flush` writes both."""
    with open_ledger(url) as ledger, open_reader(url) as reader:
        ledger.record(*one_trade()[0])
        ledger.keep("executor", lambda: b"state")
        before = list(reader.steps())
        ledger.flush()

        assert before == []
        assert len(list(reader.steps())) == 1


def test_a_full_buffer_is_written_unasked(url: str) -> None:
    """Memory is bounded whether or not anyone asks."""
    with open_ledger(url) as ledger, open_reader(url) as reader:
        step = noise(AT)[1]
        for _ in range(BUFFER_MAX):
            ledger.record(*step)

        assert len(list(reader.steps())) == BUFFER_MAX


def test_the_log_is_brought_into_the_file_when_no_order_waits(tmp_path: Path) -> None:
    """By `settle`: the file alone, without its log, then holds every step; no `flush` does that work."""

    def in_the_file_alone() -> int:
        shutil.copy(tmp_path / "ledger.sqlite", tmp_path / "copy.sqlite")
        with open_reader(f"sqlite:///{tmp_path / 'copy.sqlite'}") as reader:
            return len(list(reader.steps()))

    with open_ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}") as ledger:
        ledger.settle()
        steps = one_trade()[:FOLDED_AFTER]
        for step in steps:
            ledger.record(*step)
            ledger.flush()
        before = (tmp_path / "ledger.sqlite").read_bytes()
        ledger.keep("executor", lambda: b"x" * 100_000)
        ledger.flush()
        assert (tmp_path / "ledger.sqlite").read_bytes() == before
        ledger.settle()
        assert in_the_file_alone() == len(steps)


def test_a_memory_is_made_bytes_once_for_a_flush(url: str) -> None:
    """Not for each step that changed it: an order waits for those bytes, and only the newest are written."""
    made: list[bytes] = []

    def memory(body: bytes) -> bytes:
        made.append(body)
        return body

    with open_ledger(url) as ledger:
        for body in (b"one", b"two", b"three"):
            ledger.keep("executor", partial(memory, body))
        assert made == []
        ledger.flush()
        ledger.flush()
        assert made == [b"three"]
        assert ledger.memory("executor") == b"three"


def test_an_actor_remembers_its_newest_memory_across_a_restart(url: str) -> None:
    """Memory is replaced, survives, and is None for who never kept any."""
    with open_ledger(url) as ledger:
        ledger.keep("executor", lambda: b"one")
        ledger.flush()
        ledger.keep("executor", lambda: b"two")
        assert ledger.memory("executor") == b"two"
    with open_ledger(url) as ledger:
        assert ledger.memory("executor") == b"two"
        assert ledger.memory("risk") is None


def test_a_story_told_twice_makes_each_row_once(url: str) -> None:
    """Fills by fill id, candles by time, trades by id: a replay after a crash changes nothing."""
    with open_ledger(url) as ledger:
        write(ledger, one_trade())
        once = _tables(ledger)
    with open_ledger(url) as ledger:
        write(ledger, one_trade())

        assert once == _tables(ledger)
        assert len(once["fills"]) == 2


def _tables(ledger: Ledger) -> dict[str, list[dict[str, object]]]:
    reader = ledger.reader()
    return {
        "trades": reader.trades(),
        "orders": reader.orders(),
        "fills": reader.fills(),
        "signals": reader.signals(),
        "positions": reader.positions(),
        "equity": reader.equity(),
    }


@settings(max_examples=25)
@given(
    cuts=st.lists(st.integers(0, len(one_trade())), max_size=6), settled=st.lists(st.booleans(), min_size=7, max_size=7)
)
def test_where_the_flushes_fall_does_not_matter(cuts: list[int], settled: list[bool]) -> None:
    """Any division of the same steps into transactions gives the same tables, however late those follow the record."""
    steps = one_trade()
    with open_ledger("sqlite://") as whole, open_ledger("sqlite://") as cut:
        write(whole, steps)
        spans = zip([0, *sorted(cuts)], [*sorted(cuts), len(steps)], strict=True)
        for (begin, end), settle in zip(spans, settled, strict=False):
            write(cut, steps[begin:end], settle)
        cut.settle()

        assert _tables(whole) == _tables(cut)
        assert list(whole.reader().steps()) == list(cut.reader().steps())


def test_an_order_waits_for_the_record_and_not_for_the_tables(url: str) -> None:
    """After `flush` every step is durable; the tables know of it after `settle`."""
    with open_ledger(url) as ledger:
        write(ledger, one_trade(), settle=False)
        assert len(list(ledger.reader().steps())) == len(one_trade())
        assert ledger.reader().orders() == []
        ledger.settle()
        assert len(ledger.reader().fills()) == 2


@pytest.mark.parametrize("settled", [0, 1, 2])
def test_tables_that_a_killed_life_left_behind_are_made_up_for(url: str, settled: int) -> None:
    """Killed between the record and the tables: the next life tells what is in the record and not in them, once."""
    steps = one_trade()
    with open_ledger("sqlite://") as whole:
        write(whole, steps)
        wanted = _tables(whole)
    with pytest.raises(KeyboardInterrupt), open_ledger(url) as ledger:
        for number, part in enumerate((steps[:4], steps[4:8], steps[8:])):
            write(ledger, part, settle=number < settled)
        ledger.failure = "killed"  # nothing more is written on the way out
        raise KeyboardInterrupt
    with open_ledger(url) as ledger:
        ledger.settle()
        assert _tables(ledger) == wanted
        assert ledger.reader().verify().steps == len(steps)


def test_the_tables_of_an_older_program_are_whole(url: str) -> None:
    """It told everything with each page and kept no mark of it."""
    with open_ledger(url) as ledger:
        write(ledger, one_trade())
        wanted = _tables(ledger)
    with open_ledger(url) as ledger, ledger._engine.begin() as other:
        other.execute(tables.memory.delete())
    with open_ledger(url) as ledger:
        assert ledger._untold == []
        assert _tables(ledger) == wanted


def test_a_refused_edit_leaves_the_order_as_it_is(url: str) -> None:
    """Only a refused placement ends an order."""
    order = one_trade()[9][2][0]
    refusal = {"client_order_id": order.client_order_id, "symbol": order.symbol, "status": "no"}  # type: ignore[attr-defined]
    with open_ledger(url) as ledger:
        write(ledger, [("executor", one_trade()[9][1], [order])])
        write(ledger, [("executor", from_edge(OrderRejected, AT, "e", wish="edit", **refusal), [])])
        after_edit = ledger.reader().orders()[0]["status"]
        write(ledger, [("executor", from_edge(OrderRejected, AT, "p", wish="place", **refusal), [])])

        assert after_edit == "sent"
        assert ledger.reader().orders()[0]["status"] == "rejected"


def test_a_failed_flush_writes_nothing_and_is_not_retried(url: str) -> None:
    """A page that cannot be written leaves no trace of its batch, and the ledger stays failed."""
    with open_ledger(url) as ledger:
        write(ledger, one_trade()[:2])
        taken = {"first_seq": 3, "last_seq": 3, "run": 9, "from_at": 0, "to_at": 0, "records": b"", "seal": ""}
        with ledger._engine.begin() as other:
            other.execute(insert(tables.journal), taken)
        with pytest.raises(JournalFailed, match="could not be written"):
            write(ledger, one_trade()[2:])
        with ledger._engine.begin() as other:
            other.execute(tables.journal.delete().where(tables.journal.c.first_seq == 3))
        with pytest.raises(JournalFailed):
            ledger.flush()
        with pytest.raises(JournalFailed):
            ledger.record(*one_trade()[0])
        assert ledger.reader().orders() == []
        ledger.latch(latch("journal failed"))
        assert ledger.read().latched


def test_a_full_disk_fails_the_flush_and_loses_nothing_before_it(tmp_path: Path) -> None:
    """What was durable stays durable and whole when the disk ends."""
    url = f"sqlite:///{tmp_path / 'ledger.sqlite'}"
    with open_ledger(url) as ledger:
        write(ledger, one_trade()[:3])
        pages = ledger._connection.exec_driver_sql("PRAGMA page_count").scalar()
        ledger._connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")
        ledger._connection.rollback()
        ledger.keep("executor", lambda: b"x" * 100_000)
        with pytest.raises(JournalFailed, match="full"):
            ledger.flush()
    with open_reader(url) as reader:
        assert (reader.verify().steps, reader.verify().fault) == (3, "")


KILLED = """
import os, signal, sys
from actors.ledger.journal import open_ledger
from ledger_stories import one_trade
with open_ledger(sys.argv[1]) as ledger:
    steps = one_trade()
    for number, step in enumerate(steps):
        ledger.record(*step)
        if number == 6:
            ledger.flush()
    with ledger._connection.begin():
        ledger._write_page()
        os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_writer_leaves_what_it_flushed_and_frees_the_pen(url: str) -> None:
    """SIGKILL in the middle of a write: the next life finds whole transactions, unbroken seals, and may write."""
    paths = os.pathsep.join(path for path in sys.path if path)
    ended = subprocess.run([sys.executable, "-c", KILLED, url], env={**os.environ, "PYTHONPATH": paths}, check=False)
    with open_ledger(url) as ledger:
        write(ledger, one_trade()[7:])

        assert ended.returncode == -signal.SIGKILL
        assert [step[1] for step in one_trade()] == [step.message for step in ledger.reader().steps()]
        assert ledger.reader().verify().fault == ""


def test_the_latch_survives_and_only_an_acknowledgement_clears_it(url: str) -> None:
    """Latched stays latched, under its first cause, through restarts; the acknowledgement names a person."""
    with open_ledger(url) as ledger:
        ledger.latch(latch("drawdown"))
        ledger.latch(latch("later", AT + 1))
    with open_ledger(url) as ledger:
        assert LatchState(latched=True, reason="drawdown", by="operator", at=AT) == ledger.read()
        ledger.acknowledge("anna", "checked by hand", AT + 2)
        ledger.acknowledge("ben", "again", AT + 3)
    with open_reader(url) as reader:
        assert LatchState(latched=False, reason="checked by hand", by="anna", at=AT + 2) == reader.latch()


def test_the_kill_switch_can_be_set_from_outside_while_the_daemon_writes(url: str) -> None:
    """A second process latches without owning the ledger, and the daemon reads it and writes on."""
    with open_ledger(url) as ledger:
        write(ledger, one_trade()[:2])
        with open_latch(url) as outside:
            outside.latch(latch("by hand"))
        write(ledger, one_trade()[2:])

        assert ledger.read().reason == "by hand"


def test_a_second_writer_is_refused_and_a_later_one_is_not(url: str) -> None:
    """One pen: two daemons cannot trade from one ledger; a closed ledger frees it. Runs count up."""
    with open_ledger(url) as ledger:
        assert ledger.run == 1
        with pytest.raises(SecondInstance, match="stop it first"), open_ledger(url):
            pass
    with open_ledger(url) as ledger:
        assert ledger.run == 2


def test_an_open_reader_does_not_block_the_writer(url: str) -> None:
    """A reader in the middle of a transaction sees its own moment; the write goes through at once."""
    with open_ledger(url) as ledger, open_reader(url) as reader, reader._engine.connect() as reading:
        count = select(func.count()).select_from(tables.journal)
        before = reading.scalar(count)
        write(ledger, one_trade())

        assert before == 0
        assert len(reader.trades()) == 1


def test_a_reader_cannot_write(url: str) -> None:
    """Read-only is kept by the database, not by good manners."""
    with open_ledger(url):
        pass
    statement = insert(tables.memory).values(actor="x", body=b"")
    with (
        open_reader(url) as reader,
        reader._engine.connect() as connection,
        pytest.raises(DBAPIError, match=r"read.?only"),
    ):
        connection.execute(statement)


def test_imported_candles_join_those_of_the_feed_and_change_none(url: str) -> None:
    """The first word on a candle stands."""
    candles = [candle_closed(candle_seen(number)) for number in range(3)]
    with open_ledger(url) as ledger:
        write(ledger, one_trade())
        ledger.import_candles(candles)
        read = ledger.reader().candles("BTC/USD", "15m")

        assert [c.open_time_ms for c in candles] == [c.open_time_ms for c in read]
        assert candles[0].close == read[0].close
        assert ledger.reader().candles("BTC/USD", "1h") == []


def test_decimals_are_kept_exactly(url: str) -> None:
    """No digit is added or lost on the way to the disk and back."""
    with open_ledger(url) as ledger:
        write(ledger, one_trade())
        fill = ledger.reader().fills()[0]

        assert str(fill["size"]) == "0.1000"
        assert D("60051") == fill["price"]


def test_the_files_are_the_owners_alone(tmp_path: Path) -> None:
    """Directory 0700, files 0600."""
    path = tmp_path / "state" / "ledger.sqlite"
    with open_ledger(f"sqlite:///{path}") as ledger:
        write(ledger, one_trade()[:1])

        assert path.parent.stat().st_mode & 0o777 == 0o700
        assert {0o600} == {file.stat().st_mode & 0o777 for file in path.parent.iterdir()}

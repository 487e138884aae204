"""`backtest` as a process: one JSON document, the same digest under any hash seed, driver and source of the same candles."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from sqlite3 import connect
from typing import Any

import pytest
from homes import ROOT, ended, wait_for

from actors.modes.account import SYNTHETIC_DAYS
from config.load import load
from sim.market.tape import Tape

pytestmark = pytest.mark.slow

FIGURES = {
    "trades", "trade_count", "net_usd", "return_pct", "cagr_pct", "fees_usd", "funding_usd", "win_rate_pct", "profit_factor",
    "expectancy_r", "max_drawdown_pct", "sharpe", "sortino", "exposure_pct", "candles", "filled_spans", "assumed", "digest",
}  # fmt: skip
DAYS = ("--start", "2026-01-05", "--end", "2026-01-05")


def backtest(config: Path, *options: str, hash_seed: str = "0") -> dict[str, Any]:
    """The one document that a run prints."""
    done = subprocess.run(
        [sys.executable, "-m", "actors", "backtest", "--json", "--config", str(config), *options],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    document: dict[str, Any] = json.loads(done.stdout)
    return document


@pytest.fixture(scope="module")
def by_loop(fast_config: Path) -> dict[str, Any]:
    """The first day of the synthetic market by the fast driver."""
    return backtest(fast_config, *DAYS)


def test_document(by_loop: dict[str, Any]) -> None:
    """Every figure is named, and the day has trades to speak of."""
    assert set(by_loop) >= FIGURES
    assert by_loop["trade_count"] == len(by_loop["trades"]) >= 2
    assert by_loop["candles"] == 96


def test_driver_and_hash_seed(by_loop: dict[str, Any], fast_config: Path) -> None:
    """The shell of live trading decides, orders, fills and earns exactly what the plain loop does, under another hash seed."""
    by_trio = backtest(fast_config, *DAYS, "--driver", "trio", hash_seed="4711")
    own = {"run_s": 0, "audit": {}}  # the shell takes steps for heartbeats, too
    assert by_trio | own == by_loop | own


def test_journal(by_loop: dict[str, Any], fast_config: Path, tmp_path: Path) -> None:
    """With --state the journal is written, the run is the same, and `explain` tells a trade from its signal to its exit."""
    state = tmp_path / "kept"
    for _ in range(2):  # an earlier journal makes room
        kept = backtest(fast_config, *DAYS, "--state", str(state))
    assert kept | {"run_s": 0} == by_loop | {"run_s": 0}
    assert [found.name for found in state.iterdir()] == ["backtest-paper"]
    trade = kept["trades"][0]
    command = ["explain", trade["trade_id"], "--mode", "backtest", "--state", str(state), "--json"]
    told = subprocess.run(
        [sys.executable, "-m", "actors", *command], cwd=ROOT, capture_output=True, text=True, check=True
    )
    kinds = [message["type"] for message in json.loads(told.stdout)]
    assert kinds.index("Signal") < kinds.index("OrderAdmitted") < kinds.index("Filled") < kinds.index("TradeClosed")
    with closing(connect(state / "backtest-paper" / "ledger.sqlite")) as ledger:
        (steps,) = ledger.execute("select max(last_seq) from journal").fetchone()
    assert steps == kept["audit"]["steps"]


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_journal_that_is_not_finished_goes_with_its_backtest(
    fast_config: Path, tmp_path: Path, how: signal.Signals
) -> None:
    """Whoever ends it, by Ctrl-C or as a host does, finds the directory as it was; a script's `&` is deaf to Ctrl-C."""
    command = ["backtest", "--synthetic", "--json", "--config", str(fast_config), "--state", str(tmp_path)]
    before = signal.signal(signal.SIGINT, signal.SIG_IGN if how == signal.SIGTERM else signal.default_int_handler)
    running = subprocess.Popen(
        [sys.executable, "-m", "actors", *command], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    signal.signal(signal.SIGINT, before)
    wait_for(lambda: next(tmp_path.glob(".journal-*/*/ledger.sqlite"), None))
    running.send_signal(how)
    assert ended(running) == (130, "", "")
    assert list(tmp_path.iterdir()) == []


def test_recorded(fast_config: Path, tmp_path: Path) -> None:
    """A file of candles whose history lies before --start trades on the first day, the same under two hash seeds."""
    tape = Tape.synthetic(load("paper", "dev", fast_config, {}, {}), days=SYNTHETIC_DAYS)
    candles = tape.candles("BTC/USD", "15m", None, tape.start_us + 86_400_000_000)
    file = tmp_path / "btc.csv"
    with file.open("w", newline="") as out:
        rows = csv.writer(out)
        rows.writerow(("time", "open", "high", "low", "close", "volume"))
        rows.writerows((c.open_time_ms, c.open, c.high, c.low, c.close, c.volume) for c in candles)
    options = ("--data", f"BTC/USD={file}", *DAYS)
    results = [backtest(fast_config, *options, hash_seed=seed) for seed in ("0", "4711")]
    assert results[0] | {"run_s": 0} == results[1] | {"run_s": 0}
    assert results[0]["trade_count"] >= 1

"""`backtest --gap-policy` on a file with a hole, and `--path`: what is said of them, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner, Result

from actors.cli.app import app
from sim.market.files import Candles
from sim.market.longer import aggregate
from sim.market.synthetic import generate
from tests.fakes.finer import finer_of

pytestmark = pytest.mark.slow

START_MS = 1_767_571_200_000  # 2026-01-05
WHOLE = generate("BTC/USD", 5, START_MS, 96 * 12).candles
FAST = """
symbols: [{spot: BTC/USD, futures: PF_XBTUSD}]
strategy: {preset: classic, ema_period: 20, bias_tfs: [4h], bias_mode: ema, warmup_bars_exec: 50, warmup_bars_4h: 30}
"""


SLOW = FAST.replace("warmup_bars_4h: 30", "warmup_bars_4h: 48")
"""The bias needs eight days."""


def written(file: Path, candles: Candles, leave_out: slice = slice(0, 0)) -> Path:
    """A csv of candles, some of them missing."""
    kept = np.delete(np.arange(len(candles)), leave_out)
    names = ("time", "open", "high", "low", "close", "volume")
    pd.DataFrame({name: getattr(candles, name)[kept] for name in names}).to_csv(file, index=False)
    return file


@pytest.fixture
def run(tmp_path: Path) -> Any:
    """`backtest` with some options on a file that lacks five candles in a row and one more."""
    holed = np.r_[600:605, 800]
    data = written(tmp_path / "holed.csv", WHOLE, holed)  # type: ignore[arg-type]
    config = tmp_path / "fast.yaml"
    config.write_text(FAST)

    def invoke(*options: str) -> Result:
        words = ["backtest", "--config", str(config), "--data", f"BTC/USD={data}", *options]
        return CliRunner().invoke(app, words)

    return invoke


HOLES = [
    "2026-01-11 06:00:00Z to 2026-01-11 07:00:00Z (5 candles)",
    "2026-01-13 08:00:00Z to 2026-01-13 08:00:00Z (1 candle)",
]


@pytest.mark.parametrize(("policy", "words"), [("fill", "are flat, without entries"), ("reset", "starts anew")])
def test_every_hole_is_listed(run: Any, policy: str, words: str, tmp_path: Path) -> None:
    """In the document, in the paragraph of the report, and on the terminal."""
    report = tmp_path / "r.html"
    done = run("--gap-policy", policy, "--json", "--report", str(report))
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert document["filled"] == {"BTC/USD": HOLES}
    assert document["assumed"]["gap_policy"] == policy
    text = report.read_text(encoding="utf-8")
    assert words in text
    assert all(hole in text for hole in HOLES)
    shown = " ".join(run("--gap-policy", policy).stdout.split())
    assert all(hole in shown for hole in HOLES)


def test_halt_refuses_the_file(run: Any) -> None:
    """One line that names the first hole and what else could be done."""
    done = run("--gap-policy", "halt")
    assert (done.exit_code, done.stdout) == (2, "")
    assert f"holed.csv: candles are missing: {HOLES[0]}" in done.stderr
    assert "`fill` or `reset`" in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_settings_own_policy_counts_until_the_command_names_one(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs of a matrix that vary `strategy.gap_policy` were all of `fill`, under three names."""
    monkeypatch.setenv("KRAKEN_SMC__STRATEGY__GAP_POLICY", "halt")
    assert run().exit_code == 2
    monkeypatch.setenv("KRAKEN_SMC__STRATEGY__GAP_POLICY", "reset")
    assert json.loads(run("--json").stdout)["assumed"]["gap_policy"] == "reset"
    assert json.loads(run("--json", "--gap-policy", "fill").stdout)["assumed"]["gap_policy"] == "fill"


def test_a_path_is_told_with_its_share(run: Any, tmp_path: Path) -> None:
    """Nine candles in ten have finer ones, those in the holes not; a path of 15m candles is none."""
    finer = finer_of(WHOLE, 300_000).candles
    path = written(tmp_path / "path.csv", finer)
    document = json.loads(run("--path", f"BTC/USD={path}", "--json").stdout)
    assert document["assumed"]["path"].startswith("candles of 5 minutes tell 89 % of BTC/USD; elsewhere open, extreme")
    late = json.loads(run("--path", f"BTC/USD={path}", "--start", "2026-01-14", "--json").stdout)
    assert late["assumed"]["path"].startswith("candles of 5 minutes tell 90 % of BTC/USD")  # of what was traded on
    coarse = written(tmp_path / "coarse.csv", WHOLE)
    refused = run("--path", f"BTC/USD={coarse}")
    assert refused.exit_code == 2
    assert "candles of 1 or 5 minutes are needed here; this holds 15 minutes" in refused.stderr
    columns = pd.read_csv(path)
    columns[["open", "high", "low", "close"]] *= 2
    columns.to_csv(path, index=False)
    other = run("--path", f"BTC/USD={path}")
    assert other.exit_code == 2
    assert other.stderr.startswith(f"error: {path}: the finer candles end at")


def test_the_terminal_says_of_what_the_figures_are(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Span, signals and what became of them, basis and funding: what the data cut short or never let trade is seen at once."""
    monkeypatch.setenv("KRAKEN_SMC__RISK__COST_MAX_R", "0.0001")
    options = ("--start", "2026-01-07", "--end", "2026-03-31")  # the data ends on the 16th
    document = json.loads(run(*options, "--json").stdout)
    shown, why, sources, *_ = run(*options).stdout.splitlines()
    count = document["decisions"]["signals"]
    assert count == document["decisions"]["refused"] > 0
    assert shown.startswith("2026-01-07 to 2026-01-16, profile standard: the first signal came on 2026-01-")
    assert shown.endswith(", no entry was made.")
    assert why == f"{count} signals, 0 approved, {count} refused (cost.max {count})."
    assert sources == "Basis: none for BTC/USD. Funding: none is paid on BTC/USD. Native candles from before: none."
    still, why, *_ = run("--end", "2026-01-05").stdout.splitlines()
    assert still == "2026-01-05 to 2026-01-05, profile standard: no signal was given."
    assert why == "0 signals, 0 approved, 0 refused."


def test_a_run_that_the_kill_switch_ended_says_so(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The figures of the days without it would pass for those of the strategy."""
    monkeypatch.setenv("KRAKEN_SMC__RISK__DAILY_LOSS_ACTION", "kill")
    monkeypatch.setenv("KRAKEN_SMC__RISK__DAILY_LOSS_MAX_PCT", "0.01")
    report = tmp_path / "r.html"
    decisions = json.loads(run("--json", "--report", str(report)).stdout)["decisions"]
    assert decisions["latched"]["reason"].startswith("DAILY_LOSS")
    assert decisions["last_entry_at"] <= decisions["latched"]["at"]
    said = f"({decisions['latched']['reason']}) and nothing was entered after it"
    assert said in report.read_text(encoding="utf-8")
    assert said in " ".join(run().stdout.split())
    assert decisions["blocked"] == sum(decisions["blocked_by"].values()) > 0


def test_history_spares_the_warm_up(tmp_path: Path) -> None:
    """Six days of 15m candles are too few for the bias; with native ones before them the trades are those of the whole file."""
    config = tmp_path / "slow.yaml"
    config.write_text(SLOW)
    whole = written(tmp_path / "whole.csv", WHOLE)
    late = written(tmp_path / "late.csv", WHOLE, slice(0, 96 * 6))
    native = written(tmp_path / "4h.csv", aggregate(WHOLE, "4h"))

    def traded(data: Path, *options: str) -> list[Any]:
        words = ["backtest", "--config", str(config), "--data", f"BTC/USD={data}", "--json", *options]
        document = json.loads(CliRunner().invoke(app, words).stdout)
        return [
            [one[name] for name in ("opened_at", "side", "entry_price", "stop_price")] for one in document["trades"]
        ]

    assert traded(late) == []
    assert traded(late, "--history", f"BTC/USD:4h={native}") == traded(whole) != []
